"""The plain model that a deep one has to beat: logistic regression on a few features of the same windows."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline as Chain
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.data.base import IntArray

FloatArray = NDArray[np.float64]

_SLOW: Final = frozenset({"eda"})
_MUSCLE: Final = frozenset({"emg"})
_LEAST: Final = 1e-3  # of the baseline's spread; keeps the logarithm finite
_BEAT_INTERVAL_S: Final = (0.33, 1.5)


def features(inputs: Mapping[str, NDArray[np.float32]], rate_hz: float) -> FloatArray:
    """A few features a signal: (n, features).

    Of skin conductance: net rise, range, spread, steepest rise and fall, rise in the second half. Of signals with
    beats: spread, mean size, its change from first to second half, mean steepness, heart rate and how regular it is.
    Of muscle: logarithm of the spread, its change from first to second half, largest size.

    Args:
        inputs: (n, 1, samples) by input name.
        rate_hz: Rate of the grid.
    """
    columns = []
    for name, values in inputs.items():
        x = values[:, 0].astype(np.float64)
        half = x.shape[1] // 2
        step = np.diff(x, axis=1)
        if name in _SLOW:
            columns += [x[:, -1] - x[:, 0], np.ptp(x, axis=1), x.std(axis=1), step.max(axis=1), step.min(axis=1)]
            columns += [x[:, -1] - x[:, half]]
        elif name in _MUSCLE:
            whole, first, second = (np.log(part.std(axis=1) + _LEAST) for part in (x, x[:, :half], x[:, half:]))
            columns += [whole, second - first, np.abs(x).max(axis=1)]
        else:
            columns += [x.std(axis=1), np.abs(x).mean(axis=1), x[:, half:].std(axis=1) - x[:, :half].std(axis=1)]
            columns += [np.abs(step).mean(axis=1), *_heart(x, rate_hz)]
    return np.stack(columns, axis=1)


def _heart(x: FloatArray, rate_hz: float) -> tuple[FloatArray, FloatArray]:
    """Heart rate in bpm and the autocorrelation at its interval."""
    centred = x - x.mean(axis=1, keepdims=True)
    spectrum = np.fft.rfft(centred, 4 * x.shape[1])
    power = np.fft.irfft(np.abs(spectrum) ** 2)
    first, last = (round(seconds * rate_hz) for seconds in _BEAT_INTERVAL_S)
    lag = first + power[:, first : last + 1].argmax(axis=1)
    return 60.0 * rate_hz / lag, power[np.arange(len(x)), lag] / np.maximum(power[:, 0], 1e-9)


def fit_baseline(values: FloatArray, labels: IntArray, *, seed: int) -> Chain:
    """Fit standardisation and logistic regression, every class counting the same.

    Args:
        values: (n, features) of the training windows.
        labels: (n,).
        seed: Of the solver.
    """
    regression = LogisticRegression(class_weight="balanced", max_iter=2000, random_state=seed)
    chain = make_pipeline(StandardScaler(), regression)
    return chain.fit(values, labels)
