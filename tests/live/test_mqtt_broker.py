"""What can go wrong between a monitor and its broker, against a real mosquitto with the shipped access list."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.clock import SystemClock
from monitor.config import BedSettings, MqttSettings, StreamSettings
from monitor.errors import EngineError, SourceError
from monitor.outputs.mqtt import MqttOutput
from monitor.outputs.mqtt_player import play
from monitor.outputs.synthetic_playback import synthetic_packets, synthetic_specs
from monitor.sources.mqtt import MqttSource
from monitor.sources.mqtt_discovery import discover
from monitor.sources.synthetic import SyntheticPatient
from monitor.sources.wire import encode_cbor, encode_json
from monitor.sources.wire_packet import MAX_BYTES, Form, WirePacket
from monitor.types import AlarmEvent, AlarmKind, Chunk, Presence, Priority, StreamEvent, StreamInfo
from tests.helpers.broker import Broker, make_authority
from tests.helpers.mqtt_client import PlainClient
from tests.helpers.scripted import wait_until

pytestmark = pytest.mark.live

SIGNAL = "pain/v1/bed1/signal/wrist-7/EDA"
RATE = 32.0


class Reader:
    """Reads a source in a thread, as the engine does."""

    def __init__(self, source: MqttSource) -> None:
        self.source = source
        self.opened: list[StreamInfo] = []
        self.chunks: list[Chunk] = []
        self.events: list[StreamEvent] = []
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Reader:
        self.source.open()
        self._thread.start()
        return self

    def ready(self) -> Reader:
        wait_until(lambda: self.source.connected)
        return self

    def __exit__(self, *_: object) -> None:
        self._halt.set()
        self._thread.join()
        self.source.close()

    def said(self, words: str) -> bool:
        return any(words in event.detail for event in list(self.events))

    def samples(self) -> int:
        return sum(len(chunk) for chunk in list(self.chunks))

    def _run(self) -> None:
        while not self._halt.is_set():
            reading = self.source.read(0.2)
            self.opened += reading.opened
            self.chunks += reading.chunks
            self.events += reading.events


def source(settings: MqttSettings) -> MqttSource:
    bed = BedSettings(stream=(StreamSettings(source="mqtt", device="wrist-7", modality="EDA"),))
    return MqttSource(bed=bed, settings=settings, clock=SystemClock())


def packet(seq: int, *, run: str = "a", first: float) -> WirePacket:
    return WirePacket(
        form=Form.CBOR, run=run, seq=seq, device_clock=False, stamps=np.array([first + seq * 8 / RATE]), rate_hz=RATE,
        unit="uS", x=np.full(8, seq, dtype=np.float32),
    )  # fmt: skip


@contextmanager
def published(broker: Broker, output: MqttOutput) -> Iterator[Callable[..., None]]:
    """A running output; yields what passes events to it."""
    output.open()
    try:
        yield lambda *events: output.publish("bed1", list(events))
    finally:
        output.close()


def output(broker: Broker, request: Any = None) -> MqttOutput:
    made = MqttOutput(bed="bed1", bundles=(), settings=broker.settings(), clock=SystemClock())
    if request is not None:
        made.serve(request)
    return made


def alarm(condition: str, presence: Presence) -> AlarmEvent:
    now = time.monotonic()
    return AlarmEvent(
        bed="bed1", condition=condition, kind=AlarmKind.TECHNICAL, priority=Priority.LOW, presence=presence,
        event_id=str(uuid.uuid4()), onset=now, t=now, t_rel=0.0, text="Check the sensor.", index=None, bundle="tiny",
    )  # fmt: skip


def said_on(client: PlainClient, topic: str) -> list[dict[str, Any]]:
    return [json.loads(message.payload) for message in client.on(topic)]


# -- signals in -------------------------------------------------------------------------------------------------------


def test_bad_packets_cost_nothing_else_and_are_counted(broker: Broker) -> None:
    with Reader(source(broker.settings())) as reader, PlainClient(broker.settings("gateway-bed1")) as gateway:
        reader.ready()
        gateway.publish(SIGNAL, encode_cbor(packet(0, run="old", first=time.time())), retain=True)
        wait_until(lambda: reader.samples() == 8)
        first = time.time()
        for seq in range(20):
            write = encode_json if seq % 2 else encode_cbor
            gateway.publish(SIGNAL, write(packet(seq, first=first)))
            gateway.publish(SIGNAL, b"\x00" * 40, qos=0)
        gateway.publish(SIGNAL, encode_cbor(packet(3, first=first)))
        gateway.publish(SIGNAL, b"\x00" * (MAX_BYTES + 1))
        gateway.publish("pain/v1/bed1/signal/other/EDA", encode_cbor(packet(0, first=first)))
        gateway.publish(SIGNAL, encode_cbor(packet(22, first=first)))
        wait_until(lambda: reader.samples() == 8 + 21 * 8)
        assert sum(chunk.lost for chunk in reader.chunks) == 2 * 8
        refused = reader.source.refused
        assert refused["wrist-7/EDA", "malformed"] == 20
        assert refused["wrist-7/EDA", "repeated"] == 1
        assert refused["wrist-7/EDA", "oversized"] == 1
        assert refused["other/EDA", "topic"] == 1
    with Reader(source(broker.settings())) as late:  # the broker has kept the first packet
        wait_until(lambda: late.source.refused.get(("wrist-7/EDA", "retained")) == 1)
        assert not late.chunks


def test_a_killed_broker_costs_what_was_sent_meanwhile_and_no_more(broker: Broker) -> None:
    patient, stop = SyntheticPatient(part="test", number=1), threading.Event()
    packets = synthetic_packets(patient, ["EDA"], packet_s=0.25)
    played: list[float] = []

    def gateway() -> None:
        played.append(
            play(specs=synthetic_specs(patient, ["EDA"]), packets=packets, broker=broker.settings("gateway-bed1"),
                 bed="bed1", device="wrist-7", stop=stop)
        )  # fmt: skip

    def accounted() -> int:
        return reader.samples() + sum(chunk.lost for chunk in list(reader.chunks))

    with Reader(source(broker.settings())) as reader:
        reader.ready()
        player = threading.Thread(target=gateway)
        player.start()
        try:
            wait_until(lambda: reader.samples() > 2 * RATE)
            broker.kill()
            wait_until(lambda: reader.said("connection"))
            time.sleep(1.5)
            before = len(reader.chunks)
            broker.start()
            wait_until(lambda: len(reader.chunks) > before, 60.0)
        finally:
            stop.set()  # only now: how soon gateway and reader try again is left to chance
            player.join()
        expected = round(played[0] * RATE)
        assert expected > 3 * RATE
        wait_until(lambda: accounted() >= expected)
        assert accounted() == expected
        stamps = np.concatenate([chunk.stamps for chunk in reader.chunks])
        assert np.all(np.diff(stamps) > 0)
        resumed = reader.chunks[before]
        assert resumed.lost > RATE, "what was not sent is counted"
        assert len(reader.opened) >= 2, "the stream is announced again"
        assert len({info.origin for info in reader.opened}) == 1


# paho leaves it to the garbage collector to close the socket of a handshake that failed.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"password_file": "{station}"}, "refuses user"),
        ({"password_file": "/nowhere"}, "password cannot be read"),
        ({"ca_file": "{other}"}, "not to be trusted"),
        ({"ca_file": "{missing}"}, "cannot be read"),
        ({"host": "127.0.0.1"}, "certificate"),  # not the name that the certificate bears
        ({"tls": False, "ca_file": ""}, "does not answer"),
        ({"port": 9}, "cannot be reached"),
    ],
    ids=["password", "no-password", "authority", "no-authority", "name", "plain-text", "no-broker"],
)
def test_what_keeps_us_out_is_said_with_its_remedy(
    broker: Broker, tmp_path: Path, change: dict[str, Any], words: str
) -> None:
    other = tmp_path / "other.crt"
    make_authority(tmp_path / "other.key", other)
    places = {
        "station": str(broker.password_file("station")),
        "other": str(other),
        "missing": str(tmp_path / "none.crt"),
    }
    wrong = {key: value.format(**places) if isinstance(value, str) else value for key, value in change.items()}
    patient = SyntheticPatient(part="test", number=1)
    with pytest.raises(SourceError, match=words) as caught:
        play(
            specs=synthetic_specs(patient, ["EDA"]),
            packets=synthetic_packets(patient, ["EDA"], duration_s=1.0),
            broker=broker.settings("gateway-bed1", **wrong),
            bed="bed1",
            device="wrist-7",
            stop=threading.Event(),
        )
    assert caught.value.todo
    del caught
    gc.collect()


def test_a_client_without_rights_reads_and_changes_nothing(broker: Broker) -> None:
    with (
        Reader(source(broker.settings())) as reader,
        PlainClient(broker.settings("station"), "pain/v1/#") as station,
        PlainClient(broker.settings("nurse"), "pain/v1/#") as nurse,
        PlainClient(broker.settings("guest"), "pain/v1/#") as guest,
        PlainClient(broker.settings("gateway-bed1"), "pain/v1/#") as gateway,
        PlainClient(broker.settings("monitor"), "pain/v1/+/command/+", "pain/v1/+/signal/+/+") as monitor,
    ):
        reader.ready()
        first = time.time()
        station.publish(SIGNAL, encode_cbor(packet(0, first=first)))
        gateway.publish("pain/v1/bed2/signal/wrist-7/EDA", encode_cbor(packet(0, first=first)))
        gateway.publish("pain/v1/bed1/score", b"{}")
        station.publish("pain/v1/bed1/alarm/pain_severe", b"{}", retain=True)
        for nobody, name in ((station, "station"), (gateway, "gateway-bed1"), (guest, "guest"), (guest, "nurse")):
            nobody.publish(f"pain/v1/bed1/command/{name}", b"{}")
        guest.publish(SIGNAL, encode_cbor(packet(0, first=first)))
        guest.publish("pain/v1/bed1/score", b"{}")
        nurse.publish("pain/v1/bed1/command/doctor", b"{}")
        nurse.publish("pain/v1/bed1/command/nurse", b"{}")
        allowed = encode_cbor(packet(1, first=first))
        gateway.publish(SIGNAL, allowed)
        # A broker keeps the order of what it passes on, so whoever has the last word has had everything before it.
        monitor.publish("pain/v1/bed1/heartbeat", b"{}")
        monitor.publish("pain/v1/bed1/reply/nurse", b"{}")
        last = ((monitor, SIGNAL), (station, "pain/v1/bed1/heartbeat"), (nurse, "pain/v1/bed1/reply/nurse"))
        for client, topic in last:
            wait_until(lambda client=client, topic=topic: client.on(topic))
        wait_until(lambda: reader.samples() >= 8)
        for client in (station, nurse, guest, gateway, monitor):
            client.settle()
        assert reader.samples() == 8
        assert [(message.topic, message.payload) for message in monitor.messages] == [
            ("pain/v1/bed1/command/nurse", b"{}"),
            (SIGNAL, allowed),
        ]
        assert {message.topic for message in station.messages} == {"pain/v1/bed1/heartbeat"}
        assert {message.topic for message in nurse.messages} == {"pain/v1/bed1/reply/nurse"}
        assert not guest.messages
        assert {message.topic for message in gateway.messages} <= {"pain/v1/bed1/selfcheck"}


def test_a_route_that_the_access_list_cuts_is_noticed(broker: Broker) -> None:
    with Reader(source(broker.settings("station"))) as reader:
        wait_until(lambda: reader.said("does not give it back"), 30.0)
        assert reader.said("access list")


def test_streams_shows_what_a_broker_carries(broker: Broker) -> None:
    patient, stop = SyntheticPatient(part="test", number=1), threading.Event()
    player = threading.Thread(
        target=play,
        kwargs={
            "specs": synthetic_specs(patient, ["EDA"]), "broker": broker.settings("gateway-bed1"), "bed": "bed1",
            "packets": synthetic_packets(patient, ["EDA"], packet_s=0.25), "device": "wrist-7", "stop": stop,
        },
    )  # fmt: skip
    player.start()
    try:
        with (
            PlainClient(broker.settings("gateway-bed1")) as gateway,
            PlainClient(broker.settings("monitor"), SIGNAL) as monitor,
        ):
            gateway.publish("pain/v1/bed1/signal/broken/ECG", b"what?", retain=True)
            wait_until(lambda: bool(monitor.on(SIGNAL)))
            broken, good = discover(broker.settings(), 4.0, clock=SystemClock())
    finally:
        stop.set()
        player.join()
    assert (good.device, good.modality, good.unit, good.rate_claimed_hz) == ("wrist-7", "EDA", "uS", RATE)
    assert good.rate_measured_hz == pytest.approx(RATE, rel=0.01)
    assert good.lost == 0
    assert abs(good.stamp_minus_clock_s or 99) < 20.0
    assert 'source = "mqtt"' in good.config
    assert 'device = "wrist-7"' in good.config
    assert broken.refused == {"retained": 1}


# -- what goes out ----------------------------------------------------------------------------------------------------


def test_alarms_raised_while_the_broker_is_away_arrive_once_and_standing_ones_again(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The reader has to be back before the monitor, or it would see the last state of each condition only.
    back = threading.Event()
    monkeypatch.setattr("monitor.sources.broker.random.uniform", lambda _low, _high: 0.1 if back.wait(90.0) else 0.0)
    topics = {name: f"pain/v1/bed1/alarm/{name}" for name in ("no_data", "unscorable", "model_fault")}
    status = "pain/v1/bed1/status"
    with PlainClient(broker.settings("station"), "pain/v1/bed1/#") as station:
        with published(broker, output(broker)) as publish:
            standing, over = alarm("no_data", Presence.ON), alarm("model_fault", Presence.ON)
            wait_until(lambda: bool(station.on(status)))
            publish(standing, over)
            publish(alarm("model_fault", Presence.OFF))
            wait_until(lambda: len(station.on(topics["model_fault"])) == 2)
            broker.kill()
            missed = [alarm("unscorable", presence) for presence in (Presence.ON, Presence.OFF, Presence.ON)]
            publish(*missed)
            subscribed = station.subscribed
            broker.start()
            wait_until(lambda: station.subscribed > subscribed, 30.0)
            back.set()
            wait_until(lambda: len(station.on(topics["unscorable"])) >= 3, 40.0)
            beats = len(station.on("pain/v1/bed1/heartbeat"))
            wait_until(lambda: len(station.on("pain/v1/bed1/heartbeat")) > beats)
            assert [item["event_id"] for item in said_on(station, topics["unscorable"])] == [e.event_id for e in missed]
            assert [item["presence"] for item in said_on(station, topics["no_data"])] == ["on", "on"]
            assert {item["event_id"] for item in said_on(station, topics["no_data"])} == {standing.event_id}
            assert [item["presence"] for item in said_on(station, topics["model_fault"])] == ["on", "off", "off"]
        wait_until(lambda: said_on(station, status)[-1]["status"] == "offline")
    # Whoever comes later finds the standing alarms, and that the monitor is off.
    with PlainClient(broker.settings("station"), "pain/v1/bed1/#") as late:
        wait_until(lambda: len(late.messages) >= 4)
        kept = {message.topic: json.loads(message.payload) for message in late.messages if message.retained}
        assert kept[topics["unscorable"]]["presence"] == "on"
        assert kept[status]["status"] == "offline"
    # A monitor that is started anew does not leave the alarms of the last one standing.
    with (
        published(broker, output(broker)),
        PlainClient(broker.settings("station"), "pain/v1/bed1/#") as later,
    ):
        wait_until(lambda: [item["presence"] for item in said_on(later, topics["no_data"])][-1:] == ["off"])
        wait_until(lambda: [item["presence"] for item in said_on(later, topics["unscorable"])][-1:] == ["off"])


def test_commands_are_carried_out_once_and_answered_to_their_user(broker: Broker) -> None:
    done: list[tuple[str, dict[str, Any], str, str]] = []

    def request(action: str, args: Any, *, bed: str, actor: str) -> dict[str, Any]:
        if action == "nonsense":
            raise EngineError("there is no action 'nonsense'", todo="One of marker, nrs")
        done.append((action, dict(args), bed, actor))
        return {"bed": bed}

    mine, reply = "pain/v1/bed1/command/nurse", "pain/v1/bed1/reply/nurse"
    with (
        published(broker, output(broker, request)),
        PlainClient(broker.settings("nurse"), reply, "pain/v1/bed1/reply/doctor") as nurse,
        PlainClient(broker.settings("station"), "pain/v1/bed1/status") as station,
    ):
        wait_until(lambda: bool(station.messages))

        def ask(expected: int, **content: Any) -> dict[str, Any]:
            nurse.publish(mine, json.dumps({"t": time.time(), **content}).encode())
            wait_until(lambda: len(nurse.on(reply)) == expected)
            return said_on(nurse, reply)[-1]

        answer = ask(1, id="1", action="nrs", args={"value": 4})
        assert answer == {"v": 1, "id": "1", "ok": True, "result": {"bed": "bed1"}}
        assert ask(2, id="1", action="nrs", args={"value": 4})["reason"] == "repeated"
        assert ask(3, id="2", action="nonsense")["error"].startswith("there is no action")
        assert ask(4, id="3", action="marker", t=time.time() - 60)["reason"] == "expired"
        assert ask(5, id="4", action="marker", user="doctor")["reason"] == "user"
        assert done == [("nrs", {"value": 4}, "bed1", "mqtt:nurse")]
        nurse.publish(mine, json.dumps({"t": time.time(), "id": "5", "action": "nrs"}).encode(), retain=True)
        wait_until(lambda: len(done) == 2)
    done.clear()
    with PlainClient(broker.settings("nurse"), reply) as nurse, published(broker, output(broker, request)):
        wait_until(lambda: any(item["reason"] == "retained" for item in said_on(nurse, reply) if not item["ok"]))
        assert not done


def test_a_monitor_that_vanishes_is_offline_by_its_last_will(broker: Broker, tmp_path: Path) -> None:
    settings = broker.settings().model_dump_json()
    code = (
        "import sys, time\nfrom monitor.clock import SystemClock\nfrom monitor.config import MqttSettings\n"
        "from monitor.outputs.mqtt import MqttOutput\n"
        f"MqttOutput(bed='bed1', bundles=(), settings=MqttSettings.model_validate_json({settings!r}), "
        "clock=SystemClock()).open()\ntime.sleep(120)\n"
    )
    with PlainClient(broker.settings("station"), "pain/v1/bed1/status") as station:
        process = subprocess.Popen([sys.executable, "-c", code])
        try:
            wait_until(lambda: [item["status"] for item in said_on(station, "pain/v1/bed1/status")] == ["online"], 60.0)
        finally:
            process.kill()
            process.wait()
        wait_until(lambda: said_on(station, "pain/v1/bed1/status")[-1]["status"] == "offline")
        assert said_on(station, "pain/v1/bed1/status")[-1]["reason"] == "lost"
