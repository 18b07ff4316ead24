"""The demonstration as a newcomer starts it: over real LSL, with a patient that never outlives it."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from tests.helpers.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.live, pytest.mark.usefixtures("lsl")]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles"))


@contextlib.contextmanager
def demo(bundle: Path, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "monitor.cli", "demo", "--headless", "--bundle", str(bundle), *arguments]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def patient_of(process: subprocess.Popen[str]) -> psutil.Process:
    """Wait for the first window, and return the simulated patient's process."""
    assert process.stdout is not None
    for line in process.stdout:
        if "no score" in line or "index" in line.partition("  ")[2]:
            break
    (patient,) = psutil.Process(process.pid).children()
    assert "synthetic" in patient.cmdline()
    return patient


def assert_gone(patient: psutil.Process) -> None:
    end = time.monotonic() + 30
    with contextlib.suppress(psutil.NoSuchProcess):  # gone between the two questions
        while patient.is_running() and patient.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < end, "the patient outlived the demonstration"
            time.sleep(0.1)


@pytest.mark.timeout(420)
def test_it_shows_scores_and_ends_in_order(bundle: Path) -> None:
    with demo(bundle, "--seconds", "30") as process:  # the patient may need ten of them to begin, and a window ten
        patient = patient_of(process)
        out, err = process.communicate(timeout=150)
    assert process.returncode == 0, err
    assert_gone(patient)
    scored = re.findall(r"^\d\d:\d\d:\d\d  index +\S+ fast +\S+ slow  \w+ +\(none", out, flags=re.MULTILINE)
    assert len(scored) >= 3, out
    assert "calibrating: " in out
    assert "Traceback" not in err
    session = Path(re.findall(r"Recorded in (.+)", out)[0])
    verified = subprocess.run(
        [sys.executable, "-m", "monitor.cli", "verify", str(session)], capture_output=True, text=True, timeout=120
    )
    assert verified.returncode == 0, verified.stdout
    assert "equal bit for bit" in verified.stdout


def test_ctrl_c_ends_it_in_order_with_130(bundle: Path) -> None:
    with demo(bundle) as process:
        patient = patient_of(process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=90)
    assert process.returncode == 130, err
    assert "Recorded in" in out
    assert_gone(patient)


def test_the_patient_goes_with_a_demo_that_is_killed(bundle: Path) -> None:
    with demo(bundle) as process:
        patient = patient_of(process)
        process.kill()
        process.wait(timeout=30)
    assert_gone(patient)
