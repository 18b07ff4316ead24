"""A session's stored scores and indices through the alarm manager once more, at its own or at other limits and delays.

Nothing is scored again: a point costs seconds a day. The method is the threshold and delay simulation of clinical.md
section 3. At the recorded settings the recorded alarms come again; `Replayed.differences` says where they do not. That
can happen where several bundles are watched (only the scoring one's signal quality is stored), where other alarm rules
made the session, and behind a span that was not recorded, which is left out.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from monitor.alarm import AlarmManager
from monitor.alarm.commands import carry_out
from monitor.alarm.limits import changed_limits
from monitor.config import AlarmSettings
from monitor.sessions.alarm_burden import Burden, Truth, burden
from monitor.sessions.file import current_versions
from monitor.sessions.reader import SessionReader
from monitor.sessions.rows import Entry, RecordingGap, StreamOpened, Tick
from monitor.sessions.verify import same_bits
from monitor.types import (
    AlarmAction,
    AlarmEvent,
    Chunk,
    Command,
    Comparators,
    PainIndex,
    Score,
    StreamEvent,
    StreamEventKind,
    StreamInfo,
)

_OFF_AT_LEAST = 5.0
"""Lowest limit at which a pain alarm may end, as in the configuration."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    index: PainIndex
    score: Score
    comparators: Comparators | None = None
    """None in sessions that were recorded without."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Time:
    now: float
    last_sample: float | None
    origin: float | None
    arrived: tuple[tuple[str, float], ...] = ()
    """(modality, arrival) of what came since the tick before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AlarmLog:
    """All of a session that its alarms follow from, and the alarms themselves."""

    steps: tuple[_Window | _Time | Command, ...]
    recorded: tuple[AlarmEvent | AlarmAction, ...]
    """What the session holds, up to the first span that was not recorded; only what followed from the log itself."""
    gap: RecordingGap | None
    closed: bool
    several_bundles: bool
    start: float
    end: float
    """Stream clock of the first and last input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """The alarms at the recorded settings, made again."""

    made: tuple[AlarmEvent | AlarmAction, ...]
    compared: int
    differences: tuple[str, ...]
    notes: tuple[str, ...]
    """What makes differences likely, or was left out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GridPoint:
    """The session at one combination of limits and delays."""

    moderate_on: float
    moderate_off: float
    moderate_after_s: float
    severe_on: float
    severe_after_s: float
    recorded: bool
    """Whether these are the settings that the session was recorded with."""
    burden: Burden | None
    refused: str = ""
    """Why these limits are not allowed together."""


def read_alarm_log(reader: SessionReader, *, progress: Callable[[float], None] | None = None) -> AlarmLog:
    """Read all that the alarms of a session follow from.

    Args:
        reader: The session.
        progress: Told the share that is done, 0 to 1.

    Raises:
        SessionError: If the session is damaged.
    """
    steps: list[_Window | _Time | Command] = []
    recorded: list[AlarmEvent | AlarmAction] = []
    arrivals = _Arrivals()
    due: _Time | None = None  # a tick is over once the windows that it decided are
    score: Score | None = None
    gap: RecordingGap | None = None
    first, last = reader.span() or (0.0, 0.0)
    whole = max(reader.last_seq(), 1)
    for entry in _own(reader.entries()):
        item = entry.item
        if isinstance(item, (StreamOpened, Chunk, Command, Tick, RecordingGap)) and due is not None:
            steps.append(due)
            due = None
        match item:
            case RecordingGap():
                gap, last = item, item.start
                break
            case Tick(now=now):
                due = _Time(now=now, last_sample=arrivals.last, origin=arrivals.origin, arrived=tuple(arrivals.since))
                arrivals.since.clear()
                if progress is not None:
                    progress(entry.seq / whole)
            case Command():
                steps.append(item)
            case Score():
                score = item
            case PainIndex() if score is not None:
                steps.append(_Window(index=item, score=score))
            case Comparators() if steps and isinstance(steps[-1], _Window):
                steps[-1] = dataclasses.replace(steps[-1], comparators=item)
            case AlarmEvent() | AlarmAction():
                recorded.append(item)
            case StreamEvent(kind=StreamEventKind.OPENED) if due is not None:
                arrivals.take(item)
                due = dataclasses.replace(due, origin=arrivals.origin)
            case _:
                arrivals.take(item)
    if due is not None:
        steps.append(due)
    return AlarmLog(
        steps=tuple(steps),
        recorded=tuple(recorded),
        gap=gap,
        closed=reader.closed_utc is not None,
        several_bundles=len(reader.bundles()) > 1,
        start=first,
        end=last,
    )


def _own(entries: Iterable[Entry]) -> Iterator[Entry]:
    """What is or follows from the log; not what the engine added from outside."""
    return (entry for entry in entries if not entry.external)


class _Arrivals:
    """When a stream that serves a model last brought something, and from where the bed counts its time."""

    def __init__(self) -> None:
        self.origin: float | None = None
        self.last: float | None = None
        self.since: list[tuple[str, float]] = []
        """(modality, arrival) since it was last cleared."""
        self._infos: dict[str, StreamInfo] = {}
        self._used: set[str] = set()

    def take(self, item: object) -> None:
        """Follow one record."""
        match item:
            case StreamOpened(info=info):
                self._infos[info.key] = info
            case StreamEvent(kind=StreamEventKind.REFUSED, stream=key):
                self._used.discard(key)
            case StreamEvent(kind=StreamEventKind.OPENED, stream=key, detail=detail) if key in self._infos:
                info = self._infos[key]
                if info.modality is not None and detail != (info.unused or "shown, serves no model"):
                    self._used.add(key)
                if info.origin is not None:
                    self.origin = info.origin
            case Chunk(stream=key, arrival=at) if key in self._used and len(item):
                self.last = at if self.last is None else max(self.last, at)
                self.origin = self.origin or 0.0  # where no stream names one, the clock's zero is the origin
                self.since.append((self._infos[key].modality or key, at))


def run_alarms(
    log: AlarmLog, reader: SessionReader, settings: AlarmSettings, *, limits: bool
) -> tuple[AlarmEvent | AlarmAction, ...]:
    """Feed the log to a fresh alarm manager.

    Args:
        log: What the alarms follow from.
        reader: Its session.
        settings: Limits and delays.
        limits: Whether users' changes of limits are made again too.
    """
    manager = AlarmManager(bed=reader.meta.bed, settings=settings, session=reader.meta.session)
    made: list[AlarmEvent | AlarmAction] = []
    for step in log.steps:
        match step:
            case _Window(index=index, score=score, comparators=comparators):
                watched = tuple({q.modality: q for q in score.quality}.values())
                made += manager.on_index(index, score, watched, comparators)
            case _Time(now=now, last_sample=last, origin=origin, arrived=arrived):
                for modality, at in arrived:
                    manager.arrived(modality, at)
                made += manager.on_tick(now, last, origin)
            case Command() if limits or step.action != "limits":
                made += carry_out(manager, step) or ()
    return tuple(made)


def reproduce(log: AlarmLog, reader: SessionReader, *, most: int = 10) -> Replayed:
    """Make the recorded alarms again at the recorded settings, and compare bit for bit.

    Args:
        log: What the alarms follow from.
        reader: Its session.
        most: Differences to put in words.
    """
    made = run_alarms(log, reader, reader.meta.settings.alarm, limits=True)
    words: list[str] = []
    compared = 0
    for old, new in itertools.zip_longest(log.recorded, made):
        if old is None:
            if log.closed and log.gap is None:
                words.append(f"{_name(new)} came now, but is not recorded")
        elif new is None:
            words.append(f"{_name(old)} is recorded, but did not come again")
        else:
            compared += 1
            if not same_bits(old, new):
                words.append(f"{_name(old)} is recorded, {_name(new)} came now{_unlike(old, new)}")
    return Replayed(made=made, compared=compared, differences=_shortened(words, most), notes=_notes(log, reader))


def _shortened(words: Sequence[str], most: int) -> tuple[str, ...]:
    more = (f"... and {len(words) - most} more",) if len(words) > most else ()
    return (*words[:most], *more)


def _name(item: AlarmEvent | AlarmAction) -> str:
    what = f"{item.condition} {item.presence}" if isinstance(item, AlarmEvent) else item.action
    return f"{what} at {item.t_rel:g} s"


def _unlike(old: AlarmEvent | AlarmAction, new: AlarmEvent | AlarmAction) -> str:
    if type(old) is not type(new):
        return ""
    names = [name for name in type(old).__slots__ if not same_bits(getattr(old, name), getattr(new, name))]
    return f" (unlike: {', '.join(names)})"


def _notes(log: AlarmLog, reader: SessionReader) -> tuple[str, ...]:
    notes = []
    rules = reader.meta.versions.get("alarm rules", "older ones")
    if rules != current_versions()["alarm rules"]:
        notes.append(f"Recorded by other alarm rules ({rules}), which this version does not have")
    if log.several_bundles:
        notes.append(
            "Several bundles: of the signals that only another than the scoring bundle reads no quality is stored, so "
            "technical alarms on them cannot come again"
        )
    if log.gap is not None:
        notes.append(f"Left out from {log.gap.start - log.start:.1f} s on, where records are missing: {log.gap.reason}")
    if not log.closed:
        notes.append("The session was not ended in order, or still runs: compared up to its last record")
    return tuple(notes)


def grid(
    log: AlarmLog,
    reader: SessionReader,
    *,
    moderate: Sequence[float],
    delays: Sequence[float],
    severe: Sequence[float] = (),
    severe_delays: Sequence[float] = (),
    truth: Truth | None = None,
    progress: Callable[[float], None] | None = None,
) -> tuple[GridPoint, ...]:
    """Simulate the session at every combination of limits and delays.

    Limits at which an alarm ends keep their recorded distance below those at which it begins. Acknowledgements, pauses
    and suspensions are made again at the times at which users asked for them; changes of limits are left out.

    Args:
        log: What the alarms follow from.
        reader: Its session.
        moderate: Index limits of moderate pain.
        delays: Seconds above them before the alarm.
        severe: Index limits of severe pain; none: the recorded one.
        severe_delays: Seconds above them; none: the recorded ones.
        truth: What the alarms are held against.
        progress: Told the share that is done, 0 to 1.
    """
    now = reader.meta.settings.alarm
    combinations = list(
        itertools.product(moderate, delays, severe or (now.severe_on,), severe_delays or (now.severe_after_s,))
    )
    own = (now.moderate_on, now.moderate_after_s, now.severe_on, now.severe_after_s)
    if own not in combinations:
        combinations.insert(0, own)
    points = []
    for done, values in enumerate(combinations):
        points.append(_point(log, reader, values, recorded=values == own, truth=truth))
        if progress is not None:
            progress((done + 1) / len(combinations))
    return tuple(points)


def _point(
    log: AlarmLog,
    reader: SessionReader,
    values: tuple[float, float, float, float],
    *,
    recorded: bool,
    truth: Truth | None,
) -> GridPoint:
    now = reader.meta.settings.alarm
    moderate, delay, severe, severe_delay = values
    changes = {
        "moderate_on": moderate,
        "moderate_off": max(_OFF_AT_LEAST, moderate - (now.moderate_on - now.moderate_off)),
        "moderate_after_s": delay,
        "severe_on": severe,
        "severe_off": max(_OFF_AT_LEAST, severe - (now.severe_on - now.severe_off)),
        "severe_after_s": severe_delay,
    }
    found, refused = None, ""
    try:
        settings = changed_limits(now, changes)
    except ValueError as error:
        refused = str(error)
    else:
        made = run_alarms(log, reader, settings, limits=False)
        found = burden(made, start=log.start, end=log.end, truth=truth)
    return GridPoint(
        moderate_on=moderate,
        moderate_off=changes["moderate_off"],
        moderate_after_s=delay,
        severe_on=severe,
        severe_after_s=severe_delay,
        recorded=recorded,
        burden=found,
        refused=refused,
    )
