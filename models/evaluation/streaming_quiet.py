"""Long simulated sittings with little pain, for the alarms alone: sittings full of events have no quiet hours.

How much of the time patients are in pain differs by ward and is not known here: one spell of tonic pain of 30-120 s for
each `EVERY_S` is assumed, about a twelfth of the time. Movements, efforts and startles come as everywhere in the
simulation. The people are further ones of the test seeds, so nobody of the cohort is among them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import numpy as np

from models.data.recorded import Channel, Sitting, Stretch, Track, Trial
from models.data.simulated import CLASSES
from monitor.modality import MODALITY_UNITS
from monitor.sources.physiology_events import PainEpisode
from monitor.sources.synthetic_patient import DEFAULT_RATES_HZ, SyntheticPatient, patient_seed

EVERY_S: Final = 900.0
REST_S: Final = 150.0
FIRST_NUMBER: Final = 100_000
"""Of the test seeds; the cohort's own test people have the lower numbers."""

_PURPOSE: Final = 31  # of the seed: no other draw of the same person has this


def quiet_sittings(
    count: int, modalities: Sequence[str], *, seconds: float = 1800.0, least_hz: Mapping[str, float] | None = None
) -> Iterator[Sitting]:
    """Generate sittings one by one, always the same.

    Args:
        count: How many people, one sitting each.
        modalities: Signals.
        seconds: Length of a sitting, of which the first `REST_S` are rest to calibrate on.
        least_hz: By modality, a rate that the device must have at least.
    """
    for number in range(FIRST_NUMBER, FIRST_NUMBER + count):
        yield _quiet_sitting(number, tuple(dict.fromkeys(modalities)), seconds, least_hz or {})


def _quiet_sitting(number: int, modalities: Sequence[str], seconds: float, least_hz: Mapping[str, float]) -> Sitting:
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([_PURPOSE, patient_seed("test", number)])))
    episodes = []
    for begin in np.arange(REST_S, seconds, EVERY_S).tolist():
        duration = float(30.0 * 4.0 ** rng.random())
        latest = min(begin + EVERY_S, seconds) - duration - 30.0
        if latest > begin:
            episodes.append(
                PainEpisode.tonic(float(rng.uniform(begin, latest)), duration, float(rng.choice([0.5, 1.0])))
            )
    rates = {m: max(DEFAULT_RATES_HZ[m], least_hz.get(m, 0.0)) for m in modalities}
    patient = SyntheticPatient(part="test", number=number, episodes=tuple(episodes), rates_hz=rates)
    return Sitting(
        subject=patient.subject,
        session="quiet",
        part="test",
        classes=CLASSES,
        channels=tuple(
            Channel(name=m.lower(), modality=m, unit=MODALITY_UNITS[m], rate_hz=rates[m]) for m in modalities
        ),
        stretches=(
            Stretch(
                name="quiet",
                start_s=0.0,
                tracks={m.lower(): Track(samples=patient.samples(m, 0, int(seconds * rates[m]))) for m in modalities},
            ),
        ),
        trials=tuple(
            Trial(
                name=f"stimulus {i}, tonic",
                label=2 if episode.level > 0.75 else 1,
                group="tonic",
                start_s=episode.onset_s,
                seconds=episode.duration_s,
                onset_s=episode.onset_s,
            )
            for i, episode in enumerate(episodes, start=1)
        ),
        facts={
            "responder": float(patient.responder),
            "first_stimulus_s": min((e.onset_s for e in episodes), default=seconds),
        },
    )
