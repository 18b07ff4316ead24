"""The engine's side of `state` and `wave`: two sockets that never wait for anybody who listens."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Final

import cbor2
import zmq

from monitor.errors import EngineError
from monitor.frames import AttentionFrame, StateFrame, WaveBlock
from monitor.link.endpoints import beside, endpoint
from monitor.link.remote import RemoteDoor
from monitor.locks import run_dir

_LOGGER = logging.getLogger(__name__)

_WAVE_BACKLOG: Final = 256
"""Blocks that may wait for one slow listener, some ten seconds; then it loses the newest and sees a jump."""

_MAX_SUBSCRIPTION_BYTES: Final = 1024
"""A longer packet costs its sender the connection; the handshake of CURVE takes some 300 bytes."""


def wave_topic(bed: str) -> bytes:
    """Topic of a bed's samples."""
    return f"wave/{bed}\n".encode()


def attention_topic(bed: str) -> bytes:
    """Topic of a bed's attention maps; they are computed while somebody subscribes to it."""
    return f"attention/{bed}\n".encode()


class Publisher:
    """Sends frames to whoever listens. Opened by any thread, then used by one.

    Both sockets are bound beside the control socket of every bed. `state` is PUB with CONFLATE at both ends, so that
    a listener that was stopped finds the present and not the past. `wave` is XPUB: it tells who subscribes to what.

    Args:
        run: Folder of locks and sockets.
        beds: Names of the engine's beds.
        remote: Lets clients in on TCP, at two sockets more; None: nobody. It is opened and closed here.
    """

    def __init__(self, *, run: Path, beds: Sequence[str], remote: RemoteDoor | None = None) -> None:
        self._run_dir = run
        self._beds = list(beds)
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._remote = remote
        self._states: list[zmq.Socket[bytes]] = []
        self._waves: list[zmq.Socket[bytes]] = []
        self._subscribed: dict[zmq.Socket[bytes], set[bytes]] = {}

    def bind(self) -> None:
        """Open both sockets; the caller holds the beds' locks.

        Raises:
            EngineError: If an endpoint cannot be bound.
        """
        run_dir(self._run_dir.parent)
        self._context = zmq.Context()
        self._states, self._waves = [self._context.socket(zmq.PUB)], [self._context.socket(zmq.XPUB)]
        for kind, socket, prepare in (
            ("state", self._states[0], _prepare_state),
            ("wave", self._waves[0], _prepare_wave),
        ):
            prepare(socket)
            for bed in self._beds:
                address = beside(endpoint(self._run_dir, bed), kind)
                try:
                    socket.bind(address)
                    Path(address.removeprefix("ipc://")).chmod(0o600)
                except (zmq.ZMQError, OSError) as error:
                    self.close()
                    raise EngineError(f"the {kind} socket cannot be opened ({error})", where=address) from error
        if self._remote is not None:
            try:
                self._remote.open()
                self._states.append(self._remote.listen(zmq.PUB, "state", _prepare_state))
                self._waves.append(self._remote.listen(zmq.XPUB, "wave", _prepare_wave))
            except EngineError:
                self.close()
                raise
        self._subscribed = {socket: set() for socket in self._waves}

    def send_state(self, frame: StateFrame) -> None:
        """Send how everything stands."""
        _send(self._states, [cbor2.dumps(frame.model_dump())] if self._states else [])

    def send_waves(self, blocks: Iterable[WaveBlock]) -> None:
        """Send samples."""
        if self._waves:
            for block in blocks:
                _send(self._waves, [wave_topic(block.bed), cbor2.dumps(block.model_dump())])

    def send_attention(self, frame: AttentionFrame) -> None:
        """Send the maps of one window."""
        if self._waves:
            _send(self._waves, [attention_topic(frame.bed), cbor2.dumps(frame.model_dump())])

    def attention_wanted(self) -> frozenset[str]:
        """Beds whose attention somebody subscribes to now."""
        for socket in self._waves:
            self._read_subscriptions(socket)
        topics = set().union(*self._subscribed.values())
        return frozenset(bed for bed in self._beds if any(attention_topic(bed).startswith(topic) for topic in topics))

    def close(self) -> None:
        """Close both sockets and remove their endpoints. May be called twice."""
        for socket in (*self._states, *self._waves):
            socket.close()
        self._states, self._waves, self._subscribed = [], [], {}
        if self._remote is not None:
            self._remote.close()
        if self._context is not None:
            self._context.term()
            self._context = None
        for bed in self._beds:
            for kind in ("state", "wave"):
                address = beside(endpoint(self._run_dir, bed), kind)
                with contextlib.suppress(OSError):
                    Path(address.removeprefix("ipc://")).unlink(missing_ok=True)

    def _read_subscriptions(self, socket: zmq.Socket[bytes]) -> None:
        with contextlib.suppress(zmq.Again):
            while True:
                # XPUB counts for us: it tells the first subscription to a topic and the end of the last one, also
                # where a listener just vanishes. What else a stranger may send up is of no interest.
                packet = socket.recv_multipart(zmq.NOBLOCK)[0]
                if packet[:1] == b"\x01":
                    self._subscribed[socket].add(packet[1:])
                elif packet[:1] == b"\x00":
                    self._subscribed[socket].discard(packet[1:])


def _prepare_state(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.CONFLATE, 1)
    _prepare(socket)


def _prepare_wave(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.SNDHWM, _WAVE_BACKLOG)
    _prepare(socket)


def _prepare(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.LINGER, 0)
    socket.setsockopt(zmq.MAXMSGSIZE, _MAX_SUBSCRIPTION_BYTES)


def _send(sockets: Iterable[zmq.Socket[Any]], frames: list[bytes]) -> None:
    # PUB and XPUB drop for a listener that is too slow; they never make the sender wait.
    for socket in sockets:
        with contextlib.suppress(zmq.Again):
            socket.send_multipart(frames, zmq.NOBLOCK)
