"""AI4PAIN 2025 and 2026 in their exact form on disk, with made-up numbers and every trap."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.data.ai4pain import PARTS, TEST, TRAIN, VALIDATION, may_be_joined, seam_share
from models.data.catalogue import open_data
from models.data.protocols import windows_of
from models.data.recorded import DataSet, Sitting
from models.data.settings import DataSettings
from models.data.survey import Survey, survey
from monitor.bundle import default_input
from monitor.errors import SourceError
from tests.helpers.pain_data import ai4pain_2025_columns, ai4pain_2026_columns, wave, write_ai4pain

GAP_AT = 500


def one_hole(signal: str, name: str, values: np.ndarray) -> np.ndarray:
    """One empty cell within a cut, which is no end."""
    values = values.copy()
    if (signal, name) == ("Eda", "1_LOW_1"):
        values[GAP_AT] = np.nan
    return values


@pytest.fixture(scope="module")
def year_2025(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two signals, so that it is quick: what is there of one is there of all."""
    root = tmp_path_factory.mktemp("ai4pain2025")
    top = root / "Dataset"
    signals = ("Eda", "SpO2")
    write_ai4pain(top, "train", "1", ai4pain_2025_columns("1"), signals=signals, change=one_hole)
    write_ai4pain(top, "validation", "7", ai4pain_2025_columns("7"), signals=("Eda",))
    write_ai4pain(top, "test", "3", {str(i): 1022 for i in range(29)}, signals=signals)
    return root


def constant_and_clipped(signal: str, name: str, values: np.ndarray) -> np.ndarray:
    """SpO2 is constant in one cut, and BVP rests on its rail in every beat."""
    if signal == "SpO2" and name.endswith("ARM_2"):
        return np.full_like(values, 97.0)
    if signal == "Bvp":
        return np.minimum(values, 0.55)
    return values


@pytest.fixture(scope="module")
def year_2026(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ai4pain2026")
    write_ai4pain(root, "train", "1", ai4pain_2026_columns("1"), change=constant_and_clipped)
    write_ai4pain(root, "train", "2", ai4pain_2026_columns("2", 990), signals=("Bvp", "Eda", "Resp", "SpO2"))
    write_ai4pain(root, "test", "3", {f"3_{i}": 1022 for i in range(36)})
    return root


def opened(root: Path, cache: Path, year: int, **more: object) -> DataSet:
    return open_data(DataSettings(kind=f"ai4pain-{year}", path=str(root), cache=str(cache), **more))


def of(data: DataSet, subject: str) -> Sitting:
    return next(data.load(files) for files in data.sittings if files.subject == subject)


def said(result: Survey, code: str) -> list[str]:
    return [f"{oddity.level} {oddity.where}: {oddity.what}" for oddity in result.oddities if oddity.code == code]


def test_the_official_division() -> None:
    assert [len(part) for part in PARTS.values()] == [41, 12, 12]
    assert sorted((*TRAIN, *VALIDATION, *TEST)) == list(range(1, 66))


def test_columns_of_2025_end_where_their_numbers_end(year_2025: Path, tmp_path: Path) -> None:
    sitting = of(opened(year_2025, tmp_path, 2025, modalities=("EDA",)), "1")
    columns = ai4pain_2025_columns("1")
    assert [trial.name for trial in sitting.trials] == list(columns)
    assert [trial.presented for trial in sitting.trials] == list(range(48))
    for number, (trial, n) in enumerate(zip(sitting.trials, columns.values(), strict=True)):
        expected = one_hole("Eda", trial.name, wave("Eda", 100.0, n, offset=0.1 * number + 1.0))
        np.testing.assert_allclose(sitting.cut(trial)["Eda"], expected, atol=1e-5, rtol=1e-6)
    hole = next(trial for trial in sitting.trials if trial.name == "1_LOW_1")
    assert np.flatnonzero(np.isnan(sitting.cut(hole)["Eda"])).tolist() == [GAP_AT]


@pytest.mark.parametrize("rest", ["no-pain", "unlabelled"])
def test_labels_of_2025(year_2025: Path, tmp_path: Path, rest: str) -> None:
    sitting = of(opened(year_2025, tmp_path, 2025, modalities=("EDA",), rest=rest), "7")
    assert sitting.part == "validation"
    assert sitting.classes == ("no pain", "low", "high")
    of_rest = 0 if rest == "no-pain" else None
    expected = {"Baseline": 0, "LOW": 1, "HIGH": 2, "REST": of_rest}
    assert [trial.label for trial in sitting.trials] == [expected[t.name.split("_")[1]] for t in sitting.trials]
    assert [trial.name for trial in sitting.trials if trial.calibration] == ["7_Baseline_1"]


@pytest.mark.parametrize(("rest", "baseline", "rests"), [("no-pain", 6, 6), ("unlabelled", 6, 0)])
def test_no_pain_of_the_papers_of_2025_is_of_the_baseline_and_of_rests(
    year_2025: Path, tmp_path: Path, rest: str, baseline: int, rests: int
) -> None:
    data = opened(year_2025, tmp_path, 2025, modalities=("EDA",), rest=rest)
    drawn = []
    for seed in (1, 2):
        traced = windows_of(data.without(["3"]), "paper", [default_input("EDA", rate_hz=10, samples=99)], seed=seed)
        own = traced.take((traced.windows.subjects == "7") & (traced.windows.labels == 0))
        assert own.windows.groups.tolist() == ["baseline"] * baseline + ["rest"] * rests
        # Back from the baseline's end, one after the other, and none reaches into another column.
        assert own.stop_s[:baseline] == pytest.approx(59.5 - 9.9 * np.arange(baseline)[::-1])
        assert own.start_s[:baseline] == pytest.approx(own.stop_s[:baseline] - 9.9)
        assert own.stop_s[baseline:] == pytest.approx(np.full(rests, 39.34))
        assert np.bincount(traced.windows.labels[traced.windows.subjects == "7"]).tolist() == [baseline + rests] * 3
        drawn.append(own.recordings[baseline:].tolist())
    assert (drawn[0] != drawn[1]) == (rests > 0), "the seed draws the rests"


def test_a_baseline_too_short_for_six_cuts_is_made_up_for_by_rests(tmp_path: Path) -> None:
    for subject in ("1", "2"):
        columns = {**ai4pain_2025_columns(subject), f"{subject}_Baseline_1": 5918}
        write_ai4pain(tmp_path, "train", subject, columns, signals=("Eda",))
    data = opened(tmp_path, tmp_path / "cache", 2025, modalities=("EDA",))
    groups = windows_of(data, "paper", [default_input("EDA", rate_hz=10, samples=99)]).windows.of(["1"]).groups.tolist()
    assert {name: groups.count(name) for name in set(groups)} == {"baseline": 5, "rest": 7, "low": 12, "high": 12}


def test_test_columns_have_no_label_whatever_they_are_called(year_2025: Path, tmp_path: Path) -> None:
    sitting = of(opened(year_2025, tmp_path, 2025, modalities=("EDA",)), "3")
    assert sitting.part == "test"
    assert len(sitting.trials) == 29
    assert {trial.label for trial in sitting.trials} == {None}
    assert not any(trial.calibration for trial in sitting.trials)


def test_survey_of_2025_names_the_leak_the_hole_and_the_test(year_2025: Path, tmp_path: Path) -> None:
    result = survey(opened(year_2025, tmp_path, 2025, modalities=("EDA",)))
    assert "no pain 39.34-59.5 s, low 9.9-10.22 s" in said(result, "length leak")[0]
    assert "29 unlabelled test columns" in said(result, "unlabelled")[0]
    assert any("1 of" in text and text.startswith("warning 1 Eda") for text in said(result, "missing values"))
    assert any("columns of 0 of 2 subjects may be joined" in text for text in said(result, "seams"))
    assert not result.wrong


def test_a_subject_without_one_of_the_signals_is_left_out_and_said(year_2025: Path, tmp_path: Path) -> None:
    data = opened(year_2025, tmp_path, 2025, modalities=("EDA", "SPO2"))
    assert data.subjects == ("1", "3")
    assert any("there is no folder SpO2" in oddity.what for oddity in data.oddities)


def test_lower_case_folders_and_no_dataset_level(year_2025: Path, tmp_path: Path) -> None:
    whole = of(opened(year_2025, tmp_path, 2025, modalities=("EDA",)), "7")
    place = tmp_path / "Validation" / "eda"
    place.mkdir(parents=True)
    (place / "7.csv").write_bytes((year_2025 / "Dataset" / "validation" / "Eda" / "7.csv").read_bytes())
    assert of(opened(tmp_path, tmp_path, 2025, modalities=("EDA",)), "7").digest == whole.digest


def test_2026_labels_calibration_and_lengths(year_2026: Path, tmp_path: Path) -> None:
    data = opened(year_2026, tmp_path, 2026)
    sitting = of(data, "1")
    assert [trial.label for trial in sitting.trials] == [0] * 12 + [1] * 12 + [2] * 12
    assert [t.name for t in sitting.trials if t.calibration] == [f"1_Baseline_{n}" for n in range(1, 7)]
    assert {len(of(data, "2").cut(trial)["Bvp"]) for trial in of(data, "2").trials} == {990}
    assert [(c.name, c.unit) for c in sitting.channels] == [
        ("Bvp", "a.u."),
        ("Eda", "uS"),
        ("Resp", "a.u."),
        ("SpO2", "%"),
    ]
    with pytest.raises(SourceError, match="does not allow the protocol live-stream"):
        data.require("live-stream")


def test_survey_of_2026_names_constant_and_saturated_channels(year_2026: Path, tmp_path: Path) -> None:
    result = survey(opened(year_2026, tmp_path, 2026))
    assert said(result, "constant") == ["warning 1 SpO2: constant in 1 of 36 cuts (97 %)"]
    assert len(said(result, "saturated")) == 1
    assert "1 Bvp: rests on its highest value 0.55" in said(result, "saturated")[0]
    assert not said(result, "length leak")


def test_the_other_year_is_refused(year_2025: Path, year_2026: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="these are columns of ai4pain-2026"):
        opened(year_2026, tmp_path, 2025, modalities=("EDA",))
    with pytest.raises(SourceError, match="these are columns of ai4pain-2025"):
        opened(year_2025, tmp_path, 2026, modalities=("EDA",))


def alike(signal: str, name: str, values: np.ndarray) -> np.ndarray:
    return wave(signal, 100.0, len(values))


def test_the_same_person_twice_is_an_error(tmp_path: Path) -> None:
    columns = ai4pain_2026_columns("1", 995)
    for part, subject in (("train", "1"), ("validation", "1"), ("train", "2")):
        write_ai4pain(tmp_path, part, subject, columns, signals=("Eda",), change=alike)
    result = survey(opened(tmp_path, tmp_path / "cache", 2026, modalities=("EDA",)))
    assert "error 1: the subject is in train and in validation" in said(result, "duplicate")
    assert any(
        "train 1 = train 2 = validation 1: they hold the same samples" in text for text in said(result, "duplicate")
    )
    assert any("validation: 1 do not belong to it officially" in text for text in said(result, "division"))
    assert result.wrong


def test_signals_whose_columns_differ_are_refused_with_the_file(tmp_path: Path) -> None:
    write_ai4pain(tmp_path, "train", "1", {"1_ARM_1": 20, "1_HAND_1": 20}, signals=("Eda",))
    write_ai4pain(tmp_path, "train", "1", {"1_ARM_1": 21, "1_HAND_1": 20}, signals=("Bvp",))
    result = survey(opened(tmp_path, tmp_path / "cache", 2026, modalities=("EDA", "BVP")))
    assert any(f"{tmp_path / 'train' / 'Bvp' / '1.csv'}, line 1" in text for text in said(result, "damaged"))


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="no subject is in it"):
        opened(tmp_path, tmp_path / "cache", 2025)


@pytest.mark.parametrize("continuous", [True, False])
def test_only_seams_that_look_continuous_may_be_joined(tmp_path: Path, continuous: bool) -> None:
    columns = {f"1_{name}_{i}": 40 for i in range(1, 9) for name in ("HIGH", "REST", "LOW")}
    at = {name: number for number, name in enumerate(columns)}
    rng = np.random.default_rng(5)
    session = np.cumsum(rng.standard_normal(40 * len(columns)))

    def cut(signal: str, name: str, values: np.ndarray) -> np.ndarray:
        piece = session[40 * at[name] : 40 * at[name] + 40]
        return piece if continuous else piece + 50.0 * (-1) ** at[name]

    write_ai4pain(tmp_path, "train", "1", columns, signals=("Eda",), change=cut)
    sitting = of(opened(tmp_path, tmp_path / "cache", 2025, modalities=("EDA",)), "1")
    assert may_be_joined(sitting) is continuous
    assert (seam_share(sitting, "Eda") >= 0.9) is continuous
