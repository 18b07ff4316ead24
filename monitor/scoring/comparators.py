"""Plain measures beside every model: skin conductance responses a second.

A deep model has to be judged against what a simple count gives (0.1 peaks per second is the line that skin
conductance monitors use), so the count stands beside it on every screen.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

import numpy as np

from monitor.types import Float32Array, FloatArray

LINE_PER_S: Final = 0.1
"""Responses a second above which skin conductance monitors speak of pain (clinical.md 1a, S13b); drawn, not used."""

MIN_AMPLITUDE_US: Final = 0.02
"""Smallest rise from trough to peak that counts as a response, in uS."""

SPAN_S: Final = 60.0
"""The count is taken over this much of the newest signal."""

MIN_SPAN_S: Final = 20.0
"""Less signal than this gives no rate."""

_SMOOTH_S: Final = 0.5


class ScrCounter:
    """Counts skin conductance responses, causally: a response counts when the signal has turned after its peak.

    The signal is smoothed by a first-order low-pass (time constant 0.5 s) against converter noise. A response is a
    rise of at least `MIN_AMPLITUDE_US` from the last trough; it is counted at its peak, once the signal has fallen
    from there by a quarter of that amplitude.

    Args:
        rate_hz: Sampling rate.
    """

    def __init__(self, *, rate_hz: float) -> None:
        self._period = 1.0 / rate_hz
        self._weight = 1.0 - math.exp(-self._period / _SMOOTH_S)
        self._peaks: deque[float] = deque()
        self.restart()

    def restart(self) -> None:
        """Forget everything: the signal was interrupted."""
        self._level: float | None = None
        self._trough = self._peak = 0.0
        self._peak_at = 0.0
        self._rising = False
        self._since = 0.0
        self._until = 0.0
        self._peaks.clear()

    def add(self, samples: Float32Array | FloatArray, t0: float) -> None:
        """Take the next samples.

        Args:
            samples: (n,) skin conductance in uS, contiguous with those before; not finite ones restart the count.
            t0: Stream clock of the first of them.
        """
        if not np.isfinite(samples).all():
            self.restart()
            return
        for number, value in enumerate(samples.tolist()):
            self._step(value, t0 + number * self._period)

    @property
    def counted(self) -> int:
        """Responses that are remembered, at least those of the last `SPAN_S`."""
        return len(self._peaks)

    def per_second(self) -> float | None:
        """Responses a second over the last `SPAN_S`; None where there is too little signal."""
        span = min(self._until - self._since, SPAN_S)
        if self._level is None or span < MIN_SPAN_S:
            return None
        while self._peaks and self._peaks[0] <= self._until - SPAN_S:
            self._peaks.popleft()
        return len(self._peaks) / span

    def per_minute(self) -> float | None:
        """Responses a minute over the last `SPAN_S`; None where there is too little signal."""
        rate = self.per_second()
        return None if rate is None else 60.0 * rate

    def _step(self, value: float, t: float) -> None:
        self._until = t
        if self._level is None:
            self._level = self._trough = self._peak = value
            self._since = t
            return
        self._level += self._weight * (value - self._level)
        level = self._level
        if not self._rising:
            self._trough = min(self._trough, level)
            if level - self._trough >= MIN_AMPLITUDE_US:
                self._rising, self._peak, self._peak_at = True, level, t
        elif level >= self._peak:
            self._peak, self._peak_at = level, t
        elif self._peak - level >= 0.25 * MIN_AMPLITUDE_US:
            self._peaks.append(self._peak_at)
            self._rising, self._trough = False, level
