"""Alarms of a simulated day against what truly happened, in counts that can be added up over beds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.sessions.alarm_burden import AFTER_EPISODE_S, Alarm, alarms_of
from monitor.sources.artefacts import Artefact
from monitor.types import AlarmEvent

_APART_S: Final = 60.0
_FOLDED_S: Final = 120.0
"""Announcements that follow each other this closely are one false alarm, as re-alarms are one alarm."""


@dataclass(frozen=True, slots=True)
class Span:
    """A bout of simulated pain."""

    start: float
    end: float
    severe: bool
    lasting: bool
    """A spell of minutes, not a train of short stimuli."""


def merged(spans: Iterable[Span]) -> list[Span]:
    """Stimuli that follow each other within a minute are one bout, as severe as its worst."""
    bouts: list[Span] = []
    for span in sorted(spans, key=lambda s: s.start):
        if bouts and span.start <= bouts[-1].end + _APART_S:
            last = bouts.pop()
            span = Span(  # noqa: PLW2901
                last.start, max(last.end, span.end), last.severe or span.severe, last.lasting or span.lasting
            )
        bouts.append(span)
    return bouts


@dataclass(frozen=True, slots=True)
class Condition:
    """All alarms of some conditions over a day."""

    alarms: tuple[Alarm, ...]

    @classmethod
    def of(cls, events: Iterable[AlarmEvent], names: Sequence[str], end: float) -> Condition:
        """From their transitions."""
        return cls(alarms_of([event for event in events if event.condition in names], end=end))


def judge(condition: Condition, pain: Sequence[Span], end: float) -> dict[str, Any]:
    """Counts of one condition.

    An alarm belongs to a bout if it was announced between its onset and a minute after its end. Delays leave out bouts
    in whose onset the alarm was there already.

    Args:
        condition: Its alarms.
        pain: Bouts, which do not overlap.
        end: Length of the day in seconds.
    """
    raised = sorted(t for alarm in condition.alarms for t in alarm.raised)
    painful_s = sum(min(bout.end + AFTER_EPISODE_S, end) - bout.start for bout in pain)
    wrong = [t for t in raised if not any(_within(t, bout) for bout in pain)]
    false = sum(i == 0 or t > wrong[i - 1] + _FOLDED_S for i, t in enumerate(wrong))
    bouts = []
    for bout in pain:
        there = any(a < bout.start < b for alarm in condition.alarms for a, b in alarm.present)
        times = [t - bout.start for t in raised if _within(t, bout)]
        found = there or bool(times)
        bouts.append(
            {
                "severe": bout.severe,
                "lasting": bout.lasting,
                "found": found,
                "delay_s": None if there or not times else min(times),
            }
        )
    return {"false": false, "alarms": len(raised), "free_s": end - painful_s, "bouts": bouts}


def _within(t: float, bout: Span) -> bool:
    return bout.start <= t <= bout.end + AFTER_EPISODE_S


def latencies(technical: Sequence[AlarmEvent], faults: Sequence[Artefact]) -> list[dict[str, Any]]:
    """How soon after each fault began a technical alarm named its modality, or any was raised.

    Args:
        technical: Transitions to `on`, in order.
        faults: What was done to the sensors.
    """
    found = []
    for fault in faults:
        stop = fault.onset_s + fault.duration_s + 10.0
        mine = [
            event.t - fault.onset_s
            for event in technical
            if fault.onset_s <= event.t <= stop and (not event.causes or any(fault.modality in c for c in event.causes))
        ]
        found.append(
            {
                "kind": fault.kind,
                "modality": fault.modality,
                "seconds": fault.duration_s,
                "delay_s": min(mine) if mine else None,
            }
        )
    return found
