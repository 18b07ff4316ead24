"""When each sample was taken: stamps -> contiguous segments with a fitted line, gaps, clock and rate faults.

Inside a segment, sample i lies at anchor + i / fitted rate. The fit is a two-state Kalman filter (phase and period)
over the residuals of a whole block of stamps; blocks are fixed numbers of samples (8, 16, 32, ... up to two
seconds), so the times do not depend on how samples were grouped into chunks. A stream whose stamps lie on its
nominal line is never corrected at all.

A stamp that is off its prediction by more than max(1.5 periods, jitter) ends the segment; at 2 Hz and below by more
than 0.75 periods, since a lost sample there would be taken for jitter and move what follows by half a second and more.
Nothing is ever moved, sorted or invented to close the hole.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from monitor.types import STAMP_TICK, FloatArray, StreamEvent, StreamEventKind, StreamInfo

CLOCK_FAULT_S: Final = 5.0
"""A step this far ahead of the watermark, or behind its own stream, is a fault of a clock and not a gap."""

AGREEMENT_S: Final = 2.0
"""A stream in clock fault must agree with itself for this long before it is believed again."""

RATE_FAULT: Final = 0.05
RATE_OK: Final = 0.04
"""Relative error of the fitted rate at which a rate fault begins and ends."""

_TOLERATED_PERIODS: Final = 1.5
_TOLERATED_PERIODS_SLOW: Final = 0.75
_SLOW_HZ: Final = 2.0

_FIRST_BLOCK: Final = 8
_BLOCK_S: Final = 2.0
_DEAD_BAND_S: Final = 2 * STAMP_TICK
_PERIOD_PRIOR: Final = 0.03
_PERIOD_PRIOR_MEASURED: Final = 0.10
_PERIOD_WALK: Final = 2e-7
"""Standard deviation of the relative change of a device's period over one second."""
_MIN_RATE_SPAN_S: Final = 4.0
_STORM_SEGMENTS: Final = 4
_STORM_SAMPLES: Final = 8
_STORM_S: Final = 0.25
"""A stream whose segments keep breaking within so many samples or seconds has changed its rate."""
_STRANGER_S: Final = 30.0
"""A stream whose first stamp is this far behind the bed's other streams runs on another clock."""


def tolerated_periods(rate_hz: float) -> float:
    """By how many sampling periods a stamp may be off its prediction without being a gap."""
    return _TOLERATED_PERIODS if rate_hz > _SLOW_HZ else _TOLERATED_PERIODS_SLOW


@dataclass(slots=True, eq=False)
class Segment:
    """A stretch of samples without a gap."""

    first: int
    """Number of its first sample among the stream's accepted samples."""
    last: int
    """One past its last."""
    t_first: float
    t_last: float
    believed: bool
    """False while its clock is in fault; such a segment serves no window."""
    cause: StreamEventKind
    """Why it began."""


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Contiguous accepted samples of one chunk and when they were taken."""

    start: int
    """Position of the first within the chunk."""
    times: FloatArray
    """(n,) seconds on the stream clock."""
    new_segment: bool


# Without the wrappers of ndarray.max and min, which cost more than the work on a chunk of some ten samples.
_largest: Final = np.maximum.reduce
_smallest: Final = np.minimum.reduce


@dataclass(slots=True)
class _Line:
    """A line t = at + (count + j) * period, j counted from the start of the present block."""

    at: float
    period: float
    count: int = 0
    """Samples between the anchor and the block: times are never summed up block by block, which would drift."""

    def place(self, offsets: FloatArray) -> FloatArray:
        times = offsets + self.count
        times *= self.period
        times += self.at
        return times

    def after(self, size: int) -> float:
        return self.at + (self.count + size) * self.period


@dataclass(slots=True, eq=False)
class _Fit:
    """Kalman state over blocks of one segment."""

    estimate: _Line
    """Where the next stamps are expected."""
    output: _Line
    """What is handed out: continuous, joining the estimate by the end of each block."""
    block: FloatArray
    """Residuals of the present block; its length is the block's."""
    offsets: FloatArray
    """0, 1, 2, ...: places in the block, as floats."""
    filled: int = 0
    covariance: FloatArray = field(default_factory=lambda: np.zeros((2, 2)))
    samples: int = 0
    """Samples of the segment in finished blocks."""


class Timeline:
    """Places the samples of one stream in time.

    Args:
        info: The stream; its nominal rate, jitter and `rate_measured` count.
    """

    def __init__(self, info: StreamInfo) -> None:
        self.info = info
        self.segments: list[Segment] = []
        self.rate_faults: list[tuple[float, float]] = []
        """(from, until) on the stream clock; an open fault ends at infinity."""
        self.accepted = 0
        self._nominal_period = 1.0 / info.rate_hz
        self._threshold_floor = info.jitter_s
        self._tolerated = tolerated_periods(info.rate_hz)
        self._fit: _Fit | None = None
        self._short_segments = 0
        self._recent: list[float] = []
        self._break: StreamEventKind | None = StreamEventKind.OPENED

    # -- what others ask -----------------------------------------------------------------------------------------

    @property
    def clock_fault(self) -> bool:
        """Whether the newest segment's clock is not believed."""
        return bool(self.segments) and not self.segments[-1].believed

    @property
    def newest(self) -> float | None:
        """Time of the newest believed sample."""
        for segment in reversed(self.segments):
            if segment.believed:
                return segment.t_last
        return None

    @property
    def fitted_rate_hz(self) -> float:
        """Present estimate of the sampling rate."""
        return 1.0 / (self._fit.estimate.period if self._fit is not None else self._nominal_period)

    def covering(self, first: float, last: float) -> Segment | None:
        """The newest believed segment that holds samples at or before `first` and at or after `last`."""
        for segment in reversed(self.segments):
            if segment.believed and segment.t_first <= first + STAMP_TICK and segment.t_last >= last - STAMP_TICK:
                return segment
        return None

    def rate_fault_at(self, t: float) -> bool:
        """Whether the rate was known to be off by samples up to `t`; later knowledge changes no earlier window."""
        return any(start <= t < end for start, end in self.rate_faults)

    def forget(self, oldest: int) -> None:
        """Drop segments whose samples are all numbered below `oldest`."""
        while len(self.segments) > 1 and self.segments[0].last <= oldest:
            del self.segments[0]

    # -- what the stream brings ----------------------------------------------------------------------------------

    def break_segment(self, cause: StreamEventKind) -> None:
        """Let the next sample start a new segment (a reconnect, a counted loss)."""
        if self._break is None:
            self._break = cause

    def believe(self) -> None:
        """Trust the newest segment's clock again."""
        self.segments[-1].believed = True

    def disbelieve(self) -> None:
        """Let nothing that has come so far serve a window: the bed's clock is being set anew."""
        for segment in self.segments:
            segment.believed = False

    def agreed(self) -> bool:
        """Whether a stream in clock fault has agreed with itself long enough."""
        segment = self.segments[-1]
        return segment.t_last - segment.t_first >= AGREEMENT_S

    def place(
        self, stamps: FloatArray, finite: np.ndarray | None, watermark: float | None
    ) -> tuple[list[Placed], list[StreamEvent]]:
        """Place the samples of one chunk.

        Args:
            stamps: (n,) seconds, as stamped.
            finite: (n,) bool, False where the sample is no number; None where all are finite. Such samples are left
                out and end the segment.
            watermark: The bed's watermark before this chunk; None before any data.

        Returns:
            The accepted runs in order, and what befell the stream.
        """
        placed: list[Placed] = []
        events: list[StreamEvent] = []
        position = 0
        for start, stop, good in _runs(len(stamps), finite):
            if not good:
                at = float(stamps[start])
                events.append(self._event(StreamEventKind.NOT_FINITE, at, samples=stop - start))
                self.break_segment(StreamEventKind.NOT_FINITE)
                continue
            position = start
            while position < stop:
                if self._fit is None or self._break is not None:
                    self._begin(float(stamps[position]), self._break or StreamEventKind.GAP, watermark, events)
                    fresh = True
                else:
                    fresh = False
                position = self._continue(stamps, position, stop, fresh, placed, events)
        return placed, events

    def _continue(
        self,
        stamps: FloatArray,
        position: int,
        stop: int,
        fresh: bool,
        placed: list[Placed],
        events: list[StreamEvent],
    ) -> int:
        """Accept samples until the chunk, the run or the segment ends; return the next position."""
        fit = self._fit
        assert fit is not None
        segment = self.segments[-1]
        threshold = max(self._tolerated * fit.estimate.period, self._threshold_floor)
        pieces: list[FloatArray] = []
        start = position
        while position < stop:
            count = min(stop - position, len(fit.block) - fit.filled)
            offsets = fit.offsets[fit.filled : fit.filled + count]
            expected = fit.estimate.place(offsets)
            residual = stamps[position : position + count] - expected
            broken = False
            # Two reductions are quicker than a mask, which only a stamp that is off needs.
            if not (_largest(residual) <= threshold and _smallest(residual) >= -threshold):
                off = np.abs(residual) > threshold
                broken = bool(off.any())
                if broken:
                    count = int(np.argmax(off))
                    residual, offsets, expected = residual[:count], offsets[:count], expected[:count]
            if count:
                fit.block[fit.filled : fit.filled + count] = residual
                fit.filled += count
                pieces.append(expected if fit.output == fit.estimate else fit.output.place(offsets))
                position += count
                if fit.filled == len(fit.block):
                    self._update(fit, events)
                    threshold = max(self._tolerated * fit.estimate.period, self._threshold_floor)
            if broken:
                self._break = StreamEventKind.GAP
                break
        if pieces:
            times = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
            self.accepted += len(times)
            segment.last = self.accepted
            segment.t_last = float(times[-1])
            placed.append(Placed(start, times, fresh))
        return position

    def _begin(self, stamp: float, cause: StreamEventKind, watermark: float | None, events: list[StreamEvent]) -> None:
        """Start a segment at `stamp` and say why."""
        previous = self.segments[-1] if self.segments else None
        if previous is not None:
            self._storm(previous, stamp, events)
        fault = self._clock_fault_of(previous, stamp, watermark)
        if fault is not None:
            if previous is None or previous.believed:
                detail = f"stamps are {abs(fault):.3f} s {'ahead' if fault > 0 else 'behind'}"
                events.append(self._event(StreamEventKind.CLOCK_FAULT, stamp, seconds=fault, detail=detail))
        elif previous is not None:
            if not previous.believed:
                events.append(self._event(StreamEventKind.CLOCK_OK, stamp, detail="stamps are plausible again"))
            newest = self.newest
            expected = stamp if newest is None else newest + self._nominal_period
            text = {StreamEventKind.NOT_FINITE: "samples that are no numbers", StreamEventKind.LOST: "loss"}
            detail = text.get(cause, "")
            events.append(self._event(StreamEventKind.GAP, expected, seconds=stamp - expected, detail=detail))
        believed = fault is None
        period = self._nominal_period
        spread = _PERIOD_PRIOR_MEASURED if self.info.rate_measured else _PERIOD_PRIOR
        self._fit = _Fit(
            estimate=_Line(stamp, period),
            output=_Line(stamp, period),
            block=np.empty(_FIRST_BLOCK),
            offsets=np.arange(_FIRST_BLOCK, dtype=np.float64),
            covariance=np.diag([0.0, (spread * period) ** 2]),
        )
        self.segments.append(Segment(self.accepted, self.accepted, stamp, stamp, believed, cause))
        self._break = None

    def _clock_fault_of(self, previous: Segment | None, stamp: float, watermark: float | None) -> float | None:
        """By how much a segment that begins at `stamp` is off; None where it may be believed."""
        if watermark is None:
            return None
        if previous is None:
            plausible = watermark - _STRANGER_S <= stamp <= watermark + CLOCK_FAULT_S
            return None if plausible else stamp - watermark
        newest = self.newest
        if newest is not None and stamp < newest - CLOCK_FAULT_S:
            return stamp - newest
        jumped = not previous.believed or stamp > previous.t_last + CLOCK_FAULT_S
        return stamp - watermark if jumped and stamp > watermark + CLOCK_FAULT_S else None

    def _update(self, fit: _Fit, events: list[StreamEvent]) -> None:
        """End a block: correct the line by its mean residual, and open the next block."""
        size = len(fit.block)
        error = float(np.add.reduce(fit.block)) / size
        line = fit.estimate
        fit.samples += size
        following = int(min(2 * size, max(_FIRST_BLOCK, round(_BLOCK_S / self._nominal_period))))
        if abs(error) > _DEAD_BAND_S:
            design = np.array([1.0, 0.5 * (size - 1)])
            noise = (max(self._threshold_floor, 1.5 * line.period) / 4) ** 2
            gain = fit.covariance @ design / (design @ fit.covariance @ design + noise)
            phase, drift = gain * error
            fit.covariance = fit.covariance - np.outer(gain, design @ fit.covariance)
            limit = 0.25 * line.period
            line = _Line(line.place(np.zeros(1))[0] + float(phase), line.period + float(np.clip(drift, -limit, limit)))
        move = np.array([[1.0, float(size)], [0.0, 1.0]])
        fit.covariance = move @ fit.covariance @ move.T
        fit.covariance[1, 1] += (_PERIOD_WALK * line.period) ** 2 * size * line.period
        end, out = line.after(size), fit.output
        if line is fit.estimate and end == out.after(size):
            fit.estimate.count += size
            if out.period == line.period:
                out.count += size
            else:
                fit.output = _Line(line.at, line.period, line.count)
        else:
            # Join the estimate by the end of the next block, without a step and never backwards.
            fit.estimate = _Line(end, line.period)
            start = out.after(size)
            period = (end + following * line.period - start) / following
            fit.output = _Line(start, float(np.clip(period, 0.5 * line.period, 1.5 * line.period)))
        if len(fit.block) != following:
            fit.block = np.empty(following)
            fit.offsets = np.arange(following, dtype=np.float64)
        fit.filled = 0
        if fit.samples * self._nominal_period >= _MIN_RATE_SPAN_S:
            self._judge_rate(1.0 / fit.estimate.period, fit.estimate.at, events)

    def _judge_rate(self, rate_hz: float, t: float, events: list[StreamEvent]) -> None:
        if self.info.rate_measured:
            return
        error = abs(rate_hz / self.info.rate_hz - 1.0)
        faulty = bool(self.rate_faults) and math.isinf(self.rate_faults[-1][1])
        if not faulty and error > RATE_FAULT:
            self.rate_faults = [*self.rate_faults[-9:], (t, math.inf)]
            detail = f"{rate_hz:.2f} Hz measured, {self.info.rate_hz:g} Hz stated"
            events.append(self._event(StreamEventKind.RATE_FAULT, t, detail=detail))
        elif faulty and error < RATE_OK:
            self.rate_faults[-1] = (self.rate_faults[-1][0], t)
            events.append(self._event(StreamEventKind.RATE_OK, t, detail=f"{rate_hz:.2f} Hz measured"))

    def _storm(self, previous: Segment, stamp: float, events: list[StreamEvent]) -> None:
        """Recognise a changed rate: segment after segment that breaks within a few samples, at a regular step."""
        count = previous.last - previous.first
        if count >= _STORM_SAMPLES and previous.t_last - previous.t_first >= _STORM_S:
            self._short_segments = 0
            self._recent.clear()
            return
        self._short_segments += 1
        self._recent.append((stamp - previous.t_first) / max(1, count))
        if self._short_segments < _STORM_SEGMENTS:
            return
        steps = np.array(self._recent[-_STORM_SEGMENTS:])
        period = float(np.median(steps))
        if period > 0 and np.ptp(steps) < 0.2 * period:
            self._nominal_period = period
            self._short_segments = 0
            self._recent.clear()
            self._judge_rate(1.0 / period, stamp, events)

    def _event(
        self, kind: StreamEventKind, t: float, *, seconds: float = 0.0, samples: int = 0, detail: str = ""
    ) -> StreamEvent:
        return StreamEvent(
            bed=self.info.bed,
            stream=self.info.key,
            kind=kind,
            t=t,
            seconds=seconds,
            samples=samples,
            detail=detail,
        )


def _runs(count: int, finite: np.ndarray | None) -> Iterator[tuple[int, int, bool]]:
    """Stretches of finite and of other samples, in order."""
    if count == 0:
        return
    if finite is None:
        yield 0, count, True
        return
    edges = np.flatnonzero(np.diff(finite.astype(np.int8))) + 1
    bounds = [0, *edges.tolist(), count]
    for start, stop in itertools.pairwise(bounds):
        yield start, stop, bool(finite[start])
