"""The grid of windows and the watermark that decides them.

Window k ends at origin + k * hop. It is decided once, in order: when everything that it needs is there, or when the
watermark has passed its end by the allowed lateness. What arrives later serves later windows only.
"""

from __future__ import annotations

import math

from monitor.types import STAMP_TICK


class WindowGrid:
    """Which window comes next.

    Args:
        hop_s: Seconds between window ends.
    """

    def __init__(self, *, hop_s: float) -> None:
        self.hop_s = hop_s
        self.origin = 0.0
        self.epoch = 0
        self._next: int | None = None

    @property
    def started(self) -> bool:
        """Whether a first window is known; from then on the origin stands."""
        return self._next is not None

    @property
    def next_k(self) -> int:
        """Number of the next window to be decided.

        Raises:
            ValueError: Before `start`.
        """
        if self._next is None:
            raise ValueError("the window grid has not started")
        return self._next

    def start(self, t: float) -> None:
        """Begin with the first window that ends at or after `t`."""
        self._next = self.first_at_or_after(t)

    def first_at_or_after(self, t: float) -> int:
        """Number of the first window that ends at or after `t` (to one stamp tick)."""
        return math.ceil((t - self.origin - STAMP_TICK) / self.hop_s)

    def end_of(self, k: int) -> float:
        """End of window k on the stream clock."""
        return self.origin + k * self.hop_s

    def advance(self) -> None:
        """The next window has been decided."""
        self._next = self.next_k + 1

    def restart(self, origin: float) -> None:
        """Count from another origin, in a new epoch; the first window is named by the next `start`."""
        self.origin = origin
        self._next = None
        self.epoch += 1

    def jump(self, t: float) -> tuple[int, int]:
        """Go on with the first window that ends at or after `t`, in a new epoch.

        Returns:
            First and last number of the windows that are left out; last < first where time went backwards.
        """
        first, target = self.next_k, self.first_at_or_after(t)
        self._next = target
        self.epoch += 1
        return first, target - 1


class Watermark:
    """The newest time that the bed's believed streams have reached, advanced by the clock while nothing arrives."""

    def __init__(self) -> None:
        self.value: float | None = None
        self._newest: float | None = None
        self._last_arrival: float | None = None

    @property
    def last_arrival(self) -> float | None:
        """When anything last arrived."""
        return self._last_arrival

    def seen(self, newest: float | None, arrival: float) -> None:
        """A chunk arrived; `newest` is its stream's newest believed time, None while it has none."""
        self._last_arrival = arrival if self._last_arrival is None else max(self._last_arrival, arrival)
        if newest is not None and (self._newest is None or newest > self._newest):
            self._newest = newest
        if self._newest is not None and (self.value is None or self._newest > self.value):
            self.value = self._newest

    def tick(self, now: float) -> None:
        """Advance by the time since the last chunk."""
        if self._newest is None or self._last_arrival is None:
            return
        idle = now - self._last_arrival
        if idle > 0 and self.value is not None:
            self.value = max(self.value, self._newest + idle)

    def reset(self, newest: float) -> None:
        """Set the watermark anew after a jump of the bed's clock."""
        self._newest = self.value = newest
