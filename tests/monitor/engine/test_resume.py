"""The note that a running session leaves for the engine after it: private, and whole or not at all."""

from __future__ import annotations

import os
import stat
import uuid
from pathlib import Path

from monitor.engine.resume import ResumeNote, read_note, write_note


def test_nobody_else_may_read_it_whatever_the_umask(tmp_path: Path) -> None:
    note = ResumeNote(session=uuid.UUID(int=5), subject="P-001", baseline={}, utc_offset=0.0)
    (tmp_path / "bed1.resume.new").touch(mode=0o644)  # of an engine that died over it
    umask = os.umask(0o022)
    try:
        write_note(tmp_path, "bed1", note)
        write_note(tmp_path, "bed1", note)  # over the one before
    finally:
        os.umask(umask)
    (path,) = tmp_path.iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600, "it holds a subject code"
    found = read_note(tmp_path, "bed1", "P-001")
    assert found is not None
    assert found.session == note.session
