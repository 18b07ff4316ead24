"""A synthetic patient as a source, a recording, or chunks for an outlet: always marked as simulated.

`SyntheticPatient` is a stateful generator, not a looped file: the same seed gives the same samples bit for bit,
whatever the chunk size and whatever modality is read first, and what the body does (beats, SCRs, pain) does not
depend on the sampling rates.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from monitor.clock import Clock
from monitor.errors import MonitorError
from monitor.modality import MODALITY_UNITS
from monitor.sources.artefacts import Artefact
from monitor.sources.base import Candidate, Recording, Signal, SourceReading
from monitor.sources.physiology_events import Confounder, PainEpisode
from monitor.sources.synthetic_patient import DEFAULT_RATES_HZ, SEED_RANGES, SyntheticPatient, index_at, patient_seed
from monitor.types import Chunk, Float32Array, FloatArray, Provenance, StreamInfo, snap

__all__ = [
    "DEFAULT_RATES_HZ",
    "SEED_RANGES",
    "Artefact",
    "Confounder",
    "PainEpisode",
    "PatientChunk",
    "SyntheticPatient",
    "SyntheticSource",
    "patient_chunks",
    "patient_seed",
    "synthetic_recording",
]

_LONGEST_READ_S: Final = 10.0


class Sender(Protocol):
    """Whatever has signals to play."""

    @property
    def subject(self) -> str:
        """Subject code."""
        ...

    def rate_hz(self, modality: str) -> float:
        """Sampling rate.

        Raises:
            MonitorError: If there is no such signal.
        """
        ...

    def measured(self, modality: str, first: int, count: int) -> tuple[Float32Array, FloatArray]:
        """(n,) or (n, channels) samples from number `first` on, and their (n,) stamps in seconds."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PatientChunk:
    """Samples of one modality as a device would send them."""

    modality: str
    samples: Float32Array
    """(n,), or (n, channels) where there are several, in the modality's unit."""
    stamps: FloatArray
    """(n,) seconds from the patient's zero."""
    due_s: float
    """When a device would send it: seconds from the patient's zero by the true clock, whatever the stamps say."""


def patient_chunks(
    patient: Sender,
    modalities: Sequence[str],
    *,
    start_s: float = 0.0,
    seconds: float | None = None,
    chunk_s: float = 0.1,
) -> Iterator[PatientChunk]:
    """Play a patient in time order, artefacts applied; a stretch of which nothing is left gives no chunk.

    Args:
        patient: Whom to play.
        modalities: Which of its signals.
        start_s: Where to begin.
        seconds: How much to play; None for ever.
        chunk_s: Length of a chunk; a modality slower than that sends one sample now and then.
    """
    step = 0
    while seconds is None or step * chunk_s < seconds:
        begin = start_s + step * chunk_s
        end = start_s + (step + 1) * chunk_s
        if seconds is not None:
            end = min(end, start_s + seconds)
        for modality in modalities:
            rate = patient.rate_hz(modality)
            first = index_at(begin, rate)
            samples, stamps = patient.measured(modality, first, index_at(end, rate) - first)
            if len(samples):
                yield PatientChunk(modality=modality, samples=samples, stamps=stamps, due_s=end)
        step += 1


def synthetic_recording(patient: SyntheticPatient, seconds: float, modalities: Sequence[str]) -> Recording:
    """Record a patient from its zero, artefacts applied, with its pain and confounders as markers."""
    signals = []
    for modality in modalities:
        samples, stamps = patient.measured(modality, 0, index_at(seconds, patient.rate_hz(modality)))
        faulty = any(artefact.modality == modality for artefact in patient.artefacts)
        candidate = Candidate(
            key=f"synthetic:{modality}",
            name=modality,
            channel=modality,
            unit=MODALITY_UNITS[modality],
            rate_hz=patient.rate_hz(modality),
            source="synthetic",
            provenance=Provenance.SIMULATED,
        )
        signals.append(Signal(candidate=candidate, samples=samples, t_first=0.0, stamps=stamps if faulty else None))
    markers = [
        (episode.onset_s, f"pain {episode.kind} level {episode.level:g}, {episode.duration_s:g} s")
        for episode in patient.episodes_until(seconds)
    ]
    markers += [
        (confounder.onset_s, f"{confounder.kind}, {confounder.duration_s:.1f} s, not pain")
        for confounder in patient.confounders_until(seconds)
    ]
    return Recording(
        path=Path(f"{patient.subject}.synthetic"),
        format="synthetic",
        signals=tuple(signals),
        markers=tuple(sorted(markers)),
        notes=(f"{patient.subject}: simulated, no person was measured",),
        provenance=Provenance.SIMULATED,
    )


class SyntheticSource:
    """Streams one synthetic patient to one bed.

    Args:
        patient: Whom to stream.
        bed: The bed.
        clock: Stream clock; the patient's zero is the moment of `open`.
        modalities: Which signals.
        chunk_s: Length of a chunk in seconds.
        realtime: Deliver samples when they are due; else one chunk of each signal at every `read`, at once.

    Raises:
        MonitorError: If the patient lacks one of the modalities or the chunk has no length.
    """

    def __init__(
        self,
        *,
        patient: SyntheticPatient,
        bed: str,
        clock: Clock,
        modalities: Sequence[str],
        chunk_s: float = 0.1,
        realtime: bool = True,
    ) -> None:
        if not chunk_s > 0.0:
            raise MonitorError(f"a chunk of {chunk_s:g} s has no length", where=patient.subject)
        for modality in modalities:
            patient.rate_hz(modality)  # refuses what the patient lacks now, rather than later in a thread
        self.name = f"synthetic {patient.subject}"
        self._patient = patient
        self._bed = bed
        self._clock = clock
        self._modalities = tuple(modalities)
        self._chunk_s = chunk_s
        self._realtime = realtime
        self._origin = 0.0
        self._steps = 0
        self._announced = False
        self._closed = threading.Event()

    def open(self) -> None:
        """Set the patient's zero to now."""
        self._origin = float(snap(self._clock.now()))

    def read(self, timeout: float) -> SourceReading:
        """Return what has come due; waits for at most `timeout` seconds, and never more than a chunk."""
        opened: Sequence[StreamInfo] = ()
        if not self._announced:
            self._announced = True
            opened = tuple(self._info(modality) for modality in self._modalities)
        if self._closed.is_set():
            return SourceReading(opened=opened)
        if not self._realtime:
            return SourceReading(chunks=self._next(self._steps + 1), opened=opened)
        due = self._origin + (self._steps + 1) * self._chunk_s
        wait = min(timeout, due - self._clock.now())
        if wait > 0.0:
            self._closed.wait(wait)
        # After a long sleep of the machine the backlog comes in several readings, none of them huge.
        ready = int((self._clock.now() - self._origin) / self._chunk_s)
        most = self._steps + max(1, int(_LONGEST_READ_S / self._chunk_s))
        return SourceReading(chunks=self._next(min(ready, most)), opened=opened)

    @property
    def finished(self) -> bool:
        """A patient goes on until the source is closed."""
        return self._closed.is_set()

    def close(self) -> None:
        """Stop; a `read` that waits returns."""
        self._closed.set()

    def _info(self, modality: str) -> StreamInfo:
        return StreamInfo(
            key=f"synthetic:{modality}",
            bed=self._bed,
            modality=modality,
            name=f"{self._patient.subject} {modality}",
            unit=MODALITY_UNITS[modality],
            rate_hz=self._patient.rate_hz(modality),
            source="synthetic",
            provenance=Provenance.SIMULATED,
            origin=self._origin,
        )

    def _next(self, until_step: int) -> tuple[Chunk, ...]:
        """Chunks of the steps before `until_step` that have not been given yet."""
        if until_step <= self._steps:
            return ()
        begin, end = self._steps * self._chunk_s, until_step * self._chunk_s
        self._steps = until_step
        arrival = self._clock.now() if self._realtime else self._origin + end
        chunks = []
        for modality in self._modalities:
            rate = self._patient.rate_hz(modality)
            first = index_at(begin, rate)
            samples, stamps = self._patient.measured(modality, first, index_at(end, rate) - first)
            if len(samples):
                chunks.append(
                    Chunk(
                        stream=f"synthetic:{modality}",
                        samples=samples,
                        stamps=snap(self._origin + stamps),
                        arrival=arrival,
                    )
                )
        return tuple(chunks)
