"""The form of the pulse that a BVP sensor shows: from a sharp finger pulse to the smooth pulse of a wrist.

A subject wears one sensor, and its pulse has one form, which wanders a little as contact pressure does. The forms are
ours: their ranges were set by eye so that skewness, steepness, harmonics and spread after the monitor's filter lie
about where public recordings from finger clips, ear clips and wristbands have them. They follow no published model of
the circulation. The worst contact that wristbands show, with amplitudes that change tenfold, is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from monitor.sources.physiology_entries import Range
from monitor.sources.physiology_population import Population, load_population
from monitor.sources.physiology_random import Purpose, SineMixture, draw_band, generator
from monitor.types import FloatArray

_HEIGHTS: Final = (0.85, 0.46, 0.30, 0.14)
_FORM, _SIZE, _FORM_WANDER, _RESTLESS, _RESTLESS_SIZE = range(5)
"""What is drawn of a sensor; part of what a seed means."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PulseForm:
    """How one sensor on one subject shows a pulse."""

    smoothness: float
    """0: a finger pulse with its dicrotic wave; 1: a smooth wrist pulse."""
    polarity: float
    """-1 where the sensor gives the light that comes back, which falls with every pulse."""
    rise_s: float
    fall_s: float
    """Widths (standard deviations) of the first wave of a finger pulse, before and after its top."""
    late: float
    """Height of the later waves of a finger pulse, 1 is typical."""
    turn: float
    """Phase (rad) by which each harmonic of a wrist pulse leads the one below: 0 gives pointed tops, a right angle
    gives an upstroke steeper than the way down and no skewness, as behind a high-pass filter."""
    harmonics: tuple[float, float]
    """Second and third harmonic of a wrist pulse, as a share of the first."""
    restless: float
    """Standard deviation of a worn sensor's constant small motion, in typical pulses."""
    _size: SineMixture
    _wander: SineMixture
    _motion: SineMixture
    _motion_size: SineMixture

    def size(self, t: FloatArray) -> FloatArray:
        """Factor (n,) on the amplitude at times `t` (n,): perfusion and contact pressure, which no pain explains."""
        return np.asarray(np.exp(self._size(t)), dtype=np.float64)

    def motion(self, t: FloatArray) -> FloatArray:
        """Small motion (n,) in typical pulses: never quite absent, and in bouts."""
        return np.asarray(self.restless * self._motion(t) * np.exp(self._motion_size(t)), dtype=np.float64)

    def wave(self, t: FloatArray, feet: FloatArray, sizes: FloatArray) -> FloatArray:
        """Pulses with zero mean.

        Args:
            t: (n,) seconds.
            feet: (beats,) seconds at which pulses begin, in rising order; they enclose `t`.
            sizes: (beats,) their amplitudes.

        Returns:
            (n,) in typical pulses.
        """
        smooth = np.clip(self.smoothness + self._wander(feet), 0.0, 1.0)
        wave = self._finger(t, feet, (1.0 - smooth) * sizes)
        cycles = np.interp(t, feet, np.arange(len(feet), dtype=np.float64))
        turns = 2 * np.pi * (cycles - 0.22)
        second, third = self.harmonics
        wrist = np.cos(turns) + second * np.cos(2 * turns + self.turn) + third * np.cos(3 * turns + 2 * self.turn)
        wave += 0.4 * np.interp(t, feet, smooth * sizes) * wrist
        return np.asarray(self.polarity * wave, dtype=np.float64)

    def _finger(self, t: FloatArray, feet: FloatArray, sizes: FloatArray) -> FloatArray:
        intervals = np.diff(feet, append=2 * feet[-1] - feet[-2])
        last = np.searchsorted(feet, t, side="right") - 1
        first, *later = _HEIGHTS
        later = [self.late * height for height in later]
        wave = np.zeros(len(t))
        for neighbour in (-1, 0, 1):
            beat = np.clip(last + neighbour, 0, len(feet) - 1)
            u = t - feet[beat]
            stretch = np.sqrt(np.clip(intervals[beat], 0.3, 1.5))
            wave += sizes[beat] * (
                first * bell(u, 0.15, np.where(u < 0.15, self.rise_s, self.fall_s))
                + later[0] * bell(u, 0.28 * stretch, 0.085)
                + later[1] * bell(u, 0.47 * stretch, 0.080)
                + later[2] * bell(u, 0.70 * stretch, 0.140)
            )
        # The mean of a pulse is its area over its length, for which a typical one will do.
        widths = np.array([0.5 * (self.rise_s + self.fall_s), 0.085, 0.080, 0.140])
        mean = float(np.sqrt(2 * np.pi) * np.dot([first, *later], widths)) / 0.85
        return np.asarray(wave - mean * np.interp(t, feet, sizes), dtype=np.float64)


def draw_pulse(seed: int, population: Population | None = None) -> PulseForm:
    """Draw the sensor of a subject: some sit on a finger or an ear, the others give smoother pulses.

    Args:
        seed: The patient's seed.
        population: Whom it is drawn from; None for the default.
    """
    pulse = (population or load_population()).pulse

    def source(part: int) -> np.random.Generator:
        return generator(seed, Purpose.PULSE, part)

    rng = source(_FORM)

    def within(entry: Range) -> float:
        return float(rng.uniform(entry.low, entry.high))

    # The order is part of what a seed means.
    finger = bool(rng.random() < pulse.finger_share.value)
    smoothness = within(pulse.finger_smoothness if finger else pulse.wrist_smoothness)
    polarity = -1.0 if rng.random() < pulse.inverted_share.value else 1.0
    drift, restless = within(pulse.drift), within(pulse.finger_restless if finger else pulse.wrist_restless)
    return PulseForm(
        smoothness=smoothness,
        polarity=polarity,
        rise_s=within(pulse.rise_s),
        fall_s=within(pulse.fall_s),
        late=within(pulse.late),
        turn=within(pulse.turn) * np.pi,
        harmonics=(within(pulse.second_harmonic), within(pulse.third_harmonic)),
        restless=restless,
        _size=draw_band(source(_SIZE), pulse.size_wander, drift),
        _wander=draw_band(source(_FORM_WANDER), pulse.form_wander),
        _motion=draw_band(source(_RESTLESS), pulse.motion),
        _motion_size=draw_band(source(_RESTLESS_SIZE), pulse.motion_bouts),
    )


def bell(u: FloatArray, centre: float | FloatArray, width: float | FloatArray) -> FloatArray:
    """Gaussian of unit height; widths in seconds (standard deviation)."""
    z = (u - centre) / width
    return np.asarray(np.exp(-0.5 * z * z), dtype=np.float64)
