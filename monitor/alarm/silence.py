"""How long each stream is usually quiet between two packets, and which one has been quiet for too long. Pure.

A lost signal is to be an alarm within two seconds plus the usual packet interval of its stream. Windows cannot say it
so soon: they wait for late samples first, and then a fault must last. So arrivals themselves are watched, each tick.
"""

from __future__ import annotations

import statistics
from collections import deque
from typing import Final

QUIET_S: Final = 1.75
"""What a stream may be quiet beyond its usual interval: 2 s less the tick of 0.25 s that notices it."""

ALONE_S: Final = 1.0
"""Others must have gone on for so long: else it is not this one that was lost, but all of them together."""

_INTERVALS: Final = 15
_ENOUGH: Final = 3


class _Arrivals:
    def __init__(self, at: float) -> None:
        self.last = at
        self.intervals: deque[float] = deque(maxlen=_INTERVALS)

    def limit_s(self) -> float | None:
        """Seconds of quiet from which on it is too long; None while nothing is known."""
        # The median: an interruption is no interval, and a device that sends less often is known after some packets.
        return QUIET_S + statistics.median(self.intervals) if len(self.intervals) >= _ENOUGH else None


class Silence:
    """Follows when the streams of one bed bring something."""

    def __init__(self) -> None:
        self._streams: dict[str, _Arrivals] = {}

    def arrived(self, modality: str, at: float) -> None:
        """Something came.

        Args:
            modality: Of its stream.
            at: Stream clock of its arrival.
        """
        found = self._streams.get(modality)
        if found is None:
            self._streams[modality] = _Arrivals(at)
        elif at > found.last:  # pieces of one packet are one
            found.intervals.append(at - found.last)
            found.last = at

    def all_quiet(self, now: float) -> bool | None:
        """Whether nothing has come for longer than the most frequent stream usually takes; None: not known yet."""
        known = [limit for found in self._streams.values() if (limit := found.limit_s()) is not None]
        if not known:
            return None
        return now - max(found.last for found in self._streams.values()) >= min(known)

    def lost(self, now: float) -> tuple[str, ...]:
        """Modalities whose stream has been quiet for too long while another one went on."""
        newest = max((found.last for found in self._streams.values()), default=now)
        return tuple(
            modality
            for modality, found in self._streams.items()
            if (limit := found.limit_s()) is not None and now - found.last >= limit and newest >= found.last + ALONE_S
        )
