"""The MQTT streams of one bed, and what a broker's signal topics carry now.

One thread with an event loop of its own, and one connection that does nothing but take in: alarms go out over another
(`monitor.outputs.mqtt`), so that no flood of samples can hold them up. The loop only decodes and hands over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import Final

from monitor.clock import Clock
from monitor.config import BedSettings, MqttSettings
from monitor.sources.base import SourceReading
from monitor.sources.broker import BrokerError, Connection, Received, keep_connected, where
from monitor.sources.mailbox import Mailbox
from monitor.sources.mqtt_streams import REPEAT_S, SignalTopics
from monitor.sources.topics import bed_topic
from monitor.types import StreamEvent, StreamEventKind

_LOGGER = logging.getLogger(__name__)

TICK_S: Final = 0.25


class MqttSource:
    """Source of one bed (see `Source`).

    Signals arrive on `pain/v1/<bed>/signal/<device>/<modality>`; see docs/mqtt.md.

    Args:
        bed: The bed and its streams.
        settings: The broker.
        clock: The stream clock.
    """

    def __init__(self, *, bed: BedSettings, settings: MqttSettings, clock: Clock) -> None:
        self.name = f"mqtt:{bed.name}"
        self._bed = bed
        self._settings = settings
        self._clock = clock
        # One offset for the engine's life: stamps and origins must not move when a connection comes back.
        self._topics = SignalTopics(
            bed=bed, utc_offset=clock.now() - clock.utc(), silent_s=settings.silent_s, now=clock.now()
        )
        self._mailbox = Mailbox()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._main: asyncio.Task[None] | None = None
        self._halt = threading.Event()
        self._lock = threading.Lock()
        self._said: tuple[str, float] = ("", 0.0)
        self.connected = False
        """Whether the broker has confirmed the subscription to the bed's signals."""

    def open(self) -> None:
        """Start to connect; returns at once."""
        if self._thread is not None:
            return
        self._mailbox = Mailbox()
        self._halt = threading.Event()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def read(self, timeout: float) -> SourceReading:
        """Return what has arrived, waiting at most `timeout` seconds for something.

        Raises:
            Exception: Whatever the thread of this source died of; always a defect.
        """
        return self._mailbox.take(timeout)

    @property
    def finished(self) -> bool:
        """Never: a device may always come back."""
        return False

    @property
    def refused(self) -> dict[tuple[str, str], int]:
        """Packets refused so far, by (signal, reason)."""
        return dict(self._topics.refused)

    def close(self) -> None:
        """Disconnect and end the thread. May be called twice, and from another thread."""
        self._halt.set()
        with self._lock:
            if self._loop is not None and self._main is not None:
                self._loop.call_soon_threadsafe(self._main.cancel)
        thread = self._thread
        if thread is not None:
            thread.join()
            self._thread = None

    def _run(self) -> None:
        try:
            # Windows' own event loop cannot watch sockets for paho.
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._live())
        except asyncio.CancelledError:
            pass
        except Exception as defect:  # noqa: BLE001 - it is raised again where the engine reads
            self._mailbox.fail(defect)

    async def _live(self) -> None:
        main = asyncio.create_task(self._receive(), name="mqtt-receive")
        with self._lock:
            self._loop, self._main = asyncio.get_running_loop(), main
        if self._halt.is_set():
            main.cancel()
        ticker = asyncio.create_task(self._tick(), name="mqtt-tick")
        try:
            done, _ = await asyncio.wait({main, ticker}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                if not task.cancelled():
                    task.result()
        finally:
            with self._lock:
                self._loop = self._main = None
            for task in (main, ticker):
                task.cancel()
            await asyncio.gather(main, ticker, return_exceptions=True)

    async def _receive(self) -> None:
        await keep_connected(
            self._settings,
            role=f"in-{self._bed.name}",
            clock=self._clock,
            use=self._use,
            lost=self._lost,
            handle=self._handle,
        )

    async def _use(self, connection: Connection) -> None:
        proof = bed_topic(self._bed.name, "selfcheck")
        await connection.subscribe(proof, qos=1)
        await connection.echo(proof)
        await connection.subscribe(bed_topic(self._bed.name, "signal", "+", "+"), qos=1)
        _LOGGER.info("bed %s: listening to %s", self._bed.name, where(self._settings))
        self._said = ("", 0.0)
        self.connected = True
        try:
            await connection.until_lost_or(asyncio.get_running_loop().create_future(), None)
        finally:
            self.connected = False

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_S)
            self._mailbox.put(*self._topics.tick(self._clock.now()))

    def _handle(self, received: Received) -> None:
        if received.topic == bed_topic(self._bed.name, "selfcheck"):
            return  # somebody else's
        items = self._topics.take(
            received.topic, received.payload, retained=received.retained, arrival=received.arrival
        )
        self._mailbox.put(*items)

    def _lost(self, error: BrokerError) -> None:
        now = self._clock.now()
        self._mailbox.put(*self._topics.disconnected(now, str(error)))
        said, said_at = self._said
        if str(error) == said and now - said_at < REPEAT_S:
            return
        self._said = (str(error), now)
        _LOGGER.warning("bed %s: %s (it is tried again)", self._bed.name, error)
        self._mailbox.put(
            StreamEvent(bed=self._bed.name, stream=self.name, kind=StreamEventKind.SEARCHING, t=now, detail=str(error))
        )
