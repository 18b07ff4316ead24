"""The whole environment imports, and the monitor never imports torch. `pip check` sees neither."""

from __future__ import annotations

import importlib
import pkgutil
import re
import subprocess
import sys
import tomllib
from ctypes.util import find_library
from importlib.metadata import distribution
from pathlib import Path
from typing import Any

import pytest

import monitor

IMPORT_NAMES = {
    "PySide6-Essentials": "PySide6",
    "pytest-qt": "pytestqt",
    "pytest-xdist": "xdist",
    "pillow": "PIL",
    "PyWavelets": "pywt",
    "pyzmq": "zmq",
    "scikit-learn": "sklearn",
    "import-linter": "importlinter",
    "pytest-randomly": "pytest_randomly",
    "pytest-timeout": "pytest_timeout",
}


def monitor_modules() -> list[str]:
    found = [info.name for info in pkgutil.walk_packages(monitor.__path__, "monitor.")]
    return sorted(name for name in found if not name.endswith("__main__"))


def requirements(project: dict[str, Any]) -> list[str]:
    extras = project["optional-dependencies"]
    texts = [*project["dependencies"], *(text for extra in extras.values() for text in extra)]
    return sorted({re.split(r"[<>=\[]", text)[0] for text in texts} - {project["name"]})


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=120)


def test_every_requirement_imports(repository: Path) -> None:
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    # In a process of their own: some of them warn while they are imported, and leave threads.
    left_out = {"ruff"}
    if find_library("portaudio") is None:  # the system's; without it the monitor says that it cannot be heard
        left_out.add("sounddevice")
    names = [IMPORT_NAMES.get(name, name.replace("-", "_")) for name in requirements(project) if name not in left_out]
    assert len(names) > 15
    done = run("import importlib, sys\nfor name in sys.argv[1:]: importlib.import_module(name)", *names)
    assert done.returncode == 0, done.stderr


def test_every_module_imports_without_torch() -> None:
    """One process for all: what a module needs is there, and torch is not among it."""
    code = """
import importlib, sys

class NoTorch:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "onnx", "models", "export"):
            raise ImportError(f"{name} was imported")

sys.meta_path.insert(0, NoTorch())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
    names = monitor_modules()
    assert "monitor.config" in names
    done = run(code, *names)
    assert done.returncode == 0, done.stderr


def test_help_needs_none_of_the_heavy_libraries() -> None:
    code = """
import sys
import monitor.cli
heavy = {"numpy", "scipy", "onnxruntime", "pylsl", "matplotlib", "pydantic", "zmq", "wfdb"} & set(sys.modules)
sys.exit(f"{sorted(heavy)}" if heavy else 0)
"""
    done = run(code)
    assert done.returncode == 0, done.stderr


def test_the_runtime_dependencies_hold_no_torch() -> None:
    plain = [text for text in distribution("pain-monitor").requires or [] if "extra ==" not in text]
    assert plain
    assert not [text for text in plain if re.match(r"torch|onnx\b|onnxscript|lightning", text)]


@pytest.mark.parametrize("name", ["models", "export", "benchmarks"])
def test_packages_outside_the_monitor_import(name: str) -> None:
    importlib.import_module(name)
