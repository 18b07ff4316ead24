from __future__ import annotations

import bz2
import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import SourceError
from monitor.sources.base import Recording
from monitor.sources.mapping import parse_map, resolve
from monitor.sources.recordings import open_recording
from monitor.sources.transfer import transfer_of
from monitor.types import StreamInfo

ROWS = 40
COUNTS = np.random.default_rng(4).integers(20000, 45000, ROWS)


def device(**changes: Any) -> dict[str, Any]:
    """What OpenSignals writes of one biosignalsplux hub with one ECG sensor."""
    fields: dict[str, Any] = {
        "sensor": ["ECG"],
        "device name": "00:07:80:4D:2E:AD",
        "column": ["nSeq", "DI", "CH1"],
        "time": "15:11:20.455",
        "date": "2019-2-7",
        "device": "biosignalsplux",
        "sampling rate": 1000,
        "label": ["CH1"],
        "resolution": [16],
        "special": [{}],
    }
    return fields | changes


def text(columns: list[Any], *devices: dict[str, Any]) -> bytes:
    """A file, each row with the tab at its end that OpenSignals writes."""
    header = json.dumps({f"00:0{number}": stated for number, stated in enumerate(devices)})
    rows = "".join("\t".join(str(cell) for cell in row) + "\t\n" for row in zip(*columns, strict=True))
    return f"# OpenSignals Text File Format. Version 1\n# {header}\n# EndOfHeader\n{rows}".encode()


ECG = text([range(ROWS), [0] * ROWS, COUNTS], device())


def write(folder: Path, data: bytes, name: str = "take.txt") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


def streams(recording: Recording, *maps: str) -> dict[str, StreamInfo]:
    settings = [parse_map(option) for option in maps]
    mapped = resolve([s.candidate for s in recording.signals], settings, bed="bed1", live=False)
    return {info.modality or info.name: info for info in (*mapped.streams, *mapped.shown)}


def test_a_named_sensor_of_a_known_device_needs_no_settings(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path, ECG))
    assert recording.format == "opensignals"
    ecg = recording.signals[-1]
    np.testing.assert_array_equal(ecg.samples, COUNTS)  # in counts, as in the file
    info = streams(recording)["ECG"]
    transfer = transfer_of("biosignalsplux", "ECG", bits=16)
    assert transfer is not None
    assert (info.name, info.unit, info.rate_hz) == ("ECG", "counts", 1000.0)
    assert (info.gain, info.offset, info.rails) == (transfer.gain, transfer.offset, transfer.rails)
    assert streams(recording, "ECG=CH1")["ECG"].gain == transfer.gain  # named by its column as well


@pytest.mark.parametrize(
    ("maker", "sensor", "bits", "modality", "transfer"),
    [
        ("bitalino_rev", "EDABITREV", 10, "EDA", "bitalino_rev"),
        ("bitalino_rev", "ECGBITREV", 6, "ECG", "bitalino_rev"),
        ("channeller", "EMG", 12, "EMG", "biosignalsplux"),
        ("biosignalsplux", "RESPIRATION", 16, "RESP", "biosignalsplux"),
        ("biosignalsplux", "BVP", 8, "BVP", "biosignalsplux"),
    ],
)
def test_device_sensor_and_resolution_choose_the_transfer(
    tmp_path: Path, maker: str, sensor: str, bits: int, modality: str, transfer: str
) -> None:
    data = text(
        [range(9), range(9)], device(device=maker, sensor=[sensor], column=["nSeq", "CH1"], resolution=[4, bits])
    )
    info = streams(open_recording(write(tmp_path, data)))[modality]
    expected = transfer_of(transfer, modality, bits=bits)
    assert expected is not None
    assert (info.gain, info.offset, info.rails) == (expected.gain, expected.offset, expected.rails)


@pytest.mark.parametrize(
    "changes",
    [
        {"device": "swifter"},  # no transfer function is known for it
        {"sensor": ["EDABIT"], "device": "bitalino_rev"},  # the sensor of the first BITalino is another
        {"sensor": ["EDA"], "resolution": []},
    ],
)
def test_without_a_transfer_a_channel_is_shown_and_not_used(tmp_path: Path, changes: dict[str, Any]) -> None:
    with_resp = {"column": ["nSeq", "CH1", "CH2"], "resolution": [16, 16]}
    stated = device(**(with_resp | changes))
    stated["sensor"] = [*stated["sensor"], "RESP"]
    found = streams(open_recording(write(tmp_path, text([range(9)] * 3, stated))))
    shown = found[stated["sensor"][0]]
    assert shown.modality is None
    assert "unit_unknown" in shown.unused


def test_an_unnamed_sensor_has_no_modality_and_may_be_given_one(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path, text([range(9)] * 3, device(sensor=["RAW"]))))
    candidate = recording.signals[-1].candidate
    assert (candidate.name, candidate.modality, candidate.unit, candidate.gain) == ("CH1", None, "counts", None)
    assert streams(recording, "BVP=CH1")["BVP"].unit == "counts"


def test_converted_values_are_not_converted_again(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path, text([range(9)] * 3, device(convertedValues=1))))
    assert recording.signals[-1].candidate.unit is None
    info = streams(recording, "ECG=CH1:mV")["ECG"]
    assert (info.gain, info.offset) == (1.0, 0.0)


def test_two_devices_stand_side_by_side(tmp_path: Path) -> None:
    other = device(device="bitalino_rev", sensor=["EDABITREV"], column=["nSeq", "A3"], resolution=[4, 10])
    data = text([range(9), [0] * 9, range(100, 109), [i % 16 for i in range(9)], range(200, 209)], device(), other)
    recording = open_recording(write(tmp_path, data))
    assert {s.candidate.name: s.samples[0] for s in recording.signals} == {"DI": 0, "ECG": 100, "EDABITREV": 200}
    assert {"ECG", "EDA"} <= set(streams(recording))
    unlike = text([range(9)] * 5, device(), device(**(other | {"sampling rate": 100})))
    with pytest.raises(SourceError, match="different sampling rates"):
        open_recording(write(tmp_path, unlike))


def test_two_sensors_of_a_kind_keep_their_columns(tmp_path: Path) -> None:
    twins = device(sensor=["EMG", "EMG"], column=["nSeq", "CH1", "CH2"], resolution=[16, 16])
    recording = open_recording(write(tmp_path, text([range(9)] * 3, twins)))
    assert [s.candidate.name for s in recording.signals] == ["EMG CH1", "EMG CH2"]


@settings(max_examples=40, deadline=None)
@given(
    lost=st.dictionaries(st.integers(1, 399), st.integers(1, 15), max_size=4),
    turn=st.sampled_from([16, 1 << 16]),
    first=st.integers(0, 1 << 16),
)
def test_what_the_device_lost_becomes_a_gap(
    tmp_path_factory: pytest.TempPathFactory, lost: dict[int, int], turn: int, first: int
) -> None:
    rows = 400
    places = np.arange(rows) + np.cumsum([lost.get(row, 0) for row in range(rows)])
    first = first if turn > 16 else first % turn
    data = text([(first + places) % turn, [0] * rows, range(rows)], device())
    recording = open_recording(write(tmp_path_factory.mktemp("lost"), data))
    if not lost:
        assert recording.signals[-1].stamps is None
        return
    assert recording.signals[-1].stamps is not None
    np.testing.assert_allclose(recording.signals[-1].stamps, places / 1000, atol=1e-12)
    assert any(f"lost {sum(lost.values())} sample(s)" in note for note in recording.notes)


def test_a_column_that_does_not_count_is_not_taken_for_losses(tmp_path: Path) -> None:
    noise = np.random.default_rng(1).integers(0, 16, ROWS)
    recording = open_recording(write(tmp_path, text([noise, [0] * ROWS, COUNTS], device())))
    assert recording.signals[-1].stamps is None
    assert any("does not count samples" in note for note in recording.notes)


def test_a_damaged_row_is_a_missing_row_and_shifts_nothing(tmp_path: Path) -> None:
    lines = ECG.split(b"\n")
    lines[3 + 7] = b"7\t0"
    ecg = open_recording(write(tmp_path, b"\n".join(lines))).signals[-1]
    assert ecg.stamps is None
    assert np.flatnonzero(np.isnan(ecg.samples)).tolist() == [7]
    np.testing.assert_array_equal(np.delete(ecg.samples, 7), np.delete(COUNTS, 7))


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(ECG) - 1))
def test_a_cut_file_keeps_every_whole_row(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = write(tmp_path_factory.mktemp("cut"), ECG[:cut])
    rows = max(0, ECG[:cut].count(b"\n") - 3)
    if rows == 0:
        with pytest.raises(SourceError, match=r"take\.txt"):
            open_recording(path)
        return
    np.testing.assert_array_equal(open_recording(path).signals[-1].samples, COUNTS[:rows])


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_read_or_refused(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    broken = bytearray(ECG)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(len(b"# OpenSignals"), len(ECG) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SourceError):
        open_recording(write(tmp_path_factory.mktemp("damage"), bytes(broken)))


@pytest.mark.parametrize(
    "header",
    [
        "[]",
        "{}",
        '{"a": []}',
        '{"a": {"column": ["nSeq"], "sensor": [], "sampling rate": 0}}',
        '{"a": {"column": ["CH1"], "sensor": ["ECG"], "sampling rate": Infinity, "resolution": [Infinity]}}',
    ],
)
def test_a_header_that_says_nothing_is_refused(tmp_path: Path, header: str) -> None:
    data = f"# OpenSignals Text File Format\n# {header}\n# EndOfHeader\n0\t1\t\n".encode()
    with pytest.raises(SourceError, match="cut short or damaged"):
        open_recording(write(tmp_path, data))


def test_a_header_for_other_columns_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="names 3 columns"):
        open_recording(write(tmp_path, text([range(9)] * 4, device())))


def test_a_cut_compressed_file_is_known_by_its_first_line(tmp_path: Path) -> None:
    packed = bz2.compress(ECG) + bz2.compress(ECG)
    recording = open_recording(write(tmp_path, packed[:-20], "take.txt.bz2"))
    assert recording.format == "opensignals"
    assert len(recording.signals[-1].samples) == ROWS


@pytest.mark.parametrize(
    ("name", "modality", "rows", "span"),
    [
        ("supine_1min", "ECG", 60_000, (-1.5, 1.5)),
        ("eda_hot_surface", "EDA", 37_050, (0.0, 25.0)),
        ("bvp_sample", "BVP", 27_300, (0.0, 1.0)),
        ("signal_sample_single_hub_RESPIRATION_2018_7_5", "RESP", 60_000, (-50.0, 50.0)),
    ],
)
def test_published_recordings(recordings: Path, name: str, modality: str, rows: int, span: tuple[float, float]) -> None:
    recording = open_recording(recordings / "plux" / f"{name}.txt.bz2")
    info = streams(recording)[modality]
    (found,) = (s for s in recording.signals if s.candidate.key == info.key)
    assert len(found.samples) == rows
    values = info.gain * found.samples.astype(np.float64) + info.offset
    assert span[0] <= values.min() < values.max() <= span[1]
    assert not recording.notes  # whatever its counter does, no sample was lost


def test_red_and_infra_red_light_is_no_saturation(recordings: Path) -> None:
    recording = open_recording(recordings / "plux" / "signal_sample_single_hub_fSpO2_2018_9_3.txt.bz2")
    assert all(s.candidate.modality is None for s in recording.signals)
