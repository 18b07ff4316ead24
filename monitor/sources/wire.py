"""Signal packets as they travel over MQTT: CBOR, JSON or SenML in, one `WirePacket` out. Pure; knows no network.

CBOR and JSON hold the same keys (docs/mqtt.md describes them for the makers of gateways):

| key | value |
|---|---|
| `v` | 1 |
| `run` | text or whole number, drawn at random at each start of the device |
| `seq` | whole number, one more with each packet of a run |
| `t0` or `t0_us` | time of the first sample: seconds as a 64-bit float, or whole microseconds |
| `clock` | `utc` (default): seconds since 1970; `device`: any clock of the device's own |
| `rate` | sampling rate in Hz |
| `unit` | unit of the samples; may be left out |
| `x` | CBOR: float32, little-endian; JSON: a list of numbers, null where a sample is missing |
| `origin` or `origin_us` | start of the window grid on the same clock; may be left out |
| `provenance` | `live` (default), `replay` or `simulated` |

Decoding is strict: an unknown key, a wrong type or a number out of range refuses the packet, with the reason.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final, NoReturn

import cbor2
import numpy as np

from monitor.sources.senml import read_pack
from monitor.sources.wire_cbor import CborError, ShortFloat, read_map
from monitor.sources.wire_packet import (
    MAX_BYTES,
    MAX_INTEGER,
    MAX_SPAN_S,
    Form,
    Refusal,
    WireError,
    WirePacket,
    check_utc,
    number,
    samples,
    unit,
)
from monitor.types import Float32Array, Provenance

VERSION: Final = 1
MAX_RATE_HZ: Final = 100_000.0

_KEYS: Final = frozenset(
    {"v", "run", "seq", "t0", "t0_us", "clock", "rate", "unit", "x", "origin", "origin_us", "provenance"}
)


def decode(payload: bytes) -> WirePacket:
    """Read a packet of any form; the first byte tells which.

    Raises:
        WireError: If it is refused.
    """
    if len(payload) > MAX_BYTES:
        raise WireError(Refusal.OVERSIZED, f"{len(payload)} bytes, at most {MAX_BYTES} are taken")
    if payload and 0xA0 <= payload[0] <= 0xBF:
        try:
            return _packet(read_map(payload), Form.CBOR)
        except CborError as error:
            raise WireError(Refusal.MALFORMED, f"not a packet in CBOR: {error}") from None
    content = _read_json(payload)
    if isinstance(content, dict):
        return _packet(content, Form.JSON)
    if isinstance(content, list):
        return read_pack(content)
    raise WireError(Refusal.MALFORMED, "neither a CBOR map, a JSON object nor a SenML pack")


def encode_cbor(packet: WirePacket) -> bytes:
    """Write a packet as CBOR.

    Raises:
        ValueError: If it lacks what CBOR packets need (run, seq, rate).
    """
    # Not canonical: that would shorten a stamp without decimals to 32 bits, which a strict reader refuses.
    return cbor2.dumps({**_fields(packet), "x": packet.x.astype("<f4").tobytes()})


def encode_json(packet: WirePacket) -> bytes:
    """Write a packet as JSON; see `encode_cbor`. Samples are written so that they read back as the same float32."""
    values = [float(value) if math.isfinite(value) else None for value in packet.x.tolist()]
    return json.dumps({**_fields(packet), "x": values}, allow_nan=False, separators=(",", ":")).encode()


def _fields(packet: WirePacket) -> dict[str, object]:
    if packet.run is None or packet.seq is None or packet.rate_hz is None:
        raise ValueError("a packet needs run, seq and rate")
    fields: dict[str, object] = {
        "v": VERSION,
        "run": packet.run,
        "seq": packet.seq,
        "t0": float(packet.stamps[0]),
        "rate": float(packet.rate_hz),
    }
    if packet.device_clock:
        fields["clock"] = "device"
    if packet.unit is not None:
        fields["unit"] = packet.unit
    if packet.origin is not None:
        fields["origin"] = float(packet.origin)
    if packet.provenance is not Provenance.LIVE:
        fields["provenance"] = packet.provenance.value
    return fields


# -- strict reading ---------------------------------------------------------------------------------------------------


def _read_json(payload: bytes) -> Any:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key comes twice")
        return found

    def constant(text: str) -> NoReturn:
        raise ValueError(f"{text} is no JSON number; a missing sample is null")

    try:
        return json.loads(payload.decode("utf-8"), object_pairs_hook=once, parse_constant=constant)
    except UnicodeDecodeError:
        raise WireError(Refusal.MALFORMED, "neither a CBOR map nor text in UTF-8") from None
    except RecursionError:
        raise WireError(Refusal.MALFORMED, "not a packet in JSON: nested too deeply") from None
    except ValueError as error:
        raise WireError(Refusal.MALFORMED, f"not a packet in JSON: {error}") from None


def _packet(content: Mapping[str, Any], form: Form) -> WirePacket:
    if "v" not in content:
        raise WireError(Refusal.KEY, "'v' is missing")
    version = content["v"]
    if isinstance(version, bool) or not isinstance(version, int) or version != VERSION:
        raise WireError(Refusal.VERSION, f"v is {version!r}, this monitor reads {VERSION}")
    if unknown := sorted(set(content) - _KEYS):
        raise WireError(Refusal.KEY, f"unknown key '{unknown[0][:32]}'")
    device_clock = _choice(content, "clock", ("utc", "device"), "utc") == "device"
    rate = number(_needed(content, "rate"), "rate")
    if not 0.0 < rate <= MAX_RATE_HZ:
        raise WireError(Refusal.RANGE, f"rate is {rate:g} Hz")
    x = _cbor_samples(_needed(content, "x")) if form is Form.CBOR else samples(_needed(content, "x"), "x")
    if len(x) == 0:
        raise WireError(Refusal.RANGE, "x holds no sample")
    if (len(x) - 1) / rate > MAX_SPAN_S:
        raise WireError(Refusal.RANGE, f"{len(x)} samples at {rate:g} Hz are more than {MAX_SPAN_S:g} s")
    t0 = _time(content, "t0", form, device_clock=device_clock)
    if t0 is None:
        raise WireError(Refusal.KEY, "'t0' (or 't0_us') is missing")
    return WirePacket(
        form=form,
        run=_run(_needed(content, "run")),
        seq=_whole(_needed(content, "seq"), "seq", lowest=0),
        device_clock=device_clock,
        stamps=t0 + np.arange(len(x), dtype=np.float64) / rate,
        rate_hz=rate,
        unit=unit(content.get("unit")),
        x=x,
        origin=_time(content, "origin", form, device_clock=device_clock),
        provenance=Provenance(_choice(content, "provenance", tuple(Provenance), Provenance.LIVE)),
    )


def _cbor_samples(value: object) -> Float32Array:
    if not isinstance(value, bytes):
        raise WireError(Refusal.KEY, "x is no byte string of float32, little-endian")
    if len(value) % 4:
        raise WireError(Refusal.RANGE, f"x has {len(value)} bytes, not a multiple of 4")
    return np.frombuffer(value, dtype="<f4").astype(np.float32)


def _time(content: Mapping[str, Any], key: str, form: Form, *, device_clock: bool) -> float | None:
    in_us = f"{key}_us"
    if key in content and in_us in content:
        raise WireError(Refusal.KEY, f"both {key} and {in_us}")
    if in_us in content:
        seconds = _whole(content[in_us], in_us, lowest=-MAX_INTEGER) / 1e6
    elif key in content:
        value = content[key]
        if isinstance(value, ShortFloat):
            raise WireError(
                Refusal.SHORT_STAMP,
                f"{key} is a float of 32 bits or less, which cannot hold a time; send 64 bits, or whole microseconds "
                f"as {in_us}",
            )
        if form is Form.CBOR and not isinstance(value, float):
            raise WireError(Refusal.KEY, f"{key} is no 64-bit float; whole microseconds are sent as {in_us}")
        seconds = number(value, key)
    else:
        return None
    return seconds if device_clock else check_utc(seconds, key)


def _needed(content: Mapping[str, Any], key: str) -> Any:
    if key not in content:
        raise WireError(Refusal.KEY, f"'{key}' is missing")
    return content[key]


def _choice(content: Mapping[str, Any], key: str, allowed: tuple[str, ...], default: str) -> str:
    value = content.get(key, default)
    if not isinstance(value, str) or value not in allowed:
        raise WireError(Refusal.KEY, f"{key} is none of {', '.join(allowed)}")
    return value


def _whole(value: object, key: str, *, lowest: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise WireError(Refusal.KEY, f"{key} is no whole number")
    if not lowest <= value < MAX_INTEGER:
        raise WireError(Refusal.RANGE, f"{key} is out of range")
    return value


def _run(value: object) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**64:
        return str(value)
    if isinstance(value, str) and 0 < len(value) <= 64 and value.isprintable():
        return value
    raise WireError(Refusal.KEY, "run is neither a short text nor a whole number")
