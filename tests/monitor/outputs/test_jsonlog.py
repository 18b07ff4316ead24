"""The log says what happened, survives rotation, a full disk and a torn line, and shows no secret."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from monitor.clock import ManualClock, SystemClock
from monitor.config import BedSettings, JsonLogSettings, Settings, WebhookSettings
from monitor.engine.engine import Engine
from monitor.engine.wiring import Models, load_models, log_outputs
from monitor.errors import MonitorError
from monitor.outputs.base import Route
from monitor.outputs.jsonlog import JsonLogOutput
from monitor.types import AlarmEvent, CalibrationEvent, CalibrationState, Command, Comparators, PainIndex, Score
from tests.helpers.engine_process import settings_for
from tests.helpers.made_session import made_alarm, made_spec, one_event_of_each_kind
from tests.helpers.scripted import ScriptedSource, wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

UTC_START = 1_780_000_000.0


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "logs" / "events.jsonl"


@pytest.fixture
def make(path: Path) -> Callable[..., JsonLogOutput]:
    def log(**changes: Any) -> JsonLogOutput:
        settings = Settings(
            jsonlog=JsonLogSettings(path=str(path), **changes),
            webhook=WebhookSettings(url="https://ward.example:444/hook/t0ken?key=s3cret"),
            bed=(BedSettings(name="bed1"),),
        )
        clock = ManualClock(100.0, utc_start=UTC_START)
        return JsonLogOutput(settings=settings, bundles=[made_spec()], clock=clock, version="1.2.3")

    return log


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_it_holds_what_happened_and_the_settings_in_force(make: Callable[..., JsonLogOutput], path: Path) -> None:
    log = make()
    offset = log._utc_offset
    log.open()
    log.command("bed1", Command(action="acknowledge", at=101.0, actor="nurse", args={"condition": "no_data"}), "")
    log.command("bed1", Command(action="status", at=101.0, actor="nurse"), "")
    events = one_event_of_each_kind()
    log.publish("bed1", events)
    log.command("bed1", Command(action="recalibrate", at=102.0, actor="mqtt:x"), "not now.")
    log.close()
    log.close()
    found = lines(path)
    expected = sum(not isinstance(event, Score | PainIndex | Comparators) for event in events)
    kinds = [line["type"] for line in found]
    assert kinds[:2] == ["start", "command"]
    assert kinds[-2:] == ["command", "stop"]
    assert len(found) == expected + 4
    assert set(kinds) == {
        "start",
        "command",
        "alarm",
        "alarm_action",
        "stream",
        "calibration",
        "marker",
        "windows_skipped",
        "stop",
    }
    start, alarm = found[0], next(line for line in found if line["type"] == "alarm")
    source = next(event for event in events if isinstance(event, AlarmEvent))
    assert (start["version"], start["notice"]) == ("1.2.3", "RESEARCH USE ONLY")
    assert start["bundles"] == {"made-eda": {"version": "1.2.3", "sha256": dict(made_spec().sha256)}}
    assert start["settings"]["bed"][0]["alarm"]["severe_on"] == 70.0
    assert (alarm["event_id"], alarm["t"], alarm["provenance"]) == (source.event_id, source.t + offset, "simulated")
    assert (found[1]["actor"], found[1]["t"], found[1]["refused"]) == ("nurse", 101.0 + offset, "")
    assert found[-2]["refused"] == "not now."
    assert path.stat().st_mode & 0o077 == 0


def test_a_calibration_is_logged_once_a_state(make: Callable[..., JsonLogOutput], path: Path) -> None:
    log = make()
    log.open()
    states = ["calibrating"] * 5 + ["calibrated"] + ["calibration-required", "calibrating", "calibrating"]
    for second, state in enumerate(states):
        event = CalibrationEvent(
            bed="bed1", t=float(second), state=CalibrationState(state), valid_s=1.0, needed_s=20.0, baseline={}
        )
        log.publish("bed1", [event])
    log.close()
    found = [line["state"] for line in lines(path) if line["type"] == "calibration"]
    assert found == ["calibrating", "calibrated", "calibration-required", "calibrating"]


def test_no_secret_is_shown(make: Callable[..., JsonLogOutput], path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIN_MONITOR_WEBHOOK_KEY", "the-key-of-the-webhook")
    log = make()
    log.open()
    log.close()
    text = path.read_text(encoding="utf-8")
    assert "https://ward.example:444/***" in text
    assert not any(secret in text for secret in ("t0ken", "s3cret", "the-key-of-the-webhook"))


def test_files_are_put_aside_by_size_and_the_oldest_go(make: Callable[..., JsonLogOutput], path: Path) -> None:
    log = make(max_mb=0.01, keep=2)
    log.open()
    for k in range(100):
        log.publish("bed1", [made_alarm(float(k))])
    log.close()
    files = [path.with_name(f"{path.name}.2"), path.with_name(f"{path.name}.1"), path]
    assert sorted(path.parent.iterdir()) == sorted(files)
    assert all(file.stat().st_size <= 10_000 for file in files)
    kept = [line["t_rel"] for file in files for line in lines(file) if line["type"] == "alarm"]
    assert kept == [float(k) for k in range(100 - len(kept), 100)]
    assert 20 < len(kept) < 100


def test_a_full_disk_costs_counted_lines_and_nothing_else(
    make: Callable[..., JsonLogOutput], path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    log = make()
    log.open()
    write = os.write
    monkeypatch.setattr(os, "write", _full_after(write, 10))
    for k in range(3):
        log.publish("bed1", [made_alarm(float(k))])
    monkeypatch.setattr(os, "write", write)
    log.publish("bed1", [made_alarm(3.0)])
    log.close()
    text = path.read_text(encoding="utf-8").splitlines()
    whole = [json.loads(line) for line in text if line.endswith("}")]
    assert [line["type"] for line in whole] == ["start", "lost", "alarm", "stop"]
    assert (whole[1]["lines"], whole[2]["t_rel"], log.lost) == (3, 3.0, 3)
    assert caplog.text.count("takes nothing") == 1


def _full_after(write: Callable[[int, Any], int], count: int) -> Callable[[int, Any], int]:
    """A disk with room for `count` more bytes."""
    left = count

    def limited(descriptor: int, data: Any) -> int:
        nonlocal left
        if not left:
            raise OSError(errno.ENOSPC, "No space left on device")
        written = write(descriptor, bytes(data[:left]))
        left -= written
        return written

    return limited


def test_a_line_torn_by_a_crash_does_not_spoil_the_next(make: Callable[..., JsonLogOutput], path: Path) -> None:
    path.parent.mkdir()
    path.write_bytes(b'{"type": "ala')
    log = make()
    log.open()
    log.close()
    torn, start, stop = path.read_text(encoding="utf-8").splitlines()
    assert torn == '{"type": "ala'
    assert [json.loads(start)["type"], json.loads(stop)["type"]] == ["start", "stop"]


def test_a_file_that_others_move_or_delete_is_begun_anew(make: Callable[..., JsonLogOutput], path: Path) -> None:
    output = make()
    output.open()
    moved = path.with_name("monday.jsonl")
    path.rename(moved)
    output.publish("bed1", [made_alarm(1.0)])
    assert [line["type"] for line in lines(moved)] == ["start"]
    assert [line["type"] for line in lines(path)] == ["alarm"]
    path.unlink()
    assert output.probe({}, 1.0) == ""
    assert [line["type"] for line in lines(path)] == ["selfcheck"]
    assert output.lost == 0


def test_a_folder_that_cannot_be_made_is_said_and_hurts_nobody(
    make: Callable[..., JsonLogOutput], path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path.parent.write_text("a file where the folder should be")
    log = make()
    log.open()
    log.publish("bed1", [made_alarm(1.0)])
    log.close()
    assert log.lost == 2
    assert "takes nothing" in caplog.text


def test_a_running_engine_logs_the_commands_that_it_gets(tmp_path: Path, path: Path) -> None:
    settings = settings_for(tmp_path, write_tiny_bundle(tmp_path / "bundles"), record=False)
    settings = settings.model_copy(update={"jsonlog": JsonLogSettings(path=str(path))})
    models = load_models(settings)
    (log,) = log_outputs(settings, models, SystemClock())
    source = ScriptedSource("a", [])
    engine = Engine(settings=settings, sources={"bed1": [source]}, models=models, outputs=[log], on_command=log.command)
    engine.start()
    try:
        engine.request("marker", {"kind": "note", "text": "turned"}, actor="nurse")
        with pytest.raises(MonitorError):
            engine.request("choose_bundle", {"bundle": "none-such"}, actor="doctor")
        engine.request("status", {})
    finally:
        engine.stop()
    wait_until(lambda: engine.clean)  # whatever writes has ended
    commands = [line for line in lines(path) if line["type"] == "command"]
    assert [(line["action"], line["actor"], bool(line["refused"])) for line in commands] == [
        ("marker", "nurse", False),
        ("choose_bundle", "doctor", True),
    ]
    assert any(line["type"] == "marker" and line["text"] == "turned" for line in lines(path))


def test_there_is_none_by_default() -> None:
    models = Models(bundles={}, build=lambda _bed, _session: pytest.fail("no pipeline is asked for"))
    assert log_outputs(Settings(bed=(BedSettings(),)), models, SystemClock()) == []


def test_a_probe_is_written_and_read_back_and_a_full_disk_is_told(tmp_path: Path) -> None:
    path = tmp_path / "log" / "events.jsonl"
    settings = Settings(jsonlog=JsonLogSettings(path=str(path)), bed=(BedSettings(),))
    output = JsonLogOutput(settings=settings, bundles=(), clock=SystemClock(), version="1")
    assert isinstance(output, Route)
    output.open()
    assert output.probe({"n": 1}, 1.0) == output.problem() == ""
    assert '"type":"selfcheck"' in path.read_text()
    output.close()
    for item in path.parent.iterdir():
        item.unlink()
    path.parent.rmdir()
    path.parent.write_text("no folder")
    assert "takes nothing" in output.probe({"n": 2}, 1.0)
    assert "takes nothing" in output.problem()
    path.parent.unlink()
    assert output.probe({"n": 3}, 1.0) == output.problem() == ""
    output.close()
