"""What a training is told and what it tells: settings, examples, result. `models.training.loop` trains by them.

Defaults are those that the CrossMod-Transformer paper leaves open, in our reading: Adam at 5e-4, a tenth of it from the
milestone on, batches of 64, cross entropy, gradient norm at most 1, weights of the best inner-validation loss.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias, get_args

import torch
from torch import Tensor

OnEpoch: TypeAlias = Callable[[str, int, int, float, float], None]
"""Told at the end of every epoch: stage, epochs done, epochs at most, training loss, validation loss."""
Augment: TypeAlias = Callable[[tuple[Tensor, ...], torch.Generator], tuple[Tensor, ...]]
"""Changes the inputs of a training batch, on its device; draws come from the generator, which is the CPU's."""
Optimiser: TypeAlias = Literal["adam", "adamw"]
Decay: TypeAlias = Literal["milestone", "cosine"]

DEVICES: Final = re.compile(r"auto|cpu|cuda(:\d+)?")
"""Names of devices; `cuda:1` is the second GPU."""
LEAST_SHARE: Final = 0.01
"""Of the learning rate, in cool-down and at the start of warm-up."""


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How one module is trained."""

    epochs: int
    """At most so many passes over the windows."""
    milestone: int | None = None
    """The learning rate is a tenth from this epoch on, counted from 0; None: it stays."""
    learning_rate: float = 5e-4
    batch: int = 64
    gradient_norm: float = 1.0
    patience: int = 6
    """Stop after so many epochs without a better validation loss."""
    limit_s: float | None = None
    """Stop at the end of the epoch in which this much processor time is spent. A run that stops so depends on the
    machine's speed, which the log says; None: no limit."""
    seed: int = 20
    judged_batch: int = 128
    """Windows that are judged at a time, where nothing is learnt; fewer where a window is images."""
    bfloat16: bool = False
    """Convolutions and products in bfloat16 while training and validating, on weights in float32: half the time for
    images on a processor that can. Whatever is told of the model afterwards is in float32."""
    optimiser: Optimiser = "adam"
    weight_decay: float = 0.0
    """Adam's is added to the gradient, AdamW's is decoupled (Loshchilov, Hutter, 2019)."""
    decay: Decay = "milestone"
    """What becomes of the learning rate after warm-up; see `rate_share`."""
    warm_up: int = 0
    """Epochs in which the learning rate rises linearly to its value."""
    cool_down: int = 0
    """Last epochs, at a hundredth of the learning rate; cosine only."""
    label_smoothing: tuple[float, float] = (0.0, 0.0)
    """p0, p1 of a value linear in the epoch: p(t) = p0 + t / T (p1 - p0) (Tiny-BioMoE). In training alone."""
    dropout: tuple[float, float] | None = None
    """The same for every `nn.Dropout` of what is trained; None: as the module was built."""
    ordinal: bool = False
    """Learn cumulative targets of ordered classes (`models.training.ordinal`)."""
    device: str = "auto"
    """`auto`: a GPU where there is one. Weights come back to the CPU."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or self.patience < 1:
            raise ValueError("training needs an epoch, two windows a batch, and a patience of one")
        if self.optimiser not in get_args(Optimiser) or self.decay not in get_args(Decay):
            raise ValueError(f"no optimiser {self.optimiser!r} or no decay {self.decay!r}")
        if not DEVICES.fullmatch(self.device):
            raise ValueError(f"no device {self.device!r}; there are auto, cpu, cuda and cuda:NUMBER")
        if not (self.learning_rate > 0 and self.gradient_norm > 0 and self.weight_decay >= 0):
            raise ValueError("learning rate and gradient norm are above 0, weight decay is not below")
        if self.warm_up < 0 or self.cool_down < 0 or self.warm_up + self.cool_down >= self.epochs:
            raise ValueError(f"{self.warm_up} + {self.cool_down} epochs of warm-up and cool-down leave none")
        for name, pair in (("label_smoothing", self.label_smoothing), ("dropout", self.dropout or (0.0, 0.0))):
            if not all(0.0 <= value < 1.0 for value in pair):
                raise ValueError(f"{name} is {pair}: both lie in 0..1, 1 left out")

    def rate_share(self, epoch: int) -> float:
        """Share of the learning rate in an epoch counted from 0.

        Warm-up: (e + 1) / (W + 1), 0.01 at least. Then `milestone`: 1, and 0.1 from the milestone on; `cosine`: half a
        cosine from 1 to 0.01 over the epochs between warm-up and cool-down, 0.01 in cool-down.
        """
        if epoch < self.warm_up:
            return max(LEAST_SHARE, (epoch + 1) / (self.warm_up + 1))
        if self.decay == "milestone":
            return 1.0 if self.milestone is None or epoch < self.milestone else 0.1
        done = (epoch - self.warm_up) / (self.epochs - self.warm_up - self.cool_down)
        return LEAST_SHARE + (1.0 - LEAST_SHARE) * 0.5 * (1.0 + math.cos(math.pi * min(1.0, done)))

    def running(self, pair: tuple[float, float], epoch: int) -> float:
        """p(t) = p0 + t / T (p1 - p0), T the number of epochs."""
        return pair[0] + epoch / self.epochs * (pair[1] - pair[0])


@dataclass(frozen=True, kw_only=True, eq=False)
class Examples:
    """What a module is trained or judged on."""

    inputs: tuple[Tensor, ...]
    """Each (n, ...)."""
    labels: Tensor
    """(n,) class numbers."""

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, kw_only=True)
class FitResult:
    """How a training went; the module holds the weights of its best epoch."""

    train_loss: tuple[float, ...]
    """By epoch."""
    validation_loss: tuple[float, ...]
    best_loss: float
    """Validation loss of the weights that were kept."""
    best_epoch: int
    """Counted from 0."""
    seconds: float
    """Processor time."""
    limited: bool
    """Whether the time limit ended it."""
