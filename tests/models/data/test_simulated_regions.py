from __future__ import annotations

import uuid

import numpy as np
import torch

from models.data.simulated_regions import cut_regions, every_window, regions_input
from models.data.unscored import Recorder
from models.se_cnn import CLASS_LABELS, SECNN
from models.training.emotion import EMOTION_BUNDLES, build_emotion, judged, train_regions
from models.training.loop import FitSettings
from monitor.bundle import BundleSpec, CalibrationSpec, ClassSpec, TrainingSpec, WeightsSpec
from monitor.config import BedSettings
from monitor.pipeline import Pipeline
from monitor.sources.synthetic_regions import EMOTIONS, SyntheticRegions
from monitor.types import Chunk, Provenance, StreamInfo


def test_classes_are_in_the_published_order() -> None:
    assert EMOTIONS == CLASS_LABELS


def test_windows_are_scaled_as_published_and_lie_in_one_minute() -> None:
    windows = cut_regions("train", range(2), blocks=6, per_block=3)
    x = windows.inputs["regions"]
    assert x.shape == (36, 246, 25)
    assert x.dtype == np.float32
    np.testing.assert_array_equal(x.min(axis=(1, 2)), 0.0)
    np.testing.assert_array_equal(x.max(axis=(1, 2)), 1.0)
    assert np.bincount(windows.labels).tolist() == [12, 12, 12]
    subject = SyntheticRegions(1, part="train")
    assert windows.subjects[18:].tolist() == [subject.subject] * 18
    last = subject.samples(335, 25).T  # the last window of six minutes ends with their last point
    np.testing.assert_allclose(x[-1], (last - last.min()) / np.ptp(last), atol=1e-6)
    assert EMOTIONS[windows.labels[-1]] == subject.emotion_at(335.0) == subject.emotion_at(359.0)


def test_windows_are_those_that_the_monitor_would_score() -> None:
    subject, recorder = SyntheticRegions(4, part="train"), Recorder()
    spec = BundleSpec(
        name="regions",
        version="0.0.0",
        architecture="none",
        target="emotion",
        inputs=(regions_input(),),
        classes=tuple(ClassSpec(name=emotion, level=0.0) for emotion in EMOTIONS),
        calibration=CalibrationSpec(prior=(1 / 3, 1 / 3, 1 / 3)),
        training=TrainingSpec(data="none", protocol="none"),
        weights=WeightsSpec(backbone="simulated", head="simulated", alarm_eligible=False),
        parameters=0,
        flops=0,
        card="",
        intended_use="a test",
    )
    bed = BedSettings(name="one", bundles=("regions",))
    pipeline = Pipeline(bed=bed, bundles=[spec], runner=recorder, session=uuid.UUID(int=1))
    info = StreamInfo(
        key="regions",
        bed="one",
        modality="ARRAY:regions",
        name="regions",
        unit="a.u.",
        rate_hz=1.0,
        source="synthetic",
        provenance=Provenance.SIMULATED,
        origin=0.0,
        channels=246,
    )
    list(pipeline.open_stream(info, 0.0))
    for second in range(60):
        chunk = Chunk(
            stream="regions", samples=subject.samples(second, 1), stamps=np.array([float(second)]), arrival=second + 0.1
        )
        list(pipeline.feed(chunk))
    expected = every_window("train", [4], blocks=1, delay_s=0.0).inputs["regions"]
    assert len(recorder.seen) > 20
    found = np.array([seen["regions"] for seen in recorder.seen])
    matches = [np.abs(expected - window).max(axis=(1, 2)).min() for window in found]
    assert max(matches) < 1e-6


def test_labels_of_the_stream_lag_behind() -> None:
    windows = every_window("test", [0], blocks=3, delay_s=5.0)
    subject = SyntheticRegions(0, part="test")
    assert len(windows) == 180 - 24
    assert windows.labels.tolist() == [EMOTIONS.index(subject.emotion_at(end - 5.0)) for end in range(24, 180)]


def test_figures_of_unordered_classes() -> None:
    told = np.eye(3)[[0, 0, 1, 2, 2, 1]]
    figures = judged(told, np.array([0, 0, 1, 1, 2, 2]))
    assert figures["balanced_accuracy"] == round((1 + 0.5 + 0.5) / 3, 4)
    assert figures["confusion"] == "2 0 0 | 0 1 1 | 0 1 1"
    assert [figures[f"recall_{name}"] for name in EMOTIONS] == [1.0, 0.5, 0.5]


def test_training_lowers_the_loss_and_leaves_the_model_as_published() -> None:
    torch.manual_seed(0)
    model = SECNN()
    train = cut_regions("train", range(12), blocks=3, per_block=2)
    settings = FitSettings(epochs=2, milestone=1, batch=24)
    loss = train_regions(model, train, train, settings)
    assert loss < 1.5
    assert model.unit1.norm.momentum == 0.01
    assert not model.training


def test_the_plan_writes_what_the_export_needs(tmp_path) -> None:
    (plan,) = EMOTION_BUNDLES.values()
    parts = [plan.train, plan.validation, plan.calibration]
    assert len({number for part in parts for number in part}) == sum(map(len, parts))
    assert not set(plan.test) & set(plan.live)
    small = type(plan)(
        title=plan.title, train=range(6), validation=range(600, 602), calibration=range(640, 643), test=range(3),
        live=range(100, 101), blocks=3, settings=FitSettings(epochs=1, milestone=1, batch=12),
    )  # fmt: skip
    build_emotion("tiny-regions", tmp_path, small)
    spec = BundleSpec.model_validate_json((tmp_path / "spec.json").read_text(encoding="utf-8"))
    assert spec.target == "emotion"
    assert [item.level for item in spec.classes] == [0.0] * 3
    assert not spec.weights.alarm_eligible
    assert spec.inputs[0].shape == (246, 25)
    assert "NOT PAIN" in spec.notice
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "emotion, not pain" in card
    assert max(map(len, card.splitlines())) < 400
    assert (tmp_path / "weights.pt").is_file()
    with np.load(tmp_path / "samples.npz") as samples:
        assert samples["regions"].shape[1:] == (246, 25)
