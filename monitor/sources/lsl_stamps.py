"""Stamps of an LSL inlet: the correction of a remote clock, and stamps made from arrival. Pure; knows no liblsl.

liblsl's own post-processing is not used: dejittering hides gaps (0.5 s of missing samples came out as 4 ms), drifts
after a flush, and forces late samples into line. What a stream says is kept, and the timeline judges it.
"""

from __future__ import annotations

import threading
from collections import deque
from statistics import median
from typing import Final

import numpy as np

from monitor.types import FloatArray, snap

ESTIMATES: Final = 5
"""The correction aims at the median of so many estimates: one delayed packet must not move it."""
SLEW_S_PER_S: Final = 1e-4
"""Inside a segment the correction moves at most 0.1 ms a second: far below any jitter limit, and still faster than
two quartz clocks drift apart (some 50 ppm)."""
DEADBAND_S: Final = 1e-3
"""Estimates wobble by some 0.2 ms; below this the correction stays constant."""


class ClockOffset:
    """What is added to a remote stream's stamps, from repeated estimates.

    `publish` may be called from another thread than `apply`.

    Args:
        fixed: The correction where it is known (0 on our own host); None where estimates decide.
    """

    def __init__(self, fixed: float | None = None) -> None:
        self._fixed = fixed
        self._estimates: deque[float] = deque(maxlen=ESTIMATES)
        self._lock = threading.Lock()
        self._applied: float | None = None
        self._applied_at = 0.0
        self._following = False

    def publish(self, estimate: float) -> None:
        """Add one successful estimate, in seconds. A failed query publishes nothing."""
        with self._lock:
            self._estimates.append(estimate)

    @property
    def known(self) -> bool:
        """Whether there is anything to apply yet."""
        with self._lock:
            return self._fixed is not None or bool(self._estimates)

    def apply(self, now: float) -> float:
        """Return the correction at `now`, in seconds.

        The first call takes the median as it stands (the segment begins there). Later calls return the same value
        until the median has moved `DEADBAND_S` away; then they follow it at `SLEW_S_PER_S` until it is reached.

        Args:
            now: Seconds on our own clock; never runs backwards.

        Raises:
            RuntimeError: If nothing is known yet.
        """
        if self._fixed is not None:
            return self._fixed
        with self._lock:
            if not self._estimates:
                raise RuntimeError("no clock estimate yet")
            target = float(median(self._estimates))
        if self._applied is None:
            self._applied, self._applied_at = target, now
            return target
        step = max(0.0, now - self._applied_at) * SLEW_S_PER_S
        self._applied_at = now
        error = target - self._applied
        if abs(error) > DEADBAND_S:
            self._following = True
        if self._following:
            self._applied += min(max(error, -step), step)
            self._following = self._applied != target
        return self._applied


class ArrivalStamps:
    """Stamps for samples whose own stamps mean nothing: the last of a burst was taken when it arrived.

    Earlier samples of the burst lie one period apart before it, but never at or before the previous burst's end:
    where the device is faster than it says, the burst is squeezed in between, so that stamps rise and never run away.

    Args:
        rate_hz: Nominal sampling rate; 0 for irregular streams.
    """

    def __init__(self, *, rate_hz: float) -> None:
        self._period = 1.0 / rate_hz if rate_hz > 0 else 0.0
        self._last = -np.inf

    def make(self, count: int, arrival: float) -> FloatArray:
        """Return (count,) stamps in seconds, strictly rising where the clock is.

        Args:
            count: Samples in this burst.
            arrival: Seconds on our clock when it arrived.
        """
        if count == 0:
            return np.empty(0)
        first = arrival - (count - 1) * self._period
        if np.isfinite(self._last):
            first = max(first, self._last + (arrival - self._last) / count)
        stamps = snap(np.linspace(first, arrival, count) if count > 1 else np.array([arrival]))
        self._last = max(self._last, float(stamps[-1]))
        return stamps
