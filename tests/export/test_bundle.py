from __future__ import annotations

import hashlib
import io
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from export.bundle import write_bundle
from export.parity import ParityError
from models.base import AttentionMap, PainModel, PainOutput, Shapes
from monitor.bundle import default_input
from monitor.errors import BundleError
from monitor.scoring.session import OnnxRunner

SAMPLES = 16


class Pooled(PainModel):
    """The smallest model with attention: one softmax over time."""

    architecture = "pooled"
    paper = "none"

    def __init__(self, *, dead: bool = False) -> None:
        super().__init__()
        self.arguments = {}
        self.input_names = ("eda",)
        self.classes = 2
        self.dead = dead
        self.embed = nn.Linear(1, 8)
        self.score = nn.Linear(8, 1)
        self.head = nn.Linear(8, 2)

    def forward(self, inputs: Mapping[str, Tensor], *, with_attention: bool = False) -> PainOutput:
        tokens = torch.tanh(self.embed(inputs["eda"].transpose(1, 2)))
        score = self.score(tokens).squeeze(-1)
        weights = torch.softmax(0.0 * score if self.dead else score, dim=-1)
        features = (weights.unsqueeze(1) @ tokens).squeeze(1)
        attention = {"temporal.eda": weights} if with_attention else {}
        return PainOutput(logits=self.head(features), features=features, attention=attention)

    def example_shapes(self) -> dict[str, tuple[int, ...]]:
        return {"eda": (1, SAMPLES)}

    def attention_maps(self, shapes: Shapes) -> tuple[AttentionMap, ...]:
        shape = shapes["eda"][1:]
        return (AttentionMap(name="temporal.eda", kind="temporal", axis="time", of="eda", by="eda", shape=shape),)

    def parity_probes(self) -> tuple[str, ...]:
        return ("score.weight",)

    def flops(self, shapes: Shapes) -> int:
        return 2 * shapes["eda"][1] * 24


def spec(**changes: Any) -> dict[str, Any]:
    return {
        "name": "pooled",
        "version": "1.0.0",
        "target": "pain",
        "inputs": [default_input("EDA", samples=SAMPLES).model_dump()],
        "classes": [{"name": "none", "level": 0.0}, {"name": "pain", "level": 1.0}],
        "calibration": {"prior": [0.5, 0.5]},
        "training": {"data": "none", "protocol": "none"},
        "weights": {"backbone": "random", "head": "random", "alarm_eligible": False},
        "intended_use": "Tests only.",
    } | changes


def test_a_model_becomes_a_bundle_that_scores_as_it_does(tmp_path: Path) -> None:
    torch.manual_seed(2)
    model = Pooled().train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    bundle = write_bundle(model=model, spec=spec(), card="# Pooled\n", out=tmp_path / "pooled")

    assert model.training
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert (bundle.spec.architecture, bundle.spec.parameters, bundle.spec.flops) == ("pooled", 43, 768)
    assert [item.name for item in bundle.spec.attention] == ["temporal.eda"]
    parity = bundle.spec.parity
    assert parity["mutations"] == "1 of 1 noticed"
    assert float(parity["mutations.weakest_over_bound"]) > 1.0
    for weights in ("fill", "shipped"):
        assert 0.0 <= float(parity[f"{weights}.worst_over_bound"]) <= 1.0
        assert {f"{weights}.logits", f"{weights}.features", f"{weights}.attention"} <= parity.keys()

    signal = np.random.default_rng(1).standard_normal((1, SAMPLES)).astype(np.float32)
    runner = OnnxRunner([bundle])
    with torch.inference_mode():
        expected = model.eval()({"eda": torch.from_numpy(signal)[None]}, with_attention=True)
    np.testing.assert_allclose(runner.score("pooled", {"eda": signal}).logits, expected.logits[0], atol=1e-5)
    maps = runner.explain("pooled", {"eda": signal})
    np.testing.assert_allclose(maps["temporal.eda"], expected.attention["temporal.eda"][0], atol=1e-6)


def test_a_model_whose_attention_is_dead_is_not_written(tmp_path: Path) -> None:
    with pytest.raises(ParityError, match=r"would not notice that score\.weight is dead"):
        write_bundle(model=Pooled(dead=True), spec=spec(), card="", out=tmp_path / "pooled")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": [default_input("ECG", samples=SAMPLES).model_dump()]}, r"the spec has the inputs \('ecg',\)"),
        (
            {
                "classes": [{"name": str(i), "level": i / 2} for i in range(3)],
                "calibration": {"prior": [1 / 3] * 3},
            },
            "the spec has 3 classes, the model 2",
        ),
        ({"version": None}, "version"),
    ],
)
def test_a_spec_of_another_model_is_refused(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        write_bundle(model=Pooled(), spec=spec(**changes), card="", out=tmp_path / "pooled")
    assert list(tmp_path.iterdir()) == []


def test_where_training_lies_among_the_features_travels_with_the_bundle(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    shapes = {"components": (2, 8), "mean": (8,), "centres": (2, 2)}
    space = {name: rng.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()}
    file = io.BytesIO()
    np.savez(file, **space, precision=np.eye(2, dtype=np.float32))
    calibration = {"prior": [0.5, 0.5], "abstain": {"distance_above": 9.0}}
    bundle = write_bundle(
        model=Pooled(), spec=spec(calibration=calibration), card="", out=tmp_path / "b", features=file.getvalue()
    )
    assert bundle.features_npz is not None
    assert bundle.features_npz.read_bytes() == file.getvalue()
    assert bundle.spec.sha256["features.npz"] == hashlib.sha256(file.getvalue()).hexdigest()
    signal = rng.standard_normal((1, SAMPLES)).astype(np.float32)
    raw = OnnxRunner([bundle]).score("pooled", {"eda": signal})
    off = space["components"].astype(float) @ (raw.features - space["mean"].astype(float)) - space["centres"]
    assert raw.distance == pytest.approx((off**2).sum(axis=1).min())
    with pytest.raises(BundleError, match=r"sha256 does not list features\.npz"):
        write_bundle(model=Pooled(), spec=spec(calibration=calibration), card="", out=tmp_path / "c")
