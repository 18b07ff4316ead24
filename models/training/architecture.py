"""The plainest recipe: one architecture of the registry, end to end, on the signals as they were cut."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

import numpy as np
import torch
from torch import Tensor

from models.base import PainModel
from models.data.base import WindowSet
from models.data.guards import Learnt, Parts
from models.registry import create_model
from models.training.crossmod import Signals
from models.training.end_to_end import train_end_to_end
from models.training.loop import FitResult, FitSettings
from models.training.recipe import Fitted, Task, Told
from monitor.bundle import InputSpec
from monitor.errors import ConfigError, Problem

_SCHEDULES: Final = {
    "short": FitSettings(epochs=10, milestone=7, batch=32, limit_s=1e9),
    "paper": FitSettings(epochs=100, milestone=70, batch=64, patience=20, limit_s=1e9),
}
_BATCH: Final = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class Network:
    """A trained network, which reads some of the task's inputs."""

    model: PainModel
    inputs: tuple[InputSpec, ...]
    """What it reads, in its order."""
    learnt: tuple[Learnt, ...]
    history: Mapping[str, FitResult] = field(default_factory=dict)

    @property
    def parameters(self) -> int:
        """Trainable values."""
        return self.model.parameter_count()

    def tell(self, windows: WindowSet) -> Told:
        """Judge windows, a batch at a time."""
        logits, features = [], []
        self.model.eval()
        with torch.inference_mode():
            for first in range(0, len(windows), _BATCH):
                batch = {
                    item.name: torch.tensor(np.asarray(windows.inputs[item.name][first : first + _BATCH]))
                    for item in self.inputs
                }
                out = self.model(batch)
                logits.append(out.logits.double().numpy())
                features.append(out.features.double().numpy())
        return Told(logits=np.concatenate(logits), features=np.concatenate(features))


@dataclass(frozen=True, kw_only=True)
class ArchitectureRecipe:
    """Adam, one milestone, early stopping on the validation subjects (`models.training.loop`).

    Args:
        name: Of the recipe.
        architecture: In `models.registry`.
        each: One network for each signal, named `<name>-<signal>`; else one for all.
    """

    name: str
    architecture: str
    each: bool = False

    def fit(self, parts: Parts, task: Task, *, seed: int) -> dict[str, Fitted]:
        """See `models.training.recipe.Recipe`."""
        groups = [(f"{self.name}-{i.name}", (i,)) for i in task.inputs] if self.each else [(self.name, task.inputs)]
        return {name: self._fit(inputs, parts, task, seed + number) for number, (name, inputs) in enumerate(groups)}

    def _fit(self, inputs: tuple[InputSpec, ...], parts: Parts, task: Task, seed: int) -> Network:
        settings = replace(_SCHEDULES[task.schedule], seed=seed)
        if (epochs := task.options.get("epochs")) and isinstance(epochs, int):
            settings = replace(settings, epochs=epochs, milestone=min(settings.milestone, epochs))
        torch.manual_seed(seed)
        try:
            model = create_model(self.architecture, inputs=[i.name for i in inputs], classes=len(task.classes))
            model.attention_maps({i.name: i.shape for i in inputs})
        except ValueError as error:
            raise ConfigError(where="train.recipes", problems=[Problem(self.name, str(error))]) from None
        history = train_end_to_end(
            model,
            train=_signals(parts.train.labelled(), inputs),
            validation=_signals(parts.validation.labelled(), inputs),
            settings=settings,
        )
        learnt = (
            Learnt(name="weights", kind="weights", subjects=frozenset(parts.subjects["train"])),
            Learnt(name="epoch", kind="choice", subjects=frozenset(parts.subjects["validation"])),
        )
        return Network(model=model, inputs=inputs, learnt=learnt, history=history)


def _signals(windows: WindowSet, inputs: tuple[InputSpec, ...]) -> Signals:
    arrays: dict[str, Tensor] = {i.name: torch.tensor(np.asarray(windows.inputs[i.name])) for i in inputs}
    return Signals(inputs=arrays, labels=torch.from_numpy(windows.labels))
