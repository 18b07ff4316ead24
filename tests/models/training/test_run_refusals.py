"""What a run refuses before anything is trained, each with what was wrong, where, and what to do."""

from __future__ import annotations

import errno
import os
import re
import shutil
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import pytest
import torch
from typer.testing import CliRunner

from models.__main__ import app
from models.checkpoint import save_checkpoint
from models.data.cache import CacheError
from models.data.catalogue import open_data
from models.data.survey import survey
from models.evaluation.command import results_of_run
from models.registry import create_model
from models.training.folds import _saved, found, placed, run_job, write_json
from models.training.run import Plan, Watcher, claimed, prepare, to_do
from models.training.settings import load_run_settings
from monitor.errors import BusyError, MonitorError, SourceError
from tests.helpers.training_runs import run_config, write_people


class InThisProcess:
    """Runs what workers would, here: what is asked is whether it is refused."""

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*args))
        except MonitorError as error:
            future.set_exception(error)
        return future


class Listener(Watcher):
    def __init__(self) -> None:
        self.said: list[str] = []

    def say(self, text: str) -> None:
        self.said.append(text)


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_people(tmp_path_factory.mktemp("people") / "people")


def prepared(config: Path, watcher: Watcher | None = None, **more: Any) -> Plan:
    return prepare(load_run_settings(config), config, InThisProcess(), watcher=watcher, **more)  # type: ignore[arg-type]


def refusal(config: Path) -> str:
    with pytest.raises(MonitorError) as caught:
        prepared(config)
    assert caught.value.exit_code in (3, 5)
    return str(caught.value)


def test_a_plan_lists_every_job_and_its_windows_are_cut_once(people: Path, tmp_path: Path) -> None:
    config = run_config(tmp_path, people, "out")
    plan = prepared(config)
    assert [job.name for job in plan.jobs] == [
        f"fold-{i}-of-2.{recipe}.s20" for i in (1, 2) for recipe in ("fcn", "logistic-regression")
    ]
    (place,) = set(plan.windows.values())
    before = {path: path.stat().st_mtime_ns for path in place.iterdir()}
    assert prepared(config).jobs[0].hash == plan.jobs[0].hash
    assert {path: path.stat().st_mtime_ns for path in place.iterdir()} == before
    assert to_do(plan, only="fold-2-of-2")[0] == list(plan.jobs[2:])
    with pytest.raises(SourceError, match="no fold is called fold-3"):
        to_do(plan, only="fold-3")


def test_moved_data_are_the_same_data(people: Path, tmp_path: Path) -> None:
    first = prepared(run_config(tmp_path, people, "out")).jobs[0]
    moved = tmp_path / "elsewhere"
    shutil.copytree(people, moved)
    assert prepared(run_config(tmp_path, moved, "out")).jobs[0].hash == first.hash


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in refusal(run_config(tmp_path, tmp_path / "empty", "out"))


def test_a_half_copied_data_set_is_refused_unless_it_is_wanted(people: Path, tmp_path: Path) -> None:
    half = tmp_path / "half"
    shutil.copytree(people, half)
    broken = half / "train" / "Eda" / "3.csv"
    broken.write_bytes(broken.read_bytes()[: broken.stat().st_size // 2])
    said = refusal(run_config(tmp_path, half, "out"))
    assert re.search(r"not fit for training, \d+ error", said)
    assert "3.csv" in said
    assert "--despite-oddities" in said


def test_the_wrong_part_is_refused(people: Path, tmp_path: Path) -> None:
    config = run_config(tmp_path, people, "out", data=f'kind = "biovid-a"\npath = "{people}"\ncache = "cache"')
    assert str(people) in refusal(config)


def test_one_subject_is_refused(tmp_path: Path) -> None:
    alone = write_people(tmp_path / "alone", ["1"])
    assert "1 subject cannot be divided" in refusal(run_config(tmp_path, alone, "out"))


def test_who_is_missing_is_named_where_the_rest_cannot_be_divided(people: Path, tmp_path: Path) -> None:
    lacking = tmp_path / "lacking"
    shutil.copytree(people, lacking)
    (lacking / "train" / "Bvp").mkdir()
    for subject in ("1", "2", "3"):
        shutil.copy(lacking / "train" / "Eda" / f"{subject}.csv", lacking / "train" / "Bvp")
    data = f'kind = "ai4pain-2026"\npath = "{lacking}"\nmodalities = ["EDA", "BVP"]\ncache = "cache"'
    said = refusal(run_config(tmp_path, lacking, "out", data=data))
    assert "3 subjects cannot be divided" in said
    assert "train/4: its Bvp are missing" in said


def test_files_that_a_mac_leaves_beside_others_are_nobody(people: Path, tmp_path: Path) -> None:
    copied = tmp_path / "copied"
    shutil.copytree(people, copied)
    (copied / "train" / "Eda" / "._1.csv").write_bytes(bytes(range(256)))
    plan = prepared(run_config(tmp_path, copied, "out"))
    assert plan.data.subjects == prepared(run_config(tmp_path, people, "other")).data.subjects


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_said_before_anything_is_read(people: Path, tmp_path: Path) -> None:
    train = 'recipes = ["fcn"]\ndevice = "cuda"'
    result = CliRunner().invoke(app, ["train", str(run_config(tmp_path, people, "out", train=train)), "--check"])
    assert result.exit_code == 3
    assert "train.device: cuda cannot be had" in result.output
    assert not (tmp_path / "cache").exists()


def test_a_result_that_cannot_be_written_says_so_and_leaves_what_was_there(tmp_path: Path) -> None:
    def full(path: Path) -> None:
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    write_json(tmp_path / "folds" / "a.json", {"a": 1})
    with pytest.raises(SourceError, match=r"No space left on device.*what is done is kept"):
        placed(tmp_path / "folds" / "a.json", full)
    assert (tmp_path / "folds" / "a.json").read_text() == '{\n "a": 1\n}\n'
    assert [path.name for path in (tmp_path / "folds").iterdir()] == ["a.json"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no device that is always full")
def test_weights_that_a_full_disk_does_not_take_are_told_as_such() -> None:
    model = create_model("crossmod-fcn", inputs=("eda",), classes=2)
    with pytest.raises(OSError, match="full disk"):
        _saved(save_checkpoint, model, Path("/dev/full"))


def test_a_cache_that_cannot_be_written_is_no_fault_of_the_data(people: Path, tmp_path: Path) -> None:
    data = open_data(load_run_settings(run_config(tmp_path, people, "out")).data)
    (tmp_path / "cache").rmdir()
    with pytest.raises(CacheError, match="name another folder"):
        survey(data)


@pytest.mark.parametrize("part", ["folds/{}.json", "predictions/{}.csv.gz"])
def test_what_is_damaged_says_what_to_remove(people: Path, tmp_path: Path, part: str) -> None:
    """Not to train all anew: hours of other folds are whole."""
    plan = prepared(run_config(tmp_path, people, "out", evaluate='baselines = ["logistic-regression"]'))
    job = next(job for job in plan.jobs if job.recipe == "logistic-regression")
    run_job(job)
    path = plan.settings.folder / part.format(job.name)
    path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(SourceError, match="Remove it and train again: this job alone"):
        results_of_run(plan)
    path.unlink()
    assert found(job) is None


def test_too_many_folds_are_refused(people: Path, tmp_path: Path) -> None:
    config = run_config(tmp_path, people, "out", split='kind = "k-fold"\nfolds = 7')
    assert "6 subjects cannot be divided: 7-fold needs 7" in refusal(config)


def test_parts_are_for_data_that_come_in_four(people: Path, tmp_path: Path) -> None:
    assert "nobody in validation and calibration and test" in refusal(
        run_config(tmp_path, people, "out", split='kind = "parts"')
    )


def test_a_protocol_that_the_data_cannot_support_is_refused(people: Path, tmp_path: Path) -> None:
    task = 'protocol = "live-stream"\ninputs = ["EDA"]'
    assert "does not allow the protocol live-stream" in refusal(run_config(tmp_path, people, "out", task=task))


def test_a_label_that_is_not_there_is_refused_with_those_that_are(people: Path, tmp_path: Path) -> None:
    task = 'protocol = "live-segment"\nclasses = {none = [0], severe = [4, "PA3"]}\ninputs = ["EDA"]'
    said = refusal(run_config(tmp_path, people, "out", task=task))
    assert "2 problems" in said
    assert "task.classes.severe: ai4pain-2026 has no label 4 (it has 0 no pain, 1 arm, 2 hand)" in said


def test_a_class_without_a_window_is_refused(people: Path, tmp_path: Path) -> None:
    """Windows longer than every cut."""
    task = 'protocol = "live-segment"\nclasses = {none = [0], hand = [2]}\ninputs = ["EDA"]\nrate_hz = 10\nsamples = 90'
    said = refusal(run_config(tmp_path, people, "out", task=task))
    assert "no window of no pain, hand" in said


def test_a_part_without_a_class_is_refused(people: Path, tmp_path: Path) -> None:
    """Half of the people have no cut of one class: whoever is left out of a part decides whether it can be judged."""
    lacking = tmp_path / "lacking"
    shutil.copytree(people, lacking)
    for subject in ("1", "2", "3", "4"):
        path = lacking / "train" / "Eda" / f"{subject}.csv"
        lines = path.read_text().splitlines()
        keep = [i for i, name in enumerate(lines[0].split(",")) if "HAND" not in name]
        path.write_text("\n".join(",".join(line.split(",")[i] for i in keep) for line in lines) + "\n")
    config = run_config(tmp_path, lacking, "out")
    with pytest.raises(SourceError, match=r"fold-\d-of-2: \w+ \(\d subjects?\) has no window of hand"):
        prepared(config, despite_oddities=True)


def test_warnings_are_said_and_hinder_nothing(people: Path, tmp_path: Path) -> None:
    listener = Listener()
    prepared(run_config(tmp_path, people, "out"), listener)
    assert any("there is no folder validation" in text for text in listener.said)


def test_two_runs_do_not_share_a_folder(tmp_path: Path) -> None:
    with (
        claimed(tmp_path / "out"),
        pytest.raises(BusyError, match="another run writes into it"),
        claimed(tmp_path / "out"),
    ):
        pass


def test_the_command_tells_and_ends_with_the_code_of_what_was_wrong(people: Path, tmp_path: Path) -> None:
    wrong = run_config(tmp_path, people, "wrong", split='kind = "by hand"')
    result = CliRunner().invoke(app, ["train", str(wrong)])
    assert result.exit_code == 3
    assert "split.kind" in result.output
    nothing = run_config(tmp_path, people, "nothing")
    result = CliRunner().invoke(app, ["train", str(tmp_path / "absent.toml")])
    assert (result.exit_code, "there is no such file" in result.output) == (3, True)
    assert nothing.is_file()
    assert not (tmp_path / "wrong").exists()
