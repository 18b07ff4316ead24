"""When a model should not be believed: its classes are all alike, or the window is unlike all that it learnt from.

What it can tell: windows whose features lie far from every class of the training windows, e.g. of a saturated sensor
or another kind of signal, and windows on which the model is torn. What it cannot: a confident error near the training
data; a person whose answers differ within the usual range; whether anybody is in pain. A signal that the network maps
onto usual features looks usual, however odd it is, so this stands beside the checks of signal quality, not in their
place. By construction about one in 200 ordinary windows is refused by either limit.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.covariance import ledoit_wolf

from models.data.base import IntArray
from models.evaluation.calibration import softmax
from monitor.feature_space import MOST_COMPONENTS

if TYPE_CHECKING:
    from models.training.recipe import Told

FloatArray = NDArray[np.float64]
Float32Array = NDArray[np.float32]

QUANTILE: Final = 0.995

_NOTHING: Final = 1e-10
"""Directions with less than this share of the variance are rounding."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Abstention:
    """Limits above which a window is not believed, and what the distance is measured by."""

    components: Float32Array
    """(K, D), scaled so that every projection has a variance of 1 on the training windows; (0, 0) without features."""
    mean: Float32Array
    """(D,)."""
    centres: Float32Array
    """(C, K) of the classes that were in the training windows."""
    precision: Float32Array
    """(K, K)."""
    distance_above: float | None
    """Squared Mahalanobis distance; None without features."""
    entropy_above: float
    """Share of the greatest entropy, 0..1."""
    temperature: float
    quantile: float

    def distances(self, features: FloatArray) -> FloatArray:
        """(n,) min over c of (z - centre_c)^T precision (z - centre_c), z = components (features - mean).

        Lee et al. 2018 (NeurIPS), equation 2 with its sign turned, after a projection. As the monitor computes it.

        Args:
            features: (n, D); a window with one that is not finite is infinitely far.
        """
        z = (np.asarray(features, dtype=np.float64) - self.mean) @ self.components.T.astype(np.float64)
        off = z[:, None] - self.centres
        squared = np.einsum("nck,kj,ncj->nc", off, self.precision.astype(np.float64), off, optimize=True).min(axis=1)
        return np.where(np.isfinite(squared), np.maximum(squared, 0.0), np.inf)

    def refused(self, told: Told) -> NDArray[np.bool_]:
        """(n,) whether a window is above either limit."""
        over = normalised_entropies(softmax(told.logits, self.temperature)) > self.entropy_above
        if self.distance_above is not None:
            over |= self.distances(told.features) > self.distance_above
        return over

    def as_spec(self) -> dict[str, float]:
        """`calibration.abstain` of model.json."""
        spec = {"entropy_above": self.entropy_above}
        if self.distance_above is not None:
            spec["distance_above"] = self.distance_above
        return spec

    def arrays(self) -> Mapping[str, Float32Array]:
        """Of the bundle's features.npz (`monitor.feature_space`); empty without features."""
        if self.distance_above is None:
            return {}
        return {
            "components": self.components,
            "mean": self.mean,
            "centres": self.centres,
            "precision": self.precision,
        }

    def write(self, path: Path) -> None:
        """Write `arrays` as .npz, the same bytes for the same values.

        Raises:
            ValueError: If there are no features to measure a distance by.
        """
        if self.distance_above is None:
            raise ValueError("a method without features has no feature space to write")
        # An open file keeps its name; given a path, numpy would add .npz to it.
        with path.open("wb") as file:
            np.savez(file, allow_pickle=False, **self.arrays())


def normalised_entropies(probabilities: FloatArray) -> FloatArray:
    """(n,) entropies as a share of the greatest, 0..1, of (n, classes) probabilities."""
    p = np.clip(probabilities, 1e-300, 1.0)
    shares = -(p * np.log(p)).sum(axis=1) / np.log(probabilities.shape[1])
    return np.asarray(np.clip(shares, 0.0, 1.0))


def fit_abstention(
    train: Told,
    train_labels: IntArray,
    calibration: Told,
    *,
    temperature: float = 1.0,
    quantile: float = QUANTILE,
    components: int = MOST_COMPONENTS,
) -> Abstention:
    """Learn where the training windows lie, and take the limits from subjects that were not learnt from.

    Features are projected onto their principal components (32 at most, so that what a bundle stores is small), scaled
    to a variance of 1; class means and one covariance within classes, shrunk by Ledoit and Wolf (2004), are those of
    the projections. Limits are quantiles over the calibration windows: of fewer than 1 / (1 - quantile) of them, the
    largest value.

    Args:
        train: Labelled training windows.
        train_labels: (n,).
        calibration: Windows of the calibration subjects, labelled or not.
        temperature: Of the model.
        quantile: Share of ordinary windows that each limit lets pass.
        components: At most so many.

    Raises:
        ValueError: If there is no window, the features differ in number, or some are not finite.
    """
    if not len(calibration.logits) or len(train.features) != len(train_labels):
        raise ValueError("abstention needs calibration windows, and a label for every training window")
    if train.features.shape[1] != calibration.features.shape[1]:
        raise ValueError(f"{train.features.shape[1]} and {calibration.features.shape[1]} features are not of one model")
    entropies = normalised_entropies(softmax(calibration.logits, temperature))
    entropy_above = min(_rounded_up(float(np.quantile(entropies, quantile, method="higher"))), 1.0)
    space = _space(train.features, train_labels, components) if train.features.shape[1] else None
    empty = np.zeros((0, 0), np.float32)
    arrays = space if space is not None else (empty, np.zeros(0, np.float32), empty, empty)
    fitted = Abstention(
        **dict(zip(("components", "mean", "centres", "precision"), arrays, strict=True)),
        distance_above=None,
        entropy_above=entropy_above,
        temperature=temperature,
        quantile=quantile,
    )
    if space is None:
        return fitted
    limit = np.quantile(fitted.distances(calibration.features), quantile, method="higher")
    if not np.isfinite(limit):
        raise ValueError("features of calibration windows are not finite")
    return replace(fitted, distance_above=_rounded_up(float(limit)))


def _rounded_up(limit: float) -> float:
    """Six digits and above 0; never below the limit, or windows that lie on it would be refused."""
    short = float(f"{max(limit, 1e-6):.6g}")
    return short if short >= limit else float(f"{limit * (1.0 + 1e-5):.6g}")


def _space(
    features: FloatArray, labels: IntArray, most: int
) -> tuple[Float32Array, Float32Array, Float32Array, Float32Array] | None:
    """Components, mean, centres and precision; None where all features are constant."""
    x = np.asarray(features, dtype=np.float64)
    if not np.isfinite(x).all():
        raise ValueError("features of training windows are not finite")
    mean = x.mean(axis=0).astype(np.float32)
    variance, directions = np.linalg.eigh(np.atleast_2d(np.cov(x - mean, rowvar=False, bias=True)))
    order = np.argsort(variance)[::-1][: min(most, MOST_COMPONENTS)]
    order = order[variance[order] > _NOTHING * max(float(variance.sum()), 1e-300)]
    if not len(order):
        return None
    axes = directions[:, order].T
    # The sign of an eigenvector is the library's; ours is fixed, or the same training would write different bytes.
    axes *= np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(axis=1)])[:, None]
    components = (axes / np.sqrt(variance[order])[:, None]).astype(np.float32)
    z = (x - mean) @ components.T.astype(np.float64)
    kinds = np.unique(labels)
    centres = np.stack([z[labels == kind].mean(axis=0) for kind in kinds]).astype(np.float32)
    within = z - centres[np.searchsorted(kinds, labels)]
    covariance, _ = ledoit_wolf(within, assume_centered=True)
    precision = np.linalg.pinv(covariance, hermitian=True)
    return components, mean, centres, (0.5 * (precision + precision.T)).astype(np.float32)
