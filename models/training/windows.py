"""Windows on disk: cut once, a sitting at a time and in several processes, then memory-mapped by every fold.

A set lies in a folder named by a hash of all that decides it (data settings, sizes and times of the files, protocol,
inputs, classes, draw). It is written beside its place and moved there whole. Like the cache of samples it is a copy of
the data, under the same agreement, for its user's eyes only.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from models.data.base import UNLABELLED, WindowSet
from models.data.cache import loader_version
from models.data.catalogue import open_data
from models.data.draws import draw_windows
from models.data.protocols import windows_of_sitting
from models.data.recorded import DataSet, Oddity
from models.data.segments import restarted
from models.data.settings import DataSettings
from models.data.traced import Span, Statistic, TracedSet, join_traced
from models.training.recipes import Form
from models.training.settings import TaskSettings
from models.training.workers import Failure, Workers
from monitor.bundle import InputSpec, default_input
from monitor.errors import SourceError

WINDOWS_VERSION: Final = 1
"""Counts up whenever the same samples give other windows."""

_META: Final = "windows.json"
_ROWS: Final = "rows.npz"
_PER_WINDOW: Final = ("labels", "subjects", "t_end", "level", "since_onset_s", "confounded", "calibrated", "groups")
_TRACED: Final = ("recordings", "digests", "start_s", "stop_s", "seconds", "statistic")


@dataclass(frozen=True, kw_only=True)
class Cutting:
    """All that decides what windows there are."""

    data: DataSettings
    protocol: str
    inputs: tuple[InputSpec, ...]
    numbers: Mapping[int, int]
    """Class number by label."""
    seconds: float | None
    per_class: tuple[int, ...] | None
    """Windows drawn of each class of a sitting at most; None: all."""
    seed: int


def inputs_of(task: TaskSettings, form: Form) -> tuple[InputSpec, ...]:
    """What is cut for a model of a form; filters of cuts start afresh in each window."""
    inputs = tuple(
        default_input(modality, rate_hz=task.rate_hz or form.rate_hz, samples=task.samples or form.samples)
        for modality in task.inputs
    )
    return restarted(inputs) if task.protocol == "live-segment" else inputs


def cut_windows(
    cutting: Cutting, data: DataSet, workers: Workers, *, on_sitting: Callable[[str], object] | None = None
) -> Path:
    """Folder of the windows, which are cut if they are not there.

    Args:
        cutting: What is asked.
        data: The same data, opened.
        workers: Processes.
        on_sitting: Called with each sitting's key as it is done.

    Raises:
        SourceError: If a sitting cannot be read, has no such signal, or a class is left without a window.
    """
    root = Path(cutting.data.cache) / "windows"
    place = root / key_of(cutting, data)
    if (place / _META).is_file():
        return place
    parts: list[TracedSet] = []
    futures: list[Future[TracedSet | Failure | None]] = [
        workers.submit(_cut, cutting, number) for number in range(len(data.sittings))
    ]
    for files, future in zip(data.sittings, futures, strict=True):
        part = future.result()
        if isinstance(part, Failure):
            for other in futures:
                other.cancel()
            part.throw()
        if on_sitting is not None:
            on_sitting(files.key)
        if isinstance(part, TracedSet):
            parts.append(part)
    traced = _complete(parts, cutting, data)
    try:
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        _write(traced, place)
    except OSError as error:
        raise SourceError(
            f"the windows cannot be written: {error.strerror or error}",
            where=str(root),
            todo="Make room, or name another folder in data.cache",
        ) from error
    return place


def _cut(cutting: Cutting, number: int) -> TracedSet | None:
    """Windows of one sitting, in a worker."""
    data = open_data(cutting.data)
    sitting = data.load(data.sittings[number])
    traced = windows_of_sitting(
        data,
        sitting,
        cutting.protocol,
        cutting.inputs,
        classes=cutting.numbers,
        seconds=cutting.seconds,
        seed=cutting.seed,
    )
    return None if traced is None else _drawn(traced, cutting)


def _drawn(traced: TracedSet, cutting: Cutting) -> TracedSet:
    """The labelled windows that are kept, in their order."""
    if cutting.per_class is None:
        return traced.take(traced.windows.labels != UNLABELLED)
    return draw_windows(traced, cutting.per_class, seed=cutting.seed)


def _complete(parts: Sequence[TracedSet], cutting: Cutting, data: DataSet) -> TracedSet:
    traced = join_traced(parts) if parts else None
    found = set() if traced is None else set(traced.windows.labels.tolist())
    missing = [data.classes[label] for label, number in cutting.numbers.items() if number not in found]
    if traced is None or missing:
        reasons: dict[str, int] = {}
        for oddity in () if traced is None else traced.left_out:
            reasons[oddity.what] = reasons.get(oddity.what, 0) + 1
        most = sorted(reasons.items(), key=lambda pair: -pair[1])[:3]
        raise SourceError(
            f"{cutting.protocol}: no window of {', '.join(missing)}" + "".join(f"; {n} times: {w}" for w, n in most),
            where=str(data.root),
            todo="`python -m models data` says what is in the folder",
        )
    return traced


def key_of(cutting: Cutting, data: DataSet) -> str:
    """Name of the folder: changes with whatever decides the windows."""
    files = []
    for sitting in data.sittings:
        for path in sitting.files:
            try:
                stat = path.stat()
                files.append(f"{path}|{stat.st_size}|{stat.st_mtime_ns}")
            except FileNotFoundError:
                files.append(f"{path}|missing")
    content = {
        "versions": [WINDOWS_VERSION, loader_version(str(cutting.data.kind))],
        "data": cutting.data.model_dump(mode="json", exclude={"cache"}),
        "inputs": [item.model_dump(mode="json") for item in cutting.inputs],
        "numbers": sorted(cutting.numbers.items()),
        "task": [cutting.protocol, cutting.seconds, cutting.per_class, cutting.seed],
        "files": files,
    }
    return hashlib.blake2b(json.dumps(content, sort_keys=True).encode(), digest_size=12).hexdigest()


# -- on disk -----------------------------------------------------------------------------------------------------------


def _write(traced: TracedSet, place: Path) -> None:
    fresh = Path(tempfile.mkdtemp(dir=place.parent, prefix=".writing-"))  # only its user may read it
    try:
        rows: dict[str, Any] = {name: getattr(traced.windows, name) for name in _PER_WINDOW}
        rows |= {name: getattr(traced, name) for name in _TRACED}
        digest = hashlib.blake2b(digest_size=16)
        for name, values in traced.windows.inputs.items():
            array = np.ascontiguousarray(values, dtype=np.float32)
            np.save(fresh / f"{name}.npy", array)
            digest.update(name.encode())
            digest.update(array)
        for name in ("labels", "subjects", "recordings", "t_end"):
            digest.update("\n".join(map(str, rows[name].tolist())).encode())
        np.savez(fresh / _ROWS, **rows)
        meta = {
            "protocol": traced.protocol,
            "inputs": [item.model_dump(mode="json") for item in traced.inputs],
            "statistics": [
                {
                    "name": s.name,
                    "scope": s.scope,
                    "spans": [asdict(span) for span in s.spans],
                    "values": dict(s.values),
                }
                for s in traced.statistics
            ],
            "left_out": [asdict(oddity) for oddity in traced.left_out],
            "digest": digest.hexdigest(),
        }
        (fresh / _META).write_text(json.dumps(meta), encoding="utf-8")
        try:
            fresh.rename(place)
        except OSError:
            if not (place / _META).is_file():  # else another run was faster, with the same content
                raise
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def digest_of(place: Path) -> str:
    """Hash of the windows themselves, which does not depend on where the data lie."""
    return str(json.loads((place / _META).read_text(encoding="utf-8"))["digest"])


def open_windows(place: Path) -> TracedSet:
    """Windows of a folder of `cut_windows`; inputs are memory-mapped.

    Raises:
        SourceError: If it is damaged.
    """
    try:
        meta = json.loads((place / _META).read_text(encoding="utf-8"))
        with np.load(place / _ROWS, allow_pickle=False) as file:
            rows = {name: file[name] for name in (*_PER_WINDOW, *_TRACED)}
        inputs = tuple(InputSpec.model_validate_json(json.dumps(item)) for item in meta["inputs"])
        arrays = {item.name: np.load(place / f"{item.name}.npy", mmap_mode="r", allow_pickle=False) for item in inputs}
    except (OSError, ValueError, KeyError) as error:
        raise SourceError(f"is damaged: {error}", where=str(place), todo="Remove this folder and train again") from None
    return TracedSet(
        protocol=meta["protocol"],
        inputs=inputs,
        windows=WindowSet(inputs=arrays, **{name: rows[name] for name in _PER_WINDOW}),
        statistics=tuple(_statistics(meta["statistics"])),
        left_out=tuple(Oddity(**item) for item in meta["left_out"]),
        **{name: rows[name] for name in _TRACED},
    )


def _statistics(items: Sequence[Mapping[str, Any]]) -> Iterator[Statistic]:
    for item in items:
        yield Statistic(
            name=item["name"],
            scope=item["scope"],
            spans=tuple(Span(**span) for span in item["spans"]),
            values={name: (a, b, c) for name, (a, b, c) in item["values"].items()},
        )
