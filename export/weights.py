"""The weights of a bundle's graphs: in one file that both read, each once, in half precision where that loses nothing.

A weight is rounded in the torch module (`rounded`), before anything is exported or compared. `share` then stores as
float16 what float16 holds exactly, so what the graphs compute does not depend on how their weights lie on disk.
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Mapping
from typing import Final, Literal, TypeAlias

import numpy as np
import onnx
import torch
from onnx import numpy_helper
from onnx.external_data_helper import set_external_data

from models.base import PainModel
from monitor.bundle_folder import WEIGHTS_BIN

Stored: TypeAlias = Literal["float32", "float16"]

INLINE_BYTES: Final = 256
"""Smaller tensors stay in the graph: shapes and scalars, which ONNX Runtime wants at hand."""
HALF_VALUES: Final = 512
"""Smaller tensors stay float32, as do all of one axis (biases, norms, running statistics): they are no size."""
_ALIGN: Final = 64


def is_halved(shape: tuple[int, ...]) -> bool:
    """Whether a tensor of this shape is kept in half precision where a bundle's weights are."""
    return len(shape) >= 2 and int(np.prod(shape)) >= HALF_VALUES


def rounded(model: PainModel) -> PainModel:
    """A copy whose large tensors hold values of half precision, in evaluation mode; it still computes in float32.

    Raises:
        ValueError: If a value is beyond half precision's 65504, with the tensor's name.
    """
    result = copy.deepcopy(model)
    with torch.no_grad():
        for name, value in result.state_dict().items():
            if not value.is_floating_point() or not is_halved(tuple(value.shape)):
                continue
            half = value.to(torch.float16)
            if not torch.isfinite(half).all():
                greatest = float(value.abs().max())
                raise ValueError(f"{name} holds {greatest:.4g}, beyond the 65504 of half precision: store float32")
            value.copy_(half.to(value.dtype))
    # Modules that work out tables from their weights do so as they enter evaluation mode.
    return result.train().eval()


def share(graphs: Mapping[str, onnx.ModelProto], *, stored: Stored = "float32") -> dict[str, bytes]:
    """Move the weights of several graphs into one file that they all refer to.

    Equal content is stored once, whichever graph, name or shape it comes from. The same graphs give the same bytes.

    Args:
        graphs: By file name, each with its weights inside; unchanged.
        stored: `float16`: float32 tensors for which `is_halved` holds, and whose values half precision has, are
            stored so and cast back by the graph. ONNX Runtime does that once, when it opens the graph.

    Returns:
        The graphs and, unless it would be empty, weights.bin, by file name.
    """
    pool = bytearray()
    places: dict[bytes, int] = {}
    files = {}
    for file, graph in sorted(graphs.items(), reverse=True):  # model.onnx before explain.onnx
        slim = onnx.ModelProto()
        slim.CopyFrom(graph)
        _lift_constants(slim.graph)
        if stored == "float16":
            _halve(slim.graph)
        for tensor in slim.graph.initializer:
            data = _raw(tensor)
            if len(data) < INLINE_BYTES:
                continue
            digest = hashlib.sha256(data).digest()
            if digest not in places:
                pool.extend(bytes(-len(pool) % _ALIGN))
                places[digest] = len(pool)
                pool.extend(data)
            set_external_data(tensor, WEIGHTS_BIN, offset=places[digest], length=len(data))
            tensor.ClearField("raw_data")
        files[file] = slim.SerializeToString(deterministic=True)
    return files | ({WEIGHTS_BIN: bytes(pool)} if pool else {})


def _raw(tensor: onnx.TensorProto) -> bytes:
    if not tensor.HasField("raw_data"):
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor), tensor.name))
    return tensor.raw_data


def _lift_constants(graph: onnx.GraphProto) -> None:
    """Make large Constant nodes initialisers, which can lie outside."""
    kept = []
    for node in graph.node:
        value = next((a.t for a in node.attribute if a.name == "value"), None) if node.op_type == "Constant" else None
        if value is None or len(_raw(value)) < INLINE_BYTES:
            kept.append(node)
            continue
        value.name = node.output[0]
        graph.initializer.append(value)
    if len(kept) < len(graph.node):
        nodes = [copy.deepcopy(node) for node in kept]
        del graph.node[:]
        graph.node.extend(nodes)


def _halve(graph: onnx.GraphProto) -> None:
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or not is_halved(tuple(tensor.dims)):
            continue
        values = numpy_helper.to_array(tensor)
        with np.errstate(over="ignore"):
            half = values.astype(np.float16)
        if not np.array_equal(half.astype(np.float32), values):
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(onnx.helper.make_node("Cast", [f"{name}.half"], [name], to=onnx.TensorProto.FLOAT))
    if casts:
        nodes = [*casts, *(copy.deepcopy(node) for node in graph.node)]
        del graph.node[:]
        graph.node.extend(nodes)
