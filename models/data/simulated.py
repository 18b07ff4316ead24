"""Labelled windows of simulated patients: signals through the real pipeline, labels from the known stimulus.

Each subject has its own devices (rates drawn from those in use), its own length of calibration, and a session of
rest, trains of phasic pain, tonic pain and confounders. Every window that the monitor would have scored is kept, and
nothing else: what fails the quality gate never reaches training either.

Label rule. The body follows a stimulus by 1-3 s, and by 2-5 s in pulse amplitude, so the first seconds of pain cannot
be told from rest by anybody, and those after it are not rest yet. A window counts as painful if the stimulus has been
on for `ANSWER_S` at its end and is on or ended less than `AFTER_S` ago; as no pain if nothing painful happened in the
last `RECOVERY_S`. Windows in between have no label: they are never trained on, but count in figures of the live stream.
Non-responders are labelled like everybody, so some labels cannot be learnt, as in any cohort of people.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.data.base import UNLABELLED, IntArray, WindowSet, join
from monitor.bundle import BundleSpec, CalibrationSpec, ClassSpec, InputSpec, TrainingSpec, WeightsSpec, default_input
from monitor.calibration import input_key
from monitor.config import BedSettings
from monitor.pipeline import Pipeline
from monitor.scoring.scorer import RawScore
from monitor.sources.physiology_population import load_population
from monitor.sources.synthetic import Confounder, PainEpisode, SyntheticPatient, patient_chunks, patient_seed
from monitor.types import (
    MODALITY_UNITS,
    CalibrationEvent,
    Chunk,
    Event,
    Float32Array,
    Provenance,
    Score,
    StreamInfo,
    snap,
)

CLASSES: Final = ("none", "moderate", "severe")
NONE, MODERATE, SEVERE = range(3)

ANSWER_S: Final = 3.0
AFTER_S: Final = 2.0
RECOVERY_S: Final = 15.0
READ_S: Final = 2.0
"""The stimulus that a window of the live stream is compared with is read this long before the window's end."""
CONFOUNDED_S: Final = 12.0
"""A window that ends within this time after a confounder's onset may show it."""
EARLY_S: Final = 25.0
"""Electrodermal answers to tonic pain have faded after about this time."""

RATES_HZ: Final[Mapping[str, tuple[float, ...]]] = MappingProxyType(
    {name: load_population().devices.rates_hz()[name] for name in ("ECG", "EDA", "BVP", "EMG")}
)
"""Sampling rates of devices in use; each subject draws one a modality."""

_UNCALIBRATED_SHARE: Final = 0.15
_NEVER_S: Final = 300.0  # longest calibration that a bed allows; ours are kept too short to complete it
_UNCALIBRATED_SESSION_S: Final = 290.0
_BED: Final = "training"


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
    units, one subject in seven is never calibrated, so that population statistics are learnt too.

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
    """Something that is not pain each 15-60 s: strong enough, and often enough, to be learnt as such."""
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


def label_windows(t_end: NDArray[np.float64], episodes: Sequence[PainEpisode]) -> IntArray:
    """Apply the label rule of this module.

    Args:
        t_end: (n,) ends of windows in seconds.
        episodes: All painful stimuli; where two count for one window, the stronger does.

    Returns:
        (n,) class numbers, or `UNLABELLED`.
    """
    recent = np.zeros(len(t_end), dtype=np.bool_)
    level = np.zeros(len(t_end))
    for episode in episodes:
        recent |= (t_end >= episode.onset_s) & (t_end < episode.end_s + RECOVERY_S)
        counts = (t_end >= episode.onset_s + ANSWER_S) & (t_end < episode.end_s + AFTER_S)
        level[counts] = np.maximum(level[counts], episode.level)
    painful = np.where(level < 0.75, MODERATE, SEVERE)
    return np.where(level > 0.0, painful, np.where(recent, UNLABELLED, NONE)).astype(np.int64)


class Recorder:
    """A runner that keeps what it is asked to score, and says nothing of it."""

    def __init__(self) -> None:
        self.seen: list[dict[str, Float32Array]] = []

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:  # noqa: ARG002
        """Keep the inputs; all classes are equally likely."""
        self.seen.append(dict(inputs))
        return RawScore(logits=np.zeros(len(CLASSES), np.float32), features=np.zeros(1, np.float32))

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:  # noqa: ARG002
        """No maps."""
        return {}


def unscored_spec(name: str, inputs: Sequence[InputSpec]) -> BundleSpec:
    """Specification of a bundle that is yet to be trained: all that the pipeline needs to cut its windows."""
    return BundleSpec(
        name=name,
        version="0.0.0",
        architecture="none",
        target="pain",
        inputs=tuple(inputs),
        classes=tuple(ClassSpec(name=c, level=i / (len(CLASSES) - 1)) for i, c in enumerate(CLASSES)),
        calibration=CalibrationSpec(prior=(1.0 / len(CLASSES),) * len(CLASSES)),
        training=TrainingSpec(data="none", protocol="none"),
        weights=WeightsSpec(backbone="random", head="random", alarm_eligible=False),
        parameters=0,
        flops=0,
        card="",
        intended_use="cutting windows",
    )


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


def cut_sitting(sitting: Sitting, inputs: Sequence[InputSpec]) -> WindowSet:
    """Every window of a sitting that the monitor would have scored.

    Args:
        sitting: The subject.
        inputs: What the model reads.
    """
    spec, recorder = unscored_spec("training", inputs), Recorder()
    bed = BedSettings(name=_BED, bundles=(spec.name,), calibration_s=sitting.calibration_s)
    pipeline = Pipeline(bed=bed, bundles=[spec], runner=recorder, session=uuid.UUID(int=sitting.patient.seed))
    events = list(play(sitting, pipeline, [item.modality for item in inputs]))
    scores = [event for event in events if isinstance(event, Score) and not event.absent]

    t_end = np.array([score.t_end for score in scores], dtype=np.float64)
    patient = sitting.patient
    episodes = patient.episodes_until(sitting.seconds)
    confounders = patient.confounders_until(sitting.seconds)
    onsets = np.array([-np.inf, *(episode.onset_s for episode in episodes)])
    confounded = np.zeros(len(t_end), dtype=np.bool_)
    for other in confounders:
        confounded |= (t_end >= other.onset_s) & (t_end < other.end_s + CONFOUNDED_S)
    shape = {item.name: (len(scores), 1, item.samples) for item in inputs}
    return WindowSet(
        inputs={
            name: np.array([seen[name] for seen in recorder.seen], dtype=np.float32).reshape(shape[name])
            for name in shape
        },
        labels=label_windows(t_end, episodes),
        subjects=np.full(len(scores), patient.subject),
        t_end=t_end,
        level=patient.level_at(t_end - READ_S),
        since_onset_s=t_end - onsets[np.searchsorted(onsets, t_end, side="right") - 1],
        confounded=confounded,
        calibrated=np.array([score.calibration != "population" for score in scores], dtype=np.bool_),
    )


def population_inputs(
    modalities: Sequence[str], *, part: str, numbers: Sequence[int], rate_hz: float = 25.0, samples: int = 138
) -> tuple[InputSpec, ...]:
    """The monitor's default inputs, with the median baseline of some subjects at rest as their fallback.

    Modalities in arbitrary units have no fallback.

    Args:
        modalities: Signals, in the order of the inputs.
        part: train or test.
        numbers: Which subjects.
        rate_hz: Rate of the input grid.
        samples: Points of a window.

    Raises:
        ValueError: If no subject could be calibrated.
    """
    plain = tuple(default_input(modality, rate_hz=rate_hz, samples=samples) for modality in modalities)
    found: dict[str, list[tuple[float, float, float]]] = {input_key(item): [] for item in plain}
    for number in numbers:
        drawn = draw_sitting(part, number, modalities, least_hz=least_rates(plain))
        sitting = Sitting(
            patient=SyntheticPatient(
                part=part, number=number, episodes=(), confounders=(), rates_hz=dict(drawn.patient.rates_hz)
            ),
            calibration_s=60.0,
            seconds=75.0,
        )
        spec = unscored_spec("training", plain)
        bed = BedSettings(name=_BED, bundles=(spec.name,), calibration_s=sitting.calibration_s)
        pipeline = Pipeline(bed=bed, bundles=[spec], runner=Recorder(), session=uuid.UUID(int=number))
        baseline: Mapping[str, tuple[float, float, float]] = {}
        for event in play(sitting, pipeline, modalities):
            if isinstance(event, CalibrationEvent):
                baseline = event.baseline
        for key, values in baseline.items():
            found[key].append(values)
    result = []
    for modality, item in zip(modalities, plain, strict=True):
        values = found[input_key(item)]
        if not values:
            raise ValueError(f"no subject's {modality} could be calibrated")
        if item.unit == "a.u.":
            result.append(item)
            continue
        center, spread, _ = np.median(np.array(values), axis=0)
        fallback = {"center": float(f"{center:.4g}"), "spread": float(f"{spread:.4g}")}
        result.append(default_input(modality, rate_hz=rate_hz, samples=samples, fallback=fallback))  # type: ignore[arg-type]
    return tuple(result)


def choose_windows(windows: WindowSet, per_class: Sequence[int], rng: np.random.Generator) -> WindowSet:
    """Draw some labelled windows of one subject.

    Of the painful ones, half are early in an episode where there are enough of them, since tonic pain has many late
    windows that are alike; of the others, a third show a confounder.

    Args:
        windows: Of one subject.
        per_class: How many of each class, at most.
        rng: Draws.
    """
    chosen: list[int] = []
    for label, count in enumerate(per_class):
        members = np.flatnonzero(windows.labels == label)
        if label == NONE:
            preferred, share = windows.confounded[members], 1 / 3
        else:
            preferred, share = windows.since_onset_s[members] < EARLY_S, 1 / 2
        first = rng.permutation(members[preferred])
        rest = rng.permutation(members[~preferred])
        wanted = min(len(first), max(round(share * count), count - len(rest)))
        chosen += [*first[:wanted], *rest[: count - wanted]]
    return windows.take(np.sort(np.array(chosen, dtype=np.int64)))


def cohort(
    inputs: Sequence[InputSpec], *, part: str, numbers: Sequence[int], per_class: Sequence[int], seed: int
) -> WindowSet:
    """Labelled windows of several subjects.

    Args:
        inputs: What the model reads.
        part: train or test; the parts' seeds are disjoint.
        numbers: Which subjects.
        per_class: Windows of each class a subject, at most.
        seed: Of the draw.
    """
    modalities = [item.modality for item in inputs]
    parts = []
    for number in numbers:
        rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed, number])))
        sitting = draw_sitting(part, number, modalities, least_hz=least_rates(inputs))
        parts.append(choose_windows(cut_sitting(sitting, inputs), per_class, rng))
    return join(parts)
