"""The alarm manager of one bed: two chains, physiological and technical, as a pure state machine.

All timers run in stream time: seconds between window ends (or between ticks, for silence, pauses and reminders), never
a count of windows, so neither the hop nor the speed of a replay shifts an alarm. Rules (A1-A19 of clinical.md):

* Persistence (A5): pain is announced after the fast index has stayed at or above its limit for the set time.
* Hysteresis (A6): a pain alarm ends once the index has stayed below its lower limit for the set time. Nothing in
  between changes anything.
* A window that says nothing about pain (no score, an uncertain one, index withheld after a change of bundle, not
  calibrated to this subject) freezes both timers; after `freeze_s` of nothing else they are reset, a pain alarm that is
  present ends, because nobody can know whether it still holds, and where scores are lacking or not believed a technical
  alarm takes its place (A7).
* Two signs (A17): moderate pain and a plain measure, both low, together call for a medium alarm, if the model reads no
  signal that the measure is taken from: what one sensor shows twice is no second sign.
* Latching (A11): medium physiological alarms stay until acknowledged; low and technical ones do not latch.
* An alarm that returns soon joins the last one, counted and without a new sound (A13); one that was acknowledged, or
  came back without a sound, is heard again after `reminder_s` (A10).
* A pause of sounds ends with its time or by a higher priority than it was asked for (A9); a suspension for a procedure
  holds back pain alarms only (A14). Neither changes presence.
* Start (A12): before the first sample there is no technical alarm unless `first_data_within_s` asks for one, before its
  first usable window none about a sensor, and before the first score none for `STARTUP_GRACE_S`, nor for windows that
  merely start, warm up or calibrate; their reasons are on the screen. A calibration that is under way never counts as a
  fault, since its countdown is shown too.
* One cause, one alarm: while no data come at all, no sensor is off by itself; what a present technical alarm explains
  does not raise `unscorable`.

Pain is never of high priority (A3). Every text asks for reassessment or names a fault; none advises treatment (A19).
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Iterator, Sequence
from types import MappingProxyType
from typing import Final

from monitor.alarm.absence import Absence
from monitor.alarm.conditions import (
    BROKER_LOST,
    NO_DATA,
    PAIN_MODERATE,
    PAIN_SEVERE,
    SELF_CHECK_MISSED,
    STALE,
    STORE_FULL,
    TWO_SIGNS,
    UNSCORABLE,
    Bed,
    Condition,
    Moment,
)
from monitor.alarm.faults import WindowFaults
from monitor.alarm.levels import Fault, Level
from monitor.alarm.operators import AlarmOutput, AskedAlarms
from monitor.alarm.signs import PlainSign, Readings, heart_rate_in, plain_signs, readings_of
from monitor.alarm.silence import Silence
from monitor.config import AlarmSettings
from monitor.types import (
    AlarmKind,
    Comparators,
    PainIndex,
    Priority,
    Quality,
    Reason,
    Score,
)

__all__ = ["REPORTED", "AlarmManager", "AlarmOutput"]

REPORTED: Final = (STORE_FULL, BROKER_LOST, SELF_CHECK_MISSED)
"""Technical conditions whose cause lies outside the flow: whoever sees it says so with `technical`."""


def _pain(value: float, limit: float, after_s: float) -> str:
    return f"Reassess pain: enter a score (index {value:.0f} >= {limit:g} for {after_s:g} s)"


class AlarmManager(AskedAlarms):
    """Alarm conditions of one bed. Feed it every index and every tick, in order; it returns what changed.

    Args:
        bed: Name of the bed.
        settings: Limits and delays.
        session: Namespace of the event ids: the same session and onset make the same id, also in a replay.
    """

    def __init__(self, *, bed: str, settings: AlarmSettings, session: uuid.UUID) -> None:
        super().__init__(bed=bed, settings=settings)
        shared = Bed(name=bed, session=session, rejoin_s=settings.rejoin_s, signals=self._signals)
        physiological = AlarmKind.PHYSIOLOGICAL
        severe = Condition(
            shared, PAIN_SEVERE, kind=physiological, priority=Priority.MEDIUM, latching=settings.latch_medium
        )
        self._severe = Level(severe, text=_pain, quantity="Index")
        self._moderate = Level(Condition(shared, PAIN_MODERATE, kind=physiological), text=_pain, quantity="Index")
        self._pain = (self._severe, self._moderate)
        self._signs = plain_signs(shared)
        self._second: PlainSign | None = None
        self._levels = (*self._pain, *(sign.level for sign in self._signs))
        self._two_signs = Condition(
            shared, TWO_SIGNS, kind=physiological, priority=Priority.MEDIUM, latching=settings.latch_medium
        )
        self._set_limits()

        def fault(name: str, after_s: float) -> Fault:
            return Fault(Condition(shared, name), after_s=after_s)

        self._window_faults = WindowFaults(fault, settings)
        self._silence = Silence()
        self._absence = Absence(
            no_data=Condition(shared, NO_DATA),
            stale=fault(STALE, 0.0),
            unscorable=Condition(shared, UNSCORABLE),
            explain=self._window_faults.explain,
            settings=settings,
        )
        self._reported = {name: fault(name, 0.0) for name in REPORTED}
        self._reports: dict[str, tuple[str, ...]] = dict.fromkeys(REPORTED, ())
        self._conditions = MappingProxyType(
            {
                condition.name: condition
                for condition in (
                    *(level.condition for level in self._levels),
                    self._two_signs,
                    *self._absence.conditions,
                    *(item.condition for item in (*self._window_faults.all, *self._reported.values())),
                )
            }
        )
        self._epoch: int | None = None
        self._last_t = 0.0
        self._ticked_at: float | None = None
        self._frozen_s = 0.0

    # -- what happens ------------------------------------------------------------------------------------------------

    def on_index(
        self,
        index: PainIndex,
        score: Score,
        quality: Sequence[Quality] = (),
        comparators: Comparators | None = None,
    ) -> list[AlarmOutput]:
        """Take one window.

        Args:
            index: The index after the window.
            score: The score of the same window, or why there is none.
            quality: Of every modality of the bed, where others than the scoring bundle's are watched too.
            comparators: Plain measures of the window; None: the heart rate is the one that the quality holds.

        Returns:
            The transitions that followed.
        """
        moved = self._epoch is not None and index.epoch != self._epoch
        dt = 0.0 if moved or self._epoch is None else index.t_end - self._last_t
        self._epoch, self._last_t = index.epoch, index.t_end
        self._origin, self._bundle = index.t_end - index.t_rel, index.bundle
        if moved:  # across a jump of the clock nobody knows how long anything has lasted
            for level in self._levels:
                level.reset()
        moment = Moment(
            t=index.t_end,
            t_rel=index.t_rel,
            bundle=index.bundle,
            index=index.voted if index.vote else index.fast,
            causes=tuple(score.withheld),
            scored=not score.withheld,
        )
        watched = quality or score.quality
        plain = heart_rate_in(watched) if comparators is None else readings_of(comparators)
        return [
            *self._window_faults.see(score, watched, dt, moment, silent=self._absence.silent),
            *self._follow_pain(index, score, dt, moment),
            *self._follow_plain(plain, dt, moment),
            *self._follow_two_signs(index, score, moment),
            *self._absence.on_window(score, dt, moment),
        ]

    def arrived(self, modality: str, at: float) -> None:
        """Take note that a stream has brought something: how often each usually does says when one is lost.

        Args:
            modality: Of the stream.
            at: Stream clock of the arrival.
        """
        self._silence.arrived(modality, at)

    def on_tick(self, now: float, last_sample: float | None, origin: float | None) -> list[AlarmOutput]:
        """Let time pass: silence is noticed, pauses end, reminders come.

        Args:
            now: Stream clock.
            last_sample: Stream clock at which the last sample of any stream arrived; None before the first.
            origin: Stream clock of the origin; None before a stream has named one.

        Returns:
            The transitions that followed.
        """
        dt = 0.0 if self._ticked_at is None else max(0.0, now - self._ticked_at)
        self._ticked_at = now
        self._origin = origin
        moment = self._moment(now)
        quiet = self._silence.all_quiet(now)
        events: list[AlarmOutput] = list(self._absence.on_tick(last_sample, dt, moment, quiet=quiet))
        if self._absence.silent:
            events += self._window_faults.silence(moment)
        else:
            events += self._window_faults.quiet(self._silence.lost(now), moment)
        for name, fault in self._reported.items():
            events += self._follow_report(name, fault, dt, moment)
        events += self._end_what_is_over(now, moment)
        for condition in self._conditions.values():
            events += condition.remind(moment, self._settings.reminder_s)
        return events

    def technical(self, name: str, *, present: bool, at: float, causes: Sequence[str] = ()) -> list[AlarmOutput]:
        """Take word of a technical condition whose cause lies outside the flow; it holds until the contrary is said.

        Args:
            name: One of `REPORTED`.
            present: Whether it is there.
            at: Stream clock.
            causes: What it comes from; another one than before is announced anew.

        Raises:
            ValueError: If it is not for others to report.
        """
        if name not in self._reported:
            raise ValueError(f"{name!r} cannot be reported; these can: {', '.join(REPORTED)}")
        self._reports[name] = (tuple(causes) or (name,)) if present else ()
        return self._follow_report(name, self._reported[name], 0.0, self._moment(at))

    # -- parts -------------------------------------------------------------------------------------------------------

    def _set_limits(self) -> None:
        cfg = self._settings
        self._severe.limit(
            on=cfg.severe_on, off=cfg.severe_off, after_s=cfg.severe_after_s, off_after_s=cfg.off_after_s
        )
        self._moderate.limit(
            on=cfg.moderate_on, off=cfg.moderate_off, after_s=cfg.moderate_after_s, off_after_s=cfg.off_after_s
        )
        for sign in self._signs:
            sign.limit(cfg)

    def _take(self, level: Level, value: float, dt: float, moment: Moment) -> Iterator[AlarmOutput]:
        condition = level.condition
        if condition.holds:
            yield from level.fall(value, dt, moment)
        elif self._signals.suspended:  # what begins meanwhile must persist anew afterwards
            level.reset()
        elif (wanted := level.wants(value, dt, moment)) is not None:
            onset, text = wanted
            yield from self._begin(condition, onset, moment, text)

    def _begin(self, condition: Condition, onset: float, moment: Moment, text: str) -> Iterator[AlarmOutput]:
        """Raise a physiological condition; a higher priority than a pause was asked for ends the pause (A9)."""
        breaks = self._signals.paused and not self._signals.covers(condition.priority)
        if breaks:
            why = "Alarms are heard again: a higher priority than the pause was asked for"
            yield from self._change("audio_pause", "", moment, why, self._signals.end_pause)
        yield from condition.raise_(onset, moment, text, audible=breaks)

    def _follow_pain(self, index: PainIndex, score: Score, dt: float, moment: Moment) -> list[AlarmOutput]:
        value = index.judged
        if value is not None and (index.vote or not score.withheld):  # who does not believe its window does not vote
            self._frozen_s = 0.0
            return [event for level in self._pain for event in self._take(level, value, dt, moment)]
        self._frozen_s += dt
        engaged = [level for level in self._pain if level.engaged]
        if self._frozen_s <= self._settings.freeze_s or not engaged:
            return []
        why = ", ".join(score.withheld) or index.fast_withheld or Reason.NOT_CALIBRATED.value
        if index.vote and index.fast is not None and not score.withheld:
            why = "nobody votes"
        said = f"Pain can no longer be judged ({why})"
        events: list[AlarmOutput] = [event for level in engaged for event in level.abandon(moment, said)]
        if score.absent and not self._absence.is_quiet(score):
            events += self._absence.raise_unscorable(moment)
        if score.uncertain:
            events += self._window_faults.doubt(moment)
        return events

    def _follow_plain(self, readings: Readings, dt: float, moment: Moment) -> list[AlarmOutput]:
        """The plain measures that have a limit; what cannot be told for a while resets what has not persisted."""
        events: list[AlarmOutput] = []
        for sign in self._signs:
            found = readings.get(sign.condition.name)
            if not sign.limited(self._settings):
                events += sign.level.abandon(moment, "It has no limit any more")
            elif found is not None:
                sign.lost_s = 0.0
                value, sign.source = found
                events += self._take(sign.level, value, dt, dataclasses.replace(moment, index=None))
            else:
                sign.lost_s += dt
                if sign.lost_s > self._settings.freeze_s:
                    events += sign.level.abandon(moment, f"The {sign.noun} can no longer be told")
        return events

    def _follow_two_signs(self, index: PainIndex, score: Score, moment: Moment) -> list[AlarmOutput]:
        """Two low alarms of different signals make a medium one, unless severe pain is one already (A17)."""
        read = {item.modality for item in score.quality}
        plain = [sign for sign in self._signs if sign.condition.holds] if self._moderate.condition.holds else []
        apart = [sign for sign in plain if sign.source not in read]
        if self._two_signs.holds:
            if apart or self._second in plain or (plain and self._second is None):  # it may have been restored
                return []
            noun = self._second.noun if self._second else "the plain measure"
            return list(self._two_signs.clear(moment, f"Index and {noun} are no longer both high"))
        judged = index.judged is not None and (index.vote or not score.withheld)
        if not (apart and judged) or self._severe.condition.holds or self._signals.suspended:
            return []
        self._second = sign = apart[0]
        onset = max(item.last.onset for item in (self._moderate.condition, sign.condition) if item.last)
        text = f"Reassess pain: enter a score (index, and {sign.noun} from {sign.source}, above their limits)"
        return list(self._begin(self._two_signs, onset, moment, text))

    def _follow_report(self, name: str, fault: Fault, dt: float, moment: Moment) -> list[AlarmOutput]:
        told = self._reports[name]
        causes = tuple(cause for cause in told if cause != name)  # where nothing else is known, the name stands in
        return list(fault.see(frozenset(told), dt, moment.caused_by(causes)))
