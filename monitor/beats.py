"""Heart beats in one window of ECG or BVP: where they are, how often they come, and how much they resemble each other.

`monitor.quality` rests its judgement of both on them. A window is looked at in several bands of one spectrum, without
phase shift; the models never see what is made here.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitor.types import FloatArray

Complex128Array: TypeAlias = NDArray[np.complex128]
IntArray: TypeAlias = NDArray[np.intp]

HEART_RATE_BPM: Final = (35.0, 210.0)
"""Plausible rates, in beats a minute."""
QRS_BAND_HZ: Final = (6.0, 20.0)
BVP_BAND_HZ: Final = (0.7, 4.0)

_GRID_HZ: Final = 400.0  # beats are aligned to 2.5 ms, also where the stream has 64 or 100 Hz
_TAPER_S: Final = 0.15


def beats_a_minute(*, modality: str, window: FloatArray, rate_hz: float) -> float | None:
    """The heart rate as `judge` finds it, of a window that nobody has judged: for plain methods on stored windows.

    Args:
        modality: ECG or BVP.
        window: (n,) finite samples, in any unit.
        rate_hz: Their rate.

    Returns:
        Beats a minute; None where there are too few beats.
    """
    spectrum = Spectrum.of(window, rate_hz)
    if modality == "ECG":
        beats = r_peaks(spectrum.band(*QRS_BAND_HZ), spectrum.grid_hz)
        return heart_rate_bpm(beats, spectrum.grid_hz) if len(beats) > 1 else None
    period, _ = beat_likeness(spectrum.band(*BVP_BAND_HZ), spectrum.grid_hz)
    return 60.0 * spectrum.grid_hz / period if period else None


def heart_rate_bpm(beats: IntArray, grid_hz: float) -> float:
    """Return the median rate, in beats a minute, of two or more beats given by their sample numbers."""
    return 60.0 * grid_hz / float(np.median(np.diff(beats)))


def r_peaks(qrs: FloatArray, grid_hz: float) -> IntArray:
    """Return the sample numbers of R (or dominant S) peaks in the band of the QRS complex."""
    blocks = max(1, len(qrs) // int(1.5 * grid_hz))  # every 1.5 s holds a beat at 40 bpm and above
    usable = qrs[: len(qrs) // blocks * blocks].reshape(blocks, -1)
    up, down = float(np.median(usable.max(axis=1))), float(np.median(-usable.min(axis=1)))
    signal, level = (qrs, up) if up >= down else (-qrs, down)
    return peaks_apart(signal, threshold=0.5 * level, distance=0.3 * grid_hz)


def ecg_snr(wave: FloatArray, beats: IntArray, grid_hz: float) -> float | None:
    """Return the local SNR of an ECG in dB, or None with fewer than three whole beats.

    Signal and noise are defined as in the MIT-BIH Noise Stress Test Database (Moody, Muldrow, Mark, Computers in
    Cardiology 11:381, 1984): S is the squared peak-to-peak amplitude of the QRS complex over 8, N the noise power.
    Here the QRS complex is that of the mean beat, and the noise is what differs from the mean beat from 0.2 s before
    to 0.4 s after each R peak. The n beats of the mean have absorbed 1/n of that noise, hence n - 1.

    Args:
        wave: (n,) ECG in mV, 0.67-40 Hz.
        beats: Sample numbers of R peaks.
        grid_hz: Sampling rate of `wave`.
    """
    before, after = round(0.2 * grid_hz), round(0.4 * grid_hz)
    whole = beats[(beats >= before) & (beats + after <= len(wave))]
    if len(whole) < 3:
        return None
    aligned = wave[whole[:, None] + np.arange(-before, after)]
    mean_beat = aligned.mean(axis=0)
    noise = float(np.square(aligned - mean_beat).sum()) / ((len(whole) - 1) * aligned.shape[1])
    complex_ = mean_beat[before - round(0.08 * grid_hz) : before + round(0.08 * grid_hz)]
    signal = float(np.ptp(complex_)) ** 2 / 8.0
    if signal == 0.0:
        return None
    return 10.0 * math.log10(signal / max(noise, 1e-6 * signal))


def beat_likeness(wave: FloatArray, grid_hz: float) -> tuple[float, float]:
    """Return the beat interval in samples and how much each beat resembles the next, from -1 to 1.

    That is the lag and the height of the autocorrelation's first high peak among plausible beat intervals; (0, 0)
    where there is no such peak.
    """
    spectrum = np.fft.rfft(wave, fast_length(2 * len(wave)))
    correlation = np.fft.irfft(spectrum.real**2 + spectrum.imag**2)
    shortest = math.floor(60.0 / HEART_RATE_BPM[1] * grid_hz)
    longest = min(math.ceil(60.0 / HEART_RATE_BPM[0] * grid_hz), len(wave) // 2)
    if longest - shortest < 2 or correlation[0] <= 0.0:
        return 0.0, 0.0
    overlap = 1.0 - np.arange(shortest, longest + 1) / len(wave)
    likeness = correlation[shortest : longest + 1] / (overlap * correlation[0])
    peaks = np.flatnonzero((likeness[1:-1] >= likeness[:-2]) & (likeness[1:-1] > likeness[2:])) + 1
    if len(peaks) == 0 or likeness[peaks].max() <= 0.0:
        return 0.0, 0.0
    first = int(peaks[likeness[peaks] >= 0.8 * likeness[peaks].max()][0])  # the period, not a multiple of it
    return float(shortest + first), min(float(likeness[first]), 1.0)


@dataclass(frozen=True, slots=True)
class Spectrum:
    """Spectrum of one detrended window, to look at it in several bands without phase shift.

    Only the judgement rests on this; models are fed by the causal filters of `monitor.dsp`.
    """

    bins: Complex128Array
    size: int
    """Length of the transform, zeros included."""
    samples: int
    rate_hz: float

    @classmethod
    def of(cls, window: FloatArray, rate_hz: float) -> Spectrum:
        """The spectrum of (n,) finite samples at this rate."""
        n = len(window)
        size = fast_length(n + round(0.5 * rate_hz))  # zeros keep the two ends apart
        ramp = np.arange(n) - 0.5 * (n - 1)
        level = window - window.mean()
        level -= ramp * (float(ramp @ level) / max(float(ramp @ ramp), 1.0))
        edge = min(max(1, round(_TAPER_S * rate_hz)), n)
        rise = np.sin(0.5 * np.pi * np.arange(1, edge + 1) / (edge + 1)) ** 2
        level[:edge] *= rise
        level[n - edge :] *= rise[::-1]
        return cls(bins=np.fft.rfft(level, size), size=size, samples=n, rate_hz=rate_hz)

    @property
    def grid(self) -> int:
        """Length of the inverse transform whose grid is about `_GRID_HZ`."""
        return fast_length(math.ceil(self.size * _GRID_HZ / self.rate_hz))

    @property
    def grid_hz(self) -> float:
        """Exact rate of that grid."""
        return self.rate_hz * self.grid / self.size

    def band(self, low: float, high: float) -> FloatArray:
        """Return the window between two edges in Hz, on the grid."""
        keep = self.samples * self.grid // self.size
        wave = np.fft.irfft(self.bins * _response(self.size, self.rate_hz, low, high), self.grid)[:keep]
        return wave * (self.grid / self.size)

    def power(self, low: float, high: float) -> float:
        """Return the sum of squared bins from `low` to `high` Hz, in no particular unit."""
        step = self.rate_hz / self.size
        part = self.bins[math.ceil(low / step) : math.floor(high / step) + 1]
        return float(np.sum(part.real**2 + part.imag**2))


@lru_cache(maxsize=256)
def fast_length(n: int) -> int:
    """Return the least even number from `n` up that has no prime factor over 5: quick to transform."""
    n += n % 2
    while True:
        rest = n
        for factor in (2, 3, 5):
            while rest % factor == 0:
                rest //= factor
        if rest == 1:
            return n
        n += 2


@lru_cache(maxsize=64)
def _response(size: int, rate_hz: float, low: float, high: float) -> FloatArray:
    """Return the zero-phase response (squared 4th-order Butterworth) of a band at the bins of a real FFT."""
    frequency = np.maximum(np.arange(size // 2 + 1) * (rate_hz / size), 1e-9)
    response: FloatArray = 1.0 / ((1.0 + (low / frequency) ** 8) * (1.0 + (frequency / high) ** 8))
    response[0] = 0.0
    response.flags.writeable = False
    return response


def peaks_apart(signal: FloatArray, *, threshold: float, distance: float) -> IntArray:
    """Return the local maxima above a threshold, highest first choice, none closer than `distance` samples."""
    top = signal[1:-1]
    candidates = np.flatnonzero((top > threshold) & (top >= signal[:-2]) & (top > signal[2:])) + 1
    kept: list[int] = []
    for at in candidates[np.argsort(-signal[candidates], kind="stable")].tolist():
        if all(abs(at - other) >= distance for other in kept):
            kept.append(at)
    return np.array(sorted(kept), dtype=np.intp)
