"""Labelled windows, whatever they were cut from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

UNLABELLED: Final = -1
"""Label of a window that a rule leaves out: it serves live-stream reporting and nothing else."""

BoolArray = NDArray[np.bool_]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class WindowSet:
    """Scaled windows as the pipeline gives them to a model, in the order in which they ended.

    Every array has one entry a window along its first axis.
    """

    inputs: Mapping[str, NDArray[np.float32]]
    """(n, channels, samples) by input name."""
    labels: IntArray
    """(n,) class numbers, or `UNLABELLED`."""
    subjects: NDArray[np.str_]
    """(n,) subject codes."""
    t_end: NDArray[np.float64]
    """(n,) seconds from the subject's zero."""
    level: NDArray[np.float64]
    """(n,) level of the stimulus, 0..1, as of the time that labels are read."""
    since_onset_s: NDArray[np.float64]
    """(n,) seconds since the last painful onset; infinite before the first."""
    confounded: BoolArray
    """(n,) whether something that is not pain happened in the window or shortly before it."""
    calibrated: BoolArray
    """(n,) whether the subject's own baseline scaled it, not the population's."""
    groups: NDArray[np.str_] = field(default_factory=lambda: np.zeros(0, dtype=np.str_))
    """(n,) what kind of stretch it is, for figures by kind (`phasic`, `tonic`, `rest`); empty where nobody says."""

    def __post_init__(self) -> None:
        if len(self.groups) != len(self.labels):
            if len(self.groups):
                raise ValueError(f"{len(self.groups)} groups for {len(self.labels)} windows")
            object.__setattr__(self, "groups", np.full(len(self.labels), ""))

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: IntArray | BoolArray) -> WindowSet:
        """Windows by number or mask."""
        return WindowSet(
            inputs={name: values[which] for name, values in self.inputs.items()},
            **{name: getattr(self, name)[which] for name in _PER_WINDOW},
        )

    def of(self, subjects: Sequence[str]) -> WindowSet:
        """Windows of some subjects."""
        return self.take(np.isin(self.subjects, list(subjects)))

    def labelled(self) -> WindowSet:
        """Windows that have a label."""
        return self.take(self.labels != UNLABELLED)


_PER_WINDOW: Final = ("labels", "subjects", "t_end", "level", "since_onset_s", "confounded", "calibrated", "groups")


def join(parts: Sequence[WindowSet]) -> WindowSet:
    """One set of several with the same inputs.

    Raises:
        ValueError: If there is none.
    """
    if not parts:
        raise ValueError("there is nothing to join")
    return WindowSet(
        inputs={name: np.concatenate([part.inputs[name] for part in parts]) for name in parts[0].inputs},
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _PER_WINDOW},
    )
