"""Alarms over a broker that dies, from a monitor that is killed: none lost, none counted twice; who may touch them."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest

from monitor.clock import SystemClock
from monitor.outputs.base import Heir, Route
from monitor.outputs.mqtt import MqttOutput
from monitor.sources.broker import tls_context
from monitor.types import AlarmAction, Event
from tests.helpers.broker import Broker
from tests.helpers.made_session import made_alarm
from tests.helpers.mqtt_client import PlainClient
from tests.helpers.scripted import wait_until

pytestmark = pytest.mark.live

ALARM = "pain/v1/bed1/alarm/pain_severe"
MONITOR = """
import sys, time
from pathlib import Path
from monitor.clock import SystemClock
from monitor.config import MqttSettings
from monitor.outputs.mqtt import MqttOutput
from monitor.types import Presence
from tests.helpers.made_session import made_alarm
output = MqttOutput(
    bed="bed1", bundles=(), settings=MqttSettings.model_validate_json(sys.argv[1]), clock=SystemClock(),
    folder=Path(sys.argv[2]),
)
on, off = Presence.ON, Presence.OFF
first = int(sys.argv[3])
output.restored("bed1", [made_alarm(0.0, condition="pain_severe", event_id="severe-9")])
output.open()
output.publish("bed1", [
    made_alarm(float(k), off if k % 2 else on, condition="pain_severe", event_id=f"severe-{k // 2}")
    for k in range(first, first + 10)
])
print("put", flush=True)
time.sleep(120)
"""


@contextlib.contextmanager
def monitor(broker: Broker, folder: Path, first: int, repository: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that raises and ends the same alarm five times, then only lives."""
    arguments = [broker.settings().model_dump_json(), str(folder), str(first)]
    process = subprocess.Popen(
        [sys.executable, "-c", MONITOR, *arguments], cwd=repository, stdout=subprocess.PIPE, text=True
    )
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "put\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def said_on(client: PlainClient, topic: str) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in client.on(topic)]


def counted(client: PlainClient) -> dict[str, dict[str, Any]]:
    """Each transition of the alarm once, in the order in which they came, as docs/mqtt.md tells a receiver to count."""
    found: dict[str, dict[str, Any]] = {}
    for item in said_on(client, ALARM):
        found.setdefault(item["id"], item)
    return found


def output(broker: Broker, user: str = "monitor", **changes: Any) -> MqttOutput:
    return MqttOutput(
        bed="bed1", bundles=(), settings=broker.settings(user), clock=SystemClock(), **changes
    )  # fmt: skip


def test_monitor_and_broker_are_both_killed_and_every_transition_is_counted_once(
    broker: Broker, tmp_path: Path, repository: Path
) -> None:
    with PlainClient(broker.settings("station"), "pain/v1/bed1/#") as station:
        with monitor(broker, tmp_path, 0, repository):
            wait_until(lambda: len(counted(station)) == 10, 40.0)
        broker.kill()
        with monitor(broker, tmp_path, 10, repository):
            pass  # killed while the broker is away
        subscribed = station.subscribed
        broker.start()
        # The reader has to be back before the monitor: from the broker it would learn the last state only.
        wait_until(lambda: station.subscribed > subscribed, 30.0)
        with monitor(broker, tmp_path, 20, repository):
            wait_until(lambda: said_on(station, ALARM)[-1]["seq"] == 30, 40.0)
        with monitor(broker, tmp_path, 30, repository):
            wait_until(lambda: said_on(station, ALARM)[-1]["seq"] == 40, 40.0)
        heard = list(counted(station).values())
    assert len({item["series"] for item in heard}) == 1
    assert [item["seq"] for item in heard] == list(range(1, 41))
    assert [item["event_id"] for item in heard] == [f"severe-{k // 2}" for k in range(40)]


def test_a_probe_goes_through_the_broker_and_back(broker: Broker, tmp_path: Path) -> None:
    made = output(broker, folder=tmp_path)
    assert isinstance(made, Route)
    assert isinstance(made, Heir)
    assert made.probe({}, 1.0) == "it is not running"
    with PlainClient(broker.settings("gateway-bed1"), "pain/v1/bed1/selfcheck") as looking:
        made.open()
        try:
            wait_until(lambda: made.probe({"n": 3, "missed": []}, 5.0) == "", 40.0)
            assert made.problem() == ""
            looking.settle()  # the echo has come back to the one who sent it, and not yet to whoever looks on
            seen = [json.loads(item.payload) for item in looking.messages if item.payload.startswith(b"{")]
            assert {"n": 3, "missed": []}.items() <= seen[-1].items()
            broker.kill()
            wait_until(lambda: made.problem() != "")
            assert made.probe({"n": 4}, 1.0)
            made.publish("bed1", [made_alarm(1.0)])
            assert made.waiting >= 1
            broker.start()
            wait_until(lambda: made.problem() == "" and made.waiting == 0, 40.0)
        finally:
            made.close()


def test_who_has_no_rights_neither_acknowledges_nor_reads_signals_nor_publishes_scores(
    broker: Broker, tmp_path: Path
) -> None:
    done: list[tuple[str, str]] = []
    lock = threading.Lock()

    def request(action: str, args: Any, *, bed: str, actor: str) -> dict[str, Any]:
        with lock:
            done.append((action, actor))
        return {}

    made = output(broker, folder=tmp_path)
    made.serve(request)
    made.open()
    signal, everything = "pain/v1/bed1/signal/wrist-7/EDA", "pain/#"
    try:
        with (
            PlainClient(broker.settings("station"), everything) as station,
            PlainClient(broker.settings("nurse"), everything, "pain/v1/bed1/reply/nurse", signal) as nurse,
            PlainClient(broker.settings("guest"), everything, signal, "pain/v1/bed1/alarm/+") as guest,
            PlainClient(broker.settings("gateway-bed1"), everything, signal, "pain/v1/bed2/selfcheck") as gateway,
            PlainClient(broker.settings("station"), "pain/v1/+/score", "pain/v1/+/alarm/+", "pain/v1/+/action") as eye,
        ):
            wait_until(lambda: made.probe({}, 2.0) == "")
            count = 0

            def acknowledge(client: PlainClient, name: str) -> None:
                nonlocal count
                count += 1
                text = {
                    "id": str(count),
                    "t": time.time(),
                    "action": "acknowledge",
                    "args": {"condition": "pain_severe"},
                }
                client.publish(f"pain/v1/bed1/command/{name}", json.dumps(text).encode())

            made.publish("bed1", [made_alarm(1.0, condition="pain_severe")])
            wait_until(lambda: len(eye.on(ALARM)) == 1)
            for client, own in ((station, "station"), (guest, "guest"), (gateway, "gateway-bed1"), (nurse, "doctor")):
                acknowledge(client, own)
                acknowledge(client, "doctor")
                if client is not nurse:
                    acknowledge(client, "nurse")
                    client.publish("pain/v1/bed1/reply/nurse", b'{"ok": true}')
                for topic in ("score", "quality", "status", "heartbeat", "action", "alarm/pain_severe"):
                    client.publish(f"pain/v1/bed1/{topic}", b"{}", retain=True)
                client.publish(ALARM, b"", retain=True)  # would wipe out what stands
            gateway.publish(signal, b"x")
            action = AlarmAction(
                bed="bed1", t=2.0, t_rel=2.0, action="suspend", actor="nurse", before={}, after={}, text="x"
            )  # fmt: skip
            events: list[Event] = [action]
            made.publish("bed1", events)
            acknowledge(nurse, "nurse")
            wait_until(lambda: bool(nurse.on("pain/v1/bed1/reply/nurse")) and bool(eye.on("pain/v1/bed1/action")))
            for client in (station, nurse, guest, gateway, eye):
                client.settle()
            assert done == [("acknowledge", "mqtt:nurse")]
            assert {message.topic for message in nurse.messages} == {"pain/v1/bed1/reply/nurse"}
            assert [item["ok"] for item in said_on(nurse, "pain/v1/bed1/reply/nurse")] == [True]
            assert not guest.messages
            assert {message.topic for message in gateway.messages} <= {"pain/v1/bed1/selfcheck"}
            assert not [item for item in station.messages if "/signal/" in item.topic or "/command/" in item.topic]
            assert [item["event_id"] for item in said_on(eye, ALARM)] == [made_alarm(1.0).event_id]
            assert [item["action"] for item in said_on(eye, "pain/v1/bed1/action")] == ["suspend"]
            assert not eye.on("pain/v1/bed1/score")
        with PlainClient(broker.settings("station"), "pain/v1/bed1/alarm/+") as later:
            wait_until(lambda: bool(later.messages))
            assert said_on(later, ALARM)[0]["presence"] == "on", "what stands was neither replaced nor wiped out"
    finally:
        made.close()


@pytest.mark.parametrize("user", ["", "nobody", "nurse"])
def test_nobody_is_let_in_without_the_password(broker: Broker, user: str) -> None:
    answers: list[Any] = []
    client = paho.Client(paho.CallbackAPIVersion.VERSION2)
    if user:
        client.username_pw_set(user, "guessed")
    client.tls_set_context(tls_context(broker.settings()))
    client.on_connect = lambda _client, _data, _flags, code, _properties: answers.append(code)
    client.connect("localhost", broker.port)
    client.loop_start()
    try:
        wait_until(lambda: bool(answers))
    finally:
        client.disconnect()
        client.loop_stop()
    assert all(code.is_failure for code in answers)
