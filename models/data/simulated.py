"""Whole sittings of simulated subjects, fed to a pipeline as devices would: a trained model is followed through them.

Each subject has its own devices (rates drawn from those in use), its own length of calibration, and a session of
rest, trains of phasic pain, tonic pain and confounders. Nothing is learnt from these people: windows to train on are
those of the cohort (`models.data.simulated_cohort`), which shares the classes and the moments below.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np

from monitor.bundle import InputSpec
from monitor.modality import MODALITY_UNITS
from monitor.pipeline import Pipeline
from monitor.sources.physiology_population import load_population
from monitor.sources.synthetic import Confounder, PainEpisode, SyntheticPatient, patient_chunks, patient_seed
from monitor.types import Chunk, Event, Provenance, StreamInfo, snap

CLASSES: Final = ("none", "moderate", "severe")
NONE, MODERATE, SEVERE = range(3)

READ_S: Final = 2.0
"""The stimulus that a window of the live stream is compared with is read this long before the window's end."""
CONFOUNDED_S: Final = 12.0
"""A window that ends within this time after a confounder's onset may show it."""

RATES_HZ: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {name: load_population().devices.rates_hz()[name] for name in ("ECG", "EDA", "BVP", "EMG")}
)
"""Sampling rates of devices in use; each subject draws one a modality."""

_UNCALIBRATED_SHARE: Final = 0.15
_NEVER_S: Final = 300.0  # longest calibration that a bed allows; ours are kept too short to complete it
_UNCALIBRATED_SESSION_S: Final = 290.0


@dataclass(frozen=True, kw_only=True)
class Sitting:
    """One simulated subject and what happens to it."""

    patient: SyntheticPatient
    calibration_s: float
    """Valid seconds of rest that make the baseline."""
    seconds: float
    """Length."""


def draw_sitting(
    part: str, number: int, modalities: Sequence[str], *, least_hz: Mapping[str, float] = MappingProxyType({})
) -> Sitting:
    """Draw what a subject goes through; the same subject always goes through the same.

    Rest for calibration (20-120 s), then two trains of phasic pain, one moderate and one severe spell of tonic pain
    (30-120 s) in random order with rests between them, and confounders throughout. Where no modality is in arbitrary
    units, one subject in seven is never calibrated.

    Args:
        part: train, test or demo, as of `SyntheticPatient`.
        number: Which subject of the part.
        modalities: Signals.
        least_hz: Sampling rates, by modality, below which the model refuses a device.
    """
    rng = _generator(part, number)
    rates = _draw_rates(rng, _generator(part, number, 1), least_hz)
    calibration_s = float(np.round(20.0 * 6.0 ** rng.random()))
    never = rng.random() < _UNCALIBRATED_SHARE and all(MODALITY_UNITS[m] != "a.u." for m in modalities)
    rest_s = (30.0 if never else calibration_s) + float(rng.uniform(15.0, 35.0))
    episodes, end = _draw_pain(rng, rest_s)
    return Sitting(
        patient=SyntheticPatient(
            part=part,
            number=number,
            episodes=episodes,
            confounders=_draw_confounders(rng, rest_s, end),
            rates_hz=rates,
        ),
        calibration_s=_NEVER_S if never else calibration_s,
        seconds=min(end, _UNCALIBRATED_SESSION_S) if never else end,
    )


_SEED: Final = 20


def _generator(part: str, number: int, *more: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([_SEED, patient_seed(part, number), *more])))


def _draw_rates(
    rng: np.random.Generator, other: np.random.Generator, least_hz: Mapping[str, float]
) -> dict[str, float]:
    """A sampling rate for every modality.

    What only some models need is drawn from `other`: what befalls a subject then does not depend on the model.
    """
    rates = {modality: float(rng.choice(RATES_HZ[modality])) for modality in ("BVP", "ECG", "EDA")}
    for modality, choices in RATES_HZ.items():
        least = least_hz.get(modality, 0.0)
        if modality not in rates or rates[modality] < least:
            rates[modality] = float(other.choice([rate for rate in choices if rate >= least]))
    return rates


def least_rates(inputs: Sequence[InputSpec]) -> dict[str, float]:
    """The lowest sampling rate that each modality's device may have, in Hz."""
    return {item.modality: item.min_rate_hz for item in inputs}


def _draw_pain(rng: np.random.Generator, t: float) -> tuple[list[PainEpisode], float]:
    """Painful episodes from `t` on, and the end of the rest after the last."""
    turns: list[float | None] = [None, None, 0.5, 1.0]
    rng.shuffle(turns)  # type: ignore[arg-type]
    episodes = []
    for tonic_level in turns:
        if tonic_level is None:
            for level in rng.permutation([0.5, 0.5, 1.0, 1.0])[:3]:
                episodes.append(PainEpisode.phasic(t, float(level)))
                t = episodes[-1].end_s + float(rng.uniform(8.0, 12.0))
        else:
            episodes.append(PainEpisode.tonic(t, float(30.0 * 4.0 ** rng.random()), tonic_level))
            t = episodes[-1].end_s
        t += float(rng.uniform(25.0, 45.0))
    return episodes, t


def _draw_confounders(rng: np.random.Generator, start: float, end: float) -> list[Confounder]:
    """Something that is not pain, with pauses of 15-60 s."""
    confounders = []
    t = start - 10.0
    while t < end:
        kind = ("movement", "effort", "startle")[int(rng.integers(3))]
        longest = {"movement": (1.5, 5.0), "effort": (5.0, 15.0), "startle": (0.5, 0.5)}[kind]
        confounders.append(
            Confounder(
                kind=kind,  # type: ignore[arg-type]
                onset_s=t,
                duration_s=float(rng.uniform(*longest)),
                strength=float(rng.uniform(0.6, 1.4)),
            )
        )
        t = confounders[-1].end_s + float(rng.uniform(15.0, 60.0))
    return confounders


def play(sitting: Sitting, pipeline: Pipeline, modalities: Sequence[str]) -> Iterator[Event]:
    """Feed a sitting to a pipeline, as its devices would; gives every event."""
    patient, bed = sitting.patient, pipeline.bed.name
    for modality in modalities:
        yield from pipeline.open_stream(
            StreamInfo(
                key=modality,
                bed=bed,
                modality=modality,
                name=f"{patient.subject} {modality}",
                unit=MODALITY_UNITS[modality],
                rate_hz=patient.rate_hz(modality),
                source="synthetic",
                provenance=Provenance.SIMULATED,
                origin=0.0,
            ),
            0.0,
        )
    for piece in patient_chunks(patient, modalities, seconds=sitting.seconds, chunk_s=1.0):
        yield from pipeline.feed(
            Chunk(
                stream=piece.modality,
                samples=piece.samples,
                stamps=snap(piece.stamps),
                arrival=float(snap(piece.due_s)),
            )
        )
