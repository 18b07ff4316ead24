"""Alarms on their way to somebody who may be away: none is lost, none is counted twice, and a restart forgets nothing.

Every transition waits in a small database until it has been taken. It bears an `id`, the same at every attempt, and a
number `seq` in the `series` of its box, so that a receiver sees doubles by the one and gaps by the other. Where the
database cannot be written (disk full), what waits is kept in memory, that is said, and it is written when it can be.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import sqlite3
import threading
import uuid
from collections import deque
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from monitor.types import Presence

_LOGGER = logging.getLogger(__name__)

CAPACITY: Final = 1024
"""Transitions that may wait: an alarm every half minute for more than eight hours."""
RESTARTED: Final = "The monitor was started anew; whether this still holds is not known yet."

_SPACE: Final = uuid.UUID("0b9a6f0e-6d0c-5f0e-8a53-3a0f9c1f7a11")
_TABLES: Final = (
    "CREATE TABLE IF NOT EXISTS box (series TEXT NOT NULL, next INTEGER NOT NULL)",
    "CREATE TABLE IF NOT EXISTS waiting (seq INTEGER PRIMARY KEY, content TEXT NOT NULL)",
    "CREATE TABLE IF NOT EXISTS newest (condition TEXT PRIMARY KEY, content TEXT NOT NULL)",
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Letter:
    """One transition of a condition, or one action on alarms."""

    condition: str
    """Empty for an action."""
    message: Mapping[str, Any]
    """What is sent, with `id`, `series` and `seq`."""

    @property
    def seq(self) -> int:
        """Its number in the series."""
        return int(self.message["seq"])


def delivery_id(message: Mapping[str, Any]) -> str:
    """Name of one transition: the same at every attempt and after a restart, so that a receiver counts it once.

    Args:
        message: Without `id`, `series` and `seq`.
    """
    return str(uuid.uuid5(_SPACE, f"{message.get('event_id', '')}/{json.dumps(message, sort_keys=True)}"))


class AlarmBox:
    """What waits, oldest first, and the newest word on each condition. Any thread may call it.

    Args:
        path: Its database, of mode 0600; the folder must exist by the time of `load`. None: in memory only.
        receiver: Who it is for, in words.
        capacity: Transitions that may wait; beyond it the oldest is given up and counted, one that a newer one of its
            condition has overtaken before any other.
    """

    def __init__(self, path: Path | None, *, receiver: str, capacity: int = CAPACITY) -> None:
        self._path = path
        self._receiver = receiver
        self._capacity = capacity
        self._lock = threading.RLock()
        self._waiting: deque[Letter] = deque()
        self._newest: dict[str, Letter] = {}
        self._series, self._next = uuid.uuid4().hex, 1
        self._database: sqlite3.Connection | None = None
        self._loaded = path is None
        self._early: list[Mapping[str, Any]] = []
        self.given_up = 0
        """Transitions that were never delivered."""
        self.unsaved = False
        """The database is older than what waits."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def conditions(self) -> frozenset[str]:
        """Conditions of which anything was ever said."""
        with self._lock:
            return frozenset(self._newest)

    def load(self, utc: float, still: Collection[str] = ()) -> None:
        """Take up what the process before left, once: what waits, and an end to every alarm that is over by that.

        Args:
            utc: Now; the time of those ends.
            still: Event ids that this process has taken over: these alarms go on.
        """
        with self._lock:
            if self._path is not None and self._database is None:
                self._open()
            if self._loaded:
                return
            self._loaded = True
            for letter in list(self._newest.values()):
                message = letter.message
                if message["presence"] != Presence.OFF.value and message.get("event_id") not in still:
                    self.put(ending(message, utc))
            for message in self._early:  # what this process has said by now comes last
                self.put(message)
            self._early.clear()

    def put(self, message: Mapping[str, Any]) -> None:
        """Add a transition, which has a `condition`, or an action, which has none (`monitor.outputs.mqtt_messages`)."""
        with self._lock:
            if not self._loaded:
                self._early.append(dict(message))
                return
            content = dict(message)
            numbered = {**content, "id": delivery_id(content), "series": self._series, "seq": self._next}
            letter = Letter(condition=str(content.get("condition", "")), message=numbered)
            self._next += 1
            self._waiting.append(letter)
            changes: list[tuple[str, tuple[Any, ...]]] = []
            changes.append(("INSERT INTO waiting VALUES (?, ?)", (letter.seq, _text(letter))))
            changes.append(("UPDATE box SET next = ?", (self._next,)))
            if letter.condition:
                self._newest[letter.condition] = letter
                changes.append(("INSERT OR REPLACE INTO newest VALUES (?, ?)", (letter.condition, _text(letter))))
            changes += [("DELETE FROM waiting WHERE seq = ?", (old.seq,)) for old in self._bound()]
            self._save(changes)

    def first(self) -> Letter | None:
        """The oldest that waits."""
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def done(self, letter: Letter, *, delivered: bool = True) -> None:
        """It need not wait any longer: the receiver has it, or will never take it."""
        with self._lock:
            if letter not in self._waiting:
                return
            self._waiting.remove(letter)
            self.given_up += not delivered
            self._save([("DELETE FROM waiting WHERE seq = ?", (letter.seq,))])

    def repeat(self) -> None:
        """The receiver may have forgotten: the newest word on each condition is due again, behind what still waits.

        It waits in memory: after a restart there is a new connection, and so another repetition.
        """
        with self._lock:
            for letter in self._newest.values():
                if letter not in self._waiting:
                    self._waiting.append(letter)

    def close(self) -> None:
        """Close the database; what waits stays in it. `load` opens it again. May be called twice."""
        with self._lock:
            database, self._database = self._database, None
            if database is not None:
                with contextlib.suppress(sqlite3.Error):
                    database.close()

    # -- what overflows, and the database -----------------------------------------------------------------------------

    def _bound(self) -> list[Letter]:
        dropped = []
        newest_action = next((letter for letter in reversed(self._waiting) if not letter.condition), None)
        while len(self._waiting) > self._capacity:
            newest = {*map(id, self._newest.values()), id(newest_action)}
            overtaken = next((letter for letter in self._waiting if id(letter) not in newest), self._waiting[0])
            self._waiting.remove(overtaken)
            dropped.append(overtaken)
            self.given_up += 1
            if self.given_up == 1 or self.given_up % 100 == 0:
                _LOGGER.error("too many alarms wait for %s: %d were given up", self._receiver, self.given_up)
        return dropped

    def _open(self) -> None:
        assert self._path is not None
        try:
            os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600))
            try:
                self._database = self._connect(self._path)
                if not self._loaded:
                    self._read()
            except (sqlite3.DatabaseError, ValueError, KeyError, TypeError) as error:
                if isinstance(error, sqlite3.OperationalError):
                    raise
                self._set_aside(error)
        except (OSError, sqlite3.Error) as error:
            self.close()
            self._in_memory_only(error)
        else:
            self._save([])

    def _connect(self, path: Path) -> sqlite3.Connection:
        database = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=0.5)
        try:
            # Every commit is on the disk when it returns: an alarm must survive a power cut.
            for statement in ("PRAGMA journal_mode = WAL", "PRAGMA synchronous = FULL", *_TABLES):
                database.execute(statement)
        except sqlite3.Error:
            database.close()
            raise
        return database

    def _read(self) -> None:
        assert self._database is not None
        if (row := self._database.execute("SELECT series, next FROM box").fetchone()) is not None:
            self._series, self._next = str(row[0]), int(row[1])
        else:
            self._database.execute("INSERT INTO box VALUES (?, ?)", (self._series, self._next))
        rows = self._database.execute("SELECT content FROM waiting ORDER BY seq")
        waiting = [_letter(text) for (text,) in rows]
        by_seq = {letter.seq: letter for letter in waiting}
        newest = [_letter(text) for (text,) in self._database.execute("SELECT content FROM newest")]
        self._waiting.extend(waiting)
        # One that still waits is the same letter, not another one.
        self._newest = {letter.condition: by_seq.get(letter.seq, letter) for letter in newest}

    def _set_aside(self, error: Exception) -> None:
        assert self._path is not None
        _LOGGER.error("what waited for %s cannot be read and is lost: %s (%s)", self._receiver, error, self._path)
        self.close()
        self._waiting.clear()
        self._newest.clear()
        self._path.replace(self._path.with_name(f"{self._path.name}.damaged"))
        for rest in ("-wal", "-shm"):
            self._path.with_name(self._path.name + rest).unlink(missing_ok=True)
        os.close(os.open(self._path, os.O_WRONLY | os.O_CREAT, 0o600))
        self._database = self._connect(self._path)

    def _save(self, changes: Iterable[tuple[str, tuple[Any, ...]]]) -> None:
        if self._database is None:
            self.unsaved = self._path is not None
            return
        try:
            self._database.execute("BEGIN IMMEDIATE")
            try:
                # After a failure the database has missed something; then all of it is written.
                for statement, values in self._everything() if self.unsaved else changes:
                    self._database.execute(statement, values)
                self._database.execute("COMMIT")
            except sqlite3.Error:
                with contextlib.suppress(sqlite3.Error):
                    self._database.execute("ROLLBACK")
                raise
        except sqlite3.Error as error:
            self._in_memory_only(error)
        else:
            if self.unsaved:
                _LOGGER.warning("what waits for %s is on the disk again", self._receiver)
            self.unsaved = False

    def _everything(self) -> list[tuple[str, tuple[Any, ...]]]:
        return [
            *((f"DELETE FROM {table}", ()) for table in ("box", "waiting", "newest")),
            ("INSERT INTO box VALUES (?, ?)", (self._series, self._next)),
            *(("INSERT INTO waiting VALUES (?, ?)", (letter.seq, _text(letter))) for letter in self._waiting),
            *(("INSERT INTO newest VALUES (?, ?)", (name, _text(item))) for name, item in self._newest.items()),
        ]

    def _in_memory_only(self, error: Exception) -> None:
        if not self.unsaved:
            _LOGGER.error("what waits for %s is in memory only: %s (%s)", self._receiver, error, self._path)
        self.unsaved = True


def ending(message: Mapping[str, Any], utc: float) -> dict[str, Any]:
    """The end of an alarm that a process which is gone had reported, as a message without a name of its own.

    Args:
        message: Its last word.
        utc: Now.
    """
    kept = {key: value for key, value in message.items() if key not in ("id", "series", "seq")}
    off = Presence.OFF.value
    signals = {"audio": "off", "visual": "off", "actor": "", "reminder": 0}
    changed = {key: value for key, value in signals.items() if key in kept}
    return {**kept, **changed, "before": message.get("presence", off), "presence": off, "t": utc, "text": RESTARTED}


def _text(letter: Letter) -> str:
    return json.dumps(letter.message)


def _letter(text: str) -> Letter:
    message = json.loads(text)
    if not isinstance(message, dict) or not isinstance(message["seq"], int):
        raise ValueError("this is no message")
    return Letter(condition=str(message.get("condition", "")), message=message)
