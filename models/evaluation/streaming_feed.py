"""A continuous sitting through the monitor's own pipeline: in pieces of any size, window by window, alarms and all.

The rules are those of `models.data.streams`: 30 to 120 s of valid signal before the first stimulus make the baseline,
and windows that reach back into it are left out of every figure.
"""

from __future__ import annotations

import hashlib
import heapq
import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.data.recorded import Sitting
from models.data.streams import LEAST_CALIBRATION_S, MOST_CALIBRATION_S, Line, calibration_until, lines_of, places_of
from monitor.bundle import BundleSpec
from monitor.calibration import needs_baseline
from monitor.config import BedSettings
from monitor.errors import SourceError
from monitor.pipeline import Pipeline
from monitor.scoring.scorer import RawScore, Runner
from monitor.types import (
    CalibrationEvent,
    CalibrationState,
    Chunk,
    Command,
    Comparators,
    Event,
    Float32Array,
    PainIndex,
    Score,
)

LONGEST_PIECE_S: Final = 1.0
"""Pieces that signals are fed in last from a sample to this."""

_BED: Final = "evaluated"
_Piece = tuple[float, int, int, int]
"""Arrival, number of the line, first and last sample."""


@dataclass(frozen=True, slots=True, eq=False)
class LiveRun:
    """What the pipeline made of one sitting."""

    subject: str
    key: str
    """Subject and session."""
    classes: tuple[str, ...]
    lines: tuple[Line, ...]
    trials: tuple[tuple[float, float, int | None], ...]
    """(start, end, label of the data set) in seconds of the sitting's clock."""
    first_s: float
    """First stimulus, or the end before it of what was set aside for the baseline; the end of a recording of rest."""
    calibration_s: float
    calibrated_at: float
    """Since when windows stand on the subject's own baseline."""
    hop_s: float
    length_s: float
    """Of a window."""
    scores: tuple[Score, ...]
    indices: tuple[PainIndex, ...]
    comparators: tuple[Comparators, ...]
    """The plain measures after each window."""
    digests: tuple[str, ...]
    """Hash of the inputs of every window that the model was given, in their order."""

    @property
    def end_s(self) -> float:
        """End of the last window."""
        return self.scores[-1].t_end if self.scores else 0.0


class NoBaselineError(Exception):
    """A sitting whose beginning holds too little valid signal to calibrate on; its text says so."""


def digest_of(arrays: Mapping[str, Float32Array]) -> str:
    """Hash of a window's inputs: equal ones are equal in every bit."""
    digest = hashlib.blake2b(digest_size=16)
    for name in sorted(arrays):
        digest.update(name.encode())
        digest.update(np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()


class _Noting:
    """A runner that notes what it was given."""

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        self.digests: list[str] = []

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:
        score = self._runner.score(bundle, inputs)
        self.digests.append(digest_of(inputs))
        return score

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
        return self._runner.explain(bundle, inputs)


class _Undecided:
    """A runner for which all classes are alike: it serves to find out how much signal is valid."""

    def __init__(self, classes: int) -> None:
        self._classes = classes

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:  # noqa: ARG002
        return RawScore(logits=np.zeros(self._classes, np.float32), features=np.zeros(1, np.float32), distance=0.0)

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:  # noqa: ARG002
        return {}


def live_run(sitting: Sitting, spec: BundleSpec, runner: Runner, *, seed: int, hop_s: float = 1.0) -> LiveRun:
    """Feed a sitting to a bed of its own.

    Args:
        sitting: Continuous, and of somebody whom the model has never seen.
        spec: The model's specification.
        runner: Runs it.
        seed: Of the sizes of the pieces that signals arrive in; no score depends on it.
        hop_s: Seconds between windows.

    Raises:
        NoBaselineError: If the model needs a baseline and there is too little valid signal before the first stimulus.
        KeyError: If the sitting lacks a signal.
        SourceError: If a signal is too slow for the model.
    """
    for item in spec.inputs:
        channel = sitting.channel(item.modality)
        if channel.rate_hz < item.min_rate_hz:
            raise SourceError(
                f"{channel.name} has {channel.rate_hz:g} Hz, the input {item.name} needs {item.min_rate_hz:g}",
                where=sitting.key,
                todo="Take a model for lower rates",
            )
    spans = places_of(sitting, joined=False)
    lines = lines_of(sitting, [item.modality for item in spec.inputs], spans, bed=_BED)
    places = [start_s for start_s, _ in spans]
    ends = [float(line.stamps[-1]) for line in lines if len(line.stamps)]
    end_s = max(ends, default=0.0)
    trials = tuple(
        (
            places[t.stretch] + t.start_s,
            end_s if t.seconds is None else places[t.stretch] + t.start_s + t.seconds,
            t.label,
        )
        for t in sitting.trials
    )
    stimuli = [
        places[t.stretch] + (t.start_s if t.onset_s is None else t.onset_s) for t in sitting.trials if t.label != 0
    ]
    first_s = calibration_until(sitting, spans, min(stimuli, default=end_s))
    length_s = max(item.samples / item.rate_hz for item in spec.inputs)
    calibration_s = LEAST_CALIBRATION_S
    rng = np.random.Generator(np.random.PCG64([seed, uuid.uuid5(uuid.NAMESPACE_OID, sitting.key).int % 2**63]))
    baseline = any(needs_baseline(item.scale) for item in spec.inputs)
    if baseline:
        trial_run = _play(lines, _pipeline(spec, MOST_CALIBRATION_S, _Undecided(len(spec.classes))), first_s, rng, True)
        valid_s = max((e.valid_s // 1.0 for e in trial_run if isinstance(e, CalibrationEvent)), default=0.0)
        if valid_s < LEAST_CALIBRATION_S:
            raise NoBaselineError(
                f"{valid_s:.3g} s of valid signal before the first stimulus, {LEAST_CALIBRATION_S:g} at least"
            )
        calibration_s = min(max(valid_s - math.ceil(length_s), LEAST_CALIBRATION_S), MOST_CALIBRATION_S)
    noting = _Noting(runner)
    scores: list[Score] = []
    indices: list[PainIndex] = []
    comparators: list[Comparators] = []
    calibrated_at = math.inf if baseline else 0.0
    for event in _play(lines, _pipeline(spec, calibration_s, noting, hop_s=hop_s), first_s, rng, False):
        if isinstance(event, Score):
            scores.append(event)
        elif isinstance(event, PainIndex):
            indices.append(event)
        elif isinstance(event, Comparators):
            comparators.append(event)
        elif isinstance(event, CalibrationEvent) and event.state is CalibrationState.CALIBRATED:
            calibrated_at = min(calibrated_at, event.t)
    if not math.isfinite(calibrated_at):
        raise NoBaselineError("no baseline was complete before the first stimulus")
    return LiveRun(
        subject=sitting.subject,
        key=sitting.key,
        classes=sitting.classes,
        lines=lines,
        trials=trials,
        first_s=first_s,
        calibration_s=calibration_s,
        calibrated_at=calibrated_at,
        hop_s=hop_s,
        length_s=length_s,
        scores=tuple(scores),
        indices=tuple(indices),
        comparators=tuple(comparators),
        digests=tuple(noting.digests),
    )


def _pipeline(spec: BundleSpec, calibration_s: float, runner: Runner, *, hop_s: float = 1.0) -> Pipeline:
    bed = BedSettings(name=_BED, bundles=(spec.name,), calibration_s=calibration_s, hop_s=hop_s)
    return Pipeline(bed=bed, bundles=[spec], runner=runner, session=uuid.UUID(int=0))


def _play(
    lines: Sequence[Line], pipeline: Pipeline, first_s: float, rng: np.random.Generator, only_before: bool
) -> Iterator[Event]:
    """Feed pieces of random lengths in the order in which they would arrive."""
    for line in lines:
        yield from pipeline.open_stream(line.info, 0.0)
    if first_s > 0:
        yield from pipeline.command(
            Command(action="calibrate_span", at=0.0, actor="evaluation", args={"start": 0.0, "end": first_s})
        )
    for arrival, number, first, last in heapq.merge(*(_pieces(line, i, rng) for i, line in enumerate(lines))):
        if only_before and arrival > first_s + LONGEST_PIECE_S:
            return
        line = lines[number]
        yield from pipeline.feed(
            Chunk(
                stream=line.info.key,
                samples=line.samples[first:last].copy(),
                stamps=line.stamps[first:last].copy(),
                arrival=arrival,
            )
        )


def _pieces(line: Line, number: int, rng: np.random.Generator) -> Sequence[_Piece]:
    """A signal in pieces of 0.02 to 1 s, or a sample where that is longer."""
    if not len(line.stamps):
        return []
    begin, end = float(line.stamps[0]), float(line.stamps[-1])
    cuts = begin + np.cumsum(rng.uniform(0.02, LONGEST_PIECE_S, size=int((end - begin) / 0.02) // 8 + 64))
    edges = np.unique([0, *np.searchsorted(line.stamps, cuts[cuts < end]).tolist(), len(line.stamps)])
    pieces = []
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        # Where the draws did not reach the end, or the recording pauses, a piece may not span more than its length.
        while first < last:
            until = int(np.searchsorted(line.stamps, line.stamps[first] + LONGEST_PIECE_S, side="right"))
            stop = min(last, max(until, first + 1))
            pieces.append((float(line.stamps[stop - 1]), number, first, stop))
            first = stop  # noqa: PLW2901
    return pieces
