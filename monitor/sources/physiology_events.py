"""What happens to a synthetic patient: painful stimuli, and confounders that are not pain; and endless schedules.

The stimuli follow the two experimental paradigms in use: phasic heat with plateaus of 4 s and pauses of 8-12 s
(Walter et al. 2013, The BioVid heat pain database, IEEE CYBCO, 128-131), and tonic pain of a minute and more
(Gruss et al. 2019, Multi-modal signals for analyzing pain responses to thermal and electrical stimuli, JoVE 146,
e59057).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from operator import attrgetter
from typing import Final, Generic, Literal, Protocol, TypeVar

import numpy as np

from monitor.errors import MonitorError
from monitor.sources.physiology_entries import Range
from monitor.sources.physiology_population import Population, load_population
from monitor.sources.physiology_random import Purpose, generator

PHASIC_PLATEAU_S: Final = 4.0
TONIC_MIN_S: Final = 30.0
TONIC_MAX_S: Final = 900.0
LONGEST_PHASIC_S: Final = 10.0
"""An episode longer than this is tonic: skin conductance has begun to fade by then."""

ConfounderKind = Literal["movement", "effort", "startle"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PainEpisode:
    """One painful stimulus.

    Raises:
        MonitorError: If the level lies outside 0..1, the duration is not positive, or the onset precedes zero.
    """

    onset_s: float
    """Seconds from the patient's zero."""
    duration_s: float
    level: float
    """Strength of the stimulus, 0 none to 1 the strongest that is tolerated."""

    def __post_init__(self) -> None:
        _check_span("pain episode", self.onset_s, self.duration_s)
        if not 0.0 <= self.level <= 1.0:
            raise MonitorError(
                f"level {self.level:g} lies outside 0..1",
                where=f"pain episode at {self.onset_s:g} s",
                todo="Give 0 for no pain, 0.5 for moderate, 1 for severe",
            )

    @classmethod
    def phasic(cls, onset_s: float, level: float) -> PainEpisode:
        """A plateau of 4 s."""
        return cls(onset_s=onset_s, duration_s=PHASIC_PLATEAU_S, level=level)

    @classmethod
    def tonic(cls, onset_s: float, duration_s: float, level: float) -> PainEpisode:
        """Lasting pain of 30 s to 15 min.

        Raises:
            MonitorError: If the duration lies outside that range.
        """
        if not TONIC_MIN_S <= duration_s <= TONIC_MAX_S:
            raise MonitorError(
                f"tonic pain of {duration_s:g} s lies outside {TONIC_MIN_S:g}..{TONIC_MAX_S:g} s",
                where=f"pain episode at {onset_s:g} s",
            )
        return cls(onset_s=onset_s, duration_s=duration_s, level=level)

    @property
    def kind(self) -> Literal["phasic", "tonic"]:
        """`phasic` up to 10 s, `tonic` beyond."""
        return "phasic" if self.duration_s <= LONGEST_PHASIC_S else "tonic"

    @property
    def end_s(self) -> float:
        """First instant after the stimulus."""
        return self.onset_s + self.duration_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Confounder:
    """Something that moves the signals and is not pain; its true pain level is zero.

    Raises:
        MonitorError: If the kind is unknown, the strength lies outside 0..2, or the span is impossible.
    """

    kind: ConfounderKind
    """`movement` of a limb or the trunk, muscular `effort` such as a hand grip, or a `startle`."""
    onset_s: float
    duration_s: float
    strength: float
    """1 is typical."""

    def __post_init__(self) -> None:
        _check_span(self.kind, self.onset_s, self.duration_s)
        if self.kind not in ("movement", "effort", "startle"):
            raise MonitorError(f"there is no confounder '{self.kind}'", todo="Write movement, effort or startle")
        if not 0.0 <= self.strength <= 2.0:
            raise MonitorError(
                f"strength {self.strength:g} lies outside 0..2", where=f"{self.kind} at {self.onset_s:g} s"
            )

    @property
    def end_s(self) -> float:
        """First instant after it."""
        return self.onset_s + self.duration_s


def _check_span(what: str, onset_s: float, duration_s: float) -> None:
    if not (0.0 <= onset_s < np.inf and 0.0 < duration_s < np.inf):
        raise MonitorError(
            f"onset {onset_s:g} s with duration {duration_s:g} s is no span of time",
            where=what,
            todo="Give an onset of 0 or later and a positive, finite duration",
        )


class _Happening(Protocol):
    """Anything with an onset and an end."""

    @property
    def onset_s(self) -> float: ...

    @property
    def duration_s(self) -> float: ...


H = TypeVar("H", bound=_Happening)
_ONSET: Final = attrgetter("onset_s")


class Schedule(Generic[H]):
    """Events in the order of their onsets, drawn from an endless iterator only as far as somebody looked.

    Args:
        events: Events with non-decreasing onsets; may be endless.
    """

    def __init__(self, events: Iterator[H]) -> None:
        self._source: Iterator[H] = events
        self._drawn: list[H] = []
        self._exhausted = False
        self._longest_s = 0.0

    def until(self, t: float) -> Sequence[H]:
        """All events with an onset before `t`, in order of onset."""
        while not self._exhausted and (not self._drawn or self._drawn[-1].onset_s < t):
            event = next(self._source, None)
            if event is None:
                self._exhausted = True
            else:
                self._drawn.append(event)
                self._longest_s = max(self._longest_s, event.duration_s)
        return self._drawn[: bisect_left(self._drawn, t, key=_ONSET)]

    def overlapping(self, start: float, stop: float, memory_s: float = 0.0) -> list[tuple[int, H]]:
        """Events, with their numbers, that begin before `stop` and end at most `memory_s` before `start`."""
        past = self.until(stop)
        first = bisect_left(past, start - memory_s - self._longest_s, key=_ONSET)
        return [
            (number, event)
            for number, event in enumerate(past[first:], start=first)
            if event.onset_s + event.duration_s + memory_s >= start
        ]


def fixed_schedule(events: Sequence[H]) -> Schedule[H]:
    """A schedule of exactly these events."""
    return Schedule(iter(sorted(events, key=_ONSET)))


def endless_pain(seed: int, rest_s: float, population: Population | None = None) -> Iterator[PainEpisode]:
    """Seeded pain without end: trains of phasic plateaus and spells of tonic pain, with rests between them.

    Levels are moderate and severe in equal shares. Three in four turns are a train of two to five plateaus with pauses
    of 8-12 s; the others are tonic, 30 s to 15 min with a median near 70 s. Each turn is followed by 25-60 s of rest.

    Args:
        seed: The patient's seed.
        rest_s: Seconds without pain at the start, for calibration.
        population: Whose schedules they are; None for the default.
    """
    rng = generator(seed, Purpose.SCHEDULE)
    endless = (population or load_population()).endless
    pause, tonic, rest, levels = endless.pause_s, endless.tonic_s, endless.rest_s, endless.levels.values
    t = rest_s
    while True:
        if rng.random() < endless.phasic_share.value:
            for _ in range(int(rng.integers(int(endless.train.low), int(endless.train.high) + 1))):
                yield PainEpisode.phasic(t, float(rng.choice(levels)))
                t += PHASIC_PLATEAU_S + float(rng.uniform(pause.low, pause.high))
        else:
            duration = tonic.low * (tonic.high / tonic.low) ** (float(rng.random()) ** 2)
            yield PainEpisode.tonic(t, duration, float(rng.choice(levels)))
            t += duration
        t += float(rng.uniform(rest.low, rest.high))


def endless_confounders(seed: int, population: Population | None = None) -> Iterator[Confounder]:
    """Seeded confounders without end, one each 30-120 s: half movements, a quarter each of effort and startle.

    Args:
        seed: The patient's seed.
        population: Whose confounders they are; None for the default.
    """
    rng = generator(seed, Purpose.CONFOUNDERS)
    endless = (population or load_population()).endless
    movement_share, effort_share = endless.movement_share.value, endless.effort_share.value

    def within(entry: Range) -> float:
        return float(rng.uniform(entry.low, entry.high))

    t = 10.0
    while True:
        t += within(endless.confounder_gap_s)
        strength = within(endless.confounder_strength)
        draw = float(rng.random())
        if draw < movement_share:
            duration = within(endless.movement_s)
            yield Confounder(kind="movement", onset_s=t, duration_s=duration, strength=strength)
        elif draw < movement_share + effort_share:
            duration = within(endless.effort_s)
            yield Confounder(kind="effort", onset_s=t, duration_s=duration, strength=strength)
        else:
            duration = endless.startle_s.low
            yield Confounder(kind="startle", onset_s=t, duration_s=duration, strength=strength)
        t += duration
