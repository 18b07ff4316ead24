"""One variant of each architecture is exported here or in a file of its own; all of them by `export all --check`."""

from __future__ import annotations

import pytest
from typer.testing import CliRunner

import export.show
from export.__main__ import app
from export.matrix import Case, Outcome, cases, examine
from export.parity import Parity
from models.registry import list_models

ELSEWHERE = {
    "crossmod-transformer": "test_parity.py",
    "painattnnet-attention": "test_painattnnet.py",
    "se-cnn": "test_se_cnn.py",
}
IMAGES = ("painformer", "tiny-biomoe")


def first(architecture: str) -> Case:
    return next(case for case in cases() if case.architecture == architecture)


HERE = sorted(set(list_models()) - ELSEWHERE.keys())


def test_the_table_has_every_architecture_of_the_registry_once_or_more() -> None:
    assert {case.architecture for case in cases()} == set(list_models())
    names = [case.name for case in cases()]
    assert len(set(names)) == len(names)
    assert ELSEWHERE.keys() < set(list_models())


@pytest.mark.timeout(600)
@pytest.mark.parametrize("architecture", HERE)
def test_an_architecture_is_exported_with_halved_weights_and_its_check_would_notice(architecture: str) -> None:
    # The full check, all batches and every probe, is `export all --check`; here time counts.
    batches = (1, 2) if architecture in IMAGES else (1, 3)
    outcome = examine(first(architecture), batches=batches, most_probes=3)
    assert outcome.problem == ""
    assert {result.batch for result in outcome.results} == set(batches)
    assert {"logits", "features"} <= {result.output for result in outcome.results}
    assert all(result.passed for result in outcome.results)
    assert outcome.probes >= 1
    assert outcome.weakest > 5.0
    # Both graphs share what they hold, in half precision: four bytes a value would be twice as much.
    assert outcome.size < 2.7 * outcome.parameters + 1_000_000
    for name, value in outcome.noise.items():
        assert 0 < value < 1e-3, name


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
