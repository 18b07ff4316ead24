"""The alarm line: priority as colour, as signs, and for medium and high as a slow flash."""

from __future__ import annotations

from typing import Final

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QFrame, QHBoxLayout, QPushButton

from monitor.dashboard import theme
from monitor.dashboard.model import DashboardModel, pauses
from monitor.dashboard.parts import Label, Text

_FLASH_HZ: Final = {"high": 2.0, "medium": 0.6}


class AlarmBar(QFrame):
    """The line, the number of alarms behind it, and the button that acknowledges what it shows."""

    acknowledged = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self.setObjectName("alarms")
        theme.set_size(self, height=44)
        self.text = Text(pixels=21, bold=True, smallest=13)
        self._others = Label(pixels=15)
        self.button = QPushButton("Acknowledge  A")
        self.button.setStyleSheet("padding: 1px 10px;")  # the line is low on a small screen
        theme.set_font(self.button, 15)
        self.button.clicked.connect(self.acknowledge)
        self._condition = ""
        self._shown = ("", "")
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 2, 6, 2)
        row.addWidget(self.text, 1)
        row.addWidget(self._others)
        row.addWidget(self.button)

    def acknowledge(self) -> None:
        """Say that the alarm which is shown has been seen."""
        if self._condition:
            self.acknowledged.emit(self._condition)

    def refresh(self, model: DashboardModel) -> None:
        """Draw what the model knows."""
        alarm = model.alarm()
        self._condition = alarm.condition
        if bool(alarm.condition) is not self.button.isVisible():
            self.button.setVisible(bool(alarm.condition))
            theme.set_font(self.button, 15)  # a style sheet gives a widget that is shown its first font again
        more = f"+ {alarm.others} more" if alarm.others else ""
        paused = pauses(model.bed) if model.connected else ""
        self._others.show_text("   ".join(filter(None, (paused, more))))
        if not alarm.level:
            limits = model.bed.limits if model.bed is not None else None
            changed = "  Limits changed from default." if limits is not None and limits.changed else ""
            off = _off(model)
            self.text.show_text(f"No alarm.{off}{changed}" if model.frame is not None else "")
            self._paint(theme.PANEL, theme.WARN if changed or off else theme.DIM)
            return
        background, foreground = theme.ALARM[alarm.level]
        if alarm.flashing and (model.clock() * _FLASH_HZ.get(alarm.level, 0.6)) % 1.0 > 0.6:
            background, foreground = theme.PANEL, background
        self.text.show_text(alarm.text)
        self._paint(background, foreground)

    def _paint(self, background: str, foreground: str) -> None:
        if (background, foreground) != self._shown:
            self._shown = (background, foreground)
            self.setStyleSheet(
                f"QFrame#alarms {{ background: {background}; border: 1px solid {theme.LINE}; border-radius: 6px; }}"
            )
            theme.set_font(self.button, 15)  # and so does a new style sheet above it
            for label in (self.text, self._others):
                label.show_text(label.full_text if isinstance(label, Text) else label.text(), foreground)


def _off(model: DashboardModel) -> str:
    """Why there can be no pain alarm; empty where there can be one."""
    if model.bed is None:
        return ""
    if not model.has_index:
        return "  No pain alarms with this model."
    hollow = model.bed.index is None or model.bed.index.hollow
    return "  Pain alarms are off until the subject is calibrated." if hollow else ""
