"""A dashboard that measures itself: `python -m benchmarks.screen_window ADDRESS WIDTH HEIGHT SECONDS OUT`."""

from __future__ import annotations

import json
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Final

import pyqtgraph as pg
from PySide6.QtCore import QEvent, QObject, QTimer
from PySide6.QtWidgets import QApplication

from monitor.dashboard import theme
from monitor.dashboard.window import DashboardWindow
from monitor.link import EngineLink

_SETTLES_S: Final = 12.0
"""The traces are ten seconds long; before they are full, drawing them is cheaper."""
_LOOKS_MS: Final = 100


class PaintCounter(QObject):
    """Counts the paintings of one widget."""

    def __init__(self) -> None:
        super().__init__()
        self.times: list[float] = []

    def eventFilter(self, _watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Note when it was painted; the event goes its way."""
        if event.type() == QEvent.Type.Paint:
            self.times.append(time.perf_counter())
        return False


def measure(
    address: str, *, width: int, height: int, seconds: float, settles_s: float = _SETTLES_S
) -> dict[str, float]:
    """Show an engine for some time.

    Args:
        address: Control socket of its bed.
        width: Of the window, in pixels.
        height: Of the window, in pixels.
        seconds: How long to measure.
        settles_s: How long to show it before that.

    Returns:
        `pictures`, `wall_s`, `cpu_s` of the whole process, and `longest_s` between two pictures.

    Raises:
        RuntimeError: If nothing was heard or painted.
    """
    application = QApplication([])
    theme.apply(application)
    link = EngineLink(address=address, actor="benchmark")
    window = DashboardWindow(link=link)
    window.close_without_asking = True
    window.resize(width, height)
    window.show()
    counter = PaintCounter()
    began: list[tuple[float, float]] = []
    ended: list[tuple[float, float]] = []
    heard_at: list[float] = []

    def look() -> None:
        now = time.perf_counter()
        if not heard_at:
            if window.waveforms.rows:
                heard_at.append(now)
        elif not began:
            if now - heard_at[0] >= settles_s:
                # The ECG has the first row.
                window.waveforms.findChildren(pg.PlotWidget)[0].viewport().installEventFilter(counter)
                began.append((now, time.process_time()))
        elif now - began[0][0] >= seconds:
            ended.append((now, time.process_time()))
            application.quit()

    timer = QTimer()
    timer.timeout.connect(look)
    timer.start(_LOOKS_MS)
    try:
        application.exec()
    finally:
        timer.stop()
        window.close()
        link.close()
    if not ended or not counter.times or not window.model.has_score:
        raise RuntimeError("nothing was heard or painted")
    (start, cpu_start), (stop, cpu_stop) = began[0], ended[0]
    moments = [start, *(moment for moment in counter.times if moment <= stop), stop]
    return {
        "pictures": float(len(moments) - 2),
        "wall_s": stop - start,
        "cpu_s": cpu_stop - cpu_start,
        "longest_s": max(after - before for before, after in pairwise(moments)),
    }


if __name__ == "__main__":
    address, width, height, seconds, out = sys.argv[1:]
    length = float(seconds)
    # A quick look is not kept waiting until the traces are full.
    found = measure(
        address, width=int(width), height=int(height), seconds=length, settles_s=min(_SETTLES_S, 0.5 * length)
    )
    Path(out).write_text(json.dumps(found), encoding="utf-8")
