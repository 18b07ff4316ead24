"""Whether the raw samples of one modality over one window are fit to be scored: rules, not models.

`judge` is stateless. It looks at the raw samples of the window, in the modality's unit, and at some seconds before
it (`HISTORY_S`) for rules that reach back: a flat line that began earlier, an EDA artefact whose five seconds are
not over. Equal samples therefore give equal judgements however they were chunked. Gaps, clock and rate faults are
the timeline's to find.

Rules and sources, by modality:
    EDA: 0.05-60 uS; slope of the causal 1 s mean at most 10 uS/s; skin temperature 30-40 degC where known; the 5 s
        after an offence are invalid too (Kleckner et al., IEEE TBME 65:1460, 2018, without its look into the
        future).
    ECG: local SNR in three grades, `full` from 18 dB, `beats` from 5 dB, else `unusable` (Smital et al., IEEE TBME
        67:2721, 2020). The estimator is ours, see `_ecg_snr`.
    BVP: plausible beats that resemble each other, after Orphanidou et al. (IEEE JBHI 19:832, 2015), with the
        autocorrelation at the beat interval in place of their 10 s template, which 5 s windows cannot fill; it does
        not depend on amplitude, which is itself a sign of pain.
    EMG: clipping, flat line, share of mains hum, amplitude beyond what skin gives (electrode off).
    ARRAY, EMBED: flat where more than half of the channels do not change in the window; a few dead ones
        pass.
    All: not finite, flat, saturated; the limits are engineering choices, stated at each constant.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitor.types import FloatArray, Quality, Reason, many_channels

Complex128Array: TypeAlias = NDArray[np.complex128]
IntArray: TypeAlias = NDArray[np.intp]

FLAT_S: Final[Mapping[str, float]] = MappingProxyType(
    {"ECG": 2.0, "BVP": 2.0, "EMG": 2.0, "EDA": 10.0, "RESP": 10.0, "SPO2": 60.0}
)
"""Equal samples for longer than this many seconds are a flat line."""

HISTORY_S: Final[Mapping[str, float]] = MappingProxyType({modality: limit + 1.0 for modality, limit in FLAT_S.items()})
"""Seconds before the window that `judge` wants to see, as far as they are contiguous with it; 0 for the rest."""

RANGE: Final[Mapping[str, tuple[float, float]]] = MappingProxyType({"EDA": (0.05, 60.0), "SPO2": (50.0, 100.0)})
"""Plausible raw values in the modality's unit. Oximeters that lose the finger write 0."""

EDA_SLOPE_US_PER_S: Final = 10.0
EDA_RECOVERY_S: Final = 5.0
SKIN_TEMPERATURE_DEGC: Final = (30.0, 40.0)
ECG_FULL_DB: Final = 18.0
ECG_BEATS_DB: Final = 5.0
ECG_MAX_MV: Final = 10.0
"""Twice the +-5 mV that ECG equipment must accept; judged in the band of the heart beat, so offsets do not count."""
HEART_RATE_BPM: Final = (35.0, 210.0)
QRS_BAND_HZ: Final = (6.0, 20.0)
BVP_BAND_HZ: Final = (0.7, 4.0)
BVP_LIKENESS: Final = 0.6
"""Least correlation of a beat with the next. On five Empatica E4 recordings it tells windows full of the device's own
inter-beat intervals from windows without any with an AUC of 0.97; the mean correlation with a template of these
short windows, the usual measure, with 0.88."""
BEAT_INTERVAL_RATIO: Final = 2.2
"""Longest over shortest beat interval of one window (Orphanidou et al. 2015)."""
EMG_MAX_RMS_MV: Final = 5.0
"""Surface EMG stays below about 10 mV peak to peak; an open input does not."""
EMG_MIN_RMS_MV: Final = 2e-4
"""Below the thermal noise of any skin electrode: nothing is connected."""
MAINS_SHARE: Final = 0.5
MAINS_MIN_RMS_MV: Final = 0.005
"""Hum below this may dominate a resting muscle without hiding a contraction."""
CLIP_SAMPLES: Final = 5
"""Equal samples at the extreme that make a clipped crest, and three times what is usual in the window: a device may
repeat each sample."""
CLIP_STEP_QUANTA: Final = 3.0
"""A smooth crest slows down before its flat top, at coarse resolution to single steps of the converter; a clipped
one arrives there by at least so many steps, and no slower than the signal usually moves."""

FLAT_CHANNELS: Final = 0.5
"""Share of an array's channels above which, when they are flat, the array counts as flat."""

_GRID_HZ: Final = 400.0  # beats are aligned to 2.5 ms, also where the stream has 64 or 100 Hz
_TAPER_S: Final = 0.15


def judge(
    *,
    modality: str,
    times: FloatArray,
    values: FloatArray,
    window_start: float,
    rate_hz: float,
    rails: tuple[float, float] | None = None,
    temperature: float | None = None,
) -> Quality:
    """Judge one window of one modality on its raw samples.

    Args:
        modality: Canonical name; one without rules here is only checked for finite samples.
        times: (n,) s on the stream clock, ascending and contiguous; the window is (window_start, times[-1]].
        values: (n,) in the modality's unit, or (n, channels) for arrays and embeddings; up to `HISTORY_S` of the
            samples before the window come first.
        window_start: Exclusive start of the window in s.
        rate_hz: Sampling rate of the stream.
        rails: Lowest and highest value of the converter in the modality's unit, where known.
        temperature: Skin temperature in degC, where known.

    Returns:
        The quality with every reason that was found, in a fixed order.
    """
    first = int(np.searchsorted(times, window_start, side="right"))
    window = values[first:]
    if len(window) == 0:
        return Quality(modality=modality, usable=False, reasons=(Reason.NO_DATA,))
    finite = np.isfinite(values)
    if not finite[first:].all():
        return Quality(modality=modality, usable=False, reasons=(Reason.NOT_FINITE,))
    if many_channels(modality):
        return _judge_channels(modality, window)
    if modality not in FLAT_S:
        return Quality(modality=modality, usable=True)
    if not finite[:first].all():  # what lies before a bad sample is not contiguous with the window
        cut = int(np.flatnonzero(~finite[:first])[-1]) + 1
        times, values, first = times[cut:], values[cut:], first - cut

    reasons: list[Reason] = []
    metrics: dict[str, float] = {}
    grade = ""
    flat_s = _longest_flat(times, values, first)
    metrics["flat_s"] = flat_s
    # A resting patient holds one whole per cent for minutes, so there equality proves nothing.
    whole_per_cent = modality == "SPO2" and float(window[-1]).is_integer()
    if flat_s > FLAT_S[modality] and not whole_per_cent:
        reasons.append(Reason.FLAT)
    if modality != "SPO2" and _is_saturated(window, rails, guess=modality in ("ECG", "BVP", "EMG")):
        reasons.append(Reason.SATURATED)

    if modality == "EDA":
        reasons += _judge_eda(times, values, first, window_start, rate_hz, temperature, metrics)
    elif modality == "SPO2":
        low, high = RANGE["SPO2"]
        if window.min() < low or window.max() > high:
            reasons.append(Reason.OUT_OF_RANGE)
    elif Reason.FLAT in reasons:
        grade = "unusable" if modality == "ECG" else ""  # no beats or spectrum worth the time
    elif modality == "ECG":
        found, grade = _judge_ecg(window, rate_hz, metrics)
        reasons += found
        grade = "unusable" if reasons else grade
    elif modality == "BVP":
        reasons += _judge_bvp(window, rate_hz, metrics)
    elif modality == "EMG":
        reasons += _judge_emg(window, rate_hz, metrics)
    return Quality(modality=modality, usable=not reasons, reasons=tuple(reasons), grade=grade, metrics=metrics)


def beats_a_minute(*, modality: str, window: FloatArray, rate_hz: float) -> float | None:
    """The heart rate as `judge` finds it, of a window that nobody has judged: for plain methods on stored windows.

    Args:
        modality: ECG or BVP.
        window: (n,) finite samples, in any unit.
        rate_hz: Their rate.

    Returns:
        Beats a minute; None where there are too few beats.
    """
    spectrum = _Spectrum.of(window, rate_hz)
    if modality == "ECG":
        beats = _r_peaks(spectrum.band(*QRS_BAND_HZ), spectrum.grid_hz)
        return _rate(beats, spectrum.grid_hz) if len(beats) > 1 else None
    period, _ = _beat_likeness(spectrum.band(*BVP_BAND_HZ), spectrum.grid_hz)
    return 60.0 * spectrum.grid_hz / period if period else None


def _rate(beats: IntArray, grid_hz: float) -> float:
    return 60.0 * grid_hz / float(np.median(np.diff(beats)))


def _judge_channels(modality: str, window: FloatArray) -> Quality:
    """Judge a window of (n,) or (n, channels) finite samples; one sample alone cannot tell what is flat."""
    if len(window) < 2:
        return Quality(modality=modality, usable=True)
    columns = window.reshape(len(window), -1)
    flat = int((columns == columns[0]).all(axis=0).sum())
    bad = flat > FLAT_CHANNELS * columns.shape[1]
    return Quality(
        modality=modality,
        usable=not bad,
        reasons=(Reason.FLAT,) if bad else (),
        metrics={"flat_channels": float(flat)},
    )


def _longest_flat(times: FloatArray, values: FloatArray, first: int) -> float:
    """Return the duration in s of the longest run of equal samples that reaches into the window at `first`."""
    changes = np.flatnonzero(values[1:] != values[:-1])
    starts = np.concatenate(([0], changes + 1))
    ends = np.concatenate((changes, [len(values) - 1]))
    inside = ends >= first
    return float((times[ends[inside]] - times[starts[inside]]).max())


def _is_saturated(window: FloatArray, rails: tuple[float, float] | None, *, guess: bool) -> bool:
    """Whether the window touches its rails, or (where they are unknown) looks clipped.

    Args:
        window: (n,) raw samples.
        rails: Lowest and highest value of the converter.
        guess: Look for clipping where the rails are unknown; wrong for slow signals, whose quantised samples are
            equal for long.
    """
    low, high = float(window.min()), float(window.max())
    if rails is not None:
        tolerance = 1e-6 * (rails[1] - rails[0])  # samples were float32 on their way
        return low <= rails[0] + tolerance or high >= rails[1] - tolerance
    if not guess or low == high:
        return False
    steps = np.abs(np.diff(window))
    moving = steps[steps > 0]
    jump = max(CLIP_STEP_QUANTA * float(moving.min()), float(np.median(moving)))
    usual = float(np.median(np.diff(np.flatnonzero(steps), prepend=-1)))  # length of a run of equal samples
    for extreme in (low, high):
        at = np.flatnonzero(window == extreme)
        if len(at) < CLIP_SAMPLES:
            continue
        breaks = np.flatnonzero(np.diff(at) > 1)
        starts = at[np.concatenate(([0], breaks + 1))]
        ends = at[np.concatenate((breaks, [len(at) - 1]))]
        long = ends - starts + 1 >= max(CLIP_SAMPLES, 3.0 * usual if usual > 1.0 else 0.0)
        for start, end in zip(starts[long], ends[long], strict=True):
            entered = start > 0 and steps[start - 1] >= jump
            left = end < len(steps) and steps[end] >= jump
            if entered or left:
                return True
    return False


def _judge_eda(
    times: FloatArray,
    values: FloatArray,
    first: int,
    window_start: float,
    rate_hz: float,
    temperature: float | None,
    metrics: dict[str, float],
) -> list[Reason]:
    """Return the reasons against an EDA window; `first` is the index of its first sample."""
    low, high = RANGE["EDA"]
    out = (values < low) | (values > high)
    steep = np.zeros(len(values), dtype=bool)
    span = max(1, round(rate_hz))
    if len(values) > span:
        # Two 1 s means one sample apart share all but two samples: their slope is the difference over one second.
        slope = np.abs(values[span:] - values[:-span]) * (rate_hz / span)
        steep[span:] = slope > EDA_SLOPE_US_PER_S
        metrics["slope_us_per_s"] = float(slope[max(0, first - span) :].max(initial=0.0))
    reasons = []
    if out[first:].any():
        reasons.append(Reason.OUT_OF_RANGE)
    if steep[first:].any():
        reasons.append(Reason.SLOPE)
    recent = times[:first] > window_start - EDA_RECOVERY_S
    if not reasons and (out | steep)[:first][recent].any():
        reasons.append(Reason.ARTEFACT)
    if temperature is not None and not SKIN_TEMPERATURE_DEGC[0] <= temperature <= SKIN_TEMPERATURE_DEGC[1]:
        reasons.append(Reason.TEMPERATURE)
        metrics["skin_temperature_degc"] = temperature
    return reasons


def _judge_ecg(window: FloatArray, rate_hz: float, metrics: dict[str, float]) -> tuple[list[Reason], str]:
    """Return the reasons against an ECG window and its grade."""
    spectrum = _Spectrum.of(window, rate_hz)
    grid_hz, wave = spectrum.grid_hz, spectrum.band(0.67, 40.0)
    metrics["peak_mv"] = float(np.abs(wave).max())
    if metrics["peak_mv"] > ECG_MAX_MV:
        return [Reason.OUT_OF_RANGE], "unusable"
    hum = max(spectrum.power(mains - 1.0, mains + 1.0) for mains in (50.0, 60.0))
    if hum > spectrum.power(0.67, 40.0):
        return [Reason.MAINS], "unusable"
    beats = _r_peaks(spectrum.band(*QRS_BAND_HZ), grid_hz)
    snr_db = _ecg_snr(wave, beats, grid_hz)
    if snr_db is None:
        return [Reason.NO_BEATS], "unusable"
    metrics["snr_db"] = snr_db
    metrics["heart_rate_bpm"] = _rate(beats, grid_hz)
    if snr_db < ECG_BEATS_DB:
        return [Reason.LOW_SNR], "unusable"
    if not HEART_RATE_BPM[0] <= metrics["heart_rate_bpm"] <= HEART_RATE_BPM[1]:
        return [Reason.NO_BEATS], "unusable"
    return [], "full" if snr_db >= ECG_FULL_DB else "beats"


def _r_peaks(qrs: FloatArray, grid_hz: float) -> IntArray:
    """Return the sample numbers of R (or dominant S) peaks in the band of the QRS complex."""
    blocks = max(1, len(qrs) // int(1.5 * grid_hz))  # every 1.5 s holds a beat at 40 bpm and above
    usable = qrs[: len(qrs) // blocks * blocks].reshape(blocks, -1)
    up, down = float(np.median(usable.max(axis=1))), float(np.median(-usable.min(axis=1)))
    signal, level = (qrs, up) if up >= down else (-qrs, down)
    return _peaks(signal, threshold=0.5 * level, distance=0.3 * grid_hz)


def _ecg_snr(wave: FloatArray, beats: IntArray, grid_hz: float) -> float | None:
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


def _judge_bvp(window: FloatArray, rate_hz: float, metrics: dict[str, float]) -> list[Reason]:
    """Return the reasons against a BVP window."""
    spectrum = _Spectrum.of(window, rate_hz)
    wave = spectrum.band(*BVP_BAND_HZ)
    if float(np.ptp(wave)) < 1e-6 * float(np.ptp(window)):
        return [Reason.NO_BEATS]  # what is left of a smooth line are rounding errors, which may look periodic
    period, likeness = _beat_likeness(wave, spectrum.grid_hz)
    metrics["beat_likeness"] = likeness
    if likeness < BVP_LIKENESS:
        return [Reason.NO_BEATS]
    metrics["heart_rate_bpm"] = 60.0 * spectrum.grid_hz / period
    intervals = np.diff(_peaks(wave, threshold=0.0, distance=0.6 * period))
    if len(intervals) == 0:
        return [Reason.NO_BEATS]
    metrics["interval_ratio"] = float(intervals.max() / intervals.min())
    return [Reason.NO_BEATS] if metrics["interval_ratio"] > BEAT_INTERVAL_RATIO else []


def _beat_likeness(wave: FloatArray, grid_hz: float) -> tuple[float, float]:
    """Return the beat interval in samples and how much each beat resembles the next, from -1 to 1.

    That is the lag and the height of the autocorrelation's first high peak among plausible beat intervals; (0, 0)
    where there is no such peak.
    """
    spectrum = np.fft.rfft(wave, _fast_length(2 * len(wave)))
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


def _judge_emg(window: FloatArray, rate_hz: float, metrics: dict[str, float]) -> list[Reason]:
    """Return the reasons against an EMG window; the spectrum is taken with a Hann window over 20-250 Hz."""
    size = _fast_length(len(window))
    taper, frequency = _hann(len(window)), np.arange(size // 2 + 1) * (rate_hz / size)
    spectrum = np.fft.rfft((window - window.mean()) * taper, size)
    # Two sides of the spectrum; Parseval with the power of the taper gives mean square in mV^2.
    power = 2.0 * (spectrum.real**2 + spectrum.imag**2) / (size * float(np.square(taper).sum()))
    band = (frequency >= 20.0) & (frequency <= min(250.0, 0.5 * rate_hz))
    total = float(power[band].sum())
    metrics["rms_mv"] = math.sqrt(total)
    if metrics["rms_mv"] < EMG_MIN_RMS_MV:
        return [Reason.FLAT]
    hum = 0.0
    for mains in (50.0, 60.0):
        lines = band & (np.abs(frequency - mains * np.maximum(1.0, np.round(frequency / mains))) <= 1.0)
        hum = max(hum, float(power[lines].sum()))
    metrics["mains_share"] = hum / total
    reasons = []
    if metrics["rms_mv"] > EMG_MAX_RMS_MV:
        reasons.append(Reason.OUT_OF_RANGE)
    if metrics["mains_share"] > MAINS_SHARE and math.sqrt(hum) > MAINS_MIN_RMS_MV:
        reasons.append(Reason.MAINS)
    return reasons


@dataclass(frozen=True, slots=True)
class _Spectrum:
    """Spectrum of one detrended window, to look at it in several bands without phase shift.

    Only the judgement rests on this; models are fed by the causal filters of `monitor.dsp`.
    """

    bins: Complex128Array
    size: int
    """Length of the transform, zeros included."""
    samples: int
    rate_hz: float

    @classmethod
    def of(cls, window: FloatArray, rate_hz: float) -> _Spectrum:
        n = len(window)
        size = _fast_length(n + round(0.5 * rate_hz))  # zeros keep the two ends apart
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
        return _fast_length(math.ceil(self.size * _GRID_HZ / self.rate_hz))

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
def _fast_length(n: int) -> int:
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


@lru_cache(maxsize=16)
def _hann(n: int) -> FloatArray:
    taper: FloatArray = np.hanning(n + 2)[1:-1]
    taper.flags.writeable = False
    return taper


def _peaks(signal: FloatArray, *, threshold: float, distance: float) -> IntArray:
    """Return the local maxima above a threshold, highest first choice, none closer than `distance` samples."""
    top = signal[1:-1]
    candidates = np.flatnonzero((top > threshold) & (top >= signal[:-2]) & (top > signal[2:])) + 1
    kept: list[int] = []
    for at in candidates[np.argsort(-signal[candidates], kind="stable")].tolist():
        if all(abs(at - other) >= distance for other in kept):
            kept.append(at)
    return np.array(sorted(kept), dtype=np.intp)
