"""What outputs share whose alarms wait in a box until somebody has taken them."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.outputs.alarm_box import AlarmBox
from monitor.types import AlarmEvent


class BoxedOutput:
    """An output of one bed with an `AlarmBox`: how much waits, what was given up, and what stands from before.

    Args:
        bed: Name of the bed.
        box: Where its alarms wait.
    """

    def __init__(self, *, bed: str, box: AlarmBox) -> None:
        self._bed = bed
        self._box = box
        self._still: frozenset[str] = frozenset()
        self._problem = ""

    @property
    def waiting(self) -> int:
        """Alarm transitions that the receiver has not taken yet."""
        return len(self._box)

    @property
    def given_up(self) -> int:
        """Alarm transitions that it never got."""
        return self._box.given_up

    def problem(self) -> str:
        """Why alarms do not get through now; empty where they do, or where nothing is known yet."""
        return self._problem

    def restored(self, bed: str, alarms: Sequence[AlarmEvent]) -> None:
        """These alarms go on from the process before; see `monitor.outputs.base.Heir`."""
        if bed == self._bed:
            self._still = frozenset(alarm.event_id for alarm in alarms)
