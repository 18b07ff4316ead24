"""Labels without meaning, for the check that a training finds nothing where nothing is."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import numpy as np

from models.data.base import UNLABELLED, WindowSet
from models.data.traced import TracedSet


def permute_labels(windows: WindowSet, *, seed: int) -> WindowSet:
    """Labels shuffled within each subject, before any stage of training sees them.

    Every subject keeps the number of windows of each class; unlabelled windows stay so. What befalls a subject does not
    depend on who else is there. `level` and `since_onset_s` stay with the signal and must not be learnt from.

    Args:
        windows: Of any subjects.
        seed: Of the shuffle.
    """
    labels = windows.labels.copy()
    for subject in np.unique(windows.subjects):
        rows = np.flatnonzero((windows.subjects == subject) & (labels != UNLABELLED))
        digest = hashlib.blake2b(f"{seed}/labels/{subject}".encode(), digest_size=16).digest()
        rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
        labels[rows] = labels[rng.permutation(rows)]
    return replace(windows, labels=labels)


def permuted(traced: TracedSet, *, seed: int) -> TracedSet:
    """The same for windows with their origin: to be divided as the true ones are."""
    return replace(traced, windows=permute_labels(traced.windows, seed=seed))
