"""Export of the family's widest member: two encoders, their gates and attention, and the fusion reach the graph."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from export.bundle import export_graphs
from export.fill import fill_model, wake_gates
from export.parity import BATCHES, PROBED, ParityError, check, check_mutations, compare, make_inputs
from models.blocks.squeeze import SqueezeExcitation
from models.painattnnet_fusion import PainAttnNetAttention
from tests.export.conftest import Exported

SHAPES = dict.fromkeys(("eda", "ecg"), (1, 2816))


@pytest.fixture(scope="session")
def fused() -> Exported:
    model = PainAttnNetAttention(inputs=tuple(SHAPES), classes=3)
    fill_model(model)
    wake_gates(model, {name: torch.from_numpy(values) for name, values in make_inputs(SHAPES, PROBED).items()})
    return Exported(model, export_graphs(model, SHAPES))


def test_graphs_agree_with_torch_at_every_batch_size(fused: Exported) -> None:
    results = check(fused.model, fused.graphs, SHAPES)
    of_each = ("channel.se", "self.0", "self.1")
    outputs = {"logits", "features", "modality", *(f"{name}.{signal}" for signal in SHAPES for name in of_each)}
    assert {(r.output, r.batch) for r in results} == {(output, batch) for output in outputs for batch in BATCHES}


def test_dead_attention_gates_fusion_and_convolutions_are_noticed(fused: Exported) -> None:
    probes = fused.model.parity_probes()
    assert len(probes) == 2 + 2 * (4 + 2 + 3)
    assert check_mutations(fused.model, fused.graphs, SHAPES) > 50.0
    convolutions = [name for name in fused.model.state_dict() if name.endswith("conv2.weight")]
    assert len(convolutions) == 2 * (1 + 2 * 3)
    assert check_mutations(fused.model, fused.graphs, SHAPES, convolutions) > 10.0


def test_dead_queries_and_keys_are_noticed_in_the_logits_too(fused: Exported) -> None:
    inputs = make_inputs(SHAPES, PROBED)
    weight = fused.model.state_dict()["encoders.1.encoderWrapper.layers.0.self_attn.multihead_attention.in_proj_weight"]
    for rows in (slice(0, 30), slice(30, 60)):
        kept = weight[rows].clone()
        weight[rows] = 0.0
        ratios = {result.output: result.ratio for result in compare(fused.model, fused.graphs, inputs)}
        weight[rows] = kept
        assert ratios["logits"] > 2.0
        assert ratios["self.0.eda"] < 1.0


def test_gates_that_sleep_at_fill_weights_are_woken() -> None:
    model = PainAttnNetAttention(inputs=tuple(SHAPES), classes=3)
    fill_model(model)
    inputs = {name: torch.from_numpy(values) for name, values in make_inputs(SHAPES, PROBED).items()}

    def asleep() -> list[bool]:
        with torch.inference_mode():
            attention = model.eval()(inputs, with_attention=True).attention
        return [bool((attention[f"channel.se.{name}"] == 0.5).all()) for name in SHAPES]

    assert any(asleep())
    signs = [m.fc[0].weight.clone() for m in model.modules() if isinstance(m, SqueezeExcitation)]
    wake_gates(model.train(), inputs)
    assert model.training
    assert asleep() == [False, False]
    blocks = [m for m in model.modules() if isinstance(m, SqueezeExcitation)]
    assert all(torch.equal(m.fc[0].weight.abs(), sign.abs()) for m, sign in zip(blocks, signs, strict=True))
    assert not any(m._forward_pre_hooks for m in blocks)


def test_the_graph_takes_its_inputs_by_name(fused: Exported) -> None:
    inputs = make_inputs(SHAPES, 1)
    graphs = fused.graphs
    straight = graphs.run(inputs)["logits"]
    swapped = graphs.run({"eda": inputs["ecg"], "ecg": inputs["eda"]})["logits"]
    assert np.abs(straight - swapped).max() > 1e-3


def test_weights_of_another_model_fail(fused: Exported) -> None:
    with pytest.raises(ParityError, match="logits at batch 1"):
        check(PainAttnNetAttention(inputs=tuple(SHAPES), classes=3), fused.graphs, SHAPES)
