"""`python -m models data`: what it counts, what it finds odd, and how it ends."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.__main__ import app
from models.data.oddities import count_classes, signal_oddities
from models.data.recorded import Channel, DataSet, Rating, Sitting, SittingFiles, Stretch, Track, Trial
from models.data.survey import Survey, survey
from tests.helpers.pain_data import write_biovid, write_config

RATES = {"EDA": 4.0, "ECG": 250.0, "BVP": 64.0, "SPO2": 100.0, "TEMP": 4.0}
UNITS = {"EDA": "uS", "ECG": "mV", "BVP": "a.u.", "SPO2": "%", "TEMP": "degC"}


def clean(modality: str, seconds: float = 60.0) -> np.ndarray:
    """What a person's signal might be like."""
    t = np.arange(round(seconds * RATES[modality])) / RATES[modality]
    rng = np.random.default_rng(3)
    level = {"EDA": 4.0, "ECG": 0.0, "BVP": 0.0, "SPO2": 97.0, "TEMP": 33.0}[modality]
    values = level + np.sin(2 * np.pi * 1.1 * t) + 0.01 * rng.standard_normal(len(t))
    return np.minimum(np.round(values), 100.0) if modality == "SPO2" else values


def one(modality: str, values: np.ndarray, *, subject: str = "a", trials: tuple[Trial, ...] = ()) -> Sitting:
    channel = Channel(name=modality.lower(), modality=modality, unit=UNITS[modality], rate_hz=RATES[modality])
    return Sitting(
        subject=subject,
        session="",
        part="",
        classes=("no", "yes"),
        channels=(channel,),
        stretches=(Stretch(name="x", tracks={channel.name: Track(samples=values.astype(np.float32))}),),
        trials=trials,
        ratings=(Rating(t=1.0, value=2.0),),
        digest=subject,
    )


def of(*sittings: Sitting, **changes: object) -> Survey:
    files = tuple(SittingFiles(subject=s.subject, read=lambda s=s: s) for s in sittings)  # type: ignore[misc]
    return survey(
        DataSet(kind="pmed", root=Path("/data"), classes=("no", "yes"), sittings=files, refused={}, **changes)
    )


@pytest.mark.parametrize("modality", list(RATES))
def test_nothing_is_odd_about_a_clean_signal(modality: str) -> None:
    assert list(signal_oddities(one(modality, clean(modality)))) == []


def clipped(values: np.ndarray, limit: float) -> np.ndarray:
    return np.minimum(values, limit)


def zeroed(values: np.ndarray, share: float) -> np.ndarray:
    values = values.copy()
    values[: round(share * len(values))] = 0.0
    return values


def holed(values: np.ndarray) -> np.ndarray:
    values = values.copy()
    values[5:8] = np.nan
    return values


@pytest.mark.parametrize(
    ("modality", "values", "code", "what"),
    [
        ("SPO2", np.full(6000, 97.0), "constant", "constant in 1 of 1 recordings (97 %)"),
        ("EDA", np.zeros(240), "constant", "(0 uS)"),
        ("ECG", clipped(clean("ECG"), 0.5), "saturated", "rests on its highest value 0.5 mV"),
        ("BVP", -clipped(clean("BVP"), 0.5), "saturated", "rests on its lowest value -0.5"),
        ("BVP", holed(clean("BVP")), "missing values", "3 of 3840 samples are missing"),
        ("ECG", 1000 * clean("ECG"), "range", "it spans 2"),
        ("ECG", 0.001 * clean("ECG"), "range", "where 0.05 to 20 is plausible"),
        ("EDA", 1000 * clean("EDA"), "range", "its median is"),
        ("EDA", zeroed(clean("EDA"), 0.1), "range", "10 % of the samples are 0 or less"),
        ("SPO2", zeroed(clean("SPO2"), 0.02), "range", "2 % of the samples are below 50 %"),
        ("TEMP", clean("TEMP") * 1.8 + 32, "range", "where 10 to 45 is plausible"),
    ],
)
def test_what_is_odd_about_a_signal_is_said(modality: str, values: np.ndarray, code: str, what: str) -> None:
    found = {oddity.code: oddity for oddity in signal_oddities(one(modality, values))}
    assert what in found[code].what
    assert found[code].where == f"a {modality.lower()}"


def test_a_rail_is_found_across_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    from models.data import oddities

    values = clipped(clean("ECG"), 0.5)
    monkeypatch.setattr(oddities, "_BLOCK", 1000)
    assert [o.code for o in signal_oddities(one("ECG", values))] == ["saturated"]


def test_classes_are_counted_with_their_lengths() -> None:
    trials = (Trial(name="a", label=0), Trial(name="b", label=1, seconds=2.0), Trial(name="c", label=None, seconds=5.0))
    counts = count_classes(one("EDA", clean("EDA"), trials=trials))
    assert [(c.name, c.trials, c.shortest_s, c.longest_s) for c in counts] == [
        ("no", 1, 60.0, 60.0),
        ("yes", 1, 2.0, 2.0),
        ("unlabelled", 1, 5.0, 5.0),
    ]


def pair(seconds: tuple[float | None, float | None] = (2.0, 2.0)) -> tuple[Trial, ...]:
    return tuple(Trial(name=str(label), label=label, seconds=s) for label, s in enumerate(seconds))


def test_people_and_classes_that_nobody_can_learn_from_are_errors() -> None:
    alone = of(one("EDA", clean("EDA"), trials=pair()))
    assert [o.what for o in alone.oddities if o.level == "error"] == [
        "one subject only: nothing can be held out, so nothing can be said about other people"
    ]
    one_class = of(*(one("EDA", clean("EDA"), subject=s, trials=pair()[:1]) for s in "ab"))
    assert [(o.where, o.code) for o in one_class.oddities if o.level == "error"] == [("yes", "class")]
    assert not of(*(one("EDA", clean("EDA"), subject=s, trials=pair()) for s in "ab")).wrong


@pytest.mark.parametrize(("kind", "labels", "level"), [("e4", 2, "warning"), ("e4", 1, "error"), ("pmed", 2, "error")])
def test_of_the_configurations_own_classes_some_may_be_of_nobody(kind: str, labels: int, level: str) -> None:
    sitting = replace(one("EDA", clean("EDA"), trials=pair()[:labels]), classes=("no", "yes", "very"))
    people = [replace(sitting, subject=s, digest=s) for s in "ab"]
    files = tuple(SittingFiles(subject=s.subject, read=lambda s=s: s) for s in people)
    data = DataSet(kind=kind, root=Path("x"), classes=sitting.classes, sittings=files, refused={})
    found = {o.level for o in survey(data).oddities if o.where == "very"}
    assert found == {level}


def test_mixed_rates_and_channels_are_said() -> None:
    eda = one("EDA", clean("EDA"), trials=pair())
    slow = Sitting(
        **(
            vars(eda)
            | {
                "subject": "b",
                "digest": "b",
                "channels": (Channel(name="eda", modality="EDA", unit="uS", rate_hz=8.0),),
            }
        )
    )
    other = one("ECG", clean("ECG"), subject="c", trials=pair())
    said = {o.code: o.what for o in of(eda, slow, other).oddities}
    assert "4, 8 Hz" in said["rate"]
    assert "it has no" in said["channels"]


def test_a_length_that_tells_the_class_is_said_of_cut_data_only() -> None:
    cut = [one("EDA", clean("EDA"), subject=s, trials=(*pair((None, 2.0)),)) for s in "ab"]
    assert any(o.code == "length leak" and "at most 2 s" in o.todo for o in of(*cut).oddities)
    spans = [one("EDA", clean("EDA"), subject=s, trials=pair((20.0, 2.0))) for s in "ab"]
    assert not any(o.code == "length leak" for o in of(*spans).oddities)


# -- the command -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("command")
    return write_config(folder, "biovid-a", write_biovid(folder / "PartA", per_class=1))


def test_tables(config: Path) -> None:
    result = CliRunner().invoke(app, ["data", str(config)], env={"COLUMNS": "120"})
    assert result.exit_code == 0, result.output
    for text in ("071309_w_21", "Nothing of this data set is shipped", "live-stream: no: it comes cut", "non-reactive"):
        assert text in result.output


def test_json(config: Path) -> None:
    result = CliRunner().invoke(app, ["data", str(config), "--json"])
    assert result.exit_code == 0
    found = json.loads(result.stdout)
    assert found["subjects"] == 2
    assert found["fit_for_training"] is True
    assert found["protocols"]["paper"] == ""
    assert [c["trials"] for c in found["sittings"][0]["counts"]] == [1, 1, 1, 1, 1]
    assert {o["code"] for o in found["oddities"]} == {"count", "subjects", "non-reactive"}


def test_exit_codes(tmp_path: Path) -> None:
    run = CliRunner().invoke
    (tmp_path / "wrong.toml").write_text("[data]\nkind = 'pain'\n")
    wrong = run(app, ["data", str(tmp_path / "wrong.toml")])
    assert wrong.exit_code == 3
    assert "data.kind" in wrong.output
    assert "data.path" in wrong.output
    (tmp_path / "empty").mkdir()
    empty = run(app, ["data", str(write_config(tmp_path, "pmed", tmp_path / "empty"))])
    assert empty.exit_code == 5
    assert "no subject is in it" in empty.output
    alone = write_biovid(tmp_path / "PartA", ["071309_w_21"], per_class=1)
    result = run(app, ["data", str(write_config(tmp_path, "biovid-a", alone))])
    assert result.exit_code == 5
    assert "Not fit for training: 1 error" in result.output
