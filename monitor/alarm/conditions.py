"""One alarm condition from its onset to its end, and the signals that it calls for.

Rules of clinical.md: two chains (A1), presence and activation in the vocabulary of FHIR and SDC (A2), priorities (A3),
latching (A11), hard and soft technical conditions (A12), and the re-alarm that joins the last one (A13).
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

from monitor.alarm.signals import Signals
from monitor.types import Activation, AlarmEvent, AlarmKind, Presence, Priority

PAIN_MODERATE: Final = "pain_moderate"
PAIN_SEVERE: Final = "pain_severe"
HEART_RATE: Final = "heart_rate"
SCR_RATE: Final = "scr_rate"
SPI: Final = "spi"
TWO_SIGNS: Final = "two_signs"
NO_DATA: Final = "no_data"
UNSCORABLE: Final = "unscorable"
SENSOR_OFF: Final = "sensor_off"
STALE: Final = "stale"
UNCERTAIN: Final = "uncertain"
CALIBRATION_REQUIRED: Final = "calibration_required"
CLOCK_FAULT: Final = "clock_fault"
MODEL_FAULT: Final = "model_fault"
STORE_FULL: Final = "store_full"
BROKER_LOST: Final = "broker_lost"
SELF_CHECK_MISSED: Final = "self_check_missed"

HARD: Final = frozenset({NO_DATA, UNSCORABLE, STALE, MODEL_FAULT})
"""Technical conditions without an index, and therefore without a pain alarm (A12); the others only warn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When, and about what, a transition is reported."""

    t: float
    t_rel: float
    bundle: str
    index: float | None = None
    causes: tuple[str, ...] = ()
    scored: bool = True
    """Whether there is a score: without one every technical condition is a hard one."""

    def caused_by(self, causes: tuple[str, ...]) -> Moment:
        """The same moment with these causes; itself where it has them, as most windows do, which have none."""
        return self if causes == self.causes else dataclasses.replace(self, causes=causes)


@dataclass(frozen=True, slots=True, kw_only=True)
class Bed:
    """What all conditions of a bed share."""

    name: str
    session: uuid.UUID
    """Namespace of the event ids."""
    rejoin_s: float
    signals: Signals


class Condition:
    """Presence of one alarm condition, from its onset to its end.

    Args:
        bed: What it shares with the others.
        name: Name of the condition.
        kind: Its chain.
        priority: Its priority.
        latching: Whether it stays, once cleared, until somebody acknowledges it.
    """

    def __init__(
        self,
        bed: Bed,
        name: str,
        *,
        kind: AlarmKind = AlarmKind.TECHNICAL,
        priority: Priority = Priority.LOW,
        latching: bool = False,
    ) -> None:
        self.name = name
        self.kind = kind
        self.priority = priority
        self.limit: float | None = None
        self.last: AlarmEvent | None = None
        self._bed = bed
        self._latching = latching
        self._onset = 0.0
        self._event_id = ""  # where it was given one by the process before
        self._count = 0
        self._cleared: float | None = None
        self._silent = False
        self._silent_since = 0.0
        self._reminders = 0
        self._said = ""
        self._signalled = (Activation.OFF, Activation.OFF)

    @property
    def presence(self) -> Presence:
        """Presence as last reported."""
        return Presence.OFF if self.last is None else self.last.presence

    @property
    def holds(self) -> bool:
        """Whether the condition itself is there (a latched one is not, it only waits)."""
        return self.presence in (Presence.ON, Presence.ACK)

    def raise_(self, onset: float, moment: Moment, text: str, *, audible: bool = False) -> list[AlarmEvent]:
        """Switch on, under the last id where that one is latched or has only just ended.

        Args:
            onset: Since when the condition holds, on the stream clock.
            moment: When it is reported.
            text: What is said.
            audible: It is heard even where it joins the last one: it breaks a pause.
        """
        if self.holds:
            return []
        latched = self.presence is Presence.LATCHED
        joins = self._cleared is not None and abs(moment.t - self._cleared) <= self._bed.rejoin_s
        if not latched and not joins:
            self._onset, self._count, self._reminders, self._event_id = onset, 0, 0, ""
        self._count += 1
        # What nobody has acknowledged goes on sounding; what was over comes back in silence.
        self._silent = joins and not latched and not audible
        self._silent_since = moment.t
        self._said = text
        return [self._report(Presence.ON, moment, text)]

    def renew(self, moment: Moment, text: str) -> list[AlarmEvent]:
        """Say that more has come to what holds already; it is to be seen and heard anew."""
        self._silent = False
        if not self.holds:
            return []
        self._said = text
        return [self._report(Presence.ON, moment, text)]

    def clear(self, moment: Moment, text: str) -> list[AlarmEvent]:
        """Switch off, or latch."""
        if not self.holds:
            return []
        self._cleared = moment.t
        if self._latching and self.presence is Presence.ON:
            return [self._report(Presence.LATCHED, moment, f"{text}; reassess pain and acknowledge")]
        return [self._report(Presence.OFF, moment, text)]

    def acknowledge(self, moment: Moment, actor: str) -> list[AlarmEvent]:
        """Note that somebody has seen it; a latched one is then over."""
        if self.last is None or self.presence not in (Presence.ON, Presence.LATCHED):
            return []
        presence = Presence.ACK if self.presence is Presence.ON else Presence.OFF
        self._silent, self._silent_since = False, moment.t
        return [self._report(presence, _as_before(moment, self.last), f"Acknowledged by {actor}", actor=actor)]

    def remind(self, moment: Moment, after_s: float) -> list[AlarmEvent]:
        """Sound once where it has been present in silence for so long, acknowledged or joined to the last one (A10)."""
        quiet = self.presence is Presence.ACK or (self.presence is Presence.ON and self._silent)
        suspended = self._bed.signals.suspended and self.kind is AlarmKind.PHYSIOLOGICAL
        if self.last is None or not quiet or suspended or after_s <= 0 or moment.t - self._silent_since < after_s:
            return []
        self._silent_since = moment.t
        self._reminders += 1
        text = f"Still present: {self._said}"
        return [self._report(self.presence, _as_before(moment, self.last), text, reminder=self._reminders)]

    def restate(self, moment: Moment) -> list[AlarmEvent]:
        """Report anew where its signals have changed since: a pause or suspension has begun or ended."""
        if self.last is None or self.presence is Presence.OFF or self._signals(self.presence) == self._signalled:
            return []
        return [self._report(self.presence, _as_before(moment, self.last), self.last.text)]

    def restore(self, item: Mapping[str, Any], moment: Moment) -> list[AlarmEvent]:
        """Take over what a process or pipeline that failed has left standing: the same id, presence and count.

        Args:
            item: Its last `AlarmEvent` in plain values.
            moment: Now.

        Raises:
            KeyError, ValueError: If it is none; nothing has changed then.
        """
        presence, text = Presence(item["presence"]), str(item["text"])
        if presence is Presence.OFF or self.last is not None:
            return []
        moment = dataclasses.replace(
            moment, bundle=str(item["bundle"]), index=item["index"], causes=tuple(item["causes"]),
            scored=not item["hard"],
        )  # fmt: skip
        self._onset, self._event_id = float(item["onset"]), str(item["event_id"])
        self._count, self._reminders = int(item["count"]), int(item["reminder"])
        self._said, self._silent_since = text, moment.t
        # What was present in silence, having joined the last one, stays silent; a pause ends with a restart (A9).
        self._silent = presence is Presence.ON and item["audio"] == Activation.OFF.value
        self.last = dataclasses.replace(self._report(presence, moment, text), before=presence)
        return [self.last]

    def _signals(self, presence: Presence) -> tuple[Activation, Activation]:
        audio, visual = self._bed.signals.activation(self.kind, self.priority, presence)
        return (Activation.OFF if self._silent else audio), visual

    def _report(
        self, presence: Presence, moment: Moment, text: str, *, actor: str = "", reminder: int = 0
    ) -> AlarmEvent:
        self._signalled = self._signals(presence)
        audio, visual = self._signalled
        if reminder:
            audio, _ = self._bed.signals.activation(self.kind, self.priority, Presence.ON)
        self.last = AlarmEvent(
            bed=self._bed.name,
            condition=self.name,
            kind=self.kind,
            priority=self.priority,
            presence=presence,
            event_id=self._event_id or str(uuid.uuid5(self._bed.session, f"{self.name}:{self._onset}")),
            onset=self._onset,
            t=moment.t,
            t_rel=moment.t_rel,
            text=text,
            index=moment.index,
            bundle=moment.bundle,
            causes=moment.causes,
            before=self.presence,
            actor=actor,
            audio=audio,
            visual=visual,
            count=self._count,
            reminder=reminder,
            hard=self.kind is AlarmKind.TECHNICAL and (self.name in HARD or not moment.scored),
            limit=self.limit,
        )
        return self.last


def _as_before(moment: Moment, last: AlarmEvent) -> Moment:
    """The moment of a change that is not in the condition itself: what it rests on is what it rested on."""
    return dataclasses.replace(moment, index=last.index, causes=last.causes, scored=not last.hard)


ASKED_OF: Final[Mapping[str, str]] = MappingProxyType(
    {
        STORE_FULL: "The session is not being recorded: free space on the disk",
        BROKER_LOST: "A broker or receiver cannot be reached: alarms are not passed on, watch this screen",
        SELF_CHECK_MISSED: "A self-check was missed: check that alarms still reach you",
        MODEL_FAULT: "The model failed: no score. Assess the patient",
        STALE: "Scores have stopped: values are old. Assess the patient",
        SENSOR_OFF: "A sensor is off or its signal is lost: check it",
        CLOCK_FAULT: "A device's clock is wrong: check the device",
        CALIBRATION_REQUIRED: "The subject's baseline no longer fits: look at the patient, then calibrate anew",
        UNCERTAIN: "The model is uncertain: rely on your own assessment",
    }
)
"""What a technical condition says; none advises treatment."""
