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

from models.data.simulated import RATES_HZ as _SHARED_RATES_HZ
from monitor.sources.artefacts import Artefact
from monitor.sources.physiology import Profile
from monitor.sources.physiology_events import Confounder, ConfounderKind, PainEpisode
from monitor.sources.synthetic_patient import DEFAULT_RATES_HZ, patient_seed

MODERATE_LEVEL: Final = 0.5
SEVERE_LEVEL: Final = 1.0
CONFOUNDERS: Final[tuple[str, ...]] = get_args(ConfounderKind)

RATES_HZ: Final[Mapping[str, tuple[float, ...]]] = {
    **_SHARED_RATES_HZ,
    **{modality: (rate,) for modality, rate in DEFAULT_RATES_HZ.items() if modality not in _SHARED_RATES_HZ},
}


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


def draw_session(part: str, number: int) -> Session:
    """Draw rest, pain and confounders of one subject.

    60 to 150 s of rest; then, in random order, two trains of three phasic plateaus (4 s, pauses of 8-12 s), one
    moderate and one severe spell of tonic pain (30-120 s), with 25-45 s of rest after each.

    Args:
        part: As of `SyntheticPatient`.
        number: Which subject of the part.
    """
    rng = _generator(part, number, _Purpose.PAIN)
    rest_s = t = float(rng.uniform(60.0, 150.0))
    turns: list[float | None] = [None, None, MODERATE_LEVEL, SEVERE_LEVEL]
    episodes = []
    for place in rng.permutation(len(turns)):
        tonic_level = turns[place]
        if tonic_level is None:
            for level in rng.permutation([MODERATE_LEVEL] * 2 + [SEVERE_LEVEL] * 2)[:3]:
                episodes.append(PainEpisode.phasic(t, float(level)))
                t = episodes[-1].end_s + float(rng.uniform(8.0, 12.0))
        else:
            episodes.append(PainEpisode.tonic(t, float(30.0 * 4.0 ** rng.random()), tonic_level))
            t = episodes[-1].end_s
        t += float(rng.uniform(25.0, 45.0))
    return Session(
        rest_s=rest_s, seconds=t, episodes=tuple(episodes), confounders=_confounders(part, number, rest_s, t)
    )


def _confounders(part: str, number: int, start_s: float, end_s: float) -> tuple[Confounder, ...]:
    """Something that is not pain each 15-60 s, from shortly before the first stimulus on."""
    rng = _generator(part, number, _Purpose.CONFOUNDERS)
    confounders: list[Confounder] = []
    t = start_s - 10.0
    while t < end_s:
        kind = CONFOUNDERS[int(rng.integers(len(CONFOUNDERS)))]
        low, high = {"movement": (1.5, 5.0), "effort": (5.0, 15.0), "startle": (0.5, 0.5)}[kind]
        confounders.append(
            Confounder(
                kind=kind,  # type: ignore[arg-type]
                onset_s=t,
                duration_s=float(rng.uniform(low, high)),
                strength=float(rng.uniform(0.6, 1.4)),
            )
        )
        t = confounders[-1].end_s + float(rng.uniform(15.0, 60.0))
    return tuple(confounders)


def draw_rates(part: str, number: int, least_hz: Mapping[str, float]) -> dict[str, float]:
    """Sampling rates in Hz of a subject's devices, by modality.

    Args:
        part: As of `SyntheticPatient`.
        number: Which subject of the part.
        least_hz: By modality, the rate below which no device is drawn.

    Raises:
        ValueError: If no device is as fast as that.
    """
    rates = {}
    for place, (modality, known) in enumerate(RATES_HZ.items()):
        choices = [rate for rate in known if rate >= least_hz.get(modality, 0.0)]
        if not choices:
            raise ValueError(f"no device gives {modality} at {least_hz[modality]:g} Hz; at most {max(known):g}")
        rates[modality] = float(_generator(part, number, _Purpose.DEVICES, place).choice(choices))
    return rates


_FAULTS_PER_MIN: Final = 0.15
"""Of one sensor."""
_FAULT_KINDS: Final = ("gap", "dropout", "motion", "saturation", "drift", "jitter", "mains")
_FAULT_S: Final[Mapping[str, tuple[float, float]]] = {
    "gap": (0.5, 4.0),
    "dropout": (2.0, 10.0),
    "motion": (2.0, 10.0),
    "saturation": (2.0, 8.0),
    "drift": (10.0, 40.0),
    "jitter": (5.0, 30.0),
    "mains": (10.0, 40.0),
}


def draw_faults(
    part: str, number: int, *, seconds: float, profile: Profile, rates_hz: Mapping[str, float]
) -> tuple[Artefact, ...]:
    """Faults of a subject's sensors and links, drawn sensor by sensor.

    A sensor's clock is never set and its stamps never step backwards: devices that do that cannot be replayed by their
    own stamps.

    Args:
        part: As of `SyntheticPatient`.
        number: Which subject of the part.
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
    faults = []
    for place, modality in enumerate(DEFAULT_RATES_HZ):
        rng = _generator(part, number, _Purpose.FAULTS, place)
        for _ in range(int(rng.poisson(_FAULTS_PER_MIN * seconds / 60.0))):
            kind = _FAULT_KINDS[int(rng.integers(len(_FAULT_KINDS)))]
            size = float(sizes[modality] * rng.uniform(0.2, 0.8))
            if kind == "jitter":  # a fifth of a period at most: stamps keep their order, and no gap is seen
                size = float(rng.uniform(0.05, 0.2)) / rates_hz[modality]
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
                    duration_s=float(rng.uniform(*_FAULT_S[kind])),
                    size=size,
                )
            )
    return tuple(sorted(faults, key=lambda fault: (fault.onset_s, fault.modality)))
