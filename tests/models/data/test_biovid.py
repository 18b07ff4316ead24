"""BioVid A, B and C in their exact form on disk, with made-up numbers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from models.data.biovid_people import HOLD_OUT, NON_REACTIVE
from models.data.catalogue import open_data
from models.data.recorded import DataSet, Sitting
from models.data.settings import DataSettings
from models.data.survey import survey
from monitor.errors import SourceError
from tests.helpers.pain_data import BIOVID_CLASSES, wave, write_biovid, write_biovid_c

SUBJECT, OFTEN_LEFT_OUT = "071309_w_21", "082315_w_60"


@pytest.fixture(scope="module")
def part_a(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_biovid(tmp_path_factory.mktemp("biovid") / "PartA")


def opened(root: Path, cache: Path, kind: str = "biovid-a", **more: object) -> DataSet:
    return open_data(DataSettings(kind=kind, path=str(root), cache=str(cache), **more))


def codes(data: DataSet) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for oddity in survey(data).oddities:
        found.setdefault(oddity.code, []).append(f"{oddity.where}: {oddity.what}")
    return found


def assert_round_trip(sitting: Sitting, offset: float) -> None:
    """Every sample of every trial as it was written, EDA in uS, ECG and EMG in mV."""
    gains = {"gsr": 1.0, "ecg": 1e-3, "emg_trapezius": 1e-3}
    for trial in sitting.trials:
        cut = sitting.cut(trial)
        for name, gain in gains.items():
            expected = wave(name, 512.0, 2816, offset=offset + 0.01 * int(trial.name[-3:])) * gain
            np.testing.assert_allclose(cut[name], expected, atol=1e-4 * gain, rtol=1e-6)


def test_values_units_labels_and_order(part_a: Path, tmp_path: Path) -> None:
    data = opened(part_a, tmp_path)
    assert data.subjects == (SUBJECT, OFTEN_LEFT_OUT)
    for number, sitting in enumerate(data):
        assert_round_trip(sitting, float(number))
        assert [(c.name, c.modality, c.unit, c.rate_hz) for c in sitting.channels] == [
            ("gsr", "EDA", "uS", 512.0),
            ("ecg", "ECG", "mV", 512.0),
            ("emg_trapezius", "EMG", "mV", 512.0),
        ]
        names = [trial.name for trial in sitting.trials]
        assert [int(name[-3:]) for name in names] == [1, 2, 3, 4, 5, 6, 7, 8, 81, 82]
        for trial, name in zip(sitting.trials, names, strict=True):
            assert trial.label == BIOVID_CLASSES.index(name.split("-")[1])
            # When a baseline was is not known, and neither is where a cut lies relative to its stimulus.
            assert trial.presented == (int(name[-3:]) if trial.label else None)
            assert trial.onset_s is None


def test_the_first_eight_baselines_are_the_calibration(tmp_path: Path) -> None:
    root = write_biovid(tmp_path / "PartA", [SUBJECT], per_class=10, rows=8)
    (sitting,) = opened(root, tmp_path / "cache")
    marked = [trial.name[-7:] for trial in sitting.trials if trial.calibration]
    assert marked == [f"BL1-0{n}" for n in range(81, 89)]


@pytest.mark.parametrize("where", ["itself", "above"])
def test_nested_folders_and_the_folder_above_read_the_same(part_a: Path, tmp_path: Path, where: str) -> None:
    root = write_biovid(tmp_path / "PartA", [SUBJECT], nested=True)
    data = opened(root if where == "itself" else tmp_path, tmp_path / "cache")
    (nested,) = data
    flat = next(iter(opened(part_a, tmp_path / "cache")))
    assert nested.digest == flat.digest
    assert "index" not in codes(data), "samples.csv must be found beside the outer folder"


def test_part_a_has_no_face_and_part_b_has(part_a: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="there is no emg_corrugator"):
        opened(part_a, tmp_path / "cache", signals=("emg_corrugator",))
    root = write_biovid(tmp_path / "elsewhere", [SUBJECT])
    (sitting,) = opened(root, tmp_path / "cache", kind="biovid-b")
    assert [c.name for c in sitting.channels if c.modality == "EMG"] == [
        "emg_trapezius",
        "emg_corrugator",
        "emg_zygomaticus",
    ]
    assert sitting.channel("EMG").name == "emg_trapezius"


def test_modalities_and_units_are_the_configurations(part_a: Path, tmp_path: Path) -> None:
    sitting = next(iter(opened(part_a, tmp_path, modalities=("ECG", "EDA"), units={"ecg": "mV"})))
    assert [c.name for c in sitting.channels] == ["ecg", "gsr"]
    expected = wave("ecg", 512.0, 2816, offset=0.01)
    np.testing.assert_allclose(sitting.cut(sitting.trials[0])["ecg"], expected, atol=1e-3)
    with pytest.raises(SourceError, match="uS is a unit of conductance"):
        opened(part_a, tmp_path, units={"ecg": "uS"})
    with pytest.raises(SourceError, match="there is no BVP"):
        opened(part_a, tmp_path, modalities=("BVP",))


def test_score_files_beside_the_samples_are_passed_over(tmp_path: Path) -> None:
    write_biovid(tmp_path, ("071309_w_21",), per_class=1)
    for path in list((tmp_path / "biosignals_raw" / "071309_w_21").iterdir()):
        path.with_name(path.name.replace("_bio.csv", "_bio_sc.csv")).write_text("whatever\n")
    data = opened(tmp_path, tmp_path / "cache")
    assert "stray" not in codes(data)
    assert [len(sitting.trials) for sitting in data] == [5]


def test_what_is_often_left_out_stays_in_and_is_said(part_a: Path, tmp_path: Path) -> None:
    data = opened(part_a, tmp_path)
    assert OFTEN_LEFT_OUT in data.subjects
    assert "1 of the 20 subjects" in codes(data)["non-reactive"][0]
    assert opened(part_a, tmp_path, leave_out=(OFTEN_LEFT_OUT,)).subjects == (SUBJECT,)
    with pytest.raises(SourceError, match="there is no subject nobody"):
        opened(part_a, tmp_path, leave_out=("nobody",))


def test_published_lists_have_their_published_sizes() -> None:
    assert len(set(NON_REACTIVE)) == 20
    assert len(set(HOLD_OUT)) == 26
    assert len(set(HOLD_OUT) & set(NON_REACTIVE)) == 5


def test_missing_short_and_stray_files_are_said(part_a: Path, tmp_path: Path) -> None:
    root = tmp_path / "PartA"
    shutil.copytree(part_a, root)
    folder = root / "biosignals_raw" / SUBJECT
    (folder / f"{SUBJECT}-PA1-001_bio.csv").unlink()
    (folder / "notes.csv").write_text("a\n1\n")
    short = folder / f"{SUBJECT}-PA2-002_bio.csv"
    short.write_text("\n".join(short.read_text().splitlines()[:2001]) + "\n")
    slow = folder / f"{SUBJECT}-PA3-003_bio.csv"
    lines = slow.read_text().splitlines()
    slow.write_text("\n".join(lines[:101] + lines[111:]) + "\n")
    found = codes(opened(root, tmp_path / "cache"))
    assert any("1 of 10 samples of samples.csv are missing: 071309_w_21-PA1-001" in said for said in found["missing"])
    assert any("notes.csv" in said for said in found["stray"])
    assert any(short.name in said and "2000 rows instead of 2816" in said for said in found["length"])
    assert any(f"{slow.name}, line 102" in said for said in found["time"])


def test_a_damaged_file_ends_only_its_subject_and_names_its_line(part_a: Path, tmp_path: Path) -> None:
    root = tmp_path / "PartA"
    shutil.copytree(part_a, root)
    path = root / "biosignals_raw" / SUBJECT / f"{SUBJECT}-BL1-081_bio.csv"
    lines = path.read_text().splitlines()
    path.write_text("\n".join([*lines[:50], "97656\t4.0", *lines[51:]]) + "\n")
    result = survey(opened(root, tmp_path / "cache"))
    assert result.unread == (SUBJECT,)
    assert [s.subject for s in result.sittings] == [OFTEN_LEFT_OUT]
    damage = next(oddity for oddity in result.oddities if oddity.code == "damaged")
    assert (damage.where, damage.what) == (f"{path}, line 51", "2 cells instead of 6")
    assert result.wrong


def test_an_index_that_contradicts_itself_is_refused(part_a: Path, tmp_path: Path) -> None:
    root = tmp_path / "PartA"
    shutil.copytree(part_a, root)
    index = root / "starting_point" / "samples.csv"
    lines = index.read_text().splitlines()
    lines[3] = lines[3].replace("\t3\tPA3", "\t2\tPA3")
    index.write_text("\n".join(lines) + "\n")
    with pytest.raises(SourceError, match="class_id 2, class_name PA3") as caught:
        opened(root, tmp_path / "cache")
    assert caught.value.where == f"{index}, line 4"


def test_the_wrong_part_is_refused(part_a: Path, tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="the folder is called part A"):
        opened(part_a, tmp_path, kind="biovid-b")
    with pytest.raises(SourceError, match="this is cut"):
        opened(part_a, tmp_path, kind="biovid-c")
    root = write_biovid_c(tmp_path / "long", seconds=0.1, stimuli=())
    with pytest.raises(SourceError, match="this is continuous"):
        opened(root, tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(SourceError, match="there is no folder biosignals_raw"):
        opened(tmp_path / "empty", tmp_path)


def test_cut_data_allow_no_stream(part_a: Path, tmp_path: Path) -> None:
    data = opened(part_a, tmp_path)
    data.require("paper")
    data.require("live-segment")
    with pytest.raises(SourceError, match="does not allow the protocol live-stream"):
        data.require("live-stream")
    with pytest.raises(SourceError, match="there is no protocol"):
        data.require("live")


def test_part_c_is_one_stretch_with_its_stimuli_as_spans(tmp_path: Path) -> None:
    root = write_biovid_c(tmp_path / "C", stimuli=((2.0, 4.0, 4), (6.0, 8.0, 1)))
    data = opened(root, tmp_path / "cache", kind="biovid-c", modalities=("EDA",))
    (sitting,) = data
    assert [trial.label for trial in sitting.trials] == [0, 4, 0, 1, 0]
    starts = [trial.start_s for trial in sitting.trials]
    np.testing.assert_allclose(starts, [0, 2, 4, 6, 8], atol=1 / 512)
    assert [trial.onset_s for trial in sitting.trials] == [None, starts[1], None, starts[3], None]
    assert [trial.presented for trial in sitting.trials] == [None, 1, None, 2, None]
    assert [trial.calibration for trial in sitting.trials] == [True, False, False, False, False]
    painful = sitting.cut(sitting.trials[1])["gsr"]
    first = round(starts[1] * 512)
    np.testing.assert_array_equal(painful, sitting.stretches[0].tracks["gsr"].samples[first : first + len(painful)])
    assert len(painful) == 1024
    assert "calibration" in codes(data), "two seconds of rest calibrate nobody"
    data.require("live-stream")


def test_labels_of_part_c_may_be_changes_only_and_unknown_codes_have_no_class(tmp_path: Path) -> None:
    root = write_biovid_c(tmp_path / "C", seconds=4.0)
    (root / "label" / f"{SUBJECT}.csv").write_text("time\tlabel\n0\t0\n1000000\t3\n2000000\t-10\n3000000\t0\n")
    data = opened(root, tmp_path / "cache", kind="biovid-c")
    (sitting,) = data
    assert [trial.label for trial in sitting.trials] == [0, 3, None, 0]
    np.testing.assert_allclose([trial.seconds for trial in sitting.trials], 1.0, atol=1e-5)
    assert "-10" in codes(data)["label"][0]


def test_part_c_without_labels_is_said(tmp_path: Path) -> None:
    root = write_biovid_c(tmp_path / "C", [SUBJECT, OFTEN_LEFT_OUT], seconds=1.0, stimuli=())
    (root / "label" / f"{SUBJECT}.csv").unlink()
    data = opened(root, tmp_path / "cache", kind="biovid-c")
    assert data.subjects == (OFTEN_LEFT_OUT,)
    assert any("neither label/ nor stimulus/" in said for said in codes(data)["missing"])
