from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import SourceError
from monitor.sources.recordings import open_recording

RECORDINGS = Path(__file__).resolve().parents[4] / "shared" / "recordings"
START = 1644227574.0


def export(folder: Path) -> Path:
    (folder / "EDA.csv").write_text(f"{START:.6f}\n4.000000\n" + "".join(f"{i / 8:.6f}\n" for i in range(40)))
    bvp = f"{START + 0.5:.2f}\n64.000000\n" + "".join(f"{i % 7:.2f}\n" for i in range(640))
    (folder / "BVP.csv.bz2").write_bytes(bz2.compress(bvp.encode()))
    (folder / "ACC.csv").write_text(
        ", ".join([f"{START:.6f}"] * 3) + "\n" + ", ".join(["32.000000"] * 3) + "\n0,0,64\n48,0,64\n"
    )
    (folder / "HR.csv").write_text(f"{START + 10:.6f}\n1.000000\n70.00\n71.00\n")
    (folder / "IBI.csv").write_text(f"{START:.6f}, IBI\n2.5,0.8\n")
    (folder / "tags.csv").write_text(f"{START + 3:.2f}\n{START - 40000:.2f}\n")
    return folder


def test_an_export_folder_keeps_units_rates_offsets_and_tags(tmp_path: Path) -> None:
    recording = open_recording(export(tmp_path))
    found = {s.candidate.name: (s.candidate.unit, s.candidate.rate_hz, s.t_first) for s in recording.signals}
    assert found == {
        "ACC": ("g", 32.0, 0.0),
        "BVP": ("a.u.", 64.0, 0.5),
        "EDA": ("uS", 4.0, 0.0),
        "HR": ("bpm", 1.0, 10.0),
    }
    assert recording.utc_start == START
    assert recording.markers == ((3.0, "tag"),)
    assert any("1 tag(s) outside" in note for note in recording.notes)
    acc = next(s.samples for s in recording.signals if s.candidate.name == "ACC")
    assert acc.tolist() == [1.0, 1.25]
    eda = next(s.samples for s in recording.signals if s.candidate.name == "EDA")
    np.testing.assert_array_equal(eda, (np.arange(40) / 8).astype(np.float32))


def test_a_file_of_the_folder_stands_for_the_folder(tmp_path: Path) -> None:
    export(tmp_path)
    names = [s.candidate.name for s in open_recording(tmp_path / "BVP.csv.bz2").signals]
    assert names == [s.candidate.name for s in open_recording(tmp_path).signals]


def test_a_csv_that_only_shares_the_name_is_read_as_csv(tmp_path: Path) -> None:
    (tmp_path / "EDA.csv").write_text("EDA (uS)\n1\n2\n")
    assert open_recording(tmp_path / "EDA.csv").format == "csv"
    with pytest.raises(SourceError, match=r"no Empatica E4 export.*EDA\.csv"):
        open_recording(tmp_path)


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_one_cut_file_never_costs_the_others(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = export(tmp_path_factory.mktemp("e4"))
    name = data.draw(st.sampled_from(["EDA.csv", "BVP.csv.bz2", "ACC.csv", "tags.csv"]))
    whole = (folder / name).read_bytes()
    cut = data.draw(st.integers(0, len(whole) - 1))
    (folder / name).write_bytes(whole[:cut])
    recording = open_recording(folder)
    lengths = {s.candidate.name: len(s.samples) for s in recording.signals}
    others = {"EDA": 40, "BVP": 640, "ACC": 2, "HR": 2}
    sensor = name.split(".")[0]
    rest = others.pop(sensor, None)
    assert {key: lengths[key] for key in others} == others
    if name == "EDA.csv":
        assert lengths.get("EDA", 0) == max(whole[:cut].count(b"\n") - 2, 0)
    # A plain file that ends with a whole line of samples cannot be told from a shorter recording.
    told = name.endswith(".bz2") or not whole[:cut].endswith(b"\n") or whole[:cut].count(b"\n") < 3
    if rest is not None and lengths.get(sensor, 0) != rest and told:
        assert any(name in note for note in recording.notes)


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not here")
def test_a_published_subject_loads_whole() -> None:
    recording = open_recording(RECORDINGS / "stress_predict" / "S02")
    lengths = {s.candidate.name: len(s.samples) for s in recording.signals}
    assert lengths == {"ACC": 114054, "BVP": 228173, "EDA": 14262, "HR": 3555, "TEMP": 14264}
    assert len(recording.markers) == 9
