"""A device's own clock on the stream clock, from when its packets arrived. Pure."""

from __future__ import annotations

from typing import Final

SETTLE_S: Final = 10.0
"""The mapping is the smallest delay of so many seconds: the packet that was held up least."""
JUMP_S: Final = 5.0
"""A stamp so far ahead of its mapping, or so far behind its own stream, was made by a clock that was set anew."""


class DeviceClock:
    """Maps the clock of one device, for all of its signals alike: they must stay aligned among themselves.

    The offset is the smallest (arrival - stamp of the packet's last sample) of the first `SETTLE_S` seconds, and then
    constant, however the network behaves, until a new segment begins: the device starts anew (`run`), or its clock
    jumps. While an estimate is under way nothing is mapped; its packets wait.
    """

    def __init__(self) -> None:
        self._run: str | None = None
        self._best = float("inf")
        self._since: float | None = None
        self._offset: float | None = None
        self._newest: dict[str, float] = {}

    def observe(self, *, signal: str, run: str, newest: float, arrival: float) -> bool:
        """Take note of a packet.

        Args:
            signal: Which signal of the device.
            run: The device's run.
            newest: Stamp of the packet's last sample, on the device's clock.
            arrival: Seconds on the stream clock.

        Returns:
            Whether a new segment begins with it, so that nothing mapped before belongs to it.
        """
        before = self._newest.get(signal)
        delay = arrival - newest
        known = self._offset if self._offset is not None else self._best
        jumped = before is not None and (newest < before - JUMP_S or delay < known - JUMP_S)
        fresh = run != self._run or jumped
        if fresh:
            self._run, self._best, self._since, self._offset = run, float("inf"), arrival, None
            self._newest = {}
        self._newest[signal] = max(newest, self._newest.get(signal, newest))
        if self._offset is None:
            self._best = min(self._best, delay)
        return fresh

    def offset(self, now: float) -> float | None:
        """Seconds to add to the device's stamps; None until the clock has been watched for long enough.

        Args:
            now: Seconds on the stream clock.
        """
        if self._offset is None and self._since is not None and now - self._since >= SETTLE_S:
            self._offset = self._best
        return self._offset
