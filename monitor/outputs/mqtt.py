"""Scores, quality, alarms, status and heartbeat of one bed over MQTT, and the commands of its users.

One thread with an event loop of its own, and a connection that nothing else uses. Scores are for those who are there
when they are made; alarms wait in a box on the disk until the broker has them. Research use only: nothing that leaves
here is fit to treat anyone by.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import json
import logging
import threading
from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

from monitor.bundle import BundleSpec
from monitor.clock import Clock
from monitor.config import MqttSettings
from monitor.errors import MonitorError
from monitor.outputs.alarm_box import AlarmBox, Letter, ending
from monitor.outputs.boxed import BoxedOutput
from monitor.outputs.mqtt_commands import CommandDesk, RefusedError, UserCommand, reply
from monitor.outputs.mqtt_messages import (
    action_message,
    alarm_message,
    encode,
    heartbeat_message,
    quality_message,
    score_message,
    status_message,
)
from monitor.sources.broker import BrokerError, Connection, LastWill, Received, keep_connected, where
from monitor.sources.topics import bed_topic, user_of
from monitor.types import AlarmAction, AlarmEvent, Comparators, Event, PainIndex, Presence, Provenance, Score

_LOGGER = logging.getLogger(__name__)

HEARTBEAT_S: Final = 1.0
WAITING: Final = 256
"""Scores, and replies, that may wait while the loop is busy."""
COMMANDS: Final = 16
"""Commands that may wait."""
_FAREWELL_S: Final = 1.5
_REPEAT_S: Final = 30.0


class Requester(Protocol):
    """Carries out a command; `monitor.engine.Engine.request`."""

    def __call__(self, action: str, args: Mapping[str, Any], *, bed: str, actor: str) -> dict[str, Any]:
        """Do what a user asks, and return the answer.

        Raises:
            MonitorError: If it is refused.
            TimeoutError: If it took too long.
        """
        ...


class MqttOutput(BoxedOutput):
    """An `Output` (see monitor/outputs/base.py) for one bed.

    Args:
        bed: Name of the bed.
        bundles: Its bundles.
        settings: The broker.
        clock: The engine's clock.
        folder: Where alarms that wait are kept; it must exist by the time of `open`. None: in memory only.
    """

    def __init__(
        self,
        *,
        bed: str,
        bundles: Sequence[BundleSpec],
        settings: MqttSettings,
        clock: Clock,
        folder: Path | None = None,
    ) -> None:
        place = folder / f"mqtt-{bed}.outbox" if folder else None
        super().__init__(bed=bed, box=AlarmBox(place, receiver=f"MQTT, bed {bed}"))
        self.name = f"mqtt-{bed}"
        self.bed = bed
        self._bundles = {bundle.name: bundle for bundle in bundles}
        self._settings = settings
        self._clock = clock
        self._utc_offset = clock.utc() - clock.now()
        self._request: Requester | None = None
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._defect: Exception | None = None
        self._stop, self._wake = asyncio.Event(), asyncio.Event()
        self._commands: asyncio.Queue[UserCommand] = asyncio.Queue(COMMANDS)
        self._provenance: Provenance | None = None
        # The rest belongs to the loop.
        self._connection: Connection | None = None
        self._scores: deque[tuple[str, bytes]] = deque(maxlen=WAITING)
        self._replies: deque[tuple[str, bytes]] = deque(maxlen=WAITING)
        self._desk = CommandDesk()
        self._scored_at: float | None = None
        self._left_over: dict[str, bytes] = {}
        self._beats = 0
        self._swept = False
        self._said: tuple[str, float] = ("", 0.0)

    def serve(self, request: Requester) -> None:
        """Carry out the commands of users; without it they are refused. To be called before `open`."""
        self._request = request

    def probe(self, report: Mapping[str, Any], timeout_s: float) -> str:
        """Send an echo through the broker with a report; see `monitor.outputs.base.Route`."""
        with self._lock:
            if self._loop is None:
                return "it is not running"
            echo = asyncio.run_coroutine_threadsafe(self._echo(report, timeout_s), self._loop)
        try:
            return echo.result(timeout_s + 1.0)
        except (TimeoutError, concurrent.futures.CancelledError):
            echo.cancel()
            return f"no echo within {timeout_s:g} s"

    async def _echo(self, report: Mapping[str, Any], timeout_s: float) -> str:
        connection = self._connection
        if connection is None:
            return self._problem or "there is no connection to the broker yet"
        try:
            await connection.echo(bed_topic(self._bed, "selfcheck"), about=report, timeout=timeout_s)
        except BrokerError as error:
            return str(error)
        return ""

    def open(self) -> None:
        """Take up what the process before left, and start to connect; returns at once."""
        self.close()
        self._box.load(self._clock.utc(), self._still)
        self._defect = None
        self._stop, self._wake = asyncio.Event(), asyncio.Event()
        self._commands = asyncio.Queue(COMMANDS)
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name=f"output-{self.name}-loop", daemon=True)
        self._thread.start()
        ready.wait()

    def publish(self, bed: str, events: Sequence[Event]) -> None:
        """Pass on what one step of a bed's pipeline gave; never waits for the broker.

        Raises:
            Exception: Whatever the loop died of; always a defect.
        """
        if self._defect is not None:
            raise self._defect
        if bed != self._bed:
            return
        for event in events:  # on the disk before anything else: whatever ends the loop or us, they are not lost
            if isinstance(event, Score):
                self._provenance = event.provenance
            elif isinstance(event, AlarmEvent):
                self._box.put(alarm_message(event, utc_offset=self._utc_offset, provenance=self._provenance))
            elif isinstance(event, AlarmAction):
                self._box.put(action_message(event, utc_offset=self._utc_offset, provenance=self._provenance))
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._take, list(events))

    def close(self) -> None:
        """Send what waits, say farewell, and disconnect; waits for it a moment only. May be called twice."""
        with self._lock:
            if self._loop is not None:
                self._loop.call_soon_threadsafe(self._stop.set)
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join(_FAREWELL_S)
        self._box.close()

    # -- the loop -----------------------------------------------------------------------------------------------------

    def _run(self, ready: threading.Event) -> None:
        try:
            with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
                runner.run(self._live(ready))
        except Exception as defect:  # it is raised again in `publish`
            _LOGGER.debug("output %s ended", self.name, exc_info=True)
            self._defect = defect
        finally:
            ready.set()

    async def _live(self, ready: threading.Event) -> None:
        with self._lock:
            self._loop = asyncio.get_running_loop()
        ready.set()
        keeper = asyncio.create_task(self._keep(), name="mqtt-out")
        worker = asyncio.create_task(self._obey(), name="mqtt-commands")
        stopped = asyncio.create_task(self._stop.wait(), name="mqtt-stop")
        try:
            await asyncio.wait({keeper, worker, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if stopped.done() and self._connection is not None:
                await asyncio.wait({keeper}, timeout=_FAREWELL_S)
        finally:
            with self._lock:
                self._loop = None
            for task in (keeper, worker, stopped):
                task.cancel()
            results = await asyncio.gather(keeper, worker, stopped, return_exceptions=True)
        for result in results:
            if isinstance(result, Exception):
                raise result

    async def _keep(self) -> None:
        will = LastWill(
            topic=bed_topic(self._bed, "status"),
            payload=encode(status_message(self._bed, online=False, reason="lost", utc=None)),
        )
        await keep_connected(
            self._settings,
            role=f"out-{self._bed}",
            clock=self._clock,
            use=self._use,
            lost=self._lost,
            handle=self._handle,
            will=will,
        )

    async def _use(self, connection: Connection) -> None:
        proof = bed_topic(self._bed, "selfcheck")
        await connection.subscribe(proof, qos=1)
        if not self._swept:  # what is retained comes before the echo
            await connection.subscribe(bed_topic(self._bed, "alarm", "+"), qos=1)
        await connection.echo(proof)
        self._sweep()
        if self._settings.commands:
            await connection.subscribe(bed_topic(self._bed, "command", "+"), qos=1)
        status = status_message(self._bed, online=True, reason="started", utc=self._clock.utc())
        await connection.publish(bed_topic(self._bed, "status"), encode(status), qos=1, retain=True)
        _LOGGER.info("bed %s: publishing to %s", self._bed, where(self._settings))
        self._said, self._problem = ("", 0.0), ""
        self._box.repeat()  # a broker that was killed or replaced may have forgotten what it had retained
        self._connection = connection
        try:
            beat_at = self._clock.now()
            while not self._stop.is_set():
                await self._send_all(connection)
                if (now := self._clock.now()) >= beat_at:
                    await self._beat(connection, now)
                    beat_at = now - (now - beat_at) % HEARTBEAT_S + HEARTBEAT_S
                await self._pause(connection, beat_at - self._clock.now())
            await self._send_all(connection)
            status = status_message(self._bed, online=False, reason="stopped", utc=self._clock.utc())
            await connection.publish(bed_topic(self._bed, "status"), encode(status), qos=1, retain=True)
        finally:
            self._connection = None

    async def _pause(self, connection: Connection, seconds: float) -> None:
        """Until there is something to send, a heartbeat is due, or the end comes; notices a lost connection."""
        wake = asyncio.create_task(self._wake.wait())
        stop = asyncio.create_task(self._stop.wait())
        either = asyncio.ensure_future(asyncio.wait({wake, stop}, return_when=asyncio.FIRST_COMPLETED))
        try:
            await connection.until_lost_or(either, max(0.0, seconds))
        except TimeoutError:
            pass
        finally:
            for task in (either, wake, stop):
                task.cancel()
            await asyncio.gather(either, wake, stop, return_exceptions=True)
            self._wake.clear()

    async def _send_all(self, connection: Connection) -> None:
        while (letter := self._box.first()) is not None:
            await connection.publish(*self._post(letter), qos=1, retain=bool(letter.condition))
            await asyncio.to_thread(self._box.done, letter)  # it may wait for the disk
        while self._replies:
            topic, payload = self._replies[0]
            await connection.publish(topic, payload, qos=1)
            self._replies.popleft()
        while self._scores:
            topic, payload = self._scores.popleft()
            await connection.publish(topic, payload)

    def _post(self, letter: Letter) -> tuple[str, bytes]:
        topic = bed_topic(self._bed, "alarm", letter.condition) if letter.condition else bed_topic(self._bed, "action")
        return topic, encode(letter.message)

    async def _beat(self, connection: Connection, now: float) -> None:
        self._beats += 1
        age = None if self._scored_at is None else now - self._scored_at
        message = heartbeat_message(self._bed, count=self._beats, utc=self._clock.utc(), score_age_s=age)
        await connection.publish(bed_topic(self._bed, "heartbeat"), encode(message))

    def _lost(self, error: BrokerError) -> None:
        now = self._clock.now()
        self._problem = str(error)
        said, said_at = self._said
        if str(error) != said or now - said_at >= _REPEAT_S:
            self._said = (str(error), now)
            _LOGGER.warning("bed %s: nothing is published: %s (it is tried again)", self._bed, error)

    # -- what goes out ------------------------------------------------------------------------------------------------

    def _take(self, events: Sequence[Event]) -> None:
        indices = {(event.epoch, event.k): event for event in events if isinstance(event, PainIndex)}
        measures = {(event.epoch, event.k): event for event in events if isinstance(event, Comparators)}
        for event in events:
            if isinstance(event, Score):
                self._scored_at = self._clock.now()
                if self._connection is not None:  # an old score is worth nothing to those who come later
                    which = event.epoch, event.k
                    self._add_score(event, indices.get(which), measures.get(which))
        self._wake.set()

    def _add_score(self, score: Score, index: PainIndex | None, measures: Comparators | None) -> None:
        bundle = self._bundles[score.bundle]
        message = score_message(
            score, index, measures, utc_offset=self._utc_offset, origin=bundle.origin, notice=bundle.notice
        )
        self._scores.append((bed_topic(self._bed, "score"), encode(message)))
        quality = quality_message(score, utc_offset=self._utc_offset)
        self._scores.append((bed_topic(self._bed, "quality"), encode(quality)))

    def _sweep(self) -> None:
        """End the alarms that a monitor left at the broker of which our box knows nothing, unless they go on here."""
        if self._swept:
            return
        self._swept = True
        for condition, payload in self._left_over.items():
            if condition in self._box.conditions:
                continue
            try:
                content = json.loads(payload)
            except ValueError:
                continue
            if not isinstance(content, dict) or content.get("presence") in (None, Presence.OFF.value):
                continue
            if content.get("event_id") not in self._still:
                self._box.put({**ending(content, self._clock.utc()), "condition": condition})
        self._left_over = {}

    # -- what comes in ------------------------------------------------------------------------------------------------

    def _handle(self, received: Received) -> None:
        alarms = bed_topic(self._bed, "alarm") + "/"
        if received.topic.startswith(alarms):
            if received.retained and not self._swept:
                self._left_over[received.topic.removeprefix(alarms)] = received.payload
            return
        user = user_of(received.topic, self._bed)
        if user is None:
            return
        try:
            command = self._desk.read(user, received.payload, retained=received.retained, utc=self._clock.utc())
            self._commands.put_nowait(command)
        except asyncio.QueueFull:
            self._refuse(user, RefusedError("busy", "too many commands wait", id=command.id))
        except RefusedError as refusal:
            self._refuse(user, refusal)

    def _refuse(self, user: str, refusal: RefusedError) -> None:
        _LOGGER.warning("bed %s: a command of %s is refused, %s", self._bed, user, refusal)
        self._answer(user, reply(refusal.id, error=refusal.detail, reason=refusal.reason))

    def _answer(self, user: str, message: Mapping[str, Any]) -> None:
        self._replies.append((bed_topic(self._bed, "reply", user), encode(message)))
        self._wake.set()

    async def _obey(self) -> None:
        while True:
            command = await self._commands.get()
            self._answer(command.user, await asyncio.to_thread(self._execute, command))

    def _execute(self, command: UserCommand) -> dict[str, Any]:
        if self._request is None:
            return reply(command.id, error="this monitor takes no commands", reason="refused")
        try:
            result = self._request(command.action, command.args, bed=self._bed, actor=f"mqtt:{command.user}")
        except (MonitorError, TimeoutError) as error:
            return reply(command.id, error=str(error), reason="refused")
        except Exception:  # a defect in one command must not end the output
            _LOGGER.exception("bed %s: command %s of %s failed", self._bed, command.action, command.user)
            return reply(command.id, error="it failed; see the monitor's log", reason="failed")
        return reply(command.id, result=result)
