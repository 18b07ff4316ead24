"""The only place where a signal is filtered, resampled or scaled: pure functions, shared by live use and training.

The order is: unit conversion in float64, causal second-order sections at the stream's own rate, linear
interpolation at the instants of the window grid, centre, spread, clip. Everything is causal and gives the same bits
however the samples were grouped: `sosfilt` with carried state does, an FIR `lfilter` does not, and polyphase
resampling looks ahead.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from monitor.bundle import FilterSpec, ScaleSpec
from monitor.types import STAMP_TICK, Float32Array, FloatArray

EDGE_LIMIT: Final = 0.45
"""A filter edge above this share of the stream's rate is left out."""

ANTI_ALIAS_CORNER: Final = 0.4
"""Corner of the low-pass that goes before a lower target rate, as a share of that rate."""

ANTI_ALIAS_ORDER: Final = 4

SETTLED: Final = 1e-3
"""A step response within this of its end counts as settled; it sets the warm-up."""

_MAX_WARMUP_S: Final = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class CausalFilter:
    """A designed filter. Without sections (`sos` None) it passes samples through."""

    sos: FloatArray | None
    """(sections, 6)."""
    unit_state: FloatArray | None
    """(sections, 2): state in which an input of constant 1 has settled."""
    edges_hz: tuple[float, ...]
    """The edges that were used, ascending."""
    delay_s: float
    """Group delay at the middle of the pass band, in seconds."""
    warmup_s: float
    """Seconds after a start until the step response is within 1e-3 of its end."""


@lru_cache(maxsize=256)
def design_filter(spec: FilterSpec, *, stream_rate_hz: float, target_rate_hz: float) -> CausalFilter:
    """Design the causal filter of one input for one stream.

    Args:
        spec: The bundle's filter.
        stream_rate_hz: Sampling rate that the filter runs at.
        target_rate_hz: Rate of the window grid; below the stream's rate, a 4th-order Butterworth low-pass at 0.4 of
            it is added.

    Returns:
        The filter with the edges that it could use: one above 0.45 of the stream's rate is left out.
    """
    sections: list[FloatArray] = []
    edges: list[float] = []
    low = high = None
    limit = EDGE_LIMIT * stream_rate_hz
    if spec.kind == "butterworth":
        if spec.low_hz is not None and spec.low_hz <= limit:
            low = spec.low_hz
            sections.append(signal.butter(spec.order, low, "highpass", fs=stream_rate_hz, output="sos"))
        if spec.high_hz is not None and spec.high_hz <= limit:
            high = spec.high_hz
            sections.append(signal.butter(spec.order, high, "lowpass", fs=stream_rate_hz, output="sos"))
    if target_rate_hz < stream_rate_hz:
        corner = ANTI_ALIAS_CORNER * target_rate_hz
        # A band limit that already lies below the corner needs no second low-pass.
        if corner <= limit and not (high is not None and high <= corner):
            sections.append(signal.butter(ANTI_ALIAS_ORDER, corner, "lowpass", fs=stream_rate_hz, output="sos"))
            edges.append(corner)
            high = min(high, corner) if high is not None else corner
    edges.extend(edge for edge in (spec.low_hz, spec.high_hz) if edge is not None and edge <= limit)
    if not sections:
        return CausalFilter(None, None, (), 0.0, 0.0)
    sos = np.vstack(sections)
    return CausalFilter(
        sos=sos,
        unit_state=signal.sosfilt_zi(sos),
        edges_hz=tuple(sorted(set(edges))),
        delay_s=_pass_band_delay(sos, low=low, high=high, rate_hz=stream_rate_hz),
        warmup_s=_settling_time(sos, stream_rate_hz) if spec.warmup_s is None else spec.warmup_s,
    )


def _pass_band_delay(sos: FloatArray, *, low: float | None, high: float | None, rate_hz: float) -> float:
    """Group delay in seconds at the geometric middle of the pass band (at DC for a low-pass)."""
    if low is None:
        middle = 1e-4 * rate_hz
    else:
        middle = float(np.sqrt(low * (high if high is not None else 0.5 * rate_hz)))
    step = 1e-4 * middle
    _, response = signal.freqz_sos(sos, worN=np.array([middle - step, middle + step]), fs=rate_hz)
    phase = np.unwrap(np.angle(response))
    return float(-(phase[1] - phase[0]) / (2 * np.pi * 2 * step))


def _settling_time(sos: FloatArray, rate_hz: float) -> float:
    """Seconds until the step response stays within `SETTLED` of its end, relative to the step."""
    steps = int(_MAX_WARMUP_S * rate_hz)
    length = int(4 * rate_hz) + 8
    while True:
        response = signal.sosfilt(sos, np.ones(length))
        gain = float(np.prod(sos[:, :3].sum(axis=1) / sos[:, 3:].sum(axis=1)))
        unsettled = np.flatnonzero(np.abs(response - gain) > SETTLED)
        if len(unsettled) == 0:
            return 0.0
        if unsettled[-1] < length // 2 or length >= steps:
            return float((unsettled[-1] + 1) / rate_hz)
        length *= 4


def start_state(design: CausalFilter, first: float | FloatArray) -> FloatArray | None:
    """State of a filter that has seen `first` for ever: what a segment starts with.

    Args:
        design: The filter.
        first: The first sample, or (channels,) of them.

    Returns:
        (sections, 2) or (sections, 2, channels) float64, or None where the filter passes samples through.
    """
    if design.unit_state is None:
        return None
    return np.multiply.outer(design.unit_state, first)


def run_filter(
    design: CausalFilter, state: FloatArray | None, values: FloatArray
) -> tuple[FloatArray, FloatArray | None]:
    """Filter the next block of a segment.

    Args:
        design: The filter.
        state: From `start_state` or the previous block; not modified.
        values: (n,) or (n, channels) float64.

    Returns:
        Filtered values and the state after them; bit-equal for any grouping into blocks.
    """
    if design.sos is None or len(values) == 0:
        return values, state
    filtered, after = signal.sosfilt(design.sos, values, axis=0, zi=state)
    return filtered, after


def convert(samples: Float32Array, *, gain: float, offset: float) -> FloatArray:
    """Samples in the source's unit -> float64 in the modality's unit."""
    values = samples.astype(np.float64)
    if gain != 1.0:
        values *= gain
    if offset != 0.0:
        values += offset
    return values


@lru_cache(maxsize=64)
def _grid_offsets(samples: int, rate_hz: float) -> FloatArray:
    offsets = (np.arange(samples, dtype=np.float64) - (samples - 1)) / rate_hz
    offsets.flags.writeable = False
    return offsets


def grid(t_end: float, *, samples: int, rate_hz: float) -> FloatArray:
    """Instants of a window: point j at t_end - (samples - 1 - j) / rate_hz, in seconds."""
    return t_end + _grid_offsets(samples, rate_hz)


def interpolate(at: FloatArray, times: FloatArray, values: FloatArray) -> FloatArray:
    """Linear interpolation; the caller has made sure that `times` covers `at` (to one stamp tick).

    Args:
        at: (samples,) instants, ascending.
        times: (n,) when the values were taken, ascending.
        values: (n,) or (n, channels).

    Returns:
        (samples,) or (channels, samples) float64.

    Raises:
        ValueError: If it does not: nothing is ever held or extrapolated.
    """
    if len(times) == 0 or at[0] < times[0] - STAMP_TICK or at[-1] > times[-1] + STAMP_TICK:
        span = f"{times[0]:.3f}..{times[-1]:.3f}" if len(times) else "nothing"
        raise ValueError(f"interpolation at {at[0]:.3f}..{at[-1]:.3f} s from samples over {span} s")
    if values.ndim == 2:
        return _interpolate_rows(at, times, values)
    result: FloatArray = np.interp(at, times, values)
    return result


def _interpolate_rows(at: FloatArray, times: FloatArray, values: FloatArray) -> FloatArray:
    """What np.interp gives for each channel, in one go: (channels, samples) of (n, channels) values."""
    if len(times) == 1:
        return np.repeat(values.T, len(at), axis=1)
    inside = np.clip(at, times[0], times[-1])
    right = np.clip(np.searchsorted(times, inside, side="right"), 1, len(times) - 1)
    left = right - 1
    slopes = (values[right] - values[left]) / (times[right] - times[left])[:, np.newaxis]
    rows = slopes * (inside - times[left])[:, np.newaxis] + values[left]
    last = inside == times[-1]
    rows[last] = values[-1]  # exactly, as everywhere else on a sample
    return np.ascontiguousarray(rows.T)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """Robust statistics of one input over a bed's calibration period, in the modality's unit."""

    center: float
    """Median."""
    spread: float
    """Interquartile range."""
    range: float
    """Maximum - minimum."""


def baseline_of(values: FloatArray) -> Baseline:
    """Median, interquartile range and range of valid calibration points."""
    lower, center, upper = np.percentile(values, [25.0, 50.0, 75.0])
    return Baseline(center=float(center), spread=float(upper - lower), range=float(np.ptp(values)))


def _median(values: FloatArray) -> float:
    """What np.median gives, bit for bit, at a tenth of its cost on a window."""
    ordered = np.sort(values)
    middle = len(ordered) // 2
    return float(ordered[middle] if len(ordered) % 2 else 0.5 * (ordered[middle - 1] + ordered[middle]))


def fallback_baseline(spec: ScaleSpec) -> Baseline | None:
    """Statistics of the training population, or None where the input has none (arbitrary units)."""
    if spec.fallback is None:
        return None
    return Baseline(center=spec.fallback.get("center", 0.0), spread=spec.fallback.get("spread", 1.0), range=0.0)


def scale(values: FloatArray, spec: ScaleSpec, baseline: Baseline) -> Float32Array:
    """Centre, divide by max(spread, floor), clip: the last step before a model.

    Args:
        values: (samples,) or (channels, samples) float64 in the modality's unit.
        spec: Rule of the input.
        baseline: Statistics that `spec.center` or `spec.spread` refer to; the fallback until calibrated.

    Returns:
        (channels, samples) float32, read-only.

    Raises:
        ValueError: If a window of several channels is to be centred by a rule for one.
    """
    fixed = spec.fallback or {}
    if values.ndim == 2 and spec.center in ("window_first", "window_median"):
        raise ValueError(f"{spec.center} centres one channel, not {len(values)}")
    match spec.center:
        case "window_min":
            center = float(values.min())
        case "window_first":
            center = float(values[0])
        case "window_median":
            center = _median(values)
        case "baseline":
            center = baseline.center
        case "fixed":
            center = fixed.get("center", 0.0)
        case "none":
            center = 0.0
    match spec.spread:
        case "baseline":
            floor = spec.floor * baseline.range if spec.floor_relative else spec.floor
            spread = max(baseline.spread, floor)
        case "window_range":
            spread = max(float(np.ptp(values)), spec.floor)
        case "fixed":
            spread = max(fixed.get("spread", 1.0), spec.floor)
        case "none":
            spread = 1.0
    scaled = np.clip((values - center) / spread, -spec.clip, spec.clip)
    result: NDArray[np.float32] = np.atleast_2d(scaled.astype(np.float32))
    result.flags.writeable = False
    return result
