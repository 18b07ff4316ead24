"""Guards against the ways in which a held-out subject gets into training. Each raises `LeakError`; none only warns.

What goes wrong in this field: weights that had already been trained on the test subject (98 % that cannot be
repeated), choices made on the test part, scalers fitted on everybody, classes that differ in length. So the parts of a
split come from `divide` alone, which checks what the windows say of their own origin; and the test part is handed out
once, against a list of everything that was learnt or chosen before.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from models.data.base import UNLABELLED, IntArray, WindowSet
from models.data.traced import Statistic, TracedSet

LeakKind = Literal["subject", "recording", "scaler", "calibration", "tuning", "weights", "length"]

PARTS: Final = ("train", "validation", "calibration", "test")

_LEAST_DIFFERENCE_S: Final = 1e-6
_BETWEEN_SUBJECTS_S: Final = 0.05
"""Devices of different rates cannot be cut to the same length to the last sample."""


class LeakError(Exception):
    """Something crossed the line between subjects that are learnt from and subjects that are tested.

    Args:
        kind: What crossed it.
        subjects: Whose data.
        where: Part, statistic or choice in which it was found.
        what: The same as a sentence without its full stop.
    """

    def __init__(self, kind: LeakKind, *, subjects: Iterable[str], where: str, what: str) -> None:
        self.kind = kind
        self.subjects = tuple(sorted(set(subjects)))
        self.where = where
        self.what = what
        super().__init__(kind, self.subjects, where, what)

    def __str__(self) -> str:
        named = ", ".join(self.subjects[:8]) + (", ..." if len(self.subjects) > 8 else "")
        return f"{self.where}: {self.what}" + (f" ({named})" if named else "") + "."


@dataclass(frozen=True, slots=True, kw_only=True)
class Learnt:
    """Something that was fitted or chosen before the test part is opened, and whose data decided it."""

    name: str
    kind: Literal["weights", "scaler", "choice", "calibration"]
    """`weights`: trained, also those that a training starts from; `choice`: a hyper-parameter, an epoch, a threshold;
    `calibration`: temperature, prior, abstention limits."""
    subjects: frozenset[str]
    """Everybody whose windows it has seen, earlier trainings included."""


class Divided(Protocol):
    """What `divide` needs of a split."""

    @property
    def name(self) -> str:
        """To name it in messages."""
        ...

    @property
    def parts(self) -> Mapping[str, tuple[str, ...]]:
        """Subjects by the names of `PARTS`."""
        ...


# -- single guards -----------------------------------------------------------------------------------------------------


def check_parts(parts: Mapping[str, Sequence[str]], where: str) -> None:
    """Refuse a subject who is in two parts, or twice in one.

    Raises:
        LeakError: `subject`.
    """
    seen: dict[str, str] = {}
    for part, subjects in parts.items():
        for subject in subjects:
            if subject in seen:
                both = f"in {seen[subject]} and in {part}" if seen[subject] != part else f"twice in {part}"
                raise LeakError("subject", subjects=[subject], where=where, what=f"a subject is {both}")
            seen[subject] = part


def check_recordings(traced: TracedSet, parts: Mapping[str, Sequence[str]], where: str) -> None:
    """Refuse one recording that lies in two parts under two names.

    Raises:
        LeakError: `recording`.
    """
    part_of = {subject: part for part, subjects in parts.items() for subject in subjects}
    owners: dict[str, dict[str, str]] = {}
    pairs = dict.fromkeys(zip(traced.digests.tolist(), traced.windows.subjects.tolist(), strict=True))
    for digest, subject in pairs:
        if digest and subject in part_of:
            owners.setdefault(digest, {})[subject] = part_of[subject]
    for people in owners.values():
        if len(set(people.values())) > 1:
            said = " and ".join(sorted(set(people.values())))
            raise LeakError("recording", subjects=people, where=where, what=f"the same samples are in {said}")


def check_lengths(
    labels: IntArray, seconds: NDArray[np.float64], subjects: NDArray[np.str_], where: str = "windows"
) -> None:
    """Refuse windows of different lengths: a class can be told from a length alone.

    Args:
        labels: (n,) classes; unlabelled windows count too, since they may be labelled later.
        seconds: (n,) signal that each window was computed from.
        subjects: (n,) codes.
        where: To name in the error.

    Raises:
        LeakError: `length`, if they differ within a subject, or between subjects by more than devices explain.
    """
    if not len(seconds):
        return
    for subject in np.unique(subjects):
        own = subjects == subject
        if np.ptp(seconds[own]) > _LEAST_DIFFERENCE_S:
            raise LeakError("length", subjects=[str(subject)], where=where, what=_said(labels[own], seconds[own]))
    if np.ptp(seconds) > _BETWEEN_SUBJECTS_S:
        odd = np.abs(seconds - np.median(seconds)) > _BETWEEN_SUBJECTS_S / 2
        raise LeakError("length", subjects=subjects[odd].tolist(), where=where, what=_said(labels, seconds))


def _said(labels: IntArray, seconds: NDArray[np.float64]) -> str:
    spans = [
        f"class {label} {seconds[labels == label].min():g} to {seconds[labels == label].max():g} s"
        for label in np.unique(labels)
    ]
    return "windows differ in length: " + ", ".join(spans)


def check_statistics(traced: TracedSet, parts: Mapping[str, Sequence[str]], where: str) -> None:
    """Refuse statistics that know what they must not.

    A population's are of training subjects alone. A person's own scale nobody else; and but for the protocol `paper`,
    which states it, they are taken from none of the signal that is learnt from or scored.

    Raises:
        LeakError: `scaler` or `calibration`.
    """
    train = frozenset(parts["train"])
    used = frozenset(subject for subjects in parts.values() for subject in subjects)
    for number, statistic in enumerate(traced.statistics):
        at = f"{where}, {statistic.name}"
        mine = (traced.statistic == number) & np.isin(traced.windows.subjects, sorted(used))
        if not mine.any():
            continue
        if statistic.scope == "population":
            if strangers := statistic.subjects - train:
                what = "a scaler was fitted on subjects that are not in train"
                raise LeakError("scaler", subjects=strangers, where=at, what=what)
            continue
        served = frozenset(traced.windows.subjects[mine].tolist())
        if len(statistic.subjects) > 1 or served != statistic.subjects:
            what = "a person's baseline was taken from somebody else"
            raise LeakError("calibration", subjects=served ^ statistic.subjects, where=at, what=what)
        if traced.protocol != "paper":
            _check_apart(traced, statistic, at)


def _check_apart(traced: TracedSet, statistic: Statistic, where: str) -> None:
    """Refuse a baseline that shares time with any window, whichever statistic scaled that one."""
    for span in statistic.spans:
        inside = (
            (traced.recordings == span.recording)
            & (traced.start_s < span.stop_s - _LEAST_DIFFERENCE_S)
            & (traced.stop_s > span.start_s + _LEAST_DIFFERENCE_S)
        )
        if inside.any():
            what = (
                f"the calibration segment {span.start_s:g} to {span.stop_s:g} s of {span.recording} overlaps "
                f"{int(inside.sum())} windows"
            )
            raise LeakError("calibration", subjects=[span.subject], where=where, what=what)


def check_learnt(learnt: Iterable[Learnt], parts: Mapping[str, Sequence[str]], where: str) -> None:
    """Refuse what has seen the test part, and a calibration on those who were learnt from.

    Raises:
        LeakError: `weights`, `scaler`, `tuning` or `calibration`.
    """
    kinds: dict[str, LeakKind] = {"weights": "weights", "scaler": "scaler", "choice": "tuning"}
    test = frozenset(parts["test"])
    for item in learnt:
        if seen := item.subjects & test:
            what = f"{item.name} has seen the test part"
            raise LeakError(kinds.get(item.kind, "calibration"), subjects=seen, where=where, what=what)
        if item.kind == "calibration" and (seen := item.subjects & frozenset((*parts["train"], *parts["validation"]))):
            what = f"{item.name} was calibrated on subjects whom the model had learnt from"
            raise LeakError("calibration", subjects=seen, where=where, what=what)


# -- taking apart ------------------------------------------------------------------------------------------------------


class Parts:
    """The windows of one split. `divide` makes it.

    Args:
        where: Name of the split.
        windows: By part.
        subjects: By part.
    """

    def __init__(self, where: str, windows: Mapping[str, WindowSet], subjects: Mapping[str, tuple[str, ...]]) -> None:
        self.where = where
        self.subjects = dict(subjects)
        self.train = windows["train"]
        self.validation = windows["validation"]
        self.calibration = windows["calibration"]
        self._test: WindowSet | None = windows["test"]

    def open_test(self, learnt: Sequence[Learnt]) -> WindowSet:
        """The test windows, once, when nothing is left to be decided.

        Args:
            learnt: Everything that was fitted or chosen, at least the weights.

        Raises:
            LeakError: If anything of it has seen the test part, or the test part was handed out before.
            ValueError: If no weights are listed: nothing could be said of where they come from.
        """
        if not any(item.kind == "weights" for item in learnt):
            raise ValueError("the test part is opened for weights, and none are listed")
        check_learnt(learnt, self.subjects, self.where)
        if self._test is None:
            what = "the test part was opened before; what is looked at twice can be chosen by"
            raise LeakError("tuning", subjects=self.subjects["test"], where=self.where, what=what)
        test, self._test = self._test, None
        return test


def divide(traced: TracedSet, split: Divided) -> Parts:
    """Take windows apart by subject, once every guard has passed.

    Unlabelled windows stay in the parts; `WindowSet.labelled` drops them.

    Raises:
        LeakError: If anything crosses the line.
        ValueError: If a part has no labelled window, or the split names somebody of whom there is none.
    """
    parts = split.parts
    check_parts(parts, split.name)
    check_recordings(traced, parts, split.name)
    used = traced.take(np.isin(traced.windows.subjects, [s for subjects in parts.values() for s in subjects]))
    check_lengths(used.windows.labels, used.seconds, used.windows.subjects, split.name)
    check_statistics(used, parts, split.name)
    windows = {part: used.windows.of(parts[part]) for part in PARTS}
    for part, of_part in windows.items():
        missing = sorted(set(parts[part]) - set(of_part.subjects.tolist()))
        if missing:
            raise ValueError(f"{split.name}: {part} names {', '.join(missing[:8])}, of whom there is no window")
        if not (of_part.labels != UNLABELLED).any():
            raise ValueError(f"{split.name}: no window of {part} has a label")
    return Parts(split.name, windows, {part: tuple(parts[part]) for part in PARTS})


def without_overlap(traced: TracedSet) -> TracedSet:
    """The same without windows that share time with a calibration segment of their recording.

    For continuous data, whose first windows after the calibration period reach back into it.
    """
    keep = np.ones(len(traced), dtype=np.bool_)
    for statistic in traced.statistics:
        for span in statistic.spans if statistic.scope == "own" else ():
            keep &= ~(
                (traced.recordings == span.recording)
                & (traced.start_s < span.stop_s - _LEAST_DIFFERENCE_S)
                & (traced.stop_s > span.start_s + _LEAST_DIFFERENCE_S)
            )
    return traced.take(keep)
