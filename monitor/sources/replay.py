"""Replay: a recording as the ordered chunks and ticks that it would have arrived as.

Everything here is in stream time, in seconds from the recording's own zero. What comes out depends on the recording
and the arguments alone, never on the wall clock: a chunk arrives with its last sample (plus `skew`), so the same
recording gives the same scores at every speed.
"""

from __future__ import annotations

import heapq
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeAlias

import numpy as np

from monitor.errors import SourceError
from monitor.sources.base import Recording, Signal, SourceReading
from monitor.types import Chunk, Command, Float32Array, FloatArray, StreamInfo, snap

TICK_S: Final = 0.25
"""Ticks fall on whole multiples of this."""

LONGEST_GAP_S: Final = 600.0
"""A longer step of a file's stamps is a clock that jumped: playing goes on at once, only the stamps jump."""

LARGEST_STEP_BACK_S: Final = 5.0
"""Stamps that fall back by more are a clock that jumped; by less, samples out of order."""

_PLAIN_STEP_S: Final = 1.0
"""Steps up to this are neither gaps nor jumps worth a second look."""

_Entry: TypeAlias = tuple[float, int, Chunk | Command]
"""When, order among what happens at the same time, and what."""

ReplayItem: TypeAlias = tuple[float, Chunk | Command | None]
"""When it happens in stream time, and a chunk, a marker from the recording, or None for a tick."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Track:
    """One mapped signal, cut to the played span; its samples are (n,) or (n, channels)."""

    stream: str
    samples: Float32Array
    stamps: FloatArray
    arrivals: FloatArray
    """(n,) when each sample is there, never decreasing; equal to the stamps unless these jump or fall back."""
    chunk: int
    """Samples a chunk."""


def replay_streams(
    recording: Recording, streams: Sequence[StreamInfo], *, start_s: float | None = None
) -> tuple[StreamInfo, ...]:
    """Return the streams with the origin of their window grid: the earliest first stamp that will be played.

    A recording that states an origin (a session of this monitor) keeps it. Streams that serve no modality do not move
    the origin.
    """
    tracks = _tracks(recording, streams, chunk_s=1.0, start_s=start_s, duration_s=None)
    modalities = {info.key: info.modality for info in streams}
    firsts = [float(track.stamps[0]) for track in tracks if modalities[track.stream] is not None and len(track.stamps)]
    stated = [info.origin for info in streams if info.origin is not None and info.modality is not None]
    origin = stated[0] if stated else min(firsts, default=0.0)
    return tuple(replace(info, origin=origin) for info in streams)


def replay_chunks(
    recording: Recording,
    streams: Sequence[StreamInfo],
    *,
    chunk_s: float | Mapping[str, float] = 0.1,
    skew: Mapping[str, float] | None = None,
    start_s: float | None = None,
    duration_s: float | None = None,
    tail_s: float = 0.0,
) -> Iterator[ReplayItem]:
    """Yield the chunks of all streams, the recording's markers, and ticks, ordered in time.

    What happens at the same time is ordered: markers, then chunks in the order of `streams`, then the tick.

    Args:
        recording: The recording.
        streams: Streams mapped to it (`StreamInfo.key` = key of the candidate).
        chunk_s: Length of a chunk in seconds, for all or by stream; at least one sample each.
        skew: Seconds by which a stream arrives later than its stamps say, by stream.
        start_s: Play from here, in seconds from the recording's zero.
        duration_s: Play so much; None for all.
        tail_s: Ticks go on for so long after the last chunk, so that windows waiting for late samples are decided.

    Raises:
        SourceError: If nothing lies in the span.
    """
    tracks = _tracks(recording, streams, chunk_s=chunk_s, start_s=start_s, duration_s=duration_s)
    if not any(len(track.stamps) for track in tracks):
        raise SourceError(
            "nothing to play in this span",
            where=str(recording.path),
            todo=f"The recording is {duration(recording):.1f} s long",
        )
    delays = skew or {}
    runs: list[Iterator[_Entry]] = [
        _chunks(track, order=1 + i, skew=delays.get(track.stream, 0.0)) for i, track in enumerate(tracks)
    ]
    first = min(float(track.arrivals[0]) for track in tracks if len(track.arrivals))
    last = max(float(track.arrivals[-1]) for track in tracks if len(track.arrivals))
    markers: Iterator[_Entry] = (
        (at, 0, Command(action="marker", at=at, actor="recording", args={"kind": "note", "text": text}))
        for at, text in ((float(snap(t)), text) for t, text in recording.markers)
        if first <= at <= last
    )
    tick = math.floor(first / TICK_S) + 1
    at = first
    for at, _, item in heapq.merge(markers, *runs, key=lambda entry: entry[:2]):
        while tick * TICK_S < at:
            yield tick * TICK_S, None
            tick += 1
        yield at, item
    while tick * TICK_S <= at + tail_s:
        yield tick * TICK_S, None
        tick += 1


def duration(recording: Recording) -> float:
    """Seconds from the recording's zero to the end of its last sample."""
    ends = [0.0]
    for signal in (*recording.signals, *recording.arrays):
        rate_hz = signal.candidate.rate_hz
        if rate_hz and len(signal.samples):
            _, arrivals = sample_times(signal, rate_hz)
            ends.append(float(arrivals[-1]) + 1.0 / rate_hz)
    return max(ends)


def sample_times(signal: Signal, rate_hz: float) -> tuple[FloatArray, FloatArray]:
    """Return when each sample of a signal was taken and when it is there, in seconds from the recording's zero.

    Arrivals equal the stamps and never decrease; where the file's clock jumps by more than `LONGEST_GAP_S`, or back,
    they go on at once, so that nobody waits for the length of the jump.

    Args:
        signal: The signal.
        rate_hz: Its sampling rate, where the file states no stamps.

    Returns:
        Stamps and arrivals, (n,) each, snapped.
    """
    if signal.stamps is None:
        stamps = snap(signal.t_first + np.arange(len(signal.samples)) / rate_hz)
        return stamps, stamps
    stamps = snap(signal.stamps)
    steps = np.diff(stamps)
    # What has to be added to the stamps from each sample on, for arrivals that do not follow a clock that jumps.
    shift = np.zeros(len(stamps))
    for index in np.flatnonzero((steps > _PLAIN_STEP_S) | (steps < -LARGEST_STEP_BACK_S)):
        before = stamps[index] + shift[index]
        if 0.0 <= stamps[index + 1] - before <= LONGEST_GAP_S:
            if shift[index] != 0.0:
                shift[index + 1 :] = 0.0  # the clock has come back to where it would have been
        elif steps[index] > LONGEST_GAP_S or steps[index] < 0.0:
            shift[index + 1 :] = before + 1.0 / rate_hz - stamps[index + 1]
    return stamps, np.maximum.accumulate(snap(stamps + shift))


class ReplaySource:
    """A recording as a `Source`: stamps and arrivals are stream time, only the pace follows the wall clock.

    Args:
        recording: The recording.
        streams: Streams mapped to it.
        speed: Seconds of recording a second; `math.inf` for as fast as it is read.
        chunk_s: Length of a chunk, see `replay_chunks`.
        skew: See `replay_chunks`.
        start_s: See `replay_chunks`.
        duration_s: See `replay_chunks`.
    """

    _BATCH_S: Final = 1.0
    """Stream time that one `read` brings at most at full speed."""

    def __init__(
        self,
        *,
        recording: Recording,
        streams: Sequence[StreamInfo],
        speed: float = 1.0,
        chunk_s: float | Mapping[str, float] = 0.1,
        skew: Mapping[str, float] | None = None,
        start_s: float | None = None,
        duration_s: float | None = None,
    ) -> None:
        if not speed > 0.0:
            raise SourceError(f"a speed of {speed} is not possible", todo="Write 1, 30 or max")
        self.name = recording.path.name
        self.streams = replay_streams(recording, streams, start_s=start_s)
        self._speed = speed
        self._items = (
            (at, item)
            for at, item in replay_chunks(
                recording, self.streams, chunk_s=chunk_s, skew=skew, start_s=start_s, duration_s=duration_s
            )
            if isinstance(item, Chunk)
        )
        self._next: tuple[float, Chunk] | None = None
        self._zero: float | None = None
        self._started_at = 0.0
        self._announced = False
        self._closed = threading.Event()

    def open(self) -> None:
        """Start the pace.

        Raises:
            SourceError: If nothing lies in the span.
        """
        self._next = next(self._items, None)
        self._zero = self._next[0] if self._next else None
        self._started_at = time.monotonic()

    def read(self, timeout: float) -> SourceReading:
        """Return the chunks that are due, waiting at most `timeout` seconds for the first of them."""
        if not self._announced:
            self._announced = True
            return SourceReading(opened=self.streams)
        if self._next is None or self._zero is None or self._closed.is_set():
            self._closed.wait(0.0 if self.finished else timeout)
            return SourceReading()
        if math.isinf(self._speed):
            until = self._next[0] + self._BATCH_S
        else:
            due = self._started_at + (self._next[0] - self._zero) / self._speed
            wait = due - time.monotonic()
            if wait > 0.0 and self._closed.wait(min(wait, timeout)):
                return SourceReading()
            until = self._zero + (time.monotonic() - self._started_at) * self._speed
        chunks: list[Chunk] = []
        while self._next is not None and self._next[0] <= until:
            chunks.append(self._next[1])
            self._next = next(self._items, None)
        return SourceReading(chunks=chunks)

    @property
    def finished(self) -> bool:
        """True once the last chunk was returned, or after `close`."""
        return self._closed.is_set() or (self._announced and self._next is None)

    def close(self) -> None:
        """Stop; a `read` that waits returns at once."""
        self._closed.set()


def _tracks(
    recording: Recording,
    streams: Sequence[StreamInfo],
    *,
    chunk_s: float | Mapping[str, float],
    start_s: float | None,
    duration_s: float | None,
) -> list[_Track]:
    signals = {signal.candidate.key: signal for signal in (*recording.signals, *recording.arrays)}
    lengths = {info.key: chunk_s.get(info.key, 0.1) if isinstance(chunk_s, Mapping) else chunk_s for info in streams}
    return [
        _track(
            signals[info.key],
            rate_hz=info.rate_hz,
            chunk_s=lengths[info.key],
            start_s=start_s,
            duration_s=duration_s,
        )
        for info in streams
        if info.rate_hz > 0.0
    ]


def _track(
    signal: Signal, *, rate_hz: float, chunk_s: float, start_s: float | None, duration_s: float | None
) -> _Track:
    stamps, arrivals = sample_times(signal, rate_hz)
    first = 0 if start_s is None else int(np.searchsorted(arrivals, start_s, side="left"))
    end = len(arrivals)
    if duration_s is not None:
        end = int(np.searchsorted(arrivals, (start_s or 0.0) + duration_s, side="left"))
    return _Track(
        stream=signal.candidate.key,
        samples=signal.samples[first:end],
        stamps=stamps[first:end],
        arrivals=arrivals[first:end],
        chunk=max(1, round(chunk_s * rate_hz)),
    )


def _chunks(track: _Track, *, order: int, skew: float) -> Iterator[tuple[float, int, Chunk]]:
    for start in range(0, len(track.stamps), track.chunk):
        end = min(start + track.chunk, len(track.stamps))
        arrival = float(snap(track.arrivals[end - 1] + skew))
        chunk = Chunk(
            stream=track.stream,
            samples=track.samples[start:end].copy(),
            stamps=track.stamps[start:end].copy(),
            arrival=arrival,
        )
        yield arrival, order, chunk
