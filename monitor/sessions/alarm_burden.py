"""What the alarms of a session cost and brought: how many, how long, who saw them, and what the patient reported.

The fields are those of clinical.md section 3. An alarm is an event id: one that comes back within `rejoin_s` is the
same alarm, folded and counted as a re-alarm. Rates a day are what a bed would have if all day were like this session.

A session that continues one that failed takes over what stood then, under its id. Such an alarm was counted there: here
it is none, but the time for which it goes on counts, from the beginning of this session.
"""

from __future__ import annotations

import math
import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

from monitor.alarm import PAIN_MODERATE, PAIN_SEVERE
from monitor.types import Activation, AlarmAction, AlarmEvent, AlarmKind, Marker, Presence

BRIEF_S: Final = 10.0
"""An alarm that is present for less is brief: over before anybody can have come."""
LONG_LATCH_S: Final = 300.0
"""A latched alarm that waits longer than this is reported (clinical.md section 3)."""
AFTER_EPISODE_S: Final = 60.0
"""A pain alarm that comes within so many seconds after an episode still belongs to it."""
NRS_WITHIN_S: Final = 600.0
"""A reported score labels the pain alarms that were raised at most this long before or after it."""
NRS_PAIN: Final = 4.0
"""A reported score from which on a pain alarm counts as true (moderate pain on the NRS)."""
_RESTORED_WITHIN_S: Final = 1.0
PAIN: Final = (PAIN_MODERATE, PAIN_SEVERE)

_EPISODE = re.compile(r"pain \w+ level [\d.]+, ([\d.]+) s")


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """One alarm from its first announcement to its end. Times in seconds on the stream clock."""

    event_id: str
    condition: str
    kind: str
    priority: str
    raised: tuple[float, ...]
    """Each time that it was announced; all but the first are re-alarms, folded into it. All are if it is restored."""
    present: tuple[tuple[float, float], ...]
    """When the condition held."""
    latched_s: float
    acknowledged: float | None
    actor: str
    ended: bool
    """Whether it was over by the end of the session."""
    restored: bool = False
    """It stood before the session began, in the one that this one continues, and was announced there."""

    @property
    def present_s(self) -> float:
        """Seconds for which the condition held."""
        return sum(end - start for start, end in self.present)

    @property
    def latency_s(self) -> float | None:
        """Seconds from the first announcement to the acknowledgement; None where either is not recorded here."""
        if self.acknowledged is None or self.restored or self.acknowledged < self.raised[0]:
            return None
        return self.acknowledged - self.raised[0]

    @property
    def realarms(self) -> int:
        """Announcements that were folded into it."""
        return len(self.raised) - (not self.restored)


@dataclass(frozen=True, slots=True, kw_only=True)
class Episode:
    """A bout of simulated pain, as the simulator's own markers state it.

    Stimuli that follow each other so closely that an alarm could belong to either are one bout.
    """

    start: float
    end: float
    stimuli: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Truth:
    """What the alarms can be held against. Without any of it no alarm is called true or false."""

    episodes: tuple[Episode, ...] = ()
    """Only of a simulated patient; nobody knows those of a person."""
    reports: tuple[tuple[float, float], ...] = ()
    """When, and the pain score 0-10 that was entered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionBurden:
    """The alarms of one condition."""

    condition: str
    kind: str
    priority: str
    alarms: int
    per_hour: float | None
    per_bed_day: float | None
    rejoined: int
    """Re-alarms that were folded into these."""
    median_present_s: float | None
    present_s: float
    acknowledged: int
    median_latency_s: float | None
    brief: int
    self_cleared: int
    """Over without anybody having acknowledged them."""
    open_at_end: int
    restored: int = 0
    """Taken over from the session before, and not among `alarms`; the times and ends are theirs, too."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """How soon after the onset of simulated pain one condition was announced."""

    condition: str
    episodes: int
    """Bouts in which it was announced, and was not there already."""
    median_s: float | None
    p90_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Burden:
    """The alarms of a session, or of the same session under other settings."""

    hours: float
    conditions: tuple[ConditionBurden, ...]
    physiological: int
    technical: int
    by_priority: dict[str, int] = field(default_factory=dict)
    in_alarm_s: float = 0.0
    """Seconds with any alarm present."""
    in_pain_alarm_s: float = 0.0
    audible: int = 0
    """Sounds that were called for: first announcements, renewals and reminders that were not paused."""
    restored: int = 0
    """Alarms of the session before that went on in this one; they are counted there."""
    latched: int = 0
    latched_long: int = 0
    audio_pauses: int = 0
    suspensions: int = 0
    true: int = 0
    """Pain alarms that fit the truth."""
    false: int = 0
    unlabelled: int = 0
    episodes: int = 0
    detected: int = 0
    """Bouts of simulated pain with a pain alarm announced or present in them."""
    delays: tuple[Delay, ...] = ()

    @property
    def alarms(self) -> int:
        """All alarms."""
        return self.physiological + self.technical

    def per_hour(self, count: int) -> float | None:
        """A count as a rate; None for a session without any length."""
        return count / self.hours if self.hours > 0 else None

    def per_bed_day(self, count: int) -> float | None:
        """A count as what a day like this session would have."""
        return 24.0 * count / self.hours if self.hours > 0 else None

    @property
    def sensitivity(self) -> float | None:
        """Share of the bouts of simulated pain with a pain alarm; None where none is known."""
        return self.detected / self.episodes if self.episodes else None


def truth_of(markers: Iterable[Marker], *, simulated: bool) -> Truth:
    """What the markers of a session say about pain.

    Args:
        markers: All of them.
        simulated: Whether all its signals are simulated: only then is a marker on a pain episode the truth.
    """
    episodes, reports = [], []
    for marker in markers:
        if marker.kind == "nrs" and marker.value is not None:
            reports.append((marker.t, marker.value))
        found = _EPISODE.fullmatch(marker.text) if simulated and marker.actor == "recording" else None
        if found:
            episodes.append(Episode(start=marker.t, end=marker.t + float(found.group(1))))
    return Truth(episodes=_bouts(episodes), reports=tuple(reports))


def _bouts(stimuli: Iterable[Episode]) -> tuple[Episode, ...]:
    found: list[Episode] = []
    for item in sorted(stimuli, key=lambda episode: episode.start):
        if found and item.start <= found[-1].end + AFTER_EPISODE_S:
            last = found.pop()
            item = Episode(start=last.start, end=max(last.end, item.end), stimuli=last.stimuli + 1)  # noqa: PLW2901
        found.append(item)
    return tuple(found)


def alarms_of(events: Iterable[AlarmEvent], *, start: float = -math.inf, end: float) -> tuple[Alarm, ...]:
    """Alarms from their transitions, in the order in which they come.

    Args:
        events: The transitions in order. Their times may run backwards: what is taken over is said when the process is
            ready, and the windows that it then finds waiting are older.
        start: Stream clock at the beginning of the session; nothing is counted from before. Left out where nothing can
            have been taken over.
        end: At its end, up to which what is open is counted.
    """
    tracks: dict[str, _Track] = {}
    for event in events:
        tracks.setdefault(event.event_id, _Track(event, start)).take(event)
    return tuple(track.alarm(end) for track in tracks.values() if track.raised or track.restored)


class _Track:
    """Follows one event id."""

    def __init__(self, first: AlarmEvent, start: float) -> None:
        self.raised: list[float] = []
        # Said once more as the session begins. Later on it is one whose beginning was not recorded, or a renewal.
        self.restored = first.before is first.presence is not Presence.OFF and first.t <= start + _RESTORED_WITHIN_S
        self._first = first
        self._presence = first.before if self.restored else Presence.OFF
        self._since = start
        self._present: list[tuple[float, float]] = []
        self._latched_s = 0.0
        self._acknowledged: float | None = None
        self._actor = ""

    def take(self, event: AlarmEvent) -> None:
        """Follow one transition."""
        t = max(event.t, self._since)
        if event.presence is Presence.ON and self._presence in (Presence.OFF, Presence.LATCHED):
            self.raised.append(t)
        by_hand = event.presence is Presence.ACK or (
            event.presence is Presence.OFF and self._presence is Presence.LATCHED
        )
        if by_hand and self._acknowledged is None:
            self._acknowledged, self._actor = t, event.actor
        if _held(event.presence) != _held(self._presence) or (
            (event.presence is Presence.LATCHED) != (self._presence is Presence.LATCHED)
        ):
            self._close(t)
            self._since = t
        self._presence = event.presence

    def _close(self, t: float) -> None:
        if _held(self._presence):
            self._present.append((self._since, t))
        elif self._presence is Presence.LATCHED:
            self._latched_s += t - self._since

    def alarm(self, end: float) -> Alarm:
        """Sum it up, once the session is over."""
        self._close(max(end, self._since))
        return Alarm(
            event_id=self._first.event_id,
            condition=self._first.condition,
            kind=str(self._first.kind),
            priority=str(self._first.priority),
            raised=tuple(self.raised),
            present=tuple(self._present),
            latched_s=self._latched_s,
            acknowledged=self._acknowledged,
            actor=self._actor,
            ended=self._presence is Presence.OFF,
            restored=self.restored,
        )


def _held(presence: Presence) -> bool:
    return presence in (Presence.ON, Presence.ACK)


def burden(
    outputs: Sequence[AlarmEvent | AlarmAction], *, start: float, end: float, truth: Truth | None = None
) -> Burden:
    """Sum the alarms of a session up.

    Args:
        outputs: Transitions, and actions on alarms, in order.
        start: Stream clock at the beginning of the session.
        end: At its end.
        truth: What the alarms are held against.
    """
    known = truth or Truth()
    events = [item for item in outputs if isinstance(item, AlarmEvent)]
    alarms = alarms_of(events, start=start, end=end)
    new = [alarm for alarm in alarms if not alarm.restored]
    hours = (end - start) / 3600.0
    pain = [alarm for alarm in alarms if alarm.condition in PAIN]
    labels = [_label(alarm, known) for alarm in pain if not alarm.restored]
    by_name: dict[str, list[Alarm]] = {}
    for alarm in alarms:
        by_name.setdefault(alarm.condition, []).append(alarm)
    priorities = sorted({alarm.priority for alarm in new})
    actions = [item.action for item in outputs if isinstance(item, AlarmAction) and item.actor]
    latched = [alarm.latched_s for alarm in alarms if alarm.latched_s > 0]
    return Burden(
        hours=hours,
        conditions=tuple(_condition(own, hours) for own in by_name.values()),
        physiological=sum(alarm.kind == AlarmKind.PHYSIOLOGICAL for alarm in new),
        technical=sum(alarm.kind == AlarmKind.TECHNICAL for alarm in new),
        by_priority={name: sum(alarm.priority == name for alarm in new) for name in priorities},
        in_alarm_s=_union(span for alarm in alarms for span in alarm.present),
        in_pain_alarm_s=_union(span for alarm in pain for span in alarm.present),
        audible=_audible(events),
        restored=len(alarms) - len(new),
        latched=len(latched),
        latched_long=sum(seconds > LONG_LATCH_S for seconds in latched),
        audio_pauses=actions.count("audio_pause"),
        suspensions=actions.count("suspend"),
        true=labels.count("true"),
        false=labels.count("false"),
        unlabelled=labels.count(""),
        episodes=len(known.episodes),
        detected=sum(any(_meets(alarm, episode) for alarm in pain) for episode in known.episodes),
        delays=tuple(_delay(name, pain, known.episodes) for name in PAIN) if known.episodes else (),
    )


def _condition(alarms: Sequence[Alarm], hours: float) -> ConditionBurden:
    first = alarms[0]
    new = [alarm for alarm in alarms if not alarm.restored]
    latencies = [alarm.latency_s for alarm in alarms if alarm.latency_s is not None]
    return ConditionBurden(
        condition=first.condition,
        kind=first.kind,
        priority=first.priority,
        alarms=len(new),
        per_hour=len(new) / hours if hours > 0 else None,
        per_bed_day=24.0 * len(new) / hours if hours > 0 else None,
        rejoined=sum(alarm.realarms for alarm in alarms),
        median_present_s=statistics.median(alarm.present_s for alarm in new) if new else None,
        present_s=_union(span for alarm in alarms for span in alarm.present),
        acknowledged=sum(alarm.acknowledged is not None for alarm in alarms),
        median_latency_s=statistics.median(latencies) if latencies else None,
        brief=sum(alarm.ended and alarm.present_s < BRIEF_S for alarm in new),
        self_cleared=sum(alarm.ended and alarm.acknowledged is None for alarm in alarms),
        open_at_end=sum(not alarm.ended for alarm in alarms),
        restored=len(alarms) - len(new),
    )


def _label(alarm: Alarm, truth: Truth) -> str:
    """Whether a pain alarm was right: by simulated episodes where there are any, else by the nearest report."""
    if truth.episodes:
        within = any(e.start <= t <= e.end + AFTER_EPISODE_S for t in alarm.raised for e in truth.episodes)
        return "true" if within else "false"
    near = [(abs(t - alarm.raised[0]), value) for t, value in truth.reports]
    near = [item for item in near if item[0] <= NRS_WITHIN_S]
    if not near:
        return ""
    return "true" if min(near)[1] >= NRS_PAIN else "false"


def _meets(alarm: Alarm, episode: Episode) -> bool:
    return any(start <= episode.end + AFTER_EPISODE_S and end >= episode.start for start, end in alarm.present)


def _delay(condition: str, pain: Sequence[Alarm], episodes: Sequence[Episode]) -> Delay:
    own = [alarm for alarm in pain if alarm.condition == condition]
    delays = []
    for episode in episodes:
        if any(start < episode.start < end for alarm in own for start, end in alarm.present):
            continue  # what was there before says nothing about how soon this one was noticed
        raised = [t for alarm in own for t in alarm.raised if episode.start <= t <= episode.end + AFTER_EPISODE_S]
        if raised:
            delays.append(min(raised) - episode.start)
    delays.sort()
    return Delay(
        condition=condition,
        episodes=len(delays),
        median_s=statistics.median(delays) if delays else None,
        p90_s=delays[min(len(delays) - 1, int(0.9 * len(delays)))] if delays else None,
    )


def _union(spans: Iterable[tuple[float, float]]) -> float:
    total, reached = 0.0, float("-inf")
    for start, end in sorted(spans):
        total += max(0.0, end - max(start, reached))
        reached = max(reached, end)
    return total


def _audible(events: Sequence[AlarmEvent]) -> int:
    """Sounds that begin: an alarm becomes audible, is announced anew while it is, or is reminded of."""
    count = 0
    sounding: set[str] = set()
    for event in events:
        heard = event.audio is Activation.ON and event.presence in (Presence.ON, Presence.LATCHED)
        count += (bool(event.reminder) and event.audio is Activation.ON) or (
            heard
            and (event.event_id not in sounding or (event.presence is Presence.ON and event.before is Presence.ON))
        )
        if heard and not event.reminder:
            sounding.add(event.event_id)
        else:
            sounding.discard(event.event_id)
    return count
