"""Which of a bed's bundles scores a window: the most preferred usable one, down at once, up only after a while."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

UP_AFTER_S: Final = 10.0
"""A more preferred bundle must be usable for this long before it takes over, so that the choice does not flap."""


class BundleChooser:
    """Remembers which bundle is active.

    Args:
        count: Number of bundles, in order of preference.
        hop_s: Seconds between windows.
    """

    def __init__(self, *, count: int, hop_s: float) -> None:
        self._hop_s = hop_s
        self._streak_s = [0.0] * count
        self.active: int | None = None
        """Position of the bundle that scored last; None before the first score."""

    def choose(self, usable: Sequence[bool]) -> int | None:
        """Take note of what is usable at the next window and say which bundle scores it.

        Returns:
            Its position, None where no bundle is usable.
        """
        for position, ok in enumerate(usable):
            self._streak_s[position] = self._streak_s[position] + self._hop_s if ok else 0.0
        ready = [position for position, ok in enumerate(usable) if ok]
        if not ready:
            return None
        if self.active is None or not usable[self.active]:
            self.active = ready[0]
        else:
            patient = [p for p in ready if p < self.active and self._streak_s[p] >= UP_AFTER_S]
            self.active = patient[0] if patient else self.active
        return self.active

    def reorder(self, order: Sequence[int]) -> None:
        """Another order of preference: the bundle now at position i is the one that was at `order[i]`."""
        self._streak_s = [self._streak_s[position] for position in order]
        self.active = None if self.active is None else list(order).index(self.active)
