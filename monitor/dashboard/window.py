"""The dashboard's window: its panels, one timer, and what it asks of the engine."""

from __future__ import annotations

import math
import time
import uuid
from collections.abc import Callable, Mapping
from functools import partial
from types import MappingProxyType
from typing import Final

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QCloseEvent, QKeySequence, QResizeEvent, QShortcut
from PySide6.QtWidgets import QHBoxLayout, QMainWindow, QMessageBox, QVBoxLayout, QWidget

from monitor.dashboard import theme
from monitor.dashboard.alarm_bar import AlarmBar
from monitor.dashboard.attention import Shading, shadings
from monitor.dashboard.attention_cards import AnyCard, cards
from monitor.dashboard.attention_view import AttentionView
from monitor.dashboard.header import Header
from monitor.dashboard.index_panel import IndexPanel
from monitor.dashboard.markers import KINDS, EntryPanel
from monitor.dashboard.model import DashboardModel
from monitor.dashboard.parts import Text
from monitor.dashboard.quality_strip import QualityStrip
from monitor.dashboard.trend_panel import TrendPanel
from monitor.dashboard.waveforms import WaveformPanel
from monitor.link import AttentionFrame, EngineLink, History, Reply

FRAME_MS: Final = 33
"""Milliseconds between two pictures."""

_DESIGN: Final = (1280, 800)
_SMALLEST: Final = (960, 540)
"""What a screen of 1920x1080 has at twice the size of everything."""
_UNSCALED: Final = 300
_SCALED: Final = 457
"""Height that everything needs at least: a part that does not follow the size of the window, and one that does."""
_USUAL: Final = (5, 2)
"""Height of the waveforms and of the attention."""
_ROOM: Final = (5, 3)
"""The same where attention is on pictures."""
_SLOW_S: Final = 0.1
_TREND_MINUTES: Final = 15.0
_SAID_S: Final = 8.0
_SEEN_S: Final = 1.0
"""Seconds between two words to the engine on what is shown here; it counts a screen as behind after three."""

_ACTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {"nrs": "pain score", "recalibrate": "calibration", "choose_bundle": "change of model"}
)


class DashboardWindow(QMainWindow):
    """One bed of one engine.

    Args:
        link: The engine.
        started_here: What ends with this window, in words; empty where it only looks on.
        bed: Name of the bed that is shown at first; empty: the engine's first.
        clock: Seconds on a clock of ours that never goes back.
    """

    def __init__(
        self,
        *,
        link: EngineLink,
        started_here: str = "",
        bed: str = "",
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self.setWindowTitle("Pain monitor – research use only")
        self.setMinimumSize(*_SMALLEST)
        self._fit_screen()
        self.model = DashboardModel(clock=clock)
        self.model.bed_name = bed
        self.link = link
        self._started_here = started_here
        self._clock = clock
        self._attention: AttentionFrame | None = None
        self._shadings: dict[str, Shading] = {}
        self._cards: tuple[AnyCard, ...] = ()
        self._slow_due = 0.0
        self._said_until = 0.0
        self._asked_history = ""
        self._name = uuid.uuid4().hex[:12]
        self._seen_due = 0.0
        self.close_without_asking = False

        self.header = Header()
        self.alarms = AlarmBar()
        self.waveforms = WaveformPanel()
        self.attention = AttentionView()
        self.index = IndexPanel()
        self.trend = TrendPanel()
        self.quality = QualityStrip()
        self.entries = EntryPanel()
        self.status = Text(pixels=14, colour=theme.DIM)
        self._lay_out()
        self._connect()
        self._timer = QTimer(self)
        self._timer.setInterval(FRAME_MS)
        self._timer.timeout.connect(self.tick)
        self._timer.start()

    # -- the picture -------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """Fetch what has come and draw it."""
        received = self.link.receive()
        if received.state is not None:
            self.model.take(received.state)
            if self.model.bed is not None:
                self.link.watch(self.model.bed.bed, attention=True)
                self.waveforms.refresh_streams(self.model.bed.streams)
            elif self.waveforms.rows:
                self.waveforms.clear()
        for block in received.waves:
            if block.bed == self.model.bed_name:  # one of the bed before may still have been under way
                self.waveforms.take(block)
        if received.attention is not None:
            self._attention = received.attention
            self._shadings, self._cards = shadings(received.attention), cards(received.attention)
        for reply in received.replies:
            self._take_reply(reply)
        self._ask_history()
        now = self._clock()
        if now >= self._slow_due or received.state is not None:
            self._slow_due = now + _SLOW_S
            self._refresh()
        if now >= self._seen_due:
            self._seen_due = now + _SEEN_S
            self._say_seen()
        self.waveforms.draw(self.model.now)

    def _refresh(self) -> None:
        model = self.model
        for panel in (self.header, self.alarms, self.index, self.trend, self.quality, self.entries):
            panel.refresh(model)
        if self._attention_is_current():
            self.waveforms.shade(self._shadings)
            if not self.waveforms.paused:
                self.attention.show_cards(self._cards, "none in this model")
        else:
            # A window without a score has no attention, and that of an earlier one would mislead (clinical.md D4).
            self.waveforms.shade({})
            if not self.waveforms.paused:
                self.attention.show_cards((), self._why_no_attention())
        self._give_room()
        if self.link.problem:
            self.say(f"What the engine sends cannot be shown: {self.link.problem}", theme.BAD)
        elif self._clock() > self._said_until:
            self.status.show_text(
                "Keys: S P M D T markers · N pain score · A acknowledge · V more attention · Space pause traces",
                theme.FAINT,
            )

    def _why_no_attention(self) -> str:
        if self.model.uncertain and self.model.connected:
            return "hidden: the model is uncertain now"
        if not self.model.has_score:
            return "hidden: no score now"
        scoring = self.model.scoring
        return "none in this model" if scoring is not None and not scoring.attention else "waiting for the model"

    def _give_room(self) -> None:
        """More height for what needs it; it stays while a window has no score, so that nothing jumps."""
        if self.attention.shown:
            stretch = _ROOM if self.attention.wants_room else _USUAL
            for number, share in enumerate(stretch):
                self._left.setStretch(number, share)

    def _attention_is_current(self) -> bool:
        frame, bed = self._attention, self.model.bed
        if frame is None or bed is None or bed.score is None or not self.model.has_score:
            return False
        named = (bed.session, bed.score.bundle, bed.score.epoch)
        return (frame.session, frame.bundle, frame.epoch) == named and 0 <= bed.score.k - frame.k <= 1

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Everything grows with the window."""
        super().resizeEvent(event)
        fitting = min(self.width() / _DESIGN[0], self.height() / _DESIGN[1], (self.height() - _UNSCALED) / _SCALED)
        if theme.rescale(self, math.floor(min(max(fitting, 0.5), 2.0) * 20.0) / 20.0):
            self.trend.rescale()

    def _fit_screen(self) -> None:
        """Open as large as the design, or as the screen has room for: nothing may begin beyond its edge."""
        room = self.screen().availableGeometry()
        self.resize(min(_DESIGN[0], room.width()), min(_DESIGN[1], room.height()))

    # -- what people do ----------------------------------------------------------------------------------------------

    def say(self, text: str, colour: str = theme.DIM) -> None:
        """Say something on the status line for a while."""
        self.status.show_text(text, colour)
        self._said_until = self._clock() + _SAID_S

    def ask(self, action: str, **args: str | float) -> None:
        """Ask the engine for something about the bed that is shown; it shows when the next state says so."""
        if self.model.bed is None:
            self.say(f"{_said(action)} was not sent: no bed is shown", theme.BAD)
            return
        self.link.request(action, args, bed=self.model.bed_name)
        self.say(f"{_said(action)}: sent")

    def _take_reply(self, reply: Reply) -> None:
        if reply.action == "seen":
            if reply.ok:
                self.model.take_sent(str(reply.result.get("engine")), int(reply.result.get("seq", 0)))
        elif reply.action == "history":
            if reply.id != self._asked_history:
                return  # of the bed before
            self._asked_history = ""
            if reply.ok:
                self.model.take_history(History.model_validate(reply.result))
        elif reply.ok:
            self.say(f"{_said(reply.action)}: {'begun' if reply.action == 'recalibrate' else 'done'}")
        else:
            self.say(f"{_said(reply.action)} was not done: {reply.error}", theme.BAD)

    def _say_seen(self, *, leaving: bool = False) -> None:
        """Tell the engine what is shown here, so that both notice where that is old (clinical.md D7)."""
        frame = self.model.frame
        if frame is not None and (self.model.bed is not None or leaving):
            seen = {"screen": self._name, "engine": frame.engine, "seq": frame.seq, "leaving": leaving}
            self.link.request("seen", seen, bed=self.model.bed_name)

    def _ask_history(self) -> None:
        if self.model.wants_history and not self._asked_history and self.model.connected:
            self.model.wants_history = False  # a hole that opens while the answer is under way is asked for again
            minutes = {"minutes": _TREND_MINUTES}
            self._asked_history = self.link.request("history", minutes, bed=self.model.bed_name)

    def _choose_bed(self, name: str) -> None:
        self.model.choose_bed(name)
        self.waveforms.clear()
        self.entries.forget()
        self._attention = None
        self._asked_history = ""
        if self.model.bed is not None:
            self.link.watch(name, attention=True)
        self._refresh()

    def _pause(self, paused: bool) -> None:
        self.waveforms.pause(self.model.now if paused else None)

    def _recalibrate(self) -> None:
        answer = QMessageBox.question(
            self,
            "Calibrate again?",
            "The baseline of this subject is forgotten and taken anew while the subject is at rest.\n"
            "Pain alarms are off until it is complete.",
        )
        if answer == QMessageBox.StandardButton.Yes:
            self.ask("recalibrate")

    def closeEvent(self, event: QCloseEvent) -> None:  # noqa: N802 (Qt's name)
        """Ask before anything ends."""
        if self._started_here and not self.close_without_asking:
            answer = QMessageBox.question(
                self,
                "Stop monitoring?",
                f"Closing this window also stops {self._started_here}.\nStop monitoring this bed?",
            )
            if answer != QMessageBox.StandardButton.Yes:
                event.ignore()
                return
        self._timer.stop()
        self._say_seen(leaving=True)
        event.accept()

    # -- making ------------------------------------------------------------------------------------------------------

    def _lay_out(self) -> None:
        left = self._left = QVBoxLayout()
        left.setSpacing(8)
        left.addWidget(self.waveforms, _USUAL[0])
        left.addWidget(self.attention, _USUAL[1])
        right = QVBoxLayout()
        right.setSpacing(8)
        right.addWidget(self.index, 12)
        right.addWidget(self.trend, 8)
        right.addWidget(self.quality, 8)
        middle = QHBoxLayout()
        middle.setSpacing(8)
        middle.addLayout(left, 68)
        middle.addLayout(right, 32)
        body = QWidget()
        column = QVBoxLayout(body)
        column.setContentsMargins(10, 8, 10, 4)
        column.setSpacing(8)
        column.addWidget(self.header)
        column.addWidget(self.alarms)
        column.addLayout(middle, 1)
        column.addWidget(self.entries)
        column.addWidget(self.status)
        self.setCentralWidget(body)

    def _connect(self) -> None:
        self.header.bundle_chosen.connect(lambda name: self.ask("choose_bundle", bundle=name))
        self.header.bed_chosen.connect(self._choose_bed)
        self.header.pause_toggled.connect(self._pause)
        self.alarms.acknowledged.connect(lambda condition: self.ask("acknowledge", condition=condition))
        self.quality.recalibration_wanted.connect(self._recalibrate)
        self.entries.marker_entered.connect(lambda kind, text: self.ask("marker", kind=kind, text=text))
        self.entries.nrs_entered.connect(lambda value: self.ask("nrs", value=float(value)))
        for kind, key in KINDS:
            self._shortcut(key, partial(self.entries.enter, kind))
        self._shortcut("N", self.entries.pad.begin)
        self._shortcut("A", self.alarms.acknowledge)
        self._shortcut("V", self.attention.next_page)
        self._shortcut("Space", self.header.pause.toggle)

    def _shortcut(self, key: str, act: Callable[[], object]) -> None:
        shortcut = QShortcut(QKeySequence(key), self)
        shortcut.setContext(Qt.ShortcutContext.WindowShortcut)
        shortcut.setAutoRepeat(False)
        shortcut.activated.connect(act)


def _said(action: str) -> str:
    """What was asked for, in words."""
    return _ACTIONS.get(action, action.replace("_", " "))
