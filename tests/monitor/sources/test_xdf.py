from __future__ import annotations

import contextlib
import gzip
import logging
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config import StreamSettings
from monitor.errors import MappingError, SourceError
from monitor.sources.base import Recording, Signal
from monitor.sources.mapping import parse_map, resolve
from monitor.sources.recordings import open_recording
from monitor.sources.replay import replay_chunks, replay_streams
from monitor.types import Chunk, Provenance
from tests.helpers.xdf_writer import XdfStream, boundary, chunk, file_header, length

AMP = XdfStream(
    number=1, name="BioAmp", type="Physio", rate_hz=100.0, labels=("ECG", "hand GSR"), units=("millivolts", "µS")
)
MARKERS = XdfStream(number=2, name="Tasks", type="Markers", format="string")
RNG = np.random.default_rng(5)
VALUES = RNG.normal(size=(60, 2)).astype(np.float32)
STAMPS = 50.0 + np.arange(60) / 100 + RNG.uniform(-0.003, 0.003, 60)


def write(folder: Path, *parts: bytes, name: str = "take.xdf") -> Path:
    path = folder / name
    path.write_bytes(b"".join(parts))
    return path


def whole_file() -> bytes:
    """Both streams in chunks of 20 samples and one marker each, with a boundary between."""
    parts = [file_header(), AMP.header(), MARKERS.header()]
    for start in range(0, 60, 20):
        parts += [AMP.samples(STAMPS[start : start + 20].tolist(), VALUES[start : start + 20]), boundary()]
        parts.append(MARKERS.samples([float(STAMPS[start + 3])], [[f"task {start}"]]))
    return b"".join([*parts, AMP.footer(60), MARKERS.footer(3)])


WHOLE = whole_file()


def signal(recording: Recording, label: str) -> Signal:
    return next(s for s in recording.signals if s.candidate.channel == label)


def stamps(found: Signal) -> np.ndarray:
    assert found.stamps is not None
    return found.stamps


def test_each_channel_is_a_signal_with_label_unit_and_its_raw_stamps(tmp_path: Path) -> None:
    recording = open_recording(write(tmp_path, WHOLE))
    assert [(s.candidate.name, s.candidate.channel, s.candidate.unit) for s in recording.signals] == [
        ("BioAmp", "ECG", "mV"),
        ("BioAmp", "hand GSR", "uS"),
    ]
    for index, found in enumerate(recording.signals):
        np.testing.assert_array_equal(found.samples, VALUES[:, index])
        # Jitter of 3 ms is still there: nothing was put onto an even grid.
        np.testing.assert_allclose(stamps(found), STAMPS - STAMPS[0], atol=2e-6)
    assert recording.markers == tuple(
        (pytest.approx(STAMPS[start + 3] - STAMPS[0], abs=2e-6), f"task {start}") for start in (0, 20, 40)
    )
    assert recording.utc_start == 1772355600.0
    assert recording.provenance is Provenance.REPLAY


def test_every_numeric_format_and_stamps_that_are_left_out(tmp_path: Path) -> None:
    formats = ("double64", "float32", "int32", "int16", "int8", "int64")
    streams = [
        XdfStream(number=i, name=form, format=form, rate_hz=4.0, labels=(form,)) for i, form in enumerate(formats)
    ]
    values = np.arange(-4, 5).reshape(-1, 1)
    parts = [part for s in streams for part in (s.header(), s.samples([10.0] + [None] * 8, values))]
    recording = open_recording(write(tmp_path, file_header(), *parts))
    assert [s.candidate.channel for s in recording.signals] == list(formats)
    for found in recording.signals:
        np.testing.assert_array_equal(found.samples, values[:, 0])
        np.testing.assert_array_equal(stamps(found), np.arange(9) / 4)


def test_lost_samples_stay_a_gap(tmp_path: Path) -> None:
    moments = np.concatenate([np.arange(50) / 100, 2.0 + np.arange(50) / 100])
    one = XdfStream(number=1, name="ECG", rate_hz=100.0)
    recording = open_recording(
        write(tmp_path, file_header(), one.header(), one.samples(moments.tolist(), np.zeros((100, 1))))
    )
    np.testing.assert_allclose(stamps(recording.signals[0]), moments, atol=1e-6)


def test_clock_offsets_move_a_drifting_sender_onto_the_recorders_clock(tmp_path: Path) -> None:
    there, here = XdfStream(number=1, name="ECG", rate_hz=10.0), XdfStream(number=2, name="EDA", rate_hz=10.0)
    recorder = 5000.0 + np.arange(1200) / 10
    sender = (recorder - 4000.0) * (1 + 5e-5)  # 50 ppm fast, with a zero of its own
    offsets = [there.clock_offset(sender[i], recorder[i] - sender[i]) for i in range(0, 1200, 50)]
    # One in ten measurements is off by a delay on the network: a robust line does not follow it.
    offsets[::10] = [there.clock_offset(sender[i], recorder[i] - sender[i] + 0.02) for i in range(0, 1200, 500)]
    recording = open_recording(
        write(
            tmp_path,
            file_header(),
            there.header(),
            here.header(),
            there.samples(sender.tolist(), np.zeros((1200, 1))),
            here.samples(recorder.tolist(), np.zeros((1200, 1))),
            *offsets,
            *(here.clock_offset(recorder[i], 0.0) for i in range(0, 1200, 50)),
        )
    )
    moved, local = (stamps(s) for s in recording.signals)
    np.testing.assert_allclose(moved, local, atol=2e-3)
    np.testing.assert_allclose(np.diff(moved), 0.1, atol=2e-5)  # and no step of the offsets' own


@pytest.mark.parametrize("offsets", [True, False])
def test_a_clock_that_is_set_anew_is_never_bridged(tmp_path: Path, offsets: bool) -> None:
    one = XdfStream(number=1, name="ECG", rate_hz=10.0)
    away_s = 60.0
    before, after = 9000.0 + np.arange(1000) / 10, 20.0 + np.arange(1000) / 10
    first, second = 100.0 - before[0], 100.0 + 1000 / 10 + away_s - after[0]
    parts = [one.header(), one.samples(before.tolist(), np.zeros((1000, 1)))]
    parts += [one.clock_offset(t, first) for t in before[::50]] if offsets else []
    parts.append(one.samples(after.tolist(), np.zeros((1000, 1))))
    parts += [one.clock_offset(t, second) for t in after[::50]] if offsets else []
    recording = open_recording(write(tmp_path, file_header(), *parts))
    steps = np.diff(stamps(recording.signals[0]))
    jump = away_s + 0.1 if offsets else after[0] - before[-1]
    assert steps[999] == pytest.approx(jump, abs=1e-3)
    np.testing.assert_allclose(np.delete(steps, 999), 0.1, atol=1e-4)
    assert any("set anew 1 time" in note for note in recording.notes) is offsets


def test_an_empty_stream_survives_beside_the_others(tmp_path: Path) -> None:
    silent = XdfStream(number=3, name="belt", rate_hz=25.0, labels=("RESP",))
    recording = open_recording(write(tmp_path, WHOLE, silent.header(), silent.footer(0)))
    assert len(signal(recording, "RESP").samples) == 0
    assert "stream 'belt' is empty" in recording.notes
    mapped = resolve([s.candidate for s in recording.signals], (), bed="bed1", live=False)
    streams = replay_streams(recording, mapped.streams)
    played = [item for _, item in replay_chunks(recording, streams) if isinstance(item, Chunk)]
    assert {chunk.stream for chunk in played} == {"xdf:BioAmp:0", "xdf:BioAmp:1"}
    assert sum(len(chunk) for chunk in played) == 120


def test_irregular_numbers_are_markers_where_the_type_says_so(tmp_path: Path) -> None:
    triggers = XdfStream(number=4, name="parallel port", type="stim", format="int16")
    beats = XdfStream(number=5, name="RR", type="beats", labels=("interval",))
    recording = open_recording(
        write(
            tmp_path,
            WHOLE,
            triggers.header(),
            beats.header(),
            triggers.samples([50.1, 50.2], [[7], [9]]),
            beats.samples([50.1, 50.9], [[0.8], [0.8]]),
        )
    )
    assert [text for _, text in recording.markers] == [
        "Tasks: task 0",
        "parallel port: 7",
        "parallel port: 9",
        "Tasks: task 20",
        "Tasks: task 40",
    ]
    assert signal(recording, "interval").candidate.rate_hz == 0.0


def test_simulated_stays_simulated(tmp_path: Path) -> None:
    made = XdfStream(number=3, name="ECG", rate_hz=100.0, provenance="simulated")
    recording = open_recording(write(tmp_path, WHOLE, made.header(), made.samples([50.0], [[1.0]])))
    assert recording.provenance is Provenance.SIMULATED
    assert [s.candidate.provenance for s in recording.signals] == [Provenance.REPLAY] * 2 + [Provenance.SIMULATED]


def test_a_stream_on_an_unrelated_clock_is_left_out_and_named(tmp_path: Path) -> None:
    phone = XdfStream(number=3, name="phone", type="Markers", format="string")
    recording = open_recording(write(tmp_path, WHOLE, phone.header(), phone.samples([1.7e9], [["tap"]])))
    assert all(text != "tap" for _, text in recording.markers)
    assert any("'phone'" in note and "left out" in note for note in recording.notes)


def test_a_rate_that_is_not_what_the_stream_claims_is_noted(tmp_path: Path) -> None:
    one = XdfStream(number=1, name="ECG", rate_hz=100.0)
    body = one.samples((np.arange(99) / 92).tolist(), np.zeros((99, 1)))
    recording = open_recording(write(tmp_path, file_header(), one.header(), body))
    assert recording.signals[0].candidate.rate_hz == 100.0
    assert any("claims 100 Hz, its stamps say 92 Hz" in note for note in recording.notes)


def test_channels_are_mapped_by_label_by_number_and_by_the_settings_of_the_live_stream(tmp_path: Path) -> None:
    twin = XdfStream(number=3, name="Other", rate_hz=100.0, labels=("ECG", "x"), units=("mV", "mV"))
    path = write(tmp_path, WHOLE, twin.header(), twin.samples([50.0, None], np.zeros((2, 2))))
    candidates = [s.candidate for s in open_recording(path).signals]
    with pytest.raises(MappingError, match="2 channels for ECG"):
        resolve(candidates, (), bed="bed1", live=False)
    for setting in (
        StreamSettings(name="Other", channel="ECG", modality="ECG"),
        StreamSettings(name="Other", channel=0, modality="ECG"),
        parse_map("ECG=Other/ECG:mV"),
        parse_map("ECG=Other:mV"),
    ):
        mapped = resolve(candidates, [setting], bed="bed1", live=False)
        assert [info.key for info in mapped.streams if info.modality == "ECG"] == ["xdf:Other:0"]


def test_a_refusal_names_the_option_that_settles_it(tmp_path: Path) -> None:
    bare = XdfStream(number=1, name="leads", rate_hz=100.0, labels=("", ""), units=("mV", "mV"))
    path = write(tmp_path, file_header(), bare.header(), bare.samples([50.0, None], np.zeros((2, 2))))
    candidates = [s.candidate for s in open_recording(path).signals]
    with pytest.raises(MappingError) as refusal:
        resolve(candidates, [parse_map("ECG=leads:mV")], bed="bed1", live=False)
    assert "--map 'ECG=leads/channel 1:mV'" in str(refusal.value)
    mapped = resolve(candidates, [parse_map("ECG=leads/channel 1:mV")], bed="bed1", live=False)
    assert [info.key for info in mapped.streams] == ["xdf:leads:1"]


@settings(max_examples=60, deadline=None)
@given(cut=st.integers(0, len(WHOLE) - 1))
def test_a_cut_file_keeps_a_prefix_or_is_refused(tmp_path_factory: pytest.TempPathFactory, cut: int) -> None:
    path = write(tmp_path_factory.mktemp("cut"), WHOLE[:cut])
    if cut < len(file_header() + AMP.header()):
        with pytest.raises(SourceError, match=r"take\.xdf"):
            open_recording(path)
        return
    recording = open_recording(path)
    for index, found in enumerate(recording.signals):
        count = len(found.samples)
        assert count % 20 == 0  # whole chunks: nothing is made up from half of one
        np.testing.assert_array_equal(found.samples, VALUES[:count, index])
        np.testing.assert_allclose(stamps(found), STAMPS[:count] - STAMPS[0], atol=2e-6)


@settings(max_examples=80, deadline=None)
@given(data=st.data())
def test_damage_anywhere_is_read_around_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    broken = bytearray(WHOLE)
    for _ in range(data.draw(st.integers(1, 4))):
        broken[data.draw(st.integers(4, len(WHOLE) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(SourceError):
        open_recording(write(tmp_path_factory.mktemp("damage"), bytes(broken)))


@pytest.mark.parametrize(
    "damaged",
    [
        chunk(2, b"\x09\0\0\0<info><name>ECG</name></inf"),
        chunk(2, b"\x09\0\0\0<info><channel_count>1</channel_count><nominal_srate>fast</nominal_srate></info>"),
        chunk(3, b"\x09\0\0\0" + length(1) + b"\0\0\0\0\0"),  # samples of a stream that has no header
        chunk(3, b"\x01\0\0\0" + length(200) + b"\0" * 9),  # more samples than bytes
        chunk(4, b"\x01\0\0\0" + b"\xff" * 16),  # an offset that is no number
        chunk(6, b"\x01\0\0\0<info>"),
        b"\x07garbage",
    ],
    ids=["header", "rate", "no header", "count", "offset", "footer", "length"],
)
def test_a_damaged_chunk_loses_itself_and_nothing_else(tmp_path: Path, damaged: bytes) -> None:
    head = file_header() + AMP.header()
    body = AMP.samples(STAMPS.tolist(), VALUES)
    recording = open_recording(write(tmp_path, head, damaged, boundary(), body))
    np.testing.assert_array_equal(signal(recording, "ECG").samples, VALUES[:, 0])
    assert any("damaged chunk" in note for note in recording.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "does not start with"),
        (b"PK\x03\x04", "does not start with"),
        (file_header(), "no stream of numbers"),
        (file_header() + MARKERS.header() + MARKERS.samples([1.0], [["a"]]), "no stream of numbers"),
    ],
)
def test_what_holds_no_signal_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(SourceError, match=message):
        open_recording(write(tmp_path, content))


@pytest.mark.parametrize("name", ["take.xdfz", "take.xdf.gz"])
def test_a_packed_file_is_the_same_recording(tmp_path: Path, name: str) -> None:
    recording = open_recording(write(tmp_path, gzip.compress(WHOLE), name=name))
    np.testing.assert_array_equal(signal(recording, "hand GSR").samples, VALUES[:, 1])


def test_the_log_of_the_decoder_becomes_notes(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        open_recording(write(tmp_path, WHOLE))
    assert not [record for record in caplog.records if record.name.startswith("pyxdf")]
    assert logging.getLogger("pyxdf").propagate


def test_published_files(recordings: Path) -> None:
    minimal = open_recording(recordings / "xdf" / "minimal.xdf")
    assert [s.samples[:3].tolist() for s in minimal.signals] == [[192, 12, 13], [255, 22, 23], [238, 32, 33]]
    assert [text for _, text in minimal.markers][1:3] == ["Hello", "World"]
    empty = open_recording(recordings / "xdf" / "empty_streams.xdf")
    assert sorted(len(s.samples) for s in empty.signals) == [0, 10]
    resets = open_recording(recordings / "xdf" / "clock_resets.xdf")
    assert {len(s.samples) for s in resets.signals} == {27815}
    assert len(resets.markers) == 175
    steps = np.diff(stamps(resets.signals[0]))
    assert np.flatnonzero(steps > 1.0).tolist() == [12875]
    assert steps[12875] == pytest.approx(273.556, abs=0.01)
