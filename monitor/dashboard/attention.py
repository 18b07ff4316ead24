"""From attention maps to what may be drawn of them. Pure numpy.

A map that is nearly uniform says nothing; it is called "no focus" and never stretched to full colour.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from monitor.dashboard.model import normalised_entropy
from monitor.link import AttentionFrame, AttentionMap
from monitor.types import FloatArray

NO_FOCUS: Final = 0.98
"""A map whose normalised entropy is above this has no focus."""

_ALIKE: Final = 1e-6


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


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeatMap:
    """Attention of one signal's points on another's."""

    name: str
    of: str
    """Modality along the columns (looked at)."""
    by: str
    """Modality along the rows (looking)."""
    strength: FloatArray
    """(rows, columns) 0..1, relative to the greatest; all 0 where there is no focus."""
    focus: bool
    seconds: float
    """Length of the window."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gates:
    """How far each of a model's channels was let through; they have no place in time."""

    name: str
    values: FloatArray
    """(channels,) 0..1."""
    active: bool
    """False where all gates are alike, so that they choose nothing: a squeeze unit that is off."""


def shadings(frame: AttentionFrame) -> dict[str, Shading]:
    """For each modality how strongly the model looked at each moment of it.

    The temporal map of a signal where there is one, else the mean over queries of its self-attention; maps over
    tokens or channels have no place on a time axis.
    """
    grids = {item.modality: item for item in frame.inputs}
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
            strength=_relative(weights) if focus else np.zeros(len(weights)),
            focus=focus,
        )
    return result


def heat_maps(frame: AttentionFrame) -> list[HeatMap]:
    """The cross-attention maps of a window."""
    lengths = {item.modality: item.samples / item.rate_hz for item in frame.inputs}
    result: list[HeatMap] = []
    for item in frame.maps:
        values = item.values.astype(np.float64)
        if item.kind != "cross" or item.axis != "time" or values.ndim != 2 or not np.isfinite(values).all():
            continue
        focus = normalised_entropy(values) <= NO_FOCUS
        result.append(
            HeatMap(
                name=item.name,
                of=item.of,
                by=item.by,
                strength=_relative(values) if focus else np.zeros(values.shape),
                focus=focus,
                seconds=lengths.get(item.of, 0.0),
            )
        )
    return result


def channel_gates(frame: AttentionFrame) -> Gates | None:
    """The channel gates of a window; None where the model has none."""
    for item in frame.maps:
        values = item.values.astype(np.float64)
        if item.axis == "channel" and values.ndim == 1 and len(values) and np.isfinite(values).all():
            return Gates(name=item.name, values=np.clip(values, 0.0, 1.0), active=bool(np.ptp(values) > _ALIKE))
    return None


def _relative(values: FloatArray) -> FloatArray:
    greatest = float(values.max(initial=0.0))
    return np.clip(values / greatest, 0.0, 1.0) if greatest > 0 else np.zeros_like(values)
