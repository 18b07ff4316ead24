"""Cross-attention as heat maps: which moments of one signal were read with an eye on which of the other.

Models without it may have channel gates instead, which are drawn as bars.
"""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QHBoxLayout, QSizePolicy, QVBoxLayout, QWidget

from monitor.dashboard import theme
from monitor.dashboard.attention import Gates, HeatMap
from monitor.dashboard.parts import Panel, Text
from monitor.types import FloatArray

_COLOURS = pg.ColorMap([0.0, 0.35, 0.7, 1.0], ["#14181e", "#2c4f7c", "#86b4f0", "#f4f7fb"]).getLookupTable(nPts=256)
"""From the panel's own colour to white, evenly brighter: legible without telling colours apart."""


class AttentionView(Panel):
    """The heat maps of the newest window, or why there are none."""

    def __init__(self) -> None:
        super().__init__()
        self._maps: tuple[_Map, ...] = (_Map(), _Map())
        self._said = Text(pixels=13, colour=theme.DIM)
        row = QHBoxLayout()
        row.setSpacing(18)
        for item in self._maps:
            row.addWidget(item, 1)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 4, 10, 6)
        column.setSpacing(2)
        column.addWidget(self._said)
        column.addLayout(row, 1)
        self._gates = _Bars()
        self._gates.hide()
        column.addWidget(self._gates, 1)
        self.show_maps([], "")

    @property
    def said(self) -> str:
        """The line above the maps."""
        return self._said.full_text

    def show_maps(self, maps: list[HeatMap], why_not: str) -> None:
        """Draw maps, or say why there are none."""
        self._arrange(gates=False)
        for item, heat in zip(self._maps, [*maps[:2], None, None], strict=False):
            item.show_map(heat)
        self._said.show_text(
            "CROSS-ATTENTION  model attention (not a cause)" if maps else f"CROSS-ATTENTION  {why_not or 'none'}"
        )

    def show_gates(self, gates: Gates) -> None:
        """Draw channel gates."""
        self._arrange(gates=True)
        self._gates.show_values(gates.values if gates.active else None)
        inactive = "" if gates.active else "   SE inactive: all channels pass alike"
        self._said.show_text(
            f"CHANNEL GATES (SE)  {len(gates.values)} channels, 0 to 1 · model attention (not a cause){inactive}"
        )

    def _arrange(self, *, gates: bool) -> None:
        if gates is not self._gates.isHidden():
            return
        self._gates.setVisible(gates)
        for item in self._maps:
            item.setVisible(not gates)


class _Map(QWidget):
    """One heat map with its axes in words."""

    def __init__(self) -> None:
        super().__init__()
        self._heat: HeatMap | None = None
        self._image: QImage | None = None
        self._title = Text(pixels=13)
        self._below = Text(pixels=12, colour=theme.FAINT)
        self._canvas = _Canvas()
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addWidget(self._title)
        column.addWidget(self._canvas, 1)
        column.addWidget(self._below)

    def show_map(self, heat: HeatMap | None) -> None:
        """Draw a map; None for nothing."""
        if heat is None:
            self._title.show_text("")
            self._below.show_text("")
            self._canvas.show_image(None, "")
            return
        self._title.show_text(f"{heat.by} reads {heat.of}", theme.TEXT)
        self._below.show_text(f"→ time in {heat.of}, {heat.seconds:.1f} s      ↓ time in {heat.by}")
        if heat.focus:
            levels = (255.0 * heat.strength).astype(np.ubyte)
            self._canvas.show_image(np.ascontiguousarray(_COLOURS[levels], dtype=np.ubyte), "")
        else:
            self._canvas.show_image(None, "no focus")


class _Canvas(QWidget):
    """An image stretched over the widget, or a word in its middle."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(40)
        self._pixels: np.ndarray[tuple[int, ...], np.dtype[np.ubyte]] | None = None
        self._image: QImage | None = None
        self._word = ""

    def show_image(self, pixels: np.ndarray[tuple[int, ...], np.dtype[np.ubyte]] | None, word: str) -> None:
        """Draw (rows, columns, 3) bytes, or a word."""
        self._pixels, self._word = pixels, word
        self._image = None
        if pixels is not None:
            height, width = pixels.shape[:2]
            # QImage does not copy: the array must live as long as it.
            self._image = QImage(pixels.data, width, height, 3 * width, QImage.Format.Format_RGB888)
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        box = self.rect()
        if self._image is not None:
            painter.drawImage(QRectF(box), self._image)
        elif self._word:
            painter.fillRect(box, QColor(theme.RAISED))
            painter.setPen(QColor(theme.DIM))
            painter.setFont(theme.font(16))
            painter.drawText(box, int(Qt.AlignmentFlag.AlignCenter), self._word)
        painter.end()


class _Bars(QWidget):
    """One upright bar a channel."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self._values: FloatArray | None = None

    def show_values(self, values: FloatArray | None) -> None:
        """Draw (channels,) values 0..1; None for nothing."""
        self._values = values
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        if self._values is None:
            return
        painter = QPainter(self)
        width, height = self.width() / len(self._values), self.height()
        for number, value in enumerate(self._values.tolist()):
            left = number * width
            painter.fillRect(QRectF(left + 1.0, 0.0, width - 3.0, height), QColor(theme.RAISED))
            painter.fillRect(
                QRectF(left + 1.0, height * (1.0 - value), width - 3.0, height * value), QColor(theme.ACCENT)
            )
        painter.end()
