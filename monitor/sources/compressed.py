"""The bytes of a plain, .bz2, .gz or .xdfz file, as far as they can be had: one cut short gives what came before."""

from __future__ import annotations

import bz2
import zlib
from pathlib import Path
from typing import Final, Protocol

from monitor.errors import SourceError

SUFFIXES: Final = (".bz2", ".gz")

_PACKED: Final = (*SUFFIXES, ".xdfz")
"""`.xdfz` is the usual name of a gzipped XDF file."""


class _Decompressor(Protocol):
    @property
    def eof(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, /) -> bytes: ...


def inner_suffix(path: Path) -> str:
    """Suffix of the file inside: `.csv` for `a.csv.bz2`, in lower case."""
    return (Path(path.stem) if path.suffix.lower() in SUFFIXES else path).suffix.lower()


def inner_stem(path: Path) -> str:
    """Name without suffixes: `EDA` for `EDA.csv.bz2`."""
    return (Path(path.stem) if path.suffix.lower() in SUFFIXES else path).stem


def read_bytes(path: Path) -> tuple[bytes, str]:
    """Read a file whole, decompressing by its suffix.

    Returns:
        The bytes, and a note where the compressed stream ends early or is damaged (empty otherwise).

    Raises:
        SourceError: If the file cannot be read at all.
    """
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    return _unpack(raw, path.suffix.lower())


def read_head(path: Path, count: int) -> bytes:
    """Return the first `count` bytes of what is inside, or as many of them as the file's first MiB holds.

    Raises:
        SourceError: If the file cannot be read at all.
    """
    try:
        with path.open("rb") as file:
            raw = file.read(1 << 20)
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", where=str(path)) from error
    return _unpack(raw, path.suffix.lower())[0][:count]


def _unpack(raw: bytes, suffix: str) -> tuple[bytes, str]:
    if suffix not in _PACKED:
        return raw, ""
    blocks: list[bytes] = []
    fault = ""
    while raw and not fault:
        # Both formats may hold several streams one after the other; each has a decompressor of its own.
        decompressor: _Decompressor = bz2.BZ2Decompressor() if suffix == ".bz2" else zlib.decompressobj(wbits=31)
        # Fed in pieces, so that what lies before damage has come out by the time that the damage is met.
        for start in range(0, len(raw), 1 << 16):
            try:
                blocks.append(decompressor.decompress(raw[start : start + (1 << 16)]))
            except (OSError, ValueError, zlib.error):
                fault = "is damaged"
                break
            if decompressor.eof:
                raw = decompressor.unused_data + raw[start + (1 << 16) :]
                break
        else:
            fault = "ends early"
    data = b"".join(blocks)
    return data, f"the compressed file {fault}: used the {len(data)} bytes that come before" if fault else ""
