from __future__ import annotations

import json
from pathlib import Path

import pytest

from export import folder
from export.folder import write_folder
from monitor.bundle import load_bundle
from monitor.errors import BundleError
from tests.helpers.tiny_bundle import write_tiny_bundle


@pytest.fixture
def parts(tmp_path: Path) -> tuple[dict[str, object], dict[str, bytes]]:
    source = write_tiny_bundle(tmp_path / "source")
    files = {path.name: path.read_bytes() for path in source.iterdir() if path.name != "model.json"}
    return json.loads((source / "model.json").read_text()), files


def contents(path: Path) -> dict[str, bytes]:
    return {file.name: file.read_bytes() for file in path.iterdir()}


def test_the_same_content_gives_the_same_bytes(parts, tmp_path: Path) -> None:
    spec, files = parts
    first = write_folder(spec=spec, files=files, out=tmp_path / "first")
    second = write_folder(spec=spec, files=dict(reversed(files.items())), out=tmp_path / "second")
    assert contents(first.path) == contents(second.path)


def test_an_older_folder_is_replaced_whole(parts, tmp_path: Path) -> None:
    spec, files = parts
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "leftover.onnx").write_bytes(b"old")
    bundle = write_folder(spec=spec, files=files, out=tmp_path / "out")
    assert set(contents(bundle.path)) == {"model.onnx", "explain.onnx", "card.md", "model.json"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_failure_leaves_the_older_folder_alone(parts, tmp_path: Path) -> None:
    spec, files = parts
    bundle = write_folder(spec=spec, files=files, out=tmp_path / "out")
    before = contents(bundle.path)
    with pytest.raises(BundleError, match=r"explain\.onnx"):
        write_folder(spec=spec, files={k: v for k, v in files.items() if k != "explain.onnx"}, out=tmp_path / "out")
    assert contents(load_bundle(tmp_path / "out").path) == before


def test_a_bundle_too_large_to_ship_is_refused(parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    spec, files = parts
    monkeypatch.setattr(folder, "MAX_BYTES", 1000)
    with pytest.raises(ValueError, match="may be shipped"):
        write_folder(spec=spec, files=files, out=tmp_path / "out")
    assert not (tmp_path / "out").exists()
