"""The index over the last quarter of an hour: fast and slow, limits, markers, and the time without a score."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QVBoxLayout

from monitor.dashboard import theme
from monitor.dashboard.model import TREND_S, DashboardModel
from monitor.dashboard.parts import Panel, Text

_TITLE: Final = "TREND 15 min · white 10 s, grey 120 s · red: no score"
_NO_INDEX: Final = "TREND · no index with this model · dots: NRS"
_INDEX_TICKS: Final = [[(0, "0"), (50, "50"), (100, "100")]]
_NRS_TICKS: Final = [[(0, "0"), (50, "5"), (100, "10")]]


class TrendPanel(Panel):
    """The trend curve."""

    def __init__(self) -> None:
        super().__init__()
        self._shown: tuple[object, ...] = ()
        self._plot = pg.PlotWidget(background=theme.PANEL)
        self._plot.setStyleSheet("border: none;")
        self._plot.setMenuEnabled(False)
        self._plot.setMouseEnabled(False, False)
        self._plot.hideButtons()
        self._plot.setXRange(-TREND_S / 60.0, 0.0, padding=0.01)
        self._plot.setYRange(0.0, 108.0, padding=0.03)
        for name in ("left", "bottom"):
            axis = self._plot.getAxis(name)
            axis.setPen(theme.LINE)
            axis.setTextPen(theme.DIM)
            axis.setStyle(tickLength=-3)
        self._plot.getAxis("left").setTicks(_INDEX_TICKS)
        self._plot.getAxis("bottom").setTicks([[(-10, "-10 min"), (-5, "-5 min"), (-0.7, "now")]])
        self.rescale()
        self._limits = [
            pg.InfiniteLine(angle=0, pen=pg.mkPen(colour, style=Qt.PenStyle.DashLine))
            for colour in ("#3f6f76", "#7d6a2c")
        ]
        for line in self._limits:
            self._plot.addItem(line)
        self._absent = self._curve(theme.BAD)
        self._marks = self._curve(theme.FAINT)
        self._slow = self._curve(theme.FAINT)
        self._fast = self._curve(theme.TEXT)
        self._scores = pg.ScatterPlotItem(size=8, pen=pg.mkPen(theme.BACKGROUND), brush=pg.mkBrush(theme.ACCENT))
        self._plot.addItem(self._scores)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 6, 8, 4)
        column.setSpacing(0)
        self.title = Text(pixels=13, colour=theme.DIM, text=_TITLE)
        column.addWidget(self.title)
        column.addWidget(self._plot, 1)
        self.setToolTip(
            "Dashed: the alarm limits. Dots: pain that the patient reported, 10 at the top. Upright lines: markers"
        )

    def rescale(self) -> None:
        """Follow the size of the window."""
        for name in ("left", "bottom"):
            self._plot.getAxis(name).setStyle(tickFont=theme.font(12))
        self._plot.getAxis("left").setWidth(theme.px(32))
        self._plot.getAxis("bottom").setHeight(theme.px(20))

    def refresh(self, model: DashboardModel) -> None:
        """Draw what the model knows, where that is new."""
        bed = model.bed
        if bed is None:
            if self._shown:
                self._shown = ()
                for item in (self._fast, self._slow, self._absent, self._marks, self._scores):
                    item.setData([], [])
            return
        times, fast, slow, absent = model.trend()
        newest = times[-1] if len(times) else 0.0
        shown = (bed.session, len(times), newest, len(bed.markers), bed.limits, model.has_index)
        if shown == self._shown:
            return
        self._shown = shown
        self._show_index(model.has_index)
        minutes = (times - newest) / 60.0
        holes = np.diff(times, append=newest) > 3.0 * bed.hop_s
        for curve, values in ((self._fast, fast), (self._slow, slow)):
            finite = np.isfinite(values)
            joined = finite & np.roll(finite, -1) & ~holes
            curve.setData(minutes, np.where(finite, values, 0.0), connect=joined.astype(np.int32))
        at = (absent - newest) / 60.0
        hop = bed.hop_s / 60.0
        self._absent.setData(
            np.stack((at - hop, at), axis=1).ravel(), np.full(2 * len(at), 0.5), connect="pairs", skipFiniteCheck=True
        )
        t = np.array([(m.t - newest) / 60.0 for m in bed.markers if m.kind != "nrs"], dtype=np.float64)
        self._marks.setData(np.repeat(t, 2), np.tile([0.0, 100.0], len(t)), connect="pairs", skipFiniteCheck=True)
        scores = [((m.t - newest) / 60.0, 10.0 * m.value) for m in bed.markers if m.value is not None]
        self._scores.setData([x for x, _ in scores], [y for _, y in scores])
        self._limits[0].setValue(bed.limits.moderate_on)
        self._limits[1].setValue(bed.limits.severe_on)

    def _show_index(self, there_is_one: bool) -> None:
        """With or without the curves of an index and its limits; what the patient reports is shown in any case."""
        self.title.show_text(_TITLE if there_is_one else _NO_INDEX)
        self._plot.getAxis("left").setTicks(_INDEX_TICKS if there_is_one else _NRS_TICKS)
        for item in (self._fast, self._slow, *self._limits):
            item.setVisible(there_is_one)

    def _curve(self, colour: str) -> pg.PlotCurveItem:
        curve = pg.PlotCurveItem(pen=pg.mkPen(colour, width=1), antialias=False)
        self._plot.addItem(curve)
        return curve
