"""A machine whose clock was set while it monitored: said, since all times are told by the clock as it was."""

from __future__ import annotations

import pytest

from monitor.clock import ManualClock
from monitor.engine.routes import CLOCK_SET_S, clock_check


class SetClock(ManualClock):
    """Whose time of day somebody sets."""

    ahead = 0.0

    def utc(self) -> float:
        """UTC, and by how much it was set."""
        return super().utc() + self.ahead


@pytest.mark.parametrize("moved", [3600.0, -3600.0, 1.5 * CLOCK_SET_S])
def test_a_clock_that_was_set_is_told_until_it_is_as_before(moved: float) -> None:
    clock = SetClock(100.0)
    check = clock_check(clock)
    clock.advance(86_400.0)
    clock.ahead = -0.5 * CLOCK_SET_S  # a leap second, or a small correction
    assert check.probe({}, 1.0) == ""
    clock.ahead = moved
    assert f"set by {moved:+.0f} s" in check.probe({}, 1.0)
    clock.ahead = 0.0
    assert check.probe({}, 1.0) == ""
    assert check.bed == "", "it concerns every bed"
