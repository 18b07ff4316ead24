"""A session's alarms come again from its stored scores, and at other limits and delays as if they had been set then."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from monitor.alarm import AlarmManager
from monitor.cli import main
from monitor.config import AlarmSettings, BedSettings
from monitor.sessions.alarm_burden import Truth, alarms_of, burden, truth_of
from monitor.sessions.alarm_grid import grid, read_alarm_log, reproduce
from monitor.sessions.alarm_report import alarm_report, truth_in
from monitor.sessions.file import current_versions
from monitor.sessions.reader import SessionReader
from monitor.types import (
    AlarmAction,
    AlarmEvent,
    Chunk,
    Command,
    Comparators,
    Marker,
    Presence,
    Provenance,
    StreamEvent,
    StreamEventKind,
)
from tests.helpers.alarm_windows import GAP, ORIGIN, Step, window
from tests.helpers.made_session import SESSION, made_chunk, made_info, made_measures, made_writer

SCRIPT: Sequence[Step] = [
    *[10.0] * 20,
    *[80.0] * 90,
    *[45.0] * 30,
    *[10.0] * 60,
    *[GAP] * 50,
    *[10.0] * 20,
    *[55.0] * 12,
    *[10.0] * 60,
    *[60.0] * 40,
    *[20.0] * 60,
]
"""Severe pain, a stretch between the limits, no score for long, a rise too short for 15 s, and moderate pain."""
COMMANDS = {
    60: Command(action="nrs", at=ORIGIN + 60, actor="nurse", args={"value": 7.0, "text": ""}),
    70: Command(action="audio_pause", at=ORIGIN + 70, actor="nurse", args={"seconds": 60.0}),
    115: Command(action="acknowledge", at=ORIGIN + 115, actor="nurse", args={"condition": "pain_severe"}),
    150: Command(action="technical", at=ORIGIN + 150, actor="engine", args={"name": "broker_lost", "present": True}),
    170: Command(action="technical", at=ORIGIN + 170, actor="engine", args={"name": "broker_lost", "present": False}),
}


def record(
    path: Path,
    *,
    settings: AlarmSettings | None = None,
    extra: dict[int, Command] | None = None,
    measures: Callable[[int], Comparators] | None = None,
) -> Path:
    """Write a session whose windows follow `SCRIPT`, with the alarms of a manager; it ends in silence."""
    chosen = settings or AlarmSettings()
    bed = BedSettings(name="bed1", subject="S01", bundles=("made-eda",), alarm=chosen)
    writer = made_writer(path, meta={"settings": bed, "versions": current_versions()})
    alarm = AlarmManager(bed="bed1", settings=chosen, session=SESSION)
    info = made_info(origin=ORIGIN, provenance=Provenance.SIMULATED)
    writer.stream(info, ORIGIN)
    writer.events([StreamEvent(bed="bed1", stream=info.key, kind=StreamEventKind.OPENED, t=ORIGIN)])
    commands = COMMANDS | (extra or {})
    last = ORIGIN
    for k in range(len(SCRIPT) + 40):
        at = ORIGIN + k
        if k < len(SCRIPT):
            index, score = window(k, SCRIPT[k])
            last = at
            chunk: Chunk = dataclasses.replace(made_chunk(), stream=info.key, arrival=at)
            writer.chunk(chunk)
            alarm.arrived("EDA", at)
            plain = measures(k) if measures else None
            written = [score, index, *([plain] if plain else [])]
            writer.events([*written, *alarm.on_index(index, score, (), plain)])
        if k in commands:
            command = commands[k]
            writer.command(command)
            writer.events(_obey(alarm, command))
        now = at + 0.5
        writer.tick(now)
        writer.events(alarm.on_tick(now, last, ORIGIN))
    writer.close()
    return path


def _obey(alarm: AlarmManager, command: Command) -> list[Any]:
    args, actor, at = command.args, command.actor, command.at
    match command.action:
        case "nrs":
            return [Marker(bed="bed1", t=at, kind="nrs", text="", value=args["value"], actor=actor)]
        case "audio_pause":
            return list(alarm.audio_pause(args["seconds"], actor, at))
        case "acknowledge":
            return list(alarm.acknowledge(args["condition"], actor, at))
        case "limits":
            return list(alarm.limit(args, actor, at))
    return list(alarm.technical(args["name"], present=args["present"], at=at))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return record(tmp_path_factory.mktemp("alarms") / "a.session.db")


def brief(outputs: Sequence[AlarmEvent | AlarmAction]) -> set[str]:
    return {item.condition for item in outputs if isinstance(item, AlarmEvent)}


def test_the_recorded_alarms_come_again_bit_for_bit(recorded: Path) -> None:
    with SessionReader(recorded) as reader:
        log = read_alarm_log(reader)
        again = reproduce(log, reader)
    assert again.differences == ()
    assert again.notes == ()
    assert again.compared == len(log.recorded) > 10
    assert {"pain_severe", "pain_moderate", "unscorable", "broker_lost", "no_data"} <= brief(log.recorded)
    assert any(isinstance(item, AlarmAction) for item in log.recorded)


def test_alarms_on_plain_measures_and_two_signs_come_again(tmp_path: Path) -> None:
    def high(k: int) -> Comparators:
        beats = 130.0 if 120 <= k < 300 else 70.0
        pulse = {"spi": 90.0 if k % 200 < 100 else 30.0, "spi_from": "BVP", "spi_absent": ()}
        return made_measures(k, t_end=ORIGIN + k, heart_rate_bpm=beats, scr_per_s=0.3 if k > 300 else None, **pulse)

    limits = AlarmSettings(heart_rate_on=120.0, scr_per_s_on=0.1, spi_on=70.0)
    path = record(tmp_path / "c.session.db", settings=limits, measures=high)
    with SessionReader(path) as reader:
        log = read_alarm_log(reader)
        assert reproduce(log, reader).differences == ()
    assert {"heart_rate", "scr_rate", "spi", "two_signs"} <= brief(log.recorded)


def test_a_change_of_limits_comes_again_too_and_is_left_out_of_the_grid(tmp_path: Path) -> None:
    limits = Command(action="limits", at=ORIGIN + 5, actor="nurse", args={"moderate_on": 65.0, "moderate_off": 50.0})
    path = record(tmp_path / "b.session.db", extra={5: limits})
    with SessionReader(path) as reader:
        log = read_alarm_log(reader)
        assert reproduce(log, reader).differences == ()
        (own,) = grid(log, reader, moderate=[50.0], delays=[15.0])
    assert own.recorded
    assert own.burden is not None
    counted = {item.condition: item.alarms for item in own.burden.conditions}
    assert counted["pain_moderate"] == 2  # the last rise to 60 as well, which the changed limit kept silent
    assert len([a for a in alarms_of(_events(log.recorded), end=log.end) if a.condition == "pain_moderate"]) == 1


def test_what_does_not_come_again_is_named(recorded: Path) -> None:
    with SessionReader(recorded) as reader:
        log = read_alarm_log(reader)
        altered = [
            dataclasses.replace(item, index=1.5) if "pain_severe" in brief([item]) else item for item in log.recorded
        ]
        changed = reproduce(dataclasses.replace(log, recorded=tuple(altered)), reader)
        missing = reproduce(dataclasses.replace(log, recorded=log.recorded[:-1]), reader)
    assert changed.differences
    assert all("pain_severe" in line and "unlike: index" in line for line in changed.differences)
    assert len(missing.differences) == 1
    assert "is not recorded" in missing.differences[0]


def test_each_point_has_the_alarms_of_a_session_recorded_with_its_settings(recorded: Path, tmp_path: Path) -> None:
    with SessionReader(recorded) as reader:
        log = read_alarm_log(reader)
        points = grid(log, reader, moderate=[40.0, 50.0, 80.0], delays=[10.0, 30.0], truth=truth_in(reader))
    assert [point.recorded for point in points] == [True, *[False] * 6]
    by_point = {(point.moderate_on, point.moderate_after_s): point for point in points}
    short, long_ = by_point[40.0, 10.0], by_point[50.0, 30.0]
    assert short.burden is not None
    assert long_.burden is not None
    assert short.burden.in_pain_alarm_s > long_.burden.in_pain_alarm_s
    assert by_point[80.0, 10.0].burden is None
    assert "severe_on" in by_point[80.0, 10.0].refused
    chosen = AlarmSettings(moderate_on=40.0, moderate_off=25.0, moderate_after_s=10.0)
    with SessionReader(record(tmp_path / "c.session.db", settings=chosen)) as reader:
        assert alarm_report(reader).burden == short.burden


def test_the_report_counts_what_happened(recorded: Path) -> None:
    with SessionReader(recorded) as reader:
        report = alarm_report(reader)
    item = {row.condition: row for row in report.burden.conditions}
    severe = item["pain_severe"]
    assert (severe.alarms, severe.acknowledged, severe.self_cleared) == (1, 1, 0)
    assert severe.median_latency_s == 115 - (20 + 60)
    assert item["unscorable"].self_cleared == 1
    assert item["no_data"].open_at_end == 1
    assert report.burden.audio_pauses == 1
    assert (
        report.burden.alarms
        == report.burden.physiological + report.burden.technical
        == sum(row.alarms for row in item.values())
    )
    assert report.coverage.windows == len(SCRIPT)
    assert report.coverage.scored == len(SCRIPT) - 50
    (told,) = report.reports
    assert told.nrs == 7
    assert told.index == 80
    assert told.present == ("pain_moderate",)
    assert report.burden.episodes == 0
    assert report.burden.sensitivity is None
    assert report.burden.true >= 1
    assert report.provenance == (Provenance.SIMULATED,)


def _events(outputs: Sequence[AlarmEvent | AlarmAction]) -> list[AlarmEvent]:
    return [item for item in outputs if isinstance(item, AlarmEvent)]


def marker(t: float, text: str, actor: str = "recording") -> Marker:
    return Marker(bed="bed1", t=t, kind="note", text=text, value=None, actor=actor)


def test_only_a_simulated_patient_has_a_truth() -> None:
    told = [marker(20.0, "pain phasic level 1, 4 s"), marker(60.0, "pain tonic level 0.5, 30.5 s")]
    (bout,) = truth_of(told, simulated=True).episodes
    assert (bout.start, bout.end, bout.stimuli) == (20.0, 90.5, 2)
    assert truth_of(told, simulated=False).episodes == ()
    assert truth_of([marker(20.0, "pain phasic level 1, 4 s", actor="nurse")], simulated=True).episodes == ()
    assert len(truth_of([*told, marker(160.0, "pain tonic level 1, 30 s")], simulated=True).episodes) == 2


def test_delay_and_sensitivity_are_those_of_the_bouts(recorded: Path) -> None:
    with SessionReader(recorded) as reader:
        log = read_alarm_log(reader)
    times = ((15.0, 100.0), (180.0, 10.0), (350.0, 30.0))
    known = truth_of([marker(ORIGIN + t, f"pain tonic level 1, {s:g} s") for t, s in times], simulated=True)
    found = burden(log.recorded, start=log.start, end=log.end, truth=known)
    assert found.episodes == 3
    low, medium = found.delays
    assert (medium.episodes, medium.median_s) == (1, 20 + 60 - 15)
    assert low.episodes >= 1
    assert found.detected == 2
    assert found.false == 0
    none = burden(log.recorded, start=log.start, end=log.end, truth=Truth())
    assert (none.true, none.false, none.delays) == (0, 0, ())
    assert none.unlabelled == found.true


def test_a_returning_alarm_is_one_alarm(recorded: Path) -> None:
    with SessionReader(recorded) as reader:
        first = next(item for item in reader.events(AlarmEvent) if item.condition == "pain_moderate")
    steps = [(10.0, Presence.ON), (20.0, Presence.OFF), (50.0, Presence.ON), (55.0, Presence.ACK), (80.0, Presence.OFF)]
    events = [dataclasses.replace(first, t=t, presence=presence, actor="nurse") for t, presence in steps]
    (alarm,) = alarms_of(events, end=100.0)
    assert alarm.raised == (10.0, 50.0)
    assert alarm.present == ((10.0, 20.0), (50.0, 80.0))
    assert alarm.latency_s == 45.0
    assert alarm.ended
    latched = [dataclasses.replace(first, t=10.0), dataclasses.replace(first, t=20.0, presence=Presence.LATCHED)]
    (alarm,) = alarms_of(latched, end=100.0)
    assert (alarm.present_s, alarm.latched_s, alarm.ended, alarm.acknowledged) == (10.0, 80.0, False, None)


def command(monkeypatch: pytest.MonkeyPatch, *arguments: object) -> int:
    monkeypatch.setattr("sys.argv", ["pain-monitor", *map(str, arguments)])
    try:
        main()
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@pytest.mark.parametrize("columns", [80, 120])
def test_the_commands_print_tables_that_fit(
    recorded: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], columns: int
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    page = tmp_path / "a.html"
    assert command(monkeypatch, "alarms", recorded, "--html", page) == 0
    printed = capsys.readouterr().out
    assert command(monkeypatch, "simulate-alarms", recorded, "--grid") == 0
    printed += capsys.readouterr().out
    assert max(map(len, printed.splitlines())) <= max(columns, len(f"written: {page}"))
    assert "\N{HORIZONTAL ELLIPSIS}" not in printed  # nothing was cut off
    assert printed.count("SIMULATED SIGNALS") == 2
    assert "bit for bit" in printed
    assert "SIMULATED SIGNALS" in page.read_text(encoding="utf-8").replace("&#32;", " ")


def test_the_commands_say_the_same_to_programs(
    recorded: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert command(monkeypatch, "alarms", recorded, "--json") == 0
    report = json.loads(capsys.readouterr().out)
    assert (
        command(monkeypatch, "simulate-alarms", recorded, "--grid", "--moderate", "50", "--delay", "15,30", "--json")
        == 0
    )
    made = json.loads(capsys.readouterr().out)
    assert made["reproduced"]["differences"] == []
    assert [point["recorded"] for point in made["grid"]] == [True, False]
    assert made["grid"][0]["burden"] == report["burden"]
    assert report["provenance"] == made["provenance"] == ["simulated"]
    assert command(monkeypatch, "simulate-alarms", recorded, "--delay", "soon") == 2
