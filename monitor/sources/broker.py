"""The one door to MQTT: a verified connection to a broker, and how it is kept. Nothing else imports aiomqtt.

aiomqtt 2 does not reconnect by itself, its queue of incoming messages is unbounded or else drops the newest, and it
turns every failure into a text. So here: reconnection with full jitter, an inbox that is bounded in messages and bytes
and drops the oldest of the topic that floods, and failures that say what to do. A broker answers neither a
subscription nor a publication that its access list forbids, which is why every new connection proves its route with an
echo before it counts as up.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import random
import secrets
import socket
import ssl
from collections import Counter, deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import aiomqtt

from monitor.clock import Clock
from monitor.config import MqttSettings
from monitor.credentials import MQTT_PASSWORD, SecretError, read_secret
from monitor.errors import SourceError

_LOGGER = logging.getLogger(__name__)
_PAHO_LOGGER = logging.getLogger(f"{__name__}.paho")
_PAHO_LOGGER.setLevel(logging.ERROR)

BACKOFF_S: Final = (0.5, 8.0)
"""First and longest pause before the next attempt; each is drawn evenly from zero up to twice the one before."""
HEALTHY_S: Final = 30.0
"""A connection that held for so long starts the pauses anew."""
TIMEOUT_S: Final = 10.0
"""Patience with any single answer of the broker."""
ECHO_S: Final = 5.0
INBOX_MESSAGES: Final = 4096
INBOX_BYTES: Final = 64 << 20


class BrokerError(SourceError):
    """The broker cannot be reached, refuses us, or was lost."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Received:
    """A message as it arrived."""

    topic: str
    payload: bytes
    retained: bool
    arrival: float
    """Stream clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LastWill:
    """What the broker publishes, retained, when we are gone without a farewell."""

    topic: str
    payload: bytes


class Inbox(asyncio.Queue[Received]):
    """Messages that wait to be handled, bounded: when it is full the topic that holds most of it loses its oldest.

    Args:
        clock: Stamps each message as it comes in.
    """

    def __init__(self, *, clock: Clock) -> None:
        self._clock = clock
        self._size: Counter[str] = Counter()
        self._items: deque[Received] = deque()
        self.dropped = 0
        """Messages that were never handled."""
        super().__init__()

    # asyncio.Queue leaves these three to its subclasses.
    def _init(self, maxsize: int) -> None:  # noqa: ARG002
        self._queue = self._items

    def _get(self) -> Received:
        item = self._items.popleft()
        self._forget(item)
        return item

    def _put(self, item: Any) -> None:
        received = Received(
            topic=str(item.topic), payload=bytes(item.payload), retained=bool(item.retain), arrival=self._clock.now()
        )
        self._items.append(received)
        self._size[received.topic] += len(received.payload) + 1
        while len(self._items) > INBOX_MESSAGES or self._size.total() > INBOX_BYTES + len(self._items):
            self._drop()

    def _drop(self) -> None:
        (loudest, _), *_ = self._size.most_common(1)
        oldest = next(item for item in self._items if item.topic == loudest)
        self._items.remove(oldest)
        self._forget(oldest)
        self.dropped += 1
        if self.dropped == 1 or self.dropped % 1000 == 0:
            _LOGGER.warning("MQTT floods us: %d messages dropped, last of %s", self.dropped, loudest)

    def _forget(self, item: Received) -> None:
        self._size[item.topic] -= len(item.payload) + 1
        if self._size[item.topic] <= 0:
            del self._size[item.topic]


class Connection:
    """One connection that is up; made by `connect`.

    Args:
        client: The connected client.
        inbox: Where its messages come in.
        handle: Called with each message, in order, on the event loop; must not block.
    """

    def __init__(self, client: aiomqtt.Client, inbox: Inbox, handle: Callable[[Received], None]) -> None:
        self._client = client
        self._inbox = inbox
        self._handle = handle
        self._echoes: dict[tuple[str, bytes], asyncio.Future[None]] = {}
        self._pump = asyncio.create_task(self._handle_all(), name="mqtt-pump")

    async def subscribe(self, topic: str, *, qos: int = 0) -> None:
        """Subscribe to a topic or filter.

        Raises:
            BrokerError: If the broker refuses or is lost.
        """
        try:
            codes = await self._client.subscribe(topic, qos=qos)
        except aiomqtt.MqttError as error:
            raise BrokerError(f"subscribing to {topic} failed ({error})") from error
        granted: list[Any] = list(codes)
        if any(int(getattr(code, "value", code)) >= 128 for code in granted):
            raise BrokerError(
                f"it refuses the subscription to {topic}", todo="Give the user the right to read it (see docs/mqtt.md)"
            )

    async def publish(self, topic: str, payload: bytes, *, qos: int = 0, retain: bool = False) -> None:
        """Publish; with `qos=1` returns when the broker has it.

        Raises:
            BrokerError: If the broker is lost. What its access list forbids vanishes without a word.
        """
        try:
            await self._client.publish(topic, payload, qos=qos, retain=retain)
        except (aiomqtt.MqttError, ValueError) as error:
            raise BrokerError(f"publishing on {topic} failed ({error})") from error

    async def echo(self, topic: str, *, about: Mapping[str, Any] | None = None, timeout: float = ECHO_S) -> None:
        """Prove that what we send reaches the broker's subscribers, us among them; `topic` must be subscribed to.

        Args:
            topic: Where it is sent.
            about: Plain values that go along for whoever looks; the payload is then a JSON object.
            timeout: Seconds to wait for it.

        Raises:
            BrokerError: If nothing comes back.
        """
        nonce = secrets.token_hex(16)
        payload = (nonce if about is None else json.dumps({**about, "nonce": nonce})).encode()
        arrived: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._echoes[topic, payload] = arrived
        try:
            await self.publish(topic, payload, qos=1)
            await self.until_lost_or(arrived, timeout)
        except TimeoutError:
            raise BrokerError(
                f"it takes what we send on {topic} but does not give it back",
                todo="Its access list must let this user write and read that topic (see docs/mosquitto/acl)",
            ) from None
        finally:
            del self._echoes[topic, payload]

    async def until_lost_or(self, future: asyncio.Future[Any], timeout: float | None) -> None:
        """Wait for a future, or for the end of the connection.

        Raises:
            BrokerError: If the connection ends first.
            TimeoutError: If neither comes in time.
        """
        done, _ = await asyncio.wait({future, self._pump}, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
        if self._pump in done:
            self._pump.result()
        if future not in done:
            raise TimeoutError

    async def close(self) -> None:
        """Stop handling messages."""
        self._pump.cancel()
        with contextlib.suppress(asyncio.CancelledError, BrokerError):
            await self._pump

    async def _handle_all(self) -> None:
        try:
            # The inbox is the client's own queue: what it yields is what the inbox made of it.
            async for message in self._client.messages:
                received: Any = message
                echoed = self._echoes.get((received.topic, received.payload))
                if echoed is None:
                    self._handle(received)
                elif not echoed.done():
                    echoed.set_result(None)
        except aiomqtt.MqttError as error:
            while not self._inbox.empty():  # what came before the end counts
                self._handle(self._inbox.get_nowait())
            raise BrokerError(f"the connection was lost ({error})") from error


@contextlib.asynccontextmanager
async def connect(
    settings: MqttSettings,
    *,
    role: str,
    clock: Clock,
    handle: Callable[[Received], None] = lambda _: None,
    will: LastWill | None = None,
) -> AsyncIterator[Connection]:
    """Connect, and disconnect at the end of the block.

    Args:
        settings: The broker.
        role: What the connection is for; part of the client's name at the broker.
        clock: Stamps what arrives.
        handle: See `Connection`.
        will: Published by the broker when we vanish.

    Raises:
        BrokerError: If it cannot be reached, is not who it should be, refuses us, or is lost inside the block.
    """
    inbox = Inbox(clock=clock)
    queue_type: Any = lambda maxsize: inbox  # noqa: E731, ARG005 - aiomqtt makes its queue by calling this
    client = aiomqtt.Client(
        settings.host,
        settings.port,
        username=settings.user or None,
        password=password(settings),
        identifier=f"pain-monitor-{role}-{secrets.token_hex(4)}",
        tls_context=tls_context(settings),
        keepalive=settings.keepalive_s,
        timeout=TIMEOUT_S,
        queue_type=queue_type,
        socket_options=[(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)],
        will=aiomqtt.Will(will.topic, will.payload, qos=1, retain=True) if will else None,
        logger=_PAHO_LOGGER,
    )
    try:
        async with client:
            connection = Connection(client, inbox, handle)
            try:
                yield connection
            finally:
                await connection.close()
    except aiomqtt.MqttError as error:
        raise BrokerError(**explain(error, settings), where=where(settings)) from error
    except BrokerError as error:
        raise BrokerError(error.what, where=error.where or where(settings), todo=error.todo) from error


async def keep_connected(
    settings: MqttSettings,
    *,
    role: str,
    clock: Clock,
    use: Callable[[Connection], Awaitable[None]],
    lost: Callable[[BrokerError], None],
    handle: Callable[[Received], None] = lambda _: None,
    will: LastWill | None = None,
) -> None:
    """Connect again and again until `use` returns by itself.

    Args:
        settings: The broker.
        role: See `connect`.
        clock: See `connect`.
        use: What to do with each connection; a `BrokerError` out of it means a new one.
        lost: Told why there is no connection, at each failure.
        handle: See `Connection`.
        will: See `connect`.
    """
    loop = asyncio.get_running_loop()
    longest = BACKOFF_S[0]
    while True:
        began = loop.time()
        try:
            async with connect(settings, role=role, clock=clock, handle=handle, will=will) as connection:
                await use(connection)
                return
        except BrokerError as error:
            if loop.time() - began > HEALTHY_S:
                longest = BACKOFF_S[0]
            lost(error)
        # Full jitter: a ward of monitors must not come back to a restarted broker all at once.
        await asyncio.sleep(random.uniform(0.05, longest))
        longest = min(2.0 * longest, BACKOFF_S[1])


def where(settings: MqttSettings) -> str:
    """The broker, as messages name it."""
    return f"MQTT broker {settings.host}:{settings.port}"


def password(settings: MqttSettings) -> str | None:
    """The user's password, from its file, the systemd credential or the environment; None where there is no user.

    Raises:
        BrokerError: If it is nowhere, or others may read its file.
    """
    if not settings.user:
        return None
    try:
        return read_secret(file=settings.password_file, variable=settings.password_env, credential=MQTT_PASSWORD)
    except SecretError as error:
        if not error.from_file:
            what = f"there is no password for user '{settings.user}': {error.where} {error.what}"
            raise BrokerError(what, where=where(settings), todo=error.todo) from None
        raise BrokerError(f"the password {error.what}", where=error.where, todo=error.todo) from None


def tls_context(settings: MqttSettings) -> ssl.SSLContext | None:
    """What verifies the broker's certificate and name; None without TLS.

    Raises:
        BrokerError: If the certificates to verify with cannot be read.
    """
    if not settings.tls:
        return None
    path = Path(settings.ca_file).expanduser() if settings.ca_file else None
    try:
        return ssl.create_default_context(cafile=str(path) if path else None)
    except OSError as error:  # an SSLError is one, too
        raise BrokerError(
            f"the certificates to verify the broker with cannot be read ({error})",
            where=str(path),
            todo="ca_file is a file in PEM form with the certificate of the authority that signed the broker's",
        ) from error


def explain(error: aiomqtt.MqttError, settings: MqttSettings) -> dict[str, str]:
    """What a failure means and what to do about it: `what` and `todo` of a `MonitorError`."""
    text = str(error)
    lowered = text.casefold()
    if "certificate_verify_failed" in lowered:
        if "hostname" in lowered or "ip address" in lowered:
            todo = f"Use the name that its certificate bears instead of '{settings.host}'"
        else:
            todo = "Set ca_file to the certificate of the authority that signed the broker's; never trust it unseen"
        return {"what": f"its certificate is not to be trusted ({text})", "todo": todo}
    if "ssl" in lowered or "tls" in lowered:
        todo = "Is this its TLS port (usually 8883)? Without encryption: tls = false and its plain port (usually 1883)"
        return {"what": f"it does not speak TLS with us ({text})", "todo": todo}
    if "not authori" in lowered or "user name or password" in lowered or "bad user" in lowered:
        return {"what": f"it refuses user '{settings.user}' ({text})", "todo": "Check user and password"}
    if "timed out" in lowered or "unspecified" in lowered or "unexpected disconnection" in lowered:
        todo = "Is it an MQTT broker, and its TLS port if tls = true, its plain port if not?"
        return {"what": f"it does not answer as an MQTT broker should ({text})", "todo": todo}
    return {"what": f"it cannot be reached ({text})", "todo": "Check host and port, and that the broker runs"}
