"""The lock that keeps a bed to one engine, and the folder where locks and sockets lie.

The lock is the operating system's own (flock, or LockFile on Windows), so that it goes with the process however that
ends: there is no stale lock to clean up, only a stale note of who held it.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import time
from pathlib import Path
from typing import IO, Final

from monitor.errors import BusyError, EngineError

if sys.platform == "win32":
    import msvcrt

    # Far behind the note of the holder, which others could not read if it lay inside the locked range.
    _LOCKED_BYTE: Final = 1 << 30

    def _try_lock(file: IO[str]) -> bool:
        file.seek(_LOCKED_BYTE)
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True
else:
    import fcntl

    def _try_lock(file: IO[str]) -> bool:
        try:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return False
        return True


_RETRIES: Final = 5
_RETRY_S: Final = 0.05


def run_dir(state: Path) -> Path:
    """The folder of locks and sockets, made on first use and open to nobody else (mode 0700).

    Raises:
        EngineError: If it cannot be made.
    """
    folder = state / "run"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        folder.chmod(0o700)
    except OSError as error:
        raise EngineError(
            f"cannot be made or opened ({error.strerror})",
            where=str(folder),
            todo="Set engine.state_dir to a folder of yours",
        ) from error
    return folder


class BedLock:
    """Holds one bed for this process, from `acquire` to `release` or to the end of the process.

    Args:
        state: State directory.
        bed: Name of the bed.
    """

    def __init__(self, *, state: Path, bed: str) -> None:
        self._path = _path(state, bed)
        self._bed = bed
        self._file: IO[str] | None = None

    def acquire(self) -> None:
        """Take the bed.

        Raises:
            BusyError: If another engine has it; says which process.
        """
        run_dir(self._path.parent.parent)
        file = open(self._path, "a+", encoding="utf-8", opener=_private)  # noqa: SIM115 - held until `release`
        try:
            # `holder` takes the lock for an instant to see whether it is free.
            for _ in range(_RETRIES):
                if _try_lock(file):
                    break
                time.sleep(_RETRY_S)
            else:
                raise BusyError(
                    f"is already monitored by process {_note(self._path) or 'unknown'}",
                    where=f"bed {self._bed}",
                    todo="Stop that engine, or give this one another bed name or state_dir",
                )
            file.seek(0)
            file.truncate()
            file.write(json.dumps({"pid": os.getpid()}))
            file.flush()
        except BaseException:
            file.close()
            raise
        self._file = file

    def release(self) -> None:
        """Give the bed back. May be called twice.

        The file stays: removing it would let two engines lock two files of the same name.
        """
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.seek(0)
                self._file.truncate()
            self._file.close()
            self._file = None


def holder(*, state: Path, bed: str) -> int | None:
    """Process id of the engine that monitors a bed, or None where none does."""
    path = _path(state, bed)
    try:
        file = path.open("r+", encoding="utf-8")
    except OSError:
        return None
    with file:
        return None if _try_lock(file) else (_note(path) or 0)


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _path(state: Path, bed: str) -> Path:
    return state / "run" / f"{bed}.lock"


def _note(path: Path) -> int | None:
    try:
        return int(json.loads(path.read_text(encoding="utf-8"))["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
