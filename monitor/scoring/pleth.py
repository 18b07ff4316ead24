"""An SPI-style index of the pulse wave: low amplitude and short beat intervals make it high.

    index = 100 - (0.7 amplitude + 0.3 interval)
    each part, 0 to 100 = 0.7 (its rank among the subject's own values) + 0.3 (its rank in a population)

after the surgical pleth index (Huiku et al., Br J Anaesth 98:447, 2007), whose normalisation is not public in full; the
shares of the own and of the population's distribution are those of an open implementation (clinical.md I6, S11). It is
not that product's index: it is a plain comparator, unvalidated, and has no unit in common with it.

What is read (`PlethReading`): of the newest `WINDOW_S` of the pulse wave, causally filtered, the amplitude from its 5th
to its 95th percentile, and the time after which it is most like itself. A pulse wave comes in arbitrary units, which
follow sensor, site and gain, so no population can hold an absolute amplitude: there the amplitude stands as its ratio
to the median of the subject's own reference, which is taken over the first `calibration_s` of usable signal, and again
after each recalibration. The own ranks need no unit.
"""

from __future__ import annotations

import bisect
import math
from collections import deque
from dataclasses import dataclass
from typing import Final

import numpy as np

from monitor.types import FloatArray

WEIGHTS: Final = (0.7, 0.3)
"""Of amplitude and beat interval (Huiku et al. 2007)."""
OWN_SHARE: Final = 0.7
"""Of the subject's own distribution in each part; the rest is the population's."""
WINDOW_S: Final = 5.0
"""Pulse wave that one reading is taken from."""
OWN_SPAN_S: Final = 1800.0
"""Usable signal that the subject's own distribution covers: the newest. What lasts longer becomes its own normal."""
INTERVAL_S: Final = (0.33, 1.5)
"""Shortest and longest beat interval that is looked for."""
POPULATION_INTERVAL_S: Final = (0.700, 0.100)
"""Mean and SD of the population's beat interval, as a normal distribution (S11)."""
POPULATION_RATIO: Final = (1.0, 0.2)
"""Mean and SD of the population's amplitude, as a ratio to the subject's reference (S11, there in its own unit)."""


@dataclass(frozen=True, slots=True)
class PlethReading:
    """What is read of one window of the pulse wave."""

    amplitude: float
    """In the stream's unit."""
    interval_s: float


def beat_interval_s(x: FloatArray, rate_hz: float, limits_s: tuple[float, float] = INTERVAL_S) -> FloatArray:
    """(n,) time after which a signal is most like itself, by autocorrelation, finer than the grid by a parabola.

    Args:
        x: (n, samples).
        rate_hz: Of the grid.
        limits_s: Shortest and longest time.
    """
    centred = x - x.mean(axis=1, keepdims=True)
    power = np.fft.irfft(np.abs(np.fft.rfft(centred, 2 * x.shape[1])) ** 2)
    first = max(1, round(limits_s[0] * rate_hz))
    last = min(round(limits_s[1] * rate_hz), x.shape[1] - 2)
    lag = first + power[:, first : max(last, first) + 1].argmax(axis=1)
    rows = np.arange(len(x))
    before, at, after = power[rows, lag - 1], power[rows, lag], power[rows, lag + 1]
    bend = before - 2.0 * at + after
    shift = np.where(bend < 0.0, 0.5 * (before - after) / np.where(bend < 0.0, bend, 1.0), 0.0)
    return np.asarray((lag + np.clip(shift, -0.5, 0.5)) / rate_hz)


def pulse_size(x: FloatArray) -> FloatArray:
    """(n,) size of the pulse wave: from its 5th to its 95th percentile.

    Args:
        x: (n, samples) in any unit.
    """
    low, high = np.percentile(x, [5.0, 95.0], axis=1)
    return np.asarray(high - low)


def reading(points: FloatArray, rate_hz: float) -> PlethReading:
    """Read one window.

    Args:
        points: (samples,) filtered pulse wave.
        rate_hz: Of its grid.
    """
    rows = points[None, :]
    return PlethReading(float(pulse_size(rows)[0]), float(beat_interval_s(rows, rate_hz)[0]))


def spi(amplitude: float, interval: float) -> float:
    """0 to 100 from the two parts, each 0 to 100: 100 - (0.7 amplitude + 0.3 interval)."""
    return min(max(100.0 - (WEIGHTS[0] * amplitude + WEIGHTS[1] * interval), 0.0), 100.0)


def middle_rank(below: int, up_to: int, total: int) -> float:
    """Rank of a value from 0 to 100: the share of values below it, those equal to it counting half.

    Args:
        below: How many are less.
        up_to: How many are less or equal.
        total: How many there are.
    """
    return 50.0 * (below + up_to) / total


def normal_rank(value: float, mean: float, deviation: float) -> float:
    """Rank of a value from 0 to 100 in a normal distribution."""
    return 50.0 * (1.0 + math.erf((value - mean) / (deviation * math.sqrt(2.0))))


class _Own:
    """The newest values of one kind, in the order of time and of size."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._newest: deque[float] = deque()
        self._sorted: list[float] = []

    def add(self, value: float) -> None:
        self._newest.append(value)
        bisect.insort(self._sorted, value)
        if len(self._newest) > self._most:
            del self._sorted[bisect.bisect_left(self._sorted, self._newest.popleft())]

    def rank(self, value: float) -> float:
        """Among those that there are, itself included."""
        below, up_to = bisect.bisect_left(self._sorted, value), bisect.bisect_right(self._sorted, value)
        return middle_rank(below, up_to, len(self._sorted))


class PlethIndex:
    """Makes an SPI-style index of readings, one a window, in their order.

    Args:
        hop_s: Seconds of signal that a reading stands for.
        reference_s: Usable signal that the reference amplitude is taken over; before, there is no index.
    """

    def __init__(self, *, hop_s: float, reference_s: float) -> None:
        most = math.ceil(OWN_SPAN_S / hop_s)
        self._needed = max(1, math.ceil(reference_s / hop_s))
        self._amplitudes, self._intervals = _Own(most), _Own(most)
        self._gathered: list[float] = []
        self.reference: float | None = None
        """Median amplitude of the reference, in the stream's unit; None until it is complete."""

    def recalibrate(self) -> None:
        """Take the reference anew; the own distribution goes on."""
        self._gathered.clear()
        self.reference = None

    def add(self, found: PlethReading, *, rest: bool = True) -> float | None:
        """Take a reading.

        Args:
            found: Of the newest window.
            rest: Whether it may serve the reference.

        Returns:
            0 to 100; None until the reference is complete.
        """
        self._amplitudes.add(found.amplitude)
        self._intervals.add(found.interval_s)
        if self.reference is None and rest:
            self._gathered.append(found.amplitude)
            if len(self._gathered) >= self._needed:
                self.reference = float(np.median(self._gathered))
                self._gathered.clear()
        if self.reference is None or self.reference <= 0.0:
            return None
        ratio = found.amplitude / self.reference
        amplitude = _mixed(self._amplitudes.rank(found.amplitude), normal_rank(ratio, *POPULATION_RATIO))
        interval = _mixed(self._intervals.rank(found.interval_s), normal_rank(found.interval_s, *POPULATION_INTERVAL_S))
        return spi(amplitude, interval)


def _mixed(own: float, population: float) -> float:
    return OWN_SHARE * own + (1.0 - OWN_SHARE) * population
