"""Whether each signal is fit to be scored, how far the calibration is, and the plain measures beside the model."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QProgressBar, QPushButton, QVBoxLayout

from monitor.dashboard import theme, words
from monitor.dashboard.model import DashboardModel
from monitor.dashboard.parts import Label, Panel, Text
from monitor.link import BedState, ComparatorView, QualityView, StreamView
from monitor.types import CalibrationState

_ROWS: Final = 5
_NOTHING: Final = ComparatorView()
_SILENT_S: Final = 2.0
_TITLES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "HR {} /min": "Comparator: heart rate, counted without any model",
        "SCR {} /s": "Comparator: skin conductance responses a second over the last minute (0.1: the line of skin "
        "conductance monitors), counted without any model",
        "SPI {}": "Comparator: SPI-style index of the pulse wave, 0 to 100, unvalidated, made without any model",
    }
)


class QualityStrip(Panel):
    """Quality per modality, calibration and comparators."""

    recalibration_wanted = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._rows = [(Label(pixels=16, bold=True), Text(pixels=15)) for _ in range(_ROWS)]
        grid = QGridLayout()
        grid.setHorizontalSpacing(10)
        grid.setVerticalSpacing(1)
        grid.setColumnMinimumWidth(0, 66)
        grid.setColumnStretch(1, 1)
        for number, (name, said) in enumerate(self._rows):
            grid.addWidget(name, number, 0)
            grid.addWidget(said, number, 1)
        self.calibration = Text(pixels=15)
        self._progress = QProgressBar()
        self._progress.setTextVisible(False)
        self._progress.setFixedHeight(6)
        self.recalibrate = QPushButton("Calibrate again")
        theme.set_font(self.recalibrate, 13)
        self.recalibrate.clicked.connect(self.recalibration_wanted)
        self.heart_rate = Text(pixels=18, bold=True)
        self.scr = Text(pixels=18, bold=True)
        self.spi = Text(pixels=18, bold=True)
        measures = QHBoxLayout()
        measures.setSpacing(6)
        for label, stretch in ((self.heart_rate, 4), (self.scr, 5), (self.spi, 3)):
            measures.addWidget(label, stretch)
        state = QHBoxLayout()
        state.addWidget(self.calibration, 1)
        state.addWidget(self.recalibrate)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 8, 10, 8)
        column.setSpacing(4)
        column.addLayout(grid)
        column.addStretch(1)
        column.addLayout(state)
        column.addWidget(self._progress)
        column.addStretch(1)
        column.addLayout(measures)

    def refresh(self, model: DashboardModel) -> None:
        """Draw what the model knows."""
        bed = model.bed
        rows = _quality_rows(bed) if bed is not None else []
        if not model.connected:
            rows = [(name, "not known", theme.FAINT) for name, _, _ in rows]
        for (name, said), row in zip(self._rows, [*rows[:_ROWS], *[None] * _ROWS], strict=False):
            name.setVisible(row is not None)
            said.setVisible(row is not None)
            if row is not None:
                name.show_text(_short(row[0]), theme.trace_colour(row[0]))
                said.show_text(row[1], row[2])
        if bed is not None:
            self._show_calibration(bed, connected=model.connected)
        else:
            self.calibration.show_text("")
            self._progress.hide()
        plain = bed.comparators if bed is not None else _NOTHING
        self._show(self.heart_rate, "HR {} /min", plain.heart_rate_bpm, 0, plain.heart_rate_absent, model.connected)
        self._show(self.scr, "SCR {} /s", plain.scr_per_s, 2, plain.scr_absent, model.connected)
        self._show(self.spi, "SPI {}", plain.spi, 0, plain.spi_absent, model.connected)

    def _show(
        self, label: Text, text: str, value: float | None, digits: int, absent: tuple[str, ...], connected: bool
    ) -> None:
        """A plain measure, or a faint `--`; its tip says what it is, and why there is none."""
        told = value is not None and connected
        label.show_text(text.format(f"{value:.{digits}f}" if told else "--"), theme.TEXT if told else theme.FAINT)
        why = f": {words.reasons(absent)}" if absent and connected else ""
        label.setToolTip(f"{_TITLES[text]}{'' if told else f'{chr(10)}Cannot be told{why}'}")

    def _show_calibration(self, bed: BedState, *, connected: bool) -> None:
        calibration = bed.calibration
        said = words.CALIBRATION.get(calibration.state, calibration.state)
        running = calibration.state == CalibrationState.CALIBRATING
        if running:
            left = max(0.0, calibration.needed_s - calibration.valid_s)
            said = f"LRN  {left:.0f} s of rest to go"
        self.recalibrate.setVisible(calibration.state != CalibrationState.UNSPECIFIED)
        done = calibration.state in (CalibrationState.CALIBRATED, CalibrationState.UNSPECIFIED)
        colour = theme.GOOD if done else theme.WARN
        self.calibration.show_text(said, colour if connected else theme.FAINT)
        self._progress.setVisible(running)
        self._progress.setRange(0, max(1, round(calibration.needed_s)))
        self._progress.setValue(round(min(calibration.valid_s, calibration.needed_s)))


def _quality_rows(bed: BedState) -> list[tuple[str, str, str]]:
    """For each modality that the model reads, then in one line for those that it does not: name, words, colour."""
    streams = {item.modality: item for item in bed.streams if item.modality is not None}
    rows = [(item.modality, *_quality_words(item, streams.get(item.modality))) for item in bed.quality]
    scored = {item.modality for item in bed.quality}
    others = [stream for modality, stream in streams.items() if modality not in scored]
    refused = [stream for stream in others if stream.unused]
    rows += [(stream.modality or "", stream.unused, theme.WARN) for stream in refused]
    unread = [stream for stream in others if not stream.unused]
    if unread:
        said = [f"{_short(stream.modality or '')}{' (silent)' if _silent(stream) else ''}" for stream in unread]
        rows.append(("not read", ", ".join(said), theme.DIM))
    return rows


def _quality_words(quality: QualityView, stream: StreamView | None) -> tuple[str, str]:
    if stream is not None and _silent(stream):
        age = words.seconds(stream.age_s or 0.0) if stream.age_s is not None else "now"
        return f"✕ no signal for {age}", theme.BAD
    if not quality.usable:
        return f"✕ {words.reasons(quality.reasons) or 'unusable'}", theme.BAD
    grade = " (beats only)" if quality.grade == "beats" else ""
    losses = ""
    if stream is not None and (stream.gaps or stream.lost):
        losses = f"  ·  {stream.gaps} gap{'s' if stream.gaps != 1 else ''}" + (
            f", {stream.lost} samples lost" if stream.lost else ""
        )
    return f"✓ good{grade}{losses}", theme.WARN if grade else theme.GOOD


def _short(modality: str) -> str:
    """`ARRAY:regions` -> `regions`."""
    return modality.rpartition(":")[2]


def _silent(stream: StreamView) -> bool:
    return stream.age_s is None or stream.age_s > _SILENT_S
