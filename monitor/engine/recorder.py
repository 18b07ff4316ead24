"""The store thread: takes the beds' steps off the pipeline thread and writes them to their session databases.

The pipeline thread never waits for a disk. Its steps go into one bounded queue; when that is full recording pauses
until half of it has been written, and the span that is missing is counted, shown, and written into the session.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol, TypeAlias

from monitor.alarm import MODEL_FAULT
from monitor.engine.journal import SessionStart
from monitor.engine.resume import ResumeNote, remove_note, touch_note, write_note
from monitor.errors import MonitorError
from monitor.sessions.rows import Input, StreamOpened, Tick
from monitor.types import AlarmEvent, CalibrationEvent, Chunk, Command, Event, Presence, StreamInfo

_LOGGER = logging.getLogger(__name__)

_TOUCH_S: Final = 5.0
_IDLE_S: Final = 1.0
"""What is pending is committed when nothing has come for so long: the next thing may never come."""
_BATCH: Final = 512


class Writer(Protocol):
    """What the recorder asks of a session database; see `monitor.sessions.store.SessionWriter`."""

    path: Path
    lost_records: int
    lost_samples: int
    problem: str

    def stream(self, info: StreamInfo, at: float) -> None: ...  # noqa: D102
    def chunk(self, chunk: Chunk) -> None: ...  # noqa: D102
    def command(self, command: Command) -> None: ...  # noqa: D102
    def tick(self, now: float) -> None: ...  # noqa: D102
    def events(self, events: Sequence[Event], *, external: bool = False) -> None: ...  # noqa: D102
    def gap(self, *, start: float, end: float, records: int, samples: int, reason: str) -> None: ...  # noqa: D102
    def flush(self) -> None: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


WriterFactory: TypeAlias = Callable[[SessionStart], Writer]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Step:
    bed: str
    step: Input | None
    events: Sequence[Event]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _End:
    bed: str


@dataclass(slots=True, kw_only=True, eq=False)
class _Gap:
    """A span of one bed that did not fit into the queue."""

    bed: str
    start: float
    end: float
    records: int = 0
    samples: int = 0


_Entry: TypeAlias = SessionStart | _Step | _End | _Gap


@dataclass(slots=True, eq=False)
class _Session:
    """A session that the store thread writes."""

    start: SessionStart
    writer: Writer | None
    problem: str = ""
    baseline: dict[str, tuple[float, float, float]] = field(default_factory=dict)
    alarms: dict[str, AlarmEvent] = field(default_factory=dict)
    """Those that stand, by condition, as its pipeline said them."""
    fault: AlarmEvent | None = None
    """That the pipeline failed, which it cannot say itself."""


class Recorder:
    """Journal of all beds, with a thread of its own. Its journal methods never wait and never raise.

    Args:
        run: Folder of locks and sockets, for the notes of running sessions.
        capacity: Steps that may wait for the disk.
        open_writer: Makes the database of a session; None to record nothing.
    """

    def __init__(self, *, run: Path, capacity: int, open_writer: WriterFactory | None) -> None:
        self._run_dir = run
        self._capacity = capacity
        self._open_writer = open_writer
        self._condition = threading.Condition()
        self._queue: deque[_Entry] = deque()
        self._paused = False
        self._missing: dict[str, _Gap] = {}
        self._stopping = False
        self._urgent = False
        self._sessions: dict[str, _Session] = {}
        self._touched = 0.0
        self._thread = threading.Thread(target=self._run, name="store", daemon=True)

    # -- journal, on the pipeline thread ------------------------------------------------------------------------------

    def begin(self, start: SessionStart) -> None:
        """See `Journal`."""
        with self._condition:
            self._put(start)

    def log(self, bed: str, step: Input | None, events: Sequence[Event]) -> None:
        """See `Journal`."""
        entry = _Step(bed=bed, step=step, events=events)
        with self._condition:
            if self._paused and len(self._queue) <= self._capacity // 2:
                self._paused = False
                self._close_gaps()
                _LOGGER.warning("recording goes on")
            elif not self._paused and len(self._queue) >= self._capacity:
                self._paused = True
                _LOGGER.error("recording pauses: %d records wait for the disk", len(self._queue))
            # Samples are what fills the queue. A stream's announcement is needed to read whatever follows.
            if self._paused and not isinstance(step, StreamOpened):
                self._miss(entry)
            else:
                self._put(entry)

    def end(self, bed: str) -> None:
        """See `Journal`."""
        with self._condition:
            self._put(_End(bed=bed))

    # -- from any thread ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start writing."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Write what waits, close every session, and end; whether that took at most `timeout` seconds."""
        with self._condition:
            self._stopping = True
            self._condition.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def hurry(self) -> None:
        """Commit what has come so far; `waiting` is 0 once that is done. Never waits."""
        with self._condition:
            self._urgent = True
            self._condition.notify_all()

    @property
    def waiting(self) -> int:
        """Records that wait for the disk."""
        with self._condition:
            return len(self._queue) + self._urgent

    def status(self, bed: str) -> dict[str, Any]:
        """How the recording of a bed stands, in plain values."""
        session = self._sessions.get(bed)
        writer = session.writer if session else None  # the thread that writes may take it away meanwhile
        if writer is None:
            return {"path": None, "problem": session.problem if session else "", "lost_records": 0, "lost_samples": 0}
        with self._condition:
            waiting = self._missing.get(bed)
        pending = (waiting.records, waiting.samples) if waiting else (0, 0)
        return {
            "path": str(writer.path),
            "problem": "the disk is too slow" if self._paused else writer.problem,
            "lost_records": writer.lost_records + pending[0],
            "lost_samples": writer.lost_samples + pending[1],
        }

    # -- queue, with the condition held -------------------------------------------------------------------------------

    def _put(self, entry: _Entry) -> None:
        if not isinstance(entry, _Step) or isinstance(entry.step, StreamOpened):
            self._close_gaps()
        self._queue.append(entry)
        self._condition.notify()

    def _miss(self, entry: _Step) -> None:
        at = _time_of(entry)
        gap = self._missing.get(entry.bed)
        if gap is None:
            gap = self._missing[entry.bed] = _Gap(bed=entry.bed, start=at, end=at)
        samples = len(entry.step) if isinstance(entry.step, Chunk) else 0
        records = len(entry.events) + (entry.step is not None)
        gap.records += records
        gap.samples += samples
        gap.end = max(gap.end, at)

    def _close_gaps(self) -> None:
        self._queue.extend(self._missing.values())
        self._missing.clear()

    # -- store thread -------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        while (batch := self._take()) is not None:
            for entry in batch:
                bed = entry.bed.name if isinstance(entry, SessionStart) else entry.bed
                self._guarded(bed, lambda bed=bed, entry=entry: self._write(bed, entry))  # type: ignore[misc]
            if not batch:
                for bed, session in list(self._sessions.items()):
                    if session.writer is not None:
                        self._guarded(bed, session.writer.flush)
                with self._condition:
                    self._urgent = self._urgent and bool(self._queue)
            self._touch()
        for bed in list(self._sessions):
            self._close(bed)

    def _guarded(self, bed: str, write: Callable[[], None]) -> None:
        try:
            write()
        except Exception as error:  # a dead store must not end scoring; the bed goes on unrecorded
            _LOGGER.exception("bed %s: recording failed and stays off until the next session", bed)
            self._abandon(bed, f"{type(error).__name__}: {error}")

    def _take(self) -> list[_Entry] | None:
        """The next entries, in order; none when nothing has come for a while; None when the recorder is to end."""
        with self._condition:
            if not self._queue and not self._stopping and not self._urgent:
                self._condition.wait(_IDLE_S)
            if not self._queue and self._stopping:
                return None
            return [self._queue.popleft() for _ in range(min(len(self._queue), _BATCH))]

    def _write(self, bed: str, entry: _Entry) -> None:
        if isinstance(entry, SessionStart):
            self._begin(bed, entry)
            return
        session = self._sessions.get(bed)
        if session is None:
            return
        if isinstance(entry, _End):
            self._close(bed)
            self._note(lambda: remove_note(self._run_dir, bed))
            return
        if isinstance(entry, _Step):
            self._keep_state(bed, session, entry)
        if session.writer is None:
            return
        if isinstance(entry, _Gap):
            session.writer.gap(
                start=entry.start,
                end=entry.end,
                records=entry.records,
                samples=entry.samples,
                reason="the disk was too slow",
            )
            return
        match entry.step:
            case Chunk() as chunk:
                session.writer.chunk(chunk)
            case Tick(now=now):
                session.writer.tick(now)
            case StreamOpened(info=info, at=at):
                session.writer.stream(info, at)
            case Command() as command:
                session.writer.command(command)
        session.writer.events(entry.events, external=entry.step is None)

    def _begin(self, bed: str, start: SessionStart) -> None:
        self._close(bed)
        session = self._sessions[bed] = _Session(start=start, writer=None)
        self._write_note(bed, session)
        if self._open_writer is None:
            return
        try:
            session.writer = self._open_writer(start)
        except MonitorError as error:
            session.problem = str(error)
            _LOGGER.error("bed %s is monitored, but not recorded: %s", bed, error)

    def _close(self, bed: str) -> None:
        session = self._sessions.pop(bed, None)
        if session is not None and session.writer is not None:
            session.writer.close()

    def _abandon(self, bed: str, problem: str) -> None:
        session = self._sessions.get(bed)
        if session is None:
            return
        writer, session.writer, session.problem = session.writer, None, problem
        if writer is not None:
            try:
                writer.close()
            except Exception:  # as in _run
                _LOGGER.exception("bed %s: the session database could not be closed", bed)

    # -- the note of the running session ------------------------------------------------------------------------------

    def _keep_state(self, bed: str, session: _Session, entry: _Step) -> None:
        """Put into the note what the next process needs: the calibration, and the alarms that stand."""
        changed = False
        for event in entry.events:
            if isinstance(event, CalibrationEvent):
                baseline = dict(event.baseline)
                changed |= baseline != session.baseline
                session.baseline = baseline
            elif isinstance(event, AlarmEvent):
                changed = True
                present = event.presence is not Presence.OFF
                if entry.step is None and event.condition == MODEL_FAULT:
                    session.fault = event if present else None
                elif present:
                    session.alarms[event.condition] = event
                else:
                    session.alarms.pop(event.condition, None)
        if changed:
            self._write_note(bed, session)

    def _write_note(self, bed: str, session: _Session) -> None:
        start = session.start
        note = ResumeNote(
            session=start.session,
            subject=start.bed.subject,
            baseline=dict(session.baseline),
            alarms=tuple(session.alarms.values()),
            fault=session.fault,
            utc_offset=start.utc - start.at,
        )
        self._note(lambda: write_note(self._run_dir, bed, note))

    def _touch(self) -> None:
        if time.monotonic() - self._touched >= _TOUCH_S:
            self._touched = time.monotonic()
            for bed in self._sessions:
                self._note(lambda bed=bed: touch_note(self._run_dir, bed))  # type: ignore[misc]

    def _note(self, act: Callable[[], None]) -> None:
        try:
            act()
        except OSError as error:  # costs calibration and standing alarms after a failure, and nothing now
            _LOGGER.warning("the note of the running session cannot be kept: %s", error)


def _time_of(entry: _Step) -> float:
    match entry.step:
        case Chunk(arrival=at) | Tick(now=at) | Command(at=at) | StreamOpened(at=at):
            return at
    return float("nan")
