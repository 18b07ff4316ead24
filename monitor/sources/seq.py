"""Run and sequence numbers of one signal: what was lost, what came twice. Pure."""

from __future__ import annotations

from collections import deque
from typing import Final

ENDED_RUNS: Final = 64
"""Runs that are remembered after a newer one began, so that their packets are known as repeats."""


class SequenceTracker:
    """Counts one stream's packets: `run` opens a new epoch, inside it `seq` rises by one a packet.

    A packet whose `seq` was seen before, or passed over, is a repeat; so is one of a run that has ended. A jump is a
    loss; how many samples went with it is estimated from the times, since a packet that never came cannot tell.
    """

    def __init__(self) -> None:
        self._run: str | None = None
        self._ended: deque[str] = deque(maxlen=ENDED_RUNS)
        self._seq = -1
        self._next_stamp = 0.0
        self._size = 0

    def take(self, *, run: str, seq: int, first: float, count: int, rate_hz: float) -> int | None:
        """Account for one packet.

        Args:
            run: Its run.
            seq: Its number in the run.
            first: Time of its first sample in seconds, on any one clock.
            count: Its samples.
            rate_hz: Sampling rate.

        Returns:
            Samples lost just before it; None where it is a repeat and must be dropped.
        """
        if run != self._run:
            if run in self._ended:
                return None
            if self._run is not None:
                self._ended.append(self._run)
            self._run, lost = run, 0
        elif seq <= self._seq:
            return None
        else:
            lost = self._samples_of(seq - self._seq - 1, first=first, count=count, rate_hz=rate_hz)
        self._seq, self._size = seq, count
        self._next_stamp = first + count / rate_hz
        return lost

    def _samples_of(self, packets: int, *, first: float, count: int, rate_hz: float) -> int:
        """Samples in packets that did not come: what the times leave out, unless a clock has jumped as well."""
        if packets == 0:
            return 0
        largest = packets * max(count, self._size)
        hole = round((first - self._next_stamp) * rate_hz)
        return hole if packets <= hole <= 2 * largest else largest
