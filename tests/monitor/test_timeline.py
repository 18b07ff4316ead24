"""Stamps become times: chunk-invariant, exact on a clean line, and nothing is ever bridged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.timeline import Timeline
from monitor.types import FloatArray, StreamEvent, StreamEventKind, snap
from tests.helpers.feeding import line, stream


def place(
    timeline: Timeline,
    stamps: FloatArray,
    sizes: list[int] | int = 64,
    *,
    finite: np.ndarray | None = None,
    watermark: float | None = None,
) -> tuple[FloatArray, list[StreamEvent]]:
    """Place stamps in chunks; the watermark follows the stream unless one is given."""
    times: list[FloatArray] = []
    events: list[StreamEvent] = []
    cuts = [sizes] * (len(stamps) // sizes + 1) if isinstance(sizes, int) else [*sizes, len(stamps)]
    position = 0
    for size in cuts:
        part = slice(position, position + size)
        mask = None if finite is None else finite[part]
        mark = watermark if watermark is not None else timeline.newest
        placed, befell = timeline.place(stamps[part], mask, mark)
        times.extend(run.times for run in placed)
        events.extend(befell)
        position += size
    return (np.concatenate(times) if times else np.empty(0)), events


def kinds(events: list[StreamEvent]) -> list[StreamEventKind]:
    return [event.kind for event in events]


@pytest.mark.parametrize("rate_hz", [4.0, 15.5, 64.0, 100.0, 255.3, 496.0, 512.0, 1000.0])
def test_a_clean_stream_lies_on_its_own_line_for_ever(rate_hz: float) -> None:
    count = int(600 * rate_hz)
    times, events = place(Timeline(stream("EDA", rate_hz)), line(rate_hz, count, start=1234.5), 173)
    assert events == []
    assert np.abs(times - (1234.5 + np.arange(count) / rate_hz)).max() < 1e-9


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 400), max_size=12),
    seed=st.integers(0, 10),
    true_rate=st.sampled_from([100.0, 100.9, 97.0]),
)
def test_chunking_never_changes_a_time(sizes: list[int], seed: int, true_rate: float) -> None:
    random = np.random.default_rng(seed)
    stamps = np.arange(2000) / true_rate + random.normal(scale=0.003, size=2000)
    stamps[700:] += 1.3  # a hole
    stamps[1500:] -= 0.4  # a step back
    stamps = snap(stamps)
    finite = np.ones(2000, dtype=bool)
    finite[300:305] = False
    whole = place(Timeline(stream("BVP", 100.0)), stamps, 2000, finite=finite)
    parts = place(Timeline(stream("BVP", 100.0)), stamps, sizes, finite=finite)
    single = place(Timeline(stream("BVP", 100.0)), stamps, 1, finite=finite)
    assert parts[0].tobytes() == whole[0].tobytes() == single[0].tobytes()
    assert _merged(parts[1]) == _merged(whole[1]) == _merged(single[1])


def _merged(events: list[StreamEvent]) -> tuple[list[StreamEvent], int]:
    """Events, with samples that are no numbers counted together: they are reported chunk by chunk."""
    others = [event for event in events if event.kind is not StreamEventKind.NOT_FINITE]
    return others, sum(event.samples for event in events)


@pytest.mark.parametrize("true_rate", [96.0, 99.0, 100.02, 104.0])
def test_a_device_off_its_nominal_rate_is_followed_without_a_gap(true_rate: float) -> None:
    random = np.random.default_rng(1)
    ideal = 50.0 + np.arange(12_000) / true_rate
    timeline = Timeline(stream("BVP", 100.0))
    times, events = place(timeline, snap(ideal + random.normal(scale=0.002, size=len(ideal))), 25)
    assert events == []
    assert timeline.fitted_rate_hz == pytest.approx(true_rate, rel=1e-3)
    assert (np.diff(times) > 0).all()
    assert np.abs(times - ideal)[2000:].max() < 0.002  # steadier than the stamps themselves


@pytest.mark.parametrize("true_rate", [255.0, 264.0, 275.0])
def test_a_measured_rate_is_followed_far_from_its_first_estimate(true_rate: float) -> None:
    timeline = Timeline(stream("EDA", 250.0, rate_measured=True))
    _, events = place(timeline, snap(np.arange(20_000) / true_rate), 50)
    assert StreamEventKind.RATE_FAULT not in kinds(events)
    assert timeline.fitted_rate_hz == pytest.approx(true_rate, rel=1e-4)
    assert len(timeline.segments) <= 2


@pytest.mark.parametrize(("rate_hz", "missing"), [(100.0, 3), (100.0, 50), (4.0, 2), (512.0, 256)])
def test_missing_samples_are_a_gap_and_the_filters_start_anew(rate_hz: float, missing: int) -> None:
    stamps = np.delete(line(rate_hz, 1000), np.s_[400 : 400 + missing])
    timeline = Timeline(stream("EDA", rate_hz))
    times, events = place(timeline, stamps)
    assert kinds(events) == [StreamEventKind.GAP]
    assert events[0].t == pytest.approx(400 / rate_hz, abs=1e-6)
    assert events[0].seconds == pytest.approx(missing / rate_hz, abs=1e-6)
    assert [segment.last - segment.first for segment in timeline.segments] == [400, 600 - missing]
    assert np.abs(times - stamps).max() < 2e-6
    assert timeline.covering(399 / rate_hz, (401 + missing) / rate_hz) is None


def test_one_missing_sample_within_the_jitter_is_absorbed_but_never_two_lines_mixed() -> None:
    stamps = np.delete(line(100.0, 1000), 400)
    _, events = place(Timeline(stream("EDA", 100.0, jitter_s=0.02)), stamps)
    assert events == []
    _, strict = place(Timeline(stream("EDA", 4.0, jitter_s=0.0)), np.delete(line(4.0, 100), np.s_[40:42]))
    assert kinds(strict) == [StreamEventKind.GAP]


@pytest.mark.parametrize("jump", [15.0, 200_000.0])
def test_a_jump_ahead_of_the_watermark_is_a_clock_fault(jump: float) -> None:
    stamps = line(100.0, 1000)
    stamps[500:] += jump
    timeline = Timeline(stream("EDA", 100.0))
    placed, events = timeline.place(stamps, None, 6.0)
    assert kinds(events) == [StreamEventKind.CLOCK_FAULT]
    assert events[0].seconds == pytest.approx(jump + 5.0 - 6.0)
    assert timeline.clock_fault
    assert timeline.newest == pytest.approx(4.99)  # the watermark must not move
    assert timeline.covering(jump + 6.0, jump + 7.0) is None
    assert timeline.agreed()
    timeline.believe()
    assert timeline.covering(jump + 6.0, jump + 7.0) is not None
    assert sum(len(run.times) for run in placed) == 1000


def test_a_jump_back_is_a_clock_fault_and_its_return_is_noticed() -> None:
    stamps = line(100.0, 1500)
    stamps[500:700] -= 200_000.0
    timeline = Timeline(stream("EDA", 100.0))
    _, events = place(timeline, stamps, 100, watermark=15.0)
    assert kinds(events) == [StreamEventKind.CLOCK_FAULT, StreamEventKind.CLOCK_OK, StreamEventKind.GAP]
    assert not timeline.clock_fault
    assert timeline.newest == pytest.approx(14.99)


def test_a_first_stamp_from_another_clock_is_not_believed() -> None:
    timeline = Timeline(stream("EDA", 4.0))
    _, events = place(timeline, line(4.0, 40, start=1.7e9), watermark=500.0)
    assert kinds(events) == [StreamEventKind.CLOCK_FAULT]
    assert timeline.clock_fault


@pytest.mark.parametrize(("nominal", "true_rate"), [(100.0, 50.0), (512.0, 256.0), (100.0, 128.0), (250.0, 1000.0)])
def test_a_changed_rate_is_a_fault_that_names_both(nominal: float, true_rate: float) -> None:
    before = line(nominal, int(10 * nominal))
    after = line(true_rate, int(20 * true_rate), start=10.0)
    again = line(nominal, int(20 * nominal), start=30.0)
    timeline = Timeline(stream("ECG", nominal))
    _, events = place(timeline, np.concatenate([before, after, again]), 40)
    faults = [event for event in events if event.kind is StreamEventKind.RATE_FAULT]
    assert len(faults) == 1
    assert f"{nominal:g} Hz stated" in faults[0].detail
    assert float(faults[0].detail.split()[0]) == pytest.approx(true_rate, rel=0.02)
    assert not timeline.rate_fault_at(9.0)
    assert timeline.rate_fault_at(20.0)
    assert not timeline.rate_fault_at(45.0)
    assert StreamEventKind.RATE_OK in kinds(events)


def test_samples_that_are_no_numbers_end_the_segment() -> None:
    finite = np.ones(1000, dtype=bool)
    finite[[100, 101, 500]] = False
    timeline = Timeline(stream("EDA", 100.0))
    times, events = place(timeline, line(100.0, 1000), 37, finite=finite)
    assert len(times) == 997
    assert [segment.first for segment in timeline.segments] == [0, 100, 498]
    assert sum(event.samples for event in events if event.kind is StreamEventKind.NOT_FINITE) == 3
    assert timeline.covering(0.9, 1.1) is None


def test_nothing_changes_nothing() -> None:
    timeline = Timeline(stream("EDA", 100.0))
    place(timeline, line(100.0, 100))
    before = (timeline.newest, timeline.accepted, len(timeline.segments), timeline.fitted_rate_hz)
    assert timeline.place(np.empty(0), None, 1.0) == ([], [])
    assert (timeline.newest, timeline.accepted, len(timeline.segments), timeline.fitted_rate_hz) == before
