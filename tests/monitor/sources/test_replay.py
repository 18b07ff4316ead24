from __future__ import annotations

import math
import threading
import time
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import SourceError
from monitor.sources.base import Candidate, Recording, Signal
from monitor.sources.mapping import resolve
from monitor.sources.replay import (
    LONGEST_GAP_S,
    TICK_S,
    ReplayItem,
    ReplaySource,
    duration,
    replay_chunks,
    replay_streams,
)
from monitor.types import Chunk, Command, StreamInfo, snap


def signal(
    name: str,
    unit: str,
    rate_hz: float,
    seconds: float,
    *,
    t_first: float = 0.0,
    stamps: np.ndarray | None = None,
) -> Signal:
    count = len(stamps) if stamps is not None else round(seconds * rate_hz)
    samples = np.random.default_rng(count).normal(size=count).astype(np.float32)
    candidate = Candidate(key=f"csv:{name}", name=name, channel=name, unit=unit, rate_hz=rate_hz, source="csv")
    return Signal(candidate=candidate, samples=samples, t_first=t_first, stamps=stamps)


def recording(*signals: Signal, markers: tuple[tuple[float, str], ...] = ()) -> Recording:
    return Recording(path=Path("take.csv"), format="csv", signals=signals, markers=markers)


def mapped(take: Recording) -> tuple[StreamInfo, ...]:
    return resolve([s.candidate for s in take.signals], (), bed="bed1", live=False).streams


TAKE = recording(
    signal("ECG", "mV", 255.3, 12.0),
    signal("EDA", "uS", 4.0, 12.0, t_first=0.5),
    signal("RESP", "a.u.", 15.5, 10.0, t_first=1.25),
    markers=((2.0, "tag"), (500.0, "after the end")),
)
STREAMS = mapped(TAKE)


def joined(items: list[ReplayItem]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    chunks = [item for _, item in items if isinstance(item, Chunk)]
    return {
        key: (
            np.concatenate([c.samples for c in chunks if c.stream == key]),
            np.concatenate([c.stamps for c in chunks if c.stream == key]),
        )
        for key in {c.stream for c in chunks}
    }


def check_order(items: list[ReplayItem]) -> None:
    times = [at for at, _ in items]
    assert times == sorted(times)
    ticks = [at for at, item in items if item is None]
    assert np.array_equal(np.diff(ticks), np.full(len(ticks) - 1, TICK_S))
    for at, item in items:
        if isinstance(item, Chunk):
            assert item.arrival == at


lengths = st.fixed_dictionaries({s.key: st.sampled_from([0.0, 0.003, 0.1, 0.777, 1.4, 10.0]) for s in STREAMS})
skews = st.fixed_dictionaries({s.key: st.floats(0.0, 0.5) for s in STREAMS})


@settings(max_examples=40, deadline=None)
@given(chunk_s=lengths, skew=skews)
def test_no_chunking_and_no_skew_changes_a_sample_or_a_stamp(
    chunk_s: Mapping[str, float], skew: Mapping[str, float]
) -> None:
    items = list(replay_chunks(TAKE, STREAMS, chunk_s=chunk_s, skew=skew))
    check_order(items)
    found = joined(items)
    for part in TAKE.signals:
        samples, stamps = found[part.candidate.key]
        assert samples.tobytes() == part.samples.tobytes()
        expected = snap(part.t_first + np.arange(len(part.samples)) / part.candidate.rate_hz)
        assert stamps.tobytes() == expected.tobytes()
    for _, item in items:
        if isinstance(item, Chunk):
            assert item.arrival == float(snap(item.stamps[-1] + skew[item.stream]))


@settings(max_examples=30, deadline=None)
@given(start_s=st.floats(0, 13), duration_s=st.floats(0, 5))
def test_a_span_is_the_samples_whose_stamps_lie_in_it(start_s: float, duration_s: float) -> None:
    whole = joined(list(replay_chunks(TAKE, STREAMS)))
    inside = {key: (stamps >= start_s) & (stamps < start_s + duration_s) for key, (_, stamps) in whole.items()}
    if not any(mask.any() for mask in inside.values()):
        with pytest.raises(SourceError, match="nothing to play"):
            list(replay_chunks(TAKE, STREAMS, start_s=start_s, duration_s=duration_s))
        return
    part = joined(list(replay_chunks(TAKE, STREAMS, start_s=start_s, duration_s=duration_s)))
    for key, mask in inside.items():
        if mask.any():
            np.testing.assert_array_equal(part[key][0], whole[key][0][mask])
            np.testing.assert_array_equal(part[key][1], whole[key][1][mask])
        else:
            assert key not in part


def test_the_origin_is_the_earliest_stamp_that_is_played_and_serves() -> None:
    assert {info.origin for info in replay_streams(TAKE, STREAMS)} == {0.0}
    assert {info.origin for info in replay_streams(TAKE, STREAMS[1:])} == {0.5}
    (origin,) = {info.origin for info in replay_streams(TAKE, STREAMS, start_s=3.1)}
    assert origin is not None
    assert 3.1 <= origin < 3.1 + 1 / 255
    shown = StreamInfo(
        key=STREAMS[0].key,
        bed="bed1",
        modality=None,
        name="ECG",
        unit=None,
        rate_hz=255.3,
        source="csv",
        provenance=STREAMS[0].provenance,
    )
    assert {info.origin for info in replay_streams(TAKE, (shown, STREAMS[1]))} == {0.5}


def test_markers_come_in_their_place_and_a_tail_goes_on_ticking() -> None:
    items = list(replay_chunks(TAKE, STREAMS, tail_s=3.0))
    check_order(items)
    (marker,) = [item for _, item in items if isinstance(item, Command)]
    assert (marker.action, marker.at, marker.args["text"]) == ("marker", 2.0, "tag")
    last = max(at for at, item in items if isinstance(item, Chunk))
    assert items[-1][1] is None
    assert last + 3.0 - TICK_S < items[-1][0] <= last + 3.0


def test_a_gap_in_the_stamps_is_silence_with_ticks() -> None:
    stamps = np.arange(400) / 100.0
    stamps[200:] += 300.0
    take = recording(signal("ECG", "mV", 100.0, 0, stamps=stamps))
    items = list(replay_chunks(take, mapped(take)))
    check_order(items)
    quiet = [at for at, item in items if item is None and 2.5 < at < 301.5]
    assert len(quiet) == pytest.approx(299 / TICK_S, abs=1)
    assert duration(take) == pytest.approx(304.0)


@settings(max_examples=30, deadline=None)
@given(
    jump=st.sampled_from([200_000.0, -200_000.0, LONGEST_GAP_S + 1, -6.0]),
    at=st.integers(1, 398),
    back=st.booleans(),
    chunk_s=st.sampled_from([0.01, 0.1, 5.0]),
)
def test_a_clock_jump_moves_stamps_and_not_the_pace(jump: float, at: int, back: bool, chunk_s: float) -> None:
    stamps = np.arange(400) / 100.0
    stamps[at : at + 1 if back else None] += jump
    take = recording(signal("ECG", "mV", 100.0, 0, stamps=stamps))
    items = list(replay_chunks(take, mapped(take), chunk_s=chunk_s))
    check_order(items)
    assert joined(items)["csv:ECG"][1].tobytes() == snap(stamps).tobytes()
    assert items[-1][0] - items[0][0] < 5.0


def read_all(source: ReplaySource) -> tuple[list[Chunk], list[StreamInfo]]:
    chunks: list[Chunk] = []
    opened: list[StreamInfo] = []
    source.open()
    while not source.finished:
        reading = source.read(0.5)
        assert not (reading.opened and chunks), "a stream is announced before its first chunk"
        opened += reading.opened
        chunks += reading.chunks
    source.close()
    return chunks, opened


@pytest.mark.parametrize("speed", [30.0, math.inf])
def test_a_source_brings_the_same_chunks_at_every_speed(speed: float) -> None:
    expected = [item for _, item in replay_chunks(TAKE, STREAMS) if isinstance(item, Chunk)]
    chunks, opened = read_all(ReplaySource(recording=TAKE, streams=STREAMS, speed=speed))
    assert [info.key for info in opened] == [info.key for info in STREAMS]
    assert all(info.origin == 0.0 for info in opened)
    assert len(chunks) == len(expected)
    for chunk, other in zip(chunks, expected, strict=True):
        assert (chunk.stream, chunk.arrival) == (other.stream, other.arrival)
        assert chunk.samples.tobytes() == other.samples.tobytes()
        assert chunk.stamps.tobytes() == other.stamps.tobytes()


def test_a_paced_source_brings_nothing_before_its_time() -> None:
    source = ReplaySource(recording=TAKE, streams=STREAMS, speed=10.0, duration_s=2.0)
    source.open()
    started = time.monotonic()
    first = None
    while not source.finished:
        for chunk in source.read(0.05).chunks:
            first = chunk.arrival if first is None else first
            assert (chunk.arrival - first) / 10.0 <= time.monotonic() - started
    source.close()


def test_closing_ends_a_read_that_waits() -> None:
    source = ReplaySource(recording=TAKE, streams=STREAMS, speed=1e-6)
    source.open()
    source.read(0.0)
    source.read(0.0)
    reader = threading.Thread(target=source.read, args=(60.0,))
    reader.start()
    source.close()
    source.close()
    reader.join(timeout=30.0)
    assert not reader.is_alive()
    assert source.finished


def test_speeds_that_cannot_be_are_refused() -> None:
    for speed in (0.0, -1.0, math.nan):
        with pytest.raises(SourceError, match="not possible"):
            ReplaySource(recording=TAKE, streams=STREAMS, speed=speed)
