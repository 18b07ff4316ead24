"""A bed's calibration period: valid data at rest become the baseline of every input, and are then frozen.

Only valid seconds count (clinical.md C2). Nothing adapts afterwards: silent re-centring would erase sustained pain.
Where the signals leave their baseline, that is said (`monitor.drift`), until somebody calibrates again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from monitor.bundle import InputSpec, ScaleSpec
from monitor.drift import DriftWatch
from monitor.dsp import Baseline, baseline_of
from monitor.types import CalibrationEvent, CalibrationState, FloatArray, Reason

NOTHING: Final = Baseline(center=0.0, spread=1.0, range=0.0)
"""Stands where a scale takes a baseline and refers to none."""


def needs_baseline(scale: ScaleSpec) -> bool:
    """Whether a scale refers to the subject's baseline; one that does not is complete from the first window on."""
    return "baseline" in (scale.center, scale.spread)


def input_key(spec: InputSpec) -> str:
    """Name of what an input is calibrated on: modality, grid and filter. Inputs that share it share a baseline."""
    filtered = spec.filter
    edges = "none" if filtered.kind == "none" else f"{filtered.low_hz or 0:g}-{filtered.high_hz or 0:g}"
    return f"{spec.modality}@{spec.rate_hz:g}/{edges}/{filtered.order}/{filtered.state}"


@dataclass(slots=True, eq=False)
class _Progress:
    valid_s: float = 0.0
    pieces: list[FloatArray] = field(default_factory=list)


class Calibration:
    """Baselines of a bed's inputs.

    Args:
        bed: Name of the bed.
        needed_s: Valid seconds that make a baseline.
        drift_above: Robust SD by which signals may leave it (see `monitor.drift`); 0: not watched.
    """

    def __init__(self, *, bed: str, needed_s: float, drift_above: float = 0.0) -> None:
        self._bed = bed
        self._needed_s = needed_s
        self._progress: dict[str, _Progress] = {}
        self._baselines: dict[str, Baseline] = {}
        self._span: tuple[float, float] | None = None
        self._drift = DriftWatch(block_s=needed_s, above=drift_above)

    @property
    def baselines(self) -> Mapping[str, Baseline]:
        """By `input_key`, those that are complete."""
        return self._baselines

    def baseline(self, key: str) -> Baseline | None:
        """The baseline of an input, None until it is calibrated."""
        return self._baselines.get(key)

    def restrict(self, start: float, end: float) -> None:
        """Take the baseline only from windows within `start` to `end`, seconds from the origin."""
        self._span = (start, end)

    def restart(self) -> None:
        """Forget every baseline and begin again: new subject, swapped sensor, or the operator says so."""
        self._progress.clear()
        self._baselines.clear()
        self._drift.restart()
        self._span = None

    def restore(self, baselines: Mapping[str, tuple[float, float, float]]) -> None:
        """Take over baselines of the same subject, e.g. after the engine was restarted."""
        self._drift.restart()
        for key, (center, spread, full_range) in baselines.items():
            self._baselines[key] = Baseline(center=center, spread=spread, range=full_range)

    def wants(self, key: str, t_rel: float) -> bool:
        """Whether valid points of this input, at `t_rel` seconds from the origin, still serve the baseline."""
        if key in self._baselines:
            return False
        return self._span is None or self._span[0] < t_rel <= self._span[1]

    def add(self, key: str, points: FloatArray, *, seconds: float) -> None:
        """Add valid points (unscaled, in the modality's unit) that stand for `seconds` of signal."""
        progress = self._progress.setdefault(key, _Progress())
        progress.pieces.append(points.copy())
        progress.valid_s += seconds
        if progress.valid_s >= self._needed_s - 1e-9:
            self._baselines[key] = baseline_of(np.concatenate(progress.pieces))
            del self._progress[key]

    def compare(self, key: str, points: FloatArray, *, seconds: float, t_rel: float, scale: ScaleSpec) -> bool:
        """Hold valid points against the frozen baseline of their input; nothing is taken over from them.

        Args:
            key: The input.
            points: Unscaled, in the modality's unit.
            seconds: How much signal they stand for.
            t_rel: Their end, in seconds from the origin.
            scale: How the input uses the baseline.

        Returns:
            Whether the input has now left its baseline.
        """
        baseline = self._baselines.get(key)
        if baseline is None:
            return False
        return self._drift.add(key, points, seconds=seconds, t_rel=t_rel, baseline=baseline, scale=scale)

    def drift(self, keys: Iterable[str]) -> tuple[str, ...]:
        """Which of these inputs have left their baseline, as causes: `EDA:drift`."""
        found = {key.partition("@")[0] for key in keys if key in self._drift.drifted}
        return tuple(f"{modality}:{Reason.DRIFT}" for modality in sorted(found))

    def valid_s(self, keys: Iterable[str]) -> float:
        """Valid seconds of the input that has fewest; 0 where no input needs any."""
        seconds = [
            self._needed_s if key in self._baselines else self._progress.get(key, _Progress()).valid_s for key in keys
        ]
        return min(seconds, default=0.0)

    def state(self, keys: Iterable[str]) -> CalibrationState:
        """State with regard to the inputs of one bundle that refer to a baseline; `unspecified` where none does."""
        names = list(keys)
        if not names:
            return CalibrationState.UNSPECIFIED
        if all(key in self._baselines for key in names):
            return CalibrationState.REQUIRED if self._drift.drifted & set(names) else CalibrationState.CALIBRATED
        begun = any(key in self._baselines or key in self._progress for key in names)
        return CalibrationState.CALIBRATING if begun else CalibrationState.NOT_CALIBRATED

    def event(self, keys: Iterable[str], t: float) -> CalibrationEvent:
        """The present state as an event at stream time `t`."""
        names = list(keys)
        return CalibrationEvent(
            bed=self._bed,
            t=t,
            state=self.state(names),
            valid_s=self.valid_s(names),
            needed_s=self._needed_s,
            baseline={key: (b.center, b.spread, b.range) for key, b in sorted(self._baselines.items())},
            causes=self.drift(names),
            slow={key: found for key in sorted(names) if (found := self._drift.statistics(key)) is not None},
        )
