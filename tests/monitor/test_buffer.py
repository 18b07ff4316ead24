"""A ring buffer equals a list."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.buffer import Ring


@settings(max_examples=60, deadline=None)
@given(capacity=st.integers(1, 40), sizes=st.lists(st.integers(0, 100), max_size=12))
def test_ring_equals_the_end_of_a_list(capacity: int, sizes: list[int]) -> None:
    ring: Ring[np.float64] = Ring(capacity, np.float64)
    written: list[float] = []
    for size in sizes:
        values = np.arange(len(written), len(written) + size, dtype=np.float64)
        ring.push(values)
        written.extend(values.tolist())
        assert ring.total == len(written)
        assert ring.oldest == max(0, len(written) - capacity)
        for first in range(ring.oldest, ring.total + 1, max(1, capacity // 5)):
            assert ring.view(first, ring.total).tolist() == written[first:]
        middle = (ring.oldest + ring.total) // 2
        assert ring.view(ring.oldest, middle).tolist() == written[ring.oldest : middle]


def test_a_view_is_not_a_copy_and_cannot_be_written() -> None:
    ring: Ring[np.float32] = Ring(8, np.float32)
    ring.push(np.arange(13, dtype=np.float32))
    view = ring.view(6, 13)
    assert np.shares_memory(view, ring.view(7, 12))
    with pytest.raises(ValueError, match="read-only"):
        view[0] = 1.0


@pytest.mark.parametrize(("first", "last"), [(4, 8), (9, 14), (10, 9)])
def test_what_is_gone_or_not_there_yet_is_refused(first: int, last: int) -> None:
    ring: Ring[np.float64] = Ring(8, np.float64)
    ring.push(np.arange(13.0))
    with pytest.raises(IndexError, match=r"ring that holds 5\.\.13"):
        ring.view(first, last)
