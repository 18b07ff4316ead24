"""Who is learnt from and who is tested: subjects are divided, never windows.

Every split has four parts. Models learn from `train`; early stopping and choices look at `validation`; temperature,
prior and abstention at `calibration`; `test` is opened once. A split depends on the seed and on who is there, not on
the order in which they are listed, on the machine, or on the number of workers.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from models.data.biovid_people import HOLD_OUT
from models.data.guards import PARTS, check_parts
from models.data.recorded import DataSet
from monitor.errors import SourceError

SHARE: Final = 0.15
"""Of the subjects outside the test part, this share goes to validation and as many to calibration, one at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """One division of subjects into disjoint parts, none of them empty."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    calibration: tuple[str, ...]
    test: tuple[str, ...]
    seed: int

    def __post_init__(self) -> None:
        check_parts(self.parts, self.name)
        if empty := [part for part, subjects in self.parts.items() if not subjects]:
            raise ValueError(f"{self.name}: nobody is in {' and '.join(empty)}")

    @property
    def parts(self) -> Mapping[str, tuple[str, ...]]:
        """Subjects by part, as a bundle's `training.subjects` takes them."""
        return {part: getattr(self, part) for part in PARTS}

    @property
    def learning(self) -> tuple[str, ...]:
        """Everybody outside the test part, in order of code."""
        return tuple(sorted((*self.train, *self.validation, *self.calibration)))


def shuffled(subjects: Iterable[str], seed: int, purpose: str) -> list[str]:
    """Subjects in an order that depends on the seed and the purpose, and not on theirs."""
    return sorted(set(subjects), key=lambda s: hashlib.blake2b(f"{seed}/{purpose}/{s}".encode()).digest())


def with_inner(name: str, others: Iterable[str], test: Sequence[str], seed: int) -> Split:
    """A split whose inner parts are drawn from whoever is not tested.

    Args:
        name: Of the split; its own draw.
        others: Subjects outside the test part.
        test: Subjects of the test part.
        seed: Of the draw.

    Raises:
        LeakError: If somebody is in both.
        SourceError: If fewer than three others are there.
    """
    order = shuffled(others, seed, f"inner/{name}")
    if len(order) < 3:
        raise SourceError(
            f"{name}: {len(order)} subjects are left to learn from",
            todo="Three at least: one to train on, one to stop by, one to calibrate on. More folds leave more to learn "
            "from",
        )
    count = max(1, round(SHARE * len(order)))
    return Split(
        name=name,
        train=tuple(sorted(order[2 * count :])),
        validation=tuple(sorted(order[:count])),
        calibration=tuple(sorted(order[count : 2 * count])),
        test=tuple(sorted(test)),
        seed=seed,
    )


def _enough(subjects: Iterable[str], least: int, what: str) -> list[str]:
    people = sorted(set(subjects))
    if len(people) < least:
        raise SourceError(
            f"{len(people)} subject{'s' * (len(people) != 1)} cannot be divided: {what} needs {least}",
            todo="Add subjects" if len(people) < 4 else "Take fewer folds (split.folds), or add subjects",
        )
    return people


def leave_one_out(subjects: Iterable[str], *, seed: int) -> tuple[Split, ...]:
    """One split a subject, who is its test part (LOSO).

    Raises:
        SourceError: If there are fewer than four.
    """
    people = _enough(subjects, 4, "leaving one out")
    return tuple(with_inner(f"loso-{p}", [o for o in people if o != p], [p], seed) for p in people)


def k_fold(subjects: Iterable[str], folds: int, *, seed: int) -> tuple[Split, ...]:
    """Splits in which everybody is tested once; the sizes of test parts differ by one at most.

    Args:
        subjects: Everybody.
        folds: How many splits.
        seed: Of all draws.

    Raises:
        SourceError: If there are too few for so many folds.
        ValueError: If there are fewer than two folds.
    """
    if folds < 2:
        raise ValueError(f"{folds} folds are no cross-validation")
    people = _enough(subjects, max(folds, 4), f"{folds}-fold")
    order = shuffled(people, seed, "folds")
    splits = []
    for fold in range(folds):
        test = order[fold::folds]
        splits.append(with_inner(f"fold-{fold + 1}-of-{folds}", set(people) - set(test), test, seed))
    return tuple(splits)


def inner_folds(split: Split, folds: int, *, seed: int) -> tuple[Split, ...]:
    """Splits for tuning within one split: nobody of its test part is in any of them."""
    return k_fold(split.learning, folds, seed=seed)


def _biovid(data: DataSet) -> tuple[Sequence[str], str]:
    return [s for s in data.subjects if s in HOLD_OUT], "none of the 26 subjects of the official hold-out is there"


def _ai4pain(data: DataSet) -> tuple[Sequence[str], str]:
    parts = {sitting.subject: sitting.part for sitting in data.sittings}
    return [s for s, part in parts.items() if part == "validation"], "the folder validation is not there"


_OFFICIAL: Final[Mapping[str, Callable[[DataSet], tuple[Sequence[str], str]]]] = MappingProxyType(
    {
        "biovid-a": _biovid,
        "biovid-b": _biovid,
        "biovid-c": _biovid,
        "ai4pain-2025": _ai4pain,
        "ai4pain-2026": _ai4pain,
    }
)


def incomplete(split: Split) -> str:
    """What to say of an official division of which only some of the tested subjects are there, or an empty text."""
    there = len(set(split.test).intersection(HOLD_OUT))
    if not split.name.startswith("biovid") or there == len(HOLD_OUT):
        return ""
    return f"{there} of the {len(HOLD_OUT)} subjects of the official hold-out are there: figures are of these alone"


_OTHERWISE: Final = 'Set split.kind = "k-fold" or "loso", or "hold-out" where one model shall become a bundle'


def official(data: DataSet, *, seed: int) -> Split:
    """The division that a data set's authors propose, with inner parts drawn from its training subjects.

    Only BioVid and AI4PAIN have one; the simulated cohort comes divided in four, which is `split.kind = "parts"`.
    BioVid: 26 subjects are tested, 61 are learnt from. AI4PAIN: the official validation subjects are tested, since the
    labels of the test subjects are not published; test subjects are in no part.

    Raises:
        SourceError: If the data set has none, or those who are to be tested are not there.
    """
    if data.kind not in _OFFICIAL:
        own = data.kind == "simulated"
        raise SourceError(
            f"{data.kind} has no official division"
            + (": its own parts are train, validation, calibration and test" if own else ""),
            where=str(data.root),
            todo='Set split.kind = "parts"' if own else _OTHERWISE,
        )
    test, lacking = _OFFICIAL[data.kind](data)
    if not test:
        raise SourceError(lacking, where=str(data.root), todo=_OTHERWISE)
    unlabelled = {s.subject for s in data.sittings if s.part == "test"}
    others = [s for s in data.subjects if s not in test and s not in unlabelled]
    return with_inner(f"{data.kind}-official", others, test, seed)
