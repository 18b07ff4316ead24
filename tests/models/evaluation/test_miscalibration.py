"""A calibration error above its aim comes with its reason, and the reason is the true one."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from models.evaluation.command import markdown
from models.evaluation.figures import Scored, of_probabilities
from models.evaluation.metrics import summarise
from models.evaluation.miscalibration import ECE_AIM, miscalibration, reasons
from models.evaluation.report import read_findings, report_page
from models.evaluation.summary import Figure, Row
from tests.helpers import made_run


def told(
    *, windows: int = 6000, subjects: int = 30, offset: float = 0.0, stretch: float = 1.0, people: float = 0.0
) -> Scored:
    """Two classes with labels from the log odds; what is told is moved, stretched, or off for each person."""
    rng = np.random.default_rng(5)
    subject = np.arange(windows) % subjects
    true = 1.5 * rng.standard_normal(windows)
    labels = (rng.random(windows) < 1.0 / (1.0 + np.exp(-true))).astype(np.int64)
    said = (true - offset) / stretch + people * rng.standard_normal(subjects)[subject]
    pain = 1.0 / (1.0 + np.exp(-said))
    return Scored(labels=labels, probabilities=np.stack([1 - pain, pain], axis=1), subject=subject, subjects=subjects)


def row(parts: dict[str, float], ece: float = 0.1) -> Row:
    return Row(
        method="fcn-eda",
        subset="all",
        classes=("none", "pain"),
        seeds=(20,),
        subjects=12,
        windows=480,
        figures={"ece": Figure(value=ece)},
        confusion=((1, 0), (0, 1)),
        miscalibration=parts,
    )


def fold(people: int, windows: int) -> dict[str, object]:
    return {
        "subjects": {"calibration": [str(i) for i in range(people)]},
        "methods": {"fcn-eda": {"temperature": 1.3, "calibration": {"windows": windows}}},
    }


def test_the_error_is_the_one_that_is_told_everywhere() -> None:
    scored = told(windows=500, stretch=0.5)
    assert miscalibration(scored, seed=1, draws=2)["ece"] == pytest.approx(
        float(of_probabilities(scored, np.ones((1, 30)))["ece"][0])
    )


@pytest.mark.parametrize(("offset", "stretch"), [(0.0, 0.4), (0.7, 0.3), (-0.5, 0.2), (0.0, 3.0), (1.0, 1.0)])
def test_slope_and_intercept_are_those_that_undo_it_however_sure_the_probabilities(
    offset: float, stretch: float
) -> None:
    scored = told(offset=offset, stretch=stretch)
    figures = of_probabilities(scored, np.ones((1, 30)))
    assert figures["slope"][0] == pytest.approx(stretch, rel=0.1)
    # Labels of a rarer class weigh more, which is another intercept.
    pain = scored.labels.mean()
    assert figures["intercept"][0] == pytest.approx(offset - np.log(pain / (1 - pain)), abs=0.1)


def test_right_probabilities_lie_at_the_floor_and_the_floor_falls_with_windows() -> None:
    few, many = (miscalibration(told(windows=n), seed=1) for n in (400, 6400))
    # Sixteen times the windows: a fourth of the chance.
    assert few["floor"] / many["floor"] == pytest.approx(4.0, rel=0.15)
    for parts in (few, many):
        assert parts["ece"] == pytest.approx(parts["floor"], rel=0.5)
        assert parts["floor_subjects"] == pytest.approx(parts["floor"], rel=0.5)
    assert few == miscalibration(told(windows=400), seed=1)
    assert few != miscalibration(told(windows=400), seed=2)


def test_the_floor_knows_the_shares_of_the_classes() -> None:
    """Probabilities told on a balanced prior, of data in which one class is rare, are still right."""
    scored = told(windows=20000)
    kept = (scored.labels == 0) | (np.random.default_rng(1).random(20000) < 0.1)
    rare = Scored(
        labels=scored.labels[kept],
        probabilities=scored.probabilities[kept],
        subject=scored.subject[kept],
        subjects=scored.subjects,
    )
    parts = miscalibration(rare, seed=1)
    assert parts["ece"] == pytest.approx(parts["floor"], rel=0.5)


def test_people_who_differ_raise_the_floor_of_subjects_alone() -> None:
    alike, differ = (miscalibration(told(people=size), seed=1) for size in (0.0, 1.5))
    assert differ["floor_subjects"] > 2.0 * alike["floor_subjects"]
    assert differ["floor"] == pytest.approx(alike["floor"], rel=0.3)


@pytest.mark.parametrize(
    ("made", "carrier", "direction"),
    [
        ({"offset": 1.0}, "The intercept carries most", "told too rarely"),
        ({"offset": -1.0}, "The intercept carries most", "told too often"),
        ({"stretch": 0.4}, "The slope carries most", "too sure of themselves"),
        ({"stretch": 2.5}, "The slope carries most", "too timid"),
        ({"offset": 0.7, "stretch": 0.4}, "both carry it", "too sure of themselves"),
    ],
)
def test_what_carries_the_error_is_named(made: dict[str, float], carrier: str, direction: str) -> None:
    parts = miscalibration(told(**made), seed=1, draws=20)  # type: ignore[arg-type]
    assert parts["ece"] > ECE_AIM
    assert parts["both"] < 0.03
    (said,) = reasons([row(parts)], [fold(12, 480), fold(11, 440)])
    assert carrier in said
    assert direction in said
    assert "each of the 2 temperatures was fitted on 11 to 12 calibration subjects with 440 to 480" in said.lower()


def test_an_error_of_chance_is_called_so() -> None:
    scored = told(windows=200, subjects=5)
    parts = miscalibration(scored, seed=1)
    assert parts["ece"] > ECE_AIM
    (said,) = reasons([row(parts)], [])
    assert "Neither intercept nor slope carries it" in said
    assert "temperature" not in said


def test_classes_told_apart_without_error_have_a_sentence_too() -> None:
    scored = told(windows=300)
    sure = np.where(scored.labels == 1, 0.7, 0.3)
    parts = miscalibration(replace(scored, probabilities=np.stack([1 - sure, sure], axis=1)), seed=1, draws=5)
    assert "moved" not in parts
    assert "cannot be told" in reasons([row(parts)], [])[0]


def test_only_what_is_above_the_aim_has_to_explain_itself() -> None:
    sharp = made_run.predictions("fcn-eda", strength=1.0)
    summary = summarise([sharp], data="x", draws=20)
    found = {item.subset: item for item in summary.rows}
    assert found["all"].miscalibration["ece"] == pytest.approx(found["all"].figures["ece"].value)
    assert not found["phasic"].miscalibration
    assert len(reasons(summary.rows, [])) == 1
    assert reasons([row({}, ece=0.05)], []) == ()


def test_the_table_has_the_sentence_of_its_folds() -> None:
    summary = summarise([made_run.predictions("fcn-eda", strength=1.0)], data="x", draws=20)
    text = markdown(summary, ["a note"], reasons(summary.rows, [fold(12, 480)]))
    assert "- fcn-eda: ECE 0." in text
    assert "The temperature was fitted on 12 calibration subjects with 480 windows." in text
    assert "above its aim" not in markdown(summary, ["a note"])


def test_the_page_has_the_sentence_and_reads_what_older_versions_wrote(tmp_path: Path) -> None:
    folder = made_run.write_run(tmp_path, {"fcn-eda": 1.0, "heart-rate": 0.3}, seeds=(20,))
    page = report_page(read_findings(folder), date="2026-01-01")
    assert "Methods whose ECE is above 0.05, and why" in page
    assert "fcn-eda: ECE 0." in page
    content = json.loads((folder / "summary.json").read_text())
    for item in content["rows"]:
        del item["miscalibration"]
    (folder / "summary.json").write_text(json.dumps(content))
    page = report_page(read_findings(folder), date="2026-01-01")
    assert "Chance alone" not in page
    assert "fcn-eda: ECE 0." in page
