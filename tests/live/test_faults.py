"""Faults of the world and of ourselves, with real processes, a real broker and a real receiver: no alarm is lost, none
doubled, scoring goes on, and each fault is reported.

The broker is away for PAIN_MONITOR_FAULT_SECONDS (10 where that is not set; a release is tested with 60).
"""

from __future__ import annotations

import http.server
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil
import pytest

from monitor.errors import EngineError
from monitor.link import ControlClient, endpoint
from monitor.link.endpoints import beside
from monitor.locks import holder
from monitor.sessions.reader import SessionReader
from monitor.sessions.rows import RecordingGap
from monitor.sessions.store import list_sessions
from monitor.types import AlarmEvent
from tests.helpers.broker import Broker
from tests.helpers.mqtt_client import PlainClient
from tests.helpers.scripted import wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

pytestmark = [pytest.mark.live, pytest.mark.skipif(sys.platform != "linux", reason="limits of a running process")]

AWAY_S = float(os.environ.get("PAIN_MONITOR_FAULT_SECONDS", "10"))
TOPIC = "pain/v1/bed1/"
BROKER = ("mqtt-bed1", "webhook-bed1")

CONFIG = """
[engine]
state_dir = {state}
selfcheck_s = 1.0

[mqtt]
host = "localhost"
port = {port}
ca_file = {ca}
user = "monitor"
password_file = {password}

[webhook]
url = {url}
timeout_s = 0.5

[[bed]]
name = "bed1"
subject = "P-001"
bundles = [{bundle}]
calibration_s = 10.0
hop_s = 0.5

[bed.alarm]
moderate_on = 60.0
moderate_off = 50.0
moderate_after_s = 1.0
severe_on = 70.0
severe_off = 60.0
severe_after_s = 1.0
off_after_s = 1.0
"""


class Receiver:
    """A real HTTP server that takes alarms, answers 500, or never answers."""

    def __init__(self) -> None:
        self.taken: list[dict[str, Any]] = []
        self.end = threading.Event()
        self._mode = "ok"
        self._lock = threading.Lock()
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                mode = receiver.take(body)
                if mode == "hang":
                    receiver.end.wait(60.0)
                    return
                self.send_response(204 if mode == "ok" else 500)
                self.end_headers()

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002
                pass

        class Server(http.server.ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, request: object, client_address: object) -> None:
                pass  # who waits too long goes away

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/alarms"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def be(self, mode: str) -> int:
        """From now on: `ok`, `error` or `hang`. How many alarms were taken before; no request is in between."""
        with self._lock:
            self._mode = mode
            return len(self.taken)

    def take(self, body: dict[str, Any]) -> str:
        """A request has come; how it is answered."""
        with self._lock:
            if self._mode == "ok" and body.get("type") != "probe":
                self.taken.append(body)
            return self._mode

    def close(self) -> None:
        self.end.set()
        self.server.shutdown()
        self.server.server_close()


class Ward:
    """A supervised engine, its broker and its receiver."""

    def __init__(self, folder: Path, broker: Broker, repository: Path) -> None:
        self.folder, self.broker, self.receiver = folder, broker, Receiver()
        self.state = folder / "state"
        self.pain(0.0)
        text = CONFIG.format(
            state=json.dumps(str(self.state)),
            port=broker.port,
            ca=json.dumps(str(broker.ca_file)),
            password=json.dumps(str(broker.password_file("monitor"))),
            url=json.dumps(self.receiver.url),
            bundle=json.dumps(str(write_tiny_bundle(folder, name="tiny-eda", modalities=("EDA",)))),
        )
        (folder / "config.toml").write_text(text)
        self.log = folder / "engine.log"
        command = [sys.executable, "-m", "tests.helpers.fault_engine", str(folder / "config.toml"), str(folder)]
        self.environment = {**os.environ, "PAIN_MONITOR_WEBHOOK_KEY": "0123456789abcdef-not-a-secret"}
        with self.log.open("wb") as log:
            self.supervisor = subprocess.Popen(
                command, cwd=repository, env=self.environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        self.control = ControlClient(state_dir=self.state, bed="bed1", actor="nurse")
        # As docs/mqtt.md tells a station to: what is sent while it is away waits for it at the broker.
        self.station = PlainClient(broker.settings("station"), TOPIC + "alarm/+", TOPIC + "status", session="station-1")

    def pain(self, level: float) -> None:
        """What the model says from now on."""
        new = self.folder / "pain.new"
        new.write_text(str(level))
        new.replace(self.folder / "pain")

    @property
    def process(self) -> psutil.Process:
        """The engine that has the bed."""
        pid = holder(state=self.state, bed="bed1")
        assert pid is not None
        return psutil.Process(pid)

    def status(self) -> dict[str, Any]:
        """What the engine says; nothing where there is none just now."""
        try:
            return self.control.request("status", timeout=2.0)
        except EngineError:
            return {}

    def standing(self) -> dict[str, dict[str, Any]]:
        """Alarms that stand, by condition."""
        return {alarm["condition"]: alarm for alarm in self.status().get("alarms", ())}

    def until(self, what: Callable[[], object], seconds: float = 40.0) -> None:
        """Wait; where it never happens, the engine's log says why."""
        try:
            wait_until(lambda: bool(what()), seconds)
        except AssertionError:
            raise AssertionError(self.log.read_text(errors="replace")[-6000:]) from None

    def presence(self, condition: str) -> str:
        """How an alarm stands; empty where it does not, or no engine answers just now."""
        return str(self.standing().get(condition, {}).get("presence", ""))

    def event_id(self, condition: str) -> str:
        """The id of an alarm that stands."""
        found: list[str] = []

        def stands() -> bool:
            found.extend(str(alarm["event_id"]) for name, alarm in self.standing().items() if name == condition)
            return bool(found)

        self.until(stands)
        return found[0]

    def recording(self) -> dict[str, Any]:
        """What the engine says of its session."""
        found: dict[str, Any] = self.status().get("recording", {})
        return found

    def scores_on(self) -> None:
        """Windows are still decided."""

        def newest() -> int:
            return int((self.status().get("score") or {"k": -1})["k"])

        seen: list[int] = []

        def went_on() -> bool:
            if (k := newest()) >= 0:  # else no engine answers just now
                seen.append(k)
            return bool(seen) and seen[-1] >= seen[0] + 2

        self.until(went_on)

    def proved(self) -> bool:
        """Whether every route has proved itself; LSL may not work where this is run."""
        routes = {name: item for name, item in self.status().get("selfcheck", {}).items() if name != "lsl"}
        return bool(routes) and all(
            item["proved_s_ago"] is not None and not item["problem"] for item in routes.values()
        )

    def over_mqtt(self) -> list[dict[str, Any]]:
        """Transitions that the broker passed on, each once, as docs/mqtt.md tells a receiver to count."""
        messages = [json.loads(m.payload) for m in list(self.station.messages) if "/alarm/" in m.topic]
        return list({(m["event_id"], m["presence"], m["t"]): m for m in messages}.values())

    def over_webhook(self) -> list[dict[str, Any]]:
        """Transitions that the webhook took, each once by its id."""
        return [m for m in {m["id"]: m for m in list(self.receiver.taken)}.values() if m.get("condition")]

    def last(self, condition: str) -> str:
        """Presence that the station was told last."""
        said = [m["presence"] for m in self.over_mqtt() if m["condition"] == condition]
        return said[-1] if said else ""

    def stop(self) -> None:
        """End in order, and let the station hear of it: by then it has heard of everything before."""
        self.supervisor.send_signal(signal.SIGTERM)
        assert self.supervisor.wait(60) == 0, self.log.read_text(errors="replace")[-3000:]
        self.until(lambda: json.loads(self.station.on(TOPIC + "status")[-1].payload)["status"] == "offline")

    def close(self) -> None:
        if self.supervisor.poll() is None:
            family = psutil.Process(self.supervisor.pid).children(recursive=True)
            self.supervisor.kill()
            for child in family:
                child.kill()
        self.supervisor.wait()
        self.receiver.close()


@pytest.fixture
def ward(tmp_path: Path, broker: Broker, repository: Path) -> Iterator[Ward]:
    made = Ward(tmp_path, broker, repository)
    with made.station:
        yield made
    made.close()


def assert_unbroken(messages: Iterable[Mapping[str, Any]]) -> None:
    """Each transition begins where the one before it of its condition ended: none is missing, none is there twice."""
    presence: dict[str, str] = defaultdict(lambda: "off")
    for message in messages:
        condition = message["condition"]
        assert message["before"] == presence[condition], (condition, message)
        presence[condition] = message["presence"]


def told(messages: Iterable[Mapping[str, Any]]) -> set[tuple[str, str]]:
    """Which alarms came to which presence."""
    return {(message["event_id"], message["presence"]) for message in messages}


@pytest.mark.timeout(420)
def test_broker_receiver_and_disk_fail_and_no_alarm_is_lost_or_doubled(ward: Ward) -> None:
    ward.until(ward.proved)
    ward.until(lambda: "self-check passed" in ward.log.read_text())
    ward.broker.save()  # it does so twice a minute; the station has only just come
    taken = ward.receiver.be("error")
    ward.broker.kill()
    gone = time.monotonic()
    ward.pain(1.0)
    ward.until(lambda: tuple(ward.standing().get("broker_lost", {}).get("causes", ())) == BROKER)
    ward.until(lambda: ward.presence("pain_severe") == "on")
    severe = ward.event_id("pain_severe")
    ward.receiver.be("hang")
    ward.pain(0.0)
    ward.scores_on()
    ward.until(lambda: ward.presence("pain_severe") == "latched")
    time.sleep(max(0.0, AWAY_S - (time.monotonic() - gone)))
    assert ward.last("pain_severe") == ""
    assert ward.receiver.be("ok") == taken
    ward.receiver.end.set()
    ward.broker.start()
    ward.until(lambda: ward.last("pain_severe") == "latched", 60.0)
    ward.until(lambda: ward.status() and not ward.presence("broker_lost"), 60.0)
    ward.control.request("acknowledge", {"condition": "pain_severe"}, timeout=20.0)
    ward.until(lambda: ward.last("pain_severe") == "off" and ward.last("broker_lost") == "off")

    ward.process.rlimit(psutil.RLIMIT_FSIZE, (4096, -1))  # to every write to a file it is a disk that is full
    ward.pain(1.0)
    ward.until(lambda: ward.last("store_full") == "on")
    ward.until(lambda: ward.last("pain_severe") == "on")
    ward.scores_on()
    recording: dict[str, Any] = {}

    def lost() -> bool:
        recording.update(ward.recording())
        return bool(recording.get("lost_records") and recording["problem"])

    ward.until(lost)
    ward.process.rlimit(psutil.RLIMIT_FSIZE, (-1, -1))
    ward.until(lambda: ward.last("store_full") == "off")
    ward.until(lambda: {m["event_id"] for m in ward.over_webhook()} == {m["event_id"] for m in ward.over_mqtt()})
    ward.until(lambda: told(ward.over_webhook()) >= told(ward.over_mqtt()))
    ward.stop()

    for said in (ward.over_mqtt(), ward.over_webhook()):
        assert_unbroken(said)
        assert [m["presence"] for m in said if m["event_id"] == severe][:3] == ["on", "latched", "off"]
    (path,) = list_sessions(ward.state)
    with SessionReader(path) as session:
        recorded = {(event.event_id, event.presence.value) for event in session.events(AlarmEvent)}
        gaps = [entry.item for entry in session.entries() if isinstance(entry.item, RecordingGap)]
    assert recorded <= {(m["event_id"], m["presence"]) for m in ward.over_mqtt()}
    assert sum(gap.records for gap in gaps) >= recording["lost_records"]


@pytest.mark.timeout(420)
def test_dashboard_and_engine_are_killed_and_the_pipeline_hangs_and_alarms_outlive_it(ward: Ward) -> None:
    ward.pain(1.0)
    ward.until(ward.status)
    watched = beside(endpoint(ward.state / "run", "bed1"), "state").removeprefix("ipc://")
    screen = subprocess.Popen(
        [sys.executable, "-m", "monitor.cli", "dashboard", "--state-dir", str(ward.state)],
        env={**ward.environment, "QT_QPA_PLATFORM": "offscreen"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        ward.until(lambda: _connections(watched) > 0, 90.0)
        ward.until(lambda: ward.last("pain_severe") == "on")
        severe = ward.event_id("pain_severe")
    finally:
        screen.kill()
        screen.wait()
    ward.scores_on()

    first = ward.process
    ward.pain(0.0)
    first.kill()
    first.wait()
    ward.until(lambda: ward.presence("pain_severe") == "latched")
    assert ward.event_id("pain_severe") == severe
    ward.until(lambda: ward.last("model_fault") == "off")  # that the engine had failed was an alarm until it scored

    second = ward.process
    assert second.pid != first.pid
    (ward.folder / "hang").touch()
    ward.until(lambda: not (ward.folder / "hang").exists())
    ward.until(lambda: ward.last("model_fault") == "on", 20.0)  # 6 s of silence, then the last words
    assert ward.broker.log()
    stuck = [m for m in ward.over_mqtt() if m["condition"] == "model_fault"][-1]["event_id"]
    ward.until(lambda: ward.last("model_fault") == "off")
    assert ward.event_id("pain_severe") == severe
    ward.control.request("acknowledge", {"condition": "pain_severe"}, timeout=20.0)
    ward.until(lambda: ward.last("pain_severe") == "off")
    ward.until(lambda: told(ward.over_webhook()) >= told(ward.over_mqtt()))
    ward.stop()

    # The restated ones begin where they ended, and are not new.
    for said in (ward.over_mqtt(), ward.over_webhook()):
        assert_unbroken(said)
        assert {m["event_id"] for m in said if m["condition"] == "pain_severe"} == {severe}
        assert [m["presence"] for m in said if m["event_id"] == stuck and m["before"] != m["presence"]] == ["on", "off"]
    assert "the engine ended with exit code -9" in ward.log.read_text()
    assert "no sign of life" in ward.log.read_text()
    sessions = list_sessions(ward.state)
    assert len(sessions) == 3
    for path in sessions:
        with SessionReader(path) as session:
            assert {e.event_id for e in session.events(AlarmEvent) if e.condition == "pain_severe"} == {severe}


def _connections(path: str) -> int:
    """How many have connected to a socket file of this machine."""
    lines = Path("/proc/net/unix").read_text().splitlines()
    return sum(line.endswith(f" {path}") and line.split()[5] == "03" for line in lines)
