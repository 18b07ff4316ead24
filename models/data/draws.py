"""Which windows of a continuous recording a model learns from: some of each class, chosen alike for everybody.

A recording has a window a second. Most show rest, and those of one long painful spell are much alike, so figures and
training take a draw: at most so many of each class from each subject, half of the painful ones early in an episode and
a third of the others confounded, where there are so many.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Final

import numpy as np

from models.data.traced import TracedSet

EARLY_S: Final = 25.0
"""Electrodermal answers to tonic pain have faded after about this time."""
EARLY_SHARE: Final = 1 / 2
CONFOUNDED_SHARE: Final = 1 / 3

EVENT_WINDOWS: Final = (20, 10, 10)
"""Windows of no, moderate and severe pain that the simulated cohort gives of each subject."""


def draw_windows(traced: TracedSet, per_class: Sequence[int], *, seed: int) -> TracedSet:
    """Draw labelled windows of every subject.

    What is drawn of a subject depends on the seed, on its code and on its own windows: not on who else is there, nor
    on their order.

    Args:
        traced: Windows of any protocol.
        per_class: How many of each class, from class 0 on, at most; a class beyond the list gives none.
        seed: Of the draw.

    Returns:
        The windows that were drawn, in their order; none of them without a label.

    Raises:
        ValueError: If a number is negative.
    """
    if any(count < 0 for count in per_class):
        raise ValueError(f"negative numbers of windows: {list(per_class)}")
    windows = traced.windows
    chosen: list[int] = []
    for subject in dict.fromkeys(windows.subjects.tolist()):
        digest = hashlib.blake2b(f"{seed}/windows/{subject}".encode(), digest_size=16).digest()
        rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
        own = windows.subjects == subject
        for label, count in enumerate(per_class):
            members = np.flatnonzero(own & (windows.labels == label))
            if label == 0:
                preferred, share = windows.confounded[members], CONFOUNDED_SHARE
            else:
                preferred, share = windows.since_onset_s[members] < EARLY_S, EARLY_SHARE
            first = rng.permutation(members[preferred])
            rest = rng.permutation(members[~preferred])
            wanted = min(len(first), max(round(share * count), count - len(rest)))
            chosen += [*first[:wanted].tolist(), *rest[: count - wanted].tolist()]
    return traced.take(np.sort(np.array(chosen, dtype=np.int64)))
