from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
import torch
from onnx import helper, numpy_helper
from torch import nn

from export.bundle import write_bundle
from export.precision import RoundingError, noise_floor, probability_change
from export.weights import is_halved, rounded, share
from monitor.bundle import default_input
from monitor.scoring.session import OnnxRunner
from tests.export.test_bundle import SAMPLES, Pooled, spec

WIDE = 64


class Wide(Pooled):
    """`Pooled` with a layer large enough to be halved."""

    architecture = "wide"

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(1, WIDE), nn.Tanh(), nn.Linear(WIDE, 8))


def graph(**tensors: np.ndarray) -> onnx.ModelProto:
    """A graph that holds these and adds up the first two."""
    initial = [numpy_helper.from_array(values, name) for name, values in tensors.items()]
    first, second = list(tensors)[:2]
    out = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    nodes = [helper.make_node("Add", [first, second], ["y"])]
    return helper.make_model(
        helper.make_graph(nodes, "g", [], [out], initializer=initial),
        opset_imports=[helper.make_opsetid("", 20)],
        ir_version=10,
    )


def written(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder


def test_equal_tensors_are_stored_once_whatever_graph_and_name(tmp_path: Path) -> None:
    large, other = np.arange(1024, dtype=np.float32), np.arange(1024, 2048, dtype=np.float32)
    small = np.ones(4, dtype=np.float32)
    one = graph(a=large, b=other, small=small)
    two = graph(x=other.reshape(32, 32), y_=large.reshape(32, 32), small=small)
    files = share({"model.onnx": one, "explain.onnx": two})
    assert len(files["weights.bin"]) == 2 * 4096
    assert share({"explain.onnx": two, "model.onnx": one}) == files
    written(files, tmp_path)
    for name, original in (("model.onnx", one), ("explain.onnx", two)):
        read = onnx.load(tmp_path / name)
        for found, expected in zip(read.graph.initializer, original.graph.initializer, strict=True):
            np.testing.assert_array_equal(numpy_helper.to_array(found), numpy_helper.to_array(expected))
    kept = onnx.load_model_from_string(files["model.onnx"]).graph.initializer
    assert [item.name for item in kept if item.data_location == onnx.TensorProto.DEFAULT] == ["small"]


def test_large_constants_lie_outside_too_and_nothing_else_does() -> None:
    node = helper.make_node("Constant", [], ["c"], value=numpy_helper.from_array(np.ones((32, 32), np.float32)))
    out = helper.make_tensor_value_info("c", onnx.TensorProto.FLOAT, None)
    files = share({"model.onnx": helper.make_model(helper.make_graph([node], "g", [], [out]))})
    assert len(files["weights.bin"]) == 4096
    assert list(share({"model.onnx": graph(a=np.ones(4, np.float32), b=np.ones(4, np.float32))})) == ["model.onnx"]


def test_half_precision_stores_what_it_holds_exactly_and_nothing_more(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    exact = rng.standard_normal((32, 32)).astype(np.float16).astype(np.float32)
    inexact = rng.standard_normal((32, 32)).astype(np.float32)
    files = share({"model.onnx": graph(a=exact, b=inexact)}, stored="float16")
    assert len(files["weights.bin"]) == 2 * 1024 + 4 * 1024
    session = ort.InferenceSession(written(files, tmp_path) / "model.onnx")
    np.testing.assert_array_equal(session.run(["y"], {})[0], exact + inexact)


def test_large_tensors_are_rounded_and_the_model_is_left_alone() -> None:
    torch.manual_seed(1)
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64))
    before = {name: value.clone() for name, value in model.state_dict().items()}
    after = rounded(model).state_dict()
    assert torch.equal(after["0.weight"], before["0.weight"].half().float())
    assert not torch.equal(after["0.weight"], before["0.weight"])
    assert all(torch.equal(after[name], before[name]) for name in before if name != "0.weight")
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert not is_halved((4096,))


def test_a_weight_beyond_half_precision_is_refused_by_name() -> None:
    model = nn.Sequential(nn.Linear(64, 64))
    with torch.no_grad():
        model[0].weight[3, 4] = -7e4
    with pytest.raises(ValueError, match=r"0\.weight holds 7e\+04, beyond the 65504"):
        rounded(model)


@pytest.fixture(scope="module")
def halves(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Wide]:
    torch.manual_seed(4)
    model = Wide().eval()
    out = tmp_path_factory.mktemp("halves") / "pooled"
    write_bundle(model=model, spec=spec(), card="", out=out, stored="float16")
    return out, model


def test_a_bundle_of_halves_scores_as_its_rounded_module(halves: tuple[Path, Wide]) -> None:
    out, model = halves
    content = json.loads((out / "model.json").read_text())
    assert content["weights"]["stored"] == "float16"
    assert "weights.bin" in content["sha256"]
    assert (out / "weights.bin").stat().st_size >= 2 * WIDE * 8
    assert 0 < content["parity"]["rounding.max_probability_change"] < 0.01
    assert content["parity"]["rounding.windows"] == "64 random"
    for group in ("logits", "features", "attention"):
        assert 0 < content["parity"][f"noise.{group}"] < 1e-5
    from monitor.bundle_folder import load_bundle

    signal = np.random.default_rng(2).standard_normal((1, SAMPLES)).astype(np.float32)
    found = OnnxRunner([load_bundle(out)]).score("pooled", {"eda": signal}).logits
    with torch.inference_mode():
        theirs, plain = (each({"eda": torch.from_numpy(signal)[None]}).logits[0] for each in (rounded(model), model))
    np.testing.assert_allclose(found, theirs, atol=2e-6)
    assert np.abs(found - plain.numpy()).max() > 1e-5


@pytest.mark.parametrize("name", ["model.onnx", "explain.onnx"])
def test_nothing_is_cast_at_run_time(halves: tuple[Path, Wide], tmp_path: Path, name: str) -> None:
    out, _ = halves
    half = onnx.TensorProto.FLOAT16
    stored = onnx.load(out / name, load_external_data=False).graph
    assert any(tensor.data_type == half for tensor in stored.initializer)
    options = ort.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    options.log_severity_level = 3
    ort.InferenceSession(out / name, options, providers=["CPUExecutionProvider"])
    opened = onnx.load(tmp_path / "optimised.onnx", load_external_data=False).graph
    assert not any(tensor.data_type == half for tensor in opened.initializer)
    assert not any(node.op_type == "Cast" for node in opened.node)


class Steep(Wide):
    """A model whose probabilities hang on the last bits of weights that half precision does not have."""

    def __init__(self) -> None:
        super().__init__()
        constant = torch.tanh(torch.tensor(1.0))
        with torch.no_grad():
            self.embed[0].weight.zero_()
            self.embed[0].bias.fill_(1.0)
            self.embed[2].weight.fill_(1.0003)
            self.embed[2].bias.fill_(float(-1.0003 * WIDE * constant))
            self.head.weight[0].fill_(10.0)
            self.head.weight[1].fill_(-10.0)


def test_a_trained_model_that_rounding_changes_is_refused(tmp_path: Path) -> None:
    torch.manual_seed(5)
    model, trained = Steep(), {"backbone": "none", "head": "trained", "alarm_eligible": False}
    with pytest.raises(RoundingError, match=r"moves a probability by .* store float32"):
        write_bundle(model=model, spec=spec(weights=trained), card="", out=tmp_path / "out", stored="float16")
    assert list(tmp_path.iterdir()) == []


def test_samples_are_looked_at_and_must_fit() -> None:
    torch.manual_seed(4)
    model = Wide().eval()
    shapes = {"eda": (1, SAMPLES)}
    real = {"eda": np.random.default_rng(3).standard_normal((5, 1, SAMPLES)).astype(np.float32)}
    alone, windows = probability_change(model, rounded(model), shapes)
    both, more = probability_change(model, rounded(model), shapes, samples=real)
    assert (windows, more) == (64, 69)
    assert 0 < alone <= both
    assert probability_change(model, model, shapes)[0] == 0.0
    for wrong in ({}, {"ecg": real["eda"]}, {"eda": real["eda"][:, 0]}, {"eda": real["eda"][:0]}):
        with pytest.raises(ValueError, match="samples must be"):
            probability_change(model, model, shapes, samples=wrong)


def test_the_noise_floor_is_that_of_single_precision() -> None:
    torch.manual_seed(4)
    model = Wide().eval()
    floor = noise_floor(model, {"eda": (1, SAMPLES)}, batches=(1, 3))
    assert floor.keys() == {"noise.logits", "noise.features", "noise.attention"}
    assert all(1e-9 < value < 1e-5 for value in floor.values())
    assert all(value.dtype == torch.float32 for value in model.state_dict().values())
    assert default_input("EDA", samples=SAMPLES).shape == (1, SAMPLES)
