"""The table of all architectures and variants, and the command that examines them."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

import export.show
from export.__main__ import app
from export.matrix import Case, Outcome, cases, examine
from export.parity import Parity
from models.registry import list_models
from tests.helpers.exporting import ELSEWHERE, IMAGES, SIGNALS


def test_the_table_has_every_architecture_of_the_registry_once_or_more() -> None:
    assert {case.architecture for case in cases()} == set(list_models())
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)


def test_one_variant_of_each_architecture_is_exported_by_some_test() -> None:
    assert set(ELSEWHERE) | set(SIGNALS) | set(IMAGES) == set(list_models())
    for name in ELSEWHERE.values():
        assert (Path(__file__).parent / name).is_file()


def test_what_goes_wrong_is_told_and_does_not_stop_the_table() -> None:
    outcome = examine(Case(name="nothing", architecture="nothing"))
    assert outcome.problem.startswith("ValueError: no model 'nothing'")
    assert outcome.worst is None


@pytest.mark.parametrize("problem", ["", "graph and module differ: logits"])
def test_the_command_prints_a_row_for_each_and_fails_where_one_does(
    monkeypatch: pytest.MonkeyPatch, problem: str
) -> None:
    def examined(case: Case, **_: object) -> Outcome:
        if problem:
            return Outcome(case=case, problem=problem)
        worst = Parity(output="logits", batch=8, error=1e-6, bound=1e-5)
        return Outcome(case=case, parameters=5, results=(worst,), noise={"noise.logits": 1e-7}, probes=2, weakest=60.0)

    monkeypatch.setattr(export.show, "examine", examined)
    result = CliRunner().invoke(app, ["all", "--check", "--only", "mscn-se"])
    assert result.exit_code == (1 if problem else 0), result.output
    chosen = [case.name for case in cases() if case.name.startswith("mscn-se")]
    assert len(chosen) == 3
    assert all(name in result.stdout for name in chosen)
    assert (problem in result.stdout) if problem else ("10.0 %" in result.stdout and "60 x (2)" in result.stdout)


@pytest.mark.parametrize("arguments", [["all"], ["all", "--check", "--only", "nothing"]])
def test_the_command_says_what_there_is(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2
    assert "painformer one image" in result.stderr
