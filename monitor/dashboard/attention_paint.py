"""The cards of the attention panel, painted: a title, what is to be seen, and how to read it."""

from __future__ import annotations

from typing import Final

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QRectF, Qt
from PySide6.QtGui import QColor, QFontMetrics, QImage, QPainter, QPaintEvent
from PySide6.QtWidgets import QSizePolicy, QVBoxLayout, QWidget

from monitor.dashboard import theme
from monitor.dashboard.attention_cards import (
    AnyCard,
    GateCard,
    MapCard,
    PictureCard,
    ProfileCard,
    RankedCard,
    ShareCard,
)
from monitor.dashboard.parts import Text
from monitor.types import FloatArray

Pixels = NDArray[np.ubyte]

_COLOURS: Final = pg.ColorMap([0.0, 0.35, 0.7, 1.0], ["#14181e", "#2c4f7c", "#86b4f0", "#f4f7fb"]).getLookupTable(
    nPts=256
)
"""From the panel's own colour to white, evenly brighter: legible without telling colours apart."""
_LOOKED: Final = (64, 156, 255)
_STRONGEST_ALPHA: Final = 205
_GREYED: Final = 0.55
"""Below a roll-out a picture is grey and this bright, so that only attention has a colour."""
_MIDDLE: Final = int(Qt.AlignmentFlag.AlignCenter)
_LEFT: Final = int(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
_RIGHT: Final = int(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)


class CardWidget(QWidget):
    """One card, and later others in its place."""

    def __init__(self) -> None:
        super().__init__()
        self._title = Text(pixels=13)
        self._canvas = _Canvas()
        self._note = Text(pixels=12, colour=theme.FAINT)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(1)
        column.addWidget(self._title)
        column.addWidget(self._canvas, 1)
        column.addWidget(self._note)

    @property
    def card(self) -> AnyCard | None:
        """What is shown."""
        return self._canvas.card

    def show_card(self, card: AnyCard) -> None:
        """Draw a card."""
        self._title.show_text(card.title, theme.TEXT)
        self._note.show_text(card.note)
        self._canvas.show_card(card)


class _Canvas(QWidget):
    """Where a card is painted; images are made once a card."""

    def __init__(self) -> None:
        super().__init__()
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Expanding)
        self.setMinimumHeight(40)
        self.card: AnyCard | None = None
        self._images: tuple[QImage, ...] = ()

    def show_card(self, card: AnyCard) -> None:
        if card is self.card:
            return
        self.card = card
        match card:
            case PictureCard():
                self._images = _pictures(card)
            case MapCard(focus=True):
                self._images = (_image(_heat(card.strength)),)
            case _:
                self._images = ()
        self.update()

    def paintEvent(self, _event: QPaintEvent) -> None:  # noqa: N802 (Qt's name)
        painter = QPainter(self)
        painter.setFont(theme.font(13))
        box = QRectF(self.rect())
        match self.card:
            case PictureCard() as card:
                _paint_pictures(painter, box, card, self._images)
            case MapCard(focus=True):
                painter.drawImage(box, self._images[0])
            case MapCard() | ProfileCard(focus=False):
                _paint_word(painter, box, "no focus")
            case ProfileCard() as card:
                _paint_bars(painter, box, card.strength)
            case ShareCard() as card:
                rows = [
                    (name, share, f"{100 * share:.0f} %") for name, share in zip(card.names, card.shares, strict=True)
                ]
                _paint_rows(painter, box, rows)
            case RankedCard() as card:
                _paint_ranked(painter, box, card)
            case GateCard(active=True) as card:
                _paint_bars(painter, box, card.values)
            case GateCard():
                _paint_word(painter, box, "inactive")
        painter.end()


def overlay(strength: FloatArray) -> Pixels:
    """(rows, columns, 4) one colour whose opacity is the attention.

    Args:
        strength: (rows, columns) 0..1.
    """
    found = np.empty((*strength.shape, 4), dtype=np.ubyte)
    found[..., :3] = _LOOKED
    found[..., 3] = np.rint(_STRONGEST_ALPHA * strength)
    return found


def _heat(strength: FloatArray) -> Pixels:
    return np.ascontiguousarray(_COLOURS[(255.0 * strength).astype(np.ubyte)], dtype=np.ubyte)


def _image(pixels: Pixels) -> QImage:
    """Of (rows, columns, 3 or 4) bytes."""
    height, width, parts = pixels.shape
    kind = QImage.Format.Format_RGB888 if parts == 3 else QImage.Format.Format_RGBA8888
    # QImage does not copy by itself, and the array need not live as long as it.
    return QImage(np.ascontiguousarray(pixels).data, width, height, parts * width, kind).copy()


def _pictures(card: PictureCard) -> tuple[QImage, ...]:
    """The picture as it is, where it stands alone or beside; then what attention is laid over, and the attention."""
    made = []
    if card.pixels is not None and (card.beside or not card.focus):
        made.append(_image(card.pixels))
    if card.strength is not None and card.focus:
        below = card.pixels if card.pixels is not None else np.zeros((*card.strength.shape, 3), dtype=np.ubyte)
        grey = (_GREYED * below.mean(axis=2, keepdims=True)).astype(np.ubyte)
        made += [_image(np.repeat(grey, 3, axis=2)), _image(overlay(card.strength))]
    return tuple(made)


def _paint_pictures(painter: QPainter, box: QRectF, card: PictureCard, images: tuple[QImage, ...]) -> None:
    side = min(box.height(), box.width() if not card.beside else 0.5 * (box.width() - theme.px(8)))
    left = box.left()
    painter.setRenderHint(QPainter.RenderHint.SmoothPixmapTransform)
    plain = len(images) in (1, 3)
    if plain:
        painter.drawImage(QRectF(left, box.top(), side, side), images[0])
        left += side + theme.px(8)
    if card.strength is None:
        return
    place = QRectF(left, box.top(), side, side)
    if card.focus:
        painter.drawImage(place, images[-2])
        painter.drawImage(place, images[-1])
        left += side + theme.px(8)
        _paint_key(painter, QRectF(left, box.top(), box.right() - left, side), beside=card.beside)
    elif card.beside or not plain:
        _paint_word(painter, place, "no focus")
    else:
        painter.fillRect(QRectF(place.left() - side - theme.px(8), box.bottom() - theme.px(20), side, theme.px(20)),
                         QColor(theme.RAISED))  # fmt: skip
        painter.setPen(QColor(theme.DIM))
        painter.drawText(QRectF(box.left(), box.bottom() - theme.px(20), side, theme.px(20)), _MIDDLE, "no focus")


def _paint_key(painter: QPainter, box: QRectF, *, beside: bool) -> None:
    """What the colour means, where there is room to say it."""
    lines = (*(("left: what it saw",) if beside else ()), "blue: where it", "looked most")
    painter.setFont(theme.font(12))
    metrics = QFontMetrics(painter.font())
    if max(metrics.horizontalAdvance(line) for line in lines) > box.width():
        return
    painter.setPen(QColor(theme.FAINT))
    for number, line in enumerate(lines):
        painter.drawText(QRectF(box.left(), box.top() + number * metrics.height(), box.width(), metrics.height()),
                         _LEFT, line)  # fmt: skip


def _paint_word(painter: QPainter, box: QRectF, word: str) -> None:
    painter.fillRect(box, QColor(theme.RAISED))
    painter.setPen(QColor(theme.DIM))
    painter.setFont(theme.font(16))
    painter.drawText(box, _MIDDLE, word)


def _paint_bars(painter: QPainter, box: QRectF, values: FloatArray) -> None:
    """One upright bar a value."""
    width, height = box.width() / len(values), box.height()
    gap = min(theme.px(2), 0.3 * width)
    painter.fillRect(box, QColor(theme.RAISED))
    colour = QColor(theme.ACCENT)
    for number, value in enumerate(values.tolist()):
        left = box.left() + number * width
        painter.fillRect(QRectF(left, box.top() + height * (1.0 - value), width - gap, height * value), colour)


def _paint_rows(painter: QPainter, box: QRectF, rows: list[tuple[str, float, str]]) -> None:
    """One lying bar a row, 0 to 1, with its name and its number."""
    metrics = QFontMetrics(painter.font())
    height = min(float(theme.px(26)), box.height() / max(1, len(rows)))
    names = max((metrics.horizontalAdvance(name) for name, _, _ in rows), default=0) + theme.px(8)
    figures = max((metrics.horizontalAdvance(said) for _, _, said in rows), default=0) + theme.px(8)
    names = min(names, int(0.55 * box.width()))
    for number, (name, share, said) in enumerate(rows):
        top = box.top() + number * height
        bar = QRectF(box.left() + names, top + 0.25 * height, box.width() - names - figures, 0.5 * height)
        painter.fillRect(bar, QColor(theme.RAISED))
        painter.fillRect(QRectF(bar.left(), bar.top(), bar.width() * share, bar.height()), QColor(theme.ACCENT))
        painter.setPen(QColor(theme.TEXT))
        cut = metrics.elidedText(name, Qt.TextElideMode.ElideRight, names - theme.px(4))
        painter.drawText(QRectF(box.left(), top, names, height), _LEFT, cut)
        painter.drawText(QRectF(box.right() - figures, top, figures, height), _RIGHT, said)


def _paint_ranked(painter: QPainter, box: QRectF, card: RankedCard) -> None:
    """The list in two columns, and below it a strip of all."""
    strip = theme.px(14)
    list_box = QRectF(box.left(), box.top(), box.width(), box.height() - strip - theme.px(5))
    if card.active:
        gap = theme.px(20)
        half = (len(card.entries) + 1) // 2
        column = 0.5 * (list_box.width() - gap)
        for number, part in enumerate((card.entries[:half], card.entries[half:])):
            place = QRectF(list_box.left() + number * (column + gap), list_box.top(), column, list_box.height())
            height = list_box.height() / half
            painter.setFont(theme.font(min(theme.px(14), max(9, int(0.85 * height))), scaled=False))
            _paint_rows(painter, place, [(name, value, f"{value:.2f}") for name, value in part])
    else:
        _paint_word(painter, list_box, "inactive")
    painter.drawImage(QRectF(box.left(), box.bottom() - strip, box.width(), strip), _image(_heat(card.values[None])))
