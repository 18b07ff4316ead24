"""Requests to an engine, and its answers: a ROUTER on one ipc endpoint a bed, which only the engine's user can open.

A request is one CBOR map {id, actor, bed, action, args}, a reply {id, ok, error, result}; the reply is sent
when the pipeline thread has done what was asked, not before. A request that is repeated under the same id is answered
again and not done again.
"""

from __future__ import annotations

import contextlib
import io
import logging
import threading
import uuid
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Protocol

import cbor2
import zmq
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monitor.errors import EngineError, MonitorError
from monitor.link.endpoints import endpoint
from monitor.locks import holder, run_dir

_LOGGER = logging.getLogger(__name__)

MAX_REQUEST_BYTES: Final = 65_536
"""A longer packet is refused by the socket itself."""

_POLL_S: Final = 0.25
_REMEMBERED: Final = 256


class Request(BaseModel):
    """What an operator asks, as it comes off the wire."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, use_attribute_docstrings=True)

    id: Annotated[str, Field(min_length=1, max_length=64)]
    """Chosen by the client, another one for each request."""
    actor: Annotated[str, Field(max_length=64)]
    """Who asks."""
    bed: Annotated[str, Field(max_length=32)] = ""
    action: Annotated[str, Field(max_length=32)]
    args: dict[str, str | int | float | bool | None] = {}


class Handler(Protocol):
    """Does what is asked; `Engine.request`."""

    def __call__(self, action: str, args: Mapping[str, Any], *, bed: str, actor: str) -> dict[str, Any]: ...  # noqa: D102


def decode_request(packet: bytes) -> Request:
    """Decode a request strictly: one CBOR map, plain values, nothing after it.

    Raises:
        ValueError: If it is anything else.
    """
    stream = io.BytesIO(packet)
    try:
        content = cbor2.load(stream)
    except Exception as error:  # hostile bytes bring out nearly anything, up to a RecursionError
        raise ValueError(f"not CBOR ({type(error).__name__})") from error
    if stream.tell() != len(packet):
        raise ValueError("something follows the CBOR map")
    try:
        return Request.model_validate(content)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, item['loc'][:2]))}: {item['msg']}" for item in error.errors()[:5])
        raise ValueError(problems) from error


class ControlServer:
    """The engine's control socket, answered by a thread of its own.

    Requests are handled one after another: each takes the pipeline thread a moment, and an operator's next one should
    see what the last one did.

    Args:
        run: Folder of locks and sockets.
        beds: Names of the engine's beds; each gets an endpoint, and any request may name any of them.
        handle: Does what is asked.
    """

    def __init__(self, *, run: Path, beds: Sequence[str], handle: Handler) -> None:
        self._run_dir = run
        self._beds = list(beds)
        self._handle = handle
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._answered: OrderedDict[tuple[bytes, str], bytes] = OrderedDict()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._serve, name="control", daemon=True)

    def bind(self) -> None:
        """Open the socket; the caller holds the beds' locks, so a socket file that is there is a dead engine's.

        Raises:
            EngineError: If an endpoint cannot be bound.
        """
        run_dir(self._run_dir.parent)
        self._context = zmq.Context()
        self._socket = self._context.socket(zmq.ROUTER)
        self._socket.setsockopt(zmq.LINGER, 200)
        self._socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)
        for bed in self._beds:
            address = endpoint(self._run_dir, bed)
            try:
                self._socket.bind(address)
                Path(address.removeprefix("ipc://")).chmod(0o600)
            except (zmq.ZMQError, OSError) as error:
                self._close()
                raise EngineError(f"the control socket cannot be opened ({error})", where=address) from error

    def start(self) -> None:
        """Start answering."""
        self._thread.start()

    def stop(self) -> None:
        """Stop answering and remove the endpoints. May be called without `start`."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(2.0)  # longer only while the pipeline hangs under a request
        else:
            self._close()

    def _serve(self) -> None:
        assert self._socket is not None
        try:
            while not self._stop.is_set():
                try:
                    if self._socket.poll(int(1000 * _POLL_S)):
                        self._answer(self._socket.recv_multipart())
                except Exception:  # nothing that a client sends may end the thread
                    _LOGGER.exception("a request failed")
        finally:
            self._close()

    def _answer(self, frames: list[bytes]) -> None:
        assert self._socket is not None
        if len(frames) != 2:
            _LOGGER.warning("a control packet of %d frames was dropped", len(frames))
            return
        client, packet = frames
        try:
            request = decode_request(packet)
        except ValueError as error:
            _LOGGER.warning("a malformed request was refused: %s", error)
            self._socket.send_multipart([client, _reply("", error=f"malformed request: {error}")])
            return
        key = (client, request.id)
        reply = self._answered.get(key)
        if reply is None:
            reply = self._answered[key] = self._do(request)
            while len(self._answered) > _REMEMBERED:
                self._answered.popitem(last=False)
        self._socket.send_multipart([client, reply])

    def _do(self, request: Request) -> bytes:
        try:
            result = self._handle(request.action, request.args, bed=request.bed, actor=request.actor)
        except MonitorError as error:
            return _reply(request.id, error=str(error))
        except TimeoutError as error:
            return _reply(request.id, error=f"{error}; look at the engine's log")
        except Exception as error:  # a defect of ours: the operator gets an answer, the log the traceback
            _LOGGER.exception("request %s of %s failed", request.action, request.actor)
            return _reply(request.id, error=f"the engine failed: {type(error).__name__}: {error}")
        return _reply(request.id, result=result)

    def _close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._context is not None:
            self._context.term()
            self._context = None
        for bed in self._beds:
            with contextlib.suppress(OSError):
                Path(endpoint(self._run_dir, bed).removeprefix("ipc://")).unlink(missing_ok=True)


class ControlClient:
    """Commands the engine that monitors a bed.

    Args:
        state_dir: State folder of the engine.
        bed: Name of the bed.
        actor: Who asks; written into the session.
    """

    def __init__(self, *, state_dir: Path, bed: str, actor: str = "operator") -> None:
        self._state = state_dir
        self._bed = bed
        self._actor = actor

    def request(self, action: str, args: Mapping[str, Any] | None = None, *, timeout: float = 5.0) -> dict[str, Any]:
        """Ask, and wait until it is done.

        Args:
            action: marker, nrs, recalibrate, new_session, status, streams.
            args: Its arguments; see `monitor.actions`.
            timeout: Seconds to wait for the answer.

        Returns:
            The result.

        Raises:
            EngineError: If no engine monitors the bed, it does not answer, or it refuses.
        """
        if holder(state=self._state, bed=self._bed) is None:
            raise EngineError(
                "no engine monitors it",
                where=f"bed {self._bed}",
                todo="Start one with `pain-monitor daemon CONFIG`, or name another bed or state folder",
            )
        message = {
            "id": str(uuid.uuid4()),
            "actor": self._actor,
            "bed": self._bed,
            "action": action,
            "args": dict(args or {}),
        }
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        socket = context.socket(zmq.DEALER)
        try:
            socket.setsockopt(zmq.LINGER, 0)
            socket.connect(endpoint(self._state / "run", self._bed))
            socket.send(cbor2.dumps(message))
            if not socket.poll(int(1000 * timeout)):
                raise EngineError(
                    f"does not answer within {timeout:g} s", where=f"the engine of bed {self._bed}", todo="See its log"
                )
            reply = cbor2.loads(socket.recv())
        finally:
            socket.close()
            context.term()
        if not reply["ok"]:
            raise EngineError(f"refused: {reply['error']}".rstrip("."), where=action)
        result: dict[str, Any] = reply["result"]
        return result


def _reply(request_id: str, *, result: Mapping[str, Any] | None = None, error: str = "") -> bytes:
    return cbor2.dumps({"id": request_id, "ok": not error, "error": error, "result": dict(result or {})})
