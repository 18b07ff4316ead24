"""The session database: in one order, all that a bed's pipeline was given and all that it said.

One SQLite file a session, in WAL mode, which is why others may read it while it is written.

Inputs (streams, chunks, commands, ticks) and outputs (scores, indices, alarms, events, markers) share one counter,
`seq`. Feeding the inputs to a fresh pipeline must give the outputs again bit for bit (`monitor.sessions.verify`); for
that the writer stores every tick, also those that changed nothing: which ones matter is the pipeline's business.

A writer belongs to one thread at a time and never lets a storage fault reach its caller. With a full disk it stands
suspended, counts what it could not write, tries again every few seconds, and leaves a `recording_gap` in the log.
"""

from __future__ import annotations

import contextlib
import json
import logging
import math
import sqlite3
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from monitor.sessions.file import (
    NOTICE,
    SUFFIX,
    SessionMeta,
    StoredBundle,
    create_session,
    current_versions,
    in_words,
    list_sessions,
    session_path,
    state_folder,
)
from monitor.sessions.rows import (
    EVENT_TABLES,
    RecordingGap,
    SqlValue,
    StreamOpened,
    Tick,
    encode_real,
    encode_row,
    encode_samples,
    encode_stamps,
)
from monitor.types import Chunk, Command, Comparators, Event, PainIndex, Score, StreamInfo, WindowsSkipped

__all__ = [
    "NOTICE",
    "SUFFIX",
    "SessionMeta",
    "SessionWriter",
    "StoredBundle",
    "current_versions",
    "list_sessions",
    "session_path",
    "state_folder",
]

_log = logging.getLogger(__name__)


class _Row(NamedTuple):
    table: str
    values: tuple[SqlValue, ...]
    """The first one is `seq`."""
    t: float
    """Stream clock, for the span of a gap; NaN where the record has no time of its own."""
    samples: int = 0
    announces: str = ""
    """Key of the stream that a row of table `stream` announces."""


@dataclass(slots=True)
class _Lost:
    """What could not be written since the writer was suspended."""

    reason: str
    start: float = math.nan
    end: float = math.nan
    records: int = 0
    samples: int = 0

    def add(self, t: float, samples: int) -> None:
        self.records += 1
        self.samples += samples
        if not math.isnan(t):
            self.start = t if math.isnan(self.start) else min(self.start, t)
            self.end = t if math.isnan(self.end) else max(self.end, t)


class SessionWriter:
    """Writes one session. Use from one thread at a time.

    Args:
        path: A file that does not exist yet; its folder is made.
        meta: What the session is.
        bundles: In order of preference.
        commit_s: A transaction is committed once its first record is so old, at the next input.
        commit_records: Or once it holds so many records.
        retry_s: While suspended, how often to try again.
        monotonic: Clock of these intervals, in seconds.

    Raises:
        SessionError: If the file exists or cannot be made. After that nothing is ever raised for a storage fault.
    """

    def __init__(
        self,
        *,
        path: Path,
        meta: SessionMeta,
        bundles: Sequence[StoredBundle],
        commit_s: float = 0.5,
        commit_records: int = 2048,
        retry_s: float = 3.0,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.lost_records = 0
        """Records that could not be written, all in all."""
        self.lost_samples = 0
        self.problem = ""
        """Why recording is suspended, in words; empty while it is not."""
        self._commit_s = commit_s
        self._commit_records = commit_records
        self._retry_s = retry_s
        self._monotonic = monotonic
        self._seq = 0
        self._pending: list[_Row] = []
        self._pending_since = 0.0
        self._lost: _Lost | None = None
        self._retry_at = 0.0
        self._opened: dict[str, StreamOpened] = {}
        self._stream_seq: dict[str, int] = {}
        self._stored_streams: set[str] = set()
        self._first_index: dict[str, int] = {}
        self._connection: sqlite3.Connection | None = create_session(path, meta, bundles)

    # -- the log --------------------------------------------------------------------------------------------------

    @property
    def suspended(self) -> bool:
        """Whether records are being lost at present."""
        return self._lost is not None

    def stream(self, info: StreamInfo, at: float) -> None:
        """Take down that a stream was announced, before its first chunk and again after each reconnect."""
        self._commit_if_due()
        ready = self._ready(at)
        self._opened[info.key] = StreamOpened(info=info, at=at)
        self._stored_streams.discard(info.key)
        self._first_index.setdefault(info.key, 0)
        if ready:
            self._stream_seq[info.key] = self._append("stream", (at, 0, *encode_row(info)), at, announces=info.key)

    def chunk(self, chunk: Chunk) -> None:
        """Take down samples.

        Raises:
            ValueError: If the stream was never announced, which is a defect of the caller.
        """
        if chunk.stream not in self._opened:
            raise ValueError(f"chunk of stream {chunk.stream!r}, which was never announced to the session")
        self._commit_if_due()
        n, first_index = len(chunk), self._first_index[chunk.stream]
        self._first_index[chunk.stream] = first_index + n
        if not self._ready(chunk.arrival, n):  # before the packing, which would be for nothing
            return
        t_first, rate, residuals = encode_stamps(chunk.stamps, self._opened[chunk.stream].info.rate_hz)
        packing, blob = encode_samples(chunk.samples)
        channels = chunk.samples.shape[1] if chunk.samples.ndim == 2 else 0
        values = (
            *(self._stream_seq[chunk.stream], first_index, n, channels),
            *(encode_real(t_first), rate, residuals, packing, blob),
            *(encode_real(chunk.arrival), int(chunk.lost), encode_real(chunk.clock_offset)),
        )
        self._append("chunk", values, chunk.arrival, samples=n)

    def command(self, command: Command) -> None:
        """Take down a command that the pipeline was given."""
        self._commit_if_due()
        if self._ready(command.at):
            self._append("command", encode_row(command), command.at)

    def tick(self, now: float) -> None:
        """Take down that the pipeline was told the time."""
        self._commit_if_due()
        if self._ready(now):
            self._append("tick", encode_row(Tick(now=now)), now)

    def events(self, events: Iterable[Event], *, external: bool = False) -> None:
        """Take down what came of the last input.

        Args:
            events: In the order in which the pipeline returned them.
            external: They were reported by a source and not by the pipeline, so that a replay will not repeat them.
        """
        for event in events:
            t = _time_of(event)
            if self._ready(t):
                self._append(EVENT_TABLES[type(event)], (int(external), *encode_row(event)), t)

    def gap(self, *, start: float, end: float, records: int, samples: int, reason: str) -> None:
        """Take down that records were lost before they reached the writer (its queue was full)."""
        self.lost_records += records
        self.lost_samples += samples
        lost = RecordingGap(start=start, end=end, records=records, samples=samples, reason=reason)
        if self._ready(start):
            self._append("recording_gap", encode_row(lost), start)

    def flush(self) -> None:
        """Commit what is pending; while suspended, go on if that has become possible and a retry is due."""
        if self._lost is not None:
            self._resume()
        self._commit()

    def close(self) -> None:
        """Commit, mark the session as complete, and leave one file without a write-ahead log. May be called twice."""
        connection = self._connection
        if connection is None:
            return
        self._retry_at = -math.inf
        self.flush()
        self._connection = None
        try:
            if self._lost is None:
                connection.execute("INSERT OR REPLACE INTO meta VALUES ('closed_utc', ?)", (json.dumps(time.time()),))
            # Refused while somebody reads: then the write-ahead log stays beside the file, which is just as good.
            connection.execute("PRAGMA busy_timeout = 200")
            connection.execute("PRAGMA journal_mode = DELETE")
        except sqlite3.Error as error:
            _log.info("session %s is closed, its write-ahead log stays: %s", self.path, error)
        finally:
            connection.close()

    # -- storage --------------------------------------------------------------------------------------------------

    def _ready(self, t: float, samples: int = 0) -> bool:
        """Whether a record can be taken; if not it is counted as lost.

        Raises:
            ValueError: If the session is closed.
        """
        if self._connection is None:
            raise ValueError(f"session {self.path} is closed")
        if self._lost is None or self._resume():
            return True
        self._seq += 1  # a hole in the log's numbers shows that something is missing
        self._count_lost(self._lost, t, samples)
        return False

    def _append(
        self, table: str, values: tuple[SqlValue, ...], t: float, *, samples: int = 0, announces: str = ""
    ) -> int:
        if not self._pending:
            self._pending_since = self._monotonic()
        self._seq += 1
        self._pending.append(_Row(table, (self._seq, *values), float(t), samples, announces))
        return self._seq

    def _commit_if_due(self) -> None:
        # Only in front of an input, so that an input and what came of it are stored together or not at all.
        if self._pending and (
            len(self._pending) >= self._commit_records or self._monotonic() - self._pending_since >= self._commit_s
        ):
            self._commit()

    def _commit(self) -> None:
        rows, self._pending = self._pending, []
        if not rows:
            return
        try:
            self._write(rows)
        except sqlite3.Error as error:
            self._suspend(error, rows)

    def _write(self, rows: Sequence[_Row]) -> None:
        """Write rows in one transaction, all or none."""
        connection = self._connection
        if connection is None:
            raise ValueError(f"session {self.path} is closed")
        try:
            connection.execute("BEGIN IMMEDIATE")
            for row in rows:
                marks = ",".join("?" * len(row.values))
                connection.execute(f'INSERT INTO "{row.table}" VALUES ({marks})', row.values)
            connection.execute("COMMIT")
        except sqlite3.Error:
            with contextlib.suppress(sqlite3.Error):  # a full disk may have rolled back already
                connection.execute("ROLLBACK")
            raise
        self._stored_streams.update(row.announces for row in rows if row.announces)

    def _suspend(self, error: sqlite3.Error, rows: Sequence[_Row]) -> None:
        self.problem = in_words(error)
        self._lost = _Lost(reason=self.problem)
        self._retry_at = self._monotonic() + self._retry_s
        for row in rows:
            self._count_lost(self._lost, row.t, row.samples)
        _log.error("recording of session %s is suspended: %s", self.path, self.problem)

    def _resume(self) -> bool:
        """Try to go on: write the gap, and the streams whose announcement it swallowed."""
        lost = self._lost
        if lost is None:
            return True
        if self._monotonic() < self._retry_at:
            return False
        values = encode_row(
            RecordingGap(start=lost.start, end=lost.end, records=lost.records, samples=lost.samples, reason=lost.reason)
        )
        rows = [_Row("recording_gap", (self._seq + 1, *values), lost.start)]
        again = [opened for key, opened in self._opened.items() if key not in self._stored_streams]
        for seq, opened in enumerate(again, self._seq + 2):
            key = opened.info.key
            rows.append(_Row("stream", (seq, opened.at, 1, *encode_row(opened.info)), opened.at, announces=key))
        try:
            self._write(rows)
        except sqlite3.Error as error:
            self.problem = lost.reason = in_words(error)
            self._retry_at = self._monotonic() + self._retry_s
            return False
        self._seq += len(rows)
        self._stream_seq.update({row.announces: int(str(row.values[0])) for row in rows if row.announces})
        self._lost, self.problem = None, ""
        _log.warning(
            "recording of session %s goes on; %d records over %.1f s are lost",
            *(self.path, lost.records, lost.end - lost.start),
        )
        return True

    def _count_lost(self, lost: _Lost, t: float, samples: int) -> None:
        lost.add(t, samples)
        self.lost_records += 1
        self.lost_samples += samples


def _time_of(event: Event) -> float:
    if isinstance(event, WindowsSkipped):
        return math.nan
    if isinstance(event, Score):
        return event.decided_at
    return event.t_end if isinstance(event, PainIndex | Comparators) else event.t
