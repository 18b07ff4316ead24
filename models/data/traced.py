"""Windows that carry where they come from, so that nobody has to remember it when subjects are divided.

Every window knows its recording and its span of it; every statistic that scaled a window knows the spans that it was
computed from. `models.data.guards` compares the two.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from models.data.base import BoolArray, IntArray, WindowSet, join
from models.data.recorded import Oddity
from monitor.bundle import InputSpec

NO_STATISTIC: Final = -1
"""In place of a statistic's number: only the window itself and constants scaled it."""

BUNDLE_PROTOCOLS: Final = ("live-segment", "live-stream")
"""Protocols whose models may become bundles: their inputs can be had at a bedside."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """A piece of a recording."""

    subject: str
    recording: str
    """One clock: sitting, with the stretch where that has a clock of its own."""
    start_s: float
    """Seconds of the recording's clock."""
    stop_s: float

    def overlaps(self, recording: str, start_s: float, stop_s: float) -> bool:
        """Whether it shares time with another piece; touching ends do not count."""
        return self.recording == recording and self.start_s < stop_s and start_s < self.stop_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Statistic:
    """Centre and spread that scaled some windows, and what they were computed from."""

    name: str
    scope: Literal["own", "population"]
    """`own`: of one person, for this person's windows only; `population`: of several, for everybody's."""
    spans: tuple[Span, ...]
    values: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """(median, IQR, range) by input name or input key, in the modality's unit."""

    @property
    def subjects(self) -> frozenset[str]:
        """Whose signals are in it."""
        return frozenset(span.subject for span in self.spans)


@dataclass(frozen=True, kw_only=True, eq=False)
class TracedSet:
    """Windows with their origin; only `models.data.guards.divide` takes them apart by subject."""

    protocol: str
    inputs: tuple[InputSpec, ...]
    windows: WindowSet
    recordings: NDArray[np.str_]
    """(n,) `Span.recording` of each window."""
    digests: NDArray[np.str_]
    """(n,) hash of the sitting's samples, empty where unknown: two people with the same one are one recording."""
    start_s: NDArray[np.float64]
    """(n,) first moment that a window was computed from, on its recording's clock."""
    stop_s: NDArray[np.float64]
    """(n,) last moment."""
    seconds: NDArray[np.float64]
    """(n,) signal that was read of each window, before anything was computed."""
    statistics: tuple[Statistic, ...] = ()
    statistic: IntArray
    """(n,) number in `statistics` of what scaled a window, or `NO_STATISTIC`."""
    left_out: tuple[Oddity, ...] = ()
    """Sittings and trials that gave no window, and why."""

    def __len__(self) -> int:
        return len(self.windows)

    @property
    def may_become_bundle(self) -> bool:
        """Whether the protocol's inputs can be had live."""
        return self.protocol in BUNDLE_PROTOCOLS

    def take(self, which: IntArray | BoolArray) -> TracedSet:
        """Windows by number or mask, with their origin."""
        return TracedSet(
            protocol=self.protocol,
            inputs=self.inputs,
            windows=self.windows.take(which),
            statistics=self.statistics,
            left_out=self.left_out,
            **{name: getattr(self, name)[which] for name in _PER_WINDOW},
        )


_PER_WINDOW: Final = ("recordings", "digests", "start_s", "stop_s", "seconds", "statistic")


def join_traced(parts: Sequence[TracedSet]) -> TracedSet:
    """One set of several of the same protocol and inputs.

    Raises:
        ValueError: If there is none, or they differ in protocol or inputs.
    """
    if not parts:
        raise ValueError("there is nothing to join")
    first = parts[0]
    if any(part.protocol != first.protocol or part.inputs != first.inputs for part in parts):
        raise ValueError("sets of different protocols or inputs cannot be joined")
    arrays = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _PER_WINDOW[:-1]}
    numbers, shift = [], 0
    for part in parts:
        numbers.append(np.where(part.statistic == NO_STATISTIC, NO_STATISTIC, part.statistic + shift))
        shift += len(part.statistics)
    return TracedSet(
        protocol=first.protocol,
        inputs=first.inputs,
        windows=join([part.windows for part in parts]),
        statistics=tuple(statistic for part in parts for statistic in part.statistics),
        statistic=np.concatenate(numbers),
        left_out=tuple(oddity for part in parts for oddity in part.left_out),
        **arrays,
    )
