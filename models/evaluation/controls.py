"""Trainings that must find nothing, a leak that must be caught, and what can be told without any physiology.

| control | what it must show |
| --- | --- |
| canary | labels permuted within each subject before the first stage: chance, or something has seen the test part |
| leak | splits and weights that know the test part are refused; and what they would have given |
| time | what the time in the session tells by itself: the order of stimuli, not pain |
| amplitude | what the spread of each signal in the window tells by itself |
| identity | how well people can be told apart by a model's features: what it could remember of them |

What chance is: `models.evaluation.chance`.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from models.data.base import UNLABELLED, IntArray, WindowSet, join
from models.data.canary import permuted
from models.data.guards import Divided, LeakError, Learnt, Parts, divide
from models.data.traced import NO_STATISTIC, TracedSet, join_traced
from models.evaluation.chance import DRAWS, WITHIN, Chance, against_chance

if TYPE_CHECKING:
    from models.training.folds import Job
    from models.training.recipe import Fitted, Recipe, Task
    from models.training.run import Plan

FloatArray = NDArray[np.float64]

_TREES: Final = 100
_LEAST_OF_PERSON: Final = 4


# -- canary ------------------------------------------------------------------------------------------------------------


def canary(
    traced: TracedSet, split: Divided, recipe: Recipe, task: Task, *, seed: int, draws: int = DRAWS
) -> dict[str, Chance]:
    """Train on labels without meaning, and judge the test part by labels without meaning.

    Args:
        traced: Windows with their true labels.
        split: As for the true training.
        recipe: Trained once on the permuted set.
        task: As for the true training.
        seed: Of the permutation and the training.
        draws: Of the chance interval.

    Returns:
        By method of the recipe; inside the interval unless something leaks.
    """
    parts = divide(permuted(traced, seed=seed), split)
    fitted = recipe.fit(parts, task, seed=seed)
    test = parts.open_test([item for method in fitted.values() for item in method.learnt]).labelled()
    return {
        name: against_chance(
            test.labels, method.tell(test).logits.argmax(axis=1), test.subjects, seed=seed, draws=draws
        )
        for name, method in fitted.items()
    }


# -- a leak that must be caught ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class _Leaked:
    """A division that nobody should accept; `models.data.splits.Split` does not even let it be written down."""

    name: str
    parts: Mapping[str, tuple[str, ...]]


def _refusal(attempt: Callable[[], object]) -> str:
    """What a guard said, or nothing if it let the attempt pass."""
    try:
        attempt()
    except LeakError as error:
        return str(error)
    return ""


def refused_leaks(traced: TracedSet, split: Divided) -> dict[str, str]:
    """What the guards say of three leaks made on purpose; an empty text is a guard that does not work.

    Args:
        traced: Windows.
        split: A sound division of them.
    """
    parts = {part: tuple(subjects) for part, subjects in split.parts.items()}
    twice = {**parts, "train": (*parts["train"], parts["test"][0])}
    renamed = f"{parts['test'][0]}, again"
    copied = traced.take(np.flatnonzero(traced.windows.subjects == parts["test"][0]))
    same_samples = _with_copy(traced, copied, renamed)
    under_two_names = {**parts, "train": (*parts["train"], renamed)}
    seen = Learnt(name="weights of an earlier fold", kind="weights", subjects=frozenset(parts["test"]))
    return {
        "subject": _refusal(lambda: divide(traced, _Leaked(name="a subject in two parts", parts=twice))),
        "recording": _refusal(
            lambda: divide(same_samples, _Leaked(name="a recording under two names", parts=under_two_names))
        ),
        "weights": _refusal(lambda: divide(traced, split).open_test([seen])),
    }


def _with_copy(traced: TracedSet, copied: TracedSet, name: str) -> TracedSet:
    """The set with one subject's windows once more, under another name."""
    # Who has no hash of their samples gets one, or there would be nothing to find them by.
    made = "made for the control"
    own = np.isin(traced.windows.subjects, np.unique(copied.windows.subjects)) & (traced.digests == "")
    again = replace(
        copied,
        windows=replace(copied.windows, subjects=np.full(len(copied), name)),
        digests=np.where(copied.digests == "", made, copied.digests),
        statistic=np.full(len(copied), NO_STATISTIC),
    )
    return join_traced([replace(traced, digests=np.where(own, made, traced.digests)), again])


def leak_shown(
    traced: TracedSet, split: Divided, task: Task, *, seed: int, draws: int = DRAWS
) -> tuple[Chance, Chance]:
    """What a leak is worth: labels without meaning, a forest that has seen the test part, and one that has not.

    Returns:
        (honest, leaked); the guards are passed by for the second, which is why it is here and nowhere else.
    """
    from models.evaluation.baselines import PlainRecipe

    recipe = PlainRecipe(name="random-forest", trees=_TREES)
    honest = canary(traced, split, recipe, task, seed=seed, draws=draws)[recipe.name]
    windows = permuted(traced, seed=seed).windows
    of = {part: windows.of(subjects) for part, subjects in split.parts.items()}
    leaked = Parts(
        "leaked on purpose",
        {**of, "train": join([of["train"], of["test"]])},
        {**split.parts, "train": (*split.parts["train"], *split.parts["test"])},
    )
    method = recipe.fit(leaked, task, seed=seed)[recipe.name]
    test = of["test"].labelled()
    told = method.tell(test).logits.argmax(axis=1)
    return honest, against_chance(test.labels, told, test.subjects, seed=seed, draws=draws)


# -- what can be told without physiology -------------------------------------------------------------------------------


def time_features(traced: TracedSet) -> FloatArray:
    """(n, 3) of each window: its end in seconds, its place in its recording, and the same as a share, 0..1."""
    place, share = np.zeros(len(traced)), np.zeros(len(traced))
    for recording in np.unique(traced.recordings):
        own = np.flatnonzero(traced.recordings == recording)
        rank = np.argsort(np.argsort(traced.windows.t_end[own], kind="stable"), kind="stable")
        place[own], share[own] = rank, rank / max(len(own) - 1, 1)
    return np.stack([traced.windows.t_end, place, share], axis=1)


def amplitude_features(windows: WindowSet) -> FloatArray:
    """(n, inputs) logarithm of the spread of each input in the window."""
    names = sorted(windows.inputs)
    spreads = [np.asarray(windows.inputs[name], np.float64).reshape(len(windows), -1).std(axis=1) for name in names]
    return np.log(np.stack(spreads, axis=1) + 1e-6)


def told_by(
    features: FloatArray, traced: TracedSet, split: Divided, *, forest: bool, seed: int, draws: int = DRAWS
) -> Chance:
    """How well features alone tell the true labels of the test part, learnt from the training part.

    Args:
        features: (n, F) of all windows of `traced`.
        traced: With the true labels.
        split: The division.
        forest: A random forest, else a logistic regression.
        seed: Of the fit.
        draws: Of the chance interval.
    """
    windows = traced.windows
    known = windows.labels != UNLABELLED
    train = known & np.isin(windows.subjects, list(split.parts["train"]))
    test = known & np.isin(windows.subjects, list(split.parts["test"]))
    if forest:
        model = RandomForestClassifier(_TREES, class_weight="balanced", min_samples_leaf=5, random_state=seed, n_jobs=1)
    else:
        model = make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=2000))
    told = model.fit(features[train], windows.labels[train]).predict(features[test])
    return against_chance(windows.labels[test], told, windows.subjects[test], seed=seed, draws=draws)


def identity_probe(
    features: FloatArray,
    subjects: NDArray[np.str_],
    t_end: FloatArray,
    labels: IntArray | None = None,
    *,
    seed: int,
    draws: int = DRAWS,
) -> Chance | None:
    """How well people can be told by features: learnt from the first half of each one's windows, asked of the second.

    Halves are of each class by itself, or a person's late pain would be compared with their early rest.

    Args:
        features: (n, D) of a model, of people it was not trained on.
        subjects: (n,).
        t_end: (n,) seconds.
        labels: (n,) classes.
        seed: Of the chance interval.
        draws: Of it.

    Returns:
        Balanced accuracy over people (chance is about 1 / people); None where fewer than two people have four windows.
    """
    first = np.zeros(len(subjects), dtype=np.bool_)
    used = np.zeros(len(subjects), dtype=np.bool_)
    for subject in np.unique(subjects):
        own = np.flatnonzero(subjects == subject)
        if len(own) >= _LEAST_OF_PERSON:
            used[own] = True
            kinds = np.zeros(len(own), dtype=np.int64) if labels is None else labels[own]
            for kind in np.unique(kinds):
                same = own[kinds == kind]
                first[same[np.argsort(t_end[same], kind="stable")][: (len(same) + 1) // 2]] = True
    people, numbers = np.unique(subjects[used], return_inverse=True)
    late = subjects[used & ~first]
    if len(people) < 2 or not features.shape[1] or len(np.unique(late)) < len(people):
        return None
    x, early = np.nan_to_num(features[used]), first[used]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500, C=0.1))
    told = model.fit(x[early], numbers[early]).predict(x[~early])
    everybody = np.full(int((~early).sum()), "all")
    return against_chance(numbers[~early].astype(np.int64), told, everybody, seed=seed, draws=draws)


# -- all of them -------------------------------------------------------------------------------------------------------


def run_controls(
    traced: TracedSet,
    split: Divided,
    recipes: Sequence[Recipe],
    task: Task,
    *,
    trained: Mapping[str, Fitted] | None = None,
    canaries: Mapping[str, Chance] | None = None,
    seed: int = 20,
    draws: int = DRAWS,
) -> dict[str, Any]:
    """Every control, as plain values for controls.json.

    Args:
        traced: Windows with their true labels.
        split: One sound division of them.
        recipes: For the canary, each trained once on permuted labels: the FCN and what is to be shipped.
        task: As for the true training.
        canaries: Those of other sets of windows of the same split, to be listed with them.
        trained: Methods trained on this split with the true labels, for the identity probe; none if None.
        seed: Of everything.
        draws: Of the chance intervals.

    Returns:
        `passed` (canaries at chance, all leaks refused), `sentences` to print, and the numbers of each control.
    """
    canaries = dict(canaries or {})
    for recipe in recipes:
        canaries |= canary(traced, split, recipe, task, seed=seed, draws=draws)
    refusals = refused_leaks(traced, split)
    honest, leaked = leak_shown(traced, split, task, seed=seed, draws=draws)
    time = told_by(time_features(traced), traced, split, forest=True, seed=seed, draws=draws)
    amplitude = told_by(amplitude_features(traced.windows), traced, split, forest=False, seed=seed, draws=draws)
    test = traced.windows.of(split.parts["test"]).labelled()
    probes = {
        name: probe
        for name, method in (trained or {}).items()
        if (
            probe := identity_probe(
                method.tell(test).features, test.subjects, test.t_end, test.labels, seed=seed, draws=draws
            )
        )
    }
    people = len(np.unique(test.subjects))
    return {
        "split": split.name,
        "seed": seed,
        "within": WITHIN,
        "passed": all(chance.inside for chance in canaries.values()) and all(refusals.values()),
        "canary": {name: chance.plain() for name, chance in canaries.items()},
        "refused": refusals,
        "leak": {"honest": honest.plain(), "leaked": leaked.plain()},
        "time": time.plain(),
        "amplitude": amplitude.plain(),
        "identity": {name: {**probe.plain(), "people": people} for name, probe in probes.items()},
        "sentences": [
            *(_of_canary(name, chance) for name, chance in canaries.items()),
            *(_of_refusal(kind, said) for kind, said in refusals.items()),
            "With meaningless labels a forest that had seen the test subjects would be credited with a "
            f"{leaked.said()}; without them {honest.value:.3f}.",
            _of_plain("The time in the session alone", time, "the order of stimuli can be learnt in place of pain"),
            _of_plain("The spread of each signal alone", amplitude, "a model has to do better than that"),
            *(
                f"By features of {name} {people} unseen people are told apart with a {probe.said()}"
                + ("." if probe.inside else ": it can recognise people, so nobody may be in two parts.")
                for name, probe in probes.items()
            ),
        ],
    }


# -- of a run ----------------------------------------------------------------------------------------------------------


def controls_step(folder: Path, plan: Plan) -> Path:
    """All controls on the first split of a run, with its own recipes: `controls.json` in its folder.

    Canaries are the run's first recipe, which is what would be shipped, and the FCN where its windows are cut. The
    identity probe asks models whose weights were kept, and hand-crafted features. What lies there already is kept if it
    is of the same training.

    Args:
        folder: Of the run.
        plan: Its jobs.

    Raises:
        SourceError: If the file cannot be written.
    """
    from models.training.folds import write_json
    from models.training.recipe import Task
    from models.training.recipes import RECIPES, make_recipe
    from models.training.windows import open_windows

    path = folder / "controls.json"
    first = plan.jobs[0]
    jobs = [job for job in plan.jobs if job.split == first.split and job.seed == first.seed]
    deep = [job for job in jobs if not RECIPES[job.recipe].baseline] or jobs
    # The CrossMod recipe trains FCNs as its stages.
    fcn = [job for job in deep[1:] if job.recipe == "fcn" and deep[0].recipe not in ("fcn", "crossmod")]
    chosen = [deep[0], *fcn]
    of = [job.hash for job in chosen]
    try:
        if json.loads(path.read_text(encoding="utf-8"))["of"] == of:
            return path
    except (OSError, ValueError, KeyError, TypeError):
        pass  # none yet, or of another training: made anew
    sets = [open_windows(job.windows) for job in chosen]
    tasks = [
        Task(inputs=own.inputs, classes=job.classes, schedule=job.schedule, ordinal=job.ordinal, options=job.options)
        for job, own in zip(chosen, sets, strict=True)
    ]
    canaries: dict[str, Chance] = {}
    for job, own, task in zip(chosen, sets, tasks, strict=True):
        canaries |= canary(own, job.split, make_recipe(job.recipe), task, seed=job.seed)
    plain = make_recipe("logistic-regression").fit(divide(sets[0], first.split), tasks[0], seed=first.seed)
    trained = {"hand-crafted features": plain["logistic-regression"], **_kept(deep[0])}
    found = run_controls(sets[0], first.split, [], tasks[0], trained=trained, canaries=canaries, seed=first.seed)
    write_json(path, {"of": of, **found})
    return path


def _kept(job: Job) -> dict[str, Fitted]:
    """Networks of a job whose weights were kept and which read signals as they were cut."""
    from models.checkpoint import load_checkpoint
    from models.training.folds import found
    from models.training.network import Network
    from monitor.bundle import InputSpec

    networks: dict[str, Fitted] = {}
    for name, method in ((found(job) or {}).get("methods") or {}).items():
        inputs = tuple(InputSpec.model_validate(item) for item in method["inputs"])
        if method["weights"] and inputs and all(item.render is None for item in inputs):
            model = load_checkpoint(job.folder / method["weights"])
            signals = tuple(item.name for item in inputs)
            networks[name] = Network(model=model, inputs=inputs, learnt=(), signals=signals)
    return networks


def _of_canary(name: str, chance: Chance) -> str:
    if not chance.informative:
        return f"{name}, trained on permuted labels, told one class of every window: this canary could not have failed."
    if chance.inside:
        return f"{name}, trained on permuted labels, finds nothing: {chance.said()}."
    side = "something of the test part reaches training" if chance.value > chance.high else "it is worse than chance"
    return (
        f"{name}, trained on permuted labels, IS NOT AT CHANCE: {chance.said()}; {side}. Trust no figure of this run."
    )


def _of_refusal(kind: str, said: str) -> str:
    return f"A leak made on purpose ({kind}) is refused: {said}" if said else f"A leak ({kind}) IS NOT REFUSED."


def _of_plain(what: str, chance: Chance, meaning: str) -> str:
    if chance.inside:
        return f"{what} tells nothing: {chance.said()}."
    if chance.value < chance.low:
        return f"{what} misleads: {chance.said()}; what it tells of some people is wrong for others."
    return f"{what} tells something: {chance.said()}; {meaning}."
