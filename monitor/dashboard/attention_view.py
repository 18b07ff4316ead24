"""The panel of the newest window's attention: cards beside one another, and pages where there are more than fit."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QVBoxLayout

from monitor.dashboard import theme
from monitor.dashboard.attention_cards import AnyCard, PictureCard, RankedCard, pages
from monitor.dashboard.attention_paint import CardWidget
from monitor.dashboard.parts import Label, Panel, Text


class AttentionView(Panel):
    """The cards of the newest window, or why there are none."""

    def __init__(self) -> None:
        super().__init__()
        self._cards: tuple[AnyCard, ...] = ()
        self._pages: tuple[tuple[AnyCard, ...], ...] = ((),)
        self._page = 0
        self._names: tuple[str, ...] = ()
        self._widgets: list[CardWidget] = []
        self._said = Text(pixels=13, colour=theme.DIM)
        self._where = Label(pixels=13, colour=theme.DIM)
        self.more = QPushButton()
        theme.set_font(self.more, 13)
        self.more.setStyleSheet("padding: 0px 8px;")
        self.more.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        self.more.setToolTip("V. The next of this model's maps")
        self.more.clicked.connect(self.next_page)
        top = QHBoxLayout()
        top.setSpacing(8)
        top.addWidget(self._said, 1)
        top.addWidget(self._where)
        top.addWidget(self.more)
        self._row = QHBoxLayout()
        self._row.setSpacing(18)
        column = QVBoxLayout(self)
        column.setContentsMargins(10, 4, 10, 6)
        column.setSpacing(2)
        column.addLayout(top)
        column.addLayout(self._row, 1)
        self._show_page()
        self.show_cards((), "")

    @property
    def said(self) -> str:
        """The line above the cards."""
        return self._said.full_text

    @property
    def shown(self) -> tuple[AnyCard, ...]:
        """The cards of the page that is shown."""
        return self._pages[self._page] if self._cards else ()

    @property
    def wants_room(self) -> bool:
        """Whether pictures or lists are shown, which are not legible in a low panel."""
        return any(isinstance(card, PictureCard | RankedCard) for card in self._cards)

    def show_cards(self, cards: tuple[AnyCard, ...], why_not: str) -> None:
        """Draw cards, or say why there are none. The page stays as long as the model's maps are the same."""
        self._said.show_text("ATTENTION  model attention (not a cause)" if cards else f"ATTENTION  {why_not or 'none'}")
        if cards is self._cards:
            return
        self._cards = cards
        if cards:
            self._pages = pages(cards)
            names = tuple(card.name for card in cards)
            if names != self._names:
                self._names, self._page = names, 0
            self._page = min(self._page, len(self._pages) - 1)
        self._show_page()

    def next_page(self) -> None:
        """Turn to the next page, and from the last to the first."""
        if len(self._pages) > 1 and self._cards:
            self._page = (self._page + 1) % len(self._pages)
            self._show_page()

    def _show_page(self) -> None:
        shown = self.shown
        while len(self._widgets) < len(shown):
            self._widgets.append(CardWidget())
            self._row.addWidget(self._widgets[-1])
        for number, widget in enumerate(self._widgets):
            widget.setVisible(number < len(shown))
            self._row.setStretch(number, shown[number].width if number < len(shown) else 0)
        for widget, card in zip(self._widgets, shown, strict=False):
            widget.show_card(card)
        self._show_more()

    def _show_more(self) -> None:
        many = len(self._pages) > 1 and bool(self._cards)
        self._where.setVisible(many)
        self.more.setVisible(many)
        if many:
            others = len(self._cards) - len(self.shown)
            self._where.show_text(f"page {self._page + 1} of {len(self._pages)}")
            said = f"{others} more  V"
            if said != self.more.text():
                self.more.setText(said)
