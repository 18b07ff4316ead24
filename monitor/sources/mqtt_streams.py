"""What the packets on one bed's signal topics become: streams, chunks, and counted refusals. Pure.

A bed that names its MQTT streams (`[[bed.stream]]` with `source = "mqtt"`) has one place for each; a bed that names no
streams at all has one for each modality that turns up. A place whose device is not named takes one device, or none:
it waits `CHOICE_S` for a second one, and where two send the same modality both are named and neither is taken.

Packets wait, bounded, while a place is being decided, a device's clock compared, or a rate measured; then they go on
together, so that nothing of a stream's beginning is lost.
"""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Final, TypeAlias

from monitor.config import BedSettings, StreamSettings
from monitor.errors import MappingError
from monitor.modality import parse_modality
from monitor.sources.lsl_stamps import ArrivalStamps
from monitor.sources.mqtt_clock import DeviceClock
from monitor.sources.mqtt_signal import Held, Place, Signal, changes
from monitor.sources.topics import bed_topic, signal_of
from monitor.sources.wire import decode
from monitor.sources.wire_packet import Refusal, WireError, WirePacket
from monitor.types import Chunk, StreamEvent, StreamEventKind, StreamInfo, snap

_LOGGER = logging.getLogger(__name__)

Item: TypeAlias = StreamInfo | StreamEvent | Chunk

CHOICE_S: Final = 2.0
"""How long a place without a named device waits for a second one before it takes the first."""
RIVAL_S: Final = 10.0
"""A device that has been silent for so long is no rival any more."""
REPEAT_S: Final = 30.0
"""What keeps packets from being used is said when it is new, and again every so often."""
FIRST_SAID_S: Final = 5.0
"""A place that nothing fills is reported after so long."""
FOREIGN_CLOCK_S: Final = 5.0
"""A first stamp further than this from our clock is reported: the device's clock is not set to UTC."""
MAX_SIGNALS: Final = 64
"""Signals of one bed that are kept apart; what comes on further topics is counted together and dropped."""
MAX_COUNTERS: Final = 1024
"""Kinds of refusals that are counted apart."""


class SignalTopics:
    """The signal topics of one bed.

    Args:
        bed: The bed; of its streams only those with `source = "mqtt"` count.
        utc_offset: Stream clock minus UTC in seconds, constant for as long as the engine lives.
        silent_s: Seconds without a packet after which a stream counts as gone.
        now: Stream clock.
    """

    def __init__(self, *, bed: BedSettings, utc_offset: float, silent_s: float, now: float) -> None:
        self._bed = bed.name
        self._utc_offset = float(snap(utc_offset))
        self._silent_s = silent_s
        self._began = now
        self._open_bed = not bed.stream
        self._places: dict[str, Place] = {}
        for number, stream in enumerate(bed.stream):
            if stream.source == "mqtt":
                name = f"stream[{number}] {stream.device or '+'}/{stream.modality}"
                self._places[name] = Place(name=name, settings=stream, device=stream.device)
        self._signals: dict[tuple[str, str], Signal] = {}
        self._clocks: dict[str, DeviceClock] = {}
        self._said: dict[tuple[str, str], float] = {}
        self.refused: Counter[tuple[str, str]] = Counter()
        """Packets refused so far, by (signal or place, reason)."""

    def take(self, topic: str, payload: bytes, *, retained: bool, arrival: float) -> list[Item]:
        """Take one message.

        Args:
            topic: Where it came.
            payload: What it holds.
            retained: Whether the broker had kept it: then it is old, and dropped.
            arrival: Stream clock.

        Returns:
            What follows from it, in order.
        """
        named = signal_of(topic)
        if named is None or named[0] != self._bed:
            return self._refuse("other topics", Refusal.TOPIC, f"'{topic[:80]}' is no signal of this bed", arrival)
        device, written = named[1], named[2]
        try:
            modality = parse_modality(written)
        except MappingError as error:
            return self._refuse(f"{device}/{written}", Refusal.TOPIC, error.what, arrival)
        signal = self._signal(device, modality)
        if signal is None:
            return self._unwanted(f"{device}/{modality}")
        if retained:
            return self._refuse(
                signal.label, Refusal.RETAINED, "retained by the broker, so its age is unknown", arrival
            )
        try:
            packet = decode(payload)
            return self._accept(signal, packet, arrival)
        except WireError as error:
            return self._refuse(signal.label, error.reason, error.detail, arrival)

    def tick(self, now: float) -> list[Item]:
        """Let time pass: choices are made, clocks settle, and silence is noticed."""
        items: list[Item] = []
        for signal in self._signals.values():
            if signal.held:
                items += self._deliver(signal, now)
            silent = now - signal.last_arrival
            if signal.open and silent > max(self._silent_s, 3.0 * signal.packet_s):
                signal.open = False
                items.append(self._event(signal, StreamEventKind.GONE, now, f"no packet for {silent:.0f} s"))
        for place in self._places.values():
            if place.known is None and place.since is None and now - self._began > FIRST_SAID_S:
                topic = bed_topic(self._bed, "signal", place.settings.device or "+", place.settings.modality or "+")
                items += self._say(place.name, StreamEventKind.SEARCHING, f"nothing has come on {topic} yet", now)
        return items

    def disconnected(self, now: float, detail: str) -> list[Item]:
        """The broker is away: every open stream is gone until its next packet."""
        items: list[Item] = []
        for signal in self._signals.values():
            if signal.open:
                signal.open = False
                items.append(self._event(signal, StreamEventKind.GONE, now, detail))
        return items

    # -- who fills a place --------------------------------------------------------------------------------------------

    def _signal(self, device: str, modality: str) -> Signal | None:
        known = self._signals.get((device, modality))
        if known is None and len(self._signals) < MAX_SIGNALS:
            place = self._place(device, modality)
            if place is not None:
                known = self._signals[device, modality] = Signal(device=device, modality=modality, place=place)
        return known

    def _place(self, device: str, modality: str) -> Place | None:
        for place in self._places.values():
            if parse_modality(place.settings.modality or "") == modality and place.settings.device in (None, device):
                return place
        if self._open_bed:
            settings = StreamSettings(source="mqtt", modality=modality)
            return self._places.setdefault(modality, Place(name=modality, settings=settings, device=None))
        return None

    def _rivals(self, place: Place, now: float) -> list[Signal]:
        return [
            signal
            for signal in self._signals.values()
            if signal.place is place and signal.last_arrival > 0 and now - signal.last_arrival < RIVAL_S
        ]

    def _choose(self, signal: Signal, now: float) -> Iterator[Item]:
        """Decide who fills the signal's place, if that is open and time."""
        place = signal.place
        rivals = self._rivals(place, now)
        if place.device is None and place.since is not None and now - place.since >= CHOICE_S and len(rivals) == 1:
            place.device = rivals[0].device
        if len(rivals) > 1 and place.device != signal.device:
            names = " and ".join(sorted(rival.device for rival in rivals))
            taken = f"{place.device} is taken" if place.device else "neither is taken"
            yield from self._say(
                place.name,
                StreamEventKind.REFUSED,
                f"{names} both send {signal.modality}, {taken}: name one by `device` in its [[bed.stream]]",
                now,
            )

    # -- packets ------------------------------------------------------------------------------------------------------

    def _accept(self, signal: Signal, packet: WirePacket, arrival: float) -> list[Item]:
        signal.follow(packet, arrival)
        if signal.place.since is None:
            signal.place.since = arrival
        if signal.on_device_clock(packet):
            clock = self._clocks.setdefault(signal.device, DeviceClock())
            if clock.observe(signal=signal.modality, run=packet.run or "", newest=signal.last_stamp, arrival=arrival):
                self._drop_held(signal.device)
        signal.held.append(Held(packet=packet, arrival=arrival, lost=signal.lost))
        signal.lost = 0
        signal.bound(arrival)
        return self._deliver(signal, arrival)

    def _drop_held(self, device: str) -> None:
        """What waited for the clock of the segment before can no longer be placed."""
        for signal in self._signals.values():
            if signal.device == device:
                signal.lost += sum(len(held.packet.x) + held.lost for held in signal.held)
                signal.held.clear()

    def _deliver(self, signal: Signal, now: float) -> list[Item]:
        items = list(self._choose(signal, now))
        if signal.place.device != signal.device:
            if signal.place.device is not None:
                signal.held.clear()
            return items
        offset = self._utc_offset
        if signal.on_device_clock(signal.held[-1].packet):
            estimate = self._clocks[signal.device].offset(now)
            if estimate is None:
                return items
            offset = float(snap(estimate))
        if not signal.rate_known():
            return items
        while signal.held:
            held = signal.held.popleft()
            try:
                items += self._chunk(signal, held, offset, now)
            except WireError as error:
                signal.lost += held.lost + len(held.packet.x)
                items += self._refuse(signal.label, error.reason, error.detail, now)
        return items

    def _chunk(self, signal: Signal, held: Held, offset: float, now: float) -> Iterator[Item]:
        """What a packet whose time has come turns into.

        Raises:
            WireError: If it is not used after all.
        """
        place, packet = signal.place, held.packet
        if signal.first is not None and (changed := changes(signal.first, packet)):
            raise WireError(Refusal.CHANGED, f"{changed}; set the device back, or start the monitor anew to accept it")
        if not signal.open or packet.run != signal.run:
            info = signal.info(packet, offset, bed=self._bed)
            if not signal.open or place.known is None or info.origin != place.known.origin:
                self._said.pop((place.name, place.name), None)
                yield info
                yield from self._strange_clock(signal, packet, offset, now)
            place.known, signal.open, signal.run = info, True, packet.run
            signal.first = signal.first or packet
        assert place.known is not None
        if place.settings.timestamps == "arrival":
            signal.made = signal.made or ArrivalStamps(rate_hz=place.known.rate_hz)
            stamps, offset = signal.made.make(len(packet.x), now), 0.0
        else:
            stamps = snap(packet.stamps + offset)
        yield Chunk(
            stream=place.known.key,
            samples=packet.x,
            stamps=stamps,
            arrival=now,
            lost=held.lost + signal.lost,
            clock_offset=offset,
        )
        signal.lost = 0

    def _strange_clock(self, signal: Signal, packet: WirePacket, offset: float, now: float) -> Iterator[Item]:
        ahead = float(packet.stamps[-1]) + offset - now
        if signal.place.settings.timestamps == "device" and abs(ahead) > FOREIGN_CLOCK_S:
            detail = (
                f"its first stamp is {ahead:+.1f} s from our clock: set the device's clock (NTP), let it send "
                '"clock": "device", or set timestamps = "arrival" in its [[bed.stream]]'
            )
            _LOGGER.warning("bed %s, MQTT signal %s: %s", self._bed, signal.label, detail)
            yield self._event(signal, StreamEventKind.CLOCK_FAULT, now, detail, seconds=ahead)

    # -- what is said -------------------------------------------------------------------------------------------------

    def _refuse(self, label: str, reason: Refusal, detail: str, now: float) -> list[Item]:
        label = self._counted(label, reason)
        count = self.refused[label, reason.value]
        return self._say(label, StreamEventKind.REFUSED, f"{reason.value} (packet {count} of this kind): {detail}", now,
                         about=reason.value)  # fmt: skip

    def _unwanted(self, label: str) -> list[Item]:
        """Count a packet that nothing wants; no fault of anybody's, so it is said once and not as an event."""
        label = self._counted(label, Refusal.TOPIC)
        if self.refused[label, Refusal.TOPIC.value] == 1:
            _LOGGER.info("bed %s, MQTT signal %s: no [[bed.stream]] wants it", self._bed, label)
        return []

    def _counted(self, label: str, reason: Refusal) -> str:
        if (label, reason.value) not in self.refused and len(self.refused) >= MAX_COUNTERS:
            label = "other topics"  # whoever invents topics must not fill our memory with their names
        self.refused[label, reason.value] += 1
        return label

    def _say(self, label: str, kind: StreamEventKind, detail: str, now: float, *, about: str = "") -> list[Item]:
        """Report something once, and again after `REPEAT_S` if it goes on."""
        topic = (label, about or label)
        if now - self._said.get(topic, -float("inf")) < REPEAT_S:
            return []
        self._said[topic] = now
        _LOGGER.warning("bed %s, MQTT signal %s: %s", self._bed, label, detail)
        return [StreamEvent(bed=self._bed, stream=self._key(label), kind=kind, t=now, detail=detail)]

    def _key(self, label: str) -> str:
        return f"mqtt:{label}"

    def _event(
        self, signal: Signal, kind: StreamEventKind, now: float, detail: str, *, seconds: float = 0.0
    ) -> StreamEvent:
        key = self._key(signal.label)
        return StreamEvent(bed=self._bed, stream=key, kind=kind, t=now, seconds=seconds, detail=detail)

    @property
    def known(self) -> Mapping[str, StreamInfo]:
        """Streams that have delivered, by place."""
        return {place.name: place.known for place in self._places.values() if place.known is not None}
