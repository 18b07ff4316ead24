"""The command line: what it offers, what it prints where, and with which code it ends."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from monitor.cli import main
from monitor.sources.synthetic import SyntheticPatient, synthetic_recording
from tests.helpers.tiny_bundle import write_tiny_bundle

COMMANDS = {
    *("demo", "daemon", "replay", "stream", "streams", "check", "models", "inspect", "verify", "new-session"),
    *("keys", "sound-test", "status"),
    *("audio-pause", "suspend", "resume", "limits", "alarms", "simulate-alarms"),
    *("marker", "nrs", "acknowledge", "recalibrate", "export", "run", "dashboard", "install-service"),
}


@dataclass(frozen=True)
class Done:
    code: int
    out: str
    err: str


Command = Callable[..., Done]


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    monkeypatch.setenv("COLUMNS", "200")

    def run(*arguments: object) -> Done:
        monkeypatch.setattr(sys, "argv", ["pain-monitor", *map(str, arguments)])
        try:
            main()
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        captured = capsys.readouterr()
        return Done(code, captured.out, captured.err)

    return run


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A minute of a simulated patient as a CSV file, with EDA and ECG at 128 Hz."""
    patient = SyntheticPatient(part="test", number=3, rates_hz={"EDA": 128.0, "ECG": 128.0})
    recording = synthetic_recording(patient, 60.0, ("EDA", "ECG"))
    path = tmp_path_factory.mktemp("recordings") / "patient.csv"
    columns = np.column_stack([signal.samples for signal in recording.signals])
    np.savetxt(path, columns, delimiter=",", header="EDA,ECG", comments="", fmt="%.6f")
    return path


def test_help_names_every_command_and_the_exit_codes(command: Command) -> None:
    shown = command("--help")
    assert shown.code == 0
    found = set(re.findall(r"^│ ([a-z][a-z-]+) ", shown.out, flags=re.MULTILINE))
    assert found == COMMANDS
    assert "Exit codes" in shown.out
    assert "Research use only" in shown.out
    for code in (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 130):
        assert f"{code} " in shown.out


@pytest.mark.parametrize("name", sorted(COMMANDS))
def test_each_help_teaches(command: Command, name: str) -> None:
    shown = command(name, "--help")
    assert shown.code == 0
    assert len(shown.out.split()) > 40


def test_check_finds_everything(command: Command, tmp_path: Path, bundle: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        f"""
        [[bed]]
        bundles = ["{bundle}", "nowhere"]
        [[bed.stream]]
        name = "a"
        modality = "ECG"
        unit = "parsec"
        rate_hz = 50.0
        [[bed.stream]]
        name = "b"
        modality = "RESP"
        transfer = "bitalino_rev"
        [[bed.stream]]
        name = "c"
        modality = "SPO2"
        unit = "mV"
        """,
        encoding="utf-8",
    )
    shown = command("check", path)
    assert shown.code == 3
    assert shown.out == ""
    for words in (
        "bed[0].bundles[1]: nowhere",
        "bed[0].stream[0].unit: there is no unit 'parsec'",
        "bed[0].stream[0].rate_hz: 50 Hz is too low",
        "bed[0].stream[2].unit: mV is a unit of voltage",
        "needs EDA",
    ):
        assert words in shown.err


def test_check_is_content_with_what_is_right(command: Command, tmp_path: Path, bundle: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(
        f'[[bed]]\nbundles = ["{bundle}"]\n[[bed.stream]]\nname = "a"\nmodality = "ECG"\nunit = "uV"\n'
        '[[bed.stream]]\nname = "b"\nmodality = "EDA"\n',
        encoding="utf-8",
    )
    shown = command("check", path)
    assert shown.code == 0, shown.err
    assert "all is well (1 bed)" in shown.out


def test_replay_writes_one_object_a_window_the_same_each_time(command: Command, table: Path, bundle: Path) -> None:
    arguments = ("replay", table, "--rate", 128, "--map", "EDA=EDA:uS", "--map", "ECG=ECG:mV", "--bundle", bundle)
    shown = command(*arguments, "--calibrate", "0:30", "--json")
    assert shown.code == 0, shown.err
    windows = [json.loads(line) for line in shown.out.splitlines()]
    assert [window["t_end"] for window in windows] == [float(k) for k in range(len(windows))]
    assert len(windows) >= 59
    for window in windows:
        assert (window["probabilities"] is None) == bool(window["absent"])
        if window["probabilities"] is not None:
            assert sum(window["probabilities"]) == pytest.approx(1.0)
    assert {window["calibration"] for window in windows} == {"population", "subject"}
    assert any(window["index_fast"] is not None for window in windows)
    assert command(*arguments, "--calibrate", "0:30", "--json").out == shown.out
    lines = command(*arguments, "--calibrate", "0:30")
    assert lines.out.count("index ") == sum(window["probabilities"] is not None for window in windows)
    assert "REPLAYED SIGNALS" in lines.out


def test_replay_writes_the_attention_of_each_scored_window(
    command: Command, table: Path, bundle: Path, tmp_path: Path
) -> None:
    path = tmp_path / "maps.npz"
    arguments = ("replay", table, "--rate", 128, "--map", "EDA=EDA:uS", "--map", "ECG=ECG:mV", "--bundle", bundle)
    shown = command(*arguments, "--duration", 30, "--json", "--attention", path)
    assert shown.code == 0, shown.err
    scored = [json.loads(line)["t_end"] for line in shown.out.splitlines() if '"absent": []' in line]
    with np.load(path) as maps:
        assert maps["t_end"].tolist() == scored
        names = {name.partition("/")[0] for name in maps.files} - {"t_end"}
        assert names
        for name in names:
            for number in range(len(scored)):
                assert np.allclose(maps[f"{name}/{number:06d}"].sum(axis=-1), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("replay", "nowhere.csv"), 5, "nowhere.csv"),
        (("replay", "{table}", "--rate", "128", "--bundle", "{bundle}"), 4, "--map"),
        (("replay", "{table}", "--rate", "128", "--map", "EDA"), 4, "MODALITY=NAME:UNIT"),
        (("replay", "{table}", "--rate", "128", "--bundle", "nowhere"), 6, "nowhere"),
        (("replay", "{table}", "--rate", "-1"), 5, "sampling rate"),
        (("replay", "{table}", "--calibrate", "zero"), 2, "START:END"),
        (("replay", "{table}", "--rate", "128", "--calibrate", "9:3", "--bundle", "{bundle}"), 2, "no span"),
        (("replay", "{table}", "--config", "nowhere.toml"), 3, "no such file"),
        (("replay", "{table}", "--speed", "7"), 2, "max"),
        (("check", "nowhere.toml"), 3, "no such file"),
        (("daemon", "nowhere.toml"), 3, "no such file"),
        (("demo", "--bundle", "nowhere"), 6, "nowhere"),
        (("stream", "synthetic"), 2, "--lsl"),
        (("stream", "nowhere.csv", "--lsl"), 5, "nowhere.csv"),
        (("stream", "synthetic", "--lsl", "--modalities", "EEG"), 4, "EEG"),
        (("verify", "nowhere.session.db"), 7, "no such session"),
        (("export", "nowhere.session.db", "--format", "csv"), 7, "no such session"),
        (("inspect", "{table}"), 7, "not a session"),
        (("marker", "turned"), 9, "no engine"),
        (("nrs", "4", "--bed", "b9"), 9, "b9"),
        (("nrs", "11"), 2, "10"),
        (("acknowledge", "pain_severe"), 9, "no engine"),
        (("audio-pause",), 9, "no engine"),
        (("audio-pause", "--seconds", "900"), 2, "300"),
        (("suspend", "washing", "--minutes", "6"), 2, "5"),
        (("resume",), 9, "no engine"),
        (("limits", "moderate_on=high"), 2, "NAME=NUMBER"),
        (("recalibrate",), 9, "no engine"),
        (("new-session", "--subject", "P-1"), 9, "no engine"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_a_mistake_is_one_message_and_its_code(
    command: Command, table: Path, bundle: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    shown = command(*(text.format(table=table, bundle=bundle) for text in arguments))
    assert shown.code == code, shown
    assert says in shown.err
    assert shown.out == ""
    assert "Traceback" not in shown.err


def test_models_lists_what_is_shipped(command: Command) -> None:
    from monitor.bundle_folder import shipped_bundles

    shown = command("models", "--json")
    assert shown.code == 0
    found = [json.loads(line) for line in shown.out.splitlines()]
    assert [item["name"] for item in found] == list(shipped_bundles())
    for item in found:
        assert item["note"].startswith("trained on simulated") or item["notice"].startswith("UNTRAINED")
        assert item["alarm_eligible"] is (item["notice"] == "")
        assert item["milliseconds"] > 0
        assert item["inputs"]


@pytest.mark.parametrize("columns", ["80", "140"])
def test_models_are_listed_whole_in_any_terminal(
    command: Command, monkeypatch: pytest.MonkeyPatch, columns: str
) -> None:
    from monitor.bundle_folder import load_bundle, shipped_bundles

    monkeypatch.setenv("COLUMNS", columns)
    shown = command("models", "--no-measure").out
    assert "RESEARCH USE ONLY" in shown
    assert max(map(len, shown.splitlines())) <= int(columns)
    for name in shipped_bundles():
        assert name in shown
        last_words = load_bundle(name).spec.notice.rpartition(" ")[2]
        assert last_words in shown


def test_version(command: Command) -> None:
    assert re.fullmatch(r"pain-monitor \d+\.\d+\.\d+\n", command("--version").out)
