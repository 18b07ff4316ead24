"""Short-time Fourier transform, number for number that of matplotlib's `specgram`.

Segments of `nfft` points, each `nfft - overlap` after the last, under a symmetric Hann window; what is left at the end
is not used; nothing is detrended or padded.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Literal, TypeAlias

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from monitor.types import FloatArray

Mode: TypeAlias = Literal["angle", "phase", "psd"]


def spectrogram(values: FloatArray, mode: Mode, nfft: int, overlap: int, rate_hz: float) -> FloatArray:
    """One-sided spectrogram.

    Args:
        values: (samples,) signal, `nfft` points or more.
        mode: `angle`: argument in (-pi, pi]; `phase`: the same unwrapped along frequency, not along time; `psd`:
            power spectral density |X|^2 / (rate sum w^2), doubled but for 0 Hz and the Nyquist frequency, in unit^2/Hz.
        nfft: Points of a segment.
        overlap: Points that neighbours share, below `nfft`.
        rate_hz: Sampling rate; it scales `psd` only.

    Returns:
        (nfft // 2 + 1, columns); row k is k rate / nfft Hz, the lowest first.

    Raises:
        ValueError: If there is not one whole segment.
    """
    if len(values) < nfft:
        raise ValueError(f"a spectrogram of {nfft}-point segments needs {nfft} points or more; {len(values)} are given")
    window = _hann(nfft)
    segments = sliding_window_view(values, nfft)[:: nfft - overlap] * window
    # Half of the full transform and not rfft, which rounds otherwise: where a bin is all but empty, its angle is
    # nothing but rounding, and then it is at least that of matplotlib.
    half = np.fft.fft(segments, axis=1)[:, : nfft // 2 + 1].T
    if mode == "psd":
        power: FloatArray = half.real**2 + half.imag**2
        power[1 : nfft // 2 + nfft % 2] *= 2.0
        power /= rate_hz * float((window**2).sum())
        return power
    angle: FloatArray = np.angle(half)
    return angle if mode == "angle" else np.unwrap(angle, axis=0)


@lru_cache(maxsize=16)
def _hann(nfft: int) -> FloatArray:
    window: FloatArray = np.hanning(nfft)
    window.setflags(write=False)
    return window
