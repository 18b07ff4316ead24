"""What operators and the engine ask of a bed's alarms, and how they are signalled: the manager without its rules.

Each change is recorded with who, when, before and after; every condition that is signalled otherwise by it is reported
anew.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

from monitor.alarm.conditions import Condition, Moment
from monitor.alarm.limits import changed_limits
from monitor.alarm.signals import URGENCY, Signals
from monitor.config import AlarmSettings
from monitor.types import AlarmAction, AlarmEvent, Presence, Priority

AlarmOutput: TypeAlias = AlarmEvent | AlarmAction


class AskedAlarms:
    """Conditions of one bed as operators see them; `monitor.alarm.manager.AlarmManager` fills them in.

    Args:
        bed: Name of the bed.
        settings: Limits and delays.
    """

    def __init__(self, *, bed: str, settings: AlarmSettings) -> None:
        self._bed = bed
        self._settings = settings
        self._signals = Signals()
        self._conditions: Mapping[str, Condition] = {}
        self._origin: float | None = None
        self._bundle = ""

    def _set_limits(self) -> None:
        """Take over limits and delays that have changed."""
        raise NotImplementedError

    # -- what they ask -------------------------------------------------------------------------------------------------

    def acknowledge(self, condition: str, actor: str, t: float) -> list[AlarmEvent]:
        """Note that somebody has seen an alarm.

        Args:
            condition: Name of the condition; one that is neither on nor latched is left as it is.
            actor: Who.
            t: Stream clock.

        Returns:
            The transition, if there was one.

        Raises:
            ValueError: If there is no such condition.
        """
        found = self._conditions.get(condition)
        if found is None:
            raise ValueError(f"there is no alarm condition {condition!r}; there are {', '.join(self._conditions)}")
        return found.acknowledge(self._moment(t), actor)

    def audio_pause(self, seconds: float | None, actor: str, t: float) -> list[AlarmOutput]:
        """Pause the sounds of alarms up to the priority that is present; again: begin the countdown anew.

        Args:
            seconds: How long; None: as long as the configuration allows.
            actor: Who.
            t: Stream clock.

        Raises:
            ValueError: If the configuration does not allow so long a pause.
        """
        allowed = self._settings.audio_pause_s
        length = _within(allowed if seconds is None else seconds, allowed, "a pause of sounds")
        sounding = [c.priority for c in self._conditions.values() if c.presence in (Presence.ON, Presence.LATCHED)]
        most = min(sounding, key=URGENCY.__getitem__, default=Priority.LOW)
        text = f"Alarm sounds paused for {length:g} s by {actor}"
        return self._change("audio_pause", actor, self._moment(t), text, lambda: self._signals.pause(t + length, most))

    def suspend(self, minutes: float | None, reason: str, actor: str, t: float) -> list[AlarmOutput]:
        """Suspend pain alarms during a procedure; technical alarms go on, and so does the index.

        Args:
            minutes: How long; None: as long as the configuration allows.
            reason: What is done to the patient.
            actor: Who.
            t: Stream clock.

        Raises:
            ValueError: If the configuration does not allow so long a suspension.
        """
        allowed = self._settings.suspend_s
        length = _within(allowed if minutes is None else 60.0 * minutes, allowed, "a suspension of pain alarms")
        text = f"Pain alarms suspended for {length:g} s by {actor}" + (f" ({reason})" if reason else "")
        return self._change("suspend", actor, self._moment(t), text, lambda: self._signals.suspend(t + length, reason))

    def resume(self, actor: str, t: float) -> list[AlarmOutput]:
        """End a pause and a suspension before their time; without either nothing changes."""
        if not self._signals.paused and not self._signals.suspended:
            return []

        def both() -> None:
            self._signals.end_pause()
            self._signals.end_suspension()

        return self._change("resume", actor, self._moment(t), f"All alarms are on again, by {actor}", both)

    def delegate(self, seconds: float | None, actor: str, t: float) -> list[AlarmOutput]:
        """Take a client's word that it signals alarms from now on: this monitor's own sound is off meanwhile (A15).

        Said again in time, it goes on, and nothing is reported; when it is not, the sound here comes back by itself.

        Args:
            seconds: For how long; None: as long as the configuration allows; 0: no longer.
            actor: Who; several may, and the sound here is off while any does.
            t: Stream clock.

        Raises:
            ValueError: If the configuration does not allow so long.
        """
        allowed = self._settings.delegation_s
        if seconds is None or seconds > 0:
            length = _within(allowed if seconds is None else seconds, allowed, "signals by others")
            text, until = f"Alarms are signalled by {actor}; no sound here", t + length
        else:
            text, until = f"Alarms are no longer signalled by {actor}", t
        delegation = self._signals.delegation
        if not delegation.would_change(actor, until, t):
            delegation.confirm(actor, until, t)
            return []
        return self._change("delegate", actor, self._moment(t), text, lambda: delegation.confirm(actor, until, t))

    def limit(self, changes: Mapping[str, float], actor: str, t: float) -> list[AlarmOutput]:
        """Change limits or delays until the session ends.

        An alarm that is present ends by the new limits; what has not persisted yet begins anew.

        Args:
            changes: By name, some of `monitor.alarm.limits.LIMITS`.
            actor: Who.
            t: Stream clock.

        Raises:
            ValueError: If a name or value is not allowed; nothing has changed then.
        """
        settings = changed_limits(self._settings, changes)
        before = {name: getattr(self._settings, name) for name in changes}
        after = {name: getattr(settings, name) for name in changes}
        self._settings = settings
        self._set_limits()
        said = ", ".join(f"{name} {before[name]} -> {after[name]}" for name in changes)
        return [self._action("limits", actor, self._moment(t), before, after, f"Limits changed by {actor}: {said}")]

    def restore(self, alarms: Sequence[Mapping[str, Any]], at: float) -> list[AlarmOutput]:
        """Take over the alarms that a process or pipeline which failed has left standing, under their ids.

        They end by the rules of any other: a pain alarm that nobody can judge any longer ends or latches, a technical
        one ends once its cause is seen to be gone. Conditions that there are not any more are left out.

        Args:
            alarms: The last `AlarmEvent` of each, in plain values.
            at: Stream clock.
        """
        found = [
            (self._conditions[item["condition"]], item) for item in alarms if item["condition"] in self._conditions
        ]
        return [event for condition, item in found for event in condition.restore(item, self._moment(at))]

    # -- what others ask ---------------------------------------------------------------------------------------------

    def signals(self) -> dict[str, Any]:
        """What may be heard and seen now: `audio`, `audio_until`, `pain`, `pain_until`, `reason`,
        and whether this monitor or others (`delegates`) signal them: `location`, local or remote.
        """
        return self._signals.state()

    def active(self) -> tuple[AlarmEvent, ...]:
        """Return the last transition of every condition that is on, acknowledged or latched, most urgent first."""
        present = [c.last for c in self._conditions.values() if c.last is not None and c.presence is not Presence.OFF]
        return tuple(sorted(present, key=lambda event: (URGENCY[event.priority], event.onset)))

    @property
    def settings(self) -> AlarmSettings:
        """Limits and delays in force."""
        return self._settings

    # -- parts -------------------------------------------------------------------------------------------------------

    def _moment(self, t: float) -> Moment:
        t_rel = 0.0 if self._origin is None else t - self._origin
        return Moment(t=t, t_rel=t_rel, bundle=self._bundle)

    def _end_what_is_over(self, now: float, moment: Moment) -> list[AlarmOutput]:
        """End pauses, suspensions and delegations whose time has come."""
        events: list[AlarmOutput] = []
        if self._signals.pause_is_over(now):
            events += self._change("audio_pause", "", moment, "Alarms are heard again", self._signals.end_pause)
        if gone := self._signals.delegation.lapsed(now):
            text = f"No word of {', '.join(gone)}: alarms are heard here again"
            if len(gone) < len(self._signals.delegation.by):
                text = f"No word of {', '.join(gone)}"
            events += self._change("delegate", "", moment, text, lambda: self._signals.delegation.end(gone))
        if self._signals.suspension_is_over(now):
            events += self._change("suspend", "", moment, "Pain alarms are on again", self._signals.end_suspension)
        return events

    def _action(
        self, action: str, actor: str, moment: Moment, before: dict[str, Any], after: dict[str, Any], text: str
    ) -> AlarmAction:
        return AlarmAction(
            bed=self._bed,
            t=moment.t,
            t_rel=moment.t_rel,
            action=action,
            actor=actor,
            before=before,
            after=after,
            text=text,
        )

    def _change(
        self, action: str, actor: str, moment: Moment, text: str, change: Callable[[], None]
    ) -> list[AlarmOutput]:
        """Change the signals, and report anew every condition that is signalled otherwise by it."""
        before = self._signals.state()
        change()
        events: list[AlarmOutput] = [self._action(action, actor, moment, before, self._signals.state(), text)]
        for condition in self._conditions.values():
            events += condition.restate(moment)
        return events


def _within(length: float, allowed: float, what: str) -> float:
    """Return `length` in seconds if it is allowed.

    Raises:
        ValueError: If it is not.
    """
    if not 0 < length <= allowed:
        most = f"at most {allowed:g} s" if allowed > 0 else "none"
        raise ValueError(f"the configuration allows {most} for {what}, not {length:g} s")
    return length
