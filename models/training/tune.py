"""A search over learning rate and dropout within one split, by Optuna, only where it is asked for.

The CrossMod-Transformer paper tunes by 10-fold cross-validation **on the subjects that it reports on**. Here the search
is nested: inner folds by subject of those whom the split learns from and stops by. Nobody of the test part is in any
of them, and neither are the calibration subjects, whom the temperature needs fresh. What was chosen lists everybody
who was looked at (`Learnt`), and `models.data.guards` refuses a test part that is among them.

Ranges are the paper's: learning rate 1e-6 to 1e-3 (uniform in its log), dropout 0.1 to 0.4, and 0.3 to 0.7 in the block
that fuses. Where a network has dropouts of several kinds (the PainAttnNet family, image models) only the learning rate
is searched. A trial's value is the mean over inner folds of the loss on the inner test subjects.

Not nested: statistics that windows were scaled with before. A population's come from the outer training subjects, and
so from inner test subjects too; never from the outer test part.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, is_dataclass, replace
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import torch
from torch.nn import functional

from models.data.base import WindowSet, join
from models.data.guards import Learnt, Parts
from models.data.splits import Split, k_fold
from models.training.ordinal import cumulative_loss
from models.training.recipe import Recipe, Task
from monitor.errors import ConfigError, Problem

if TYPE_CHECKING:
    import optuna

_log = logging.getLogger(__name__)

LEARNING_RATE: Final = (1e-6, 1e-3)
DROPOUT: Final = (0.1, 0.4)
FINAL_DROPOUT: Final = (0.3, 0.7)
FOLDS: Final = 3
_WITH_DROPOUT: Final = ("crossmod", "fcn", "alstm", "fat", "crossmod-end-to-end")


@dataclass(frozen=True, kw_only=True)
class Tuned:
    """What a search has found."""

    options: Mapping[str, object]
    """To be laid over those of the task."""
    learnt: Learnt
    """Everybody whose windows it has seen."""
    value: float
    """Mean inner loss of the best trial."""
    trials: int


def tuned(recipe: Recipe, parts: Parts, task: Task, *, seed: int) -> tuple[Task, tuple[Learnt, ...]]:
    """The task with tuned options and what the choice has seen; as it is where no search is asked for.

    `options["tune"]` is the number of trials, `options["tune_folds"]` that of inner folds.

    Raises:
        ConfigError: If either is no number of them.
    """
    given: dict[str, int] = {}
    for name, usual, least in (("tune", 0, 0), ("tune_folds", FOLDS, 2)):
        value = task.options.get(name, usual)
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            problem = Problem(name, f"{value!r} is no number of {least} or more")
            raise ConfigError(where="train.options", problems=[problem])
        given[name] = value
    if not given["tune"]:
        return task, ()
    plain = replace(task, options={k: v for k, v in task.options.items() if k not in ("tune", "tune_folds")})
    found = tune(recipe, parts, plain, seed=seed, trials=given["tune"], folds=given["tune_folds"])
    return replace(plain, options={**plain.options, **found.options}), (found.learnt,)


def tune(recipe: Recipe, parts: Parts, task: Task, *, seed: int, trials: int, folds: int = FOLDS) -> Tuned:
    """Search for the options under which a recipe does best on inner test subjects.

    Args:
        recipe: What is tuned; of several methods its last, which is fed by the others.
        parts: Of the outer split. Its test part stays closed.
        task: Without `tune`.
        seed: Of the search, the inner folds and each training.
        trials: How many settings are tried.
        folds: Inner folds.

    Raises:
        SourceError: If fewer than four subjects are there to be divided.
        ConfigError: If the recipe cannot be trained on some inner fold.
    """
    import optuna

    windows = join([parts.train, parts.validation])
    subjects = sorted({*parts.subjects["train"], *parts.subjects["validation"]})
    inner = k_fold(subjects, folds, seed=seed)

    def value(trial: optuna.Trial) -> float:
        options = {**task.options, **suggested(recipe.name, trial)}
        losses = []
        for number, split in enumerate(inner):
            losses.append(_inner_loss(recipe, split, windows, replace(task, options=options), seed))
            trial.report(float(np.mean(losses)), number)
        _log.info("  trial %d of %d: %.4f", trial.number + 1, trials, np.mean(losses))
        return float(np.mean(losses))

    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        study = optuna.create_study(sampler=optuna.samplers.TPESampler(seed=seed))
        study.optimize(value, n_trials=trials)
    finally:
        optuna.logging.set_verbosity(before)
    options = suggested(recipe.name, optuna.trial.FixedTrial(study.best_params))
    name = f"{recipe.name}, tuned {', '.join(sorted(options))}"
    seen = Learnt(name=name, kind="choice", subjects=frozenset(subjects))
    return Tuned(options=options, learnt=seen, value=float(study.best_value), trials=trials)


def suggested(recipe: str, trial: Any) -> dict[str, object]:
    """The options of one trial."""
    options: dict[str, object] = {"learning_rate": trial.suggest_float("learning_rate", *LEARNING_RATE, log=True)}
    if recipe in _WITH_DROPOUT:
        dropout = trial.suggest_float("dropout", *DROPOUT)
        if recipe == "crossmod-end-to-end":
            final = trial.suggest_float("final_dropout", *FINAL_DROPOUT)
            options["arguments"] = {"dropout": dropout, "final_dropout": final}
        else:
            by_stage = dict.fromkeys(("fcn", "alstm", "block"), dropout)
            if recipe == "crossmod":
                by_stage["fusion"] = trial.suggest_float("final_dropout", *FINAL_DROPOUT)
            options["dropout"] = by_stage
    return options


def _inner_loss(recipe: Recipe, split: Split, windows: WindowSet, task: Task, seed: int) -> float:
    """Train on one inner fold and judge its test subjects."""
    of_part = {part: windows.of(subjects) for part, subjects in split.parts.items()}
    # What inner calibration subjects would be kept for is not wanted here: they are learnt from.
    of_part["train"] = join([of_part["train"], of_part["calibration"]])
    subjects = {**split.parts, "train": (*split.train, *split.calibration), "calibration": ()}
    parts = Parts(f"inner {split.name}", of_part, subjects)
    if is_dataclass(recipe):
        recipe = replace(recipe, on_epoch=None)  # type: ignore[type-var]  # bars are of the training itself
    method = list(recipe.fit(parts, task, seed=seed).values())[-1]
    held = of_part["test"].labelled()
    logits, labels = torch.from_numpy(method.tell(held).logits), torch.from_numpy(held.labels)
    return float(cumulative_loss(logits, labels) if task.ordinal else functional.cross_entropy(logits, labels))
