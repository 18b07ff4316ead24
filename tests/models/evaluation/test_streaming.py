"""The whole of a streaming evaluation, of tiny models: plain values out, refusals where nothing would count."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from rich.console import Console
from typer.testing import CliRunner

from models.base import PainOutput
from models.evaluation.__main__ import app
from models.evaluation.streaming import stream_evaluation
from models.evaluation.streaming_quiet import quiet_sittings
from models.evaluation.streaming_tables import show_streaming
from monitor.bundle import AbstainSpec
from monitor.errors import SourceError
from tests.helpers.live_sittings import RisingRunner, live_sitting, live_spec
from tests.helpers.tiny_bundle import write_tiny_bundle

GRID = {"limits": (50.0,), "delays_s": (10.0,)}


@pytest.fixture(scope="module")
def result():
    sittings = [live_sitting(1), live_sitting(2)]
    return stream_evaluation(RisingRunner(), live_spec(), sittings, seed=3, **GRID)


def test_everything_is_told_as_plain_values(result):
    told = json.loads(json.dumps(result.as_json(), allow_nan=False))
    assert told["subjects"] == ["sim-test-0001", "sim-test-0002"]
    assert told["equality"]["windows"] == told["equality"]["bit_equal"] > 200
    assert told["equality"]["compared"] == 40
    assert set(told["losses"]["accuracy"]) == {"paper", "live_events", "free_running"}
    assert told["losses"]["published"] == 0.0609
    assert set(told["alarms"]) == {"index", "SCR rate"}
    assert 0.9 < told["coverage"] <= 1.0
    assert 0.0 < told["prevalence"] < 0.5
    assert any("the same model" in note for note in told["notes"])
    assert any("Research use only" in note for note in told["notes"])


def test_it_can_be_read(result):
    console = Console(width=160, file=io.StringIO())
    show_streaming(result, console)
    text = console.file.getvalue()
    assert "every hop, free-running" in text
    assert "SCR rate" in text
    assert "published 6.1" in text


def test_a_model_that_saw_the_subject_is_refused():
    spec = live_spec()
    seen = spec.training.model_copy(update={"subjects": {"train": ("sim-test-0001",)}})
    with pytest.raises(SourceError, match="has seen sim-test-0001"):
        stream_evaluation(RisingRunner(), spec.model_copy(update={"training": seen}), [live_sitting(1)], seed=3)
    tested = spec.training.model_copy(update={"subjects": {"test": ("sim-test-0001",)}})
    stream_evaluation(
        RisingRunner(), spec.model_copy(update={"training": tested}), [live_sitting(1)], seed=3, scored_again=1, **GRID
    )


def test_other_classes_and_missing_signals_are_said():
    sitting = live_sitting(1)
    binary = replace(sitting, classes=("none", "pain"))
    with pytest.raises(SourceError, match="the data have the classes none, pain, the model none, moderate, severe"):
        stream_evaluation(RisingRunner(), live_spec(), [binary], seed=3)
    with pytest.raises(SourceError, match="has no BVP"):
        stream_evaluation(RisingRunner(), live_spec(("EDA", "BVP")), [sitting], seed=3)
    slow = replace(sitting, channels=tuple(replace(c, rate_hz=2.0) for c in sitting.channels))
    with pytest.raises(SourceError, match="eda has 2 Hz, the input eda needs 4"):
        stream_evaluation(RisingRunner(), live_spec(), [slow], seed=3)
    with pytest.raises(SourceError, match="no sitting could be run"):
        stream_evaluation(RisingRunner(), live_spec(), [], seed=3)


def test_what_cannot_be_calibrated_is_left_out_with_its_reason():
    sitting = live_sitting(2)
    early = replace(sitting, trials=(replace(sitting.trials[0], start_s=10.0, onset_s=10.0),))
    found = stream_evaluation(RisingRunner(), live_spec(), [early, live_sitting(1)], seed=3, scored_again=1, **GRID)
    assert found.sittings == 1
    assert found.left_out[0].startswith("sim-test-0002: 4 s of valid signal before")


def test_sittings_for_alarms_alone_are_in_no_loss():
    found = stream_evaluation(
        RisingRunner(), live_spec(), [live_sitting(1)], seed=3, alarm_sittings=[live_sitting(2)], scored_again=1, **GRID
    )
    assert len(found.losses.subjects) == 1
    assert found.alarms["index"].sittings == 2


def limited(**limits):
    """The model with limits beyond which it says that it does not know."""
    spec = live_spec()
    return spec.model_copy(
        update={"calibration": spec.calibration.model_copy(update={"abstain": AbstainSpec(**limits)})}
    )


def test_uncertain_windows_are_scored_alike_but_not_covered(result):
    found = stream_evaluation(
        RisingRunner(), limited(entropy_above=0.9), [live_sitting(1), live_sitting(2)], seed=3, **GRID
    )
    assert found.equality.windows == result.equality.windows
    assert found.losses.accuracy == result.losses.accuracy
    assert 0.0 < found.coverage < result.coverage
    assert found.alarms["SCR rate"] == result.alarms["SCR rate"]


def test_who_calibrated_the_model_is_refused_too():
    spec = live_spec()
    spec = spec.model_copy(update={"calibration": spec.calibration.model_copy(update={"subjects": ("sim-test-0001",)})})
    with pytest.raises(SourceError, match="has seen sim-test-0001"):
        stream_evaluation(RisingRunner(), spec, [live_sitting(1)], seed=3)


def test_quiet_sittings_hold_little_pain_and_are_always_the_same():
    first, second = quiet_sittings(2, ["EDA"], seconds=1200.0)
    again = next(quiet_sittings(1, ["EDA"], seconds=1200.0))
    np.testing.assert_array_equal(first.stretches[0].tracks["eda"].samples, again.stretches[0].tracks["eda"].samples)
    assert first.subject != second.subject
    for sitting in (first, second):
        assert sitting.facts["first_stimulus_s"] >= 150.0
        painful = sum(trial.seconds for trial in sitting.trials)
        assert 0.02 < painful / 1200.0 < 0.2
        assert all(trial.start_s + trial.seconds <= 1200.0 for trial in sitting.trials)
    np.testing.assert_array_less(0.0, first.stretches[0].tracks["eda"].samples)


class TinyModel(torch.nn.Module):
    """The rise of the first input, in torch."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = torch.nn.Parameter(torch.ones(3))

    def forward(self, inputs, **_):
        rise = inputs["eda"].amax(-1) - inputs["eda"][..., 0]
        return PainOutput(logits=rise * self.gain * torch.tensor([0.0, 1.0, 2.0]), features=rise)


def test_a_torch_module_is_run_as_it_is():
    torch.set_num_threads(1)
    for spec in (live_spec(), limited(distance_above=10.0)):  # a module knows no distance from training
        found = stream_evaluation(TinyModel(), spec, [live_sitting(1)], seed=3, scored_again=5, **GRID)
        assert found.equality.compared == 5
        assert found.coverage > 0.9


def test_a_bundle_is_judged_from_the_command_line(tmp_path):
    bundle = write_tiny_bundle(tmp_path, name="tiny-eda", modalities=("EDA",))
    config = tmp_path / "data.toml"
    config.write_text(
        '[data]\nkind = "simulated"\nmodalities = ["EDA"]\ntrain = 0\nvalidation = 0\ncalibration = 0\ntest = 1\n'
        f'cache = "{tmp_path / "cache"}"\n',
        encoding="utf-8",
    )
    out = tmp_path / "figures.json"
    run = CliRunner().invoke(app, ["streaming", str(bundle), str(config), "--json", str(out)])
    assert run.exit_code == 0, run.output
    told = json.loads(out.read_text(encoding="utf-8"))
    assert told["equality"]["bit_equal"] == told["equality"]["windows"] > 100
    wrong = CliRunner().invoke(app, ["streaming", str(bundle), str(config), "--part", "elsewhere"])
    assert wrong.exit_code == 5
    assert "no sitting of the part elsewhere" in wrong.output
    for more in (["--classes", "none"], ["--hop", "0.3"]):
        wrong = CliRunner().invoke(app, ["streaming", str(bundle), str(config), *more])
        assert wrong.exit_code == 2
        assert more[0] in wrong.output
