"""Writes XDF files chunk by chunk after the XDF 1.0 specification, whole or broken on purpose."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from xml.sax.saxutils import escape

import numpy as np

BOUNDARY = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")
TYPES = {"double64": "<f8", "float32": "<f4", "int32": "<i4", "int16": "<i2", "int8": "<i1", "int64": "<i8"}


def chunk(tag: int, content: bytes) -> bytes:
    """One chunk, with the shortest length field that holds its length."""
    body = struct.pack("<H", tag) + content
    return length(len(body)) + body


def length(value: int) -> bytes:
    """An integer of variable size."""
    return struct.pack("<BB", 1, value) if value < 256 else struct.pack("<BI", 4, value)


def file_header(started: str = "2026-03-01T10:00:00+0100") -> bytes:
    """Magic and file header."""
    xml = f'<?xml version="1.0"?><info><version>1.0</version><datetime>{started}</datetime></info>'
    return b"XDF:" + chunk(1, xml.encode())


@dataclass(frozen=True, kw_only=True)
class XdfStream:
    """One stream of a file."""

    number: int
    name: str
    type: str = ""
    format: str = "float32"
    rate_hz: float = 0.0
    labels: Sequence[str] = ("",)
    units: Sequence[str] = ("",)
    provenance: str = ""

    def header(self) -> bytes:
        """Its header chunk."""
        channels = "".join(
            f"<channel><label>{escape(label)}</label><unit>{escape(unit)}</unit></channel>"
            for label, unit in zip(self.labels, self.units, strict=True)
        )
        pain = f"<pain><provenance>{self.provenance}</provenance></pain>" if self.provenance else ""
        xml = (
            f'<?xml version="1.0"?><info><name>{escape(self.name)}</name><type>{escape(self.type)}</type>'
            f"<channel_count>{len(self.labels)}</channel_count><nominal_srate>{self.rate_hz!r}</nominal_srate>"
            f"<channel_format>{self.format}</channel_format><source_id>id-{self.number}</source_id>"
            f"<desc><channels>{channels}</channels>{pain}</desc></info>"
        )
        return chunk(2, struct.pack("<I", self.number) + xml.encode())

    def samples(self, stamps: Sequence[float | None], values: Sequence[Sequence[object]] | np.ndarray) -> bytes:
        """A chunk of samples; a stamp of None is one period after the one before."""
        body = b""
        for stamp, row in zip(stamps, values, strict=True):
            body += b"\0" if stamp is None else struct.pack("<Bd", 8, stamp)
            if self.format == "string":
                body += b"".join(length(len(str(value).encode())) + str(value).encode() for value in row)
            else:
                body += np.asarray(row).astype(TYPES[self.format]).tobytes()
        return chunk(3, struct.pack("<I", self.number) + length(len(stamps)) + body)

    def clock_offset(self, at: float, value: float) -> bytes:
        """A measurement: add `value` to the stream's stamps around `at` to be on the recorder's clock."""
        return chunk(4, struct.pack("<Idd", self.number, at, value))

    def footer(self, count: int) -> bytes:
        """Its footer chunk."""
        return chunk(6, struct.pack("<I", self.number) + f"<info><sample_count>{count}</sample_count></info>".encode())


def boundary() -> bytes:
    """A boundary chunk."""
    return chunk(5, BOUNDARY)
