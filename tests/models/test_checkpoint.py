from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from export.fill import fill_model
from models.base import PainModel
from models.checkpoint import load_checkpoint, load_head, save_checkpoint, save_head
from models.registry import create_model


@pytest.fixture(scope="module")
def model() -> PainModel:
    model = create_model("tiny-biomoe", inputs=("eda_waveform", "bvp_scalogram"), fusion="add", classes=2)
    fill_model(model)
    return model.eval()


def encoder(model: PainModel) -> dict[str, Tensor]:
    return model.get_submodule("backbone").state_dict()


def test_a_head_and_an_encoder_from_elsewhere_are_the_model_again(model: PainModel, tmp_path: Path) -> None:
    path = tmp_path / "sub" / "head.pt"
    save_head(model, path)
    assert path.stat().st_size < 100_000
    again = load_head(path, encoder(model))
    assert not again.training
    assert again.arguments == model.arguments
    inputs = {name: torch.randn(1, *shape) for name, shape in model.example_shapes().items()}
    with torch.inference_mode():
        assert torch.equal(again(inputs).logits, model(inputs).logits)


def test_an_encoder_that_does_not_fit_is_refused_by_its_entries(model: PainModel, tmp_path: Path) -> None:
    save_head(model, tmp_path / "head.pt")
    given = encoder(model)
    given["other"] = given.pop("ln_out.weight")
    given["ln_e.bias"] = torch.zeros(7)
    with pytest.raises(ValueError, match="encoder's weights do not fit tiny-biomoe") as caught:
        load_head(tmp_path / "head.pt", given)
    for entry in ("backbone.other", "backbone.ln_out.weight", "backbone.ln_e.bias"):
        assert entry in str(caught.value)
    assert str(caught.value).count("backbone.") == 3


def test_a_head_of_another_size_is_refused(model: PainModel, tmp_path: Path) -> None:
    save_head(model, tmp_path / "head.pt")
    content: dict[str, Any] = torch.load(tmp_path / "head.pt", weights_only=True)
    content["arguments"]["classes"] = 3
    torch.save(content, tmp_path / "head.pt")
    with pytest.raises(ValueError, match=r"head does not fit tiny-biomoe: heads\.0\.out\.bias, heads\.0\.out\.weight"):
        load_head(tmp_path / "head.pt", encoder(model))
    content["arguments"] = {"shoe": 3}
    torch.save(content, tmp_path / "head.pt")
    with pytest.raises(ValueError, match="takes no such arguments"):
        load_head(tmp_path / "head.pt", encoder(model))


def test_heads_and_checkpoints_are_not_taken_for_each_other(model: PainModel, tmp_path: Path) -> None:
    save_checkpoint(model, tmp_path / "weights.pt")
    save_head(model, tmp_path / "head.pt")
    with pytest.raises(ValueError, match="no architecture, arguments and head"):
        load_head(tmp_path / "weights.pt", encoder(model))
    with pytest.raises(ValueError, match="no architecture, arguments and state_dict"):
        load_checkpoint(tmp_path / "head.pt")


def test_what_has_no_encoder_has_no_head_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="has no encoder"):
        save_head(create_model("mscn-se"), tmp_path / "head.pt")
    assert not list(tmp_path.iterdir())
