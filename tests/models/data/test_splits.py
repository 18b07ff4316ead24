"""Splits: nobody is in two parts, everybody is tested once, and the order of a list decides nothing."""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.biovid_people import HOLD_OUT
from models.data.guards import PARTS, LeakError
from models.data.recorded import DataSet, SittingFiles
from models.data.splits import Split, incomplete, inner_folds, k_fold, leave_one_out, official, with_inner
from monitor.errors import SourceError

people = st.sets(st.text("abcdef0123", min_size=1, max_size=4), min_size=6, max_size=14).map(sorted)


def _data(kind: str, subjects: dict[str, str]) -> DataSet:
    def never() -> None:
        raise AssertionError("a split reads no sample")

    return DataSet(
        kind=kind,
        root=Path(kind),
        classes=("none", "pain"),
        sittings=tuple(SittingFiles(subject=s, part=part, read=never) for s, part in subjects.items()),  # type: ignore[arg-type]
        refused={},
    )


@settings(max_examples=25, deadline=None)
@given(subjects=people, folds=st.integers(2, 5), seed=st.integers(0, 9))
def test_k_fold_tests_everybody_once_in_parts_that_share_nobody(subjects: list[str], folds: int, seed: int) -> None:
    splits = k_fold(subjects, folds, seed=seed)

    assert sorted(s for split in splits for s in split.test) == subjects
    sizes = [len(split.test) for split in splits]
    assert max(sizes) - min(sizes) <= 1
    for split in splits:
        together = [s for part in PARTS for s in split.parts[part]]
        assert sorted(together) == subjects
        assert all(split.parts[part] for part in PARTS)


@settings(max_examples=25, deadline=None)
@given(subjects=people, seed=st.integers(0, 9))
def test_the_order_of_subjects_decides_nothing(subjects: list[str], seed: int) -> None:
    mixed = random.Random(seed).sample(subjects, len(subjects)) + subjects[:2]

    assert k_fold(mixed, 3, seed=seed) == k_fold(subjects, 3, seed=seed)
    assert leave_one_out(mixed, seed=seed) == leave_one_out(subjects, seed=seed)


@settings(max_examples=10, deadline=None)
@given(subjects=people)
def test_leaving_one_out_tests_each_alone(subjects: list[str]) -> None:
    splits = leave_one_out(subjects, seed=1)

    assert [split.test for split in splits] == [(s,) for s in subjects]


def test_another_seed_draws_another_split() -> None:
    subjects = [f"s{i}" for i in range(20)]

    assert k_fold(subjects, 5, seed=1) != k_fold(subjects, 5, seed=2)


def test_tuning_never_sees_the_test_part() -> None:
    split = k_fold([f"s{i}" for i in range(12)], 3, seed=0)[0]

    folds = inner_folds(split, 3, seed=0)

    seen = {s for fold in folds for part in PARTS for s in fold.parts[part]}
    assert seen == set(split.learning)
    assert not seen & set(split.test)


def test_biovid_is_divided_as_its_authors_propose() -> None:
    others = [f"07130{i}_w_21" for i in range(10)]
    split = official(_data("biovid-a", dict.fromkeys([*others, *HOLD_OUT], "")), seed=0)

    assert set(split.test) == set(HOLD_OUT)
    assert set(split.learning) == set(others)


def test_ai4pain_is_tested_on_its_validation_and_its_test_subjects_are_nowhere() -> None:
    parts = {"1": "train", "2": "train", "4": "train", "7": "validation", "3": "test"}
    split = official(_data("ai4pain-2026", parts), seed=0)

    assert split.test == ("7",)
    assert set(split.learning) == {"1", "2", "4"}


@pytest.mark.parametrize(
    ("kind", "part", "what", "todo"),
    [
        ("biovid-a", "", "none of the 26 subjects of the official hold-out is there", '"hold-out"'),
        ("ai4pain-2025", "train", "the folder validation is not there", '"hold-out"'),
        ("simulated", "train", "its own parts are train, validation", 'Set split.kind = "parts"'),
        *(
            (kind, "", f"{kind} has no official division", '"loso"')
            for kind in ("pmed", "pmcd", "e4", "xdf", "sessions")
        ),
    ],
)
def test_where_there_is_no_official_division_it_is_said(kind: str, part: str, what: str, todo: str) -> None:
    with pytest.raises(SourceError) as caught:
        official(_data(kind, dict.fromkeys("abcd", part)), seed=0)
    assert what in caught.value.what
    assert todo in caught.value.todo


@pytest.mark.parametrize("count", [0, 1, 3])
def test_too_few_subjects_are_refused_before_anything_is_trained(count: int) -> None:
    subjects = [f"s{i}" for i in range(count)]

    with pytest.raises(SourceError, match="cannot be divided"):
        leave_one_out(subjects, seed=0)
    with pytest.raises(SourceError, match="cannot be divided"):
        k_fold(subjects, 2, seed=0)


def test_a_split_with_a_subject_in_two_parts_cannot_be_made() -> None:
    with pytest.raises(LeakError) as caught:
        Split(name="leaky", train=("a", "b"), validation=("c",), calibration=("d",), test=("b",), seed=0)

    assert (caught.value.kind, caught.value.subjects, caught.value.where) == ("subject", ("b",), "leaky")
    with pytest.raises(LeakError):
        with_inner("leaky", ["a", "b", "c"], ["a"], 0)


def test_a_part_without_anybody_is_refused() -> None:
    with pytest.raises(ValueError, match="nobody is in calibration"):
        Split(name="empty", train=("a",), validation=("c",), calibration=(), test=("b",), seed=0)


def test_an_official_division_of_which_some_are_missing_says_how_many_are_there() -> None:
    others = [f"other{i}" for i in range(20)]
    whole = official(_data("biovid-a", dict.fromkeys([*others, *HOLD_OUT], "")), seed=0)
    assert incomplete(whole) == ""
    half = official(_data("biovid-a", dict.fromkeys([*others, *HOLD_OUT[:13]], "")), seed=0)
    assert incomplete(half).startswith("13 of the 26 subjects")
    assert all(incomplete(split) == "" for split in k_fold([*others, *HOLD_OUT[:13]], 5, seed=0))
