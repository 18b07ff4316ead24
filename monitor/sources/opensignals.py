"""OpenSignals text (PLUX biosignalsplux, BITalino), `.txt`, also inside `.bz2` and `.gz`.

The second line is a JSON object a device: sensors, resolution of the converters, sampling rate, names of the columns.
The samples are raw counts. Where the header names device and sensor, and `transfer` knows both, a channel comes with
its transfer function and the rails of its converter; otherwise its unit stays `counts`, or none where the file says
that it was converted already. Several devices stand side by side in each row.

A device numbers its samples (`nSeq`, which wraps around): a jump is a loss, and becomes a gap in the stamps. A loss of
a whole number of turns (16 samples of a BITalino) cannot be seen. The times in a header are local times without a zone
and are left alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from monitor.errors import SourceError
from monitor.sources.base import Candidate, Recording, Signal
from monitor.sources.compressed import read_bytes, read_head
from monitor.sources.delimited import complete_lines, split_cells, to_numbers
from monitor.sources.transfer import transfer_of
from monitor.sources.units import COUNTS
from monitor.types import FloatArray, Provenance

_MAGIC: Final = b"# OpenSignals"
_END: Final = b"# EndOfHeader"
_COUNTER: Final = "nSeq"
_UNNAMED: Final = "RAW"
"""Sensor of a channel whose sensor nobody chose."""

_TRANSFERS: Final = MappingProxyType(
    # "channeller" is the biosignalsplux hub by its older name.
    {"biosignalsplux": "biosignalsplux", "channeller": "biosignalsplux", "bitalino_rev": "bitalino_rev"}
)

_SENSORS: Final = MappingProxyType(
    {"ECG": "ECG", "EMG": "EMG", "EDA": "EDA", "BVP": "BVP", "RESP": "RESP", "RESPIRATION": "RESP", "PZT": "RESP"}
)
"""Sensors by the modality that they measure. `fSpO2` is missing: it gives red and infra-red light, not a saturation."""

_MOST_JUMPS: Final = 0.5
"""A column that does not go up by one in more than this share of its steps does not count samples."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Column:
    """One column of the rows, as the header states it."""

    label: str
    sensor: str = ""
    device: str = ""
    bits: int | None = None
    converted: bool = False
    counter: bool = False

    @property
    def analogue(self) -> bool:
        return bool(self.sensor)


def is_opensignals(path: Path) -> bool:
    """Whether a text file starts as OpenSignals writes it.

    Raises:
        SourceError: If the file cannot be read at all.
    """
    return read_head(path, 64).removeprefix(b"\xef\xbb\xbf").startswith(_MAGIC)


def read_opensignals(path: Path) -> Recording:
    """Read a file; of one that was cut short, every whole line before the cut.

    Raises:
        SourceError: If the header or all samples are missing, or the header does not fit the rows.
    """
    data, fault = read_bytes(path)
    notes = [fault] if fault else []
    text, whole = complete_lines(data)
    if not whole:
        notes.append("the file does not end with a whole line: its last line is left out")
    columns, rate_hz = _read_header(text, where=str(path))
    body = text.partition(_END)[2].partition(b"\n")[2]
    # Each row ends with a tab that separates nothing.
    cells = split_cells(body.replace(b"\t\n", b"\n"), delimiter=b"\t", columns=len(columns))
    if not body.strip() or cells.rows == 0:
        raise SourceError("holds a header and no whole row of samples", where=str(path), todo="Fetch it again")
    if len(cells.malformed) == cells.rows:
        raise SourceError(
            f"its header names {len(columns)} columns ({', '.join(c.label for c in columns)}), its rows have others",
            where=str(path),
            todo="Export it again from OpenSignals, or delete the lines that start with # and replay it as plain text",
        )
    if cells.malformed:
        notes.append(
            f"{len(cells.malformed)} row(s) with a wrong number of cells, the first after {cells.malformed[0]} good "
            f"ones: kept as missing values, {len(columns)} cells were expected"
        )
    values: dict[int, FloatArray] = {}
    for index, column in enumerate(columns):
        values[index], unreadable = to_numbers(cells.column(index))
        if unreadable:
            notes.append(f"column '{column.label}': {unreadable} cell(s) hold no number and count as missing")
    stamps = _stamps(columns, values, rate_hz=rate_hz, notes=notes)
    return Recording(
        path=path,
        format="opensignals",
        signals=tuple(
            _signal(columns, index, values[index], rate_hz=rate_hz, stamps=stamps)
            for index, column in enumerate(columns)
            if not column.counter
        ),
        notes=tuple(notes),
    )


def _read_header(text: bytes, *, where: str) -> tuple[tuple[_Column, ...], float]:
    """Return the columns of all devices, side by side, and their common sampling rate."""
    head, end, _ = text.partition(_END)
    lines = [line[1:].strip() for line in head.decode("utf-8", errors="replace").split("\n") if line.startswith("#")]
    stated = next((line for line in lines if line.startswith("{")), "")
    damaged = SourceError("its OpenSignals header is cut short or damaged", where=where, todo="Fetch the file again")
    if not end:
        raise damaged
    try:
        devices = json.loads(stated)
        columns = [column for device in devices.values() for column in _columns(device)]
        rates = {float(device["sampling rate"]) for device in devices.values()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise damaged from error
    if len(rates) > 1:
        raise SourceError(
            f"its devices state different sampling rates ({', '.join(f'{rate:g}' for rate in sorted(rates))} Hz), so "
            "that a row has no one time",
            where=where,
            todo="Export each device by itself",
        )
    rate_hz = next(iter(rates), 0.0)
    if not 0.0 < rate_hz < float("inf") or not columns:
        raise damaged
    return tuple(columns), rate_hz


def _columns(device: Mapping[str, Any]) -> list[_Column]:
    labels = [str(label) for label in device["column"]]
    sensors = [str(sensor) for sensor in device["sensor"]][: len(labels)]
    resolution = [int(bits) for bits in device["resolution"]] if "resolution" in device else []
    # Sensors are the last columns, in order; resolutions are given for these alone or for all columns.
    first = len(labels) - len(sensors)
    columns = [_Column(label=label, counter=label == _COUNTER) for label in labels[:first]]
    for number, sensor in enumerate(sensors):
        back = len(sensors) - number
        bits = resolution[-back] if back <= len(resolution) else 0
        columns.append(
            _Column(
                label=labels[first + number],
                sensor=sensor or _UNNAMED,
                device=str(device.get("device", "")),
                bits=bits if 0 < bits <= 24 else None,
                converted=bool(device.get("convertedValues", 0)),
            )
        )
    return columns


def _signal(
    columns: Sequence[_Column], index: int, values: FloatArray, *, rate_hz: float, stamps: FloatArray | None
) -> Signal:
    column = columns[index]
    twin = any(other.label == column.label for other in columns[:index])
    key = f"opensignals:{column.label}" + (f"#{index}" if twin else "")
    modality, transfer = None, None
    if column.analogue:
        sensor = column.sensor.upper()
        modality = _SENSORS.get(sensor.removesuffix("REV").removesuffix("BIT"))
        device = _TRANSFERS.get(column.device)
        # An EDABIT is the sensor of the first BITalino, whose transfer function is not that of the EDABITREV.
        if modality and device and column.bits and not column.converted and not sensor.endswith("BIT"):
            transfer = transfer_of(device, modality, bits=column.bits)
    with np.errstate(over="ignore"):  # beyond float32 is infinite: the quality gate refuses it
        samples = values.astype(np.float32)
    samples.flags.writeable = False
    return Signal(
        candidate=Candidate(
            key=key,
            name=_name(columns, column),
            channel=column.label,
            channel_index=index,
            unit=COUNTS if column.analogue and not column.converted else None,
            rate_hz=rate_hz,
            source="opensignals",
            provenance=Provenance.REPLAY,
            modality=modality,
            gain=transfer.gain if transfer else None,
            offset=transfer.offset if transfer else 0.0,
            rails=transfer.rails if transfer else None,
        ),
        samples=samples,
        t_first=0.0,
        stamps=stamps,
    )


def _name(columns: Sequence[_Column], column: _Column) -> str:
    """The sensor, with the column where several channels have it; the column where the sensor was not named."""
    if not column.analogue or column.sensor.upper() == _UNNAMED:
        return column.label
    alone = sum(other.sensor == column.sensor for other in columns) == 1
    return column.sensor if alone else f"{column.sensor} {column.label}"


def _stamps(
    columns: Sequence[_Column], values: Mapping[int, FloatArray], *, rate_hz: float, notes: list[str]
) -> FloatArray | None:
    """Return a time for every row where the devices' counters show that rows are missing, else None."""
    lost = np.zeros(len(values[0]) - 1, dtype=np.int64)
    for index, column in enumerate(columns):
        if column.counter:
            found = _lost_rows(values[index])
            if found is None:
                notes.append(f"column '{column.label}' does not count samples: losses, if any, are not known")
            else:
                # Devices side by side lose rows together or not at all; the larger loss is the time that passed.
                lost = np.maximum(lost, found)
    if not lost.any():
        return None
    notes.append(
        f"the device lost {int(lost.sum())} sample(s) in {np.count_nonzero(lost)} place(s), by its own count: gaps"
    )
    numbers = np.arange(len(lost) + 1) + np.concatenate([[0], np.cumsum(lost)])
    return np.asarray(numbers / rate_hz, dtype=np.float64)


def _lost_rows(counter: FloatArray) -> np.ndarray[tuple[int, ...], np.dtype[np.int64]] | None:
    """Return how many samples are missing before each row but the first, or None where the column is no counter.

    Args:
        counter: (n,) numbers that devices give their samples; NaN where a row is damaged.
    """
    lost = np.zeros(len(counter) - 1, dtype=np.int64)
    known = np.flatnonzero(np.isfinite(counter) & (np.abs(counter) < 2.0**31))
    if len(known) < 2:
        return lost
    numbers = counter[known].astype(np.int64)
    # It turns over at a power of two, 16 for a BITalino: the smallest one that was never reached.
    turn = 1 << max(4, int(numbers.max()).bit_length())
    missing = (np.diff(numbers) - np.diff(known)) % turn
    if turn > 1 << 8:
        # A step back, or a count that began anew: of a counter this long, nobody loses half a turn.
        missing[missing > turn // 2] = 0
    if np.count_nonzero(np.diff(numbers) % turn != np.diff(known) % turn) > _MOST_JUMPS * len(missing):
        return None
    lost[known[1:] - 1] = missing
    return lost
