"""The one clock that everything else is told about.

The stream clock is LSL's `local_clock()`, which on Linux is `time.monotonic()`; the monitor never imports LSL to
read it. Its offset to UTC is recorded per session and used for display and files only.
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """A source of stream time, in seconds."""

    def now(self) -> float:
        """Seconds on the stream clock."""
        ...

    def utc(self) -> float:
        """Seconds since 1970-01-01 UTC, for files and messages; never for arithmetic on signals."""
        ...


class SystemClock:
    """The machine's own monotonic clock."""

    def now(self) -> float:
        """Seconds on the stream clock (`time.monotonic()`)."""
        return time.monotonic()

    def utc(self) -> float:
        """Seconds since the epoch in UTC."""
        return time.time()


class ManualClock:
    """A clock that moves only when it is told to: replay, training and tests.

    Args:
        start: First value of `now()`, in seconds.
        utc_start: UTC at that moment; 0 where a recording states none.
    """

    def __init__(self, start: float = 0.0, *, utc_start: float = 0.0) -> None:
        self._now = float(start)
        self._utc_offset = float(utc_start) - float(start)

    def now(self) -> float:
        """Seconds as last set."""
        return self._now

    def utc(self) -> float:
        """UTC that belongs to `now()`."""
        return self._now + self._utc_offset

    def set(self, now: float) -> None:
        """Move the clock to `now`; it never runs backwards."""
        self._now = max(self._now, float(now))

    def advance(self, seconds: float) -> None:
        """Move the clock forward by `seconds`."""
        self.set(self._now + seconds)
