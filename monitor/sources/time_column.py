"""The time column of a delimited file: found by name, read by its stated unit, never by guesswork.

A unit is stated by the name (`time_ms`, `Time (s)`, `seconds`, `timestamp [us]`); dates in ISO 8601 need none. A column
that names no unit is taken as seconds only where nothing else is possible, that is where it advances by less than half
a unit a row (in milliseconds that would be a rate above 2 kHz); otherwise it is not used, and a note says how to name
it. The file's first readable time is the recording's zero.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import Final

import numpy as np

from monitor.sources.delimited import to_numbers
from monitor.types import FloatArray

_SECONDS: Final = MappingProxyType(
    {
        **dict.fromkeys(("s", "sec", "secs", "second", "seconds"), 1.0),
        **dict.fromkeys(("ms", "msec", "msecs", "millis", "millisecond", "milliseconds"), 1e-3),
        **dict.fromkeys(("us", "\u00b5s", "\u03bcs", "usec", "usecs", "micros", "microsecond", "microseconds"), 1e-6),
        **dict.fromkeys(("ns", "nsec", "nanos", "nanosecond", "nanoseconds"), 1e-9),
    }
)
_TIME_WORDS: Final = frozenset({"time", "times", "timer", "timestamp", "timestamps", "datetime", "ts", "unixtime"})
_LONG_UNITS: Final = frozenset(word for word in _SECONDS if len(word) > 2)

_EPOCH_S: Final = 1e9
"""Seconds above this count from 1970 (2001 and later); a device that has run for 31 years is not expected."""

_AMBIGUOUS_STEP: Final = 0.5
_RATE_SPAN: Final = 256


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TimeColumn:
    """The times of all rows."""

    stamps: FloatArray
    """(rows,) seconds from the first readable one; NaN where a cell is not readable."""
    utc_start: float
    """UTC of the recording's zero; 0 where the file does not state it."""
    rate_hz: float
    """Estimated from the stamps, robust against gaps and jitter."""


def find_time_column(names: Sequence[str]) -> int | None:
    """Return the index of the first column whose name says that it holds times."""
    for index, name in enumerate(names):
        words = _words(name)
        plain = [word for word in words if word not in _SECONDS]
        if (
            any(word in _TIME_WORDS for word in words)
            or plain == ["t"]
            or (len(words) == 1 and words[0] in _LONG_UNITS)
        ):
            return index
    return None


def read_time_column(name: str, cells: Sequence[bytes], *, decimal_comma: bool) -> tuple[TimeColumn | None, str]:
    """Read a time column.

    Args:
        name: The column's name, which may state a unit.
        cells: (rows,) text.
        decimal_comma: The decimal sign is a comma.

    Returns:
        The times, or None where they cannot be used; and a note for the reader, empty where nothing was assumed.
    """
    values, unreadable = to_numbers(cells, decimal_comma=decimal_comma)
    if unreadable > len(cells) // 2:
        return _dates(name, cells)
    unit = next((word for word in _words(name) if word in _SECONDS), None)
    seconds = values * _SECONDS[unit] if unit else values
    step = _step(seconds)
    if step is None:
        return None, f"column '{name}' looks like a time but does not advance: not used"
    note = ""
    if unit is None:
        if step >= _AMBIGUOUS_STEP:
            return None, (
                f"column '{name}' looks like a time and advances by {step:.4g} a row, but states no unit: not used. "
                f"Call it '{name}_s', '{name}_ms' or '{name}_us', or state the sampling rate with --rate"
            )
        note = f"column '{name}' states no unit and is read as seconds"
    first = float(seconds[np.isfinite(seconds)][0])
    times = TimeColumn(
        stamps=seconds - first,
        utc_start=first if first > _EPOCH_S else 0.0,
        rate_hz=_round_rate(1.0 / step),
    )
    return times, note


def _words(name: str) -> list[str]:
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)
    return [word for word in re.split(r"[^a-z\u00b5\u03bc]+", spaced.casefold().replace("\u03bc", "\u00b5")) if word]


def _dates(name: str, cells: Sequence[bytes]) -> tuple[TimeColumn | None, str]:
    stamps = np.full(len(cells), np.nan)
    zero: datetime | None = None
    for index, cell in enumerate(cells):
        try:
            date = datetime.fromisoformat(cell.decode("latin-1").strip().strip('"'))
            zero = zero or date
            stamps[index] = (date - zero).total_seconds()
        except (ValueError, TypeError):
            continue  # no date, or one with a time zone among others without
    step = _step(stamps)
    if step is None or zero is None:
        return None, f"column '{name}' looks like a time but holds no ISO 8601 dates that advance: not used"
    # A date without a time zone is local time somewhere: good for differences, not for UTC.
    utc = zero.timestamp() if zero.tzinfo else 0.0
    return TimeColumn(stamps=stamps, utc_start=utc, rate_hz=_round_rate(1.0 / step)), ""


def _step(stamps: FloatArray) -> float | None:
    """Median advance a row over spans of many rows, so that neither quantised stamps nor gaps bias it."""
    finite = stamps[np.isfinite(stamps)]
    if len(finite) < 2:
        return None
    span = min(_RATE_SPAN, max(1, len(finite) // 4))
    step = float(np.median(finite[span:] - finite[:-span])) / span
    return step if step > 0.0 else None


def _round_rate(rate_hz: float) -> float:
    """Drop the digits that only the decimal stamps brought in (99.99999998 for 100)."""
    return float(f"{rate_hz:.7g}")
