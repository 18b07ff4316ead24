"""The screen that the tests of the dashboard look at."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from monitor.dashboard import theme
from tests.helpers.screen import Screen


@pytest.fixture(scope="session")
def dark(qapp: QApplication) -> None:
    theme.apply(qapp)


@pytest.fixture
def screen(qtbot: QtBot, dark: None) -> Iterator[Screen]:
    screen = Screen(qtbot)
    screen.window.resize(1280, 800)
    screen.window.show()
    yield screen
    theme.rescale(screen.window, 1.0)
