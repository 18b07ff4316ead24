"""A ring of samples: fixed size, O(chunk) to write, a view to read."""

from __future__ import annotations

from typing import Generic, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

ScalarT = TypeVar("ScalarT", bound=np.generic)


class Ring(Generic[ScalarT]):
    """The newest `capacity` values of a stream, addressed by their number since the start.

    A value is a number, or a row of numbers where a sample has several channels. Every value is written
    twice, `capacity` apart, so that any stretch of the newest values lies contiguous in memory and is read without a
    copy.

    Args:
        capacity: Values kept.
        dtype: Their numpy type.
        channels: Numbers of a row: values are then (n, channels). None: values are (n,).
    """

    def __init__(self, capacity: int, dtype: DTypeLike, channels: int | None = None) -> None:
        if capacity < 1:
            raise ValueError(f"a ring of {capacity} values")
        self.capacity = capacity
        self._store: NDArray[ScalarT] = np.zeros(
            2 * capacity if channels is None else (2 * capacity, channels), dtype=dtype
        )
        self._total = 0

    @property
    def total(self) -> int:
        """Values ever written; the next one gets this number."""
        return self._total

    @property
    def oldest(self) -> int:
        """Number of the oldest value that is still here."""
        return max(0, self._total - self.capacity)

    def push(self, values: NDArray[ScalarT]) -> None:
        """Append values; the oldest make room. Cost is proportional to `len(values)`."""
        count, start = len(values), self._total % self.capacity
        if start + count <= self.capacity:  # nearly always: it fits before the end
            self._store[start : start + count] = values
            self._store[start + self.capacity : start + self.capacity + count] = values
            self._total += count
            return
        kept = values[-self.capacity :] if count > self.capacity else values
        start = (self._total + count - len(kept)) % self.capacity
        first = min(len(kept), self.capacity - start)
        store, capacity = self._store, self.capacity
        store[start : start + first] = kept[:first]
        store[start + capacity : start + capacity + first] = kept[:first]
        rest = len(kept) - first
        if rest:
            store[:rest] = kept[first:]
            store[capacity : capacity + rest] = kept[first:]
        self._total += count

    def view(self, first: int, last: int) -> NDArray[ScalarT]:
        """Values number `first` up to but not including `last`, as a read-only view.

        The view is valid until the next `push`.

        Raises:
            IndexError: If some of them have been overwritten or not yet written.
        """
        if first < self.oldest or last > self._total or first > last:
            raise IndexError(f"values {first}..{last} of a ring that holds {self.oldest}..{self._total}")
        start = first % self.capacity
        view = self._store[start : start + (last - first)]
        view.flags.writeable = False
        return view
