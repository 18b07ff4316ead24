from __future__ import annotations

import bz2
import contextlib
import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import SourceError
from monitor.sources.base import Recording
from monitor.sources.csv_file import read_csv
from monitor.sources.recordings import open_recording, state_rate

RECORDINGS = Path(__file__).resolve().parents[4] / "shared" / "recordings"


def write(folder: Path, text: str | bytes, name: str = "take.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def column(recording: Recording, name: str) -> np.ndarray:
    return next(signal.samples for signal in recording.signals if signal.candidate.name == name)


@pytest.mark.parametrize(
    "text",
    [
        "ECG (mV),EDA [uS]\n0.5,-2\n1.5,-3\n",
        "ECG (mV);EDA [uS]\n0,5;-2\n1,5;-3\n",
        "ECG (mV);EDA [uS]\r\n0.5;-2\r\n1.5;-3\r\n",
        "ECG (mV)\tEDA [µS]\n0.5\t-2\n1.5\t-3\n",
        "\ufeffECG (mV),EDA [uS]\n\n0.5,-2\n\n1.5,-3\n",
        "ECG (mV),EDA [uS]\n0.5,-2,\n1.5,-3,\n",
        '"ECG (mV)","EDA [uS]"\n"0.5","-2"\n"1.5","-3"\n',
        "# Simple Text Format\n# Units:= mV\tuS\n# Labels:= ECG\tEDA\n0.5\t-2\n1.5\t-3\n",
    ],
)
def test_every_dialect_says_the_same(tmp_path: Path, text: str) -> None:
    recording = read_csv(write(tmp_path, text))
    assert [(s.candidate.name, s.candidate.unit, s.candidate.rate_hz) for s in recording.signals] == [
        ("ECG", "mV", None),
        ("EDA", "uS", None),
    ]
    assert column(recording, "ECG").tolist() == [0.5, 1.5]
    assert column(recording, "EDA").tolist() == [-2.0, -3.0]
    assert recording.notes == ()


def test_missing_cells_stay_missing_and_keep_their_place(tmp_path: Path) -> None:
    recording = read_csv(write(tmp_path, "ECG,EDA\n1,\nNA,2\n3,nan\n4,oops\n5,inf\n"))
    np.testing.assert_array_equal(column(recording, "ECG"), np.float32([1, np.nan, 3, 4, 5]))
    np.testing.assert_array_equal(column(recording, "EDA"), np.float32([np.nan, 2, np.nan, np.nan, np.inf]))
    assert any("EDA" in note and "1 cell" in note for note in recording.notes)


def test_a_row_of_the_wrong_width_is_a_missing_row_and_shifts_nothing(tmp_path: Path) -> None:
    recording = read_csv(write(tmp_path, "ECG,EDA\n1,2\n3\n4,5,6\n7,8\n"))
    np.testing.assert_array_equal(column(recording, "ECG"), np.float32([1, np.nan, np.nan, 7]))
    assert any("2 row(s)" in note for note in recording.notes)


def test_text_and_empty_columns_are_left_out_and_noted(tmp_path: Path) -> None:
    recording = read_csv(write(tmp_path, "ECG,phase,event\n1,rest,\n2,rest,\n"))
    assert [s.candidate.name for s in recording.signals] == ["ECG"]
    assert sum("left out" in note for note in recording.notes) == 2


@pytest.mark.parametrize(
    ("name", "cells"),
    [
        ("time_ms", ["5000", "5004", "5008", "5012"]),
        ("Time (s)", ["5.000", "5.004", "5.008", "5.012"]),
        ("t", ["5.000", "5.004", "5.008", "5.012"]),
        ("timestamp [us]", ["5000000", "5004000", "5008000", "5012000"]),
        ("datetime", [f"2026-01-01 00:00:05.{ms:03d}" for ms in (0, 4, 8, 12)]),
    ],
)
def test_a_time_column_gives_stamps_and_the_rate(tmp_path: Path, name: str, cells: list[str]) -> None:
    rows = "".join(f"{cell},{index}\n" for index, cell in enumerate(cells))
    recording = read_csv(write(tmp_path, f"{name},ECG\n{rows}"))
    (signal,) = recording.signals
    assert signal.stamps is not None
    np.testing.assert_allclose(signal.stamps, [0.0, 0.004, 0.008, 0.012], atol=1e-9)
    assert signal.candidate.rate_hz == pytest.approx(250.0)
    assert signal.candidate.rate_measured
    assert recording.utc_start == 0.0


def test_utc_stamps_give_the_start_of_the_recording(tmp_path: Path) -> None:
    recording = read_csv(write(tmp_path, "timestamp,EDA\n1700000000.25,1\n1700000000.50,2\n1700000000.75,3\n"))
    assert recording.utc_start == 1700000000.25
    assert recording.signals[0].stamps is not None
    assert recording.signals[0].stamps.tolist() == [0.0, 0.25, 0.5]
    zoned = read_csv(write(tmp_path, "time,EDA\n2026-01-01T00:00:00+01:00,1\n2026-01-01T00:00:00.25+01:00,2\n"))
    assert zoned.utc_start == 1767222000.0


@pytest.mark.parametrize("step", [1, 4, 8.5])
def test_a_time_that_may_be_milliseconds_is_never_guessed(tmp_path: Path, step: float) -> None:
    recording = read_csv(write(tmp_path, "timer,BVP\n" + "".join(f"{i * step},{i}\n" for i in range(9))))
    (signal,) = recording.signals
    assert signal.stamps is None
    assert signal.candidate.rate_hz is None
    assert any("'timer_ms'" in note and "--rate" in note for note in recording.notes)


def test_rows_without_a_time_are_left_out(tmp_path: Path) -> None:
    recording = read_csv(write(tmp_path, "time_s,ECG\n0,1\n,2\n0.5,3\n"))
    assert column(recording, "ECG").tolist() == [1.0, 3.0]
    assert any("without a readable time" in note for note in recording.notes)


def test_a_gap_and_coarse_stamps_do_not_bias_the_rate(tmp_path: Path) -> None:
    true = np.arange(4000) / 270.0
    true[2000:] += 300.0
    rows = "".join(f"{int(t * 1000)},0\n" for t in true)
    recording = read_csv(write(tmp_path, f"time_ms,PPG\n{rows}"))
    assert recording.signals[0].candidate.rate_hz == pytest.approx(270.0, rel=0.01)


def test_a_file_without_names_numbers_its_columns(tmp_path: Path) -> None:
    recording = read_csv(write(tmp_path, "1,2\n3,4\n"))
    assert [s.candidate.name for s in recording.signals] == ["column 1", "column 2"]
    assert column(recording, "column 2").tolist() == [2.0, 4.0]


def test_two_columns_of_one_name_have_keys_of_their_own(tmp_path: Path) -> None:
    recording = read_csv(write(tmp_path, "EDA,EDA\n1,2\n3,4\n"))
    assert len({s.candidate.key for s in recording.signals}) == 2


@pytest.mark.parametrize(
    "text", [b"", b"\n\n", b"ECG,EDA\n", b"ECG,EDA", b"\0\1\2\3", b"words\nonly\n", b"# just\n# this\n"]
)
def test_a_file_with_nothing_usable_is_refused_with_its_name(tmp_path: Path, text: bytes) -> None:
    path = write(tmp_path, text)
    with pytest.raises(SourceError, match=r"take\.csv"):
        read_csv(path)


ROWS = np.round(np.random.default_rng(7).normal(size=(40, 2)) * 100, 3)
TEXT = "time_s,ECG (mV),EDA\n" + "".join(f"{i / 8},{a},{b}\n" for i, (a, b) in enumerate(ROWS))


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(TEXT)), packing=st.sampled_from(["", ".gz", ".bz2"]))
def test_a_cut_file_keeps_every_whole_row_before_the_cut(
    tmp_path_factory: pytest.TempPathFactory, cut: int, packing: str
) -> None:
    data = TEXT.encode()[:cut]
    packed = {"": lambda d: d, ".gz": gzip.compress, ".bz2": bz2.compress}[packing](data)
    path = write(tmp_path_factory.mktemp("cut"), packed, f"take.csv{packing}")
    whole = max(data.count(b"\n") - 1, 0)
    try:
        recording = read_csv(path)
    except SourceError:
        assert whole < 2, "two rows make a time column and are therefore enough"
        return
    if whole >= 2:
        np.testing.assert_array_equal(column(recording, "ECG"), ROWS[:whole, 0].astype(np.float32))
        np.testing.assert_array_equal(column(recording, "EDA"), ROWS[:whole, 1].astype(np.float32))
    assert data.endswith(b"\n") or any("last line" in note for note in recording.notes)


@settings(max_examples=60, deadline=None)
@given(data=st.data(), packing=st.sampled_from([".gz", ".bz2"]))
def test_a_cut_compressed_stream_is_a_prefix_or_a_refusal(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, packing: str
) -> None:
    # Two streams one after the other, so that bz2 (which yields whole blocks only) has something before a cut.
    pack = gzip.compress if packing == ".gz" else bz2.compress
    half = TEXT.index("\n", len(TEXT) // 2) + 1
    packed = pack(TEXT[:half].encode()) + pack(TEXT[half:].encode())
    cut = data.draw(st.integers(0, len(packed)))
    path = write(tmp_path_factory.mktemp("cut"), packed[:cut], f"take.csv{packing}")
    try:
        recording = read_csv(path)
    except SourceError:
        assert cut < len(pack(TEXT[:half].encode()))
        return
    ecg = column(recording, "ECG")
    np.testing.assert_array_equal(ecg, ROWS[: len(ecg), 0].astype(np.float32))
    if cut >= len(pack(TEXT[:half].encode())):
        assert len(ecg) >= TEXT[:half].count("\n") - 1
    assert cut == len(packed) or len(ecg) == TEXT[:half].count("\n") - 1 or recording.notes


@settings(max_examples=100, deadline=None)
@given(noise=st.binary(max_size=300))
def test_noise_is_read_or_refused_and_nothing_else(tmp_path_factory: pytest.TempPathFactory, noise: bytes) -> None:
    path = write(tmp_path_factory.mktemp("noise"), b"time,ECG\n0,1\n" + noise)
    with contextlib.suppress(SourceError):
        assert read_csv(path).signals


def test_a_stated_rate_goes_before_the_command_line(tmp_path: Path) -> None:
    path = write(tmp_path, "time_s,ECG\n0,1\n0.01,2\n0.02,3\n")
    assert open_recording(path, rate_hz=64.0).signals[0].candidate.rate_hz == pytest.approx(100.0)
    path = write(tmp_path, "ECG\n1\n2\n", "bare.csv")
    assert open_recording(path, rate_hz=64.0).signals[0].candidate.rate_hz == 64.0
    with pytest.raises(SourceError, match="not possible"):
        state_rate(open_recording(path), 0.0)


@pytest.mark.parametrize("name", ["nowhere.csv", "take.xyz"])
def test_an_unknown_path_or_format_says_which_formats_there_are(tmp_path: Path, name: str) -> None:
    write(tmp_path, "x", "take.xyz")
    with pytest.raises(SourceError, match="WFDB"):
        open_recording(tmp_path / name)


@pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not here")
@pytest.mark.parametrize(
    ("name", "signals"),
    [
        ("neurokit/bio_eventrelated_100hz.csv.bz2", {"ECG": 15000, "EDA": 15000, "RSP": 15000}),
        ("heartpy/data2.csv.bz2", {"hr": 15000}),
        ("heartpy/data3.csv.bz2", {"hr": 68475}),
        ("heartpy/118e24.csv.bz2", {"column 1": 43200}),
        ("biosppy/acc.txt.bz2", {"acc_x": 2000, "acc_z": 2000}),
        ("physiokit/P11_A_Passive_1675944284_729139.csv.bz2", {"EDA": 82546, "PPG Ear": 82546}),
        ("plux/supine_1min.txt.bz2", {"ECG": 60000}),
    ],
)
def test_published_recordings_load_whole(name: str, signals: dict[str, int]) -> None:
    recording = open_recording(RECORDINGS / name)
    lengths = {s.candidate.name: len(s.samples) for s in recording.signals}
    assert {key: lengths.get(key) for key in signals} == signals
