from __future__ import annotations

import contextlib
import datetime as dt
import gzip
import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from edfio import Edf, EdfAnnotation, EdfSignal, read_edf
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import SourceError
from monitor.sources.base import Recording
from monitor.sources.mapping import resolve
from monitor.sources.recordings import open_recording
from monitor.sources.replay import replay_chunks, replay_streams
from monitor.types import Chunk

RECORDS = 12
RNG = np.random.default_rng(8)
ECG = np.clip(RNG.normal(size=RECORDS * 200), -4.9, 4.9)
EDA = np.clip(3 + RNG.normal(size=RECORDS * 8), 0.1, 39.0)
NOTES = (EdfAnnotation(1.5, None, "cold"), EdfAnnotation(4.0, 2.5, "heat · 45 °C"), EdfAnnotation(11.0, None, "end"))


def signals() -> list[EdfSignal]:
    return [
        EdfSignal(
            ECG,
            200,
            label="ECG II",
            physical_dimension="mV",
            physical_range=(-5, 5),
            transducer_type="AgAgCl electrode",
            digital_range=(-2048, 2047),
        ),
        EdfSignal(EDA, 8, label="hand", physical_dimension="uS", physical_range=(0, 40), transducer_type="EDA sensor"),
    ]


def edf(**arguments: object) -> bytes:
    """Bytes of a file with records of one second, written by edfio."""
    return Edf(signals(), data_record_duration=1, **arguments).to_bytes()


PLAIN = edf()
PLUS = edf(annotations=NOTES, starttime=dt.time(13, 5, 10, 250_000))


def discontinuous(data: bytes, onsets: Sequence[float | str], kind: bytes = b"EDF+D") -> bytes:
    """The file with other times of its records, and called discontinuous."""
    signals_count = int(data[252:256])
    start, width = 256 * (signals_count + 1), 200 + 8
    text_bytes = 2 * int(data[256 + signals_count * 216 + 8 * 2 : 256 + signals_count * 216 + 8 * 3])
    size = 2 * width + text_bytes
    out = bytearray(data)
    out[192:197] = kind
    for record, onset in enumerate(onsets):
        at = start + record * size + 2 * width
        old = bytes(out[at : at + text_bytes])
        rest = old.split(b"\0", 1)[1].rstrip(b"\0")
        head = f"{onset:+g}".encode() if isinstance(onset, float) else onset.encode()
        out[at : at + text_bytes] = (head + b"\x14\x14\0" + rest + b"\0").ljust(text_bytes, b"\0")[:text_bytes]
    return bytes(out)


def write(folder: Path, data: bytes, name: str = "take.edf") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def stamps(recording: Recording, index: int) -> np.ndarray:
    found = recording.signals[index].stamps
    assert found is not None
    return found


@pytest.mark.parametrize("data", [PLAIN, PLUS], ids=["EDF", "EDF+C"])
def test_samples_units_rates_and_transducers_are_those_of_the_file(tmp_path: Path, data: bytes) -> None:
    recording = open_recording(write(tmp_path, data))
    found = [(c.name, c.unit, c.rate_hz, c.type) for c in (s.candidate for s in recording.signals)]
    assert found == [("ECG II", "mV", 200.0, "AgAgCl electrode"), ("hand", "uS", 8.0, "EDA sensor")]
    other = read_edf(io.BytesIO(data))
    for mine, theirs in zip(recording.signals, other.signals, strict=True):
        np.testing.assert_allclose(mine.samples, theirs.data, rtol=1e-6, atol=1e-6)
        assert (mine.t_first, mine.stamps) == (0.0, None)
    assert not recording.notes
    # A transducer names the modality where the label does not.
    mapped = resolve([s.candidate for s in recording.signals], (), bed="bed1", live=False)
    assert {info.modality: info.name for info in mapped.streams} == {"ECG": "ECG II", "EDA": "hand"}


def test_annotations_become_markers_counted_from_the_first_sample(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path, PLUS))
    assert recording.markers == (
        (pytest.approx(1.5), "cold"),
        (pytest.approx(4.0), "heat · 45 °C (2.5 s)"),
        (pytest.approx(11.0), "end"),
    )


def test_gaps_of_a_discontinuous_file_stay_gaps(tmp_path: Path) -> None:
    onsets = [0.0, 1.0, 2.0, 3.5, 4.5, 5.5, 5.5 + 1.002, 60.0, 61.0, 62.0, 63.0, 64.0]
    recording = open_recording(write(tmp_path, discontinuous(PLUS, onsets)))
    np.testing.assert_allclose(recording.signals[0].samples, ECG, atol=0.002)
    for index, rate in ((0, 200), (1, 8)):
        expected = np.concatenate([onset + np.arange(rate) / rate for onset in [*onsets[:6], 6.5, *onsets[7:]]])
        # 2 ms late is a rounded time, not a gap: that record continues the one before.
        np.testing.assert_allclose(stamps(recording, index), expected, atol=1e-9)
    assert recording.notes == ("2 gap(s) between records",)
    mapped = resolve([s.candidate for s in recording.signals], (), bed="bed1", live=False)
    streams = replay_streams(recording, mapped.streams)
    played = [c for _, c in replay_chunks(recording, streams) if isinstance(c, Chunk) and c.stream == "edf:ECG II"]
    np.testing.assert_allclose(np.concatenate([c.stamps for c in played]), stamps(recording, 0), atol=1e-6)


def test_a_file_that_claims_to_be_continuous_is_not_believed(tmp_path: Path) -> None:
    onsets = [float(t) for t in (*range(6), *range(16, 22))]
    recording = open_recording(write(tmp_path, discontinuous(PLUS, onsets, b"EDF+C")))
    assert np.diff(stamps(recording, 1)).max() == pytest.approx(10.125)
    assert "said to have none" in recording.notes[-1]


def test_a_record_without_a_time_is_left_out_only_where_nobody_knows_its_place(tmp_path: Path) -> None:
    onsets: list[float | str] = [float(t) for t in range(12)]
    onsets[4] = "soon"
    loose = open_recording(write(tmp_path, discontinuous(PLUS, onsets)))
    assert len(loose.signals[1].samples) == 11 * 8
    assert np.diff(stamps(loose, 1)).max() == pytest.approx(1.125)
    firm = open_recording(write(tmp_path, discontinuous(PLUS, onsets, b"EDF+C")))
    assert len(firm.signals[1].samples) == 12 * 8
    assert firm.signals[1].stamps is None
    onsets[0] = "soon"
    assert open_recording(write(tmp_path, discontinuous(PLUS, onsets))).signals[1].t_first == 0.0
    assert open_recording(write(tmp_path, discontinuous(PLUS, onsets, b"EDF+C"))).signals[1].stamps is None
    with pytest.raises(SourceError, match="no record says when it began"):
        open_recording(write(tmp_path, discontinuous(PLUS, ["?"] * 12)))


@settings(max_examples=60, deadline=None)
@given(data=st.data(), whole=st.sampled_from([PLAIN, PLUS]))
def test_a_cut_file_keeps_every_whole_record(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject, whole: bytes
) -> None:
    cut = data.draw(st.integers(0, len(whole) - 1))
    header = int(whole[184:192])
    records = max(0, cut - header) * RECORDS // (len(whole) - header)
    path = write(tmp_path_factory.mktemp("cut"), whole[:cut])
    if records == 0:
        with pytest.raises(SourceError, match=r"take\.edf"):
            open_recording(path)
        return
    recording = open_recording(path)
    np.testing.assert_allclose(recording.signals[0].samples, ECG[: records * 200], atol=0.002)
    np.testing.assert_allclose(recording.signals[1].samples, EDA[: records * 8], atol=0.002)
    assert f"{records} of {RECORDS} records" in recording.notes[0]
    assert all(t < records for t, _ in recording.markers)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    broken = bytearray(PLUS)
    for _ in range(data.draw(st.integers(1, 4))):
        # Most of the bytes are samples, which may be anything: damage is sought in the header and the annotations.
        place = data.draw(st.integers(0, 1023) | st.integers(1024 + 416, 1024 + 500))
        broken[place] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SourceError):
        recording = open_recording(write(tmp_path_factory.mktemp("damage"), bytes(broken)))
        assert all(len(s.samples) == len(s.stamps) for s in recording.signals if s.stamps is not None)


def test_a_file_that_was_never_closed_and_one_that_is_longer_are_read_whole(tmp_path: Path) -> None:
    for stated, note in ((b"-1", "never closed"), (b"3", "states 3 record")):
        data = PLAIN[:236] + stated.ljust(8) + PLAIN[244:]
        recording = open_recording(write(tmp_path, data))
        assert len(recording.signals[0].samples) == len(ECG)
        assert note in recording.notes[0]


def test_ranges_that_make_no_scale_leave_raw_counts(tmp_path: Path) -> None:
    data = bytearray(PLAIN)
    physical_max = 256 + 2 * (16 + 80 + 8 + 8)
    data[physical_max : physical_max + 8] = b"-5".ljust(8)
    ecg = open_recording(write(tmp_path, bytes(data))).signals[0]
    assert ecg.candidate.unit == "counts"
    np.testing.assert_array_equal(ecg.samples, read_edf(io.BytesIO(PLAIN)).signals[0].digital)


def test_a_micro_sign_is_understood_and_an_unknown_unit_kept(tmp_path: Path) -> None:
    data = bytearray(PLAIN)
    unit = 256 + 2 * (16 + 80)
    data[unit : unit + 16] = b"mmHg    " + "µS      ".encode("latin-1")
    assert [s.candidate.unit for s in open_recording(write(tmp_path, bytes(data))).signals] == ["mmHg", "uS"]


def test_signals_of_one_name_have_keys_of_their_own(tmp_path: Path) -> None:
    data = bytearray(PLAIN)
    data[256 + 16 : 256 + 32] = data[256 : 256 + 16]
    assert [s.candidate.key for s in open_recording(write(tmp_path, bytes(data))).signals] == [
        "edf:ECG II",
        "edf:ECG II#2",
    ]


def test_a_packed_file_is_the_same_recording(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path, gzip.compress(PLUS), "take.edf.gz"))
    assert len(recording.signals[0].samples) == len(ECG)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "is not an EDF file"),
        (b"\xffBIOSEMI" + b" " * 500, "BDF"),
        (PLAIN[:300], "header is cut short"),
        (PLAIN[: 256 * 3 + 10], "no whole record"),
        (Edf([], annotations=NOTES).to_bytes(), "annotations and no signal"),
    ],
)
def test_what_holds_no_signal_is_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_recording(write(tmp_path, data))
