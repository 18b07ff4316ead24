"""The import rules cover every module that they are about, and they can fail."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

PURE = [
    *("types", "errors", "clock", "dsp", "timeline", "buffer", "preprocess", "windows", "quality", "alarm", "pipeline"),
    *("bundle", "bundle_folder", "images", "assessment", "beats", "calibration", "modality", "scoring"),
]
PACKAGES = ("monitor", "models", "export", "benchmarks")


@pytest.fixture(scope="module")
def contracts(repository: Path) -> dict[str, dict[str, Any]]:
    content = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))
    return {contract["name"]: contract for contract in content["tool"]["importlinter"]["contracts"]}


def test_every_pure_module_is_named(repository: Path, contracts: dict[str, dict[str, Any]]) -> None:
    named = set(contracts["The flow is pure: no network, screen, model runtime or threads"]["source_modules"])
    existing = {
        f"monitor.{name}"
        for name in PURE
        if any((repository / "monitor" / f"{name}{end}").exists() for end in ("", ".py"))
    }
    assert existing <= named


@pytest.mark.parametrize(
    ("module", "line", "contract"),
    [
        ("monitor/dsp.py", "import threading", "The flow is pure"),
        ("monitor/quality.py", "import monitor.link", "The flow is pure"),
        ("monitor/scoring/index.py", "import queue", "The flow is pure"),
        ("monitor/pipeline.py", "import monitor.scoring.session", "The flow is given its model"),
        ("monitor/clock.py", "import torch", "torch-free"),
        ("monitor/engine/engine.py", "import zmq", "ZeroMQ only"),
        ("monitor/sources/base.py", "import monitor.alarm", "Sources know nothing"),
        ("monitor/cli/live.py", "import pylsl", "pylsl only"),
        ("monitor/outputs/mqtt.py", "import aiomqtt", "MQTT only"),
        ("monitor/dashboard/main.py", "import monitor.engine.engine", "A dashboard knows"),
        ("models/base.py", "import monitor.types", "Architectures know neither"),
        ("models/data/anything.py", "import export", "never the engine"),
        ("models/data/anything.py", "import monitor.engine.engine", "never the engine"),
    ],
)
def test_a_forbidden_import_is_found(repository: Path, tmp_path: Path, module: str, line: str, contract: str) -> None:
    for package in PACKAGES:
        ignored = shutil.ignore_patterns("bundles", "__pycache__")
        shutil.copytree(repository / package, tmp_path / package, ignore=ignored)
    shutil.copy(repository / "pyproject.toml", tmp_path)
    guilty = tmp_path / module
    guilty.parent.mkdir(exist_ok=True)
    (guilty.parent / "__init__.py").touch()
    with guilty.open("a", encoding="utf-8") as file:
        file.write(f"\n{line}\n")
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command as main; main()", "--no-cache"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0, done.stdout
    assert contract in done.stdout.partition("Broken contracts")[2], done.stdout
