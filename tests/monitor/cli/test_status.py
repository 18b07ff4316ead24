"""`pain-monitor status`: what is wrong is said in words, and by the exit code."""

from __future__ import annotations

import json
from pathlib import Path

from typer.testing import CliRunner

from monitor.cli import app
from monitor.cli.status import status_lines
from monitor.engine.engine import Engine
from tests.helpers.engine_process import settings_for
from tests.helpers.scripted import wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

ROUTE = {"checks": 3, "missed": 1, "proved_s_ago": 61.2, "problem": "its access list must let this user write"}
FOUND = {
    "bed": "bed1", "subject": "P-001", "session": "s", "index": {"fast": 62.4, "hollow": True},
    "score": {"absent": [], "bundle": "tiny"}, "recording": {"problem": "", "path": "a.db", "lost_records": 7},
    "alarms": [{"condition": "broker_lost", "priority": "low", "presence": "ack", "text": "Watch", "causes": ["mqtt"]}],
    "selfcheck": {"mqtt-bed1": ROUTE, "link-bed1": {**ROUTE, "problem": "", "proved_s_ago": None}},
}  # fmt: skip


def test_everything_that_an_engine_says_is_put_into_words() -> None:
    lines = list(status_lines(FOUND))
    assert "score: by tiny, index 62 (not calibrated)" in lines
    assert "alarm: broker_lost, low, ack: Watch (mqtt)" in lines
    assert "recording: a.db, 7 records lost" in lines
    assert "route mqtt-bed1: DOES NOT WORK: its access list must let this user write, proved 61 s ago" in "\n".join(
        lines
    )
    assert "route link-bed1: works, never proved, 3 checks, 1 missed" in lines
    assert "score: none (EDA:gap)" in list(status_lines({**FOUND, "score": {"absent": ["EDA:gap"]}}))
    assert "score: none yet" in list(status_lines({**FOUND, "score": None}))


def test_a_real_engine_is_asked(tmp_path: Path) -> None:
    engine = Engine(settings=settings_for(tmp_path, write_tiny_bundle(tmp_path)), sources={})
    engine.start()
    try:
        wait_until(lambda: engine.load().checks > 0 and not any(engine.load().unproved.values()))
        answer = CliRunner().invoke(app, ["status", "--state-dir", str(tmp_path), "--json"])
    finally:
        engine.stop()
    assert answer.exit_code == 0, answer.output
    assert json.loads(answer.stdout)["bed"] == "bed1"
