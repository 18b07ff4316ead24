"""Forms of the simulated pulse: one a subject, pointed to smooth, with a drift that is no answer to pain."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal, stats

from monitor.sources.physiology_pulse import PulseForm, draw_pulse
from monitor.sources.synthetic import SyntheticPatient
from monitor.types import FloatArray

FEET = np.arange(-2.0, 64.0, 0.9)
TIMES = np.arange(0.0, 60.0, 1 / 64)
SUBJECTS = range(60)


def wave(form: PulseForm, size: float = 1.0) -> FloatArray:
    return form.wave(TIMES, FEET, np.full(len(FEET), size))


@cache
def filtered(seed: int) -> FloatArray:
    """A regular pulse behind the band-pass that the monitor gives every BVP, whichever way up its sensor is."""
    form = draw_pulse(seed)
    band = signal.butter(2, (0.5, 8.0), "bandpass", fs=64.0, output="sos")
    return np.asarray(form.polarity * signal.sosfilt(band, wave(form))[640:])


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), size=st.floats(0.1, 3.0))
def test_a_pulse_has_zero_mean_and_scales_with_its_amplitude(seed: int, size: float) -> None:
    form = draw_pulse(seed)
    whole = wave(form)
    assert abs(whole.mean()) < 0.1 * np.ptp(whole)
    assert 0.5 < np.ptp(whole) < 1.7
    np.testing.assert_allclose(wave(form, size), size * whole, atol=1e-12)


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31), cut=st.integers(1, len(TIMES) - 1))
def test_it_is_the_same_however_it_is_cut(seed: int, cut: int) -> None:
    form, sizes = draw_pulse(seed), np.linspace(0.5, 1.5, len(FEET))
    parts = [form.wave(part, FEET, sizes) for part in (TIMES[:cut], TIMES[cut:])]
    np.testing.assert_array_equal(np.concatenate(parts), draw_pulse(seed).wave(TIMES, FEET, sizes))


@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 2**31))
def test_it_has_no_steps(seed: int) -> None:
    form = draw_pulse(seed)
    fine = np.arange(0.0, 20.0, 1e-3)
    assert np.abs(np.diff(form.wave(fine, FEET, np.ones(len(FEET))))).max() < 0.03


def test_forms_range_from_pointed_to_smooth() -> None:
    skewness = [float(stats.skew(filtered(seed))) for seed in SUBJECTS]
    steepness = [float(stats.skew(np.diff(filtered(seed)))) for seed in SUBJECTS]
    # Behind this filter wristbands show about -0.2 to 0.4, finger clips about 0.8 to 1.3.
    assert sum(-0.3 < value < 0.5 for value in skewness) > 0.4 * len(SUBJECTS)
    assert sum(value > 0.8 for value in skewness) > 0.15 * len(SUBJECTS)
    # A pulse rises faster than it falls.
    assert np.median(steepness) > 0.5


def test_few_sensors_are_upside_down() -> None:
    share = np.mean([draw_pulse(seed).polarity < 0 for seed in range(500)])
    assert 0.03 < share < 0.15


def test_amplitude_drifts_over_minutes_about_one() -> None:
    drifts = np.log([draw_pulse(seed).size(np.arange(0.0, 3600.0, 5.0)) for seed in SUBJECTS])
    assert abs(np.median(drifts)) < 0.1
    assert 0.2 < np.median(drifts.std(axis=1)) < 0.5
    # From one window of seconds to the next it hardly moves.
    assert np.quantile(np.abs(np.diff(drifts, axis=1)), 0.9) < 0.2


def test_the_drift_is_the_same_with_and_without_pain() -> None:
    calm, moved = (SyntheticPatient(part="train", number=4, episodes=e, confounders=()) for e in ((), None))
    before = 64 * 140  # the first pain comes later
    np.testing.assert_array_equal(calm.samples("BVP", 0, before), moved.samples("BVP", 0, before))
