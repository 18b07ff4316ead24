"""The two tuned numbers of the simulated population: how they are searched, written, and frozen."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data.base import WindowSet
from models.data.tune_gains import TARGETS, TOLERANCE, balanced_accuracy, search, tuning_windows, write_gains
from models.training.loop import FitSettings
from monitor.sources.physiology_population import POPULATION_FILE, Population, load_population, read_population

BRIEF = FitSettings(epochs=3, milestone=3, learning_rate=2e-3, batch=16)


def windows(size: float) -> WindowSet:
    """Eight subjects, four windows of each class, told apart by a ramp of some size."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 32)
    ramp = size * labels[:, np.newaxis] * np.linspace(0, 1, 40)
    return WindowSet(
        inputs={"eda": (rng.standard_normal((64, 40)) + ramp).astype(np.float32)[:, np.newaxis]},
        labels=labels,
        subjects=np.repeat([f"s{i}" for i in range(8)], 8),
        t_end=np.arange(64.0),
        level=labels.astype(np.float64),
        since_onset_s=np.zeros(64),
        confounded=np.zeros(64, dtype=np.bool_),
        calibrated=np.ones(64, dtype=np.bool_),
    )


def test_nothing_was_changed_since_the_gains_were_measured() -> None:
    people = load_population()
    assert people.gains.tuned_for == people.fingerprint(), "run `python -m models.data.tune_gains --write` again"
    assert 0.0 < people.gains.ecg_accuracy < people.gains.eda_accuracy < 1.0


def test_the_hash_covers_everything_but_the_gains(tmp_path: Path) -> None:
    people = load_population()
    assert people.with_gains(eda=2.0, ecg=3.0).fingerprint() == people.fingerprint()
    other = tmp_path / "population.toml"
    other.write_text(
        POPULATION_FILE.read_text(encoding="utf-8").replace("fall = 7.0", "fall = 7.5", 1), encoding="utf-8"
    )
    assert read_population(other).fingerprint() != people.fingerprint()


def test_gains_are_written_with_what_they_were_tuned_for(tmp_path: Path) -> None:
    path = tmp_path / "population.toml"
    shutil.copy(POPULATION_FILE, path)
    write_gains(path, {"EDA": (1.25, 0.789), "ECG": (0.8, 0.62)})
    found = read_population(path)
    assert (found.gains.eda_gain, found.gains.ecg_gain) == (1.25, 0.8)
    assert (found.gains.eda_accuracy, found.gains.ecg_accuracy) == (0.789, 0.62)
    assert found.gains.tuned_for == found.fingerprint() == load_population().fingerprint()
    path.write_text(path.read_text(encoding="utf-8").replace("eda_gain", "gain_eda"), encoding="utf-8")
    with pytest.raises(Exception, match="gain"):
        write_gains(path, {"EDA": (1.0, 0.8)})


@pytest.mark.parametrize("right", [0.35, 0.9, 1.0, 1.6, 3.0])
def test_the_search_finds_the_gain_that_meets_the_target(right: float) -> None:
    tried = []

    def measured(_: Population, modality: str, gain: float) -> float:
        tried.append(gain)
        return TARGETS[modality] + 0.2 * float(np.log(gain / right))

    gain, accuracy = search(load_population(), "EDA", measured)
    assert tried[0] == 1.0
    assert abs(accuracy - TARGETS["EDA"]) <= TOLERANCE
    assert gain == pytest.approx(right, rel=0.2)
    if abs(np.log(right)) * 0.2 <= TOLERANCE:
        assert gain == 1.0


def test_the_figure_is_high_where_signals_tell_and_at_chance_where_they_do_not() -> None:
    torch.set_num_threads(1)
    assert balanced_accuracy(windows(6.0), BRIEF, folds=2) > 0.9
    assert 0.25 < balanced_accuracy(windows(0.0), BRIEF, folds=2) < 0.75


def test_windows_are_of_the_tuning_subjects_and_of_two_classes() -> None:
    found = tuning_windows(load_population(), "EDA", subjects=2)
    assert set(found.subjects.tolist()) == {"sim-tune-0000", "sim-tune-0001"}
    counts = np.bincount(found.labels)
    assert counts[0] == 16  # of phasic windows there may be fewer
    assert 8 <= counts[1] <= 16
    assert set(found.groups.tolist()) == {"phasic", "rest"}
    assert not found.confounded.any()
