from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.bundle import BundleSpec
from monitor.bundle_folder import load_bundle
from monitor.config import BedSettings, StreamSettings
from monitor.errors import SourceError
from monitor.outputs.playback import recording_packets
from monitor.sources.base import Recording
from monitor.sources.mapping import resolve
from monitor.sources.recordings import open_recording
from monitor.sources.replay import replay_chunks, replay_streams
from monitor.types import Chunk, Command, Event, Provenance, Score, StreamInfo, snap
from tests.helpers.feeding import make_pipeline, scores
from tests.helpers.made_session import OFFSET, made_chunk, made_info, made_writer, write_eventful_session
from tests.helpers.tiny_bundle import write_tiny_bundle

SECONDS = 70
HOP_S = 0.5
START = 812_345.3  # on a clock that counts from the machine's start, off the grid of windows


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> BundleSpec:
    return load_bundle(str(write_tiny_bundle(tmp_path_factory.mktemp("bundle")))).spec


def streams(origin: float | None) -> list[StreamInfo]:
    common: dict[str, Any] = {"origin": origin, "provenance": Provenance.LIVE, "source": "lsl", "jitter_s": 0.05}
    return [
        # Raw counts with a gain from the configuration: nothing in the name or the unit says how to read them.
        made_info("lsl:amp:0", name="amp/left", unit="counts", gain=0.001, offset=1.5, rate_hz=8.0, **common),
        made_info("lsl:amp:1", name="amp/chest", modality="ECG", unit="uV", gain=0.001, rate_hz=128.0, **common),
    ]


def log() -> list[Chunk]:
    """Jittered chunks of both streams with one gap, as they would have come live."""
    rng = np.random.default_rng(9)
    found = []
    for info in streams(None):
        t = np.arange(int(SECONDS * info.rate_hz)) / info.rate_hz
        wave = 1000 * (1 + 0.2 * np.sin(t / 5) + 0.02 * rng.normal(size=len(t)))
        if info.modality == "ECG":
            wave = 1000 * np.exp(-(((t % 0.8) - 0.4) ** 2) / 2e-4) + 30 * rng.normal(size=len(t))
        stamps = snap(START + t + rng.normal(0, 1e-3, len(t)))
        step = int(info.rate_hz) // 4
        for first in range(0, len(t), step):
            if info.modality == "EDA" and 40 <= t[first] < 44:
                continue
            part = slice(first, first + step)
            arrival = float(snap(stamps[part][-1] + 0.03))
            samples, own = wave[part].astype(np.float32), stamps[part].copy()
            found.append(Chunk(stream=info.key, samples=samples, stamps=own, arrival=arrival))
    return sorted(found, key=lambda chunk: chunk.arrival)


def record(path: Path, spec: BundleSpec, *, origin: float | None) -> list[Event]:
    """Run a bed live and keep its session."""
    pipeline, _ = make_pipeline([spec], hop_s=HOP_S)
    bed = BedSettings(name="bed1", bundles=(spec.name,), hop_s=HOP_S, calibration_s=20.0)
    writer = made_writer(path, specs=[spec], meta={"provenance": Provenance.LIVE, "settings": bed})
    events: list[Event] = []
    for info in streams(origin):
        writer.stream(info, START)
        events += pipeline.open_stream(info, START)
    tick = float(np.ceil(START * 4) / 4)
    for item in log():
        while tick <= item.arrival:
            writer.tick(tick)
            events += pipeline.tick(tick)
            tick += 0.25
        writer.chunk(item)
        events += pipeline.feed(item)
    for action, args in (("marker", {"kind": "stimulus", "text": "cold"}), ("nrs", {"value": 6, "text": ""})):
        command = Command(action=action, at=START + 30.0, actor="nurse", args=args)
        writer.command(command)
        events += pipeline.command(command)
    writer.events(events)
    writer.close()
    return events


def play(recording: Recording, spec: BundleSpec) -> list[Event]:
    candidates = [s.candidate for s in recording.signals]
    mapped = resolve(candidates, (), bed="bed1", live=False, needed={"EDA", "ECG"})
    infos = replay_streams(recording, mapped.streams)
    pipeline, _ = make_pipeline([spec], hop_s=HOP_S)
    events = [event for info in infos for event in pipeline.open_stream(info, 0.0)]
    for at, item in replay_chunks(recording, infos, tail_s=2.0):
        if isinstance(item, Chunk):
            events += pipeline.feed(item)
        elif isinstance(item, Command):
            events += pipeline.command(item)
        else:
            events += pipeline.tick(at)
    return events


def by_time(found: list[Score]) -> dict[float, Score]:
    return {float(snap(score.t_end)): score for score in found if not score.absent}


@pytest.mark.parametrize("origin", [None, START - 1.3])
def test_a_replayed_session_scores_the_very_windows_of_the_session(
    tmp_path: Path, spec: BundleSpec, origin: float | None
) -> None:
    path = tmp_path / "one.session.db"
    live = by_time(scores(record(path, spec, origin=origin)))
    recording = open_recording(path)
    zero = recording.utc_start - OFFSET
    again = {float(snap(t + zero)): score for t, score in by_time(scores(play(recording, spec))).items()}
    assert len(live) > 40
    assert set(live) == set(again)
    for t, score in live.items():
        # Times count from another zero, so that the last bits of a sample's time differ, and no more than that.
        assert again[t].probabilities == pytest.approx(score.probabilities, abs=1e-6)
        assert again[t].provenance is Provenance.REPLAY


def test_streams_keep_samples_stamps_and_all_that_was_known_of_them(tmp_path: Path, spec: BundleSpec) -> None:
    path = tmp_path / "one.session.db"
    record(path, spec, origin=None)
    recording = open_recording(path)
    assert [(c.name, c.channel) for c in (s.candidate for s in recording.signals)] == [
        ("amp", "left"),
        ("amp", "chest"),
    ]
    zero = recording.utc_start - OFFSET
    assert (zero / HOP_S).is_integer()
    assert zero <= START < zero + HOP_S
    for signal, info in zip(recording.signals, streams(None), strict=True):
        chunks = [chunk for chunk in log() if chunk.stream == info.key]
        np.testing.assert_array_equal(signal.samples, np.concatenate([chunk.samples for chunk in chunks]))
        assert signal.stamps is not None
        np.testing.assert_array_equal(signal.stamps + zero, np.concatenate([chunk.stamps for chunk in chunks]))
    mapped = resolve([s.candidate for s in recording.signals], (), bed="bed1", live=False)
    for found, info in zip(mapped.streams, streams(None), strict=True):
        kept = ("key", "modality", "name", "unit", "gain", "offset", "rails", "rate_hz", "jitter_s")
        assert {name: getattr(found, name) for name in kept} == {name: getattr(info, name) for name in kept}
    own = StreamSettings(name="amp", channel="left", modality="EDA", unit="uS")
    again = resolve([s.candidate for s in recording.signals], [own], bed="bed1", live=False)
    assert (again.streams[0].unit, again.streams[0].gain) == ("uS", 1.0)  # the configuration goes first
    assert recording.markers == (
        (pytest.approx(START + 30.0 - zero, abs=1e-6), "nrs 6"),
        (pytest.approx(START + 30.0 - zero, abs=1e-6), "stimulus: cold"),
    )


def test_a_session_played_over_lsl_keeps_its_grid_of_windows(tmp_path: Path, spec: BundleSpec) -> None:
    path = tmp_path / "one.session.db"
    record(path, spec, origin=None)
    recording = open_recording(path)
    key = recording.signals[0].candidate.key
    first = next(packet for packet in recording_packets(recording) if packet[1] == key)
    assert recording.signals[0].stamps is not None
    assert first[3][0] == recording.signals[0].stamps[0] > 0.0


def test_what_is_odd_about_a_session_is_said(tmp_path: Path) -> None:
    live = {"provenance": Provenance.LIVE}  # written before the first stream said what it is
    path = write_eventful_session(tmp_path / "odd.session.db", seconds=240, closed=False, meta=live)
    recording = open_recording(path)
    assert recording.provenance is Provenance.SIMULATED
    assert {s.candidate.provenance for s in recording.signals} == {Provenance.SIMULATED}
    told = "\n".join(recording.notes)
    for words in ("still being recorded", "the disk is full", "3 sample(s) were lost", "bed 'bed1'"):
        assert words in told
    wrist = [s for s in recording.signals if s.candidate.name == "wrist ACC"]
    assert [s.candidate.channel for s in wrist] == ["wrist ACC 0", "wrist ACC 1", "wrist ACC 2"]
    assert all(s.candidate.modality is None for s in wrist)


def test_a_session_without_samples_is_refused(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "empty.session.db")
    writer.stream(made_info(), 0.0)
    writer.close()
    with pytest.raises(SourceError, match="holds no samples"):
        open_recording(tmp_path / "empty.session.db")


def test_a_stream_that_never_sent_survives_beside_one_that_did(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "half.session.db")
    for info in (made_info(), made_info("lsl:ecg:0", modality="ECG", name="chest", unit="mV", rate_hz=128.0)):
        writer.stream(info, 0.0)
    writer.chunk(made_chunk(5.25, 8))
    writer.close()
    recording = open_recording(tmp_path / "half.session.db")
    assert [len(s.samples) for s in recording.signals] == [8, 0]
    assert recording.signals[0].t_first == 0.25  # the grid of its windows, every half second, goes before


@pytest.mark.parametrize("content", [b"", b"SQLite format 3\x00", b"nothing of the kind" * 40])
def test_what_is_no_session_is_refused_with_its_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "odd.session.db"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=r"odd\.session\.db"):
        open_recording(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("whole") / "whole.session.db"
    writer = made_writer(path)
    writer.stream(made_info(), 0.0)
    for second in range(60):
        writer.chunk(made_chunk(float(second), 4))
    writer.close()
    return path.read_bytes()


@settings(max_examples=40, deadline=None)
@given(data=st.data())
def test_a_cut_or_damaged_session_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, whole: bytes, data: st.DataObject
) -> None:
    broken = bytearray(whole[: data.draw(st.just(len(whole)) | st.integers(0, len(whole)))])
    for _ in range(data.draw(st.integers(0, 4))):
        if broken:
            broken[data.draw(st.integers(0, len(broken) - 1))] = data.draw(st.integers(0, 255))
    path = tmp_path_factory.mktemp("cut") / "cut.session.db"
    path.write_bytes(bytes(broken))
    with contextlib.suppress(SourceError):
        open_recording(path)
