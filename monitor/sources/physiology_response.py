"""How a synthetic subject answers a stimulus: directions and latencies from the literature, strengths of its own.

| signal | answer to pain | source |
|---|---|---|
| heart rate | up by some 5-15 %, starting 1-2 s after onset; holds through tonic pain | [1], [2] |
| vagal (respiratory) variability | down | [3] |
| skin conductance | an SCR that starts 1-3 s after onset and rises for 1-3 s; grows with intensity | [2], [4], [5] |
| finger pulse amplitude | down (sympathetic vasoconstriction), within 2-5 s | [6], [7], [10] |
| EMG (trapezius, corrugator) | up within a second | [8] |
| breathing | faster and deeper | [9], [10] |
| share without an electrodermal answer | about one in ten; with weak answers nearly one in four | [4] |

[1] Tousignant-Laflamme, Rainville, Marchand 2005, J Pain 6:341-347. [2] Loggia, Juneau, Bushnell 2011, Pain
152:592-598. [3] Koenig, Jarczok, Ellis, Hillecke, Thayer 2014, Eur J Pain 18:301-314. [4] Boucsein 2012,
Electrodermal Activity, 2nd ed., Springer. [5] Benedek, Kaernbach 2010, J Neurosci Methods 190:80-91. [6] Korhonen,
Yli-Hankala 2009, Acta Anaesthesiol Scand 53:975-985. [7] Treister, Kliger, Zuckerman, Goor Aryeh, Eisenberg 2012,
Pain 153:1807-1814. [8] Gruss et al. 2015, PLoS ONE 10:e0140330. [9] Jafari, Courtois, Van den Bergh, Vlaeyen, Van
Diest 2017, Pain 158:995-1006. [10] Kyle, McNeil 2014, Pain Res Manag 19:159-167.

The sources give directions, latencies and orders of magnitude. The distributions over subjects, the fading of the
electrodermal answer in tonic pain, and the small answers of SpO2 and skin temperature are modelling choices of this
simulator. All numbers stand in population.toml.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from monitor.sources.physiology_entries import Course
from monitor.sources.physiology_events import Confounder, PainEpisode
from monitor.sources.physiology_population import Population
from monitor.sources.physiology_random import Purpose, generator
from monitor.types import FloatArray

RESPONSE_MEMORY_S: Final = 400.0
"""An answer has vanished this long after its stimulus (ten times the slowest time constant)."""


class Effect(StrEnum):
    """A physiological variable that a stimulus moves."""

    HEART_RATE = "heart_rate"  # bpm
    VAGAL = "vagal"  # share of respiratory variability that is withdrawn
    CONSTRICTION = "constriction"  # share by which the pulse amplitude falls
    MUSCLE = "muscle"  # mV RMS of EMG
    BREATH_RATE = "breath_rate"  # breaths a minute
    BREATH_DEPTH = "breath_depth"  # share by which a breath deepens
    SKIN_LEVEL = "skin_level"  # uS of tonic conductance
    SATURATION = "saturation"  # % SpO2
    SKIN_TEMPERATURE = "skin_temperature"  # degC


@dataclass(frozen=True, slots=True, kw_only=True)
class Strengths:
    """What one subject's answer to the strongest pain amounts to, in the units of `Effect`."""

    heart_rate_bpm: float
    vagal: float
    constriction: float
    muscle_mv: float
    breath_rate_per_min: float
    breath_depth: float
    skin_level_us: float
    scr_us: float
    """Amplitude of the SCR at onset."""
    scr_latency_s: float
    """From stimulus onset to SCR onset, before the trial's own jitter."""
    fade_s: float
    """Time constant with which the electrodermal answer fades while pain goes on."""
    exponent: float
    """Answer = strength * level ** exponent."""
    responsiveness: float
    """1 in responders; 0 to 0.2 in non-responders; multiplies every answer to pain, not to confounders."""


@dataclass(frozen=True, slots=True)
class TimeCourse:
    """First-order rise after a latency, hold or fade while the stimulus lasts, first-order return.

    For u = seconds since onset + latency and a stimulus of D seconds:
    gain * (1 - exp(-u/rise)) * exp(-u/fade) while 0 <= u < D, then the value at D times exp(-(u - D)/fall).
    """

    gain: float
    latency: float
    rise: float
    fall: float
    fade: float = np.inf

    def __call__(self, since_onset: FloatArray, duration: float) -> FloatArray:
        """Values (n,) at times since stimulus onset (n,) in seconds."""
        u = np.maximum(since_onset - self.latency, 0.0)
        inside = np.minimum(u, duration)
        held = (1.0 - np.exp(-inside / self.rise)) * np.exp(-inside / self.fade)
        return self.gain * held * np.exp(-(u - inside) / self.fall)


@dataclass(frozen=True, slots=True, eq=False)
class Response:
    """A subject's whole answer to one event."""

    onset: float
    duration: float
    courses: Mapping[Effect, TimeCourse]
    scrs: tuple[tuple[float, float], ...]
    """(onset in seconds from zero, amplitude in uS) of the skin conductance responses that it evokes."""


def pain_response(
    seed: int, population: Population, strengths: Strengths, index: int, episode: PainEpisode
) -> Response:
    """Answer to the `index`-th pain episode.

    Trial-to-trial variation is lognormal. The SCR habituates over trials ([4]); in tonic pain further SCRs follow at
    a rate that fades with `fade_s`, as the rise of the tonic level does, while the other effects hold. The population's
    gains scale the answers of skin and heart.
    """
    answer, gains = population.answer, population.gains
    rng = generator(seed, Purpose.PAIN_RESPONSE, index)
    drive = strengths.responsiveness * episode.level**strengths.exponent
    trial = np.exp(rng.normal(answer.trial_size.mean, answer.trial_size.sd, 8))
    latency = rng.uniform(answer.latency_jitter_s.low, answer.latency_jitter_s.high, 6)

    def course(gain: float, k: int, form: Course, fade: float = np.inf) -> TimeCourse:
        late = max(form.latency + float(latency[k % 6]), 0.0)
        return TimeCourse(drive * gain * float(trial[k]), late, form.rise, form.fall, fade)

    heart, skin, scr_us = gains.ecg_gain, gains.eda_gain, strengths.scr_us * gains.eda_gain
    courses = {
        Effect.HEART_RATE: course(strengths.heart_rate_bpm * heart, 0, answer.heart_rate),
        Effect.VAGAL: course(strengths.vagal * heart, 0, answer.vagal),
        Effect.CONSTRICTION: course(strengths.constriction, 1, answer.constriction),
        Effect.MUSCLE: course(strengths.muscle_mv, 2, answer.muscle),
        Effect.BREATH_RATE: course(strengths.breath_rate_per_min, 3, answer.breath_rate),
        Effect.BREATH_DEPTH: course(strengths.breath_depth, 3, answer.breath_depth),
        Effect.SKIN_LEVEL: course(strengths.skin_level_us * skin, 4, answer.skin_level, strengths.fade_s),
        Effect.SATURATION: course(population.strength.saturation_percent.value, 5, answer.saturation),
        Effect.SKIN_TEMPERATURE: course(population.strength.skin_temperature_c.value, 1, answer.skin_temperature),
    }
    habituation = 1.0 / (1.0 + answer.habituation.value * index)
    jitter = float(rng.uniform(answer.scr_jitter_s.low, answer.scr_jitter_s.high))
    first = episode.onset_s + strengths.scr_latency_s + jitter
    scrs = [(first, drive * habituation * scr_us * float(trial[6]))]
    if episode.kind == "tonic":
        # A Poisson process whose rate falls as exp(-u / fade) has rate * fade events in all, exponentially placed.
        count = int(rng.poisson(answer.tonic_scr_rate.value * strengths.fade_s))
        for delay in np.sort(rng.exponential(strengths.fade_s, count)):
            if delay < episode.duration_s:
                size = float(
                    np.exp(rng.normal(answer.tonic_scr_size.mean, answer.tonic_scr_size.sd) - delay / strengths.fade_s)
                )
                scrs.append((first + answer.tonic_scr_delay_s.value + float(delay), drive * scr_us * size))
    return Response(episode.onset_s, episode.duration_s, courses, tuple(scrs))


def confounder_response(
    seed: int, population: Population, strengths: Strengths, index: int, event: Confounder
) -> Response:
    """Answer to the `index`-th confounder: the same organs move, in other proportions, in responders and others alike.

    Movement shows in EMG and as motion in the sensors; effort raises heart rate and breathing as exercise does, with
    little electrodermal answer; a startle is one SCR and a short burst, gone in seconds.
    """
    confounder = population.confounder
    kind = getattr(confounder, event.kind)
    rng = generator(seed, Purpose.CONFOUNDER_RESPONSE, index)
    size = event.strength * float(np.exp(rng.normal(confounder.size.mean, confounder.size.sd)))
    jitter = float(rng.uniform(population.answer.scr_jitter_s.low, population.answer.scr_jitter_s.high))
    scr_onset = event.onset_s + strengths.scr_latency_s + jitter
    # Of what a subject has a strength of its own, gains are shares.
    own = {
        Effect.HEART_RATE: strengths.heart_rate_bpm,
        Effect.CONSTRICTION: strengths.constriction,
        Effect.SKIN_LEVEL: strengths.skin_level_us,
    }
    forms: dict[Effect, Course | None] = {effect: getattr(kind, effect.value, None) for effect in Effect}
    courses = {
        effect: TimeCourse(form.gain * own.get(effect, 1.0) * size, form.latency, form.rise, form.fall)
        for effect, form in forms.items()
        if form is not None
    }
    evoked = kind.scr_share.value >= 1.0 or rng.random() < kind.scr_share.value
    scrs = ((scr_onset, kind.scr.value * strengths.scr_us * size),) if evoked else ()
    return Response(event.onset_s, event.duration_s, courses, scrs)
