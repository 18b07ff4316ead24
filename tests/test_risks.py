"""The table of hazards names tests that exist: a control without one is a promise."""

from __future__ import annotations

import re
from pathlib import Path


def named(text: str) -> set[str]:
    """Files and folders of tests in a cell; one without `tests/` lies beside or below the one before it."""
    return set(re.findall(r"`([\w/]*(?:test_\w+\.py|tests/[\w/]*))`", text))


def test_every_hazard_has_a_control_and_a_test_that_exists(repository: Path) -> None:
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in (repository / "docs" / "risks.md").read_text(encoding="utf-8").splitlines()
        if line.startswith("| ") and not line.startswith(("| hazard", "|---"))
    ]
    assert len(rows) > 20
    files = {path.relative_to(repository).as_posix() for path in (repository / "tests").rglob("test_*.py")}
    for hazard, cause, control, tests in rows:
        assert hazard
        assert cause
        assert control, hazard
        assert tests == "same" or tests.startswith("same,") or named(tests), hazard
        for name in named(tests):
            found = (repository / name).is_dir() if name.endswith("/") else any(file.endswith(name) for file in files)
            assert found, f"{hazard}: there is no {name}"


def test_the_hazards_of_the_seed_list_are_there(repository: Path) -> None:
    text = (repository / "docs" / "risks.md").read_text(encoding="utf-8").casefold()
    for word in (
        "pain is missed", "false alarm", "over-treatment", "stale value", "wrong patient", "swapped channels or units",
        "wrong time", "does not reach anyone", "left silenced", "calibration during pain", "model and configuration",
        "confounder",
    ):  # fmt: skip
        assert word in text, word
