"""Live scores are those of whole arrays, whatever the pieces; and where they are not, it is said which one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest

from models.data.recorded import Stretch, Track
from models.data.segments import restarted
from models.evaluation.streaming_feed import NoBaselineError, live_run
from models.evaluation.streaming_offline import LiveDifferenceError, calibrated_arrays, require_equal
from monitor.scoring.scorer import RawScore
from monitor.types import Float32Array
from tests.helpers.live_sittings import REST_S, SECONDS, RisingRunner, live_sitting, live_spec

BOTH = ("EDA", "BVP")


def with_gap(sitting, modality, first_s, last_s):
    """The same with samples that are no numbers."""
    track = sitting.stretches[0].tracks[modality]
    rate = next(c.rate_hz for c in sitting.channels if c.name == modality)
    samples = track.samples.copy()
    samples[int(first_s * rate) : int(last_s * rate)] = np.nan
    stretch = replace(
        sitting.stretches[0], tracks={**sitting.stretches[0].tracks, modality: replace(track, samples=samples)}
    )
    return replace(sitting, stretches=(stretch,))


def in_two(sitting, first_s, last_s):
    """The same as two stretches, with a pause between them in which nothing was recorded."""
    whole = sitting.stretches[0].tracks
    rates = {c.name: c.rate_hz for c in sitting.channels}
    parts = {n: (t.samples[: int(first_s * rates[n])], t.samples[int(last_s * rates[n]) :]) for n, t in whole.items()}
    stretches = tuple(
        Stretch(name=str(i), start_s=start_s, tracks={n: Track(samples=part[i]) for n, part in parts.items()})
        for i, start_s in enumerate((0.0, last_s))
    )
    return replace(sitting, stretches=stretches, trials=sitting.trials[:1])


@pytest.mark.parametrize(
    "sitting",
    [
        pytest.param(live_sitting(1, BOTH), id="regular"),
        pytest.param(live_sitting(2, BOTH, stamped=True), id="stamped"),
        pytest.param(with_gap(live_sitting(3, BOTH), "eda", 100.0, 103.0), id="gap"),
        pytest.param(in_two(live_sitting(5, BOTH), 110.0, 125.0), id="pause"),
        pytest.param(with_gap(live_sitting(4, BOTH), "bvp", 20.0, 25.0), id="gap while calibrating"),
    ],
)
def test_every_live_score_is_that_of_the_arrays(sitting):
    spec, runner = live_spec(BOTH), RisingRunner()
    run = live_run(sitting, spec, runner, seed=5)
    equality = require_equal(run, spec, runner)
    assert equality.windows == equality.compared == len(run.digests) > 60
    assert equality.largest_difference <= 1e-6
    assert equality.only_arrays == 0


def test_filters_that_start_afresh_are_held_to_the_same():
    spec = live_spec(BOTH)
    spec = spec.model_copy(update={"inputs": restarted(spec.inputs)})
    runner = RisingRunner()
    run = live_run(live_sitting(1, BOTH), spec, runner, seed=5)
    assert require_equal(run, spec, runner).bit_equal == len(run.digests) > 60


def test_pieces_of_other_sizes_give_the_same_windows():
    spec = live_spec(BOTH)
    runs = [live_run(live_sitting(1, BOTH), spec, RisingRunner(), seed=seed) for seed in (1, 2)]
    assert runs[0].digests == runs[1].digests
    assert [s.probabilities for s in runs[0].scores] == [s.probabilities for s in runs[1].scores]
    assert [s.decided_at for s in runs[0].scores] != [s.decided_at for s in runs[1].scores]


@pytest.fixture(scope="module")
def eda():
    """A sitting of EDA, run live."""
    spec, runner = live_spec(), RisingRunner()
    return live_run(live_sitting(1), spec, runner, seed=5), spec, runner


def shifted(run, number, by):
    """The run with one probability off."""
    scores = list(run.scores)
    first, *rest = scores[number].probabilities
    scores[number] = replace(scores[number], probabilities=(first + by, *rest))
    return replace(run, scores=tuple(scores))


def test_a_difference_is_named_by_subject_window_and_size(eda):
    run, spec, runner = eda
    number = next(i for i, s in enumerate(run.scores) if s.t_end > 100.0)
    assert require_equal(shifted(run, number, 1e-7), spec, runner).largest_difference == pytest.approx(1e-7, rel=0.1)
    with pytest.raises(LiveDifferenceError, match=rf"a bug: sim-test-0001, window {run.scores[number].k} .* 2e-06"):
        require_equal(shifted(run, number, 2e-6), spec, runner)


def test_a_window_that_only_one_path_scores_is_a_bug_but_for_what_came_late(eda):
    run, spec, runner = eda
    number = next(i for i, s in enumerate(run.scores) if s.t_end > 100.0)
    scored = sum(not s.absent for s in run.scores[:number])

    def left_out(*reasons):
        scores = list(run.scores)
        scores[number] = replace(scores[number], absent=reasons, probabilities=None)
        return replace(run, scores=tuple(scores), digests=run.digests[:scored] + run.digests[scored + 1 :])

    with pytest.raises(LiveDifferenceError, match="live it is left out"):
        require_equal(left_out("EDA:flat"), spec, runner)
    assert require_equal(left_out("EDA:late"), spec, runner).only_arrays == 1

    lines = tuple(replace(line, samples=np.where(line.stamps > 150.0, 0.0, line.samples)) for line in run.lines)
    with pytest.raises(LiveDifferenceError, match="offline it is left out"):
        require_equal(
            replace(run, lines=tuple(replace(x, samples=x.samples.astype(np.float32)) for x in lines)), spec, runner
        )


def test_a_runner_that_changes_its_mind_is_found(eda):
    class Fickle(RisingRunner):
        def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:
            self.gain += 0.01
            return super().score(bundle, inputs)

    runner, spec = Fickle(), live_spec()
    run = live_run(live_sitting(1), spec, runner, seed=5)
    with pytest.raises(LiveDifferenceError):
        require_equal(run, spec, runner)


def test_equal_inputs_need_not_all_be_scored_again(eda):
    run, spec, _ = eda
    runner = RisingRunner()
    equality = require_equal(run, spec, runner, scored_again=7)
    assert equality.bit_equal == equality.windows == len(run.digests)
    assert runner.asked == equality.compared == 7


def test_the_baseline_of_arrays_is_that_of_the_bed_and_knows_nothing_of_pain(eda):
    run, spec, _ = eda
    assert 30.0 <= run.calibration_s <= REST_S
    assert run.calibrated_at <= REST_S
    _, baselines = calibrated_arrays(run, spec)
    lines = tuple(
        replace(x, samples=np.where(x.stamps > REST_S, x.samples + 5, x.samples).astype(np.float32)) for x in run.lines
    )
    _, others = calibrated_arrays(replace(run, lines=lines), spec)
    assert baselines == others
    assert len(baselines) == 1


def test_too_little_rest_is_said():
    sitting = live_sitting(1)
    early = replace(sitting.trials[0], start_s=20.0, onset_s=20.0)
    with pytest.raises(NoBaselineError, match="valid signal before the first stimulus"):
        live_run(replace(sitting, trials=(early,)), live_spec(), RisingRunner(), seed=1)


def test_the_run_covers_the_sitting(eda):
    run, _, _ = eda
    assert run.end_s == pytest.approx(SECONDS, abs=1.1)
    assert len(run.scores) == len(run.indices)
