"""Training of models that are trained as one, from their inputs to their logits: the function, and the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from models.base import PainModel
from models.data.guards import Parts
from models.training.augment import ImageAugmentation, SignalAugmentation
from models.training.drawing import Drawing, images_of
from models.training.loop import Augment, Examples, FitResult, FitSettings, OnEpoch, class_weights, fit
from models.training.network import (
    Network,
    Read,
    Signals,
    fresh_model,
    learning_windows,
    learnt_of,
    refused,
    signals_of,
    stage_seed,
)
from models.training.recipe import Fitted, Task
from models.training.schedules import plan_of
from models.training.tune import tuned
from monitor.bundle import InputSpec

_PICTURES = 104_729
"""Keeps the draws of image augmentation apart from those of signals."""


def train_end_to_end(
    model: PainModel,
    *,
    train: Signals,
    validation: Signals,
    settings: FitSettings,
    read: Read = dict,
    weighted: bool = True,
    augment: Augment | None = None,
    images: ImageAugmentation | None = None,
    on_epoch: OnEpoch | None = None,
) -> dict[str, FitResult]:
    """Train a model in place; it ends in evaluation mode with the weights of its best epoch.

    Args:
        model: Fresh.
        train: Windows that are learnt from.
        validation: Windows of other subjects, for early stopping.
        settings: How.
        read: What the model reads of the signals; by default they themselves.
        weighted: Classes count the same whatever their numbers.
        augment: Changes batches of signals, before they are read.
        images: Changes what was drawn.
        on_epoch: Is told how it goes.

    Returns:
        How it went, under the name `model`.
    """
    names = tuple(train.inputs)
    draws = torch.Generator().manual_seed(settings.seed + _PICTURES)

    def forward(*signals: Tensor) -> Tensor:
        inputs = read(dict(zip(names, signals, strict=True)))
        if images and model.training:
            inputs = {name: images(image, draws) for name, image in inputs.items()}
        return model(inputs).logits

    result = fit(
        forward,
        model,
        train=_examples(names, train),
        validation=_examples(names, validation),
        settings=settings,
        weights=class_weights(train.labels, model.classes) if weighted else None,
        augment=augment,
        on_epoch=on_epoch,
    )
    return {"model": result}


def _examples(names: tuple[str, ...], signals: Signals) -> Examples:
    return Examples(inputs=tuple(signals.inputs[name] for name in names), labels=signals.labels)


@dataclass(frozen=True, kw_only=True)
class EndToEndRecipe:
    """One architecture of the registry on all inputs of the task.

    Args:
        name: Of the recipe and of its method.
        architecture: In `models.registry`.
        least: Signals that it needs.
        most: Signals that it takes.
        rate_hz: The only rate that its kernels are made for, or None.
        whole_length: Whether weights belong to one number of points, `samples` of the constructor.
        images: Whether it reads images of the signals.
        on_epoch: Is told how it goes.
    """

    name: str
    architecture: str
    least: int = 1
    most: int = 8
    rate_hz: float | None = None
    whole_length: bool = False
    images: bool = False
    on_epoch: OnEpoch | None = None

    def fit(self, parts: Parts, task: Task, *, seed: int) -> dict[str, Fitted]:
        """See `models.training.recipe.Recipe`."""
        self._check(task.inputs)
        train, validation = learning_windows(self.name, parts, task)
        task, choices = tuned(self, parts, task, seed=seed)
        plan = plan_of(self.name, task.schedule, task.options, ordinal=task.ordinal)
        settings = plan.stage("model", stage_seed(seed, f"{self.name}.model"))
        inputs = images_of(self.architecture, task.inputs, task.options.get("images")) if self.images else task.inputs
        read = Drawing(task.inputs, inputs) if self.images else dict

        arguments: dict[str, Any] = dict(plan.arguments)
        if self.whole_length:
            arguments["samples"] = task.inputs[0].samples
        if "channel_dropout" in plan.augmentation:
            arguments["channel_dropout"] = plan.augmentation["channel_dropout"]
        model = fresh_model(
            self.name,
            self.architecture,
            stage_seed(seed, f"{self.name}.model/weights"),
            inputs=[item.name for item in inputs],
            classes=len(task.classes),
            **arguments,
        )
        try:
            model.attention_maps({item.name: item.shape for item in inputs})
            augmentation = SignalAugmentation(task.inputs, plan.augmentation)
        except ValueError as error:
            raise refused(self.name, str(error)) from None
        names = [item.name for item in task.inputs]
        history = train_end_to_end(
            model,
            train=signals_of(train, names),
            validation=signals_of(validation, names),
            settings=settings,
            read=read,
            weighted=plan.class_weights,
            augment=augmentation or None,
            images=ImageAugmentation(plan.augmentation) if self.images else None,
            on_epoch=self.on_epoch,
        )
        network = Network(
            model=model,
            inputs=tuple(inputs),
            signals=tuple(names),
            learnt=learnt_of(self.name, parts, *choices),
            history=history,
            read=read,
            judged_batch=settings.judged_batch,
            device=settings.device,
        )
        return {self.name: network}

    def _check(self, inputs: Sequence[InputSpec]) -> None:
        said = [f"{i.name} has {i.channels} channels; it reads signals of one" for i in inputs if i.channels != 1]
        if not self.least <= len(inputs) <= self.most:
            wanted = str(self.least) if self.least == self.most else f"{self.least} to {self.most}"
            said.append(f"it reads {wanted} signals, not {len(inputs)}")
        if self.rate_hz is not None:
            said += [
                f"{item.name} is at {item.rate_hz:g} Hz; its kernels are durations at {self.rate_hz:g} Hz"
                for item in inputs
                if item.rate_hz != self.rate_hz
            ]
        if not self.images and len({item.samples for item in inputs}) > 1:
            said.append("its signals have as many points each")
        if said:
            raise refused(self.name, *said)
