from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import torch

from models.data.base import WindowSet
from models.data.guards import Parts
from models.painformer import PainFormer
from models.tiny_biomoe import TinyBioMoE
from models.training.drawing import images_of, usual_images
from models.training.network import Network
from models.training.recipe import Task
from models.training.recipes import make_recipe
from monitor.bundle import default_input
from monitor.errors import ConfigError

EDA = default_input("EDA", rate_hz=100.0, samples=600)
SUBJECTS = {"train": ("a", "b"), "validation": ("c",), "calibration": ("d",), "test": ("e",)}


def windows(subjects: tuple[str, ...], each: int) -> WindowSet:
    count = each * len(subjects)
    rng = np.random.default_rng(count)
    labels = np.arange(count) % 2
    walk = np.cumsum(rng.standard_normal((count, 1, 600)), axis=-1) / 10.0
    return WindowSet(
        inputs={"eda": ((1 + labels)[:, None, None] * walk).astype(np.float32)},
        labels=labels.astype(np.int64),
        subjects=np.repeat(list(subjects), each),
        t_end=np.arange(count, dtype=np.float64),
        level=np.zeros(count),
        since_onset_s=np.zeros(count),
        confounded=np.zeros(count, dtype=np.bool_),
        calibrated=np.ones(count, dtype=np.bool_),
    )


def trained(name: str, options: Mapping[str, object], schedule: str = "short") -> tuple[Network, Parts]:
    parts = Parts("fold-1", {part: windows(who, 2) for part, who in SUBJECTS.items()}, SUBJECTS)
    task = Task(inputs=(EDA,), classes=("none", "pain"), schedule=schedule, options={"device": "cpu", **options})
    (method,) = make_recipe(name).fit(parts, task, seed=1).values()
    assert isinstance(method, Network)
    return method, parts


def test_tiny_biomoe_is_fine_tuned_on_images_that_its_bundle_states() -> None:
    method, parts = trained("tiny-biomoe", {"epochs": 1, "batch": 2, "images": ["waveform"], "bfloat16": False})
    assert [item.name for item in method.inputs] == ["eda_waveform"]
    assert method.inputs[0].render is not None
    assert method.model.input_names == ("eda_waveform",)
    assert method.parameters == method.model.parameter_count()
    told = method.tell(parts.calibration)
    assert told.logits.shape == (2, 2)
    assert told.features.shape == (2, TinyBioMoE.embedding)
    assert method.history["model"].train_loss


def test_a_frozen_encoder_stays_and_its_head_learns(caplog: pytest.LogCaptureFixture, tmp_path: Path) -> None:
    torch.manual_seed(5)
    published = TinyBioMoE()
    path = tmp_path / "weights.pt"
    torch.save(published.state_dict(), path)
    options = {"epochs": 5, "batch": 2, "images": ["waveform"]}
    method, parts = trained("tiny-biomoe-frozen", {**options, "published": str(path)})
    for own, theirs in zip(method.model.backbone.state_dict().values(), published.state_dict().values(), strict=True):
        assert torch.equal(own, theirs)
    assert method.backbone == "published"
    assert method.parameters == 2 * (TinyBioMoE.embedding + 1)
    # What the whole network says of a window is what its head learnt from the kept embedding.
    held = parts.validation
    logits = torch.from_numpy(method.tell(held).logits)
    loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(held.labels), weight=torch.ones(2).double())
    assert float(loss) == pytest.approx(method.history["model"].best_loss, rel=1e-3)
    assert "random" not in caplog.text


def test_painformer_as_its_paper_and_random_weights_say_so(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        method, parts = trained("painformer-frozen", {"epochs": 1, "batch": 4}, schedule="paper")
    assert method.backbone == "random"
    assert "the encoder's weights are random" in caplog.text
    assert method.model.arguments["head"] == "mixer"
    item = method.inputs[0]
    assert item.render is not None
    assert (item.render.kind, item.render.mean, item.render.std) == ("waveform", PainFormer.mean, PainFormer.std)
    assert not any(p.requires_grad for p in method.model.backbone.parameters())
    assert 0 < method.parameters < 10_000_000
    assert method.tell(parts.calibration.take(np.array([0]))).logits.shape == (1, 2)


def test_images_are_those_asked_for_or_the_usual_ones() -> None:
    ecg = default_input("ECG", rate_hz=512.0, samples=2816)
    assert [image.kind for image in usual_images("tiny-biomoe", EDA)] == ["scalogram", "waveform"]
    assert [image.kind for image in usual_images("painformer", ecg)] == ["spectrogram_psd"]
    both = images_of("painformer", (EDA, ecg))
    assert [item.name for item in both] == ["eda_waveform", "ecg_spectrogram_psd"]
    whole = images_of("tiny-biomoe", (EDA,), [{"kind": "recurrence", "threshold": 0.1}, "waveform"])
    assert [item.name for item in whole] == ["eda_recurrence", "eda_waveform"]
    short = default_input("EDA", rate_hz=25.0, samples=138)
    for asked, of in ((["portrait"], EDA), ([3], EDA), (["spectrogram_psd"], short)):
        with pytest.raises(ConfigError, match="kinds are waveform"):
            images_of("tiny-biomoe", (of,), asked)


def test_weights_that_are_none_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "weights.pt"
    path.write_bytes(b"nothing")
    with pytest.raises(ConfigError, match="published"):
        trained("tiny-biomoe-frozen", {"published": str(path), "images": ["waveform"]})
