"""A strict reader of the one shape of CBOR (RFC 8949) that signal packets have: a flat map with text keys.

cbor2 is not used to read packets from a network: it hides whether a number was sent in 32 or in 64 bits, and a
32-bit time stamp (resolution 128 s in 2026) has to be refused. This reader knows no nesting, no indefinite lengths
and no references, so that a packet can neither make it recurse nor allocate more than its own length.
"""

from __future__ import annotations

import struct
from typing import Final, TypeAlias

FLOAT32_ARRAY_TAG: Final = 85
"""RFC 8746: a typed array of 32-bit floats, little-endian. Allowed before `x`, and not needed."""

_SIZES: Final = {24: 1, 25: 2, 26: 4, 27: 8}
_FLOATS: Final = {25: "!e", 26: "!f", 27: "!d"}
_CONSTANTS: Final = {20: False, 21: True, 22: None}


class CborError(ValueError):
    """The bytes are not a flat CBOR map."""


class ShortFloat(float):
    """A number that was sent as a float of 16 or 32 bits."""


Item: TypeAlias = int | float | str | bytes | bool | None


def read_map(payload: bytes) -> dict[str, Item]:
    """Return the map that the payload holds, and nothing else.

    Args:
        payload: One CBOR map of definite length; keys are texts, values numbers, texts, byte strings, true, false or
            null.

    Raises:
        CborError: If it is anything else, is cut short, names a key twice, or goes on behind its end.
    """
    reader = _Reader(payload)
    major, count = reader.head()
    if major != 5:
        raise CborError("it is not a map")
    found: dict[str, Item] = {}
    for _ in range(count):  # a count that lies runs into the end of the payload
        key = reader.item()
        if not isinstance(key, str):
            raise CborError(f"the key {key!r} is not a text")
        if key in found:
            raise CborError(f"the key '{key}' comes twice")
        found[key] = reader.item()
    if reader.position != len(payload):
        raise CborError(f"{len(payload) - reader.position} bytes follow the end of the map")
    return found


class _Reader:
    def __init__(self, payload: bytes) -> None:
        self._payload = payload
        self.position = 0

    def head(self) -> tuple[int, int]:
        """Major type and argument of the next item."""
        major, argument, _ = self._head()
        return major, argument

    def item(self) -> Item:
        major, argument, info = self._head()
        if major == 6:
            major, argument, info = self._tagged(argument)
        match major:
            case 0:
                return argument
            case 1:
                return -1 - argument
            case 2:
                return self._take(argument)
            case 3:
                try:
                    return self._take(argument).decode("utf-8")
                except UnicodeDecodeError:
                    raise CborError("a text is not UTF-8") from None
            case 7 if info in _FLOATS:
                (value,) = struct.unpack(_FLOATS[info], argument.to_bytes(_SIZES[info], "big"))
                return float(value) if info == 27 else ShortFloat(value)
            case 7 if info in _CONSTANTS:
                return _CONSTANTS[info]
            case _:
                raise CborError(f"a value of CBOR type {major} has no place in a packet")

    def _tagged(self, tag: int) -> tuple[int, int, int]:
        head = self._head()
        if tag != FLOAT32_ARRAY_TAG or head[0] != 2:
            raise CborError(f"tag {tag} has no place in a packet")
        return head

    def _head(self) -> tuple[int, int, int]:
        (first,) = self._take(1)
        major, info = first >> 5, first & 0x1F
        if info < 24:
            return major, info, info
        if info not in _SIZES:
            raise CborError("items of indefinite length have no place in a packet")
        return major, int.from_bytes(self._take(_SIZES[info]), "big"), info

    def _take(self, count: int) -> bytes:
        end = self.position + count
        if end > len(self._payload):
            raise CborError(f"it is cut short after {len(self._payload)} bytes")
        taken = self._payload[self.position : end]
        self.position = end
        return taken
