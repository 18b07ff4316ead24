"""Signals of a bed's alarms: audio pause (A9) and suspension of pain alarms during a procedure (A14).

Neither touches presence: what is there stays there, on the screen and in the record. Only a technical alarm can be
seen and heard through a suspension, and only a higher priority than those that were paused is heard through a pause.
A new manager, thus a restart or a new session, begins with everything on.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from monitor.alarm.delegation import Delegation
from monitor.types import Activation, AlarmKind, Presence, Priority

URGENCY: Final[Mapping[Priority, int]] = MappingProxyType({Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2})


class Signals:
    """What of a bed's alarms may be heard and seen now."""

    def __init__(self) -> None:
        self._audio_until: float | None = None
        self._covers = Priority.LOW
        self._pain_until: float | None = None
        self._reason = ""
        self.delegation: Final = Delegation()
        """Who signals alarms in this monitor's place."""

    @property
    def suspended(self) -> bool:
        """Whether pain alarms are suspended."""
        return self._pain_until is not None

    @property
    def paused(self) -> bool:
        """Whether sounds are paused."""
        return self._audio_until is not None

    def activation(self, kind: AlarmKind, priority: Priority, presence: Presence) -> tuple[Activation, Activation]:
        """Activation of the audible and of the visual signal of one condition."""
        if presence is Presence.OFF:
            return Activation.OFF, Activation.OFF
        suspended = self.suspended and kind is AlarmKind.PHYSIOLOGICAL
        visual = Activation.PAUSED if suspended else Activation.ON
        if presence is Presence.ACK:
            return Activation.OFF, visual
        return (Activation.PAUSED if suspended or self.covers(priority) else Activation.ON), visual

    def covers(self, priority: Priority) -> bool:
        """Whether a pause silences a condition of this priority."""
        return self.paused and URGENCY[priority] >= URGENCY[self._covers]

    def pause(self, until: float, present: Priority) -> None:
        """Pause sounds up to a priority: of the most urgent that is present, and low ones anyway."""
        self._audio_until, self._covers = until, present

    def end_pause(self) -> None:
        """Let alarms be heard again."""
        self._audio_until = None

    def suspend(self, until: float, reason: str) -> None:
        """Suspend pain alarms."""
        self._pain_until, self._reason = until, reason

    def end_suspension(self) -> None:
        """Let pain alarms be raised again."""
        self._pain_until, self._reason = None, ""

    def pause_is_over(self, now: float) -> bool:
        """Whether the time of a pause has come."""
        return self._audio_until is not None and now >= self._audio_until

    def suspension_is_over(self, now: float) -> bool:
        """Whether the time of a suspension has come."""
        return self._pain_until is not None and now >= self._pain_until

    def state(self) -> dict[str, Any]:
        """Everything by name, in plain values."""
        paused, on = Activation.PAUSED.value, Activation.ON.value
        return {
            "audio": paused if self.paused else on,
            "audio_until": self._audio_until,
            "pain": paused if self.suspended else on,
            "pain_until": self._pain_until,
            "reason": self._reason,
            "location": "remote" if self.delegation.by else "local",
            "delegates": list(self.delegation.by),
        }
