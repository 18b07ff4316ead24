"""One model at the bedside: held-out sittings through the real pipeline, and what is lost on the way there.

Three questions, in this order:

1. Are live scores those of the same windows cut from whole arrays? If not, it is a bug, and nothing else is told.
2. What do live scaling and free-running windows cost, beside the articles' event-locked ones? Paired by subject.
3. When do alarms come, how many bouts of pain do they find, and how often are they false? Plain measures beside it.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch

from models.base import PainModel
from models.data.recorded import Sitting
from models.evaluation.alarm_path import AFTER_S, DELAYS_S, JOIN_S, LIMITS, AlarmCurve, Watched, alarm_curve, watched
from models.evaluation.alarm_path_plain import plain_steps
from models.evaluation.streaming_feed import LiveRun, NoBaselineError, live_run
from models.evaluation.streaming_losses import GOAL, PUBLISHED_LOSS, Losses, SubjectSteps, losses, subject_steps
from models.evaluation.streaming_offline import TOLERANCE, Equality, require_equal
from models.training.live import TorchRunner
from monitor.bundle import BundleSpec
from monitor.errors import SourceError
from monitor.scoring.scorer import Runner, has_index

MODEL_INDEX: Final = "index"
"""Name of the model's own score among the alarm curves."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EqualitySummary:
    """All live scores held against the arrays; there is one only where none differed."""

    sittings: int
    windows: int
    """Scored by both paths."""
    bit_equal: int
    """Of them, with inputs equal in every bit."""
    compared: int
    """Of them, scored a second time; equal inputs give equal scores, so the rest need not be."""
    largest_difference: float
    """Of any probability; at most `tolerance`."""
    tolerance: float
    only_arrays: int
    """Left out live because something arrived late or a clock was wrong; arrays know nothing of that."""


@dataclass(frozen=True, kw_only=True)
class StreamingResult:
    """What `stream_evaluation` found."""

    model: str
    trained: str
    """Protocol of the model's training windows: which scaling it knows."""
    paper_model: str
    """Whose the `paper` step is."""
    subjects: tuple[str, ...]
    sittings: int
    hop_s: float
    equality: EqualitySummary
    losses: Losses | None
    """None where no subject has two classes at every step."""
    coverage: float
    """Scored share of the windows after the calibration, mean over sittings."""
    prevalence: float
    """Share of the watched time in bouts of pain."""
    hours: float
    """Watched."""
    alarms: Mapping[str, AlarmCurve]
    """By name of the score: the model's index and the plain measures."""
    left_out: tuple[str, ...]
    notes: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        """Plain values; what is not finite becomes null."""
        found = _plain({field.name: getattr(self, field.name) for field in dataclasses.fields(self)})
        if self.losses is not None:
            found["losses"] |= {"published": PUBLISHED_LOSS, "goal": GOAL, "within_goal": self.losses.within_goal}
        return found


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: _plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def runner_of(model: PainModel | Runner) -> Runner:
    """A runner of a torch module, or the runner that is given."""
    return TorchRunner(model) if isinstance(model, torch.nn.Module) else model


def without_distance(spec: BundleSpec) -> BundleSpec:
    """The specification without a limit on the distance from training, which only a bundle's own files can tell."""
    limits = spec.calibration.abstain
    if limits is None or limits.distance_above is None:
        return spec
    left = None if limits.entropy_above is None else limits.model_copy(update={"distance_above": None})
    return spec.model_copy(update={"calibration": spec.calibration.model_copy(update={"abstain": left})})


def stream_evaluation(
    model: PainModel | Runner,
    spec: BundleSpec,
    sittings: Iterable[Sitting],
    *,
    seed: int,
    classes: Mapping[int, int] | None = None,
    silence_is_rest: bool = True,
    hop_s: float = 1.0,
    paper: tuple[PainModel | Runner, BundleSpec] | None = None,
    alarm_sittings: Iterable[Sitting] = (),
    scored_again: int | None = 20,
    limits: Sequence[float] = LIMITS,
    delays_s: Sequence[float] = DELAYS_S,
    on_sitting: Callable[[str], None] | None = None,
) -> StreamingResult:
    """Judge one model on sittings of people whom nothing of it has seen.

    Args:
        model: The module, or whatever runs it. A module knows no distance from training: a limit on that is left out.
        spec: Its specification; inputs, classes, temperature and limits of abstention count.
        sittings: Continuous ones; read one by one.
        seed: Of piece sizes, of drawn rests and of intervals.
        classes: Class numbers of the model by label of the data set; None where they are the same.
        silence_is_rest: Whether time without a trial is known to be without a stimulus.
        hop_s: Seconds between windows.
        paper: A model that was trained for the scaling of the articles, for the first step; None: the same model, which
            has then never seen that scaling.
        alarm_sittings: Further sittings for the alarms alone, such as long ones with little pain.
        scored_again: See `models.evaluation.streaming_offline.require_equal`.
        limits: Of the alarm grid.
        delays_s: Of the alarm grid.
        on_sitting: Told which sitting is done.

    Raises:
        SourceError: If there is no sitting, one lacks a signal or has other classes, the subjects are among those that
            the specification says the model has seen, or none can be calibrated.
        LiveDifferenceError: If a live score differs from the arrays': a defect of ours.
    """
    runner = runner_of(model)
    if isinstance(model, torch.nn.Module):
        spec = without_distance(spec)
    paper_pair = None if paper is None else (paper[1], runner_of(paper[0]))
    told: list[Equality] = []
    compared: list[SubjectSteps] = []
    left_out: list[str] = []
    own: list[Watched] = []
    curves: dict[str, list[Watched]] = {}
    subjects: list[str] = []

    def follow(sitting: Sitting, *, with_losses: bool) -> None:
        run = _run(sitting, spec, runner, seed=seed, hop_s=hop_s, left_out=left_out)
        if run is None:
            return
        subjects.append(run.subject)
        told.append(require_equal(run, spec, runner, scored_again=scored_again))
        if with_losses:
            found = subject_steps(
                run,
                spec,
                runner,
                classes=_classes(sitting, spec, classes),
                silence_is_rest=silence_is_rest,
                seed=seed,
                paper=paper_pair,
            )
            if isinstance(found, str):
                left_out.append(f"{run.key} is not in the losses: {found}")
            else:
                compared.append(found)
        own.append(watched(run))
        if has_index(spec):
            curves.setdefault(MODEL_INDEX, []).append(own[-1])
        for name, steps in plain_steps(run).items():
            curves.setdefault(name, []).append(watched(run, steps))

    for items, with_losses in ((sittings, True), (alarm_sittings, False)):
        for sitting in items:
            follow(sitting, with_losses=with_losses)
            if on_sitting is not None:
                on_sitting(sitting.key)
    if not told:
        raise SourceError(
            "no sitting could be run" + "".join(f"; {why}" for why in left_out[:3]),
            todo="Give continuous sittings with at least 30 s of rest before the first stimulus",
        )
    return _result(
        spec,
        paper_pair,
        subjects=subjects,
        hop_s=hop_s,
        told=told,
        found=losses(compared, seed=seed),
        alarms={
            name: curve
            for name, items in curves.items()
            if (curve := alarm_curve(items, score=name, seed=seed, limits=limits, delays_s=delays_s)) is not None
        },
        watched_items=own,
        left_out=left_out,
    )


def _run(
    sitting: Sitting, spec: BundleSpec, runner: Runner, *, seed: int, hop_s: float, left_out: list[str]
) -> LiveRun | None:
    seen = {code for part, codes in spec.training.subjects.items() if part != "test" for code in codes}
    seen |= set(spec.calibration.subjects)
    if sitting.subject in seen:
        raise SourceError(
            f"{spec.name} has seen {sitting.subject} in training: nothing that it does there counts",
            todo="Give people of its test part, or others",
        )
    try:
        return live_run(sitting, spec, runner, seed=seed, hop_s=hop_s)
    except NoBaselineError as error:
        left_out.append(f"{sitting.key}: {error}")
    except KeyError as error:
        raise SourceError(str(error.args[0]), todo="Take a model for the signals that there are") from None
    return None


def _classes(sitting: Sitting, spec: BundleSpec, classes: Mapping[int, int] | None) -> Mapping[int, int]:
    if classes is not None:
        return classes
    if len(sitting.classes) != len(spec.classes):
        model = ", ".join(item.name for item in spec.classes)
        raise SourceError(
            f"the data have the classes {', '.join(sitting.classes)}, the model {model}",
            where=sitting.key,
            todo="Say which is which, e.g. --classes 0=0,4=1",
        )
    return {i: i for i in range(len(sitting.classes))}


def _result(
    spec: BundleSpec,
    paper: tuple[BundleSpec, Runner] | None,
    *,
    subjects: Sequence[str],
    hop_s: float,
    told: Sequence[Equality],
    found: Losses | None,
    alarms: Mapping[str, AlarmCurve],
    watched_items: Sequence[Watched],
    left_out: Sequence[str],
) -> StreamingResult:
    hours = sum(item.hours for item in watched_items)
    pain_h = sum(end - start for item in watched_items for start, end in item.bouts) / 3600.0
    return StreamingResult(
        model=f"{spec.name} {spec.version}",
        trained=spec.training.protocol,
        paper_model=f"{paper[0].name} {paper[0].version}" if paper else f"{spec.name} itself",
        subjects=tuple(dict.fromkeys(subjects)),
        sittings=len(told),
        hop_s=hop_s,
        equality=EqualitySummary(
            sittings=len(told),
            windows=sum(item.windows for item in told),
            bit_equal=sum(item.bit_equal for item in told),
            compared=sum(item.compared for item in told),
            largest_difference=max(item.largest_difference for item in told),
            tolerance=TOLERANCE,
            only_arrays=sum(item.only_arrays for item in told),
        ),
        losses=found,
        coverage=sum(item.covered for item in watched_items) / len(watched_items),
        prevalence=pain_h / hours if hours else float("nan"),
        hours=hours,
        alarms=alarms,
        left_out=tuple(left_out),
        notes=_notes(spec, paper, MODEL_INDEX in alarms),
    )


def _notes(spec: BundleSpec, paper: tuple[BundleSpec, Runner] | None, own: bool) -> tuple[str, ...]:
    notes = []
    if paper is None:
        how = f"trained on {spec.training.protocol} windows" if spec.training.protocol != "none" else "not trained"
        notes.append(
            f"The paper step is the same model, {how}, under the scaling of the articles: the loss is that of the "
            "scaling for this model, not that of a model trained for it"
        )
    else:
        notes.append(f"The paper step is {paper[0].name}, trained on {paper[0].training.protocol} windows")
    notes.append(
        f"Alarms: bouts are stimuli within {JOIN_S:g} s of each other; an announcement later than {AFTER_S:g} s after "
        "its bout is false; the point of a rate is chosen among these same sittings"
    )
    if not own:
        notes.append("The model draws no index, so it has no alarms of its own")
    notes.append("Research use only: no limit here is validated, and none of it says how anybody's pain is")
    return tuple(notes)
