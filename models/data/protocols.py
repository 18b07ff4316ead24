"""From a data set to windows, by one of the three protocols that are told apart everywhere.

| protocol | what it does | bundle |
| --- | --- | --- |
| `paper` | what the articles did, scaled with knowledge of the whole sitting | never |
| `live-segment` | cut data as the monitor would see them | yes |
| `live-stream` | continuous data through the monitor's own pipeline, every hop | yes |
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from types import MappingProxyType
from typing import Final

import numpy as np

from models.data.ai4pain import no_pain_cuts
from models.data.recorded import DataSet, Oddity, Sitting
from models.data.segments import paper_windows, segment_windows
from models.data.simulated_cohort import event_cuts
from models.data.streams import stream_windows
from models.data.traced import BUNDLE_PROTOCOLS, TracedSet, join_traced
from monitor.bundle import InputSpec
from monitor.errors import SourceError

PAPER_SECONDS: Final[Mapping[str, float]] = MappingProxyType(
    {
        "biovid-a": 5.5,
        "biovid-b": 5.5,
        "ai4pain-2025": 9.9,
        "ai4pain-2026": 9.9,
        "pmed": 10.0,
        "pmcd": 4.0,
        "simulated": 5.5,
    }
)
"""Signal of a trial by kind. AI4PAIN: its shortest cuts have 990 samples at 100 Hz, and every class is cut to that."""

_NOT_IN_PAPER: Final[Mapping[str, frozenset[str]]] = MappingProxyType({"pmcd": frozenset({"rated 0"})})
"""Groups of trials that the article of a kind leaves out: PMCD takes its windows without pain from the run-up alone."""

SILENCE_IS_REST: Final = frozenset({"biovid-c", "pmed", "simulated"})
"""Kinds in which every stimulus is listed, so that the time between them is known to be without one."""


def require_bundle(protocol: str) -> None:
    """Refuse to make a bundle of what only looks back can scale.

    Raises:
        SourceError: If the protocol's inputs cannot be had at a bedside.
    """
    if protocol not in BUNDLE_PROTOCOLS:
        raise SourceError(
            f"a model of the protocol {protocol} cannot become a bundle: its inputs were scaled with knowledge of the "
            "whole recording",
            todo=f"Train it by {' or '.join(BUNDLE_PROTOCOLS)}",
        )


def windows_of(
    data: DataSet,
    protocol: str,
    inputs: Sequence[InputSpec],
    *,
    classes: Mapping[int, int] | None = None,
    seconds: float | None = None,
    seed: int = 20,
) -> TracedSet:
    """Scaled windows of a data set, with their origin.

    Args:
        data: Sittings are read one by one.
        protocol: `paper`, `live-segment` or `live-stream`.
        inputs: What the model reads.
        classes: Class numbers, from 0 on, by label of the data set, e.g. {0: 0, 4: 1}; None for all as they are. In
            `live-stream` windows of other labels stay, unlabelled.
        seconds: `paper` only: signal of each trial, for kinds that `PAPER_SECONDS` does not name.
        seed: Of the draws.

    Raises:
        SourceError: If the data cannot support the protocol, have no such signal, or leave a class without a window.
        ValueError: If an input of `live-segment` has a filter whose state is carried: a cut has nothing to carry.
    """
    data.require(protocol)
    numbers = dict(classes) if classes is not None else {i: i for i in range(len(data.classes))}
    if sorted(set(numbers.values())) != list(range(len(set(numbers.values())))):
        raise ValueError(f"class numbers do not count from 0: {numbers}")
    found = (
        windows_of_sitting(data, sitting, protocol, inputs, classes=numbers, seconds=seconds, seed=seed)
        for sitting in data
    )
    parts = [part for part in found if part is not None]
    traced = join_traced(parts) if parts else None
    missing = [
        name
        for label, name in enumerate(data.classes)
        if label in numbers and (traced is None or not np.any(traced.windows.labels == numbers[label]))
    ]
    if traced is None or missing:
        reasons = () if traced is None else tuple(_counted(traced.left_out))
        raise SourceError(
            f"{protocol}: no window of {', '.join(missing)}" + "".join(f"; {reason}" for reason in reasons[:3]),
            where=str(data.root),
            todo="`python -m models data` says what is in the folder",
        )
    return traced


def windows_of_sitting(
    data: DataSet,
    sitting: Sitting,
    protocol: str,
    inputs: Sequence[InputSpec],
    *,
    classes: Mapping[int, int],
    seconds: float | None = None,
    seed: int = 20,
) -> TracedSet | None:
    """Scaled windows of one sitting, as `windows_of` takes them; None where nobody knows what was done in it.

    Args:
        data: What it belongs to.
        sitting: One of its sittings, read.
        protocol: One that the data allow.
        inputs: What the model reads.
        classes: Class numbers by label.
        seconds: As of `windows_of`.
        seed: Of the draws.

    Raises:
        SourceError: If it has no such signal, or one of too low a rate.
        ValueError: If an input of `live-segment` has a filter whose state is carried.
    """
    if sitting.part == "test" and all(trial.label is None for trial in sitting.trials):
        return None  # nothing of them could be scored; a data set of them alone was refused
    _check_signals(sitting, protocol, inputs)
    if data.kind == "simulated" and protocol != "live-stream":
        longest_s = max(item.samples / item.rate_hz for item in inputs)
        sitting = event_cuts(sitting, max(longest_s, seconds or PAPER_SECONDS[data.kind]))
    if protocol == "paper":
        length = seconds if seconds is not None else PAPER_SECONDS.get(data.kind)
        if length is None:
            raise SourceError(f"how long is a trial of {data.kind}?", where=str(data.root), todo="Give seconds")
        if data.kind == "ai4pain-2025":
            sitting = no_pain_cuts(sitting, length, seed=seed)
        left = _NOT_IN_PAPER.get(data.kind, frozenset())
        told = replace(sitting, trials=tuple(trial for trial in sitting.trials if trial.group not in left))
        return paper_windows(told, inputs, seconds=length, classes=classes, seed=seed)
    if protocol == "live-segment":
        if carried := [item.name for item in inputs if item.filter.state != "window"]:
            raise ValueError(f"the filter of {', '.join(carried)} is carried; see models.data.segments.restarted")
        return segment_windows(sitting, inputs, classes=classes, seed=seed)
    return stream_windows(
        sitting,
        inputs,
        classes=classes,
        silence_is_rest=data.kind in SILENCE_IS_REST,
        joined=data.kind == "ai4pain-2025",
    )


def _check_signals(sitting: Sitting, protocol: str, inputs: Sequence[InputSpec]) -> None:
    for item in inputs:
        try:
            channel = sitting.channel(item.modality)
        except KeyError as error:
            raise SourceError(str(error.args[0]), todo="Mend data.modalities, or take another model") from None
        if protocol in BUNDLE_PROTOCOLS and channel.rate_hz < item.min_rate_hz:
            raise SourceError(
                f"{channel.name} has {channel.rate_hz:g} Hz, the input {item.name} needs {item.min_rate_hz:g}",
                where=sitting.key,
                todo="Take a model for lower rates",
            )


def _counted(left_out: Sequence[Oddity]) -> Iterator[str]:
    """Reasons with how often they came up, the most frequent first."""
    counts: dict[str, int] = {}
    for oddity in left_out:
        counts[oddity.what] = counts.get(oddity.what, 0) + 1
    for what, count in sorted(counts.items(), key=lambda pair: -pair[1]):
        yield f"{count} times: {what}"
