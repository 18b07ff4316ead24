"""From scores to alarms: how soon, how often rightly, how often wrongly, for a grid of limits and delays.

The alarms are made by the monitor's own `AlarmManager` from the indices that the pipeline gave; nothing is scored again
(the threshold and delay simulation of clinical.md section 3). Only the moderate level is varied and counted: it is the
one that comes first. Plain measures go the same way as scores of their own (`alarm_path_plain`).

Stimuli that follow each other within `JOIN_S` are one bout. A bout is detected where an alarm is announced between its
onset and `AFTER_S` after its end: one that was there before says nothing of it. An announcement outside of every bout
is false, also where it joins an alarm of before. Both are stricter than the burden report of a session, which counts
alarms by their id and a presence as a detection: a limit so low that the alarm never ends would look perfect there.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.data.recorded import FloatArray
from models.evaluation.resampling import mean_with_interval, subject_draws, with_interval
from models.evaluation.streaming_feed import LiveRun
from models.evaluation.summary import Figure
from monitor.alarm import PAIN_MODERATE, AlarmManager
from monitor.alarm.limits import changed_limits
from monitor.config import AlarmSettings
from monitor.sessions.alarm_burden import alarms_of
from monitor.types import AlarmEvent, PainIndex, Score

LIMITS: Final = (30.0, 40.0, 50.0, 60.0, 70.0, 80.0)
DELAYS_S: Final = (5.0, 10.0, 15.0, 30.0, 60.0)
RATES_PER_HOUR: Final = (1.0, 2.0, 6.0)
"""False alarms an hour without pain at which the sensitivity is read."""
JOIN_S: Final = 15.0
AFTER_S: Final = 15.0
"""The fast index is a mean over 10 s, and the body follows a stimulus by some seconds."""

Step = tuple[PainIndex, Score]


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmPoint:
    """All sittings at one limit and delay."""

    limit: float
    """Index at or above which the alarm's timer runs; it ends 15 below."""
    delay_s: float
    bouts: int
    detected: int
    there_before: int
    """Bouts at whose onset the alarm was already present; they do not count as detected unless announced anew."""
    false_alarms: int
    sensitivity: Figure
    """Detected over bouts, interval over subjects."""
    false_per_hour: Figure
    """False announcements an hour without pain."""
    false_per_monitored_hour: float
    """The same by all hours, at the prevalence of pain that the sittings have."""
    in_alarm_without_pain: float
    """Share of the time without pain with the alarm present."""
    delay_median_s: float | None
    """Onset of the bout to the announcement, over the detected ones."""
    delay_p90_s: float | None


@dataclass(frozen=True, kw_only=True)
class AlarmCurve:
    """One score at all limits and delays."""

    score: str
    """`index` of the model, or the name of a plain measure."""
    points: tuple[AlarmPoint, ...]
    at_rates: Mapping[str, AlarmPoint | None]
    """By false alarms an hour: the most sensitive point that stays at or below; None where none does."""
    sittings: int
    coverage: Figure
    """Share of the windows after the calibration with a value of this score."""


@dataclass(frozen=True, slots=True, eq=False)
class Watched:
    """What one sitting brings to the alarms."""

    subject: str
    steps: tuple[Step, ...]
    """Every window in order; hollow or absent ones as they are."""
    bouts: tuple[tuple[float, float], ...]
    """(onset, end) in seconds of the sitting's clock, after the calibration."""
    start_s: float
    """Since when alarms count: the calibration is over."""
    end_s: float
    covered: float
    """Share of the windows since then with a value."""

    @property
    def hours(self) -> float:
        """Watched."""
        return max(self.end_s - self.start_s, 0.0) / 3600.0

    @property
    def free_spans(self) -> tuple[tuple[float, float], ...]:
        """Where an announcement is false."""
        edges = [self.start_s]
        for start, end in self.bouts:
            edges += [start, min(end + AFTER_S, self.end_s)]
        edges.append(self.end_s)
        return tuple((a, b) for a, b in zip(edges[::2], edges[1::2], strict=True) if b > a)


def bouts_of(run: LiveRun) -> tuple[tuple[float, float], ...]:
    """Painful stimuli of a sitting that begin after the calibration, those within `JOIN_S` of each other as one."""
    found: list[list[float]] = []
    for start, end, label in sorted(run.trials, key=lambda trial: trial[0]):
        if not label or start < run.calibrated_at:
            continue
        if found and start <= found[-1][1] + JOIN_S:
            found[-1][1] = max(found[-1][1], end)
        else:
            found.append([start, end])
    return tuple((start, end) for start, end in found)


def watched(run: LiveRun, steps: Sequence[Step] | None = None) -> Watched:
    """A sitting for the alarms.

    Args:
        run: The sitting, live.
        steps: Indices and scores of a plain measure in place of the model's, one for each window.
    """
    chosen = tuple(zip(run.indices, run.scores, strict=True)) if steps is None else tuple(steps)
    # Pain alarms do not look at the quality of signals, which is most of what a score weighs in memory.
    chosen = tuple((index, replace(score, quality=(), edges_hz={}, delay_s={})) for index, score in chosen)
    since = [score for _, score in chosen if score.t_end > run.calibrated_at]
    return Watched(
        subject=run.subject,
        steps=chosen,
        bouts=bouts_of(run),
        start_s=run.calibrated_at,
        end_s=run.end_s,
        covered=float(np.mean([not score.withheld for score in since])) if since else 0.0,
    )


def settings_at(limit: float, delay_s: float) -> AlarmSettings:
    """The alarm settings of one point: the moderate level at its limit, the severe one out of the way.

    Raises:
        ValueError: If the monitor does not allow such a limit or delay.
    """
    return changed_limits(
        AlarmSettings(),
        {
            "moderate_on": limit,
            "moderate_off": max(limit - 15.0, 5.0),
            "moderate_after_s": delay_s,
            "severe_on": 95.0,
            "severe_off": 94.0,
            "severe_after_s": 120.0,
        },
    )


@dataclass(frozen=True, slots=True)
class _Counts:
    bouts: int
    detected: int
    there_before: int
    false_alarms: int
    free_s: float
    in_alarm_s: float
    delays: tuple[float, ...]


def _count(item: Watched, settings: AlarmSettings) -> _Counts:
    """Play one sitting to a fresh alarm manager and hold its announcements against the bouts."""
    manager = AlarmManager(bed="evaluated", settings=settings, session=uuid.UUID(int=0))
    events = [
        event
        for index, score in item.steps
        for event in manager.on_index(index, score, ())
        if isinstance(event, AlarmEvent) and event.condition == PAIN_MODERATE
    ]
    alarms = alarms_of(events, end=item.end_s)
    raised = np.sort([t for alarm in alarms for t in alarm.raised if t > item.start_s])
    present = [span for alarm in alarms for span in alarm.present]
    delays = []
    true = np.zeros(len(raised), dtype=np.bool_)
    for start, end in item.bouts:
        own = (raised >= start) & (raised <= end + AFTER_S)
        true |= own
        if own.any():
            delays.append(float(raised[own][0] - start))
    free = item.free_spans
    return _Counts(
        bouts=len(item.bouts),
        detected=len(delays),
        there_before=sum(any(a < start < b for a, b in present) for start, _ in item.bouts),
        false_alarms=int(np.count_nonzero(~true)),
        free_s=sum(b - a for a, b in free),
        in_alarm_s=sum(max(0.0, min(b, d) - max(a, c)) for a, b in free for c, d in present),
        delays=tuple(delays),
    )


def alarm_curve(
    items: Sequence[Watched],
    *,
    score: str,
    seed: int,
    limits: Sequence[float] = LIMITS,
    delays_s: Sequence[float] = DELAYS_S,
    rates_per_hour: Sequence[float] = RATES_PER_HOUR,
) -> AlarmCurve | None:
    """All sittings at every limit and delay; None where there is none.

    The point of a rate is chosen among these sittings themselves, which flatters it a little.

    Args:
        items: Sittings.
        score: Name of what was watched.
        seed: Of the intervals.
        limits: Index limits, 20 to 95.
        delays_s: Seconds above them, 0 to 120.
        rates_per_hour: False alarms an hour without pain at which to read the sensitivity.
    """
    if not items:
        return None
    points = tuple(
        _point(items, [_count(item, settings_at(limit, delay)) for item in items], limit, delay, seed)
        for limit in limits
        for delay in delays_s
    )
    return AlarmCurve(
        score=score,
        points=points,
        at_rates={f"{rate:g}": _at_rate(points, rate) for rate in rates_per_hour},
        sittings=len(items),
        coverage=mean_with_interval(np.array([item.covered for item in items]), seed=seed),
    )


def _point(items: Sequence[Watched], counts: Sequence[_Counts], limit: float, delay_s: float, seed: int) -> AlarmPoint:
    subjects = [item.subject for item in items]
    names = list(dict.fromkeys(subjects))
    member = np.array([[name == own for own in subjects] for name in names], dtype=np.float64)

    def by_subject(values: Sequence[float]) -> FloatArray:
        total: FloatArray = member @ np.asarray(values, dtype=np.float64)
        return total

    detected, bouts = by_subject([c.detected for c in counts]), by_subject([c.bouts for c in counts])
    false, free_h = by_subject([c.false_alarms for c in counts]), by_subject([c.free_s / 3600.0 for c in counts])
    hours = sum(item.hours for item in items)
    delays = [value for c in counts for value in c.delays]
    return AlarmPoint(
        limit=limit,
        delay_s=delay_s,
        bouts=int(bouts.sum()),
        detected=int(detected.sum()),
        there_before=sum(c.there_before for c in counts),
        false_alarms=int(false.sum()),
        sensitivity=ratio_with_interval(detected, bouts, seed=seed),
        false_per_hour=_rate(false, free_h, seed=seed),
        false_per_monitored_hour=float(false.sum() / hours) if hours else float("nan"),
        in_alarm_without_pain=sum(c.in_alarm_s for c in counts) / max(sum(c.free_s for c in counts), 1e-9),
        delay_median_s=float(np.median(delays)) if delays else None,
        delay_p90_s=float(np.percentile(delays, 90.0)) if delays else None,
    )


def ratio_with_interval(above: FloatArray, below: FloatArray, *, seed: int) -> Figure:
    """Sum over sum with its interval over subjects; not a number where there is nothing below.

    Args:
        above: (subjects,).
        below: (subjects,).
        seed: Of the draws.
    """
    value = float(above.sum() / below.sum()) if below.sum() else float("nan")
    if len(above) < 2:
        return Figure(value=value)
    weights: NDArray[np.float32] = subject_draws(len(above), seed=seed)
    with np.errstate(divide="ignore", invalid="ignore"):
        drawn = (weights @ above) / (weights @ below)
    return with_interval(value, drawn)


def _rate(events: FloatArray, hours: FloatArray, *, seed: int) -> Figure:
    """Events an hour. None at all in h hours still leaves up to 3 / h likely (95 %), which no bootstrap can see."""
    if not events.sum() and hours.sum():
        return Figure(value=0.0, low=0.0, high=float(3.0 / hours.sum()))
    return ratio_with_interval(events, hours, seed=seed)


def _at_rate(points: Sequence[AlarmPoint], rate: float) -> AlarmPoint | None:
    """The most sensitive point at or below a rate of false alarms; of equal ones the quickest."""
    allowed = [p for p in points if p.false_per_hour.value <= rate and np.isfinite(p.sensitivity.value)]
    return max(
        allowed,
        key=lambda p: (p.sensitivity.value, -(p.delay_median_s if p.delay_median_s is not None else np.inf), p.limit),
        default=None,
    )
