"""Bundles on recordings without pain: which are found, what is counted, and what stress blocks are held against."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner

from models.evaluation.__main__ import app
from models.evaluation.arousal import contrast
from models.evaluation.recordings import (
    DEFAULT_CONFIGS,
    alarm_starts,
    default_recordings,
    poisson_interval,
    recordings_report,
    verdict,
)
from models.evaluation.recordings_replay import known_items
from models.evaluation.recordings_tables import show_recordings
from monitor.errors import BundleError, SourceError
from monitor.sessions.alarm_burden import Alarm
from tests.helpers.tiny_bundle import write_tiny_bundle

UTC = 1_644_227_583
BLOCKS = (("baseline", 0, 0, 200), ("stroop", 1, 200, 300), ("relax1", 0, 300, 400))


def write_wristband(folder: Path) -> Path:
    """A subject of the layout of Stress-Predict: EDA that rises with many responses in its one block of stress."""
    shelf = folder / "stress_predict"
    (shelf / "S02").mkdir(parents=True)
    t = np.arange(400 * 4) / 4
    block = (t >= 200) & (t < 300)
    eda = 2.0 + 0.002 * t + 0.01 * np.sin(t / 7) + block * (0.8 + 0.2 * np.sin(2 * np.pi * t / 6))
    rows = "\n".join(f"{value:.6f}" for value in eda)
    (shelf / "S02" / "EDA.csv").write_text(f"{UTC}.0\n4.0\n{rows}\n", encoding="utf-8")
    lines = "\n".join(f"S02,{name},{stress},{UTC + a},{UTC + b}" for name, stress, a, b in BLOCKS)
    (shelf / "segments.csv").write_text(f"subject,segment,stress,start_unix,end_unix\n{lines}\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    tmp_path = tmp_path_factory.mktemp("wristband")
    bundle = write_tiny_bundle(tmp_path, name="tiny-eda", modalities=("EDA",))
    return recordings_report(bundle, write_wristband(tmp_path / "recordings"), hop_s=2.0)


def test_rests_are_those_of_the_clock_and_begin_after_the_calibration(report):
    rest = report["all"]
    assert rest["recordings"] == 1
    assert rest["uncalibrated"] == 0
    assert rest["scored_share"] == 1.0
    # A minute and a little of the first rest of 200 s calibrates; of each rest the first 15.5 s are left out.
    assert 195 < 3600 * rest["hours"] < 215
    assert rest["windows"] == pytest.approx(3600 * rest["hours"] / 2.0, abs=2)
    assert report["recordings"][0]["subject"] == "S02"
    assert any("every 2 s instead of 1 s" in note for note in report["notes"])


def test_a_block_of_stress_is_held_against_the_rests_beside_it(report):
    measures = report["arousal"]["blocks"]["stroop"]
    assert "never pain" in report["arousal"]["notice"]
    level = measures["EDA level (uS)"]
    assert level["subjects"] == 1
    assert 0.6 < level["difference"] < 1.0
    assert measures["SCR rate (1/min)"]["difference"] > 4
    assert "heart rate (1/min)" not in measures  # nothing here has a pulse


def test_it_can_be_read(report):
    import io

    console = Console(width=140, file=io.StringIO())
    show_recordings(report, console)
    text = console.file.getvalue()
    assert "wristband at rest" in text
    assert "Arousal, never pain" in text
    assert report["verdict"]["text"] in text.replace("\n", " ")


def test_a_short_real_recording(tmp_path, recordings):
    bundle = write_tiny_bundle(tmp_path)
    reports = [recordings_report(bundle, recordings, hop_s=5.0, only=["eventrelated"]) for _ in range(2)]
    assert reports[0] == reports[1]
    rest = reports[0]["all"]
    assert rest["scored_share"] == 1.0
    assert 0.02 < rest["hours"] < 150 / 3600
    assert reports[0]["arousal"] is None
    assert 0 <= rest["index_iqr"][0] <= rest["index_median"] <= rest["index_iqr"][1] <= 100


def test_recordings_of_each_kind_are_found(recordings):
    def names(*modalities):
        return {(item.group, item.subject) for item in known_items(recordings, modalities)}

    assert ("driver at rest", "drive17") in names("EDA", "ECG")
    assert ("NeuroKit", "resting-8min") in names("EDA", "ECG")
    assert ("NeuroKit", "resting-5min") in names("ECG", "BVP")
    wrists = names("EDA", "BVP")
    assert {group for group, _ in wrists} == {"wristband at rest"}
    assert len(wrists) == 17
    assert names("EDA") > names("EDA", "ECG")
    assert all((DEFAULT_CONFIGS / item.config).is_file() for item in known_items(recordings, ["EDA"]))


def figures(alarms, hours):
    low, high = (bound / hours for bound in poisson_interval(alarms))
    return {
        "alarms": alarms,
        "hours": hours,
        "alarms_per_hour": alarms / hours,
        "alarms_per_hour_interval": [low, high],
        "scored_windows": 10,
        "scored_share": 1.0,
    }


@pytest.mark.parametrize(("alarms", "may"), [(0, True), (4, True), (5, False)])
def test_more_than_twice_an_hour_is_not_shipped(alarms, may):
    told = verdict(figures(alarms, 2.0))
    assert told["may_be_default"] is may
    assert ("not to be shipped as default" in told["text"]) is not may


def test_what_was_never_scored_gets_no_verdict():
    assert verdict(figures(0, 2.0) | {"scored_windows": 0})["may_be_default"] is None


def test_the_interval_of_a_count_is_the_exact_one():
    assert poisson_interval(0) == pytest.approx((0.0, 3.689), abs=1e-3)
    assert poisson_interval(5) == pytest.approx((1.623, 11.668), abs=1e-3)


def alarm(condition, *spans):
    return Alarm(
        event_id=f"{condition}{spans}",
        condition=condition,
        kind="physiological",
        priority="low",
        raised=tuple(a for a, _ in spans),
        present=spans,
        latched_s=0.0,
        acknowledged=None,
        actor="",
        ended=True,
    )


def test_an_alarm_that_returns_soon_is_the_same_and_a_technical_one_is_none():
    assert alarm_starts([alarm("pain_moderate", (10, 20), (100, 110), (300, 310))]) == [10, 300]
    assert alarm_starts([alarm("pain_severe", (50, 60)), alarm("pain_moderate", (40, 90))]) == [40, 50]
    assert alarm_starts([alarm("sensor_off", (10, 20))]) == []


def test_shuffled_labels_are_at_chance_and_a_difference_stands_out():
    rng = np.random.default_rng(1)
    people = rng.normal(5.0, 3.0, 16)[:, None]
    noise = rng.normal(0.0, 0.5, (16, 3))
    nothing = contrast(people + noise, seed=1)
    something = contrast(people + noise + np.array([1.5, 0.0, 0.0]), seed=1)
    for told in (nothing, something):
        assert told["shuffled"]["low"] < 0 < told["shuffled"]["high"]
        assert abs(told["shuffled"]["mean"]) < 0.05
    assert nothing["p"] > 0.05
    assert something["p"] < 0.01
    assert something["difference"] > something["shuffled"]["high"]
    assert something["share_higher"] > 0.9


def test_a_drift_through_the_session_is_no_difference():
    """The block lies between its rests, so a steady rise cancels out."""
    rng = np.random.default_rng(1)
    drift = np.array([1.0, 0.0, 2.0])  # block, before, after
    told = contrast(np.full((12, 3), 4.0) + drift + rng.normal(0, 0.01, (12, 3)), seed=1)
    assert abs(told["difference"]) < 0.02


def test_wrong_folders_and_bundles_are_said(tmp_path, monkeypatch):
    bundle = write_tiny_bundle(tmp_path, name="tiny-emg", modalities=("EMG",))
    with pytest.raises(SourceError, match="no such folder"):
        recordings_report(bundle, tmp_path / "nowhere")
    with pytest.raises(SourceError, match="no recording in it brings EMG"):
        recordings_report(bundle, write_wristband(tmp_path / "recordings"))
    with pytest.raises(BundleError, match="draws no index"):
        recordings_report("painformer-eda-untrained", tmp_path)
    (tmp_path / "recordings/stress_predict/segments.csv").write_text("subject,segment\nS02,baseline\n")
    eda = write_tiny_bundle(tmp_path, name="tiny-eda", modalities=("EDA",))
    with pytest.raises(SourceError, match="line 2 is not"):
        recordings_report(eda, tmp_path / "recordings")
    monkeypatch.setenv("PAIN_MONITOR_RECORDINGS", str(tmp_path / "nowhere"))
    assert default_recordings() == tmp_path / "nowhere"
    run = CliRunner().invoke(app, ["recordings", str(eda)])
    assert run.exit_code == 5
    assert "no such folder of recordings" in run.output
