"""Plain measures on the way of the alarms: heart rate, skin conductance responses a minute, the SPI-style index.

They are those of the pipeline itself (`Comparators`, one after each window), so that what is evaluated is what the
monitor shows. Heart rate and responses are told by what the subject's own rest showed, as the model is, so that one
limit means the same for everybody: 25 points for each standard deviation above the resting median. Limits of the grid
thus lie between 1 and 3 standard deviations. The SPI-style index is taken as it is (`monitor.scoring.pleth`): it knows
the subject's own values and is near 50 at rest. None of these has a limit that anybody validated.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import numpy as np

from models.data.recorded import FloatArray
from models.data.streams import MOST_CALIBRATION_S
from models.evaluation.alarm_path import Step
from models.evaluation.streaming_feed import LiveRun
from monitor.scoring.index import IndexTracker
from monitor.types import Comparators

HEART_RATE: Final = "heart rate"
SCR_RATE: Final = "SCR rate"
SPI_STYLE: Final = "SPI-style"

POINTS_A_DEVIATION: Final = 25.0
_FLOORS: Final[Mapping[str, float]] = {HEART_RATE: 2.0, SCR_RATE: 1.0}
"""Least standard deviations in 1/min: a resting subject without any response would divide by nothing."""
_LEAST_REST: Final = 10
"""Windows at rest that a spread is taken from."""


def plain_steps(run: LiveRun) -> dict[str, tuple[Step, ...]]:
    """Indices of the plain measures, one for each window of a live run, by name.

    A measure is missing where its signal is not among those that the model reads, or where it has no values at rest;
    the SPI-style index also where the rest before the first stimulus is too short for its reference.

    Args:
        run: The sitting, live.
    """
    rest = np.array([found.t_end for found in run.comparators]) <= _rest_until(run)
    spi = spi_values(run.comparators)
    values: dict[str, FloatArray | None] = {
        HEART_RATE: _index(heart_rates(run.comparators), rest, _FLOORS[HEART_RATE]),
        SCR_RATE: _index(scr_rates(run.comparators), rest, _FLOORS[SCR_RATE]),
        SPI_STYLE: spi if np.isfinite(spi).any() else None,
    }
    absent = {
        HEART_RATE: [found.heart_rate_absent for found in run.comparators],
        SCR_RATE: [found.scr_absent for found in run.comparators],
        SPI_STYLE: [found.spi_absent for found in run.comparators],
    }
    return {name: _steps(run, found, absent[name]) for name, found in values.items() if found is not None}


def _rest_until(run: LiveRun) -> float:
    """End of the rest that measures refer to: the calibration's, or its longest time where the model needs none."""
    return run.calibrated_at or min(run.first_s, MOST_CALIBRATION_S)


def heart_rates(measured: Sequence[Comparators]) -> FloatArray:
    """(windows,) beats a minute; NaN where it could not be told."""
    return _values([found.heart_rate_bpm for found in measured])


def scr_rates(measured: Sequence[Comparators]) -> FloatArray:
    """(windows,) skin conductance responses a minute; NaN where unknown."""
    return 60.0 * _values([found.scr_per_s for found in measured])


def spi_values(measured: Sequence[Comparators]) -> FloatArray:
    """(windows,) SPI-style index, 0 to 100; NaN where unknown."""
    return _values([found.spi for found in measured])


def _values(found: Sequence[float | None]) -> FloatArray:
    return np.array([math.nan if value is None else value for value in found], dtype=np.float64)


def _index(values: FloatArray, rest: np.ndarray, floor: float) -> FloatArray | None:
    """Points by standard deviations above the median at rest, the robust ones of the calibration.

    Args:
        values: (windows,) in 1/min.
        rest: (windows,) whether the subject rested.
        floor: Least standard deviation.

    Returns:
        (windows,) 0 to 100; None without enough windows at rest.
    """
    at_rest = values[rest & np.isfinite(values)]
    if len(at_rest) < _LEAST_REST:
        return None
    lower, center, upper = np.percentile(at_rest, [25.0, 50.0, 75.0])
    told = (values - center) / max((upper - lower) / 1.349, floor)
    return np.clip(POINTS_A_DEVIATION * told, 0.0, 100.0)


def _steps(run: LiveRun, values: FloatArray, absent: Sequence[tuple[str, ...]]) -> tuple[Step, ...]:
    """The measure as scores with an index of its own, averaged over 10 s as the model's is."""
    tracker, until_s = IndexTracker(hop_s=run.hop_s), _rest_until(run)
    steps = []
    for score, value, reasons in zip(run.scores, values.tolist(), absent, strict=True):
        calibrating = score.t_end <= until_s
        known = math.isfinite(value)
        told = replace(
            score,
            absent=() if known else reasons,
            uncertain=(),
            calibration="population" if calibrating else "subject",
            index=value if known else None,
        )
        steps.append((tracker.update(told), told))
    return tuple(steps)
