"""What the recipes of networks share: the windows that they learn from, and a trained network that can be asked."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.base import PainModel
from models.data.base import WindowSet
from models.data.guards import Learnt, Parts
from models.registry import create_model
from models.training.loop import FitResult, class_weights, device_of
from models.training.recipe import Task, Told
from monitor.bundle import InputSpec
from monitor.errors import ConfigError, Problem

Read: TypeAlias = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Makes a model's inputs of a batch of signals by name."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Signals:
    """Windows of all inputs with their labels."""

    inputs: Mapping[str, Tensor]
    """(n, 1, S) by input name."""
    labels: Tensor
    """(n,)."""


def stage_seed(seed: int, stage: str) -> int:
    """The seed of a stage: the same wherever and in whatever order stages are trained."""
    return int.from_bytes(hashlib.blake2b(f"{seed}/{stage}".encode(), digest_size=4).digest(), "big") >> 1


def refused(recipe: str, *said: str) -> ConfigError:
    """What a recipe cannot be trained on."""
    return ConfigError(where=f"recipe {recipe}", problems=[Problem(recipe, one) for one in said])


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A network that has been trained on one split (`models.training.recipe.Fitted`)."""

    model: PainModel
    inputs: tuple[InputSpec, ...]
    """What `model` reads, as its bundle states it: inputs of the task, or images of them."""
    learnt: tuple[Learnt, ...]
    signals: tuple[str, ...]
    """Inputs of the task that are read."""
    history: Mapping[str, FitResult] = field(default_factory=dict)
    read: Read = dict
    """Draws images, where it reads images."""
    judged_batch: int = 128
    device: str = "cpu"
    backbone: str = "trained"
    """`trained` with the rest, or `random` or `published` and frozen: where an encoder's weights come from."""

    @property
    def parameters(self) -> int:
        """Numbers that were learnt."""
        return sum(p.numel() for p in self.model.parameters() if p.requires_grad)

    def tell(self, windows: WindowSet) -> Told:
        """Judge windows, a batch at a time; the model ends on the CPU."""
        there = device_of(self.device)
        model = self.model.eval().to(there)
        logits: list[NDArray[np.float64]] = []
        features: list[NDArray[np.float64]] = []
        with torch.inference_mode():
            for first in range(0, len(windows), self.judged_batch):
                rows = slice(first, first + self.judged_batch)
                batch = {name: tensor(windows.inputs[name][rows]).to(there) for name in self.signals}
                out = model(self.read(batch))
                logits.append(out.logits.double().cpu().numpy())
                features.append(out.features.double().cpu().numpy())
        model.cpu()
        if not logits:
            return Told(logits=np.zeros((0, model.classes)), features=np.zeros((0, 0)))
        return Told(logits=np.concatenate(logits), features=np.concatenate(features))


def tensor(values: NDArray[np.float32]) -> Tensor:
    """A tensor of windows; memory-mapped ones are read, as torch takes no read-only arrays."""
    own = np.ascontiguousarray(values, dtype=np.float32)
    return torch.from_numpy(own if own.flags.writeable else own.copy())


def learning_windows(recipe: str, parts: Parts, task: Task) -> tuple[WindowSet, WindowSet]:
    """Labelled windows of `train` and `validation`.

    Raises:
        ConfigError: If an input is not there, a class is without a window, or a label is of no class.
    """
    train, validation = parts.train.labelled(), parts.validation.labelled()
    said = [f"{parts.where} has no input {item.name}" for item in task.inputs if item.name not in train.inputs]
    for part, windows in (("train", train), ("validation", validation)):
        if not len(windows):
            said.append(f"no window of {part} has a label")
            continue
        if windows.labels.max() >= len(task.classes):
            said.append(f"{part} has a label {windows.labels.max()}, and {len(task.classes)} classes are named")
        if part == "train":
            counts = np.bincount(windows.labels, minlength=len(task.classes))
            none = [name for name, count in zip(task.classes, counts, strict=False) if not count]
            said += [f"no window of train is of the class {name}" for name in none]
    if len(train) == 1:
        said.append("one window is nothing to learn from")
    if said:
        raise refused(recipe, *said)
    return train, validation


def signals_of(windows: WindowSet, names: Sequence[str]) -> Signals:
    """Windows of some inputs as tensors."""
    inputs = {name: tensor(windows.inputs[name]) for name in names}
    return Signals(inputs=inputs, labels=torch.from_numpy(windows.labels.astype(np.int64)))


def loss_weights(labels: Tensor, classes: int, weighted: bool) -> Tensor | None:
    """Weights of the classes in the loss, or None for none."""
    return class_weights(labels, classes) if weighted else None


def learnt_of(method: str, parts: Parts, *more: Learnt) -> tuple[Learnt, ...]:
    """Weights that have seen the training subjects, and an epoch that was chosen by the validation subjects."""
    return (
        Learnt(name=f"{method}, weights", kind="weights", subjects=frozenset(parts.subjects["train"])),
        Learnt(name=f"{method}, epoch", kind="choice", subjects=frozenset(parts.subjects["validation"])),
        *more,
    )


def fresh_model(recipe: str, architecture: str, seed: int, **arguments: Any) -> PainModel:
    """An architecture at its first weights.

    Raises:
        ConfigError: If it does not take these arguments.
    """
    torch.manual_seed(seed)
    try:
        return create_model(architecture, **arguments)
    except (ValueError, TypeError) as error:
        raise refused(recipe, str(error)) from None
