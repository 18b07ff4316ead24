"""What a signal packet is, whatever form it travels in, and why one is refused. Pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from monitor.types import Float32Array, FloatArray, Provenance

MAX_BYTES: Final = 1 << 20
"""Size of a packet at most."""
MAX_SPAN_S: Final = 60.0
"""Samples of one packet lie within this span."""
MAX_INTEGER: Final = 2**53
UTC_RANGE: Final = (946_684_800.0, 4_102_444_800.0)
"""2000 to 2100: a UTC stamp outside is something else, such as milliseconds or the time since the device's start."""

_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


class Form(StrEnum):
    """How a packet was written."""

    CBOR = "CBOR"
    JSON = "JSON"
    SENML = "SenML"


class Refusal(StrEnum):
    """Why a packet is not used: the key under which it is counted."""

    OVERSIZED = "oversized"
    MALFORMED = "malformed"  # neither CBOR map, JSON object nor SenML pack; cut short; a key twice
    VERSION = "version"
    KEY = "key"  # missing, unknown, or of the wrong type
    SHORT_STAMP = "short_stamp"  # a time stamp in a float of 16 or 32 bits
    TIME = "time"
    RANGE = "range"
    RETAINED = "retained"
    REPEATED = "repeated"
    TOPIC = "topic"
    CHANGED = "changed"  # not the signal that the stream was before
    MAPPING = "mapping"  # cannot serve the bed as it is


class WireError(Exception):
    """A packet that is refused.

    Args:
        reason: Under what it is counted.
        detail: What was wrong, in words.
    """

    def __init__(self, reason: Refusal, detail: str) -> None:
        self.reason = reason
        self.detail = detail
        super().__init__(f"{reason}: {detail}")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WirePacket:
    """One decoded packet of one signal."""

    form: Form
    run: str | None
    """None where the form has none (SenML): loss is then unknown."""
    seq: int | None
    device_clock: bool
    """Stamps are on a clock of the device's own, not UTC."""
    stamps: FloatArray
    """(n,) seconds, not yet snapped; n >= 1."""
    rate_hz: float | None
    """None where the form states none."""
    unit: str | None
    x: Float32Array
    """(n,) samples in `unit`; NaN where one is missing."""
    origin: float | None = None
    provenance: Provenance = Provenance.LIVE


def number(value: object, key: str) -> float:
    """A finite number.

    Raises:
        WireError: If it is none.
    """
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise WireError(Refusal.KEY, f"{key} is no number")
    if abs(value) > MAX_INTEGER * 1e6 or not math.isfinite(value):
        raise WireError(Refusal.RANGE, f"{key} is out of range")
    return float(value)


def check_utc(seconds: float, key: str) -> float:
    """A time that can be seconds since 1970, UTC.

    Raises:
        WireError: If it cannot.
    """
    if not UTC_RANGE[0] <= seconds < UTC_RANGE[1]:
        raise WireError(
            Refusal.TIME,
            f"{key} = {seconds:g} is not the present time in seconds UTC; a clock of the device's own is sent with "
            '"clock": "device"',
        )
    return seconds


def samples(value: object, key: str) -> Float32Array:
    """A list of numbers as (n,) float32; null is a missing sample.

    Raises:
        WireError: If it is anything else, or a number does not fit into 32 bits.
    """
    if not isinstance(value, list):
        raise WireError(Refusal.KEY, f"{key} is no list")
    for item in value:
        if item is not None and (isinstance(item, bool) or not isinstance(item, int | float)):
            raise WireError(Refusal.KEY, f"{key} holds something that is no number")
        if item is not None and not abs(item) <= _FLOAT32_MAX:
            raise WireError(Refusal.RANGE, f"{key} holds a number beyond 32 bits")
    return np.array([math.nan if item is None else float(item) for item in value], dtype=np.float32)


def unit(value: object) -> str | None:
    """A unit as the sender writes it, None where none is stated.

    Raises:
        WireError: If it is no short text.
    """
    if value is None:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= 32 or not value.isprintable():
        raise WireError(Refusal.KEY, "unit is no short text")
    return value
