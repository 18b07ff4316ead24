"""From attention maps to what may be drawn of them over a waveform. Pure numpy.

A map that is nearly uniform says nothing; it is called "no focus" and never stretched to full colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import numpy as np

from monitor.link import AttentionFrame, AttentionMap
from monitor.types import FloatArray

NO_FOCUS: Final = 0.98
"""A map whose normalised entropy is above this has no focus."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shading:
    """Attention along one signal."""

    modality: str
    name: str
    """Name of the map that it was taken from."""
    start: float
    """Stream clock of the left edge of the first point, on the raw signal's own time (the filter's delay is taken
    off)."""
    width: float
    """Seconds that a point stands for."""
    strength: FloatArray
    """(n,) 0..1, relative to the greatest; all 0 where there is no focus."""
    focus: bool


def shadings(frame: AttentionFrame) -> dict[str, Shading]:
    """For each modality how strongly the model looked at each moment of it.

    The temporal map of a signal where there is one, else the mean over queries of its self-attention; maps over
    tokens or channels have no place on a time axis.
    """
    pictures = {image.input for image in frame.images}
    grids = {item.modality: item for item in frame.inputs if not item.name or item.name not in pictures}
    chosen: dict[str, AttentionMap] = {}
    for item in frame.maps:
        on_time = item.axis == "time" and item.of == item.by and item.kind in ("self", "temporal")
        if on_time and item.of in grids and (item.of not in chosen or item.kind == "temporal"):
            chosen[item.of] = item
    result: dict[str, Shading] = {}
    for modality, item in chosen.items():
        grid = grids[modality]
        values = item.values.astype(np.float64)
        weights = values if values.ndim == 1 else values.mean(axis=0)
        if len(weights) != grid.samples or not np.isfinite(weights).all():
            continue
        focus = normalised_entropy(weights) <= NO_FOCUS
        width = 1.0 / grid.rate_hz
        result[modality] = Shading(
            modality=modality,
            name=item.name,
            start=frame.t_end - grid.samples * width - grid.delay_s,
            width=width,
            strength=relative(weights) if focus else np.zeros(len(weights)),
            focus=focus,
        )
    return result


def relative(values: FloatArray) -> FloatArray:
    """Values of any shape as shares of the greatest, 0..1; all 0 where there is none above 0."""
    greatest = float(values.max(initial=0.0))
    return np.clip(values / greatest, 0.0, 1.0) if greatest > 0 else np.zeros_like(values)


def normalised_entropy(weights: FloatArray) -> float:
    """Entropy of weights as a share of its greatest possible value: 1 where attention is on nothing in particular.

    Args:
        weights: (n,) one row, or (rows, n), whose rows' mean is taken; none negative.
    """
    rows = np.atleast_2d(np.asarray(weights, dtype=np.float64))
    if rows.shape[1] < 2:
        return 0.0
    total = rows.sum(axis=1, keepdims=True)
    shares = np.divide(rows, total, out=np.full_like(rows, 1.0 / rows.shape[1]), where=total > 0)
    logs = np.log(shares, out=np.zeros_like(shares), where=shares > 0)
    return float((-(shares * logs).sum(axis=1) / math.log(rows.shape[1])).mean())
