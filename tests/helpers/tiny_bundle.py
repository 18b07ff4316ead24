"""A real bundle of a few kilobytes, written in milliseconds and without torch, for tests that need no trained model."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from export.folder import write_folder
from monitor.bundle import (
    AttentionSpec,
    BundleSpec,
    CalibrationSpec,
    ClassSpec,
    InputSpec,
    TrainingSpec,
    WeightsSpec,
    default_input,
)

HIDDEN = 8
SAMPLES = 138
FALLBACKS = {"EDA": {"center": 2.0, "spread": 0.5}, "ECG": {"center": 0.0, "spread": 0.1}}
CLASS_NAMES = ("none", "moderate", "severe")


def write_tiny_bundle(
    directory: Path,
    *,
    name: str = "tiny-eda-ecg",
    modalities: Sequence[str] = ("EDA", "ECG"),
    classes: int = 3,
    inputs: Sequence[InputSpec] | None = None,
) -> Path:
    """Write a bundle whose logits depend on every sample of every input.

    Per input a linear layer and tanh, joined into the features, and one linear layer to the logits. The attention
    maps are softmax(outer product) of the inputs, so that rows sum to 1 and no two maps are alike.

    Args:
        directory: Parent of the new folder.
        name: Name of the bundle and of its folder.
        modalities: Inputs, each (B, 1, 138) at 25 Hz with the monitor's default filter and scaling.
        classes: Number of classes, with levels from 0 to 1.
        inputs: Inputs in place of those: images or arrays too, which get no attention map.

    Returns:
        The folder.
    """
    inputs = inputs or [default_input(m, samples=SAMPLES, fallback=FALLBACKS.get(m)) for m in modalities]
    attention = _attention([item for item in inputs if item.shape == (1, SAMPLES)])
    parameters = HIDDEN * sum(math.prod(i.shape) + 1 for i in inputs) + classes * (HIDDEN * len(inputs) + 1)
    class_names = CLASS_NAMES if classes == 3 else tuple(f"level{i}" for i in range(classes))
    spec = BundleSpec(
        name=name,
        version="1.0.0",
        architecture="tiny",
        target="pain",
        inputs=tuple(inputs),
        classes=tuple(ClassSpec(name=c, level=i / (classes - 1)) for i, c in enumerate(class_names)),
        attention=tuple(attention),
        calibration=CalibrationSpec(prior=(1.0 / classes,) * classes),
        training=TrainingSpec(data="none", protocol="none"),
        weights=WeightsSpec(backbone="random", head="random", alarm_eligible=True),
        parameters=parameters,
        flops=2 * parameters,
        card="card.md",
        intended_use="Tests only.",
    )
    files = {
        "model.onnx": _score_graph(inputs, classes).SerializeToString(),
        "card.md": b"# Tiny\n\nRandom weights, for tests only.\n",
    }
    if attention:
        files["explain.onnx"] = _explain_graph(inputs, attention).SerializeToString()
    return write_folder(spec=spec, files=files, out=directory / name).path


def _attention(inputs: Sequence[InputSpec]) -> list[AttentionSpec]:
    square = (SAMPLES, SAMPLES)
    maps = [
        AttentionSpec(name=f"self.{i.name}", kind="self", axis="time", of=i.name, by=i.name, shape=square)
        for i in inputs
    ]
    maps += [
        AttentionSpec(
            name=f"cross.{q.name}_from_{k.name}", kind="cross", axis="time", of=k.name, by=q.name, shape=square
        )
        for q in inputs
        for k in inputs
        if q is not k
    ]
    maps += [
        AttentionSpec(name=f"temporal.{i.name}", kind="temporal", axis="time", of=i.name, by=i.name, shape=(SAMPLES,))
        for i in inputs
    ]
    return maps


def _score_graph(inputs: Sequence[InputSpec], classes: int) -> onnx.ModelProto:
    rng = np.random.Generator(np.random.PCG64(20))
    nodes, tensors = [], []

    def constant(name: str, value: np.ndarray) -> str:
        tensors.append(numpy_helper.from_array(value, name))
        return name

    for item in inputs:
        size = math.prod(item.shape)
        values = rng.standard_normal((size, HIDDEN)) / (12 if size == SAMPLES else math.sqrt(size))
        weight = constant(f"{item.name}.weight", values.astype(np.float32))
        bias = constant(f"{item.name}.bias", (0.1 * rng.standard_normal(HIDDEN)).astype(np.float32))
        nodes += [
            helper.make_node("Flatten", [item.name], [f"{item.name}.flat"]),
            helper.make_node("Gemm", [f"{item.name}.flat", weight, bias], [f"{item.name}.linear"]),
            helper.make_node("Tanh", [f"{item.name}.linear"], [f"{item.name}.tanh"]),
        ]
    width = HIDDEN * len(inputs)
    nodes.append(helper.make_node("Concat", [f"{item.name}.tanh" for item in inputs], ["features"], axis=1))
    weight = constant("head.weight", rng.standard_normal((width, classes)).astype(np.float32))
    bias = constant("head.bias", (0.1 * rng.standard_normal(classes)).astype(np.float32))
    nodes.append(helper.make_node("Gemm", ["features", weight, bias], ["logits"]))
    return _model(inputs, nodes, tensors, outputs=[_value("logits", (classes,)), _value("features", (width,))])


def _explain_graph(inputs: Sequence[InputSpec], attention: Sequence[AttentionSpec]) -> onnx.ModelProto:
    drawn = {item.by for item in attention}
    nodes = [
        helper.make_node("Transpose", [i.name], [f"{i.name}.rows"], perm=[0, 2, 1]) for i in inputs if i.name in drawn
    ]
    axes = numpy_helper.from_array(np.array([1], dtype=np.int64), "channel_axis")
    for item in attention:
        if item.kind == "temporal":
            nodes.append(helper.make_node("Squeeze", [item.of, "channel_axis"], [f"{item.name}/score"]))
        else:
            nodes.append(helper.make_node("MatMul", [f"{item.by}.rows", item.of], [f"{item.name}/score"]))
        nodes.append(helper.make_node("Softmax", [f"{item.name}/score"], [item.name], axis=-1))
    return _model(inputs, nodes, [axes], outputs=[_value(item.name, item.shape) for item in attention])


def _value(name: str, shape: Sequence[int]) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", *shape])


def _model(
    inputs: Sequence[InputSpec],
    nodes: Sequence[onnx.NodeProto],
    tensors: Sequence[onnx.TensorProto],
    *,
    outputs: Sequence[onnx.ValueInfoProto],
) -> onnx.ModelProto:
    graph = helper.make_graph(nodes, "tiny", [_value(i.name, i.shape) for i in inputs], outputs, initializer=tensors)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)
    onnx.checker.check_model(model, full_check=True)
    return model
