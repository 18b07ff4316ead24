"""What a method said of held-out windows: the one thing that all figures are computed from.

Written as CSV, a line a window, so that anybody can compute other figures from it.
"""

from __future__ import annotations

import csv
import gzip
import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, TextIO

import numpy as np
from numpy.typing import NDArray

from models.data.base import IntArray, WindowSet
from monitor.errors import SourceError

_COLUMNS: Final = (
    "method",
    "seed",
    "split",
    "subject",
    "session",
    "t_end_s",
    "order",
    "group",
    "responder",
    "label",
    "predicted",
)


_ANEW: Final = "Remove it and train again: this job alone is then run anew"


@dataclass(frozen=True, kw_only=True, eq=False)
class Predictions:
    """Class probabilities of held-out windows, of one method, seed and protocol; every array has one entry a window."""

    method: str
    """`crossmod`, `fcn-eda`, `logistic-regression`, ..."""
    seed: int
    protocol: str
    """`paper`, `live-segment` or `live-stream`."""
    classes: tuple[str, ...]
    """The least painful first."""
    splits: NDArray[np.str_]
    """(n,) name of the split whose test part it was in."""
    subjects: NDArray[np.str_]
    """(n,) codes."""
    sessions: NDArray[np.str_]
    """(n,) recording that it was cut from."""
    t_end: NDArray[np.float64]
    """(n,) seconds from the recording's zero."""
    order: IntArray
    """(n,) position among the windows of its recording, from 0."""
    groups: NDArray[np.str_]
    """(n,) as `WindowSet.groups`."""
    responder: IntArray
    """(n,) 1 where the subject is known to answer to pain, 0 where it is known not to, -1 where nobody knows."""
    labels: IntArray
    """(n,) class numbers."""
    probabilities: NDArray[np.float64]
    """(n, classes), after temperature, on the balanced prior."""

    def __len__(self) -> int:
        return len(self.labels)

    def take(self, which: IntArray | NDArray[np.bool_]) -> Predictions:
        """Windows by number or mask."""
        return Predictions(
            method=self.method,
            seed=self.seed,
            protocol=self.protocol,
            classes=self.classes,
            **{name: getattr(self, name)[which] for name in _ARRAYS},
        )


_ARRAYS: Final = (
    "splits",
    "subjects",
    "sessions",
    "t_end",
    "order",
    "groups",
    "responder",
    "labels",
    "probabilities",
)


def predictions_of(
    windows: WindowSet,
    probabilities: NDArray[np.float64],
    *,
    method: str,
    seed: int,
    split: str,
    protocol: str,
    classes: Sequence[str],
    recordings: NDArray[np.str_],
    responder: IntArray | None = None,
) -> Predictions:
    """What a method said of the test windows of one split.

    Args:
        windows: Labelled ones.
        probabilities: (n, classes).
        method: Name of the method.
        seed: Of its training.
        split: Name of the split.
        protocol: Of the windows.
        classes: Names.
        recordings: (n,) recording of each window.
        responder: (n,) as `Predictions.responder`; None where nobody knows.
    """
    order = np.zeros(len(windows), dtype=np.int64)
    for recording in np.unique(recordings):
        own = np.flatnonzero(recordings == recording)
        order[own[np.argsort(windows.t_end[own], kind="stable")]] = np.arange(len(own))
    return Predictions(
        method=method,
        seed=seed,
        protocol=protocol,
        classes=tuple(classes),
        splits=np.full(len(windows), split),
        subjects=windows.subjects,
        sessions=recordings,
        t_end=windows.t_end,
        order=order,
        groups=windows.groups,
        responder=np.full(len(windows), -1, dtype=np.int64) if responder is None else responder,
        labels=windows.labels,
        probabilities=np.asarray(probabilities, dtype=np.float64),
    )


def pooled(parts: Sequence[Predictions]) -> Predictions:
    """One of several splits, of the same method, seed, protocol and classes.

    Raises:
        ValueError: If there is none, or they differ in one of these.
    """
    if not parts:
        raise ValueError("there is nothing to pool")
    first = parts[0]
    for part in parts:
        if (part.method, part.seed, part.protocol, part.classes) != (
            first.method,
            first.seed,
            first.protocol,
            first.classes,
        ):
            raise ValueError(f"{part.method} (seed {part.seed}) and {first.method} (seed {first.seed}) are not pooled")
    return Predictions(
        method=first.method,
        seed=first.seed,
        protocol=first.protocol,
        classes=first.classes,
        **{name: np.concatenate([getattr(part, name) for part in parts]) for name in _ARRAYS},
    )


def _open(path: Path, mode: Literal["r", "w"]) -> TextIO:
    if path.suffix != ".gz":
        return path.open(mode, encoding="utf-8", newline="")
    # No time stamp inside: the same predictions are the same file.
    packed = gzip.GzipFile(path, f"{mode}b", mtime=0)
    return io.TextIOWrapper(packed, encoding="utf-8", newline="")


def write_predictions(path: Path, predictions: Sequence[Predictions]) -> None:
    """Write several methods' predictions of the same classes into one CSV (`.csv`, or compressed as `.csv.gz`).

    Raises:
        ValueError: If there is none, or their classes or protocols differ.
    """
    if not predictions:
        raise ValueError("there are no predictions to write")
    first = predictions[0]
    if any((p.classes, p.protocol) != (first.classes, first.protocol) for p in predictions):
        raise ValueError("predictions of different classes or protocols do not go into one file")
    path.parent.mkdir(parents=True, exist_ok=True)
    with _open(path, "w") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["protocol", *_COLUMNS, *(f"p_{name}" for name in first.classes)])
        for item in predictions:
            guessed = item.probabilities.argmax(axis=1) if len(item) else ()
            for i in range(len(item)):
                writer.writerow(
                    [
                        item.protocol,
                        item.method,
                        item.seed,
                        item.splits[i],
                        item.subjects[i],
                        item.sessions[i],
                        f"{item.t_end[i]:.6f}",
                        item.order[i],
                        item.groups[i],
                        "" if item.responder[i] < 0 else int(item.responder[i]),
                        int(item.labels[i]),
                        int(guessed[i]),
                        *(f"{p:.9g}" for p in item.probabilities[i]),
                    ]
                )


def read_predictions(path: Path) -> tuple[Predictions, ...]:
    """Read what `write_predictions` wrote, one entry for each method and seed, in the file's order.

    Raises:
        SourceError: If the file cannot be read or is none of ours.
    """
    try:
        with _open(path, "r") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, EOFError, csv.Error) as error:
        raise SourceError(f"cannot be read: {error}", where=str(path), todo=_ANEW) from None
    if not rows or any(name not in rows[0] for name in ("protocol", *_COLUMNS)):
        raise SourceError("is no file of predictions", where=str(path), todo="Give one that training wrote")
    classes = tuple(name[2:] for name in rows[0] if name.startswith("p_"))
    by_method: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        by_method.setdefault((row["method"], row["seed"]), []).append(row)
    try:
        return tuple(_predictions(own, classes) for own in by_method.values())
    except (TypeError, ValueError) as error:
        raise SourceError(f"is damaged: {error}", where=str(path), todo=_ANEW) from None


def _predictions(rows: Sequence[dict[str, str]], classes: tuple[str, ...]) -> Predictions:
    def texts(name: str) -> NDArray[np.str_]:
        return np.array([row[name] for row in rows], dtype=np.str_)

    def numbers(name: str) -> IntArray:
        return np.array([int(row[name] or -1) for row in rows], dtype=np.int64)

    return Predictions(
        method=rows[0]["method"],
        seed=int(rows[0]["seed"]),
        protocol=rows[0]["protocol"],
        classes=classes,
        splits=texts("split"),
        subjects=texts("subject"),
        sessions=texts("session"),
        t_end=np.array([float(row["t_end_s"]) for row in rows]),
        order=numbers("order"),
        groups=texts("group"),
        responder=numbers("responder"),
        labels=numbers("label"),
        probabilities=np.array([[float(row[f"p_{name}"]) for name in classes] for row in rows]),
    )
