"""The engine's sockets on TCP: encrypted, and only for clients whose key it has been given (CURVE and ZAP).

They are sockets of their own beside the local ones, so that no option of one kind can reach the other. Three ports in
a row: control, state, wave.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import zmq
from zmq.auth.thread import ThreadAuthenticator

from monitor.config import LinkSettings
from monitor.credentials import LINK_KEY
from monitor.errors import EngineError
from monitor.link.endpoints import tcp_address
from monitor.link.keys import Authorised, KeyPair, authorised, engine_pair

_LOGGER = logging.getLogger(__name__)

_DOMAIN: Final = "pain-monitor"


class RemoteDoor:
    """Makes the engine's sockets on TCP and keeps the guard at them.

    Args:
        settings: Where to listen, and whose keys count.

    Raises:
        EngineError: If there is no key, or no folder of clients.
    """

    def __init__(self, settings: LinkSettings) -> None:
        self._settings = settings
        self._folder = Path(settings.clients).expanduser() if settings.clients else None
        if self._folder is None:
            todo = "Name the folder with the .pub files of those who may connect"
            raise EngineError("nobody is authorised, so nothing listens on TCP", where="link.clients", todo=todo)
        self._pair: KeyPair = engine_pair(settings.key_file, LINK_KEY)
        self.clients()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._guard: ThreadAuthenticator | None = None

    @classmethod
    def configured(cls, settings: LinkSettings) -> RemoteDoor | None:
        """The door that the settings ask for; None where they ask for none.

        Raises:
            EngineError: See above.
        """
        return cls(settings) if settings.listen else None

    def open(self) -> None:
        """Set the guard; before it stands no socket can be made."""
        self._context = zmq.Context()
        guard = _Guard(self._context, self.client)
        guard.start()
        self._guard = guard

    def listen(self, kind: int, name: str, prepare: Callable[[zmq.Socket[bytes]], None]) -> zmq.Socket[bytes]:
        """Make one of the sockets.

        Args:
            kind: `zmq.ROUTER`, `zmq.PUB` ...
            name: `control`, `state` or `wave`.
            prepare: Sets its other options.

        Raises:
            EngineError: If it cannot be bound.
        """
        assert self._context is not None
        socket = self._context.socket(kind)
        prepare(socket)
        socket.setsockopt(zmq.CURVE_SERVER, 1)
        socket.setsockopt(zmq.CURVE_PUBLICKEY, self._pair.public)
        socket.setsockopt(zmq.CURVE_SECRETKEY, self._pair.secret)
        socket.setsockopt(zmq.ZAP_DOMAIN, _DOMAIN.encode())
        # Without this everybody with any key would be let in while the guard is away.
        socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)
        socket.setsockopt(zmq.HANDSHAKE_IVL, 5000)
        socket.setsockopt(zmq.IPV6, int("[" in self._settings.listen))
        address = tcp_address(self._settings.listen, name)
        try:
            socket.bind(address)
        except zmq.ZMQError as error:
            socket.close(0)
            todo = (
                "End the program that has this port, or set another link.listen (it takes the next two ports as well)"
            )
            raise EngineError(
                f"the {name} socket cannot be opened ({error.strerror})", where=address, todo=todo
            ) from error
        return socket

    def clients(self) -> Mapping[bytes, Authorised]:
        """Who may connect, by public key, as the folder is now.

        Raises:
            EngineError: If the folder cannot be read.
        """
        assert self._folder is not None
        return authorised(self._folder)

    def client(self, public: bytes) -> Authorised | None:
        """Who has this key, by the folder as it is now; None where nobody of ours does."""
        try:
            return self.clients().get(public)
        except EngineError as error:
            _LOGGER.error("no client is let in: %s", error)
            return None

    def close(self) -> None:
        """Take the guard away; the sockets must be closed. May be called twice."""
        guard, self._guard = self._guard, None
        if guard is not None:
            guard.stop()
        context, self._context = self._context, None
        if context is not None:
            context.term()


class _Guard(ThreadAuthenticator):
    """Asks for each handshake whether its key is one of ours, so that a new or a removed file counts at once."""

    def __init__(self, context: zmq.Context[Any], client: Callable[[bytes], Authorised | None]) -> None:
        super().__init__(context, log=logging.getLogger(f"{__name__}.zap"))
        self._client = client
        self.configure_curve_callback(domain=_DOMAIN, credentials_provider=self)

    def callback(self, domain: str, key: bytes) -> bool:  # noqa: ARG002 - pyzmq calls it by this name
        """Whether a client may connect."""
        if self._client(key) is None:
            _LOGGER.warning("somebody without an authorised key was refused (public key %s)", key.decode())
            return False
        return True
