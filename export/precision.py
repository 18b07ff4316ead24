"""What limited precision costs, apart from the export: float32 beside float64, and weights rounded to float16."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from export.parity import BATCHES, Arrays, make_inputs, run_module
from models.base import PainModel, Shapes

MOST_CHANGE: Final = 0.01
"""Rounding may move no probability of a trained model by more."""
WINDOWS: Final = 64
"""Random windows that the change is looked for on."""
IMAGES: Final = 8
"""As many where an input is an image, which costs a thousand times more."""
_SEED: Final = 41
_BATCH: Final = 16


class RoundingError(Exception):
    """Half precision changes what a model says by more than may be."""


def noise_floor(model: PainModel, shapes: Shapes, *, batches: Sequence[int] = BATCHES) -> dict[str, float]:
    """How far the module in float32 is from itself in float64, the same inputs, as max|a - b|.

    An error of the graph of this size says nothing about the export.

    Args:
        model: Unchanged.
        shapes: Of every input, without the batch axis.
        batches: Batch sizes of the inputs, those of `export.parity.check`.

    Returns:
        `noise.logits`, `noise.features`, and `noise.attention` where the model has maps.
    """
    double = copy.deepcopy(model).double()
    worst: dict[str, float] = {}
    for batch in batches:
        inputs = make_inputs(shapes, batch)
        single, exact = run_module(model, inputs), _run_double(double, inputs)
        for name, values in single.items():
            group = name if name in ("logits", "features") else "attention"
            error = float(np.max(np.abs(values.astype(np.float64) - exact[name])))
            worst[group] = max(worst.get(group, 0.0), error)
    return {f"noise.{group}": float(f"{error:.3g}") for group, error in worst.items()}


def _run_double(model: PainModel, inputs: Arrays) -> dict[str, NDArray[np.float64]]:
    kept = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)  # for tables that a module makes as it runs
    try:
        return run_module(model, {name: values.astype(np.float64) for name, values in inputs.items()})
    finally:
        torch.set_default_dtype(kept)


def probability_change(
    model: PainModel,
    rounded: PainModel,
    shapes: Shapes,
    *,
    samples: Mapping[str, NDArray[np.float32]] | None = None,
    temperature: float = 1.0,
) -> tuple[float, int]:
    """The largest change that rounding its weights makes in any probability, and the number of windows looked at.

    Args:
        model: Unrounded.
        rounded: By `export.weights.rounded`.
        shapes: Of every input, without the batch axis.
        samples: Real windows to look at besides random ones, (windows, *shape) by input name.
        temperature: Of the bundle's calibration.

    Raises:
        ValueError: If the samples are not of these shapes.
    """
    count = IMAGES if any(len(shape) == 3 for shape in shapes.values()) else WINDOWS
    sets = [make_inputs(shapes, count, seed=_SEED)]
    if samples is not None:
        _check_samples(samples, shapes)
        sets.append({name: np.asarray(samples[name], dtype=np.float32) for name in shapes})
    worst, windows = 0.0, 0
    for inputs in sets:
        total = len(next(iter(inputs.values())))
        windows += total
        for start in range(0, total, _BATCH):
            part = {name: values[start : start + _BATCH] for name, values in inputs.items()}
            before, after = (_softmax(run_module(each, part)["logits"] / temperature) for each in (model, rounded))
            worst = max(worst, float(np.max(np.abs(after - before))))
    return worst, windows


def _check_samples(samples: Mapping[str, NDArray[np.float32]], shapes: Shapes) -> None:
    counts = {len(samples[name]) for name in shapes if name in samples}
    wrong = sorted(name for name, shape in shapes.items() if name not in samples or samples[name].shape[1:] != shape)
    if wrong or samples.keys() != shapes.keys() or len(counts) != 1 or 0 in counts:
        found = {name: np.shape(values) for name, values in samples.items()}
        raise ValueError(f"samples must be (windows, *shape) of {dict(shapes)}, not {found}")


def _softmax(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    shifted = logits.astype(np.float64)
    powers = np.exp(shifted - shifted.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)
