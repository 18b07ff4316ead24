"""WFDB records (PhysioNet): a header `.hea` and its signal files, read through the optional package `wfdb`.

Every signal keeps its own rate (a frame may hold several samples of it). A signal whose header states no unit has none:
the package would call it mV, so the header is read here a second time. The times in a header are local times without a
zone and are left alone.
"""

from __future__ import annotations

import importlib
import math
from fractions import Fraction
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from monitor.errors import SourceError
from monitor.sources.base import Candidate, Recording, Signal
from monitor.sources.units import canonical_unit
from monitor.types import Provenance

_BYTES_A_SAMPLE: Final = MappingProxyType(
    {
        "8": Fraction(1),
        "80": Fraction(1),
        "16": Fraction(2),
        "61": Fraction(2),
        "160": Fraction(2),
        "212": Fraction(3, 2),
        "310": Fraction(4, 3),
        "311": Fraction(4, 3),
        "24": Fraction(3),
        "32": Fraction(4),
    }
)


def read_wfdb(path: Path) -> Recording:
    """Read a record.

    Args:
        path: The header, a signal file beside it, or the record's name without suffix.

    Raises:
        SourceError: If the package is missing, or the record cannot be read or holds nothing.
    """
    header = path.with_name(_record_name(path) + ".hea")
    try:
        package: Any = importlib.import_module("wfdb")
    except ImportError as error:
        raise SourceError(
            "reading WFDB records needs the package 'wfdb'", where=str(path), todo="pip install 'pain-monitor[wfdb]'"
        ) from error
    lines = _header_lines(header)
    notes: list[str] = []
    frames = _whole_frames(header, lines, notes)
    if frames == 0:
        raise SourceError("holds no samples", where=str(header), todo="Its signal file is empty: fetch it again")
    try:
        record = package.rdrecord(str(header.with_suffix("")), smooth_frames=False, sampto=frames)
    except FileNotFoundError as error:
        raise SourceError(
            f"a signal file is missing: {Path(str(error.filename)).name}",
            where=str(header),
            todo="Put the .dat files beside the .hea file",
        ) from error
    except Exception as error:  # the package raises bare and varied exceptions for damage
        raise SourceError(f"not a readable WFDB record: {error}", where=str(header)) from error
    if not record.e_p_signal:
        raise SourceError("holds no signals", where=str(header))
    units = _stated_units(lines, count=len(record.e_p_signal))
    signals = []
    seen: dict[str, int] = {}
    for index, values in enumerate(record.e_p_signal):
        name = str(record.sig_name[index] or f"signal {index}")
        seen[name] = seen.get(name, 0) + 1
        samples = np.asarray(values, dtype=np.float64).astype(np.float32)
        samples.flags.writeable = False
        signals.append(
            Signal(
                candidate=Candidate(
                    key=f"wfdb:{name}" + (f"#{seen[name]}" if seen[name] > 1 else ""),
                    name=name,
                    channel=name,
                    channel_index=index,
                    unit=units[index],
                    rate_hz=float(record.fs) * int(record.samps_per_frame[index]),
                    source="wfdb",
                    provenance=Provenance.REPLAY,
                ),
                samples=samples,
                t_first=0.0,
            )
        )
    return Recording(path=header, format="wfdb", signals=tuple(signals), notes=tuple(notes))


def _record_name(path: Path) -> str:
    return path.stem if path.suffix.lower() in (".hea", ".dat") else path.name


def _header_lines(header: Path) -> list[list[str]]:
    """Fields of the record line and of each signal line."""
    try:
        text = header.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise SourceError(
            f"the header cannot be read: {error.strerror or error}",
            where=str(header),
            todo="A WFDB record is a .hea file with its .dat files beside it",
        ) from error
    lines = [line.split() for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    if not lines or len(lines[0]) < 2:
        raise SourceError("the header has no record line", where=str(header), todo="Fetch the .hea file again")
    return lines


def _whole_frames(header: Path, lines: list[list[str]], notes: list[str]) -> int | None:
    """Return how many frames to read: None for all, fewer where a signal file was cut short."""
    record = lines[0]
    count = _number(record[1])
    if count is None or "/" in record[0] or len(lines) - 1 < count:
        if count is not None and "/" not in record[0]:
            raise SourceError(f"the header announces {count} signals and describes {len(lines) - 1}", where=str(header))
        return None  # several segments, each with a header of its own
    stated = _number(record[3]) if len(record) > 3 else None
    frame_bytes: dict[str, Fraction] = {}
    for signal in lines[1 : count + 1]:
        size = _BYTES_A_SAMPLE.get(signal[1].split("x")[0].split(":")[0].split("+")[0]) if len(signal) > 1 else None
        if size is None or "+" in signal[1]:
            return None
        samples = signal[1].partition("x")[2].split(":")[0]
        frame_bytes[signal[0]] = frame_bytes.get(signal[0], Fraction(0)) + size * (_number(samples) or 1)
    frames = math.inf
    for name, size in frame_bytes.items():
        file = header.with_name(Path(name).name)
        if file.exists():
            frames = min(frames, int(file.stat().st_size / size))
    if stated is None or frames == math.inf or frames >= stated:
        return None if frames > 0 else 0
    notes.append(f"the signal file ends early: {int(frames)} of {stated} frames are there and used")
    return int(frames)


def _stated_units(lines: list[list[str]], *, count: int) -> list[str | None]:
    """Return the unit that each signal line states after the `/` of its gain field, None where it states none."""
    units: list[str | None] = []
    for index in range(count):
        fields = lines[index + 1] if len(lines) > index + 1 and "/" not in lines[0][0] else []
        text = fields[2].partition("/")[2] if len(fields) > 2 else ""
        units.append((canonical_unit(text) or text) if text else None)
    return units


def _number(text: str) -> int | None:
    return int(text) if text.isdigit() else None
