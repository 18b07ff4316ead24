"""E4 folders, XDF files and sessions of the monitor: labels from reported scores or a file of spans, never guessed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from models.data.catalogue import open_data
from models.data.recorded import DataSet
from models.data.settings import DataSettings
from models.data.survey import survey
from monitor.errors import SourceError
from monitor.types import Marker, Provenance
from tests.helpers.made_session import made_chunk, made_info, made_writer
from tests.helpers.xdf_writer import XdfStream, file_header

UTC = 1_700_000_000.0


def opened(root: Path, kind: str, **more: object) -> DataSet:
    return open_data(DataSettings(kind=kind, path=str(root), cache=str(root.parent / "cache"), **more))


def e4_folder(folder: Path, *, seconds: int = 40, level: float = 2.0) -> None:
    folder.mkdir(parents=True)
    for name, rate, late in (("EDA", 4, 0.0), ("BVP", 64, 0.5)):
        values = level + 0.1 * np.sin(np.arange(seconds * rate) / rate)
        lines = [f"{UTC + late:.6f}", f"{rate:.6f}", *(f"{v:.6f}" for v in values)]
        (folder / f"{name}.csv").write_text("\n".join(lines) + "\n")
    (folder / "tags.csv").write_text(f"{UTC + 5:.2f}\n")


def test_e4_folders_are_subjects_and_a_press_of_the_button_is_no_label(tmp_path: Path) -> None:
    root = tmp_path / "e4"
    e4_folder(root / "anna" / "first")
    e4_folder(root / "ben", level=3.0)
    data = opened(root, "e4")
    assert [files.key for files in data.sittings] == ["anna/first", "ben"]
    sitting = next(iter(data))
    assert [(c.name, c.modality, c.unit, c.rate_hz) for c in sitting.channels] == [
        ("BVP", "BVP", "a.u.", 64.0),
        ("EDA", "EDA", "uS", 4.0),
    ]
    expected = (2.0 + 0.1 * np.sin(np.arange(160) / 4)).astype(np.float32)
    np.testing.assert_allclose(sitting.stretches[0].tracks["EDA"].samples, expected, atol=1e-6)
    assert sitting.stretches[0].tracks["BVP"].t_first == 0.5
    assert sitting.trials == ()
    assert sitting.facts["utc_start"] == UTC


@pytest.mark.parametrize(
    "written",
    [
        "subject,start_s,end_s,class,rating\nanna,10.5,20,severe,8\nanna,22,30,none,0.5\n",
        "\ufeffsubject;start_s;end_s;class;rating\r\nanna;10,5;20;severe;8\r\nanna;22;30;none;0,5\r\n",
    ],
    ids=["commas", "a spreadsheet with decimal commas"],
)
def test_spans_are_the_same_however_a_spreadsheet_writes_them(tmp_path: Path, written: str) -> None:
    e4_folder(tmp_path / "e4" / "anna")
    (tmp_path / "e4" / "labels.csv").write_bytes(written.encode())
    trials = next(iter(opened(tmp_path / "e4", "e4"))).trials
    assert [(t.start_s, t.seconds, t.label, t.rating) for t in trials] == [(10.5, 9.5, 3, 8.0), (22.0, 8.0, 0, 0.5)]


def test_recordings_without_a_label_are_told_so_in_one_sentence(tmp_path: Path) -> None:
    e4_folder(tmp_path / "e4" / "anna")
    e4_folder(tmp_path / "e4" / "ben", level=3.0)
    errors = [oddity for oddity in survey(opened(tmp_path / "e4", "e4")).oddities if oddity.level == "error"]
    assert [(oddity.where, oddity.what.split(":")[0]) for oddity in errors] == [("all", "nothing is labelled")]


def test_a_labels_file_in_another_encoding_is_refused_in_words(tmp_path: Path) -> None:
    e4_folder(tmp_path / "e4" / "anna")
    (tmp_path / "e4" / "labels.csv").write_bytes("subject,start_s,end_s,class\n\xe4nna,1,2,none\n".encode("latin-1"))
    with pytest.raises(SourceError, match=r"labels\.csv: is no text in UTF-8"):
        opened(tmp_path / "e4", "e4")


@pytest.mark.parametrize("utc", [False, True])
def test_spans_of_a_labels_file(tmp_path: Path, utc: bool) -> None:
    root = tmp_path / "e4"
    e4_folder(root / "anna")
    zero, name = (UTC, "utc") if utc else (0.0, "s")
    (root / "labels.csv").write_text(
        f"subject,start_{name},end_{name},class,rating\n"
        f"anna,{zero + 10},{zero + 20},severe,8\n"
        f"anna,{zero},{zero + 9},0,\n"
    )
    (sitting,) = opened(root, "e4")
    assert [(t.start_s, t.seconds, t.label, t.rating) for t in sitting.trials] == [(0, 9, 0, None), (10, 10, 3, 8.0)]
    # BVP begins half a second later than the recording, and is cut at the same instants.
    cut = sitting.cut(sitting.trials[1])
    assert {name: len(samples) for name, samples in cut.items()} == {"BVP": 640, "EDA": 40}
    track = sitting.stretches[0].tracks["BVP"].samples
    np.testing.assert_array_equal(cut["BVP"], track[608:1248])


@pytest.mark.parametrize(
    ("text", "line", "what"),
    [
        ("subject,start_s,class\n", 1, "its columns are subject, start_s, class"),
        ("subject,start_s,end_s,class\nanna,1,2,agony\n", 2, "there is no class 'agony'"),
        ("subject,start_s,end_s,class\nanna,1,2,0\nanna,5,5,0\n", 3, "it ends at 5 and begins at 5"),
        ("subject,start_s,end_s,class\nanna,x,2,0\n", 2, "'x' is no start_s"),
    ],
)
def test_a_wrong_labels_file_is_refused_with_its_line(tmp_path: Path, text: str, line: int, what: str) -> None:
    root = tmp_path / "e4"
    e4_folder(root / "anna", seconds=1)
    (root / "labels.csv").write_text(text)
    with pytest.raises(SourceError, match=what) as caught:
        opened(root, "e4")
    assert caught.value.where == f"{root / 'labels.csv'}, line {line}"


def test_spans_of_nobody_and_beyond_the_end_are_said(tmp_path: Path) -> None:
    root = tmp_path / "e4"
    e4_folder(root / "anna", seconds=10)
    (root / "labels.csv").write_text("subject,start_s,end_s,class\nanna,5,60,1\ncarl,1,2,0\n")
    data = opened(root, "e4")
    said = [o.what for o in survey(data).oddities if o.code == "label"]
    assert any("no subject 'carl'" in what for what in said)
    assert any("5..60 s is not within the recording" in what for what in said)
    (trial,) = next(iter(data)).trials
    assert trial.start_s + (trial.seconds or 0.0) == pytest.approx(10.5)


def session(path: Path, subject: str, *, scores: dict[float, float], provenance: Provenance = Provenance.LIVE) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    writer = made_writer(path, meta={"subject": subject, "provenance": provenance})
    info = made_info(unit="counts", gain=0.5, offset=1.0, provenance=provenance)
    writer.stream(info, 100.0)
    for second in (*range(100, 140), *range(150, 160)):
        writer.chunk(made_chunk(float(second)))
        writer.tick(second + 1.0)
    writer.events(
        [Marker(bed="bed1", t=t, kind="nrs", text="at rest", value=value, actor="nurse") for t, value in scores.items()]
    )
    writer.events([Marker(bed="bed1", t=120.0, kind="note", text="turned", value=None, actor="nurse")])
    writer.close()


def test_sessions_give_scores_as_labels_in_the_modalitys_unit(tmp_path: Path) -> None:
    root = tmp_path / "sessions"
    session(root / "a.session.db", "S01", scores={115.0: 0.0, 130.0: 6.0, 157.0: 8.0})
    data = opened(root, "sessions")
    (sitting,) = data
    assert sitting.subject == "S01"
    assert sitting.session == "6f9c2c0e"
    assert [(c.modality, c.unit, c.rate_hz) for c in sitting.channels] == [("EDA", "uS", 4.0)]
    trials = [(t.start_s, t.seconds, t.label, t.rating) for t in sitting.trials]
    assert trials == [(5.0, 10.0, 0, 0.0), (20.0, 10.0, 2, 6.0), (47.0, 10.0, 3, 8.0)]
    stamps = 100.0 + 20.0 + np.arange(40) / 4
    cut = sitting.cut(sitting.trials[1])["hand EDA"]
    np.testing.assert_allclose(cut, 0.5 * (2.0 + np.sin(stamps / 7.0)) + 1.0, atol=1e-5)
    assert len(sitting.cut(sitting.trials[2])["hand EDA"]) == 28, "what a gap swallowed is not made up"


def test_cuts_of_scores_and_their_span_are_the_configurations(tmp_path: Path) -> None:
    root = tmp_path / "sessions"
    session(root / "a.session.db", "S01", scores={115.0: 3.0, 130.0: 5.0})
    data = opened(root, "sessions", classes=("no", "yes"), nrs_cuts=(4.0,), nrs_span_s=4.0)
    (sitting,) = data
    assert [(t.start_s, t.seconds, t.label) for t in sitting.trials] == [(11.0, 4.0, 0), (26.0, 4.0, 1)]
    assert sitting.classes == data.classes == ("no", "yes")


def test_simulated_and_damaged_sessions_are_said(tmp_path: Path) -> None:
    root = tmp_path / "sessions"
    session(root / "a.session.db", "S01", scores={}, provenance=Provenance.SIMULATED)
    (root / "b.session.db").write_bytes(b"no session")
    codes = {oddity.code: oddity for oddity in opened(root, "sessions").oddities}
    assert "simulated patient" in codes["simulated"].what
    assert codes["damaged"].where == str(root / "b.session.db")


def test_xdf_files_by_their_bids_names_with_scores_among_the_markers(tmp_path: Path) -> None:
    root = tmp_path / "xdf"
    root.mkdir()
    eda = XdfStream(number=1, name="EDA", type="EDA", rate_hz=4.0, labels=("EDA",), units=("uS",))
    noise = XdfStream(number=2, name="EMG", type="EMG", rate_hz=4.0, labels=("EMG",), units=("",))
    said = XdfStream(number=3, name="Marks", type="Markers", format="string")
    at = 50.0 + np.arange(120) / 4
    (root / "sub-07_ses-2_task-pain.xdf").write_bytes(
        b"".join(
            [
                file_header(),
                eda.header(),
                noise.header(),
                said.header(),
                eda.samples(at.tolist(), np.sin(at)[:, None] + 5),
                noise.samples(at.tolist(), np.zeros((120, 1))),
                said.samples([65.0, 70.0], [["nrs 5"], ["turned over"]]),
            ]
        )
    )
    data = opened(root, "xdf")
    (sitting,) = data
    assert sitting.key == "07/2"
    assert [c.name for c in sitting.channels] == ["EDA"]
    assert any("EMG: nothing states its unit" in oddity.what for oddity in sitting.oddities)
    assert [(t.start_s, t.seconds, t.label, t.rating) for t in sitting.trials] == [(5.0, 10.0, 2, 5.0)]
    np.testing.assert_allclose(sitting.cut(sitting.trials[0])["EDA"], np.sin(55.0 + np.arange(40) / 4) + 5, atol=1e-5)
    (again,) = opened(root, "xdf", units={"EMG": "mV"})
    assert [c.name for c in again.channels] == ["EDA", "EMG"]


def test_a_signal_whose_name_tells_nothing_is_what_the_configuration_says(tmp_path: Path) -> None:
    root = tmp_path / "xdf"
    root.mkdir()
    stream = XdfStream(number=1, name="amp", rate_hz=4.0, labels=("Ch 3",), units=("nS",))
    samples = stream.samples((50.0 + np.arange(40) / 4).tolist(), np.full((40, 1), 3000.0))
    (root / "anna.xdf").write_bytes(file_header() + stream.header() + samples)
    damaged = next(oddity for oddity in survey(opened(root, "xdf")).oddities if oddity.code == "damaged")
    assert "there are Ch 3" in damaged.what
    assert "data.channels" in damaged.todo
    (sitting,) = opened(root, "xdf", channels={"Ch 3": "EDA"})
    assert [(c.name, c.modality, c.unit) for c in sitting.channels] == [("Ch 3", "EDA", "uS")]
    np.testing.assert_allclose(sitting.stretches[0].tracks["Ch 3"].samples, 3.0, rtol=1e-6)


@pytest.mark.parametrize("kind", ["e4", "xdf", "sessions"])
def test_an_empty_folder_is_refused(tmp_path: Path, kind: str) -> None:
    root = tmp_path / "nothing"
    root.mkdir()
    with pytest.raises(SourceError, match="no recording is in it"):
        opened(root, kind)
