"""What people enter: markers and the pain score that the patient reports, by mouse and by keyboard."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

from PySide6.QtCore import QEvent, QObject, Qt, Signal
from PySide6.QtGui import QKeyEvent
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLineEdit, QPushButton, QVBoxLayout

from monitor.dashboard import theme
from monitor.dashboard.model import DashboardModel
from monitor.dashboard.parts import Label, Panel, Text

KINDS: Final = (("stimulus", "S"), ("procedure", "P"), ("movement", "M"), ("drug", "D"), ("note", "T"))
"""Kinds of markers and their keys."""


class EntryPanel(Panel):
    """Marker buttons, a line of text for them, the NRS pad, and the newest entry as the engine confirmed it."""

    marker_entered = Signal(str, str)
    nrs_entered = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.last = Text(pixels=15, colour=theme.DIM, text="Nothing entered yet", smallest=12)
        self.note = QLineEdit()
        theme.set_font(self.note, 15)
        self.note.setMaxLength(200)
        self.note.setPlaceholderText("text for the next marker  (T)")
        self.note.returnPressed.connect(lambda: self.enter("note"))
        self.note.installEventFilter(self)
        self.buttons: dict[str, QPushButton] = {}
        kinds = QHBoxLayout()
        kinds.setSpacing(6)
        for kind, key in KINDS:
            button = QPushButton(f"{kind.capitalize()}  {key}")
            button.setStyleSheet("padding: 1px 8px;")
            theme.set_font(button, 15)
            theme.set_size(button, height=36)
            button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
            button.clicked.connect(lambda _=False, kind=kind: self.enter(kind))
            self.buttons[kind] = button
            kinds.addWidget(button)
        self.pad = NrsPad()
        self.pad.entered.connect(self.nrs_entered)
        left = QVBoxLayout()
        left.setSpacing(6)
        left.addLayout(kinds)
        below = QHBoxLayout()
        below.addWidget(self.note, 2)
        below.addWidget(self.last, 3)
        left.addLayout(below)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 8, 12, 8)
        row.setSpacing(18)
        row.addLayout(left, 1)
        row.addWidget(self.pad)

    def enter(self, kind: str) -> None:
        """Send a marker with the text of the line. A note without text only asks for it."""
        text = self.note.text().strip()
        if kind == "note" and not text:
            self.note.setFocus(Qt.FocusReason.ShortcutFocusReason)
            return
        self.marker_entered.emit(kind, text)
        self.note.clear()
        self.note.clearFocus()

    def forget(self) -> None:
        """Another patient: what was typed and not entered was meant for the one before."""
        self.note.clear()
        self.pad.forget()

    def refresh(self, model: DashboardModel) -> None:
        """Draw what the model knows."""
        markers = model.bed.markers if model.bed is not None else ()
        if not markers:
            self.last.show_text("Nothing entered yet", theme.DIM)
            return
        newest = markers[-1]
        at = datetime.fromtimestamp(newest.t + model.utc_offset, UTC).astimezone().strftime("%H:%M:%S")
        what = f"NRS {newest.value:g}" if newest.kind == "nrs" and newest.value is not None else newest.kind
        text = f": {newest.text}" if newest.text else ""
        self.last.show_text(f"Last entry {at}  {what}{text}  ({newest.actor})", theme.TEXT)

    def eventFilter(self, watched: QObject, event: QEvent) -> bool:  # noqa: N802 (Qt's name)
        """Escape leaves the line of text."""
        if watched is self.note and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress \
                and event.key() == Qt.Key.Key_Escape:  # fmt: skip
            self.note.clear()
            self.note.clearFocus()
            return True
        return super().eventFilter(watched, event)


class NrsPad(Panel):
    """Numbers 0 to 10. A click enters one; from the keyboard N, the number, and Enter."""

    entered = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self.setProperty("panel", False)
        self.setFocusPolicy(Qt.FocusPolicy.StrongFocus)
        self._typed = ""
        self._said = Label("Pain reported by the patient (NRS)   key N", pixels=14, colour=theme.DIM)
        self.buttons = [QPushButton(str(value)) for value in range(11)]
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setHorizontalSpacing(4)
        grid.addWidget(self._said, 0, 0, 1, 11)
        for value, button in enumerate(self.buttons):
            theme.set_size(button, width=42, height=40)
            theme.set_font(button, 18, bold=True)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.setStyleSheet("padding: 0px;")
            button.clicked.connect(lambda _=False, value=value: self.entered.emit(value))
            grid.addWidget(button, 1, value)

    def begin(self) -> None:
        """Take a number from the keyboard."""
        self._typed = ""
        self.setFocus(Qt.FocusReason.ShortcutFocusReason)
        self._show()

    def forget(self) -> None:
        """Nothing was typed."""
        self._typed = ""
        self.clearFocus()
        self._show()

    def keyPressEvent(self, event: QKeyEvent) -> None:  # noqa: N802 (Qt's name)
        """Digits make the number, Enter enters it, Escape forgets it."""
        text, key = event.text(), event.key()
        if text.isdecimal() and len(text) == 1:
            typed = self._typed + text
            self._typed = typed if int(typed) <= 10 and typed != "00" else text
        elif key == Qt.Key.Key_Backspace:
            self._typed = self._typed[:-1]
        elif key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and self._typed:
            value = int(self._typed)
            self._typed = ""
            self.clearFocus()
            self.entered.emit(value)
        elif key == Qt.Key.Key_Escape:
            self.forget()
        else:
            super().keyPressEvent(event)
            return
        self._show()

    def focusOutEvent(self, event: object) -> None:  # noqa: N802 (Qt's name)
        """A number that was not confirmed is forgotten."""
        super().focusOutEvent(event)  # type: ignore[arg-type]
        self._typed = ""
        self._show()

    def _show(self) -> None:
        chosen = int(self._typed) if self._typed else None
        for value, button in enumerate(self.buttons):
            button.setDown(value == chosen)
        if self.hasFocus():
            said = f"NRS {chosen}: Enter to confirm, Esc to cancel" if chosen is not None else "NRS: type 0 to 10"
            self._said.show_text(said, theme.ACCENT)
        else:
            self._said.show_text("Pain reported by the patient (NRS)   key N", theme.DIM)
