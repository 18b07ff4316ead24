"""Figures of one method on some windows, of the subjects as they are and of every bootstrap draw of them at once.

A draw is a count by subject, so a figure is computed from sums by subject: confusion matrices, cumulative counts along
the sorted scores. That is what makes a thousand draws of sixty people a few products of matrices.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.data.base import IntArray
from models.evaluation.summary import ReliabilityBin

FloatArray = NDArray[np.float64]

ECE_BINS: Final = 15
_SHARES: Final = np.arange(1, ECE_BINS + 1) / ECE_BINS * (1.0 + 1e-6)
SPECIFICITY: Final = 0.9
_AT_ONCE: Final = 4_000_000
"""Numbers in one product of draws and thresholds; what bounds the memory."""
_LEAST: Final = 1e-6
"""Probabilities are at least so far from 0 and 1 before their logarithm is taken."""
_STEPS: Final = 50
_STEEPEST: Final = 50.0
"""A slope beyond this means that the classes are told apart without error: there is no finite one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Scored:
    """Windows of some subjects with what was said of them."""

    labels: IntArray
    """(n,)."""
    probabilities: FloatArray
    """(n, classes)."""
    subject: IntArray
    """(n,) number of the subject, from 0."""
    subjects: int

    @property
    def classes(self) -> int:
        """How many."""
        return int(self.probabilities.shape[1])

    @property
    def pain(self) -> FloatArray:
        """(n,) probability of any pain: 1 less that of the first class."""
        return 1.0 - self.probabilities[:, 0]

    @property
    def balance(self) -> FloatArray:
        """(n,) weights under which every class that is there counts the same, 1 on average.

        Probabilities are told on a balanced prior, and are judged on it.
        """
        counts = np.bincount(self.labels, minlength=self.classes)
        return np.asarray(len(self.labels) / (np.count_nonzero(counts) * counts[self.labels]), dtype=np.float64)


def confusions(scored: Scored) -> FloatArray:
    """(subjects, classes, classes) windows by true class (rows) and told class (columns)."""
    counts = np.zeros((scored.subjects, scored.classes, scored.classes))
    np.add.at(counts, (scored.subject, scored.labels, scored.probabilities.argmax(axis=1)), 1.0)
    return counts


def of_confusions(matrices: NDArray[np.floating], *, ordered: bool) -> dict[str, FloatArray]:
    """Figures of confusion matrices.

    Recalls are averaged over the classes that are there, F1 over those that are there or were told (as scikit-learn
    does); MCC is Gorodkin's for several classes (2004).

    Args:
        matrices: (..., classes, classes), rows are true classes.
        ordered: Add `mae` (class steps) and `qwk` (quadratically weighted kappa).

    Returns:
        (...) of each figure; NaN where a matrix does not give one.
    """
    m = np.asarray(matrices, dtype=np.float64)
    total, hit = m.sum(axis=(-2, -1)), np.diagonal(m, axis1=-2, axis2=-1)
    true, told = m.sum(axis=-1), m.sum(axis=-2)
    with np.errstate(divide="ignore", invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # the mean of no class is NaN, which is meant
        figures = {
            "balanced_accuracy": np.nanmean(hit / true, axis=-1),
            "accuracy": hit.sum(axis=-1) / total,
            "macro_f1": np.nanmean(2.0 * hit / (true + told), axis=-1),
        }
        covariance = hit.sum(axis=-1) * total - (true * told).sum(axis=-1)
        spread = (total**2 - (true**2).sum(axis=-1)) * (total**2 - (told**2).sum(axis=-1))
        # Telling one class always has no correlation with anything: 0, as scikit-learn has it.
        figures["mcc"] = np.where(spread > 0.0, covariance / np.sqrt(np.maximum(spread, 1e-300)), 0.0)
        if ordered:
            steps = np.abs(np.subtract.outer(np.arange(m.shape[-1]), np.arange(m.shape[-1])))
            figures["mae"] = (m * steps).sum(axis=(-2, -1)) / total
            chance = (true[..., :, None] * told[..., None, :] * steps**2).sum(axis=(-2, -1)) / total
            figures["qwk"] = 1.0 - (m * steps**2).sum(axis=(-2, -1)) / chance
    return {name: np.asarray(values, dtype=np.float64) for name, values in figures.items()}


def _running(order: IntArray, ends: IntArray, scored: Scored, values: FloatArray) -> FloatArray:
    """(subjects, thresholds) sums of values along an order, up to each threshold."""
    spread = np.zeros((scored.subjects, len(order)))
    spread[scored.subject[order], np.arange(len(order))] = values[order]
    return np.asarray(np.cumsum(spread, axis=1, out=spread)[:, ends])


def _ranked(scores: FloatArray, *, falling: bool) -> tuple[IntArray, IntArray]:
    """Order by score, and where each run of equal scores ends: equal ones are never told apart by their order."""
    order = np.argsort(-scores if falling else scores, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(scores[order])), len(scores) - 1)
    return order, ends


def _chunks(weights: NDArray[np.floating], thresholds: int) -> Iterator[NDArray[np.floating]]:
    rows = max(1, _AT_ONCE // max(thresholds, 1))
    for start in range(0, len(weights), rows):
        yield weights[start : start + rows]


def of_ranking(
    scored: Scored, scores: FloatArray, positive: NDArray[np.bool_], weights: NDArray[np.floating]
) -> dict[str, FloatArray]:
    """Figures of scores that should be higher for positive windows.

    Args:
        scored: The windows.
        scores: (n,).
        positive: (n,).
        weights: (draws, subjects) counts of subjects.

    Returns:
        (draws,) of `auroc` (trapezoids), `auprc` (average precision: no interpolation) and `sensitivity_at_90`
        (the highest sensitivity of all thresholds with a specificity of 0.9 at least); NaN where a draw has one class.
    """
    order, ends = _ranked(scores, falling=True)
    rising = _running(order, ends, scored, positive.astype(np.float64))
    falling = _running(order, ends, scored, (~positive).astype(np.float64))
    all_hits, all_alarms = (weights.astype(np.float64) @ sums[:, -1] for sums in (rising, falling))
    none = (all_hits == 0) | (all_alarms == 0)
    p, n = np.where(none, np.nan, all_hits), np.where(none, np.nan, all_alarms)
    # Wins of each subject's positive windows over each other's negative ones: every new alarm is beaten by the hits
    # before it, and by half of those of the same score. A draw weighs them by both counts.
    before = np.diff(rising, axis=1, prepend=0.0) / 2.0
    wins = (rising - before) @ np.diff(falling, axis=1, prepend=0.0).T
    area = np.einsum("is,st,it->i", weights, wins, weights, dtype=np.float64, optimize=True)
    # Precision counts only where a threshold brings hits.
    hit_at = np.flatnonzero(np.diff(rising.sum(axis=0), prepend=0.0) > 0)
    hits_there, alarms_there = (
        np.ascontiguousarray(sums[:, hit_at].astype(weights.dtype)) for sums in (rising, falling)
    )
    rising, falling = rising.astype(weights.dtype), falling.astype(weights.dtype)
    precision, best = [], []
    for part in _chunks(weights, len(ends)):
        hits = part @ hits_there
        told = np.maximum(hits + part @ alarms_there, 1e-9)
        np.divide(hits, told, out=told)
        told[:, 1:] *= hits[:, 1:] - hits[:, :-1]
        told[:, 0] *= hits[:, 0]
        precision.append(told.sum(axis=1, dtype=np.float64))
        alarms = part @ falling
        kept = np.count_nonzero(alarms <= ((1.0 - SPECIFICITY) * (1.0 + 1e-6)) * alarms[:, -1:], axis=1)
        found = np.einsum("is,si->i", part, rising[:, np.maximum(kept - 1, 0)], dtype=np.float64)
        best.append(np.where(kept > 0, found, 0.0))
    return {
        "auroc": area / (p * n),
        "auprc": np.concatenate(precision) / p,
        "sensitivity_at_90": np.concatenate(best) / p,
    }


def of_probabilities(scored: Scored, weights: NDArray[np.floating]) -> dict[str, FloatArray]:
    """How far the probability of pain can be believed, every class counting the same.

    Args:
        scored: The windows.
        weights: (draws, subjects) counts of subjects.

    Returns:
        (draws,) of `ece` (15 bins of equal mass), `brier` (mean square error of the probability of pain), and `slope`
        and `intercept` of logit(true) = intercept + slope * logit(told) (Cox 1958; 1 and 0 are ideal); the latter two
        are NaN where the classes are told apart without error.
    """
    told, pain, mass = scored.pain, (scored.labels > 0).astype(np.float64), scored.balance
    order, ends = _ranked(told, falling=False)
    sums = [_running(order, ends, scored, each).astype(weights.dtype) for each in (mass, mass * (told - pain))]
    ece = [_bin_errors(part @ sums[0], part @ sums[1]) for part in _chunks(weights, len(ends))]
    by_subject = np.bincount(scored.subject, mass * (told - pain) ** 2, minlength=scored.subjects)
    total = np.bincount(scored.subject, mass, minlength=scored.subjects)
    intercept, slope = _recalibrated(scored, told, pain, mass, weights)
    return {
        "ece": np.concatenate(ece),
        "brier": (weights @ by_subject) / (weights @ total),
        "slope": slope,
        "intercept": intercept,
    }


def _edges(mass: NDArray[np.floating]) -> IntArray:
    """(15,) ends of bins of equal mass in running sums; equal probabilities stay in one bin."""
    wanted = mass[-1] * _SHARES
    edges = mass.searchsorted(wanted, side="right")
    edges[-1] = len(mass)
    return np.asarray(edges, dtype=np.int64)


def _bin_errors(mass: NDArray[np.floating], excess: NDArray[np.floating]) -> FloatArray:
    """(draws,) expected calibration errors of (draws, thresholds) running sums of mass and of mass * (told - true)."""
    edges = np.stack([_edges(row) for row in mass])
    ends = np.where(edges > 0, np.take_along_axis(excess, np.maximum(edges, 1) - 1, axis=1), 0.0)
    return np.asarray(np.abs(np.diff(ends, axis=1, prepend=0.0)).sum(axis=1) / mass[:, -1], dtype=np.float64)


def calibration_errors(told: FloatArray, mass: FloatArray, excess: FloatArray) -> FloatArray:
    """Expected calibration errors of the same told probabilities, 15 bins of equal mass, for several sets of labels.

    Args:
        told: (n,) probabilities of pain.
        mass: (draws, n) weights.
        excess: (draws, n) mass * (told - true).

    Returns:
        (draws,).
    """
    order, ends = _ranked(told, falling=False)
    sums = [np.cumsum(each[:, order], axis=1)[:, ends] for each in (mass, excess)]
    return _bin_errors(sums[0], sums[1])


def _recalibrated(
    scored: Scored, told: FloatArray, pain: FloatArray, mass: FloatArray, weights: NDArray[np.floating]
) -> tuple[FloatArray, FloatArray]:
    """Intercept and slope: by Newton's method of everybody, of a draw by one further step from there.

    One step from a root-n consistent estimate has the same limit as the full solution, and sums over subjects suffice
    for it.
    """
    x = log_odds(told)
    coefficients = recalibration(x, pain, mass)
    if coefficients is None:
        none = np.full(len(weights), np.nan)
        return none, none
    gradient, curvature = _newton_sums(x, pain, mass, coefficients)
    by_subject = [
        np.stack([np.bincount(scored.subject, column, minlength=scored.subjects) for column in columns.T], axis=1)
        for columns in (gradient, curvature)
    ]
    wide = weights.astype(np.float64)
    moved = coefficients + _solve(wide @ by_subject[0], wide @ by_subject[1])
    return moved[:, 0], moved[:, 1]


def log_odds(told: FloatArray) -> FloatArray:
    """(n,) logarithms of the odds of (n,) probabilities, which are kept off 0 and 1."""
    clipped = np.clip(told, _LEAST, 1.0 - _LEAST)
    return np.asarray(np.log(clipped / (1.0 - clipped)), dtype=np.float64)


def recalibration(
    x: FloatArray, pain: FloatArray, mass: FloatArray, *, free: tuple[bool, bool] = (True, True)
) -> FloatArray | None:
    """(intercept, slope) of logit(true) = intercept + slope * logit(told) (Cox 1958), the likeliest by Newton's method.

    A step under which the labels would become less likely is halved: from probabilities that are far too sure the whole
    one leads astray.

    Args:
        x: (n,) log odds that were told.
        pain: (n,) 1 where there was pain, else 0.
        mass: (n,) weights.
        free: Which of the two is fitted; the other stays at 0 or 1.

    Returns:
        (2,), or None where there is no finite one: one class or one probability only, or classes told apart without
        error.
    """
    at, which = np.array([0.0, 1.0]), np.array(free)
    likelihood = _log_likelihood(x, pain, mass, at)
    for _ in range(_STEPS):
        gradients, curvatures = _newton_sums(x, pain, mass, at)
        gradient, (a, b, c) = gradients.sum(axis=0), curvatures.sum(axis=0)
        if a * c - b**2 <= 1e-9 * max(a * c, 1e-12):
            return None
        if all(free):
            step = _solve(gradient[None], np.array([[a, b, c]]))[0]
        else:
            step = np.where(which, gradient / np.array([a, c]), 0.0)
        step = np.clip(step, -2.0, 2.0)
        while (found := _log_likelihood(x, pain, mass, at + step)) < likelihood - 1e-9 * abs(likelihood):
            step = step / 2.0
        at, likelihood = at + step, found
        if abs(at[1]) > _STEEPEST:
            return None
        if np.abs(step).max() < 1e-10:
            break
    return at


def _log_likelihood(x: FloatArray, pain: FloatArray, mass: FloatArray, at: FloatArray) -> float:
    score = at[0] + at[1] * x
    return float(mass @ (pain * score - np.logaddexp(0.0, score)))


def _newton_sums(
    x: FloatArray, pain: FloatArray, mass: FloatArray, coefficients: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """(n, 2) gradients of the log likelihood and (n, 3) of the information (00, 01, 11), one row a window."""
    chance = 1.0 / (1.0 + np.exp(-np.clip(coefficients[0] + coefficients[1] * x, -500.0, 500.0)))
    residual, spread = mass * (pain - chance), mass * chance * (1.0 - chance)
    return np.stack([residual, residual * x], axis=1), np.stack([spread, spread * x, spread * x * x], axis=1)


def _solve(gradient: FloatArray, curvature: FloatArray) -> FloatArray:
    """(k, 2) solutions of k symmetric two-by-two systems."""
    a, b, c = curvature.T
    with np.errstate(divide="ignore", invalid="ignore"):
        determinant = a * c - b * b
        first = (c * gradient[:, 0] - b * gradient[:, 1]) / determinant
        second = (a * gradient[:, 1] - b * gradient[:, 0]) / determinant
    return np.stack([first, second], axis=1)


def reliability(scored: Scored) -> tuple[ReliabilityBin, ...]:
    """Told probability of pain against the share that was painful, in up to 15 bins of equal mass."""
    told, pain, mass = scored.pain, (scored.labels > 0).astype(np.float64), scored.balance
    order, ends = _ranked(told, falling=False)
    edges = _edges(np.cumsum(mass[order])[ends])
    stops = np.append(ends + 1, len(told))[np.maximum(edges, 1) - 1]
    stops[edges == 0] = 0
    bins, start = [], 0
    for stop in stops:
        if stop > start:
            own = order[start:stop]
            weight = mass[own] / mass[own].sum()
            bins.append(
                ReliabilityBin(told=float(weight @ told[own]), true=float(weight @ pain[own]), count=int(stop - start))
            )
        start = max(start, int(stop))
    return tuple(bins)


def all_figures(scored: Scored, weights: NDArray[np.floating]) -> dict[str, FloatArray]:
    """(draws,) of every figure of `models.evaluation.summary.Row`."""
    ordered = scored.classes > 2
    flat = confusions(scored).reshape(scored.subjects, -1).astype(weights.dtype)
    matrices = (weights @ flat).reshape(-1, scored.classes, scored.classes)
    figures = of_confusions(matrices, ordered=ordered)
    figures |= of_ranking(scored, scored.pain, scored.labels > 0, weights)
    if ordered:
        ends = (scored.labels == 0) | (scored.labels == scored.classes - 1)
        if ends.any():
            own = Scored(
                labels=scored.labels[ends],
                probabilities=scored.probabilities[ends],
                subject=scored.subject[ends],
                subjects=scored.subjects,
            )
            expected = own.probabilities @ np.linspace(0.0, 1.0, own.classes)
            severe = of_ranking(own, expected, own.labels > 0, weights)
            figures |= {"auroc_severe": severe["auroc"], "auprc_severe": severe["auprc"]}
    return figures | of_probabilities(scored, weights)
