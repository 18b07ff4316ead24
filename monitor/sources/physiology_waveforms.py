"""What sensors on a synthetic body measure: ECG, BVP, EDA, EMG, RESP, SpO2 and TEMP at any sampling rate.

Every function gives the samples of one block at given instants. What the body does comes from `physiology`, the
same at every rate; only the sensor's own noise is drawn per sample.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from types import MappingProxyType
from typing import Final

import numpy as np
from scipy import signal

from monitor.sources.physiology import Body, Profile
from monitor.sources.physiology_entries import Band, Noise
from monitor.sources.physiology_population import Population, load_population
from monitor.sources.physiology_pulse import PulseForm, bell
from monitor.sources.physiology_random import Purpose, SineMixture, draw_band, generator
from monitor.sources.physiology_response import Effect
from monitor.types import FloatArray

_SENSOR_NUMBER: Final = MappingProxyType({"ECG": 0, "EDA": 1, "BVP": 2, "EMG": 3, "RESP": 4, "SPO2": 5, "TEMP": 6})
"""Part of what a seed means: never renumber."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """A stretch of time in which the body moves its sensors."""

    index: int
    onset: float
    duration: float
    size: float
    """1 is typical."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sensors:
    """The sensors on one body.

    Args:
        seed: The patient's seed.
        profile: The subject.
        pulse: Form of its pulse.
        body: What is measured.
        movements: Called with (start, stop) in seconds, gives the movements that overlap that stretch.
        rates_hz: Sampling rate by modality.
        population: Whom the subject was drawn from.
    """

    seed: int
    profile: Profile
    pulse: PulseForm
    body: Body
    movements: Callable[[float, float], list[Movement]]
    rates_hz: Mapping[str, float]
    population: Population
    _wander: dict[str, SineMixture] = field(default_factory=dict, init=False)

    def block(self, modality: str, k: int, t: FloatArray) -> FloatArray:
        """Samples (n,) of block `k` at its instants `t` (n,), in the modality's unit, as float64."""
        if not len(t):
            return np.zeros(0)
        make = {
            "ECG": self._ecg,
            "EDA": self._eda,
            "BVP": self._bvp,
            "EMG": self._emg,
            "RESP": self._resp,
            "SPO2": self._spo2,
            "TEMP": self._temp,
        }[modality]
        return make(k, t)

    def _ecg(self, k: int, t: FloatArray) -> FloatArray:
        """PQRST as Gaussians around each R peak in mV (after McSharry et al. 2003, IEEE Trans Biomed Eng 50:289).

        The T wave follows the square root of the preceding RR interval (Bazett); breathing turns the heart's axis
        and so modulates the QRS by some percent, and lifts the baseline.
        """
        p, sensor = self.profile, self.population.sensor
        body = self.body.around(k)
        beats = body.beats
        intervals = np.diff(beats, prepend=2 * beats[0] - beats[1])
        axis = 1.0 + sensor.ecg_breath_axis.value * np.interp(beats, body.t, body.breath)
        last = np.searchsorted(beats, t, side="right") - 1
        out = self._noise("ECG", k, len(t), sensor.ecg_noise) + self._slow("ECG", t, sensor.ecg_wander)
        out += sensor.ecg_breath_mv.value * np.interp(t, body.t, body.breath)
        out += sensor.ecg_motion.sd * self._motion("ECG", t)
        for neighbour in (0, 1):
            beat = np.clip(last + neighbour, 0, len(beats) - 1)
            u = t - beats[beat]
            stretch = np.sqrt(np.clip(intervals[beat], 0.3, 1.5))
            gain = axis[beat]
            if neighbour == 0:
                out += p.t_mv * (0.6 * bell(u, 0.275 * stretch, 0.050) + 0.7 * bell(u, 0.325 * stretch, 0.032))
            else:
                out += p.p_mv * (bell(u, -0.165, 0.022) + 0.35 * bell(u, -0.135, 0.018))
            out += gain * p.r_mv * bell(u, 0.0, 0.0105)
            out += gain * (p.q_mv * bell(u, -0.026, 0.009) + p.s_mv * bell(u, 0.028, 0.011))
        return out

    def _bvp(self, k: int, t: FloatArray) -> FloatArray:
        """Pulses that start a transit time after each R peak, in the form that the subject's sensor gives them.

        The amplitude falls with vasoconstriction, breathes a little, drifts with perfusion and contact, and scales
        the whole zero-mean signal, as behind the band-pass of a wearable. Constriction also stiffens the vessel: the
        pulse arrives up to some 15 ms earlier (Allen 2007, Physiol Meas 28:R1, on all of these).
        """
        p, sensor = self.profile, self.population.sensor
        body = self.body.around(k)
        beats = body.beats
        squeeze = np.minimum(self.body.effect(Effect.CONSTRICTION, beats), sensor.bvp_most_constriction.value)
        breath = np.interp(beats, body.t, body.breath)
        feet = beats + p.pulse_transit_s - sensor.bvp_stiffening_s.value * squeeze
        feet = feet + sensor.bvp_breath_transit_s.value * breath
        slow = self._slow("BVP", beats, sensor.bvp_wander)
        size = (1.0 - squeeze) * (1.0 + sensor.bvp_breath_size.value * breath + slow) * self.pulse.size(beats)
        pulse = self.pulse.wave(t, feet, size) + self.pulse.motion(t)
        pulse += sensor.bvp_breath.value * np.interp(t, body.t, body.breath)
        moved = sensor.bvp_motion.sd * self._motion("BVP", t)
        return p.pulse_gain * (pulse + moved + self._noise("BVP", k, len(t), sensor.bvp_noise))

    def _eda(self, k: int, t: FloatArray) -> FloatArray:
        """Tonic level in uS that wanders over minutes, plus bi-exponential SCRs (Benedek, Kaernbach 2010)."""
        p, sensor = self.profile, self.population.sensor
        level = p.skin_level_us * (1.0 + self._slow("EDA", t, sensor.eda_drift))
        out = level + self.body.effect(Effect.SKIN_LEVEL, t)
        rise, decay = p.scr_rise_s, p.scr_decay_s
        peak_at = np.log(decay / rise) * rise * decay / (decay - rise)
        norm = np.exp(-peak_at / decay) - np.exp(-peak_at / rise)
        for onset, size in zip(*self.body.skin_responses(k), strict=True):
            begin = int(np.searchsorted(t, onset))
            u = t[begin:] - onset
            out[begin:] += size / norm * (np.exp(-u / decay) - np.exp(-u / rise))
        # An electrode that moves loses contact: the level can fall a long way, but never below a trace of conductance.
        out += sensor.eda_motion.sd * p.skin_level_us * self._motion("EDA", t)
        return np.asarray(np.maximum(out, sensor.eda_least_us.value) + self._noise("EDA", k, len(t), sensor.eda_noise))

    def _emg(self, k: int, t: FloatArray) -> FloatArray:
        """Interference pattern in mV: noise between 20 and 200 Hz whose RMS follows the muscle's activity."""
        p, sensor = self.profile, self.population.sensor
        rate = self.rates_hz["EMG"]
        taps = _emg_taps(rate)
        # Each block leads in with noise of its own: the filter's memory of 0.1 s need not cross the edge.
        white = generator(self.seed, Purpose.SENSOR_NOISE, _SENSOR_NUMBER["EMG"], k, 1)
        pattern = np.convolve(white.standard_normal(len(t) + len(taps) - 1), taps, mode="valid")
        envelope = p.muscle_mv * (1.0 + self._slow("EMG", t, sensor.emg_wander))
        for onset, duration, size in zip(*self.body.muscle_bursts(k), strict=True):
            begin, end = np.searchsorted(t, (onset, onset + duration))
            envelope[begin:end] += size * np.sin(np.pi * (t[begin:end] - onset) / duration) ** 2
        # A held contraction is not even: recruitment waxes and wanes about its mean.
        recruited = np.tanh(self._slow("EMG", t, sensor.emg_uneven, part=1))
        uneven = 1.0 + sensor.emg_uneven_size.value * recruited
        envelope += np.maximum(self.body.effect(Effect.MUSCLE, t), 0.0) * uneven
        return np.maximum(envelope, 0.0) * pattern + self._noise("EMG", k, len(t), sensor.emg_noise)

    def _resp(self, k: int, t: FloatArray) -> FloatArray:
        """Chest expansion in arbitrary units, up on breathing in."""
        body, sensor = self.body.around(k), self.population.sensor
        out = np.interp(t, body.t, body.breath) + self._slow("RESP", t, sensor.resp_wander)
        out += sensor.resp_motion.sd * self._motion("RESP", t)
        return self.profile.breath_gain * (out + self._noise("RESP", k, len(t), sensor.resp_noise))

    def _spo2(self, k: int, t: FloatArray) -> FloatArray:
        """Oxygen saturation in %, in steps of 0.1; never above 100."""
        sensor = self.population.sensor
        out = self.profile.spo2_percent + self._slow("SPO2", t, sensor.spo2_wander)
        out += self.body.effect(Effect.SATURATION, t) + self._noise("SPO2", k, len(t), sensor.spo2_noise)
        return np.asarray(np.round(np.minimum(out, 100.0), 1), dtype=np.float64)

    def _temp(self, k: int, t: FloatArray) -> FloatArray:
        """Skin temperature in degC."""
        sensor = self.population.sensor
        out = self.profile.skin_temperature_c + self._slow("TEMP", t, sensor.temp_wander)
        return out + self.body.effect(Effect.SKIN_TEMPERATURE, t) + self._noise("TEMP", k, len(t), sensor.temp_noise)

    def _noise(self, modality: str, k: int, count: int, noise: Noise) -> FloatArray:
        rng = generator(self.seed, Purpose.SENSOR_NOISE, _SENSOR_NUMBER[modality], k, 0)
        return noise.sd * rng.standard_normal(count)

    def _slow(self, modality: str, t: FloatArray, band: Band, part: int = 0) -> FloatArray:
        key = f"{modality}/{part}"
        if key not in self._wander:
            rng = generator(self.seed, Purpose.SENSOR_WANDER, _SENSOR_NUMBER[modality], part)
            self._wander[key] = draw_band(rng, band)
        return self._wander[key](t)

    def _motion(self, modality: str, t: FloatArray) -> FloatArray:
        """Sum of what movements do to a sensor, about unit size, zero where nothing moves."""
        total = np.zeros(len(t))
        for movement in self.movements(float(t[0]), float(t[-1])):
            begin, end = np.searchsorted(t, (movement.onset, movement.onset + movement.duration))
            if begin == end:
                continue
            u = t[begin:end] - movement.onset
            total[begin:end] += movement.size * motion_waveform(
                generator(self.seed, Purpose.MOVEMENT, movement.index, _SENSOR_NUMBER[modality]),
                u,
                movement.duration,
                self.population,
            )
        return total


def motion_waveform(
    rng: np.random.Generator, u: FloatArray, duration: float, population: Population | None = None
) -> FloatArray:
    """Motion of a sensor: noise of 0.3-6 Hz and unit standard deviation under a half-sine envelope.

    Args:
        rng: Generator of this one movement.
        u: (n,) seconds since its onset, in 0..duration.
        duration: Its length in seconds.
        population: Whose movements are of this band; None for the default.
    """
    mixture = draw_band(rng, (population or load_population()).sensor.movement)
    return mixture(u) * np.sin(np.pi * u / duration)


@lru_cache(maxsize=16)
def _emg_taps(rate_hz: float) -> FloatArray:
    """FIR band-pass of 20-200 Hz (or as far as the rate allows) with unit gain for white noise; odd length."""
    high = min(200.0, 0.45 * rate_hz)
    count = 2 * int(0.05 * rate_hz) + 1
    if high <= 25.0 or count < 5:
        return np.ones(1)
    taps = np.asarray(signal.firwin(count, (20.0, high), pass_zero=False, fs=rate_hz), dtype=np.float64)
    return taps / float(np.sqrt(np.sum(taps**2)))
