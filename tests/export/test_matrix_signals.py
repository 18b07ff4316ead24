"""Architectures that read signals: exported, compared with torch, and found out where a part is dead."""

from __future__ import annotations

import pytest

from tests.helpers.exporting import SIGNALS, assert_exported_and_checked


@pytest.mark.parametrize("architecture", SIGNALS)
def test_an_architecture_is_exported_with_halved_weights_and_its_check_would_notice(architecture: str) -> None:
    assert_exported_and_checked(architecture, batches=(1, 3))
