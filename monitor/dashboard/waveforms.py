"""Scrolling waveforms, one row a stream, with the model's attention behind the signal that it belongs to.

The traces are the raw signals at their own time. The model sees them through a causal filter, which is late; the
attention is moved back by that delay, so that it stands on the beat that it means.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import pyqtgraph as pg
from PySide6.QtWidgets import QHBoxLayout, QVBoxLayout, QWidget

from monitor.dashboard import theme, words
from monitor.dashboard.attention import Shading
from monitor.dashboard.parts import Label, Panel, Text
from monitor.dashboard.sweep import Scale, SweepBuffer
from monitor.link import StreamView, WaveBlock
from monitor.modality import many_channels

SPAN_S: Final = 10.0
"""Seconds across the screen."""
LAG_S: Final = 0.15
"""The right edge stands this far behind now, where samples have arrived, so that it does not flicker."""

_SILENT_S: Final = 2.0
_KEPT_S: Final = 20.0
_SMALLEST: Final = {"ECG": 0.4, "EDA": 0.2, "BVP": 0.2, "EMG": 0.04, "RESP": 0.2, "SPO2": 4.0, "TEMP": 0.5, "ACC": 0.1}
_GREATEST: Final = {"SPO2": 100.0}
_ORDER: Final = ("ECG", "BVP", "EDA", "EMG", "RESP", "SPO2", "TEMP", "ACC")


class WaveformPanel(Panel):
    """All waveforms of a bed."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: dict[str, _Row] = {}
        self._shadings: dict[str, Shading] = {}
        self._frozen: float | None = None
        self._message = Text(pixels=18, colour=theme.DIM, text="waiting for signals")
        self._ruler = Text(pixels=12, colour=theme.FAINT)
        self._column = QVBoxLayout(self)
        self._column.setContentsMargins(10, 6, 8, 4)
        self._column.setSpacing(0)
        self._body = QVBoxLayout()
        self._body.setSpacing(2)
        self._arrays: list[Text] = []
        self._below = QVBoxLayout()
        self._below.setSpacing(1)
        self._column.addWidget(self._message)
        self._column.addLayout(self._body, 1)
        self._column.addLayout(self._below)
        self._column.addWidget(self._ruler)

    @property
    def paused(self) -> bool:
        """Whether the traces stand still."""
        return self._frozen is not None

    @property
    def rows(self) -> tuple[str, ...]:
        """Keys of the streams that are drawn, from the top."""
        return tuple(self._rows)

    def pause(self, at: float | None) -> None:
        """Stop the traces at a moment of the stream clock, or let them run on (None)."""
        self._frozen = at

    def clear(self) -> None:
        """Forget all traces: another bed."""
        self._shadings = {}
        self._set_rows([])

    def take(self, block: WaveBlock) -> None:
        """Samples have arrived."""
        row = self._rows.get(block.stream)
        if row is not None and not self.paused:
            row.push(block)

    def shade(self, shadings: dict[str, Shading]) -> None:
        """Attention of the newest window, by modality; none where there is no score."""
        if not self.paused:
            self._shadings = shadings

    def refresh_streams(self, streams: tuple[StreamView, ...]) -> None:
        """The streams of the bed, four times a second."""
        self._tell_arrays([item for item in streams if _is_array(item)])
        drawn = [item for item in streams if item.rate_hz > 0 and not _is_array(item)]
        drawn.sort(key=lambda item: _ORDER.index(item.modality) if item.modality in _ORDER else len(_ORDER))
        if [item.key for item in drawn] != list(self._rows):
            self._set_rows(drawn)
        for item in drawn:
            self._rows[item.key].describe(item)

    def draw(self, now: float) -> None:
        """Draw everything as of a moment of the stream clock."""
        end = (now if self._frozen is None else self._frozen) - LAG_S
        for row in self._rows.values():
            row.draw(end, self._shadings.get(row.modality))
        paused = "PAUSED: only these traces stand still, monitoring goes on   ·   " if self.paused else ""
        shaded = [s for s in self._shadings.values() if s.focus]
        flat = sorted(s.modality for s in self._shadings.values() if not s.focus)
        said = "shaded: model attention (not a cause)" if shaded else ""
        if flat:
            said += f"{', ' if said else 'model attention: '}no focus on {', '.join(flat)}"
        self._ruler.setVisible(bool(self._rows))
        self._ruler.show_text(
            f"{paused}last {SPAN_S:g} s{'   ·   ' if said else ''}{said}", theme.WARN if self.paused else theme.DIM
        )

    def _tell_arrays(self, streams: list[StreamView]) -> None:
        """Streams of many channels, which are no traces, in a line each."""
        while len(self._arrays) < len(streams):
            self._arrays.append(Text(pixels=14))
            self._below.addWidget(self._arrays[-1])
        for number, line in enumerate(self._arrays):
            line.setVisible(number < len(streams))
        for line, item in zip(self._arrays, streams, strict=False):
            said, colour = _array_words(item)
            line.show_text(said, colour)
        if not self._rows:
            self._message.setVisible(not streams)

    def _set_rows(self, streams: list[StreamView]) -> None:
        kept = {item.key for item in streams}
        for key in [key for key in self._rows if key not in kept]:
            row = self._rows.pop(key)
            self._body.removeWidget(row)
            row.hide()  # at once: it may be another patient's
            row.deleteLater()
        rows = {item.key: self._rows.get(item.key) or _Row(item) for item in streams}
        for number, row in enumerate(rows.values()):
            self._body.removeWidget(row)
            self._body.insertWidget(number, row, 1)
        self._rows = rows
        self._message.setVisible(not rows and not any(not line.isHidden() for line in self._arrays))


def _is_array(stream: StreamView) -> bool:
    return stream.channels > 1 or many_channels(stream.modality)


def _array_words(stream: StreamView) -> tuple[str, str]:
    """`ARRAY:regions  246 channels at 1 Hz · newest 0.4 s ago`, and its colour."""
    rate = stream.measured_hz if stream.measured_hz is not None else stream.rate_hz
    said = f"{stream.modality or stream.name}   {stream.channels} channels at {_hertz(rate)}"
    if stream.unused:
        return f"{said} · not used: {stream.unused}", theme.WARN
    if stream.age_s is None:
        return f"{said} · no samples yet", theme.WARN
    if stream.age_s > max(_SILENT_S, 2.0 / max(stream.rate_hz, 1e-3)):
        return f"{said} · no signal for {words.seconds(stream.age_s)}", theme.WARN
    return f"{said} · newest {stream.age_s:.1f} s ago", theme.TEXT


def _hertz(rate: float) -> str:
    return f"{rate:.0f} Hz" if rate >= 10 else f"{rate:.1f} Hz"


class _Row(QWidget):
    """One stream: its name, unit and range on the left, its trace on the right."""

    def __init__(self, stream: StreamView) -> None:
        super().__init__()
        self.modality = stream.modality or ""
        colour = theme.trace_colour(self.modality)
        self._buffer = SweepBuffer(capacity=max(64, int(_KEPT_S * stream.rate_hz * 1.2)))
        self._scale = Scale(smallest=_SMALLEST.get(self.modality, 1e-3))
        self._name = Text(pixels=19, colour=colour, bold=True, text=self.modality or stream.name)
        self._range = Text(pixels=12, colour=theme.DIM)
        self._state = Text(pixels=12, colour=theme.FAINT)
        left = QWidget()
        theme.set_size(left, width=124)
        labels = QVBoxLayout(left)
        labels.setContentsMargins(0, 0, 4, 0)
        labels.setSpacing(0)
        labels.addStretch(1)
        for label in (self._name, self._range, self._state):
            labels.addWidget(label)
        labels.addStretch(1)
        self._plot = pg.PlotWidget(background=theme.PANEL)
        self._plot.setStyleSheet("border: none;")
        self._plot.setMinimumHeight(30)
        self._plot.setMenuEnabled(False)
        self._plot.setMouseEnabled(False, False)
        self._plot.hideButtons()
        self._plot.hideAxis("left")
        self._plot.hideAxis("bottom")
        self._plot.setXRange(-SPAN_S, 0.0, padding=0.0)
        self._shade = pg.ImageItem(axisOrder="row-major")
        self._shade.hide()
        self._plot.addItem(self._shade)
        self._curve = pg.PlotCurveItem(pen=pg.mkPen(colour, width=1), antialias=False)
        self._plot.addItem(self._curve)
        self._silent = Label(pixels=15, colour=theme.WARN)
        self._silent.setParent(self._plot)
        self._silent.move(12, 4)
        self._silent.hide()
        self._painted: Shading | None = None
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, 0, 0)
        row.setSpacing(4)
        row.addWidget(left)
        row.addWidget(self._plot, 1)

    def push(self, block: WaveBlock) -> None:
        """Take samples."""
        self._buffer.push(block.samples, first_index=block.first_index, t0=block.t0, rate=block.rate)

    def describe(self, stream: StreamView) -> None:
        """Say how the stream is."""
        rate = stream.measured_hz if stream.measured_hz is not None else stream.rate_hz
        self._state.show_text(_hertz(rate))
        self._unit = stream.unit
        said = ""
        if stream.unused:
            said = f"shown only: {stream.unused}"
        elif stream.age_s is None:
            said = "no samples yet"
        elif stream.age_s > _SILENT_S:
            said = f"no signal for {words.seconds(stream.age_s)}"
        if said != self._silent.text():
            self._silent.show_text(said)
            self._silent.adjustSize()
            self._silent.setVisible(bool(said))

    def draw(self, end: float, shading: Shading | None) -> None:
        """Draw the trace up to a moment, and the attention behind it."""
        columns = max(16, self._plot.width())
        trace = self._buffer.trace(end - SPAN_S, end, columns=columns)
        self._curve.setData(trace.t - end, trace.y, connect=trace.connect, skipFiniteCheck=True)
        if len(trace.t) == 0 or trace.t[-1] <= end - SPAN_S:
            self._range.show_text("")  # there is nothing that it could be the range of
            self._draw_shade(end, None, 0.0, 0.0)
            return
        low, high = self._scale.fit(trace.y)
        bottom, top = self._plot.getViewBox().viewRange()[1]
        if (bottom, top) != (low, high) or not self._range.full_text:
            self._plot.setYRange(low, high, padding=0.0)
            digits = 0 if high - low >= 20 else 1 if high - low >= 0.9 else 2
            # The edges of the picture, which has a margin; no signal goes beyond what can be.
            most = min(high, _GREATEST.get(self.modality, high))
            self._range.show_text(f"{low:.{digits}f} to {most:.{digits}f} {self._unit_text}".replace("-", "−"))
        self._draw_shade(end, shading, low, high)

    @property
    def _unit_text(self) -> str:
        unit = getattr(self, "_unit", "")
        return {"uS": "µS", "degC": "°C"}.get(unit, unit)

    def _draw_shade(self, end: float, shading: Shading | None, low: float, high: float) -> None:
        if shading is None or not shading.focus:
            self._shade.hide()
            self._painted = None
            return
        if shading is not self._painted:
            self._painted = shading
            pixels = np.empty((1, len(shading.strength), 4), dtype=np.ubyte)
            pixels[..., :3] = (96, 140, 200)
            pixels[0, :, 3] = (150 * shading.strength).astype(np.ubyte)
            self._shade.setImage(pixels, autoLevels=False, levels=None)
        self._shade.setRect(shading.start - end, low, shading.width * len(shading.strength), high - low)
        self._shade.show()
