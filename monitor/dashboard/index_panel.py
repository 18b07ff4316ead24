"""The pain index: one large number, its class and probabilities, and which way it goes.

A model that is untrained or does not classify pain has none: its class and probabilities stand alone, and what it is
stands above them.
"""

from __future__ import annotations

import math
from typing import Final

from PySide6.QtCore import QPointF, QRectF, QSize, Qt
from PySide6.QtGui import QColor, QFontMetricsF, QPainter, QPainterPath, QPainterPathStroker, QPaintEvent, QPolygonF
from PySide6.QtWidgets import QSizePolicy, QStackedWidget, QVBoxLayout, QWidget

from monitor.dashboard import theme
from monitor.dashboard.model import DashboardModel, IndexReading
from monitor.dashboard.parts import Label, Panel, Text
from monitor.link import ScoreView
from monitor.types import CalibrationState

_LOWER: Final = 70
_LOWER_MOST: Final = 132
_ROW: Final = 22
_CLASS: Final = "class of last window"
_STEEP: Final = 20.0
"""Change of the index in half a minute at which the arrow stands at its steepest."""


class IndexPanel(Panel):
    """Everything about the index of the newest window."""

    def __init__(self) -> None:
        super().__init__()
        self._title = Text(pixels=15, colour=theme.DIM, bold=True)
        self.number = _Number()
        self.slow = Text(pixels=16, colour=theme.DIM)
        self.notice = Label(pixels=16, colour=theme.TEXT, bold=True)
        self.notice.setWordWrap(True)
        self.notice.hide()
        self._bars = _Bars()
        self.reason = Label(pixels=17, colour=theme.WARN)
        self.reason.setWordWrap(True)
        self.reason.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignTop)
        # A score has bars, a missing one has reasons; they share their place.
        self._lower = QStackedWidget()
        self._lower.addWidget(self._bars)
        self._lower.addWidget(self.reason)
        theme.set_size(self._lower, height=_LOWER)
        column = QVBoxLayout(self)
        column.setContentsMargins(14, 8, 14, 8)
        column.setSpacing(2)
        column.addWidget(self._title)
        column.addWidget(self.notice)
        column.addWidget(self.number, 1)
        column.addWidget(self.slow)
        column.addWidget(self._lower)

    def refresh(self, model: DashboardModel) -> None:
        """Draw what the model knows."""
        reading = model.index()
        score = model.bed.score if model.bed is not None else None
        shown = score if score is not None and score.probabilities is not None and model.has_score else None
        has_index = model.has_index
        self.number.show_reading(reading if has_index else None, shown)
        self.notice.show_text(model.notice)
        self.notice.setVisible(bool(model.notice) and not has_index)
        self.slow.setVisible(has_index)
        hollow = reading.hollow and reading.value is not None
        title = "PAIN INDEX  hollow: not calibrated" if hollow else "PAIN INDEX 0–100"
        if model.bed is not None and model.bed.calibration.state == CalibrationState.REQUIRED:
            title = "PAIN INDEX  baseline no longer fits"
        self._title.show_text(title if has_index else "NO INDEX")
        self._bars.show_score(shown, graded=has_index)
        self._make_room(len(score.classes) if score is not None else 0)
        if shown is not None and reading.value is None:
            self.slow.show_text(f"no index: {reading.reason}", theme.WARN)
        else:
            slow = "---" if reading.slow is None else f"{reading.slow:.0f}"
            votes = model.votes()
            self.slow.show_text(votes or f"mean of 10 s   ·   of 120 s: {slow}", theme.DIM)
        said = reading.reason or "the last one is too old"
        self.reason.show_text(said if model.uncertain and model.connected else f"No score, because {said}")
        self._lower.setCurrentIndex(0 if shown is not None else 1)

    def _make_room(self, classes: int) -> None:
        height = min(max(_LOWER, _ROW * classes), _LOWER_MOST)
        if self._lower.property("designHeight") != height:
            theme.set_size(self._lower, height=height)


class _Number(QWidget):
    """The number, its arrow and its class; the class alone where there is no index."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.reading: IndexReading | None = None
        self.class_name = ""
        self._class_colour = theme.DIM

    def sizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        return QSize(theme.px(340), theme.px(130))

    def minimumSizeHint(self) -> QSize:  # noqa: N802 (Qt's name)
        return QSize(theme.px(300), theme.px(104))

    def show_reading(self, reading: IndexReading | None, score: ScoreView | None) -> None:
        """Draw a reading; None where the model has no index."""
        name, colour = "", theme.DIM
        if score is not None and score.probabilities is not None:
            best = max(range(len(score.classes)), key=score.probabilities.__getitem__)
            name, colour = score.classes[best], theme.level_colour(score.levels[best])
            if reading is None:  # its classes are no levels of pain, and have no colour of one
                colour = theme.ACCENT
        if (reading, name) != (self.reading, self.class_name):
            self.reading, self.class_name, self._class_colour = reading, name, colour
            self.setAccessibleName(f"Pain index {reading.text} {name}" if reading is not None else f"No index {name}")
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        reading = self.reading
        painter = QPainter(self)
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(Qt.PenStyle.NoPen)
        box = QRectF(self.rect())
        if reading is None:
            # Smaller than an index: what such a model says of a patient is no finding.
            self._draw_class(painter, box.left() + 2, box, largest=31)
            painter.end()
            return
        # It never grows beyond its usual size: an old number must not be larger than a new one was.
        pixels = max(theme.px(60), int(min(box.height() * 1.18, box.width() * 0.42, theme.px(126))))
        font = theme.font(pixels, bold=True, scaled=False)
        path = QPainterPath()
        path.addText(QPointF(0, 0), font, reading.text)
        bounds = path.boundingRect()
        path.translate(box.left() + 2 - bounds.left(), box.center().y() - bounds.center().y())
        colour = QColor(theme.OLD if reading.grey or reading.value is None else theme.TEXT)
        if reading.hollow and reading.value is not None:
            stroker = QPainterPathStroker()
            stroker.setWidth(3.0)
            painter.fillPath(stroker.createStroke(path), colour)
        else:
            painter.fillPath(path, colour)
        left = path.boundingRect().right() + theme.px(20)
        if reading.trend is not None and not reading.grey:
            centre = QPointF(left + theme.px(20), box.center().y() - theme.px(32))
            self._draw_arrow(painter, centre, reading.trend)
        self._draw_class(painter, left, box, largest=30)
        painter.end()

    def _draw_class(self, painter: QPainter, left: float, box: QRectF, *, largest: int) -> None:
        if not self.class_name:
            return
        painter.setPen(QColor(theme.DIM))
        painter.setFont(theme.font(14))
        middle = box.center().y()
        room = box.right() - left
        fits = painter.fontMetrics().horizontalAdvance(_CLASS) <= room
        above = middle + (theme.px(14) if largest <= 30 else -theme.px(16))
        painter.drawText(QPointF(left, above), _CLASS if fits else "last window")
        painter.setPen(QColor(self._class_colour))
        pixels = largest
        while pixels > 15 and QFontMetricsF(theme.font(pixels, bold=True)).horizontalAdvance(self.class_name) > room:
            pixels -= 1
        painter.setFont(theme.font(pixels, bold=True))
        painter.drawText(QPointF(left, middle + theme.px(44 if largest <= 30 else 34)), self.class_name)

    @staticmethod
    def _draw_arrow(painter: QPainter, centre: QPointF, trend: float) -> None:
        painter.save()
        painter.translate(centre)
        painter.scale(theme.px(100) / 100.0, theme.px(100) / 100.0)
        painter.rotate(-90.0 * math.tanh(trend / _STEEP) if abs(trend) >= 2.0 else 0.0)
        shape = [(-18, -4), (2, -4), (2, -13), (19, 0), (2, 13), (2, 4), (-18, 4)]
        painter.setBrush(QColor(theme.ACCENT))
        painter.drawPolygon(QPolygonF([QPointF(x, y) for x, y in shape]))
        painter.restore()


class _Bars(QWidget):
    """One bar a class."""

    def __init__(self) -> None:
        super().__init__()
        self._rows: list[tuple[str, float, str]] = []

    def show_score(self, score: ScoreView | None, *, graded: bool) -> None:
        """Draw the probabilities of a score, empty bars where there is none.

        Args:
            score: The score.
            graded: Whether the classes are levels of pain, and have their colours.
        """
        if score is not None and score.probabilities is not None:
            triples = zip(score.classes, score.probabilities, score.levels, strict=True)
            rows = [
                (name, share, theme.level_colour(level) if graded else theme.ACCENT) for name, share, level in triples
            ]
        else:
            rows = [(name, 0.0, colour) for name, _, colour in self._rows]
        if rows != self._rows:
            self._rows = rows
            self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        width, row = self.width(), min(theme.px(24), self.height() // max(1, len(self._rows)))
        painter.setFont(theme.font(min(theme.px(15), max(9, int(0.85 * row))), scaled=False))
        longest = max((painter.fontMetrics().horizontalAdvance(name) for name, _, _ in self._rows), default=0)
        names, figures = max(theme.px(92), min(longest + theme.px(8), width // 2)), theme.px(58)
        for number, (name, share, colour) in enumerate(self._rows):
            top = number * row
            bar = QRectF(names + 4.0, top + 0.28 * row, width - names - figures - 4.0, 0.44 * row)
            painter.fillRect(bar, QColor(theme.RAISED))
            painter.fillRect(QRectF(bar.left(), bar.top(), bar.width() * share, bar.height()), QColor(colour))
            painter.setPen(QColor(theme.TEXT if share > 0 else theme.FAINT))
            painter.drawText(QRectF(0, top, names, row), int(Qt.AlignmentFlag.AlignVCenter), name)
            said = f"{100 * share:.0f} %" if share > 0 else "–"
            painter.drawText(
                QRectF(width - figures, top, figures, row),
                int(Qt.AlignmentFlag.AlignVCenter | Qt.AlignmentFlag.AlignRight),
                said,
            )
        painter.end()
