"""One command from a data set's folder to a bundle that scores live."""

from __future__ import annotations

import json
import uuid
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from models.__main__ import app
from monitor.bundle_folder import load_bundle
from monitor.config import BedSettings
from monitor.pipeline import Pipeline
from monitor.scoring.session import OnnxRunner
from monitor.sources.synthetic import SyntheticPatient, patient_chunks
from monitor.sources.synthetic_streams import SyntheticSubject
from monitor.types import Chunk, Event, Provenance, Score, StreamInfo, snap
from tests.helpers.pain_data import write_biovid

PEOPLE = ("071309_w_21", "071313_m_41", "071614_m_20", "082315_w_60")

CONFIG = """
[data]
kind = "biovid-a"
path = "PartA"
modalities = ["EDA"]
cache = "cache"

[task]
protocol = "live-segment"
classes = { none = ["BL1"], pain = ["PA3", "PA4"] }
inputs = ["EDA"]

[split]
kind = "hold-out"
folds = 4

[train]
recipes = ["fcn"]
epochs = 1

[evaluate]
baselines = ["logistic-regression"]

[bundle]
name = "biovid-eda"

[output]
folder = "run"
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """After the one command."""
    folder = tmp_path_factory.mktemp("biovid")
    write_biovid(folder / "PartA", PEOPLE, per_class=11)
    (folder / "run.toml").write_text(CONFIG, encoding="utf-8")
    result = CliRunner().invoke(app, ["train", str(folder / "run.toml")])
    assert result.exit_code == 0, result.output
    assert "pain-monitor demo --bundle" in result.output
    return folder


def live(path: Path, seconds: float) -> list[Event]:
    """A simulated subject's skin conductance through the real pipeline and the bundle's graph."""
    bundle = load_bundle(path)
    subject = SyntheticSubject(SyntheticPatient(part="test", number=7))
    bed = BedSettings(name="bed1", bundles=(str(path),), calibration_s=20.0)
    pipeline = Pipeline(bed=bed, bundles=[bundle.spec], runner=OnnxRunner([bundle]), session=uuid.UUID(int=1))
    info = StreamInfo(
        key="EDA",
        bed="bed1",
        modality="EDA",
        name="EDA",
        unit=subject.unit("EDA"),
        rate_hz=subject.rate_hz("EDA"),
        source="synthetic",
        provenance=Provenance.SIMULATED,
        origin=0.0,
    )
    events = list(pipeline.open_stream(info, 0.0))
    for piece in patient_chunks(subject, ("EDA",), seconds=seconds, chunk_s=1.0):
        stamps, arrival = snap(piece.stamps), float(snap(piece.due_s))
        events += pipeline.feed(Chunk(stream="EDA", samples=piece.samples, stamps=stamps, arrival=arrival))
    return events


def test_the_bundle_scores_live(folder: Path) -> None:
    scores = [e for e in live(folder / "run" / "bundle" / "biovid-eda", 45.0) if isinstance(e, Score) and not e.absent]
    assert {score.calibration for score in scores} == {"population", "subject"}
    assert len(scores) > 20
    for score in scores:
        assert score.classes == ("none", "pain")
        assert score.probabilities is not None
        assert sum(score.probabilities) == pytest.approx(1.0, abs=1e-6)


def test_its_figures_are_those_of_its_weights(folder: Path) -> None:
    bundle = load_bundle(folder / "run" / "bundle" / "biovid-eda")
    (fold,) = (folder / "run" / "folds").glob("*.fcn.*")
    content = json.loads(fold.read_text())
    method = content["methods"]["fcn-eda"]
    metrics = bundle.spec.training.metrics
    assert metrics["test.balanced_accuracy"] == pytest.approx(method["figures"]["balanced_accuracy"], abs=1e-4)
    assert bundle.spec.calibration.temperature == method["temperature"]
    assert bundle.spec.training.protocol == "live-segment"
    assert bundle.spec.origin == "trained on the data set biovid-a"
    assert bundle.spec.inputs[0].filter.state == "window"
    assert bundle.spec.inputs[0].scale.fallback is not None
    card = (bundle.path / bundle.spec.card).read_text(encoding="utf-8")
    confusion = np.array([row.split() for row in str(metrics["test.confusion"]).split(" | ")], dtype=int)
    assert confusion.sum() == sum(content["windows"]["test"].values())
    assert f"| Balanced accuracy | {metrics['test.balanced_accuracy']:.3g} |" in card
    assert "Same protocol? no" in card
    assert "Research use only" in card
    assert ("draws no index and may not alarm" in card) is not bundle.spec.weights.alarm_eligible


def test_nobody_is_named_in_what_is_handed_on(folder: Path) -> None:
    for path in (folder / "run" / "bundle" / "biovid-eda").iterdir():
        content = path.read_bytes()
        assert not [code for code in PEOPLE if code.encode() in content], path.name
    named = (folder / "run" / "run.json").read_text()
    assert all(code in named for code in PEOPLE)
