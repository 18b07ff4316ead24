"""Where a balanced accuracy lies when answers have nothing to do with labels.

Chance is an interval, not a number: 99.9 % of what the same answers get when the labels of each test subject are
permuted, which keeps how many windows of each class a subject has.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.data.base import IntArray

WITHIN: Final = 0.999
DRAWS: Final = 20_000
_AT_ONCE: Final = 4_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Chance:
    """A balanced accuracy, and where it would lie if the answers had nothing to do with the labels."""

    value: float
    low: float
    high: float

    @property
    def inside(self) -> bool:
        """Whether it is what chance gives."""
        return self.low <= self.value <= self.high

    @property
    def informative(self) -> bool:
        """Whether it could have been anything else: not where one class was told of all windows."""
        return self.high - self.low > 1e-6

    def plain(self) -> dict[str, Any]:
        """For controls.json."""
        return {
            "balanced_accuracy": round(self.value, 4),
            "chance_low": round(self.low, 4),
            "chance_high": round(self.high, 4),
            "within_chance": self.inside,
            "informative": self.informative,
        }

    def said(self) -> str:
        """The numbers in words."""
        return f"balanced accuracy {self.value:.3f}, chance {self.low:.3f} to {self.high:.3f} (99.9 %)"


def against_chance(
    labels: IntArray, told: IntArray, subjects: NDArray[np.str_], *, seed: int, draws: int = DRAWS
) -> Chance:
    """Balanced accuracy with its permutation interval.

    Args:
        labels: (n,) true classes.
        told: (n,) classes that were told.
        subjects: (n,) labels are permuted within each.
        seed: Of the permutations.
        draws: How many permutations.

    Returns:
        With the 99.9 % interval of all permutations, ends included.
    """
    people, who = np.unique(subjects, return_inverse=True)
    kinds, labels = np.unique(labels, return_inverse=True)
    # What was told of no window, or is true of none, can be right nowhere.
    told = np.where(np.isin(told, kinds), np.searchsorted(kinds, told), len(kinds))
    table = np.zeros((len(people), len(kinds) + 1, len(kinds)), dtype=np.int64)
    np.add.at(table, (who, told, labels), 1)
    share = 1.0 / (np.bincount(labels) * len(kinds))
    rng = np.random.Generator(np.random.PCG64([seed, len(labels)]))
    rows = max(1, _AT_ONCE // (len(people) * len(kinds)))
    counts = [min(rows, draws - start) for start in range(0, draws, rows)]
    every = np.concatenate([_permuted_hits(table, count, rng) @ share for count in counts])
    tail = (1.0 - WITHIN) / 2
    low = np.quantile(every, tail, method="lower")
    high = np.quantile(every, 1.0 - tail, method="higher")
    value = float(np.einsum("scc->c", table[:, : len(kinds)]) @ share)
    # Sums of the same numbers in another order differ in their last digits.
    return Chance(value=value, low=float(low) - 1e-9, high=float(high) + 1e-9)


def _permuted_hits(table: IntArray, draws: int, rng: np.random.Generator) -> IntArray:
    """(draws, classes) windows told right by class, all subjects together, when labels are permuted within each.

    Tables with the margins of a subject's own, drawn cell by cell from their hypergeometric distributions: the same as
    permuting every label, without touching a window.

    Args:
        table: (subjects, told, true) counts.
        draws: How many.
        rng: Their source.
    """
    left = np.tile(table.sum(axis=1), (draws, 1, 1))
    hits = np.zeros((draws, table.shape[2]), dtype=np.int64)
    for told, sizes in enumerate(table.sum(axis=2).T):
        wanted = np.tile(sizes, (draws, 1))
        for true in range(table.shape[2]):
            others = left[..., true + 1 :].sum(axis=-1)
            taken = rng.hypergeometric(left[..., true], others, wanted)
            left[..., true] -= taken
            wanted -= taken
            if told == true:
                hits[:, true] = taken.sum(axis=1)
    return hits
