"""Export folders of the Empatica E4 wristband: one file a sensor, `.csv`, also inside `.bz2` and `.gz`.

The first line of a file is the UTC of its first sample, the second its sampling rate, both once a column. EDA is in uS,
TEMP in degC, HR in beats a minute; BVP is in the device's own arbitrary unit. ACC counts 1/64 g on three axes and
becomes one signal, the magnitude in g, which is what shows movement. IBI lists beats, not samples, and is left out.
`tags*.csv` holds the UTC of every press of the button: they become markers. Files that start at different times keep
their distance; the recording's zero is the earliest start.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from monitor.errors import SourceError
from monitor.sources.base import Candidate, Recording, Signal
from monitor.sources.compressed import SUFFIXES, inner_stem, inner_suffix, read_bytes
from monitor.sources.delimited import complete_lines, split_cells, to_numbers
from monitor.sources.units import ARBITRARY
from monitor.types import Float32Array, FloatArray, Provenance

_UNITS: Final = MappingProxyType({"EDA": "uS", "BVP": ARBITRARY, "TEMP": "degC", "ACC": "g", "HR": "bpm"})
_COUNTS_PER_G: Final = 64.0
_EPOCH_S: Final = 1e9
"""A first line above this is a time in UTC (2001 and later); nothing that a sensor measures is."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sensor:
    name: str
    utc_start: float
    rate_hz: float
    samples: Float32Array


def is_e4_file(path: Path) -> bool:
    """Whether a file is one of an E4 export: it has such a name and starts with a UTC and a rate."""
    if inner_stem(path) not in _UNITS or inner_suffix(path) != ".csv":
        return False
    try:
        body, _ = complete_lines(read_bytes(path)[0])
        head, _ = to_numbers(body.split(b"\n", 2)[0].split(b","))
    except SourceError:
        return False
    return bool(head.size and head[0] > _EPOCH_S)


def find_e4_files(folder: Path) -> dict[str, Path]:
    """Return the files of an E4 export by sensor; a plain file goes before a compressed one of the same name."""
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir(), key=lambda path: (path.suffix.lower() in SUFFIXES, path.name)):
        if path.is_file() and inner_stem(path) not in found and is_e4_file(path):
            found[inner_stem(path)] = path
    return dict(sorted(found.items()))


def read_e4(folder: Path) -> Recording:
    """Read an export folder.

    Raises:
        SourceError: If the folder holds no sensor file with samples.
    """
    files = find_e4_files(folder)
    notes = [
        f"{path.name} does not start with a UTC and a rate: left out"
        for path in sorted(folder.iterdir())
        if inner_stem(path) in _UNITS and inner_suffix(path) == ".csv" and inner_stem(path) not in files
    ]
    sensors = [sensor for name, path in files.items() if (sensor := _read_sensor(name, path, notes)) is not None]
    if not sensors:
        raise SourceError(
            "no file of an Empatica E4 export with samples" + "".join(f"; {note}" for note in notes),
            where=str(folder),
            todo="Expected EDA.csv, BVP.csv, ...: UTC of the first sample, sampling rate, then one line a sample",
        )
    zero = min(sensor.utc_start for sensor in sensors)
    end = max(sensor.utc_start + len(sensor.samples) / sensor.rate_hz for sensor in sensors)
    signals = tuple(
        Signal(
            candidate=Candidate(
                key=f"e4:{sensor.name}",
                name=sensor.name,
                channel=sensor.name,
                channel_index=index,
                unit=_UNITS[sensor.name],
                rate_hz=sensor.rate_hz,
                source="e4",
                provenance=Provenance.REPLAY,
            ),
            samples=sensor.samples,
            t_first=sensor.utc_start - zero,
        )
        for index, sensor in enumerate(sensors)
    )
    return Recording(
        path=folder,
        format="e4",
        signals=signals,
        utc_start=zero,
        markers=_read_tags(folder, zero=zero, end=end, notes=notes),
        notes=tuple(notes),
    )


def _read_sensor(name: str, path: Path, notes: list[str]) -> _Sensor | None:
    rows = _read_rows(path, notes)
    if rows is None:
        return None
    rate_hz = float(rows[1, 0]) if len(rows) > 1 else float("nan")
    if len(rows) < 3 or not 0.0 < rate_hz < float("inf"):
        notes.append(f"{path.name} holds no rate or no sample: left out")
        return None
    if name == "ACC" and rows.shape[1] != 3:
        notes.append(f"{path.name} has {rows.shape[1]} columns instead of 3: left out")
        return None
    values = np.sqrt(np.sum(np.square(rows[2:]), axis=1)) / _COUNTS_PER_G if name == "ACC" else rows[2:, 0]
    with np.errstate(over="ignore"):  # beyond float32 is infinite: the quality gate refuses it
        samples = values.astype(np.float32)
    samples.flags.writeable = False
    return _Sensor(name=name, utc_start=float(rows[0, 0]), rate_hz=rate_hz, samples=samples)


def _read_rows(path: Path, notes: list[str]) -> FloatArray | None:
    """Return the numbers of a file as (lines, columns), or None where it has no whole line; what is odd is noted."""
    data, fault = read_bytes(path)
    body, whole = complete_lines(data)
    if fault:
        notes.append(f"{path.name}: {fault}")
    if not whole:
        notes.append(f"{path.name} does not end with a whole line: its last line is left out")
    if not body.strip():
        return None
    columns = body.split(b"\n", 1)[0].count(b",") + 1
    cells = split_cells(body, delimiter=b",", columns=columns)
    values, unreadable = to_numbers(cells.flat)
    if unreadable or cells.malformed:
        notes.append(f"{path.name}: {unreadable + len(cells.malformed)} line(s) hold no number and count as missing")
    return values.reshape(-1, columns)


def _read_tags(folder: Path, *, zero: float, end: float, notes: list[str]) -> tuple[tuple[float, str], ...]:
    markers: list[tuple[float, str]] = []
    for path in sorted(folder.iterdir()):
        if not (inner_stem(path).startswith("tags") and inner_suffix(path) == ".csv"):
            continue
        rows = _read_rows(path, notes)
        if rows is None:
            continue
        times = rows[np.isfinite(rows[:, 0]), 0]
        inside = (times >= zero) & (times <= end)
        if not inside.all():
            notes.append(f"{path.name}: {np.count_nonzero(~inside)} tag(s) outside of the recording are left out")
        markers += [(float(time) - zero, "tag") for time in times[inside]]
    return tuple(sorted(markers))
