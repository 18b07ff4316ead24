"""A plain training loop: Adam, one milestone, early stopping on subjects that were not trained on.

Defaults are those that the CrossMod-Transformer paper leaves open, in our reading: Adam at 5e-4, a tenth of it from the
milestone on, batches of 64, cross entropy, gradient norm at most 1, weights of the best inner-validation loss.
"""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

_log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class FitSettings:
    """How one module is trained."""

    epochs: int
    """At most so many passes over the windows."""
    milestone: int
    """The learning rate is a tenth from this epoch on, counted from 0."""
    learning_rate: float = 5e-4
    batch: int = 64
    gradient_norm: float = 1.0
    patience: int = 6
    """Stop after so many epochs without a better validation loss."""
    limit_s: float = 600.0
    """Stop at the end of the epoch in which this much processor time is spent. A run that stops so depends on the
    machine's speed, which the log says; shipped models are trained within their limits."""
    seed: int = 20
    judged_batch: int = 128
    """Windows that are judged at a time, where nothing is learnt; fewer where a window is images."""
    bfloat16: bool = False
    """Convolutions and products in bfloat16 while training and validating, on weights in float32: half the time for
    images on a processor that can. Whatever is told of the model afterwards is in float32."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch < 2 or self.patience < 1:
            raise ValueError("training needs an epoch, two windows a batch, and a patience of one")


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


def class_weights(labels: Tensor, classes: int) -> Tensor:
    """(classes,) weights under which every class counts the same, so that logits stand on a balanced prior.

    Raises:
        ValueError: If a class has no example.
    """
    counts = torch.bincount(labels, minlength=classes).to(torch.float32)
    if (counts == 0).any():
        raise ValueError(f"a class has no example: {counts.int().tolist()}")
    return counts.sum() / (classes * counts)


def fit(
    forward: Callable[..., Tensor],
    module: nn.Module,
    *,
    train: Examples,
    validation: Examples,
    settings: FitSettings,
    weights: Tensor | None = None,
) -> FitResult:
    """Train a module in place, on the CPU.

    The same seed, data and number of threads give the same weights.

    Args:
        forward: Takes the inputs of a batch, gives logits (B, classes); uses `module`'s parameters.
        module: What is trained; ends in evaluation mode with the weights of the best epoch.
        train: Examples.
        validation: Examples of other subjects.
        settings: How.
        weights: (classes,) weight of each class in the loss; None for equal weights.

    Raises:
        ValueError: If the loss is not finite.
    """
    started = time.process_time()
    torch.manual_seed(settings.seed)
    order = torch.Generator().manual_seed(settings.seed)
    parameters = [p for p in module.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=settings.learning_rate)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimiser, [settings.milestone], gamma=0.1)

    def learning(*inputs: Tensor) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16, enabled=settings.bfloat16):
            return forward(*inputs).float()

    def judge() -> float:
        logits = predict(learning, module, validation.inputs, settings.judged_batch)
        return float(functional.cross_entropy(logits, validation.labels, weight=weights))

    best = float("inf"), -1
    kept = copy.deepcopy(module.state_dict())
    losses: list[float] = []
    validations: list[float] = []
    limited = False
    for epoch in range(settings.epochs):
        module.train()
        total = 0.0
        for rows in _batches(torch.randperm(len(train), generator=order), settings.batch):
            optimiser.zero_grad(set_to_none=True)
            logits = learning(*(values[rows] for values in train.inputs))
            loss = functional.cross_entropy(logits, train.labels[rows], weight=weights)
            loss.backward()
            nn.utils.clip_grad_norm_(parameters, settings.gradient_norm)
            optimiser.step()
            total += float(loss.detach()) * len(rows)
        schedule.step()
        losses.append(total / len(train))
        validations.append(judge())
        if not (losses[-1] < float("inf") and validations[-1] < float("inf")):
            raise ValueError(f"the loss of epoch {epoch} is not finite")
        if validations[-1] < best[0]:
            best = validations[-1], epoch
            kept = copy.deepcopy(module.state_dict())
        spent = time.process_time() - started
        _log.info("  epoch %d: loss %.4f, validation %.4f, %.0f s", epoch, losses[-1], validations[-1], spent)
        if epoch - best[1] >= settings.patience:
            break
        if spent > settings.limit_s and epoch + 1 < settings.epochs:
            _log.warning("  stopped by the time limit of %.0f s", settings.limit_s)
            limited = True
            break
    module.load_state_dict(kept)
    module.eval()
    return FitResult(
        train_loss=tuple(losses),
        validation_loss=tuple(validations),
        best_loss=best[0],
        best_epoch=best[1],
        seconds=time.process_time() - started,
        limited=limited,
    )


def predict(forward: Callable[..., Tensor], module: nn.Module, inputs: Sequence[Tensor], batch: int = 128) -> Tensor:
    """Run a module in evaluation mode over many examples: what `forward` gives, joined along the batch axis."""
    module.eval()
    with torch.inference_mode():
        parts = [forward(*(v[i : i + batch] for v in inputs)) for i in range(0, len(inputs[0]), batch)]
    # Tensors made in inference mode cannot be trained on; a copy can.
    return torch.cat(parts).clone()


def _batches(order: Tensor, size: int) -> list[Tensor]:
    """Batches of nearly `size`; a last one of a single window joins the one before, for BatchNorm's sake."""
    batches = list(order.split(size))
    if len(batches) > 1 and len(batches[-1]) == 1:
        batches[-2:] = [torch.cat(batches[-2:])]
    return batches
