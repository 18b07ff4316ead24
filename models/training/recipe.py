"""What the parts of training agree on: a recipe learns from the parts of one split, and what it gives can be asked.

One recipe may give several methods: the stages of the CrossMod recipe are methods of their own (`fcn-eda`, `alstm-eda`,
`fat-eda`, `crossmod`), trained once. Nothing here sees the test part: whoever runs a fold opens it, against the list of
what was learnt (`models.data.guards.Parts.open_test`), once everything is decided.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.base import PainModel
from models.data.base import WindowSet
from models.data.guards import Learnt, Parts
from models.training.fit_settings import FitResult
from monitor.bundle import InputSpec


@dataclass(frozen=True, kw_only=True, eq=False)
class Told:
    """What a method says of some windows."""

    logits: NDArray[np.float64]
    """(n, classes), before temperature and softmax."""
    features: NDArray[np.float64]
    """(n, D) of the layer before the last; (n, 0) where a method has none."""


class Fitted(Protocol):
    """A method that has been trained on one split."""

    @property
    def learnt(self) -> tuple[Learnt, ...]:
        """Its weights and choices, and everybody whose windows they have seen."""
        ...

    @property
    def history(self) -> Mapping[str, FitResult]:
        """How each stage of it went, by name; empty for what is not trained by gradient."""
        ...

    @property
    def model(self) -> PainModel | None:
        """The network, where it can become a bundle as it stands. It reads the inputs that the method itself lists as
        `inputs` (`models.training.network.Network`: some of the task's, or images of them), else all of the task's.
        """
        ...

    @property
    def parameters(self) -> int:
        """Numbers that were learnt."""
        ...

    def tell(self, windows: WindowSet) -> Told:
        """Judge windows."""
        ...


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be told apart, from what, and how long to learn."""

    inputs: tuple[InputSpec, ...]
    """What was cut, in order; `Parts` hold these by name. Models of images draw them themselves."""
    classes: tuple[str, ...]
    """The least painful first."""
    schedule: str = "short"
    """`paper` or `short`."""
    ordinal: bool = False
    """Whether classes are learnt as ordered (cumulative) targets."""
    options: Mapping[str, object] = field(default_factory=dict)
    """Further settings of the configuration by name; networks take `models.training.schedules.OPTIONS`."""


class Recipe(Protocol):
    """A way to train."""

    @property
    def name(self) -> str:
        """`crossmod`, `painattnnet`, `logistic-regression`, ..."""
        ...

    def fit(self, parts: Parts, task: Task, *, seed: int) -> dict[str, Fitted]:
        """Learn from `parts.train`, stop and choose by `parts.validation`, touch nothing else.

        Args:
            parts: Of one split, as `models.data.guards.divide` gives them; windows without a label are dropped.
            task: What is asked.
            seed: Of all draws.

        Returns:
            Trained methods by name.

        Raises:
            ConfigError: If the recipe cannot be trained on these inputs or classes.
        """
        ...
