"""The tones of alarms: which pulses make a burst, and their samples. Pure. docs/sound.md describes them.

They are made after the general pattern of IEC 60601-1-8 (ten, three, and two pulses; at least four harmonics; soft
edges; bursts every 10, 25 and 30 s). They have not been tested against it, and no melody of a vendor is used.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from monitor.types import AlarmKind, Float32Array, Priority

RATE_HZ: Final = 44_100
"""Sampling rate of everything here."""
HARMONICS: Final = 6
"""Partials of a pulse, the fundamental among them."""
EDGE: Final = 0.2
"""Share of a pulse in which it rises, and in which it falls; without it, it would click and startle."""

_ROLL_OFF_DB: Final = 2.0


@dataclass(frozen=True, slots=True)
class Pulse:
    """One tone of a burst."""

    start_s: float
    length_s: float
    pitch_hz: float


@dataclass(frozen=True, slots=True)
class Pattern:
    """What one kind of alarm sounds like."""

    name: str
    pulses: tuple[Pulse, ...]
    every_s: float
    """From the beginning of one burst to that of the next."""

    @property
    def length_s(self) -> float:
        """Length of a burst."""
        return max(pulse.start_s + pulse.length_s for pulse in self.pulses)


def _row(pitches: tuple[float, ...], length_s: float, gaps_s: tuple[float, ...]) -> tuple[Pulse, ...]:
    pulses, at = [], 0.0
    for pitch, gap in zip(pitches, (*gaps_s, 0.0), strict=True):
        pulses.append(Pulse(at, length_s, pitch))
        at += length_s + gap
    return tuple(pulses)


_FIVE: Final = (0.1, 0.1, 0.4, 0.1)
HIGH: Final = Pattern("high", _row((523.25,) * 10, 0.15, (*_FIVE, 0.7, *_FIVE)), 10.0)
MEDIUM: Final = Pattern("medium", _row((440.0,) * 3, 0.2, (0.2, 0.2)), 25.0)
LOW: Final = Pattern("low", _row((329.63, 261.63), 0.2, (0.2,)), 30.0)
TECHNICAL: Final = Pattern("technical", _row((196.0, 196.0), 0.25, (0.35,)), 30.0)
PATTERNS: Final = (HIGH, MEDIUM, LOW, TECHNICAL)

_BY_PRIORITY: Final = {Priority.HIGH: HIGH, Priority.MEDIUM: MEDIUM, Priority.LOW: LOW}


def pattern_of(kind: AlarmKind, priority: Priority) -> Pattern:
    """What an alarm sounds like: a low technical one is told from the patient's by its sound."""
    technical = kind is AlarmKind.TECHNICAL and priority is Priority.LOW
    return TECHNICAL if technical else _BY_PRIORITY[priority]


def burst(pattern: Pattern, volume: float) -> Float32Array:
    """The samples of one burst.

    Args:
        pattern: Which.
        volume: Its highest value, 0 to 1.

    Returns:
        (n,) float32 in -1 to 1, at `RATE_HZ`.
    """
    samples = np.zeros(round(pattern.length_s * RATE_HZ), dtype=np.float64)
    for pulse in pattern.pulses:
        first = round(pulse.start_s * RATE_HZ)
        n = min(round(pulse.length_s * RATE_HZ), len(samples) - first)
        t = np.arange(n) / RATE_HZ
        tone = sum(
            (
                10.0 ** (-_ROLL_OFF_DB * (k - 1) / 20.0) * np.sin(2.0 * np.pi * k * pulse.pitch_hz * t)
                for k in range(1, HARMONICS + 1)
            ),
            start=np.zeros(n),
        )
        edge = round(EDGE * n)
        rise = 0.5 - 0.5 * np.cos(np.pi * np.arange(edge) / edge)
        tone[:edge] *= rise
        tone[n - edge :] *= rise[::-1]
        samples[first : first + n] += tone
    found: Float32Array = (volume * samples / np.abs(samples).max()).astype(np.float32)
    return found
