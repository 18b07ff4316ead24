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
        67:2721, 2020). The estimator is ours, see `monitor.beats.ecg_snr`.
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
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import numpy as np

from monitor.beats import (
    BVP_BAND_HZ,
    HEART_RATE_BPM,
    QRS_BAND_HZ,
    Spectrum,
    beat_likeness,
    ecg_snr,
    fast_length,
    heart_rate_bpm,
    peaks_apart,
    r_peaks,
)
from monitor.modality import many_channels
from monitor.types import FloatArray, Quality, Reason

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
    spectrum = Spectrum.of(window, rate_hz)
    grid_hz, wave = spectrum.grid_hz, spectrum.band(0.67, 40.0)
    metrics["peak_mv"] = float(np.abs(wave).max())
    if metrics["peak_mv"] > ECG_MAX_MV:
        return [Reason.OUT_OF_RANGE], "unusable"
    hum = max(spectrum.power(mains - 1.0, mains + 1.0) for mains in (50.0, 60.0))
    if hum > spectrum.power(0.67, 40.0):
        return [Reason.MAINS], "unusable"
    beats = r_peaks(spectrum.band(*QRS_BAND_HZ), grid_hz)
    snr_db = ecg_snr(wave, beats, grid_hz)
    if snr_db is None:
        return [Reason.NO_BEATS], "unusable"
    metrics["snr_db"] = snr_db
    metrics["heart_rate_bpm"] = heart_rate_bpm(beats, grid_hz)
    if snr_db < ECG_BEATS_DB:
        return [Reason.LOW_SNR], "unusable"
    if not HEART_RATE_BPM[0] <= metrics["heart_rate_bpm"] <= HEART_RATE_BPM[1]:
        return [Reason.NO_BEATS], "unusable"
    return [], "full" if snr_db >= ECG_FULL_DB else "beats"


def _judge_bvp(window: FloatArray, rate_hz: float, metrics: dict[str, float]) -> list[Reason]:
    """Return the reasons against a BVP window."""
    spectrum = Spectrum.of(window, rate_hz)
    wave = spectrum.band(*BVP_BAND_HZ)
    if float(np.ptp(wave)) < 1e-6 * float(np.ptp(window)):
        return [Reason.NO_BEATS]  # what is left of a smooth line are rounding errors, which may look periodic
    period, likeness = beat_likeness(wave, spectrum.grid_hz)
    metrics["beat_likeness"] = likeness
    if likeness < BVP_LIKENESS:
        return [Reason.NO_BEATS]
    metrics["heart_rate_bpm"] = 60.0 * spectrum.grid_hz / period
    intervals = np.diff(peaks_apart(wave, threshold=0.0, distance=0.6 * period))
    if len(intervals) == 0:
        return [Reason.NO_BEATS]
    metrics["interval_ratio"] = float(intervals.max() / intervals.min())
    return [Reason.NO_BEATS] if metrics["interval_ratio"] > BEAT_INTERVAL_RATIO else []


def _judge_emg(window: FloatArray, rate_hz: float, metrics: dict[str, float]) -> list[Reason]:
    """Return the reasons against an EMG window; the spectrum is taken with a Hann window over 20-250 Hz."""
    size = fast_length(len(window))
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


@lru_cache(maxsize=16)
def _hann(n: int) -> FloatArray:
    taper: FloatArray = np.hanning(n + 2)[1:-1]
    taper.flags.writeable = False
    return taper
