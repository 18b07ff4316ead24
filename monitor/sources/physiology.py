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

from monitor.sources.physiology_random import BLOCK_S, FIRST_BLOCK, Purpose, SineMixture, generator
from monitor.sources.physiology_response import (
    NON_RESPONDER_SHARE,
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
_BURST_MEMORY_S: Final = 4.0


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


def draw_profile(seed: int, responder: bool | None) -> Profile:
    """Draw a subject.

    Args:
        seed: The patient's seed; everything but `responsiveness` is the same whatever `responder` says.
        responder: None draws it too, with `NON_RESPONDER_SHARE` of non-responders.
    """
    rng = generator(seed, Purpose.PROFILE)

    def about(median: float, spread: float) -> float:
        """Lognormal, cut at two standard deviations to stay physiological."""
        return median * float(np.exp(spread * np.clip(rng.standard_normal(), -2, 2)))

    answers = bool(rng.random() >= NON_RESPONDER_SHARE)
    weak, strong = float(rng.uniform(0.0, 0.2)), about(1.0, 0.15)
    if responder is not None:
        answers = responder
    skin_level = about(4.0, 0.5)
    skin_scale = float(np.sqrt(skin_level / 4.0))
    muscle = about(0.006, 0.2)
    return Profile(
        heart_rate_bpm=about(70.0, 0.11),
        rsa_bpm=about(3.0, 0.4),
        lf_bpm=about(1.5, 0.3),
        breaths_per_min=about(14.0, 0.12),
        pulse_transit_s=about(0.22, 0.08),
        p_mv=about(0.11, 0.2),
        q_mv=-about(0.09, 0.3),
        r_mv=about(1.05, 0.15),
        s_mv=-about(0.2, 0.3),
        t_mv=about(0.26, 0.2),
        pulse_gain=about(40.0, 0.7),
        skin_level_us=skin_level,
        scr_per_min=about(2.5, 0.5),
        scr_rise_s=about(0.75, 0.1),
        scr_decay_s=about(3.0, 0.25),
        muscle_mv=muscle,
        breath_gain=about(1.0, 0.5),
        spo2_percent=float(rng.uniform(96.2, 98.8)),
        skin_temperature_c=float(rng.uniform(32.0, 35.0)),
        strengths=Strengths(
            heart_rate_bpm=about(9.0, 0.3),
            vagal=float(rng.uniform(0.2, 0.5)),
            constriction=float(rng.uniform(0.25, 0.5)),
            muscle_mv=about(0.04, 0.4),
            breath_rate_per_min=about(4.0, 0.3),
            breath_depth=float(rng.uniform(0.1, 0.3)),
            skin_level_us=skin_scale * about(0.5, 0.4),
            scr_us=skin_scale * about(0.8, 0.4),
            scr_latency_s=float(rng.uniform(1.4, 2.4)),
            fade_s=float(rng.uniform(10.0, 20.0)),
            exponent=float(rng.uniform(0.8, 1.4)),
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
    """

    def __init__(
        self, *, seed: int, profile: Profile, responses: Callable[[float, float, float], Sequence[Response]]
    ) -> None:
        self._seed = seed
        self._profile = profile
        self._responses = responses
        # Phases in whole cycles (breaths, beats) at the start of block FIRST_BLOCK + i.
        self._states: list[tuple[float, float]] = [(0.0, 0.0)]
        rng = generator(seed, Purpose.SLOW)
        self._breath_drift = SineMixture.draw(rng, low_hz=0.005, high_hz=0.05, sd=0.06, count=8)
        self._breath_depth = SineMixture.draw(rng, low_hz=0.01, high_hz=0.08, sd=0.10, count=8)
        self._very_slow = SineMixture.draw(rng, low_hz=0.003, high_hz=0.03, sd=1.3, count=8)
        self._low_frequency = SineMixture.draw(rng, low_hz=0.07, high_hz=0.13, sd=profile.lf_bpm, count=10)
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
            scale = 0.15 * np.sqrt(self._profile.skin_level_us / 4.0)
            sizes.extend(scale * np.exp(rng.normal(0.0, 0.6, count)))
        for response in self._responses(start, stop, _SCR_MEMORY_S):
            for onset, size in response.scrs:
                if start - _SCR_MEMORY_S < onset < stop:
                    onsets.append(onset)
                    sizes.append(size)
        return np.asarray(onsets), np.asarray(sizes)

    def muscle_bursts(self, k: int) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Onset (s), duration (s) and size (mV RMS) of spontaneous bursts, some two a minute, seen in block `k`."""
        onsets, durations, sizes = [], [], []
        for i in (k - 1, k):
            if i < FIRST_BLOCK:
                continue
            rng = generator(self._seed, Purpose.MUSCLE_BURSTS, i)
            count = int(rng.poisson(2.0 * BLOCK_S / 60.0))
            onsets.append(i * BLOCK_S + np.sort(rng.uniform(0, BLOCK_S, count)))
            durations.append(rng.uniform(0.3, _BURST_MEMORY_S / 2, count))
            sizes.append(rng.uniform(0.01, 0.03, count))
        return np.concatenate(onsets), np.concatenate(durations), np.concatenate(sizes)

    def _make(self, k: int) -> BodyBlock:
        while len(self._states) <= k - FIRST_BLOCK:
            self._integrate(FIRST_BLOCK + len(self._states) - 1)
        return self._integrate(k)

    def _integrate(self, k: int) -> BodyBlock:
        """Run block `k` from its start state, and remember the state at its end."""
        p = self._profile
        breath_phase, beat_phase = self._states[k - FIRST_BLOCK]
        t = k * BLOCK_S + np.arange(_POINTS) / CONTROL_HZ
        breaths_per_min = p.breaths_per_min * (1.0 + self._breath_drift(t)) + self.effect(Effect.BREATH_RATE, t)
        breath_cycles = _accumulate(breath_phase, np.maximum(breaths_per_min, 4.0))
        turn = 2 * np.pi * breath_cycles[:-1]
        depth = 1.0 + self._breath_depth(t) + self.effect(Effect.BREATH_DEPTH, t)
        # Breathing in takes less time than breathing out: the phase is skewed.
        breath = -depth * np.cos(turn + 0.35 * np.sin(turn - 1.2))
        vagal = np.clip(1.0 - self.effect(Effect.VAGAL, t), 0.2, 1.0)
        heart_rate = (
            p.heart_rate_bpm
            + self._very_slow(t)
            + vagal * (self._low_frequency(t) + p.rsa_bpm * breath)
            + self.effect(Effect.HEART_RATE, t)
        )
        heart_rate = np.clip(heart_rate, 38.0, 170.0)
        cycles = _accumulate(beat_phase, heart_rate)
        numbers = np.arange(np.floor(cycles[0]) + 1, np.floor(cycles[-1]) + 1)
        beats = np.interp(numbers, cycles, np.append(t, t[-1] + 1.0 / CONTROL_HZ))
        # A few ms of scatter that no rhythm explains.
        beats += generator(self._seed, Purpose.BEATS, k).normal(0.0, 0.004, len(beats))
        if len(self._states) == k - FIRST_BLOCK + 1:
            self._states.append((float(breath_cycles[-1]), float(cycles[-1])))
        return BodyBlock(t, breath, heart_rate, beats)


def _accumulate(start: float, per_minute: FloatArray) -> FloatArray:
    """Integrate a rate per minute (n,) over the control grid to cycles (n + 1,), beginning at `start`."""
    return start + np.concatenate([[0.0], np.cumsum(per_minute) / (60.0 * CONTROL_HZ)])
