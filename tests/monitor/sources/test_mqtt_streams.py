"""What packets become: streams and chunks where they can be used, counted refusals where not, and nothing is lost."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.config import BedSettings, StreamSettings
from monitor.sources.mqtt_streams import CHOICE_S, MAX_COUNTERS, REPEAT_S, SignalTopics
from monitor.sources.wire import encode_cbor
from monitor.sources.wire_packet import Form, WirePacket
from monitor.types import Chunk, Provenance, StreamEvent, StreamEventKind, StreamInfo, snap

UTC = 1_795_000_000.0
OFFSET = float(snap(5000.0 - UTC))
"""Stream clock minus UTC: the tests begin at 5000 s."""
START = 5000.0
RATE = 32.0
SIZE = 8

EDA = StreamSettings(source="mqtt", modality="EDA")
ECG = StreamSettings(source="mqtt", modality="ECG")


def topics(*streams: StreamSettings) -> SignalTopics:
    return SignalTopics(bed=BedSettings(stream=streams), utc_offset=OFFSET, silent_s=5.0, now=START)


def packet(seq: int, **changes: Any) -> WirePacket:
    """Packet `seq` of a stream that began at START."""
    first = UTC + seq * SIZE / RATE
    fields: dict[str, Any] = {
        "form": Form.CBOR,
        "run": "a",
        "seq": seq,
        "device_clock": False,
        "stamps": np.array([first]),
        "rate_hz": RATE,
        "unit": "uS",
        "x": np.arange(seq * SIZE, (seq + 1) * SIZE, dtype=np.float32),
    }
    return WirePacket(**{**fields, **changes})


def send(
    box: SignalTopics, packets: Iterable[WirePacket | bytes], *, topic: str = "wrist-7/EDA", at: float | None = None,
    retained: bool = False,
) -> list[Any]:  # fmt: skip
    """Send packets as soon as they are complete, or all at one moment."""
    items = []
    for item in packets:
        if isinstance(item, bytes):
            payload, arrival = item, at or START + 10.0
        else:
            payload = encode_cbor(item)
            arrival = at if at is not None else float(item.stamps[0]) + OFFSET + len(item.x) / float(item.rate_hz or 1)
        items += box.take(f"pain/v1/bed1/signal/{topic}", payload, retained=retained, arrival=arrival)
        items += box.tick(arrival)
    return items


def chunks(items: Sequence[Any]) -> list[Chunk]:
    return [item for item in items if isinstance(item, Chunk)]


def infos(items: Sequence[Any]) -> list[StreamInfo]:
    return [item for item in items if isinstance(item, StreamInfo)]


def events(items: Sequence[Any], kind: StreamEventKind) -> list[StreamEvent]:
    return [item for item in items if isinstance(item, StreamEvent) and item.kind is kind]


def samples(items: Sequence[Any]) -> list[float]:
    return [float(value) for chunk in chunks(items) for value in chunk.samples]


def test_nothing_of_a_streams_beginning_is_lost_while_its_place_is_open() -> None:
    items = send(topics(EDA), map(packet, range(40)))
    (info,) = infos(items)
    assert items.index(info) < items.index(chunks(items)[0])
    assert samples(items) == list(range(40 * SIZE))
    assert (info.key, info.modality, info.unit, info.rate_hz) == ("mqtt:wrist-7/EDA", "EDA", "uS", RATE)
    assert (info.source, info.provenance, info.jitter_s) == ("mqtt", Provenance.LIVE, 0.1)
    stamps = np.concatenate([chunk.stamps for chunk in chunks(items)])
    np.testing.assert_array_equal(stamps, START + np.arange(40 * SIZE) / RATE)
    arrivals = [chunk.arrival for chunk in chunks(items)]
    assert arrivals == sorted(arrivals)
    assert arrivals[0] >= START + CHOICE_S
    assert not events(items, StreamEventKind.REFUSED)


@given(missing=st.sets(st.integers(1, 38)), repeats=st.lists(st.integers(0, 39), max_size=10))
@settings(max_examples=40, deadline=None)
def test_loss_is_counted_and_repeats_are_dropped(missing: set[int], repeats: list[int]) -> None:
    box = topics(EDA)
    kept = [seq for seq in range(40) if seq not in missing]
    items = send(box, map(packet, kept))
    items += send(box, (packet(seq) for seq in repeats if seq in kept), at=START + 11.0)
    got = chunks(items)
    assert samples(items) == [value for seq in kept for value in range(seq * SIZE, (seq + 1) * SIZE)]
    assert sum(chunk.lost for chunk in got) == len(missing) * SIZE
    assert box.refused["wrist-7/EDA", "repeated"] == sum(seq in kept for seq in repeats)


def test_what_is_refused_costs_nothing_else_and_is_counted() -> None:
    box = topics(EDA, ECG)
    bad = [b"garbage", b"", b"{}", b"\xff" * 100, b"\x00" * (1 << 20) + b"\x00"]
    items: list[Any] = []
    for seq in range(40):
        items += send(box, [packet(seq)])
        for payload in bad:
            items += send(box, [payload], at=START + (seq + 1) * SIZE / RATE)
        items += send(box, [packet(seq)], at=START + (seq + 1) * SIZE / RATE, retained=True)
    assert samples(items) == list(range(40 * SIZE))
    assert sum(chunk.lost for chunk in chunks(items)) == 0
    assert box.refused["wrist-7/EDA", "malformed"] == 3 * 40
    assert box.refused["wrist-7/EDA", "key"] == 40
    assert box.refused["wrist-7/EDA", "oversized"] == 40
    assert box.refused["wrist-7/EDA", "retained"] == 40
    said = events(items, StreamEventKind.REFUSED)
    assert len(said) == 4, "each reason is said once in so short a time"
    items = send(box, [b"garbage"], at=START + 11.0 + REPEAT_S)
    assert "packet 121" in events(items, StreamEventKind.REFUSED)[0].detail


def test_invented_topics_do_not_fill_the_memory() -> None:
    box = topics(EDA)
    for number in range(MAX_COUNTERS + 500):
        send(box, [packet(0)], topic=f"dev{number}/TEMP")
        box.take(f"pain/v1/bed1/signal/dev/x{number}", b"", retained=False, arrival=START)
    assert len(box.refused) <= MAX_COUNTERS + 2
    assert box.refused.total() == 2 * (MAX_COUNTERS + 500)
    assert samples(send(box, map(packet, range(20)))) == list(range(20 * SIZE))


def test_two_devices_for_one_place_are_named_and_neither_is_taken() -> None:
    box = topics(EDA)
    items: list[Any] = []
    for seq in range(20):
        items += send(box, [packet(seq)], topic="left/EDA")
        items += send(box, [packet(seq)], topic="right/EDA")
    assert not chunks(items)
    (said,) = events(items, StreamEventKind.REFUSED)
    assert "left" in said.detail
    assert "right" in said.detail
    assert "device" in said.detail
    # One goes: the other is taken, with what it has sent of late.
    for seq in range(20, 80):
        items += send(box, [packet(seq)], topic="right/EDA")
    assert infos(items)[0].key == "mqtt:right/EDA"
    assert samples(items)[-1] == 80 * SIZE - 1


def test_a_named_device_is_taken_at_once_and_another_never() -> None:
    box = topics(StreamSettings(source="mqtt", device="left", modality="EDA"))
    assert not chunks(send(box, [packet(0)], topic="right/EDA"))
    assert samples(send(box, [packet(0)], topic="left/EDA")) == list(range(SIZE))
    assert box.refused["right/EDA", "topic"] == 1


def test_a_bed_without_streams_takes_what_turns_up() -> None:
    box = topics()
    items: list[Any] = []
    for seq in range(20):
        items += send(box, [packet(seq)], topic="wrist-7/EDA")
        items += send(box, [packet(seq, unit="degC")], topic="wrist-7/TEMP")
    assert {info.modality for info in infos(items)} == {"EDA", "TEMP"}
    assert len(samples(items)) == 2 * 20 * SIZE


@pytest.mark.parametrize(
    "change", [{"unit": "mV"}, {"rate_hz": 2 * RATE}, {"provenance": Provenance.SIMULATED}, {"device_clock": True}]
)
def test_a_stream_that_becomes_another_is_refused_until_it_is_itself_again(change: dict[str, Any]) -> None:
    box = topics(StreamSettings(source="mqtt", device="wrist-7", modality="EDA"))
    items = send(box, map(packet, range(4)))
    items += send(box, (packet(seq, **change) for seq in range(4, 8)), at=START + 2.0)
    items += box.tick(START + 30.0)
    items += send(box, map(packet, range(8, 12)))
    assert samples(items) == [*range(4 * SIZE), *range(8 * SIZE, 12 * SIZE)]
    if not change.get("device_clock"):
        assert box.refused["wrist-7/EDA", "changed"] == 4
    assert sum(chunk.lost for chunk in chunks(items)) == 4 * SIZE


@pytest.mark.parametrize(("unit", "words"), [("mV", "voltage"), ("furlong", "not known"), (None, "unit")])
def test_a_unit_that_cannot_be_is_refused_with_the_remedy(unit: str | None, words: str) -> None:
    items = send(topics(EDA), (packet(seq, unit=unit) for seq in range(20)))
    assert not chunks(items)
    (said,) = events(items, StreamEventKind.REFUSED)
    assert words in said.detail
    # A setting says what the device does not.
    if unit is None:
        assert chunks(send(topics(EDA.model_copy(update={"unit": "uS"})), (packet(s, unit=None) for s in range(20))))


def test_silence_is_reported_and_the_stream_comes_back() -> None:
    box = topics(StreamSettings(source="mqtt", device="wrist-7", modality="EDA"))
    items = send(box, map(packet, range(4)))
    assert not box.tick(START + 4.0)
    (gone,) = box.tick(START + 7.0)
    assert gone.kind is StreamEventKind.GONE
    assert not box.tick(START + 8.0)
    items = send(box, map(packet, range(40, 44)))
    assert [type(item) for item in items[:2]] == [StreamInfo, Chunk]
    (lost,) = box.disconnected(START + 12.0, "the broker is away")
    assert lost.detail == "the broker is away"


def test_what_never_comes_is_searched_for() -> None:
    box = topics(EDA, StreamSettings(source="mqtt", device="chest", modality="ECG"))
    assert not box.tick(START + 1.0)
    said = events(box.tick(START + 6.0), StreamEventKind.SEARCHING)
    assert ["signal/+/EDA" in said[0].detail, "signal/chest/ECG" in said[1].detail] == [True, True]


def on_device_clock(seq: int, **changes: Any) -> WirePacket:
    return packet(seq, device_clock=True, stamps=np.array([7.0 + seq * SIZE / RATE]), **changes)


def test_a_device_clock_is_mapped_by_the_packet_held_up_least() -> None:
    box = topics(EDA, ECG)
    delay = dict.fromkeys(range(80), 0.4) | {20: 0.1}
    items: list[Any] = []
    for seq in range(80):
        at = START + (seq + 1) * SIZE / RATE + delay[seq]
        items += send(box, [on_device_clock(seq, origin=7.0)], at=at)
        items += send(box, [on_device_clock(seq, unit="mV", origin=7.0)], topic="wrist-7/ECG", at=at)
    assert samples(items)[: 2 * SIZE]
    origins = {info.origin for info in infos(items)}
    assert len(origins) == 1, "two signals of one device announce one origin"
    for key in ("EDA", "ECG"):
        mine = [chunk for chunk in chunks(items) if chunk.stream == f"mqtt:wrist-7/{key}"]
        stamps = np.concatenate([chunk.stamps for chunk in mine])
        assert len(stamps) == 80 * SIZE
        # The last sample of a packet was taken one period before its end.
        np.testing.assert_allclose(stamps, START + 0.1 + (1 + np.arange(80 * SIZE)) / RATE, atol=2e-6)


def test_stamps_of_arrival_where_the_device_has_none_to_believe() -> None:
    stream = StreamSettings(source="mqtt", device="wrist-7", modality="EDA", timestamps="arrival")
    items = send(topics(stream), (on_device_clock(seq, origin=7.0) for seq in range(8)), at=START + 3.0)
    assert infos(items)[0].origin is None
    assert all(chunk.stamps[-1] <= START + 3.0 for chunk in chunks(items))


def test_a_clock_that_is_not_set_is_reported() -> None:
    stream = StreamSettings(source="mqtt", device="wrist-7", modality="EDA")
    items = send(topics(stream), [packet(0)], at=START + 100.0)
    (said,) = events(items, StreamEventKind.CLOCK_FAULT)
    assert said.seconds == pytest.approx(-100.0, abs=1.0)
    assert "clock" in said.detail


def test_senml_is_measured_and_its_loss_is_not_known() -> None:
    box = topics(EDA)
    items: list[Any] = []
    for second in (0, 1, 2, 2, 3, 5):
        records = [{"t": i / 8, "v": second * 8 + i} for i in range(8)]
        payload = json.dumps([{"bt": UTC + second, "bu": "uS"}, *records]).encode()
        items += send(box, [payload], at=START + second + 1.0)
    info = infos(items)[0]
    assert info.rate_measured
    assert info.rate_hz == pytest.approx(8.0)
    assert samples(items) == [*range(4 * 8), *range(5 * 8, 6 * 8)]
    assert not any(chunk.lost for chunk in chunks(items))
    assert box.refused["wrist-7/EDA", "repeated"] == 1


def test_a_gateway_that_starts_anew_announces_its_new_origin() -> None:
    stream = StreamSettings(source="mqtt", device="wrist-7", modality="EDA")
    box = topics(stream)
    items = send(box, (packet(seq, origin=UTC) for seq in range(4)))
    items += send(box, (packet(seq, run="b", origin=UTC + 1.5) for seq in range(8, 12)))
    assert [info.origin for info in infos(items)] == [START, START + 1.5]
    assert not any(chunk.lost for chunk in chunks(items)), "a new run has lost nothing"
