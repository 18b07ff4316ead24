from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper, numpy_helper

from export.folder import write_folder
from monitor.bundle_folder import load_bundle
from monitor.errors import BundleError
from monitor.scoring.graph_file import external_locations
from monitor.scoring.session import OnnxRunner, open_session
from tests.helpers.tiny_bundle import write_tiny_bundle


def external(location: str, name: str = "w") -> onnx.TensorProto:
    tensor = numpy_helper.from_array(np.zeros((2, 2), dtype=np.float32), name)
    onnx.external_data_helper.set_external_data(tensor, location, offset=0, length=16)
    tensor.ClearField("raw_data")
    return tensor


def empty_graph(name: str = "g") -> onnx.GraphProto:
    return helper.make_graph([], name, [], [])


def whole(graph: onnx.GraphProto) -> onnx.ModelProto:
    return helper.make_model(graph)


def in_initializer(location: str) -> onnx.ModelProto:
    return whole(helper.make_graph([], "g", [], [], initializer=[external(location)]))


def in_constant(location: str) -> onnx.ModelProto:
    return whole(helper.make_graph([helper.make_node("Constant", [], ["c"], value=external(location))], "g", [], []))


def in_subgraph(location: str) -> onnx.ModelProto:
    branch = helper.make_graph([], "branch", [], [], initializer=[external(location)])
    node = helper.make_node("If", ["c"], ["y"], then_branch=branch, else_branch=empty_graph())
    return whole(helper.make_graph([node], "g", [], []))


def in_sparse(location: str) -> onnx.ModelProto:
    graph = empty_graph()
    graph.sparse_initializer.append(onnx.SparseTensorProto(values=external(location), dims=[4]))
    return whole(graph)


def in_function(location: str) -> onnx.ModelProto:
    node = helper.make_node("Constant", [], ["c"], value=external(location))
    function = helper.make_function("d", "f", [], ["c"], [node], [helper.make_opsetid("", 20)])
    return helper.make_model(empty_graph(), functions=[function])


def in_training(location: str) -> onnx.ModelProto:
    model = whole(empty_graph())
    model.training_info.add().algorithm.CopyFrom(in_initializer(location).graph)
    return model


PLACES = [in_initializer, in_constant, in_subgraph, in_sparse, in_function, in_training]


@pytest.mark.parametrize("place", PLACES)
def test_a_location_is_found_wherever_a_tensor_can_be(place) -> None:
    assert external_locations(place("../../etc/passwd").SerializeToString()) == {"../../etc/passwd"}
    assert external_locations(place("weights.bin").SerializeToString()) == {"weights.bin"}


def test_every_tensor_of_the_format_is_within_reach() -> None:
    """The walk knows all fields that lead to a TensorProto; a new version of the format may add one."""
    names = {"ModelProto", "GraphProto", "NodeProto", "AttributeProto", "FunctionProto", "TrainingInfoProto"}
    fields = {
        (kind, field.name)
        for kind in [*names, "SparseTensorProto", "TensorProto"]
        for field in getattr(onnx, kind).DESCRIPTOR.fields
        if field.message_type is not None
        and field.message_type.name in names | {"SparseTensorProto", "TensorProto", "StringStringEntryProto"}
        and field.name != "metadata_props"
        and not field.name.endswith("_binding")
    }
    from monitor.scoring.graph_file import _PARTS

    assert len(fields) == sum(map(len, _PARTS.values()))


def test_a_graph_that_holds_its_weights_names_no_file(tmp_path: Path) -> None:
    assert external_locations((write_tiny_bundle(tmp_path) / "model.onnx").read_bytes()) == frozenset()


def test_any_cut_of_a_graph_is_refused_or_names_no_more_files() -> None:
    data = in_subgraph("weights.bin").SerializeToString()
    refused = 0
    for end in range(len(data)):
        try:
            assert external_locations(data[:end]) <= {"weights.bin"}
        except ValueError:
            refused += 1
    assert refused > len(data) // 2
    for damaged in (b"\xff" * 20, b"\x3a\x7f", b"\x0b", b"\x09\x00"):
        with pytest.raises(ValueError, match="it "):
            external_locations(damaged)


# ---- in a bundle


def moved_out(folder: Path, out: Path, *, location: str = "weights.bin", listed: bool = True) -> Path:
    """The tiny bundle with its weights in a file of their own, to which both graphs refer."""
    content = json.loads((folder / "model.json").read_text())
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.name != "model.json"}
    pool = b""
    for name in ("model.onnx", "explain.onnx"):
        model = onnx.load_model_from_string(files[name])
        for tensor in model.graph.initializer:
            data = numpy_helper.to_array(tensor)
            if data.dtype != np.float32:  # axes and shapes, which ONNX Runtime wants in the graph
                continue
            tensor.CopyFrom(numpy_helper.from_array(data, tensor.name))
            onnx.external_data_helper.set_external_data(tensor, location, offset=len(pool), length=data.nbytes)
            tensor.ClearField("raw_data")
            pool += data.tobytes()
        files[name] = model.SerializeToString()
    if listed:
        files["weights.bin"] = pool
    write_folder(spec=content, files=files, out=out)
    if not listed:
        (out / "weights.bin").write_bytes(pool)
    return out


def test_weights_beside_the_graph_give_the_same_score_bit_for_bit(tmp_path: Path) -> None:
    inside = write_tiny_bundle(tmp_path / "inside")
    beside = moved_out(inside, tmp_path / "beside")
    rng = np.random.default_rng(3)
    window = {name: rng.standard_normal((1, 138)).astype(np.float32) for name in ("eda", "ecg")}
    one, other = (OnnxRunner([load_bundle(path)]) for path in (inside, beside))
    assert one.score("tiny-eda-ecg", window).logits.tobytes() == other.score("tiny-eda-ecg", window).logits.tobytes()
    for name, values in one.explain("tiny-eda-ecg", window).items():
        assert values.tobytes() == other.explain("tiny-eda-ecg", window)[name].tobytes()


def test_damaged_or_missing_weights_are_refused_by_name(tmp_path: Path) -> None:
    folder = moved_out(write_tiny_bundle(tmp_path / "inside"), tmp_path / "beside")
    data = (folder / "weights.bin").read_bytes()
    (folder / "weights.bin").write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(BundleError, match=r"weights\.bin was edited or damaged"):
        load_bundle(folder)
    (folder / "weights.bin").unlink()
    with pytest.raises(BundleError, match=r"weights\.bin is missing"):
        load_bundle(folder)


def test_weights_whose_hash_is_not_stated_are_refused(tmp_path: Path) -> None:
    folder = moved_out(write_tiny_bundle(tmp_path / "inside"), tmp_path / "beside", listed=False)
    with pytest.raises(BundleError, match=r"weights\.bin is read, but sha256 does not list it"):
        OnnxRunner([load_bundle(folder)])


@pytest.mark.parametrize("location", ["../secret.bin", "/etc/hostname", "other.bin", "./weights.bin", "card.md"])
def test_a_graph_that_reads_another_file_is_refused(tmp_path: Path, location: str) -> None:
    folder = moved_out(write_tiny_bundle(tmp_path / "inside"), tmp_path / "beside", location=location)
    with pytest.raises(BundleError, match=r"only weights\.bin in its folder is allowed"):
        OnnxRunner([load_bundle(folder)])


def test_too_few_weights_are_refused(tmp_path: Path) -> None:
    folder = moved_out(write_tiny_bundle(tmp_path / "inside"), tmp_path / "beside")
    (folder / "weights.bin").write_bytes((folder / "weights.bin").read_bytes()[:40])
    with pytest.raises(BundleError, match="cannot open the graph"):
        open_session(folder / "model.onnx")


def test_bytes_must_hold_their_own_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = moved_out(write_tiny_bundle(tmp_path / "inside"), tmp_path / "beside")
    monkeypatch.chdir(folder)
    with pytest.raises(BundleError, match="reads weights from"):
        open_session((folder / "model.onnx").read_bytes())
