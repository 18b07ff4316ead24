"""Continuous wavelet transform with a real Morlet wavelet, equal to that of PyWavelets (`cwt(..., "morl")`).

psi(x) = exp(-x^2 / 2) cos(5 x) on [-8, 8]. As there, the wavelet is integrated once on 4096 points, the integral is
sampled at a scale without interpolation, and the coefficients are differences of what it gives; outside the window the
signal is 0. A scale of s points has its centre at 0.8125 rate / s Hz.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from monitor.types import Float32Array, FloatArray

CENTRE: Final = 0.8125
"""Centre frequency of the wavelet in cycles a point at scale 1."""
_REACH: Final = 8.0
_POINTS: Final = 4096


def scalogram(values: FloatArray, scales: FloatArray | Sequence[float]) -> Float32Array:
    """Magnitude of the wavelet transform.

    All scales come out of one transform of the signal, products with spectra of the wavelets that are kept, and one
    batch of inverse transforms, in single precision: within 1e-6 of the greatest magnitude.

    Args:
        values: (samples,) signal.
        scales: (scales,) in sampling periods, each 1 or more.

    Returns:
        (scales, samples) |coefficients|, in the unit of the signal.
    """
    samples = len(values)
    length, spectra = _wavelets(tuple(map(float, scales)), samples)
    spectrum = np.fft.rfft(values.astype(np.float32), length)
    coefficients = np.fft.irfft(spectrum * spectra, length)[:, :samples]
    return np.abs(coefficients).astype(np.float32, copy=False)


def log_scales(count: int, least: float, greatest: float) -> FloatArray:
    """(count,) scales from least to greatest, evenly spaced on a log axis."""
    scales: FloatArray = np.geomspace(least, greatest, count)
    return scales


@lru_cache(maxsize=8)
def _wavelets(scales: tuple[float, ...], samples: int) -> tuple[int, NDArray[np.complex64]]:
    """Length of the circular transform, and the (scales, length // 2 + 1) spectra of the wavelets for it."""
    kernels = [_kernel(scale, samples) for scale in scales]
    # Long enough that nothing wraps round into the window.
    length = _fast_length(samples + max(max(before, len(kernel) - 1 - before) for kernel, before in kernels))
    placed = np.zeros((len(scales), length))
    for row, (kernel, before) in zip(placed, kernels, strict=True):
        row[: len(kernel) - before] = kernel[before:]
        row[length - before :] = kernel[:before]
    spectra = np.fft.rfft(placed).astype(np.complex64)
    spectra.setflags(write=False)
    return length, spectra


def _kernel(scale: float, samples: int) -> tuple[FloatArray, int]:
    """What the signal is convolved with at a scale, and how many of its points come before lag 0."""
    integral, step = _integrated_morlet()
    points = np.arange(scale * 2.0 * _REACH + 1.0) / (scale * step)
    index = points.astype(np.intp)
    sampled = integral[index[index < _POINTS]][::-1]
    # The difference of a convolution is the convolution with the differences.
    kernel = -np.sqrt(scale) * np.diff(sampled, prepend=0.0, append=0.0)
    before = (len(sampled) - 2) // 2 + 1
    # Beyond a window's length there is nothing to weigh.
    first = max(0, before - (samples - 1))
    return kernel[first : before + samples], before - first


@lru_cache(maxsize=1)
def _integrated_morlet() -> tuple[FloatArray, float]:
    x = np.linspace(-_REACH, _REACH, _POINTS)
    step = float(x[1] - x[0])
    return np.cumsum(np.exp(-(x**2) / 2.0) * np.cos(5.0 * x)) * step, step


def _fast_length(least: int) -> int:
    """The smallest even number from `least` on without a prime factor above 5."""

    def is_fast(number: Any) -> bool:
        for prime in (2, 3, 5):
            while number % prime == 0:
                number //= prime
        return bool(number == 1)

    length = least + least % 2
    while not is_fast(length):
        length += 2
    return length
