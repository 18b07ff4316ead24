"""Samples of one signal for the screen: a ring in time order, and its outline in screen columns. Pure numpy.

A trace of some thousand samples on a thousand columns is drawn from the least and greatest sample of each column, so
no R peak is ever lost, and its cost does not grow with the sampling rate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitor.types import Float32Array, FloatArray

JITTER_S: Final = 0.1
"""Blocks whose stamps are off by less than this (or by 1.5 periods) are one line."""


@dataclass(frozen=True, slots=True, eq=False)
class Trace:
    """A line to draw."""

    t: FloatArray
    """(n,) stream clock, ascending."""
    y: FloatArray
    """(n,) values, all finite."""
    connect: NDArray[np.int32]
    """(n,) 1 where a point is joined to the next one, 0 at a gap."""


class SweepBuffer:
    """The newest samples of one stream with their times.

    Args:
        capacity: Samples kept.
    """

    def __init__(self, *, capacity: int) -> None:
        self._t = np.zeros(capacity, dtype=np.float64)
        self._y = np.zeros(capacity, dtype=np.float64)
        self._joined = np.zeros(capacity, dtype=bool)
        self._count = 0
        self._next_index: int | None = None
        self.period = 0.0
        """Seconds between samples, of the newest block."""

    @property
    def newest(self) -> float | None:
        """Time of the newest sample; None where there is none."""
        return float(self._t[(self._count - 1) % len(self._t)]) if self._count else None

    def push(self, samples: Float32Array, *, first_index: int, t0: float, rate: float) -> None:
        """Append contiguous samples.

        Args:
            samples: (n,); what is not finite leaves a hole.
            first_index: Number of the first one; a jump leaves a hole.
            t0: Its time.
            rate: Sampling rate.
        """
        if len(samples) == 0 or rate <= 0:
            return
        self.period = 1.0 / rate
        times: FloatArray = t0 + np.arange(len(samples), dtype=np.float64) * self.period
        contiguous = self._next_index == first_index
        self._next_index = first_index + len(samples)
        newest = self.newest
        if newest is not None:
            off = t0 - (newest + self.period)
            contiguous = contiguous and abs(off) <= max(1.5 * self.period, JITTER_S)
            if times[-1] <= newest - max(1.0, len(self._t) * self.period):
                self.clear()  # another clock: nothing of what is there belongs beside this
            elif t0 <= newest:
                # Stamps jitter by less than a column; time must not run backwards within a line.
                times = np.maximum(times, newest)
        values = samples.astype(np.float64)
        joined = np.ones(len(values), dtype=bool)
        joined[0] = contiguous
        finite = np.isfinite(values)
        if not finite.all():
            joined[1:] &= finite[:-1]
            values, times, joined = values[finite], times[finite], joined[finite]
            if not finite[-1]:
                self._next_index = None
        self._append(times, values, joined)

    def clear(self) -> None:
        """Forget everything."""
        self._count = 0

    def trace(self, start: float, end: float, *, columns: int) -> Trace:
        """The line between two times, with at most two points a column.

        Columns stand on multiples of (end - start) / columns, so that they do not shimmer as the trace scrolls.

        Args:
            start: Stream clock.
            end: Stream clock.
            columns: Columns of the screen.
        """
        t, y, joined = self._ordered()
        # One sample more on the left, so that the line runs out of the picture.
        first = max(0, int(np.searchsorted(t, start)) - 1)
        last = int(np.searchsorted(t, end, side="right"))
        t, y, joined = t[first:last], y[first:last], joined[first:last]
        if len(t) == 0:
            return Trace(t, y, np.zeros(0, dtype=np.int32))
        if len(t) <= 2 * columns:
            return Trace(t, y, np.append(joined[1:], False).astype(np.int32))
        return outline(t, y, joined, width=(end - start) / columns)

    def _append(self, t: FloatArray, y: FloatArray, joined: NDArray[np.bool_]) -> None:
        size = len(self._t)
        t, y, joined = t[-size:], y[-size:], joined[-size:]
        at = (self._count + np.arange(len(t))) % size
        self._t[at], self._y[at], self._joined[at] = t, y, joined
        self._count += len(t)

    def _ordered(self) -> tuple[FloatArray, FloatArray, NDArray[np.bool_]]:
        size = len(self._t)
        if self._count <= size:
            return self._t[: self._count], self._y[: self._count], self._joined[: self._count]
        cut = self._count % size
        return (
            np.concatenate((self._t[cut:], self._t[:cut])),
            np.concatenate((self._y[cut:], self._y[:cut])),
            np.concatenate((self._joined[cut:], self._joined[:cut])),
        )


def outline(t: FloatArray, y: FloatArray, joined: NDArray[np.bool_], *, width: float) -> Trace:
    """Least and greatest value of each column and each unbroken piece, in the order that follows the signal.

    Args:
        t: (n,) times, ascending; n > 0.
        y: (n,) values.
        joined: (n,) whether a sample continues the one before it.
        width: Width of a column in seconds; columns stand on its multiples.

    Returns:
        Two points for every column and piece: every extreme of the signal is among them, with its exact value.
    """
    column = np.floor(t / width)
    starts = np.empty(len(t), dtype=bool)
    starts[0] = True
    starts[1:] = (column[1:] != column[:-1]) | ~joined[1:]
    first = np.flatnonzero(starts)
    last = np.append(first[1:], len(t)) - 1
    low, high = np.minimum.reduceat(y, first), np.maximum.reduceat(y, first)
    rising = y[last] >= y[first]
    values = np.empty(2 * len(first))
    values[0::2] = np.where(rising, low, high)
    values[1::2] = np.where(rising, high, low)
    times = np.repeat((column[first] + 0.5) * width, 2)
    connect = np.ones(len(values), dtype=np.int32)
    connect[1:-1:2] = joined[first[1:]]
    connect[-1] = 0
    return Trace(times, values, connect)


class Scale:
    """Vertical range of one trace that follows the signal without twitching.

    It widens at once, and narrows only when the signal has filled less than half of it.

    Args:
        smallest: Least height of the range in the signal's unit, so that noise is not blown up to a signal.
    """

    def __init__(self, *, smallest: float) -> None:
        self._smallest = smallest
        self._range: tuple[float, float] | None = None

    def fit(self, values: FloatArray) -> tuple[float, float]:
        """The range for these values: (low, high)."""
        if len(values) == 0:
            return self._range or (0.0, self._smallest)
        low, high = float(values.min()), float(values.max())
        height = max(high - low, self._smallest)
        if self._range is not None:
            bottom, top = self._range
            if bottom <= low and high <= top and height >= 0.5 * (top - bottom) / 1.2:
                return self._range
        middle = 0.5 * (low + high)
        self._range = (middle - 0.6 * height, middle + 0.6 * height)
        return self._range
