"""Configurations that come with the program can be run as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from models.training.settings import load_run_settings

FOLDER = Path("models/experiments")


@pytest.mark.parametrize("name", sorted(path.name for path in (Path(__file__).parents[3] / FOLDER).glob("*.toml")))
def test_an_experiment_is_a_right_configuration_and_says_its_command(repository: Path, name: str) -> None:
    path = repository / FOLDER / name
    settings = load_run_settings(path)
    assert f"python -m models train {FOLDER / name}" in path.read_text(encoding="utf-8")
    assert settings.folder.is_relative_to(repository)


def test_the_papers_schedule_is_shown_on_one_fold_of_leaving_one_out(repository: Path) -> None:
    settings = load_run_settings(repository / FOLDER / "loso-paper.toml")
    assert (settings.split.kind, settings.train.schedule, settings.train.epochs) == ("loso", "paper", 2)
    assert settings.train.recipes == ("crossmod",)
