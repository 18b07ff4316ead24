from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from export.to_onnx import pruned


def _graph() -> onnx.ModelProto:
    """x -> a = x * w1 -> logits = a + b; a -> map = a * w2; with a constant that nothing reads."""
    value = helper.make_tensor_value_info
    weights = {"w1": [2.0], "w2": [5.0], "b": [1.0], "unread": [9.0]}
    graph = helper.make_graph(
        [
            helper.make_node("Mul", ["x", "w1"], ["a"]),
            helper.make_node("Mul", ["a", "w2"], ["map"]),
            helper.make_node("Add", ["a", "b"], ["logits"]),
        ],
        "g",
        [value("x", TensorProto.FLOAT, ["batch"])],
        [value("logits", TensorProto.FLOAT, ["batch"]), value("map", TensorProto.FLOAT, ["batch"])],
        [numpy_helper.from_array(np.array(v, np.float32), name) for name, v in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def _run(model: onnx.ModelProto) -> dict[str, list[float]]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    names = [item.name for item in session.get_outputs()]
    got = session.run(None, {"x": np.array([1.0, -3.0], np.float32)})
    return {name: values.tolist() for name, values in zip(names, got, strict=True)}


@pytest.mark.parametrize("outputs", [["logits"], ["map"], ["map", "logits"]])
def test_a_pruned_graph_says_the_same_of_what_is_left(outputs: list[str]) -> None:
    whole = _graph()
    cut = pruned(whole, outputs)
    everything = _run(whole)
    assert _run(cut) == {name: everything[name] for name in outputs}
    assert [item.name for item in cut.graph.output] == outputs


def test_what_nothing_needs_is_gone_and_the_original_stays() -> None:
    whole = _graph()
    cut = pruned(whole, ["logits"])
    assert {item.name for item in cut.graph.initializer} == {"w1", "b"}
    assert [node.op_type for node in cut.graph.node] == ["Mul", "Add"]
    assert len(whole.graph.node) == 3
    assert len(whole.graph.initializer) == 4


def test_an_output_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no output attention"):
        pruned(_graph(), ["logits", "attention"])
