"""The session database's schema: which table holds what, and how a value becomes a column and comes back equal.

Every record that has a dataclass in `monitor.types` is stored field by field: the field's name is the column's, and
the field's type alone decides the form (`_codec`). A field that is added to a dataclass with a default is therefore
stored from then on, and older sessions read back with the default.

Stamps come back bit for bit. A chunk holds its first stamp and, where a sample is off the line
`round((t_first + i / rate) / STAMP_TICK)`, the residuals in ticks; whatever that cannot express (a stamp that was
never snapped, NaN) is kept as raw float64.
"""

from __future__ import annotations

import dataclasses
import json
import math
import struct
import types
import zlib
from collections.abc import Callable, Mapping
from dataclasses import MISSING, dataclass
from enum import Enum
from typing import Any, Final, NamedTuple, Union, get_args, get_origin, get_type_hints

import numpy as np

from monitor.types import (
    STAMP_TICK,
    AlarmAction,
    AlarmEvent,
    CalibrationEvent,
    Chunk,
    Command,
    Comparators,
    Event,
    Float32Array,
    FloatArray,
    Marker,
    PainIndex,
    Score,
    StreamEvent,
    StreamInfo,
    WindowsSkipped,
)

APPLICATION_ID: Final = 0x5041494E
"""`PAIN` in the file's header: tells a session from any other SQLite file."""

SCHEMA_VERSION: Final = 1

SqlValue = None | int | float | str | bytes

EVENT_TABLES: Final[Mapping[type[Event], str]] = types.MappingProxyType(
    {
        Score: "score",
        PainIndex: "pain_index",
        Comparators: "comparators",
        AlarmEvent: "alarm",
        AlarmAction: "alarm_action",
        StreamEvent: "stream_event",
        CalibrationEvent: "calibration",
        WindowsSkipped: "windows_skipped",
        Marker: "marker",
    }
)
"""Table of every kind of output."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamOpened:
    """A stream was announced to the pipeline."""

    info: StreamInfo
    at: float
    """Stream clock."""
    restated: bool = False
    """Written again after a recording gap that had swallowed the original; the pipeline was not called for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tick:
    """The pipeline was told the time."""

    now: float
    """Stream clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecordingGap:
    """A span that could not be written (disk full, queue full). The bed was monitored on; the record is incomplete."""

    start: float
    """Stream clock of the first record that was lost; NaN where none carried a time."""
    end: float
    """Stream clock of the last one."""
    records: int
    samples: int
    """Samples per channel among them."""
    reason: str


Input = StreamOpened | Chunk | Command | Tick
"""What went into the pipeline: together with the settings and the bundles, all that it depends on."""

LogItem = Input | RecordingGap | Event


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Entry:
    """One record of the log."""

    seq: int
    """Position in the log; a recording gap leaves a hole."""
    item: LogItem
    external: bool = False
    """An event that did not come out of the pipeline (a source reported it), so that no replay can repeat it."""


class Codec(NamedTuple):
    """How one field becomes a column."""

    sql: str
    encode: Callable[[Any], SqlValue]
    decode: Callable[[Any], Any]


class Column(NamedTuple):
    """One field of one dataclass."""

    name: str
    codec: Codec
    default: Any
    """Value where a session was written before the field existed; `MISSING` if there is none."""


def plain(value: Any) -> Any:
    """Return `value` as JSON can hold it: dataclasses and mappings as objects, tuples as lists, enums by value."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    return value


def restore(hint: Any, value: Any) -> Any:
    """Turn what `plain` made back into the type that a dataclass declares.

    Args:
        hint: Type of the field, as `typing.get_type_hints` gives it.
        value: Parsed JSON.
    """
    kind = get_origin(hint)
    if kind in (Union, types.UnionType):
        inner = next(arg for arg in get_args(hint) if arg is not type(None))
        return None if value is None else restore(inner, value)
    if kind is tuple:
        args = get_args(hint)
        if len(args) == 2 and args[1] is Ellipsis:
            return tuple(restore(args[0], item) for item in value)
        return tuple(restore(arg, item) for arg, item in zip(args, value, strict=True))
    if isinstance(kind, type) and issubclass(kind, Mapping):
        return {key: restore(get_args(hint)[1], item) for key, item in value.items()}
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    if isinstance(hint, type) and dataclasses.is_dataclass(hint):
        hints = _hints(hint)
        return hint(**{key: restore(hints[key], item) for key, item in value.items()})
    return float(value) if hint is float else value


def encode_real(value: float | None) -> SqlValue:
    """A float64 for a REAL column. SQLite turns NaN into NULL and -0.0 into 0.0: those two go in as their bytes."""
    if value is None:
        return None
    if math.isnan(value) or (value == 0.0 and math.copysign(1.0, value) < 0):
        return struct.pack("<d", value)
    return float(value)


def decode_real(value: Any) -> Any:
    """What `encode_real` was given."""
    return float(struct.unpack("<d", value)[0]) if isinstance(value, bytes) else value


def _encode_reals(value: tuple[float, ...] | None) -> SqlValue:
    return None if value is None else np.asarray(value, dtype="<f8").tobytes()


def _decode_reals(value: bytes | None) -> tuple[float, ...] | None:
    return None if value is None else tuple(np.frombuffer(value, dtype="<f8").tolist())


def _codec(hint: Any) -> Codec:
    """Form of a column for a field's type: numbers and text as they are, float tuples as float64, the rest as JSON."""
    options = [arg for arg in get_args(hint) if arg is not type(None)]
    optional = get_origin(hint) in (Union, types.UnionType) and len(options) == 1
    inner = options[0] if optional else hint
    if inner is float:
        return Codec("REAL", encode_real, decode_real)
    if inner in (int, bool):
        return Codec(
            "INTEGER",
            lambda value: None if value is None else int(value),
            lambda value: None if value is None else inner(value),
        )
    if inner == tuple[float, ...]:
        return Codec("BLOB", _encode_reals, _decode_reals)
    if isinstance(inner, type) and issubclass(inner, (str, Enum)):
        return Codec(
            "TEXT",
            lambda value: None if value is None else str(plain(value)),
            lambda value: None if value is None else inner(value),
        )
    return Codec(
        "TEXT",
        lambda value: json.dumps(plain(value), separators=(",", ":")),
        lambda value: restore(hint, json.loads(value)),
    )


def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


_columns: Final[dict[type, tuple[Column, ...]]] = {}


def columns(cls: type) -> tuple[Column, ...]:
    """Columns of a dataclass, in the order of its fields."""
    if cls not in _columns:
        hints, made = _hints(cls), []
        for item in dataclasses.fields(cls):
            default = item.default if item.default_factory is MISSING else item.default_factory()
            made.append(Column(item.name, _codec(hints[item.name]), default))
        _columns[cls] = tuple(made)
    return _columns[cls]


def encode_row(record: Any) -> tuple[SqlValue, ...]:
    """Values of a dataclass's columns."""
    return tuple(column.codec.encode(getattr(record, column.name)) for column in columns(type(record)))


def _create(table: str, extra: str, cls: type) -> str:
    fields = ", ".join(f'"{column.name}" {column.codec.sql}' for column in columns(cls))
    return f'CREATE TABLE "{table}" (seq INTEGER PRIMARY KEY, {extra}{fields})'


def schema() -> tuple[str, ...]:
    """Statements that make an empty session database."""
    return (
        "CREATE TABLE meta (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID",
        "CREATE TABLE bundle (name TEXT PRIMARY KEY, version TEXT, spec TEXT, sha256 TEXT, path TEXT, rank INTEGER)",
        _create("stream", "at REAL, restated INTEGER, ", StreamInfo),
        # `stream` is the seq of the stream's latest announcement; `channels` is 0 where samples are one-dimensional.
        "CREATE TABLE chunk (seq INTEGER PRIMARY KEY, stream INTEGER REFERENCES stream(seq), first_index INTEGER, "
        "n INTEGER, channels INTEGER, t_first REAL, rate REAL, residuals BLOB, packing INTEGER, samples BLOB, "
        "arrival REAL, lost INTEGER, clock_offset REAL)",
        "CREATE INDEX chunk_stream ON chunk(stream)",
        _create("command", "", Command),
        _create("tick", "", Tick),
        _create("recording_gap", "", RecordingGap),
        *(_create(table, "external INTEGER, ", cls) for cls, table in EVENT_TABLES.items()),
    )


# -- stamps -----------------------------------------------------------------------------------------------------------

_RESIDUAL_TYPES: Final = ("<i1", "<i2", "<i4", "<i8")
_RAW_STAMPS: Final = b"f"


def _line(t_first: float, rate: float, n: int) -> FloatArray:
    """Ticks of n samples at `rate` Hz (inf: all at once) from `t_first`; float64, whole numbers."""
    return np.rint((t_first + np.arange(n) / rate) / STAMP_TICK)


@np.errstate(all="ignore")  # what overflows here does not survive the comparison, and is then kept raw
def encode_stamps(stamps: FloatArray, nominal_hz: float) -> tuple[float | None, float | None, bytes | None]:
    """Pack the stamps of one chunk without loss.

    Args:
        stamps: (n,) seconds.
        nominal_hz: The stream's rate, tried first; else the chunk's own mean rate gives the line.

    Returns:
        First stamp, rate of the line in Hz, and the residuals: None where every sample lies on the line.
    """
    n = len(stamps)
    if n == 0:
        return None, None, None
    first, last = float(stamps[0]), float(stamps[-1])
    own = (n - 1) / (last - first) if last > first else math.inf
    for rate in (nominal_hz if nominal_hz > 0 else math.inf, own):
        if math.isfinite(first) and _same(_line(first, rate, n) * STAMP_TICK, stamps):
            return first, rate, None
    residuals = (stamps / STAMP_TICK - _line(first, own, n)).astype("<i8")
    size = max(abs(int(residuals.min())), abs(int(residuals.max())))
    kind = next(code for code in _RESIDUAL_TYPES if size <= np.iinfo(code).max or code == _RESIDUAL_TYPES[-1])
    packed = kind[-1].encode() + zlib.compress(residuals.astype(kind).tobytes(), 6)
    if math.isfinite(first) and _same(decode_stamps(n, first, own, packed), stamps):
        return first, own, packed
    return None, None, _RAW_STAMPS + zlib.compress(stamps.astype("<f8").tobytes(), 6)


def decode_stamps(n: int, t_first: float | None, rate: float | None, residuals: bytes | None) -> FloatArray:
    """Unpack what `encode_stamps` made: (n,) seconds."""
    if n == 0:
        return np.empty(0, dtype=np.float64)
    if residuals is not None and residuals[:1] == _RAW_STAMPS:
        return np.frombuffer(zlib.decompress(residuals[1:]), dtype="<f8").astype(np.float64)
    if t_first is None or rate is None:
        raise ValueError("a chunk has samples but no first stamp")
    ticks = _line(t_first, rate, n)
    if residuals is not None:
        ticks = ticks + np.frombuffer(zlib.decompress(residuals[1:]), dtype="<i" + residuals[:1].decode())
    return ticks * STAMP_TICK


def _same(a: FloatArray, b: FloatArray) -> bool:
    """Equal bit for bit, which tells NaN and -0.0 apart too."""
    return a.tobytes() == np.ascontiguousarray(b).tobytes()


# -- samples ----------------------------------------------------------------------------------------------------------

_RAW, _PLANES = 0, 1
_WORTH = 7 / 8
"""Compression is kept where it saves an eighth: nothing for noise in small chunks, up to half for converter counts."""


def encode_samples(samples: Float32Array) -> tuple[int, bytes]:
    """Pack float32 samples: raw little-endian, or deflated byte planes where that pays; (packing, blob)."""
    raw = np.ascontiguousarray(samples, dtype="<f4").tobytes()
    # The same byte of neighbouring floats is alike, neighbouring bytes of one float are not: so plane by plane.
    planes = zlib.compress(np.frombuffer(raw, dtype=np.uint8).reshape(-1, 4).T.tobytes(), 1)
    return (_PLANES, planes) if len(planes) < _WORTH * len(raw) else (_RAW, raw)


def decode_samples(packing: int, blob: bytes, n: int, channels: int) -> Float32Array:
    """Unpack what `encode_samples` made: (n,), or (n, channels) where `channels` > 0."""
    if packing == _PLANES:
        blob = np.frombuffer(zlib.decompress(blob), dtype=np.uint8).reshape(4, -1).T.tobytes()
    samples = np.frombuffer(blob, dtype="<f4").astype(np.float32)
    return samples.reshape(n, channels) if channels else samples
