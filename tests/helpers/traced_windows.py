"""Made-up windows with their origin: three seconds of calibration, then windows of a second."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from models.data.base import WindowSet
from models.data.traced import Span, Statistic, TracedSet, join_traced
from monitor.bundle import default_input

INPUT = default_input("EDA", rate_hz=4.0, samples=4)


def traced_person(subject: str, labels: Sequence[int], protocol: str = "live-segment") -> TracedSet:
    """One person's windows; the first begins where the calibration segment ends."""
    n = len(labels)
    start = 3.0 + np.arange(n)
    return TracedSet(
        protocol=protocol,
        inputs=(INPUT,),
        windows=WindowSet(
            inputs={"eda": np.zeros((n, 1, 4), np.float32)},
            labels=np.array(labels, dtype=np.int64),
            subjects=np.full(n, subject),
            t_end=start + 1.0,
            level=np.zeros(n),
            since_onset_s=np.full(n, np.inf),
            confounded=np.zeros(n, dtype=np.bool_),
            calibrated=np.ones(n, dtype=np.bool_),
        ),
        recordings=np.full(n, f"{subject}/a"),
        digests=np.full(n, f"digest of {subject}"),
        start_s=start,
        stop_s=start + 1.0,
        seconds=np.ones(n),
        statistics=(
            Statistic(
                name=f"baseline of {subject}",
                scope="own",
                spans=(Span(subject=subject, recording=f"{subject}/a", start_s=0.0, stop_s=3.0),),
            ),
        ),
        statistic=np.zeros(n, dtype=np.int64),
    )


def traced_cohort(
    subjects: Sequence[str], labels: Sequence[int] = (0, 1, 0, 1), protocol: str = "live-segment"
) -> TracedSet:
    """Several of them."""
    return join_traced([traced_person(subject, labels, protocol) for subject in subjects])
