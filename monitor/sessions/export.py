"""A session as files that any other program reads."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from monitor.errors import SessionError
from monitor.modality import MODALITY_UNITS
from monitor.outputs.fhir import Mapper, Resource
from monitor.sessions.reader import SessionReader, StoredStream
from monitor.sessions.report import bundles_in_words, provenance, signals_in_words
from monitor.sessions.rows import RecordingGap
from monitor.types import (
    AlarmAction,
    AlarmEvent,
    CalibrationEvent,
    Chunk,
    Comparators,
    FloatArray,
    Marker,
    PainIndex,
    Provenance,
    Score,
    StreamEvent,
    StreamInfo,
    WindowsSkipped,
)

FORMATS: Final = ("csv", "fhir")

Cell = str | float | int | None

_W = TypeVar("_W", PainIndex, Comparators)


def export(
    reader: SessionReader,
    out: Path,
    *,
    kind: str = "csv",
    progress: Callable[[float], None] | None = None,
) -> tuple[Path, ...]:
    """Write a session into a new folder.

    Args:
        reader: The session.
        out: The folder; it must not exist. It appears when it is complete.
        kind: One of `FORMATS`.
        progress: Told the share that is done, 0 to 1.

    Returns:
        The files, README.txt first.

    Raises:
        SessionError: If the format is unknown, the folder exists or cannot be written, the session is damaged, or has
            no date where the format needs one.
    """
    if kind not in FORMATS:
        raise SessionError(f"there is no export format '{kind}'", todo=f"Write one of: {', '.join(FORMATS)}")
    if out.exists():
        raise SessionError("an export never overwrites", where=str(out), todo="Name a folder that does not exist yet")
    partial = out.with_name(f".{out.name}.partial")
    try:
        shutil.rmtree(partial, ignore_errors=True)
        partial.mkdir(mode=0o700, parents=True)  # what was measured of a person is no other user's to read
        names = (_FhirExport if kind == "fhir" else _CsvExport)(reader, partial).write(progress)
        partial.rename(out)
    except OSError as error:
        raise SessionError(
            f"cannot write the export: {error.strerror}", where=str(out), todo="Check permissions and free space"
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return tuple(out / name for name in names)


class _CsvExport:
    """Writes the files of one session into a folder.

    Args:
        reader: The session.
        folder: An empty folder.
    """

    def __init__(self, reader: SessionReader, folder: Path) -> None:
        self._reader = reader
        self._folder = folder
        start = (reader.span() or (0.0, 0.0))[0]
        origin = reader.origin()
        self._origin = start if origin is None else origin
        self._offset = reader.meta.clock_offset

    def write(self, progress: Callable[[float], None] | None) -> list[str]:
        """Write everything; names of the files."""
        streams = self._reader.streams()
        names: dict[str, StoredStream] = {}
        for stream in streams:
            names[_file_name(stream.info, names)] = stream
        for done, (name, stream) in enumerate(names.items()):
            self._signal(name, stream.info)
            if progress is not None:
                progress((done + 1) / (len(streams) + 1))
        self._scores()
        self._table("alarms.csv", _ALARM_COLUMNS, self._alarms())
        self._table("events.csv", _EVENT_COLUMNS, self._events())
        self._table("markers.csv", ("t_rel", "utc", "kind", "text", "value", "actor"), self._markers())
        self._readme(names)
        if progress is not None:
            progress(1.0)
        return ["README.txt", *names, "scores.csv", "alarms.csv", "events.csv", "markers.csv"]

    # -- signals ----------------------------------------------------------------------------------------------------

    def _signal(self, name: str, info: StreamInfo) -> None:
        values = "value" if info.channels == 1 else ",".join(f"value_{i}" for i in range(info.channels))
        with (self._folder / name).open("w", encoding="utf-8", newline="") as file:
            file.write(f"t_rel,utc,{values}\n")
            for chunk in self._reader.chunks(info.key):
                file.write(self._signal_lines(info, chunk))

    def _signal_lines(self, info: StreamInfo, chunk: Chunk) -> str:
        if not len(chunk):
            return ""
        values = chunk.samples.astype(np.float64)
        if not info.unused:
            values = info.gain * values + info.offset
        rows = values.reshape(len(chunk), -1)
        utc = self._utc_of(chunk.stamps)
        # %.9g holds every float32 exactly; the sixth decimal of a second is the tick of the stamps.
        lines = (
            f"{t:.6f},{when}," + ",".join(f"{value:.9g}" for value in row)
            for t, when, row in zip((chunk.stamps - self._origin).tolist(), utc, rows.tolist(), strict=True)
        )
        return "\n".join(lines) + "\n"

    def _utc_of(self, stamps: FloatArray) -> Iterable[str]:
        if self._offset is None:
            return [""] * len(stamps)
        micros = np.round((stamps + self._offset) * 1e6).astype(np.int64)
        text: NDArray[np.str_] = np.datetime_as_string(micros.view("datetime64[us]"), unit="us")
        return [f"{item}Z" for item in text.tolist()]

    def _utc(self, stamp: float) -> str:
        return next(iter(self._utc_of(np.array([stamp])))) if np.isfinite(stamp) else ""

    # -- what came of them ------------------------------------------------------------------------------------------

    def _scores(self) -> None:
        """One row a window: its score, or why there is none, and the index after it."""
        classes = list(dict.fromkeys(c.name for item in self._reader.bundles() for c in item.spec.classes))
        columns = (
            *("t_rel", "utc", "epoch", "k", "bundle", "calibration", "absent", "uncertain", "distance"),
            *(f"p_{name}" for name in classes),
            *("index", "index_fast", "index_slow", "fast_withheld", "slow_withheld", "hollow", "index_voted"),
            *("provenance", "window_hash"),
            *("heart_rate_bpm", "heart_rate_from", "scr_per_s", "spi", "not_measured"),
        )
        self._table("scores.csv", columns, self._score_rows(classes))

    def _score_rows(self, classes: Sequence[str]) -> Iterable[Sequence[Cell]]:
        for score, index, measures in _windows(self._reader):
            p = dict(zip(score.classes, score.probabilities or (), strict=False))
            yield (
                *(score.t_rel, self._utc(score.t_end), score.epoch, score.k, score.bundle, score.calibration),
                *(" ".join(score.absent), " ".join(score.uncertain), score.distance),
                *(p.get(name) for name in classes),
                score.index,
                *((index.fast, index.slow) if index else (None, None)),
                *((index.fast_withheld, index.slow_withheld, int(index.hollow)) if index else ("", "", None)),
                index.voted if index else None,
                *(str(score.provenance), score.window_hash),
                *_measured(measures),
            )

    def _alarms(self) -> Iterable[Sequence[Cell]]:
        for alarm in self._reader.events(AlarmEvent):
            yield (
                *(alarm.t_rel, self._utc(alarm.t), alarm.condition, str(alarm.kind), str(alarm.priority)),
                *(str(alarm.presence), alarm.onset - self._origin, alarm.index, alarm.bundle, alarm.event_id),
                *(alarm.text, " ".join(alarm.causes)),
            )

    def _events(self) -> Iterable[Sequence[Cell]]:
        """Whatever else befell the session, in the order of the log."""
        for entry in self._reader.entries():
            match entry.item:
                case StreamEvent() as event:
                    at, what = event.t, (str(event.kind), event.stream, event.seconds, event.samples, event.detail)
                case CalibrationEvent() as event:
                    detail = f"{event.valid_s:g} of {event.needed_s:g} s"
                    at, what = event.t, (f"calibration {event.state}", "", event.valid_s, 0, detail)
                case AlarmAction() as event:
                    detail = f"{event.text}; before: {dict(event.before)}"
                    at, what = event.t, (f"alarms {event.action}", "", 0.0, 0, detail)
                case WindowsSkipped() as event:
                    count = event.last_k - event.first_k + 1
                    detail = f"{count} windows, {event.first_k} to {event.last_k}: {event.reason}"
                    at, what = float("nan"), ("windows_skipped", "", 0.0, 0, detail)
                case RecordingGap() as gap:
                    detail = f"{gap.records} records: {gap.reason}"
                    at, what = gap.start, ("not_recorded", "", gap.end - gap.start, gap.samples, detail)
                case _:
                    continue
            yield (at - self._origin if np.isfinite(at) else None, self._utc(at), *what)

    def _markers(self) -> Iterable[Sequence[Cell]]:
        for item in self._reader.events(Marker):
            yield (item.t - self._origin, self._utc(item.t), item.kind, item.text, item.value, item.actor)

    def _table(self, name: str, columns: Sequence[str], rows: Iterable[Sequence[Cell]]) -> None:
        with (self._folder / name).open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(columns)
            for row in rows:
                writer.writerow([_cell(cell) for cell in row])

    # -- README -----------------------------------------------------------------------------------------------------

    def _readme(self, names: dict[str, StoredStream]) -> None:
        meta = self._reader.meta
        signals = signals_in_words(provenance(self._reader)) or "Signals recorded live"
        date = "no date is known: the utc columns are empty" if self._offset is None else "utc: UTC"
        lines = [
            f"Session {meta.session}, bed {meta.bed}, subject {meta.subject}",
            "",
            "RESEARCH USE ONLY. Not a medical device; nothing in here may guide the care of a patient.",
            meta.notice,
            f"{signals}.",
            "",
            f"Bundles: {'; '.join(bundles_in_words(self._reader))}",
            f"Recorded with: {', '.join(f'{name} {version}' for name, version in meta.versions.items())}",
            "",
            f"t_rel: seconds from the origin of the window grid; {date}.",
            "Samples stand in the order in which they arrived; nothing is filled in where some are missing.",
            "",
            *(self._signal_words(name, stream) for name, stream in names.items()),
            "",
            "scores.csv: one row a window, at its end. `absent` says why there is no score and is empty where there is",
            "    one. p_*: class probabilities. index*: 0-100, an evidence scale and not a probability of pain; empty",
            "    where withheld, for the reason beside it. hollow 1: not calibrated to this subject. `uncertain`:",
            "    why a score is not believed; it is no part of the index. distance: of its features from training.",
            "    index_voted: what several bundles came to together, where the alarms rested on a vote.",
            "    heart_rate_bpm, scr_per_s (responses a second, last minute), spi (SPI-style index, 0-100): plain",
            "    measures without any model; empty where one cannot be told, not_measured then says why.",
            "alarms.csv: every transition of every alarm condition; onset in seconds from the origin.",
            "events.csv: gaps, losses, late samples, clock faults, calibration, spans that could not be recorded.",
            "markers.csv: what people entered; nrs: a reported score from 0 to 10.",
        ]
        if self._reader.closed_utc is None:
            lines.insert(1, "The session was not ended in order, or still ran when it was exported.")
        (self._folder / "README.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")

    def _signal_words(self, name: str, stream: StoredStream) -> str:
        info = stream.info
        unit = _unit(info)
        origin = f"{info.source}, {info.provenance}"
        samples = f"{stream.samples} samples" + (f" of {info.channels} channels" if info.channels > 1 else "")
        words = f"{name}: {info.name} in {unit}, {info.rate_hz:g} Hz nominal, {samples} ({origin})"
        if info.unused:
            return f"{words}; as it came, served no model: {info.unused}"
        if (info.gain, info.offset) != (1.0, 0.0):
            return f"{words}; {info.gain!r} * sample [{info.unit}] + {info.offset!r}"
        return words


class _FhirExport:
    """Writes one session as a FHIR R5 collection; see docs/fhir.md.

    Args:
        reader: The session.
        folder: An empty folder.

    Raises:
        SessionError: If the session has no date.
    """

    def __init__(self, reader: SessionReader, folder: Path) -> None:
        meta = reader.meta
        if meta.clock_offset is None:
            raise SessionError(
                "FHIR needs dates, and this session has none",
                where=str(reader.path),
                todo="Its recording states no date; export it as csv",
            )
        self._reader = reader
        self._folder = folder
        self._mapper = Mapper(
            session=meta.session,
            bed=meta.bed,
            subject=meta.subject,
            utc_offset=meta.clock_offset,
            version=meta.versions.get("pain-monitor", "unknown"),
            notice=meta.notice,
            bundles=[item.spec for item in reader.bundles()],
        )

    def write(self, progress: Callable[[float], None] | None) -> list[str]:
        """Write everything; names of the files."""
        origins = provenance(self._reader)
        origin = max(origins, key=list(Provenance).index, default=self._reader.meta.provenance)
        head = self._mapper.head(created_utc=self._reader.meta.created_utc, provenance=origin)
        with (self._folder / "bundle.json").open("w", encoding="utf-8") as file:
            file.write(json.dumps(head)[:-1] + ', "entry": [\n')  # a day has 86 400 windows: one at a time
            for count, resource in enumerate(self._resources()):
                text = json.dumps(self._mapper.entry(resource), allow_nan=False, separators=(",", ":"))
                file.write((",\n" if count else "") + text)
            file.write("\n]}\n")
        lines = [
            f"Session {self._reader.meta.session}, bed {self._reader.meta.bed}, subject {self._reader.meta.subject}",
            "",
            "RESEARCH USE ONLY. Not a medical device; nothing in here may guide the care of a patient.",
            self._reader.meta.notice,
            f"{signals_in_words(origins) or 'Signals recorded live'}.",
            "",
            "bundle.json: a FHIR R5 Bundle (collection). Index: Observation with a local code, no pain score. Reported",
            "    scores: Observation, LOINC 72514-3. Alarms: DetectedIssue. No signals, no free text, no names.",
        ]
        (self._folder / "README.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        if progress is not None:
            progress(1.0)
        return ["README.txt", "bundle.json"]

    def _resources(self) -> Iterator[Resource]:
        yield from self._mapper.about()
        for score, index, measures in _windows(self._reader):
            yield self._mapper.window(score, index, measures)
        for marker in self._reader.events(Marker):
            if (resource := self._mapper.reported(marker)) is not None:
                yield resource
        yield from self._mapper.alarms(self._reader.events(AlarmEvent))


def _windows(reader: SessionReader) -> Iterator[tuple[Score, PainIndex | None, Comparators | None]]:
    """Every score with the index and the plain measures of the same window.

    All run in the order of the log and name their window; one may be missing where recording was suspended.
    """
    indices, measures = _Following(reader.indices()), _Following(reader.comparators())
    for score in reader.scores():
        window = score.epoch, score.k
        yield score, indices.at(window), measures.at(window)


class _Following(Generic[_W]):
    """Steps through what has one item a window, some of them left out."""

    def __init__(self, items: Iterator[_W]) -> None:
        self._items: Iterator[_W] = items
        self._waiting: _W | None = next(items, None)

    def at(self, window: tuple[int, int]) -> _W | None:
        """The item of a window, where there is one; windows are asked for in order."""
        while self._waiting is not None and (self._waiting.epoch, self._waiting.k) < window:
            self._waiting = next(self._items, None)
        found = self._waiting
        return found if found is not None and (found.epoch, found.k) == window else None


def _measured(measures: Comparators | None) -> tuple[Cell, ...]:
    if measures is None:
        return None, "", None, None, ""
    absent = (*measures.heart_rate_absent, *measures.scr_absent, *measures.spi_absent)
    return (
        *(measures.heart_rate_bpm, measures.heart_rate_from, measures.scr_per_s, measures.spi),
        " ".join(dict.fromkeys(absent)),
    )


_ALARM_COLUMNS: Final = (
    *("t_rel", "utc", "condition", "kind", "priority", "presence"),
    *("onset", "index", "bundle", "event_id", "text", "causes"),
)
_EVENT_COLUMNS: Final = ("t_rel", "utc", "event", "stream", "seconds", "samples", "detail")


def _cell(value: Cell) -> str | int:
    if value is None:
        return ""
    if isinstance(value, float):
        return repr(float(value))
    # A spreadsheet takes such a text for a formula; markers and stream names come from outside.
    return f"'{value}" if isinstance(value, str) and value[:1] in ("=", "+", "-", "@") else value


def _unit(info: StreamInfo) -> str:
    known = None if info.unused or info.modality is None else MODALITY_UNITS.get(info.modality)
    return known or info.unit or "an unknown unit"


def _file_name(info: StreamInfo, taken: Iterable[str]) -> str:
    """`signals_<modality>.csv`, or after its own name where it serves none."""
    label = info.modality if info.modality and not info.unused else f"unused_{info.name}"
    safe = re.sub(r"[^A-Za-z0-9_-]+", "_", label)
    name, count = f"signals_{safe}.csv", 2
    while name.lower() in {other.lower() for other in taken}:
        name, count = f"signals_{safe}_{count}.csv", count + 1
    return name
