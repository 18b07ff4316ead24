"""The simulated cohort as a data set: sittings, trials, labels by the known stimulus, parts that share nobody."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from models.data.base import UNLABELLED
from models.data.catalogue import open_data
from models.data.draws import draw_windows
from models.data.guards import divide
from models.data.protocols import windows_of
from models.data.recorded import DataSet, Sitting
from models.data.segments import restarted
from models.data.settings import DataSettings, load_data_settings
from models.data.simulated_cohort import event_cuts
from models.data.simulated_session import CONFOUNDERS, draw_rates, draw_session
from models.data.splits import Split
from models.data.traced import TracedSet
from monitor.bundle import default_input
from monitor.errors import ConfigError
from monitor.sources.physiology_population import load_population

PEOPLE = load_population()
INPUTS = (default_input("EDA"), default_input("ECG"))


def cohort(cache: Path, **more: object) -> DataSet:
    numbers = {"train": 1, "validation": 1, "calibration": 1, "test": 1, "modalities": ("EDA", "ECG")}
    return open_data(DataSettings.model_validate({"kind": "simulated", "cache": str(cache), **numbers, **more}))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataSet:
    return cohort(tmp_path_factory.mktemp("cache"))


@pytest.fixture(scope="module")
def traced(data: DataSet) -> TracedSet:
    return windows_of(data, "live-stream", INPUTS)


def problems(tmp_path: Path, text: str) -> dict[str, str]:
    (tmp_path / "c.toml").write_text(f"[data]\nkind = 'simulated'\n{text}\n")
    with pytest.raises(ConfigError) as caught:
        load_data_settings(tmp_path / "c.toml")
    return {problem.key: str(problem) for problem in caught.value.problems}


def test_it_needs_no_folder_and_says_what_it_cannot_do(tmp_path: Path) -> None:
    (tmp_path / "c.toml").write_text("[data]\nkind = 'simulated'\n")
    settings = load_data_settings(tmp_path / "c.toml")
    assert (settings.train, settings.validation, settings.calibration, settings.test) == (60, 12, 12, 60)
    assert len(open_data(settings.model_copy(update={"cache": str(tmp_path / "cache")})).subjects) == 144
    found = problems(
        tmp_path, "path = 'x'\nsignals = []\nmodalities = ['ACC']\nleast_hz = { ECG = 5000, ACC = 1 }\ntrain = 2"
    )
    assert set(found) == {
        "data.path",
        "data.signals",
        "data.modalities[0]",
        "data.least_hz.ECG",
        "data.least_hz.ACC",
    }
    assert "at most 1000" in found["data.least_hz.ECG"]
    assert set(problems(tmp_path, "train = 0\nvalidation = 0\ncalibration = 0\ntest = 0")) == {"data.train"}
    (tmp_path / "c.toml").write_text("[data]\nkind = 'biovid-a'\npath = '.'\npopulation = 'shifted'\n")
    with pytest.raises(ConfigError, match="belongs to simulated"):
        load_data_settings(tmp_path / "c.toml")


def test_a_subject_is_the_same_in_every_cohort_and_its_part_stands_in_its_code(tmp_path: Path, data: DataSet) -> None:
    larger = cohort(tmp_path / "other", train=2)
    assert data.subjects == ("sim-train-0000", "sim-validation-0000", "sim-calibration-0000", "sim-test-0000")
    assert [s.part for s in larger.sittings] == ["train", "train", "validation", "calibration", "test"]
    mine, other = data.load(data.sittings[0]), larger.load(larger.sittings[0])
    assert mine.digest == other.digest
    assert mine.trials == other.trials
    assert len({sitting.digest for sitting in data}) == 4


def test_it_is_generated_once(tmp_path: Path) -> None:
    one = cohort(tmp_path, validation=0, calibration=0, test=0)
    first = one.load(one.sittings[0])
    assert len(list(tmp_path.iterdir())) == 1
    assert isinstance(first.stretches[0].tracks["ecg"].samples, np.memmap)
    more = cohort(tmp_path, validation=0, calibration=0, test=0, train=5)
    assert more.load(more.sittings[0]).digest == first.digest
    assert len(list(tmp_path.iterdir())) == 1


def _painful(sitting: Sitting) -> list[tuple[float, float, int]]:
    return [(t.start_s, t.start_s + (t.seconds or 0), t.label) for t in sitting.trials if t.label]


def test_trials_say_what_happened(data: DataSet) -> None:
    for sitting in data:
        pain = [trial for trial in sitting.trials if trial.label]
        assert {(t.group, t.label) for t in pain} >= {("tonic", 1), ("tonic", 2)}
        assert all(t.onset_s == t.start_s for t in pain)
        assert all((t.seconds or 0) == 4.0 for t in pain if t.group == "phasic")
        first = min(t.start_s for t in pain)
        assert sitting.facts["first_stimulus_s"] == first >= 60.0
        assert sitting.facts["responder"] in (0.0, 1.0)
        (rest,) = [t for t in sitting.trials if t.calibration]
        assert rest.start_s + (rest.seconds or 0) == pytest.approx(first)
        assert {t.group for t in sitting.trials if t.label == 0} <= {"rest", *CONFOUNDERS}


def test_labels_follow_the_rule_and_groups_say_what_a_window_shows(data: DataSet, traced: TracedSet) -> None:
    windows = traced.windows
    assert {"rest", "phasic", "tonic"} < set(windows.groups.tolist()) <= {"rest", "phasic", "tonic", *CONFOUNDERS}
    for sitting in data:
        own = windows.of([sitting.subject])
        assert own.calibrated.all()
        grid = np.linspace(0.0, 5.52, 553)
        for t_end, label, group, confounded in zip(own.t_end, own.labels, own.groups, own.confounded, strict=True):
            t = t_end - grid
            on = np.zeros(len(t), dtype=bool)
            for start, end, _ in _painful(sitting):
                on |= (t > start + 1.0) & (t < end + 2.0)
            share = on.mean()
            if share > 0.52:
                assert label in (1, 2)
            elif share < 0.08:
                assert label == 0
            elif 0.12 < share < 0.48:
                assert label == UNLABELLED
            if label > 0:
                assert group in ("phasic", "tonic")
            elif label == 0:
                assert (group in CONFOUNDERS) == confounded
                assert group not in ("phasic", "tonic")


def test_the_same_windows_again_bit_for_bit(data: DataSet, traced: TracedSet) -> None:
    again = windows_of(data.without(data.subjects[1:]), "live-stream", INPUTS)
    mine = traced.windows.of(data.subjects[:1])
    assert again.windows.inputs["ecg"].tobytes() == mine.inputs["ecg"].tobytes()
    assert again.windows.labels.tolist() == mine.labels.tolist()


@pytest.mark.parametrize("protocol", ["paper", "live-segment"])
def test_cut_data_come_from_it_too(data: DataSet, protocol: str) -> None:
    cut = windows_of(data, protocol, restarted(INPUTS))
    labels, counts = np.unique(cut.windows.labels, return_counts=True)
    assert labels.tolist() == [0, 1, 2]
    assert np.ptp(counts) == 0
    assert {"rest", "tonic", "phasic"} <= set(cut.windows.groups.tolist())
    where = np.array([group in CONFOUNDERS for group in cut.windows.groups])
    assert (cut.windows.confounded == where).all()


@pytest.mark.parametrize("seconds", [4.0, 5.5, 10.0])
def test_cuts_are_of_one_length_and_do_not_overlap(data: DataSet, seconds: float) -> None:
    for sitting in data:
        cuts = [t for t in event_cuts(sitting, seconds).trials if not t.calibration]
        assert {t.label for t in cuts} == {0, 1, 2}
        assert {t.group for t in cuts} >= {"phasic", "tonic"}
        lengths = {round(t.seconds or 0.0, 9) for t in cuts}
        assert len(lengths) == 1
        spans = sorted((t.start_s + (t.seconds or 0) - seconds, t.start_s + (t.seconds or 0)) for t in cuts)
        assert all(a[1] <= b[0] + 1e-9 for a, b in pairwise(spans))


def test_its_parts_pass_every_guard(data: DataSet, traced: TracedSet) -> None:
    train, validation, calibration, test = data.subjects
    split = Split(
        name="parts", train=(train,), validation=(validation,), calibration=(calibration,), test=(test,), seed=0
    )
    parts = divide(traced, split)
    assert set(parts.train.subjects.tolist()) == {train}


def test_draws_depend_on_the_seed_and_the_subject_alone(data: DataSet, traced: TracedSet) -> None:
    drawn = draw_windows(traced, (12, 6, 6), seed=3)
    for subject in data.subjects:
        own = drawn.windows.of([subject])
        assert np.bincount(own.labels).tolist() == [12, 6, 6]
        assert own.confounded[own.labels == 0].sum() == 4
        assert (own.since_onset_s[own.labels == 1] < 25.0).sum() >= 3
    alone = draw_windows(traced.take(traced.windows.subjects == data.subjects[2]), (12, 6, 6), seed=3)
    assert alone.windows.t_end.tolist() == drawn.windows.of([data.subjects[2]]).t_end.tolist()
    assert draw_windows(traced, (12, 6, 6), seed=4).windows.t_end.tolist() != drawn.windows.t_end.tolist()
    assert len(draw_windows(traced, (3,), seed=3)) == 3 * len(data.subjects)
    with pytest.raises(ValueError, match="negative"):
        draw_windows(traced, (-1,), seed=0)


def test_what_befalls_a_subject_does_not_depend_on_its_devices() -> None:
    assert draw_session("train", 5, PEOPLE) == draw_session("train", 5, PEOPLE)
    assert draw_session("train", 5, PEOPLE) != draw_session("test", 5, PEOPLE)
    slow, fast = draw_rates("train", 5, PEOPLE, {}), draw_rates("train", 5, PEOPLE, {"ECG": 250.0})
    assert {m: r for m, r in slow.items() if m != "ECG"} == {m: r for m, r in fast.items() if m != "ECG"}
    drawn = {draw_rates("train", n, PEOPLE, {"ECG": 250.0})["ECG"] for n in range(30)}
    assert drawn == {rate for rate in PEOPLE.devices.ECG.values if rate >= 250}
    with pytest.raises(ValueError, match="no device"):
        draw_rates("train", 0, PEOPLE, {"EDA": 1e4})


def test_faults_show_in_some_tracks_and_never_turn_time_back(tmp_path: Path) -> None:
    stamped = 0
    for sitting in cohort(tmp_path, train=4, modalities=("EDA", "BVP"), validation=0, calibration=0, test=0):
        for track in sitting.stretches[0].tracks.values():
            if track.stamps is not None:
                stamped += 1
                assert (np.diff(track.stamps) > 0).all()
                assert len(track.stamps) == len(track.samples)
    assert stamped >= 2
