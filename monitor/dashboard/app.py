"""Runs the dashboard as an application of its own."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable
from types import FrameType
from typing import Final

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from monitor.dashboard import theme
from monitor.dashboard.window import DashboardWindow
from monitor.link import ClientKeys, EngineLink

_PROBE: Final = "from PySide6.QtWidgets import QApplication; import pyqtgraph; QApplication([])"
_PROBE_S: Final = 60.0
_WATCH_MS: Final = 500


def why_no_display() -> str:
    """Why no window can be opened here, in one line; empty where one can.

    Qt ends the process that asks in vain, so another one asks.
    """
    try:
        done = subprocess.run(
            [sys.executable, "-c", _PROBE], capture_output=True, text=True, timeout=_PROBE_S, check=False
        )
    except subprocess.TimeoutExpired:
        return "the display does not answer"
    if done.returncode == 0:
        return ""
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    missing = [line for line in lines if "cannot open shared object" in line or "No module named" in line]
    shown = [line for line in lines if "display" in line.lower()]
    return (missing or shown or lines or ["Qt cannot start here"])[0]


def run_dashboard(
    *,
    address: str,
    actor: str,
    started_here: str = "",
    ended: Callable[[], str] | None = None,
    close_at_end: bool = False,
    keys: ClientKeys | None = None,
    bed: str = "",
) -> None:
    """Show an engine until the window is closed.

    Args:
        address: Control socket of one of the engine's beds.
        actor: Who looks; written beside what they enter.
        started_here: What the caller stops when this returns, in words; the window asks before it closes.
        ended: Says how what was started ended, in words; empty while it runs.
        close_at_end: Whether the window closes by itself then.
        keys: For an address on TCP.
        bed: Name of the bed that is shown at first; empty: the engine's first.

    Raises:
        EngineError: If the address is of no kind that is allowed.
    """
    link = EngineLink(address=address, actor=actor, keys=keys)
    application = QApplication.instance()
    if not isinstance(application, QApplication):
        application = QApplication([])
    application.setApplicationName("pain-monitor")
    theme.apply(application)
    window = DashboardWindow(link=link, started_here=started_here, bed=bed)

    def close(_number: int = 0, _frame: FrameType | None = None) -> None:
        window.close_without_asking = True
        window.close()

    def watch() -> None:
        if ended is not None and (said := ended()):
            window.close_without_asking = True
            if close_at_end:
                window.close()
            else:
                window.say(said, theme.BAD)

    timer = QTimer()
    timer.timeout.connect(watch)
    timer.start(_WATCH_MS)
    # Signals are seen between two pictures, when Python has the word.
    before = {number: signal.signal(number, close) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        window.show()
        application.exec()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        timer.stop()
        link.close()
