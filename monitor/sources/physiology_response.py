"""How a synthetic subject answers a stimulus: directions and latencies from the literature, strengths of its own.

| signal | answer to pain | source |
|---|---|---|
| heart rate | up by some 5-15 %, starting 1-2 s after onset; holds through tonic pain | [1], [2] |
| vagal (respiratory) variability | down | [3] |
| skin conductance | an SCR that starts 1-3 s after onset and rises for 1-3 s; grows with intensity | [2], [4], [5] |
| finger pulse amplitude | down (sympathetic vasoconstriction), within 2-5 s | [6], [7], [10] |
| EMG (trapezius, corrugator) | up within a second | [8] |
| breathing | faster and deeper | [9], [10] |
| share without an electrodermal answer | about one in ten; weak answers beyond that | [4] |

[1] Tousignant-Laflamme, Rainville, Marchand 2005, J Pain 6:341-347. [2] Loggia, Juneau, Bushnell 2011, Pain
152:592-598. [3] Koenig, Jarczok, Ellis, Hillecke, Thayer 2014, Eur J Pain 18:301-314. [4] Boucsein 2012,
Electrodermal Activity, 2nd ed., Springer. [5] Benedek, Kaernbach 2010, J Neurosci Methods 190:80-91. [6] Korhonen,
Yli-Hankala 2009, Acta Anaesthesiol Scand 53:975-985. [7] Treister, Kliger, Zuckerman, Goor Aryeh, Eisenberg 2012,
Pain 153:1807-1814. [8] Gruss et al. 2015, PLoS ONE 10:e0140330. [9] Jafari, Courtois, Van den Bergh, Vlaeyen, Van
Diest 2017, Pain 158:995-1006. [10] Kyle, McNeil 2014, Pain Res Manag 19:159-167.

The sources give directions, latencies and orders of magnitude. The distributions over subjects, the fading of the
electrodermal answer in tonic pain (time constant 10-20 s), and the small answers of SpO2 and skin temperature are
modelling choices of this simulator.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from monitor.sources.physiology_events import Confounder, PainEpisode
from monitor.sources.physiology_random import Purpose, generator
from monitor.types import FloatArray

NON_RESPONDER_SHARE: Final = 0.15
"""Share of subjects whose autonomic answer to pain is weak or absent."""

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
    """From stimulus onset to SCR onset, before the trial's own jitter of +-0.3 s."""
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


def pain_response(seed: int, strengths: Strengths, index: int, episode: PainEpisode) -> Response:
    """Answer to the `index`-th pain episode.

    Trial-to-trial variation is lognormal. The SCR habituates over trials ([4]); in tonic pain further SCRs follow at
    a rate that fades with `fade_s`, as the rise of the tonic level does, while the other effects hold.
    """
    rng = generator(seed, Purpose.PAIN_RESPONSE, index)
    drive = strengths.responsiveness * episode.level**strengths.exponent
    trial = np.exp(rng.normal(0.0, 0.2, 8))
    latency = rng.uniform(-0.3, 0.3, 6)

    def course(gain: float, k: int, *, delay: float, rise: float, fall: float, fade: float = np.inf) -> TimeCourse:
        return TimeCourse(drive * gain * float(trial[k]), delay + float(latency[k % 6]), rise, fall, fade)

    courses = {
        Effect.HEART_RATE: course(strengths.heart_rate_bpm, 0, delay=1.3, rise=2.5, fall=7.0),
        Effect.VAGAL: course(strengths.vagal, 0, delay=1.0, rise=2.0, fall=6.0),
        Effect.CONSTRICTION: course(strengths.constriction, 1, delay=2.0, rise=2.0, fall=8.0),
        Effect.MUSCLE: course(strengths.muscle_mv, 2, delay=0.6, rise=0.4, fall=1.0),
        Effect.BREATH_RATE: course(strengths.breath_rate_per_min, 3, delay=1.0, rise=2.0, fall=6.0),
        Effect.BREATH_DEPTH: course(strengths.breath_depth, 3, delay=1.0, rise=2.0, fall=6.0),
        Effect.SKIN_LEVEL: course(strengths.skin_level_us, 4, delay=2.0, rise=3.0, fall=10.0, fade=strengths.fade_s),
        Effect.SATURATION: course(-0.3, 5, delay=8.0, rise=8.0, fall=15.0),
        Effect.SKIN_TEMPERATURE: course(-0.2, 1, delay=5.0, rise=40.0, fall=40.0),
    }
    habituation = 1.0 / (1.0 + 0.03 * index)
    first = episode.onset_s + strengths.scr_latency_s + float(rng.uniform(-0.3, 0.3))
    scrs = [(first, drive * habituation * strengths.scr_us * float(trial[6]))]
    if episode.kind == "tonic":
        # A Poisson process whose rate falls as exp(-u / fade) has 0.3 * fade events in all, exponentially placed.
        count = int(rng.poisson(0.3 * strengths.fade_s))
        for delay in np.sort(rng.exponential(strengths.fade_s, count)):
            if delay < episode.duration_s:
                size = float(np.exp(rng.normal(-0.7, 0.4) - delay / strengths.fade_s))
                scrs.append((first + 1.0 + float(delay), drive * strengths.scr_us * size))
    return Response(episode.onset_s, episode.duration_s, courses, tuple(scrs))


def confounder_response(seed: int, strengths: Strengths, index: int, event: Confounder) -> Response:
    """Answer to the `index`-th confounder: the same organs move, in other proportions, in responders and others alike.

    Movement shows in EMG and as motion in the sensors; effort raises heart rate and breathing as exercise does, with
    little electrodermal answer; a startle is one SCR and a short burst, gone in seconds.
    """
    rng = generator(seed, Purpose.CONFOUNDER_RESPONSE, index)
    size = event.strength * float(np.exp(rng.normal(0.0, 0.2)))
    bpm, scr, squeeze = strengths.heart_rate_bpm, strengths.scr_us, strengths.constriction
    scr_onset = event.onset_s + strengths.scr_latency_s + float(rng.uniform(-0.3, 0.3))
    if event.kind == "movement":
        courses = {
            Effect.HEART_RATE: TimeCourse(0.5 * bpm * size, 0.5, 2.0, 5.0),
            Effect.MUSCLE: TimeCourse(0.12 * size, 0.0, 0.1, 0.2),
            Effect.BREATH_RATE: TimeCourse(1.5 * size, 0.5, 2.0, 5.0),
            Effect.BREATH_DEPTH: TimeCourse(0.2 * size, 0.5, 2.0, 5.0),
        }
        scrs = ((scr_onset, 0.3 * scr * size),) if rng.random() < 0.5 else ()
    elif event.kind == "effort":
        courses = {
            Effect.HEART_RATE: TimeCourse(1.2 * bpm * size, 0.8, 4.0, 10.0),
            Effect.VAGAL: TimeCourse(0.4 * size, 0.5, 2.0, 8.0),
            Effect.MUSCLE: TimeCourse(0.10 * size, 0.0, 0.3, 0.3),
            Effect.BREATH_RATE: TimeCourse(4.0 * size, 1.0, 3.0, 10.0),
            Effect.BREATH_DEPTH: TimeCourse(0.4 * size, 1.0, 3.0, 10.0),
            Effect.CONSTRICTION: TimeCourse(0.3 * squeeze * size, 2.0, 3.0, 8.0),
        }
        scrs = ((scr_onset, 0.25 * scr * size),)
    else:
        courses = {
            Effect.HEART_RATE: TimeCourse(0.6 * bpm * size, 0.5, 0.4, 3.0),
            Effect.MUSCLE: TimeCourse(0.15 * size, 0.03, 0.05, 0.15),
            Effect.CONSTRICTION: TimeCourse(0.8 * squeeze * size, 1.5, 0.5, 5.0),
            Effect.SKIN_LEVEL: TimeCourse(0.3 * strengths.skin_level_us * size, 1.5, 0.5, 8.0),
        }
        scrs = ((scr_onset, 0.8 * scr * size),)
    return Response(event.onset_s, event.duration_s, courses, scrs)
