"""Delimited text: `.csv` and `.txt`, also inside `.bz2` and `.gz`.

The delimiter is a tab, `;` or `,`; with `;` or a tab the decimal sign may be a comma. A first line of names is optional
(columns are called `column 1`, ... without one), and a name may carry a unit: `EDA (uS)`, `ECG [mV]`. Leading lines
with `#` may state rate, units and names: the Simple Text Format of BioSPPy is understood (OpenSignals text has a
reader of its own). Times follow from a time column (see `time_column`), else from the stated rate, else the rate stays
open.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from monitor.errors import SourceError
from monitor.sources.base import Candidate, Recording, Signal
from monitor.sources.compressed import read_bytes
from monitor.sources.delimited import Cells, complete_lines, split_cells, to_numbers
from monitor.sources.time_column import TimeColumn, find_time_column, read_time_column
from monitor.sources.units import COUNTS, canonical_unit
from monitor.types import FloatArray, Provenance

SUFFIXES: Final = (".csv", ".txt", ".tsv")

_UNIT_IN_NAME: Final = re.compile(r"^(?P<name>.*\S)\s*[(\[](?P<unit>[^()\[\]]+)[)\]]\s*$")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Preamble:
    """What leading `#` lines state."""

    names: tuple[str, ...] = ()
    units: tuple[str, ...] = ()
    rate_hz: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    names: tuple[str, ...]
    delimiter: str
    body: bytes
    decimal_comma: bool
    preamble: _Preamble


def read_csv(path: Path) -> Recording:
    """Read a delimited text file.

    Columns that hold no number are left out, and noted; empty cells are NaN. In a file that was cut short everything
    before the cut is used, except a last line without an end.

    Raises:
        SourceError: If the file cannot be read or holds no column of numbers.
    """
    data, fault = read_bytes(path)
    notes = [fault] if fault else []
    if b"\0" in data[:4096]:
        raise SourceError("is not a text file", where=str(path), todo=f"Formats by suffix: {', '.join(SUFFIXES)}")
    text, whole = complete_lines(data)
    if not whole:
        notes.append("the file does not end with a whole line: its last line is left out")
    if not text.strip():
        raise SourceError(
            "holds no whole line" + "".join(f"; {note}" for note in notes),
            where=str(path),
            todo="Fetch it again" if fault else "Expected a line of names and one line a sample",
        )
    layout = _layout(text, where=str(path))
    cells = split_cells(layout.body, delimiter=layout.delimiter.encode(), columns=len(layout.names))
    if cells.malformed:
        notes.append(
            f"{len(cells.malformed)} row(s) with a wrong number of cells, the first after {cells.malformed[0]} good "
            f"ones: kept as missing values, {len(layout.names)} cells were expected"
        )
    time_index = find_time_column(layout.names)
    times: TimeColumn | None = None
    if time_index is not None:
        times, note = read_time_column(
            layout.names[time_index], cells.column(time_index), decimal_comma=layout.decimal_comma
        )
        notes += [note] if note else []
    signals = _signals(layout, cells, times=times, time_index=time_index, notes=notes)
    if not signals:
        raise SourceError(
            "no column of numbers with at least one sample" + "".join(f"; {note}" for note in notes),
            where=str(path),
            todo="Expected: a line of names, then one line a sample, cells separated by a tab, ; or ,",
        )
    return Recording(
        path=path,
        format="csv",
        signals=signals,
        utc_start=times.utc_start if times else 0.0,
        notes=tuple(notes),
    )


def _layout(text: bytes, *, where: str) -> _Layout:
    comments, rest = _split_preamble(text)
    preamble = _read_preamble(comments)
    sample = _decode(rest[: 1 << 16]).split("\n")[:-1][:50] if len(rest) > 1 << 16 else _decode(rest).split("\n")[:50]
    lines = [line for line in sample if line.strip()]
    if not lines:
        raise SourceError("holds no samples", where=where, todo="Expected a line of names and one line a sample")
    delimiter, columns = _sniff(lines, expected=len(preamble.names))
    first = next(csv.reader([lines[0]], delimiter=delimiter))
    decimal_comma = delimiter != "," and b"," in rest
    numeric, unreadable = to_numbers([cell.strip().encode() for cell in first], decimal_comma=decimal_comma)
    names: Sequence[str]
    if unreadable or np.all(np.isnan(numeric)):
        names = [name.strip() for name in first]
        body = rest.lstrip(b"\n").partition(b"\n")[2]
    else:
        names, body = preamble.names, rest.lstrip(b"\n")
    following = lines[1:]
    if following and all(line.count(delimiter) == columns and line.endswith(delimiter) for line in following):
        # Every row ends with a delimiter that separates nothing.
        body = body.replace(delimiter.encode() + b"\n", b"\n")
        columns = max(columns, 1)
    if len(names) != columns:
        names = [*names, *(f"column {index + 1}" for index in range(len(names), columns))][:columns]
    named = [name or f"column {index + 1}" for index, name in enumerate(names)]
    return _Layout(names=tuple(named), delimiter=delimiter, body=body, decimal_comma=decimal_comma, preamble=preamble)


def _decode(text: bytes) -> str:
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError:
        return text.decode("latin-1")  # a micro sign saved by an older program, or a character cut by our sampling


def _split_preamble(text: bytes) -> tuple[list[str], bytes]:
    comments = []
    while text.startswith(b"#"):
        line, _, text = text.partition(b"\n")
        comments.append(_decode(line).lstrip("# ").strip())
    return comments, text


def _read_preamble(comments: Sequence[str]) -> _Preamble:
    stated: dict[str, str] = {}
    for line in comments:
        key, separator, value = line.partition(":=")
        if separator:
            stated[key.strip().casefold()] = value.strip()
    names = tuple(stated["labels"].split("\t")) if "labels" in stated else ()
    units = tuple(stated["units"].split("\t")) if "units" in stated else ()
    if not units and _positive(stated.get("resolution")):
        # A converter's resolution and no unit: the format's way to say raw counts.
        units = (COUNTS,)
    return _Preamble(
        names=names,
        units=units * len(names) if len(units) == 1 else units,
        rate_hz=_positive(stated.get("sampling rate (hz)")),
    )


def _positive(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if 0.0 < value < float("inf") else None


def _sniff(lines: Sequence[str], *, expected: int) -> tuple[str, int]:
    """Return the delimiter and the number of columns: the first delimiter that the lines agree on."""
    for delimiter in ("\t", ";", ","):
        counts = [line.count(delimiter) for line in lines]
        usual = max(set(counts[1:] or counts), key=(counts[1:] or counts).count)
        if counts[0] == 0 and usual == 0:
            continue
        if len(lines) > 1 and counts[0] == 0 and delimiter == ",":
            continue  # one name above `0,5`: a decimal comma, not two columns
        if expected and usual in (expected - 1, expected):
            return delimiter, expected
        if '"' in lines[0]:
            return delimiter, len(next(csv.reader([lines[0]], delimiter=delimiter)))
        return delimiter, counts[0] + 1
    return ",", 1


def _signals(
    layout: _Layout,
    cells: Cells,
    *,
    times: TimeColumn | None,
    time_index: int | None,
    notes: list[str],
) -> tuple[Signal, ...]:
    keep = np.isfinite(times.stamps) if times else None
    if keep is not None and not keep.all():
        notes.append(f"{np.count_nonzero(~keep)} row(s) without a readable time are left out")
    signals: list[Signal] = []
    seen: dict[str, int] = {}
    for index, header in enumerate(layout.names):
        if index == time_index:
            continue
        values, unreadable = to_numbers(cells.column(index), decimal_comma=layout.decimal_comma)
        if keep is not None:
            values = values[keep]
        if not np.any(np.isfinite(values)):
            notes.append(f"column '{header}' holds {'text' if unreadable else 'no value'}: left out")
            continue
        if unreadable:
            notes.append(f"column '{header}': {unreadable} cell(s) hold no number and count as missing")
        name, unit = _name_and_unit(header)
        stated = layout.preamble.units[index] if index < len(layout.preamble.units) else ""
        seen[name] = seen.get(name, 0) + 1
        signals.append(
            Signal(
                candidate=Candidate(
                    key=f"csv:{name}" + (f"#{seen[name]}" if seen[name] > 1 else ""),
                    name=name,
                    channel=name,
                    channel_index=index,
                    unit=unit or canonical_unit(stated) or stated or None,
                    rate_hz=times.rate_hz if times else layout.preamble.rate_hz,
                    rate_measured=times is not None,
                    source="csv",
                    provenance=Provenance.REPLAY,
                ),
                samples=_float32(values),
                t_first=float(times.stamps[keep][0]) if times else 0.0,
                stamps=times.stamps[keep] if times else None,
            )
        )
    return tuple(signals)


def _name_and_unit(header: str) -> tuple[str, str | None]:
    """Split `EDA (uS)`; what stands in brackets and is no unit belongs to the name."""
    found = _UNIT_IN_NAME.match(header)
    unit = canonical_unit(found["unit"]) if found else None
    return (found["name"], unit) if found and unit else (header, None)


def _float32(values: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.float32]]:
    with np.errstate(over="ignore"):  # beyond float32 is infinite: the quality gate refuses it
        samples = values.astype(np.float32)
    samples.flags.writeable = False
    return samples
