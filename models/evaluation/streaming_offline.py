"""The windows of a whole recording as arrays: filtered once from beginning to end, cut, judged and scaled at will.

It is the offline path that a live score must equal. Nothing of the pipeline's bookkeeping is used: no ring, no chunk,
no watermark. What it shares with it are the functions on arrays (`monitor.dsp`, `monitor.quality.judge`) and, for
recordings that state a time for every sample, the fit of those times.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.data.recorded import FloatArray
from models.data.segments import window_points
from models.data.streams import Line
from models.evaluation.streaming_feed import LiveRun, digest_of
from monitor import dsp
from monitor.assessment import drawn
from monitor.bundle import BundleSpec, InputSpec
from monitor.calibration import NOTHING, input_key, needs_baseline
from monitor.quality import HISTORY_S, judge
from monitor.scoring.scorer import Runner, probabilities
from monitor.timeline import Timeline, tolerated_periods
from monitor.types import STAMP_TICK, Float32Array

TOLERANCE: Final = 1e-6
"""Largest difference of a probability between the two paths."""

TIME_REASONS: Final = frozenset({"late", "clock_fault", "rate_fault"})
"""Reasons for which a live window is left out that arrays cannot know: they lie in when something arrived."""


class LiveDifferenceError(RuntimeError):
    """The pipeline and the arrays disagree: a defect of ours, named by subject, window and difference."""


@dataclass(frozen=True, slots=True, eq=False)
class _Segment:
    """Samples of one signal without a gap."""

    times: FloatArray
    samples: NDArray[np.float32]
    filtered: dict[str, FloatArray]
    """By name of the input, where its filter is carried."""


@dataclass(frozen=True, slots=True, eq=False)
class Equality:
    """How far the live scores of one sitting are those of the arrays."""

    windows: int
    """Scored by both."""
    bit_equal: int
    """Of them, with inputs that are equal in every bit."""
    compared: int
    """Of them, scored again from the arrays."""
    largest_difference: float
    """Of any probability."""
    only_arrays: int
    """Left out live for a reason of time alone (`TIME_REASONS`)."""


class ArrayPath:
    """One sitting's signals as whole arrays.

    Args:
        lines: The signals.
        spec: What the model reads.
    """

    def __init__(self, lines: Sequence[Line], spec: BundleSpec) -> None:
        self._spec = spec
        self._lines = {line.info.modality: line for line in lines}
        self._segments: dict[str, list[_Segment]] = {}
        self._designs: dict[str, dsp.CausalFilter] = {}
        for item in spec.inputs:
            line = self._lines[item.modality]
            if item.modality not in self._segments:
                self._segments[item.modality] = [_Segment(t, x, {}) for t, x in _contiguous(line)]
            design = dsp.design_filter(item.filter, stream_rate_hz=line.info.rate_hz, target_rate_hz=item.rate_hz)
            self._designs[item.name] = design
            if item.filter.state == "carried":
                for segment in self._segments[item.modality]:
                    values = segment.samples.astype(np.float64)
                    segment.filtered[item.name], _ = dsp.run_filter(design, dsp.start_state(design, values[0]), values)

    def points(self, item: InputSpec, t_end: float) -> FloatArray | str:
        """Filtered, unscaled points of one input, (samples,) in the modality's unit, or why there are none."""
        instants = dsp.grid(t_end, samples=item.samples, rate_hz=item.rate_hz)
        segment = self._covering(item, instants)
        if segment is None:
            return "no signal"
        rate_hz = self._lines[item.modality].info.rate_hz
        times = segment.times
        if item.filter.state != "carried":
            return window_points(times, segment.samples, item, instants, rate_hz)
        if times[0] + self._designs[item.name].warmup_s > instants[0] + STAMP_TICK:
            return "warming up"
        start_s = t_end - item.samples / item.rate_hz
        history = int(np.searchsorted(times, start_s - HISTORY_S.get(item.modality, 0.0) + STAMP_TICK, side="right"))
        stop = int(np.searchsorted(times, t_end + STAMP_TICK, side="right"))
        quality = judge(
            modality=item.modality,
            times=times[history:stop],
            values=segment.samples[history:stop].astype(np.float64),
            window_start=start_s,
            rate_hz=rate_hz,
        )
        if not quality.usable:
            return ", ".join(str(reason) for reason in quality.reasons)
        first = int(np.searchsorted(times, instants[0] + STAMP_TICK, side="right")) - 1
        last = int(np.searchsorted(times, instants[-1] - STAMP_TICK, side="left")) + 1
        return dsp.interpolate(instants, times[first:last], segment.filtered[item.name][first:last])

    def raw(self, item: InputSpec, t_end: float) -> FloatArray | None:
        """Unfiltered points at the same instants, as the articles take them; None where there is no signal."""
        instants = dsp.grid(t_end, samples=item.samples, rate_hz=item.rate_hz)
        segment = self._covering(item, instants)
        if segment is None:
            return None
        first = int(np.searchsorted(segment.times, instants[0] + STAMP_TICK, side="right")) - 1
        last = int(np.searchsorted(segment.times, instants[-1] - STAMP_TICK, side="left")) + 1
        return dsp.interpolate(instants, segment.times[first:last], segment.samples[first:last].astype(np.float64))

    def window(self, t_end: float, baselines: Mapping[str, dsp.Baseline]) -> dict[str, Float32Array] | str:
        """What the model is given of the window that ends at `t_end`, or why there is nothing."""
        scaled: dict[str, Float32Array] = {}
        for item in self._spec.inputs:
            points = self.points(item, t_end)
            if isinstance(points, str):
                return f"{item.modality}: {points}"
            baseline: dsp.Baseline | None = NOTHING
            if needs_baseline(item.scale):
                baseline = baselines.get(input_key(item)) or dsp.fallback_baseline(item.scale)
            if baseline is None:
                return f"{item.modality}: not calibrated"
            scaled[item.name] = dsp.scale(points, item.scale, baseline)
        return drawn(self._spec, scaled)

    def _covering(self, item: InputSpec, instants: FloatArray) -> _Segment | None:
        for segment in reversed(self._segments[item.modality]):
            if segment.times[0] <= instants[0] + STAMP_TICK and segment.times[-1] >= instants[-1] - STAMP_TICK:
                return segment
        return None

    @property
    def spec(self) -> BundleSpec:
        """What the model reads."""
        return self._spec


class ArrayCalibration:
    """The baseline of a sitting from arrays: the newest hop of every valid window before the first stimulus.

    Args:
        path: The arrays.
        run: Says until when, how long and how often.
    """

    def __init__(self, path: ArrayPath, run: LiveRun) -> None:
        self._path = path
        self._until_s, self._needed_s, self._hop_s = run.first_s, run.calibration_s, run.hop_s
        self._pieces: dict[str, list[FloatArray]] = {}
        self.found: dict[str, dsp.Baseline] = {}

    def take(self, t_end: float) -> None:
        """Add the newest hop of the window that ends at `t_end`, where it is valid and still wanted."""
        if not 0.0 < t_end <= self._until_s:
            return
        taken = set()
        for item in self._path.spec.inputs:
            key = input_key(item)
            if not needs_baseline(item.scale) or key in self.found or key in taken:
                continue
            points = self._path.points(item, t_end)
            if isinstance(points, str):
                continue
            taken.add(key)
            count = min(len(points), max(1, int(self._hop_s * item.rate_hz + 1e-9)))
            pieces = self._pieces.setdefault(key, [])
            pieces.append(points[-count:])
            if len(pieces) * self._hop_s >= self._needed_s - 1e-9:
                self.found[key] = dsp.baseline_of(np.concatenate(pieces))


def calibrated_arrays(run: LiveRun, spec: BundleSpec) -> tuple[ArrayPath, Mapping[str, dsp.Baseline]]:
    """The arrays of a sitting that was run live, and the baseline that they give, by input key.

    Args:
        run: Says when windows ended, what calibrated, and how long.
        spec: What the model reads.
    """
    path = ArrayPath(run.lines, spec)
    calibration = ArrayCalibration(path, run)
    for score in run.scores:
        if score.t_end > run.calibrated_at:
            break
        calibration.take(score.t_end)
    return path, calibration.found


def require_equal(run: LiveRun, spec: BundleSpec, runner: Runner, *, scored_again: int | None = None) -> Equality:
    """Hold every live score against the arrays.

    Args:
        run: The sitting, live.
        spec: The model's specification.
        runner: Runs it, giving the same for the same input.
        scored_again: Of the windows whose inputs are equal in every bit, so many are scored again, evenly spread; None
            for all. All others are always scored again.

    Raises:
        LiveDifferenceError: If a probability differs by more than `TOLERANCE`, or a window is scored by one path only.
    """
    path = ArrayPath(run.lines, spec)
    calibration = ArrayCalibration(path, run)
    windows = bit_equal = compared = only_arrays = 0
    largest = 0.0
    digests = iter(run.digests)
    live = sum(not score.absent for score in run.scores)
    again = (
        set(range(live)) if scored_again is None else set(np.linspace(0, max(live - 1, 0), scored_again).astype(int))
    )
    for score in run.scores:
        # A window is scored by the baseline from before it, and only then adds to it.
        arrays = path.window(score.t_end, calibration.found)
        calibration.take(score.t_end)
        where = f"{run.key}, window {score.k} that ends at {score.t_end:.3f} s"
        if score.absent:
            if isinstance(arrays, str):
                continue
            if all(reason.rpartition(":")[2] in TIME_REASONS for reason in score.absent):
                only_arrays += 1
                continue
            raise LiveDifferenceError(f"a bug: {where}: live it is left out ({', '.join(score.absent)}), offline not")
        digest = next(digests)
        if isinstance(arrays, str):
            raise LiveDifferenceError(f"a bug: {where}: offline it is left out ({arrays}), live it is scored")
        same = digest == digest_of(arrays)
        if not same or windows in again:
            offline = probabilities(spec, runner.score(spec.name, arrays).logits)
            differences = [abs(a - b) for a, b in zip(score.probabilities or (), offline, strict=True)]
            if not max(differences) <= TOLERANCE:
                raise LiveDifferenceError(
                    f"a bug: {where}: probabilities differ by {max(differences):.3g} (at most {TOLERANCE:g}): "
                    f"live {score.probabilities}, offline {offline}"
                )
            largest = max(largest, *differences)
            compared += 1
        windows += 1
        bit_equal += same
    return Equality(windows, bit_equal, compared, largest, only_arrays)


def _contiguous(line: Line) -> Iterator[tuple[FloatArray, NDArray[np.float32]]]:
    """Stretches of a line without a gap, with the time of each sample."""
    if not line.regular:
        timeline = Timeline(line.info)
        finite = np.isfinite(line.samples)
        placed, _ = timeline.place(line.stamps, None if finite.all() else finite, None)
        times: list[FloatArray] = []
        samples: list[NDArray[np.float32]] = []
        for run in placed:
            if run.new_segment and times:
                yield np.concatenate(times), np.concatenate(samples)
                times, samples = [], []
            times.append(run.times)
            samples.append(line.samples[run.start : run.start + len(run.times)])
        if times:
            yield np.concatenate(times), np.concatenate(samples)
        return
    period_s = 1.0 / line.info.rate_hz
    good = np.isfinite(line.samples)
    steps = np.diff(line.stamps) > (1.0 + tolerated_periods(line.info.rate_hz)) * period_s
    breaks = np.flatnonzero(np.diff(good.astype(np.int8)) != 0) + 1
    edges = np.unique([0, *breaks.tolist(), *(np.flatnonzero(steps) + 1).tolist(), len(good)])
    for first, last in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if good[first]:
            yield line.stamps[first] + np.arange(last - first) * period_s, line.samples[first:last]
