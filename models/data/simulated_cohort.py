"""The simulated cohort as a data set like any other: `kind = "simulated"`, no folder needed.

Sittings are generated when they are read, once, into the same cache as every other data set, and look like recordings:
one continuous stretch, each signal at the rate of the subject's own devices, with their faults; what happened stands in
the trials. `train`, `validation`, `calibration` and `test` are disjoint ranges of seeds, so that a subject's code says
its part, and a larger cohort contains the smaller one.

Simulated people are no people: what is learnt from them says how a method works, not how well it would on anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np

import monitor.sources.physiology as _physiology
from models.data.recorded import Channel, DataSet, Sitting, SittingFiles, Stretch, Track, Trial
from models.data.settings import DataSettings
from models.data.simulated import CLASSES, CONFOUNDED_S
from models.data.simulated_neurokit import MODALITIES, neurokit, neurokit_signals
from models.data.simulated_session import CONFOUNDERS, Session, draw_faults, draw_rates, draw_session
from monitor.modality import MODALITY_UNITS
from monitor.sources.physiology_events import PHASIC_PLATEAU_S
from monitor.sources.physiology_population import POPULATION_FILE, Population, load_population
from monitor.sources.synthetic_patient import DEFAULT_RATES_HZ, SyntheticPatient

PARTS: Final = ("train", "validation", "calibration", "test")

_SETTLE_S: Final = 5.0
"""The first seconds of a sitting, in which filters settle, calibrate nothing."""
_CUT_LATE_S: Final = 2.0
"""An event's cut ends so long after the stimulus: what it sets off follows it by 1-3 s."""
_RECOVERY_S: Final = 15.0
_SPARE_S: Final = 0.5
"""A cut holds so much more than is read of it: no device has a sample at every instant."""


def open_simulated(settings: DataSettings) -> DataSet:
    """List the subjects of a simulated cohort; nothing is generated yet.

    Args:
        settings: Numbers of subjects by part, modalities, lowest rates of devices.

    Raises:
        ConfigError: If neurokit2 is asked for and not installed.
    """
    if settings.population == "neurokit":
        neurokit()
    sources = _sources()
    sittings = [
        SittingFiles(
            subject=subject_code(seeds_of(settings.population, part), number),
            part=part,
            files=sources,
            read=partial(simulated_sitting, settings, part, number),
        )
        for part in PARTS
        for number in range(getattr(settings, part))
    ]
    return DataSet(
        kind="simulated", root=Path(_physiology.__file__).parent, classes=CLASSES, sittings=tuple(sittings), refused={}
    )


def subject_code(seeds: str, number: int) -> str:
    """As `SyntheticPatient.subject`."""
    return f"sim-{seeds}-{number:04d}"


def seeds_of(population: str, part: str) -> str:
    """Range of seeds of a part: other populations are other people too."""
    return part if population == "default" else f"{population}-{part}"


def _sources() -> tuple[Path, ...]:
    """All that a sitting is made of: the cache is renewed when a line of it changes."""
    folder, here = Path(_physiology.__file__).parent, Path(__file__)
    return (
        POPULATION_FILE,
        *sorted(folder.glob("physiology*.py")),
        folder / "synthetic_patient.py",
        folder / "artefacts.py",
        here.with_name("simulated_session.py"),
        here.with_name("simulated_neurokit.py"),
        here,
    )


def simulated_sitting(settings: DataSettings, part: str, number: int) -> Sitting:
    """Generate one subject's sitting.

    Args:
        settings: Modalities, population and lowest rates of devices.
        part: Of `PARTS`.
        number: Which subject of the part.
    """
    seeds, least_hz = seeds_of(settings.population, part), settings.least_hz
    if settings.population == "neurokit":
        sitting = neurokit_sitting(seeds, number, modalities=settings.modalities or MODALITIES, least_hz=least_hz)
    else:
        modalities = settings.modalities or tuple(DEFAULT_RATES_HZ)
        people = load_population(settings.population)
        sitting = population_sitting(people, seeds, number, modalities=modalities, least_hz=least_hz)
    return replace(sitting, part=part)


def neurokit_sitting(seeds: str, number: int, *, modalities: Sequence[str], least_hz: Mapping[str, float]) -> Sitting:
    """Generate the sitting of somebody whose signals are neurokit2's, see `neurokit_signals`."""
    session, channels, stretch, responder = neurokit_signals(seeds, number, modalities=modalities, least_hz=least_hz)
    return Sitting(
        subject=subject_code(seeds, number),
        session="",
        part="",
        classes=CLASSES,
        channels=channels,
        stretches=(stretch,),
        trials=tuple(_trials(session)),
        facts={"responder": float(responder), "first_stimulus_s": session.rest_s},
    )


def population_sitting(
    people: Population, seeds: str, number: int, *, modalities: Sequence[str], least_hz: Mapping[str, float]
) -> Sitting:
    """Generate the sitting of somebody of any population.

    Args:
        people: The population.
        seeds: Range of seeds, as `SyntheticPatient` takes it.
        number: Which subject of it.
        modalities: Signals.
        least_hz: By modality, the rate below which no device is drawn.

    Raises:
        ValueError: If no device is as fast as that.
    """
    session = draw_session(seeds, number, people)
    rates = draw_rates(seeds, number, people, least_hz)
    plain = SyntheticPatient(part=seeds, number=number, episodes=(), confounders=(), population=people)
    faults = draw_faults(seeds, number, people, seconds=session.seconds, profile=plain.profile, rates_hz=rates)
    patient = SyntheticPatient(
        part=seeds,
        number=number,
        episodes=session.episodes,
        confounders=session.confounders,
        artefacts=faults,
        rates_hz=rates,
        population=people,
    )
    return Sitting(
        subject=patient.subject,
        session="",
        part="",
        classes=CLASSES,
        channels=tuple(
            Channel(name=m.lower(), modality=m, unit=MODALITY_UNITS[m], rate_hz=patient.rate_hz(m)) for m in modalities
        ),
        stretches=(
            Stretch(
                name="sitting", start_s=0.0, tracks={m.lower(): _track(patient, m, session.seconds) for m in modalities}
            ),
        ),
        trials=tuple(_trials(session)),
        facts={"responder": float(patient.responder), "first_stimulus_s": session.rest_s},
    )


def _track(patient: SyntheticPatient, modality: str, seconds: float) -> Track:
    samples, stamps = patient.measured(modality, 0, int(seconds * patient.rate_hz(modality)))
    if any(fault.modality == modality for fault in patient.artefacts):
        return Track(samples=samples, stamps=stamps)
    return Track(samples=samples)


def _trials(session: Session) -> Iterator[Trial]:
    """What happened, by onset: every stimulus, every confounder, and the rest between stimuli."""
    found = [
        Trial(
            name="rest before the first stimulus",
            label=0,
            group="rest",
            start_s=_SETTLE_S,
            seconds=session.rest_s - _SETTLE_S,
            calibration=True,
        )
    ]
    ends = [*(episode.onset_s for episode in session.episodes[1:]), session.seconds]
    for number, (episode, next_s) in enumerate(zip(session.episodes, ends, strict=True), start=1):
        severe = episode.level > 0.75
        found.append(
            Trial(
                name=f"stimulus {number}, {episode.kind}",
                label=2 if severe else 1,
                group=episode.kind,
                start_s=episode.onset_s,
                seconds=episode.duration_s,
                onset_s=episode.onset_s,
                facts={"level": episode.level},
            )
        )
        found.append(
            Trial(
                name=f"rest after stimulus {number}",
                label=0,
                group="rest",
                start_s=episode.end_s,
                seconds=next_s - episode.end_s,
            )
        )
    found += [
        Trial(
            name=f"{event.kind} {number}",
            label=0,
            group=event.kind,
            start_s=event.onset_s,
            seconds=event.duration_s,
            facts={"strength": event.strength},
        )
        for number, event in enumerate(session.confounders, start=1)
    ]
    found.sort(key=lambda trial: (trial.start_s, trial.name))
    return (replace(trial, presented=place) for place, trial in enumerate(found))


# -- cuts --------------------------------------------------------------------------------------------------------------


def event_cuts(sitting: Sitting, seconds: float) -> Sitting:
    """The same sitting with trials as cut data have them: event-locked, all of one length, none overlapping another.

    What `paper` and `live-segment` need. A stimulus gives a cut that ends 2 s after it and, where it is longer than a
    cut, further ones before that. Rest gives cuts that begin 15 s after a stimulus at the earliest; those that a
    confounder touches carry its kind as their group.

    Args:
        sitting: Of the simulated cohort.
        seconds: Signal that is read of a cut.
    """
    confounders = [trial for trial in sitting.trials if trial.group in CONFOUNDERS]
    cuts: list[Trial] = []
    held_s = seconds + _SPARE_S
    free_s = 0.0
    for trial in sitting.trials:
        if trial.group in CONFOUNDERS or trial.seconds is None:
            continue
        stop_s = trial.start_s + trial.seconds
        if trial.label:
            ends = np.arange(stop_s + _CUT_LATE_S, trial.start_s + min(0.9 * seconds, trial.seconds), -held_s)[::-1]
            cuts += [
                replace(trial, name=f"{trial.name}, cut {i}", start_s=float(end) - held_s, seconds=held_s)
                for i, end in enumerate(ends, start=1)
                if end - held_s >= free_s
            ]
            free_s = float(stop_s) + _CUT_LATE_S
        elif trial.calibration:
            cuts.append(trial)
        else:
            # The cut of the next stimulus may begin before it.
            last_s = stop_s - max(held_s - PHASIC_PLATEAU_S - _CUT_LATE_S, 0.0) - held_s
            starts = np.arange(trial.start_s + _RECOVERY_S, last_s, held_s)
            cuts += [
                replace(
                    trial,
                    name=f"{trial.name}, cut {i}",
                    group=_kind(confounders, float(start), float(start) + held_s) or trial.group,
                    start_s=float(start),
                    seconds=held_s,
                )
                for i, start in enumerate(starts, start=1)
            ]
    return replace(sitting, trials=tuple(replace(cut, presented=place) for place, cut in enumerate(cuts)))


def _kind(confounders: Sequence[Trial], start_s: float, stop_s: float) -> str:
    """Kind of the last confounder that touches a span, or whose answer does; empty if none."""
    touching = [
        c.group for c in confounders if c.start_s < stop_s and c.start_s + (c.seconds or 0) + CONFOUNDED_S > start_s
    ]
    return touching[-1] if touching else ""
