"""Seeded randomness that does not depend on the order in which anything is asked for.

Every random draw of a synthetic patient comes from a generator that is named by (seed, purpose, index). Asking for
block 7 before block 3, or for the EDA before the ECG, therefore changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

import numpy as np

from monitor.sources.physiology_entries import Band
from monitor.types import FloatArray

BLOCK_S: Final = 32.0
"""Everything is generated in blocks of this many seconds."""

FIRST_BLOCK: Final = -1
"""One block of history precedes time zero, so that the first sample is already in the middle of a life."""


class Purpose(IntEnum):
    """What a generator is for. Numbers are part of what a seed means: never renumber, only append."""

    PROFILE = 1
    SCHEDULE = 2
    CONFOUNDERS = 3
    PAIN_RESPONSE = 4
    CONFOUNDER_RESPONSE = 5
    SLOW = 6
    BEATS = 7
    SKIN_RESPONSES = 8
    MUSCLE_BURSTS = 9
    SENSOR_NOISE = 10
    SENSOR_WANDER = 11
    MOVEMENT = 12
    ARTEFACT = 13
    JITTER = 14
    PULSE = 15


def generator(seed: int, purpose: Purpose, *index: int) -> np.random.Generator:
    """Return the generator of one purpose and index; a block's index may be as low as `FIRST_BLOCK - 1`."""
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, purpose, *(i + 2 for i in index)])))


@dataclass(frozen=True, slots=True, eq=False)
class SineMixture:
    """Band-limited noise in closed form: a sum of sines of random frequency and phase.

    It needs no state and no filter, so its value at any instant is the same at every sampling rate.
    """

    omega: FloatArray
    """(n,) rad/s."""
    phase: FloatArray
    """(n,) rad."""
    amplitude: float

    @classmethod
    def draw(cls, rng: np.random.Generator, *, low_hz: float, high_hz: float, sd: float, count: int) -> SineMixture:
        """Draw `count` frequencies, log-uniform in [low_hz, high_hz], that together have standard deviation `sd`."""
        frequency = np.exp(rng.uniform(np.log(low_hz), np.log(high_hz), count))
        return cls(2 * np.pi * frequency, rng.uniform(0, 2 * np.pi, count), sd * float(np.sqrt(2.0 / count)))

    def __call__(self, t: FloatArray) -> FloatArray:
        """Values (n,) at times `t` (n,) in seconds."""
        total = np.zeros(len(t))
        for omega, phase in zip(self.omega, self.phase, strict=True):
            total += np.sin(omega * t + phase)
        return self.amplitude * total


def draw_band(rng: np.random.Generator, band: Band, unit: float = 1.0) -> SineMixture:
    """Draw the noise that an entry of population.toml describes, its standard deviation in `unit`."""
    return SineMixture.draw(rng, low_hz=band.low_hz, high_hz=band.high_hz, sd=band.sd * unit, count=band.sines)
