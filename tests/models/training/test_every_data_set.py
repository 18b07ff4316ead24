"""The public command takes a folder of every data set, in its exact form, as far as its list of jobs.

Only the workers are this process; `tests/export/test_from_folder_to_score.py` goes on to a bundle that scores live.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
from typer.testing import CliRunner

import models.training.workers
from models.__main__ import app
from monitor.types import Marker, Provenance
from tests.helpers.made_session import made_chunk, made_info, made_writer
from tests.helpers.pain_data import (
    ai4pain_2025_columns,
    pmed_heater,
    write_ai4pain,
    write_biovid,
    write_biovid_c,
    write_pmcd,
    write_pmed,
)
from tests.helpers.training_runs import write_people
from tests.helpers.xdf_writer import XdfStream, file_header

BIOVID = ("071309_w_21", "071309_m_22", "071614_m_20", "082315_w_60")
OWN = ("anna", "ben", "carl", "dora")
UTC = 1_700_000_000.0


class Here:
    """Runs what workers would in this process."""

    def __init__(self, *_: Any) -> None:
        pass

    def __enter__(self) -> Here:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        future.set_result(function(*args))
        return future


def biovid(root: Path) -> None:
    write_biovid(root, BIOVID, per_class=1)


def biovid_c(root: Path) -> None:
    stimuli = ((36.0, 40.0, 4), (42.0, 46.0, 1), (48.0, 52.0, 2), (54.0, 58.0, 3))
    write_biovid_c(root, BIOVID, stimuli=stimuli, seconds=70.0)


def ai4pain_2025(root: Path) -> None:
    for subject in ("1", "2", "4", "7"):
        part = "validation" if subject == "7" else "train"
        write_ai4pain(root / "Dataset", part, subject, ai4pain_2025_columns(subject), signals=("Eda",))
    write_ai4pain(root / "Dataset", "test", "3", {str(i): 1022 for i in range(29)}, signals=("Eda",))


def ai4pain_2026(root: Path) -> None:
    write_people(root, ("1", "2", "4"))
    write_people(root, ("7",), part="validation")


def pmed(root: Path) -> None:
    for subject in ("S_02", "S_03", "S_04", "S_05"):
        write_pmed(root / "PMED", subject, heater=pmed_heater(5, first_s=36.0, pause_s=8.0))


def pmcd(root: Path) -> None:
    labels = {4.0: (1.0, 0), 8.0: (0.0, 0), 20.0: (6.0, 1), 24.0: (9.0, 2)}
    for session in ("P01_1", "P01_2", "P02_1", "P03_1", "P04_1"):
        write_pmcd(root / "PMCD", session, labels=labels, seconds=30.0, run_up_s=38.0 + int(session[-1]))


def e4(root: Path) -> None:
    for number, subject in enumerate(OWN):
        (root / subject).mkdir(parents=True)
        for name, rate in (("EDA", 4), ("BVP", 64)):
            values = 2.0 + 0.1 * number + 0.1 * np.sin(np.arange(90 * rate) / rate)
            lines = [f"{UTC:.6f}", f"{rate:.6f}", *(f"{v:.6f}" for v in values)]
            (root / subject / f"{name}.csv").write_text("\n".join(lines) + "\n")
    spans = [f"{subject},{span}" for subject in OWN for span in ("50,60,severe", "65,80,none")]
    (root / "labels.csv").write_text("subject,start_s,end_s,class\n" + "\n".join(spans) + "\n")


SCORES = {45.0: 0.0, 60.0: 8.0, 75.0: 0.0, 85.0: 0.0}
"""Reported pain by second."""


def xdf(root: Path) -> None:
    root.mkdir()
    eda = XdfStream(number=1, name="EDA", type="EDA", rate_hz=4.0, labels=("EDA",), units=("uS",))
    said = XdfStream(number=2, name="Marks", type="Markers", format="string")
    at = 50.0 + np.arange(4 * 90) / 4
    marks = [[f"nrs {score:g}"] for score in SCORES.values()]
    for number, subject in enumerate(OWN):
        samples = eda.samples(at.tolist(), np.sin(at)[:, None] + 5 + 0.1 * number)
        scores = said.samples([50.0 + t for t in SCORES], marks)
        content = file_header() + eda.header() + said.header() + samples + scores
        (root / f"sub-{subject}_ses-1_task-pain.xdf").write_bytes(content)


def sessions(root: Path) -> None:
    root.mkdir()
    for number, subject in enumerate(OWN):
        meta = {"subject": subject, "provenance": Provenance.LIVE}
        writer = made_writer(root / f"{subject}.session.db", meta=meta)
        writer.stream(made_info(unit="counts", gain=0.5 + 0.01 * number, offset=1.0, provenance=Provenance.LIVE), 100.0)
        for second in range(100, 190):
            writer.chunk(made_chunk(float(second)))
            writer.tick(second + 1.0)
        marks = [
            Marker(bed="bed1", t=100.0 + t, kind="nrs", text="", value=v, actor="nurse") for t, v in SCORES.items()
        ]
        writer.events(marks)
        writer.close()


class Case(NamedTuple):
    write: Callable[[Path], None]
    protocol: str
    classes: str
    split: str = "hold-out"
    data: str = 'modalities = ["EDA"]'
    task: str = "rate_hz = 4\nsamples = 20"
    warns: str = ""
    """Among what is said on the way."""


CASES = {
    "biovid-a": Case(biovid, "paper", "none = [0], severe = [4]", split="loso", warns="4 subjects instead of the 87"),
    "biovid-b": Case(biovid, "paper", 'none = ["BL1"], mild = ["PA1", "PA2"], severe = ["PA3", "PA4"]'),
    "biovid-c": Case(
        biovid_c, "live-stream", "none = [0], pain = [1, 2, 3, 4]", split="official", warns="instead of the 87"
    ),
    "ai4pain-2025": Case(ai4pain_2025, "live-segment", "none = [0], pain = [1, 2]", split="official", warns="length"),
    "ai4pain-2026": Case(ai4pain_2026, "live-segment", 'none = [0], arm = ["arm"], hand = [2]', split="official"),
    "pmed": Case(pmed, "live-stream", 'none = [0], severe = ["P4"]', data='signals = ["Eda_RB"]'),
    "pmcd": Case(pmcd, "live-stream", "none = [0], pain = [1, 2]", data='signals = ["Eda_E4"]'),
    "e4": Case(e4, "live-stream", 'none = ["none"], severe = [3]'),
    "xdf": Case(xdf, "live-stream", 'none = ["none"], severe = [3]'),
    "sessions": Case(sessions, "live-stream", 'none = ["none"], severe = [3]'),
}


@pytest.mark.parametrize("kind", CASES)
def test_a_folder_becomes_a_list_of_jobs(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    case = CASES[kind]
    monkeypatch.setattr(models.training.workers, "Workers", Here)
    case.write(tmp_path / "data")
    config = tmp_path / "run.toml"
    config.write_text(
        f'[data]\nkind = "{kind}"\npath = "data"\ncache = "cache"\n{case.data}\n'
        f'[task]\nprotocol = "{case.protocol}"\nclasses = {{ {case.classes} }}\ninputs = ["EDA"]\n{case.task}\n'
        f'[split]\nkind = "{case.split}"\n[train]\nrecipes = ["fcn"]\n'
        '[evaluate]\nbaselines = ["logistic-regression"]\n[output]\nfolder = "run"\n',
        encoding="utf-8",
    )
    result = CliRunner().invoke(app, ["train", str(config), "--check"])
    assert result.exit_code == 0, result.output
    splits, jobs = ("4 splits", 8) if case.split == "loso" else ("1 split", 2)
    assert f"{splits} (the first: " in result.output
    assert f"{jobs} jobs. Nothing speaks against training." in result.output
    assert case.warns in result.output
    windows = list((tmp_path / "cache" / "windows").glob("*/eda.npy"))
    assert len(windows) == 1
    cut = np.load(windows[0])
    assert cut.shape[1:] == (1, 20)
    assert np.isfinite(cut).all()


@pytest.mark.parametrize(
    ("kind", "protocol", "why"),
    [
        ("biovid-b", "live-stream", "it comes cut into 5.5 s"),
        ("biovid-c", "paper", "the published protocols use the cut parts"),
        ("ai4pain-2026", "live-stream", "its cuts are taken out of a session"),
    ],
)
def test_a_protocol_that_the_data_do_not_allow_is_refused_by_the_command(
    kind: str, protocol: str, why: str, tmp_path: Path
) -> None:
    CASES[kind].write(tmp_path / "data")
    config = tmp_path / "run.toml"
    config.write_text(
        f'[data]\nkind = "{kind}"\npath = "data"\ncache = "cache"\n{CASES[kind].data}\n'
        f'[task]\nprotocol = "{protocol}"\nclasses = {{ {CASES[kind].classes} }}\ninputs = ["EDA"]\n'
        '[train]\nrecipes = ["fcn"]\n[output]\nfolder = "run"\n',
        encoding="utf-8",
    )
    result = CliRunner().invoke(app, ["train", str(config), "--check"])
    assert result.exit_code == 5
    assert why in result.output
    assert "It allows" in result.output


def test_too_little_rest_before_the_first_stimulus_is_said_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(models.training.workers, "Workers", Here)
    stimuli = ((12.0, 16.0, 4), (18.0, 22.0, 1), (24.0, 28.0, 2), (30.0, 34.0, 3))
    write_biovid_c(tmp_path / "data", BIOVID, stimuli=stimuli, seconds=36.0)
    config = tmp_path / "run.toml"
    config.write_text(
        '[data]\nkind = "biovid-c"\npath = "data"\ncache = "cache"\nmodalities = ["EDA"]\n'
        '[task]\nprotocol = "live-stream"\ninputs = ["EDA"]\n'
        '[split]\nkind = "loso"\n[train]\nrecipes = ["fcn"]\n[output]\nfolder = "run"\n',
        encoding="utf-8",
    )
    result = CliRunner().invoke(app, ["train", str(config), "--check"])
    assert result.exit_code == 5
    assert "have less than 30 s before the first stimulus" in result.output
    assert "4 times: 12 s of valid signal before the first stimulus, 30 at least" in result.output


def test_where_nothing_is_set_for_an_official_division_the_command_says_what_else(tmp_path: Path) -> None:
    config = tmp_path / "run.toml"
    for data, todo in (
        ('kind = "simulated"\nmodalities = ["EDA"]\ntrain = 1\nvalidation = 1\ncalibration = 1\ntest = 1', '"parts"'),
        (f'kind = "pmed"\npath = "data"\n{CASES["pmed"].data}', '"loso"'),
    ):
        (tmp_path / "data").mkdir(exist_ok=True)
        if "pmed" in data:
            write_pmed(tmp_path / "data" / "PMED", heater=np.full(500, 32.0))
        config.write_text(
            f'[data]\n{data}\ncache = "cache"\n[task]\nprotocol = "live-stream"\ninputs = ["EDA"]\n'
            '[split]\nkind = "official"\n[train]\nrecipes = ["fcn"]\n[output]\nfolder = "run"\n',
            encoding="utf-8",
        )
        result = CliRunner().invoke(app, ["train", str(config), "--check"])
        assert result.exit_code == 5
        assert "has no official division" in result.output
        assert todo in result.output
        assert not (tmp_path / "cache" / "windows").exists()
