"""The audit never passes in silence: holes fail with their names, and where nobody could look it says so.

pip-audit and the network are stood in for by a program that answers as pip-audit does; no test asks the real ones.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="shell scripts")

PROBED = {"name": "django", "version": "2.2", "vulns": [{"id": "PYSEC-2019-1", "fix_versions": ["2.2.2"]}]}
SOUND = {"name": "numpy", "version": "2.0.0", "vulns": []}
HOLED = {"name": "cbor2", "version": "5.5.0", "vulns": [{"id": "CVE-2024-26134", "fix_versions": ["5.6.2"]}]}
UNKNOWN = {"name": "onlyhere", "skip_reason": "Dependency not found on PyPI and could not be audited"}


def executable(path: Path, body: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n", encoding="utf-8")
    path.chmod(0o755)


@pytest.fixture
def audit(repository: Path, tmp_path: Path) -> Path:
    """The script alone, in a folder with a space."""
    path = tmp_path / "with space" / "scripts" / "audit.py"
    path.parent.mkdir(parents=True)
    shutil.copy(repository / "scripts" / "audit.py", path)
    return path


def answering(audit: Path, answers: list[dict[str, Any]] | None, status: int, says: str = "") -> None:
    """Put a program in pip-audit's place that writes this answer, or none, and ends with this status."""
    root = audit.parents[1]
    (root / "answer").write_text(json.dumps({"dependencies": answers, "fixes": []}), encoding="utf-8")
    copy = 'while [ $# -gt 1 ]; do [ "$1" = --output ] && cp "$(dirname "$0")/../../../answer" "$2"; shift; done'
    body = f"{copy if answers is not None else ':'}\necho '{says}' >&2\nexit {status}"
    executable(root / "build" / "audit" / "bin" / "pip-audit", body)


def run(audit: Path, **environment: str) -> tuple[int, list[str]]:
    done = subprocess.run(
        [sys.executable, str(audit)], env={**os.environ, **environment}, capture_output=True, text=True, timeout=120
    )
    assert "Traceback" not in done.stderr
    return done.returncode, done.stdout.splitlines()


@pytest.mark.parametrize(
    ("answers", "ends_with", "status", "outcome"),
    [
        ([PROBED, SOUND], 1, 0, "audit: 1 packages, no known hole"),
        ([PROBED, SOUND, HOLED], 1, 1, "known holes: cbor2 5.5.0 CVE-2024-26134"),
        # A hole is what is said, even where something else could not be looked up.
        ([PROBED, UNKNOWN, HOLED], 1, 1, "known holes: cbor2 5.5.0 CVE-2024-26134"),
        ([PROBED, SOUND, UNKNOWN], 1, 4, "not audited: onlyhere"),
    ],
)
def test_what_was_found(audit: Path, answers: list[dict[str, Any]], ends_with: int, status: int, outcome: str) -> None:
    answering(audit, answers, ends_with)
    found, lines = run(audit)
    assert (found, lines[-1]) == (status, outcome)
    asked = (audit.parents[1] / "build" / "audit" / "installed.txt").read_text(encoding="utf-8").split()
    assert "django==2.2" in asked
    assert any(line.startswith("numpy==") for line in asked)
    assert not any("+" in line for line in asked)


@pytest.mark.parametrize(
    ("answers", "ends_with", "says"),
    [
        # A mirror that knows packages and no advisories: pip-audit itself ends with 0 there.
        ([{**PROBED, "vulns": []}, SOUND], 0, "they know nothing of the holes of django 2.2"),
        ([{"name": "django", "skip_reason": "not found"}, UNKNOWN], 0, "they know nothing of the holes"),
        ([SOUND], 0, "they know nothing of the holes"),
        # It ends with 1 here too, as it does for holes.
        (None, 1, "Could not connect"),
    ],
)
def test_an_index_without_advisories_is_no_pass(
    audit: Path, answers: list[dict[str, Any]] | None, ends_with: int, says: str
) -> None:
    answering(audit, answers, ends_with, says="Could not connect to the vulnerability feed")
    status, lines = run(audit)
    assert status == 4
    assert len(lines) == 1
    assert lines[0].startswith("not audited: the advisories cannot be reached")
    assert says in lines[0]


def test_an_answer_of_the_run_before_does_not_count(audit: Path) -> None:
    answering(audit, [PROBED, SOUND], 1)
    assert run(audit)[0] == 0
    answering(audit, None, 1)
    assert run(audit)[0] == 4


def test_without_pip_audit(audit: Path, tmp_path: Path) -> None:
    status, lines = run(audit, PIP_NO_INDEX="1", PIP_FIND_LINKS=str(tmp_path), PIP_CONFIG_FILE=os.devnull)
    assert status == 4
    assert len(lines) == 1
    assert lines[0].startswith("not audited: pip-audit cannot be installed (")


@pytest.mark.parametrize(
    ("status", "says", "passes"),
    [
        (0, "audit: 87 packages, no known hole", True),
        (4, "not audited: the advisories cannot be reached (no route)", True),
        (1, "known holes: cbor2 5.5.0 CVE-2024-26134", False),
        (2, "", False),
    ],
)
def test_what_ci_makes_of_it(repository: Path, tmp_path: Path, status: int, says: str, passes: bool) -> None:
    """The whole of `.ci/run`, with stand-ins for `make` and for the environment's Python."""
    root, programs = tmp_path / "root", tmp_path / "programs"
    (root / ".ci").mkdir(parents=True)
    shutil.copy(repository / ".ci" / "run", root / ".ci" / "run")
    executable(root / ".venv" / "bin" / "python", f"[ '{says}' = '' ] || echo '{says}'\nexit {status}")
    scores = "; ".join(["echo 'index 40 RESEARCH USE ONLY'"] * 6)
    executable(
        programs / "make",
        f'[ "$1" = test ] && echo "== 3 passed in 1s ==" && exit\n{scores}\n'
        "mkdir -p .venv/bin && printf '#!/bin/sh\\nexit 1\\n' >.venv/bin/python && chmod +x .venv/bin/python",
    )
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@example.org", "-C", str(root)]
    for arguments in (["init", "--quiet"], ["add", ".ci"], ["commit", "--quiet", "-m", "a"]):
        subprocess.run([*git, *arguments], check=True)
    done = subprocess.run(
        [str(root / ".ci" / "run")],
        env={**os.environ, "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    result = done.stdout.partition("=== result ===")[2].splitlines()
    assert (done.returncode == 0) is passes, done.stdout + done.stderr
    assert (says or "not audited: the audit says nothing") in result
    assert ("all good" in result) is passes
    assert any(line.startswith("FAILED: the audit ended with status") and says in line for line in result) is not passes
