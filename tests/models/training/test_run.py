"""A run as a whole: real worker processes, a real kill, and the same numbers whatever happens."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.__main__ import app
from models.data.splits import Split
from models.evaluation.predictions import read_predictions
from tests.helpers.training_runs import SUBJECTS, run_config, write_people

PATIENCE_S = 600.0

# Each run starts processes that import torch, which takes long where others compute as well.
pytestmark = pytest.mark.timeout(900)


@dataclass(frozen=True)
class Run:
    """A finished run of one worker."""

    folder: Path
    config: Path
    people: Path

    @property
    def out(self) -> Path:
        return self.folder / "one"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("run")
    people = write_people(folder / "people")
    config = run_config(folder, people, "one", epochs=12)
    result = CliRunner().invoke(app, ["train", str(config)])
    assert result.exit_code == 0, result.output
    return Run(folder, config, people)


def told(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted((out / "predictions").iterdir())}


def test_everybody_is_tested_once_and_no_fold_has_seen_its_test_subjects(run: Run) -> None:
    contents = [json.loads(path.read_text()) for path in sorted((run.out / "folds").glob("*.json"))]
    assert {content["job"] for content in contents} == {
        f"fold-{i}-of-2.{recipe}.s20" for i in (1, 2) for recipe in ("fcn", "logistic-regression")
    }
    tested = [s for content in contents if ".fcn." in content["job"] for s in content["subjects"]["test"]]
    assert sorted(tested) == sorted(SUBJECTS)
    for content in contents:
        Split(name="as written", seed=0, **{part: tuple(of) for part, of in content["subjects"].items()})
        (item,) = read_predictions(run.out / "predictions" / f"{content['job']}.csv.gz")
        assert set(item.subjects) == set(content["subjects"]["test"])
        assert len(item) == sum(content["windows"]["test"].values()) > 0
        for method in content["methods"].values():
            assert all("test" not in learnt["from"] for learnt in method["learnt"])
            assert {"train", "validation"} >= {part for learnt in method["learnt"] for part in learnt["from"]}
    assert all(path.stat().st_size < 20_000 for path in (run.out / "folds").glob("*.json"))


def test_figures_are_those_of_the_predictions(run: Run) -> None:
    summary = json.loads((run.out / "summary.json").read_text())
    rows = {row["method"]: row for row in summary["rows"] if row["subset"] == "all"}
    assert rows.keys() == {"fcn-eda", "logistic-regression"}
    items = [read_predictions(path)[0] for path in sorted((run.out / "predictions").glob("*.logistic-*"))]
    guessed = np.concatenate([item.probabilities.argmax(axis=1) for item in items])
    labels = np.concatenate([item.labels for item in items])
    recall = [np.mean(guessed[labels == c] == c) for c in (0, 1)]
    assert rows["logistic-regression"]["figures"]["balanced_accuracy"]["value"] == pytest.approx(np.mean(recall))
    table = (run.out / "table.md").read_text()
    assert f"{np.mean(recall):.3f}" in table
    assert "Research use only" in table


@contextmanager
def started(config: Path) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "models", "train", str(config)]
    # Whatever starts these tests in the background makes them ignore Ctrl-C, and all that they start.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def wait_until_a_fold_is_half_done(process: subprocess.Popen[str], log: Path, written: int) -> None:
    """Until an epoch of a network has been logged after the first `written` characters of the log."""
    end = time.monotonic() + PATIENCE_S
    while process.poll() is None and time.monotonic() < end:
        if log.is_file() and ", validation " in log.read_text()[written:]:
            return
        time.sleep(0.02)
    pytest.fail(f"no epoch was seen: {process.communicate()}")


def children(pid: int) -> list[int]:
    return [int(text) for text in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def gone(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except OSError:
        return True


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks at processes")
def test_a_run_that_is_killed_and_interrupted_goes_on_with_two_workers_to_the_same_table(run: Run) -> None:
    config = run_config(run.folder, run.people, "two", workers=2, epochs=12)
    out = run.folder / "two"

    with started(config) as killed:
        wait_until_a_fold_is_half_done(killed, out / "train.log", 0)
        workers = children(killed.pid)
        os.kill(killed.pid, signal.SIGKILL)
        killed.communicate()
    assert len(workers) >= 2
    end = time.monotonic() + PATIENCE_S
    while not all(gone(pid) for pid in workers):  # they end with their run, and no half of a fold is written
        assert time.monotonic() < end, "a worker outlived its run"
        time.sleep(0.05)
    done = {path.name for path in (out / "folds").glob("*.json")}
    assert len(done) < 4

    with started(config) as again:
        wait_until_a_fold_is_half_done(again, out / "train.log", len((out / "train.log").read_text()))
        os.kill(again.pid, signal.SIGINT)
        _, said = again.communicate(timeout=PATIENCE_S)
    assert again.returncode == 130
    assert "python -m models train" in said
    assert "Traceback" not in said
    assert done <= {path.name for path in (out / "folds").glob("*.json")}

    with started(config) as last:
        _, said = last.communicate(timeout=PATIENCE_S)
    assert last.returncode == 0, said
    assert told(out) == told(run.out)
    assert (out / "table.md").read_text() == (run.out / "table.md").read_text()
    assert not list(out.rglob(".writing-*"))


def test_what_is_done_is_not_done_again_and_other_settings_are_refused_by_name(run: Run) -> None:
    folds = {path: path.stat().st_mtime_ns for path in (run.out / "folds").iterdir()}
    again = CliRunner().invoke(app, ["train", str(run.config)])
    assert again.exit_code == 0
    assert "4 of 4 jobs were done before" in again.output
    assert {path: path.stat().st_mtime_ns for path in (run.out / "folds").iterdir()} == folds

    changed = run_config(run.folder, run.people, "one", epochs=3)
    refused = CliRunner().invoke(app, ["train", str(changed)])
    assert refused.exit_code == 5
    assert "train.epochs was 12, is 3" in refused.output
    assert "--fresh" in refused.output
    assert {path: path.stat().st_mtime_ns for path in (run.out / "folds").iterdir()} == folds
    run_config(run.folder, run.people, "one", epochs=12)


def test_only_one_fold_of_the_paper_schedule_is_trained_and_no_figure_is_told_for_it(run: Run) -> None:
    config = run_config(
        run.folder,
        run.people,
        "loso",
        split='kind = "loso"',
        train='recipes = ["fcn"]\nschedule = "paper"\nepochs = 2',
        evaluate="baselines = false",
    )
    result = CliRunner().invoke(app, ["train", str(config), "--only", "loso-4"])
    assert result.exit_code == 0, result.output
    assert [path.name for path in (run.folder / "loso" / "folds").iterdir()] == ["loso-4.fcn.s20.json"]
    content = json.loads((run.folder / "loso" / "folds" / "loso-4.fcn.s20.json").read_text())
    assert content["subjects"]["test"] == ["4"]
    assert [len(stage["train_loss"]) for stage in content["methods"]["fcn-eda"]["history"].values()] == [2]
    assert "no report yet" in result.output
    part = CliRunner().invoke(app, ["evaluate", str(config)])
    assert part.exit_code == 0, part.output
    assert "5 of 6 jobs are not trained" in part.output
