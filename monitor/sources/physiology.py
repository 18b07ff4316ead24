"""The body of a synthetic patient: one heart, one breath, one skin, independent of any sensor or sampling rate.

The heart is an integral pulse frequency modulator (Mateo, Laguna 2000, IEEE Trans Biomed Eng 47:985-996): the
instantaneous heart rate (a subject's mean, very slow and 0.1 Hz variability, respiratory sinus arrhythmia, answers
to stimuli) is integrated, and a beat falls wherever the integral passes a whole number. ECG and BVP are both drawn
from these beats.

Time is cut into blocks of 32 s. A block is a pure function of (seed, block index, state at its start), and the state
is two phases; so blocks can be forgotten and made again, and memory stays small however long a patient lives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import numpy as np

from monitor.sources.physiology_entries import Lognormal, Range
from monitor.sources.physiology_population import Population, load_population
from monitor.sources.physiology_random import BLOCK_S, FIRST_BLOCK, Purpose, draw_band, generator
from monitor.sources.physiology_response import (
    RESPONSE_MEMORY_S,
    Effect,
    Response,
    Strengths,
)
from monitor.types import FloatArray

CONTROL_HZ: Final = 16.0
"""Rate of the slow variables (heart rate, breathing phase, effects), which the sensors interpolate."""

_POINTS: Final = int(BLOCK_S * CONTROL_HZ)
_SCR_MEMORY_S: Final = 40.0
_BURST_MEMORY_S: Final = 4.0  # population.toml allows bursts of half of that

TYPICAL_SKIN_LEVEL_US: Final = 4.0
"""Strengths of skin answers are stated for this tonic level; they grow with the square root of a subject's own."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """One subject at rest, and how strongly it answers."""

    heart_rate_bpm: float
    rsa_bpm: float
    """Amplitude of respiratory sinus arrhythmia."""
    lf_bpm: float
    """Standard deviation of the 0.1 Hz variability."""
    breaths_per_min: float
    pulse_transit_s: float
    """From the R peak to the foot of the pulse at the finger."""
    p_mv: float
    q_mv: float
    r_mv: float
    s_mv: float
    t_mv: float
    pulse_gain: float
    """Arbitrary units of BVP for one pulse amplitude at rest."""
    skin_level_us: float
    """Tonic skin conductance at rest."""
    scr_per_min: float
    """Spontaneous SCRs at rest."""
    scr_rise_s: float
    scr_decay_s: float
    """Time constants of the bi-exponential (Bateman) SCR."""
    muscle_mv: float
    """EMG at rest, RMS."""
    breath_gain: float
    """Arbitrary units of RESP for one breath at rest."""
    spo2_percent: float
    skin_temperature_c: float
    strengths: Strengths


def draw_profile(seed: int, responder: bool | None, population: Population | None = None) -> Profile:
    """Draw a subject.

    Args:
        seed: The patient's seed; everything but `responsiveness` is the same whatever `responder` says.
        responder: None draws it too, with the population's share of non-responders.
        population: Whom it is drawn from; None for the default.
    """
    rng = generator(seed, Purpose.PROFILE)
    people = population or load_population()
    shares, rest, strength = people.shares, people.rest, people.strength

    def about(entry: Lognormal) -> float:
        """Cut at some standard deviations to stay physiological."""
        cut = shares.cut_sd.value
        return entry.median * float(np.exp(entry.spread * np.clip(rng.standard_normal(), -cut, cut)))

    def within(entry: Range) -> float:
        return float(rng.uniform(entry.low, entry.high))

    answers = bool(rng.random() >= shares.non_responders.value)
    weak, strong = within(strength.weak), about(strength.strong)
    if responder is not None:
        answers = responder
    skin_level = about(rest.skin_level_us)
    skin_scale = float(np.sqrt(skin_level / TYPICAL_SKIN_LEVEL_US))
    muscle = about(rest.muscle_mv)
    # The order is part of what a seed means.
    return Profile(
        heart_rate_bpm=about(rest.heart_rate_bpm),
        rsa_bpm=about(rest.rsa_bpm),
        lf_bpm=about(rest.lf_bpm),
        breaths_per_min=about(rest.breaths_per_min),
        pulse_transit_s=about(rest.pulse_transit_s),
        p_mv=about(rest.p_mv),
        q_mv=-about(rest.q_mv),
        r_mv=about(rest.r_mv),
        s_mv=-about(rest.s_mv),
        t_mv=about(rest.t_mv),
        pulse_gain=about(rest.pulse_gain),
        skin_level_us=skin_level,
        scr_per_min=about(rest.scr_per_min),
        scr_rise_s=about(rest.scr_rise_s),
        scr_decay_s=about(rest.scr_decay_s),
        muscle_mv=muscle,
        breath_gain=about(rest.breath_gain),
        spo2_percent=within(rest.spo2_percent),
        skin_temperature_c=within(rest.skin_temperature_c),
        strengths=Strengths(
            heart_rate_bpm=about(strength.heart_rate_bpm),
            vagal=within(strength.vagal),
            constriction=within(strength.constriction),
            muscle_mv=about(strength.muscle_mv),
            breath_rate_per_min=about(strength.breath_rate_per_min),
            breath_depth=within(strength.breath_depth),
            skin_level_us=skin_scale * about(strength.skin_level_us),
            scr_us=skin_scale * about(strength.scr_us),
            scr_latency_s=within(strength.scr_latency_s),
            fade_s=within(strength.fade_s),
            exponent=within(strength.exponent),
            responsiveness=strong if answers else weak,
        ),
    )


@dataclass(frozen=True, slots=True, eq=False)
class BodyBlock:
    """The body over one block, or over several joined ones."""

    t: FloatArray
    """(n,) seconds, the control grid."""
    breath: FloatArray
    """(n,) chest expansion, -1..1 at rest."""
    heart_rate: FloatArray
    """(n,) instantaneous heart rate in bpm."""
    beats: FloatArray
    """(beats,) seconds of the R peaks."""


def join(blocks: Sequence[BodyBlock]) -> BodyBlock:
    """Join neighbouring blocks."""
    return BodyBlock(
        np.concatenate([b.t for b in blocks]),
        np.concatenate([b.breath for b in blocks]),
        np.concatenate([b.heart_rate for b in blocks]),
        np.concatenate([b.beats for b in blocks]),
    )


class Body:
    """Generates the body block by block.

    Args:
        seed: The patient's seed.
        profile: The subject.
        responses: Called with (start, stop, memory) in seconds, gives the answers to all events that begin before
            `stop` and end at most `memory` before `start`, always in the same order.
        population: Whom the subject was drawn from.
    """

    def __init__(
        self,
        *,
        seed: int,
        profile: Profile,
        responses: Callable[[float, float, float], Sequence[Response]],
        population: Population,
    ) -> None:
        self._seed = seed
        self._profile = profile
        self._responses = responses
        # Phases in whole cycles (breaths, beats) at the start of block FIRST_BLOCK + i.
        self._states: list[tuple[float, float]] = [(0.0, 0.0)]
        rng = generator(seed, Purpose.SLOW)
        rhythm = self._rhythm = population.rhythm
        self._breath_drift = draw_band(rng, rhythm.breath_drift)
        self._breath_depth = draw_band(rng, rhythm.breath_depth)
        self._very_slow = draw_band(rng, rhythm.very_slow_bpm)
        self._low_frequency = draw_band(rng, rhythm.low_frequency_bpm, profile.lf_bpm)
        # Few blocks are ever in use at once: a sensor reads three neighbours.
        self._block = lru_cache(maxsize=12)(self._make)

    def around(self, k: int) -> BodyBlock:
        """Block `k` with its two neighbours, so that beats on both sides of its edges are known."""
        return join([self._block(i) for i in (k - 1, k, k + 1) if i >= FIRST_BLOCK])

    def effect(self, effect: Effect, t: FloatArray) -> FloatArray:
        """Sum of all answers in one variable at ascending times (n,) in seconds: (n,), in the units of `Effect`."""
        total = np.zeros(len(t))
        for response in self._responses(float(t[0]), float(t[-1]), RESPONSE_MEMORY_S):
            course = response.courses.get(effect)
            if course is not None and course.gain:
                total += course(t - response.onset, response.duration)
        return total

    def skin_responses(self, k: int) -> tuple[FloatArray, FloatArray]:
        """Onsets (s) and amplitudes (uS) of every SCR that can still be seen in block `k`."""
        start, stop = k * BLOCK_S, (k + 1) * BLOCK_S
        onsets: list[float] = []
        sizes: list[float] = []
        for i in (k - 2, k - 1, k):
            if i < FIRST_BLOCK:
                continue
            rng = generator(self._seed, Purpose.SKIN_RESPONSES, i)
            count = int(rng.poisson(self._profile.scr_per_min * BLOCK_S / 60.0))
            onsets.extend(i * BLOCK_S + np.sort(rng.uniform(0, BLOCK_S, count)))
            usual = self._rhythm.scr_size
            scale = usual.median * np.sqrt(self._profile.skin_level_us / TYPICAL_SKIN_LEVEL_US)
            sizes.extend(scale * np.exp(rng.normal(0.0, usual.spread, count)))
        for response in self._responses(start, stop, _SCR_MEMORY_S):
            for onset, size in response.scrs:
                if start - _SCR_MEMORY_S < onset < stop:
                    onsets.append(onset)
                    sizes.append(size)
        return np.asarray(onsets), np.asarray(sizes)

    def muscle_bursts(self, k: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Onset (s), duration (s) and size (mV RMS) of spontaneous bursts seen in block `k`."""
        rhythm = self._rhythm
        onsets, durations, sizes = [], [], []
        for i in (k - 1, k):
            if i < FIRST_BLOCK:
                continue
            rng = generator(self._seed, Purpose.MUSCLE_BURSTS, i)
            count = int(rng.poisson(rhythm.bursts_per_min.value * BLOCK_S / 60.0))
            onsets.append(i * BLOCK_S + np.sort(rng.uniform(0, BLOCK_S, count)))
            durations.append(rng.uniform(rhythm.burst_s.low, rhythm.burst_s.high, count))
            sizes.append(rng.uniform(rhythm.burst_mv.low, rhythm.burst_mv.high, count))
        return np.concatenate(onsets), np.concatenate(durations), np.concatenate(sizes)

    def _make(self, k: int) -> BodyBlock:
        while len(self._states) <= k - FIRST_BLOCK:
            self._integrate(FIRST_BLOCK + len(self._states) - 1)
        return self._integrate(k)

    def _integrate(self, k: int) -> BodyBlock:
        """Run block `k` from its start state, and remember the state at its end."""
        p, rhythm = self._profile, self._rhythm
        breath_phase, beat_phase = self._states[k - FIRST_BLOCK]
        t = k * BLOCK_S + np.arange(_POINTS) / CONTROL_HZ
        breaths_per_min = p.breaths_per_min * (1.0 + self._breath_drift(t)) + self.effect(Effect.BREATH_RATE, t)
        breath_cycles = _accumulate(breath_phase, np.maximum(breaths_per_min, rhythm.least_breaths_per_min.value))
        turn = 2 * np.pi * breath_cycles[:-1]
        depth = 1.0 + self._breath_depth(t) + self.effect(Effect.BREATH_DEPTH, t)
        # Breathing in takes less time than breathing out: the phase is skewed.
        breath = -depth * np.cos(turn + 0.35 * np.sin(turn - 1.2))
        vagal = np.clip(1.0 - self.effect(Effect.VAGAL, t), rhythm.vagal.low, rhythm.vagal.high)
        heart_rate = (
            p.heart_rate_bpm
            + self._very_slow(t)
            + vagal * (self._low_frequency(t) + p.rsa_bpm * breath)
            + self.effect(Effect.HEART_RATE, t)
        )
        heart_rate = np.clip(heart_rate, rhythm.heart_rate_bpm.low, rhythm.heart_rate_bpm.high)
        cycles = _accumulate(beat_phase, heart_rate)
        numbers = np.arange(np.floor(cycles[0]) + 1, np.floor(cycles[-1]) + 1)
        beats = np.interp(numbers, cycles, np.append(t, t[-1] + 1.0 / CONTROL_HZ))
        # A few ms of scatter that no rhythm explains.
        beats += generator(self._seed, Purpose.BEATS, k).normal(0.0, rhythm.beat_scatter_s.sd, len(beats))
        if len(self._states) == k - FIRST_BLOCK + 1:
            self._states.append((float(breath_cycles[-1]), float(cycles[-1])))
        return BodyBlock(t, breath, heart_rate, beats)


def _accumulate(start: float, per_minute: FloatArray) -> FloatArray:
    """Integrate a rate per minute (n,) over the control grid to cycles (n + 1,), beginning at `start`."""
    return start + np.concatenate([[0.0], np.cumsum(per_minute) / (60.0 * CONTROL_HZ)])
