"""Cells of delimited text to columns of numbers, vectorised where the text is clean and forgiving where it is not."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from monitor.types import FloatArray

_MISSING = frozenset({b"", b"na", b"n/a", b"null", b"none", b"-", b"nan", b"#n/a"})


def complete_lines(data: bytes) -> tuple[bytes, bool]:
    r"""Return the text up to its last line end, with `\n` ends and without a byte order mark, and whether it was whole.

    A last line without an end is left out: a number cut short (`1.2` of `1.25`) cannot be told from a whole one.
    """
    text = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    end = text.rfind(b"\n") + 1
    return text[:end], not text[end:].strip()


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """A rectangle of text cells, row after row."""

    flat: Sequence[bytes]
    columns: int
    malformed: tuple[int, ...]
    """Rows (from 0) with a wrong number of cells; all their cells are empty, so that time does not shift."""

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.flat) // self.columns

    def column(self, index: int) -> Sequence[bytes]:
        """Text of one column."""
        return self.flat[index :: self.columns]


def split_cells(body: bytes, *, delimiter: bytes, columns: int) -> Cells:
    r"""Split lines that end in `\n` into cells; blank lines between rows of several columns are no rows."""
    if columns == 1:
        return Cells(flat=[line.strip() for line in body.rstrip().split(b"\n")], columns=1, malformed=())
    if b'"' not in body:
        text = np.frombuffer(body, dtype=np.uint8)
        ends = np.flatnonzero(text == ord("\n"))
        delimiters = np.flatnonzero(text == ord(delimiter))
        per_line = np.diff(np.searchsorted(delimiters, ends), prepend=0)
        if np.all(per_line == columns - 1):
            flat = body[:-1].replace(b"\n", delimiter).split(delimiter) if body else []
            return Cells(flat=flat, columns=columns, malformed=())
    return _split_with_care(body, delimiter=delimiter, columns=columns)


def _split_with_care(body: bytes, *, delimiter: bytes, columns: int) -> Cells:
    flat: list[bytes] = []
    malformed: list[int] = []
    # NUL would end the csv module's patience; in latin-1 every other byte is a character, so nothing is lost.
    text = body.replace(b"\0", b"").decode("latin-1")
    for row, line in enumerate(line for line in text.split("\n") if line.strip()):
        try:
            cells = next(csv.reader(io.StringIO(line), delimiter=delimiter.decode()))
        except csv.Error:  # a cell beyond the module's limit of 128 KiB: no number
            cells = []
        if len(cells) != columns:
            malformed.append(row)
            cells = [""] * columns
        flat.extend(cell.encode("latin-1") for cell in cells)
    return Cells(flat=flat, columns=columns, malformed=tuple(malformed))


def to_numbers(cells: Sequence[bytes], *, decimal_comma: bool = False) -> tuple[FloatArray, int]:
    """Convert cells to float64; missing ones (empty, NA, null, ...) and unreadable ones become NaN.

    Returns:
        (n,) values, and how many cells hold text that is neither a number nor a known mark for a missing one.
    """
    if decimal_comma:
        cells = [cell.replace(b",", b".") for cell in cells]
    try:
        return np.array(list(map(float, cells)), dtype=np.float64), 0
    except ValueError:
        pass  # some cell is empty or text: convert them one by one
    unreadable = 0
    values = np.full(len(cells), np.nan)
    for index, cell in enumerate(cells):
        if not cell:
            continue
        try:
            values[index] = float(cell)
        except ValueError:
            unreadable += cell.strip().lower() not in _MISSING
    return values, unreadable
