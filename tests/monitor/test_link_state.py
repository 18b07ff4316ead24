"""State, samples and attention over real sockets: the present, never the past, and nobody can hold up the engine."""

from __future__ import annotations

import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cbor2
import pytest
import zmq

from benchmarks.screen_frames import attention, bed_state, state, wave
from monitor.errors import EngineError
from monitor.link import (
    LINK_VERSION,
    ControlServer,
    EngineLink,
    Publisher,
    Received,
    StateFrame,
    attention_topic,
    beside,
    endpoint,
    wave_topic,
)
from monitor.locks import run_dir


@pytest.fixture
def address(tmp_path: Path) -> str:
    return endpoint(run_dir(tmp_path), "bed1")


@pytest.fixture
def publisher(tmp_path: Path, address: str) -> Iterator[Publisher]:
    publisher = Publisher(run=tmp_path / "run", beds=["bed1", "bed2"])
    publisher.bind()
    yield publisher
    publisher.close()


@pytest.fixture
def link(address: str) -> Iterator[EngineLink]:
    link = EngineLink(address=address, actor="nurse")
    yield link
    link.close()


def fetch(link: EngineLink, what: Callable[[Received], object], act: Callable[[], object] = lambda: None) -> Received:
    """Repeat something until the link has received what is looked for."""
    end = time.monotonic() + 30.0
    while time.monotonic() < end:
        act()
        received = link.receive()
        if what(received):
            return received
        time.sleep(0.01)
    raise AssertionError("it never came")


def test_a_state_arrives_as_it_was_sent(publisher: Publisher, link: EngineLink) -> None:
    frame = state(bed_state(), seq=7)
    received = fetch(link, lambda r: r.state, lambda: publisher.send_state(frame))
    assert received.state == frame
    assert link.problem == ""


def test_samples_and_attention_come_for_the_watched_bed_only(publisher: Publisher, link: EngineLink) -> None:
    link.watch("bed1", attention=True)
    fetch(link, lambda _: publisher.attention_wanted() == {"bed1"})
    blocks = [wave("ECG", 0.0, 1.0), wave("ECG", 0.0, 1.0).model_copy(update={"bed": "bed2"})]
    publisher.send_waves(blocks)
    publisher.send_attention(attention(30))
    got: list[object] = []
    maps: list[object] = []

    def collect(received: Received) -> bool:
        got.extend(received.waves)
        maps.append(received.attention)
        return any(maps)

    fetch(link, collect)
    assert got == blocks[:1]
    assert maps[-1] == attention(30)


def test_attention_is_wanted_exactly_while_somebody_looks(publisher: Publisher, address: str) -> None:
    assert publisher.attention_wanted() == frozenset()
    first, second = EngineLink(address=address), EngineLink(address=address)
    first.watch("bed1", attention=True)
    second.watch("bed1", attention=True)
    fetch(first, lambda _: publisher.attention_wanted() == {"bed1"})
    first.close()
    second.watch("bed1", attention=True)
    time.sleep(0.1)
    assert publisher.attention_wanted() == {"bed1"}
    second.watch("bed2", attention=True)
    fetch(second, lambda _: publisher.attention_wanted() == {"bed2"})
    second.watch("bed2", attention=False)
    fetch(second, lambda _: publisher.attention_wanted() == frozenset())
    second.close()


_LISTENER = """
import sys, time
from monitor.link import EngineLink
link = EngineLink(address=sys.argv[1])
link.watch("bed1", attention=True)
while True:
    received = link.receive()
    if received.state is not None:
        print(received.state.seq, flush=True)
    time.sleep(0.02)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="there is no SIGSTOP on this system")
def test_a_stopped_listener_holds_up_nobody_and_finds_the_present(publisher: Publisher, address: str) -> None:
    child = subprocess.Popen([sys.executable, "-c", _LISTENER, address], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    os.set_blocking(child.stdout.fileno(), False)
    seq = 0

    def send() -> None:
        nonlocal seq
        seq += 1
        publisher.send_state(state(bed_state(), seq=seq))
        publisher.send_waves([wave("ECG", 0.0, 1.0)] * 20)
        publisher.send_attention(attention(30))
        publisher.attention_wanted()

    try:
        end = time.monotonic() + 60.0
        while not child.stdout.readline() and time.monotonic() < end:
            send()
            time.sleep(0.02)
        os.kill(child.pid, signal.SIGSTOP)
        for _ in range(2000):  # far more than any buffer between the two can hold
            send()
        while child.stdout.readline():
            pass
        os.kill(child.pid, signal.SIGCONT)
        stopped_at, seen = seq, []
        end = time.monotonic() + 60.0
        while (not seen or seen[-1] <= stopped_at) and time.monotonic() < end:
            send()
            time.sleep(0.02)
            seen += [int(text) for text in child.stdout.readlines()]
    finally:
        child.kill()
        child.wait()
        child.stdout.close()
    assert seen[-1] > stopped_at
    assert len([number for number in seen if number <= stopped_at]) <= 2, "it was told the past"


def raw(address: str, kind: int) -> tuple[zmq.Context[zmq.Socket[bytes]], zmq.Socket[bytes]]:
    """A socket of somebody who does not play by the rules."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(kind)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(address)
    return context, socket


def test_nothing_that_a_listener_sends_up_does_harm(publisher: Publisher, link: EngineLink, address: str) -> None:
    context, hostile = raw(beside(address, "wave"), zmq.XSUB)
    for packet in (
        b"",
        b"\x01",
        b"\x00",
        b"\x01attention/bed1",
        b"\x02junk",
        b"\x01" + b"x" * 200,
        b"\x01" + b"y" * 5000,
    ):
        hostile.send(packet)
    link.watch("bed1", attention=True)
    fetch(link, lambda _: "bed1" in publisher.attention_wanted())
    fetch(link, lambda r: r.waves, lambda: publisher.send_waves([wave("EDA", 0.0, 1.0)]))
    hostile.close()
    context.term()
    fetch(link, lambda _: publisher.attention_wanted() == {"bed1"})


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"\x9f" * 3000,
        cbor2.dumps([1]),
        cbor2.dumps({"v": LINK_VERSION}),
        cbor2.dumps({**state(bed_state()).model_dump(), "beds": 3}),
    ],
    ids=range(5),
)
def test_a_malformed_state_is_told_and_the_next_good_one_is_shown(address: str, packet: bytes) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(beside(address, "state"))
    link = EngineLink(address=address)
    try:
        fetch(link, lambda _: link.problem, lambda: socket.send(packet))
        good = state(bed_state())
        fetch(link, lambda r: r.state, lambda: socket.send(cbor2.dumps(good.model_dump())))
        assert link.problem == ""
    finally:
        link.close()
        socket.close()
        context.term()


def test_an_engine_of_another_version_is_named(address: str) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(beside(address, "state"))
    link = EngineLink(address=address)
    try:
        newer = cbor2.dumps({"v": LINK_VERSION + 1, "everything": "else"})
        fetch(link, lambda _: f"version {LINK_VERSION + 1}" in link.problem, lambda: socket.send(newer))
    finally:
        link.close()
        socket.close()
        context.term()


def test_fields_that_a_newer_engine_adds_are_ignored() -> None:
    content = state(bed_state()).model_dump()
    content["beds"][0]["hologram"] = 1
    assert StateFrame.model_validate({**content, "more": 2}) == state(bed_state())


@pytest.mark.parametrize("topic", [wave_topic("bed1"), attention_topic("bed1"), b"else"])
def test_malformed_samples_are_dropped(address: str, topic: bytes) -> None:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.PUB)
    socket.setsockopt(zmq.LINGER, 0)
    socket.bind(beside(address, "wave"))
    link = EngineLink(address=address)
    link.watch("bed1", attention=True)
    good = [wave_topic("bed1"), cbor2.dumps(wave("ECG", 0.0, 1.0).model_dump())]
    try:
        for frames in ([topic, b"junk"], [topic], [topic, b"a", b"b"], [topic, cbor2.dumps({"v": LINK_VERSION})]):
            fetch(
                link,
                lambda r: r.waves,
                lambda frames=frames: (socket.send_multipart(frames), socket.send_multipart(good)),
            )
    finally:
        link.close()
        socket.close()
        context.term()


def test_nobody_else_can_open_the_sockets_and_they_go_with_the_engine(tmp_path: Path, publisher: Publisher) -> None:
    paths = [
        Path(beside(endpoint(tmp_path / "run", bed), kind).removeprefix("ipc://"))
        for bed in ("bed1", "bed2")
        for kind in ("state", "wave")
    ]
    assert [stat.S_IMODE(path.stat().st_mode) for path in paths] == [0o600] * 4
    publisher.close()
    assert not any(path.exists() for path in paths)
    publisher.send_state(state(bed_state()))


def test_sockets_of_a_deep_state_folder_fit_every_system(tmp_path: Path) -> None:
    run = run_dir(tmp_path / ("deep" * 20) / ("deeper" * 10))
    address = endpoint(run, "b" * 32)
    assert all(len(os.fsencode(beside(address, kind).removeprefix("ipc://"))) <= 103 for kind in ("state", "wave"))
    publisher = Publisher(run=run, beds=["b" * 32])
    publisher.bind()
    publisher.close()


def test_a_request_without_an_engine_fails_at_once_and_is_not_done_later(tmp_path: Path, address: str) -> None:
    link = EngineLink(address=address, actor="nurse")
    number = link.request("marker", {"kind": "note", "text": "x"}, bed="bed1")
    replies = fetch(link, lambda r: r.replies).replies
    assert [(reply.id, reply.ok) for reply in replies] == [(number, False)]
    asked: list[str] = []

    def handle(action: str, args: object, *, bed: str, actor: str) -> dict[str, object]:
        asked.append(action)
        return {}

    server = ControlServer(run=tmp_path / "run", beds=["bed1"], handle=handle)  # type: ignore[arg-type]
    server.bind()
    server.start()
    try:
        fetch(link, lambda r: any(reply.ok for reply in r.replies), lambda: link.request("status", bed="bed1"))
    finally:
        link.close()
        server.stop()
    assert "marker" not in asked


@pytest.mark.parametrize(
    ("address", "words"), [("tcp://192.0.2.1:5555", "without a key"), ("inproc://x", "ipc://"), ("bed1", "ipc://")]
)
def test_only_local_sockets_are_connected_to_without_a_key(address: str, words: str) -> None:
    with pytest.raises(EngineError, match=words):
        EngineLink(address=address)
