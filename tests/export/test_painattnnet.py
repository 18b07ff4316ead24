"""Export of the models that join their signals: the join, the wide convolutions and the gates reach the graph."""

from __future__ import annotations

import numpy as np
import pytest

from export.bundle import export_graphs
from export.fill import fill_model
from export.parity import BATCHES, ParityError, check, check_mutations, make_inputs
from models.painattnnet import MSCNSE
from tests.export.conftest import Exported

SHAPES = dict.fromkeys(("eda", "ecg", "emg"), (1, 2816))


@pytest.fixture(scope="module")
def joined() -> Exported:
    model = MSCNSE(inputs=tuple(SHAPES), classes=3)
    fill_model(model)
    return Exported(model, export_graphs(model, SHAPES))


def test_graphs_agree_with_torch_at_every_batch_size(joined: Exported) -> None:
    results = check(joined.model, joined.graphs, SHAPES)
    assert {(r.output, r.batch) for r in results} == {
        (output, batch) for output in ("logits", "features", "channel.se") for batch in BATCHES
    }


def test_dead_gates_and_convolutions_are_noticed(joined: Exported) -> None:
    assert len(joined.model.parity_probes()) == 5
    assert check_mutations(joined.model, joined.graphs, SHAPES) > 100.0
    convolutions = [name for name in joined.model.state_dict() if "scale.5." in name or name.endswith("conv2.weight")]
    assert check_mutations(joined.model, joined.graphs, SHAPES, convolutions) > 10.0


def test_the_graph_joins_its_inputs_by_name(joined: Exported) -> None:
    inputs = make_inputs(SHAPES, 1)
    straight = joined.graphs.run(inputs)["logits"]
    swapped = joined.graphs.run({**inputs, "eda": inputs["ecg"], "ecg": inputs["eda"]})["logits"]
    assert np.abs(straight - swapped).max() > 1e-3


def test_weights_of_another_model_fail(joined: Exported) -> None:
    with pytest.raises(ParityError, match="logits at batch 1"):
        check(MSCNSE(inputs=tuple(SHAPES), classes=3), joined.graphs, SHAPES)
