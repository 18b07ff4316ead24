from __future__ import annotations

import logging
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from models.painattnnet import PainAttnNet
from models.published import NAMES, Published, PublishedOutput, PublishedWeightsError, load, load_file
from models.published_files import WeightsFileError
from tests.helpers.golden import FOLDER, Golden, load_golden

SOME = ("painattnnet", "mpan_early_m2", "mpan_late_m2", "tiny_biomoe", "fmri_se_class")


@cache
def golden(name: str) -> Golden:
    return load_golden(name)


@cache
def _weights(name: str) -> dict[str, Tensor]:
    return golden(name).state_dict()


def weights(name: str) -> dict[str, Tensor]:
    """A copy, whose entries may be replaced but not written into."""
    return dict(_weights(name))


def test_the_names_are_those_of_all_references() -> None:
    assert sorted(NAMES) == sorted(path.stem for path in FOLDER.glob("*.npz"))
    assert len(NAMES) == 25


@pytest.mark.parametrize("name", NAMES)
def test_published_weights_give_the_published_output(name: str) -> None:
    reference = load_golden(name)
    state = reference.state_dict()
    model = load(name, state)
    assert model.name == name
    assert model.unused == ()
    assert not any(module.training for module in model.modules())
    values = sum(value.numel() for value in state.values() if value.is_floating_point())
    assert sum(v.numel() for v in model.model.state_dict().values() if v.is_floating_point()) == values

    compared = 0
    for number, (training, x) in enumerate(reference.inputs()):
        if training:
            continue
        with torch.inference_mode():
            result = model(x)
        assert isinstance(result, PublishedOutput)
        reference.assert_close(f"out{number}", result[0])
        assert result.attention == {}
        assert result.features.shape[0] == len(x)
        compared += 1
    assert compared >= 2
    if name.startswith("fmri"):
        torch.testing.assert_close(result.output.sum(-1), torch.ones(len(x)))


def test_maps_are_given_where_they_are_asked_for() -> None:
    x = golden("fmri_se_class").inputs()[0][1]
    with torch.inference_mode():
        result = load("fmri_se_class", weights("fmri_se_class"))(x, with_attention=True)
    golden("fmri_se_class").assert_close("mid0/se_in.gate", result.attention["channel.regions"])


def test_weights_come_before_evaluation_mode() -> None:
    reference = golden("tiny_biomoe")
    with torch.inference_mode():
        found = load("tiny_biomoe", weights("tiny_biomoe"))(reference.inputs()[0][1]).output.numpy()
    assert abs(found - reference.arrays["readme_order_out0"]).max() > 0.2


def rename(state: dict[str, Tensor], key: str) -> None:
    state[key + "_"] = state.pop(key)


def reshape(state: dict[str, Tensor], key: str) -> None:
    state[key] = torch.cat([state[key], state[key]])


def leave_out(state: dict[str, Tensor], key: str) -> None:
    del state[key]


def add(state: dict[str, Tensor], key: str) -> None:
    state[key + ".more"] = torch.zeros(1)


def transpose(state: dict[str, Tensor], key: str) -> None:
    state[key] = state[key].unsqueeze(0)


@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize(
    ("change", "unknown", "missing", "misshapen"),
    [(rename, 1, 1, 0), (reshape, 0, 0, 1), (leave_out, 0, 1, 0), (add, 1, 0, 0), (transpose, 0, 0, 1)],
)
def test_one_wrong_entry_is_refused_by_name(
    name: str, change: Callable[[dict[str, Tensor], str], None], unknown: int, missing: int, misshapen: int
) -> None:
    state = weights(name)
    key = list(state)[len(state) // 2]
    change(state, key)
    with pytest.raises(PublishedWeightsError, match=name) as caught:
        load(name, state)
    error = caught.value
    assert (len(error.unknown), len(error.missing), len(error.misshapen)) == (unknown, missing, misshapen)
    for entry in (*error.unknown, *error.missing, *error.misshapen):
        assert entry.startswith(key)
        assert entry in str(error)


def test_all_wrong_entries_are_in_one_error() -> None:
    state = weights("painattnnet")
    keys = list(state)
    for change, key in zip((rename, reshape, leave_out, add), keys[::40], strict=False):
        change(state, key)
    with pytest.raises(PublishedWeightsError) as caught:
        load("painattnnet", state)
    assert caught.value.unknown == (keys[0] + "_", keys[120] + ".more")
    assert caught.value.missing == (keys[0], keys[80])
    assert len(caught.value.misshapen) == 1
    assert caught.value.misshapen[0].startswith(keys[40])


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (torch.full((30,), math.nan), "not finite"),
        (torch.zeros(30, dtype=torch.int64), "holds int64, not float32"),
        (torch.zeros(30, dtype=torch.complex64), "holds complex64, not float32"),
    ],
)
def test_entries_of_another_kind_are_refused(value: Tensor, message: str) -> None:
    key = "seresnet.layer.0.bn1.weight"
    with pytest.raises(PublishedWeightsError, match=f"{key} .*{message}"):
        load("painattnnet", weights("painattnnet") | {key: value})


def test_a_table_of_another_architecture_is_refused() -> None:
    state = weights("tiny_biomoe")
    key = next(key for key in state if key.endswith("attention_bias_idxs"))
    state[key] = state[key].flip(0)
    with pytest.raises(PublishedWeightsError, match=f"{key} is another table"):
        load("tiny_biomoe", state)


def test_weights_of_other_floating_types_are_taken() -> None:
    x = golden("painattnnet").inputs()[0][1]
    state = {k: v.double() if v.is_floating_point() else v for k, v in weights("painattnnet").items()}
    with torch.inference_mode():
        golden("painattnnet").assert_close("out0", load("painattnnet", state)(x).output)
        halved = load("painattnnet", {k: v.half() if v.is_floating_point() else v for k, v in state.items()})
        assert halved(x).output.dtype == torch.float32


@pytest.mark.parametrize(
    ("name", "other", "hint"),
    [
        ("painattnnet", "mpan_mscn_m2", "they fit mpan_mscn_m2"),
        ("mpan_late_m2", "mpan_late_m3", "they fit mpan_late_m3"),
        ("painformer", "fmri_ebr_level", "they fit fmri_ebr_level"),
        ("fmri_se_level", "fmri_vanilla_level", "they fit fmri_vanilla_level"),
        ("fmri_se_class", "fmri_se_level", "they have 9 classes, not 3"),
    ],
)
def test_weights_of_another_model_are_refused_and_told_apart(name: str, other: str, hint: str) -> None:
    with pytest.raises(PublishedWeightsError, match=hint):
        load(name, weights(other))


def test_any_number_of_classes_is_taken_from_the_last_layer() -> None:
    state = PainAttnNet(inputs=("eda",), classes=5).state_dict()
    for classes in (None, 5):
        model = load("painattnnet", state, classes=classes)
        with torch.inference_mode():
            assert model(torch.zeros(1, 1, 2816)).output.shape == (1, 5)
    with pytest.raises(PublishedWeightsError, match="they have 5 classes, not 2") as caught:
        load("painattnnet", state, classes=2)
    assert caught.value.misshapen == ("fc.weight is (5, 2250), not (2, 2250)", "fc.bias is (5,), not (2,)")
    with pytest.raises(ValueError, match="fmri_se_class has 3 classes, not the 9 asked for"):
        load("fmri_se_class", weights("fmri_se_class"), classes=9)
    with pytest.raises(ValueError, match="tiny_biomoe is an encoder"):
        load("tiny_biomoe", weights("tiny_biomoe"), classes=3)


def test_painformers_classifier_is_left_out_and_said_to_be(caplog: pytest.LogCaptureFixture) -> None:
    state = weights("painformer") | {"head.weight": torch.zeros(1000, 160), "head.bias": torch.zeros(1000)}
    with caplog.at_level(logging.INFO, "models.published"):
        model = load("painformer", state)
    assert model.unused == ("head.weight", "head.bias")
    assert "head.weight, head.bias" in caplog.text
    with pytest.raises(PublishedWeightsError, match="1 unknown: heads"):
        load("painformer", state | {"heads": torch.zeros(1)})


@pytest.mark.parametrize("shape", [(1, 1, 1024), (1, 2816), (1, 1, 2816 * 2)])
def test_an_input_of_another_layout_is_refused(shape: tuple[int, ...]) -> None:
    model = load("painattnnet", weights("painattnnet"))
    with pytest.raises(ValueError, match=r"painattnnet takes \(B, 1, 2816\)"):
        model(torch.zeros(shape))


def test_an_unknown_name_is_refused_with_those_that_exist(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no published model 'painnet'; there are painattnnet"):
        load("painnet", {})
    with pytest.raises(ValueError, match="no published model"):
        load_file("painnet", tmp_path / "none.pth")
    with pytest.raises(WeightsFileError, match="nothing"):
        load("painattnnet", {})


def as_state_dict(state: dict[str, Tensor], path: Path) -> None:
    torch.save({"epoch": 3, "state_dict": {f"module.{key}": value for key, value in state.items()}}, path)


def as_safetensors(state: dict[str, Tensor], path: Path) -> None:
    save_file(state, path)


@pytest.mark.parametrize("write", [torch.save, as_state_dict, as_safetensors])
def test_files_give_what_their_weights_give(write: Callable[[dict[str, Tensor], Path], None], tmp_path: Path) -> None:
    name = "mpan_mscn_se_m1"
    write(weights(name), tmp_path / "weights.pth")
    model = load_file(name, tmp_path / "weights.pth", classes=2)
    assert isinstance(model, Published)
    number, x = next((n, x) for n, (training, x) in enumerate(golden(name).inputs()) if not training)
    with torch.inference_mode():
        golden(name).assert_close(f"out{number}", model(x).output)
