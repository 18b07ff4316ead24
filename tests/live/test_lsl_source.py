"""The LSL source against real outlets of another process."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import TypeAlias

import numpy as np
import pytest

from monitor.clock import SystemClock
from monitor.config import BedSettings, LslSettings, StreamSettings
from monitor.sources.base import SourceReading
from monitor.sources.lsl import LslSource
from monitor.types import Chunk, Provenance, StreamEvent, StreamEventKind, StreamInfo, snap
from tests.live.outlets import Outlets

pytestmark = pytest.mark.live

QUICK = LslSettings(resolve_s=1.0, silent_s=60.0)  # a shorter look misses outlets now and then
IMPATIENT = LslSettings(resolve_s=1.0, silent_s=1.0)
Start: TypeAlias = Callable[..., "Heard"]


class Heard:
    """A running source, and all that it has brought."""

    def __init__(self, source: LslSource) -> None:
        self.source = source
        self.opened: list[StreamInfo] = []
        self.chunks: list[Chunk] = []
        self.events: list[StreamEvent] = []
        self.readings: list[SourceReading] = []

    def until(self, done: Callable[[], bool], seconds: float = 40.0) -> None:
        deadline = time.monotonic() + seconds
        while not done():
            reading = self.source.read(0.1)
            self.readings.append(reading)
            self.opened += reading.opened
            self.chunks += reading.chunks
            self.events += reading.events
            assert time.monotonic() < deadline, f"not within {seconds} s; {self.opened=} {self.events=}"

    def once(self) -> None:
        self.until(iter([False, True]).__next__)

    def happened(self) -> list[StreamEvent]:
        """Events, save that a stream is looked for: a look can miss an outlet, and two in a row say so."""
        return [event for event in self.events if event.kind is not StreamEventKind.SEARCHING]

    def kinds(self) -> list[StreamEventKind]:
        return [event.kind for event in self.events]

    def samples(self, key: str) -> np.ndarray:
        return np.concatenate([np.empty(0, np.float32)] + [c.samples for c in self.chunks if c.stream == key])

    def stamps(self, key: str) -> np.ndarray:
        return np.concatenate([np.empty(0)] + [c.stamps for c in self.chunks if c.stream == key])


@pytest.fixture
def start() -> Iterator[Start]:
    running: list[LslSource] = []

    def begin(*streams: StreamSettings, settings: LslSettings = QUICK) -> Heard:
        source = LslSource(bed=BedSettings(name="b1", stream=streams), settings=settings, clock=SystemClock())
        running.append(source)
        source.open()
        return Heard(source)

    yield begin
    for source in running:
        source.close()
        source.close()


def now_on_grid(count: int, rate: float) -> np.ndarray:
    return snap(time.monotonic()) + snap(np.arange(count) / rate)


def test_samples_and_stamps_arrive_bit_for_bit_bursts_nan_and_several_channels_included(
    outlets: Outlets, start: Start
) -> None:
    rng = np.random.default_rng(5)
    eda = outlets.create(name="wrist", kind="EDA", rate=64.0, channels=[("EDA", "microsiemens")])
    both = outlets.create(
        name="belt", rate=250.0, form="double64", channels=[("RESP", ""), ("aux", "V"), ("ECG", "mV")],
        pain={"origin": "12.5", "provenance": "simulated"},
    )  # fmt: skip
    heard = start(
        StreamSettings(name="wrist"),
        StreamSettings(source_id=both, modality="ECG"),
        StreamSettings(source_id=both, channel="RESP"),
    )
    assert outlets.wait(eda)
    assert outlets.wait(both)
    values = rng.normal(size=900).astype(np.float32)
    values[[3, 500]] = np.nan
    values[7] = np.inf
    multi = rng.normal(size=(700, 3)).astype(np.float32)
    eda_stamps, multi_stamps = now_on_grid(900, 64.0), now_on_grid(700, 250.0)
    eda_stamps[600:] += 0.4  # a gap, which must stay one
    for begin, end in ((0, 1), (1, 2), (2, 700), (700, 701), (701, 900)):  # more in one burst than one read takes
        outlets.push(eda, values[begin:end], eda_stamps[begin:end])
    outlets.push(both, multi, multi_stamps)
    key = f"lsl:{eda}:0"
    heard.until(lambda: len(heard.samples(key)) >= 900 and len(heard.samples(f"lsl:{both}:2")) >= 700)

    np.testing.assert_array_equal(heard.samples(key), values)
    np.testing.assert_array_equal(heard.stamps(key), snap(eda_stamps))
    np.testing.assert_array_equal(heard.samples(f"lsl:{both}:2"), multi[:, 2])
    np.testing.assert_array_equal(heard.samples(f"lsl:{both}:0"), multi[:, 0])
    np.testing.assert_array_equal(heard.stamps(f"lsl:{both}:0"), snap(multi_stamps))
    infos = {info.modality: info for info in heard.opened}
    assert infos.keys() == {"EDA", "ECG", "RESP"}
    assert (infos["EDA"].rate_hz, infos["EDA"].gain, infos["EDA"].origin) == (64.0, 1.0, None)
    assert infos["EDA"].provenance is Provenance.LIVE
    assert (infos["ECG"].unit, infos["ECG"].origin, infos["ECG"].provenance) == ("mV", 12.5, Provenance.SIMULATED)
    assert {chunk.clock_offset for chunk in heard.chunks} == {0.0}  # one host
    assert {chunk.lost for chunk in heard.chunks} == {0}
    assert heard.happened() == []


def test_two_matching_streams_are_refused_by_name_until_one_is_gone(outlets: Outlets, start: Start) -> None:
    first = outlets.create(name="A", kind="EDA", rate=16.0, channels=[("EDA", "uS")])
    second = outlets.create(name="B", kind="EDA", rate=16.0, channels=[("EDA", "uS")])
    heard = start(StreamSettings(type="EDA"))
    heard.until(lambda: StreamEventKind.REFUSED in heard.kinds())
    refused = next(event for event in heard.events if event.kind is StreamEventKind.REFUSED)
    assert first in refused.detail
    assert second in refused.detail
    assert not outlets.wait(first, 1.5)  # longer than a look and a connection take
    assert not outlets.wait(second, 0.2)
    outlets.drop(second)
    assert outlets.wait(first)
    outlets.push(first, np.ones(4), now_on_grid(4, 16.0))
    heard.until(lambda: len(heard.chunks) > 0)
    assert [info.key for info in heard.opened] == [f"lsl:{first}:0"]


def test_none_that_matches_is_said_once_and_waited_for(outlets: Outlets, start: Start) -> None:
    outlets.create(name="something else", rate=16.0, channels=[("EDA", "uS")])
    heard = start(StreamSettings(name="wrist", modality="EDA"))
    heard.until(lambda: StreamEventKind.SEARCHING in heard.kinds())
    assert "something else" in heard.events[-1].detail
    wrist = outlets.create(name="wrist", rate=16.0, channels=[("", "uS")])
    assert outlets.wait(wrist)
    outlets.push(wrist, np.ones(4), now_on_grid(4, 16.0))
    heard.until(lambda: len(heard.chunks) > 0)
    assert [info.modality for info in heard.opened] == ["EDA"]
    details = [event.detail for event in heard.events]
    # It may be said again only where a look that missed the outlet said something else in between.
    assert not [before for before, after in pairwise(details) if before == after]


def test_a_stream_that_nobody_can_score_is_refused_and_the_others_go_on(outlets: Outlets, start: Start) -> None:
    ecg = outlets.create(name="chest", kind="ECG", rate=250.0)  # no unit
    eda = outlets.create(name="wrist", kind="EDA", rate=16.0, channels=[("EDA", "uS")])
    heard = start()  # a bed that names no streams
    assert outlets.wait(eda)
    outlets.push(eda, np.ones(4), now_on_grid(4, 16.0))
    heard.until(lambda: len(heard.chunks) > 0 and StreamEventKind.REFUSED in heard.kinds())
    assert [info.modality for info in heard.opened] == ["EDA"]
    assert "unit" in heard.happened()[0].detail
    assert not outlets.wait(ecg, 1.0)


def test_a_stream_that_dies_and_comes_back_keeps_its_key_and_one_that_comes_back_changed_is_refused(
    start: Start, lsl: None
) -> None:
    heard = start(StreamSettings(name="wrist"))
    key = "lsl:device-7:0"
    for life in range(2):
        with Outlets() as device:
            device.create(name="wrist", kind="EDA", rate=32.0, source_id="device-7", channels=[("EDA", "uS")])
            assert device.wait("device-7")
            before = len(heard.chunks)
            heard.until(
                lambda: device.push("device-7", np.full(2, life), now_on_grid(2, 32.0)) or len(heard.chunks) > before  # noqa: B023
            )
        heard.until(lambda: heard.kinds().count(StreamEventKind.GONE) == life + 1)  # noqa: B023
    assert [info.key for info in heard.opened] == [key, key]
    assert heard.opened[0] == heard.opened[1]
    assert set(heard.samples(key)) == {0.0, 1.0}
    for reading in heard.readings:  # `opened` is never behind what came before it
        assert not (reading.opened and any(event.kind is StreamEventKind.GONE for event in reading.events))
    with Outlets() as device:
        device.create(name="wrist", kind="EDA", rate=128.0, source_id="device-7", channels=[("EDA", "uS")])
        heard.until(lambda: StreamEventKind.REFUSED in heard.kinds())
        assert not device.wait("device-7", 1.0)
    detail = next(event.detail for event in heard.events if event.kind is StreamEventKind.REFUSED)
    assert "128 Hz" in detail
    assert "32 Hz" in detail


def test_a_stream_that_falls_silent_is_given_up_and_found_again(outlets: Outlets, start: Start) -> None:
    wrist = outlets.create(name="wrist", kind="EDA", rate=32.0, channels=[("EDA", "uS")])
    heard = start(StreamSettings(name="wrist"), settings=IMPATIENT)
    assert outlets.wait(wrist)
    outlets.push(wrist, np.zeros(5), now_on_grid(5, 32.0))
    heard.until(lambda: StreamEventKind.GONE in heard.kinds())
    assert "no sample" in heard.happened()[0].detail
    deadline = time.monotonic() + 40.0
    while len(heard.opened) < 2 and time.monotonic() < deadline:
        outlets.push(wrist, np.ones(2), now_on_grid(2, 32.0))
        heard.once()
    assert [info.key for info in heard.opened] == [f"lsl:{wrist}:0"] * 2


def test_arrival_stamps_replace_stamps_of_another_clock_which_are_reported(outlets: Outlets, start: Start) -> None:
    odd = outlets.create(name="odd", kind="EDA", rate=50.0, channels=[("EDA", "uS")])
    believing = start(StreamSettings(name="odd"))
    mistrusting = start(StreamSettings(name="odd", timestamps="arrival"))
    assert outlets.wait(odd)
    for heard in (believing, mistrusting):
        deadline = time.monotonic() + 40.0
        while not heard.chunks and time.monotonic() < deadline:
            outlets.push(odd, np.arange(10.0), np.arange(10) / 50.0 + 1.75e9)
            heard.once()
    fault = next(event for event in believing.events if event.kind is StreamEventKind.CLOCK_FAULT)
    assert "arrival" in fault.detail
    assert believing.stamps(f"lsl:{odd}:0")[0] == 1.75e9
    assert mistrusting.happened() == []
    stamps = mistrusting.stamps(f"lsl:{odd}:0")
    arrival = mistrusting.chunks[0].arrival
    assert stamps[len(mistrusting.chunks[0]) - 1] == snap(arrival)
    assert np.all(np.diff(stamps) > 0)
    assert abs(stamps[0] - time.monotonic()) < 30.0


def test_the_clock_of_another_host_is_compared_and_its_origin_is_one_for_all_its_streams(
    outlets: Outlets, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.sources.lsl_inlet.own_hostname", lambda: "another-host")
    announced = {"origin": repr(float(snap(time.monotonic())))}
    ids = [
        outlets.create(name=kind, kind=kind, rate=250.0, channels=[(kind, unit)], pain=announced)
        for kind, unit in (("EDA", "uS"), ("ECG", "mV"))
    ]
    heard = start()
    for source_id in ids:
        assert outlets.wait(source_id)
    stamps = now_on_grid(200, 250.0)
    for source_id in ids:
        outlets.push(source_id, np.zeros(200), stamps)
    heard.until(lambda: all(len(heard.stamps(f"lsl:{source_id}:0")) >= 200 for source_id in ids))
    offsets = {chunk.clock_offset for chunk in heard.chunks}
    assert 0.0 not in offsets  # it was estimated
    assert all(abs(offset) < 0.5 for offset in offsets)  # and it is the same clock, after all
    assert len({info.origin for info in heard.opened}) == 1
    for chunk in heard.chunks:
        first = np.searchsorted(stamps, chunk.stamps[0] - chunk.clock_offset - 1e-4)
        np.testing.assert_array_equal(chunk.stamps, snap(stamps[first : first + len(chunk)] + chunk.clock_offset))


def test_a_closed_source_is_quiet_and_can_be_opened_again(outlets: Outlets) -> None:
    wrist = outlets.create(name="wrist", kind="EDA", rate=32.0, channels=[("EDA", "uS")])
    source = LslSource(bed=BedSettings(name="b1"), settings=QUICK, clock=SystemClock())
    for _ in range(2):
        source.open()
        assert outlets.wait(wrist)
        heard = Heard(source)
        # Again and again: the consumer that is there may still be the one of before.
        heard.until(lambda: outlets.push(wrist, np.zeros(2), now_on_grid(2, 32.0)) or len(heard.chunks) > 0)  # noqa: B023
        source.close()
        assert not source.finished
