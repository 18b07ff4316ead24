"""Why probabilities are off: how much of an expected calibration error chance alone gives, and what carries the rest.

An expected calibration error is never nought: it adds up absolute differences, so chance makes it larger however right
the probabilities are. Two floors say by how much at this number of windows and of subjects. What lies above them is
looked for in the two ways in which log odds can be off as a whole: moved (calibration in the large, the intercept of
Cox 1958) or stretched (the slope). A temperature can undo a stretch and never a move.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.evaluation.figures import FloatArray, Scored, calibration_errors, log_odds, recalibration
from models.evaluation.summary import Row

ECE_AIM: Final = 0.05
"""Above it a report says why."""

DRAWS: Final = 200
_AT_ONCE: Final = 1_000_000
_FREE: Final = MappingProxyType({"moved": (True, False), "stretched": (False, True), "both": (True, True)})
"""Which of intercept and slope is fitted; both comes last."""
_HELPS: Final = 0.25
"""A move or a stretch that takes away less than this share of the error carries none of it."""


def miscalibration(scored: Scored, *, seed: int, draws: int = DRAWS) -> dict[str, float]:
    """Parts of the expected calibration error of the probability of any pain, every class counting the same.

    Args:
        scored: Held-out windows.
        seed: Of the draws.
        draws: How many.

    Returns:
        `ece`: as of `models.evaluation.figures.of_probabilities`. `floor`: its mean for labels that are drawn from the
        told probabilities themselves, every window by itself. `floor_subjects`: its mean where each subject's errors
        keep their size and are turned round at random as a whole (a wild bootstrap over subjects), once the best move
        and stretch are taken out: windows of one person are off together. `moved`, `stretched`, `both`: what is left of
        the error after the best move, stretch, or both of the log odds, found on these very windows, by hindsight:
        explanations, no figures. `offset`: that move, above 0 where pain is told too rarely. `stretch`: that factor,
        below 1 where probabilities are too sure. The last five are missing where there is one class only, or where
        the classes are told apart without error.
    """
    told, pain, mass = scored.pain, (scored.labels > 0).astype(np.float64), scored.balance
    found = {"ece": _error(told, pain, mass), "floor": _floor(scored, seed=seed, draws=draws)}
    x = log_odds(told)
    fits = {name: recalibration(x, pain, mass, free=free) for name, free in _FREE.items()}
    righted = told
    if len(there := {name: fit for name, fit in fits.items() if fit is not None}) == len(_FREE):
        for name, (intercept, slope) in there.items():
            righted = _logistic(intercept + slope * x)
            found[name] = _error(righted, pain, mass)
        found["offset"], found["stretch"] = float(there["moved"][0]), float(there["stretched"][1])
    found["floor_subjects"] = _floor_of_subjects(
        righted, mass * (righted - pain), mass, scored.subject, seed=seed, draws=draws
    )
    return found


def _error(told: FloatArray, pain: FloatArray, mass: FloatArray) -> float:
    return float(calibration_errors(told, mass[None], (mass * (told - pain))[None])[0])


def _logistic(score: FloatArray) -> FloatArray:
    return np.asarray(1.0 / (1.0 + np.exp(-np.clip(score, -500.0, 500.0))), dtype=np.float64)


def _chunks(draws: int, windows: int) -> Iterable[int]:
    size = max(1, _AT_ONCE // max(windows, 1))
    return (min(size, draws - start) for start in range(0, draws, size))


def _floor(scored: Scored, *, seed: int, draws: int) -> float:
    """Mean error where the labels are drawn from the probabilities, at the data's own shares of the classes."""
    n, classes = scored.probabilities.shape
    rng = np.random.default_rng([seed, 1])
    # Probabilities are told on a balanced prior, and labels come as often as the data have them: with each class's own
    # weight of the data, the drawn labels agree with what was told at every probability.
    counts = np.bincount(scored.labels, minlength=classes)
    weight = np.where(counts > 0, n / (np.count_nonzero(counts) * np.maximum(counts, 1)), 0.0)
    chances = scored.probabilities * counts
    total = chances.sum(axis=1, keepdims=True)
    chances = np.where(total > 0.0, chances / np.where(total > 0.0, total, 1.0), scored.probabilities)
    below = chances.cumsum(axis=1)[:, :-1]
    told, errors = scored.pain, []
    for size in _chunks(draws, n):
        labels = (rng.random((size, n))[..., None] > below).sum(axis=2)
        mass = weight[labels]
        errors.append(calibration_errors(told, mass, mass * (told - (labels > 0))))
    return float(np.concatenate(errors).mean())


def _floor_of_subjects(
    told: FloatArray, excess: FloatArray, mass: FloatArray, subject: NDArray[np.int64], *, seed: int, draws: int
) -> float:
    """Mean error where every subject's (n,) excess of told over true is kept or turned round as a whole."""
    rng = np.random.default_rng([seed, 2])
    errors = []
    for size in _chunks(draws, len(told)):
        signs = rng.choice([-1.0, 1.0], size=(size, int(subject.max()) + 1))
        errors.append(calibration_errors(told, np.broadcast_to(mass, (size, len(told))), signs[:, subject] * excess))
    return float(np.concatenate(errors).mean())


# -- in words ----------------------------------------------------------------------------------------------------------


def reasons(rows: Iterable[Row], folds: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """A few sentences for each method whose error is above `ECE_AIM` on all subjects: by how much, and why.

    Args:
        rows: Of a summary.
        folds: Contents of folds/*.json: who the temperatures were fitted on.
    """
    return tuple(
        _reason(row, folds)
        for row in rows
        if row.subset == "all" and "ece" in row.figures and row.figures["ece"].value > ECE_AIM
    )


def _reason(row: Row, folds: Sequence[Mapping[str, Any]]) -> str:
    said = [f"{row.method}: ECE {row.figures['ece'].value:.3f}, above {ECE_AIM:g}."]
    parts = row.miscalibration
    if {"floor", "floor_subjects"} <= parts.keys():
        said.append(
            f"Chance alone gives {parts['floor']:.3f} to right probabilities at {row.windows} windows, and about "
            f"{parts['floor_subjects']:.3f} at {row.subjects} subjects who each differ as these do."
        )
    if {"ece", "moved", "stretched", "both", "offset", "stretch"} <= parts.keys():
        said.append(_carrier(parts))
    elif parts:
        said.append("What carries it cannot be told: there is one class, or classes are told apart without error.")
    said.append(_fitted_on(row.method, folds))
    return " ".join(sentence for sentence in said if sentence)


def _carrier(parts: Mapping[str, float]) -> str:
    """Which of intercept and slope carries the error."""
    ece, moved, stretched, both = (parts[name] for name in ("ece", "moved", "stretched", "both"))
    by_move, by_stretch = ece - moved, ece - stretched
    off = f"pain is told too {'rarely' if parts['offset'] > 0 else 'often'}"
    sure = f"probabilities are too {'sure of themselves' if parts['stretch'] < 1 else 'timid'}"
    left = f"put right by hindsight, {moved:.3f} would be left; after the slope alone {stretched:.3f}"
    if ece - both < _HELPS * ece:
        return (
            f"Neither intercept nor slope carries it ({both:.3f} would be left with both put right by hindsight): what "
            "is left is chance, people who differ, or a bend."
        )
    if by_move >= 2.0 * by_stretch:
        return f"The intercept carries most of it ({off}): {left}. A temperature cannot move it."
    if by_stretch >= 2.0 * by_move:
        left = f"put right by hindsight, {stretched:.3f} would be left; after the intercept alone {moved:.3f}"
        return f"The slope carries most of it ({sure}): {left}."
    return (
        f"Intercept ({off}) and slope ({sure}) both carry it: {both:.3f} would be left with both put right by "
        f"hindsight, {moved:.3f} with the intercept alone, {stretched:.3f} with the slope alone."
    )


def _fitted_on(method: str, folds: Sequence[Mapping[str, Any]]) -> str:
    """Who the temperatures of a method were fitted on."""
    own = [(fold, fold["methods"][method]) for fold in folds if method in (fold.get("methods") or {})]
    fitted = [
        (len(fold["subjects"]["calibration"]), int(of["calibration"]["windows"]))
        for fold, of in own
        if of.get("calibration") and (fold.get("subjects") or {}).get("calibration")
    ]
    if not fitted:
        return "No temperature was fitted." if own and all(of.get("temperature") == 1.0 for _, of in own) else ""
    people, windows = (_range([pair[i] for pair in fitted]) for i in (0, 1))
    each = f"each of the {len(fitted)} temperatures" if len(fitted) > 1 else "the temperature"
    return f"{each[0].upper()}{each[1:]} was fitted on {people} calibration subjects with {windows} windows."


def _range(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return f"{low}" if low == high else f"{low} to {high}"
