"""A real engine in a process of its own and the real dashboard: what is entered has its effect there and comes back."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from monitor.dashboard import theme
from monitor.dashboard.window import DashboardWindow
from monitor.link import ControlClient, EngineLink, endpoint
from monitor.sessions.file import list_sessions
from monitor.sessions.reader import SessionReader
from monitor.types import Command, Marker
from tests.conftest import REPOSITORY
from tests.helpers.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform == "win32", reason="there are no ipc sockets")]


class Bedside:
    """An engine, and the window that looks at it."""

    def __init__(self, folder: Path, qtbot: QtBot) -> None:
        self.state = folder / "state"
        self._qtbot = qtbot
        names = {"tiny-eda-ecg": ("EDA", "ECG"), "tiny-eda": ("EDA",)}
        self._bundles = [str(write_tiny_bundle(folder, name=name, modalities=m)) for name, m in names.items()]
        self.engine = self.start_engine()
        self.link = EngineLink(address=endpoint(self.state / "run", "bed1"), actor="nurse")
        self.window = DashboardWindow(link=self.link)
        self.window.close_without_asking = True
        self.window.resize(1280, 800)
        self.window.show()
        qtbot.addWidget(self.window)

    def start_engine(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "tests.helpers.engine_process", str(self.state), *self._bundles]
        self.engine = subprocess.Popen(
            command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.PIPE
        )
        return self.engine

    def until(self, what: Callable[[], object], seconds: float = 60.0) -> None:
        """Let the window live until something has come about."""
        self._qtbot.waitUntil(lambda: bool(what()), timeout=round(1000 * seconds))

    @property
    def bed(self) -> object:
        return self.window.model.bed

    def stop(self) -> int:
        self.engine.terminate()
        return self.engine.wait(60)

    def close(self) -> None:
        if self.engine.poll() is None:
            self.engine.kill()
            self.engine.wait()
        if self.engine.stdin is not None:
            self.engine.stdin.close()
        self.window.close()
        self.link.close()


@pytest.fixture
def bedside(tmp_path: Path, qtbot: QtBot, qapp: QApplication) -> Iterator[Bedside]:
    theme.apply(qapp)
    bedside = Bedside(tmp_path, qtbot)
    yield bedside
    bedside.close()


def test_what_is_entered_takes_effect_in_the_engine_and_comes_back(bedside: Bedside, qtbot: QtBot) -> None:
    window = bedside.window
    bedside.until(lambda: window.model.bed is not None and window.waveforms.rows)
    window.entries.note.setText("turned")
    qtbot.mouseClick(window.entries.buttons["movement"], Qt.MouseButton.LeftButton)
    bedside.until(lambda: "movement: turned  (nurse)" in window.entries.last.full_text)
    window.entries.pad.begin()
    qtbot.keyClicks(window.entries.pad, "10")
    qtbot.keyClick(window.entries.pad, Qt.Key.Key_Return)
    bedside.until(lambda: "NRS 10" in window.entries.last.full_text)

    box = window.header.bundles
    assert (box.currentText(), box.count()) == ("tiny-eda-ecg", 2)
    box.setCurrentIndex(1)
    box.activated.emit(1)
    bedside.until(lambda: box.currentText() == "tiny-eda")
    bedside.until(lambda: window.model.has_score and window.model.bed.score.bundle == "tiny-eda")
    bedside.until(lambda: window._attention is not None and window._attention.bundle == "tiny-eda")
    bedside.until(lambda: window.index.number.reading.value is not None)
    assert window.status.full_text

    window.header.pause.setChecked(True)
    window.tick()
    frozen = window.waveforms._rows["synthetic:ECG"]._curve.getData()[1].tolist()
    k = window.model.bed.score.k
    bedside.until(lambda: window.model.bed.score.k >= k + 2)
    assert window.waveforms._rows["synthetic:ECG"]._curve.getData()[1].tolist() == frozen
    window.header.pause.setChecked(False)
    bedside.until(lambda: window.waveforms._rows["synthetic:ECG"]._curve.getData()[1].tolist() != frozen)

    bedside.until(lambda: window.model.bed.calibration.state == "calibrated")
    window.ask("recalibrate")
    bedside.until(lambda: window.model.bed.calibration.state != "calibrated")
    assert bedside.stop() == 0
    (path,) = list_sessions(bedside.state, "bed1")
    with SessionReader(path) as session:
        actions = [entry.item.action for entry in session.entries() if isinstance(entry.item, Command)]
        markers = list(session.events(Marker))
    assert actions == ["marker", "nrs", "choose_bundle", "recalibrate"]
    assert [(marker.kind, marker.value, marker.actor) for marker in markers] == [
        ("movement", None, "nurse"),
        ("nrs", 10.0, "nurse"),
    ]


def test_a_killed_engine_is_seen_and_its_successor_is_shown(bedside: Bedside) -> None:
    window = bedside.window
    bedside.until(lambda: window.model.bed is not None and window.model.bed.score is not None)
    first = window.model.frame.engine
    bedside.engine.kill()
    bedside.engine.wait()
    bedside.until(lambda: "No word from the engine" in window.alarms.text.full_text, seconds=20.0)
    assert window.index.number.reading.grey
    if bedside.engine.stdin is not None:
        bedside.engine.stdin.close()
    bedside.start_engine()
    bedside.until(lambda: window.model.frame.engine != first and window.model.connected)
    bedside.until(lambda: "No word" not in window.alarms.text.full_text)
    assert bedside.stop() == 0


def test_a_dashboard_that_was_stopped_costs_no_window_and_shows_the_present(bedside: Bedside) -> None:
    window = bedside.window
    bedside.until(lambda: window.model.bed is not None and window.model.bed.score is not None)
    k = window.model.bed.score.k
    time.sleep(5.0)  # nothing of Qt runs meanwhile, as when the process is stopped
    control = ControlClient(state_dir=bedside.state, bed="bed1")
    # The engine is the measure, and no clock: it may be late itself, and what lags behind it stays behind.
    bedside.until(lambda: control.request("status", timeout=20.0)["score"]["k"] - window.model.bed.score.k <= 1, 10.0)
    assert window.model.bed.score.k > k
    bedside.until(lambda: not window.model.wants_history and not window._asked_history)
    times = window.model.trend()[0]
    assert (times[1:] - times[:-1]).tolist() == [1.0] * (len(times) - 1)


@pytest.mark.skipif("PAIN_MONITOR_XVFB" in os.environ, reason="this is the run under Xvfb")
def test_the_same_under_an_x_server() -> None:
    if shutil.which("xvfb-run") is None:
        pytest.skip("xvfb-run is not installed")
    done = subprocess.run(
        ["xvfb-run", "-a", sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-k", "comes_back", __file__],
        cwd=REPOSITORY,
        env={**os.environ, "QT_QPA_PLATFORM": "xcb", "PAIN_MONITOR_XVFB": "1"},
        capture_output=True,
        text=True,
        timeout=150,
        start_new_session=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
