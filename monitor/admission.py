"""The streams of one bed: which are taken, what they feed, and which have fallen silent. Pure, like the pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from monitor.assessment import BundlePlan
from monitor.config import BedSettings
from monitor.modality import many_channels
from monitor.preprocess import StreamBuffer
from monitor.quality import HISTORY_S
from monitor.scoring.measures import LONGEST_S, PlainMeasures
from monitor.types import Reason, StreamEvent, StreamEventKind, StreamInfo

SILENT_S: Final = 5.0
"""A stream that has brought nothing for this long (or for the allowed lateness) is not waited for."""

PACKET_MARGIN_S: Final = 0.5
"""What a window must wait beyond the longest interval between two packets."""

_MARGIN_S: Final = 10.0
_TEMPERATURE_AGE_S: Final = 60.0


class Admission:
    """Takes streams, or says why not.

    Args:
        bed: Settings of the bed.
        plans: Its bundles; a stream that is taken is attached to each input that it can feed.
        measures: The plain measures, which it feeds too.
    """

    def __init__(self, *, bed: BedSettings, plans: Sequence[BundlePlan], measures: PlainMeasures) -> None:
        self.buffers: dict[str, StreamBuffer] = {}
        """By stream key, those that serve a modality."""
        self.last_arrival: dict[str, float] = {}
        """By stream key, when it last brought something, on the stream clock."""
        self.missed_until: dict[str, float] = {}
        """By stream key, the end of the newest window that was decided without it."""
        self._bed = bed
        self._plans = tuple(plans)
        self._measures = measures
        self._by_modality: dict[str, StreamBuffer] = {}
        longest = max(LONGEST_S, *(plan.length_s for plan in plans))
        history = max(HISTORY_S.values())
        self._buffer_s = max(bed.buffer_s, self.lag_s(bed) + longest + history + bed.hop_s + _MARGIN_S)

    @staticmethod
    def lag_s(bed: BedSettings) -> float:
        """How far back everything of a stream has arrived, also of one that windows do not wait for."""
        return max(bed.allowed_lateness_s, SILENT_S)

    def refusal(self, info: StreamInfo) -> str:
        """Why a stream cannot be taken, in words; empty where it can."""
        if info.bed != self._bed.name:
            return f"belongs to bed {info.bed}"
        holder = self._by_modality.get(info.modality or "")
        if holder is not None and holder.info.key != info.key:
            return f"{info.modality} already comes from stream {holder.info.name!r}"
        if info.rate_hz <= 0 and info.modality is not None:
            return "has no sampling rate; state rate_hz in its [[bed.stream]]"
        return self._channel_refusal(info)

    def _channel_refusal(self, info: StreamInfo) -> str:
        if not many_channels(info.modality):
            return ""
        takers = [(plan, item) for plan in self._plans for item in plan.spec.inputs if item.modality == info.modality]
        if not takers or any(item.channels == info.channels for _, item in takers):
            return ""
        if info.key in self.buffers:  # it came back another one: its samples would not fit
            self.drop(self.buffers[info.key])
        for plan, _ in takers:
            plan.obstruct(info.modality or "", Reason.CHANNEL_COUNT)
        wanted = " and ".join(f"{plan.spec.name} takes {item.channels}" for plan, item in takers)
        return f"has {info.channels} channel{'s' if info.channels != 1 else ''} of {info.modality}, {wanted}"

    def admit(self, info: StreamInfo, at: float) -> StreamEvent:
        """Take a stream that nothing speaks against, before its first chunk or again after a reconnect.

        Args:
            info: The stream.
            at: Stream clock.
        """
        known = self.buffers.get(info.key)
        if known is not None and _same_signal(known.info, info):
            return self.event(info, StreamEventKind.OPENED, at, "again")
        if known is not None:
            self.drop(known)
        if info.modality is None or not self._is_read(info):
            return self.event(info, StreamEventKind.OPENED, at, info.unused or "shown, serves no model")
        # A stream that has just been opened is waited for as if it had just spoken.
        self.last_arrival[info.key] = at
        buffer = StreamBuffer(info, seconds=self._buffer_s)
        self.buffers[info.key] = buffer
        self._by_modality[info.modality] = buffer
        for plan in self._plans:
            for spec in plan.spec.inputs:
                if spec.modality == info.modality:
                    plan.attach(spec, buffer)
        self._measures.attach(buffer)
        return self.event(info, StreamEventKind.OPENED, at, self._too_slow(info))

    def _is_read(self, info: StreamInfo) -> bool:
        """Whether anything here can read a stream: one channel, or all those of an array that a bundle takes."""
        if not many_channels(info.modality):
            return info.channels == 1
        return any(item.modality == info.modality for plan in self._plans for item in plan.spec.inputs)

    def _too_slow(self, info: StreamInfo) -> str:
        """Say so where even a punctual sample would come after its window had to be decided."""
        needed, allowed = 1.0 / info.rate_hz + PACKET_MARGIN_S, self._bed.allowed_lateness_s
        read = any(item.modality == info.modality for plan in self._plans for item in plan.spec.inputs)
        if not read or needed <= allowed:
            return ""
        return f"allowed_lateness_s = {allowed:g} is too short for {info.rate_hz:g} Hz: {needed:g} s or more"

    def drop(self, buffer: StreamBuffer) -> None:
        """Forget a stream and all that it brought."""
        del self.buffers[buffer.info.key]
        self._by_modality.pop(buffer.info.modality or "", None)
        for plan in self._plans:
            plan.detach(buffer)
        self._measures.detach(buffer)

    def event(self, info: StreamInfo, kind: StreamEventKind, t: float, detail: str) -> StreamEvent:
        """Something that befell a stream of the bed."""
        return StreamEvent(bed=self._bed.name, stream=info.key, kind=kind, t=t, detail=detail)

    def silent(self, buffer: StreamBuffer, now: float) -> bool:
        """Whether a stream has brought nothing for so long that it is not waited for."""
        return now - self.last_arrival[buffer.info.key] > self.lag_s(self._bed)

    def skin_temperature(self, t_end: float) -> float | None:
        """Skin temperature in degC some seconds before a window's end, where the bed has a sensor.

        It is read at the allowed lateness before the end, where it has arrived whatever the chunk sizes: skin warms
        and cools over minutes.
        """
        buffer = self._by_modality.get("TEMP")
        at = t_end - self.lag_s(self._bed)
        segment = None if buffer is None else buffer.timeline.covering(at, at)
        if buffer is None or segment is None:
            return None
        first, last = buffer.span(segment, at - _TEMPERATURE_AGE_S, at)
        return float(buffer.converted(last - 1, last)[0]) if last > first else None

    def late(self, buffer: StreamBuffer, before: int) -> StreamEvent | None:
        """Report samples from number `before` on that came after a window had to be decided without them."""
        until = self.missed_until.get(buffer.info.key)
        if until is None or buffer.times.total == before or buffer.timeline.clock_fault:
            return None
        times = buffer.times.view(max(before, buffer.times.oldest), buffer.times.total)
        late = int((times <= until).sum())
        if not late:
            return None
        return StreamEvent(
            bed=self._bed.name,
            stream=buffer.info.key,
            kind=StreamEventKind.LATE,
            t=float(times[0]),
            seconds=until - float(times[0]),
            samples=late,
            detail="arrived after their windows had been decided",
        )


def _same_signal(old: StreamInfo, new: StreamInfo) -> bool:
    """Whether a stream that came back can go on in the same buffer."""
    return (old.modality, old.unit, old.rate_hz, old.gain, old.offset, old.channels, old.rate_measured) == (
        new.modality,
        new.unit,
        new.rate_hz,
        new.gain,
        new.offset,
        new.channels,
        new.rate_measured,
    )
