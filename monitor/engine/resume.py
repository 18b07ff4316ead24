"""What an engine leaves behind of a running session, so that the next one can take it up after a failure.

The note exists while the session runs and goes when it ends in order; its modification time says when the engine was
last alive.
"""

from __future__ import annotations

import json
import logging
import os
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

_LOGGER = logging.getLogger(__name__)

MAX_AGE_S: Final = 300.0
"""A session that failed longer ago is not continued: nobody watched the patient or the sensors meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ResumeNote:
    """One bed's running session."""

    session: uuid.UUID
    subject: str
    baseline: Mapping[str, tuple[float, float, float]]
    """Its calibration as the last `CalibrationEvent` gave it; empty where it has none."""


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
    text = json.dumps({"session": str(note.session), "subject": note.subject, "baseline": dict(note.baseline)})
    fresh = path.with_suffix(".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.replace(path)


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
        age = time.time() - path.stat().st_mtime
        content = json.loads(path.read_text(encoding="utf-8"))
        note = ResumeNote(
            session=uuid.UUID(content["session"]),
            subject=str(content["subject"]),
            baseline={str(k): (float(v[0]), float(v[1]), float(v[2])) for k, v in content["baseline"].items()},
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        _LOGGER.warning("%s cannot be read (%s); the bed starts a session of its own", path, error)
        return None
    if note.subject != subject or not -MAX_AGE_S <= age <= MAX_AGE_S:
        return None
    return note


def _path(run: Path, bed: str) -> Path:
    return run / f"{bed}.resume.json"
