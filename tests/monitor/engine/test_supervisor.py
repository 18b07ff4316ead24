"""The supervisor and its child, as processes: restarts, ends in order, and no child without a parent."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from monitor.engine.engine import EXIT_CRASHED
from monitor.engine.supervisor import Supervisor
from monitor.engine.watchdog import EXIT_STUCK
from monitor.errors import EngineError, SessionError
from monitor.locks import holder
from monitor.sessions.reader import SessionReader
from monitor.sessions.store import list_sessions
from tests.helpers.scripted import wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

ENGINE = [sys.executable, "-m", "tests.helpers.engine_process"]
SUPERVISE = "import sys; from monitor.engine.supervisor import Supervisor; "
SUPERVISE += "sys.exit(Supervisor(command=sys.argv[1:], restart_limit=3).run())"


@pytest.fixture
def processes(repository: Path) -> Iterator[list[subprocess.Popen[str]]]:
    started: list[subprocess.Popen[str]] = []
    yield started
    for process in started:
        family = []
        if process.poll() is None:
            family = psutil.Process(process.pid).children(recursive=True)
            process.kill()
        process.communicate()
        for child in family:
            child.wait(timeout=60)  # it must end by itself once its parent is gone


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles"))


def start(processes: list[subprocess.Popen[str]], repository: Path, *command: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        list(command), cwd=repository, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    processes.append(process)
    return process


def supervised(
    processes: list[subprocess.Popen[str]], repository: Path, state: Path, bundle: Path
) -> subprocess.Popen[str]:
    child = [*ENGINE, str(state), str(bundle), "--supervised"]
    return start(processes, repository, sys.executable, "-c", SUPERVISE, *child)


def sessions_with_data(state: Path) -> list[Path]:
    found = []
    for path in list_sessions(state):
        # An engine may be making the file at this moment.
        with contextlib.suppress(SessionError), SessionReader(path) as reader:
            if reader.streams():
                found.append(path)
    return found


@pytest.mark.parametrize("code", [0, 3, 8])
def test_an_ordinary_end_and_a_users_mistake_are_not_repeated(tmp_path: Path, code: int) -> None:
    log = tmp_path / "log"
    program = f"open({str(log)!r}, 'a').write('x'); raise SystemExit({code})"
    assert Supervisor(command=[sys.executable, "-S", "-c", program], restart_limit=5).run() == code
    assert log.read_text() == "x"


def test_a_child_that_keeps_failing_is_given_up(tmp_path: Path) -> None:
    log = tmp_path / "log"
    program = f"open({str(log)!r}, 'a').write('x'); raise SystemExit({EXIT_CRASHED})"
    with pytest.raises(EngineError, match="2 times within an hour, last with exit code 20"):
        Supervisor(command=[sys.executable, "-S", "-c", program], restart_limit=1).run()
    assert log.read_text() == "xx"


def test_a_killed_engine_is_started_anew_and_continues_its_session(
    processes: list[subprocess.Popen[str]], repository: Path, tmp_path: Path, bundle: Path
) -> None:
    parent = supervised(processes, repository, tmp_path, bundle)
    wait_until(lambda: len(sessions_with_data(tmp_path)) == 1, 60.0)
    killed = holder(state=tmp_path, bed="bed1")
    assert killed is not None
    os.kill(killed, signal.SIGKILL)
    wait_until(lambda: len(sessions_with_data(tmp_path)) == 2, 60.0)
    assert holder(state=tmp_path, bed="bed1") not in (None, killed)
    parent.send_signal(signal.SIGTERM)
    _, log = parent.communicate(timeout=60)
    assert parent.returncode == 0
    assert "the engine ended with exit code -9" in log
    metas = []
    for path in list_sessions(tmp_path):
        with SessionReader(path) as reader:
            metas.append((reader.meta.session, reader.meta.continues, reader.closed_utc is not None))
    (first, none, closed_first), (_, continues, closed_second) = sorted(metas, key=lambda meta: meta[2])
    assert (none, continues) == (None, first)
    assert (closed_first, closed_second) == (False, True)
    assert holder(state=tmp_path, bed="bed1") is None


def test_an_engine_ends_in_order_when_its_supervisor_dies(
    processes: list[subprocess.Popen[str]], repository: Path, tmp_path: Path, bundle: Path
) -> None:
    parent = supervised(processes, repository, tmp_path, bundle)
    wait_until(lambda: len(sessions_with_data(tmp_path)) == 1, 60.0)
    parent.kill()
    wait_until(lambda: holder(state=tmp_path, bed="bed1") is None, 60.0)
    (path,) = list_sessions(tmp_path)
    with SessionReader(path) as reader:
        assert reader.closed_utc is not None


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_a_supervisor_that_is_told_to_end_stays_until_its_child_has(
    processes: list[subprocess.Popen[str]], repository: Path, tmp_path: Path, number: signal.Signals
) -> None:
    ready, done = tmp_path / "ready", tmp_path / "done"
    program = "import sys, time, pathlib; pathlib.Path(sys.argv[1]).touch(); sys.stdin.read(); time.sleep(0.5); "
    program += "pathlib.Path(sys.argv[2]).touch()"
    child = [sys.executable, "-S", "-c", program, str(ready), str(done)]
    parent = start(processes, repository, sys.executable, "-c", SUPERVISE, *child)
    wait_until(ready.exists, 60.0)
    parent.send_signal(number)
    _, log = parent.communicate(timeout=60)
    assert parent.returncode == 0, log
    assert done.exists()


def test_what_nohup_has_ignored_stays_ignored(
    processes: list[subprocess.Popen[str]], repository: Path, tmp_path: Path
) -> None:
    ready = tmp_path / "ready"
    program = "import sys, pathlib; pathlib.Path(sys.argv[1]).touch(); sys.stdin.read()"
    ignoring = f"import signal; signal.signal(signal.SIGHUP, signal.SIG_IGN); {SUPERVISE}"
    parent = start(
        processes, repository, sys.executable, "-c", ignoring, sys.executable, "-S", "-c", program, str(ready)
    )
    wait_until(ready.exists, 60.0)
    parent.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        parent.wait(1.0)
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(60) == 0


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="nobody tells here whether a process is stopped")
def test_an_engine_that_is_stopped_is_ended_and_started_anew(
    processes: list[subprocess.Popen[str]], repository: Path, tmp_path: Path
) -> None:
    log = tmp_path / "log"
    program = "import os, sys; open(sys.argv[1], 'a').write(f'{os.getpid()}\\n'); sys.stdin.read()"
    supervise = SUPERVISE.replace("restart_limit=3", "restart_limit=3, stopped_s=0.5")
    child = [sys.executable, "-S", "-c", program, str(log)]
    parent = start(processes, repository, sys.executable, "-c", supervise, *child)
    wait_until(lambda: log.exists() and log.read_text().endswith("\n"), 60.0)
    os.kill(int(log.read_text()), signal.SIGSTOP)
    wait_until(lambda: len(log.read_text().splitlines()) == 2, 60.0)
    parent.send_signal(signal.SIGTERM)
    _, said = parent.communicate(timeout=60)
    assert parent.returncode == 0
    assert "stopped by a signal for 0.5 s" in said
    assert "exit code -9" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_an_engine_in_order(
    processes: list[subprocess.Popen[str]], repository: Path, tmp_path: Path, bundle: Path, number: signal.Signals
) -> None:
    engine = start(processes, repository, *ENGINE, str(tmp_path), str(bundle))
    wait_until(lambda: len(sessions_with_data(tmp_path)) == 1, 60.0)
    engine.send_signal(number)
    _, log = engine.communicate(timeout=60)
    assert engine.returncode == 0, log
    assert "the engine has stopped" in log
    (path,) = list_sessions(tmp_path)
    with SessionReader(path) as reader:
        assert reader.closed_utc is not None


def test_a_second_engine_says_who_has_the_bed(
    processes: list[subprocess.Popen[str]], repository: Path, tmp_path: Path, bundle: Path
) -> None:
    first = start(processes, repository, *ENGINE, str(tmp_path), str(bundle))
    wait_until(lambda: holder(state=tmp_path, bed="bed1") == first.pid, 60.0)
    second = start(processes, repository, *ENGINE, str(tmp_path), str(bundle))
    _, log = second.communicate(timeout=120)
    assert second.returncode == 8
    assert f"already monitored by process {first.pid}" in log
    assert "Traceback" not in log
    assert first.poll() is None


def test_a_stuck_pipeline_is_ended_with_every_threads_stack(
    processes: list[subprocess.Popen[str]], repository: Path, tmp_path: Path, bundle: Path
) -> None:
    engine = start(processes, repository, *ENGINE, str(tmp_path), str(bundle), "--fault", "stuck")
    began = time.monotonic()
    _, log = engine.communicate(timeout=120)
    assert engine.returncode == EXIT_STUCK, log
    assert time.monotonic() - began >= 2.0
    assert "no sign of life" in log
    assert "in tick" in log


def test_a_broken_pipeline_ends_with_its_own_code_and_traceback(
    processes: list[subprocess.Popen[str]], repository: Path, tmp_path: Path, bundle: Path
) -> None:
    engine = start(processes, repository, *ENGINE, str(tmp_path), str(bundle), "--fault", "broken")
    _, log = engine.communicate(timeout=120)
    assert engine.returncode == EXIT_CRASHED, log
    assert "broken on purpose" in log
