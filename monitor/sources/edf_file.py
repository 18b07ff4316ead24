"""EDF and EDF+ files, `.edf`, also inside `.bz2` and `.gz`.

A file is a header in fixed columns of text and data records of 16-bit numbers, each with the same span of every signal.
Every signal keeps its own rate, its unit, and as its type the transducer that the header names. Where the header's
ranges make no scale, the samples stay raw counts.

In EDF+ each record says when it begins. A record that does not begin where the one before ended begins after a gap, in
a file that calls itself continuous as well. Annotations become markers; a duration is written behind the text. The
recording's zero is the start of the first record.

A file that was cut short keeps every whole record. Who the patient is stands in the header too, and is not read; the
start is a local time without a zone and is left alone. Layout: Kemp et al. 1992 (EDF), Kemp and Olivan 2003 (EDF+).
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from monitor.errors import SourceError
from monitor.sources.base import Candidate, Recording, Signal
from monitor.sources.compressed import read_bytes
from monitor.sources.units import COUNTS, canonical_unit
from monitor.types import FloatArray, Provenance

SUFFIX: Final = ".edf"

_HEADER: Final = 256
"""Bytes of the fixed part of the header, and of the part of each signal."""

_FIELDS: Final = (
    ("label", 16),
    ("transducer", 80),
    ("unit", 8),
    ("physical_min", 8),
    ("physical_max", 8),
    ("digital_min", 8),
    ("digital_max", 8),
    ("prefilter", 80),
    ("samples", 8),
    ("reserved", 32),
)
"""Fields of the signals in order: first the labels of all signals, then the transducers of all, and so on."""

_ANNOTATIONS: Final = "EDF Annotations"

_ONSET: Final = re.compile(rb"([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?")
"""Beginning of a time-stamped annotation list (TAL): onset, and after 0x15 a duration, in seconds."""

_ON_TIME_S: Final = 0.01
"""A record that begins less than this off the end of the one before follows it: writers round its time."""

_Digital: TypeAlias = NDArray[np.int16]


@dataclass(frozen=True, slots=True, kw_only=True)
class _SignalHeader:
    label: str
    transducer: str
    unit: str
    physical_min: float
    physical_max: float
    digital_min: float
    digital_max: float
    first: int
    """Index of its first number within a record."""
    samples: int
    """Numbers within a record."""

    @property
    def scaled(self) -> bool:
        """Whether the ranges give a scale."""
        ends = (self.physical_min, self.physical_max, self.digital_min, self.digital_max)
        return (
            all(math.isfinite(end) for end in ends)
            and self.physical_min != self.physical_max
            and self.digital_min != self.digital_max
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Header:
    plus: str
    """`C` for EDF+C, `D` for EDF+D, else empty."""
    records: int
    """As stated; -1 where the file was not closed."""
    record_s: float
    signals: tuple[_SignalHeader, ...]
    annotations: tuple[_SignalHeader, ...]
    size: int
    """Bytes."""
    width: int
    """Numbers in a record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Annotation:
    onset: float
    duration: float
    texts: tuple[str, ...]


def read_edf(path: Path) -> Recording:
    """Read a file.

    Raises:
        SourceError: If it cannot be read, is no EDF file, or holds no whole record of a signal.
    """
    data, fault = read_bytes(path)
    notes = [fault] if fault else []
    header = _read_header(data, where=str(path))
    digital = _records(data, header, notes, where=str(path))
    onsets, annotations = _read_annotations(digital, header, notes)
    runs = _runs(onsets, header, notes, where=str(path))
    zero = onsets[runs[0][0]] if len(onsets) else 0.0
    return Recording(
        path=path,
        format="edf",
        signals=tuple(
            _signal(header, number, digital, onsets=onsets - zero, runs=runs, notes=notes)
            for number in range(len(header.signals))
        ),
        markers=tuple(sorted((found.onset - zero, text) for found in annotations for text in _texts(found))),
        notes=tuple(notes),
    )


# -- the header --------------------------------------------------------------------------------------------------------


def _read_header(data: bytes, *, where: str) -> _Header:
    if data.startswith(b"\xffBIOSEMI"):
        raise SourceError("is a BDF file, which has 24-bit samples", where=where, todo="Convert it to EDF+")
    if not data.startswith(b"0 "):
        raise SourceError("is not an EDF file", where=where, todo="An EDF file starts with '0' and seven spaces")
    try:
        count = int(data[252:256])
        if count < 1 or len(data) < _HEADER * (count + 1) or int(data[184:192]) != _HEADER * (count + 1):
            raise ValueError("its size is not that of its signals")
        fields = _signal_fields(data, count)
        sizes = [int(text) for text in fields["samples"]]
        if min(sizes) < 0 or sum(sizes) == 0:
            raise ValueError("a record holds no samples")
        records, record_s = int(data[236:244]), _number(data[244:252].decode("latin-1"))
    except ValueError as error:
        raise SourceError(
            f"its EDF header is cut short or damaged ({error})", where=where, todo="Fetch the file again"
        ) from error
    signals = [
        _SignalHeader(
            label=fields["label"][index],
            transducer=fields["transducer"][index],
            unit=fields["unit"][index],
            physical_min=_number(fields["physical_min"][index]),
            physical_max=_number(fields["physical_max"][index]),
            digital_min=_number(fields["digital_min"][index]),
            digital_max=_number(fields["digital_max"][index]),
            first=sum(sizes[:index]),
            samples=sizes[index],
        )
        for index in range(count)
    ]
    kind = data[192:197].decode("latin-1")
    return _Header(
        plus=kind[4] if kind in ("EDF+C", "EDF+D") else "",
        records=records,
        record_s=record_s,
        signals=tuple(signal for signal in signals if signal.label != _ANNOTATIONS and signal.samples),
        annotations=tuple(signal for signal in signals if signal.label == _ANNOTATIONS and signal.samples),
        size=_HEADER * (count + 1),
        width=sum(sizes),
    )


def _signal_fields(data: bytes, count: int) -> dict[str, list[str]]:
    fields: dict[str, list[str]] = {}
    start = _HEADER
    for name, width in _FIELDS:
        cells = [data[start + index * width : start + (index + 1) * width] for index in range(count)]
        # The standard asks for ASCII; a micro sign is in many files nevertheless, in Latin-1.
        fields[name] = [cell.decode("latin-1").strip(" \0") for cell in cells]
        start += width * count
    return fields


def _number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return math.nan


# -- the records -------------------------------------------------------------------------------------------------------


def _records(data: bytes, header: _Header, notes: list[str], *, where: str) -> _Digital:
    """Return the whole records, (records, numbers in a record)."""
    if not header.signals:
        raise SourceError("holds annotations and no signal", where=where, todo="Name the file with the signals")
    count, rest = divmod(len(data) - header.size, 2 * header.width)
    if count == 0:
        raise SourceError("holds a header and no whole record", where=where, todo="Fetch the file again")
    if header.records < 0:
        notes.append(f"the file was never closed by its recorder: its {count} whole record(s) are used")
    elif count < header.records:
        notes.append(f"the file ends early: {count} of {header.records} records are there and used")
    elif count > header.records or rest:
        # A recorder that crashed left its last count in the header; what it wrote after that is as good.
        notes.append(f"the header states {header.records} record(s), the file holds {count}: all are used")
    numbers = np.frombuffer(data, dtype="<i2", count=count * header.width, offset=header.size)
    return numbers.astype(np.int16, copy=False).reshape(count, header.width)


def _read_annotations(
    digital: _Digital, header: _Header, notes: list[str]
) -> tuple[FloatArray, tuple[_Annotation, ...]]:
    """Return when each record begins, NaN where it does not say so, and all annotations.

    Both in seconds from the start in the header. There is no time of a record in plain EDF: then (0,).
    """
    if not header.annotations:
        return np.empty(0), ()
    onsets = np.full(len(digital), np.nan)
    found: list[_Annotation] = []
    damaged = 0
    for place, signal in enumerate(header.annotations):
        # Annotations are text in the place of samples.
        block = np.ascontiguousarray(digital[:, signal.first : signal.first + signal.samples])
        for record, numbers in enumerate(block):
            for position, annotation in enumerate(_lists(numbers.tobytes())):
                if annotation is None:
                    damaged += 1
                    continue
                texts = annotation.texts
                if place == 0 and position == 0 and texts[:1] == ("",):
                    onsets[record] = annotation.onset  # the first list of a record, with no text, keeps the time
                found.append(annotation)
    if damaged:
        notes.append(f"{damaged} annotation(s) cannot be read and are left out")
    return onsets, tuple(found)


def _lists(raw: bytes) -> Iterator[_Annotation | None]:
    """Read the time-stamped annotation lists of one record; None for one that is damaged."""
    for entry in raw.split(b"\0"):
        if not entry:
            continue
        head, *texts = entry.split(b"\x14")
        match = _ONSET.fullmatch(head)
        if match is None or not texts or texts[-1]:  # each text ends with 0x14, so that nothing follows the last
            yield None
            continue
        yield _Annotation(
            onset=float(match[1]),
            duration=float(match[2] or 0.0),
            texts=tuple(text.decode("utf-8", errors="replace") for text in texts[:-1]),
        )


def _texts(annotation: _Annotation) -> Iterator[str]:
    span = f" ({annotation.duration:g} s)" if annotation.duration else ""
    return (text.strip() + span for text in annotation.texts if text.strip())


def _runs(onsets: FloatArray, header: _Header, notes: list[str], *, where: str) -> list[tuple[int, int]]:
    """Return the stretches of records [first, end) that follow each other without a gap.

    A record without a readable time follows the one before in EDF+C; in EDF+D nobody knows where it belongs, and it
    is left out.
    """
    if not len(onsets):
        return [(0, -1)]
    placed = np.isfinite(onsets)
    if header.plus == "D":
        if not placed.any():
            raise SourceError("is discontinuous, and no record says when it began", where=where, todo="Fetch it again")
        if not placed.all():
            notes.append(f"{np.count_nonzero(~placed)} record(s) do not say when they began and are left out")
    elif not placed[0]:
        onsets[0] = 0.0 if not placed.any() else onsets[placed][0] - np.flatnonzero(placed)[0] * header.record_s
    runs: list[tuple[int, int]] = []
    for record in range(len(onsets)):
        if header.plus == "D" and not placed[record]:
            continue
        if runs and runs[-1][1] == record:
            first = runs[-1][0]
            expected = onsets[first] + (record - first) * header.record_s
            if not placed[record] or abs(onsets[record] - expected) < _ON_TIME_S:
                runs[-1] = (first, record + 1)
                continue
        runs.append((record, record + 1))
    if len(runs) > 1:
        notes.append(
            f"{len(runs) - 1} gap(s) between records" + ("" if header.plus == "D" else ", in a file said to have none")
        )
    return runs


def _signal(
    header: _Header,
    number: int,
    digital: _Digital,
    *,
    onsets: FloatArray,
    runs: Sequence[tuple[int, int]],
    notes: list[str],
) -> Signal:
    """Return one signal in its physical unit, with stamps where the records have gaps."""
    signal = header.signals[number]
    name = signal.label or f"signal {number + 1}"
    block = digital[:, signal.first : signal.first + signal.samples]
    rate_hz = signal.samples / header.record_s if header.record_s > 0.0 else 0.0
    usable = 0.0 < rate_hz < math.inf
    stamps = None
    if usable and (len(runs) > 1 or runs[0] not in ((0, -1), (0, len(digital)))):
        block = np.concatenate([block[first:end] for first, end in runs])
        stamps = np.concatenate(
            [onsets[first] + np.arange((end - first) * signal.samples) / rate_hz for first, end in runs]
        )
        stamps.flags.writeable = False
    values = block.ravel().astype(np.float64)
    unit = (canonical_unit(signal.unit) or signal.unit) if signal.unit else None
    if signal.scaled:
        gain = (signal.physical_max - signal.physical_min) / (signal.digital_max - signal.digital_min)
        values = (values - signal.digital_min) * gain + signal.physical_min
    else:
        notes.append(f"'{name}': its ranges make no scale, so its samples are raw counts")
        unit = COUNTS
    with np.errstate(over="ignore"):  # beyond float32 is infinite: the quality gate refuses it
        samples = values.astype(np.float32)
    samples.flags.writeable = False
    twin = sum(other.label == signal.label for other in header.signals[:number])
    return Signal(
        candidate=Candidate(
            key=f"edf:{name}" + (f"#{twin + 1}" if twin else ""),
            name=name,
            type=signal.transducer,
            channel=name,
            channel_index=number,
            unit=unit,
            rate_hz=rate_hz if usable else None,
            source="edf",
            provenance=Provenance.REPLAY,
        ),
        samples=samples,
        t_first=float(stamps[0]) if stamps is not None else 0.0,
        stamps=stamps,
    )
