from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from monitor.errors import MonitorError
from monitor.sources.synthetic_regions import BLOCK_S, EMOTIONS, SyntheticRegions


def test_samples_do_not_depend_on_how_they_are_asked_for() -> None:
    whole = SyntheticRegions(3).samples(0, 400)
    assert whole.shape == (400, 246)
    assert whole.dtype == np.float32
    pieces = SyntheticRegions(3)
    late = pieces.samples(300, 100)
    rng = np.random.default_rng(1)
    edges = [0, *sorted(rng.choice(np.arange(1, 300), 20, replace=False).tolist()), 300]
    joined = np.concatenate([pieces.samples(a, b - a) for a, b in pairwise(edges)])
    np.testing.assert_array_equal(np.concatenate([joined, late]), whole)
    assert pieces.samples(70, 0).shape == (0, 246)


def test_what_is_given_may_be_changed_by_who_gets_it() -> None:
    subject = SyntheticRegions(3)
    first = subject.samples(0, 10)
    kept = first.copy()
    first[:] = 0.0
    np.testing.assert_array_equal(subject.samples(0, 10), kept)


def test_subjects_and_parts_differ() -> None:
    subjects = [SyntheticRegions(0, part="train"), SyntheticRegions(1, part="train"), SyntheticRegions(0, part="test"),
                SyntheticRegions(0)]  # fmt: skip
    assert len({subject.subject for subject in subjects}) == len({subject.seed for subject in subjects}) == 4
    values = [subject.samples(0, 100).ravel() for subject in subjects]
    correlation = np.corrcoef(values)
    assert np.abs(correlation[~np.eye(4, dtype=bool)]).max() < 0.2


def test_each_three_minutes_hold_all_emotions() -> None:
    subject = SyntheticRegions(5)
    minutes = [subject.emotion_at(BLOCK_S * (k + 0.5)) for k in range(30)]
    assert all(set(minutes[k : k + 3]) == set(EMOTIONS) for k in range(0, 30, 3))
    assert len({tuple(minutes[k : k + 3]) for k in range(0, 30, 3)}) > 1
    assert subject.emotion_at(BLOCK_S) == minutes[1]
    assert subject.emotion_at(np.nextafter(BLOCK_S, 0.0)) == minutes[0]
    assert subject.emotion_at(-1.0) == "normal"


def test_regions_follow_the_emotion_smoothly_and_late() -> None:
    """Mean over many subjects, in which noise and what is individual go down, right after normal turns into sad."""
    turns, levels = [], []
    for number in range(150):
        subject = SyntheticRegions(number, part="train")
        values = subject.samples(0, 540).astype(np.float64)
        minutes = [subject.emotion_at(60.0 * k) for k in range(9)]
        for k in range(1, 9):
            if (minutes[k - 1], minutes[k]) == ("normal", "sad"):
                before = values[60 * k - 20 : 60 * k].mean(axis=0)
                turns.append(values[60 * k : 60 * k + 50] - before)
                levels.append(minutes[k])
    assert len(turns) > 100
    answer = np.mean(turns, axis=0)
    final = answer[30:].mean(axis=0)
    strong = np.argsort(-np.abs(final))[:20]
    course = (answer[:, strong] * np.sign(final[strong])).mean(axis=1) / np.abs(final[strong]).mean()
    assert abs(course[:2].mean()) < 0.25
    assert 0.2 < course[5:8].mean() < 0.9
    assert course[30:].mean() == pytest.approx(1.0, abs=0.05)
    assert np.abs(final[strong]).min() > 3.0 * np.median(np.abs(final))


@pytest.mark.parametrize("arguments", [{"number": -1}, {"number": 0, "part": "live"}])
def test_unknown_subjects_are_refused(arguments: dict[str, object]) -> None:
    with pytest.raises(MonitorError):
        SyntheticRegions(**arguments)


def test_no_samples_before_the_first() -> None:
    with pytest.raises(ValueError, match="do not exist"):
        SyntheticRegions(0).samples(-1, 5)
