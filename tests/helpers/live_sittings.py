"""Sittings of a simulated subject as any data set has them, and models of a few lines: for tests of what goes live."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from models.data.recorded import Channel, Sitting, Stretch, Track, Trial
from models.data.simulated import CLASSES
from models.data.unscored import unscored_spec
from monitor.bundle import BundleSpec, default_input
from monitor.modality import MODALITY_UNITS
from monitor.scoring.scorer import RawScore
from monitor.sources.physiology_events import PainEpisode
from monitor.sources.synthetic_patient import SyntheticPatient
from monitor.types import Float32Array

REST_S = 60.0
EPISODES = (
    PainEpisode.phasic(REST_S, 1.0),
    PainEpisode.phasic(REST_S + 40.0, 0.5),
    PainEpisode.tonic(REST_S + 80.0, 30.0, 1.0),
)
SECONDS = REST_S + 150.0


def live_sitting(number: int, modalities: Sequence[str] = ("EDA",), *, stamped: bool = False) -> Sitting:
    """Three painful stimuli after a minute of rest; `stamped` gives every sample a time that is a little off."""
    rates = {"EDA": 16.0, "ECG": 130.0, "BVP": 64.0}
    patient = SyntheticPatient(part="test", number=number, episodes=EPISODES, confounders=(), rates_hz=rates)
    rng = np.random.default_rng(number)
    tracks = {}
    for modality in modalities:
        rate = patient.rate_hz(modality)
        samples = patient.samples(modality, 0, int(SECONDS * rate))
        off = np.arange(len(samples)) / rate + rng.uniform(-2e-3, 2e-3, len(samples))
        tracks[modality.lower()] = Track(samples=samples, stamps=np.maximum.accumulate(off) if stamped else None)
    return Sitting(
        subject=patient.subject,
        session="",
        part="test",
        classes=CLASSES,
        channels=tuple(
            Channel(name=m.lower(), modality=m, unit=MODALITY_UNITS[m], rate_hz=patient.rate_hz(m)) for m in modalities
        ),
        stretches=(Stretch(name="all", tracks=tracks, start_s=0.0),),
        trials=tuple(
            Trial(
                name=e.kind,
                label=2 if e.level > 0.75 else 1,
                group=e.kind,
                start_s=e.onset_s,
                seconds=e.duration_s,
                onset_s=e.onset_s,
            )
            for e in EPISODES
        ),
        facts={"first_stimulus_s": REST_S},
        digest=patient.subject,
    )


def live_spec(modalities: Sequence[str] = ("EDA",)) -> BundleSpec:
    """A model that may alarm, of the monitor's default inputs."""
    spec = unscored_spec("live", [default_input(modality) for modality in modalities])
    return spec.model_copy(update={"weights": spec.weights.model_copy(update={"alarm_eligible": True})})


class RisingRunner:
    """Tells the more pain, the more its first input rises within the window; notes how often it was asked."""

    def __init__(self, gain: float = 1.0) -> None:
        self.gain = gain
        self.asked = 0

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:  # noqa: ARG002
        self.asked += 1
        first = next(iter(inputs.values())).ravel()
        rise = self.gain * float(first.max() - first[0])
        return RawScore(
            logits=np.array([1.0, rise, 2 * rise - 1.0], dtype=np.float32), features=np.zeros(1, np.float32)
        )

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:  # noqa: ARG002
        return {}
