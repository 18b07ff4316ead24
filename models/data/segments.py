"""Windows of cut data: as the articles scale them (`paper`), and as a monitor could (`live-segment`).

Every class is cut to the same length before anything is computed, by one rule for all: the last seconds of a trial. So
neither a length nor a place within a trial tells a class. In each subject, classes are then drawn down to the size of
the smallest, by seed.

`paper`: samples are linearly interpolated to the points of the input, unfiltered, then centred by the median and
divided by the interquartile range of all trials of the sitting taken together. That uses the test subject's own
trials, of all classes and of later times: it repeats the articles and can never run at a bedside.

`live-segment`: the causal filter starts afresh in each window and the scale knows the calibration segments alone, which
are then left out. What fails the monitor's quality gate is left out too. All points of calibration windows that lie
back to back are used, where the bed takes the last second of overlapping ones. "Trained at one stimulus phase".
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.data.base import IntArray, WindowSet
from models.data.guards import without_overlap
from models.data.recorded import Channel, FloatArray, Oddity, Sitting, Trial
from models.data.simulated_session import CONFOUNDERS
from models.data.traced import NO_STATISTIC, Span, Statistic, TracedSet
from monitor import dsp
from monitor.bundle import InputSpec
from monitor.calibration import NOTHING, input_key, needs_baseline
from monitor.images.render import render
from monitor.quality import HISTORY_S, judge
from monitor.types import STAMP_TICK, Float32Array

LEAST_CALIBRATION_S: Final = 10.0
"""Valid signal that a baseline needs at least, as on a bed."""
_MOST_CALIBRATION_S: Final = 120.0


@dataclass(frozen=True, slots=True, eq=False)
class _Piece:
    """Samples of one channel in one trial."""

    channel: Channel
    times: FloatArray
    values: NDArray[np.float32]

    @property
    def stop_s(self) -> float:
        return float(self.times[-1]) + 1.0 / self.channel.rate_hz if len(self.times) else 0.0


@dataclass(slots=True)
class _Rows:
    """Windows of one sitting as they are found."""

    trials: list[Trial] = field(default_factory=list)
    points: list[dict[str, NDArray[np.float32]]] = field(default_factory=list)
    spans: list[Span] = field(default_factory=list)
    left_out: list[Oddity] = field(default_factory=list)

    def drop(self, sitting: Sitting, trial: Trial | None, why: str) -> None:
        where = f"{sitting.key}, {trial.name}" if trial is not None else sitting.key
        self.left_out.append(Oddity(level="note", code="left out", where=where, what=why))


def _clock(sitting: Sitting, trial: Trial) -> str:
    # Numbered, since a data set may name two stretches alike.
    return f"{sitting.key}/{trial.stretch}:{sitting.stretches[trial.stretch].name}"


def _pieces(sitting: Sitting, trial: Trial, inputs: Sequence[InputSpec]) -> dict[str, _Piece] | str:
    """The trial's samples by modality, or why they cannot be had."""
    found = {}
    for modality in dict.fromkeys(item.modality for item in inputs):
        channel = sitting.channel(modality)
        track = sitting.stretches[trial.stretch].tracks.get(channel.name)
        if track is None:
            return f"it has no {channel.name}"
        end_s = np.inf if trial.seconds is None else trial.start_s + trial.seconds
        if track.stamps is not None:
            first, stop = (int(np.searchsorted(track.stamps, t)) for t in (trial.start_s, end_s))
            times = track.stamps[first:stop]
        else:
            first = max(round((trial.start_s - track.t_first) * channel.rate_hz), 0)
            count = len(track.samples) if trial.seconds is None else round(trial.seconds * channel.rate_hz)
            stop = min(first + count, len(track.samples))
            times = track.t_first + np.arange(first, max(stop, first)) / channel.rate_hz
        if len(times) < 2:
            return f"its {channel.name} is empty"
        if np.max(np.diff(times)) > 1.5 / channel.rate_hz + STAMP_TICK:
            return f"there is a gap in its {channel.name}"
        found[modality] = _Piece(channel, times, track.samples[first:stop])
    return found


# -- paper -------------------------------------------------------------------------------------------------------------


def paper_windows(
    sitting: Sitting, inputs: Sequence[InputSpec], *, seconds: float, classes: Mapping[int, int], seed: int
) -> TracedSet:
    """Windows of one sitting as the articles make them.

    Args:
        sitting: One person recorded in one go.
        inputs: Names, modalities and points; filters and scales are not used.
        seconds: Last part of each trial that is taken; shorter trials are left out.
        classes: Class numbers by label of the data set; trials of other labels are left out.
        seed: Of the draw.
    """
    rows = _Rows()
    for trial in _labelled(sitting, classes):
        pieces = _pieces(sitting, trial, inputs)
        if isinstance(pieces, str):
            rows.drop(sitting, trial, pieces)
            continue
        stop_s = min(piece.stop_s for piece in pieces.values())
        raw = {modality: _last(piece, stop_s, seconds) for modality, piece in pieces.items()}
        if short := [modality for modality, values in raw.items() if values is None]:
            rows.drop(sitting, trial, f"its {', '.join(short)} is shorter than {seconds:g} s")
            continue
        if any(not np.isfinite(values).all() for values in raw.values() if values is not None):
            rows.drop(sitting, trial, "samples are missing in it")
            continue
        rows.trials.append(trial)
        rows.points.append({item.name: _spread(raw[item.modality], item.samples) for item in inputs})
        rows.spans.append(_span(sitting, trial, stop_s - seconds, stop_s))
    values = {}
    for item in inputs if rows.points else ():
        lower, center, upper = np.percentile([row[item.name] for row in rows.points], [25.0, 50.0, 75.0])
        spread = float(upper - lower) or 1.0  # a constant signal becomes zeros
        values[item.name] = (float(center), float(upper - lower), 0.0)
        for row in rows.points:
            row[item.name] = ((row[item.name] - center) / spread).astype(np.float32)[np.newaxis]
    statistic = Statistic(
        name=f"median and IQR of all trials of {sitting.key}", scope="own", spans=tuple(rows.spans), values=values
    )
    traced = _gather("paper", sitting, inputs, rows, classes, seconds, (statistic,))
    return traced.take(_balanced(sitting, traced.windows.labels, seed))


def _last(piece: _Piece, stop_s: float, seconds: float) -> NDArray[np.float32] | None:
    rate_hz = piece.channel.rate_hz
    stop = int(np.searchsorted(piece.times, stop_s - 0.5 / rate_hz))
    first = stop - round(seconds * rate_hz)
    return None if first < 0 else piece.values[first:stop]


def _spread(values: NDArray[np.float32] | None, samples: int) -> NDArray[np.float32]:
    if values is None:
        raise RuntimeError("a trial that is too short was kept")
    return np.interp(np.linspace(0, len(values) - 1, samples), np.arange(len(values)), values).astype(np.float32)


# -- live-segment ------------------------------------------------------------------------------------------------------


def segment_windows(
    sitting: Sitting, inputs: Sequence[InputSpec], *, classes: Mapping[int, int], seed: int
) -> TracedSet:
    """Windows of one sitting as a monitor would see its cuts.

    Args:
        sitting: One person recorded in one go.
        inputs: With filters that start afresh in each window.
        classes: Class numbers by label of the data set.
        seed: Of the draw.
    """
    rows = _Rows()
    length_s = max(item.samples / item.rate_hz for item in inputs)
    baselines, statistics = _baselines(sitting, inputs, rows)
    labelled = [trial for trial in _labelled(sitting, classes) if not trial.calibration]
    if baselines is not None:
        for trial in labelled:
            window = _trial_window(sitting, trial, inputs, 0.0)
            if isinstance(window, str):
                rows.drop(sitting, trial, window)
                continue
            cut, span, _ = window
            rows.trials.append(trial)
            rows.points.append({item.name: _scaled(cut[item.name], item, baselines) for item in inputs})
            rows.spans.append(span)
    traced = without_overlap(_gather("live-segment", sitting, inputs, rows, classes, length_s, statistics))
    # Drawn after the gate, so that the classes that remain are of one size.
    return traced.take(_balanced(sitting, traced.windows.labels, seed))


def _baselines(
    sitting: Sitting, inputs: Sequence[InputSpec], rows: _Rows
) -> tuple[dict[str, dsp.Baseline] | None, tuple[Statistic, ...]]:
    """What the calibration segments tell; None where they are too short."""
    needing = [item for item in inputs if needs_baseline(item.scale)]
    if not needing:
        return {}, ()
    points: dict[str, list[FloatArray]] = {input_key(item): [] for item in needing}
    seconds = dict.fromkeys(points, 0.0)
    refused: dict[str, Counter[str]] = {key: Counter() for key in points}
    spans = []
    for trial in _calibration_trials(sitting):
        back_s, one = 0.0, {input_key(item): item for item in needing}
        while True:
            # Each input by itself: a bed takes what is valid of one while another is not.
            found = {key: _trial_window(sitting, trial, [item], back_s) for key, item in one.items()}
            valid = {key: window for key, window in found.items() if not isinstance(window, str)}
            for key, why in found.items():
                if isinstance(why, str):
                    refused[key][why] += 1
            for key, (cut, span, _) in valid.items():
                points[key].append(cut[one[key].name])
                seconds[key] += one[key].samples / one[key].rate_hz
                spans.append(span)
            back_s += max(item.samples / item.rate_hz for item in needing)
            if back_s >= _length(sitting, trial, needing):
                break
    worst = min(seconds, key=lambda key: seconds[key])
    if seconds[worst] < LEAST_CALIBRATION_S:
        modality = next(item.modality for item in needing if input_key(item) == worst)
        why = f"{seconds[worst]:.3g} s of valid {modality} to calibrate on, {LEAST_CALIBRATION_S:g} at least"
        if refused[worst]:
            ((most, _),) = refused[worst].most_common(1)
            why += f" (refused: {most})"
        rows.drop(sitting, None, why)
        return None, ()
    baselines = {key: dsp.baseline_of(np.concatenate(pieces)) for key, pieces in points.items()}
    statistic = Statistic(
        name=f"baseline of {sitting.key}",
        scope="own",
        spans=tuple(dict.fromkeys(spans)),
        values={key: (b.center, b.spread, b.range) for key, b in baselines.items()},
    )
    return baselines, (statistic,)


def _calibration_trials(sitting: Sitting) -> list[Trial]:
    """Segments that the loader set aside, or the signal before the first stimulus of a continuous recording."""
    marked = [trial for trial in sitting.trials if trial.calibration]
    first_s = sitting.facts.get("first_stimulus_s")
    if marked or first_s is None:
        return marked
    seconds = min(first_s, _MOST_CALIBRATION_S)
    return [Trial(name="before the first stimulus", label=None, start_s=first_s - seconds, seconds=seconds)]


def _length(sitting: Sitting, trial: Trial, inputs: Sequence[InputSpec]) -> float:
    pieces = _pieces(sitting, trial, inputs)
    if isinstance(pieces, str):
        return 0.0
    return min(piece.stop_s for piece in pieces.values()) - max(float(p.times[0]) for p in pieces.values())


def _trial_window(
    sitting: Sitting, trial: Trial, inputs: Sequence[InputSpec], back_s: float
) -> tuple[dict[str, FloatArray], Span, float] | str:
    """Unscaled points of the window that ends `back_s` before the trial does, with its span, or why there is none."""
    pieces = _pieces(sitting, trial, inputs)
    if isinstance(pieces, str):
        return pieces
    # The last instant at which every channel has a sample at or after it.
    t_end = min(float(piece.times[-1]) for piece in pieces.values()) - back_s
    cut, begin_s = {}, t_end
    for item in inputs:
        piece = pieces[item.modality]
        instants = dsp.grid(t_end, samples=item.samples, rate_hz=item.rate_hz)
        if instants[0] < piece.times[0] - STAMP_TICK:
            return f"it is shorter than the {item.samples} points of {item.name}"
        points = window_points(piece.times, piece.values, item, instants, piece.channel.rate_hz)
        if isinstance(points, str):
            return f"{item.modality}: {points}"
        cut[item.name] = points
        begin_s = min(begin_s, float(instants[0]))
    return cut, _span(sitting, trial, begin_s, t_end), t_end


def window_points(
    times: FloatArray, samples: NDArray[np.float32], spec: InputSpec, instants: FloatArray, rate_hz: float
) -> FloatArray | str:
    """Points of one input of one window, as the pipeline cuts them with a filter that starts afresh.

    Args:
        times: (n,) s, ascending and without a gap; they cover `instants`.
        samples: (n,) in the modality's unit.
        spec: The input.
        instants: (samples,) s of its grid.
        rate_hz: Of the samples.

    Returns:
        (samples,) float64 in the modality's unit, or the reasons for which the quality gate refuses the window.
    """
    start_s = float(instants[-1]) - spec.samples / spec.rate_hz
    stop = int(np.searchsorted(times, instants[-1] + STAMP_TICK, side="right"))
    history = int(np.searchsorted(times, start_s - HISTORY_S.get(spec.modality, 0.0) + STAMP_TICK, side="right"))
    quality = judge(
        modality=spec.modality,
        times=times[history:stop],
        values=samples[history:stop].astype(np.float64),
        window_start=start_s,
        rate_hz=rate_hz,
    )
    if not quality.usable:
        return ", ".join(str(reason) for reason in quality.reasons)
    first = max(int(np.searchsorted(times, instants[0] + STAMP_TICK, side="right")) - 1, 0)
    last = int(np.searchsorted(times, instants[-1] - STAMP_TICK, side="left")) + 1
    raw = samples[first:last].astype(np.float64)
    if not np.isfinite(raw).all():
        return "samples are missing in it"
    design = dsp.design_filter(spec.filter, stream_rate_hz=rate_hz, target_rate_hz=spec.rate_hz)
    filtered, _ = dsp.run_filter(design, dsp.start_state(design, raw[0]), raw)
    return dsp.interpolate(instants, times[first:last], filtered)


def _scaled(points: FloatArray, spec: InputSpec, baselines: Mapping[str, dsp.Baseline]) -> Float32Array:
    baseline = baselines[input_key(spec)] if needs_baseline(spec.scale) else NOTHING
    values = dsp.scale(points, spec.scale, baseline)
    return values if spec.render is None else render(values[0], spec.render, rate_hz=spec.rate_hz)


# -- both --------------------------------------------------------------------------------------------------------------


def restarted(inputs: Iterable[InputSpec]) -> tuple[InputSpec, ...]:
    """The same inputs with filters that start afresh in each window, as cut data ask for."""
    return tuple(
        item.model_copy(update={"filter": item.filter.model_copy(update={"state": "window"})}) for item in inputs
    )


def _labelled(sitting: Sitting, classes: Mapping[int, int]) -> list[Trial]:
    return [trial for trial in sitting.trials if trial.label is not None and trial.label in classes]


def _balanced(sitting: Sitting, labels: IntArray, seed: int) -> IntArray:
    """Numbers of as many trials of each class as the smallest has, in their order."""
    digest = hashlib.blake2b(f"{seed}/draw/{sitting.key}".encode(), digest_size=16).digest()
    rng = np.random.Generator(np.random.PCG64(int.from_bytes(digest, "little")))
    there, counts = np.unique(labels, return_counts=True)
    chosen = [rng.permutation(np.flatnonzero(labels == label))[: counts.min()] for label in there]
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, dtype=np.int64)


def _class(trial: Trial, classes: Mapping[int, int]) -> int:
    if trial.label is None:
        raise RuntimeError(f"the trial {trial.name} has no label")
    return classes[trial.label]


def _span(sitting: Sitting, trial: Trial, start_s: float, stop_s: float) -> Span:
    return Span(subject=sitting.subject, recording=_clock(sitting, trial), start_s=start_s, stop_s=stop_s)


def _gather(
    protocol: str,
    sitting: Sitting,
    inputs: Sequence[InputSpec],
    rows: _Rows,
    classes: Mapping[int, int],
    seconds: float,
    statistics: tuple[Statistic, ...],
) -> TracedSet:
    n = len(rows.trials)
    shapes = {item.name: (n, *item.shape) for item in inputs}
    # Cut data do not say when a cut was: windows then count on in the data set's order.
    starts = [sitting.stretches[trial.stretch].start_s for trial in rows.trials]
    t_end = [
        (i + 1) * seconds if start is None else start + span.stop_s
        for i, (start, span) in enumerate(zip(starts, rows.spans, strict=True))
    ]
    labels = [_class(trial, classes) for trial in rows.trials]
    top = max(len(sitting.classes) - 1, 1)
    onsets = [
        span.stop_s - trial.onset_s if trial.onset_s is not None else np.inf
        for trial, span in zip(rows.trials, rows.spans, strict=True)
    ]
    windows = WindowSet(
        inputs={
            name: np.array([row[name] for row in rows.points], dtype=np.float32).reshape(shape)
            for name, shape in shapes.items()
        },
        labels=np.array(labels, dtype=np.int64),
        subjects=np.full(n, sitting.subject),
        t_end=np.array(t_end, dtype=np.float64),
        level=np.array([(trial.label or 0) / top for trial in rows.trials], dtype=np.float64),
        since_onset_s=np.array(onsets, dtype=np.float64),
        confounded=np.array([trial.group in CONFOUNDERS for trial in rows.trials], dtype=np.bool_),
        calibrated=np.full(n, bool(statistics)),
        groups=np.array([trial.group for trial in rows.trials], dtype=np.str_),
    )
    lengths = [span.stop_s - span.start_s for span in rows.spans]
    return TracedSet(
        protocol=protocol,
        inputs=tuple(inputs),
        windows=windows,
        recordings=np.array([span.recording for span in rows.spans], dtype=np.str_),
        digests=np.full(n, sitting.digest),
        start_s=np.array([span.start_s for span in rows.spans], dtype=np.float64),
        stop_s=np.array([span.stop_s for span in rows.spans], dtype=np.float64),
        seconds=np.array(lengths, dtype=np.float64),
        statistics=statistics,
        statistic=np.full(n, 0 if statistics else NO_STATISTIC, dtype=np.int64),
        left_out=tuple(rows.left_out),
    )
