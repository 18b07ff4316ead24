from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor import bundle_folder
from monitor.bundle import BundleSpec, default_input
from monitor.bundle_folder import canonical_sha256, load_bundle, shipped_bundles
from monitor.errors import BundleError
from tests.helpers.tiny_bundle import write_tiny_bundle


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_tiny_bundle(tmp_path)


def edit(folder: Path, *, seal: bool = True, **changes: Any) -> None:
    """Change keys of model.json, with a hash that agrees unless told otherwise."""
    path = folder / "model.json"
    content = json.loads(path.read_text()) | changes
    if seal:
        content["sha256"]["model.json"] = canonical_sha256(content)
    path.write_text(json.dumps(content))


def test_a_bundle_is_read_as_it_was_written(folder: Path) -> None:
    bundle = load_bundle(folder)
    assert bundle.path == folder
    assert bundle.spec.name == "tiny-eda-ecg"
    assert [item.modality for item in bundle.spec.inputs] == ["EDA", "ECG"]
    assert bundle.model_onnx.is_file()
    assert bundle.explain_onnx is not None
    assert bundle.explain_onnx.is_file()


def test_layout_of_model_json_does_not_matter_and_content_does(folder: Path) -> None:
    path = folder / "model.json"
    content = json.loads(path.read_text())
    path.write_text(json.dumps(dict(reversed(content.items())), indent=7))
    assert load_bundle(folder).spec == BundleSpec.model_validate(content)
    edit(folder, seal=False, hop_seconds=2.0)
    with pytest.raises(BundleError, match=r"model\.json was edited"):
        load_bundle(folder)


@pytest.mark.parametrize("name", ["model.onnx", "explain.onnx", "card.md"])
def test_a_single_changed_byte_is_found(folder: Path, name: str) -> None:
    data = bytearray((folder / name).read_bytes())
    data[len(data) // 2] ^= 1
    (folder / name).write_bytes(data)
    with pytest.raises(BundleError, match=f"{name} was edited or damaged") as caught:
        load_bundle(folder)
    assert caught.value.where == str(folder)
    assert "python -m export" in caught.value.todo


@pytest.mark.parametrize("name", ["model.onnx", "explain.onnx", "card.md", "model.json"])
def test_a_missing_file_is_named(folder: Path, name: str) -> None:
    (folder / name).unlink()
    with pytest.raises(BundleError, match=name):
        load_bundle(folder)


def test_a_missing_folder_names_what_is_shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_tiny_bundle(tmp_path / "shipped", name="one")
    monkeypatch.setattr(bundle_folder, "SHIPPED_DIR", tmp_path / "shipped")
    assert shipped_bundles() == ("one",)
    assert load_bundle("one").spec.name == "one"
    with pytest.raises(BundleError, match=r"no-such: there is no such model bundle.*\(one\)"):
        load_bundle("no-such")


@pytest.mark.parametrize("text", ["", "{", "[]", '{"hop_seconds": NaN}', "\xff"])
def test_what_is_not_json_is_refused(folder: Path, text: str) -> None:
    (folder / "model.json").write_bytes(text.encode("latin-1"))
    with pytest.raises(BundleError, match="JSON"):
        load_bundle(folder)


def test_every_problem_is_named_with_its_key(folder: Path) -> None:
    content = json.loads((folder / "model.json").read_text())
    content["inputs"][1]["filter"]["order"] = 99
    content["classes"][0]["level"] = -1
    content["colour"] = "red"
    del content["version"]
    edit(folder, **content)
    (folder / "model.json").write_text(json.dumps(content))
    with pytest.raises(BundleError) as caught:
        load_bundle(folder)
    message = str(caught.value)
    assert "4 problems" in message
    for key in ("inputs[1].filter.order: ", "classes[0].level: ", "colour: ", "version: "):
        assert key in message
    assert caught.value.exit_code == 6


def test_what_contradicts_itself_is_refused(folder: Path) -> None:
    content = json.loads((folder / "model.json").read_text())
    for changes, message in (
        ({"calibration": {"prior": [0.5, 0.5]}}, "2 entries for 3 classes"),
        ({"inputs": [content["inputs"][0]] * 2}, "share a name"),
        ({"attention": [content["attention"][0]] * 2}, "share a name"),
    ):
        edit(folder, **(content | changes))
        with pytest.raises(BundleError, match=message):
            load_bundle(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/hostname"])
def test_hashes_reach_no_file_outside_the_folder(folder: Path, name: str) -> None:
    content = json.loads((folder / "model.json").read_text())
    edit(folder, sha256=content["sha256"] | {name: "0" * 64})
    with pytest.raises(BundleError, match="outside the folder"):
        load_bundle(folder)


def test_every_needed_file_must_have_a_hash(folder: Path) -> None:
    content = json.loads((folder / "model.json").read_text())
    del content["sha256"]["explain.onnx"]
    edit(folder, sha256=content["sha256"])
    with pytest.raises(BundleError, match=r"sha256 does not list explain\.onnx"):
        load_bundle(folder)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda children: st.lists(children, max_size=3) | st.dictionaries(st.text(), children, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.text(), json_values, max_size=5))
def test_canonical_hash_survives_a_round_trip_through_json(content: dict[str, Any]) -> None:
    again = json.loads(json.dumps(dict(reversed(content.items())), indent=2))
    assert canonical_sha256(content) == canonical_sha256(again)
    assert canonical_sha256(content | {"sha256": {"a": "b"}}) == canonical_sha256(content | {"sha256": {}})


def test_default_inputs_are_those_of_the_preprocessing_table() -> None:
    eda, ecg, bvp = default_input("EDA"), default_input("ECG"), default_input("BVP")
    assert (eda.filter.low_hz, eda.filter.high_hz, eda.min_rate_hz) == (None, 1.5, 4.0)
    assert (eda.scale.center, eda.scale.spread, eda.scale.floor, eda.scale.clip) == (
        "window_first",
        "baseline",
        0.05,
        20.0,
    )
    assert (ecg.filter.low_hz, ecg.filter.high_hz, ecg.min_rate_hz) == (0.5, 40.0, 100.0)
    assert (ecg.scale.center, ecg.scale.floor) == ("window_median", 0.02)
    assert (bvp.filter.low_hz, bvp.filter.high_hz, bvp.min_rate_hz) == (0.5, 8.0, 25.0)
    assert bvp.scale.floor_relative
    assert default_input("RESP").filter.warmup_s == 60.0
    assert default_input("EMG", rate_hz=512.0, samples=2816).min_rate_hz == 450.0
    assert default_input("ECG", rate_hz=512.0, samples=2816).min_rate_hz == 250.0
    assert default_input("SPO2").filter.kind == "none"
    # The window of the papers: 138 points at 25 Hz, 2816 at 512 Hz.
    assert 138 / eda.rate_hz == pytest.approx(5.5, abs=0.03)


def test_arbitrary_units_have_no_population_to_fall_back_on() -> None:
    fallback = {"center": 0.0, "spread": 1.0}
    assert default_input("EDA", fallback=fallback).scale.fallback == fallback
    assert default_input("EDA").scale.fallback is None
    for modality in ("BVP", "RESP"):
        with pytest.raises(ValueError, match="arbitrary units"):
            default_input(modality, fallback=fallback)
    with pytest.raises(ValueError, match="no default input"):
        default_input("ACC")


@pytest.mark.parametrize("name", shipped_bundles())
def test_shipped_bundles_are_whole_and_small(name: str) -> None:
    bundle = load_bundle(name)
    assert bundle.spec.name == name
    assert sum(path.stat().st_size for path in bundle.path.iterdir()) <= 40_000_000
    card = (bundle.path / bundle.spec.card).read_text(encoding="utf-8").lower()
    assert ("simulated" if "simulated" in bundle.spec.origin else "untrained: every weight is random") in card
