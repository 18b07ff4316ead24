"""What the dashboard knows and how old it is. No Qt: everything here can be tested without a screen.

Ages are measured on this process's own clock from the arrival of what changed, so that neither a stopped engine nor a
stopped screen can make an old value look new.
"""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from monitor.dashboard import words
from monitor.link import AlarmView, BedState, BundleView, History, StateFrame
from monitor.types import FloatArray, Reason

GREY_S: Final = 2.0
"""An index is greyed when it is older than this plus a packet interval, or than two hops (clinical.md D3)."""
PACKET_S: Final = 0.5
GONE_S: Final = 10.0
"""An index that is older is not shown at all."""
LOST_S: Final = 2.5
"""An engine that has not been heard for so long counts as lost."""
BEHIND_S: Final = 3.0
"""A screen that has not seen for so long what the engine has sent says so (clinical.md D7)."""
TREND_S: Final = 900.0
"""Span of the trend curve."""

_MARKS: Final[Mapping[str, str]] = MappingProxyType({"high": "***", "medium": "**", "low": "*"})
_URGENCY: Final = tuple(_MARKS)
_TREND_BACK_S: Final = 30.0
_ROTATE_S: Final = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexReading:
    """The index as it is to be drawn."""

    text: str
    """`47`, or `---`."""
    value: float | None
    hollow: bool
    grey: bool
    slow: float | None
    reason: str
    """Why there is no index or no score now, in words; empty where there is."""
    trend: float | None
    """Points per half minute; None where it cannot be told."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmReading:
    """The alarm line."""

    text: str
    level: str
    """high, medium, low, technical, or empty for none."""
    flashing: bool
    condition: str
    """What can be acknowledged; empty for nothing."""
    others: int
    """Alarms beside the one that is shown."""


class DashboardModel:
    """Follows one bed of one engine.

    Args:
        clock: Seconds on a clock of ours that never goes back.
    """

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.clock: Final = clock
        self.frame: StateFrame | None = None
        self.bed: BedState | None = None
        self.bed_name = ""
        self.wants_history = False
        """The trend has a hole that the engine may be able to fill."""
        self._frame_at = clock()
        self._sent: tuple[str, int] = ("", 0)
        self._offset: float | None = None
        self._scored: tuple[str, int, int] | None = None
        self._scored_at: float | None = None
        self._trend: deque[tuple[float, float, float, bool]] = deque()

    # -- what comes --------------------------------------------------------------------------------------------------

    def take(self, frame: StateFrame) -> None:
        """A state has arrived; one that is no newer than the last is no sign of life."""
        now = self.clock()
        if self.frame is not None and self.frame.engine == frame.engine and frame.seq <= self.frame.seq:
            return
        restarted = self.frame is not None and self.frame.engine != frame.engine
        self.frame, self._frame_at = frame, now
        offset = frame.t - now
        # Frames are late by a few ms and never early, so the greatest difference is the truest.
        if self._offset is None or restarted or abs(offset - self._offset) > 1.0:
            self._offset = offset
        self._offset = max(self._offset - 1e-4, offset)
        if not self.bed_name and frame.beds:
            self.bed_name = frame.beds[0].bed
        bed = next((bed for bed in frame.beds if bed.bed == self.bed_name), None)
        if bed is None:
            self.bed = None
            return
        if self.bed is None or self.bed.session != bed.session or restarted:
            self._trend.clear()
            self._scored = self._scored_at = None
            self.wants_history = True
        self.bed = bed
        self._note_score(bed, now)

    def take_history(self, history: History) -> None:
        """The engine told what the trend was."""
        rows = {
            t: (t, _number(fast), _number(slow), not absent)
            for t, fast, slow, absent in zip(history.t, history.fast, history.slow, history.absent, strict=True)
        }
        rows.update({row[0]: row for row in self._trend})
        self._trend = deque(rows[t] for t in sorted(rows))

    def take_sent(self, engine: str, seq: int) -> None:
        """The engine told which state it has sent last."""
        self._sent = (engine, seq)

    def choose_bed(self, name: str) -> None:
        """Look at another bed, from now on: nothing of the one before may stand beside its name."""
        if name == self.bed_name:
            return
        self.bed_name = name
        self._trend.clear()
        self._scored = self._scored_at = None
        beds = () if self.frame is None else self.frame.beds
        self.bed = next((bed for bed in beds if bed.bed == name), None)
        if self.bed is not None:
            self.wants_history = True
            self._note_score(self.bed, self.clock())

    # -- what is shown -----------------------------------------------------------------------------------------------

    @property
    def now(self) -> float:
        """Stream clock at this moment, as well as it can be known here."""
        return self.clock() + (self._offset or 0.0)

    @property
    def silence_s(self) -> float:
        """Seconds since the engine was last heard."""
        return self.clock() - self._frame_at

    @property
    def connected(self) -> bool:
        """Whether the engine is heard."""
        return self.frame is not None and self.silence_s < LOST_S

    @property
    def behind(self) -> bool:
        """Whether the engine answers and has sent what is not shown here, for longer than `BEHIND_S`."""
        if self.frame is None or self.silence_s <= BEHIND_S:
            return False
        engine, seq = self._sent
        return bool(engine) and (engine != self.frame.engine or seq > self.frame.seq)

    @property
    def scoring(self) -> BundleView | None:
        """The bundle that scores, or would."""
        if self.bed is None:
            return None
        return next((item for item in self.bed.bundles if item.name == self.bed.bundle), None)

    @property
    def has_index(self) -> bool:
        """Whether there can be an index at all: not with a model that is untrained or does not classify pain."""
        return self.scoring is None or self.scoring.has_index

    @property
    def notice(self) -> str:
        """What is said of the scoring bundle wherever it is shown; empty where nothing is to be said."""
        return "" if self.scoring is None else self.scoring.notice

    @property
    def utc_offset(self) -> float:
        """UTC minus stream clock."""
        return 0.0 if self.frame is None else self.frame.utc - self.frame.t

    @property
    def has_score(self) -> bool:
        """Whether the newest window has a score, and the engine is heard."""
        return (
            self.connected
            and self.bed is not None
            and self.bed.score is not None
            and self.bed.score.probabilities is not None
            and not self._grey()
        )

    @property
    def uncertain(self) -> bool:
        """Whether the newest window's score is not believed: its class is hidden and the index greyed."""
        return self.bed is not None and self.bed.score is not None and bool(self.bed.score.uncertain)

    def index(self) -> IndexReading:
        """The index, greyed or withheld as its age demands."""
        bed = self.bed
        reason = self._why_not()
        age = self._score_age()
        # What a bundle before this one said is no index of this one.
        value = bed.index.fast if bed is not None and bed.index is not None and self.has_index else None
        gone = value is None or age > GONE_S or (not self.connected and self.silence_s > GONE_S)
        if gone:
            value = None
        return IndexReading(
            text="---" if value is None else f"{value:.0f}",
            value=value,
            hollow=bed is not None and bed.index is not None and bed.index.hollow and self.has_index,
            grey=self._grey() or self.uncertain,
            slow=bed.index.slow if bed is not None and bed.index is not None and not gone else None,
            reason=reason,
            trend=None if value is None else self._slope(),
        )

    def votes(self) -> str:
        """Every bundle's index by name, and what they come to, on which pain alarms rest; empty without a vote."""
        index = self.bed.index if self.bed is not None else None
        if index is None or not index.vote:
            return ""
        said = "  ".join(f"{name} {_figure(value)}" for name, value in index.votes.items())
        return f"alarms: {index.vote} {_figure(index.voted)}   ·   {said}"

    def alarm(self) -> AlarmReading:
        """The alarm line: the most urgent alarm first, others in turn (clinical.md D5)."""
        if self.frame is not None and not self.connected:
            since = words.seconds(self.silence_s)
            text = (
                f"* This screen is {since} behind the engine: values are old, look at another one"
                if self.behind
                else f"* No word from the engine for {since}: values are old, alarms are not known"
            )
            return AlarmReading(text=text, level="technical", flashing=False, condition="", others=0)
        bed = self.bed
        if bed is None and self.frame is not None:
            text = f"* The engine does not monitor {self.bed_name or 'any bed'}: its alarms are not known"
            return AlarmReading(text=text, level="technical", flashing=False, condition="", others=0)
        alarms = bed.alarms if bed is not None else ()
        if bed is None or not alarms:
            return AlarmReading(text="", level="", flashing=False, condition="", others=0)
        first = alarms[0]
        same = [alarm for alarm in alarms if alarm.priority == first.priority] if _unseen(first) else list(alarms)
        shown = same[int(self.clock() / _ROTATE_S) % len(same)]
        return AlarmReading(
            text=_alarm_text(shown, bed),
            level="technical" if shown.kind == "technical" else shown.priority,
            flashing=shown.priority in ("high", "medium") and _unseen(shown) and shown.visual == "on",
            condition=shown.condition if _unseen(shown) else "",
            others=len(alarms) - 1,
        )

    def elsewhere(self) -> tuple[tuple[str, str, str], ...]:
        """Other beds of this engine with an alarm that nobody has seen: bed, level and signs, the most urgent first."""
        if self.frame is None or not self.connected:
            return ()
        found = []
        for bed in self.frame.beds:
            unseen = [alarm for alarm in bed.alarms if _unseen(alarm)]
            if bed.bed != self.bed_name and unseen:
                first = min(unseen, key=_rank)
                level = "technical" if first.kind == "technical" else first.priority
                found.append((_rank(first), bed.bed, level, _MARKS.get(first.priority, "*")))
        return tuple((name, level, marks) for _, name, level, marks in sorted(found))

    def trend(self) -> tuple[FloatArray, FloatArray, FloatArray, FloatArray]:
        """The trend: times (stream clock), fast and slow index with NaN where withheld, and times without a score."""
        rows = np.array(self._trend, dtype=np.float64).reshape(-1, 4)
        return rows[:, 0], rows[:, 1], rows[:, 2], rows[rows[:, 3] == 0.0, 0]

    # -- parts -------------------------------------------------------------------------------------------------------

    def _note_score(self, bed: BedState, now: float) -> None:
        score, index = bed.score, bed.index
        if score is None or index is None:
            return
        newest = (bed.session, score.epoch, score.k)
        if newest == self._scored:
            return
        known = self._scored
        if known is not None and known[:2] == newest[:2] and score.k > known[2] + 1:
            self.wants_history = True
        self._scored = newest
        if score.probabilities is not None:
            # At the first look nobody knows when it arrived; it is as old as its window at least.
            age = 0.0 if known is not None or self.frame is None else max(0.0, self.frame.t - score.t_end - 1.0)
            self._scored_at = now - age
        if self._trend and score.t_end <= self._trend[-1][0]:
            self._trend.clear()
        self._trend.append((score.t_end, _number(index.fast), _number(index.slow), score.probabilities is not None))
        while self._trend[0][0] < score.t_end - TREND_S:
            self._trend.popleft()

    def _score_age(self) -> float:
        return math.inf if self._scored_at is None else self.clock() - self._scored_at

    def _grey(self) -> bool:
        hop = self.bed.hop_s if self.bed is not None else 1.0
        return not self.connected or self._score_age() > max(2.0 * hop, GREY_S) + PACKET_S

    def _why_not(self) -> str:
        bed = self.bed
        if self.frame is None:
            return "waiting for the engine"
        if not self.connected:
            return f"no word from the engine for {words.seconds(self.silence_s)}"
        if bed is None:
            return f"this engine has no bed {self.bed_name}"
        if bed.score is None or bed.index is None:
            return "waiting for the first signals"
        if bed.score.absent:
            return words.reasons(bed.score.absent)
        if bed.score.uncertain:
            return words.reasons(bed.score.uncertain)
        if not self.has_index:
            return words.REASONS[Reason.NO_INDEX] if self._score_age() <= GONE_S else "no new score"
        if bed.index.fast is None:
            return words.reason(bed.index.fast_withheld)
        if self._score_age() > GONE_S:
            return "no new score"
        return ""

    def _slope(self) -> float | None:
        times, fast, _, _ = self.trend()
        if len(times) == 0:
            return None
        newest = times[-1]
        recent = fast[(times > newest - 5.0) & np.isfinite(fast)]
        before = fast[(times <= newest - _TREND_BACK_S) & (times > newest - _TREND_BACK_S - 10.0) & np.isfinite(fast)]
        if len(recent) == 0 or len(before) == 0:
            return None
        return float(recent.mean() - before.mean())


def pauses(bed: BedState | None) -> str:
    """What is paused, with its countdown; empty where nothing is (clinical.md D6)."""
    if bed is None:
        return ""
    signals, said = bed.signals, []
    if signals.pain != "on":
        why = f" ({signals.reason})" if signals.reason else ""
        said.append(f"Pain alarms suspended{why} {_countdown(signals.pain_left_s)}")
    if signals.audio != "on":
        said.append(f"Sound paused {_countdown(signals.audio_left_s)}")
    if signals.delegates:
        said.append(f"Sound by {', '.join(signals.delegates)}")
    return " · ".join(said)


def _countdown(seconds: float) -> str:
    whole = math.ceil(seconds)
    return f"{whole // 60}:{whole % 60:02d}"


def _figure(value: float | None) -> str:
    return "--" if value is None else f"{value:.0f}"


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _rank(alarm: AlarmView) -> int:
    return _URGENCY.index(alarm.priority) if alarm.priority in _URGENCY else len(_URGENCY)


def _unseen(alarm: AlarmView) -> bool:
    return alarm.presence in ("on", "latched")


def _alarm_text(alarm: AlarmView, bed: BedState) -> str:
    """`** Severe pain: index 78 >= 70. Reassess pain, enter a score`: priority in signs, the deviation in numbers."""
    marks = _MARKS.get(alarm.priority, "*")
    state = {"ack": "  (acknowledged)", "latched": "  (over: acknowledge)"}.get(alarm.presence, "")
    limit = {"pain_severe": bed.limits.severe_on, "pain_moderate": bed.limits.moderate_on}.get(alarm.condition)
    title = words.ALARMS.get(alarm.condition)
    if limit is not None and title is not None:
        value = (bed.index.voted if bed.index.vote else bed.index.fast) if bed.index is not None else None
        if alarm.presence == "latched":
            said = f"{title} was shown: reassess pain, enter a score"
        elif value is None:
            said = f"{title}: reassess, enter a score"
        elif value < limit:  # it stands until the index has been low for a while: say so, lest the numbers contradict
            said = f"{title}: index now {value:.0f}, was above {limit:g}. Reassess pain, enter a score"
        else:
            said = f"{title}: index {value:.0f} (limit {limit:g}). Reassess pain, enter a score"
        return f"{marks} {said}{state}"
    causes = f" ({words.reasons(alarm.causes)})" if alarm.causes and title is not None else ""
    return f"{marks} {title or alarm.text}{causes}{state}"
