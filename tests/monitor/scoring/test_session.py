from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from export.folder import write_folder
from monitor.bundle_folder import Bundle, load_bundle
from monitor.errors import BundleError
from monitor.scoring.session import OnnxRunner, open_session
from tests.helpers.tiny_bundle import write_tiny_bundle


@pytest.fixture
def bundle(tmp_path: Path) -> Bundle:
    return load_bundle(write_tiny_bundle(tmp_path))


def window(seed: int = 1, *names: str) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal((1, 138)).astype(np.float32) for name in names or ("eda", "ecg")}


def rewritten(bundle: Bundle, out: Path, *, graph: str = "model.onnx", edit: Any = None, **spec: Any) -> Bundle:
    """The same bundle with a graph or with keys of model.json changed, and hashes that agree."""
    content = json.loads((bundle.path / "model.json").read_text()) | spec
    files = {path.name: path.read_bytes() for path in bundle.path.iterdir() if path.name != "model.json"}
    if edit is not None:
        model = onnx.load_model_from_string(files[graph])
        edit(model.graph)
        files[graph] = model.SerializeToString()
    return write_folder(spec=content, files=files, out=out / "rewritten")


def test_a_score_is_that_of_the_graph_written_out(bundle: Bundle) -> None:
    inputs = window()
    tensors = {t.name: onnx.numpy_helper.to_array(t) for t in onnx.load(bundle.model_onnx).graph.initializer}
    features = np.concatenate(
        [np.tanh(inputs[m] @ tensors[f"{m}.weight"] + tensors[f"{m}.bias"]) for m in ("eda", "ecg")], axis=1
    )
    raw = OnnxRunner([bundle]).score("tiny-eda-ecg", inputs)
    assert raw.logits.shape == (3,)
    assert raw.logits.dtype == raw.features.dtype == np.float32
    np.testing.assert_allclose(raw.features, features[0], rtol=1e-5)
    np.testing.assert_allclose(raw.logits, (features @ tensors["head.weight"] + tensors["head.bias"])[0], rtol=1e-4)


def test_scores_are_the_same_bit_for_bit_whatever_was_scored_in_between(bundle: Bundle) -> None:
    runner = OnnxRunner([bundle])
    first = runner.score("tiny-eda-ecg", window(1))
    runner.score("tiny-eda-ecg", window(2))
    runner.explain("tiny-eda-ecg", window(1))
    for again in (runner.score("tiny-eda-ecg", window(1)), OnnxRunner([bundle]).score("tiny-eda-ecg", window(1))):
        assert first.logits.tobytes() == again.logits.tobytes()
        assert first.features.tobytes() == again.features.tobytes()
    assert first.logits.tobytes() != runner.score("tiny-eda-ecg", window(2)).logits.tobytes()


def test_maps_have_the_names_and_shapes_of_model_json(bundle: Bundle) -> None:
    inputs = window()
    maps = OnnxRunner([bundle]).explain("tiny-eda-ecg", inputs)
    assert {name: values.shape for name, values in maps.items()} == {
        item.name: item.shape for item in bundle.spec.attention
    }
    for values in maps.values():
        np.testing.assert_allclose(values.sum(axis=-1), 1.0, rtol=1e-5)
    # Rows are queries: the strongest EDA sample must weigh ECG keys in the order of the ECG itself.
    row = maps["cross.eda_from_ecg"][np.argmax(inputs["eda"][0])]
    np.testing.assert_array_equal(np.argsort(row), np.argsort(inputs["ecg"][0]))


def test_several_bundles_are_kept_apart(tmp_path: Path, bundle: Bundle) -> None:
    other = load_bundle(write_tiny_bundle(tmp_path, name="tiny-eda-bvp", modalities=("EDA", "BVP"), classes=2))
    runner = OnnxRunner([bundle, other])
    assert runner.score("tiny-eda-ecg", window()).logits.shape == (3,)
    assert runner.score("tiny-eda-bvp", window(1, "eda", "bvp")).logits.shape == (2,)
    assert runner.providers == dict.fromkeys(("tiny-eda-ecg", "tiny-eda-bvp"), "CPUExecutionProvider")
    with pytest.raises(BundleError, match="share a name"):
        OnnxRunner([bundle, bundle])


def test_the_explain_graph_is_opened_at_the_first_look(bundle: Bundle) -> None:
    runner = OnnxRunner([bundle])
    for path in (bundle.explain_onnx, bundle.model_onnx):
        assert path is not None
        path.unlink()
    runner.score("tiny-eda-ecg", window())
    with pytest.raises(BundleError, match=r"explain\.onnx"):
        runner.explain("tiny-eda-ecg", window())


def test_a_bundle_without_maps_explains_nothing(tmp_path: Path, bundle: Bundle) -> None:
    plain = rewritten(bundle, tmp_path, attention=[])
    assert OnnxRunner([plain]).explain("tiny-eda-ecg", window()) == {}


def rename(old: str, new: str) -> Any:
    def edit(graph: onnx.GraphProto) -> None:
        for item in (*graph.input, *graph.output):
            item.name = new if item.name == old else item.name
        for node in graph.node:
            node.input[:] = [new if name == old else name for name in node.input]
            node.output[:] = [new if name == old else name for name in node.output]

    return edit


def set_size(name: str, axis: int, size: int) -> Any:
    def edit(graph: onnx.GraphProto) -> None:
        for item in graph.input:
            if item.name == name:
                item.type.tensor_type.shape.dim[axis].dim_value = size

    return edit


@pytest.mark.parametrize(
    ("graph", "edit", "message"),
    [
        ("model.onnx", rename("eda", "gsr"), "there is an input gsr .*; there is no input eda"),
        ("model.onnx", rename("logits", "scores"), "there is no output logits"),
        ("model.onnx", set_size("ecg", 0, 4), "input ecg has a fixed batch of 4"),
        ("explain.onnx", rename("temporal.eda", "alpha"), r"there is no output temporal\.eda"),
        ("explain.onnx", rename("ecg", "ekg"), "there is no input ecg"),
    ],
)
def test_a_graph_that_does_not_match_is_refused_with_what_differs(
    bundle: Bundle, tmp_path: Path, graph: str, edit: Any, message: str
) -> None:
    changed = rewritten(bundle, tmp_path, graph=graph, edit=edit)
    with pytest.raises(BundleError, match=message) as caught:
        OnnxRunner([changed])
    assert caught.value.where.endswith(graph)


def test_classes_samples_and_maps_are_compared_with_model_json(bundle: Bundle, tmp_path: Path) -> None:
    content = json.loads((bundle.path / "model.json").read_text())
    two = {"classes": content["classes"][:2], "calibration": {"prior": [0.5, 0.5]}}
    longer = [item | {"samples": 139} for item in content["inputs"]]
    narrower = [item | {"shape": [138, 64]} for item in content["attention"]]
    for changes, message in (
        (two, "logits have shape"),
        ({"inputs": longer}, r"not \(batch, 1, 139\)"),
        ({"attention": narrower}, r"instead of \(138, 64\)"),
    ):
        with pytest.raises(BundleError, match=message):
            OnnxRunner([rewritten(bundle, tmp_path, **changes)])


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a graph")
    with pytest.raises(BundleError, match="cannot open the graph"):
        open_session(tmp_path / "model.onnx")


def test_one_thread_and_nothing_spinning(bundle: Bundle) -> None:
    options = open_session(bundle.model_onnx).get_session_options()
    assert options.intra_op_num_threads == options.inter_op_num_threads == 1
    assert options.execution_mode == ort.ExecutionMode.ORT_SEQUENTIAL
    assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this machine can offer CUDA")
def test_cuda_is_refused_where_it_cannot_be_had_and_auto_says_what_it_took(
    bundle: Bundle, caplog: pytest.LogCaptureFixture
) -> None:
    with pytest.raises(BundleError, match="device is cuda") as caught:
        OnnxRunner([bundle], device="cuda")
    assert "onnxruntime-gpu" in caught.value.todo
    with caplog.at_level(logging.INFO, logger="monitor.scoring.session"):
        OnnxRunner([bundle], device="auto")
    assert "runs on CPUExecutionProvider" in caplog.text


def test_a_provider_that_is_listed_but_does_not_start_is_noticed(
    bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    """ONNX Runtime then drops it without an error and runs on the CPU."""
    monkeypatch.setattr(ort, "get_available_providers", lambda: ["CUDAExecutionProvider", "CPUExecutionProvider"])
    with pytest.warns(UserWarning, match="CUDAExecutionProvider"), pytest.raises(BundleError, match="was given"):
        OnnxRunner([bundle], device="cuda")
