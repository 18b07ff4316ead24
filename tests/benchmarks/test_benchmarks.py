"""Each benchmark runs once, as a user would run it, and finds sane figures; no test asks how fast it was."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.report import Figure, ratio_of
from benchmarks.side_by_side import take_turns
from monitor.bundle_folder import shipped_bundles

# Each starts a process with heavy libraries, on cores that others use as well.
pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keeps the exported model from one benchmark to the next, and out of the user's own cache."""
    return tmp_path_factory.mktemp("cache")


def run(repository: Path, cache: Path, name: str) -> dict[str, Any]:
    """The result of one benchmark in quick mode, its figures by name."""
    command = [sys.executable, "-m", "benchmarks", name, "--quick", "--json"]
    environment = os.environ | {"XDG_CACHE_HOME": str(cache)}
    done = subprocess.run(command, cwd=repository, env=environment, capture_output=True, text=True, timeout=500)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said["quick"] is True
    assert said["machine"]["cores"] >= 1
    (result,) = said["benchmarks"]
    assert result["name"] == name
    figures = {
        f"{figure['of']}: {figure['name']}" if figure["of"] else figure["name"]: figure for figure in result["figures"]
    }
    assert len(figures) == len(result["figures"]), "two figures share a name"
    for figure in figures.values():
        assert np.isfinite(figure["value"]), figure
        assert figure["value"] > 0, figure
        assert figure["low"] is None or figure["low"] <= figure["value"] <= figure["high"], figure
        assert (figure["met"] is None) == (figure["aim"] is None)
    return {"figures": figures, "skipped": result["skipped"]}


def shipped() -> list[str]:
    return [f"shipped {name}" for name in shipped_bundles()]


def test_preprocessing(repository: Path, cache: Path) -> None:
    pytest.importorskip("neurokit2", exc_type=ImportError)
    found = run(repository, cache, "preprocessing")
    assert found["skipped"] == []
    figures = found["figures"]
    assert figures["neurokit2 / monitor"]["aim"] == 20.0
    assert figures["scipy on 10 s / monitor, both with buffer"]["aim"] == 2.0
    path = figures["one hop: buffer + filter + resample + scale + window"]["value"]
    assert path < figures["one hop: whole pipeline"]["value"] * 5  # one is part of the other; the factor is for noise


def test_images(repository: Path, cache: Path) -> None:
    found = run(repository, cache, "images")
    assert found["skipped"] == []
    figures = found["figures"]
    for window in ("1000 points at 100 Hz", "2816 points at 512 Hz"):
        together = figures[f"all six images, {window}"]
        assert together["aim"] == 15.0
        assert together["sense"] == "at most"
        assert f"PyWavelets by fft / monitor, {window}" in figures
        assert f"matplotlib / monitor, {window}" in figures


def test_inference(repository: Path, cache: Path) -> None:
    pytest.importorskip("torch")
    figures = run(repository, cache, "inference")["figures"]
    for name in ("crossmod-transformer", "mscn-se"):
        assert figures[f"{name}: torch / ONNX Runtime"]["aim"] == 1.5
    shares = {name: figure["value"] for name, figure in figures.items() if name.endswith(": of sgemm")}
    assert shares.keys() == {f"{name}: of sgemm" for name in ("crossmod-transformer", "mscn-se", *shipped())}
    for name, share in shares.items():
        assert 0.1 < share < 150.0, f"{name}: no model outruns the matrix product by half; operations are miscounted"


@pytest.mark.live
def test_latency(repository: Path, cache: Path) -> None:
    found = run(repository, cache, "latency")
    if found["skipped"]:
        pytest.skip(" ".join(found["skipped"]))
    figures = found["figures"]
    p50, p95, p99 = (figures[f"push to score, p{percent}"]["value"] for percent in (50, 95, 99))
    assert 0 < p50 <= p95 <= p99
    # The score follows its push, not the push after it: else the two processes' clocks were matched wrongly.
    assert p50 < 1000.0
    assert 20.0 < figures["engine, peak memory"]["value"] < 4000.0
    assert figures["engine, CPU"]["value"] < 8.0


@pytest.mark.live
def test_screen(repository: Path, cache: Path) -> None:
    found = run(repository, cache, "screen")
    assert found["skipped"] == []
    for size in ("1280x800", "1920x1080"):
        pictures, cores = (found["figures"][f"{size}: {what}"] for what in ("pictures", "dashboard, CPU"))
        assert (pictures["aim"], cores["aim"]) == (30.0, 0.5)
        assert pictures["value"] < 60.0, "more paintings than its timer ticks: what was counted are no pictures"
        assert cores["value"] < 8.0


def test_contenders_take_turns() -> None:
    order: list[tuple[str, int]] = []

    def noting(name: str) -> Any:
        return lambda number: order.append((name, number))

    steps = [{"a": noting("a"), "b": noting("b")}, {"c": noting("c")}]
    taken = take_turns(steps, rounds=2, warm_up=1, label="test")
    assert order == [(name, number) for number, names in enumerate(("abc", "cab", "abc")) for name in names]
    assert {name: len(seconds) for name, seconds in taken.items()} == {"a": 2, "b": 2, "c": 2}


def test_a_ratio_is_taken_round_by_round() -> None:
    slow_machine = np.array([1.0, 1.0, 100.0, 1.0, 50.0])
    figure = ratio_of("a / b", 3.0 * slow_machine, slow_machine, aim=2.0)
    assert (figure.low, figure.value, figure.high) == (3.0, 3.0, 3.0)
    assert figure.met is True


def test_an_aim_has_a_side() -> None:
    figure = Figure(name="latency", value=99.0, unit="ms", aim=100.0, sense="at most")
    assert figure.met is True
    assert Figure(name="ratio", value=99.0, unit="x", aim=100.0).met is False
    assert Figure(name="plain", value=99.0, unit="ms").met is None
