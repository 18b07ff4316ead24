"""One stream's samples in memory, and the preprocessed cuts that windows are made of.

`StreamBuffer` holds the newest samples and their times. An `InputTrack` runs one causal filter along it and cuts
the points of a window: filtered, interpolated, unscaled. Filtering is done when a window asks for it, in one call
over all new samples, which costs a tenth of filtering every small chunk and gives the same bits.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from monitor import dsp
from monitor.buffer import Ring
from monitor.bundle import FilterSpec, InputSpec
from monitor.timeline import Segment, Timeline
from monitor.types import STAMP_TICK, Chunk, FloatArray, Reason, StreamEvent, StreamEventKind, StreamInfo

_MIN_CAPACITY = 64

_all = np.logical_and.reduce  # without the wrapper of ndarray.all, which costs more than the work


@dataclass(frozen=True, slots=True, eq=False)
class Cut:
    """The points of one input of one window, or why there are none."""

    values: FloatArray | None
    """(samples,) float64 in the modality's unit, (channels, samples) where there are several; read-only; None where
    absent."""
    reason: Reason | None = None


class StreamBuffer:
    """The newest samples of one stream with their times.

    Args:
        info: The stream; its samples are (n,), or (n, channels) where it has several.
        seconds: Signal kept, at the nominal rate.
    """

    def __init__(self, info: StreamInfo, *, seconds: float) -> None:
        self.info = info
        self.timeline = Timeline(info)
        # A device may run faster than it says; the ring keeps `seconds` up to a fifth over the nominal rate.
        capacity = max(_MIN_CAPACITY, int(1.2 * seconds * info.rate_hz))
        self.times: Ring[np.float64] = Ring(capacity, np.float64)
        self.channels = info.channels if info.channels > 1 else None
        """Channels of a sample, None where it is one number."""
        self.samples: Ring[np.float32] = Ring(capacity, np.float32, self.channels)
        self.rails = None if info.rails is None else _converted_rails(info, info.rails)
        """Lowest and highest value that the converter can give, in the modality's unit, where they are known."""
        self._tracks: list[InputTrack] = []

    def push(self, chunk: Chunk, watermark: float | None) -> list[StreamEvent]:
        """Place and keep the samples of one chunk.

        Args:
            chunk: Of this stream.
            watermark: The bed's watermark before this chunk.

        Returns:
            What befell the stream.

        Raises:
            ValueError: If its samples have another number of channels than the stream.
        """
        events: list[StreamEvent] = []
        if chunk.lost:
            at = float(chunk.stamps[0]) if len(chunk) else chunk.arrival
            events.append(
                StreamEvent(
                    bed=self.info.bed,
                    stream=self.info.key,
                    kind=StreamEventKind.LOST,
                    t=at,
                    seconds=chunk.lost / self.info.rate_hz,
                    samples=chunk.lost,
                )
            )
            self.timeline.break_segment(StreamEventKind.LOST)
        if len(chunk) == 0:
            return events
        finite = np.isfinite(chunk.samples)
        if self.channels is not None:
            if chunk.samples.shape[1:] != (self.channels,):
                raise ValueError(f"samples of shape {chunk.samples.shape} in a stream of {self.channels} channels")
            finite = _all(finite, axis=1)  # a sample without one of its channels is none
        placed, befell = self.timeline.place(chunk.stamps, None if _all(finite) else finite, watermark)
        events.extend(befell)
        stride = self.times.capacity // 4
        for run in placed:
            samples = chunk.samples[run.start : run.start + len(run.times)]
            for start in range(0, len(samples), stride):
                self.times.push(run.times[start : start + stride])
                self.samples.push(samples[start : start + stride])
                for track in self._tracks:
                    # Long before the ring comes round, whatever the size of a chunk.
                    if self.times.total - track.done > self.times.capacity // 2:
                        track.advance()
        self.timeline.forget(self.times.oldest)
        return events

    def track(self, spec: InputSpec) -> InputTrack:
        """The track that filters this stream for an input; inputs that filter alike share one."""
        return self.track_of(spec.filter, spec.rate_hz)

    def track_of(self, wanted: FilterSpec, rate_hz: float) -> InputTrack:
        """The track of a filter for a grid of `rate_hz`; whoever wants the same one shares it."""
        design = dsp.design_filter(wanted, stream_rate_hz=self.info.rate_hz, target_rate_hz=rate_hz)
        for track in self._tracks:
            if track.filter == wanted and track.design is design:
                return track
        track = InputTrack(self, wanted, design)
        self._tracks.append(track)
        return track

    def converted(self, first: int, last: int) -> FloatArray:
        """Samples number `first` up to `last` as float64 in the modality's unit."""
        return dsp.convert(self.samples.view(first, last), gain=self.info.gain, offset=self.info.offset)

    def span(self, segment: Segment, start: float, end: float) -> tuple[int, int]:
        """Numbers of a segment's samples with `start` < time <= `end` (to one stamp tick)."""
        lowest = max(segment.first, self.times.oldest)
        times = self.times.view(lowest, segment.last)
        first = int(np.searchsorted(times, start + STAMP_TICK, side="right"))
        last = int(np.searchsorted(times, end + STAMP_TICK, side="right"))
        return lowest + first, lowest + max(first, last)

    def missing(self, first: float, last: float, *, silent: bool) -> Reason:
        """Why no segment covers `first` to `last`.

        Args:
            first: First instant that a window needs.
            last: Last one.
            silent: Nothing has arrived for a while: what is missing is not late but was never sent.
        """
        timeline = self.timeline
        newest = timeline.newest
        if timeline.clock_fault:
            return Reason.CLOCK_FAULT
        if newest is None:
            return Reason.NO_DATA
        if newest < last - STAMP_TICK:
            return Reason.NO_DATA if silent else Reason.LATE
        oldest = timeline.segments[0]
        if oldest.cause is StreamEventKind.OPENED and oldest.t_first > first and oldest.t_last >= last:
            return Reason.STARTING
        if oldest.t_first > last:
            return Reason.STARTING
        inside = [s for s in timeline.segments if s.believed and s.t_last >= first and s.t_first <= last]
        if any(s.cause is StreamEventKind.NOT_FINITE for s in inside):
            return Reason.NOT_FINITE
        return Reason.GAP


def _converted_rails(info: StreamInfo, rails: tuple[float, float]) -> tuple[float, float]:
    """Rails in the modality's unit; a negative gain swaps them."""
    first, second = (info.gain * rail + info.offset for rail in rails)
    return min(first, second), max(first, second)


class InputTrack:
    """One causal filter along one stream.

    Args:
        buffer: The stream.
        spec: The filter as the bundle states it.
        design: The same, designed for the stream's rate.
    """

    def __init__(self, buffer: StreamBuffer, spec: FilterSpec, design: dsp.CausalFilter) -> None:
        self.filter = spec
        self.design = design
        self.done = buffer.times.oldest
        """Number of the next sample to filter."""
        self._buffer = buffer
        self._segment: Segment | None = None
        self._state: FloatArray | None = None
        self._filtered: Ring[np.float64] | None = None
        self._start = 0
        if spec.state == "carried":
            self._filtered = Ring(buffer.times.capacity, np.float64, buffer.channels)
            self._start = self.done
            if self.done:
                raise ValueError("a track must be made before the first sample, or its filter would start in between")

    def advance(self) -> None:
        """Filter what has come since the last call; at a gap the filter starts afresh."""
        buffer = self._buffer
        if self._filtered is None:
            self.done = buffer.times.total
            return
        for segment in buffer.timeline.segments:
            last = min(segment.last, buffer.times.total)
            if last <= self.done:
                continue
            first = max(self.done, segment.first)
            values = buffer.converted(first, last)
            if segment is not self._segment:
                self._segment = segment
                self._state = dsp.start_state(self.design, values[0])
            filtered, self._state = dsp.run_filter(self.design, self._state, values)
            self._filtered.push(filtered)
            self.done = last

    def filtered(self, first: int, last: int) -> FloatArray:
        """Filtered samples number `first` up to `last` (carried state only), float64 in the modality's unit."""
        if self._filtered is None:
            raise ValueError("this filter starts afresh in each window")
        self.advance()
        return self._filtered.view(first, last)

    def cut(self, instants: FloatArray, segment: Segment | None, *, silent: bool) -> Cut:
        """Filtered values at the instants of a window.

        Args:
            instants: (samples,) seconds, ascending.
            segment: The segment that covers them (`Timeline.covering`), None where none does.
            silent: See `StreamBuffer.missing`.
        """
        buffer = self._buffer
        begin, end = float(instants[0]), float(instants[-1])
        if segment is None:
            return Cut(None, buffer.missing(begin, end, silent=silent))
        if buffer.timeline.rate_fault_at(end):
            return Cut(None, Reason.RATE_FAULT)
        carried = self._filtered is not None
        if carried and segment.t_first + self.design.warmup_s > begin + STAMP_TICK:
            return Cut(None, Reason.WARMING_UP)
        lowest = max(segment.first, buffer.times.oldest)
        times = buffer.times.view(lowest, segment.last)
        first = int(np.searchsorted(times, begin + STAMP_TICK, side="right")) - 1
        # Exactly one sample at or after the last instant: what came later must not change a bit.
        last = int(np.searchsorted(times, end - STAMP_TICK, side="left")) + 1
        if first < 0:
            return Cut(None, Reason.LATE)
        if carried:
            values = self.filtered(lowest + first, lowest + last)
        else:
            raw = buffer.converted(lowest + first, lowest + last)
            values, _ = dsp.run_filter(self.design, dsp.start_state(self.design, raw[0]), raw)
        points = dsp.interpolate(instants, times[first:last], values)
        points.flags.writeable = False
        return Cut(points)
