"""Event-locked windows, their scaling, and what each step costs: paired by subject, with nothing of the future live."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from models.data.recorded import Trial
from models.data.streams import label_by_share
from models.evaluation.streaming_feed import live_run
from models.evaluation.streaming_losses import (
    SubjectSteps,
    balanced_accuracy,
    event_windows,
    hop_labels,
    losses,
    subject_steps,
)
from monitor.scoring.scorer import RawScore
from tests.helpers.live_sittings import EPISODES, RisingRunner, live_sitting, live_spec

SAME = {0: 0, 1: 1, 2: 2}


@pytest.fixture(scope="module")
def run():
    return live_run(live_sitting(1), live_spec(), RisingRunner(), seed=5)


def test_events_lie_where_the_label_rule_puts_them(run):
    t_end, classes = event_windows(run, SAME, silence_is_rest=True, seed=1)
    assert np.all(np.diff(t_end) > 0)
    np.testing.assert_array_equal(label_by_share(t_end, run.length_s, run.trials, silence_is_rest=True), classes)
    painful = t_end[classes > 0]
    np.testing.assert_allclose(painful, [e.onset_s + 1.0 + run.length_s for e in EPISODES])
    assert np.all(t_end - run.length_s >= run.calibrated_at)


def test_drawn_rests_are_as_many_as_events_of_a_class_and_do_not_overlap(run):
    t_end, classes = event_windows(run, SAME, silence_is_rest=True, seed=1)
    rests = t_end[classes == 0]
    assert len(rests) == 2  # three events of two classes
    assert np.all(np.diff(rests) >= run.length_s)
    other, _ = event_windows(run, SAME, silence_is_rest=True, seed=2)
    assert not np.array_equal(t_end, other)
    assert len(event_windows(run, SAME, silence_is_rest=False, seed=1)[0]) == 3  # rest is not known to be one


def test_rests_that_the_data_list_are_taken_instead(run):
    listed = Trial(name="rest", label=0, start_s=185.0, seconds=20.0)
    told = replace(run, trials=(*run.trials, (listed.start_s, listed.start_s + 20.0, 0)))
    t_end, classes = event_windows(told, SAME, silence_is_rest=True, seed=1)
    assert t_end[classes == 0].tolist() == [pytest.approx(195.0 + run.length_s / 2)]


def test_hops_before_the_end_of_the_calibration_have_no_label(run):
    labels = hop_labels(run, SAME, silence_is_rest=True)
    early = np.array([s.t_end - run.length_s < run.calibrated_at for s in run.scores])
    assert np.all(labels[early] == -1)
    assert set(labels[~early]) == {-1, 0, 1, 2}
    assert set(hop_labels(run, {0: 0, 2: 1}, silence_is_rest=True)) == {-1, 0, 1}


class Keeping(RisingRunner):
    """Keeps what it is asked."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[np.ndarray] = []

    def score(self, bundle, inputs) -> RawScore:
        self.seen.append(next(iter(inputs.values())).copy())
        return super().score(bundle, inputs)


def test_only_the_scaling_of_the_articles_knows_the_future(run):
    """What happens after 175 s changes all event windows of the first step and none of the second before it."""
    spec = live_spec()

    def windows(item):
        runner = Keeping()
        found = subject_steps(item, spec, runner, classes=SAME, silence_is_rest=False, seed=1)
        assert isinstance(found, SubjectSteps), found
        return found, runner.seen

    rests = replace(run, trials=(*run.trials, (120.0, 135.0, 0), (185.0, 205.0, 0)))
    lines = tuple(
        replace(x, samples=np.where(x.stamps > 175.0, 3 * x.samples, x.samples).astype(np.float32)) for x in run.lines
    )
    before, seen = windows(rests)
    after, changed = windows(replace(rests, lines=lines))
    events = before.events
    assert events == after.events == 5
    paper, live = seen[:events], seen[events : 2 * events]
    paper_changed, live_changed = changed[:events], changed[events : 2 * events]
    assert not any(np.array_equal(a, b) for a, b in zip(paper, paper_changed, strict=True))
    assert sum(np.array_equal(a, b) for a, b in zip(live, live_changed, strict=True)) == events - 1


def test_a_model_for_the_articles_scaling_takes_the_first_step_alone(run):
    spec = live_spec()
    mine, other = RisingRunner(), RisingRunner(gain=0.0)
    both = subject_steps(run, spec, mine, classes=SAME, silence_is_rest=True, seed=1, paper=(spec, other))
    alone = subject_steps(run, spec, mine, classes=SAME, silence_is_rest=True, seed=1)
    assert other.asked == both.events
    assert both.accuracy["paper"] == pytest.approx(1 / 3)  # it always says the same
    assert both.accuracy["live_events"] == alone.accuracy["live_events"]


def test_a_subject_of_one_class_is_not_compared(run):
    why = subject_steps(run, live_spec(), RisingRunner(), classes={2: 0}, silence_is_rest=True, seed=1)
    assert isinstance(why, str)
    assert "two classes" in why


def steps(subject, paper, live, free):
    accuracy = {"paper": paper, "live_events": live, "free_running": free}
    return SubjectSteps(subject=subject, events=10, events_lost=0, hops=100, accuracy=accuracy)


def test_losses_are_paired():
    """Subjects differ by far more than the steps do; pairing takes that out of the interval."""
    rng = np.random.default_rng(3)
    level = rng.uniform(0.5, 0.9, 30)
    found = losses([steps(str(i), x, x - 0.01, x - 0.05) for i, x in enumerate(level)], seed=1)
    assert found.scaling.value == pytest.approx(0.01)
    assert found.free_running.value == pytest.approx(0.04)
    assert found.whole.value == pytest.approx(0.05)
    assert found.scaling.high - found.scaling.low < 1e-3 < found.accuracy["paper"].high - found.accuracy["paper"].low
    assert found.within_goal
    assert not losses([steps("a", 0.8, 0.77, 0.7), steps("b", 0.8, 0.77, 0.7)], seed=1).within_goal
    assert losses([], seed=1) is None


def test_a_subject_counts_once():
    found = losses([steps("a", 1.0, 1.0, 1.0), steps("a", 0.0, 0.0, 0.0), steps("b", 1.0, 1.0, 1.0)], seed=1)
    assert found.accuracy["paper"].value == pytest.approx(0.75)


def test_balanced_accuracy_does_not_depend_on_how_many_of_each_class():
    true = np.array([0] * 90 + [1] * 10)
    assert balanced_accuracy(true, np.zeros(100, dtype=int)) == pytest.approx(0.5)
    assert balanced_accuracy(true, true) == 1.0
