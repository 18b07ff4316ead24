"""What the tests of all models share."""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    """Several threads on a busy machine wait for each other far longer than they compute."""
    torch.set_num_threads(1)
