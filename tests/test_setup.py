"""The set-up says in one line what is missing, with exit code 3, and touches nothing then."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

TOOLS = ("cat", "cksum", "dirname", "id", "rm", "sh")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the set-up is a shell script")


@pytest.fixture
def folder(repository: Path, tmp_path: Path) -> Path:
    """A copy of what the set-up reads, in a folder with a space, and a PATH without apt and sudo."""
    root = tmp_path / "with space"
    (root / "scripts").mkdir(parents=True)
    shutil.copy(repository / "pyproject.toml", root)
    shutil.copy(repository / "scripts" / "setup.sh", root / "scripts")
    (root / "bin").mkdir()
    for tool in TOOLS:
        found = shutil.which(tool)
        assert found is not None
        (root / "bin" / tool).symlink_to(found)
    return root


def set_up(folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {key: os.environ[key] for key in ("HOME", "TMPDIR") if key in os.environ}
    return subprocess.run(
        ["/bin/sh", str(folder / "scripts" / "setup.sh"), "runtime"],
        env={**kept, "PATH": str(folder / "bin"), **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


def python(folder: Path, name: str, body: str) -> None:
    path = folder / "bin" / name
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


def assert_refused(done: subprocess.CompletedProcess[str], folder: Path, says: str) -> None:
    assert done.returncode == 3, done
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert says in done.stderr
    assert not (folder / ".venv").exists()


def test_no_python(folder: Path) -> None:
    assert_refused(set_up(folder), folder, "Python 3.11, 3.12 or 3.13 is needed")


def test_an_unsuitable_python_is_passed_over(folder: Path) -> None:
    python(folder, "python3", "exit 1")
    assert_refused(set_up(folder), folder, "none was found")


def test_a_python_that_was_asked_for_must_suit(folder: Path) -> None:
    assert_refused(set_up(folder, PYTHON="/nowhere/python"), folder, "PYTHON=/nowhere/python")


def test_a_missing_venv_package_is_named(folder: Path) -> None:
    python(folder, "python3", f'case "$2" in *ensurepip*) exit 1 ;; *) exec "{sys.executable}" "$@" ;; esac')
    package = f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    assert_refused(set_up(folder), folder, f"system package {package} is missing")
