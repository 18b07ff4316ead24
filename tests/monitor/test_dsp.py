"""Filters, interpolation and scaling against their definitions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from monitor import dsp
from monitor.bundle import FilterSpec, ScaleSpec, default_input
from monitor.types import FloatArray

ECG = FilterSpec(low_hz=0.5, high_hz=40.0)


def _noise(count: int, seed: int = 0) -> FloatArray:
    return np.random.default_rng(seed).normal(size=count).cumsum() * 0.05


@settings(max_examples=25, deadline=None)
@given(cuts=st.lists(st.integers(0, 2000), max_size=20), first=st.floats(-5, 5))
def test_any_grouping_gives_the_same_bits(cuts: list[int], first: float) -> None:
    design = dsp.design_filter(ECG, stream_rate_hz=500.0, target_rate_hz=25.0)
    values = _noise(2000) + first
    whole, _ = dsp.run_filter(design, dsp.start_state(design, float(values[0])), values)
    state = dsp.start_state(design, float(values[0]))
    bounds = [0, *sorted(cuts), 2000]
    parts = []
    for start, stop in pairwise(bounds):
        part, state = dsp.run_filter(design, state, values[start:stop])
        parts.append(part)
    assert np.concatenate(parts).tobytes() == whole.tobytes()


def test_a_constant_passes_a_low_pass_and_nothing_else() -> None:
    low = dsp.design_filter(FilterSpec(high_hz=1.5), stream_rate_hz=32.0, target_rate_hz=25.0)
    band = dsp.design_filter(ECG, stream_rate_hz=500.0, target_rate_hz=512.0)
    constant = np.full(300, 3.7)
    assert np.allclose(dsp.run_filter(low, dsp.start_state(low, 3.7), constant)[0], 3.7, atol=1e-12)
    assert np.allclose(dsp.run_filter(band, dsp.start_state(band, 3.7), constant)[0], 0.0, atol=1e-9)


@pytest.mark.parametrize(
    ("spec", "stream_hz", "target_hz", "edges"),
    [
        (ECG, 512.0, 512.0, (0.5, 40.0)),
        (ECG, 80.0, 512.0, (0.5,)),  # 40 Hz lies above 0.45 * 80 Hz
        (ECG, 512.0, 25.0, (0.5, 10.0, 40.0)),  # the rate goes down: low-pass at 0.4 * 25 Hz
        (FilterSpec(high_hz=1.5), 4.0, 25.0, (1.5,)),
        (FilterSpec(high_hz=1.5), 3.0, 25.0, ()),
        (FilterSpec(high_hz=1.5), 64.0, 25.0, (1.5,)),  # already below the anti-alias corner
        (FilterSpec(kind="none"), 4.0, 25.0, ()),
        (FilterSpec(kind="none"), 100.0, 25.0, (10.0,)),
    ],
)
def test_edges_that_were_used(spec: FilterSpec, stream_hz: float, target_hz: float, edges: tuple[float, ...]) -> None:
    assert dsp.design_filter(spec, stream_rate_hz=stream_hz, target_rate_hz=target_hz).edges_hz == edges


@pytest.mark.parametrize("rate_hz", [100.0, 255.3, 512.0, 1000.0])
def test_nothing_above_half_the_target_rate_folds_back(rate_hz: float) -> None:
    design = dsp.design_filter(FilterSpec(kind="none"), stream_rate_hz=rate_hz, target_rate_hz=25.0)
    assert design.sos is not None
    frequencies = np.linspace(20.0, 0.49 * rate_hz, 200)
    _, response = signal.freqz_sos(design.sos, worN=frequencies, fs=rate_hz)
    assert np.abs(response).max() < 0.07


def test_warm_up_is_the_time_to_a_thousandth_of_the_step_response() -> None:
    design = dsp.design_filter(ECG, stream_rate_hz=250.0, target_rate_hz=250.0)
    assert design.sos is not None
    response = signal.sosfilt(design.sos, np.ones(250 * 30))
    settled = round(design.warmup_s * 250.0)
    assert np.abs(response[settled:]).max() <= 1e-3 < np.abs(response[settled - 1])
    stated = dsp.design_filter(
        FilterSpec(low_hz=0.05, high_hz=1.0, warmup_s=60.0), stream_rate_hz=25.0, target_rate_hz=25.0
    )
    assert stated.warmup_s == 60.0


def test_delay_is_what_a_pulse_shows() -> None:
    design = dsp.design_filter(FilterSpec(high_hz=8.0), stream_rate_hz=1000.0, target_rate_hz=1000.0)
    times = np.arange(4000) / 1000.0
    pulse = np.exp(-0.5 * ((times - 2.0) / 0.15) ** 2)
    filtered, _ = dsp.run_filter(design, dsp.start_state(design, 0.0), pulse)
    assert times[np.argmax(filtered)] - 2.0 == pytest.approx(design.delay_s, abs=0.002)


def test_grid_ends_at_the_window_end_and_steps_by_the_rate() -> None:
    points = dsp.grid(100.0, samples=138, rate_hz=25.0)
    assert points[-1] == 100.0
    assert points[0] == pytest.approx(100.0 - 137 / 25.0)
    assert np.allclose(np.diff(points), 0.04)


def test_interpolation_never_holds_or_extrapolates() -> None:
    times = np.array([0.0, 1.0, 2.0])
    with pytest.raises(ValueError, match=r"interpolation at 0\.500\.\.2\.100"):
        dsp.interpolate(np.array([0.5, 2.1]), times, times)
    with pytest.raises(ValueError, match="samples over nothing"):
        dsp.interpolate(np.array([0.5]), np.array([]), np.array([]))
    assert dsp.interpolate(np.array([0.5, 2.0]), times, times**2).tolist() == [0.5, 4.0]


def test_scale_follows_the_table_of_defaults() -> None:
    values = np.linspace(2.0, 3.0, 138)
    eda = default_input("EDA", fallback={"center": 1.0, "spread": 0.5}).scale
    baseline = dsp.Baseline(center=2.0, spread=0.25, range=1.0)
    scaled = dsp.scale(values, eda, baseline)
    assert scaled.shape == (1, 138)
    assert scaled.dtype == np.float32
    assert scaled[0, 0] == 0.0  # centred on the window's first sample
    assert scaled[0, -1] == pytest.approx(4.0)
    flat = dsp.scale(values, eda, dsp.Baseline(center=2.0, spread=0.0, range=0.0))
    assert flat[0, -1] == pytest.approx(20.0)  # 1 / 0.05 uS, the floor, clipped at 20
    bvp = default_input("BVP").scale
    assert bvp.fallback is None
    relative = dsp.scale(values, bvp, dsp.Baseline(center=0.0, spread=0.0, range=100.0))
    assert relative.max() == pytest.approx(0.5 / (1e-3 * 100.0))
    assert dsp.fallback_baseline(bvp) is None
    fallback = dsp.fallback_baseline(eda)
    assert fallback is not None
    assert fallback.spread == 0.5


def test_scale_clips_and_cannot_be_written() -> None:
    spec = ScaleSpec(center="none", spread="none", floor=1.0, clip=2.0)
    scaled = dsp.scale(np.array([-9.0, 0.5, 9.0]), spec, dsp.Baseline(center=0, spread=1, range=0))
    assert scaled.tolist() == [[-2.0, 0.5, 2.0]]
    with pytest.raises(ValueError, match="read-only"):
        scaled[0, 0] = 1.0


def test_baseline_is_median_and_interquartile_range() -> None:
    values = np.arange(101.0)
    assert dsp.baseline_of(values) == dsp.Baseline(center=50.0, spread=50.0, range=100.0)
