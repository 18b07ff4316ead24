"""Plays signals as a wearable's gateway would: CBOR packets over MQTT, in real time.

While the broker is away nothing is stored up: what would have been sent then is numbered and not sent, so that a
monitor counts it as lost. Old samples would only make its windows late.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from monitor.clock import SystemClock
from monitor.config import MqttSettings
from monitor.errors import SourceError
from monitor.outputs.player import PROGRESS_S, Packet, PlayProgress, Reporter, SignalSpec
from monitor.sources.broker import BrokerError, Connection, keep_connected, where
from monitor.sources.topics import bed_topic
from monitor.sources.wire import encode_cbor
from monitor.sources.wire_packet import Form, WirePacket
from monitor.types import Float32Array, FloatArray, snap

_LOGGER = logging.getLogger(__name__)

PACKET_S: Final = 0.25
"""Length of a packet: what a wearable collects before it wakes its radio."""
OFF_LINE: Final = 0.1
"""A sample whose stamp is off its packet's line by more than this share of a period begins another packet."""
_LEAD_S: Final = 0.2


@dataclass(slots=True)
class _Topic:
    spec: SignalSpec
    topic: str
    seq: int = 0


def topics_of(specs: Sequence[SignalSpec], *, bed: str, device: str) -> tuple[dict[str, str], tuple[str, ...]]:
    """The topic of each signal, by key, and a sentence for each signal that has none.

    Args:
        specs: The signals.
        bed: Whose they are.
        device: Name of the device; where a modality comes twice, the signal's name is added to it.
    """
    topics: dict[str, str] = {}
    notes: list[str] = []
    for spec in specs:
        if not spec.type:
            notes.append(f"{spec.name}: no modality follows from its name, so it has no topic and is not sent")
            continue
        if spec.channels > 1:
            notes.append(f"{spec.name}: has {spec.channels} channels, and MQTT carries one a message; it is not sent")
            continue
        if spec.rate_hz <= 0:
            notes.append(f"{spec.name}: its sampling rate is not known, so it is not sent")
            continue
        alone = sum(other.type == spec.type for other in specs) == 1
        name = device if alone else f"{device}-{re.sub(r'[^A-Za-z0-9_.-]+', '-', spec.name).strip('-')}"[:64]
        topics[spec.key] = bed_topic(bed, "signal", name, spec.type)
    return topics, tuple(notes)


def play(
    *,
    specs: Sequence[SignalSpec],
    packets: Iterable[Packet],
    broker: MqttSettings,
    bed: str,
    device: str,
    stop: threading.Event,
    progress: Callable[[PlayProgress], None] | None = None,
) -> float:
    """Play packets in real time until they end or `stop` is set.

    Args:
        specs: The signals.
        packets: In order of their due time.
        broker: Where to send them.
        bed: Whose signals they are.
        device: Name of the device.
        stop: Set by someone else to end it.
        progress: Called about twice a second.

    Returns:
        Seconds played, by the newest due time.

    Raises:
        SourceError: If no signal can be sent, or the broker cannot be reached to begin with.
    """
    topics, _ = topics_of(specs, bed=bed, device=device)
    if not topics:
        raise SourceError("there is no signal that could be sent", todo="State modalities and rates (see docs/mqtt.md)")
    gateway = _Gateway(
        topics={spec.key: _Topic(spec, topics[spec.key]) for spec in specs if spec.key in topics},
        broker=broker,
        bed=bed,
        stop=stop,
        report=Reporter(progress),
    )
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        return runner.run(gateway.run(packets))


@dataclass(slots=True)
class _Gateway:
    topics: dict[str, _Topic]
    broker: MqttSettings
    bed: str
    stop: threading.Event
    report: Reporter
    run_id: str = field(default_factory=lambda: secrets.token_hex(8))
    connection: Connection | None = None
    up: asyncio.Event = field(default_factory=asyncio.Event)
    unsent: int = 0
    said: str = ""

    async def run(self, packets: Iterable[Packet]) -> float:
        keeper = asyncio.create_task(self._keep(), name="mqtt-gateway")
        try:
            if not await self._wait_for_broker(keeper):
                return 0.0
            played = await self._play(packets)
            if self.connection is not None:  # the echo comes back after all that was sent before it
                await self.connection.echo(bed_topic(self.bed, "selfcheck"))
            return played
        finally:
            keeper.cancel()
            with contextlib.suppress(asyncio.CancelledError, BrokerError):
                await keeper

    async def _keep(self) -> None:
        await keep_connected(
            self.broker, role=f"gateway-{self.bed}", clock=SystemClock(), use=self._use, lost=self._lost
        )

    async def _use(self, connection: Connection) -> None:
        proof = bed_topic(self.bed, "selfcheck")
        await connection.subscribe(proof, qos=1)
        await connection.echo(proof)
        if self.unsent:
            _LOGGER.warning("%s is back; %d packets were not sent", where(self.broker), self.unsent)
        self.connection, self.unsent, self.said = connection, 0, ""
        self.up.set()
        try:
            await connection.until_lost_or(asyncio.get_running_loop().create_future(), None)
        finally:
            self.connection = None

    def _lost(self, error: BrokerError) -> None:
        if not self.up.is_set():
            raise error
        if str(error) != self.said:
            self.said = str(error)
            _LOGGER.warning("%s (it is tried again)", error)

    async def _wait_for_broker(self, keeper: asyncio.Task[None]) -> bool:
        up = asyncio.create_task(self.up.wait())
        try:
            while not up.done():
                self.report(PlayProgress(waiting_for=(where(self.broker),), played_s=0.0))
                await asyncio.wait({up, keeper}, timeout=0.1, return_when=asyncio.FIRST_COMPLETED)
                if keeper.done():
                    keeper.result()
                if self.stop.is_set():
                    return False
        finally:
            up.cancel()
        return True

    async def _play(self, packets: Iterable[Packet]) -> float:
        start_utc = float(snap(time.time() + _LEAD_S))
        start = time.monotonic() + _LEAD_S
        played = 0.0
        for due, key, samples, stamps in packets:
            while (ahead := start + due - time.monotonic()) > 0:
                await asyncio.sleep(min(ahead, PROGRESS_S))
                if self.stop.is_set():
                    return played
            if self.stop.is_set():
                return played
            if (topic := self.topics.get(key)) is not None:
                for part, first in on_one_line(samples, stamps, topic.spec.rate_hz):
                    await self._send(topic, part, start_utc + first, start_utc)
            played = due
            self.report(PlayProgress(waiting_for=(), played_s=played))
        self.report(PlayProgress(waiting_for=(), played_s=played), final=True)
        return played

    async def _send(self, topic: _Topic, samples: Float32Array, first: float, origin: float) -> None:
        packet = WirePacket(
            form=Form.CBOR,
            run=self.run_id,
            seq=topic.seq,
            device_clock=False,
            stamps=np.array([first]),
            rate_hz=topic.spec.rate_hz,
            unit=topic.spec.unit,
            x=samples,
            origin=origin,
            provenance=topic.spec.provenance,
        )
        topic.seq += 1
        if self.connection is None:
            self.unsent += 1
            return
        try:
            await self.connection.publish(topic.topic, encode_cbor(packet))
        except BrokerError:
            self.unsent += 1  # whoever keeps the connection says why


def on_one_line(samples: Float32Array, stamps: FloatArray, rate_hz: float) -> Iterator[tuple[Float32Array, float]]:
    """Cut a packet wherever its stamps leave the line that a wire packet's `t0` and `rate` stand for.

    Args:
        samples: (n,) samples.
        stamps: (n,) seconds.
        rate_hz: Sampling rate.

    Yields:
        The samples of each part, and the stamp of its first.
    """
    begin = 0
    while begin < len(stamps):
        line = stamps[begin] + np.arange(len(stamps) - begin) / rate_hz
        off = np.abs(stamps[begin:] - line) > OFF_LINE / rate_hz
        end = begin + int(np.argmax(off)) if off.any() else len(stamps)
        yield samples[begin:end], float(stamps[begin])
        begin = end
