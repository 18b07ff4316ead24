"""Asks the databases of known holes about every package that is installed beside this interpreter, with pip-audit.

pip-audit by itself passes over what its index does not know, and calls that "no known vulnerabilities found": behind a
mirror that hands out packages but no advisories it would pass everything. So a release that is known to have holes is
asked about too. Where that one is not found out, nobody has looked.

The last line on standard output is the outcome. Exit status: 0 all were looked up and none has a known hole; 1 there
are known holes, which the line names; 4 could not look, or not at everything: "not audited: ...".
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any, Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[1]
FOLDER: Final = ROOT / "build" / "audit"
"""pip-audit has an environment of its own, so that nothing that it needs gets among what it judges."""
PIP_AUDIT: Final = FOLDER / "bin" / "pip-audit"
REQUIREMENT: Final = "pip-audit>=2.7,<3"

PROBE: Final = ("django", "2.2")
"""A release with many known holes that is never installed here, only asked about."""

INSTALL_S: Final = 300.0
AUDIT_S: Final = 600.0

HOLES: Final = 1
NOT_AUDITED: Final = 4


def not_audited(why: str) -> NoReturn:
    """End: there was no looking."""
    print(f"not audited: {why}")
    sys.exit(NOT_AUDITED)


def installed() -> list[str]:
    """`name==version` of every package of this interpreter but the project itself.

    The label of a local build (`+cpu`) is left out: the advisories know the release.
    """
    command = [sys.executable, "-m", "pip", "freeze", "--exclude-editable", "--disable-pip-version-check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        not_audited(f"pip cannot tell what is installed ({_last(done.stderr)})")
    return [line.partition("+")[0] for line in done.stdout.splitlines() if line.strip()]


def install() -> None:
    """Install pip-audit, unless it is there."""
    if PIP_AUDIT.exists():
        return
    quiet = ("--quiet", "--disable-pip-version-check", "--retries", "1")
    steps = (
        [sys.executable, "-m", "venv", "--without-pip", "--clear", str(FOLDER)],
        [sys.executable, "-m", "pip", "--python", str(FOLDER / "bin" / "python"), "install", *quiet, REQUIREMENT],
    )
    for step in steps:
        try:
            done = subprocess.run(step, capture_output=True, text=True, timeout=INSTALL_S, check=False)
        except subprocess.TimeoutExpired:
            not_audited(f"pip-audit was not installed within {INSTALL_S:g} s")
        if done.returncode:
            not_audited(f"pip-audit cannot be installed ({_last(done.stderr)})")


def look_up(packages: list[str]) -> list[dict[str, Any]]:
    """What pip-audit says of each package, as the `dependencies` of its JSON."""
    listed, answer = FOLDER / "installed.txt", FOLDER / "answer.json"
    listed.write_text("\n".join(packages) + "\n", encoding="utf-8")
    answer.unlink(missing_ok=True)
    command = [str(PIP_AUDIT), "--no-deps", "--disable-pip", "--progress-spinner", "off", "-r", str(listed)]
    try:
        done = subprocess.run(
            [*command, "--format", "json", "--output", str(answer)],
            capture_output=True, text=True, timeout=AUDIT_S, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        not_audited(f"the advisories did not answer within {AUDIT_S:g} s")
    except OSError as error:
        not_audited(f"pip-audit does not start ({error})")
    # It ends with 1 for holes and for failures alike; only an answer tells which.
    try:
        found: list[dict[str, Any]] = json.loads(answer.read_text(encoding="utf-8"))["dependencies"]
    except (OSError, ValueError, KeyError, TypeError):
        not_audited(f"the advisories cannot be reached ({_last(done.stderr)})")
    return found


def _last(text: str) -> str:
    """Last line of a program's complaint that says anything."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:200] if lines else "it does not say why"


def main() -> int:
    """Install pip-audit, ask, and say what came of it."""
    packages = installed()
    install()
    answers = {item["name"].lower(): item for item in look_up([*packages, "==".join(PROBE)])}
    probe = answers.pop(PROBE[0], {})
    if not probe.get("vulns"):
        not_audited(f"the advisories cannot be reached (they know nothing of the holes of {' '.join(PROBE)})")
    unknown = sorted(name for name, item in answers.items() if "vulns" not in item)
    holes = []
    for name, item in sorted(answers.items()):
        for hole in item.get("vulns", []):
            fixed = ", ".join(hole.get("fix_versions", [])) or "no version yet"
            holes.append(f"{name} {item['version']} {hole['id']}")
            print(f"{holes[-1]}: fixed in {fixed}")
    if holes:
        print(f"known holes: {', '.join(holes)}")
        return HOLES
    if unknown or not answers:
        not_audited(", ".join(unknown) or "nothing is installed")
    print(f"audit: {len(answers)} packages, no known hole")
    return 0


if __name__ == "__main__":
    sys.exit(main())
