"""Blocks of stress against the rests beside them: whether an index answers to arousal, and plain measures beside it.

Stress is not pain. An index that rises here answers to arousal, whatever it was trained for; one that does not may
still answer to pain. The blocks lie in the middle of a session and skin conductance on the wrist drifts upwards, so
each block is compared with the mean of the rests before and after, of each the nearest 5 minutes. People speak and move
in the interview.

Chance is what comes of labels that are shuffled within each subject: which of the three stretches is called the block
is drawn at random. Its mean must be nought and its spread says how large a difference means nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.evaluation.recordings_replay import Course, Segment
from models.evaluation.resampling import mean_with_interval
from monitor.scoring.comparators import SPAN_S, ScrCounter
from monitor.scoring.index import FAST_S
from monitor.sources.base import Signal

FloatArray = NDArray[np.float64]

NEAREST_S: Final = 300.0
"""Of a rest, so much beside the block is taken."""
LEAST_WINDOWS: Final = 3
"""Fewer than these in a stretch tell nothing of it."""
SHUFFLES: Final = 2000
INDEX: Final = "index"
SCR_RATE: Final = "SCR rate (1/min)"
MEASURES: Final = (INDEX, "EDA level (uS)", SCR_RATE, "heart rate (1/min)")
NOTICE: Final = "Arousal, never pain: nobody here is in pain, and stress is another thing"


def arousal_of(courses: Sequence[Course], *, seed: int, shuffles: int = SHUFFLES) -> dict[str, Any]:
    """Compare blocks of stress with the rests beside them, by kind of block and measure.

    Args:
        courses: Recordings with rests and blocks in turn, one a subject.
        seed: Of intervals and shuffles.
        shuffles: How many.

    Returns:
        `notice`, and `blocks`: by kind of block and measure `subjects`, `difference` with `low` and `high` (mean over
        subjects of block less mean of the rests, 95 % over subjects), `share_higher` (of the subjects), `p` (two-sided,
        against shuffled labels), `shuffled` (mean, low and high of the difference with shuffled labels).
    """
    rows: dict[str, dict[str, list[tuple[float, float, float]]]] = {}
    for course in courses:
        series = measures_of(course)
        for before, block, after in _triples(course.segments):
            for name in MEASURES:
                found = [
                    _mean(course, series[name], *span, reach_s=SPAN_S if name == SCR_RATE else FAST_S)
                    for span in (
                        (block.start_s, block.end_s),
                        (max(before.start_s, before.end_s - NEAREST_S), before.end_s),
                        (after.start_s, min(after.end_s, after.start_s + NEAREST_S)),
                    )
                ]
                if np.isfinite(found).all():
                    rows.setdefault(block.name, {}).setdefault(name, []).append((found[0], found[1], found[2]))
    return {
        "notice": NOTICE,
        "blocks": {
            kind: {
                name: contrast(np.array(measures[name]), seed=seed, shuffles=shuffles)
                for name in MEASURES
                if name in measures
            }
            for kind, measures in rows.items()
        },
    }


def contrast(values: FloatArray, *, seed: int, shuffles: int = SHUFFLES) -> dict[str, Any]:
    """The figures of one measure and kind of block, see `arousal_of`.

    Args:
        values: (subjects, 3): in the block, in the rest before, in the rest after.
        seed: Of intervals and shuffles.
        shuffles: How many.
    """
    differences = _difference(values)
    figure = mean_with_interval(differences, seed=seed)
    rng = np.random.Generator(np.random.PCG64(seed))
    # Which of the three is called the block; the other two are its rests.
    called = rng.integers(3, size=(shuffles, len(values)))
    every = np.stack([_difference(np.roll(values, -i, axis=1)) for i in range(3)])
    drawn = every[called, np.arange(len(values))].mean(axis=1)
    low, high = np.percentile(drawn, [2.5, 97.5])
    beyond = np.count_nonzero(np.abs(drawn) >= abs(figure.value) - 1e-12)
    return {
        "subjects": len(values),
        "difference": figure.value,
        "low": figure.low,
        "high": figure.high,
        "share_higher": float(np.mean(differences > 0)),
        "p": float((beyond + 1) / (shuffles + 1)),
        "shuffled": {"mean": float(drawn.mean()), "low": float(low), "high": float(high)},
    }


def _difference(values: FloatArray) -> FloatArray:
    """(n,) first column less the mean of the other two."""
    told: FloatArray = values[:, 0] - values[:, 1:].mean(axis=1)
    return told


def _triples(segments: Sequence[Segment]) -> list[tuple[Segment, Segment, Segment]]:
    return [
        (before, block, after)
        for before, block, after in zip(segments, segments[1:], segments[2:], strict=False)
        if before.rest and after.rest and not block.rest
    ]


def _mean(course: Course, values: FloatArray, start_s: float, end_s: float, *, reach_s: float) -> float:
    """Mean over the windows that lie in a stretch with all that they look back on; NaN for too few."""
    since = max(start_s, course.calibrated_at) + course.length_s + reach_s
    inside = values[(course.t > since) & (course.t <= end_s)]
    inside = inside[np.isfinite(inside)]
    return float(inside.mean()) if len(inside) >= LEAST_WINDOWS else float("nan")


def measures_of(course: Course) -> dict[str, FloatArray]:
    """By name of the measure, (windows,) values; NaN where there is none."""
    rates = [
        next((q.metrics["heart_rate_bpm"] for q in s.quality if q.usable and "heart_rate_bpm" in q.metrics), np.nan)
        for s in course.scores
    ]
    level, responses = (
        (np.full(len(course.t), np.nan),) * 2 if course.eda is None else _skin(course.eda, course.t, course.length_s)
    )
    return dict(zip(MEASURES, (course.fast, level, responses, np.array(rates, dtype=np.float64)), strict=True))


def _skin(signal: Signal, t: FloatArray, length_s: float) -> tuple[FloatArray, FloatArray]:
    """Mean conductance of each window, and responses a minute up to its end."""
    rate_hz = signal.candidate.rate_hz or 4.0
    counter = ScrCounter(rate_hz=rate_hz)
    stops = np.clip(np.floor((t - signal.t_first) * rate_hz).astype(int) + 1, 0, len(signal.samples))
    level, responses = np.full(len(t), np.nan), np.full(len(t), np.nan)
    done = 0
    for i, stop in enumerate(stops.tolist()):
        if stop > done:
            counter.add(signal.samples[done:stop], signal.t_first + done / rate_hz)
            done = stop
        own = signal.samples[max(stop - round(length_s * rate_hz), 0) : stop]
        level[i] = float(np.mean(own)) if len(own) else np.nan
        responses[i] = np.nan if (rate := counter.per_minute()) is None else rate
    return level, responses
