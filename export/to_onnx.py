"""torch module -> ONNX graph: named inputs, named outputs, a free batch axis, one file."""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

import onnx
import torch
from onnxscript import rewriter
from onnxscript.rewriter.rules import common as rules
from torch import Tensor, nn

from models.base import PainModel, Shapes

OPSET: Final = 20


class _Graph(nn.Module):
    """A model whose inputs and outputs are positional, as a graph's are."""

    def __init__(self, model: PainModel, outputs: Sequence[str]) -> None:
        super().__init__()
        self.model = model
        self.outputs = tuple(outputs)

    def forward(self, *signals: Tensor) -> tuple[Tensor, ...]:
        """Run the model and pick the outputs by name."""
        with_attention = any(name not in ("logits", "features") for name in self.outputs)
        inputs = dict(zip(self.model.input_names, signals, strict=True))
        result = self.model(inputs, with_attention=with_attention)
        named = {"logits": result.logits, "features": result.features, **result.attention}
        return tuple(named[name] for name in self.outputs)


def to_onnx(model: PainModel, *, outputs: Sequence[str], shapes: Shapes) -> onnx.ModelProto:
    """Export a model.

    Args:
        model: In any mode; it is exported in evaluation mode and left as it was.
        outputs: Among `logits`, `features` and the names of the model's attention maps.
        shapes: Of every input, without the batch axis.

    Returns:
        A checked graph with float32 inputs (batch, *shape) and every weight inside.
    """
    training = model.training
    model.eval()
    # Two examples: an example batch of one would be baked in as a constant.
    example = tuple(torch.zeros(2, *shapes[name]) for name in model.input_names)
    batch = torch.export.Dim("batch", min=1, max=4096)
    try:
        with _batch_norms_kept(), warnings.catch_warnings():
            # The exporter warns of its own deprecated calls, and that inputs share one batch axis, as they must.
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                _Graph(model, outputs),
                example,
                dynamo=True,
                opset_version=OPSET,
                external_data=False,
                input_names=list(model.input_names),
                output_names=list(outputs),
                dynamic_shapes=(tuple({0: batch} for _ in example),),
                verbose=False,
            )
    finally:
        model.train(training)
    buffer = io.BytesIO()
    program.save(buffer)
    graph = onnx.load_model_from_string(buffer.getvalue())
    _strip(graph)
    shorten_names(graph.graph)
    onnx.checker.check_model(graph, full_check=True)
    return graph


def pruned(graph: onnx.ModelProto, outputs: Sequence[str]) -> onnx.ModelProto:
    """A copy of a graph that computes some of its outputs alone.

    Exporting takes half a minute where this takes none, and graphs that are cut from one have the same weights under
    the same names.

    Args:
        graph: As `to_onnx` gives it.
        outputs: Names of outputs that stay.

    Raises:
        ValueError: If it has no such output, or nodes that hold graphs of their own, whose needs are not seen here.
    """
    there = {item.name for item in graph.graph.output}
    if missing := [name for name in outputs if name not in there]:
        raise ValueError(f"the graph has no output {', '.join(missing)}")
    if any(attribute.HasField("g") for node in graph.graph.node for attribute in node.attribute):
        raise ValueError("a graph with branches or loops is exported for each set of outputs")
    needed = set(outputs)
    nodes = []
    for node in reversed(graph.graph.node):  # they stand in the order in which they are computed
        if needed.intersection(node.output):
            needed.update(node.input)
            nodes.append(node)
    result = onnx.ModelProto()
    result.CopyFrom(graph)
    for field, kept in (
        ("node", nodes[::-1]),
        ("initializer", [item for item in graph.graph.initializer if item.name in needed]),
        ("output", [item for name in outputs for item in graph.graph.output if item.name == name]),
    ):
        result.graph.ClearField(field)
        getattr(result.graph, field).extend(kept)
    onnx.checker.check_model(result, full_check=True)
    return result


@contextmanager
def _batch_norms_kept() -> Iterator[None]:
    """Keep the exporter from folding batch norms into convolutions.

    ONNX Runtime does so when it opens the graph; in the file it would undo the rounding of weights to half precision.
    """
    folding = (
        rules.fuse_batchnorm_into_conv_rule,
        rules.fuse_batchnorm_into_conv_transpose_rule,
        rules.fuse_batchnorm_into_gemm_rule,
    )
    # The exporter offers no choice but all of its rewrites or none.
    usual = rewriter._DEFAULT_REWRITE_RULES
    rewriter._DEFAULT_REWRITE_RULES = tuple(rule for rule in usual if rule not in folding)
    try:
        yield
    finally:
        rewriter._DEFAULT_REWRITE_RULES = usual


def _strip(graph: onnx.ModelProto) -> None:
    """Remove the exporter's notes: they hold stack traces with paths of this machine, and change from run to run."""
    del graph.metadata_props[:]
    del graph.graph.metadata_props[:]
    graph.graph.doc_string = ""
    # Shapes of intermediate results are inferred again by whoever needs them.
    del graph.graph.value_info[:]
    for item in (*graph.graph.node, *graph.graph.input, *graph.graph.output, *graph.graph.initializer):
        del item.metadata_props[:]
        item.doc_string = ""


def shorten_names(graph: onnx.GraphProto) -> None:
    """Number the intermediate results and forget the names of nodes, in place: they are a third of a graph's file.

    Inputs, outputs and weights keep theirs, by which a person finds them.
    """
    kept = {item.name for item in (*graph.input, *graph.output, *graph.initializer)}
    if any(attribute.HasField("g") for node in graph.node for attribute in node.attribute):
        return  # the graphs of branches and loops see names from outside
    short: dict[str, str] = {}
    for node in graph.node:
        node.name = ""
        for names in (node.input, node.output):
            for position, name in enumerate(names):
                if name and name not in kept:
                    names[position] = short.setdefault(name, f"t{len(short)}")
