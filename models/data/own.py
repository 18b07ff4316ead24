"""What a user recorded: Empatica E4 folders, XDF files, and session databases of this monitor.

None of them says what a class is. Labels come from scores that people reported (a marker `nrs 6`, as the monitor
writes it into sessions and LSL markers): each speaks for the seconds before it was entered, and `nrs_cuts` makes
classes of it. Or they come from a file of spans, labels.csv, where somebody knows better. Nothing else is guessed: a
press of the E4's button is a marker without a class.
"""

from __future__ import annotations

import csv
import io
import re
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np

from models.data.recorded import (
    Column,
    DataSet,
    Oddity,
    Rating,
    Sitting,
    SittingFiles,
    Stretch,
    Track,
    Trial,
    channel_of,
    to_track,
)
from models.data.settings import DataSettings
from monitor.errors import MonitorError, SourceError
from monitor.modality import MODALITY_UNITS
from monitor.sessions.reader import SessionReader
from monitor.sources.base import Recording, Signal
from monitor.sources.e4 import find_e4_files, read_e4
from monitor.sources.names import guess_modalities
from monitor.sources.session_recording import read_session
from monitor.sources.xdf import read_xdf
from monitor.types import Provenance

_NRS: Final = re.compile(r"(?:^|[ :,])nrs (\d+(?:\.\d+)?)(?=$|[ :,])", re.IGNORECASE)
_BIDS: Final = re.compile(r"(?:^|_)sub-(?P<subject>[A-Za-z0-9]+)(?:.*?_ses-(?P<session>[A-Za-z0-9]+))?")
_LABELS: Final = "labels.csv"
_SECONDS: Final = ("start_s", "end_s")
_UTC: Final = ("start_utc", "end_utc")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Span:
    """One line of labels.csv."""

    start: float
    end: float
    utc: bool
    label: int
    rating: float | None
    line: int


def open_own(settings: DataSettings) -> DataSet:
    """List E4 folders, XDF files or sessions in a folder, however deep.

    Raises:
        SourceError: If there is none, or labels.csv is wrong.
    """
    root = Path(settings.path)
    oddities: list[Oddity] = []
    found = list(_FIND[str(settings.kind)](root, oddities))
    if not found:
        raise SourceError("no recording is in it", where=str(root), todo=_EXPECTED[str(settings.kind)])
    path = Path(settings.labels) if settings.labels else root / _LABELS
    spans = _read_labels(path, settings.classes) if path.is_file() else {}
    subjects = {subject for subject, *_ in found}
    oddities += [
        Oddity(
            level="warning",
            code="label",
            where=str(path),
            what=f"there is no subject '{subject}'; there are {', '.join(sorted(subjects)[:6])}",
        )
        for subject in sorted({subject for subject, _ in spans} - subjects)
    ]
    sittings = []
    for subject, session, files, read in found:
        own = [*spans.get((subject, session), ()), *(spans.get((subject, ""), ()) if session else ())]
        label_files = (path,) if path.is_file() else ()
        sittings.append(
            SittingFiles(
                subject=subject,
                session=session,
                files=(*files, *label_files),
                read=partial(_read, subject, session, read, tuple(own), str(path), settings),
            )
        )
    keys = [sitting.key for sitting in sittings]
    oddities += [
        Oddity(level="error", code="duplicate", where=key, what=f"{keys.count(key)} recordings have this name")
        for key in sorted({key for key in keys if keys.count(key) > 1})
    ]
    return DataSet(
        kind=str(settings.kind),
        root=root,
        classes=settings.classes,
        sittings=tuple(sittings),
        refused={},
        oddities=tuple(oddities),
    )


_Found = Iterator[tuple[str, str, tuple[Path, ...], Callable[[], Recording]]]


def _find_e4(root: Path, oddities: list[Oddity]) -> _Found:
    """Each folder with sensor files is one recording of the subject that it is called after."""
    del oddities
    for folder in (root, *sorted(p for p in root.rglob("*") if p.is_dir())):
        if files := find_e4_files(folder):
            tags = [p for p in sorted(folder.iterdir()) if p.name.startswith("tags")]
            inside = folder.relative_to(root).parts
            subject = inside[0] if inside else root.name
            yield subject, "-".join(inside[1:]), (*files.values(), *tags), partial(read_e4, folder)


def _find_xdf(root: Path, oddities: list[Oddity]) -> _Found:
    """Subject and session of a BIDS name (sub-01_ses-02_...), else the file's own name."""
    del oddities
    for path in sorted(p for p in root.rglob("[!.]*") if p.suffix.lower() in (".xdf", ".xdfz")):
        match = _BIDS.search(path.stem)
        subject, session = (match["subject"], match["session"] or "") if match else (path.stem, "")
        yield subject, session, (path,), partial(read_xdf, path)


def _find_sessions(root: Path, oddities: list[Oddity]) -> _Found:
    """Sessions by the subject code in them."""
    for path in sorted(root.rglob("[!.]*.session.db")):
        try:
            with SessionReader(path) as reader:
                meta = reader.meta
        except MonitorError as error:
            oddities.append(Oddity(level="error", code="damaged", where=error.where, what=error.what, todo=error.todo))
            continue
        if meta.provenance is Provenance.SIMULATED:
            what = "a recording of a simulated patient: it says nothing about people"
            oddities.append(Oddity(level="warning", code="simulated", where=str(path), what=what))
        # The write-ahead log holds what was not yet moved into the database.
        files = [p for p in (path, path.with_name(path.name + "-wal")) if p.is_file()]
        yield meta.subject, str(meta.session)[:8], tuple(files), partial(read_session, path)


_FIND: Final[Mapping[str, Callable[[Path, list[Oddity]], _Found]]] = MappingProxyType(
    {"e4": _find_e4, "xdf": _find_xdf, "sessions": _find_sessions}
)
_EXPECTED: Final = MappingProxyType(
    {
        "e4": "Expected one folder a subject, with EDA.csv, BVP.csv, ...",
        "xdf": "Expected files such as sub-01_ses-01_task.xdf",
        "sessions": "Expected *.session.db, which the monitor writes",
    }
)


def _read_labels(path: Path, classes: Sequence[str]) -> dict[tuple[str, str], list[_Span]]:
    """Spans by (subject, session).

    Columns: subject, class (name or number), start_s and end_s (from the recording's begin) or start_utc and end_utc;
    session and rating may be left out. Cells are parted by commas, or by semicolons with decimal commas, as
    spreadsheets write them in half of the world.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError("is no text in UTF-8", where=str(path), todo="Save it as CSV UTF-8") from None
    except OSError as error:
        raise SourceError(f"cannot be read: {error.strerror or error}", where=str(path)) from None
    try:
        return _spans_of(text, path, classes)
    except csv.Error as error:
        raise SourceError(f"is no CSV: {error}", where=str(path), todo="Save it as CSV UTF-8") from None


def _spans_of(text: str, path: Path, classes: Sequence[str]) -> dict[tuple[str, str], list[_Span]]:
    spans: dict[tuple[str, str], list[_Span]] = {}
    first, _, _ = text.partition("\n")
    semicolons = ";" in first and "," not in first
    with io.StringIO(text, newline="") as file:
        rows = csv.DictReader(file, delimiter=";" if semicolons else ",")
        names = [name.strip() for name in rows.fieldnames or ()]
        rows.fieldnames = names
        times = next((pair for pair in (_SECONDS, _UTC) if set(pair) <= set(names)), None)
        if times is None or not {"subject", "class"} <= set(names):
            raise SourceError(
                f"its columns are {', '.join(names) or 'none'}",
                where=f"{path}, line 1",
                todo="Expected subject, start_s, end_s, class (or start_utc, end_utc), and if known session, rating",
            )
        for row in rows:
            where = f"{path}, line {rows.line_num}"
            cells = {name: (value or "").strip() for name, value in row.items() if isinstance(name, str)}
            if semicolons:
                cells |= {name: cells[name].replace(",", ".") for name in (*times, "rating") if name in cells}
            start, end = (_number(cells[name], name, where) for name in times)
            if not end > start:
                raise SourceError(
                    f"it ends at {end:g} and begins at {start:g}", where=where, todo="Mend this line, or take it out"
                )
            rating = _number(cells["rating"], "rating", where) if cells.get("rating") else None
            spans.setdefault((cells["subject"], cells.get("session", "")), []).append(
                _Span(
                    start=start,
                    end=end,
                    utc=times is _UTC,
                    label=_class(cells["class"], classes, where),
                    rating=rating,
                    line=rows.line_num,
                )
            )
    return spans


def _number(text: str, name: str, where: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = float("nan")
    if not np.isfinite(value):
        raise SourceError(f"'{text}' is no {name}", where=where, todo="Write a number such as 60 or 60.5")
    return value


def _class(text: str, classes: Sequence[str], where: str) -> int:
    if text in classes:
        return classes.index(text)
    if text.isdigit() and int(text) < len(classes):
        return int(text)
    raise SourceError(f"there is no class '{text}'", where=where, todo=f"data.classes are {', '.join(classes)}")


def _read(
    subject: str,
    session: str,
    read: Callable[[], Recording],
    spans: Sequence[_Span],
    labels: str,
    settings: DataSettings,
) -> Sitting:
    recording = read()
    oddities = [Oddity(level="note", code="reader", where=str(recording.path), what=note) for note in recording.notes]
    channels, tracks = [], {}
    for signal, column in _columns(recording, settings, oddities):
        try:
            channel, gain, offset = channel_of(column, where=str(recording.path))
        except SourceError as error:
            oddities.append(Oddity(level="warning", code="unit", where=error.where, what=error.what, todo=error.todo))
            continue
        own_gain = signal.candidate.gain
        if own_gain is not None and column.modality == signal.candidate.modality and column.name not in settings.units:
            gain, offset = own_gain, signal.candidate.offset
        channels.append(channel)
        tracks[channel.name] = _track(signal, gain, offset)
    if not channels:
        there = ", ".join(signal.candidate.channel or signal.candidate.name for signal in recording.signals) or "none"
        reasons = "".join(f"; {oddity.what}" for oddity in oddities if oddity.level == "warning")
        raise SourceError(
            f"no signal of it can be used; there are {there}{reasons}",
            where=str(recording.path),
            todo='Say what they are: data.channels = {"name" = "EDA"}, data.units = {"name" = "uS"}',
        )
    ratings = tuple(
        Rating(t=t, value=float(match[1])) for t, text in recording.markers if (match := _NRS.search(text)) is not None
    )
    end_s = max(_end(track, channel.rate_hz) for track, channel in zip(tracks.values(), channels, strict=True))
    trials = [*_rated(ratings, settings), *_spanned(spans, recording, end_s, labels, oddities)]
    return Sitting(
        subject=subject,
        session=session,
        part="",
        classes=settings.classes,
        channels=tuple(channels),
        stretches=(Stretch(name=recording.path.name, tracks=tracks, start_s=0.0),),
        trials=tuple(sorted(trials, key=lambda trial: trial.start_s)),
        ratings=ratings,
        oddities=tuple(oddities),
        facts=_facts(recording, trials),
    )


def _facts(recording: Recording, trials: Sequence[Trial]) -> dict[str, float]:
    facts = {"utc_start": recording.utc_start} if recording.utc_start else {}
    if painful := [trial.start_s for trial in trials if trial.label]:
        facts["first_stimulus_s"] = min(painful)
    return facts


def _columns(recording: Recording, settings: DataSettings, oddities: list[Oddity]) -> Iterator[tuple[Signal, Column]]:
    """Signals that the settings ask for, each with a name of its own."""
    guesses = guess_modalities([signal.candidate for signal in recording.signals])
    names: dict[str, int] = {}
    for signal in recording.signals:
        candidate = signal.candidate
        base = candidate.channel or candidate.name
        names[base] = names.get(base, 0) + 1
        name = base if names[base] == 1 else f"{base}#{names[base]}"
        modality = settings.channels.get(name, guesses.get(candidate.key, ""))
        asked = name in settings.signals if settings.signals else modality in (settings.modalities or MODALITY_UNITS)
        if not asked or not len(signal.samples):
            continue
        rate_hz = candidate.rate_hz or _measured_rate(signal)
        # What states its own gain is in the modality's unit after it.
        own_gain = candidate.gain is not None and modality == candidate.modality
        unit = MODALITY_UNITS.get(modality) if own_gain else candidate.unit
        unit = settings.units.get(name, unit or "")
        if not rate_hz or not unit:
            lacking = "rate" if not rate_hz else "unit"
            what = f"{name}: nothing states its {lacking}: left out"
            todo = f'data.units = {{"{name}" = ...}}' if lacking == "unit" else ""
            oddities.append(Oddity(level="warning", code=lacking, where=str(recording.path), what=what, todo=todo))
            continue
        yield signal, Column(name=name, modality=modality, unit=unit, rate_hz=rate_hz)
    if lost := [name for name in settings.signals if name not in names]:
        what = f"there is no signal {', '.join(lost)}; there are {', '.join(names)}"
        oddities.append(Oddity(level="error", code="missing", where=str(recording.path), what=what))


def _measured_rate(signal: Signal) -> float:
    if signal.stamps is None or len(signal.stamps) < 2:
        return 0.0
    step = float(np.median(np.diff(signal.stamps)))
    return 1.0 / step if step > 0 else 0.0


def _track(signal: Signal, gain: float, offset: float) -> Track:
    samples, stamps = signal.samples.astype(np.float64), signal.stamps
    if stamps is not None and np.any(np.diff(stamps) < 0):
        order = np.argsort(stamps, kind="stable")  # packets of a session may have come out of order
        samples, stamps = samples[order], stamps[order]
    return to_track(samples, gain, offset, t_first=signal.t_first, stamps=stamps)


def _end(track: Track, rate_hz: float) -> float:
    if track.stamps is not None:
        return float(track.stamps[-1]) + 1.0 / rate_hz
    return track.t_first + len(track.samples) / rate_hz


def _rated(ratings: Sequence[Rating], settings: DataSettings) -> Iterator[Trial]:
    for number, rating in enumerate(ratings):
        start_s = max(rating.t - settings.nrs_span_s, 0.0)
        if rating.t > start_s:
            yield Trial(
                name=f"nrs-{number + 1:03d}",
                label=bisect_right(settings.nrs_cuts, rating.value),
                group="nrs",
                start_s=start_s,
                seconds=rating.t - start_s,
                rating=rating.value,
                presented=number,
            )


def _spanned(
    spans: Sequence[_Span], recording: Recording, end_s: float, labels: str, oddities: list[Oddity]
) -> Iterator[Trial]:
    for number, span in enumerate(sorted(spans, key=lambda span: span.start)):
        if span.utc and not recording.utc_start:
            raise SourceError(
                "it gives times in UTC, but the recording does not say when it began",
                where=f"{labels}, line {span.line}",
                todo="Give start_s and end_s instead",
            )
        start, end = (t - recording.utc_start if span.utc else t for t in (span.start, span.end))
        if start < 0 or end > end_s + 1.0:
            what = f"the span {start:.6g}..{end:.6g} s is not within the recording, 0..{end_s:.6g} s"
            oddities.append(Oddity(level="warning", code="label", where=f"{labels}, line {span.line}", what=what))
        if min(end, end_s) <= max(start, 0.0):
            continue
        yield Trial(
            name=f"span-{number + 1:03d}",
            label=span.label,
            group="span",
            start_s=max(start, 0.0),
            seconds=min(end, end_s) - max(start, 0.0),
            rating=span.rating,
            presented=number,
        )
