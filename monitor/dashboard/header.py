"""The top of the screen: what this is not, whose signals these are, and who scores them."""

from __future__ import annotations

from datetime import UTC, datetime

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QComboBox, QHBoxLayout, QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from monitor.dashboard import theme, words
from monitor.dashboard.model import DashboardModel
from monitor.dashboard.parts import Fitted, Label, Text


class Header(QWidget):
    """Banner, bed, bundle, badge, recording, clock and the pause of the traces."""

    bundle_chosen = Signal(str)
    bed_chosen = Signal(str)
    pause_toggled = Signal(bool)

    def __init__(self) -> None:
        super().__init__()
        banner = Fitted(words.BANNER, pixels=15)
        banner.setObjectName("banner")
        banner.setStyleSheet("color: #f0d9a8; background: #33290f; border-radius: 4px; padding: 3px 10px;")
        self._badge = QLabel()
        self._badge.setObjectName("badge")
        theme.set_font(self._badge, 15, bold=True)
        self._badge.setStyleSheet("color: #ffffff; background: #7a3f8f; border-radius: 4px; padding: 3px 10px;")
        self._badge.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self._badge.hide()
        # Inverse, which no alarm is. Two lines, so that it stands beside the banner whole.
        self.notice = QLabel()
        self.notice.setObjectName("notice")
        self.notice.setTextFormat(Qt.TextFormat.PlainText)
        theme.set_font(self.notice, 14, bold=True)
        self.notice.setStyleSheet("color: #0c0f13; background: #e8ebef; border-radius: 4px; padding: 2px 10px;")
        self.notice.setSizePolicy(QSizePolicy.Policy.Fixed, QSizePolicy.Policy.Preferred)
        self.notice.setToolTip("What this model is; it is so wherever its results are shown")
        self.notice.hide()

        self.elsewhere = QPushButton()
        self.elsewhere.setObjectName("elsewhere")
        self.elsewhere.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.elsewhere.setToolTip("Another bed has an alarm that nobody has seen. Click to look at it")
        self._alarming = ""
        self.elsewhere.clicked.connect(lambda: self.bed_chosen.emit(self._alarming))
        self._alarmed: tuple[tuple[str, str, str], ...] = ()
        self.elsewhere.hide()

        self.beds = QComboBox()
        theme.set_font(self.beds, 16, bold=True)
        self.beds.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.beds.setToolTip("The bed that is shown")
        self.beds.activated.connect(lambda _: self.bed_chosen.emit(self.beds.currentText()))
        self._subject = Text(pixels=16, colour=theme.DIM, elide=Qt.TextElideMode.ElideMiddle)
        self.bundles = QComboBox()
        self.bundles.setObjectName("bundles")
        theme.set_font(self.bundles, 14)
        self.bundles.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToContents)
        self.bundles.setToolTip("The model that is preferred; it scores whenever its signals are usable")
        self.bundles.activated.connect(self._choose_bundle)
        # Two lines: the longest names leave no room for one, and who the patient is goes before what the model reads.
        self._trained = Text(pixels=13, colour=theme.WARN)
        self._reads = Text(pixels=13, colour=theme.DIM)
        self._recording = Label(pixels=14, colour=theme.DIM)
        self._clock = Label(pixels=20, bold=True)
        self.pause = QPushButton("Pause traces")
        self.pause.setCheckable(True)
        theme.set_font(self.pause, 14)
        theme.set_size(self.pause, width=130)
        self.pause.setToolTip("Space. Only the drawing stops; scoring, alarms and recording go on.")
        self.pause.toggled.connect(self._show_pause)

        top = QHBoxLayout()
        top.addWidget(banner, 1)
        top.addWidget(self.elsewhere)
        top.addWidget(self.notice)
        top.addWidget(self._badge)
        model = QVBoxLayout()
        model.setSpacing(0)
        model.addWidget(self._trained)
        model.addWidget(self._reads)
        below = QHBoxLayout()
        below.setSpacing(10)
        below.addWidget(self.beds)
        below.addWidget(self._subject, 4)
        below.addWidget(self.bundles)
        below.addLayout(model, 4)
        below.addWidget(self._recording)
        below.addWidget(self.pause)
        below.addWidget(self._clock)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(6)
        column.addLayout(top)
        column.addLayout(below)

    def refresh(self, model: DashboardModel) -> None:
        """Draw what the model knows."""
        frame, bed = model.frame, model.bed
        if frame is None:
            self._subject.show_text("waiting for the engine")
            return
        self._show_elsewhere(model.elsewhere())
        names = [item.bed for item in frame.beds]
        if bed is None:
            _fill(self.beds, [model.bed_name, *names], model.bed_name)
            self.beds.setEnabled(bool(names))
            self._subject.show_text("not monitored by this engine")
            _fill(self.bundles, [], "")
            for label in (self._trained, self._reads, self._recording):
                label.show_text("")
            return
        _fill(self.beds, names, bed.bed)
        self.beds.setEnabled(len(names) > 1)
        self._subject.show_text(f"Subject {bed.subject}")
        _fill(self.bundles, [item.name for item in bed.bundles], bed.bundles[0].name if bed.bundles else "")
        scoring = next((item for item in bed.bundles if item.name == bed.bundle), None)
        if scoring is not None:
            self._trained.show_text(scoring.trained_on)
            read = "+".join(scoring.modalities)
            if scoring is bed.bundles[0]:
                self._reads.show_text(f"reads {read}", theme.DIM)
            else:
                self._reads.show_text(f"now scored by {scoring.name}: {read}", theme.WARN)
        first, colon, rest = model.notice.partition(": ")
        notice = f"{first}:\n{rest}" if colon else first
        if notice != self.notice.text():
            self.notice.setText(notice)
            self.notice.setVisible(bool(notice))
        badge = words.PROVENANCE.get(bed.provenance, "")
        if badge != self._badge.text():
            self._badge.setText(badge)
            self._badge.setVisible(bool(badge))
        recording = bed.recording
        if not model.connected:
            self._recording.show_text("recording not known", theme.FAINT)
        elif recording.recording:
            lost = f", {recording.lost_records} lost" if recording.lost_records else ""
            self._recording.show_text(f"● recording{lost}", theme.WARN if lost else theme.DIM)
        else:
            self._recording.show_text("○ not recording", theme.BAD if recording.problem else theme.DIM)
        self._recording.setToolTip(recording.problem)
        local = datetime.fromtimestamp(model.now + model.utc_offset, UTC).astimezone()
        self._clock.show_text(local.strftime("%H:%M:%S"), theme.TEXT if model.connected else theme.FAINT)

    def _show_elsewhere(self, alarmed: tuple[tuple[str, str, str], ...]) -> None:
        """Alarms of beds that are not shown: nobody would know of them before looking there."""
        if alarmed == self._alarmed:
            return
        self._alarmed = alarmed
        self.elsewhere.setVisible(bool(alarmed))
        if alarmed:
            self._alarming, level, marks = alarmed[0]
            more = f"  + {len(alarmed) - 1}" if len(alarmed) > 1 else ""
            background, foreground = theme.ALARM[level]
            self.elsewhere.setText(f"{marks} Alarm at {self._alarming}{more}")
            self.elsewhere.setStyleSheet(
                f"color: {foreground}; background: {background}; border: none; border-radius: 4px; padding: 3px 10px;"
            )
            theme.set_font(self.elsewhere, 15, bold=True)

    def _choose_bundle(self, _: int) -> None:
        wanted = self.bundles.currentText()
        with QSignalBlocker(self.bundles):
            # What is chosen shows when the engine says that it is so.
            self.bundles.setCurrentIndex(0)
        self.bundle_chosen.emit(wanted)

    def _show_pause(self, paused: bool) -> None:
        self.pause.setText("Resume traces" if paused else "Pause traces")
        self.pause_toggled.emit(paused)


def _fill(box: QComboBox, names: list[str], current: str) -> None:
    if box.view().isVisible():  # somebody is choosing
        return
    with QSignalBlocker(box):
        if [box.itemText(i) for i in range(box.count())] != names:
            box.clear()
            box.addItems(names)
        if box.currentText() != current:
            box.setCurrentText(current)
