"""What befalls a simulated subject in one sitting: rest, trains of phasic pain, tonic pain, confounders, faults.

Everything is drawn from the subject's seed alone, each purpose from a generator of its own: what happens to a subject
depends neither on the signals that are asked for nor on the rates of its devices.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Final, get_args

import numpy as np

from monitor.sources.artefacts import Artefact
from monitor.sources.physiology import Profile
from monitor.sources.physiology_entries import Range
from monitor.sources.physiology_events import Confounder, ConfounderKind, PainEpisode
from monitor.sources.physiology_population import Population
from monitor.sources.synthetic_patient import patient_seed

MODERATE_LEVEL: Final = 0.5
SEVERE_LEVEL: Final = 1.0
CONFOUNDERS: Final[tuple[str, ...]] = get_args(ConfounderKind)


class _Purpose(IntEnum):
    """Part of what a seed means: never renumber, only append."""

    PAIN = 1
    CONFOUNDERS = 2
    DEVICES = 3
    FAULTS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What befalls one subject."""

    rest_s: float
    """Seconds before the first stimulus, with nothing in them but life."""
    seconds: float
    """Length."""
    episodes: tuple[PainEpisode, ...]
    confounders: tuple[Confounder, ...]


def _generator(part: str, number: int, purpose: _Purpose, *more: int) -> np.random.Generator:
    return np.random.Generator(
        np.random.PCG64(np.random.SeedSequence([21, patient_seed(part, number), purpose, *more]))
    )


def _within(rng: np.random.Generator, entry: Range) -> float:
    if entry.distribution == "log-uniform":
        return float(entry.low * (entry.high / entry.low) ** rng.random())
    return float(rng.uniform(entry.low, entry.high))


def draw_session(part: str, number: int, population: Population) -> Session:
    """Draw rest, pain and confounders of one subject.

    A minute or two of rest; then, in random order, trains of phasic plateaus, one moderate and one severe spell of
    tonic pain, with rest after each.

    Args:
        part: As of `SyntheticPatient`.
        number: Which subject of the part.
        population: Its table [session] says how long, how often and how strong.
    """
    rng, drawn = _generator(part, number, _Purpose.PAIN), population.session
    rest_s = t = _within(rng, drawn.rest_s)
    per_train = int(drawn.phasic_per_train.value)
    turns: list[float | None] = [*[None] * int(drawn.phasic_trains.value), MODERATE_LEVEL, SEVERE_LEVEL]
    episodes = []
    for place in rng.permutation(len(turns)):
        tonic_level = turns[place]
        if tonic_level is None:
            # As many of both levels, or one more of either.
            levels = [MODERATE_LEVEL, SEVERE_LEVEL] * ((per_train + 1) // 2)
            for level in rng.permutation(levels)[:per_train]:
                episodes.append(PainEpisode.phasic(t, float(level)))
                t = episodes[-1].end_s + _within(rng, drawn.pause_s)
        else:
            episodes.append(PainEpisode.tonic(t, _within(rng, drawn.tonic_s), tonic_level))
            t = episodes[-1].end_s
        t += _within(rng, drawn.between_s)
    return Session(
        rest_s=rest_s,
        seconds=t,
        episodes=tuple(episodes),
        confounders=_confounders(part, number, population, rest_s, t),
    )


def _confounders(
    part: str, number: int, population: Population, start_s: float, end_s: float
) -> tuple[Confounder, ...]:
    """Something that is not pain now and then, from shortly before the first stimulus on."""
    rng, drawn = _generator(part, number, _Purpose.CONFOUNDERS), population.session
    lengths = {"movement": drawn.movement_s, "effort": drawn.effort_s, "startle": drawn.startle_s}
    confounders: list[Confounder] = []
    t = start_s - 10.0
    while t < end_s:
        kind = CONFOUNDERS[int(rng.integers(len(CONFOUNDERS)))]
        confounders.append(
            Confounder(
                kind=kind,  # type: ignore[arg-type]
                onset_s=t,
                duration_s=_within(rng, lengths[kind]),
                strength=_within(rng, drawn.confounder_strength),
            )
        )
        t = confounders[-1].end_s + _within(rng, drawn.confounder_gap_s)
    return tuple(confounders)


def draw_rates(part: str, number: int, population: Population, least_hz: Mapping[str, float]) -> dict[str, float]:
    """Sampling rates in Hz of a subject's devices, by modality.

    Args:
        part: As of `SyntheticPatient`.
        number: Which subject of the part.
        population: Its table [devices] says which there are.
        least_hz: By modality, the rate below which no device is drawn.

    Raises:
        ValueError: If no device is as fast as that.
    """
    rates = {}
    for place, (modality, known) in enumerate(population.devices.rates_hz().items()):
        choices = [rate for rate in known if rate >= least_hz.get(modality, 0.0)]
        if not choices:
            raise ValueError(f"no device gives {modality} at {least_hz[modality]:g} Hz; at most {max(known):g}")
        rates[modality] = float(_generator(part, number, _Purpose.DEVICES, place).choice(choices))
    return rates


FAULTS: Final = ("gap", "dropout", "motion", "saturation", "drift", "jitter", "mains")
"""What a sensor or link may do; the order is part of what a seed means."""


def draw_faults(
    part: str,
    number: int,
    population: Population,
    *,
    seconds: float,
    profile: Profile,
    rates_hz: Mapping[str, float],
) -> tuple[Artefact, ...]:
    """Faults of a subject's sensors and links, drawn sensor by sensor.

    A sensor's clock is never set and its stamps never step backwards: devices that do that cannot be replayed by their
    own stamps.

    Args:
        part: As of `SyntheticPatient`.
        number: Which subject of the part.
        population: Its table [fault] says how often, how long and how large.
        seconds: Length of the sitting.
        profile: The subject: a fault is as large as its signal, or somewhat smaller.
        rates_hz: Of its devices, by modality.
    """
    sizes = {
        "ECG": profile.r_mv,
        "EDA": 0.25 * profile.skin_level_us,
        "BVP": profile.pulse_gain,
        "EMG": 5.0 * profile.muscle_mv,
        "RESP": profile.breath_gain,
        "SPO2": 1.0,
        "TEMP": 0.3,
    }
    faults, drawn = [], population.fault
    for place, modality in enumerate(rates_hz):
        rng = _generator(part, number, _Purpose.FAULTS, place)
        for _ in range(int(rng.poisson(drawn.per_min.value * seconds / 60.0))):
            kind = FAULTS[int(rng.integers(len(FAULTS)))]
            size = sizes[modality] * _within(rng, drawn.size)
            if kind == "jitter":  # less than a quarter of a period: stamps keep their order, and no gap is seen
                size = _within(rng, drawn.jitter) / rates_hz[modality]
            elif kind == "dropout":
                size = 0.0
            elif kind == "saturation" and modality in ("EDA", "SPO2", "TEMP"):
                # Rails are symmetric: a signal that stays positive is cut off just below where it lives.
                level = {"EDA": profile.skin_level_us, "SPO2": profile.spo2_percent, "TEMP": profile.skin_temperature_c}
                size = 0.98 * level[modality]
            faults.append(
                Artefact(
                    kind=kind,  # type: ignore[arg-type]
                    modality=modality,
                    onset_s=float(rng.uniform(0.0, seconds)),
                    duration_s=_within(rng, getattr(drawn, f"{kind}_s")),
                    size=size,
                )
            )
    return tuple(sorted(faults, key=lambda fault: (fault.onset_s, fault.modality)))
