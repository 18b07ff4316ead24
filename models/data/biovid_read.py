"""Files of BioVid to values: one cut after the other of parts A and B, the whole of a subject of part C."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from models.data.recorded import Column, FloatArray, Oddity, Sitting, Stretch, Trial, channel_of, to_track
from models.data.tables import Table, read_table
from monitor.errors import SourceError

CLASSES: Final = ("BL1", "PA1", "PA2", "PA3", "PA4")
RATE_HZ: Final = 512.0
ROWS: Final = 2816
_CALIBRATION_BASELINES: Final = 8
"""The first baselines by number (44 s) are a subject's calibration in `live-segment`."""
_STEP_US: Final = 1e6 / RATE_HZ
_LAST_STIMULUS: Final = 80
SAMPLE: Final = re.compile(r"^(?P<subject>\d{6}_[wm]_\d{2})-(?P<label>BL1|PA[1-4])-(?P<number>\d{3})_bio\.csv$")


def read_cut(subject: str, files: Sequence[Path], chosen: Sequence[Column]) -> Sitting:
    """Read the cuts of a subject in the order of `files`; each is a stretch and a trial.

    Raises:
        SourceError: If a file is damaged, with its line.
    """
    oddities: list[Oddity] = []
    stretches, trials = [], []
    baselines = 0
    for path in files:
        match = SAMPLE.match(path.name)
        assert match is not None  # listed by this pattern
        table = read_table(path, ["time", *(c.name for c in chosen)], delimiter="\t")
        oddities += _check_cut(table, path)
        number, label = int(match["number"]), CLASSES.index(match["label"])
        baselines += label == 0
        stretches.append(_stretch(path.name.removesuffix("_bio.csv"), table, chosen))
        trials.append(
            Trial(
                name=stretches[-1].name,
                label=label,
                group=match["label"],
                stretch=len(trials),
                presented=number if number <= _LAST_STIMULUS else None,
                calibration=label == 0 and baselines <= _CALIBRATION_BASELINES,
            )
        )
    return Sitting(
        subject=subject,
        session="",
        part="",
        classes=CLASSES,
        channels=tuple(channel_of(c)[0] for c in chosen),
        stretches=tuple(stretches),
        trials=tuple(trials),
        oddities=tuple(oddities),
    )


def _stretch(name: str, table: Table, chosen: Sequence[Column]) -> Stretch:
    tracks = {}
    for column in chosen:
        _, gain, offset = channel_of(column)
        tracks[column.name] = to_track(table.columns[column.name], gain, offset)
    return Stretch(name=name, tracks=tracks)


def _check_cut(table: Table, path: Path) -> Iterable[Oddity]:
    where = str(path)
    if table.rows != ROWS:
        yield Oddity(level="error", code="length", where=where, what=f"{table.rows} rows instead of {ROWS}")
    if not table.whole:
        yield Oddity(level="warning", code="cut short", where=where, what="the last line has no end")
    yield from _check_time(table.columns["time"], where)


def _check_time(time_us: FloatArray, where: str) -> Iterable[Oddity]:
    """Compare the time column with 512 Hz: it counts microseconds, rounded, from 0."""
    expected = time_us[0] + np.arange(len(time_us)) * _STEP_US
    off = np.abs(time_us - expected)
    if not np.all(off <= 2.0):
        row = int(np.flatnonzero(~(off <= 2.0))[0])
        yield Oddity(
            level="error",
            code="time",
            where=f"{where}, line {row + 2}",
            what=f"{time_us[row]:g} instead of {expected[row]:.0f} us: rows are missing, or it is not 512 Hz",
        )


def read_continuous(path: Path, labels: Path, chosen: Sequence[Column]) -> Sitting:
    """Read a subject of part C: one stretch, and a trial for every span of equal label.

    Raises:
        SourceError: If a file is damaged, with its line.
    """
    table = read_table(path, ["time", *(c.name for c in chosen)], delimiter="\t")
    time_us = table.columns["time"]
    oddities = list(_check_time(time_us, str(path)))
    trials = _label_runs(labels, zero_us=float(time_us[0]), end_us=float(time_us[-1]) + _STEP_US, oddities=oddities)
    return Sitting(
        subject=path.stem,
        session="",
        part="",
        classes=CLASSES,
        channels=tuple(channel_of(c)[0] for c in chosen),
        stretches=(Stretch(name=path.stem, tracks=_stretch("", table, chosen).tracks, start_s=0.0),),
        trials=tuple(trials),
        oddities=tuple(oddities),
        facts={"first_stimulus_s": min((t.start_s for t in trials if t.label), default=float("inf"))}
        if any(t.label for t in trials)
        else {},
    )


def _label_runs(path: Path, *, zero_us: float, end_us: float, oddities: list[Oddity]) -> list[Trial]:
    """Spans of equal label. A label holds until the next line, so that both one a sample and one a change are read.

    What lies before the first stimulus is the person's baseline. A code other than 0 to 4 is no label and is said.
    """
    table = read_table(path, delimiter="\t")
    if len(table.names) < 2 or table.names[0] != "time":
        raise SourceError(f"its columns are {', '.join(table.names)} instead of time, label", where=f"{path}, line 1")
    time_us, code = table.columns["time"], np.nan_to_num(table.columns[table.names[1]], nan=-1.0)
    if np.any(np.diff(time_us) <= 0):
        line = int(np.flatnonzero(np.diff(time_us) <= 0)[0]) + 3
        raise SourceError("the time does not ascend", where=f"{path}, line {line}", todo="Copy it again")
    begins = np.flatnonzero(np.concatenate([[True], code[1:] != code[:-1]]))
    ends_us = np.append(time_us[begins[1:]], max(end_us, time_us[-1]))
    stranger = sorted({float(c) for c in code[begins] if c not in range(len(CLASSES))})
    if stranger:
        what = f"labels {', '.join(f'{c:g}' for c in stranger)} are none of 0..4: without a class"
        oddities.append(Oddity(level="warning", code="label", where=str(path), what=what))
    trials = []
    stimuli = 0
    for number, (first, stop_us) in enumerate(zip(begins, ends_us, strict=True)):
        label = int(code[first]) if code[first] in range(len(CLASSES)) else None
        stimuli += bool(label)
        start_s = (float(time_us[first]) - zero_us) * 1e-6
        trials.append(
            Trial(
                name=f"{path.stem}-{number:03d}",
                label=label,
                group=CLASSES[label] if label is not None else "",
                start_s=start_s,
                seconds=(min(float(stop_us), end_us) - float(time_us[first])) * 1e-6,
                onset_s=start_s if label else None,
                presented=stimuli if label else None,
                calibration=label == 0 and stimuli == 0,
            )
        )
    return trials
