"""The control link: acknowledged when done, strict, private, and not to be killed by what comes in."""

from __future__ import annotations

import stat
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cbor2
import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import EngineError
from monitor.link import MAX_REQUEST_BYTES, ControlClient, ControlServer, decode_request, endpoint
from monitor.locks import BedLock, run_dir

GOOD = {"id": "1", "actor": "nurse", "bed": "bed1", "action": "marker", "args": {"kind": "note", "text": "x"}}


class Handled:
    """Remembers what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, dict[str, Any], str, str]] = []

    def __call__(self, action: str, args: Mapping[str, Any], *, bed: str, actor: str) -> dict[str, Any]:
        self.asked.append((action, dict(args), bed, actor))
        if action == "refuse":
            raise EngineError("that cannot be", where=bed)
        if action == "late":
            raise TimeoutError("not executed within 10 s")
        if action == "defect":
            raise ZeroDivisionError("of ours")
        return {"count": len(self.asked)}


@pytest.fixture
def state(tmp_path: Path) -> Path:
    return tmp_path


@pytest.fixture
def served(state: Path) -> Iterator[Handled]:
    lock = BedLock(state=state, bed="bed1")
    lock.acquire()
    handled = Handled()
    server = ControlServer(run=state / "run", beds=["bed1", "bed2"], handle=handled)
    server.bind()
    server.start()
    yield handled
    server.stop()
    lock.release()


@pytest.fixture
def raw(state: Path, served: Handled) -> Iterator[Callable[[list[bytes]], bytes | None]]:
    """Sends frames as they are, and returns the answer or None."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    socket = context.socket(zmq.DEALER)
    socket.setsockopt(zmq.LINGER, 0)
    socket.connect(endpoint(state / "run", "bed1"))

    def send(frames: list[bytes]) -> bytes | None:
        socket.send_multipart(frames)
        return socket.recv() if socket.poll(300 if len(frames) > 1 else 20_000) else None

    yield send
    socket.close()
    context.term()


def test_a_request_is_answered_with_its_result(state: Path, served: Handled) -> None:
    client = ControlClient(state_dir=state, bed="bed1", actor="nurse")
    assert client.request("marker", {"kind": "note"}) == {"count": 1}
    assert client.request("nrs", {"value": 3}) == {"count": 2}
    assert served.asked == [
        ("marker", {"kind": "note"}, "bed1", "nurse"),
        ("nrs", {"value": 3}, "bed1", "nurse"),
    ]


@pytest.mark.parametrize(
    ("action", "said"), [("refuse", "that cannot be"), ("late", "not executed"), ("defect", "ZeroDivisionError")]
)
def test_what_goes_wrong_is_told_and_the_next_request_is_served(
    state: Path, served: Handled, action: str, said: str
) -> None:
    client = ControlClient(state_dir=state, bed="bed1")
    with pytest.raises(EngineError, match=said):
        client.request(action)
    assert client.request("status") == {"count": 2}


def test_without_an_engine_the_user_is_told_how_to_start_one(state: Path) -> None:
    with pytest.raises(EngineError, match="pain-monitor daemon CONFIG"):
        ControlClient(state_dir=state, bed="bed1").request("status")
    assert not (state / "run").exists()


def test_an_engine_that_does_not_answer_is_told_after_the_time(state: Path) -> None:
    lock = BedLock(state=state, bed="bed1")
    lock.acquire()
    with pytest.raises(EngineError, match=r"does not answer within 0\.2 s"):
        ControlClient(state_dir=state, bed="bed1").request("status", timeout=0.2)
    lock.release()


def test_nobody_else_can_open_the_sockets(state: Path, served: Handled) -> None:
    for bed in ("bed1", "bed2"):
        path = Path(endpoint(state / "run", bed).removeprefix("ipc://"))
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((state / "run").stat().st_mode) == 0o700


def test_the_sockets_go_with_the_engine(state: Path) -> None:
    run = run_dir(state)
    server = ControlServer(run=run, beds=["bed1"], handle=Handled())
    server.bind()
    server.start()
    server.stop()
    assert list(run.glob("*.sock")) == []


def test_a_deep_state_folder_gets_short_sockets(tmp_path: Path) -> None:
    run = run_dir(tmp_path / ("deep" * 20) / ("deeper" * 10))
    address = endpoint(run, "b" * 32)
    assert len(address.removeprefix("ipc://")) <= 100
    assert address != endpoint(run, "c" * 32)
    server = ControlServer(run=run, beds=["b" * 32], handle=Handled())
    server.bind()
    server.stop()


def test_a_request_under_the_same_id_is_done_once(raw: Callable[[list[bytes]], bytes | None], served: Handled) -> None:
    first, second = raw([cbor2.dumps(GOOD)]), raw([cbor2.dumps(GOOD)])
    assert first is not None
    assert first == second
    assert cbor2.loads(first) == {"id": "1", "ok": True, "error": "", "result": {"count": 1}}
    assert len(served.asked) == 1


@pytest.mark.parametrize(
    "packet",
    [
        b"",
        b"not cbor at all",
        cbor2.dumps([1, 2]),
        cbor2.dumps(GOOD) + b"\x00",
        cbor2.dumps(GOOD)[:-1],
        cbor2.dumps({**GOOD, "extra": 1}),
        cbor2.dumps({**GOOD, "id": 7}),
        cbor2.dumps({**GOOD, "id": "x" * 65}),
        cbor2.dumps({**GOOD, "args": [1]}),
        cbor2.dumps({**GOOD, "args": {"deep": {"er": 1}}}),
        cbor2.dumps({k: v for k, v in GOOD.items() if k != "action"}),
        b"\x9f" * 5000,
        b"\x81" * 60_000,
    ],
    ids=range(13),
)
def test_a_malformed_packet_is_refused_and_does_no_harm(
    raw: Callable[[list[bytes]], bytes | None], served: Handled, packet: bytes
) -> None:
    answer = raw([packet])
    assert answer is not None
    reply = cbor2.loads(answer)
    assert (reply["ok"], served.asked) == (False, [])
    assert reply["error"].startswith("malformed request")
    good = raw([cbor2.dumps(GOOD)])
    assert good is not None
    assert cbor2.loads(good)["ok"]


def test_packets_of_several_frames_are_dropped(raw: Callable[[list[bytes]], bytes | None], served: Handled) -> None:
    assert raw([cbor2.dumps(GOOD), b"more"]) is None
    assert raw([cbor2.dumps(GOOD)]) is not None
    assert len(served.asked) == 1


def test_a_packet_that_is_too_long_costs_its_sender_the_connection_and_nobody_else(
    raw: Callable[[list[bytes]], bytes | None], state: Path, served: Handled
) -> None:
    raw([b"x" * (MAX_REQUEST_BYTES + 1), b""])
    assert ControlClient(state_dir=state, bed="bed1").request("status") == {"count": 1}


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_request_or_a_value_error(packet: bytes) -> None:
    try:
        decode_request(packet)
    except ValueError:
        return
    assert isinstance(cbor2.loads(packet), dict)


def test_several_clients_at_once_each_get_their_own_answer(state: Path, served: Handled) -> None:
    answers: list[int] = []

    def ask() -> None:
        answers.append(ControlClient(state_dir=state, bed="bed1").request("status")["count"])

    threads = [threading.Thread(target=ask) for _ in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [1, 2, 3, 4, 5]
