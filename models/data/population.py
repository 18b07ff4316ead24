"""The training population's baseline: what stands in at a bed until it is calibrated, and whose it is."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.data.guards import Learnt
from models.data.traced import TracedSet
from monitor.bundle import InputSpec
from monitor.calibration import input_key, needs_baseline


def population_fallback(traced: TracedSet, subjects: Sequence[str]) -> tuple[tuple[InputSpec, ...], Learnt]:
    """Inputs whose fallback is the median baseline of some subjects, and the record for `Parts.open_test`.

    Inputs in arbitrary units get none: another device's counts say nothing about this one's.

    Args:
        traced: Windows of a protocol that takes baselines.
        subjects: The training part.

    Raises:
        ValueError: If the protocol is `paper`, or none of the subjects has a baseline of an input that needs one.
    """
    if not traced.may_become_bundle:
        raise ValueError(f"statistics of the protocol {traced.protocol} are no baseline of a bed")
    own = [s for s in traced.statistics if s.scope == "own" and s.subjects <= frozenset(subjects)]
    inputs = []
    for item in traced.inputs:
        if not needs_baseline(item.scale) or item.unit == "a.u.":
            inputs.append(item)
            continue
        found = [s.values[input_key(item)] for s in own if input_key(item) in s.values]
        if not found:
            raise ValueError(f"no subject has a baseline of {item.name}")
        center, spread, _ = np.median(np.array(found), axis=0)
        fallback = {"center": float(f"{center:.4g}"), "spread": float(f"{spread:.4g}")}
        inputs.append(item.model_copy(update={"scale": item.scale.model_copy(update={"fallback": fallback})}))
    seen = frozenset(subject for statistic in own for subject in statistic.subjects)
    return tuple(inputs), Learnt(name="fallback baseline", kind="scaler", subjects=seen)
