"""A synthetic patient: seeded, endless, and the same however it is read.

Patients to train on, to test on and to show come from disjoint ranges of seeds, so that no model is ever shown, or
judged on, a patient that it learnt from.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from functools import lru_cache, partial
from types import MappingProxyType
from typing import Final

import numpy as np

from monitor.errors import MonitorError
from monitor.sources.artefacts import Artefact, apply_artefacts
from monitor.sources.physiology import Body, Profile, draw_profile
from monitor.sources.physiology_events import (
    Confounder,
    PainEpisode,
    Schedule,
    endless_confounders,
    endless_pain,
    fixed_schedule,
)
from monitor.sources.physiology_population import Population, load_population
from monitor.sources.physiology_pulse import draw_pulse
from monitor.sources.physiology_random import BLOCK_S
from monitor.sources.physiology_response import Response, confounder_response, pain_response
from monitor.sources.physiology_waveforms import Movement, Sensors
from monitor.types import Float32Array, FloatArray

_PARTS: Final = ("train", "validation", "calibration", "test")
_FIRSTS: Final = range(6_000_000, 10_000_000, 1_000_000)

SEED_RANGES: Final[Mapping[str, range]] = MappingProxyType(
    {
        "train": range(1_000_000),
        "test": range(1_000_000, 2_000_000),
        "demo": range(2_000_000, 3_000_000),
        "validation": range(3_000_000, 3_100_000),
        "calibration": range(4_000_000, 4_100_000),
        "tune": range(5_000_000, 5_100_000),
        **{f"shifted-{part}": range(n, n + 100_000) for part, n in zip(_PARTS, _FIRSTS, strict=True)},
        **{f"neurokit-{part}": range(n + 500_000, n + 600_000) for part, n in zip(_PARTS, _FIRSTS, strict=True)},
    }
)
"""Disjoint by construction; a patient's part and number name its seed, and there is no other way to choose one."""

DEFAULT_RATES_HZ: Final[Mapping[str, float]] = MappingProxyType(
    {"ECG": 256.0, "EDA": 32.0, "BVP": 64.0, "EMG": 512.0, "RESP": 32.0, "SPO2": 1.0, "TEMP": 4.0}
)

_CACHED_BLOCKS: Final = 3


def patient_seed(part: str, number: int) -> int:
    """Return the seed of patient `number` of a part, one of `SEED_RANGES`.

    Raises:
        MonitorError: If there is no such part, or the number leaves its range.
    """
    if part not in SEED_RANGES:
        raise MonitorError(
            f"there is no part '{part}'", where="synthetic patient", todo=f"Write one of {', '.join(SEED_RANGES)}"
        )
    seeds = SEED_RANGES[part]
    if not 0 <= number < len(seeds):
        raise MonitorError(
            f"patient {number} lies outside the seeds of '{part}'",
            where="synthetic patient",
            todo=f"Give a number from 0 to {len(seeds) - 1}",
        )
    return seeds[number]


class SyntheticPatient:
    """One simulated subject and everything that happens to it.

    Args:
        part: One of `SEED_RANGES`: train, test, demo, ...
        number: Which patient of that part.
        episodes: Its pain; None for an endless schedule of its own, empty for none.
        confounders: What moves its signals without being pain; None and empty likewise.
        artefacts: Faults of its sensors and links; they touch `measured`, never `samples`.
        rates_hz: Sampling rates that differ from `DEFAULT_RATES_HZ`, by modality.
        responder: Whether it answers to pain; None lets the seed decide (nearly one in four do not, or hardly).
        rest_s: Seconds before the first pain of its own schedule.
        population: Whom it is drawn from: `default`, `shifted`, or one that was read from a file.

    Raises:
        MonitorError: If the part, number, population, a modality or a rate is impossible.
    """

    def __init__(
        self,
        *,
        part: str,
        number: int,
        episodes: Sequence[PainEpisode] | None = None,
        confounders: Sequence[Confounder] | None = None,
        artefacts: Sequence[Artefact] = (),
        rates_hz: Mapping[str, float] | None = None,
        responder: bool | None = None,
        rest_s: float = 150.0,
        population: str | Population = "default",
    ) -> None:
        self.seed: Final = patient_seed(part, number)
        self.part: Final = part
        self.number: Final = number
        self.subject: Final = f"sim-{part}-{number:04d}"
        self.artefacts: Final = tuple(artefacts)
        self.rates_hz: Final = MappingProxyType({**DEFAULT_RATES_HZ, **(rates_hz or {})})
        for modality, rate in self.rates_hz.items():
            if modality not in DEFAULT_RATES_HZ or not 0.0 < rate <= 20_000.0:
                raise MonitorError(
                    f"cannot generate {modality} at {rate:g} Hz",
                    where=self.subject,
                    todo=f"Choose from {', '.join(DEFAULT_RATES_HZ)}, at up to 20000 Hz",
                )
        people = self.population = population if isinstance(population, Population) else load_population(population)
        self._profile = draw_profile(self.seed, responder, people)
        self._episodes = (
            Schedule(endless_pain(self.seed, rest_s, people)) if episodes is None else fixed_schedule(episodes)
        )
        self._confounders = (
            Schedule(endless_confounders(self.seed, people)) if confounders is None else fixed_schedule(confounders)
        )
        # An answer is a pure function of its event's number; a few hundred outlast any block's needs.
        who = (self.seed, people, self._profile.strengths)
        self._pain_response = lru_cache(maxsize=256)(partial(pain_response, *who))
        self._other_response = lru_cache(maxsize=256)(partial(confounder_response, *who))
        self._body = Body(seed=self.seed, profile=self._profile, responses=self._responses, population=people)
        self._sensors = Sensors(
            seed=self.seed,
            profile=self._profile,
            pulse=draw_pulse(self.seed, people),
            body=self._body,
            movements=self._movements,
            rates_hz=self.rates_hz,
            population=people,
        )
        self._blocks: OrderedDict[tuple[str, int], Float32Array] = OrderedDict()

    @property
    def profile(self) -> Profile:
        """The subject at rest, and how strongly it answers."""
        return self._profile

    @property
    def responder(self) -> bool:
        """False where the subject's answers to pain are weak or absent."""
        return self._profile.strengths.responsiveness > self.population.shares.responder_above.value

    def episodes_until(self, t: float) -> tuple[PainEpisode, ...]:
        """Painful stimuli with an onset before `t` seconds."""
        return tuple(self._episodes.until(t))

    def confounders_until(self, t: float) -> tuple[Confounder, ...]:
        """Confounders with an onset before `t` seconds."""
        return tuple(self._confounders.until(t))

    def level_at(self, t: FloatArray | float) -> FloatArray:
        """Ground truth: the level of the painful stimulus, 0..1, at times `t` (n,) in seconds.

        This is the stimulus, not the answer to it: it is on from the very onset, while heart and skin follow 1-3 s
        later, and off at its end, while they take seconds to return. It is the same for responders and
        non-responders, and zero during confounders. Where episodes overlap, the strongest counts.
        """
        times = np.atleast_1d(np.asarray(t, dtype=np.float64))
        level = np.zeros(len(times))
        if len(times):
            start, stop = float(times.min()), float(times.max())
            for _, episode in self._episodes.overlapping(start, float(np.nextafter(stop, np.inf))):
                on = (times >= episode.onset_s) & (times < episode.end_s)
                level[on] = np.maximum(level[on], episode.level)
        return level

    def beats_until(self, t: float) -> FloatArray:
        """R peaks (beats,) in seconds, from 0 to before `t`: the one heart behind ECG and BVP."""
        last = max(int(t // BLOCK_S), 0)
        beats = np.unique(np.concatenate([self._body.around(k).beats for k in range(last + 1)]))
        return beats[(beats >= 0.0) & (beats < t)]

    def rate_hz(self, modality: str) -> float:
        """Sampling rate of a modality.

        Raises:
            MonitorError: If the patient has no such modality.
        """
        rate = self.rates_hz.get(modality)
        if rate is None:
            raise MonitorError(
                f"a synthetic patient has no {modality}",
                where=self.subject,
                todo=f"Choose from {', '.join(self.rates_hz)}",
            )
        return rate

    def samples(self, modality: str, first: int, count: int) -> Float32Array:
        """Clean samples `first` to `first + count` of a modality (count,), in its unit; sample i lies at i / rate.

        Raises:
            MonitorError: If the patient has no such modality.
            ValueError: If `first` or `count` is negative.
        """
        if first < 0 or count < 0:
            raise ValueError(f"samples {first}..{first + count} do not exist")
        rate = self.rate_hz(modality)
        out = np.empty(count, dtype=np.float32)
        at = first
        while at < first + count:
            k, begin, end = _block_of(at, rate)
            take = min(end, first + count) - at
            out[at - first : at - first + take] = self._block(modality, k, begin, end)[at - begin : at - begin + take]
            at += take
        return out

    def measured(self, modality: str, first: int, count: int) -> tuple[Float32Array, FloatArray]:
        """What arrives of these samples once the artefacts have acted.

        Returns:
            Samples (m,) and stamps (m,) in seconds from the patient's zero, m <= count.
        """
        return apply_artefacts(
            self.artefacts,
            seed=self.seed,
            modality=modality,
            rate_hz=self.rate_hz(modality),
            first=first,
            samples=self.samples(modality, first, count),
        )

    def _block(self, modality: str, k: int, begin: int, end: int) -> Float32Array:
        key = (modality, k)
        block = self._blocks.get(key)
        if block is None:
            t = np.arange(begin, end) / self.rates_hz[modality]
            block = self._sensors.block(modality, k, t).astype(np.float32)
            self._blocks[key] = block
            if len(self._blocks) > _CACHED_BLOCKS * len(self.rates_hz):
                self._blocks.popitem(last=False)
        return block

    def _responses(self, start: float, stop: float, memory_s: float) -> list[Response]:
        """Answers to all that begins before `stop` and ends at most `memory_s` before `start`."""
        pain = [self._pain_response(*event) for event in self._episodes.overlapping(start, stop, memory_s)]
        return pain + [self._other_response(*event) for event in self._confounders.overlapping(start, stop, memory_s)]

    def _movements(self, start: float, stop: float) -> list[Movement]:
        """Movements that overlap a stretch of time, and what of effort and startle reaches the sensors."""
        return [
            Movement(
                index=number,
                onset=event.onset_s,
                duration=event.duration_s,
                size=getattr(self.population.confounder, event.kind).motion.value * event.strength,
            )
            for number, event in self._confounders.overlapping(start, stop)
        ]


def index_at(t: float, rate_hz: float) -> int:
    """Number of the first sample at or after `t` seconds."""
    # A relative slack of 1e-12 keeps 0.1 s * 10 from rounding up to one sample more.
    return int(np.ceil(t * rate_hz * (1.0 - 1e-12)))


def _block_of(sample: int, rate_hz: float) -> tuple[int, int, int]:
    """Block of a sample, and the numbers of that block's first sample and of the next block's."""
    k = int(sample / rate_hz // BLOCK_S)
    while index_at((k + 1) * BLOCK_S, rate_hz) <= sample:
        k += 1
    while index_at(k * BLOCK_S, rate_hz) > sample:
        k -= 1
    return k, index_at(k * BLOCK_S, rate_hz), index_at((k + 1) * BLOCK_S, rate_hz)
