"""Export of SE-CNN: many channels, and every gate, reach the graph."""

from __future__ import annotations

import pytest

from export.bundle import export_graphs
from export.fill import fill_model
from export.parity import BATCHES, ParityError, check, check_mutations
from models.se_cnn import SECNN
from tests.export.conftest import Exported

SHAPES = {"regions": (246, 25)}


@pytest.fixture(scope="module")
def regions() -> Exported:
    model = SECNN(classes=3)
    fill_model(model)
    return Exported(model, export_graphs(model, SHAPES))


def test_graphs_agree_with_torch_at_every_batch_size(regions: Exported) -> None:
    results = check(regions.model, regions.graphs, SHAPES)
    assert {(r.output, r.batch) for r in results} == {
        (output, batch) for output in ("logits", "features", "channel.regions") for batch in BATCHES
    }


def test_dead_gates_are_noticed(regions: Exported) -> None:
    assert len(regions.model.parity_probes()) == 2 * 7
    assert check_mutations(regions.model, regions.graphs, SHAPES) > 10.0


def test_weights_of_another_model_fail(regions: Exported) -> None:
    with pytest.raises(ParityError, match="logits at batch 1"):
        check(SECNN(classes=3), regions.graphs, SHAPES)
