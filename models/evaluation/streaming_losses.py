"""What a model loses on its way from the articles' windows to a bedside, step by step, paired by subject.

| step | windows | scaling |
| --- | --- | --- |
| `paper` | one for each event | unfiltered, centred and divided by median and IQR of all events of the sitting |
| `live_events` | the same | causal filter, baseline of the calibration before the first stimulus |
| `free_running` | every hop, by the label rule | the same, through the pipeline |

A painful event's window begins 1 s after its onset; that is about where the published cuts lie. A rest that the data
set lists as a trial gives the window in its middle; where it lists none, as many windows of rest are drawn as there are
events of a painful class. Balanced accuracy is taken of each subject and then averaged; differences are
paired.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from models.data.base import UNLABELLED, IntArray
from models.data.recorded import FloatArray
from models.data.streams import LATE_ONSET_S, label_by_share
from models.evaluation.resampling import mean_with_interval
from models.evaluation.streaming_feed import LiveRun
from models.evaluation.streaming_offline import ArrayPath, calibrated_arrays
from models.evaluation.summary import Figure
from monitor.assessment import drawn
from monitor.bundle import BundleSpec
from monitor.scoring.scorer import Runner

STEPS: Final = ("paper", "live_events", "free_running")

PUBLISHED_LOSS: Final = 0.0609
"""Offline 79.23 % to real-time 73.14 % (FCN on AI4Pain, Sensors 2026); how it was fed there is not known."""
GOAL: Final = 0.02
"""What live scaling may cost on the same events."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectSteps:
    """One subject's balanced accuracy at each step."""

    subject: str
    events: int
    """Windows that both of the first two steps could take."""
    events_lost: int
    """Events of which the live path refuses the window, or has no signal; they count in no step."""
    hops: int
    """Labelled free-running windows."""
    accuracy: Mapping[str, float]
    """By step, balanced, 0..1."""


@dataclass(frozen=True, kw_only=True)
class Losses:
    """The three steps over subjects."""

    subjects: tuple[SubjectSteps, ...]
    accuracy: Mapping[str, Figure]
    """By step: mean over subjects of the balanced accuracy, with its interval."""
    scaling: Figure
    """`paper` less `live_events`: what knowing the future is worth. Negative: live is better."""
    free_running: Figure
    """`live_events` less `free_running`."""
    whole: Figure
    """`paper` less `free_running`."""
    left_out: tuple[str, ...] = ()
    """Subjects without two classes at every step, and why."""

    @property
    def within_goal(self) -> bool:
        """Whether live scaling costs at most `GOAL`, by the mean."""
        return self.scaling.value <= GOAL


def event_windows(
    run: LiveRun, classes: Mapping[int, int], *, silence_is_rest: bool, seed: int
) -> tuple[FloatArray, IntArray]:
    """Where the event-locked windows of a sitting end, and their classes.

    Args:
        run: The sitting.
        classes: Class numbers by label of the data set.
        silence_is_rest: Whether time without a trial is known to be without a stimulus.
        seed: Of the draw of rests, where the data set lists none.

    Returns:
        (n,) seconds, ascending, and (n,) class numbers. All lie after the calibration, and the label rule agrees.
    """
    ends, wanted = [], []
    for start, end, label in run.trials:
        # A rest that is shorter than a window gives none; a stimulus may be, since the answer outlasts it.
        if label is not None and label in classes and (label > 0 or end - start >= run.length_s):
            first = start + LATE_ONSET_S if label > 0 else 0.5 * (start + end - run.length_s)
            ends.append(first + run.length_s)
            wanted.append(label)
    t_end, labels = np.array(ends, dtype=np.float64), np.array(wanted, dtype=np.int64)
    good = _labels(run, t_end, silence_is_rest) == labels
    good &= (t_end - run.length_s >= run.calibrated_at) & (t_end <= run.end_s)
    t_end, labels = t_end[good], labels[good]
    if 0 in classes and not np.any(labels == 0) and len(labels):
        rest = _drawn_rests(run, round(len(labels) / len(np.unique(labels))), silence_is_rest, seed)
        t_end, labels = np.concatenate([t_end, rest]), np.concatenate([labels, np.zeros(len(rest), dtype=np.int64)])
    order = np.argsort(t_end, kind="stable")
    return t_end[order], np.array([classes[label] for label in labels[order].tolist()], dtype=np.int64)


def _drawn_rests(run: LiveRun, count: int, silence_is_rest: bool, seed: int) -> FloatArray:
    """Ends of windows of rest that do not overlap, drawn from all of the sitting."""
    t_end = np.array([score.t_end for score in run.scores])
    t_end = t_end[t_end - run.length_s >= run.calibrated_at]
    t_end = t_end[_labels(run, t_end, silence_is_rest) == 0]
    rng = np.random.Generator(np.random.PCG64([seed, uuid.uuid5(uuid.NAMESPACE_OID, run.key).int % 2**63]))
    chosen: list[float] = []
    for candidate in rng.permutation(t_end).tolist():
        if len(chosen) == count:
            break
        if all(abs(candidate - other) >= run.length_s for other in chosen):
            chosen.append(candidate)
    return np.array(sorted(chosen), dtype=np.float64)


def _labels(run: LiveRun, t_end: FloatArray, silence_is_rest: bool) -> IntArray:
    return label_by_share(t_end, run.length_s, run.trials, silence_is_rest=silence_is_rest)


def hop_labels(run: LiveRun, classes: Mapping[int, int], *, silence_is_rest: bool) -> IntArray:
    """Class numbers of all windows of a live run by the label rule, (scores,); `UNLABELLED` before the calibration."""
    t_end = np.array([score.t_end for score in run.scores], dtype=np.float64)
    raw = _labels(run, t_end, silence_is_rest)
    labels = np.array([classes.get(label, UNLABELLED) for label in raw.tolist()], dtype=np.int64)
    return np.where(t_end - run.length_s >= run.calibrated_at, labels, UNLABELLED)


def subject_steps(
    run: LiveRun,
    spec: BundleSpec,
    runner: Runner,
    *,
    classes: Mapping[int, int],
    silence_is_rest: bool,
    seed: int,
    paper: tuple[BundleSpec, Runner] | None = None,
) -> SubjectSteps | str:
    """One subject at each step, or why it cannot be compared.

    Args:
        run: The sitting, live.
        spec: The model's specification.
        runner: Runs it.
        classes: Class numbers by label of the data set.
        silence_is_rest: See `event_windows`.
        seed: See `event_windows`.
        paper: The model of the first step, where one was trained for its scaling; None: the same model.
    """
    t_end, labels = event_windows(run, classes, silence_is_rest=silence_is_rest, seed=seed)
    path, baselines = calibrated_arrays(run, spec)
    live = [path.window(float(t), baselines) for t in t_end]
    paper_spec, paper_runner = paper or (spec, runner)
    paper_path = path if paper is None else ArrayPath(run.lines, paper_spec)
    offline = _paper_windows(paper_path, paper_spec, t_end)
    both = [i for i in range(len(t_end)) if not isinstance(live[i], str) and offline[i] is not None]
    true = labels[both]
    hops = hop_labels(run, classes, silence_is_rest=silence_is_rest)
    scored = [(score, label) for score, label in zip(run.scores, hops, strict=True) if score.probabilities]
    scored = [(score, label) for score, label in scored if label != UNLABELLED]
    hop_true = np.array([label for _, label in scored], dtype=np.int64)
    if min(len(np.unique(true)), len(np.unique(hop_true))) < 2:
        return f"{len(both)} events and {len(scored)} labelled hops do not have two classes each"
    told = {
        "paper": [_told(paper_spec, paper_runner, offline[i]) for i in both],
        "live_events": [_told(spec, runner, live[i]) for i in both],
        "free_running": [int(np.argmax(score.probabilities or ())) for score, _ in scored],
    }
    return SubjectSteps(
        subject=run.subject,
        events=len(both),
        events_lost=len(t_end) - len(both),
        hops=len(scored),
        accuracy={
            step: balanced_accuracy(hop_true if step == "free_running" else true, np.array(told[step]))
            for step in STEPS
        },
    )


def _paper_windows(path: ArrayPath, spec: BundleSpec, t_end: FloatArray) -> list[dict[str, np.ndarray] | None]:
    """Windows as `models.data.segments.paper_windows` scales them: by all events of the sitting taken together."""
    found: list[dict[str, np.ndarray] | None] = [{} for _ in t_end]
    for item in spec.inputs:
        raw = [path.raw(item, float(t)) for t in t_end]
        there = [values for values in raw if values is not None]
        lower, center, upper = np.percentile(there, [25.0, 50.0, 75.0]) if there else (0.0, 0.0, 1.0)
        spread = float(upper - lower) or 1.0
        for i, values in enumerate(raw):
            window = found[i]
            if values is None or window is None:
                found[i] = None
            else:
                window[item.name] = ((values - center) / spread).astype(np.float32)[np.newaxis]
    return [None if window is None else drawn(spec, window) for window in found]


def _told(spec: BundleSpec, runner: Runner, arrays: object) -> int:
    if not isinstance(arrays, dict):
        raise TypeError("a window that is not there was kept")
    return int(np.argmax(runner.score(spec.name, arrays).logits))


def balanced_accuracy(true: IntArray, told: IntArray) -> float:
    """Mean over the classes that there are of the share of their windows that are told right."""
    return float(np.mean([np.mean(told[true == label] == label) for label in np.unique(true)]))


def losses(subjects: Sequence[SubjectSteps], *, seed: int, left_out: Sequence[str] = ()) -> Losses | None:
    """The steps over subjects, differences paired; None where nobody can be compared.

    A subject with several sittings counts once, by the mean of them.
    """
    if not subjects:
        return None
    names = list(dict.fromkeys(item.subject for item in subjects))
    table = np.array(
        [[np.mean([s.accuracy[step] for s in subjects if s.subject == name]) for step in STEPS] for name in names]
    )
    return Losses(
        subjects=tuple(subjects),
        accuracy={step: mean_with_interval(table[:, i], seed=seed) for i, step in enumerate(STEPS)},
        scaling=mean_with_interval(table[:, 0] - table[:, 1], seed=seed),
        free_running=mean_with_interval(table[:, 1] - table[:, 2], seed=seed),
        whole=mean_with_interval(table[:, 0] - table[:, 2], seed=seed),
        left_out=tuple(left_out),
    )
