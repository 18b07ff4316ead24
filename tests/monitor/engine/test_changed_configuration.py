"""A configuration that changes while it is in force: an engine that failed comes back as it was."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.engine import supervisor
from monitor.engine.engine import EXIT_CRASHED
from monitor.engine.supervisor import CONFIGURATION, Supervisor, run_daemon
from monitor.errors import ConfigError

# Each run of the child writes down what it was told, and ends with the next code.
CHILD = """
import os, sys
log, *codes = sys.argv[1:]
said = open(log).read().splitlines() if os.path.exists(log) else []
open(log, "a").write(os.environ["PAIN_MONITOR_CONFIGURATION"] + "\\n")
sys.exit(int(codes[len(said)]))
"""


def child(log: Path, *codes: int) -> list[str]:
    return [sys.executable, "-S", "-c", CHILD, str(log), *map(str, codes)]


def test_an_engine_that_ran_and_cannot_start_again_is_tried_until_it_can(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(supervisor, "_HEALTHY_S", -1.0)
    monkeypatch.setattr(supervisor, "_BACKOFF_S", (0.0, 0.05))
    log = tmp_path / "log"
    command = child(log, EXIT_CRASHED, 3, 6, 3, 0)
    # More often than it may crash: somebody is at a file that it needs.
    assert Supervisor(command=command, restart_limit=1, environment={CONFIGURATION: "as at first"}).run() == 0
    assert log.read_text() == "as at first\n" * 5
    assert caplog.text.count("cannot start again") == 3


def test_what_is_wrong_from_the_beginning_is_not_repeated(tmp_path: Path) -> None:
    log = tmp_path / "log"
    assert Supervisor(command=child(log, 3, 0), restart_limit=5, environment={CONFIGURATION: "wrong"}).run() == 3
    assert log.read_text() == "wrong\n"


def test_the_engine_takes_what_it_is_handed_and_not_what_stands_there_now(tmp_path: Path, repository: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text("half edi")
    done = subprocess.run(
        [sys.executable, "-m", "monitor.engine.daemon", str(config)],
        env={**os.environ, CONFIGURATION: "[[bed]]\nhop_s = 0.3\n"}, cwd=repository, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 3
    assert f"{config}: 1 problem" in done.stderr, "under the name that the user knows"
    assert "bed[0].hop_s" in done.stderr


def test_a_supervisor_reads_the_file_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = tmp_path / "config.toml"
    config.write_bytes(b"\xef\xbb\xbf# the first one\n")
    given: list[str] = []

    class Looking(Supervisor):
        def run(self) -> int:
            given.append(self._environment[CONFIGURATION])
            return 0

    monkeypatch.setattr(supervisor, "Supervisor", Looking)
    assert run_daemon(config) == 0
    assert given == ["# the first one\n"]
    config.write_text("# " + "x" * 200_000)
    with pytest.raises(KeyError):  # too long for some systems: the engine reads the file by itself
        run_daemon(config)
    with pytest.raises(ConfigError):
        run_daemon(tmp_path / "none.toml")
