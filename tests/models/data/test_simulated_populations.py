"""Other simulated people: the shifted population and neurokit2's own simulators, read like any data set."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from models.data.catalogue import open_data
from models.data.protocols import windows_of
from models.data.recorded import DataSet
from models.data.settings import DataSettings, load_data_settings
from monitor.bundle import default_input
from monitor.errors import ConfigError


def cohort(cache: Path, population: str, modalities: tuple[str, ...]) -> DataSet:
    numbers = {"train": 0, "validation": 0, "calibration": 0, "test": 1}
    return open_data(
        DataSettings.model_validate(
            {"kind": "simulated", "cache": str(cache), "population": population, "modalities": modalities, **numbers}
        )
    )


@pytest.mark.parametrize(("population", "modalities"), [("shifted", ("EDA",)), ("neurokit", ("EDA", "BVP"))])
def test_other_people_give_windows_too(tmp_path: Path, population: str, modalities: tuple[str, ...]) -> None:
    data = cohort(tmp_path, population, modalities)
    assert data.subjects == (f"sim-{population}-test-0000",)
    assert [sitting.part for sitting in data] == ["test"]
    windows = windows_of(data, "live-stream", [default_input(modality) for modality in modalities]).windows
    assert set(np.unique(windows.labels)) >= {0, 1, 2}
    assert {"phasic", "tonic", "rest"} <= set(windows.groups.tolist())
    assert windows.confounded.any() == (population == "shifted")


def test_neurokit_hearts_and_skins_answer_where_the_subject_does(tmp_path: Path) -> None:
    data = cohort(tmp_path, "neurokit", ("EDA",))
    (sitting,) = data
    track, channel = sitting.stretches[0].tracks["eda"], sitting.channel("EDA")
    severe = [t for t in sitting.trials if t.label == 2]
    rises = [
        float(np.max(track.samples[int((t.start_s + 1) * channel.rate_hz) : int((t.start_s + 9) * channel.rate_hz)]))
        - float(track.samples[int(t.start_s * channel.rate_hz)])
        for t in severe
    ]
    assert sitting.facts["responder"] == 1.0
    assert np.mean(rises) > 0.2
    again = cohort(tmp_path / "again", "neurokit", ("EDA",))
    assert next(iter(again)).digest == sitting.digest


def test_what_neurokit_does_not_have_is_said_before_anything_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "c.toml"
    path.write_text("[data]\nkind = 'simulated'\npopulation = 'neurokit'\nmodalities = ['EDA', 'EMG']\n")
    with pytest.raises(ConfigError, match="neurokit2 has no EMG"):
        load_data_settings(path)
    monkeypatch.setitem(sys.modules, "neurokit2", None)
    with pytest.raises(ConfigError, match="pip install neurokit2"):
        cohort(tmp_path, "neurokit", ("EDA",))
