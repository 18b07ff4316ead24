"""The alarm manager of one bed: two chains, physiological and technical, as a pure state machine.

All timers run in stream time: seconds between window ends (or between ticks, for silence), never a count of windows,
so neither the hop nor the speed of a replay shifts an alarm. Rules:

* Persistence: pain is announced after the fast index has stayed at or above its limit for the set time.
* Hysteresis: a pain alarm ends once the index has stayed below its lower limit for the set time. Nothing in between
  changes anything.
* A window that says nothing about pain (no score, index withheld after a change of bundle, not calibrated to this
  subject) freezes both timers; after `freeze_s` of nothing else they are reset, a pain alarm that is present ends,
  because nobody can know whether it still holds, and where scores are lacking the technical alarm takes its place.
* Latching: medium physiological alarms stay until acknowledged; low and technical ones do not latch.
* Start: before the first sample there is no technical alarm, and before the first score there is none for
  `STARTUP_GRACE_S`, nor for windows that merely start, warm up or calibrate; their reasons are on the screen. A
  calibration that is under way never counts as a fault, since its countdown is on the screen too.
* One cause, one alarm: while no data come at all, `unscorable` is not raised.

Pain is never of high priority. Every text asks for reassessment or names a fault; none advises treatment.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from monitor.config import AlarmSettings
from monitor.types import AlarmEvent, AlarmKind, PainIndex, Presence, Priority, Reason, Score

PAIN_MODERATE: Final = "pain_moderate"
PAIN_SEVERE: Final = "pain_severe"
NO_DATA: Final = "no_data"
UNSCORABLE: Final = "unscorable"

STARTUP_GRACE_S: Final = 60.0
"""Stream time from the first window in which sensors are attached and the slowest filter (RESP) warms up."""

TECHNICAL_CLEAR_S: Final = 5.0
"""A technical alarm ends after so many seconds without its cause; a single good window does not end it."""

_URGENCY: Final[Mapping[Priority, int]] = MappingProxyType({Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2})
_CALIBRATING: Final = frozenset({Reason.NOT_CALIBRATED.value})
_STARTING: Final = _CALIBRATING | {Reason.STARTING.value, Reason.WARMING_UP.value}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """When, and about what, a transition is reported."""

    t: float
    t_rel: float
    bundle: str
    index: float | None = None
    causes: tuple[str, ...] = ()


class _Condition:
    """Presence of one alarm condition, from its onset to its end.

    Args:
        bed: Name of the bed.
        name: Name of the condition.
        kind: Its chain.
        priority: Its priority.
        latching: Whether it stays, once cleared, until somebody acknowledges it.
        session: Namespace of its event ids.
    """

    def __init__(
        self, *, bed: str, name: str, kind: AlarmKind, priority: Priority, latching: bool, session: uuid.UUID
    ) -> None:
        self.name = name
        self.priority = priority
        self._bed = bed
        self._kind = kind
        self._latching = latching
        self._session = session
        self._onset = 0.0
        self.last: AlarmEvent | None = None

    @property
    def presence(self) -> Presence:
        return Presence.OFF if self.last is None else self.last.presence

    @property
    def holds(self) -> bool:
        """Whether the condition itself is there (a latched one is not, it only waits)."""
        return self.presence in (Presence.ON, Presence.ACK)

    def raise_(self, onset: float, moment: _Moment, text: str) -> list[AlarmEvent]:
        """Switch on; a latched condition goes on under the id that nobody has acknowledged yet."""
        if self.holds:
            return []
        if self.presence is Presence.OFF:
            self._onset = onset
        return [self._report(Presence.ON, moment, text)]

    def clear(self, moment: _Moment, text: str) -> list[AlarmEvent]:
        """Switch off, or latch."""
        if not self.holds:
            return []
        if self._latching and self.presence is Presence.ON:
            return [self._report(Presence.LATCHED, moment, f"{text}; reassess pain and acknowledge")]
        return [self._report(Presence.OFF, moment, text)]

    def acknowledge(self, moment: _Moment, actor: str) -> list[AlarmEvent]:
        """Note that somebody has seen it; a latched one is then over."""
        if self.last is None or self.presence not in (Presence.ON, Presence.LATCHED):
            return []
        presence = Presence.ACK if self.presence is Presence.ON else Presence.OFF
        return [self._report(presence, moment, f"Acknowledged by {actor}")]

    def _report(self, presence: Presence, moment: _Moment, text: str) -> AlarmEvent:
        self.last = AlarmEvent(
            bed=self._bed,
            condition=self.name,
            kind=self._kind,
            priority=self.priority,
            presence=presence,
            event_id=str(uuid.uuid5(self._session, f"{self.name}:{self._onset}")),
            onset=self._onset,
            t=moment.t,
            t_rel=moment.t_rel,
            text=text,
            index=moment.index,
            bundle=moment.bundle,
            causes=moment.causes,
        )
        return self.last


class _PainLevel:
    """Persistence and hysteresis of one limit on the fast index; times in seconds of stream time."""

    def __init__(self, *, condition: _Condition, on: float, off: float, after_s: float, off_after_s: float) -> None:
        self.condition = condition
        self._on = on
        self._off = off
        self._after_s = after_s
        self._off_after_s = off_after_s
        self._onset: float | None = None
        self._above_s = 0.0
        self._below_s: float | None = None

    @property
    def engaged(self) -> bool:
        """Whether the condition holds or is on its way."""
        return self.condition.holds or self._onset is not None

    def reset(self) -> None:
        """Forget both timers; a condition that holds goes on holding."""
        self._onset = None
        self._above_s = 0.0
        self._below_s = None

    def valid(self, value: float, dt: float, moment: _Moment) -> list[AlarmEvent]:
        """Take a window with an index; `dt` is the stream time since the window before it."""
        if self.condition.holds:
            return self._towards_off(value, dt, moment)
        if value < self._on:
            self.reset()
            return []
        if self._onset is None:
            self._onset, self._above_s = moment.t, 0.0
        else:
            self._above_s += dt
        if self._above_s < self._after_s:
            return []
        onset = self._onset
        self.reset()
        text = f"Reassess pain: enter a score (index {value:.0f} >= {self._on:g} for {self._after_s:g} s)"
        return self.condition.raise_(onset, moment, text)

    def _towards_off(self, value: float, dt: float, moment: _Moment) -> list[AlarmEvent]:
        if value >= self._off:
            self._below_s = None
            return []
        self._below_s = 0.0 if self._below_s is None else self._below_s + dt
        if self._below_s < self._off_after_s:
            return []
        self.reset()
        return self.condition.clear(moment, f"Index below {self._off:g} for {self._off_after_s:g} s")

    def abandon(self, moment: _Moment, why: str) -> list[AlarmEvent]:
        """End what nobody can judge any longer."""
        self.reset()
        return self.condition.clear(moment, f"Pain can no longer be judged ({why})")


class AlarmManager:
    """Alarm conditions of one bed. Feed it every index and every tick, in order; it returns what changed.

    Args:
        bed: Name of the bed.
        settings: Limits and delays.
        session: Namespace of the event ids: the same session and onset make the same id, also in a replay.
    """

    def __init__(self, *, bed: str, settings: AlarmSettings, session: uuid.UUID) -> None:
        self._settings = settings

        def condition(name: str, kind: AlarmKind, priority: Priority, *, latching: bool = False) -> _Condition:
            return _Condition(bed=bed, name=name, kind=kind, priority=priority, latching=latching, session=session)

        self._moderate = _PainLevel(
            condition=condition(PAIN_MODERATE, AlarmKind.PHYSIOLOGICAL, Priority.LOW),
            on=settings.moderate_on,
            off=settings.moderate_off,
            after_s=settings.moderate_after_s,
            off_after_s=settings.off_after_s,
        )
        self._severe = _PainLevel(
            condition=condition(PAIN_SEVERE, AlarmKind.PHYSIOLOGICAL, Priority.MEDIUM, latching=True),
            on=settings.severe_on,
            off=settings.severe_off,
            after_s=settings.severe_after_s,
            off_after_s=settings.off_after_s,
        )
        self._pain = (self._severe, self._moderate)
        self._no_data = condition(NO_DATA, AlarmKind.TECHNICAL, Priority.LOW)
        self._unscorable = condition(UNSCORABLE, AlarmKind.TECHNICAL, Priority.LOW)
        self._conditions: Mapping[str, _Condition] = MappingProxyType(
            {c.name: c for c in (self._severe.condition, self._moderate.condition, self._no_data, self._unscorable)}
        )
        self._origin = 0.0
        self._bundle = ""
        self._epoch: int | None = None
        self._last_t = 0.0
        self._running_s = 0.0  # stream time since the first window
        self._frozen_s = 0.0
        self._unscored_s = 0.0
        self._unscored_from = 0.0
        self._scored_s = 0.0
        self._scored_before = False
        self._data_since: float | None = None

    def on_index(self, index: PainIndex, score: Score) -> list[AlarmEvent]:
        """Take one window.

        Args:
            index: The index after the window.
            score: The score of the same window, or why there is none.

        Returns:
            The transitions that followed.
        """
        moved = self._epoch is not None and index.epoch != self._epoch
        dt = 0.0 if moved or self._epoch is None else index.t_end - self._last_t
        self._epoch, self._last_t = index.epoch, index.t_end
        self._origin, self._bundle = index.t_end - index.t_rel, index.bundle
        self._running_s += dt
        if moved:  # across a jump of the clock nobody knows how long anything has lasted
            for level in self._pain:
                level.reset()
        moment = _Moment(
            t=index.t_end, t_rel=index.t_rel, bundle=index.bundle, index=index.fast, causes=tuple(score.absent)
        )
        return [*self._follow_pain(index, score, dt, moment), *self._follow_scores(score, dt, moment)]

    def on_silence(self, now: float, last_sample: float | None, t_rel: float) -> list[AlarmEvent]:
        """Notice that data have stopped, or have come back.

        Args:
            now: Stream clock.
            last_sample: Stream clock at which the last sample of any stream arrived; None before the first.
            t_rel: `now` in seconds from the origin.

        Returns:
            The transitions that followed.
        """
        if last_sample is None:
            return []
        moment = _Moment(t=now, t_rel=t_rel, bundle=self._bundle, causes=(Reason.NO_DATA.value,))
        silent_s = now - last_sample
        if silent_s >= self._settings.no_data_after_s:
            self._data_since = None
            text = f"No data for {self._settings.no_data_after_s:g} s: check sensors and connection"
            return self._no_data.raise_(last_sample, moment, text)
        if not self._no_data.holds:
            return []
        if self._data_since is None:
            self._data_since = now
        if now - self._data_since < TECHNICAL_CLEAR_S:
            return []
        return self._no_data.clear(moment, "Data are coming again")

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
        return found.acknowledge(_Moment(t=t, t_rel=t - self._origin, bundle=self._bundle), actor)

    def active(self) -> tuple[AlarmEvent, ...]:
        """Return the last transition of every condition that is on, acknowledged or latched, most urgent first."""
        present = [c.last for c in self._conditions.values() if c.last is not None and c.presence is not Presence.OFF]
        return tuple(sorted(present, key=lambda event: (_URGENCY[event.priority], event.onset)))

    def _follow_pain(self, index: PainIndex, score: Score, dt: float, moment: _Moment) -> list[AlarmEvent]:
        if index.fast is not None and not index.hollow and not score.absent:
            self._frozen_s = 0.0
            fast = index.fast
            return [event for level in self._pain for event in level.valid(fast, dt, moment)]
        self._frozen_s += dt
        engaged = [level for level in self._pain if level.engaged]
        if self._frozen_s <= self._settings.freeze_s or not engaged:
            return []
        why = ", ".join(score.absent) or index.fast_withheld or Reason.NOT_CALIBRATED.value
        events = [event for level in engaged for event in level.abandon(moment, why)]
        if score.absent and not self._is_quiet(score):
            events += self._raise_unscorable(moment, why)
        return events

    def _follow_scores(self, score: Score, dt: float, moment: _Moment) -> list[AlarmEvent]:
        """Raise `unscorable` after too long without a score, and end it once scores are back."""
        if not score.absent:
            self._scored_before = True
            self._unscored_s = 0.0
            self._unscored_from = score.t_end
            if not self._unscorable.holds:
                return []
            self._scored_s += dt
            return self._unscorable.clear(moment, "Scores again") if self._scored_s >= TECHNICAL_CLEAR_S else []
        self._scored_s = 0.0
        if self._is_quiet(score):
            return []
        if self._unscored_s == 0.0 and not self._scored_before:
            self._unscored_from = score.t_end
        self._unscored_s += dt
        starting = not self._scored_before and self._running_s < STARTUP_GRACE_S
        if starting or self._unscored_s < self._settings.unscorable_after_s:
            return []
        return self._raise_unscorable(moment, ", ".join(score.absent))

    def _raise_unscorable(self, moment: _Moment, why: str) -> list[AlarmEvent]:
        if self._no_data.holds:
            return []
        self._scored_s = 0.0
        return self._unscorable.raise_(self._unscored_from, moment, f"No score can be made ({why}): check sensors")

    def _is_quiet(self, score: Score) -> bool:
        """Whether a window lacks its score for a reason that is expected and shown, not a fault."""
        reasons = {reason.rpartition(":")[2] for reason in score.absent}
        return reasons <= (_CALIBRATING if self._scored_before else _STARTING)
