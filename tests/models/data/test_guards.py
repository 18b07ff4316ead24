"""Positive control: every kind of leak, made on purpose, is caught. Negative control: clean data pass."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.canary import permute_labels, permuted
from models.data.guards import PARTS, LeakError, Learnt, check_lengths, divide, without_overlap
from models.data.splits import Split
from models.data.traced import Span, Statistic, TracedSet, join_traced
from tests.helpers.traced_windows import traced_cohort, traced_person

PEOPLE = ("a", "b", "c", "d", "e")
SPLIT = Split(name="clean", train=("a", "b"), validation=("c",), calibration=("d",), test=("e",), seed=0)
HONEST = (
    Learnt(name="weights", kind="weights", subjects=frozenset({"a", "b", "c"})),
    Learnt(name="scale", kind="scaler", subjects=frozenset({"a", "b"})),
    Learnt(name="epoch", kind="choice", subjects=frozenset({"c"})),
    Learnt(name="temperature", kind="calibration", subjects=frozenset({"d"})),
)


@dataclass
class _Leaky:
    """Parts that `Split` itself would refuse to hold."""

    parts: dict[str, tuple[str, ...]]
    name: str = "leaky"


def _statistic(traced: TracedSet, number: int, **changes: object) -> TracedSet:
    changed = list(traced.statistics)
    changed[number] = replace(changed[number], **changes)
    return replace(traced, statistics=tuple(changed))


def test_clean_data_come_apart_by_subject() -> None:
    parts = divide(traced_cohort(PEOPLE), SPLIT)

    assert set(parts.train.subjects) == {"a", "b"}
    assert set(parts.validation.subjects) == {"c"}
    assert set(parts.calibration.subjects) == {"d"}
    assert set(parts.open_test(HONEST).subjects) == {"e"}


def test_a_subject_in_two_parts_is_caught() -> None:
    leaky = _Leaky({**SPLIT.parts, "test": ("e", "a")})

    with pytest.raises(LeakError) as caught:
        divide(traced_cohort(PEOPLE), leaky)
    assert (caught.value.kind, caught.value.subjects) == ("subject", ("a",))


def test_one_recording_under_two_names_is_caught() -> None:
    traced = traced_cohort(PEOPLE)
    digests = np.where(traced.windows.subjects == "e", "digest of a", traced.digests)

    with pytest.raises(LeakError) as caught:
        divide(replace(traced, digests=digests), SPLIT)
    assert (caught.value.kind, caught.value.subjects) == ("recording", ("a", "e"))


@pytest.mark.parametrize("stranger", ["c", "d", "e"])
def test_a_scaler_that_knows_more_than_train_is_caught(stranger: str) -> None:
    traced = traced_cohort(PEOPLE)
    spans = tuple(Span(subject=s, recording=f"{s}/a", start_s=0.0, stop_s=3.0) for s in ("a", stranger))

    with pytest.raises(LeakError) as caught:
        divide(_statistic(traced, 0, scope="population", spans=spans), SPLIT)
    assert (caught.value.kind, caught.value.subjects) == ("scaler", (stranger,))


def test_a_scaler_of_training_subjects_passes() -> None:
    spans = tuple(Span(subject=s, recording=f"{s}/a", start_s=0.0, stop_s=9.0) for s in ("a", "b"))
    everybody = traced_cohort(PEOPLE)
    traced = replace(
        everybody,
        statistics=(Statistic(name="population", scope="population", spans=spans),),
        statistic=np.zeros(len(everybody), dtype=np.int64),
    )

    assert len(divide(traced, SPLIT).train) == 8


def test_a_calibration_segment_that_is_scored_too_is_caught_and_its_windows_can_be_dropped() -> None:
    span = Span(subject="e", recording="e/a", start_s=0.0, stop_s=3.5)
    traced = _statistic(traced_cohort(PEOPLE), 4, spans=(span,))

    with pytest.raises(LeakError) as caught:
        divide(traced, SPLIT)
    assert (caught.value.kind, caught.value.subjects) == ("calibration", ("e",))

    cleaned = without_overlap(traced)
    assert len(cleaned) == len(traced) - 1
    divide(cleaned, SPLIT)


def test_what_the_paper_protocol_states_passes_there_alone() -> None:
    span = Span(subject="e", recording="e/a", start_s=0.0, stop_s=7.0)
    traced = _statistic(traced_cohort(PEOPLE, protocol="paper"), 4, spans=(span,))

    divide(traced, SPLIT)
    assert not traced.may_become_bundle
    assert replace(traced, protocol="live-segment").may_become_bundle


def test_a_baseline_of_somebody_else_is_caught() -> None:
    span = Span(subject="a", recording="a/a", start_s=0.0, stop_s=3.0)

    with pytest.raises(LeakError) as caught:
        divide(_statistic(traced_cohort(PEOPLE), 4, spans=(span,)), SPLIT)
    assert (caught.value.kind, caught.value.subjects) == ("calibration", ("a", "e"))


@pytest.mark.parametrize(
    ("learnt", "kind"),
    [
        (Learnt(name="carried over", kind="weights", subjects=frozenset({"a", "e"})), "weights"),
        (Learnt(name="scale", kind="scaler", subjects=frozenset({"e"})), "scaler"),
        (Learnt(name="best epoch", kind="choice", subjects=frozenset({"e"})), "tuning"),
        (Learnt(name="temperature", kind="calibration", subjects=frozenset({"e"})), "calibration"),
        (Learnt(name="temperature", kind="calibration", subjects=frozenset({"a"})), "calibration"),
    ],
)
def test_what_has_seen_the_wrong_subjects_never_meets_the_test_part(learnt: Learnt, kind: str) -> None:
    parts = divide(traced_cohort(PEOPLE), SPLIT)

    with pytest.raises(LeakError) as caught:
        parts.open_test((*HONEST, learnt))
    assert caught.value.kind == kind
    assert caught.value.where == "clean"
    assert set(caught.value.subjects) == set(learnt.subjects) & {"e"} or set(caught.value.subjects) == {"a"}
    assert len(parts.open_test(HONEST)) == 4  # a refusal has shown nothing


def test_the_test_part_is_opened_once_and_for_named_weights() -> None:
    parts = divide(traced_cohort(PEOPLE), SPLIT)

    with pytest.raises(ValueError, match="weights"):
        parts.open_test(HONEST[1:])
    parts.open_test(HONEST)
    with pytest.raises(LeakError) as caught:
        parts.open_test(HONEST)
    assert caught.value.kind == "tuning"


@pytest.mark.parametrize("part", PARTS)
def test_a_class_that_is_longer_is_caught_in_any_part(part: str) -> None:
    traced = traced_cohort(PEOPLE)
    longer = np.isin(traced.windows.subjects, SPLIT.parts[part]) & (traced.windows.labels == 1)

    with pytest.raises(LeakError) as caught:
        divide(replace(traced, seconds=np.where(longer, 1.022, traced.seconds)), SPLIT)
    assert caught.value.kind == "length"
    assert caught.value.subjects == (SPLIT.parts[part][0],)


def test_a_subject_that_is_cut_otherwise_is_caught() -> None:
    subjects = np.repeat(["a", "b", "c"], 4)
    seconds = np.where(subjects == "c", 9.9, 10.22)

    with pytest.raises(LeakError) as caught:
        check_lengths(np.zeros(12, dtype=np.int64), seconds, subjects)
    assert caught.value.subjects == ("c",)


def test_rounding_to_whole_samples_is_no_leak() -> None:
    subjects = np.repeat(["a", "b"], 4)

    check_lengths(np.zeros(8, dtype=np.int64), np.where(subjects == "a", 5.498, 5.5), subjects)


def test_a_part_without_windows_is_said() -> None:
    traced = traced_cohort(PEOPLE)

    with pytest.raises(ValueError, match="of whom there is no window"):
        divide(traced.take(traced.windows.subjects != "d"), SPLIT)
    with pytest.raises(ValueError, match="has a label"):
        divide(join_traced([traced_cohort(PEOPLE[:4]), traced_person("e", [-1, -1])]), SPLIT)


@settings(max_examples=30, deadline=None)
@given(
    labels=st.lists(st.lists(st.integers(-1, 3), min_size=1, max_size=12), min_size=1, max_size=4),
    seed=st.integers(0, 99),
)
def test_permuted_labels_keep_the_count_of_each_class_by_subject(labels: list[list[int]], seed: int) -> None:
    traced = join_traced([traced_person(f"s{i}", own) for i, own in enumerate(labels)])

    changed = permuted(traced, seed=seed).windows

    for i, own in enumerate(labels):
        mine = changed.labels[changed.subjects == f"s{i}"]
        assert sorted(mine) == sorted(own)
        assert [at for at, label in enumerate(mine) if label == -1] == [at for at, label in enumerate(own) if label < 0]


def test_permuted_labels_say_nothing_of_the_true_ones_and_do_not_depend_on_who_is_there() -> None:
    windows = traced_cohort(("a", "b"), [0, 1] * 500).windows

    changed = permute_labels(windows, seed=3)

    for subject in ("a", "b"):
        own = windows.subjects == subject
        agreement = np.mean(changed.labels[own] == windows.labels[own])
        assert abs(agreement - 0.5) < 0.08  # five standard deviations of chance
    alone = permute_labels(windows.of(["b"]), seed=3)
    assert np.array_equal(alone.labels, changed.of(["b"]).labels)
    assert not np.array_equal(changed.labels, permute_labels(windows, seed=4).labels)
    assert not np.array_equal(changed.of(["a"]).labels, changed.of(["b"]).labels)
