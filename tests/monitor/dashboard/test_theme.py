"""What is written can be read: contrast of every colour of type on what it stands on, after WCAG 2.2."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QColor

from monitor.dashboard import theme

AA = 4.5
"""Least contrast of ordinary type (WCAG 2.2, 1.4.3)."""


def contrast(one: str, other: str) -> float:
    """Contrast of two colours, 1 to 21."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    """Relative luminance, 0 to 1, as WCAG defines it."""
    parts = QColor(colour).getRgbF()[:3]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("name", ["TEXT", "DIM", "FAINT", "ACCENT", "GOOD", "WARN", "BAD"])
def test_every_colour_of_type_can_be_read(name: str) -> None:
    colour = getattr(theme, name)
    assert min(contrast(colour, theme.PANEL), contrast(colour, theme.BACKGROUND)) >= AA


@pytest.mark.parametrize("level", sorted(theme.ALARM))
def test_every_alarm_line_can_be_read(level: str) -> None:
    assert contrast(*theme.ALARM[level]) >= AA


def test_every_trace_can_be_seen_and_an_old_index_stands_back() -> None:
    traces = [theme.trace_colour(name) for name in ("ECG", "EDA", "BVP", "EMG", "RESP", "SPO2", "TEMP", "another")]
    assert min(contrast(colour, theme.PANEL) for colour in traces) >= AA
    # Large type needs 3; a current index is several times as bright.
    assert contrast(theme.OLD, theme.PANEL) >= 3.0
    assert contrast(theme.TEXT, theme.PANEL) >= 4.0 * contrast(theme.OLD, theme.PANEL)


def test_the_measure_is_that_of_wcag() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)
