"""Training of models that are trained as one, from their inputs to their logits."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

from torch import Tensor

from models.base import PainModel
from models.training.crossmod import Signals
from models.training.loop import Examples, FitResult, FitSettings, class_weights, fit

Read: TypeAlias = Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]
"""Makes a model's inputs of a batch of signals by name."""


def train_end_to_end(
    model: PainModel,
    *,
    train: Signals,
    validation: Signals,
    settings: FitSettings,
    read: Read = dict,
) -> dict[str, FitResult]:
    """Train a model in place; it ends in evaluation mode with the weights of its best epoch.

    Args:
        model: Fresh.
        train: Windows that are learnt from; classes count the same whatever their numbers.
        validation: Windows of other subjects, for early stopping.
        settings: How.
        read: What the model reads of the signals; by default they themselves.

    Returns:
        How it went, under the name `model`.
    """
    names = tuple(train.inputs)

    def forward(*signals: Tensor) -> Tensor:
        return model(read(dict(zip(names, signals, strict=True)))).logits

    result = fit(
        forward,
        model,
        train=_examples(names, train),
        validation=_examples(names, validation),
        settings=settings,
        weights=class_weights(train.labels, model.classes),
    )
    return {"model": result}


def _examples(names: tuple[str, ...], signals: Signals) -> Examples:
    return Examples(inputs=tuple(signals.inputs[name] for name in names), labels=signals.labels)
