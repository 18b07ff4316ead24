"""The clock of one bed: from where its windows are counted, how far they have come, and whom to believe."""

from __future__ import annotations

from collections.abc import Callable

from monitor.admission import SILENT_S, Admission
from monitor.preprocess import StreamBuffer
from monitor.types import Event, Reason, StreamEventKind, StreamInfo, WindowsSkipped
from monitor.windows import Watermark, WindowGrid


class BedClock:
    """Origin, window grid and watermark of one bed; see docs/design.md, Time.

    Args:
        bed: Name of the bed.
        hop_s: Seconds between windows.
        admission: Its streams.
        void: Called when what is known of the present window no longer holds.
    """

    def __init__(self, *, bed: str, hop_s: float, admission: Admission, void: Callable[[], None]) -> None:
        self.grid = WindowGrid(hop_s=hop_s)
        self.watermark = Watermark()
        self.waiting: dict[str, StreamInfo] = {}
        """By key, streams that announce another origin than the bed counts from."""
        self._bed = bed
        self._admission = admission
        self._void = void
        self._announced: float | None = None

    @property
    def origin(self) -> float | None:
        """Where the bed counts its time from; None before a stream has named it or brought a sample."""
        return self.grid.origin if self._announced is not None or self.grid.started else None

    def must_wait(self, info: StreamInfo) -> bool:
        """Whether a stream that is announced counts from another origin; the first that names one sets the bed's."""
        if info.origin is not None and self._announced is None and not self.grid.started:
            self._announced = self.grid.origin = info.origin
        if info.origin is None or info.origin == self.grid.origin:
            return False
        self.waiting[info.key] = info
        return True

    def take_over(self, at: float, *, now: float) -> list[Event]:
        """Count windows anew from a waiting stream's origin once every other stream has fallen silent.

        Args:
            at: Stream clock of what asks for it.
            now: The newest time that the bed has seen.

        Returns:
            The streams that are taken now; nothing where none waits, or another one lives.
        """
        if not self.waiting:
            return []
        if any(
            key not in self.waiting and not self._admission.silent(buffer, now)
            for key, buffer in self._admission.buffers.items()
        ):
            return []
        origin = next(iter(self.waiting.values())).origin
        if origin is None:
            raise RuntimeError("a stream without an origin waits for none")
        for buffer in self._admission.buffers.values():
            buffer.timeline.disbelieve()
        self.grid.restart(origin)
        self._announced = origin
        self._admission.missed_until.clear()
        self._void()
        admitted = [info for info in self.waiting.values() if info.origin == origin]
        events: list[Event] = []
        for info in admitted:
            del self.waiting[info.key]
            events.append(self._admission.admit(info, at))
        return events

    def resolve(self, buffer: StreamBuffer, now: float) -> list[Event]:
        """Believe a stream again once it agrees with itself, and with the bed or instead of it.

        While another stream keeps the bed's time, it is right and the jumped one waits: moving the watermark to a
        stream that went astray would make everybody else late. When nobody else keeps time, the bed's clock is set
        anew, and the windows in between are accounted for as skipped.

        Args:
            buffer: The stream, in clock fault.
            now: Stream clock.

        Returns:
            What followed; nothing while it is not believed.
        """
        events: list[Event] = []
        timeline, watermark = buffer.timeline, self.watermark.value
        if not timeline.agreed():
            return events
        newest = timeline.segments[-1].t_last
        near = watermark is not None and abs(newest - watermark) <= SILENT_S
        keepers = [
            other
            for other in self._admission.buffers.values()
            if other is not buffer and not other.timeline.clock_fault and not self._admission.silent(other, now)
        ]
        if not near and keepers:
            return events
        if not near:
            for other in self._admission.buffers.values():
                other.timeline.disbelieve()
            self.watermark.reset(newest)
            if self.grid.started:
                first, last = self.grid.jump(timeline.segments[-1].t_first)
                events.append(
                    WindowsSkipped(
                        bed=self._bed,
                        epoch=self.grid.epoch,
                        first_k=first,
                        last_k=last,
                        reason=Reason.CLOCK_JUMP,
                    )
                )
            self._admission.missed_until.clear()
            self._void()
        timeline.believe()
        events.append(self._admission.event(buffer.info, StreamEventKind.CLOCK_OK, newest, "agrees with itself again"))
        return events
