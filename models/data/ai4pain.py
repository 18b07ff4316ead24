"""AI4PAIN 2025 and 2026 (restricted challenge data; their user obtains them from the organisers, nothing is shipped).

One comma-separated file a subject and signal, `{train,validation,test}/{Bvp,Eda,Resp,SpO2}/<subject>.csv`, at 100 Hz
and without a time: a row is a sample, a column a cut. In 2025 the columns have different lengths and end in empty
cells; a class could be told from that length alone, so whoever trains must cut all classes to equal windows first.
Test columns carry no label. Units as the organisers state them: uS, mV, % or arbitrary, %.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from models.data.folders import csv_files, find_folder
from models.data.recorded import (
    Column,
    DataSet,
    FloatArray,
    Oddity,
    Sitting,
    SittingFiles,
    Stretch,
    Trial,
    channel_of,
    choose_columns,
    to_track,
)
from models.data.settings import DataSettings
from models.data.tables import read_names, read_table
from monitor.errors import SourceError

RATE_HZ: Final = 100.0
COLUMNS: Final = (
    Column(name="Bvp", modality="BVP", unit="mV", rate_hz=RATE_HZ),
    Column(name="Eda", modality="EDA", unit="uS", rate_hz=RATE_HZ),
    Column(name="Resp", modality="RESP", unit="a.u.", rate_hz=RATE_HZ),
    Column(name="SpO2", modality="SPO2", unit="%", rate_hz=RATE_HZ),
)

VALIDATION: Final = (7, 9, 10, 14, 19, 35, 38, 39, 40, 61, 62, 65)
TEST: Final = (3, 17, 20, 23, 26, 31, 32, 33, 50, 51, 54, 64)
TRAIN: Final = tuple(n for n in range(1, 66) if n not in VALIDATION and n not in TEST)
PARTS: Final[Mapping[str, tuple[int, ...]]] = MappingProxyType({"train": TRAIN, "validation": VALIDATION, "test": TEST})
"""The official division of the 65 subjects."""

_SEAM_SHARE: Final = 0.9
_SEAM_PERCENTILE: Final = 99.0


@dataclass(frozen=True, kw_only=True)
class _Year:
    """What is told apart in the columns of one year."""

    classes: tuple[str, ...]
    groups: Mapping[str, int]
    """Word in a column's name, in lower case, and the class it stands for."""
    counts: Mapping[str, int]
    test_columns: int
    lengths: Mapping[str, tuple[int, int]]
    """Shortest and longest cut that was counted in the data, by group."""


_YEARS: Final[Mapping[str, _Year]] = MappingProxyType(
    {
        "ai4pain-2025": _Year(
            classes=("no pain", "low", "high"),
            groups=MappingProxyType({"baseline": 0, "rest": 0, "low": 1, "high": 2}),
            counts=MappingProxyType({"baseline": 1, "rest": 23, "low": 12, "high": 12}),
            test_columns=29,
            lengths=MappingProxyType(
                {
                    "baseline": (5918, 5982),
                    "rest": (3902, 3966),
                    "low": (990, 1150),
                    "high": (990, 1150),
                    "": (990, 1150),
                }
            ),
        ),
        "ai4pain-2026": _Year(
            classes=("no pain", "arm", "hand"),
            groups=MappingProxyType({"baseline": 0, "arm": 1, "hand": 2}),
            counts=MappingProxyType({"baseline": 12, "arm": 12, "hand": 12}),
            test_columns=36,
            lengths=MappingProxyType(dict.fromkeys(("baseline", "arm", "hand", ""), (990, 1118))),
        ),
    }
)
_BASELINE_CUTS: Final = 6
_NO_PAIN_CUTS: Final = 12
"""Cuts without pain of a subject that the organisers score, and how many of them are of the baseline."""
_BASELINE_CUTS_2026: Final = 6
"""Six of the twelve Baseline cuts come from the baseline before any stimulus, six from rests between stimuli; that the
first six by number are those of the baseline is a reading [inf], since the names do not tell."""

_REFUSED_2026: Final = MappingProxyType(
    {"live-stream": "its cuts are taken out of a session whose other parts are not published"}
)
_REFUSED_TEST_ONLY: Final = "only unlabelled test data are there"


def open_ai4pain(settings: DataSettings) -> DataSet:
    """List what is in a folder of either year.

    Raises:
        SourceError: If it is not that year's, or empty.
    """
    kind = str(settings.kind)
    year = _YEARS[kind]
    root = Path(settings.path)
    chosen = choose_columns(
        COLUMNS, modalities=settings.modalities, signals=settings.signals, units=settings.units, where=str(root)
    )
    for column in chosen:
        channel_of(column, where=str(root))
    top = find_folder(root, "Dataset") or root
    oddities: list[Oddity] = []
    sittings: list[SittingFiles] = []
    for part in PARTS:
        folder = find_folder(top, part)
        if folder is None:
            level = "note" if part == "test" else "warning"
            oddities.append(Oddity(level=level, code="missing", where=str(top), what=f"there is no folder {part}"))
            continue
        sittings += _part(folder, part, chosen, settings, oddities)
    if not sittings:
        lacking = next((f"; {Path(o.where).name}: {o.what}" for o in oddities if o.level == "error"), "")
        raise SourceError(
            f"no subject is in it{lacking}",
            where=str(top),
            todo="Expected train/Eda/1.csv, train/Bvp/1.csv, validation/..., test/..."
            + ("; or name what you have in data.modalities" if lacking else ""),
        )
    _check_year(sittings, kind)
    oddities += _check_people(sittings)
    refused = {} if kind == "ai4pain-2025" else dict(_REFUSED_2026)
    if all(sitting.part == "test" for sitting in sittings):
        refused = dict.fromkeys(("paper", "live-segment", "live-stream"), _REFUSED_TEST_ONLY)
    return DataSet(
        kind=kind,
        root=root,
        classes=year.classes,
        sittings=tuple(sittings),
        refused=refused,
        oddities=tuple(oddities),
    )


def _part(
    folder: Path, part: str, chosen: Sequence[Column], settings: DataSettings, oddities: list[Oddity]
) -> Iterator[SittingFiles]:
    files: dict[str, dict[str, Path]] = {}
    for column in chosen:
        place = find_folder(folder, column.name)
        if place is None:
            oddities.append(
                Oddity(level="error", code="missing", where=str(folder), what=f"there is no folder {column.name}")
            )
            continue
        for path in csv_files(place):
            files.setdefault(path.stem, {})[column.name] = path
    for subject in sorted(files, key=_natural):
        paths = files[subject]
        if missing := [c.name for c in chosen if c.name not in paths]:
            what = f"its {', '.join(missing)} are missing: the subject is left out"
            oddities.append(Oddity(level="error", code="missing", where=f"{part}/{subject}", what=what))
            continue
        yield SittingFiles(
            subject=subject,
            part=part,
            files=tuple(paths.values()),
            read=partial(_read, subject, part, dict(paths), tuple(chosen), str(settings.kind), settings.rest),
        )


def _natural(text: str) -> tuple[int, str]:
    return (int(text), "") if text.isdigit() else (1 << 30, text)


def _check_year(sittings: Sequence[SittingFiles], kind: str) -> None:
    """Refuse the other year's columns, as a header or two shows them."""
    for sitting in sittings:
        if sitting.part == "test":
            continue
        names = read_names(sitting.files[0], delimiter=",")
        groups = {_group(name, ("low", "high", "arm", "hand")) for name in names}
        other = "ai4pain-2026" if groups & {"arm", "hand"} else "ai4pain-2025" if groups & {"low", "high"} else kind
        if other != kind:
            raise SourceError(
                f"these are columns of {other}: {', '.join(names[:4])}, ...",
                where=f"{sitting.files[0]}, line 1",
                todo=f'Set kind = "{other}"',
            )


def _check_people(sittings: Sequence[SittingFiles]) -> Iterator[Oddity]:
    places: dict[str, list[str]] = {}
    for sitting in sittings:
        places.setdefault(sitting.subject, []).append(sitting.part)
    for subject, parts in places.items():
        if len(parts) > 1:
            yield Oddity(
                level="error", code="duplicate", where=subject, what=f"the subject is in {' and in '.join(parts)}"
            )
    for part, official in PARTS.items():
        there = {s.subject for s in sittings if s.part == part}
        if not there:
            continue
        if strangers := sorted(there - {str(n) for n in official}, key=_natural):
            what = f"{', '.join(strangers[:8])} do not belong to it officially"
            yield Oddity(level="warning", code="division", where=part, what=what)
        if absent := [str(n) for n in official if str(n) not in there]:
            what = f"{len(absent)} of its {len(official)} subjects are not there: {', '.join(absent[:8])}"
            yield Oddity(level="warning", code="subjects", where=part, what=what)


def _group(name: str, words: Sequence[str]) -> str:
    """Which of the words a column's name holds, behind the subject's number and in any case."""
    low = name.lower()
    return next((word for word in words if word in low), "")


def _read(
    subject: str, part: str, paths: Mapping[str, Path], chosen: Sequence[Column], kind: str, rest: str
) -> Sitting:
    year = _YEARS[kind]
    tables = {name: read_table(path, delimiter=",") for name, path in paths.items()}
    first = chosen[0].name
    for name, table in tables.items():
        if table.names != tables[first].names or table.rows != tables[first].rows:
            raise SourceError(
                f"its {len(table.names)} columns of {table.rows} rows are not those of {first} "
                f"({len(tables[first].names)} of {tables[first].rows})",
                where=f"{paths[name]}, line 1",
                todo="All signals of a subject share their columns: copy it again",
            )
    oddities = [
        Oddity(level="warning", code="cut short", where=str(paths[name]), what="the last line has no end")
        for name, table in tables.items()
        if not table.whole
    ]
    trials, stretches = [], []
    for number, name in enumerate(tables[first].names):
        cuts = {c.name: _without_tail(tables[c.name].columns[name]) for c in chosen}
        lengths = {len(cut) for cut in cuts.values()}
        if len(lengths) > 1:
            said = ", ".join(f"{key} {len(cut)}" for key, cut in cuts.items())
            oddities.append(
                Oddity(
                    level="warning",
                    code="length",
                    where=f"{subject}, {name}",
                    what=f"its signals differ: {said} samples",
                )
            )
        group = "" if part == "test" else _group(name, tuple(year.groups))
        stretches.append(_stretch(name, cuts, chosen))
        trials.append(
            Trial(
                name=name,
                label=_label(group, year, rest),
                group=group,
                stretch=number,
                presented=number if kind == "ai4pain-2025" and part != "test" else None,
                calibration=_is_calibration(name, group, kind),
            )
        )
        oddities += _check_length(f"{subject}, {name}", max(lengths), year.lengths.get(group, (1, 1 << 30)))
    oddities += _check_columns(subject, part, trials, year)
    return Sitting(
        subject=subject,
        session="",
        part=part,
        classes=year.classes,
        channels=tuple(channel_of(c)[0] for c in chosen),
        stretches=tuple(stretches),
        trials=tuple(trials),
        oddities=tuple(oddities),
    )


def _label(group: str, year: _Year, rest: str) -> int | None:
    return None if group == "rest" and rest == "unlabelled" else year.groups.get(group)


def _is_calibration(name: str, group: str, kind: str) -> bool:
    if group != "baseline":
        return False
    if kind == "ai4pain-2025":
        return True
    number = re.search(r"(\d+)$", name)
    return number is not None and 1 <= int(number[1]) <= _BASELINE_CUTS_2026


def _without_tail(column: FloatArray) -> FloatArray:
    """A cut without the empty cells at its end; those within stay, as NaN."""
    there = np.flatnonzero(~np.isnan(column))
    return column[: there[-1] + 1] if there.size else column[:0]


def _stretch(name: str, cuts: Mapping[str, FloatArray], chosen: Sequence[Column]) -> Stretch:
    tracks = {}
    for column in chosen:
        _, gain, offset = channel_of(column)
        tracks[column.name] = to_track(cuts[column.name], gain, offset)
    return Stretch(name=name, tracks=tracks)


def _check_length(where: str, samples: int, limits: tuple[int, int]) -> Iterator[Oddity]:
    if samples == 0:
        yield Oddity(level="error", code="empty", where=where, what="the column holds no number")
    elif not limits[0] <= samples <= limits[1]:
        what = f"{samples} samples, where {limits[0]} to {limits[1]} are usual"
        yield Oddity(level="warning", code="length", where=where, what=what)


def _check_columns(subject: str, part: str, trials: Sequence[Trial], year: _Year) -> Iterator[Oddity]:
    if part == "test":
        what = f"{len(trials)} unlabelled test columns: nothing can be trained on or scored against them here"
        yield Oddity(level="note", code="unlabelled", where=subject, what=what)
        if len(trials) != year.test_columns:
            what = f"{len(trials)} columns instead of {year.test_columns}"
            yield Oddity(level="warning", code="count", where=subject, what=what)
        return
    for group, expected in year.counts.items():
        count = sum(trial.group == group for trial in trials)
        if count != expected:
            what = f"{count} columns of {group} instead of {expected}"
            yield Oddity(level="warning", code="count", where=subject, what=what)
    if strangers := [trial.name for trial in trials if not trial.group]:
        what = f"columns that name no class: {', '.join(strangers[:4])}"
        yield Oddity(level="warning", code="label", where=subject, what=what)


def no_pain_cuts(sitting: Sitting, seconds: float, *, seed: int) -> Sitting:
    """A subject of 2025 whose class without pain is built as the organisers build it, for the protocol `paper`.

    They score 36 cuts of each subject, 12 of a class, and have one baseline of a minute and 23 rests. As they state it
    for 2026, six cuts are of the baseline, one after the other, and six the ends of rests; which rests is drawn by
    seed [inf for 2025]. A baseline too short for six gives those that it holds, and rests make up for them. Where
    `rest` leaves rests unlabelled, the baseline's cuts are the whole class.

    Args:
        sitting: All its trials are whole columns.
        seconds: Length of a cut.
        seed: Of the draw.
    """
    cuts: list[Trial] = []
    for trial in (t for t in sitting.trials if t.group == "baseline"):
        tracks = sitting.stretches[trial.stretch].tracks
        length_s = min((len(track.samples) for track in tracks.values()), default=0) / RATE_HZ
        count = min(int(length_s / seconds + 1e-9), _BASELINE_CUTS)
        # Back from its end, where the person has settled: as all other trials are cut.
        cuts += [
            replace(trial, name=f"{trial.name}, cut {i + 1}", start_s=length_s - (count - i) * seconds, seconds=seconds)
            for i in range(count)
        ]
    rests = [trial for trial in sitting.trials if trial.group == "rest" and trial.label == 0]
    order = sorted(rests, key=lambda t: hashlib.blake2b(f"{seed}/rest/{sitting.key}/{t.name}".encode()).digest())
    drawn = {trial.name for trial in order[: max(_NO_PAIN_CUTS - len(cuts), 0)]}
    others = [
        t for t in sitting.trials if t.group != "baseline" and (t.group != "rest" or t.label != 0 or t.name in drawn)
    ]
    return replace(sitting, trials=(*cuts, *others))


def seam_share(sitting: Sitting, channel: str) -> float:
    """Share of seams between neighbouring columns that look continuous, for joining a subject of 2025 to a stream.

    A seam looks continuous if its step is at most the 99th percentile of the steps within the cuts. Columns may be
    joined where this is at least 0.9 for every channel (`may_be_joined`); else every seam is a gap.

    Returns:
        0 to 1; 0 where there is no seam.
    """
    cuts = [stretch.tracks[channel].samples.astype(np.float64) for stretch in sitting.stretches]
    cuts = [cut for cut in cuts if len(cut) > 1]
    if len(cuts) < 2:
        return 0.0
    within = np.concatenate([np.abs(np.diff(cut)) for cut in cuts])
    limit = np.nanpercentile(within, _SEAM_PERCENTILE)
    seams = np.array([abs(after[0] - before[-1]) for before, after in pairwise(cuts)])
    return float(np.mean(seams <= limit))


def may_be_joined(sitting: Sitting) -> bool:
    """Whether all channels pass the test of seams (`seam_share`)."""
    return all(seam_share(sitting, channel.name) >= _SEAM_SHARE for channel in sitting.channels)
