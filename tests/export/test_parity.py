from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from export.parity import BATCHES, Graphs, Parity, ParityError, check, check_mutations, compare, make_inputs, summary
from models.registry import create_model
from tests.export.conftest import SHAPES, Exported


def test_graphs_agree_with_torch_at_every_batch_size(exported: Exported) -> None:
    results = check(exported.model, exported.graphs, SHAPES)
    assert {result.batch for result in results} == set(BATCHES) == {1, 3, 8}
    maps = {item.name for item in exported.model.attention_maps(SHAPES)}
    assert {result.output for result in results} == maps | {"logits", "features"}
    figures = summary("fill", results)
    assert 0.0 <= figures["fill.worst_over_bound"] <= 1.0


def test_every_dead_query_key_or_score_is_noticed(exported: Exported) -> None:
    before = {name: value.clone() for name, value in exported.model.state_dict().items()}
    assert check_mutations(exported.model, exported.graphs, SHAPES) > 1.0
    after = exported.model.state_dict()
    assert all(torch.equal(before[name], after[name]) for name in before)


def test_a_tensor_that_does_nothing_is_reported(exported: Exported) -> None:
    """A key's bias moves all scores of a row alike, so that no check could notice its death."""
    with pytest.raises(ParityError, match=r"block\.cross1\.key\.bias is dead"):
        check_mutations(exported.model, exported.graphs, SHAPES, ["block.cross1.key.bias"])


def test_other_weights_fail_and_say_where(exported: Exported) -> None:
    torch.manual_seed(1)
    with pytest.raises(ParityError, match="logits at batch 1"):
        check(create_model("crossmod-transformer", classes=3), exported.graphs, SHAPES)


def test_a_graph_without_an_output_is_refused(exported: Exported) -> None:
    graphs = Graphs({name: data for name, data in exported.files.items() if name != "explain.onnx"})
    with pytest.raises(ParityError, match=re.escape("'features', 'logits'")):
        compare(exported.model, graphs, make_inputs(SHAPES, 1))


def test_what_is_not_finite_never_passes() -> None:
    for error, bound in ((float("nan"), 1e-6), (0.0, float("nan")), (float("inf"), float("inf"))):
        assert not Parity(output="logits", batch=1, error=error, bound=bound).passed
    assert Parity(output="logits", batch=1, error=1e-6, bound=1e-6).passed


@pytest.mark.parametrize("name", ["model.onnx", "explain.onnx"])
def test_a_graph_is_whole_named_and_free_in_its_batch(exported: Exported, tmp_path: Path, name: str) -> None:
    for file, data in exported.files.items():
        (tmp_path / file).write_bytes(data)
    onnx.checker.check_model(str(tmp_path / name), full_check=True)
    graph = onnx.load_model(tmp_path / name)
    assert {entry.domain: entry.version for entry in graph.opset_import}[""] == 20
    for item in graph.graph.input:
        shape = item.type.tensor_type.shape.dim
        assert shape[0].dim_param
        assert [size.dim_value for size in shape[1:]] == [1, 138]
    assert [item.name for item in graph.graph.input] == ["eda", "ecg"]


def test_a_graph_tells_nothing_of_the_machine_that_made_it(exported: Exported) -> None:
    graphs = [data for name, data in exported.files.items() if name.endswith(".onnx")]
    assert len(graphs) == 2
    for data in graphs:
        assert b"site-packages" not in data
        assert b".py" not in data


def test_inputs_are_the_same_for_the_same_seed() -> None:
    first, again, other = make_inputs(SHAPES, 3), make_inputs(SHAPES, 3), make_inputs(SHAPES, 3, seed=21)
    for name in SHAPES:
        assert first[name].dtype == np.float32
        np.testing.assert_array_equal(first[name], again[name])
        assert not np.array_equal(first[name], other[name])
