"""Plain measures on the way of the alarms: heart rate, skin conductance responses a minute, an SPI-style index.

Each is told by what the subject's own calibration showed, as the model is, so that one limit means the same for
everybody: 25 points for each standard deviation above the resting median. Limits of the grid thus lie between 1 and 3
standard deviations. The SPI-style index is 100 - (0.7 amplitude + 0.3 beat interval), both as percentages of the
normal distribution of the subject at rest (after Huiku et al. 2007, Br J Anaesth 98:447, whose normalisation is not
public in full): about 50 at rest. None of these has a limit that anybody validated.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from scipy.special import ndtr

from models.data.recorded import FloatArray
from models.data.streams import MOST_CALIBRATION_S
from models.evaluation.alarm_path import Step
from models.evaluation.streaming_feed import Line, LiveRun
from models.evaluation.streaming_offline import ArrayPath
from monitor.bundle import BundleSpec
from monitor.scoring.comparators import ScrCounter
from monitor.scoring.index import IndexTracker
from monitor.types import Score

HEART_RATE: Final = "heart rate"
SCR_RATE: Final = "SCR rate"
SPI_STYLE: Final = "SPI-style"

POINTS_A_DEVIATION: Final = 25.0
_FLOORS: Final[Mapping[str, float]] = {HEART_RATE: 2.0, SCR_RATE: 1.0}
"""Least standard deviations in 1/min: a resting subject without any response would divide by nothing."""
_LEAST_REST: Final = 10
"""Windows at rest that a spread is taken from."""


def plain_steps(run: LiveRun, spec: BundleSpec) -> dict[str, tuple[Step, ...]]:
    """Indices of the plain measures, one for each window of a live run, by name.

    A measure is missing where its signal is not among those that the model reads, or where it has no values at rest.

    Args:
        run: The sitting, live; its heart rates come from the quality of its windows.
        spec: What the model reads.
    """
    t_end = np.array([score.t_end for score in run.scores])
    rest = t_end <= _rest_until(run)
    lines = {line.info.modality: line for line in run.lines}
    rate = heart_rates(run.scores)
    values: dict[str, FloatArray | None] = {HEART_RATE: _index(rate, rest, _FLOORS[HEART_RATE])}
    if "EDA" in lines:
        values[SCR_RATE] = _index(scr_rates(lines["EDA"], t_end), rest, _FLOORS[SCR_RATE])
    if "BVP" in lines:
        values[SPI_STYLE] = _spi(rate, pulse_amplitudes(run, spec), rest)
    return {name: _steps(run, found) for name, found in values.items() if found is not None}


def _rest_until(run: LiveRun) -> float:
    """End of the rest that measures refer to: the calibration's, or its longest time where the model needs none."""
    return run.calibrated_at or min(run.first_s, MOST_CALIBRATION_S)


def heart_rates(scores: Sequence[Score]) -> FloatArray:
    """(windows,) beats a minute as the quality gate counted them in usable signal; NaN where it did not."""
    found = []
    for score in scores:
        rates = [q.metrics["heart_rate_bpm"] for q in score.quality if q.usable and "heart_rate_bpm" in q.metrics]
        found.append(rates[0] if rates else math.nan)
    return np.array(found, dtype=np.float64)


def scr_rates(line: Line, t_end: FloatArray) -> FloatArray:
    """(windows,) skin conductance responses a minute up to each window's end, counted causally; NaN where unknown."""
    counter = ScrCounter(rate_hz=line.info.rate_hz)
    found = np.full(len(t_end), math.nan)
    done = 0
    longest_s = 2.5 / line.info.rate_hz
    for i, t in enumerate(t_end.tolist()):
        until = int(np.searchsorted(line.stamps, t, side="right"))
        stamps = line.stamps[done:until]
        breaks = np.flatnonzero(np.diff(stamps) > longest_s) + 1
        if done and len(stamps) and stamps[0] - line.stamps[done - 1] > longest_s:
            counter.restart()
        for first, last in zip([0, *breaks.tolist()], [*breaks.tolist(), len(stamps)], strict=True):
            if first:
                counter.restart()
            if last > first:
                counter.add(line.samples[done + first : done + last], float(stamps[first]))
        done = until
        found[i] = math.nan if (rate := counter.per_minute()) is None else rate
    return found


def pulse_amplitudes(run: LiveRun, spec: BundleSpec) -> FloatArray:
    """(windows,) 90 % range of the filtered pulse wave, in the device's own unit; NaN where it is not usable."""
    item = next(item for item in spec.inputs if item.modality == "BVP")
    path = ArrayPath(run.lines, spec)
    found = []
    for score in run.scores:
        points = path.points(item, score.t_end)
        found.append(math.nan if isinstance(points, str) else float(np.ptp(np.percentile(points, [5.0, 95.0]))))
    return np.array(found, dtype=np.float64)


def _deviations(values: FloatArray, rest: np.ndarray, floor: float) -> FloatArray | None:
    """Standard deviations above the median at rest, the robust ones of the calibration; None without enough of it."""
    at_rest = values[rest & np.isfinite(values)]
    if len(at_rest) < _LEAST_REST:
        return None
    lower, center, upper = np.percentile(at_rest, [25.0, 50.0, 75.0])
    told: FloatArray = (values - center) / max((upper - lower) / 1.349, floor)
    return told


def _index(values: FloatArray, rest: np.ndarray, floor: float) -> FloatArray | None:
    told = _deviations(values, rest, floor)
    return None if told is None else np.clip(POINTS_A_DEVIATION * told, 0.0, 100.0)


def _spi(rate: FloatArray, amplitude: FloatArray, rest: np.ndarray) -> FloatArray | None:
    """100 - (0.7 amplitude + 0.3 beat interval), each as a percentage of the subject's normal at rest."""
    interval = _deviations(60.0 / rate, rest, 0.02)
    typical = float(np.nanmedian(amplitude[rest])) if np.isfinite(amplitude[rest]).any() else math.nan
    pulse = _deviations(amplitude, rest, 0.05 * typical) if typical > 0 else None
    if interval is None or pulse is None:
        return None
    normal: Callable[[FloatArray], FloatArray] = ndtr
    told: FloatArray = 100.0 - (70.0 * normal(pulse) + 30.0 * normal(interval))
    return told


def _steps(run: LiveRun, values: FloatArray) -> tuple[Step, ...]:
    """The measure as scores with an index of its own, averaged over 10 s as the model's is."""
    tracker, until_s = IndexTracker(hop_s=run.hop_s), _rest_until(run)
    steps = []
    for score, value in zip(run.scores, values.tolist(), strict=True):
        calibrating = score.t_end <= until_s
        known = math.isfinite(value)
        told = replace(
            score,
            absent=() if known else ("EDA:no_data",),
            uncertain=(),
            calibration="population" if calibrating else "subject",
            index=value if known else None,
        )
        steps.append((tracker.update(told), told))
    return tuple(steps)
