"""Corrections of a remote clock and stamps made from arrival: properties, no network."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sources.lsl_stamps import DEADBAND_S, SLEW_S_PER_S, ArrivalStamps, ClockOffset
from monitor.types import STAMP_TICK

FEW = settings(max_examples=60, deadline=None)


def test_own_host_is_never_corrected() -> None:
    offset = ClockOffset(fixed=0.0)
    offset.publish(12.5)
    assert offset.known
    assert offset.apply(3.0) == 0.0


def test_nothing_is_applied_before_an_estimate_exists() -> None:
    offset = ClockOffset()
    assert not offset.known
    with pytest.raises(RuntimeError):
        offset.apply(0.0)


def test_one_wild_estimate_changes_nothing() -> None:
    offset = ClockOffset()
    for estimate in (5.0, 5.0, 5.0):
        offset.publish(estimate)
    assert offset.apply(0.0) == 5.0
    offset.publish(900.0)
    assert offset.apply(10.0) == 5.0


def test_only_the_last_five_estimates_count() -> None:
    offset = ClockOffset()
    for estimate in (100.0, 100.0, 100.0, 1.0, 2.0, 3.0, 4.0, 5.0):
        offset.publish(estimate)
    assert offset.apply(0.0) == 3.0


@FEW
@given(
    wobble=st.lists(st.floats(-0.4 * DEADBAND_S, 0.4 * DEADBAND_S), min_size=1, max_size=30),
    true=st.floats(-1e5, 1e5),
)
def test_wobble_below_the_deadband_leaves_a_segment_constant(wobble: list[float], true: float) -> None:
    offset = ClockOffset()
    offset.publish(true)
    first = offset.apply(0.0)
    for i, error in enumerate(wobble):
        offset.publish(true + error)
        assert offset.apply(float(i + 1)) == first


@FEW
@given(
    moves=st.lists(st.tuples(st.floats(0.0, 5.0), st.floats(-50.0, 50.0)), min_size=1, max_size=40),
)
def test_inside_a_segment_the_correction_never_moves_faster_than_the_slew(moves: list[tuple[float, float]]) -> None:
    offset = ClockOffset()
    offset.publish(0.0)
    now, last = 0.0, offset.apply(0.0)
    for wait, estimate in moves:
        now += wait
        offset.publish(estimate)
        value = offset.apply(now)
        assert abs(value - last) <= SLEW_S_PER_S * wait + 1e-12
        last = value


def test_a_lasting_change_is_followed_to_the_end() -> None:
    offset = ClockOffset()
    offset.publish(0.0)
    offset.apply(0.0)
    for _ in range(5):
        offset.publish(0.010)
    values = [offset.apply(float(t)) for t in range(1, 140)]
    assert values[-1] == 0.010
    assert values == sorted(values)


@FEW
@given(
    counts=st.lists(st.integers(0, 300), min_size=1, max_size=40),
    pace=st.floats(0.7, 1.4),
    rate=st.sampled_from([4.0, 64.0, 100.0, 255.3]),
)
def test_arrival_stamps_rise_and_never_run_away(counts: list[int], pace: float, rate: float) -> None:
    # A device that truly runs at rate * pace while it claims `rate`, sending bursts.
    stamps = ArrivalStamps(rate_hz=rate)
    now, made = 1000.0, []
    for count in counts:
        now += max(count, 1) / (rate * pace)
        burst = stamps.make(count, now)
        assert len(burst) == count
        if count:
            assert abs(burst[-1] - now) <= STAMP_TICK
        made.append(burst)
    joined = np.concatenate(made)
    assert np.all(np.diff(joined) > 0)
    assert np.array_equal(np.round(joined / STAMP_TICK) * STAMP_TICK, joined)


def test_arrival_stamps_of_a_steady_burst_lie_one_period_apart() -> None:
    burst = ArrivalStamps(rate_hz=64.0).make(64, 50.0)
    np.testing.assert_array_equal(np.diff(burst), 1 / 64)


def test_arrival_stamps_of_an_irregular_stream_are_the_arrival() -> None:
    stamps = ArrivalStamps(rate_hz=0.0)
    assert stamps.make(1, 7.5).tolist() == [7.5]
    assert stamps.make(1, 9.5).tolist() == [9.5]
