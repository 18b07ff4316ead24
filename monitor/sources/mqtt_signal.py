"""One signal on MQTT: what its packets say that it is, which of them wait, and what was lost before them. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field, replace
from typing import Final

from monitor.config import StreamSettings
from monitor.errors import MappingError
from monitor.sources.base import Candidate
from monitor.sources.lsl_stamps import ArrivalStamps
from monitor.sources.mapping import resolve
from monitor.sources.senml import measured_rate
from monitor.sources.seq import SequenceTracker
from monitor.sources.wire_packet import Refusal, WireError, WirePacket
from monitor.types import StreamInfo, snap

RATE_S: Final = 2.0
"""Span of packets from which a rate is measured where none is stated."""
JITTER_S: Final = 0.1
"""Jitter of stamps where no setting states one: a gateway stamps whole packets."""
MAX_HELD: Final = 250_000
HELD_S: Final = 15.0
"""Samples of one signal that may wait, and for how long; then the oldest packet is dropped and counted as lost."""


@dataclass(slots=True)
class Place:
    """A stream that the bed wants."""

    name: str
    settings: StreamSettings
    device: str | None
    """The device that fills it; None while that is open."""
    since: float | None = None
    """When the first packet for it came."""
    known: StreamInfo | None = None
    """The stream that fills it, once it has delivered."""


@dataclass(slots=True)
class Held:
    """A packet that waits."""

    packet: WirePacket
    arrival: float
    lost: int
    """Samples lost before it."""


@dataclass(slots=True)
class Signal:
    """One topic that brings packets for a place."""

    device: str
    modality: str
    place: Place
    sequence: SequenceTracker = field(default_factory=SequenceTracker)
    held: deque[Held] = field(default_factory=deque)
    lost: int = 0
    """Samples lost before the next packet that is kept."""
    first: WirePacket | None = None
    """The first packet that was used: what the stream is from then on."""
    rate_hz: float | None = None
    """As stated, or as measured where nothing states one."""
    made: ArrivalStamps | None = None
    """Makes its stamps where the settings ask for those of arrival."""
    open: bool = False
    """It has been announced, and has not fallen silent since."""
    run: str | None = None
    """Run of the device that is open."""
    last_stamp: float = -float("inf")
    last_arrival: float = 0.0
    packet_s: float = 0.0
    """From the first to the last stamp of the newest packet."""

    @property
    def label(self) -> str:
        """What it is called where something is said of it."""
        return f"{self.device}/{self.modality}"

    def follow(self, packet: WirePacket, arrival: float) -> None:
        """Take note of the next packet, and of what was lost before it.

        Raises:
            WireError: If it came before.
        """
        last = float(packet.stamps[-1])
        if packet.run is not None and packet.seq is not None and packet.rate_hz is not None:
            lost = self.sequence.take(
                run=packet.run, seq=packet.seq, first=float(packet.stamps[0]), count=len(packet.x),
                rate_hz=packet.rate_hz,
            )  # fmt: skip
            if lost is None:
                raise WireError(Refusal.REPEATED, f"run {packet.run}, seq {packet.seq} came before")
            self.lost += lost
        elif float(packet.stamps[0]) <= self.last_stamp:
            raise WireError(Refusal.REPEATED, "its times came before")
        self.last_stamp, self.last_arrival = last, arrival
        self.packet_s = last - float(packet.stamps[0])

    def on_device_clock(self, packet: WirePacket) -> bool:
        """Whether its stamps must be brought onto our clock by comparing the two."""
        return packet.device_clock and self.place.settings.timestamps == "device"

    def bound(self, now: float) -> None:
        """Drop the oldest packets that wait, where they are too many or too old, and count them as lost."""
        waiting = sum(len(held.packet.x) for held in self.held)
        while len(self.held) > 1 and (waiting > MAX_HELD or now - self.held[0].arrival > HELD_S):
            dropped = self.held.popleft()
            waiting -= len(dropped.packet.x)
            self.held[0].lost += dropped.lost + len(dropped.packet.x)

    def rate_known(self) -> bool:
        """Whether the rate is known, now that the packets which wait have been looked at."""
        if self.rate_hz is None:
            packet = self.held[-1].packet
            stated = self.place.settings.rate_hz
            if packet.rate_hz is not None:
                self.rate_hz = packet.rate_hz
            elif isinstance(stated, float):
                self.rate_hz = stated
            else:
                stamps = [stamp for held in self.held for stamp in held.packet.stamps.tolist()]
                if len(stamps) >= 3 and stamps[-1] - stamps[0] >= RATE_S:
                    self.rate_hz = measured_rate(stamps)
        return self.rate_hz is not None

    def info(self, packet: WirePacket, offset: float, *, bed: str) -> StreamInfo:
        """The stream as its device describes it and the configuration completes it.

        Raises:
            WireError: If it cannot serve the bed as it is.
        """
        arrival_stamps = self.place.settings.timestamps == "arrival"
        origin = None if packet.origin is None or arrival_stamps else float(snap(packet.origin + offset))
        candidate = replace(
            candidate_of(self.device, self.modality, packet, packet.rate_hz or self.rate_hz), origin=origin
        )
        # The topic has told already which stream this is: what is left of the settings says what it is.
        told = {"name": self.device, "type": None, "source_id": None, "channel": None, "modality": self.modality}
        settings = self.place.settings.model_copy(update=told)
        try:
            mapped = resolve([candidate], [settings], bed=bed, live=True)
        except MappingError as error:
            raise WireError(Refusal.MAPPING, str(error)) from None
        return mapped.channel_of[candidate.key]


def candidate_of(device: str, modality: str, packet: WirePacket, rate_hz: float | None) -> Candidate:
    """A signal as its topic and its first packet describe it.

    Args:
        device: From the topic.
        modality: From the topic.
        packet: Its first packet.
        rate_hz: As stated, or measured.
    """
    return Candidate(
        key=f"mqtt:{device}/{modality}",
        name=device,
        type=modality,
        unit=packet.unit,
        rate_hz=rate_hz,
        rate_measured=packet.rate_hz is None,
        source="mqtt",
        provenance=packet.provenance,
        modality=modality,
        jitter_s=JITTER_S,
    )


def changes(before: WirePacket, now: WirePacket) -> str:
    """What makes a packet another signal than the stream was, in words; empty where nothing does."""
    pairs = {
        "rate": (before.rate_hz, now.rate_hz),
        "unit": (before.unit, now.unit),
        "clock": ("device" if before.device_clock else "utc", "device" if now.device_clock else "utc"),
        "provenance": (before.provenance.value, now.provenance.value),
    }
    return "; ".join(f"{key} was {a}, is {b}" for key, (a, b) in pairs.items() if a != b)
