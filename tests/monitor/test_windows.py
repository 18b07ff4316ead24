"""The grid of windows and the watermark."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.windows import Watermark, WindowGrid


@settings(max_examples=60, deadline=None)
@given(
    quarters=st.integers(1, 20),
    origin=st.integers(-(2**30), 2**30).map(lambda n: n / 2**20),
    first=st.floats(-1e4, 1e4),
)
def test_windows_come_one_after_another_from_the_first_that_ends_at_or_after_a_time(
    quarters: int, origin: float, first: float
) -> None:
    grid = WindowGrid(hop_s=0.25 * quarters)
    grid.origin = origin
    grid.start(first)
    k = grid.next_k
    assert grid.end_of(k) >= first - 1e-5
    assert grid.end_of(k - 1) < first
    grid.advance()
    assert grid.next_k == k + 1
    assert grid.end_of(k + 1) - grid.end_of(k) == pytest.approx(grid.hop_s)


def test_a_jump_accounts_for_what_it_leaves_out() -> None:
    grid = WindowGrid(hop_s=1.0)
    grid.start(0.0)
    for _ in range(10):
        grid.advance()
    assert grid.jump(1000.5) == (10, 1000)
    assert (grid.next_k, grid.epoch) == (1001, 1)
    assert grid.jump(50.0) == (1001, 49)
    assert (grid.next_k, grid.epoch) == (50, 2)


def test_a_grid_that_has_not_started_has_no_next_window() -> None:
    with pytest.raises(ValueError, match="not started"):
        _ = WindowGrid(hop_s=1.0).next_k


def test_the_watermark_never_falls_and_follows_the_clock_only_in_silence() -> None:
    mark = Watermark()
    mark.tick(100.0)
    assert mark.value is None
    mark.seen(10.0, arrival=100.0)
    mark.seen(9.0, arrival=100.1)  # a slower stream
    assert mark.value == 10.0
    mark.tick(100.1)
    assert mark.value == 10.0
    mark.tick(103.1)
    assert mark.value == pytest.approx(13.0)
    mark.seen(12.0, arrival=103.2)
    assert mark.value == pytest.approx(13.0)
    mark.seen(None, arrival=104.0)  # a stream in clock fault is heard but not believed
    mark.tick(104.0)
    assert mark.value == pytest.approx(13.0)
    mark.reset(5.0)
    assert mark.value == 5.0
