"""Runs and sequence numbers: what comes is used once, and what does not come is counted."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sources.seq import SequenceTracker

RATE = 64.0
SIZE = 16


def take(tracker: SequenceTracker, seq: int, *, run: str = "a", first: float | None = None) -> int | None:
    start = seq * SIZE / RATE if first is None else first
    return tracker.take(run=run, seq=seq, first=start, count=SIZE, rate_hz=RATE)


@given(sent=st.lists(st.integers(0, 200), min_size=1, max_size=60))
@settings(max_examples=60, deadline=None)
def test_every_sample_is_used_once_lost_or_before_the_first(sent: list[int]) -> None:
    tracker = SequenceTracker()
    used, lost = [], 0
    for seq in sent:
        found = take(tracker, seq)
        if found is not None:
            used.append(seq)
            lost += found
    assert used == sorted(set(used))
    assert len(used) * SIZE + lost == (used[-1] - used[0] + 1) * SIZE


def test_a_run_opens_a_new_epoch_and_an_ended_one_never_comes_back() -> None:
    tracker = SequenceTracker()
    assert take(tracker, 5, run="a") == 0
    assert take(tracker, 0, run="b") == 0, "a device that was started anew has lost nothing"
    assert take(tracker, 6, run="a") is None
    assert take(tracker, 1, run="b") == 0
    assert take(tracker, 1, run="b") is None
    assert take(tracker, 0, run="b") is None


def test_a_clock_that_jumps_with_a_loss_does_not_inflate_it() -> None:
    tracker = SequenceTracker()
    take(tracker, 0)
    assert take(tracker, 3, first=1e6) == 2 * SIZE
    assert take(tracker, 5, first=0.0) == SIZE


def test_packets_of_uneven_length_are_counted_by_their_times() -> None:
    tracker = SequenceTracker()
    assert tracker.take(run="a", seq=0, first=0.0, count=16, rate_hz=RATE) == 0
    assert tracker.take(run="a", seq=3, first=(16 + 16 + 20) / RATE, count=16, rate_hz=RATE) == 36
