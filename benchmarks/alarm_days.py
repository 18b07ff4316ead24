"""Whole days of simulated beds: how soon pain is alarmed on, how often without any, and what faults of sensors do.

Each bed is a patient that no bundle was trained on, with its own devices. A day holds some thirty painful episodes
(severe and moderate spells of 3-15 minutes, trains of short stimuli), something that is not pain every 2-8 minutes,
and sensors that come off, move and lose samples. Everything goes through the real `Pipeline`, with its clock advanced
as fast as the machine can. Other limits and delays are then tried on the same windows with the monitor's own
`AlarmManager`: there is no second alarm rule here.
"""

from __future__ import annotations

import itertools
import json
import multiprocessing
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final

import numpy as np
import typer

from benchmarks.alarm_truth import Condition, Span, judge, latencies, merged
from monitor.alarm import HEART_RATE, PAIN_MODERATE, PAIN_SEVERE, SCR_RATE, SPI, AlarmManager
from monitor.alarm.limits import changed_limits
from monitor.bundle_folder import load_bundle
from monitor.config import AlarmSettings, BedSettings
from monitor.modality import MODALITY_UNITS
from monitor.pipeline import Pipeline
from monitor.scoring.session import OnnxRunner
from monitor.sources.artefacts import Artefact
from monitor.sources.synthetic import Confounder, PainEpisode, SyntheticPatient, patient_chunks
from monitor.types import (
    AlarmEvent,
    AlarmKind,
    Chunk,
    Comparators,
    Event,
    PainIndex,
    Presence,
    Provenance,
    Quality,
    Score,
    StreamInfo,
    snap,
)

FIRST_BED: Final = 500
"""Beds are the test patients from this number on; no figure on any card comes from them."""
SHORTEST_S: Final = 180.0
LONGEST_S: Final = 900.0
_STEP_S: Final = 0.5
_TICK_S: Final = 0.25
_RATES_HZ: Final = {"ECG": 256.0, "EDA": 8.0, "BVP": 64.0, "EMG": 512.0}
_SEED: Final = 21

LIMITS: Final = (30.0, 35.0, 40.0, 45.0, 50.0, 55.0, 60.0, 65.0, 70.0, 75.0, 80.0, 85.0, 90.0)
DELAYS: Final = (15.0, 30.0, 60.0)
HEART_RATES: Final = (75.0, 80.0, 85.0, 90.0, 95.0, 100.0, 110.0, 120.0)
SCR_RATES: Final = (0.03, 0.05, 0.07, 0.1, 0.13, 0.17, 0.2, 0.25, 0.3)
SPI_LIMITS: Final = (50.0, 55.0, 60.0, 65.0, 70.0, 75.0, 80.0, 85.0, 90.0, 95.0)


# -- what befalls a bed ------------------------------------------------------------------------------------------------


def draw_patient(number: int, hours: float, modalities: Sequence[str]) -> SyntheticPatient:
    """A bed's patient and everything that happens to it, from the bed's number alone."""
    rng = np.random.Generator(np.random.PCG64(np.random.SeedSequence([_SEED, number])))
    end = 3600.0 * hours
    return SyntheticPatient(
        part="test",
        number=number,
        episodes=list(_pain(rng, end)),
        confounders=list(_confounders(rng, end)),
        artefacts=list(_faults(rng, end, modalities)),
        rates_hz={modality: _RATES_HZ[modality] for modality in modalities if modality in _RATES_HZ},
    )


def _pain(rng: np.random.Generator, end: float) -> Iterator[PainEpisode]:
    """Every 15-60 minutes: severe (4 in 10) or moderate (4 in 10) for 3-15 minutes, or a train of 4 s stimuli."""
    t = 600.0
    while True:
        t += float(rng.uniform(900.0, 3600.0))
        draw, length = float(rng.random()), SHORTEST_S * (LONGEST_S / SHORTEST_S) ** float(rng.random())
        train = int(rng.integers(2, 6))
        if t + LONGEST_S > end:
            return
        if draw < 0.8:
            yield PainEpisode.tonic(t, length, 1.0 if draw < 0.4 else 0.5)
            t += length
            continue
        for _ in range(train):
            yield PainEpisode.phasic(t, float(rng.choice((0.5, 1.0))))
            t += 4.0 + float(rng.uniform(8.0, 12.0))


def _confounders(rng: np.random.Generator, end: float) -> Iterator[Confounder]:
    """Something that is not pain every 2-8 minutes: half movements, a quarter each of effort and startle."""
    t = 120.0
    while True:
        t += float(rng.uniform(120.0, 480.0))
        kind, strength = float(rng.random()), float(rng.uniform(0.5, 1.3))
        long_s, short_s = float(rng.uniform(5.0, 15.0)), float(rng.uniform(1.5, 5.0))
        if t > end:
            return
        if kind < 0.5:
            yield Confounder(kind="movement", onset_s=t, duration_s=short_s, strength=strength)
        elif kind < 0.75:
            yield Confounder(kind="effort", onset_s=t, duration_s=long_s, strength=strength)
        else:
            yield Confounder(kind="startle", onset_s=t, duration_s=0.5, strength=strength)


def _faults(rng: np.random.Generator, end: float, modalities: Sequence[str]) -> Iterator[Artefact]:
    """A fault every 20-60 minutes: half of them lost samples, a quarter a sensor that comes off, a quarter motion."""
    t = 900.0
    while True:
        t += float(rng.uniform(1200.0, 3600.0))
        draw, modality = float(rng.random()), str(rng.choice(list(modalities)))
        lost_s, off_s, moved_s = (
            float(rng.uniform(1.0, 60.0)),
            float(rng.uniform(60.0, 600.0)),
            float(rng.uniform(5, 30)),
        )
        if t + 600.0 > end:
            return
        if draw < 0.5:
            yield Artefact(kind="gap", modality=modality, onset_s=t, duration_s=lost_s)
        elif draw < 0.75:
            yield Artefact(kind="dropout", modality=modality, onset_s=t, duration_s=off_s)
        else:
            size = {"EDA": 0.5, "ECG": 0.5, "BVP": 30.0}.get(modality, 0.1)
            yield Artefact(kind="motion", modality=modality, onset_s=t, duration_s=moved_s, size=size)


# -- one bed -----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Job:
    """One bed of one run."""

    bundle: str
    """Name or folder."""
    weights: str
    """Hash of its weights: other weights make another job."""
    number: int
    hours: float
    hop_s: float
    out: Path | None = None

    @property
    def said(self) -> dict[str, Any]:
        """What its counts are of."""
        return {"weights": self.weights, "number": self.number, "hours": self.hours, "hop_s": self.hop_s}


_Window = tuple[PainIndex, Score, tuple[Quality, ...], Comparators]


@dataclass(frozen=True, kw_only=True, eq=False)
class _Followed:
    events: list[AlarmEvent]
    windows: list[_Window]
    seconds: float


def follow(job: Job, patient: SyntheticPatient) -> _Followed:
    """Play a bed's day through the pipeline; nobody acknowledges anything."""
    bundle = load_bundle(Path(job.bundle))
    modalities = list(dict.fromkeys(item.modality for item in bundle.spec.inputs))
    bed = BedSettings(name=f"bed{job.number}", bundles=(bundle.spec.name,), hop_s=job.hop_s, calibration_s=120.0)
    session = uuid.uuid5(uuid.NAMESPACE_OID, f"{job.number}")
    pipeline = Pipeline(bed=bed, bundles=[bundle.spec], runner=OnnxRunner([bundle]), session=session)
    events: list[AlarmEvent] = []
    windows: list[_Window] = []
    score: Score | None = None
    index: PainIndex | None = None

    def take(items: Sequence[Event]) -> None:
        nonlocal score, index
        for item in items:
            if isinstance(item, Score):
                score = item
            elif isinstance(item, PainIndex):
                index = item
            elif isinstance(item, Comparators) and score is not None and index is not None:
                windows.append((index, score, tuple({q.modality: q for q in score.quality}.values()), item))
            elif isinstance(item, AlarmEvent):
                events.append(item)

    started = time.process_time()
    for modality in modalities:
        info = StreamInfo(
            key=modality,
            bed=bed.name,
            modality=modality,
            name=f"{patient.subject} {modality}",
            unit=MODALITY_UNITS[modality],
            rate_hz=patient.rate_hz(modality),
            source="synthetic",
            provenance=Provenance.SIMULATED,
            origin=0.0,
        )
        take(pipeline.open_stream(info, 0.0))
    ticked = 0.0
    for piece in patient_chunks(patient, modalities, seconds=3600.0 * job.hours, chunk_s=_STEP_S):
        while ticked + _TICK_S <= piece.due_s:  # as the engine does, before what arrives after it
            ticked += _TICK_S
            take(pipeline.tick(ticked))
        chunk = Chunk(stream=piece.modality, samples=piece.samples, stamps=snap(piece.stamps), arrival=piece.due_s)
        take(pipeline.feed(chunk))
    return _Followed(events=events, windows=windows, seconds=time.process_time() - started)


def bed_of(job: Job) -> dict[str, Any]:
    """A bed's counts: those of its file, where that is of the same job, else counted and written."""
    file = None if job.out is None else job.out / f"bed-{job.number}.json"
    if file is not None and file.is_file():
        content = json.loads(file.read_text(encoding="utf-8"))
        if content["job"] == job.said:
            return dict(content["bed"])
    result = run_bed(job)
    if file is not None:
        part = file.with_suffix(".part")
        part.write_text(json.dumps({"job": job.said, "bed": result}, separators=(",", ":")) + "\n", encoding="utf-8")
        part.replace(file)
    return result


def run_bed(job: Job) -> dict[str, Any]:
    """Follow one bed and count, as plain values that can be added up over beds."""
    bundle = load_bundle(Path(job.bundle))
    modalities = list(dict.fromkeys(item.modality for item in bundle.spec.inputs))
    patient = draw_patient(job.number, job.hours, modalities)
    followed = follow(job, patient)
    end = 3600.0 * job.hours
    pain = merged([Span(e.onset_s, e.end_s, e.level >= 0.75, e.kind == "tonic") for e in patient.episodes_until(end)])
    default = AlarmSettings()
    points = [
        {"what": "default", "bundle": bundle.spec.name}
        | judge(Condition.of(followed.events, (PAIN_MODERATE, PAIN_SEVERE), end), pain, end)
        | {
            "moderate": judge(Condition.of(followed.events, (PAIN_MODERATE,), end), pain, end),
            "severe": judge(Condition.of(followed.events, (PAIN_SEVERE,), end), pain, end),
        }
    ]
    again = _again(job, followed, default)
    if _pain_of(again) != _pain_of(followed.events):
        raise RuntimeError(f"bed {job.number}: the alarm manager alone gives other pain alarms than the pipeline gave")
    for after_s in DELAYS:
        for limit in LIMITS:
            changes = {"moderate_on": limit, "moderate_off": limit - 15.0, "moderate_after_s": after_s}
            changes |= {"severe_on": 95.0, "severe_off": 80.0, "severe_after_s": 120.0}
            points.append(_point("index", PAIN_MODERATE, limit, after_s, changes, job, followed, pain, end))
        for limit in HEART_RATES:
            changes = {"heart_rate_on": limit, "heart_rate_off": limit - 8.0, "heart_rate_after_s": after_s}
            points.append(_point("heart rate", HEART_RATE, limit, after_s, changes, job, followed, pain, end))
        if "EDA" in modalities:
            for limit in SCR_RATES:
                changes = {"scr_per_s_on": limit, "scr_per_s_off": 0.5 * limit, "scr_per_s_after_s": after_s}
                points.append(_point("SCR rate", SCR_RATE, limit, after_s, changes, job, followed, pain, end))
        if "BVP" in modalities:
            for limit in SPI_LIMITS:
                changes = {"spi_on": limit, "spi_off": limit - 15.0, "spi_after_s": after_s}
                points.append(_point("SPI-style index", SPI, limit, after_s, changes, job, followed, pain, end))
    technical = [e for e in followed.events if e.kind is AlarmKind.TECHNICAL and e.presence is Presence.ON]
    return {
        "number": job.number,
        "responder": patient.responder,
        "hours": job.hours,
        "cpu_s": followed.seconds,
        "windows": len(followed.windows),
        "scored": sum(index.fast is not None for index, *_ in followed.windows),
        "points": points,
        "technical": latencies(technical, patient.artefacts),
        "technical_alarms": len({e.event_id for e in technical}),
    }


def _point(
    what: str,
    condition: str,
    limit: float,
    after_s: float,
    changes: dict[str, float],
    job: Job,
    followed: _Followed,
    pain: Sequence[Span],
    end: float,
) -> dict[str, Any]:
    told = _again(job, followed, changed_limits(AlarmSettings(), changes))
    return {"what": what, "limit": limit, "after_s": after_s} | judge(Condition.of(told, (condition,), end), pain, end)


def _again(job: Job, followed: _Followed, settings: AlarmSettings) -> list[AlarmEvent]:
    """The same windows through the alarm manager with other settings."""
    session = uuid.uuid5(uuid.NAMESPACE_OID, f"{job.number}")
    manager = AlarmManager(bed=f"bed{job.number}", settings=settings, session=session)
    made: list[AlarmEvent] = []
    for index, score, quality, comparators in followed.windows:
        told = manager.on_index(index, score, quality, comparators)
        made += [event for event in told if isinstance(event, AlarmEvent)]
    return made


def _pain_of(events: Sequence[AlarmEvent]) -> list[tuple[str, float, str]]:
    """Beginnings and ends of pain alarms. Reminders (A10) come with the ticks, which are not played again."""
    names = (PAIN_MODERATE, PAIN_SEVERE)
    return [(e.condition, e.t, str(e.presence)) for e in events if e.condition in names and e.presence is not e.before]


def _non_responders(first: int, count: int) -> list[int]:
    """The next patients from a number on who do not respond to pain: at 23 % of people, ten beds may hold none."""
    numbers = (n for n in itertools.count(first) if not SyntheticPatient(part="test", number=n).responder)
    return list(itertools.islice(numbers, count))


# -- all beds ----------------------------------------------------------------------------------------------------------


def main(
    bundle: Annotated[Path, typer.Option(help="Bundle to judge.")] = Path("monitor/bundles/crossmod-eda-ecg"),
    *,
    beds: Annotated[int, typer.Option(help="Simulated patients.", min=1)] = 10,
    others: Annotated[int, typer.Option(help="Further patients, who do not respond to pain.", min=0)] = 2,
    hours: Annotated[float, typer.Option(help="Of each.", min=0.5)] = 24.0,
    hop: Annotated[float, typer.Option(help="Seconds between windows.", min=0.25)] = 5.0,
    workers: Annotated[int, typer.Option(help="Processes.", min=1)] = os.cpu_count() or 1,
    out: Annotated[
        Path | None, typer.Option(help="Folder for each bed's counts; a bed that is there is not followed again.")
    ] = None,
) -> None:
    """Follow simulated beds for whole days and say how their alarms fared. Simulated patients only: no person's pain.

    Twelve beds of 24 hours take some thirty minutes of two cores. With --out it goes on where it was ended.
    """
    from benchmarks.alarm_tables import show

    spec = load_bundle(bundle).spec
    digest = str(spec.sha256["weights.bin"])
    jobs = [
        Job(bundle=str(bundle), weights=digest, number=number, hours=hours, hop_s=hop, out=out)
        for number in (*range(FIRST_BED, FIRST_BED + beds), *_non_responders(FIRST_BED + beds, others))
    ]
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
    found = []
    with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        for result in pool.map(bed_of, jobs):
            found.append(result)
            typer.echo(f"bed {result['number']}: {result['cpu_s']:.0f} s of processor time", err=True)
    show(found, bundle=spec, hop_s=hop)


if __name__ == "__main__":
    typer.run(main)
