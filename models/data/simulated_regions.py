"""Labelled windows of simulated brain regions: scaled by the monitor's own rule, labels from the known emotion.

Label rule: a window has the emotion of its block if all of its points lie in that block. The regions follow by some
5 s, so its first points may still show the block before.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.data.base import IntArray
from monitor import dsp
from monitor.bundle import FilterSpec, InputSpec, ScaleSpec
from monitor.sources.synthetic_regions import BLOCK_S, CHANNELS, EMOTIONS, RATE_HZ, SyntheticRegions

SAMPLES: Final = 25
"""Points of the published window."""
MODALITY: Final = "ARRAY:regions"

_BLOCK: Final = round(BLOCK_S * RATE_HZ)


@dataclass(frozen=True, kw_only=True, eq=False)
class RegionWindows:
    """Scaled windows; every array has one entry a window along its first axis."""

    inputs: dict[str, NDArray[np.float32]]
    """(n, 246, 25) under `regions`."""
    labels: IntArray
    """(n,) places in `EMOTIONS`."""
    subjects: NDArray[np.str_]
    """(n,) subject codes."""

    def __len__(self) -> int:
        return len(self.labels)


def regions_input() -> InputSpec:
    """The input of SE-CNN: 25 points of 246 regions at 1 Hz, less their least value, over their range, as published.

    The rate is ours, as the paper states no repetition time. A window's least value and range are taken over all
    regions and points together.
    """
    return InputSpec(
        name="regions",
        modality=MODALITY,
        channels=CHANNELS,
        unit="a.u.",
        rate_hz=RATE_HZ,
        samples=SAMPLES,
        min_rate_hz=0.5,
        filter=FilterSpec(kind="none"),
        scale=ScaleSpec(center="window_min", spread="window_range", floor=1e-6, clip=1.0),
    )


def cut_regions(part: str, numbers: Sequence[int], *, blocks: int, per_block: int) -> RegionWindows:
    """Windows of some subjects, spread evenly over the last 35 s of each of their first blocks.

    Args:
        part: train, test or demo, as of `SyntheticRegions`.
        numbers: Subjects of that part.
        blocks: Minutes of each subject; a multiple of three has every emotion equally often.
        per_block: Windows of each minute.
    """
    last_points = np.linspace(SAMPLES - 1, _BLOCK - 1, per_block + 1, dtype=np.int64)[1:]
    ends = np.concatenate([block * _BLOCK + last_points for block in range(blocks)])
    return _labelled(part, numbers, ends, 0.0)


def every_window(part: str, numbers: Sequence[int], *, blocks: int, delay_s: float) -> RegionWindows:
    """A window a second, also across changes, labelled by the emotion `delay_s` before its end."""
    ends = np.arange(SAMPLES - 1, blocks * _BLOCK)
    return _labelled(part, numbers, ends, delay_s)


def _labelled(part: str, numbers: Sequence[int], ends: IntArray, delay_s: float) -> RegionWindows:
    inputs, labels, subjects = [], [], []
    for number in numbers:
        subject = SyntheticRegions(number, part=part)
        inputs.append(_windows(subject, ends))
        labels += [EMOTIONS.index(subject.emotion_at(end / RATE_HZ - delay_s)) for end in ends]
        subjects += [subject.subject] * len(ends)
    return RegionWindows(
        inputs={"regions": np.concatenate(inputs)},
        labels=np.array(labels, dtype=np.int64),
        subjects=np.array(subjects),
    )


def _windows(subject: SyntheticRegions, ends: IntArray) -> NDArray[np.float32]:
    """(n, 246, 25) of the windows whose last points are `ends`."""
    spec, none = regions_input().scale, dsp.Baseline(center=0.0, spread=1.0, range=0.0)
    values = subject.samples(0, int(ends[-1]) + 1).T.astype(np.float64)
    return np.stack([dsp.scale(values[:, end - SAMPLES + 1 : end + 1], spec, none) for end in ends])
