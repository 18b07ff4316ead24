from __future__ import annotations

import json
from pathlib import Path

import pytest

from export import folder
from export.folder import write_folder
from monitor.bundle_folder import SHIPPED_DIR, load_bundle, shipped_bundles
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


def test_a_bundle_too_large_to_ship_is_written_with_a_warning(
    parts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    spec, files = parts
    write_folder(spec=spec, files=files, out=tmp_path / "small")
    assert caplog.text == ""
    monkeypatch.setattr(folder, "SHIPPED_BYTES", 1000)
    bundle = write_folder(spec=spec, files=files, out=tmp_path / "out")
    assert bundle.path.is_dir()
    assert "one that is shipped may take" in caplog.text


def test_what_is_shipped_fits_into_the_repository() -> None:
    sizes = {
        name: sum(file.stat().st_size for file in (SHIPPED_DIR / name).iterdir() if file.is_file())
        for name in shipped_bundles()
    }
    assert sizes
    assert {name: size for name, size in sizes.items() if size > 40_000_000} == {}
    assert sum(sizes.values()) <= 90_000_000
