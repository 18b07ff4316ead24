"""Windows of continuous recordings: fed through the monitor's own pipeline, every hop of them.

Calibration: valid signal before the first stimulus, 30 to 120 s of it, within what the loader set aside where there is
such (PMCD's run-up, AI4PAIN's first baseline); a sitting with less is left out. Windows that reach back into the
calibration period are left out too, and nothing is taken before it is complete.

Label rule. The body follows a stimulus late, so a stimulus counts from its onset + 1 s to its end + 2 s. A window has
the class of a stimulus if at least half of it lies there, that with the largest share; it has none if less than a tenth
does; what lies between has no label: it is never trained on and stays in streaming figures. Where a data set does not
list every stimulus, at least half of a window must have been said to be without.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.data.ai4pain import may_be_joined
from models.data.base import UNLABELLED, BoolArray, IntArray, WindowSet
from models.data.guards import without_overlap
from models.data.recorded import FloatArray, Oddity, Sitting, Trial
from models.data.simulated import CONFOUNDED_S, READ_S
from models.data.simulated_session import CONFOUNDERS
from models.data.traced import NO_STATISTIC, Span, Statistic, TracedSet
from models.data.unscored import Recorder, unscored_spec
from monitor.bundle import InputSpec
from monitor.calibration import needs_baseline
from monitor.config import BedSettings
from monitor.modality import MODALITY_UNITS
from monitor.pipeline import Pipeline
from monitor.types import (
    STAMP_TICK,
    CalibrationEvent,
    CalibrationState,
    Chunk,
    Command,
    Event,
    Provenance,
    Score,
    StreamInfo,
    snap,
)

LATE_ONSET_S: Final = 1.0
LATE_END_S: Final = 2.0
PAINFUL_SHARE: Final = 0.5
FREE_SHARE: Final = 0.1
LEAST_CALIBRATION_S: Final = 30.0
MOST_CALIBRATION_S: Final = 120.0

_GAP_S: Final = 2.0  # between stretches that do not join: the pipeline sees a gap and starts its filters afresh
_BED: Final = "recorded"


@dataclass(frozen=True, slots=True, eq=False)
class Line:
    """One signal of a sitting from its beginning to its end, on the sitting's clock."""

    info: StreamInfo
    stamps: FloatArray
    """(n,) s, as the pipeline is given them."""
    samples: NDArray[np.float32]
    """(n,) in the modality's unit."""
    regular: bool
    """One stretch without stamps of its own: samples lie on a line that needs no fit."""


def stream_windows(
    sitting: Sitting,
    inputs: Sequence[InputSpec],
    *,
    classes: Mapping[int, int],
    silence_is_rest: bool,
    joined: bool,
) -> TracedSet:
    """Every window of a sitting that the monitor would have scored once it is calibrated.

    Args:
        sitting: One person recorded in one go.
        inputs: What the model reads.
        classes: Class numbers by label of the data set; windows of other labels have none.
        silence_is_rest: Whether time without a trial is known to be without a stimulus.
        joined: Whether stretches may follow each other without a gap, if their seams pass `may_be_joined`.
    """
    places = places_of(sitting, joined=joined)
    lines = lines_of(sitting, [item.modality for item in inputs], places, bed=_BED)
    stimuli = [
        places[t.stretch][0] + (t.start_s if t.onset_s is None else t.onset_s) for t in sitting.trials if t.label != 0
    ]
    first_s = calibration_until(sitting, places, min(stimuli, default=places[-1][1]))
    length_s = max(item.samples / item.rate_hz for item in inputs)
    calibration_s = LEAST_CALIBRATION_S
    if any(needs_baseline(item.scale) for item in inputs):
        valid_s = _valid_before(lines, inputs, first_s)
        if valid_s < LEAST_CALIBRATION_S:
            why = f"{valid_s:.3g} s of valid signal before the first stimulus, {LEAST_CALIBRATION_S:g} at least"
            left_out = Oddity(level="note", code="left out", where=sitting.key, what=why)
            return _gather(sitting, inputs, [], [], np.zeros(0, dtype=np.int64), (), (left_out,), places)
        # Windows that reach back into the calibration are lost: where there is time, those of the first stimulus stay.
        calibration_s = min(max(valid_s - math.ceil(length_s), LEAST_CALIBRATION_S), MOST_CALIBRATION_S)
    recorder = Recorder()
    events = list(_play(lines, _pipeline(inputs, calibration_s, recorder), first_s, None))
    scores = [event for event in events if isinstance(event, Score) and not event.absent]
    kept = [i for i, score in enumerate(scores) if score.calibration != "population"]
    done = next((e for e in events if isinstance(e, CalibrationEvent) and e.state is CalibrationState.CALIBRATED), None)
    statistics: tuple[Statistic, ...] = ()
    if done is not None:
        span = Span(subject=sitting.subject, recording=sitting.key, start_s=0.0, stop_s=done.t)
        name = f"baseline of {sitting.key}"
        statistics = (Statistic(name=name, scope="own", spans=(span,), values=dict(done.baseline)),)
    t_end = np.array([scores[i].t_end for i in kept], dtype=np.float64)
    raw = label_by_share(
        t_end, length_s, [_moved(trial, places) for trial in sitting.trials], silence_is_rest=silence_is_rest
    )
    labels = np.array([classes.get(label, UNLABELLED) for label in raw.tolist()], dtype=np.int64)
    seen = [recorder.seen[i] for i in kept]
    traced = _gather(sitting, inputs, seen, t_end.tolist(), labels, statistics, (), places)
    return without_overlap(traced)


def calibration_until(sitting: Sitting, places: Sequence[tuple[float, float]], first_s: float) -> float:
    """When the baseline has to be taken: before the first stimulus, within what was set aside for it.

    Args:
        sitting: One person recorded in one go.
        places: Where its stretches lie (`places_of`).
        first_s: When the first stimulus begins, or the recording ends: one of rest alone, of which nothing was set
            aside, may be calibrated anywhere.
    """
    ends = [_moved(trial, places)[1] for trial in sitting.trials if trial.calibration]
    until_s = max((end for end in ends if end <= first_s), default=first_s)
    # One that lasts up to the first stimulus may end a rounding error before it.
    return until_s if until_s < first_s - STAMP_TICK else first_s


# -- labels ------------------------------------------------------------------------------------------------------------


def label_by_share(
    t_end: FloatArray, length_s: float, trials: Sequence[tuple[float, float, int | None]], *, silence_is_rest: bool
) -> IntArray:
    """Apply the label rule of this module.

    Args:
        t_end: (n,) ends of windows in seconds.
        length_s: Their length.
        trials: (start, end, label) in seconds of the same clock; None where something unknown was done.
        silence_is_rest: Whether time without a trial is known to be without a stimulus.

    Returns:
        (n,) labels of the data set, or `UNLABELLED`.
    """
    late = [
        (start + LATE_ONSET_S, end + LATE_END_S, label) if label != 0 else (start, end, 0)
        for start, end, label in trials
    ]
    levels = sorted({label for _, _, label in late if label})
    painful = _share(t_end, length_s, [(a, b) for a, b, label in late if label])
    unknown = _share(t_end, length_s, [(a, b) for a, b, label in late if label is None])
    said_free = _share(t_end, length_s, [(a, b) for a, b, label in late if label == 0])
    labels = np.full(len(t_end), UNLABELLED, dtype=np.int64)
    if levels:
        shares = np.array([_share(t_end, length_s, [(a, b) for a, b, of in late if of == c]) for c in levels])
        # Of two equal shares the stronger stimulus counts.
        strongest = np.array(levels)[len(levels) - 1 - np.argmax(shares[::-1], axis=0)]
        labels = np.where(painful >= PAINFUL_SHARE, strongest, labels)
    free = (painful < FREE_SHARE) & (unknown < FREE_SHARE) & (silence_is_rest | (said_free >= PAINFUL_SHARE))
    return np.where(free, 0, labels).astype(np.int64)


def _share(t_end: FloatArray, length_s: float, spans: Sequence[tuple[float, float]]) -> FloatArray:
    """Share of each window that lies in any of the spans."""
    merged: list[list[float]] = []
    for start, end in sorted(spans):
        if merged and start <= merged[-1][1]:
            merged[-1][1] = max(merged[-1][1], end)
        elif end > start:
            merged.append([start, end])
    if not merged:
        return np.zeros(len(t_end))
    edges = np.array(merged).ravel()
    covered = np.concatenate([[0.0], np.cumsum(np.diff(edges) * (np.arange(len(edges) - 1) % 2 == 0))])
    share = (np.interp(t_end, edges, covered) - np.interp(t_end - length_s, edges, covered)) / length_s
    # Sums of seconds are off by rounding; a share of exactly a half is one.
    rounded: FloatArray = np.round(share, 9)
    return rounded


def _moved(trial: Trial, places: Sequence[tuple[float, float]]) -> tuple[float, float, int | None]:
    begin_s, stop_s = places[trial.stretch]
    start_s = begin_s + trial.start_s
    return start_s, stop_s if trial.seconds is None else start_s + trial.seconds, trial.label


def _groups(
    sitting: Sitting, t_end: FloatArray, length_s: float, labels: IntArray, places: Sequence[tuple[float, float]]
) -> tuple[NDArray[np.str_], BoolArray]:
    """What kind of stretch each window (n,) is, and whether something that is not pain shows in it.

    A window is of the kind of that trial which fills most of it, by the clock of the label rule; painful ones come
    before the others, but for windows of no pain. Where a confounder shows in one of those, it is of its kind.
    """
    groups = np.full(len(t_end), "", dtype=np.dtype("<U32"))
    confounded = np.zeros(len(t_end), dtype=np.bool_)
    most = np.zeros(len(t_end))
    spans = [(trial, *_moved(trial, places)) for trial in sitting.trials]
    for trial, start, end, label in spans:
        late = (start + LATE_ONSET_S, end + LATE_END_S) if label != 0 else (start, end)
        share = _share(t_end, length_s, [late])
        if label:
            share = np.where(labels == 0, 0.0, 1.0 + share) * (share > 0.0)
        better = share > most
        groups[better], most[better] = trial.group, share[better]
    for trial, start, end, _ in spans:
        if trial.group in CONFOUNDERS:
            there = (t_end >= start) & (t_end < end + CONFOUNDED_S)
            confounded |= there
            groups[there & (labels == 0)] = trial.group
    return groups, confounded


# -- feeding -----------------------------------------------------------------------------------------------------------


def places_of(sitting: Sitting, *, joined: bool) -> list[tuple[float, float]]:
    """When each stretch begins and ends, in seconds of the sitting's clock; those that do not say follow each other.

    Args:
        sitting: One person recorded in one go.
        joined: Whether they may follow without a gap, if their seams pass `may_be_joined`.
    """
    gap_s = 0.0 if joined and may_be_joined(sitting) else _GAP_S
    rates = {channel.name: channel.rate_hz for channel in sitting.channels}
    places: list[tuple[float, float]] = []
    for stretch in sitting.stretches:
        start_s = places[-1][1] + gap_s if places else 0.0
        if stretch.start_s is not None:
            start_s = stretch.start_s
        ends = [
            (float(track.stamps[-1]) + 1.0 / rates[name])
            if track.stamps is not None and len(track.stamps)
            else track.t_first + len(track.samples) / rates[name]
            for name, track in stretch.tracks.items()
            if name in rates
        ]
        places.append((start_s, start_s + max(ends, default=0.0)))
    return places


def lines_of(
    sitting: Sitting, modalities: Sequence[str], places: Sequence[tuple[float, float]], *, bed: str
) -> tuple[Line, ...]:
    """The signals of a sitting, one line for each modality.

    Args:
        sitting: One person recorded in one go.
        modalities: Which signals; one that is named twice comes once.
        places: Where its stretches lie (`places_of`).
        bed: Name of the bed that they are fed to.

    Raises:
        KeyError: If it has no such modality.
    """
    lines = []
    for modality in dict.fromkeys(modalities):
        channel = sitting.channel(modality)
        tracks = [
            (stretch.tracks[channel.name], at) for stretch, (at, _) in zip(sitting.stretches, places, strict=True)
        ]
        stamped = any(track.stamps is not None for track, _ in tracks)
        stamps = [
            at
            + (
                track.stamps
                if track.stamps is not None
                else track.t_first + np.arange(len(track.samples)) / channel.rate_hz
            )
            for track, at in tracks
        ]
        info = StreamInfo(
            key=modality,
            bed=bed,
            modality=modality,
            name=f"{sitting.key} {channel.name}",
            unit=MODALITY_UNITS[modality],
            rate_hz=channel.rate_hz,
            source="csv",
            provenance=Provenance.REPLAY,
            origin=0.0,
            rate_measured=stamped,
        )
        samples = np.concatenate([np.asarray(track.samples, dtype=np.float32) for track, _ in tracks])
        placed = np.asarray(snap(np.concatenate(stamps)), dtype=np.float64)
        lines.append(Line(info, placed, samples, regular=not stamped and len(tracks) == 1))
    return tuple(lines)


def _pipeline(inputs: Sequence[InputSpec], calibration_s: float, recorder: Recorder) -> Pipeline:
    spec = unscored_spec("training", inputs)
    bed = BedSettings(name=_BED, bundles=(spec.name,), calibration_s=calibration_s)
    return Pipeline(bed=bed, bundles=[spec], runner=recorder, session=uuid.UUID(int=0))


def _play(lines: Sequence[Line], pipeline: Pipeline, first_s: float, until_s: float | None) -> Iterator[Event]:
    """Feed signals second by second, the baseline being taken before `first_s` alone."""
    for line in lines:
        yield from pipeline.open_stream(line.info, 0.0)
    if first_s > 0:
        yield from pipeline.command(
            Command(action="calibrate_span", at=0.0, actor="training", args={"start": 0.0, "end": first_s})
        )
    end_s = max((float(line.stamps[-1]) for line in lines if len(line.stamps)), default=0.0)
    for second in range(int(min(end_s, until_s if until_s is not None else end_s)) + 1):
        for line in lines:
            a, b = np.searchsorted(line.stamps, [second, second + 1.0])
            if b > a:
                yield from pipeline.feed(
                    Chunk(
                        stream=line.info.key,
                        samples=line.samples[a:b].copy(),
                        stamps=line.stamps[a:b].copy(),
                        arrival=float(second + 1),
                    )
                )


def _valid_before(lines: Sequence[Line], inputs: Sequence[InputSpec], first_s: float) -> float:
    """Whole seconds of valid signal before the first stimulus, by the input that has fewest."""
    if first_s < LEAST_CALIBRATION_S:
        return max(first_s, 0.0)
    pipeline = _pipeline(inputs, MOST_CALIBRATION_S, Recorder())
    events = _play(lines, pipeline, first_s, first_s)
    return max((float(e.valid_s) // 1.0 for e in events if isinstance(e, CalibrationEvent)), default=0.0)


def _gather(
    sitting: Sitting,
    inputs: Sequence[InputSpec],
    seen: Sequence[Mapping[str, NDArray[np.float32]]],
    ends: Sequence[float],
    labels: IntArray,
    statistics: tuple[Statistic, ...],
    left_out: tuple[Oddity, ...],
    places: Sequence[tuple[float, float]],
) -> TracedSet:
    n = len(ends)
    t_end = np.array(ends, dtype=np.float64)
    length_s = max(item.samples / item.rate_hz for item in inputs)
    stimuli = [span for span in (_moved(trial, places) for trial in sitting.trials) if span[2]]
    level = np.zeros(n)
    for start, end, label in stimuli:
        there = (t_end - READ_S >= start) & (t_end - READ_S < end)
        level[there] = np.maximum(level[there], (label or 0) / max(len(sitting.classes) - 1, 1))
    onsets = np.array([-np.inf, *sorted(start for start, _, _ in stimuli)])
    groups, confounded = _groups(sitting, t_end, length_s, labels, places)
    windows = WindowSet(
        inputs={
            item.name: np.array([row[item.name] for row in seen], dtype=np.float32).reshape((n, *item.shape))
            for item in inputs
        },
        labels=labels,
        subjects=np.full(n, sitting.subject),
        t_end=t_end,
        level=level,
        since_onset_s=t_end - onsets[np.searchsorted(onsets, t_end, side="right") - 1],
        confounded=confounded,
        calibrated=np.full(n, bool(statistics)),
        groups=groups,
    )
    return TracedSet(
        protocol="live-stream",
        inputs=tuple(inputs),
        windows=windows,
        recordings=np.full(n, sitting.key),
        digests=np.full(n, sitting.digest),
        start_s=t_end - length_s,
        stop_s=t_end,
        seconds=np.full(n, length_s),
        statistics=statistics,
        statistic=np.full(n, 0 if statistics else NO_STATISTIC, dtype=np.int64),
        left_out=left_out,
    )
