"""One export for all tests: it takes the better part of the time that they all need."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import torch

from export.bundle import export_graphs
from export.fill import fill_model
from export.parity import Graphs
from models.base import PainModel
from models.registry import create_model

SHAPES = {"eda": (1, 138), "ecg": (1, 138)}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """An export takes up to a minute of a core, and gives way to others meanwhile."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.timeout(900), append=False)


@dataclass(frozen=True)
class Exported:
    """A model at fill weights, and what was made of it."""

    model: PainModel
    files: dict[str, bytes]

    @property
    def graphs(self) -> Graphs:
        return Graphs(self.files)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Several threads on a busy machine wait for each other far longer than they compute."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def exported() -> Exported:
    model = create_model("crossmod-transformer", classes=3)
    fill_model(model)
    return Exported(model, export_graphs(model, SHAPES))
