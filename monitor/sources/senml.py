"""SenML packs (RFC 8428, JSON) of one signal: base values resolved, every record with its own time.

SenML has neither a run nor a sequence number, so what was lost on the way can be seen from the times alone. A rate is
not stated either: it is measured, or comes from the configuration.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from monitor.sources.wire_packet import (
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

VERSION: Final = 10
"""Newest version of SenML that is understood."""

RELATIVE_BELOW: Final = 2.0**28
"""RFC 8428, 4.5.3: smaller times count from now."""

_BASE: Final = ("bn", "bt", "bu", "bv", "bver")
_FIELDS: Final = frozenset({*_BASE, "n", "u", "t", "v", "ut"})
_UNITS: Final = {"Cel": "degC", "beat/min": "bpm", "/": "a.u."}
"""SenML's spellings that differ from those of devices."""


def read_pack(records: Sequence[Any]) -> WirePacket:
    """Read a pack.

    Args:
        records: The JSON array, parsed.

    Raises:
        WireError: If a record is malformed or lacks an absolute time, or the pack holds more than one signal.
    """
    if not records:
        raise WireError(Refusal.RANGE, "the SenML pack is empty")
    base: dict[str, Any] = {}
    names: set[str] = set()
    units: set[str | None] = set()
    times: list[float] = []
    values: list[float] = []
    for record in records:
        if not isinstance(record, Mapping):
            raise WireError(Refusal.MALFORMED, "a SenML record is no JSON object")
        if unknown := sorted(set(record) - _FIELDS):
            raise WireError(Refusal.KEY, f"SenML field '{unknown[0][:32]}' has no place in a signal")
        base.update({key: record[key] for key in _BASE if key in record})
        if "v" not in record:
            if "t" in record or "n" in record:
                raise WireError(Refusal.KEY, "a SenML record has no value 'v'")
            continue
        names.add(_text(base.get("bn", ""), "bn") + _text(record.get("n", ""), "n"))
        units.add(unit(record.get("u", base.get("bu"))))
        times.append(number(base.get("bt", 0), "bt") + number(record.get("t", 0), "t"))
        values.append(number(base.get("bv", 0), "bv") + number(record["v"], "v"))
    if number(base.get("bver", VERSION), "bver") > VERSION:
        raise WireError(Refusal.VERSION, f"SenML version {base['bver']} is not understood, {VERSION} is")
    if not values:
        raise WireError(Refusal.RANGE, "the SenML pack holds no value")
    if len(names) > 1 or len(units) > 1:
        raise WireError(Refusal.KEY, "the SenML pack holds more than one signal; send each on its own topic")
    stamps = np.array(times)
    if stamps.min() < RELATIVE_BELOW:
        raise WireError(Refusal.TIME, "SenML times count from now; send absolute ones (bt in seconds UTC)")
    check_utc(float(stamps.min()), "t")
    check_utc(float(stamps.max()), "t")
    if np.any(np.diff(stamps) <= 0):
        raise WireError(Refusal.TIME, "SenML times do not rise from record to record")
    if stamps[-1] - stamps[0] > MAX_SPAN_S:
        raise WireError(Refusal.RANGE, f"the SenML pack spans more than {MAX_SPAN_S:g} s")
    said = units.pop()
    return WirePacket(
        form=Form.SENML,
        run=None,
        seq=None,
        device_clock=False,
        stamps=stamps,
        rate_hz=None,
        unit=_UNITS.get(said, said) if said is not None else None,
        x=samples(values, "v"),
    )


def measured_rate(stamps: Sequence[float]) -> float:
    """Sampling rate in Hz that times show: the inverse of their median step.

    Args:
        stamps: At least two, rising.
    """
    step = float(np.median(np.diff(np.asarray(stamps))))
    return 1.0 / step if step > 0 else math.nan


def _text(value: object, key: str) -> str:
    if not isinstance(value, str) or len(value) > 256:
        raise WireError(Refusal.KEY, f"SenML {key} is no short text")
    return value
