"""Colours and type: dark and calm, so that only an alarm is loud."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication, QWidget

BACKGROUND: Final = "#0c0f13"
PANEL: Final = "#14181e"
RAISED: Final = "#1f252d"
LINE: Final = "#2b323c"
TEXT: Final = "#e8ebef"
DIM: Final = "#98a2af"
FAINT: Final = "#7b8592"
OLD: Final = "#5d6774"
"""Of an index that is no longer current: large, and not to be taken for one that is."""
ACCENT: Final = "#8fb8e8"
GOOD: Final = "#7fbf8e"
WARN: Final = "#d9b36c"
BAD: Final = "#e08a6b"

ALARM: Final[Mapping[str, tuple[str, str]]] = MappingProxyType(
    {
        "high": ("#d62f2f", "#ffffff"),
        "medium": ("#f2c230", "#141100"),
        "low": ("#39b8c6", "#001416"),
        "technical": ("#2f6fb3", "#ffffff"),
    }
)
"""Background and text of the alarm line (clinical.md A4: high red, medium yellow, low cyan, technical blue)."""

_TRACES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ECG": "#79cf98",
        "EDA": "#c79be8",
        "BVP": "#86b4f0",
        "EMG": "#e0aaa2",
        "RESP": "#d3d7dc",
        "SPO2": "#a9c7ee",
        "TEMP": "#cdbf9a",
    }
)


def trace_colour(modality: str) -> str:
    """Colour of a modality's trace; none of them is an alarm's."""
    return _TRACES.get(modality, "#a7b0bb")


def level_colour(level: float) -> str:
    """Colour of a class by its pain level 0..1: grey over sand to terracotta, muted, and no alarm's."""
    stops = [(0.0, (152, 166, 180)), (0.5, (222, 184, 112)), (1.0, (226, 138, 104))]
    for (low, a), (high, b) in itertools.pairwise(stops):
        if level <= high:
            share = (level - low) / (high - low)
            return QColor(*(round(x + share * (y - x)) for x, y in zip(a, b, strict=True))).name()
    return QColor(*stops[-1][1]).name()


class _Scale:
    """Size of everything relative to a window of 1280x800, so that a larger screen is legible from farther away."""

    factor = 1.0


def px(pixels: float) -> int:
    """A length of the design, which is made for 1280x800, on the present window."""
    return max(1, round(_Scale.factor * pixels))


def font(pixels: int, *, bold: bool = False, scaled: bool = True) -> QFont:
    """The application's font.

    Args:
        pixels: Its size in the design.
        bold: Whether it is bold.
        scaled: Whether `pixels` is a length of the design; else it is one of the screen.
    """
    chosen = QFont(QApplication.font())
    chosen.setPixelSize(px(pixels) if scaled else pixels)
    chosen.setBold(bold)
    return chosen


def set_font(widget: QWidget, pixels: int, *, bold: bool = False) -> None:
    """Give a widget a font that follows the size of the window."""
    widget.setProperty("designPixels", pixels)
    widget.setProperty("designBold", bold)
    widget.setFont(font(pixels, bold=bold))


def set_size(widget: QWidget, *, width: int = 0, height: int = 0) -> None:
    """Fix a widget's width or height, or both, to a length that follows the size of the window."""
    widget.setProperty("designWidth", width)
    widget.setProperty("designHeight", height)
    if width:
        widget.setFixedWidth(px(width))
    if height:
        widget.setFixedHeight(px(height))


def rescale(window: QWidget, factor: float) -> bool:
    """Make everything in a window larger or smaller.

    Args:
        window: The window.
        factor: 1 for the size of the design.

    Returns:
        Whether anything changed.
    """
    if factor == _Scale.factor:
        return False
    _Scale.factor = factor
    for widget in window.findChildren(QWidget):
        if pixels := widget.property("designPixels"):
            widget.setFont(font(pixels, bold=bool(widget.property("designBold"))))
        if (width := widget.property("designWidth")) or widget.property("designHeight"):
            set_size(widget, width=width, height=widget.property("designHeight"))
        widget.updateGeometry()
    return True


def apply(application: QApplication) -> None:
    """Make an application dark, wherever it runs.

    The palette is set on Fusion: a style of the platform might ignore it, and offscreen there is no dark scheme.
    """
    application.setStyle("Fusion")
    palette = QPalette()
    roles = {
        QPalette.ColorRole.Window: BACKGROUND,
        QPalette.ColorRole.WindowText: TEXT,
        QPalette.ColorRole.Base: PANEL,
        QPalette.ColorRole.AlternateBase: RAISED,
        QPalette.ColorRole.Text: TEXT,
        QPalette.ColorRole.Button: RAISED,
        QPalette.ColorRole.ButtonText: TEXT,
        QPalette.ColorRole.ToolTipBase: RAISED,
        QPalette.ColorRole.ToolTipText: TEXT,
        QPalette.ColorRole.Highlight: "#3b5f8a",
        QPalette.ColorRole.HighlightedText: TEXT,
        QPalette.ColorRole.PlaceholderText: FAINT,
        QPalette.ColorRole.Link: ACCENT,
    }
    for role, colour in roles.items():
        palette.setColor(role, QColor(colour))
    for role in (QPalette.ColorRole.WindowText, QPalette.ColorRole.Text, QPalette.ColorRole.ButtonText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(FAINT))
    application.setPalette(palette)
    application.setStyleSheet(_SHEET)


_SHEET: Final = f"""
QFrame[panel="true"] {{ background: {PANEL}; border: 1px solid {LINE}; border-radius: 6px; }}
QPushButton, QToolButton {{
    background: {RAISED}; color: {TEXT}; border: 1px solid {LINE}; border-radius: 5px; padding: 4px 8px;
}}
QPushButton:hover {{ border-color: {ACCENT}; }}
QPushButton:pressed, QPushButton:checked {{ background: #35506f; border-color: {ACCENT}; }}
QPushButton:focus {{ border-color: {ACCENT}; }}
QPushButton:disabled {{ color: {FAINT}; }}
QLineEdit, QComboBox {{
    background: {RAISED}; color: {TEXT}; border: 1px solid {LINE}; border-radius: 5px; padding: 3px 6px;
}}
QComboBox QAbstractItemView {{ background: {RAISED}; color: {TEXT}; selection-background-color: #3b5f8a; }}
QProgressBar {{ background: {RAISED}; border: none; border-radius: 3px; }}
QProgressBar::chunk {{ background: {ACCENT}; border-radius: 3px; }}
"""
