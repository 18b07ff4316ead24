"""A recording over LSL into the daemon, as processes: its session verifies, and equals the replay of the file."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.errors import EngineError
from monitor.link import ControlClient
from monitor.locks import holder
from monitor.scoring.session import OnnxRunner
from monitor.sessions.reader import SessionReader
from monitor.sessions.store import list_sessions
from monitor.sessions.verify import verify
from monitor.sources.synthetic import SyntheticPatient
from monitor.types import Marker, Provenance
from tests.helpers.scripted import wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.live

SECONDS = 60
RATE = 100

CONFIG = """
[engine]
state_dir = {state}

[[bed]]
name = "bed1"
subject = "P-001"
bundles = [{bundle}]
calibration_s = 20.0

[[bed.stream]]
name = "ECG"
unit = "mV"
rate_hz = 100

[[bed.stream]]
name = "EDA"
unit = "uS"
rate_hz = 100
"""


@pytest.fixture
def cli(lsl: None, repository: Path) -> Iterator[Any]:
    """Starts `pain-monitor` commands, and ends them whatever the test does."""
    started: list[subprocess.Popen[str]] = []

    def start(*arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "monitor.cli", *arguments]
        process = subprocess.Popen(
            command, cwd=repository, env=os.environ.copy(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            pipesize=1 << 20,  # nobody reads before the end, and a line a window fills the usual 64 KiB in 90 s
        )  # fmt: skip
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.communicate()


def write_recording(path: Path) -> None:
    """A minute of a simulated patient: rows of ECG and EDA at 100 Hz."""
    patient = SyntheticPatient(part="test", number=2, rates_hz={"ECG": RATE, "EDA": RATE})
    count = SECONDS * RATE
    rows = np.column_stack([patient.samples(modality, 0, count) for modality in ("ECG", "EDA")])
    np.savetxt(path, rows, delimiter=",", header="ECG,EDA", comments="", fmt="%.7g")


def windows(text: str) -> dict[float, dict[str, Any]]:
    return {line["t_end"]: line for line in map(json.loads, text.splitlines())}


def streams(client: ControlClient) -> list[str]:
    """The streams of an engine; none while it has its bed already and answers nobody yet."""
    try:
        found: list[str] = client.request("status")["streams"]
    except EngineError:
        return []
    return found


@pytest.mark.timeout(420)
def test_the_daemon_scores_what_comes_over_lsl_as_replay_does(cli: Any, tmp_path: Path) -> None:
    recording, config, state = tmp_path / "ride.csv", tmp_path / "config.toml", tmp_path / "state"
    write_recording(recording)
    bundle = write_tiny_bundle(tmp_path)
    config.write_text(CONFIG.format(state=json.dumps(str(state)), bundle=json.dumps(str(bundle))))

    daemon = cli("daemon", str(config), "--json")
    player = cli("stream", str(recording), "--rate", str(RATE), "--lsl")
    wait_until(lambda: holder(state=state, bed="bed1") is not None, 60.0)
    client = ControlClient(state_dir=state, bed="bed1", actor="nurse")
    wait_until(lambda: len(streams(client)) == 2, 60.0)
    client.request("marker", {"kind": "stimulus", "text": "thermode on"}, timeout=20.0)
    client.request("nrs", {"value": 4.0}, timeout=20.0)
    _, said = player.communicate(timeout=SECONDS + 60)
    assert player.returncode == 0, said
    daemon.send_signal(signal.SIGTERM)
    live_text, log = daemon.communicate(timeout=60)
    assert daemon.returncode == 0, log

    (path,) = list_sessions(state)
    result = verify(path, runner_factory=OnnxRunner)
    assert result.difference_count == 0, result.differences
    with SessionReader(path) as reader:
        assert {item.info.provenance for item in reader.streams()} == {Provenance.REPLAY}
        assert [(m.kind, m.actor) for m in reader.events(Marker)] == [("stimulus", "nurse"), ("nrs", "nurse")]
        assert reader.recording_gaps() == ()
        info = reader.streams()[0].info
        assert info.origin is not None
        # The player announces the grid, then waits for a listener and starts a whole number of seconds after it.
        wait_s = float(reader.signal(info.key)[0][0]) - info.origin

    replay = cli("replay", str(recording), "--rate", str(RATE), "--config", str(config), "--json")
    replay_text, said = replay.communicate(timeout=120)
    assert replay.returncode == 0, said
    live, replayed = windows(live_text), windows(replay_text)
    assert wait_s == round(wait_s)
    live = {t - wait_s: line for t, line in live.items()}
    shared = [t for t in sorted(live.keys() & replayed.keys()) if live[t]["probabilities"]]
    assert len(shared) > SECONDS - 20, (log, said)
    for t in shared:
        np.testing.assert_allclose(live[t]["probabilities"], replayed[t]["probabilities"], atol=1e-5, err_msg=f"{t=}")
        assert live[t]["calibration"] == replayed[t]["calibration"]
    assert {live[t]["calibration"] for t in shared} == {"population", "subject"}
