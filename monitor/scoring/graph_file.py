"""Which other files an ONNX graph reads its weights from, without the onnx package.

A graph may name any path, and ONNX Runtime has not always refused one outside the graph's folder. So whoever opens a
graph asks here first. Only the part of the protobuf encoding that can hold a tensor is read; weights are skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# Message -> field number -> message: every way from a ModelProto to a TensorProto and its external_data (onnx.proto).
_PARTS: Final[dict[str, dict[int, str]]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
    "tensor": {13: "entry"},
}
_KEY, _VALUE = 1, 2


def external_locations(graph: bytes) -> frozenset[str]:
    """Every file that a graph says it takes weights from, as it is written there; empty where it holds its own.

    Args:
        graph: Content of an .onnx file.

    Raises:
        ValueError: If it is not in the protobuf encoding.
    """
    found: set[str] = set()
    waiting = [("model", memoryview(graph))]
    while waiting:
        kind, message = waiting.pop()
        if kind == "entry":
            # An entry that repeats its key or value is read in every way that it could be meant.
            entry = [(number, bytes(value)) for number, value in _fields(message)]
            if (_KEY, b"location") in entry:
                values = [value for number, value in entry if number == _VALUE] or [b""]
                found.update(value.decode("utf-8", errors="replace") for value in values)
            continue
        parts = _PARTS[kind]
        waiting += [(parts[number], value) for number, value in _fields(message) if number in parts]
    return frozenset(found)


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Number and content of every length-delimited field."""
    position, end = 0, len(message)
    while position < end:
        tag, position = _varint(message, position)
        wire = tag & 7
        if wire == _VARINT:
            _, position = _varint(message, position)
        elif wire == _BYTES:
            size, position = _varint(message, position)
            if position + size > end:
                raise ValueError("it ends within a field")
            yield tag >> 3, message[position : position + size]
            position += size
        elif wire in (_FIXED64, _FIXED32):
            position += 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"it has a field of kind {wire}, which ONNX does not use")
    if position > end:
        raise ValueError("it ends within a field")


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    value = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("it ends within a number")
