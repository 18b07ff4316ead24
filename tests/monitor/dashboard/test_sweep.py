"""The trace that is drawn has every extreme of the signal, wherever it falls, and joins nothing that is apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.dashboard.sweep import Scale, SweepBuffer, outline

SIGNALS = st.lists(st.floats(-1e3, 1e3, width=32), min_size=1, max_size=400)


@settings(max_examples=60, deadline=None)
@given(values=SIGNALS, columns=st.integers(1, 50), rate=st.sampled_from([4.0, 25.0, 512.0]), seed=st.integers(0, 9))
def test_the_outline_has_the_extremes_of_every_column_and_no_other_value(
    values: list[float], columns: int, rate: float, seed: int
) -> None:
    rng = np.random.Generator(np.random.PCG64(seed))
    t, y = 100.0 + np.arange(len(values)) / rate, np.array(values)
    joined = rng.random(len(values)) > 0.1
    width = (len(values) / rate) / columns
    trace = outline(t, y, joined, width=width)
    column = np.floor(t / width)
    for number in np.unique(column):
        inside = y[column == number]
        drawn = trace.y[np.isclose(trace.t, (number + 0.5) * width)]
        assert drawn.max() == inside.max()
        assert drawn.min() == inside.min()
    assert set(trace.y) <= set(y)
    assert np.all(np.diff(trace.t) >= 0)


@settings(max_examples=60, deadline=None)
@given(at=st.integers(0, 5119), columns=st.integers(50, 1500), shift=st.floats(0, 1), size=st.integers(1, 600))
def test_no_r_peak_is_ever_lost(at: int, columns: int, shift: float, size: int) -> None:
    y = np.zeros(5120, dtype=np.float32)
    y[at] = 1.5
    buffer = SweepBuffer(capacity=6000)
    for first in range(0, len(y), size):
        part = y[first : first + size]
        buffer.push(part, first_index=first, t0=50.0 + first / 512.0, rate=512.0)
    trace = buffer.trace(50.0 - shift, 60.0, columns=columns)
    assert trace.y.max() == 1.5
    assert len(trace.y) <= 2 * (columns + 2)
    drawn = trace.t[trace.y == 1.5]
    assert np.all(np.abs(drawn - (50.0 + at / 512.0)) <= 2 * (10.0 + shift) / columns)


@settings(max_examples=40, deadline=None)
@given(sizes=st.lists(st.integers(1, 70), min_size=1, max_size=30))
def test_the_ring_is_the_tail_of_everything_however_it_was_cut(sizes: list[int]) -> None:
    total = sum(sizes)
    y = np.arange(total, dtype=np.float32)
    buffer, first = SweepBuffer(capacity=100), 0
    for size in sizes:
        buffer.push(y[first : first + size], first_index=first, t0=first / 32.0, rate=32.0)
        first += size
    trace = buffer.trace(-1.0, total, columns=1000)
    assert trace.y.tolist() == y[-100:].tolist()
    assert trace.connect.tolist() == [1] * (len(trace.y) - 1) + [0]


def test_missing_samples_are_a_hole_and_not_a_line() -> None:
    buffer = SweepBuffer(capacity=100)
    buffer.push(np.ones(4, dtype=np.float32), first_index=0, t0=0.0, rate=4.0)
    buffer.push(np.ones(4, dtype=np.float32), first_index=8, t0=2.0, rate=4.0)
    assert buffer.trace(-1.0, 5.0, columns=100).connect.tolist() == [1, 1, 1, 0, 1, 1, 1, 0]


def test_what_is_not_a_number_is_a_hole_also_over_the_edge_of_a_block() -> None:
    buffer = SweepBuffer(capacity=100)
    buffer.push(np.array([1, np.nan, 2, np.inf], dtype=np.float32), first_index=0, t0=0.0, rate=4.0)
    buffer.push(np.array([3, 4], dtype=np.float32), first_index=4, t0=1.0, rate=4.0)
    trace = buffer.trace(-1.0, 5.0, columns=100)
    assert trace.y.tolist() == [1, 2, 3, 4]
    assert trace.connect.tolist() == [0, 0, 1, 0]


def test_jittering_stamps_stay_one_line_in_time_order() -> None:
    buffer = SweepBuffer(capacity=100)
    buffer.push(np.ones(4, dtype=np.float32), first_index=0, t0=0.0, rate=100.0)
    buffer.push(np.ones(4, dtype=np.float32), first_index=4, t0=0.025, rate=100.0)
    trace = buffer.trace(-1.0, 5.0, columns=1000)
    assert trace.connect.tolist() == [1] * 7 + [0]
    assert np.all(np.diff(trace.t) >= 0)


def test_another_clock_begins_a_new_picture() -> None:
    buffer = SweepBuffer(capacity=100)
    buffer.push(np.ones(4, dtype=np.float32), first_index=0, t0=5000.0, rate=4.0)
    buffer.push(np.full(4, 2.0, dtype=np.float32), first_index=4, t0=10.0, rate=4.0)
    assert set(buffer.trace(0.0, 9000.0, columns=100).y.tolist()) == {2.0}


@given(values=st.lists(st.floats(-50, 50), min_size=1, max_size=50))
@settings(max_examples=50, deadline=None)
def test_a_scale_holds_everything_and_is_never_flat(values: list[float]) -> None:
    low, high = Scale(smallest=0.5).fit(np.array(values))
    assert low <= min(values)
    assert high >= max(values)
    assert high - low >= 0.5


def test_a_scale_does_not_twitch() -> None:
    scale = Scale(smallest=0.1)
    first = scale.fit(np.array([0.0, 10.0]))
    assert scale.fit(np.array([0.5, 9.0])) == first
    assert scale.fit(np.array([4.0, 5.0])) != first
    assert scale.fit(np.array([-100.0, 100.0]))[1] >= 100.0


@pytest.mark.parametrize("rate", [0.0, -1.0])
def test_a_block_without_a_rate_is_left_out(rate: float) -> None:
    buffer = SweepBuffer(capacity=10)
    buffer.push(np.ones(3, dtype=np.float32), first_index=0, t0=0.0, rate=rate)
    assert buffer.newest is None
