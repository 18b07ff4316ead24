"""BioVid Heat Pain Database, parts A, B and C (restricted; its user obtains it from the authors, nothing is shipped).

Parts A and B are cut: one file of 5.5 s at 512 Hz (2816 rows) a stimulus, five classes of twenty a subject. The file's
number is the position among the 80 stimuli (001-080); baselines carry 081-100, which says nothing of when they were
[inf from all names seen]. Where a cut lies relative to its stimulus is published only as a figure, so that no onset is
given. Part C is continuous: one file a subject, with the label of every moment beside it.

Units are not stated in the files. EDA is taken as uS, ECG and EMG as uV [inf: detectors published for these data use
thresholds of 500]; `data.units` says otherwise where that is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from models.data.biovid_people import NON_REACTIVE
from models.data.biovid_read import CLASSES, RATE_HZ, SAMPLE, read_continuous, read_cut
from models.data.folders import csv_files, one_level_down
from models.data.recorded import (
    Column,
    DataSet,
    Oddity,
    SittingFiles,
    channel_of,
    choose_columns,
)
from models.data.settings import DataSettings
from monitor.errors import SourceError

_PER_CLASS: Final = 20
_PEOPLE: Final = {"A": 87, "B": 86, "C": 87}

_COLUMNS: Final = (
    Column(name="gsr", modality="EDA", unit="uS", rate_hz=RATE_HZ),
    Column(name="ecg", modality="ECG", unit="uV", rate_hz=RATE_HZ),
    Column(name="emg_trapezius", modality="EMG", unit="uV", rate_hz=RATE_HZ),
    Column(name="emg_corrugator", modality="EMG", unit="uV", rate_hz=RATE_HZ),
    Column(name="emg_zygomaticus", modality="EMG", unit="uV", rate_hz=RATE_HZ),
)
_FACIAL: Final = ("emg_corrugator", "emg_zygomaticus")
_PERSON: Final = re.compile(r"^\d{6}_[wm]_\d{2}$")

_SCORES: Final = "_bio_sc.csv"
"""Files that some copies hold beside the samples; what is in them is not published, and nothing here reads them."""

_REFUSED_CUT: Final = MappingProxyType(
    {"live-stream": "it comes cut into 5.5 s at one phase of the stimulus, without what lies between"}
)
_REFUSED_C: Final = MappingProxyType(
    {
        "paper": "the published protocols use the cut parts",
        "live-segment": "it is continuous, which live-stream makes full use of",
    }
)


def columns_of(part: str) -> tuple[Column, ...]:
    """Signals of a part: A has no electrodes on the face, though its files carry the columns."""
    return tuple(c for c in _COLUMNS if part != "A" or c.name not in _FACIAL)


def open_biovid(settings: DataSettings) -> DataSet:
    """List what is in a folder of part A, B or C.

    Raises:
        SourceError: If it is not that part, or empty.
    """
    part = str(settings.kind)[-1].upper()
    root = Path(settings.path)
    folder = _signal_folder(root, f"biosignals_{settings.version}", part)
    chosen = choose_columns(
        columns_of(part),
        modalities=settings.modalities,
        signals=settings.signals,
        units=settings.units,
        where=str(root),
    )
    for column in chosen:
        channel_of(column, where=str(root))
    _check_part(folder, part)
    oddities: list[Oddity] = []
    if part == "C":
        sittings = _continuous(folder, chosen, oddities)
    else:
        sittings = _cut(folder, chosen, oddities)
    if len(sittings) != _PEOPLE[part]:
        oddities.append(
            Oddity(
                level="warning" if len(sittings) < _PEOPLE[part] else "error",
                code="subjects",
                where=str(folder),
                what=f"{len(sittings)} subjects instead of the {_PEOPLE[part]} of part {part}",
                todo="Was everything copied?",
            )
        )
    if dull := sorted({s.subject for s in sittings} & set(NON_REACTIVE)):
        oddities.append(
            Oddity(
                level="note",
                code="non-reactive",
                where=str(folder),
                what=f"{len(dull)} of the 20 subjects whom part of the literature leaves out as non-reactive",
                todo="They stay in; data.leave_out drops them, and then the report must say so",
            )
        )
    if settings.version == "filtered":
        oddities.append(
            Oddity(
                level="warning",
                code="filtered",
                where=str(folder),
                what="these were filtered over the whole signal, with knowledge of what came later",
                todo='Take version = "raw" for anything that shall run live',
            )
        )
    return DataSet(
        kind=str(settings.kind),
        root=root,
        classes=CLASSES,
        sittings=tuple(sittings),
        refused=_refused(part, settings.version),
        oddities=tuple(oddities),
    )


def _refused(part: str, version: str) -> Mapping[str, str]:
    refused = dict(_REFUSED_C if part == "C" else _REFUSED_CUT)
    if version == "filtered":
        for protocol in ("live-segment", "live-stream"):
            refused.setdefault(protocol, 'a live model needs the raw files: version = "raw"')
    return refused


def _signal_folder(root: Path, name: str, part: str) -> Path:
    """The folder of signals: in the root, in PartX, or once more in itself as some archives unpack."""
    tops = [root, *(root / other for other in (f"Part{part}", f"part{part}", f"Part {part}", f"Part_{part}"))]
    for top in tops:
        if (top / name).is_dir():
            return one_level_down(top / name, name)
    raise SourceError(
        f"there is no folder {name}",
        where=str(root),
        todo=f"Name the folder of part {part} in data.path: the one that holds {name}",
    )


def _check_part(folder: Path, part: str) -> None:
    """Refuse a folder whose form or name is another part's."""
    entries = sorted(folder.iterdir())
    people = [e for e in entries if e.is_dir() and _PERSON.match(e.name)]
    long = [e for e in entries if e.is_file() and e.suffix == ".csv" and _PERSON.match(e.stem)]
    where = str(folder)
    if not people and not long:
        raise SourceError(
            "no subject is in it", where=where, todo="Expected folders or files such as 071309_w_21 or 071309_w_21.csv"
        )
    if part == "C" and not long:
        raise SourceError("this is cut, as parts A and B are", where=where, todo='Set kind = "biovid-a" or "biovid-b"')
    if part != "C" and not people:
        raise SourceError("this is continuous, as part C is", where=where, todo='Set kind = "biovid-c"')
    named = next((m[1] for m in (re.fullmatch(r"part[ _]?([a-e])", p.name.lower()) for p in folder.parents) if m), None)
    if named is not None and named.upper() != part:
        raise SourceError(
            f"the folder is called part {named.upper()}", where=where, todo=f'Set kind = "biovid-{named}", if it is so'
        )


# -- parts A and B ---------------------------------------------------------------------------------------------------


def _cut(folder: Path, chosen: Sequence[Column], oddities: list[Oddity]) -> list[SittingFiles]:
    index = _read_index(folder, oddities)
    sittings = []
    for person in sorted(e for e in folder.iterdir() if e.is_dir() and _PERSON.match(e.name)):
        found: dict[str, Path] = {}
        for path in csv_files(person):
            if path.name.endswith(_SCORES):
                continue
            match = SAMPLE.match(path.name)
            if match is None or match["subject"] != person.name:
                what = "is not called <subject>-<class>-<NNN>_bio.csv" if match is None else "is another subject's"
                oddities.append(Oddity(level="warning", code="stray", where=str(path), what=what + ": left out"))
            else:
                found[path.name.removesuffix("_bio.csv")] = path
        oddities += _missing_samples(person.name, set(found), index)
        files = tuple(found[name] for name in sorted(found, key=_number))
        if not files:
            oddities.append(Oddity(level="error", code="missing", where=str(person), what="no sample is in it"))
            continue
        sittings.append(
            SittingFiles(subject=person.name, files=files, read=partial(read_cut, person.name, files, tuple(chosen)))
        )
    unseen = sorted(set(index) - {sitting.subject for sitting in sittings})
    oddities += [
        Oddity(level="error", code="missing", where=name, what="samples.csv lists the subject, no file is there")
        for name in unseen
    ]
    return sittings


def _number(name: str) -> int:
    return int(name[-3:])


def _read_index(folder: Path, oddities: list[Oddity]) -> dict[str, set[str]]:
    """Names of samples by subject, as starting_point/samples.csv lists them; empty where there is none."""
    above = [folder.parent, folder.parent.parent]
    path = next((p for top in above for p in (top / "starting_point" / "samples.csv",) if p.is_file()), None)
    if path is None:
        oddities.append(
            Oddity(
                level="warning",
                code="index",
                where=str(folder.parent),
                what="starting_point/samples.csv is not there: what is missing can only be guessed from counts",
            )
        )
        return {}
    index: dict[str, set[str]] = {}
    text = path.read_text(encoding="utf-8-sig", errors="replace")
    for line, row in enumerate(text.splitlines()[1:], start=2):
        cells = [cell.strip() for cell in row.split("\t")]
        if not any(cells):
            continue
        if len(cells) < 6:
            raise SourceError(f"{len(cells)} cells instead of 6", where=f"{path}, line {line}", todo="Copy it again")
        subject, number, name, sample = cells[1], cells[2], cells[3], cells[5]
        if name not in CLASSES or number != str(CLASSES.index(name)) or f"-{name}-" not in sample:
            raise SourceError(
                f"class_id {number}, class_name {name} and sample_name {sample} do not agree",
                where=f"{path}, line {line}",
                todo="class_id 0..4 are BL1, PA1..PA4",
            )
        index.setdefault(subject, set()).add(sample)
    return index


def _missing_samples(subject: str, found: set[str], index: Mapping[str, set[str]]) -> Iterable[Oddity]:
    if index:
        missing = sorted(index.get(subject, set()) - found)
        if missing:
            what = (
                f"{len(missing)} of {len(index[subject])} samples of samples.csv are missing: {', '.join(missing[:3])}"
            )
            yield Oddity(level="error", code="missing", where=subject, what=what, todo="Copy the folder again")
        if extra := found - index.get(subject, set()):
            yield Oddity(
                level="warning",
                code="stray",
                where=subject,
                what=f"{len(extra)} samples that samples.csv does not list",
            )
    for name in CLASSES:
        count = sum(f"-{name}-" in sample for sample in found)
        if count != _PER_CLASS:
            yield Oddity(
                level="warning", code="count", where=subject, what=f"{count} samples of {name} instead of {_PER_CLASS}"
            )


# -- part C ----------------------------------------------------------------------------------------------------------


def _continuous(folder: Path, chosen: Sequence[Column], oddities: list[Oddity]) -> list[SittingFiles]:
    sittings = []
    for path in (p for p in csv_files(folder) if _PERSON.match(p.stem)):
        places = [top / name for top in (folder.parent, folder.parent.parent) for name in ("label", "stimulus")]
        labels = next(
            (p for place in places for p in (place / path.name, place / place.name / path.name) if p.is_file()), None
        )
        if labels is None:
            what = "neither label/ nor stimulus/ has its labels: left out"
            oddities.append(Oddity(level="error", code="missing", where=str(path), what=what))
            continue
        sittings.append(
            SittingFiles(
                subject=path.stem, files=(path, labels), read=partial(read_continuous, path, labels, tuple(chosen))
            )
        )
    return sittings
