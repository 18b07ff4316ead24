"""Delimited text of research data: exact about its form, and in every complaint the file and the line.

Unlike the monitor's reader of recordings, which forgives what it can, this one refuses: a data set that was half
copied or edited by hand must not be trained on unseen. A file is read in blocks, so that an hour at 512 Hz costs the
memory of its numbers and not that of its text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final

import numpy as np
from numpy.typing import NDArray

from monitor.errors import SourceError

FloatArray = NDArray[np.float64]

_BLOCK: Final = 1 << 22
_MISSING: Final = frozenset({b"", b"na", b"nan", b"n/a", b"null", b"none", b"-", b"#n/a"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Table:
    """Columns of one file."""

    names: tuple[str, ...]
    """All names of the first line, in order."""
    columns: Mapping[str, FloatArray]
    """(rows,) of those that were asked for; NaN where a cell is empty."""
    rows: int
    whole: bool
    """Whether the last line has its end; without one its last number may be cut short."""


def read_names(path: Path, *, delimiter: str) -> tuple[str, ...]:
    """Names in the first line, without blanks, quotes or a byte order mark.

    Raises:
        SourceError: If the file cannot be read or is empty.
    """
    try:
        with path.open("rb") as file:
            line = file.readline()
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    return _names(line, delimiter, path)


def read_table(
    path: Path, wanted: Sequence[str] | None = None, *, delimiter: str, decimal_comma: bool = False
) -> Table:
    """Read columns of numbers.

    Args:
        path: Text with a line of names first.
        wanted: Names of columns; None for all.
        delimiter: Between cells.
        decimal_comma: Numbers are written `1,5`.

    Raises:
        SourceError: If the file cannot be read, a column is missing or named twice, a row has too many or too few
            cells, or a cell holds no number; it names file and line.
    """
    try:
        with path.open("rb") as file:
            names = _names(file.readline(), delimiter, path)
            chosen = list(names if wanted is None else wanted)
            indices = [_index(name, names, path) for name in chosen]
            parts: list[list[FloatArray]] = [[] for _ in chosen]
            rows, line, ended = 0, 2, True
            for block, ended in _blocks(file):  # noqa: B007 - what the last block says is used below
                cells, count = _cells(block, delimiter, len(names), path, line)
                for part, index in zip(parts, indices, strict=True):
                    column = cells[index :: len(names)]
                    part.append(_numbers(column, decimal_comma, path, line, names[index]))
                rows += count
                line += count
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    if not rows:
        raise SourceError("holds no row of numbers", where=str(path), todo="Copy it again")
    columns = {name: np.concatenate(part) for name, part in zip(chosen, parts, strict=True)}
    return Table(names=names, columns=columns, rows=rows, whole=ended)


def _blocks(file: BinaryIO) -> Iterator[tuple[bytes, bool]]:
    r"""Whole lines with `\n` ends, and whether the last of them had one in the file."""
    rest = b""
    while block := file.read(_BLOCK):
        text = rest + block
        end = text.rfind(b"\n") + 1
        rest = text[end:]
        if end:
            yield text[:end].replace(b"\r\n", b"\n"), True
    if rest.strip():
        yield rest.rstrip(b"\r") + b"\n", False


def _names(line: bytes, delimiter: str, path: Path) -> tuple[str, ...]:
    text = line.decode("utf-8-sig", errors="replace").strip("\r\n")
    if not text.strip():
        raise SourceError("is empty", where=str(path), todo="Copy it again")
    return tuple(cell.strip().strip("\"'").strip() for cell in text.split(delimiter))


def _shown(text: str) -> str:
    """Fit to be told, whatever a damaged file holds."""
    printable = "".join(c if c.isprintable() else "?" for c in text[:40])
    return printable + ("..." if len(text) > 40 else "")


def _index(name: str, names: Sequence[str], path: Path) -> int:
    found = [index for index, other in enumerate(names) if other == name]
    if len(found) != 1:
        what = f"column '{name}' is there {len(found)} times" if found else f"there is no column '{name}'"
        raise SourceError(what, where=f"{path}, line 1", todo=f"Its columns are {', '.join(map(_shown, names[:16]))}")
    return found[0]


def _cells(block: bytes, delimiter: str, columns: int, path: Path, line: int) -> tuple[list[bytes], int]:
    """All cells of some lines, one after the other, and how many lines."""
    mark = delimiter.encode()
    if b'"' in block:
        block = block.replace(b'"', b"")
    while block.endswith(b"\n\n"):  # blank lines at the end are no rows
        block = block[:-1]
    if block == b"\n":
        return [], 0
    text = np.frombuffer(block, dtype=np.uint8)
    ends = np.flatnonzero(text == ord("\n"))
    per_line = np.diff(np.searchsorted(np.flatnonzero(text == ord(mark)), ends), prepend=0) + 1
    wrong = np.flatnonzero(per_line != columns)
    if wrong.size:
        first = int(wrong[0])
        raise SourceError(
            f"{per_line[first]} cells instead of {columns}" + (f", and {wrong.size - 1} more rows" * (wrong.size > 1)),
            where=f"{path}, line {line + first}",
            todo="The file was cut short or edited: copy it again",
        )
    return block[:-1].replace(b"\n", mark).split(mark), len(ends)


def _numbers(cells: Sequence[bytes], decimal_comma: bool, path: Path, line: int, name: str) -> FloatArray:
    if decimal_comma:
        cells = b"\n".join(cells).replace(b",", b".").split(b"\n") if cells else cells
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells], dtype=np.float64)
    except ValueError:
        pass
    values = np.full(len(cells), np.nan)
    for row, cell in enumerate(cells):
        try:
            values[row] = float(cell) if cell.strip() else np.nan
        except ValueError:
            if cell.strip().lower() not in _MISSING:
                raise SourceError(
                    f"'{_shown(cell.decode('utf-8', errors='replace'))}' in column '{_shown(name)}' is no number",
                    where=f"{path}, line {line + row}",
                    todo="Copy it again",
                ) from None
    return values
