"""Tells systemd how the service stands: datagrams to the socket that NOTIFY_SOCKET names (sd_notify(3)).

Where nobody asked, nothing happens. A service manager that does not listen must not hurt monitoring, so nothing raises.
"""

from __future__ import annotations

import logging
import os
import socket
from typing import Final

_LOGGER = logging.getLogger(__name__)

READY: Final = "READY=1"
STOPPING: Final = "STOPPING=1"
ALIVE: Final = "WATCHDOG=1"


def notify(*words: str) -> bool:
    """Tell the service manager.

    Args:
        words: `READY`, `STOPPING`, `ALIVE` or `STATUS=...`.

    Returns:
        Whether there is one and it was told.
    """
    address = os.environ.get("NOTIFY_SOCKET", "")
    if not address.startswith(("/", "@")) or not hasattr(socket, "AF_UNIX"):
        return False
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as line:
            line.setblocking(False)
            line.connect(f"\0{address[1:]}" if address[0] == "@" else address)
            line.send("\n".join(words).encode())
    except OSError as error:
        _LOGGER.debug("the service manager was not told %s: %s", words, error)
        return False
    return True


def watchdog_interval() -> float | None:
    """Seconds between two signs of life that the service manager wants of this process: half of its patience.

    Returns:
        None where it wants none, or wants them of another process.
    """
    try:
        limit = int(os.environ["WATCHDOG_USEC"]) / 1e6
        process = int(os.environ.get("WATCHDOG_PID") or os.getpid())
    except (KeyError, ValueError):
        return None
    return limit / 2 if limit > 0 and process == os.getpid() else None
