"""Computes a session anew from its own inputs and compares every output with what was stored, bit for bit."""

from __future__ import annotations

import dataclasses
import itertools
import math
import struct
import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from monitor.bundle import BundleSpec
from monitor.bundle_folder import Bundle, load_bundle, shipped_bundles
from monitor.config import BedSettings
from monitor.errors import BundleError, SessionError
from monitor.pipeline import Pipeline
from monitor.scoring.scorer import Runner
from monitor.sessions.file import StoredBundle, current_versions
from monitor.sessions.reader import SessionReader
from monitor.sessions.rows import Entry, RecordingGap, StreamOpened, Tick
from monitor.types import (
    AlarmAction,
    AlarmEvent,
    CalibrationEvent,
    Chunk,
    Command,
    Comparators,
    Event,
    Marker,
    PainIndex,
    Score,
    StreamEvent,
    StreamInfo,
    WindowsSkipped,
)


class ReplayedPipeline(Protocol):
    """The part of `monitor.pipeline.Pipeline` that a log drives."""

    def open_stream(self, info: StreamInfo, at: float) -> list[Event]:
        """Announce a stream."""
        ...

    def feed(self, chunk: Chunk) -> list[Event]:
        """Take samples."""
        ...

    def command(self, command: Command) -> list[Event]:
        """Take a command."""
        ...

    def tick(self, now: float) -> list[Event]:
        """Take the time."""
        ...


class PipelineFactory(Protocol):
    """Makes a fresh pipeline, as `monitor.pipeline.Pipeline` does."""

    def __call__(
        self, *, bed: BedSettings, bundles: Sequence[BundleSpec], runner: Runner, session: uuid.UUID
    ) -> ReplayedPipeline:
        """Make one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyResult:
    """What a verification found."""

    path: Path
    session: uuid.UUID
    compared: Mapping[str, int]
    """Outputs that were compared, by kind: `Score`, `PainIndex`, `AlarmEvent`, ..."""
    inputs: int
    """Inputs that were fed."""
    difference_count: int
    differences: tuple[str, ...]
    """The first of them, in words."""
    versions: tuple[str, ...]
    """Versions that are not those of the recording, in words. Only with the same ones are equal bits promised."""
    closed: bool
    """The session was ended in order; else it was cut off or still runs, and was compared up to its last record."""
    gap: RecordingGap | None
    """First span that was not recorded: nothing behind it can be computed anew."""
    unverified: Mapping[str, int]
    """Outputs behind that gap, by kind."""

    @property
    def equal(self) -> bool:
        """No difference in all that could be compared. A recording gap leaves a part that could not be: see `gap`."""
        return self.difference_count == 0

    def text(self) -> str:
        """The result in a few lines."""
        counts = ", ".join(f"{n} {_PLURAL.get(kind, kind)}" for kind, n in self.compared.items()) or "no outputs"
        verdict = "equal bit for bit" if self.equal else f"{self.difference_count} DIFFERENCES"
        lines = [f"{self.path}: {verdict} ({counts}, computed anew from {self.inputs} inputs)"]
        lines += [f"  {line}" for line in self.differences]
        if self.difference_count > len(self.differences):
            lines.append(f"  ... and {self.difference_count - len(self.differences)} more")
        if self.gap is not None:
            behind = ", ".join(f"{n} {_PLURAL.get(kind, kind)}" for kind, n in self.unverified.items()) or "no outputs"
            lines.append(
                f"  Not verifiable behind {self.gap.start:.2f} s on the stream clock, where {self.gap.records} records "
                f"could not be written ({self.gap.reason}): {behind}"
            )
        if not self.closed:
            lines.append("  The session was not ended in order (or still runs): compared up to its last record")
        lines += [f"  {line}" for line in self.versions]
        return "\n".join(lines)


_PLURAL: Final[Mapping[str, str]] = {
    "Score": "scores",
    "PainIndex": "indices",
    "Comparators": "sets of plain measures",
    "AlarmEvent": "alarm transitions",
    "AlarmAction": "actions on alarms",
    "StreamEvent": "stream events",
    "CalibrationEvent": "calibration events",
    "WindowsSkipped": "ranges of skipped windows",
    "Marker": "markers",
}


def verify(
    path: Path,
    *,
    runner_factory: Callable[[Sequence[Bundle]], Runner],
    bundles: Sequence[Bundle] | None = None,
    pipeline: PipelineFactory = Pipeline,
    progress: Callable[[float], None] | None = None,
    most: int = 10,
) -> VerifyResult:
    """Feed the stored log to a fresh pipeline and compare all that comes of it.

    Args:
        path: The session.
        runner_factory: Runs the bundles, e.g. `monitor.scoring.session.OnnxRunner`.
        bundles: The bundles; None: from the folders that the session names, else the shipped ones of that name.
        pipeline: Makes the pipeline.
        progress: Told the share that is done, 0 to 1.
        most: Differences to put in words.

    Raises:
        SessionError: If the session cannot be read, or a bundle is missing or is not the one it was recorded with.
    """
    with SessionReader(path) as reader:
        stored = reader.bundles()
        loaded = [_same_bundle(path, item, bundles) for item in stored]
        meta = reader.meta
        machine = pipeline(
            bed=meta.settings,
            bundles=[item.spec for item in loaded],
            runner=runner_factory(loaded),
            session=meta.session,
        )
        comparison = _Comparison(closed=reader.closed_utc is not None, most=most, unknown=reader.unknown)
        last = max(reader.last_seq(), 1)
        gap: RecordingGap | None = None
        unverified: Counter[str] = Counter()
        for step in _steps(reader.entries()):
            if isinstance(step[0].item, RecordingGap):
                gap = gap or step[0].item
            if gap is not None:
                unverified.update(type(entry.item).__name__ for entry in step if _is_output(entry))
                continue
            if not comparison.step(machine, step):
                break
            if progress is not None:
                progress(step[-1].seq / last)
        comparison.finish(cut_off=gap is not None)
        if progress is not None:
            progress(1.0)
        return VerifyResult(
            path=path,
            session=meta.session,
            compared=dict(comparison.compared),
            inputs=comparison.inputs,
            difference_count=comparison.count,
            differences=tuple(comparison.words),
            versions=_changed_versions(meta.versions),
            closed=comparison.closed,
            gap=gap,
            unverified=dict(unverified),
        )


def _same_bundle(path: Path, stored: StoredBundle, given: Sequence[Bundle] | None) -> Bundle:
    """The bundle that the session was recorded with.

    Raises:
        SessionError: If it is not to be had, or only in another state.
    """
    name, version = stored.spec.name, stored.spec.version
    todo = f"Verify with version {version} of the bundle in {stored.path}"
    if given is not None:
        found = next((item for item in given if item.spec.name == name), None)
    else:
        try:
            known = name in shipped_bundles() and not Path(stored.path).is_dir()
            found = load_bundle(name if known else Path(stored.path))
        except BundleError as error:
            raise SessionError(f"its bundle {name} cannot be used: {error}", where=str(path), todo=todo) from error
    if found is None:
        raise SessionError(f"its bundle {name} {version} is missing", where=str(path), todo=todo)
    if _without_card(found.spec) != _without_card(stored.spec):
        hashes = found.spec.sha256, stored.spec.sha256
        files = sorted(key for key in {*hashes[0], *hashes[1]} if hashes[0].get(key) != hashes[1].get(key))
        raise SessionError(
            f"its bundle {name} is not the one it was recorded with "
            f"(version {version}, now {found.spec.version}; changed: {', '.join(files) or 'model.json'})",
            where=str(path),
            todo=todo,
        )
    return found


def _without_card(spec: BundleSpec) -> BundleSpec:
    """What scores depend on: words in the card may be put better without a new model."""
    hashes = {file: value for file, value in spec.sha256.items() if file != spec.card}
    return spec.model_copy(update={"sha256": hashes})


def _changed_versions(stored: Mapping[str, str]) -> tuple[str, ...]:
    now = current_versions()
    names = [name for name in {**stored, **now} if stored.get(name) != now.get(name)]
    return tuple(f"{name} is {now.get(name, 'absent')}, was {stored.get(name, 'absent')}" for name in names)


def _is_output(entry: Entry) -> bool:
    return not isinstance(entry.item, (StreamOpened, Chunk, Command, Tick, RecordingGap)) and not entry.external


def _steps(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    """Group the log: an input (or a recording gap) and the outputs that came of it."""
    step: list[Entry] = []
    for entry in entries:
        if entry.external:
            continue
        if step and not _is_output(entry):
            yield step
            step = []
        step.append(entry)
    if step:
        yield step


class _Comparison:
    """Feeds step by step and keeps the differences.

    Surplus events of the last step that is compared are no difference where the record ends right there, in a cut or a
    gap: they were due to be written next. So a verdict on them waits for the following step.
    """

    def __init__(self, *, closed: bool, most: int, unknown: frozenset[type[Event]] = frozenset()) -> None:
        self.closed = closed
        self.inputs = 0
        self.count = 0
        self.words: list[str] = []
        self.compared: Counter[str] = Counter()
        self._most = most
        self._unknown = unknown
        self._surplus: list[Event] = []

    def step(self, machine: ReplayedPipeline, step: Sequence[Entry]) -> bool:
        """Feed one input and compare; False where it cannot go on."""
        self._report_surplus()
        inputs = [entry for entry in step if not _is_output(entry)]
        stored = [entry.item for entry in step if _is_output(entry)]
        made: list[Event] = []
        if inputs:
            self.inputs += 1
            try:
                made = [event for event in _feed(machine, inputs[0].item) if type(event) not in self._unknown]
            except Exception as error:  # noqa: BLE001  whatever it raises now, it did not when this was recorded
                what = type(inputs[0].item).__name__
                self._differ(f"record {inputs[0].seq}: the pipeline failed on this {what}: {error!r}")
                return False
        for old, new in itertools.zip_longest(stored, made):
            if old is None:
                self._surplus.append(new)
            elif new is None:
                self._differ(f"{_name(old)} is stored, but did not come again")
            elif type(old) is not type(new) or _identity(old) != _identity(new):
                self._differ(f"{_name(old)} is stored where {_name(new)} came now")
            else:
                self._compare(old, new)
        return True

    def finish(self, *, cut_off: bool) -> None:
        """Judge what the last step left over."""
        if self.closed and not cut_off:
            self._report_surplus()

    def _report_surplus(self) -> None:
        for event in self._surplus:
            self._differ(f"{_name(event)} came now, but is not stored")
        self._surplus = []

    def _compare(self, old: Any, new: Any) -> None:
        self.compared[type(old).__name__] += 1
        fields = [item.name for item in dataclasses.fields(old)]
        unlike = [name for name in fields if not same_bits(getattr(old, name), getattr(new, name))]
        if unlike:
            values = "; ".join(f"{n} stored {getattr(old, n)!r}, now {getattr(new, n)!r}" for n in unlike)
            self._differ(f"{_name(old)}: {values}")

    def _differ(self, words: str) -> None:
        self.count += 1
        if len(self.words) < self._most:
            self.words.append(words)


def _feed(machine: ReplayedPipeline, item: object) -> list[Event]:
    match item:
        case StreamOpened(info=info, at=at):
            return machine.open_stream(info, at)
        case Chunk():
            return machine.feed(item)
        case Command():
            return machine.command(item)
        case Tick(now=now):
            return machine.tick(now)
    raise TypeError(f"{item!r} is no input")


def _identity(event: Any) -> tuple[object, ...]:
    """What makes two events the same one, whatever else they say."""
    match event:
        case Score() | PainIndex() | Comparators():
            return (event.epoch, event.k)
        case AlarmEvent():
            return (event.condition, event.presence)
        case AlarmAction():
            return (event.action, event.actor)
        case StreamEvent():
            return (event.stream, event.kind)
        case WindowsSkipped():
            return (event.epoch, event.first_k)
    return ()


def _name(event: Any) -> str:
    """An event in words."""
    match event:
        case Score():
            return f"the score of window {event.k} (t = {event.t_rel:g} s, epoch {event.epoch})"
        case PainIndex():
            return f"the index after window {event.k} (t = {event.t_rel:g} s, epoch {event.epoch})"
        case Comparators():
            return f"the plain measures after window {event.k} (t = {event.t_rel:g} s, epoch {event.epoch})"
        case AlarmEvent():
            return f"the alarm {event.condition} {event.presence} at {event.t_rel:g} s"
        case AlarmAction():
            return f"the action {event.action} on alarms at {event.t_rel:g} s"
        case StreamEvent():
            return f"the event {event.kind} of stream {event.stream} at {event.t:.3f} s on the stream clock"
        case CalibrationEvent():
            return f"the calibration event {event.state} at {event.t:.3f} s on the stream clock"
        case WindowsSkipped():
            return f"the range of skipped windows {event.first_k}-{event.last_k}"
        case Marker():
            return f"the marker {event.kind} at {event.t:.3f} s on the stream clock"
    return repr(event)


def same_bits(a: Any, b: Any) -> bool:
    """Equal to the last bit; numbers by their eight bytes, so that NaN equals itself and 0.0 is not -0.0."""
    if isinstance(a, float) and isinstance(b, float):
        return struct.pack("<d", a) == struct.pack("<d", b) or (math.isnan(a) and math.isnan(b))
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        return a.keys() == b.keys() and all(same_bits(a[key], b[key]) for key in a)
    if isinstance(a, (tuple, list)) and isinstance(b, (tuple, list)):
        return len(a) == len(b) and all(map(same_bits, a, b))
    if dataclasses.is_dataclass(a) and type(a) is type(b):
        return all(same_bits(getattr(a, f.name), getattr(b, f.name)) for f in dataclasses.fields(a))
    return bool(a == b)
