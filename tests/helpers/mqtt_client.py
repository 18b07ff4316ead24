"""A plain MQTT client for tests, in a thread: keeps what it is sent, and publishes what it is told.

It speaks paho directly, so that no fault of the monitor's own connection can hide itself.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import paho.mqtt.client as paho

from monitor.config import MqttSettings
from monitor.sources.broker import password, tls_context
from tests.helpers.scripted import wait_until


@dataclass(frozen=True)
class Message:
    topic: str
    payload: bytes
    retained: bool


class PlainClient:
    """Connects at once, and again whenever the broker is back; use it as a context manager.

    Args:
        settings: The broker, and who this is.
        topics: What it subscribes to.
        session: Its name at the broker, which then keeps its subscriptions and what is sent while it is away; empty:
            the broker forgets it when it goes.
    """

    def __init__(self, settings: MqttSettings, *topics: str, session: str = "") -> None:
        self.messages: list[Message] = []
        self.subscribed = 0
        """How often all subscriptions have been confirmed."""
        self._topics = topics
        self._lock = threading.Lock()
        self._client = paho.Client(paho.CallbackAPIVersion.VERSION2, client_id=session, clean_session=not session)
        self._client.username_pw_set(settings.user, password(settings))
        self._client.tls_set_context(tls_context(settings))
        self._client.reconnect_delay_set(1, 1)
        self._client.on_connect = self._on_connect
        self._client.on_subscribe = self._on_subscribe
        self._client.on_message = self._on_message
        self._client.connect(settings.host, settings.port, keepalive=30)

    def __enter__(self) -> PlainClient:
        self._client.loop_start()
        wait_until(lambda: self.subscribed > 0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish, and wait until the broker has it."""
        sent = self._client.publish(topic, payload, qos=qos, retain=retain)
        sent.wait_for_publish(20.0)
        assert sent.is_published(), f"the broker did not take what was sent on {topic}"

    def settle(self) -> None:
        """Return when it has whatever the broker passed on to it before now: only then can its silence be judged.

        A broker answers in the order in which it sends, so its next answer comes after all of that.
        """
        before = self.subscribed
        self._client.subscribe("none", 1)
        wait_until(lambda: self.subscribed > before)

    def on(self, topic: str) -> list[Message]:
        """What has come on one topic."""
        with self._lock:
            return [message for message in self.messages if message.topic == topic]

    def _on_connect(self, client: Any, _userdata: Any, _flags: Any, code: Any, _properties: Any) -> None:
        if not code.is_failure:
            client.subscribe([(topic, 1) for topic in (*self._topics, "none")])

    def _on_subscribe(self, *_: Any) -> None:
        self.subscribed += 1

    def _on_message(self, _client: Any, _userdata: Any, message: Any) -> None:
        with self._lock:
            self.messages.append(Message(message.topic, bytes(message.payload), bool(message.retain)))
