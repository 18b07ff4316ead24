"""A screen's side of the link: everything that an engine tells, and requests to it, without ever waiting."""

from __future__ import annotations

import contextlib
import io
import logging
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import cbor2
import zmq

from monitor.errors import EngineError
from monitor.frames import AttentionFrame, FrameError, StateFrame, WaveBlock, parse
from monitor.link.control import present
from monitor.link.endpoints import beside, tcp_address
from monitor.link.keys import ClientKeys
from monitor.link.publisher import attention_topic, wave_topic

_LOGGER = logging.getLogger(__name__)

REPLY_S: Final = 5.0
"""A request without an answer for so long has failed."""

_BACKLOG: Final = 1024
_FAREWELL_MS: Final = 100
_MAX_FRAME_BYTES: Final = 16 * 2**20


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What became of a request."""

    id: str
    action: str
    ok: bool
    error: str = ""
    result: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Received:
    """What came since the last look."""

    state: StateFrame | None = None
    waves: tuple[WaveBlock, ...] = ()
    attention: AttentionFrame | None = None
    replies: tuple[Reply, ...] = ()


@dataclass(slots=True)
class _Pending:
    action: str
    deadline: float


class EngineLink:
    """Listens to one engine and asks it things. Reconnects by itself for as long as it lives; for one thread.

    Args:
        address: Address of a bed's control socket, ipc://PATH or, with keys, tcp://HOST:PORT; `state` and `wave` lie
            beside it.
        actor: Who asks; written into the session.
        keys: For an address on TCP.

    Raises:
        EngineError: If the address is of no kind that is allowed, or has no keys where it needs them.
    """

    def __init__(self, *, address: str, actor: str = "operator", keys: ClientKeys | None = None) -> None:
        if address.startswith("tcp://"):
            tcp_address(address, "control")
            if keys is None:
                raise EngineError(
                    "cannot be reached without a key",
                    where=address,
                    todo="TCP without keys would let anybody listen and command: name yours with --key",
                )
        elif not address.startswith("ipc://"):
            raise EngineError("only ipc:// and tcp:// addresses can be connected to", where=address)
        self._keys = keys if address.startswith("tcp://") else None
        self.address = address
        self.problem = ""
        """Why what the engine sends cannot be shown; empty while it can."""
        self._actor = actor
        self._bed = ""
        self._attention = False
        self._pending: dict[str, _Pending] = {}
        self._failed: list[Reply] = []
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        self._state = self._socket(zmq.SUB)
        self._state.setsockopt(zmq.CONFLATE, 1)  # a plain SUB keeps the oldest frames, not the newest
        self._state.setsockopt(zmq.SUBSCRIBE, b"")
        self._wave = self._socket(zmq.SUB)
        self._wave.setsockopt(zmq.RCVHWM, _BACKLOG)
        self._control = self._socket(zmq.DEALER)
        # Without it a request would wait for an engine that is not there, and be done by one that comes much later.
        self._control.setsockopt(zmq.IMMEDIATE, 1)
        self._state.connect(beside(address, "state"))
        self._wave.connect(beside(address, "wave"))
        self._control.connect(address)

    def watch(self, bed: str, *, attention: bool) -> None:
        """Choose the bed whose samples are wanted, and whether its attention maps are computed."""
        if (bed, attention) == (self._bed, self._attention):
            return
        if self._bed:
            self._wave.setsockopt(zmq.UNSUBSCRIBE, wave_topic(self._bed))
            if self._attention:
                self._wave.setsockopt(zmq.UNSUBSCRIBE, attention_topic(self._bed))
        self._bed, self._attention = bed, attention
        self._wave.setsockopt(zmq.SUBSCRIBE, wave_topic(bed))
        if attention:
            self._wave.setsockopt(zmq.SUBSCRIBE, attention_topic(bed))

    def request(self, action: str, args: Mapping[str, Any] | None = None, *, bed: str = "") -> str:
        """Ask for something; the answer comes out of `receive`.

        Args:
            action: See `monitor.actions`.
            args: Its arguments.
            bed: Which bed; the watched one if left out.

        Returns:
            The id that its reply will bear.
        """
        number = uuid.uuid4().hex
        message = {
            "id": number,
            "actor": self._actor,
            "bed": bed or self._bed,
            "action": action,
            "args": dict(args or {}),
        }
        try:
            self._control.send(cbor2.dumps(message), zmq.NOBLOCK)
        except zmq.Again:
            self._failed.append(Reply(id=number, action=action, ok=False, error="there is no connection to the engine"))
        else:
            self._pending[number] = _Pending(action, time.monotonic() + REPLY_S)
        return number

    def receive(self) -> Received:
        """Everything that has come since the last call."""
        state = None
        with contextlib.suppress(zmq.Again):
            state = self._parsed_state(self._state.recv(zmq.NOBLOCK))
        waves: list[WaveBlock] = []
        attention = None
        for packet in self._packets():
            frame = self._parsed_wave(packet)
            if isinstance(frame, WaveBlock):
                waves.append(frame)
            elif frame is not None:
                attention = frame
        return Received(state=state, waves=tuple(waves), attention=attention, replies=tuple(self._replies()))

    def close(self) -> None:
        """Close all sockets. May be called twice."""
        for socket in (self._state, self._wave):
            socket.close()
        self._control.close(linger=_FAREWELL_MS)
        self._context.term()

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.MAXMSGSIZE, _MAX_FRAME_BYTES)
        if self._keys is not None:
            present(socket, self._keys)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, 1000)
        return socket

    def _packets(self) -> list[list[bytes]]:
        packets: list[list[bytes]] = []
        with contextlib.suppress(zmq.Again):
            while len(packets) < 2 * _BACKLOG:  # whoever floods us must not hold up the screen
                packets.append(self._wave.recv_multipart(zmq.NOBLOCK))
        return packets

    def _parsed_state(self, packet: bytes) -> StateFrame | None:
        try:
            frame = parse(StateFrame, _decode(packet))
        except FrameError as error:
            self.problem = str(error)
            return None
        self.problem = ""
        return frame

    def _parsed_wave(self, packet: list[bytes]) -> WaveBlock | AttentionFrame | None:
        if len(packet) != 2 or not self._bed:
            return None
        try:
            if packet[0] == attention_topic(self._bed):
                return parse(AttentionFrame, _decode(packet[1]))
            if packet[0] == wave_topic(self._bed):
                return parse(WaveBlock, _decode(packet[1]))
        except FrameError as error:
            _LOGGER.debug("a frame was dropped: %s", error)
        return None

    def _replies(self) -> list[Reply]:
        replies, self._failed = self._failed, []
        with contextlib.suppress(zmq.Again):
            while True:
                content = self._reply(self._control.recv(zmq.NOBLOCK))
                if content is not None:
                    replies.append(content)
        now = time.monotonic()
        for number in [number for number, pending in self._pending.items() if pending.deadline < now]:
            action = self._pending.pop(number).action
            replies.append(Reply(id=number, action=action, ok=False, error="the engine does not answer"))
        return replies

    def _reply(self, packet: bytes) -> Reply | None:
        try:
            content = _decode(packet)
        except FrameError:
            return None
        if not isinstance(content, dict) or (pending := self._pending.pop(str(content.get("id")), None)) is None:
            return None
        result = content.get("result")
        return Reply(
            id=str(content["id"]),
            action=pending.action,
            ok=content.get("ok") is True,
            error=str(content.get("error", "")),
            result=result if isinstance(result, dict) else {},
        )


def _decode(packet: bytes) -> Any:
    stream = io.BytesIO(packet)
    try:
        return cbor2.load(stream)
    except Exception as error:  # hostile bytes bring out nearly anything, up to a RecursionError
        raise FrameError(f"not CBOR ({type(error).__name__})") from error
