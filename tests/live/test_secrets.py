"""Secrets are used and appear nowhere: no file, log line, metric, message or answer; what is written is 0600."""

from __future__ import annotations

import base64
import http.server
import json
import os
import secrets
import signal
import stat
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from monitor.link import ControlClient, client_keys, make_keys, read_pair
from monitor.outputs.mqtt_player import play
from monitor.outputs.synthetic_playback import synthetic_packets, synthetic_specs
from monitor.sources.synthetic import SyntheticPatient
from tests.helpers.broker import Broker, free_port
from tests.helpers.mqtt_client import PlainClient
from tests.helpers.scripted import wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

pytestmark = pytest.mark.live

CONFIG = """
[engine]
state_dir = {state}
[mqtt]
host = "localhost"
port = {broker_port}
ca_file = {ca}
user = "monitor"
password_file = {password_file}
[webhook]
url = {url}
key_file = {key_file}
[metrics]
port = {metrics_port}
[jsonlog]
path = {jsonlog}
[link]
listen = {listen}
key_file = {link_key}
clients = {clients}
[log]
level = "DEBUG"
[[bed]]
name = "bed1"
bundles = [{bundle}]
calibration_s = 10.0
[[bed.stream]]
source = "mqtt"
device = "wrist-7"
modality = "EDA"
[[bed.stream]]
source = "mqtt"
device = "wrist-7"
modality = "ECG"
"""


@contextmanager
def receiver() -> Iterator[tuple[str, list[bytes]]]:
    """A webhook that takes everything, and what it was sent."""
    got: list[bytes] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            got.append(str(self.headers).encode() + self.rfile.read(int(self.headers["Content-Length"])))
            self.send_response(204)
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}/alarms", got
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def forms(secret: str) -> list[bytes]:
    """How a secret might stand somewhere."""
    raw = secret.encode()
    return [raw, raw.hex().encode(), base64.b64encode(raw).rstrip(b"="), json.dumps(secret)[1:-1].encode()]


def test_a_secret_is_nowhere_but_where_it_was_put(broker: Broker, tmp_path: Path) -> None:
    """One comes from the environment, one from a file, one as systemd hands it over."""
    state, private = tmp_path / "state", tmp_path / "private"
    private.mkdir()
    password = broker.password_file("monitor").read_text().strip()
    webhook_key = f"whk-{secrets.token_hex(16)}"
    make_keys("engine", private)
    make_keys("nurse", private)
    clients = tmp_path / "clients"
    clients.mkdir()
    (clients / "nurse.pub").write_bytes((private / "nurse.pub").read_bytes())
    link_secret = read_pair(private / "engine.key").secret.decode()
    (private / "webhook.key").touch(mode=0o600)
    (private / "webhook.key").write_text(webhook_key + "\n")
    (private / "engine.key").rename(private / "pain-monitor.link-key")
    environment = {**os.environ, "PAIN_MONITOR_MQTT_PASSWORD": password, "CREDENTIALS_DIRECTORY": str(private)}
    files = {"password_file": "", "key_file": str(private / "webhook.key"), "link_key": ""}
    metrics_port, listen = free_port(), f"tcp://127.0.0.1:{free_port(3)}"
    config = tmp_path / "config.toml"
    seen: dict[str, bytes] = {}
    with receiver() as (url, posted), PlainClient(broker.settings("station"), "pain/v1/bed1/#") as station:
        values: dict[str, Any] = {
            "state": str(state), "ca": str(broker.ca_file), "url": url, "jsonlog": str(tmp_path / "log" / "log.jsonl"),
            "listen": listen, "clients": str(clients), "bundle": str(write_tiny_bundle(tmp_path)), **files,
        }  # fmt: skip
        ports = {"broker_port": broker.port, "metrics_port": metrics_port}
        config.write_text(CONFIG.format(**{k: json.dumps(v) for k, v in values.items()}, **ports))
        command = [sys.executable, "-m", "monitor.cli"]
        for name in ("check", "install-service"):
            arguments = [name, str(config), *(["--dry-run"] if name == "install-service" else [])]
            done = subprocess.run([*command, *arguments], env=environment, capture_output=True)
            assert done.returncode == 0, done.stderr
            seen[name] = done.stdout + done.stderr
        umask = os.umask(0o022)
        try:
            daemon = subprocess.Popen(
                [*command, "daemon", str(config), "--json"],
                env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            )  # fmt: skip
        finally:
            os.umask(umask)
        written: list[bytes] = []
        assert daemon.stdout is not None
        assert daemon.stderr is not None
        pipes = [
            threading.Thread(target=lambda pipe=pipe: written.extend(pipe)) for pipe in (daemon.stdout, daemon.stderr)
        ]
        for pipe in pipes:
            pipe.start()
        try:
            wait_until(lambda: bool(station.on("pain/v1/bed1/status")), 60.0)
            patient = SyntheticPatient(part="test", number=1)
            play(
                specs=synthetic_specs(patient, ["EDA", "ECG"]),
                packets=synthetic_packets(patient, ["EDA", "ECG"], duration_s=4.0, packet_s=0.25),
                broker=broker.settings("gateway-bed1"), bed="bed1", device="wrist-7", stop=threading.Event(),
            )  # fmt: skip
            keys = client_keys(private / "nurse.key", private / "engine.pub")
            nurse = ControlClient(state_dir=state, bed="bed1", actor="nurse", address=listen, keys=keys)
            seen["answer"] = json.dumps([nurse.request(name, timeout=20.0) for name in ("status", "streams")]).encode()
            nurse.request("suspend", {"reason": "turning"}, timeout=20.0)
            wait_until(lambda: any(b"X-Pain-Monitor-Signature" in item and b"suspend" in item for item in posted))
            with urllib.request.urlopen(f"http://127.0.0.1:{metrics_port}/metrics", timeout=20) as answer:
                seen["metrics"] = answer.read()
            wait_until(lambda: bool(station.on("pain/v1/bed1/score")))
        finally:
            daemon.send_signal(signal.SIGTERM)
            try:
                daemon.wait(60)
            finally:
                daemon.kill()
                for pipe in pipes:
                    pipe.join()
                daemon.stdout.close()
                daemon.stderr.close()
        seen["log"], seen["posted"] = b"".join(written), b"".join(posted)
        seen["mqtt"] = b"".join(message.payload for message in station.messages)
    assert daemon.returncode == 0, seen["log"].decode()
    made = [path for folder in (state, tmp_path / "log") for path in folder.rglob("*") if path.is_file()]
    assert {path.suffix for path in made} >= {".db", ".jsonl", ".outbox", ".lock"}
    seen |= {str(path): path.read_bytes() for path in made}
    for name, content in seen.items():
        for secret in (password, webhook_key, link_secret):
            for form in forms(secret):
                assert form not in content, f"a secret stands in {name}"
    assert b"pain_monitor_" in seen["metrics"]
    assert b"nurse@nurse" in b"".join(seen[str(path)] for path in made), "what was done is on record"
    wrong = {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in made if path.stat().st_mode & 0o077}
    assert not wrong
    assert stat.S_IMODE((state / "run").stat().st_mode) == 0o700
