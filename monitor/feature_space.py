"""How far a window lies from what a bundle was trained on, in the features of its layer before the last.

The features are projected onto a few components, and the distance is the smallest squared Mahalanobis distance to a
class's centre, all classes sharing one precision (Lee et al. 2018, equation 2, after a projection):
z = components (features - mean), distance = min over c of (z - centre_c)^T precision (z - centre_c). For features that
are normal within each class it follows about a chi-squared distribution of K degrees of freedom.
"""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from monitor.errors import BundleError
from monitor.types import Float32Array, FloatArray

FEATURES_NPZ: Final = "features.npz"
"""Name of the file in a bundle."""

MOST_COMPONENTS: Final = 32
MOST_BYTES: Final = 32_000_000
"""Largest size of the arrays together; it is a small file beside the weights."""

_DIMENSIONS: Final = {"components": 2, "mean": 1, "centres": 2, "precision": 2}
_TODO: Final = "Restore the bundle, or write it anew with python -m export"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FeatureSpace:
    """Where the training windows lie among the features; float64, made of the file's float32.

    Args:
        components: (K, D) directions onto which features are projected, K at most `MOST_COMPONENTS`.
        mean: (D,) mean of the features.
        centres: (C, K) centre of each class in the projection.
        precision: (K, K) inverse of the covariance within classes, symmetric and positive semi-definite.
    """

    components: FloatArray
    mean: FloatArray
    centres: FloatArray
    precision: FloatArray

    @property
    def dimensions(self) -> int:
        """D, the number of features."""
        return len(self.mean)

    def distance(self, features: Float32Array) -> float:
        """Squared Mahalanobis distance to the nearest centre.

        `einsum` adds in one fixed order, on one thread, so that equal features give equal bits in a replay.

        Args:
            features: (D,) of one window.

        Returns:
            0 or more; NaN where a feature is not finite.

        Raises:
            ValueError: If there are not D features.
        """
        if features.shape != self.mean.shape:
            raise ValueError(f"{features.shape} features for a space of {self.mean.shape}")
        if not np.isfinite(features).all():
            return float("nan")
        z = np.einsum("kd,d->k", self.components, features.astype(np.float64) - self.mean)
        off = z - self.centres
        squared = np.einsum("ck,kj,cj->c", off, self.precision, off, optimize=False)
        # Rounding may leave a distance of nothing just below zero.
        return max(0.0, float(squared.min()))


def read_feature_space(path: Path, *, classes: int | None = None) -> FeatureSpace:
    """Read features.npz.

    Args:
        path: The file: numpy arrays `components`, `mean`, `centres`, `precision`, float32, no others.
        classes: Number of classes of the bundle; there may be no more centres. None: not compared.

    Raises:
        BundleError: If it cannot be read, holds a pickle, or an array is missing, of another type or shape, or not
            fit to measure a distance with.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            size = sum(item.file_size for item in archive.infolist())
        if size > MOST_BYTES:
            raise BundleError(f"holds {size / 1e6:.0f} MB, at most {MOST_BYTES / 1e6:.0f} will do", where=str(path))
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
    # A damaged archive raises whatever zip, zlib or numpy's own header reader come upon.
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        raise BundleError(f"cannot be read ({_first_line(error)})", where=str(path), todo=_TODO) from error
    problem = _problem(arrays, classes)
    if problem:
        raise BundleError(problem, where=str(path), todo=_TODO)
    return FeatureSpace(**{name: arrays[name].astype(np.float64) for name in _DIMENSIONS})


def _problem(arrays: dict[str, np.ndarray], classes: int | None) -> str:
    """What is wrong with the arrays, in words; empty where nothing is."""
    if set(arrays) != set(_DIMENSIONS):
        return f"holds {', '.join(sorted(arrays)) or 'nothing'} instead of {', '.join(_DIMENSIONS)}"
    for name, dimensions in _DIMENSIONS.items():
        found = arrays[name]
        if found.dtype != np.float32:
            return f"{name} is {found.dtype}, not float32"
        if found.ndim != dimensions or 0 in found.shape:
            return f"{name} has shape {found.shape}"
        if not np.isfinite(found).all():
            return f"{name} holds a value that is not finite"
    k, d = arrays["components"].shape
    if k > MOST_COMPONENTS:
        return f"there are {k} components, at most {MOST_COMPONENTS} will do"
    wanted = {"mean": (d,), "precision": (k, k), "centres": (len(arrays["centres"]), k)}
    for name, shape in wanted.items():
        if arrays[name].shape != shape:
            return f"{name} has shape {arrays[name].shape}, not {shape}: components has {(k, d)}"
    if classes is not None and len(arrays["centres"]) > classes:
        return f"there are {len(arrays['centres'])} centres for {classes} classes"
    precision = arrays["precision"].astype(np.float64)
    scale = float(np.abs(precision).max())
    if scale == 0.0 or not np.allclose(precision, precision.T, rtol=0.0, atol=1e-4 * scale):
        return "precision is not symmetric"
    # With a negative direction the farthest window would seem the nearest.
    if float(np.linalg.eigvalsh(0.5 * (precision + precision.T)).min()) < -1e-4 * scale:
        return "precision is not positive semi-definite"
    return ""


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0].strip()
