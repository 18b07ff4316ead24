"""[data] of a training configuration: every problem at once, each with its key."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from models.data.settings import DataSettings, load_data_settings
from monitor.errors import ConfigError

EXAMPLE = Path(__file__).resolve().parents[3] / "models" / "example.toml"


def problems(tmp_path: Path, text: str) -> dict[str, str]:
    path = tmp_path / "config.toml"
    path.write_text(text)
    with pytest.raises(ConfigError) as caught:
        load_data_settings(path)
    return {problem.key: str(problem) for problem in caught.value.problems}


def test_every_problem_is_said_at_once_with_its_key(tmp_path: Path) -> None:
    found = problems(
        tmp_path,
        """
        [data]
        kind = "biovid-a"
        path = "nowhere"
        modalities = ["EDA", "EEG", "EDA"]
        signals = ["ecg"]
        units = { ecg = "furlong" }
        subjects = ["a"]
        leave_out = ["a"]
        rest = "no-pain"
        nrs_cuts = [4.0, 2.0, 7.0]
        nrs_span_s = "ten"
        cash = "here"
        """,
    )
    assert set(found) == {
        "data.path",
        "data.modalities",
        "data.modalities[1]",
        "data.signals",
        "data.units.ecg",
        "data.leave_out",
        "data.rest",
        "data.nrs_cuts",
        "data.nrs_span_s",
        "data.cash",
    }
    assert "did you mean 'cache'?" in found["data.cash"]
    assert str(tmp_path / "nowhere") in found["data.path"]
    assert "it belongs to ai4pain-2025" in found["data.rest"]


@pytest.mark.parametrize("text", ["", "[data]\n", "[dat]\nkind = 'pmed'\n"])
def test_kind_and_path_must_be_given(tmp_path: Path, text: str) -> None:
    assert set(problems(tmp_path, text)) == {"data.kind", "data.path"}


def test_an_unknown_kind_names_those_there_are(tmp_path: Path) -> None:
    assert "pmcd" in problems(tmp_path, f"[data]\nkind = 'pain'\npath = '{tmp_path}'\n")["data.kind"]


def test_scores_and_classes_must_fit(tmp_path: Path) -> None:
    text = f"[data]\nkind = 'sessions'\npath = '{tmp_path}'\nclasses = ['no', 'yes']\n"
    assert "3 scores cannot part 2 classes" in problems(tmp_path, text)["data.nrs_cuts"]


def test_paths_are_relative_to_the_file_and_other_tables_are_others_business(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    path = tmp_path / "config.toml"
    path.write_text("[data]\nkind = 'pmed'\npath = 'here'\ncache = 'there'\n[train]\nepochs = 3\n")
    settings = load_data_settings(path)
    assert settings.path == str(tmp_path / "here")
    assert settings.cache == str(tmp_path / "there")
    path.write_text("[data]\nkind = 'pmed'\npath = 'here'\n")
    assert Path(load_data_settings(path).cache).is_absolute()


def test_no_file_and_no_toml(tmp_path: Path) -> None:
    assert "(syntax)" in problems(tmp_path, "[data")
    with pytest.raises(ConfigError, match="no such file"):
        load_data_settings(tmp_path / "none.toml")


def test_the_example_is_right_but_for_its_folder(tmp_path: Path) -> None:
    assert set(problems(tmp_path, EXAMPLE.read_text(encoding="utf-8"))) == {"data.path"}


def test_the_example_shows_every_key() -> None:
    table = EXAMPLE.read_text(encoding="utf-8").partition("[data]")[2].partition("\n[")[0]
    shown = set(re.findall(r"^(?:# )?([a-z_]+) = ", table, flags=re.MULTILINE))
    assert shown == set(DataSettings.model_fields)
