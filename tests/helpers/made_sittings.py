"""Data sets in memory, with made-up EDA: cut as challenge data are, or continuous with stimuli in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from models.data.recorded import Channel, DataSet, Sitting, SittingFiles, Stretch, Track, Trial

RATE_HZ = 16.0
CLASSES = ("none", "mild", "severe")
EDA = Channel(name="Eda", modality="EDA", unit="uS", rate_hz=RATE_HZ)


def made_eda(seconds: float, seed: int) -> np.ndarray:
    """(n,) uS that wander as skin conductance may."""
    rng = np.random.default_rng(seed)
    t = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    phase = rng.uniform(0, 6, 3)
    waves = sum(0.1 * np.sin(2 * np.pi * f * t + p) for f, p in zip((0.05, 0.11, 0.23), phase, strict=True))
    return (4.0 + rng.uniform(-1, 1) + waves + 1e-3 * rng.standard_normal(len(t))).astype(np.float32)


def cut_sitting(
    subject: str,
    seed: int,
    *,
    seconds: Mapping[int, float] | None = None,
    per_class: int = 4,
    calibration: int = 3,
    change: Callable[[str, np.ndarray], np.ndarray] | None = None,
) -> Sitting:
    """Three classes in cuts of 6 s, or as long as a class is said to be; the first cuts are for calibration."""
    labels = [0] * calibration + [label for _ in range(per_class) for label in range(3)]
    stretches, trials = [], []
    for number, label in enumerate(labels):
        name = f"{subject}-{number}"
        samples = made_eda((seconds or {}).get(label, 6.0), 1000 * seed + number)
        stretches.append(
            Stretch(name=name, tracks={"Eda": Track(samples=change(name, samples) if change else samples)})
        )
        trials.append(Trial(name=name, label=label, stretch=number, calibration=number < calibration))
    return Sitting(
        subject=subject,
        session="",
        part="",
        classes=CLASSES,
        channels=(EDA,),
        stretches=tuple(stretches),
        trials=tuple(trials),
        digest=f"{subject}{seed}",
    )


def continuous_sitting(
    subject: str,
    seed: int,
    *,
    stimuli: Sequence[tuple[float, float, int | None]] = ((50.0, 60.0, 2), (75.0, 85.0, 1)),
    seconds: float = 100.0,
    change: Callable[[np.ndarray], np.ndarray] | None = None,
) -> Sitting:
    """One recording; stimuli are (start, end, label)."""
    samples = made_eda(seconds, seed)
    return Sitting(
        subject=subject,
        session="",
        part="",
        classes=CLASSES,
        channels=(EDA,),
        stretches=(
            Stretch(name="all", tracks={"Eda": Track(samples=change(samples) if change else samples)}, start_s=0.0),
        ),
        trials=tuple(
            Trial(name=f"{subject}-{i}", label=label, start_s=a, seconds=b - a, onset_s=a)
            for i, (a, b, label) in enumerate(stimuli)
        ),
        facts={"first_stimulus_s": min(a for a, _, _ in stimuli)} if stimuli else {},
        digest=f"{subject}{seed}",
    )


def data_of(kind: str, sittings: Sequence[Sitting], refused: Mapping[str, str] | None = None) -> DataSet:
    """A data set of them."""
    return DataSet(
        kind=kind,
        root=Path(kind),
        classes=CLASSES,
        sittings=tuple(
            SittingFiles(subject=s.subject, session=s.session, part=s.part, read=lambda s=s: s) for s in sittings
        ),
        refused=refused or {},
    )
