"""Intervals and tests over subjects: windows of one person are alike, so people are what is drawn again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy.stats import wilcoxon

from models.evaluation.summary import Figure

FloatArray = NDArray[np.float64]

DRAWS: Final = 1000
COVERED: Final = 0.95


def subject_draws(subjects: int, *, seed: int, draws: int = DRAWS) -> NDArray[np.float32]:
    """How often each subject is in each bootstrap draw: as many subjects as there are, with replacement.

    Methods with the same subjects get the same draws, so that their figures are paired.

    Args:
        subjects: How many there are, 1 at least.
        seed: Of the draws.
        draws: How many.

    Returns:
        (draws, subjects) whole numbers; every row adds up to `subjects`.
    """
    rng = np.random.Generator(np.random.PCG64([seed, subjects]))
    return rng.multinomial(subjects, np.full(subjects, 1.0 / subjects), size=draws).astype(np.float32)


def with_interval(value: float, drawn: NDArray[np.floating], *, centred: bool = False) -> Figure:
    """A figure with its percentile interval.

    Args:
        value: Of the subjects as they are.
        drawn: (draws,) the same of each draw; not finite ones (a draw without one of the classes) are left out.
        centred: Shift the draws so that their median is the value. For figures that repetition alone makes larger: the
            expected calibration error of drawn subjects is greater than that of the subjects, since every one of them
            comes up several times. Never below 0.

    Returns:
        The figure; without an interval where fewer than half of the draws give one, or all are the same subject.
    """
    finite = np.asarray(drawn, dtype=np.float64)
    finite = finite[np.isfinite(finite)]
    if not np.isfinite(value) or len(finite) * 2 < max(len(drawn), 2):
        return Figure(value=float(value))
    if centred:
        finite = np.maximum(finite - np.median(finite) + value, 0.0)
    low, high = np.quantile(finite, [(1.0 - COVERED) / 2, (1.0 + COVERED) / 2])
    return Figure(value=float(value), low=float(min(low, value)), high=float(max(high, value)))


def mean_with_interval(by_subject: FloatArray, *, seed: int, draws: int = DRAWS) -> Figure:
    """Mean over subjects with its bootstrap interval; of paired differences, this is the paired bootstrap.

    Args:
        by_subject: (subjects,), one at least.
        seed: Of the draws.
        draws: How many.
    """
    value = float(np.mean(by_subject))
    if len(by_subject) < 2:
        return Figure(value=value)
    drawn = subject_draws(len(by_subject), seed=seed, draws=draws) @ by_subject / len(by_subject)
    return with_interval(value, drawn)


def signed_rank(differences: FloatArray) -> float:
    """P value of Wilcoxon's signed-rank test, two-sided; 1 where no two subjects differ.

    Args:
        differences: (subjects,) paired differences. Zeros take part in the ranking (Pratt 1959), since most subjects
            have few windows and ties are common.
    """
    if not np.any(np.abs(differences) > 1e-12):
        return 1.0
    rounded = np.round(differences, 12)  # or equal differences are ranked by their rounding errors
    return float(wilcoxon(rounded, zero_method="pratt", method="approx").pvalue)


def holm(p: Sequence[float]) -> tuple[float, ...]:
    """P values corrected for all of a table (Holm 1979): never smaller, in the same order, 1 at most."""
    values = np.asarray(p, dtype=np.float64)
    if not len(values):
        return ()
    order = np.argsort(values, kind="stable")
    stepped = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty_like(values)
    corrected[order] = np.minimum(stepped, 1.0)
    return tuple(corrected.tolist())
