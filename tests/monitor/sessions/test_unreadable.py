"""Sessions that cannot be read are told in words: whose they are, or that they are damaged."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from monitor.errors import SessionError
from monitor.sessions.reader import SessionReader


def test_another_users_session_is_no_traceback(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.session.db"
    sqlite3.connect(path).close()

    def forbidden(self: Path, *given: Any, **named: Any) -> Any:  # root may read everything
        raise PermissionError(13, "Permission denied", str(self))

    path.write_bytes(b"SQLite format 3\x00")
    monkeypatch.setattr(Path, "open", forbidden)
    with pytest.raises(SessionError, match=r"cannot be read \(Permission denied\)\. It is its recorder's alone"):
        SessionReader(path)


def test_a_damaged_beginning_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.session.db"
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE meta (a)")
    connection.commit()
    connection.close()
    content = bytearray(path.read_bytes())
    content[40:48] = bytes(byte ^ 0xFF for byte in content[40:48])
    path.write_bytes(content)
    with pytest.raises(SessionError) as caught:
        SessionReader(path)
    assert "damaged" in str(caught.value)
