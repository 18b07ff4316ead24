from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
import torch

import models
from models.base import PainModel
from models.checkpoint import load_checkpoint, save_checkpoint
from models.registry import MODELS, create_model, list_models


def test_every_architecture_is_in_the_table() -> None:
    modules = [importlib.import_module(f"models.{info.name}") for info in pkgutil.iter_modules(models.__path__)]
    found = {
        value.architecture
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, PainModel) and not inspect.isabstract(value)
    }
    assert found == set(MODELS) == set(list_models())


def test_an_unknown_architecture_is_refused_with_those_that_exist() -> None:
    with pytest.raises(ValueError, match="crossmod-transformer"):
        create_model("crossmod")


@pytest.mark.parametrize("name", list_models())
@pytest.mark.parametrize("classes", [2, 3, 5])
def test_every_model_classifies_what_it_says_it_takes(name: str, classes: int) -> None:
    model = create_model(name, classes=classes).eval()
    shapes = model.example_shapes()
    assert tuple(shapes) == model.input_names
    inputs = {key: torch.zeros(2, *shape) for key, shape in shapes.items()}
    with torch.inference_mode():
        result = model(inputs)
    assert result.logits.shape == (2, classes)
    assert result.features.ndim == 2
    assert model.parameter_count() > 0
    assert model.flops(shapes) > 0
    assert {name.partition("[")[0] for name in model.parity_probes()} <= set(model.state_dict())


@pytest.mark.parametrize("name", list_models())
def test_a_checkpoint_gives_the_same_model_back(name: str, tmp_path: Path) -> None:
    model = create_model(name, classes=3)
    inputs = {key: torch.randn(2, *shape) for key, shape in model.example_shapes().items()}
    save_checkpoint(model, tmp_path / "sub" / "weights.pt")
    again = load_checkpoint(tmp_path / "sub" / "weights.pt")
    assert again.arguments == model.arguments
    assert not again.training
    with torch.inference_mode():
        assert torch.equal(again(inputs).logits, model.eval()(inputs).logits)


def test_a_bare_state_dict_is_no_checkpoint(tmp_path: Path) -> None:
    torch.save({"weight": torch.zeros(1)}, tmp_path / "weights.pt")
    with pytest.raises(ValueError, match="no architecture"):
        load_checkpoint(tmp_path / "weights.pt")


@pytest.mark.parametrize("content", [b"", b"not weights", b"PK\x03\x04 cut short"])
def test_what_is_no_file_of_weights_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ValueError, match="cannot be read as weights"):
        load_checkpoint(tmp_path / "weights.pt")
