"""Reads a session database: one that was closed, one that was cut off, or one that an engine is writing now."""

from __future__ import annotations

import heapq
import json
import operator
import sqlite3
import uuid
import zlib
from collections.abc import Iterator
from dataclasses import MISSING, dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self, TypeVar

import numpy as np
from pydantic import ValidationError

from monitor.bundle import BundleSpec
from monitor.config import BedSettings
from monitor.errors import SessionError
from monitor.sessions.file import NOTICE, SessionMeta, StoredBundle
from monitor.sessions.rows import (
    APPLICATION_ID,
    EVENT_TABLES,
    SCHEMA_VERSION,
    Entry,
    RecordingGap,
    StreamOpened,
    Tick,
    columns,
    decode_real,
    decode_samples,
    decode_stamps,
)
from monitor.types import (
    AlarmAction,
    AlarmEvent,
    CalibrationEvent,
    Chunk,
    Command,
    Comparators,
    Event,
    Float32Array,
    FloatArray,
    Marker,
    PainIndex,
    Provenance,
    Score,
    StreamEvent,
    StreamInfo,
    WindowsSkipped,
)

_ADDED_TABLES: Final = frozenset({"alarm_action", "comparators"})
"""Tables that came after the first version of the schema: a session without them is whole."""

_E = TypeVar(
    "_E",
    Score,
    PainIndex,
    Comparators,
    AlarmEvent,
    AlarmAction,
    StreamEvent,
    CalibrationEvent,
    WindowsSkipped,
    Marker,
)

_CHUNK_COLUMNS = (
    "c.seq, s.key, c.n, c.channels, c.t_first, c.rate, c.residuals, c.packing, c.samples, "
    "c.arrival, c.lost, c.clock_offset"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredStream:
    """One stream of a session."""

    info: StreamInfo
    """As last announced."""
    opened: tuple[float, ...]
    """Stream clock of each announcement."""
    samples: int
    """Samples in the file, per channel."""
    lost: int
    """Samples that the source itself counted as lost."""


class SessionReader:
    """Opens a session read-only.

    Args:
        path: The database.

    Raises:
        SessionError: If it is missing, not a session, damaged, or written by a newer monitor. Reading may raise it
            later too, where damage lies deeper in the file.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._absent: set[str] = set()  # tables that the version which wrote this file did not have
        self._connection = _open(path)
        try:
            with self._reading():
                self.meta = self._read_meta()
                self._check_schema()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Release the file. May be called twice."""
        self._connection.close()

    # -- what the session is ----------------------------------------------------------------------------------------

    @property
    def closed_utc(self) -> float | None:
        """When the session was ended in order, in UTC; None where it still runs or was cut off."""
        with self._reading():
            row = self._connection.execute("SELECT value FROM meta WHERE key = 'closed_utc'").fetchone()
        return None if row is None else float(json.loads(row[0]))

    @property
    def unknown(self) -> frozenset[type[Event]]:
        """Kinds of events that the version which wrote the session did not have."""
        return frozenset(kind for kind, table in EVENT_TABLES.items() if table in self._absent)

    def bundles(self) -> tuple[StoredBundle, ...]:
        """Bundles in order of preference.

        Raises:
            SessionError: If a stored spec is not one that this monitor understands.
        """
        with self._reading():
            rows = self._connection.execute("SELECT name, spec, path FROM bundle ORDER BY rank").fetchall()
        try:
            return tuple(StoredBundle(spec=BundleSpec.model_validate_json(spec), path=path) for _, spec, path in rows)
        except ValidationError as error:
            names = ", ".join(name for name, _, _ in rows)
            raise SessionError(
                f"the description of its bundles ({names}) is of another kind: {error.errors()[0]['msg']}",
                where=str(self.path),
                todo="Read it with the version that wrote it: " + str(dict(self.meta.versions)),
            ) from error

    def streams(self) -> tuple[StoredStream, ...]:
        """Streams in the order of their first announcement."""
        opened: dict[str, list[StreamOpened]] = {}
        for entry in self._records("stream", StreamInfo, after=0, through=self.last_seq(), wrap=_opened):
            if isinstance(entry.item, StreamOpened):
                opened.setdefault(entry.item.info.key, []).append(entry.item)
        query = "SELECT s.key, sum(c.n), sum(c.lost) FROM chunk c JOIN stream s ON s.seq = c.stream GROUP BY s.key"
        with self._reading():
            counts = {key: (int(n), int(lost)) for key, n, lost in self._connection.execute(query)}
        return tuple(
            StoredStream(
                info=items[-1].info,
                opened=tuple(item.at for item in items if not item.restated),
                samples=counts.get(key, (0, 0))[0],
                lost=counts.get(key, (0, 0))[1],
            )
            for key, items in opened.items()
        )

    def origin(self) -> float | None:
        """Stream clock of `t_rel` = 0, as the first window counted it; None where there is no window."""
        with self._reading():
            row = self._connection.execute("SELECT t_end - t_rel FROM score ORDER BY seq LIMIT 1").fetchone()
        return None if row is None else float(row[0])

    def span(self) -> tuple[float, float] | None:
        """Stream clock of the earliest and the latest input; None where there is none."""
        query = "SELECT min(t), max(t) FROM (" + " UNION ALL ".join(
            f'SELECT min("{column}") AS t FROM "{table}" UNION ALL SELECT max("{column}") FROM "{table}"'
            for table, column in (("stream", "at"), ("chunk", "arrival"), ("command", "at"), ("tick", "now"))
        )
        with self._reading():
            first, last = self._connection.execute(query + ")").fetchone()
        return None if first is None else (float(first), float(last))

    # -- the log ----------------------------------------------------------------------------------------------------

    def last_seq(self) -> int:
        """Number of the last committed record; 0 where there is none."""
        tables = ("stream", "chunk", "command", "tick", "recording_gap", *EVENT_TABLES.values())
        tables = tuple(table for table in tables if table not in self._absent)
        query = "SELECT max(m) FROM (" + " UNION ALL ".join(f'SELECT max(seq) AS m FROM "{t}"' for t in tables) + ")"
        with self._reading():
            return int(self._connection.execute(query).fetchone()[0] or 0)

    def entries(self, *, after: int = 0) -> Iterator[Entry]:
        """Iterate over the log in its order, up to what is committed now, without holding it in memory.

        Args:
            after: Leave out records up to this number.
        """
        span = {"after": after, "through": self.last_seq()}
        return heapq.merge(
            self._records("stream", StreamInfo, wrap=_opened, **span),
            self._chunks("c.seq > ? AND c.seq <= ?", (span["after"], span["through"])),
            self._records("command", Command, **span),
            self._records("tick", Tick, **span),
            self._records("recording_gap", RecordingGap, **span),
            *(self._records(table, cls, **span) for cls, table in EVENT_TABLES.items()),
            key=operator.attrgetter("seq"),
        )

    def events(self, kind: type[_E]) -> Iterator[_E]:
        """Iterate over the events of one kind, e.g. `AlarmEvent`, in order."""
        for entry in self._records(EVENT_TABLES[kind], kind, after=0, through=self.last_seq()):
            if isinstance(entry.item, kind):
                yield entry.item

    def scores(self) -> Iterator[Score]:
        """Iterate over the scores in order."""
        return self.events(Score)

    def indices(self) -> Iterator[PainIndex]:
        """Iterate over the indices in order."""
        return self.events(PainIndex)

    def comparators(self) -> Iterator[Comparators]:
        """Iterate over the plain measures in order; sessions of older versions have none."""
        return self.events(Comparators)

    def recording_gaps(self) -> tuple[RecordingGap, ...]:
        """Spans that could not be written."""
        found = self._records("recording_gap", RecordingGap, after=0, through=self.last_seq())
        return tuple(entry.item for entry in found if isinstance(entry.item, RecordingGap))

    # -- signals ----------------------------------------------------------------------------------------------------

    def chunks(self, key: str) -> Iterator[Chunk]:
        """Iterate over the chunks of one stream, one in memory at a time."""
        query = "c.stream IN (SELECT seq FROM stream WHERE key = ?) AND c.seq <= ?"
        for entry in self._chunks(query, (key, self.last_seq())):
            if isinstance(entry.item, Chunk):
                yield entry.item

    def signal(self, key: str, *, start: float = -np.inf, end: float = np.inf) -> tuple[FloatArray, Float32Array]:
        """Read the samples of one stream with start <= stamp < end, in the order of their arrival.

        Returns:
            (n,) stamps in seconds on the stream clock, and (n,) or (n, channels) samples in the source's unit.
        """
        stamps, samples = [np.empty(0)], [np.empty(0, dtype=np.float32)]
        for chunk in self.chunks(key):
            inside = (chunk.stamps >= start) & (chunk.stamps < end)
            if inside.any():
                stamps.append(chunk.stamps[inside])
                samples.append(chunk.samples[inside])
        return np.concatenate(stamps), np.concatenate(samples[1:] or samples)

    # -- inside -----------------------------------------------------------------------------------------------------

    def _records(self, table: str, cls: type[Any], *, after: int, through: int, wrap: Any = None) -> Iterator[Entry]:
        """Rows of one table as entries. Columns that this file does not have yet take their field's default."""
        if table in self._absent:
            return
        with self._reading():
            present = [row[1] for row in self._connection.execute(f'PRAGMA table_info("{table}")')]
            cursor = self._connection.execute(
                f'SELECT * FROM "{table}" WHERE seq > ? AND seq <= ? ORDER BY seq', (after, through)
            )
            for row in cursor:
                values = dict(zip(present, row, strict=True))
                fields = {
                    column.name: column.codec.decode(values[column.name]) if column.name in values else column.default
                    for column in columns(cls)
                }
                item = cls(**fields)
                yield Entry(
                    seq=values["seq"],
                    item=wrap(item, values) if wrap else item,
                    external=bool(values.get("external", 0)),
                )

    def _chunks(self, where: str, arguments: tuple[object, ...]) -> Iterator[Entry]:
        query = f"SELECT {_CHUNK_COLUMNS} FROM chunk c JOIN stream s ON s.seq = c.stream WHERE {where} ORDER BY c.seq"
        with self._reading():
            for row in self._connection.execute(query, arguments):
                seq, key, n, channels, t_first, rate, residuals, packing, blob, arrival, lost, offset = row
                chunk = Chunk(
                    stream=key,
                    samples=decode_samples(packing, blob, n, channels),
                    stamps=decode_stamps(n, decode_real(t_first), rate, residuals),
                    arrival=decode_real(arrival),
                    lost=lost,
                    clock_offset=decode_real(offset),
                )
                yield Entry(seq=seq, item=chunk)

    def _reading(self) -> _Reading:
        return _Reading(self.path)

    def _read_meta(self) -> SessionMeta:
        connection = self._connection
        application, version = (
            connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("application_id", "user_version")
        )
        if application != APPLICATION_ID:
            raise SessionError(
                "this is an SQLite file, but not a session of this monitor",
                where=str(self.path),
                todo="Name a *.session.db file that pain-monitor wrote",
            )
        if version > SCHEMA_VERSION:
            raise SessionError(
                f"the session has schema {version}, this monitor reads up to {SCHEMA_VERSION}",
                where=str(self.path),
                todo="Read it with the version of pain-monitor that wrote it, or a newer one",
            )
        found: dict[str, str] = dict(connection.execute("SELECT key, value FROM meta"))
        plain = {key: json.loads(value) for key, value in found.items() if key != "settings"}
        return SessionMeta(
            session=uuid.UUID(plain["session"]),
            bed=plain["bed"],
            subject=plain["subject"],
            created_utc=plain["created_utc"],
            clock_offset=plain["clock_offset"],
            provenance=Provenance(plain["provenance"]),
            settings=self._settings(found["settings"]),
            continues=uuid.UUID(plain["continues"]) if plain.get("continues") else None,
            versions=plain["versions"],
            machine=plain["machine"],
            notice=plain.get("notice", NOTICE),
        )

    def _settings(self, stored: str) -> BedSettings:
        try:
            return BedSettings.model_validate_json(stored)
        except ValidationError as error:
            raise SessionError(
                f"its settings are not those of this version: {error.errors()[0]['loc']}: {error.errors()[0]['msg']}",
                where=str(self.path),
                todo="Read it with the version of pain-monitor that wrote it",
            ) from error

    def _check_schema(self) -> None:
        """Refuse a file whose tables lack a column that has no default."""
        tables = {"stream": StreamInfo, "command": Command, "tick": Tick, "recording_gap": RecordingGap}
        for table, cls in (*tables.items(), *((name, cls) for cls, name in EVENT_TABLES.items())):
            present = {row[1] for row in self._connection.execute(f'PRAGMA table_info("{table}")')}
            if not present and table in _ADDED_TABLES:
                self._absent.add(table)
                continue
            missing = [c.name for c in columns(cls) if c.name not in present and c.default is MISSING]
            if missing:
                raise SessionError(
                    f"table {table} has no column {', '.join(missing)}",
                    where=str(self.path),
                    todo="Read it with the version of pain-monitor that wrote it",
                )


class _Reading:
    """Turns what SQLite or a decoder says of a damaged file into a `SessionError`."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, (sqlite3.Error, KeyError, ValueError, TypeError, zlib.error)):
            raise SessionError(
                f"the session is damaged: {error}",
                where=str(self._path),
                todo="Take a copy from before; `sqlite3 FILE .recover` may save a part of this one",
            ) from error


def _opened(info: StreamInfo, values: dict[str, Any]) -> StreamOpened:
    return StreamOpened(info=info, at=values["at"], restated=bool(values["restated"]))


def _open(path: Path) -> sqlite3.Connection:
    if not path.is_file():
        raise SessionError("there is no such session", where=str(path), todo="Check the path")
    try:
        with path.open("rb") as file:
            head = file.read(16)
    except OSError as error:
        what = f"the session cannot be read ({error.strerror})"
        raise SessionError(what, where=str(path), todo="It is its recorder's alone: ask as that user") from error
    if head != b"SQLite format 3\x00":
        raise SessionError(
            "this is not a session", where=str(path), todo="Name a *.session.db file that pain-monitor wrote"
        )
    for options in ("mode=ro", "mode=ro&immutable=1"):
        # `immutable` is for a folder where SQLite may not make the index of the write-ahead log; sound only where
        # there is no such log whose content it would leave out.
        if "immutable" in options and path.with_name(path.name + "-wal").exists():
            break
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?{options}", uri=True, timeout=5.0)
        try:
            connection.execute("SELECT count(*) FROM sqlite_schema").fetchone()
        except sqlite3.OperationalError:
            connection.close()
        except (sqlite3.Error, ValueError) as error:
            # ValueError: SQLite's word on damage may quote bytes that are no text.
            connection.close()
            with _Reading(path):
                raise error
        else:
            return connection
    todo = "Check its permissions and those of its folder; where they are right, its beginning is damaged"
    raise SessionError("the session cannot be opened", where=str(path), todo=todo)
