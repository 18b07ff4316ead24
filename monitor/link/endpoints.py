"""Where an engine's sockets are. Both ends work it out from the state folder, or from the control socket's address."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from pathlib import Path
from typing import Final, Literal

from monitor.errors import EngineError

_SOCKET_PATH_BYTES: Final = 94
"""Longest path of a control socket: with `.state` and the final zero in it, every system takes it (104 bytes on macOS,
108 on Linux)."""

_PORTS: Final = {"control": 0, "state": 1, "wave": 2}
"""By kind, how far a socket's port is behind the first one."""
_TCP: Final = re.compile(r"tcp://(?P<host>[^\s:/@]+|\[[0-9a-fA-F:.]+\]):(?P<port>\d{1,5})")


def endpoint(run: Path, name: str) -> str:
    """Address of a bed's control socket.

    Args:
        run: Folder of locks and sockets.
        name: Name of the bed.
    """
    path = run / f"engine-{name}.sock"
    if len(os.fsencode(path)) > _SOCKET_PATH_BYTES:
        # Both ends come to the same short path from the long one.
        digest = hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:24]
        path = _short_folder() / f"{digest}.sock"
    return f"ipc://{path}"


def beside(address: str, kind: Literal["state", "wave"] | str) -> str:
    """Address of the `state` or `wave` socket that belongs to a control socket.

    Raises:
        EngineError: If that is on TCP and no address.
    """
    if address.startswith("tcp://"):
        return tcp_address(address, kind)
    return f"{address.removesuffix('.sock')}.{kind}.sock"


def tcp_address(address: str, kind: str) -> str:
    """Address of one of an engine's three sockets on TCP.

    Args:
        address: Of the control socket, `tcp://HOST:PORT`.
        kind: `control`, `state` or `wave`.

    Raises:
        EngineError: If it is no such address.
    """
    found = _TCP.fullmatch(address)
    if found is None or not 0 < int(found["port"]) <= 65_535 - max(_PORTS.values()):
        raise EngineError("is no address of an engine", where=address, todo="It is written tcp://HOST:PORT")
    return f"tcp://{found['host']}:{int(found['port']) + _PORTS[kind]}"


def _short_folder() -> Path:
    """A folder of this user alone, with a short path.

    Raises:
        EngineError: If somebody else has made one of that name.
    """
    user = os.getuid() if hasattr(os, "getuid") else os.getlogin()
    folder = Path(tempfile.gettempdir()) / f"pain-monitor-{user}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "getuid") and (folder.lstat().st_uid != os.getuid() or folder.lstat().st_mode & 0o077):
        raise EngineError("belongs to somebody else, or is open to others", where=str(folder), todo="Remove it")
    return folder
