"""What signals a broker carries now: the report behind `pain-monitor streams --mqtt`."""

from __future__ import annotations

import asyncio
from collections import Counter
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from monitor.clock import Clock
from monitor.config import MqttSettings
from monitor.errors import MappingError
from monitor.modality import parse_modality
from monitor.sources.broker import Connection, Received, connect
from monitor.sources.mqtt_signal import candidate_of
from monitor.sources.senml import measured_rate
from monitor.sources.seq import SequenceTracker
from monitor.sources.suggest import toml_table
from monitor.sources.topics import bed_topic, signal_of
from monitor.sources.wire import decode
from monitor.sources.wire_packet import Refusal, WireError, WirePacket
from monitor.types import Provenance

MAX_TOPICS: Final = 256
"""Topics that are told apart in one look."""
MAX_STAMPS: Final = 100_000
"""Samples of one topic that a rate and a range are measured from."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicReport:
    """One signal topic, as it was during the look."""

    topic: str
    bed: str
    device: str
    modality: str
    form: str | None
    """CBOR, JSON or SenML; None where no packet could be read."""
    unit: str | None
    rate_claimed_hz: float | None
    rate_measured_hz: float | None
    packets: int
    samples: int
    lost: int | None
    """Samples that `seq` shows to be lost; None where packets bear none."""
    stamp_minus_clock_s: float | None
    """Newest stamp of the last packet minus our clock, where stamps are UTC."""
    low: float | None
    high: float | None
    provenance: Provenance
    refused: dict[str, int]
    """Packets that could not be used, by reason."""
    problem: str
    """The last reason in words; empty where there was none."""
    config: str
    """Lines for config.toml; empty where no packet could be read."""


@dataclass(slots=True)
class _Seen:
    topic: str
    bed: str
    device: str
    modality: str
    last: WirePacket | None = None
    arrival: float = 0.0
    packets: int = 0
    samples: int = 0
    lost: int = 0
    sequence: SequenceTracker = field(default_factory=SequenceTracker)
    stamps: list[float] = field(default_factory=list)
    low: float | None = None
    high: float | None = None
    refused: Counter[str] = field(default_factory=Counter)
    problem: str = ""

    def take(self, received: Received) -> None:
        try:
            if received.retained:
                raise WireError(Refusal.RETAINED, "retained by the broker, so its age is unknown")
            packet = decode(received.payload)
            self._count_lost(packet)
        except WireError as error:
            self.refused[error.reason.value] += 1
            self.problem = str(error)
            return
        self.last, self.arrival = packet, received.arrival
        self.packets += 1
        self.samples += len(packet.x)
        if len(self.stamps) < MAX_STAMPS:
            self.stamps += packet.stamps.tolist()
        finite = packet.x[np.isfinite(packet.x)]
        if len(finite):
            low, high = float(finite.min()), float(finite.max())
            self.low = low if self.low is None else min(self.low, low)
            self.high = high if self.high is None else max(self.high, high)

    def _count_lost(self, packet: WirePacket) -> None:
        if packet.run is None or packet.seq is None or packet.rate_hz is None:
            return
        lost = self.sequence.take(
            run=packet.run, seq=packet.seq, first=float(packet.stamps[0]), count=len(packet.x), rate_hz=packet.rate_hz
        )
        if lost is None:
            raise WireError(Refusal.REPEATED, f"run {packet.run}, seq {packet.seq} came before")
        self.lost += lost

    def report(self, utc_offset: float) -> TopicReport:
        """What was seen.

        Args:
            utc_offset: Stream clock minus UTC in seconds.
        """
        last = self.last
        measured = measured_rate(self.stamps) if len(self.stamps) > 1 else None
        ahead = None if last is None or last.device_clock else float(last.stamps[-1]) + utc_offset - self.arrival
        config = ""
        if last is not None:
            candidate = candidate_of(self.device, self.modality, last, last.rate_hz or measured)
            config = toml_table(candidate, self.modality, (candidate,))
        return TopicReport(
            topic=self.topic,
            bed=self.bed,
            device=self.device,
            modality=self.modality,
            form=last.form.value if last else None,
            unit=last.unit if last else None,
            rate_claimed_hz=last.rate_hz if last else None,
            rate_measured_hz=measured,
            packets=self.packets,
            samples=self.samples,
            lost=self.lost if last is not None and last.seq is not None else None,
            stamp_minus_clock_s=ahead,
            low=self.low,
            high=self.high,
            provenance=last.provenance if last else Provenance.LIVE,
            refused=dict(self.refused),
            problem=self.problem,
            config=config,
        )


def discover(settings: MqttSettings, seconds: float, *, clock: Clock) -> list[TopicReport]:
    """Listen to the signal topics of all beds for a while.

    Args:
        settings: The broker.
        seconds: How long.
        clock: The stream clock.

    Returns:
        One report a topic, in their order.

    Raises:
        SourceError: If the broker cannot be reached, is not who it should be, or refuses us.
    """
    seen: dict[str, _Seen] = {}

    def take(received: Received) -> None:
        known = seen.get(received.topic)
        if known is None and len(seen) < MAX_TOPICS and (named := signal_of(received.topic)) is not None:
            try:
                modality = parse_modality(named[2])
            except MappingError:
                return
            known = seen[received.topic] = _Seen(received.topic, named[0], named[1], modality)
        if known is not None:
            known.take(received)

    async def listen() -> None:
        async with connect(settings, role="streams", clock=clock, handle=take) as connection:
            await connection.subscribe(bed_topic("+", "signal", "+", "+"))
            await _pass(connection, seconds)

    utc_offset = clock.now() - clock.utc()
    with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
        runner.run(listen())
    return [seen[topic].report(utc_offset) for topic in sorted(seen)]


async def _pass(connection: Connection, seconds: float) -> None:
    try:
        await connection.until_lost_or(asyncio.get_running_loop().create_future(), seconds)
    except TimeoutError:
        return
