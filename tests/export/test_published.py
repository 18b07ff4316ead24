from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from export.__main__ import app
from export.fill import fill_model
from export.published import image_model
from models.checkpoint import save_head
from models.image_pipeline import TinyBioMoEPipeline
from models.painattnnet import MSCNOnly
from models.tiny_biomoe import TinyBioMoE
from monitor.bundle_folder import load_bundle
from monitor.dsp import Baseline, scale


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of m-PainAttnNet on two signals, Tiny-BioMoE's encoder, and a head for two of its images."""
    path = tmp_path_factory.mktemp("published")
    run = MSCNOnly(inputs=("eda", "ecg"), classes=2)
    fill_model(run)
    torch.save({"state_dict": {f"module.{key}": value for key, value in run.state_dict().items()}}, path / "run.pth")
    encoder = TinyBioMoE()
    fill_model(encoder)
    torch.save(encoder.state_dict(), path / "encoder.pth")
    torch.manual_seed(3)
    save_head(TinyBioMoEPipeline(inputs=("eda_waveform", "bvp_scalogram"), classes=2), path / "head.pt")
    save_head(TinyBioMoEPipeline(inputs=("first",), classes=2), path / "unnamed.pt")
    data = (path / "run.pth").read_bytes()
    (path / "cut.pth").write_bytes(data[: len(data) // 2])
    return path


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self.mark),)


def call(folder: Path, out: Path, text: str) -> tuple[int, str, str]:
    arguments = [part.replace("@", f"{folder}/") for part in text.split()]
    result = CliRunner().invoke(app, [*arguments, "--out", str(out)])
    assert "Traceback" not in result.output
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize(
    ("text", "code", "says"),
    [
        ("painattnnet --published @cut.pth --variant mscn --signals eda,ecg", 1, "cut short or damaged"),
        ("painattnnet --published @run.pth --variant mscn_se --signals eda,ecg", 1, "they fit mpan_mscn_m2"),
        ("painattnnet --published @run.pth --variant mscn --signals eda", 1, "they fit mpan_mscn_m2"),
        (
            "painattnnet --published @run.pth --variant mscn --signals eda,ecg --classes a,b,c",
            1,
            "have 2 classes, not 3",
        ),
        ("painattnnet --published @run.pth --variant mscn --signals eda,foo", 1, "modality 'FOO'"),
        ("painattnnet --published @run.pth --variant early --signals eda", 1, "no published model 'mpan_early_m1'"),
        ("painattnnet --published @nowhere.pth", 2, "nowhere.pth"),
        ("tiny-biomoe --published @run.pth --untrained-head", 1, "not the weights of tiny_biomoe"),
        ("tiny-biomoe --published @encoder.pth", 1, "--head HEAD.pt"),
        ("tiny-biomoe --published @encoder.pth --head @head.pt --untrained-head", 1, "--head HEAD.pt"),
        ("tiny-biomoe --published @encoder.pth --untrained-head --alarm-eligible", 2, "may not alarm"),
        ("tiny-biomoe --published @encoder.pth --head @run.pth", 1, "holds no architecture"),
        ("tiny-biomoe --published @encoder.pth --head @unnamed.pt", 1, "give --images"),
        ("tiny-biomoe --published @encoder.pth --head @head.pt --images eda:waveform", 1, "reads 2 images"),
        ("tiny-biomoe --published @encoder.pth --head @head.pt --classes a,b,c", 1, "has 2 classes, not the 3"),
        ("tiny-biomoe --published @encoder.pth --untrained-head --images eda:drawing", 1, "MODALITY:KIND"),
        ("painformer --published @encoder.pth --untrained-head", 1, "they fit tiny_biomoe"),
    ],
)
def test_what_does_not_fit_is_one_message_and_nothing_is_written(
    folder: Path, tmp_path: Path, text: str, code: int, says: str
) -> None:
    found, out, err = call(folder, tmp_path / "out", text)
    assert found == code, err
    assert says in " ".join(err.replace("│", " ").split())
    assert out == ""
    assert list(tmp_path.iterdir()) == []


def test_code_in_a_checkpoint_is_named_and_never_run(folder: Path, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    torch.save({"state_dict": Evil(mark)}, tmp_path / "evil.pth")
    code, _, err = call(folder, tmp_path / "out", f"painattnnet --published {tmp_path}/evil.pth --signals eda")
    assert code == 1
    assert "posix.mkdir" in err
    assert not mark.exists()
    torch.load(tmp_path / "evil.pth", weights_only=False)
    assert mark.exists(), "the file holds no code: the test shows nothing"


def test_a_published_run_becomes_a_bundle_fed_as_published(folder: Path, tmp_path: Path) -> None:
    code, out, err = call(
        folder, tmp_path / "out", "painattnnet --published @run.pth --variant mscn --signals eda,ecg --classes low,high"
    )
    assert code == 0, err
    assert "NOT ELIGIBLE FOR ALARMS" in out
    spec = load_bundle(tmp_path / "out").spec
    assert spec.name == "mscn-eda-ecg-published"
    assert (spec.weights.backbone, spec.weights.head, spec.weights.stored) == ("published", "published", "float16")
    assert spec.weights.alarm_eligible is False
    assert [(item.name, item.level) for item in spec.classes] == [("low", 0.0), ("high", 1.0)]
    eda, ecg = spec.inputs
    assert eda.shape == ecg.shape == (1, 2816)
    assert eda.rate_hz == ecg.rate_hz == 512.0
    values = np.linspace(-2.0, 2.0, 2816)
    baseline = Baseline(center=7.0, spread=3.0, range=9.0)
    np.testing.assert_allclose(scale(values, eda.scale, baseline)[0], values, rtol=1e-6)
    np.testing.assert_allclose(scale(values, ecg.scale, baseline)[0], 1000.0 * values, rtol=1e-6)
    assert "run.pth" in (tmp_path / "out" / "card.md").read_text()
    assert json.loads((tmp_path / "out" / "model.json").read_text())["parity"]["rounding.windows"] == "64 random"


def test_an_encoder_and_a_head_become_one_model_that_says_what_it_reads(folder: Path) -> None:
    source = image_model(
        "tiny-biomoe", published=folder / "encoder.pth", head=folder / "head.pt", images=(), classes=("low", "high")
    )
    published = torch.load(folder / "encoder.pth", weights_only=True)
    head = torch.load(folder / "head.pt", weights_only=True)["head"]
    state = source.model.state_dict()
    assert len(state) == len(published) + len(head)
    assert all(torch.equal(state[f"backbone.{key}"], value) for key, value in published.items())
    assert all(torch.equal(state[key], value) for key, value in head.items())
    assert source.spec["weights"] == {"backbone": "published", "head": "trained", "alarm_eligible": False}
    inputs = source.spec["inputs"]
    assert [(item["name"], item["modality"], item["render"]["kind"]) for item in inputs] == [
        ("eda_waveform", "EDA", "waveform"),
        ("bvp_scalogram", "BVP", "scalogram"),
    ]
    assert source.spec["name"] == "tiny-biomoe-eda-bvp-published"


def test_an_untrained_head_is_in_the_name_and_in_the_card(folder: Path) -> None:
    source = image_model(
        "tiny-biomoe",
        published=folder / "encoder.pth",
        head=None,
        images=("ecg:spectrogram_psd",),
        classes=(),
        untrained_head=True,
    )
    assert source.spec["name"] == "tiny-biomoe-ecg-published-untrained-head"
    assert source.spec["weights"] == {"backbone": "published", "head": "random", "alarm_eligible": False}
    assert "knows nothing of pain" in source.card
    assert len(source.spec["classes"]) == 3
