"""A configuration of `python -m models train`: what is learnt from what, and how. Every problem is said at once."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

from models.data import settings as data_settings
from models.data.draws import EVENT_WINDOWS
from models.data.recorded import DataSet
from models.data.settings import DataSettings, load_data_settings
from models.data.traced import BUNDLE_PROTOCOLS
from models.training.recipes import RECIPES, methods_of, one_of
from monitor.bundle import default_input
from monitor.config import read_toml
from monitor.errors import ConfigError, Problem

SINGLE: Final = ("official", "parts", "hold-out")
"""Kinds of split that give one division: figures and weights of it are of one model, which may become a bundle."""

_CLASS: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,31}")


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class TaskSettings(_Table):
    """What is told apart, and from what. `[task]`."""

    protocol: Literal["paper", "live-segment", "live-stream"] | None = None
    """docs/data.md says which data allow which; only the last two may become a bundle."""
    classes: dict[str, tuple[int | str, ...]] = {}
    """Labels of the data set (numbers or names) by class, the least painful first: {none = [0], severe = [4]}; empty:
    its own classes."""
    inputs: tuple[str, ...] = ()
    """Modalities that are read."""
    windows_per_class: Annotated[int, Field(ge=1)] | tuple[Annotated[int, Field(ge=1)], ...] | None = None
    """At most so many windows of each class of a sitting, or by class, drawn by the split's seed; by default 40 in
    `live-stream`, whose windows overlap (of simulated subjects 20, 10, 10), else all."""
    seconds: Annotated[float, Field(ge=1, le=600)] | None = None
    """`paper`, own recordings: signal of a trial."""
    rate_hz: Annotated[float, Field(gt=0, le=5000)] | None = None
    """Rate of the grid, for all recipes; by default what a recipe's article reads."""
    samples: Annotated[int, Field(ge=8, le=100_000)] | None = None
    """Points of a window, for all recipes."""


class SplitSettings(_Table):
    """Who is learnt from and who is tested. `[split]`."""

    kind: Literal["k-fold", "loso", "official", "parts", "hold-out"] = "k-fold"
    """`parts`: as the data say (simulated cohorts); `hold-out`: one fold of so many, once."""
    folds: Annotated[int, Field(ge=2, le=100)] = 5
    """`k-fold`, `hold-out`."""
    seed: Annotated[int, Field(ge=0)] = 20
    """Of the division and of the draw of windows."""


class TrainSettings(_Table):
    """How. `[train]`."""

    recipes: Annotated[tuple[str, ...], Field(min_length=1)] = ("crossmod",)
    """Ways to train; one may give several methods."""
    schedule: Literal["short", "paper"] = "short"
    """As long as the articles train, or a few minutes a fold."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)] = (20,)
    """Each is a training of its own; baselines take the first."""
    more_seeds: dict[str, tuple[Annotated[int, Field(ge=0)], ...]] = {}
    """Further seeds of single recipes."""
    workers: Annotated[int, Field(ge=1, le=256)] = 1
    """Processes at a time, of one thread each. The results do not depend on it."""
    ordinal: bool = False
    """Learn classes as ordered."""
    augment: bool | dict[str, float | bool] = {}
    """Strengths of augmentations by name over the schedule's own; false: none."""
    tune: Annotated[int, Field(ge=0, le=1000)] = 0
    """Trials of a search over hyper-parameters within each split; 0: none."""
    epochs: Annotated[int, Field(ge=0, le=10_000)] = 0
    """At most so many in every stage; 0: as the schedule says."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """`auto`: a GPU where there is one."""
    options: dict[str, Any] = {}
    """Further options by name, one for all stages or a table by stage (`models.training.schedules.OPTIONS`)."""

    @property
    def given(self) -> dict[str, object]:
        """All options, as recipes take them."""
        own = {"augment": self.augment, "tune": self.tune, "epochs": self.epochs, "device": self.device}
        return {**self.options, **own}

    def seeds_of(self, recipe: str) -> tuple[int, ...]:
        """Seeds that a recipe is trained with: those of all recipes, then its own."""
        return (*self.seeds, *self.more_seeds.get(recipe, ()))


class CalibrateSettings(_Table):
    """What the calibration subjects are for. `[calibrate]`."""

    temperature: bool = True
    """Fit a temperature on them; else probabilities are as the model gives them."""


class EvaluateSettings(_Table):
    """What is looked at beside the models. `[evaluate]`."""

    baselines: bool | tuple[str, ...] = True
    """Plain methods on the same windows: all that can read these inputs, none, or those named."""
    streaming: bool = False
    """Score the test subjects' recordings with the bundle through the live pipeline (`live-stream`)."""
    controls: bool = False
    """Time in session, identity and amplitude alone, labels permuted."""
    recordings: str = ""
    """Folder of recordings without pain: how often does the bundle alarm?"""
    seed: Annotated[int, Field(ge=0)] = 20
    """Of the bootstrap."""


class BundleSettings(_Table):
    """Make a bundle of the one model of an undivided split. `[bundle]`."""

    name: Annotated[str, Field(pattern=r"^([a-z0-9][a-z0-9.-]{0,63})?$")] = ""
    """Lower-case letters, digits, dots and dashes, 64 at most; empty: none is made."""
    method: str = ""
    """Which; empty: that of the first recipe's name, or its only one."""
    out: str = ""
    """Its folder; empty: `bundle/NAME` in the output folder. Replaced if it is there."""
    version: str = "0.1.0"
    """Of the bundle."""
    title: str = ""
    """Line below the name on its card."""
    hop_seconds: Annotated[float, Field(ge=0.1, le=60)] = 1.0
    """Between windows live."""
    live_subjects: Annotated[int, Field(ge=1, le=200)] = 12
    """Simulated cohort: further held-out subjects whose whole sittings are scored live for the card."""
    stored: Literal["float32", "float16"] = "float16"
    """How weights lie on disk."""


class OutputSettings(_Table):
    """Where everything is written. `[output]`."""

    folder: str = ""
    """Relative to the configuration file."""
    weights: Literal["auto", "all", "none"] = "auto"
    """Whether each fold keeps its weights; `auto`: where a bundle needs them."""


class RunSettings(_Table):
    """The whole file."""

    data: DataSettings = DataSettings()
    task: TaskSettings = TaskSettings()
    split: SplitSettings = SplitSettings()
    train: TrainSettings = TrainSettings()
    calibrate: CalibrateSettings = CalibrateSettings()
    evaluate: EvaluateSettings = EvaluateSettings()
    bundle: BundleSettings = BundleSettings()
    output: OutputSettings = OutputSettings()

    @property
    def folder(self) -> Path:
        """Of the run."""
        return Path(self.output.folder)

    @property
    def bundle_out(self) -> Path:
        """Folder of the bundle."""
        return Path(self.bundle.out) if self.bundle.out else self.folder / "bundle" / self.bundle.name

    @property
    def keeps_weights(self) -> bool:
        """Whether folds keep their weights."""
        return self.output.weights == "all" or (self.output.weights == "auto" and bool(self.bundle.name))

    def windows_per_class(self, classes: int) -> tuple[int, ...] | None:
        """The draw by class, with its default; None: all windows."""
        given = self.task.windows_per_class
        if isinstance(given, tuple):
            return given
        if given is None and self.task.protocol == "live-stream":
            simulated = self.data.kind == "simulated" and classes == len(EVENT_WINDOWS)
            return EVENT_WINDOWS if simulated else (40,) * classes
        return None if given is None else (given,) * classes


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Classes of the task by the data set's labels."""

    names: tuple[str, ...]
    numbers: Mapping[int, int]
    """Class number by label of the data set."""


def load_run_settings(path: Path) -> RunSettings:
    """Read a configuration; its paths come back absolute.

    Raises:
        ConfigError: If the file cannot be read or is wrong anywhere; with every problem and its key.
    """
    settings = read_toml(path, RunSettings, lambda run: contradictions(run, path))
    base = path.parent

    def absolute(text: str) -> str:
        return str((base / Path(text).expanduser()).resolve()) if text else ""

    return settings.model_copy(
        update={
            "data": load_data_settings(path),
            "output": settings.output.model_copy(update={"folder": absolute(settings.output.folder)}),
            "bundle": settings.bundle.model_copy(update={"out": absolute(settings.bundle.out)}),
            "evaluate": settings.evaluate.model_copy(update={"recordings": absolute(settings.evaluate.recordings)}),
        }
    )


def contradictions(run: RunSettings, path: Path) -> list[Problem]:
    """Everything that is wrong between keys that are each right by themselves.

    Args:
        run: As read.
        path: Of the file, where relative paths start.
    """
    problems = data_settings.contradictions(run.data, path.parent)
    problems += _task(run.task, run.data)
    problems += _train(run)
    problems += _bundle(run)
    if not run.output.folder:
        problems.append(Problem("output.folder", "it is not given", "where results, predictions and weights go"))
    if run.evaluate.recordings and not (path.parent / Path(run.evaluate.recordings).expanduser()).is_dir():
        problems.append(Problem("evaluate.recordings", f"there is no folder {run.evaluate.recordings}"))
    if run.split.kind in ("loso", "official", "parts") and "folds" in run.split.model_fields_set:
        problems.append(Problem("split.folds", f"it has no meaning for {run.split.kind}"))
    if run.evaluate.streaming and run.task.protocol in ("paper", "live-segment"):
        what = f"{run.task.protocol} has no continuous recording to run live"
        problems.append(Problem("evaluate.streaming", what, "task.protocol: live-stream"))
    problems += [
        Problem(f"evaluate.{key}", "it asks a bundle, and none is made", "name one: bundle.name")
        for key in ("streaming", "recordings")
        if getattr(run.evaluate, key) and not run.bundle.name
    ]
    return problems


def _task(task: TaskSettings, data: DataSettings) -> list[Problem]:
    problems = []
    if task.protocol is None:
        problems.append(Problem("task.protocol", "it is not given", "paper, live-segment or live-stream"))
    if not task.inputs:
        problems.append(Problem("task.inputs", "it is not given", 'what is read, e.g. ["EDA", "ECG"]'))
    if len(set(task.inputs)) != len(task.inputs):
        problems.append(Problem("task.inputs", "something is listed twice"))
    for number, modality in enumerate(task.inputs):
        key = f"task.inputs[{number}]"
        try:
            default_input(modality)
        except ValueError as error:
            problems.append(Problem(key, str(error)))
        if data.modalities and modality not in data.modalities:
            problems.append(Problem(key, f"{modality} is not in data.modalities"))
    if task.classes and len(task.classes) < 2:
        problems.append(Problem("task.classes", "one class is nothing to tell apart"))
    problems += [
        Problem(f"task.classes.{name}", "a name has letters, digits, - and _, 32 at most")
        for name in task.classes
        if not _CLASS.fullmatch(name)
    ]
    labels = [label for of in task.classes.values() for label in of]
    problems += [Problem(f"task.classes.{name}", "it has no label") for name, of in task.classes.items() if not of]
    if len(set(labels)) != len(labels):
        problems.append(Problem("task.classes", "a label is in two classes"))
    if isinstance(task.windows_per_class, tuple) and task.classes and len(task.windows_per_class) != len(task.classes):
        problems.append(Problem("task.windows_per_class", "it has not one number for each class"))
    if task.seconds is not None and task.protocol != "paper":
        problems.append(Problem("task.seconds", "it belongs to the protocol paper", "else the model says how long"))
    return problems


def _train(run: RunSettings) -> list[Problem]:
    problems = []
    train = run.train
    named = list(enumerate(train.recipes))
    for number, name in named:
        key = f"train.recipes[{number}]"
        if name not in RECIPES or RECIPES[name].baseline:
            known = sorted(name for name, entry in RECIPES.items() if not entry.baseline)
            problems.append(Problem(key, f"there is no recipe '{name}'", one_of(name, known)))
        elif run.task.inputs and (why := RECIPES[name].refuses(run.task.inputs)):
            problems.append(Problem(key, why))
    if isinstance(run.evaluate.baselines, tuple):
        for number, name in enumerate(run.evaluate.baselines):
            key = f"evaluate.baselines[{number}]"
            if name not in RECIPES or not RECIPES[name].baseline:
                known = sorted(name for name, entry in RECIPES.items() if entry.baseline)
                problems.append(Problem(key, f"there is no baseline '{name}'", one_of(name, known)))
            elif run.task.inputs and (why := RECIPES[name].refuses(run.task.inputs)):
                problems.append(Problem(key, why))
    problems += [
        Problem(f"train.{key}", "something is listed twice")
        for key in ("recipes", "seeds")
        if len(set(getattr(train, key))) != len(getattr(train, key))
    ]
    for name in train.more_seeds:
        key, seeds = f"train.more_seeds.{name}", train.seeds_of(name)
        if name not in train.recipes:
            problems.append(Problem(key, f"'{name}' is not trained here", one_of(name, train.recipes)))
        elif len(set(seeds)) != len(seeds):
            problems.append(Problem(key, "a seed is listed twice", "those of train.seeds are taken anyway"))
    if both := sorted(train.options.keys() & {"augment", "tune", "epochs", "device"}):
        problems.append(Problem(f"train.options.{both[0]}", "it is a key of [train] itself"))
    return problems + _options(train)


def _options(train: TrainSettings) -> list[Problem]:
    """What is wrong with options, asked of each recipe's schedule."""
    from models.training.schedules import SCHEDULES, plan_of  # torch, which takes seconds

    problems = []
    for name in train.recipes:
        if name in SCHEDULES[train.schedule]:
            try:
                plan_of(name, train.schedule, train.given, ordinal=train.ordinal)
            except ConfigError as error:
                for problem in error.problems:
                    place = "train" if problem.key.split(".")[0] in ("augment", "epochs") else "train.options"
                    problems.append(Problem(f"{place}.{problem.key}", f"{name}: {problem.what}", problem.todo))
    return problems


def _bundle(run: RunSettings) -> list[Problem]:
    if not run.bundle.name:
        set_ = sorted(run.bundle.model_fields_set - {"name"})
        return [Problem("bundle.name", "it is not given", "without it no bundle is made")] if set_ else []
    problems = []
    if run.task.protocol is not None and run.task.protocol not in BUNDLE_PROTOCOLS:
        what = f"a model of the protocol {run.task.protocol} cannot become a bundle"
        problems.append(Problem("bundle.name", what, f"train by {' or '.join(BUNDLE_PROTOCOLS)}"))
    if run.split.kind not in SINGLE:
        what = f"{run.split.kind} gives several models, and figures of none of them"
        problems.append(Problem("bundle.name", what, f"split.kind: {', '.join(SINGLE)}"))
    if run.output.weights == "none":
        problems.append(Problem("output.weights", "a bundle needs them", '"auto"'))
    return problems + _method(run)


def _method(run: RunSettings) -> list[Problem]:
    """What is wrong with the method that is to become a bundle; said now, since training takes hours."""
    try:
        signals = [default_input(modality).name for modality in run.task.inputs]
    except ValueError:  # said where the inputs are looked at
        return []
    known = [r for r in run.train.recipes if r in RECIPES and not RECIPES[r].refuses(run.task.inputs)]
    methods = list(dict.fromkeys(method for recipe in known for method in methods_of(recipe, signals)))
    wanted = run.bundle.method
    if wanted and methods and wanted not in methods:
        return [Problem("bundle.method", f"'{wanted}' is not trained here", one_of(wanted, methods))]
    if not wanted and len(methods) > 1 and not set(run.train.recipes) & set(methods):
        return [Problem("bundle.method", "it is not given", one_of("", methods))]
    return []


def labels_of(task: TaskSettings, data: DataSet, where: Path) -> Labels:
    """Class numbers by label.

    Raises:
        ConfigError: If the data set has no such label.
    """
    if not task.classes:
        return Labels(names=data.classes, numbers={i: i for i in range(len(data.classes))})
    problems: list[Problem] = []
    numbers: dict[int, int] = {}
    for number, (name, labels) in enumerate(task.classes.items()):
        for label in labels:
            found = data.classes.index(label) if isinstance(label, str) and label in data.classes else label
            if not isinstance(found, int) or not 0 <= found < len(data.classes):
                known = ", ".join(f"{i} {c}" for i, c in enumerate(data.classes))
                problems.append(
                    Problem(f"task.classes.{name}", f"{data.kind} has no label {label!r}", f"it has {known}")
                )
            elif found in numbers:
                problems.append(Problem(f"task.classes.{name}", f"label {found} is in two classes"))
            else:
                numbers[found] = number
    if problems:
        raise ConfigError(where=str(where), problems=problems)
    return Labels(names=tuple(task.classes), numbers=numbers)
