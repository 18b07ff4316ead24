"""The configuration of a run: every problem at once, each with its key."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from models.training.__main__ import app
from models.training.emotion import EMOTION_BUNDLES
from models.training.recipes import methods_of
from models.training.settings import load_run_settings
from models.training.untrained import UNTRAINED_BUNDLES
from monitor.bundle_folder import SHIPPED_DIR, shipped_bundles
from monitor.errors import ConfigError
from tests.conftest import REPOSITORY
from tests.helpers.training_runs import run_config

BUNDLES = sorted(path.stem for path in (REPOSITORY / "models" / "bundles").glob("*.toml"))


def keys(path: Path) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        load_run_settings(path)
    return [problem.key for problem in caught.value.problems]


def test_paths_are_absolute_and_start_at_the_file(tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    settings = load_run_settings(run_config(tmp_path, tmp_path / "people", "out", bundle='name = "x"\nout = "b"',
                                            split='kind = "hold-out"'))  # fmt: skip
    assert settings.folder == tmp_path / "out"
    assert settings.bundle_out == tmp_path / "b"
    assert list(settings.task.classes) == ["none", "hand"]


@pytest.mark.parametrize(
    ("method", "said"), [('method = "fcn"', "did you mean 'fcn-eda'"), ("", "one of fcn-eda, fcn-ecg")]
)
def test_a_bundle_of_a_method_that_is_not_trained_is_refused_before_the_hours_of_training(
    tmp_path: Path, method: str, said: str
) -> None:
    (tmp_path / "people").mkdir()
    task = 'protocol = "live-segment"\ninputs = ["EDA", "ECG"]'
    data = 'kind = "biovid-a"\npath = "people"'
    split, bundle = 'kind = "hold-out"', f'name = "x"\n{method}'
    config = run_config(tmp_path, tmp_path / "people", "out", data=data, task=task, split=split, bundle=bundle)
    with pytest.raises(ConfigError) as caught:
        load_run_settings(config)
    assert [problem.key for problem in caught.value.problems] == ["bundle.method"]
    assert said in str(caught.value)


def test_methods_that_are_known_beforehand_are_those_that_the_recipes_give() -> None:
    assert methods_of("mscn", ["eda"]) == ("mscn",)
    assert methods_of("alstm", ["eda", "ecg"]) == ("alstm-eda", "alstm-ecg")
    assert methods_of("crossmod", ["eda"]) == ("fcn-eda", "alstm-eda", "fat-eda")
    assert methods_of("crossmod", ["eda", "ecg"])[-1] == "crossmod"


def test_the_nearest_name_is_suggested(tmp_path: Path) -> None:
    (tmp_path / "people").mkdir()
    train = 'recipes = ["fnc"]\noptions = {batchh = 8}'
    config = run_config(tmp_path, tmp_path / "people", "out", train=train, evaluate='baselines = ["hart-rate"]')
    with pytest.raises(ConfigError, match="did you mean 'fcn'") as caught:
        load_run_settings(config)
    assert "did you mean 'heart-rate'" in str(caught.value)


def test_everything_that_is_wrong_is_said_at_once(tmp_path: Path) -> None:
    config = run_config(
        tmp_path,
        tmp_path / "nowhere",
        "out",
        task='classes = {none = [0]}\ninputs = ["EDA", "TEMP", "EDA"]\nsecond = 3',
        split='kind = "loso"\nfolds = 3',
        train='recipes = ["crossmud", "painattnnet-attention"]\nseeds = [1, 1]\nworkers = 0',
        evaluate='baselines = ["crossmod"]\nrecordings = "nowhere"',
        bundle='out = "b"',
        output="",
    )
    assert set(keys(config)) == {
        "data.path",
        "task.protocol",
        "task.classes",
        "task.inputs",
        "task.inputs[1]",
        "task.second",
        "split.folds",
        "train.recipes[0]",
        "train.seeds",
        "train.workers",
        "evaluate.baselines[0]",
        "evaluate.recordings",
        "bundle.name",
        "output.folder",
    }


@pytest.mark.parametrize("name", BUNDLES)
def test_a_shipped_bundle_is_of_the_cohort_and_goes_where_the_monitor_looks(name: str) -> None:
    settings = load_run_settings(REPOSITORY / "models" / "bundles" / f"{name}.toml")
    assert settings.bundle.name == name
    assert settings.bundle_out == SHIPPED_DIR / name
    data = settings.data
    assert data.kind == "simulated"
    assert (data.train, data.validation, data.calibration, data.test) == (60, 12, 12, 60)
    assert settings.split.kind == "parts"


def test_every_bundle_in_the_box_can_be_made_again() -> None:
    assert set(shipped_bundles()) <= {*BUNDLES, *EMOTION_BUNDLES, *UNTRAINED_BUNDLES}
    refused = CliRunner().invoke(app, ["--bundle", BUNDLES[0]])
    assert refused.exit_code == 2
    assert "models train" in refused.output


@pytest.mark.parametrize(
    ("tables", "key"),
    [
        ({"task": 'protocol = "paper"\ninputs = ["EDA"]', "bundle": 'name = "x"', "split": 'kind = "hold-out"'},
         "bundle.name"),
        ({"bundle": 'name = "x"'}, "bundle.name"),
        ({"bundle": 'name = "Mine!"', "split": 'kind = "hold-out"'}, "bundle.name"),
        ({"train": 'recipes = ["fcn"]\naugment = {tilt = 0.1}'}, "train.augment.tilt"),
        ({"train": 'recipes = ["fcn"]\noptions = {btach = 3}'}, "train.options.btach"),
        ({"train": 'recipes = ["fcn"]\noptions = {epochs = 3}'}, "train.options.epochs"),
        ({"train": 'recipes = ["painattnnet-late"]'}, "train.recipes[0]"),
        ({"evaluate": "streaming = true", "task": 'protocol = "live-stream"\ninputs = ["EDA"]'}, "evaluate.streaming"),
        ({"evaluate": 'recordings = "people"'}, "evaluate.recordings"),
        ({"evaluate": 'baselines = ["spi-style"]'}, "evaluate.baselines[0]"),
        ({"task": 'protocol = "live-segment"\ninputs = ["EDA"]\nclasses = {a = [0, 1], b = [1]}'}, "task.classes"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_refused(tmp_path: Path, tables: dict[str, str], key: str) -> None:
    (tmp_path / "people").mkdir()
    assert keys(run_config(tmp_path, tmp_path / "people", "out", **tables)) == [key]


def test_the_examples_are_configurations(tmp_path: Path) -> None:
    """Only the folders that a user has to have are missing."""
    page = (REPOSITORY / "docs" / "training.md").read_text(encoding="utf-8")
    examples = [text.split("```")[0] for text in page.split("```toml")[1:]]
    assert len(examples) == 4
    for number, text in enumerate([*examples, (REPOSITORY / "models" / "example.toml").read_text(encoding="utf-8")]):
        path = tmp_path / f"{number}.toml"
        path.write_text(text, encoding="utf-8")
        if 'kind = "simulated"' in text:
            load_run_settings(path)
        else:
            assert keys(path) == ["data.path"]
