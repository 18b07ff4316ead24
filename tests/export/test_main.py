from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from export.__main__ import app
from models.checkpoint import save_checkpoint
from models.registry import create_model
from tests.helpers.tiny_bundle import write_tiny_bundle


def test_verify_says_what_a_bundle_is(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["verify", str(write_tiny_bundle(tmp_path))])
    assert result.exit_code == 0
    assert "tiny-eda-ecg 1.0.0, tiny on EDA + ECG" in result.stdout


def test_verify_fails_on_damage_with_one_message(tmp_path: Path) -> None:
    folder = write_tiny_bundle(tmp_path)
    (folder / "card.md").write_text("another card")
    result = CliRunner().invoke(app, ["verify", str(folder)])
    assert result.exit_code == 6
    assert "card.md was edited or damaged" in result.stderr
    assert "Traceback" not in result.output


@pytest.mark.parametrize("weights", ["checkpoint of other inputs", "bare state_dict"])
def test_write_refuses_what_does_not_fit_and_writes_nothing(tmp_path: Path, weights: str) -> None:
    model = create_model("crossmod-transformer", inputs=("eda", "bvp"))
    if weights == "bare state_dict":
        torch.save(model.state_dict(), tmp_path / "weights.pt")
    else:
        save_checkpoint(model, tmp_path / "weights.pt")
    spec = json.loads((write_tiny_bundle(tmp_path) / "model.json").read_text())
    (tmp_path / "spec.json").write_text(json.dumps(spec))
    (tmp_path / "card.md").write_text("# Card\n")
    arguments = [
        part
        for option, value in (("weights", "weights.pt"), ("spec", "spec.json"), ("card", "card.md"), ("out", "out"))
        for part in (f"--{option}", str(tmp_path / value))
    ]
    result = CliRunner().invoke(app, ["write", *arguments])
    assert result.exit_code == 1
    assert result.stderr.startswith("nothing was written: ")
    assert not (tmp_path / "out").exists()
