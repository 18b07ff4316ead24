"""Every alarm transition of one bed, and every action on its alarms, as a signed POST (docs/webhook.md).

Two threads: the output's own, which only puts transitions into a box, and the sender, which may wait for a receiver as
long as it takes. Research use only: a webhook is no alarm system of record, and its silence proves nothing.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import logging
import random
import socket
import ssl
import threading
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from monitor.clock import Clock
from monitor.config import WebhookSettings
from monitor.credentials import WEBHOOK_KEY, SecretError, read_secret
from monitor.errors import ConfigError, Problem
from monitor.outputs.alarm_box import AlarmBox
from monitor.outputs.boxed import BoxedOutput
from monitor.outputs.mqtt_messages import NOTICE, VERSION, action_message, alarm_message, encode
from monitor.types import AlarmAction, AlarmEvent, Event, Provenance, Score

_LOGGER = logging.getLogger(__name__)

BACKOFF_S: Final = (1.0, 60.0)
"""First and longest pause after a failure; each is drawn between half of it and the whole."""
SHORTEST_KEY: Final = 16
"""Bytes that a key must have at least."""
_HOPELESS: Final = frozenset({400, 413, 415, 422})
"""Answers that say that this very message will never be taken. Others, 401 and 404 among them, may be mended there."""
_FAREWELL_S: Final = 1.5
_ANSWER_BYTES: Final = 65_536
_REPEAT: Final = 20
_LOOK_S: Final = 0.25


class DeliveryError(Exception):
    """A delivery failed.

    Args:
        what: Why.
        again: Whether it may succeed later.
        after_s: How long the receiver asks to be left alone, at least.
    """

    def __init__(self, what: str, *, again: bool = True, after_s: float = 0.0) -> None:
        super().__init__(what)
        self.again = again
        self.after_s = after_s


def webhook_key(settings: WebhookSettings) -> bytes:
    """The key that messages are signed with, from its file, the systemd credential or the environment.

    Raises:
        ConfigError: If it is nowhere, too short, or others may read its file.
    """
    key = "key_file" if settings.key_file else "key_env"
    try:
        text = read_secret(file=settings.key_file, variable=settings.key_env, credential=WEBHOOK_KEY).strip()
    except SecretError as error:
        raise _wrong(key, f"there is no key: {error.where} {error.what}", error.todo) from None
    if len(text.encode()) < SHORTEST_KEY:
        raise _wrong(key, f"a key has {SHORTEST_KEY} bytes at least", "make one: openssl rand -hex 32")
    return text.encode()


def webhook_tls(settings: WebhookSettings) -> ssl.SSLContext | None:
    """What verifies the receiver's certificate and name; None for http.

    Raises:
        ConfigError: If the certificates to verify with cannot be read.
    """
    if urlsplit(settings.url).scheme != "https":
        return None
    try:
        return ssl.create_default_context(cafile=settings.ca_file or None)
    except OSError as error:  # an SSLError is one, too
        raise _wrong("ca_file", f"cannot be read ({error})", "a file in PEM form") from error


def signature(key: bytes, timestamp: str, body: bytes) -> str:
    """`v1=` and the HMAC-SHA256 of the timestamp, a full stop and the body, in hexadecimal digits."""
    return "v1=" + hmac.new(key, timestamp.encode() + b"." + body, hashlib.sha256).hexdigest()


class WebhookOutput(BoxedOutput):
    """An `Output` (see monitor/outputs/base.py) for one bed.

    Args:
        bed: Name of the bed.
        settings: The receiver.
        folder: Where what waits is kept; see `AlarmBox`.
        clock: The engine's clock.
        backoff_s: First and longest pause after a failure.
    """

    def __init__(
        self,
        *,
        bed: str,
        settings: WebhookSettings,
        folder: Path,
        clock: Clock,
        backoff_s: tuple[float, float] = BACKOFF_S,
    ) -> None:
        super().__init__(bed=bed, box=AlarmBox(folder / f"webhook-{bed}.outbox", receiver=f"the webhook, bed {bed}"))
        self.name = f"webhook-{bed}"
        self.bed = bed
        self.delivered = 0
        self._settings = settings
        self._clock = clock
        self._backoff_s = backoff_s
        self._utc_offset = clock.utc() - clock.now()
        self._provenance: Provenance | None = None
        self._wake, self._stop, self._back = threading.Event(), threading.Event(), threading.Event()
        self._thread: threading.Thread | None = None

    def probe(self, report: Mapping[str, Any], timeout_s: float) -> str:
        """Post a probe, which the receiver must take as it takes an alarm; see `monitor.outputs.base.Route`."""
        item = {
            "v": VERSION, "bed": self._bed, "notice": NOTICE, "type": "probe", "t": self._clock.utc(),
            "id": str(uuid.uuid4()), "report": dict(report),
        }  # fmt: skip
        try:
            key, context = webhook_key(self._settings), webhook_tls(self._settings)
            self._deliver(item, key, context, min(timeout_s, self._settings.timeout_s))
        except DeliveryError as error:
            return str(error)
        except ConfigError as error:
            return "; ".join(map(str, error.problems))
        self._back.set()  # it answers: what waits for it need not wait any longer
        return ""

    def open(self) -> None:
        """Take up what the process before left, and start to send.

        Raises:
            ConfigError: If there is no key, or nothing to verify the receiver with.
        """
        self.close()
        try:
            key, context = webhook_key(self._settings), webhook_tls(self._settings)
        except ConfigError as error:
            self._problem = "; ".join(map(str, error.problems))
            raise
        self._box.load(self._clock.utc(), self._still)
        self._wake, self._stop = threading.Event(), threading.Event()
        self._wake.set()
        self._thread = threading.Thread(
            target=self._send_on, args=(key, context, self._wake, self._stop), name=f"output-{self.name}-send",
            daemon=True,
        )  # fmt: skip
        self._thread.start()

    def publish(self, bed: str, events: Sequence[Event]) -> None:
        """Put the transitions and actions among these events into the box; never waits for the receiver."""
        if bed != self._bed:
            return
        for event in events:
            if isinstance(event, Score):
                self._provenance = event.provenance
            elif isinstance(event, AlarmEvent):
                self._box.put(alarm_message(event, utc_offset=self._utc_offset, provenance=self._provenance))
                self._wake.set()
            elif isinstance(event, AlarmAction):
                self._box.put(action_message(event, utc_offset=self._utc_offset, provenance=self._provenance))
                self._wake.set()

    def close(self) -> None:
        """Stop sending; what waits stays in its file. May be called twice."""
        self._stop.set()
        self._wake.set()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_FAREWELL_S)
        self._box.close()

    # -- the sender ---------------------------------------------------------------------------------------------------

    def _send_on(
        self, key: bytes, context: ssl.SSLContext | None, wake: threading.Event, stop: threading.Event
    ) -> None:
        failures = 0
        while True:
            letter = self._box.first()
            if letter is None:
                if stop.is_set():
                    return
                wake.wait()
                wake.clear()
                continue
            pause = 0.0
            self._back.clear()
            try:
                kind = "alarm" if letter.condition else "action"
                self._deliver({**letter.message, "type": kind}, key, context, self._settings.timeout_s)
            except DeliveryError as error:
                self._problem = str(error)
                if error.again:
                    failures += 1
                    longest = min(self._backoff_s[0] * 2.0 ** min(failures - 1, 16), self._backoff_s[1])
                    pause = max(random.uniform(0.5, 1.0) * longest, min(error.after_s, self._backoff_s[1]))
                    if failures == 1 or failures % _REPEAT == 0:
                        _LOGGER.warning(
                            "bed %s: an alarm does not reach the webhook: %s (attempt %d, %d wait)",
                            self._bed, error, failures, len(self._box),
                        )  # fmt: skip
                else:
                    _LOGGER.error("bed %s: the webhook will never take an alarm: %s; it is given up", self._bed, error)
                    self._box.done(letter, delivered=False)
                    failures, self._problem = 0, ""  # it answers: only this message is at fault
            except Exception:  # a defect must not end the sender in silence
                failures += 1
                pause = self._backoff_s[1]
                _LOGGER.exception("bed %s: the webhook's sender failed", self._bed)
            else:
                if failures:
                    _LOGGER.warning("bed %s: the webhook takes alarms again", self._bed)
                failures, self._problem = 0, ""
                self.delivered += 1
                self._box.done(letter)
            if self._paused(pause, stop) and failures:
                return  # what waits stays in its file

    def _paused(self, seconds: float, stop: threading.Event) -> bool:
        """Wait for so long, or until a probe got through or the end has come; whether it is the end."""
        end = time.monotonic() + seconds
        while not stop.is_set() and not self._back.is_set() and (left := end - time.monotonic()) > 0:
            stop.wait(min(_LOOK_S, left))
        return stop.is_set()

    def _deliver(self, item: Mapping[str, Any], key: bytes, context: ssl.SSLContext | None, timeout: float) -> None:
        """Send one message.

        Raises:
            DeliveryError: Unless the receiver has taken it.
        """
        url = urlsplit(self._settings.url)
        body, stamp = encode(item), str(int(self._clock.utc()))
        headers = {
            "Content-Type": "application/json",
            "User-Agent": "pain-monitor",
            "X-Pain-Monitor-Id": str(item["id"]),
            "X-Pain-Monitor-Timestamp": stamp,
            "X-Pain-Monitor-Signature": signature(key, stamp, body),
        }
        connection: http.client.HTTPConnection
        if context is not None:
            connection = http.client.HTTPSConnection(url.hostname or "", url.port, timeout=timeout, context=context)
        else:
            connection = http.client.HTTPConnection(url.hostname or "", url.port, timeout=timeout)
        # A socket's own timeout starts anew with every byte: a receiver that trickles would hold us for ever.
        deadline = threading.Timer(timeout, _cut, (connection,))
        deadline.daemon = True
        try:
            connection.connect()
            deadline.start()
            target = (url.path or "/") + (f"?{url.query}" if url.query else "")
            connection.request("POST", target, body=body, headers=headers)
            answer = connection.getresponse()
            answer.read(_ANSWER_BYTES)
            status, retry_after = answer.status, answer.getheader("Retry-After", "")
        except ssl.SSLCertVerificationError as error:
            raise DeliveryError(f"its certificate is not to be trusted ({error.verify_message})") from error
        except (OSError, http.client.HTTPException) as error:
            raise DeliveryError(str(error) or type(error).__name__) from error
        finally:
            deadline.cancel()
            connection.close()
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise DeliveryError(f"it answers {status}: a redirection is never followed; set webhook.url to the new one")
        after_s = float(retry_after) if retry_after.isascii() and retry_after.isdigit() else 0.0
        raise DeliveryError(f"it answers {status}", again=status not in _HOPELESS, after_s=after_s)


def _cut(connection: http.client.HTTPConnection) -> None:
    if (sock := connection.sock) is not None:
        try:
            sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _wrong(key: str, what: str, todo: str) -> ConfigError:
    return ConfigError(where="the configuration", problems=[Problem(f"webhook.{key}", what, todo)])
