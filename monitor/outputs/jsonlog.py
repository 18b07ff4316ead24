"""A log of what befell each bed, one JSON object a line: for those who must find out later what happened and why.

It begins with the settings in force and holds every alarm transition, stream event, calibration, marker and command.
Scores are not in it (the session has them). A disk that takes nothing costs lines, which are counted, and nothing else.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from monitor.bundle import BundleSpec
from monitor.clock import Clock
from monitor.config import JsonLogSettings, Settings
from monitor.outputs.mqtt_messages import NOTICE, VERSION, alarm_message, encode
from monitor.sessions.rows import plain
from monitor.types import (
    AlarmAction,
    AlarmEvent,
    CalibrationEvent,
    Command,
    Event,
    Marker,
    Provenance,
    Score,
    StreamEvent,
    WindowsSkipped,
)

_LOGGER = logging.getLogger(__name__)

QUERIES: Final = frozenset({"status", "streams", "history"})
"""What only asks; it is not logged."""
_COMMANDS: Final = 1024
_END_BYTES: Final = 65_536
_NAMES: Final[Mapping[type, str]] = {
    AlarmAction: "alarm_action",
    StreamEvent: "stream",
    CalibrationEvent: "calibration",
    Marker: "marker",
    WindowsSkipped: "windows_skipped",
}


def settings_in_force(settings: Settings) -> dict[str, Any]:
    """The settings as a log may show them: every key, and of the webhook's address no more than its host.

    Keys and passwords are not among the settings; that address is the one place where somebody could hide a token.
    """
    shown = settings.model_dump(mode="json")
    scheme, found, rest = settings.webhook.url.partition("://")
    host = rest.replace("?", "/").partition("/")[0]
    shown["webhook"]["url"] = f"{scheme}://{host}/***" if found else ""
    return shown


class JsonLogOutput:
    """An `Output` (see monitor/outputs/base.py) for all beds.

    Args:
        settings: The whole configuration.
        bundles: The bundles of all beds.
        clock: The engine's clock.
        version: Version of the monitor.
    """

    def __init__(self, *, settings: Settings, bundles: Sequence[BundleSpec], clock: Clock, version: str) -> None:
        self.name = "jsonlog"
        self.bed = ""
        self.lost = 0
        """Lines that could not be written."""
        self._settings = settings
        self._bundles = {spec.name: {"version": spec.version, "sha256": dict(spec.sha256)} for spec in bundles}
        self._clock = clock
        self._version = version
        self._utc_offset = clock.utc() - clock.now()
        self._provenance: dict[str, Provenance] = {}
        self._calibration: dict[str, str] = {}
        self._commands: deque[dict[str, Any]] = deque(maxlen=_COMMANDS)
        self._file = _RotatedFile(settings.jsonlog)
        self._unsaid = 0
        self._problem = ""
        self._lock = threading.Lock()

    @property
    def waiting(self) -> int:
        """Nothing waits: a line that cannot be written is lost and counted."""
        return 0

    def problem(self) -> str:
        """Why nothing is written now; empty where it is."""
        return self._problem

    def probe(self, report: Mapping[str, Any], timeout_s: float) -> str:  # noqa: ARG002 - see `Route`
        """Write a line and read it back; see `monitor.outputs.base.Route`."""
        mark = uuid.uuid4().hex
        self._write("selfcheck", {"id": mark, "report": dict(report)})
        if self._problem:
            return self._problem
        try:
            return "" if self._file.holds(mark.encode()) else "what was written is not in the file"
        except OSError as error:
            return f"{error}"

    def open(self) -> None:
        """Say what is in force from here on."""
        settings = settings_in_force(self._settings)
        about = {"notice": NOTICE, "version": self._version, "bundles": self._bundles, "settings": settings}
        self._write("start", about)

    def command(self, bed: str, command: Command, refused: str) -> None:
        """Somebody asked for something; from any thread, and without waiting for the disk.

        Args:
            bed: Name of the bed.
            command: What was asked, by whom, and when.
            refused: Why it was refused; empty where it was done.
        """
        if command.action in QUERIES:
            return
        fields = {"action": command.action, "args": dict(command.args), "actor": command.actor, "refused": refused}
        self._commands.append({"bed": bed, "t": command.at + self._utc_offset, **fields})

    def publish(self, bed: str, events: Sequence[Event]) -> None:
        """Write down what one step of a bed's pipeline gave, and what was asked meanwhile."""
        self._write_commands()
        for event in events:
            if isinstance(event, Score):
                self._provenance[bed] = event.provenance
            elif isinstance(event, AlarmEvent):
                message = alarm_message(event, utc_offset=self._utc_offset, provenance=self._provenance.get(bed))
                self._write("alarm", message)
            elif isinstance(event, CalibrationEvent) and self._calibration.get(bed) == event.state.value:
                continue  # one more valid second
            elif (name := _NAMES.get(type(event))) is not None:
                if isinstance(event, CalibrationEvent):
                    self._calibration[bed] = event.state.value
                fields = plain(event)
                if "t" in fields:
                    fields["t"] += self._utc_offset
                self._write(name, fields)

    def close(self) -> None:
        """Write what waits, and the end. May be called twice."""
        self._write_commands()
        if self._file.is_open:
            self._write("stop", {})
            self._file.close()

    def _write_commands(self) -> None:
        with contextlib.suppress(IndexError):
            while True:
                self._write("command", self._commands.popleft())

    def _write(self, kind: str, fields: Mapping[str, Any]) -> None:
        with self._lock:
            now = datetime.fromtimestamp(self._clock.utc(), UTC).isoformat(timespec="milliseconds")
            head = {"v": VERSION, "logged": now.replace("+00:00", "Z")}
            lines = [encode({**head, "type": "lost", "lines": self._unsaid})] if self._unsaid else []
            lines.append(encode({**head, "type": kind, **fields}))
            try:
                self._file.write(b"".join(line + b"\n" for line in lines))
            except OSError as error:
                self._unsaid += 1
                self.lost += 1
                self._problem = f"the JSON log takes nothing ({error.strerror})"
                if self._unsaid == 1:
                    _LOGGER.error(
                        "the JSON log takes nothing (%s): lines are dropped and counted. Check jsonlog.path '%s', its "
                        "folder, and free space",
                        *(error.strerror, self._settings.jsonlog.path),
                    )
            else:
                if self._unsaid:
                    _LOGGER.warning("the JSON log goes on; %d lines are lost", self._unsaid)
                self._unsaid, self._problem = 0, ""


class _RotatedFile:
    """Appends to a file of mode 0600 until it is full, and keeps some that were.

    Args:
        settings: Its path, how large it may grow, and how many to keep.
    """

    def __init__(self, settings: JsonLogSettings) -> None:
        self._path = Path(settings.path).expanduser()
        self._limit = int(settings.max_mb * 1e6)
        self._keep = settings.keep
        self._descriptor: int | None = None
        self._size = 0

    @property
    def is_open(self) -> bool:
        """Whether there is an open file."""
        return self._descriptor is not None

    def write(self, data: bytes) -> None:
        """Append whole lines.

        Raises:
            OSError: If the disk does not take all of them; a torn line is then ended before the next one.
        """
        if self._descriptor is not None and not self._in_place():
            self.close()
        if self._descriptor is not None and self._size and self._size + len(data) > self._limit:
            self.close()
            self._rotate()
        if self._descriptor is None:
            self._open()
        assert self._descriptor is not None
        try:
            view = memoryview(data)
            while view:
                written = os.write(self._descriptor, view)
                self._size += written
                view = view[written:]
        except OSError:
            self.close()  # opening it anew finds a torn line, or a folder that is there again
            raise

    def holds(self, words: bytes) -> bool:
        """Whether the end of the file, as anybody would read it, has these words.

        Raises:
            OSError: If it cannot be read.
        """
        with self._path.open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - _END_BYTES))
            return words in file.read()

    def close(self) -> None:
        """Release the file. May be called twice."""
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                os.close(descriptor)

    def _open(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        torn = False
        with contextlib.suppress(FileNotFoundError), self._path.open("rb") as file:
            torn = file.seek(0, os.SEEK_END) > 0 and file.seek(-1, os.SEEK_END) >= 0 and file.read(1) != b"\n"
        descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            if torn:
                os.write(descriptor, b"\n")
            self._size = os.fstat(descriptor).st_size
        except OSError:
            os.close(descriptor)
            raise
        self._descriptor = descriptor

    def _in_place(self) -> bool:
        """Whether the open file is still the one of that name: others (logrotate, somebody who tidies) may move it."""
        assert self._descriptor is not None
        try:
            return os.path.samestat(os.fstat(self._descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _rotate(self) -> None:
        numbered = [self._path.with_name(f"{self._path.name}.{k}") for k in range(1, self._keep + 1)]
        for older, newer in zip(reversed(numbered), reversed([self._path, *numbered][: self._keep]), strict=True):
            with contextlib.suppress(FileNotFoundError):
                newer.replace(older)
