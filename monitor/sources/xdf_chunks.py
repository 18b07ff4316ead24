"""The chunks that an XDF file consists of: which of them are whole, and what the streams' headers say.

`pyxdf` decodes what is handed on here. It trusts the lengths and counts that it meets: of a file that was cut inside
the last sample it keeps that sample with bytes of the one before, a wrong count makes it read into the next chunk, and
one unreadable header loses the whole file. So a chunk passes only if it is whole and fits what its stream's header
says. Layout after the XDF 1.0 specification.
"""

from __future__ import annotations

import math
import struct
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from monitor.types import Provenance

MAGIC: Final = b"XDF:"

_BOUNDARY: Final = bytes.fromhex("43a546dccbf5410fb30ed5467383cbe4")
"""Content of a boundary chunk, which a writer leaves every few seconds to be found again after damage."""

_FILE_HEADER, _STREAM_HEADER, _SAMPLES, _CLOCK_OFFSET, _STREAM_FOOTER = 1, 2, 3, 4, 6

_ITEM_BYTES: Final = MappingProxyType(
    {"double64": 8, "float32": 4, "string": 0, "int32": 4, "int16": 2, "int8": 1, "int64": 8}
)
"""Bytes of one value by channel format; strings have a length of their own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamHeader:
    """What a stream says of itself."""

    number: int
    """Names the stream within the file."""
    name: str
    type: str
    source_id: str
    format: str
    channels: int
    rate_hz: float | None
    """Nominal; 0 where irregular, None where what it says is no rate."""
    labels: tuple[str, ...]
    """By channel; empty strings where the description does not name the channels one by one."""
    units: tuple[str | None, ...]
    provenance: Provenance | None
    """`<pain><provenance>`, which outlets of this monitor announce; None where nothing is announced."""

    @property
    def text(self) -> bool:
        """Whether the samples are strings."""
        return self.format == "string"


@dataclass(slots=True, kw_only=True)
class WholeChunks:
    """The readable part of a file."""

    data: bytes
    """A well-formed file with all whole chunks."""
    headers: dict[int, StreamHeader] = field(default_factory=dict)
    started: str = ""
    """Date and time in the file's header."""
    damaged: int = 0
    """Chunks that were left out, or stretches in which no chunk could be told."""
    cut: int = 0
    """Bytes of a last chunk that is not all there."""


def whole_chunks(data: bytes) -> WholeChunks:
    """Return the chunks of a file that are whole and fit the header of their stream.

    Args:
        data: The file, starting with `MAGIC`.
    """
    found = WholeChunks(data=b"")
    kept = [MAGIC]
    for start, content, end in _frames(data, found):
        if _is_sound(memoryview(data)[content:end], found):
            kept.append(data[start:end])
        else:
            found.damaged += 1
    found.data = b"".join(kept)
    return found


def _frames(data: bytes, found: WholeChunks) -> Iterator[tuple[int, int, int]]:
    """Yield (start of the chunk, start of its content, end) of each chunk; the content begins with the tag."""
    start = len(MAGIC)
    while start < len(data):
        content, length = _length(data, start)
        if 2 <= length <= len(data) - content:
            yield start, content, content + length
            start = content + length
            continue
        # A length that is none, or that leads beyond the end: go on after the next boundary, if there is one.
        boundary = data.find(_BOUNDARY, start)
        if boundary < 0:
            found.cut = len(data) - start
            return
        found.damaged += 1
        start = boundary + len(_BOUNDARY)


def _length(data: bytes | memoryview, start: int) -> tuple[int, int]:
    """Read a length of variable size; (position after it, value), with the value -1 where it is damaged."""
    size = data[start] if start < len(data) else 0
    after = start + 1 + size
    if size not in (1, 4, 8) or after > len(data):
        return start, -1
    return after, int.from_bytes(data[start + 1 : after], "little")


def _is_sound(content: memoryview, found: WholeChunks) -> bool:
    tag = int.from_bytes(content[:2], "little")
    if tag == _FILE_HEADER:
        root = _xml(content[2:])
        found.started = "" if root is None else (root.findtext("datetime") or "").strip()
        return root is not None
    if tag not in (_STREAM_HEADER, _SAMPLES, _CLOCK_OFFSET, _STREAM_FOOTER):
        return True  # a boundary, or what a later version of the format adds
    number = int.from_bytes(content[2:6], "little")
    if tag == _STREAM_HEADER:
        header = _stream_header(number, content[6:])
        if header is None or number in found.headers:
            return False
        found.headers[number] = header
        return True
    if number not in found.headers:
        return False
    if tag == _CLOCK_OFFSET:
        return len(content) == 22 and all(math.isfinite(value) for value in struct.unpack("<2d", content[6:]))
    if tag == _STREAM_FOOTER:
        root = _xml(content[6:])
        return root is not None and root.tag == "info" and (root.findtext("sample_count") or "0").strip().isdigit()
    return _samples_fit(content[6:], found.headers[number])


def _samples_fit(content: memoryview, header: StreamHeader) -> bool:
    """Whether the samples fill the chunk: one byte each, 8 more for each that has a stamp, and the values."""
    start, count = _length(content, 0)
    if count < 0:
        return False
    spare = len(content) - start - count * (1 + header.channels * max(_ITEM_BYTES[header.format], 1))
    if header.text:
        return spare >= 0
    return 0 <= spare <= 8 * count and spare % 8 == 0


def _stream_header(number: int, content: memoryview) -> StreamHeader | None:
    root = _xml(content)
    if root is None or root.tag != "info":
        return None

    def text(path: str) -> str:
        return (root.findtext(path) or "").strip()

    channels = int(text("channel_count")) if text("channel_count").isdigit() else 0
    try:
        rate_hz = float(text("nominal_srate"))
    except ValueError:
        return None
    if text("channel_format") not in _ITEM_BYTES or not 0 < channels < 1 << 16:
        return None
    nodes = root.findall("desc/channels/channel")
    if len(nodes) != channels:  # labels that do not belong to the channels one by one are worse than none
        nodes = []
    stated = text("desc/pain/provenance").lower()
    return StreamHeader(
        number=number,
        name=text("name") or f"stream {number}",
        type=text("type"),
        source_id=text("source_id"),
        format=text("channel_format"),
        channels=channels,
        rate_hz=rate_hz if math.isfinite(rate_hz) and rate_hz >= 0.0 else None,
        labels=tuple((node.findtext("label") or "").strip() for node in nodes) or ("",) * channels,
        units=tuple((node.findtext("unit") or "").strip() or None for node in nodes) or (None,) * channels,
        provenance=Provenance(stated) if stated in tuple(Provenance) else None,
    )


def _xml(content: memoryview) -> ET.Element | None:
    try:
        return ET.fromstring(bytes(content).decode("utf-8", errors="replace"))
    except (ET.ParseError, ValueError):
        return None
