"""What a session is and where it lies: its file, its name, and what it says of itself."""

from __future__ import annotations

import json
import os
import platform
import re
import sqlite3
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Final

import platformdirs

from monitor.bundle import BundleSpec
from monitor.config import BedSettings
from monitor.errors import SessionError
from monitor.sessions.rows import APPLICATION_ID, SCHEMA_VERSION, schema
from monitor.types import ALARM_RULES, Provenance

NOTICE: Final = "Research use only. The models were trained on simulated patients. Not a medical device."
"""Stands in every session and everything made from one."""

SUFFIX: Final = ".session.db"


def state_folder(configured: str = "") -> Path:
    """Folder for sessions, lock files and sockets.

    Args:
        configured: `EngineSettings.state_dir`; where empty, `$XDG_DATA_HOME/pain-monitor` on every system that sets
            the variable, else the platform's own data folder of the user.
    """
    if configured:
        return Path(configured).expanduser()
    if xdg := os.environ.get("XDG_DATA_HOME"):
        return Path(xdg) / "pain-monitor"
    return platformdirs.user_data_path("pain-monitor", appauthor=False)


def session_path(*, state_dir: Path, bed: str, subject: str, utc: float) -> Path:
    """Path of a new session: `<state_dir>/sessions/<bed>/<utc>-<subject>.session.db`, one that does not exist yet."""
    safe = re.sub(r"[^A-Za-z0-9_.-]", "_", subject)
    stem = f"{datetime.fromtimestamp(utc, UTC):%Y%m%dT%H%M%SZ}-{safe}"
    folder = state_dir / "sessions" / bed
    path, count = folder / f"{stem}{SUFFIX}", 2
    while path.exists():
        path, count = folder / f"{stem}.{count}{SUFFIX}", count + 1
    return path


def list_sessions(state_dir: Path, bed: str | None = None) -> list[Path]:
    """Sessions under a state folder, oldest first."""
    return sorted((state_dir / "sessions").glob(f"{bed or '*'}/*{SUFFIX}"), key=lambda path: (path.name, path))


def current_versions() -> dict[str, str]:
    """Versions of everything that a score's bits, or an alarm, depend on."""
    found = {"python": platform.python_version(), "alarm rules": ALARM_RULES}
    for name in ("pain-monitor", "numpy", "scipy", "onnxruntime"):
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:  # run from a checkout, or without the package
            found[name] = "not installed"
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionMeta:
    """What a session is of, and what it was recorded with."""

    session: uuid.UUID
    bed: str
    subject: str
    created_utc: float
    """Seconds since 1970."""
    clock_offset: float | None
    """UTC = stream clock + this; None where a replayed recording states no date."""
    provenance: Provenance
    settings: BedSettings
    """The bed's settings as used."""
    continues: uuid.UUID | None = None
    """Session of an engine or pipeline that failed, which this one takes up."""
    versions: Mapping[str, str] = field(default_factory=current_versions)
    machine: str = field(default_factory=lambda: f"{platform.machine()} {platform.system()} {platform.release()}")
    notice: str = NOTICE


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredBundle:
    """One bundle of a session, in the bed's order of preference."""

    spec: BundleSpec
    path: str
    """Folder that it was loaded from."""


def create_session(path: Path, meta: SessionMeta, bundles: Sequence[StoredBundle]) -> sqlite3.Connection:
    """Make the file, readable by its owner only, with schema, meta and bundles.

    Raises:
        SessionError: If that cannot be done.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        raise SessionError(
            "a session is never overwritten", where=str(path), todo="Start the new session under another name"
        ) from None
    except OSError as error:
        raise SessionError(
            f"cannot make a session file: {error.strerror}",
            where=str(path),
            todo="Make the folder writable or set engine.state_dir",
        ) from error
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False, timeout=2.0)
    try:
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
        connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("BEGIN IMMEDIATE")
        for statement in schema():
            connection.execute(statement)
        connection.executemany("INSERT INTO meta VALUES (?, ?)", _meta_rows(meta))
        for rank, bundle in enumerate(bundles):
            spec = bundle.spec
            row = (spec.name, spec.version, spec.model_dump_json(), json.dumps(spec.sha256), bundle.path, rank)
            connection.execute("INSERT INTO bundle VALUES (?, ?, ?, ?, ?, ?)", row)
        connection.execute("COMMIT")
    except sqlite3.Error as error:
        connection.close()
        raise SessionError(
            f"cannot write a session: {in_words(error)}",
            where=str(path),
            todo="Free disk space or set engine.state_dir",
        ) from error
    return connection


def _meta_rows(meta: SessionMeta) -> list[tuple[str, str]]:
    return [
        ("session", json.dumps(str(meta.session))),
        ("bed", json.dumps(meta.bed)),
        ("subject", json.dumps(meta.subject)),
        ("created_utc", json.dumps(meta.created_utc)),
        ("clock_offset", json.dumps(meta.clock_offset)),
        ("provenance", json.dumps(meta.provenance.value)),
        ("continues", json.dumps(str(meta.continues) if meta.continues else None)),
        ("settings", meta.settings.model_dump_json()),
        ("versions", json.dumps(dict(meta.versions))),
        ("machine", json.dumps(meta.machine)),
        ("notice", json.dumps(meta.notice)),
    ]


def in_words(error: sqlite3.Error) -> str:
    """What SQLite complains of, for people."""
    name = getattr(error, "sqlite_errorname", "")
    if name == "SQLITE_FULL":
        return "the disk is full"
    return f"{error} ({name})" if name else str(error)
