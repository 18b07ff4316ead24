"""Small pieces that several panels are made of."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QFontMetrics, QResizeEvent
from PySide6.QtWidgets import QFrame, QLabel, QSizePolicy, QWidget

from monitor.dashboard import theme


class Panel(QFrame):
    """A box on the screen."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("panel", True)


class Text(QLabel):
    """One line that never makes its neighbours give way: what does not fit ends in dots, and the tip has it all.

    Args:
        pixels: Height of the type.
        colour: Of the text.
        bold: Whether it is bold.
        text: What it says at first.
        elide: Where the dots stand; in the middle for codes, which differ at their ends.
        smallest: Type that is still legible: before anything is cut, it is that small. 0 for one size only.
    """

    def __init__(
        self,
        *,
        pixels: int,
        colour: str = theme.TEXT,
        bold: bool = False,
        text: str = "",
        elide: Qt.TextElideMode = Qt.TextElideMode.ElideRight,
        smallest: int = 0,
    ) -> None:
        super().__init__()
        self._sizes = range(pixels, (smallest or pixels) - 1, -1)
        self._bold = bold
        self._full = ""
        self._colour = ""
        self._elide = elide
        theme.set_font(self, pixels, bold=bold)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Fixed)
        self.show_text(text, colour)

    @property
    def full_text(self) -> str:
        """What the line says, also where it does not all fit."""
        return self._full

    def show_text(self, text: str, colour: str | None = None) -> None:
        """Say something, in another colour if one is given; nothing is painted anew where nothing changes."""
        if colour is not None and colour != self._colour:
            self._colour = colour
            self.setStyleSheet(f"color: {colour}; background: transparent; border: none;")
        if text != self._full:
            self._full = text
            self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Cut the text to the new width."""
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        if len(self._sizes) > 1:
            room = self.width() - 2
            fits = (size for size in self._sizes if self._advance(size) <= room)
            size = next(fits, self._sizes[-1])
            if size != self.property("designPixels"):
                theme.set_font(self, size, bold=self._bold)
        metrics = QFontMetrics(self.font())
        fitting = metrics.elidedText(self._full, self._elide, max(0, self.width() - 2))
        cut = fitting != self._full
        self.setText(fitting)
        self.setToolTip(self._full if cut else "")

    def _advance(self, pixels: int) -> int:
        return QFontMetrics(theme.font(pixels, bold=self._bold)).horizontalAdvance(self._full)


class Label(QLabel):
    """A short text that takes the room it needs.

    Args:
        text: What it says.
        pixels: Height of the type.
        colour: Of the text.
        bold: Whether it is bold.
    """

    def __init__(self, text: str = "", *, pixels: int, colour: str = theme.TEXT, bold: bool = False) -> None:
        super().__init__(text)
        self._colour = colour
        theme.set_font(self, pixels, bold=bold)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setStyleSheet(f"color: {colour}; background: transparent; border: none;")

    def show_text(self, text: str, colour: str | None = None) -> None:
        """Say something, in another colour if one is given."""
        if colour is not None and colour != self._colour:
            self._colour = colour
            self.setStyleSheet(f"color: {colour}; background: transparent; border: none;")
        if text != self.text():
            self.setText(text)


class Fitted(QLabel):
    """A line that must always be read whole: where its room is small, its type is smaller.

    Args:
        text: What it says.
        pixels: Height of the type where there is room.
    """

    _SMALLEST = 10

    def __init__(self, text: str = "", *, pixels: int) -> None:
        super().__init__(text)
        self._pixels = pixels
        theme.set_font(self, pixels, bold=True)
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)

    def resizeEvent(self, event: QResizeEvent) -> None:  # noqa: N802 (Qt's name)
        """Choose the largest type that fits."""
        super().resizeEvent(event)
        pixels = self._pixels
        room = self.contentsRect().width() - theme.px(24)
        while pixels > self._SMALLEST and self._width(pixels) > room:
            pixels -= 1
        if pixels != self.property("designPixels"):
            theme.set_font(self, pixels, bold=True)

    def _width(self, pixels: int) -> int:
        return QFontMetrics(theme.font(pixels, bold=True)).horizontalAdvance(self.text())
