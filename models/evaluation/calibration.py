"""From logits to probabilities that can be believed: a temperature, and how far they can.

Fitted on subjects of a part of their own: who was learnt from, or stopped by, would make every model look too sure of
itself in the right way.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar

from models.data.base import IntArray
from models.evaluation.figures import Scored, of_probabilities, reliability
from models.evaluation.summary import ReliabilityBin

if TYPE_CHECKING:
    from models.training.recipe import Told

FloatArray = NDArray[np.float64]

_TEMPERATURES: Final = (0.2, 10.0)


def softmax(logits: NDArray[np.floating], temperature: float = 1.0) -> FloatArray:
    """(n, classes) probabilities, in float64."""
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    weights = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return np.asarray(weights / weights.sum(axis=1, keepdims=True))


def log_loss(probabilities: FloatArray, labels: IntArray) -> float:
    """Mean negative log likelihood in which every class counts the same."""
    of_label = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], 1e-12))
    return float(np.mean([of_label[labels == label].mean() for label in np.unique(labels)]))


def fit_temperature(logits: NDArray[np.floating], labels: IntArray) -> float:
    """The temperature under which the labels are likeliest, on a balanced prior (Guo et al. 2017, ICML).

    Args:
        logits: (n, classes) of subjects that the model was not trained on.
        labels: (n,).

    Returns:
        Between 0.2 and 10, four digits.
    """
    low, high = np.log(_TEMPERATURES)
    found = minimize_scalar(
        lambda log_t: log_loss(softmax(logits, float(np.exp(log_t))), labels), bounds=(low, high), method="bounded"
    )
    return float(f"{np.exp(found.x):.4g}")


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """Temperature and prior of a model, and how its probabilities of pain stood on the calibration subjects.

    Its figures are of the subjects that the temperature was fitted on: one number, so they are hardly too good, but
    those of the test subjects are the ones to quote.
    """

    temperature: float
    prior: tuple[float, ...]
    """Share of each class that the probabilities are told for: all alike. An index is on this scale; the probability
    of pain at a bedside also depends on how common pain is there."""
    ece: float
    """Of the probability of any pain, in 15 bins of equal mass, every class counting the same."""
    brier: float
    slope: float | None
    """Of logistic recalibration, 1 is ideal, below it probabilities are too extreme; None: there is no finite one."""
    intercept: float | None
    bins: tuple[ReliabilityBin, ...]
    windows: int

    def probabilities(self, logits: NDArray[np.floating]) -> FloatArray:
        """(n, classes) probabilities on the stated prior, of (n, classes) logits."""
        return softmax(logits, self.temperature)

    def as_spec(self) -> dict[str, object]:
        """Plain values under the names of `calibration` in model.json."""
        return {
            "temperature": self.temperature,
            "prior": list(self.prior),
            "ece": round(self.ece, 4),
            "bins": [[round(part.told, 4), round(part.true, 4), part.count] for part in self.bins],
        }


def calibrate(told: Told, labels: IntArray, *, classes: int) -> Calibration:
    """Fit the temperature on calibration subjects.

    Args:
        told: Of their labelled windows.
        labels: (n,) class numbers.
        classes: How many there are.

    Raises:
        ValueError: If logits and labels do not fit together, or there are fewer than two classes among the labels:
            nothing could be said of probabilities of one.
    """
    if told.logits.shape != (len(labels), classes):
        raise ValueError(f"logits of {told.logits.shape} for {len(labels)} windows of {classes} classes")
    if len(np.unique(labels)) < 2 or labels.min() < 0:
        raise ValueError("a calibration needs labelled windows of two classes at least")
    temperature = fit_temperature(told.logits, labels)
    # Who is who does not matter here: one subject stands for all.
    scored = Scored(
        labels=labels,
        probabilities=softmax(told.logits, temperature),
        subject=np.zeros(len(labels), dtype=np.int64),
        subjects=1,
    )
    figures = {name: float(values[0]) for name, values in of_probabilities(scored, np.ones((1, 1))).items()}
    finite = np.isfinite([figures["slope"], figures["intercept"]]).all()
    return Calibration(
        temperature=temperature,
        prior=(1.0 / classes,) * classes,
        ece=figures["ece"],
        brier=figures["brier"],
        slope=figures["slope"] if finite else None,
        intercept=figures["intercept"] if finite else None,
        bins=reliability(scored),
        windows=len(labels),
    )
