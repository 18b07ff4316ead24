"""What an engine leaves behind of a running session, so that the next one can take it up after a failure.

The note exists while the session runs and goes when it ends in order; its modification time says when the engine was
last alive.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from monitor.sessions.rows import plain, restore
from monitor.types import AlarmEvent

_LOGGER = logging.getLogger(__name__)

MAX_AGE_S: Final = 300.0
"""A session that failed longer ago is not continued: nobody watched the patient or the sensors meanwhile."""


_SAME_CLOCK_S: Final = 5.0
"""UTC may be set by so much without that the stream clock is another one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeNote:
    """One bed's running session."""

    session: uuid.UUID
    subject: str
    baseline: Mapping[str, tuple[float, float, float]]
    """Its calibration as the last `CalibrationEvent` gave it; empty where it has none."""
    alarms: tuple[AlarmEvent, ...] = ()
    """The last transition of every alarm that its pipeline left standing."""
    fault: AlarmEvent | None = None
    """The alarm that the pipeline itself had failed, if it was said already."""
    utc_offset: float = 0.0
    """UTC less stream clock in its process."""
    alive_utc: float = field(default=0.0, compare=False)
    """When the process was last seen alive; only in a note that was read."""

    def on_clock(self, utc_offset: float) -> ResumeNote:
        """The same note with the times of its alarms on another stream clock: this machine has been started anew.

        Args:
            utc_offset: UTC less stream clock now.
        """
        shift = self.utc_offset - utc_offset
        if abs(shift) < _SAME_CLOCK_S:  # else the last bits of an onset would differ for nothing
            return self
        return dataclasses.replace(
            self,
            alarms=tuple(_shifted(alarm, shift) for alarm in self.alarms),
            fault=_shifted(self.fault, shift) if self.fault else None,
            utc_offset=utc_offset,
        )


def write_note(run: Path, bed: str, note: ResumeNote) -> None:
    """Write a bed's note, whole or not at all.

    Args:
        run: Folder of locks and sockets.
        bed: Name of the bed.
        note: What to write.

    Raises:
        OSError: If it cannot be written.
    """
    path = _path(run, bed)
    content = {
        "session": str(note.session),
        "subject": note.subject,
        "baseline": dict(note.baseline),
        "alarms": [plain(alarm) for alarm in note.alarms],
        "fault": plain(note.fault),
        "utc_offset": note.utc_offset,
    }
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    with open(fresh, "x", encoding="utf-8", opener=_private) as file:
        file.write(json.dumps(content))
    fresh.replace(path)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)  # it holds a subject code and what was measured


def touch_note(run: Path, bed: str) -> None:
    """Say that the session is still running.

    Raises:
        OSError: If there is no note.
    """
    os.utime(_path(run, bed))


def remove_note(run: Path, bed: str) -> None:
    """Say that the session has ended in order."""
    _path(run, bed).unlink(missing_ok=True)


def read_note(run: Path, bed: str, subject: str) -> ResumeNote | None:
    """The session of this bed and subject that failed a short while ago, if there is one.

    Args:
        run: Folder of locks and sockets.
        bed: Name of the bed.
        subject: Subject code of the session about to begin; another one's calibration would be wrong.
    """
    path = _path(run, bed)
    try:
        alive_utc = path.stat().st_mtime
        content = json.loads(path.read_text(encoding="utf-8"))
        note = ResumeNote(
            session=uuid.UUID(content["session"]),
            subject=str(content["subject"]),
            baseline={str(k): (float(v[0]), float(v[1]), float(v[2])) for k, v in content["baseline"].items()},
            alarms=tuple(_alarm(item) for item in content.get("alarms", ())),
            fault=_alarm(content["fault"]) if content.get("fault") else None,
            utc_offset=float(content.get("utc_offset", 0.0)),
            alive_utc=alive_utc,
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        _LOGGER.warning("%s cannot be read (%s); the bed starts a session of its own", path, error)
        return None
    if note.subject != subject or not -MAX_AGE_S <= time.time() - alive_utc <= MAX_AGE_S:
        return None
    return note


def _alarm(item: Mapping[str, Any]) -> AlarmEvent:
    alarm: AlarmEvent = restore(AlarmEvent, item)
    return alarm


def _shifted(alarm: AlarmEvent, seconds: float) -> AlarmEvent:
    return dataclasses.replace(alarm, onset=alarm.onset + seconds, t=alarm.t + seconds)


def _path(run: Path, bed: str) -> Path:
    return run / f"{bed}.resume.json"
