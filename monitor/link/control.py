"""Requests to an engine, and its answers: a ROUTER on one ipc endpoint a bed, which only the engine's user can open.

Where the settings ask for it, another one on TCP, for clients with a key (`monitor.link.remote`).

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
from monitor.link.endpoints import endpoint, tcp_address
from monitor.link.keys import ClientKeys
from monitor.link.remote import RemoteDoor
from monitor.locks import holder, run_dir

_LOGGER = logging.getLogger(__name__)

MAX_REQUEST_BYTES: Final = 65_536
"""A longer packet is refused by the socket itself."""

LOOKING: Final = frozenset({"status", "streams", "history", "seen"})
"""Actions that change nothing."""

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
        remote: Lets clients in on TCP; None: nobody. It is opened and closed here.
    """

    def __init__(self, *, run: Path, beds: Sequence[str], handle: Handler, remote: RemoteDoor | None = None) -> None:
        self._run_dir = run
        self._beds = list(beds)
        self._handle = handle
        self._remote = remote
        self._remote_socket: zmq.Socket[bytes] | None = None
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._socket: zmq.Socket[bytes] | None = None
        self._answered: OrderedDict[tuple[str, bytes, str], bytes] = OrderedDict()
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
        _prepare(self._socket)
        for bed in self._beds:
            address = endpoint(self._run_dir, bed)
            try:
                self._socket.bind(address)
                Path(address.removeprefix("ipc://")).chmod(0o600)
            except (zmq.ZMQError, OSError) as error:
                self._close()
                todo = "Check engine.state_dir: the path of a socket may have about 100 characters"
                raise EngineError(f"the control socket cannot be opened ({error})", where=address, todo=todo) from error
        if self._remote is not None:
            try:
                self._remote.open()
                self._remote_socket = self._remote.listen(zmq.ROUTER, "control", _prepare)
            except EngineError:
                self._close()
                raise

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
        poller = zmq.Poller()
        for socket in (self._socket, self._remote_socket):
            if socket is not None:
                poller.register(socket, zmq.POLLIN)
        try:
            while not self._stop.is_set():
                try:
                    for socket, _ in poller.poll(int(1000 * _POLL_S)):
                        self._answer(socket)
                except Exception:  # nothing that a client sends may end the thread
                    _LOGGER.exception("a request failed")
        finally:
            self._close()

    def _answer(self, socket: zmq.Socket[bytes]) -> None:
        frames = socket.recv_multipart(copy=False)
        if len(frames) != 2:
            _LOGGER.warning("a control packet of %d frames was dropped", len(frames))
            return
        client, packet = frames[0].bytes, frames[1].bytes
        try:
            request = decode_request(packet)
            if socket is self._remote_socket:
                request = self._permitted(request, str(frames[1].get("User-Id")))
        except ValueError as error:
            _LOGGER.warning("a malformed request was refused: %s", error)
            socket.send_multipart([client, _reply("", error=f"malformed request: {error}")])
            return
        except PermissionError as error:
            _LOGGER.warning("a request was refused: %s", error)
            socket.send_multipart([client, _reply(request.id, error=str(error))])
            return
        # Over TCP clients choose their own routing ids: no answer may go to another key by that.
        key = ("" if socket is self._socket else request.actor, client, request.id)
        reply = self._answered.get(key)
        if reply is None:
            reply = self._answered[key] = self._do(request)
            while len(self._answered) > _REMEMBERED:
                self._answered.popitem(last=False)
        socket.send_multipart([client, reply])

    def _permitted(self, request: Request, public: str) -> Request:
        """The request under the name that its key proves.

        Raises:
            PermissionError: If the key is not, or no longer, one that may ask this.
        """
        assert self._remote is not None
        who = self._remote.client(public.encode())
        if who is None:
            raise PermissionError("this key is no longer authorised")
        if not who.commands and request.action not in LOOKING:
            raise PermissionError(f"the key '{who.name}' may look and not command")
        return request.model_copy(update={"actor": f"{request.actor}@{who.name}"})

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
        for socket in (self._socket, self._remote_socket):
            if socket is not None:
                socket.close()
        self._socket = self._remote_socket = None
        if self._remote is not None:
            self._remote.close()
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
        address: The engine's `tcp://HOST:PORT`; empty for the one that has its state folder here.
        keys: For that address.

    Raises:
        EngineError: If there is an address and no keys, or it is none.
    """

    def __init__(
        self,
        *,
        state_dir: Path,
        bed: str,
        actor: str = "operator",
        address: str = "",
        keys: ClientKeys | None = None,
    ) -> None:
        self._state = state_dir
        self._bed = bed
        self._actor = actor
        self._address = tcp_address(address, "control") if address else ""
        self._keys = keys
        if address and keys is None:
            raise EngineError("cannot be reached without a key", where=address, todo="Name yours with --key")

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
        if not self._address and holder(state=self._state, bed=self._bed) is None:
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
            if self._keys is not None:
                present(socket, self._keys)
            socket.connect(self._address or endpoint(self._state / "run", self._bed))
            socket.send(cbor2.dumps(message))
            if not socket.poll(int(1000 * timeout)):
                where = self._address or f"the engine of bed {self._bed}"
                todo = "See its log; it tells nobody else whose key it refuses" if self._address else "See its log"
                raise EngineError(f"does not answer within {timeout:g} s", where=where, todo=todo)
            reply = cbor2.loads(socket.recv())
        finally:
            socket.close()
            context.term()
        if not reply["ok"]:
            raise EngineError(f"refused: {reply['error']}".rstrip("."), where=action)
        result: dict[str, Any] = reply["result"]
        return result


def present(socket: zmq.Socket[bytes], keys: ClientKeys) -> None:
    """Make a client's socket speak with its key, to nobody but the engine whose key it knows; before `connect`."""
    socket.setsockopt(zmq.CURVE_SERVERKEY, keys.engine)
    socket.setsockopt(zmq.CURVE_PUBLICKEY, keys.own.public)
    socket.setsockopt(zmq.CURVE_SECRETKEY, keys.own.secret)


def _prepare(socket: zmq.Socket[bytes]) -> None:
    socket.setsockopt(zmq.LINGER, 200)
    socket.setsockopt(zmq.MAXMSGSIZE, MAX_REQUEST_BYTES)


def _reply(request_id: str, *, result: Mapping[str, Any] | None = None, error: str = "") -> bytes:
    return cbor2.dumps({"id": request_id, "ok": not error, "error": error, "result": dict(result or {})})
