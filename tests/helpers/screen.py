"""A dashboard with a scripted engine and a clock that the test moves, and what can be read off it."""

from __future__ import annotations

from PySide6.QtWidgets import QApplication, QLabel, QPushButton, QWidget
from pytestqt.qtbot import QtBot

from benchmarks.screen_frames import ScriptedLink, attention, bed_state, state, wave
from monitor.dashboard.window import DashboardWindow
from monitor.link import AttentionFrame

SIX = ("ECG", "EDA", "BVP", "EMG", "RESP", "SPO2")


class Screen:
    """A window with a scripted engine and a clock that the test moves."""

    def __init__(self, qtbot: QtBot) -> None:
        self.now = 1000.0
        self.link = ScriptedLink()
        self.window = DashboardWindow(link=self.link, clock=lambda: self.now)  # type: ignore[arg-type]
        self.window._timer.stop()
        qtbot.addWidget(self.window)
        self.window.close_without_asking = True
        self.seq = 0

    def see(
        self,
        k: int = 30,
        *,
        attentive: bool = True,
        flat: bool = False,
        maps: AttentionFrame | None = None,
        **bed: object,
    ) -> None:
        """A state and its samples arrive and are drawn; stream time is k + 0.2. `maps` replace CrossMod's."""
        self.seq += 1
        self.now = 1000.0 + k + 0.2
        given = bed_state(k=k, **{"modalities": SIX, **bed})
        waves = tuple(wave(item.modality or "", k - 1.0, 1.0) for item in given.streams if item.channels == 1)
        self.link.give(
            state=state(given, seq=self.seq, t=k + 0.2),
            waves=waves,
            attention=(maps or attention(k, flat=flat)) if attentive else None,
        )
        self.window.tick()
        QApplication.processEvents()


def texts(window: QWidget) -> list[str]:
    """Everything that is written on the window now."""
    return [
        getattr(label, "full_text", "") or label.text() for label in window.findChildren(QLabel) if label.isVisible()
    ]


def cut_off(window: QWidget) -> list[str]:
    """Labels and buttons that are smaller than what they say, or that stick out of the window."""
    wrong = []
    for widget in [*window.findChildren(QLabel), *window.findChildren(QPushButton)]:
        if not widget.isVisible() or not widget.text():
            continue
        inside = window.rect().contains(widget.mapTo(window, widget.rect().bottomRight()))
        wide = (
            max(map(widget.fontMetrics().horizontalAdvance, widget.text().split("\n")))
            if not (isinstance(widget, QLabel) and widget.wordWrap())
            else 0
        )
        whole = getattr(widget, "full_text", widget.text()) == widget.text()
        if not inside or wide > widget.width() or widget.fontMetrics().height() > widget.height() + 1 or not whole:
            wrong.append(widget.text())
    return wrong


def squeezed(window: DashboardWindow) -> list[str]:
    """Panels that are smaller than what they hold needs, so that some of it is painted half."""
    panels = [window.header, window.alarms, window.waveforms, window.attention, window.index, window.index.number,
              window.trend, window.quality, window.entries, window.status]  # fmt: skip
    return [
        f"{type(panel).__name__}: {panel.height()} of {panel.minimumSizeHint().height()}"
        for panel in panels
        if panel.isVisible() and panel.height() < panel.minimumSizeHint().height()
    ]


def ink(window: QWidget, widget: QWidget) -> int:
    """Pixels of a widget that are not the panel's own colour."""
    image = widget.grab().toImage()
    background = image.pixel(image.width() - 1, 1)
    return sum(image.pixel(x, y) != background for x in range(0, image.width(), 3) for y in range(0, image.height(), 3))
