"""Whether a bed's signals still fit the baseline that was frozen at calibration (clinical.md C5).

Slow statistics are kept beside the frozen ones and never take their place: silent re-centring would erase sustained
pain. They are taken of blocks as long as the calibration itself, because the spread of a wandering signal grows with
the time over which it is taken: ten minutes of skin conductance have several times the IQR of two at rest, with
nothing wrong. Over the last `SPAN_S` the medians of the blocks' medians and IQRs stand against the baseline.

What is compared is what the input's scaling takes from the baseline, and no more. A centre that each window brings
itself (`window_first` of EDA, `window_median` of ECG, BVP, EMG, RESP) cannot drift: there the spread alone is watched.
"""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from monitor.bundle import ScaleSpec
from monitor.dsp import Baseline, baseline_of
from monitor.types import FloatArray

SPAN_S: Final = 600.0
"""Stream time over which the slow statistics are taken, and for which they must differ."""

IQR_OF_SD: Final = 1.349
"""IQR of a normal distribution in standard deviations: IQR / 1.349 is a robust SD."""


@dataclass(frozen=True, slots=True)
class _Block:
    t_rel: float
    center: float
    spread: float


@dataclass(slots=True, eq=False)
class _Course:
    pieces: list[FloatArray] = field(default_factory=list)
    valid_s: float = 0.0
    begun: float = 0.0
    newest: float = -math.inf
    blocks: deque[_Block] = field(default_factory=deque)
    differs: bool = False
    differs_s: float = 0.0


class DriftWatch:
    """Follows the inputs of a bed beside their baselines.

    Its time is that of valid windows: what cannot be scored neither counts nor resets.

    Args:
        block_s: Length of a block: valid seconds that made the baseline.
        above: Robust SD by which the statistics may differ; 0: nothing is watched.
    """

    def __init__(self, *, block_s: float, above: float) -> None:
        self._block_s = block_s
        self._above = above
        self._courses: dict[str, _Course] = {}
        self._drifted: set[str] = set()

    @property
    def drifted(self) -> frozenset[str]:
        """Inputs that have left their baseline; they stay here until `restart`."""
        return frozenset(self._drifted)

    def restart(self) -> None:
        """Forget everything: there is another baseline."""
        self._courses.clear()
        self._drifted.clear()

    def statistics(self, key: str) -> tuple[float, float] | None:
        """Slow median and IQR of an input, in the modality's unit; None until half of `SPAN_S` was valid."""
        course = self._courses.get(key)
        if course is None or 2.0 * len(course.blocks) * self._block_s < SPAN_S - 1e-9:
            return None
        blocks = course.blocks
        return float(np.median([b.center for b in blocks])), float(np.median([b.spread for b in blocks]))

    def add(
        self, key: str, points: FloatArray, *, seconds: float, t_rel: float, baseline: Baseline, scale: ScaleSpec
    ) -> bool:
        """Take the newest valid points of an input.

        Args:
            key: See `monitor.calibration.input_key`.
            points: Unscaled, in the modality's unit.
            seconds: How much signal they stand for.
            t_rel: Their end, in seconds from the origin.
            baseline: What was frozen.
            scale: How the input uses it.

        Returns:
            Whether the input has left its baseline with these points.
        """
        if self._above <= 0 or key in self._drifted:
            return False
        course = self._courses.setdefault(key, _Course())
        if t_rel <= course.newest:  # the bed's clock was set anew: how long anything lasted is not known
            course = self._courses[key] = _Course()
        course.newest = t_rel
        if course.pieces and t_rel - course.begun > SPAN_S:  # too far apart to be one block
            course.pieces, course.valid_s = [], 0.0
        if not course.pieces:
            course.begun = t_rel
        course.pieces.append(points.copy())
        course.valid_s += seconds
        if course.valid_s < self._block_s - 1e-9:
            return False
        found = baseline_of(np.concatenate(course.pieces))
        course.pieces, course.valid_s = [], 0.0
        course.blocks.append(_Block(t_rel, found.center, found.spread))
        while course.blocks[0].t_rel <= t_rel - SPAN_S:
            course.blocks.popleft()
        return self._judge(key, course, baseline, scale)

    def _judge(self, key: str, course: _Course, baseline: Baseline, scale: ScaleSpec) -> bool:
        slow = self.statistics(key)
        if slow is None:
            return False
        differs = deviation(*slow, baseline=baseline, scale=scale) > self._above
        course.differs_s = course.differs_s + self._block_s if differs and course.differs else 0.0
        course.differs = differs
        if not differs or course.differs_s < SPAN_S - 1e-9:
            return False
        self._drifted.add(key)
        return True


def deviation(center: float, spread: float, *, baseline: Baseline, scale: ScaleSpec) -> float:
    """How far slow statistics are from the frozen ones, in robust SD (IQR / 1.349), 0 or more.

    A centre that the scaling takes from the baseline by |centre - frozen| / SD. A spread by the growth that it means:
    1.349 (larger / smaller - 1), so that 2 are reached at 2.5 times the frozen spread and at 1 / 2.5 of it; both at
    least the floor of the scaling, below which a spread is not used.

    Args:
        center: Slow median.
        spread: Slow IQR.
        baseline: What was frozen.
        scale: How the input uses it.
    """
    floor = scale.floor * baseline.range if scale.floor_relative else scale.floor
    frozen, now = max(baseline.spread, floor), max(spread, floor)
    found = 0.0
    if scale.center == "baseline":
        found = _share(IQR_OF_SD * abs(center - baseline.center), frozen)
    if scale.spread == "baseline":
        found = max(found, _share(IQR_OF_SD * (max(frozen, now) - min(frozen, now)), min(frozen, now)))
    return found


def _share(part: float, whole: float) -> float:
    if whole > 0:
        return part / whole
    return math.inf if part > 0 else 0.0
