"""Skin conductance responses are counted once each, causally, and however the signal was cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.scoring.comparators import MIN_SPAN_S, SPAN_S, ScrCounter
from monitor.types import Float32Array

RATE = 32.0


def conductance(onsets: list[float], *, seconds: float, amplitude: float = 0.3, drift: float = 0.0) -> Float32Array:
    """Tonic level and responses with a rise of a second and a slow fall."""
    t = np.arange(round(seconds * RATE)) / RATE
    x = 4.0 + drift * t
    for onset in onsets:
        s = np.clip(t - onset, 0.0, None)
        x = x + amplitude * 2.2 * (np.exp(-s / 3.0) - np.exp(-s / 0.8))
    return x.astype(np.float32)


def count(x: Float32Array, sizes: list[int] | None = None) -> float | None:
    """Feed a signal in pieces."""
    counter, first = ScrCounter(rate_hz=RATE), 0
    sizes = sizes or [len(x)]
    while first < len(x):
        for size in sizes:
            counter.add(x[first : first + size], 100.0 + first / RATE)
            first += size
    return counter.per_minute()


@pytest.mark.parametrize("responses", [0, 1, 3, 6])
@pytest.mark.parametrize("drift", [-0.01, 0.0, 0.004])
def test_every_response_counts_once(responses: int, drift: float) -> None:
    onsets = [5.0 + 8.0 * i for i in range(responses)]
    assert count(conductance(onsets, seconds=SPAN_S, drift=drift)) == pytest.approx(responses, abs=0.1)


def test_converter_noise_is_not_a_response() -> None:
    rng = np.random.Generator(np.random.PCG64(1))
    x = conductance([], seconds=60.0) + (0.003 * rng.standard_normal(round(60 * RATE))).astype(np.float32)
    assert count(x) == 0.0


@settings(max_examples=20, deadline=None)
@given(sizes=st.lists(st.integers(1, 300), min_size=1, max_size=10))
def test_cutting_changes_nothing(sizes: list[int]) -> None:
    x = conductance([4.0, 13.0, 30.0], seconds=50.0)
    assert count(x, sizes) == count(x)


def test_a_response_is_not_counted_before_its_peak_is_over() -> None:
    x = conductance([30.0], seconds=40.0)
    peak = int(x.argmax())
    assert count(x[: peak + 1]) == 0.0
    assert count(x[: peak + round(4 * RATE)]) > 0.0


def test_too_little_signal_gives_no_rate_and_a_hole_begins_anew() -> None:
    x = conductance([5.0], seconds=60.0)
    assert count(x[: round((MIN_SPAN_S - 1) * RATE)]) is None
    counter = ScrCounter(rate_hz=RATE)
    counter.add(x, 0.0)
    assert counter.per_minute() == pytest.approx(1.0, abs=0.1)
    counter.add(np.array([np.nan], dtype=np.float32), 60.0)
    assert counter.per_minute() is None


def test_old_responses_leave_the_span() -> None:
    assert count(conductance([5.0, 10.0], seconds=SPAN_S + 30.0)) == 0.0
