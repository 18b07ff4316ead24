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
from monitor.locks import run_dir

_LOGGER = logging.getLogger(__name__)

_WAVE_BACKLOG: Final = 256
"""Blocks that may wait for one slow listener, some ten seconds; then it loses the newest and sees a jump."""

_MAX_SUBSCRIPTION_BYTES: Final = 256


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
    """

    def __init__(self, *, run: Path, beds: Sequence[str]) -> None:
        self._run_dir = run
        self._beds = list(beds)
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._state: zmq.Socket[bytes] | None = None
        self._wave: zmq.Socket[bytes] | None = None
        self._subscribed: set[bytes] = set()

    def bind(self) -> None:
        """Open both sockets; the caller holds the beds' locks.

        Raises:
            EngineError: If an endpoint cannot be bound.
        """
        run_dir(self._run_dir.parent)
        self._context = zmq.Context()
        self._state = self._context.socket(zmq.PUB)
        self._state.setsockopt(zmq.CONFLATE, 1)
        self._wave = self._context.socket(zmq.XPUB)
        self._wave.setsockopt(zmq.SNDHWM, _WAVE_BACKLOG)
        for kind, socket in (("state", self._state), ("wave", self._wave)):
            socket.setsockopt(zmq.LINGER, 0)
            socket.setsockopt(zmq.MAXMSGSIZE, _MAX_SUBSCRIPTION_BYTES)
            for bed in self._beds:
                address = beside(endpoint(self._run_dir, bed), kind)
                try:
                    socket.bind(address)
                    Path(address.removeprefix("ipc://")).chmod(0o600)
                except (zmq.ZMQError, OSError) as error:
                    self.close()
                    raise EngineError(f"the {kind} socket cannot be opened ({error})", where=address) from error

    def send_state(self, frame: StateFrame) -> None:
        """Send how everything stands."""
        if self._state is not None:
            _send(self._state, [cbor2.dumps(frame.model_dump())])

    def send_waves(self, blocks: Iterable[WaveBlock]) -> None:
        """Send samples."""
        if self._wave is not None:
            for block in blocks:
                _send(self._wave, [wave_topic(block.bed), cbor2.dumps(block.model_dump())])

    def send_attention(self, frame: AttentionFrame) -> None:
        """Send the maps of one window."""
        if self._wave is not None:
            _send(self._wave, [attention_topic(frame.bed), cbor2.dumps(frame.model_dump())])

    def attention_wanted(self) -> frozenset[str]:
        """Beds whose attention somebody subscribes to now."""
        self._read_subscriptions()
        return frozenset(
            bed for bed in self._beds if any(attention_topic(bed).startswith(topic) for topic in self._subscribed)
        )

    def close(self) -> None:
        """Close both sockets and remove their endpoints. May be called twice."""
        for socket in (self._state, self._wave):
            if socket is not None:
                socket.close()
        self._state = self._wave = None
        if self._context is not None:
            self._context.term()
            self._context = None
        for bed in self._beds:
            for kind in ("state", "wave"):
                address = beside(endpoint(self._run_dir, bed), kind)
                with contextlib.suppress(OSError):
                    Path(address.removeprefix("ipc://")).unlink(missing_ok=True)

    def _read_subscriptions(self) -> None:
        if self._wave is None:
            return
        with contextlib.suppress(zmq.Again):
            while True:
                # XPUB counts for us: it tells the first subscription to a topic and the end of the last one, also
                # where a listener just vanishes. What else a stranger may send up is of no interest.
                packet = self._wave.recv_multipart(zmq.NOBLOCK)[0]
                if packet[:1] == b"\x01":
                    self._subscribed.add(packet[1:])
                elif packet[:1] == b"\x00":
                    self._subscribed.discard(packet[1:])


def _send(socket: zmq.Socket[Any], frames: list[bytes]) -> None:
    # PUB and XPUB drop for a listener that is too slow; they never make the sender wait.
    with contextlib.suppress(zmq.Again):
        socket.send_multipart(frames, zmq.NOBLOCK)
