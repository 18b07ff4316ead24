"""Figures on the card of a model: what it gets right, how far its probabilities can be believed, and how it stands."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, f1_score, recall_score, roc_auc_score

from models.data.base import IntArray

FloatArray = NDArray[np.float64]

ECE_BINS: Final = 15


def calibration_error(
    probabilities: FloatArray, labels: IntArray, bins: int = ECE_BINS
) -> tuple[float, tuple[tuple[float, float, int], ...]]:
    """Expected calibration error of the likeliest class, in bins of equal mass.

    Returns:
        The error, and (mean confidence, share right, count) of each bin.
    """
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == labels
    parts = np.array_split(np.argsort(confidence, kind="stable"), min(bins, len(labels)))
    table = tuple((float(confidence[part].mean()), float(right[part].mean()), len(part)) for part in parts)
    error = sum(count * abs(mean - share) for mean, share, count in table) / len(labels)
    return float(error), table


def classification(probabilities: FloatArray, labels: IntArray, names: tuple[str, ...]) -> dict[str, float | str]:
    """Figures of three ordered classes, none first.

    Args:
        probabilities: (n, classes).
        labels: (n,).
        names: Of the classes.

    Returns:
        Accuracy, balanced accuracy, macro F1, recalls, AUC of the last class against the first by the expected level,
        and the confusion matrix as text (rows are true classes).
    """
    predicted = probabilities.argmax(axis=1)
    recalls = recall_score(labels, predicted, labels=range(len(names)), average=None, zero_division=0.0)
    expected = probabilities @ np.linspace(0.0, 1.0, len(names))
    ends = (labels == 0) | (labels == len(names) - 1)
    matrix = confusion_matrix(labels, predicted, labels=range(len(names)))
    figures: dict[str, float | str] = {
        "accuracy": _short(np.mean(predicted == labels)),
        "balanced_accuracy": _short(recalls.mean()),
        "macro_f1": _short(f1_score(labels, predicted, average="macro")),
        f"auc_{names[0]}_{names[-1]}": _short(roc_auc_score(labels[ends] > 0, expected[ends])),
    }
    figures |= {f"recall_{name}": _short(recall) for name, recall in zip(names, recalls, strict=True)}
    figures["confusion"] = " | ".join(" ".join(map(str, row)) for row in matrix)
    return figures


def _short(value: float) -> float:
    return round(float(value), 4)


ALIKE: Final = 0.05
"""Balanced accuracies of held-out windows that differ by less are not called different."""


CALM_AT_REST: Final = 40.0
"""A model whose median fast index at rest is higher would alarm at rest: 10 under the default limit of the alarm."""


def fit_for_alarms(figures: Mapping[str, float | str]) -> bool:
    """Whether a model may draw an index and alarm: not behind plain features, and calm where there is no pain.

    Args:
        figures: As for `standing`, and with `live.rest.median_index`.
    """
    return standing(figures) != "worse" and float(figures["live.rest.median_index"]) < CALM_AT_REST


def standing(figures: Mapping[str, float | str]) -> Literal["worse", "alike", "better"]:
    """How a model stands to plain features of the same held-out windows, by balanced accuracy.

    Args:
        figures: With `test.balanced_accuracy` and `baseline.balanced_accuracy`.
    """
    ahead = float(figures["test.balanced_accuracy"]) - float(figures["baseline.balanced_accuracy"])
    return "worse" if ahead < -ALIKE else "alike" if ahead < ALIKE else "better"
