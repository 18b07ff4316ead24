"""Packets: what is written reads back as it was, and whatever is wrong is refused with its reason."""

from __future__ import annotations

import json
import math
import struct
from typing import Any

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.sources.wire import decode, encode_cbor, encode_json
from monitor.sources.wire_cbor import CborError, read_map
from monitor.sources.wire_packet import MAX_BYTES, Form, Refusal, WireError, WirePacket
from monitor.types import Provenance, snap

T0 = 1_795_000_000.25
GOOD: dict[str, Any] = {"v": 1, "run": "a1", "seq": 7, "t0": T0, "rate": 64.0, "unit": "uS"}

packets = st.builds(
    WirePacket,
    form=st.just(Form.CBOR),
    run=st.text("0123456789abcdef", min_size=1, max_size=16),
    seq=st.integers(0, 2**53 - 1),
    device_clock=st.booleans(),
    stamps=st.floats(946_684_800.0, 4_102_444_799.0).map(lambda t: snap(np.array([t]))),
    rate_hz=st.floats(4.0, 2000.0),
    unit=st.none() | st.sampled_from(["uS", "mV", "a.u."]),
    x=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=20).map(
        lambda values: np.array(values, dtype=np.float32)
    ),
    origin=st.none() | st.floats(946_684_800.0, 4_102_444_799.0),
    provenance=st.sampled_from(list(Provenance)),
)


def cbor(**changes: Any) -> bytes:
    fields = {**GOOD, "x": np.arange(4, dtype="<f4").tobytes(), **changes}
    return cbor2.dumps({key: value for key, value in fields.items() if value is not ...})


def as_json(**changes: Any) -> bytes:
    fields = {**GOOD, "x": [0.0, 1.0, 2.0, 3.0], **changes}
    return json.dumps({key: value for key, value in fields.items() if value is not ...}).encode()


def refusal(payload: bytes) -> Refusal:
    with pytest.raises(WireError) as caught:
        decode(payload)
    assert caught.value.detail
    return caught.value.reason


@given(packet=packets, write=st.sampled_from([encode_cbor, encode_json]))
@settings(max_examples=60, deadline=None)
def test_what_is_written_reads_back_bit_for_bit(packet: WirePacket, write: Any) -> None:
    read = decode(write(packet))
    assert read.x.tobytes() == packet.x.tobytes()
    assert read.stamps[0] == packet.stamps[0]
    assert len(read.stamps) == len(read.x)
    assert (read.run, read.seq, read.device_clock) == (packet.run, packet.seq, packet.device_clock)
    assert (read.rate_hz, read.unit, read.origin) == (packet.rate_hz, packet.unit, packet.origin)
    assert read.provenance is packet.provenance


def test_both_forms_say_the_same() -> None:
    one, other = decode(cbor()), decode(as_json())
    assert (one.form, other.form) == (Form.CBOR, Form.JSON)
    np.testing.assert_array_equal(one.x, other.x)
    np.testing.assert_array_equal(one.stamps, other.stamps)
    np.testing.assert_allclose(np.diff(one.stamps), 1 / 64, rtol=1e-6)


@given(payload=st.binary(max_size=200))
@settings(max_examples=200, deadline=None)
def test_no_bytes_do_anything_but_be_refused(payload: bytes) -> None:
    with pytest.raises(WireError):
        decode(payload)


@given(cut=st.integers(0, 1000), flip=st.integers(0, 255), payload=st.sampled_from([cbor(), as_json()]))
@settings(max_examples=200, deadline=None)
def test_a_damaged_packet_is_refused_or_still_a_packet(cut: int, flip: int, payload: bytes) -> None:
    place = cut % len(payload)
    with pytest.raises(WireError):
        decode(payload[:place])
    damaged = payload[:place] + bytes([payload[place] ^ flip]) + payload[place + 1 :]
    try:
        read = decode(damaged)
    except WireError:
        return
    assert len(read.x) == len(read.stamps) > 0
    assert np.isfinite(read.stamps).all()


@given(
    content=st.dictionaries(st.text(max_size=8), st.integers(-(2**63), 2**63) | st.floats() | st.text() | st.binary())
)
@settings(max_examples=60, deadline=None)
def test_the_reader_of_cbor_agrees_with_cbor2(content: dict[str, Any]) -> None:
    read = read_map(cbor2.dumps(content))
    assert repr(read) == repr(content)
    with pytest.raises(CborError):
        read_map(cbor2.dumps(content) + b"\x00")


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", Refusal.MALFORMED),
        (b"\x00" * (MAX_BYTES + 1), Refusal.OVERSIZED),
        (b"hello", Refusal.MALFORMED),
        (b"3", Refusal.MALFORMED),
        (b"[" * 100_000, Refusal.MALFORMED),
        (b'{"v": 1, "v": 1}', Refusal.MALFORMED),
        (as_json(rate=math.nan), Refusal.MALFORMED),
        (cbor2.dumps({"v": 1, "x": [1]}), Refusal.MALFORMED),
        (cbor2.dumps({"v": 1, "x": cbor2.CBORTag(84, b"1234")}), Refusal.MALFORMED),
        (cbor2.dumps({1: 2}), Refusal.MALFORMED),
        (b"\xbf\x61v\x01\xff", Refusal.MALFORMED),  # of indefinite length
        (b"\xbb" + b"\xff" * 8, Refusal.MALFORMED),  # claims 2**64 entries
        (b"\xa1\x61x\x5b" + b"\xff" * 8, Refusal.MALFORMED),  # claims 2**64 bytes
        (cbor() + b"\x00", Refusal.MALFORMED),
        (cbor(v=...), Refusal.KEY),
        (cbor(v=2), Refusal.VERSION),
        (as_json(v=True), Refusal.VERSION),
        *((cbor(**{key: ...}), Refusal.KEY) for key in ("run", "seq", "t0", "rate", "x")),
        (cbor(seqq=1), Refusal.KEY),
        (cbor(seq=1.0), Refusal.KEY),
        (as_json(seq=True), Refusal.KEY),
        (cbor(seq=-1), Refusal.RANGE),
        (cbor(run=""), Refusal.KEY),
        (cbor(run=b"a1"), Refusal.KEY),
        (cbor(rate=0), Refusal.RANGE),
        (as_json(rate=-5), Refusal.RANGE),
        (cbor(rate=1e6), Refusal.RANGE),
        (cbor(rate="64"), Refusal.KEY),
        (cbor(unit=3), Refusal.KEY),
        (cbor(unit="\x1b[31m"), Refusal.KEY),
        (cbor(x=b""), Refusal.RANGE),
        (cbor(x=b"12345"), Refusal.RANGE),
        (cbor(x="text"), Refusal.KEY),
        (as_json(x=[1, "2"]), Refusal.KEY),
        (as_json(x=[1e39]), Refusal.RANGE),
        (as_json(x=[True]), Refusal.KEY),
        (cbor(x=b"\x00" * 4 * 7000), Refusal.RANGE),  # more than a minute
        (cbor(t0=T0 * 1000), Refusal.TIME),  # milliseconds
        (cbor(t0=12.5), Refusal.TIME),  # since the device's start
        (cbor(t0=int(T0)), Refusal.KEY),
        (cbor(t0_us=int(T0 * 1e6)), Refusal.KEY),  # both
        (cbor(t0=..., t0_us=T0), Refusal.KEY),
        (as_json().replace(b"1795000000.25", b"1e400"), Refusal.RANGE),
        (cbor(clock="local"), Refusal.KEY),
        (cbor(provenance="guessed"), Refusal.KEY),
        (cbor(origin=5.0), Refusal.TIME),
    ],
    ids=lambda value: value.value if isinstance(value, Refusal) else "payload",
)  # fmt: skip
def test_what_is_wrong_is_refused_for_its_reason(payload: bytes, reason: Refusal) -> None:
    assert refusal(payload) is reason


@pytest.mark.parametrize("head", [b"\xfa" + struct.pack("!f", T0), b"\xf9" + struct.pack("!e", 1.0)])
@pytest.mark.parametrize("key", [b"\x62t0", b"\x66origin"])
def test_a_time_stamp_of_32_bits_or_less_is_refused(head: bytes, key: bytes) -> None:
    whole = cbor(origin=T0)
    place = whole.index(key) + len(key)
    assert refusal(whole[:place] + head + whole[place + 9 :]) is Refusal.SHORT_STAMP


def test_what_devices_may_do() -> None:
    assert decode(cbor(t0=..., t0_us=1_795_000_000_250_000)).stamps[0] == T0
    assert decode(cbor(clock="device", t0=12.5)).device_clock
    assert decode(cbor(clock="device", t0=..., t0_us=-5)).stamps[0] == -5e-6
    assert decode(cbor(unit=...)).unit is None
    assert decode(cbor(run=123)).run == "123"
    tagged = cbor2.CBORTag(85, np.arange(4, dtype="<f4").tobytes())  # RFC 8746
    assert decode(cbor(x=tagged)).x.tolist() == [0.0, 1.0, 2.0, 3.0]
    assert np.isnan(decode(as_json(x=[1.0, None])).x[1])
    assert decode(b" \n" + as_json()).form is Form.JSON


# -- SenML ------------------------------------------------------------------------------------------------------------


def senml(*records: dict[str, Any]) -> bytes:
    return json.dumps(records).encode()


def test_senml_base_values_are_resolved() -> None:
    read = decode(
        senml(
            {"bn": "urn:dev:1:", "bt": T0, "bu": "Cel", "bv": 30.0, "n": "temp", "v": 1.5},
            {"n": "temp", "t": 0.25, "v": 2.0},
            {"bt": T0 + 10, "n": "temp", "v": -1},
        )
    )
    assert read.form is Form.SENML
    assert (read.run, read.seq, read.rate_hz) == (None, None, None)
    assert read.unit == "degC"
    assert read.x.tolist() == [31.5, 32.0, 29.0]
    assert read.stamps.tolist() == [T0, T0 + 0.25, T0 + 10]


@pytest.mark.parametrize(
    ("records", "reason"),
    [
        ([], Refusal.RANGE),
        ([3], Refusal.MALFORMED),
        ([{"bt": T0}], Refusal.RANGE),
        ([{"bt": T0, "n": "a"}], Refusal.KEY),
        ([{"n": "a", "v": 1}], Refusal.TIME),  # counts from now
        ([{"n": "a", "v": 1, "t": -1}], Refusal.TIME),
        ([{"bt": T0, "n": "a", "v": 1}, {"n": "b", "t": 1, "v": 1}], Refusal.KEY),
        ([{"bt": T0, "u": "S", "v": 1}, {"u": "V", "t": 1, "v": 1}], Refusal.KEY),
        ([{"bt": T0, "v": 1}, {"v": 2}], Refusal.TIME),
        ([{"bt": T0, "v": 1}, {"t": 3600, "v": 2}], Refusal.RANGE),
        ([{"bt": T0, "vs": "text"}], Refusal.KEY),
        ([{"bt": T0, "v": "1"}], Refusal.KEY),
        ([{"bt": T0, "bver": 11, "v": 1}], Refusal.VERSION),
        ([{"bt": T0 * 1000, "v": 1}], Refusal.TIME),
    ],
)
def test_senml_that_is_no_signal_is_refused(records: list[Any], reason: Refusal) -> None:
    assert refusal(senml(*records)) is reason
