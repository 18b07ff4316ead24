"""The SPI-style index: bounded, causal, without a unit, and higher where the pulse is small and quick."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.scoring.pleth import PlethIndex, PlethReading, beat_interval_s, pulse_size, reading

READINGS = st.lists(st.tuples(st.floats(0.01, 50.0), st.floats(0.33, 1.5)), min_size=1, max_size=80)


def course(readings: list[tuple[float, float]], *, needed: float = 10.0, hop: float = 1.0) -> list[float | None]:
    index = PlethIndex(hop_s=hop, reference_s=needed)
    return [index.add(PlethReading(*item)) for item in readings]


@given(READINGS)
@settings(deadline=None)
def test_it_lies_between_0_and_100_and_waits_for_its_reference(readings: list[tuple[float, float]]) -> None:
    told = course(readings)
    assert all(value is None for value in told[:9])
    assert all(value is not None and 0.0 <= value <= 100.0 for value in told[9:])


@given(READINGS, st.integers(-8, 8))
@settings(deadline=None)
def test_the_unit_of_the_amplitude_does_not_matter(readings: list[tuple[float, float]], power: int) -> None:
    gain = 2.0**power  # exact in binary: no rounding hides behind it
    assert course([(gain * amplitude, interval) for amplitude, interval in readings]) == course(readings)


@given(READINGS, st.floats(0.05, 0.95), st.floats(0.05, 0.95))
@settings(deadline=None)
def test_it_rises_when_amplitude_or_interval_fall(
    readings: list[tuple[float, float]], smaller: float, shorter: float
) -> None:
    past = [*readings, *[(1.0, 0.8)] * 12]
    last = [
        course([*past, now])[-1] for now in ((1.0, 0.8), (smaller, 0.8), (1.0, 0.8 * shorter), (smaller, 0.8 * shorter))
    ]
    rest, small, quick, both = (value for value in last if value is not None)
    assert rest < small <= both
    assert rest < quick <= both


def test_a_subject_at_rest_lies_in_the_middle_of_its_own_amplitudes() -> None:
    told = course([(2.0, 0.7)] * 60)
    assert told[-1] == pytest.approx(50.0)


def test_a_recalibration_takes_the_reference_anew_and_says_nothing_until_then() -> None:
    index = PlethIndex(hop_s=1.0, reference_s=10.0)
    for _ in range(30):
        index.add(PlethReading(2.0, 0.8))
    assert index.reference == 2.0
    index.recalibrate()
    assert [index.add(PlethReading(1.0, 0.8)) is None for _ in range(10)] == [True] * 9 + [False]
    assert index.reference == 1.0


def test_what_may_not_serve_the_reference_does_not() -> None:
    index = PlethIndex(hop_s=1.0, reference_s=5.0)
    assert all(index.add(PlethReading(9.0, 0.5), rest=False) is None for _ in range(50))
    for _ in range(5):
        index.add(PlethReading(2.0, 0.8))
    assert index.reference == 2.0


def test_the_own_distribution_covers_half_an_hour() -> None:
    long = course([(4.0, 0.9)] * 1800 + [(1.0, 0.9)] * 1800)
    interval = 0.7 * 50.0 + 0.3 * 97.725  # of its own equal ones, and two SD above the population's mean
    first, last = (100.0 - 0.7 * 0.7 * own - 0.3 * interval for own in (0.5 / 18.0, 50.0))  # a quarter: none so small
    assert long[1800] == pytest.approx(first, abs=0.1)
    assert long[-1] == pytest.approx(last, abs=0.1)  # what was first is forgotten


@given(rate=st.floats(45.0, 160.0), size=st.floats(0.2, 20.0))
@settings(deadline=None, max_examples=40)
def test_a_sine_is_read_as_what_it_is(rate: float, size: float) -> None:
    t = np.arange(125) / 25.0
    found = reading(size * np.sin(2.0 * np.pi * rate / 60.0 * t), 25.0)
    assert found.interval_s == pytest.approx(60.0 / rate, rel=0.08)
    assert found.amplitude == pytest.approx(2.0 * size * np.sin(0.45 * np.pi), rel=0.06)


def test_rows_are_read_one_by_one() -> None:
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 125))
    assert pulse_size(x).tolist() == [float(pulse_size(row[None, :])[0]) for row in x]
    assert beat_interval_s(x, 25.0) == pytest.approx([float(beat_interval_s(row[None, :], 25.0)[0]) for row in x])
