"""A recording as a gateway would send it, over TLS through mosquitto into the daemon: all of them processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.scoring.session import OnnxRunner
from monitor.sessions.reader import SessionReader
from monitor.sessions.store import list_sessions
from monitor.sessions.verify import verify
from monitor.sources.synthetic import SyntheticPatient
from monitor.types import Marker, Provenance
from tests.helpers.broker import Broker
from tests.helpers.mqtt_client import PlainClient
from tests.helpers.scripted import wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.live

SECONDS = 24
RATE = 128

CONFIG = """
[engine]
state_dir = {state}

[mqtt]
host = "localhost"
port = {port}
ca_file = {ca}
user = "monitor"
password_file = {password}

[[bed]]
name = "bed1"
subject = "P-001"
bundles = [{bundle}]
calibration_s = 10.0

[[bed.stream]]
source = "mqtt"
device = "wrist-7"
modality = "ECG"
unit = "mV"

[[bed.stream]]
source = "mqtt"
device = "wrist-7"
modality = "EDA"
unit = "uS"
"""


@pytest.fixture
def cli(repository: Path) -> Iterator[Any]:
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
    patient = SyntheticPatient(part="test", number=2, rates_hz={"ECG": RATE, "EDA": RATE})
    rows = np.column_stack([patient.samples(modality, 0, SECONDS * RATE) for modality in ("ECG", "EDA")])
    np.savetxt(path, rows, delimiter=",", header="ECG (mV),EDA (uS)", comments="", fmt="%.7g")


def windows(text: str) -> dict[float, dict[str, Any]]:
    return {line["t_end"]: line for line in map(json.loads, text.splitlines())}


def said_on(client: PlainClient, topic: str) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in client.on(topic)]


@pytest.mark.timeout(420)
def test_the_daemon_scores_what_comes_over_mqtt_as_replay_does(cli: Any, broker: Broker, tmp_path: Path) -> None:
    recording, config, state = tmp_path / "ride.csv", tmp_path / "config.toml", tmp_path / "state"
    write_recording(recording)
    text = CONFIG.format(
        state=json.dumps(str(state)),
        port=broker.port,
        ca=json.dumps(str(broker.ca_file)),
        password=json.dumps(str(broker.password_file("monitor"))),
        bundle=json.dumps(str(write_tiny_bundle(tmp_path))),
    )
    config.write_text(text)
    to_broker = ["--mqtt", f"localhost:{broker.port}", "--tls-ca", str(broker.ca_file)]
    gateway = ["--user", "gateway-bed1", "--password-file", str(broker.password_file("gateway-bed1"))]

    reply = "pain/v1/bed1/reply/nurse"
    with (
        PlainClient(broker.settings("station"), "pain/v1/bed1/#") as station,
        PlainClient(broker.settings("nurse"), reply) as nurse,
    ):
        daemon = cli("daemon", str(config), "--json")
        wait_until(lambda: bool(station.on("pain/v1/bed1/status")), 60.0)
        player = cli("stream", str(recording), "--rate", str(RATE), *to_broker, *gateway, "--device", "wrist-7")
        wait_until(lambda: bool(station.on("pain/v1/bed1/score")), 60.0)
        command = {"id": "1", "t": time.time(), "action": "marker", "args": {"kind": "stimulus", "text": "thermode on"}}
        nurse.publish("pain/v1/bed1/command/nurse", json.dumps(command).encode())
        wait_until(lambda: bool(nurse.on(reply)))
        assert said_on(nurse, reply)[0]["ok"]
        _, said = player.communicate(timeout=SECONDS + 60)
        assert player.returncode == 0, said
        # The broker had all of it before the player ended, and the daemon has it once it speaks of the last window.
        wait_until(lambda: said_on(station, "pain/v1/bed1/score")[-1]["t_rel"] >= SECONDS, 40.0)
        daemon.send_signal(signal.SIGTERM)
        live_text, log = daemon.communicate(timeout=60)
        assert daemon.returncode == 0, log
        wait_until(lambda: said_on(station, "pain/v1/bed1/status")[-1]["status"] == "offline")  # nothing comes after it
        status = said_on(station, "pain/v1/bed1/status")
        assert [item["status"] for item in status] == ["online", "offline"]
        assert status[-1]["reason"] == "stopped"
        published = said_on(station, "pain/v1/bed1/score")
        assert len(said_on(station, "pain/v1/bed1/quality")) == len(published)
        beats = [item["n"] for item in said_on(station, "pain/v1/bed1/heartbeat")]
        assert beats == list(range(1, len(beats) + 1))
        assert len(beats) > SECONDS / 2

    (path,) = list_sessions(state)
    result = verify(path, runner_factory=OnnxRunner)
    assert result.difference_count == 0, result.differences
    with SessionReader(path) as reader:
        assert [(m.kind, m.text, m.actor) for m in reader.events(Marker)] == [("stimulus", "thermode on", "mqtt:nurse")]
        infos = [item.info for item in reader.streams()]
        assert {info.provenance for info in infos} == {Provenance.REPLAY}
        assert {info.key for info in infos} == {"mqtt:wrist-7/ECG", "mqtt:wrist-7/EDA"}
        for info in infos:
            stamps, samples = reader.signal(info.key)
            assert len(samples) == SECONDS * RATE, "every sample arrived"
            assert float(stamps[0]) == info.origin

    live = windows(live_text)
    assert [item["t_rel"] for item in published] == sorted(live), "every window is published"
    for item in published:
        assert item["probabilities"] == live[item["t_rel"]]["probabilities"]
        assert item["provenance"] == "replay"
        assert item["notice"] == "RESEARCH USE ONLY"

    replay = cli("replay", str(recording), "--rate", str(RATE), "--config", str(config), "--json")
    replay_text, said = replay.communicate(timeout=120)
    assert replay.returncode == 0, said
    replayed = windows(replay_text)
    shared = [t for t in sorted(live.keys() & replayed.keys()) if live[t]["probabilities"]]
    assert len(shared) > SECONDS - 12, (log, said)
    for t in shared:
        np.testing.assert_allclose(live[t]["probabilities"], replayed[t]["probabilities"], atol=1e-3, err_msg=f"{t=}")
        assert live[t]["calibration"] == replayed[t]["calibration"]
    assert {live[t]["calibration"] for t in shared} == {"population", "subject"}
