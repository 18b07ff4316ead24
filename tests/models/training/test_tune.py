from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
import pytest

from models.data.base import WindowSet
from models.data.guards import LeakError, Learnt, Parts
from models.training.loop import FitResult
from models.training.recipe import Fitted, Task, Told
from models.training.recipes import make_recipe
from models.training.tune import DROPOUT, FINAL_DROPOUT, LEARNING_RATE, suggested, tune, tuned
from monitor.bundle import default_input
from monitor.errors import ConfigError

EDA = default_input("EDA", rate_hz=25.0, samples=24)
SUBJECTS = {
    "train": ("a", "b", "c", "d"),
    "validation": ("e", "f"),
    "calibration": ("g",),
    "test": ("h",),
}
CLASSES = ("none", "mild", "severe")


def windows(subjects: tuple[str, ...]) -> WindowSet:
    count = 3 * len(subjects)
    rng = np.random.default_rng(len(subjects))
    labels = np.arange(count) % 3
    return WindowSet(
        inputs={"eda": ((0.2 + labels)[:, None, None] * rng.standard_normal((count, 1, 24))).astype(np.float32)},
        labels=labels.astype(np.int64),
        subjects=np.repeat(list(subjects), 3),
        t_end=np.arange(count, dtype=np.float64),
        level=np.zeros(count),
        since_onset_s=np.zeros(count),
        confounded=np.zeros(count, dtype=np.bool_),
        calibrated=np.ones(count, dtype=np.bool_),
    )


def parts_of() -> Parts:
    return Parts("fold-1", {part: windows(who) for part, who in SUBJECTS.items()}, SUBJECTS)


@dataclass
class Pretended:
    """Says what is right, the surer the nearer the learning rate was to 1e-4."""

    sureness: float
    learnt: tuple[Learnt, ...] = ()
    history = MappingProxyType[str, FitResult]({})
    model = None
    parameters = 0

    def tell(self, of: WindowSet) -> Told:
        return Told(logits=self.sureness * np.eye(3)[of.labels], features=np.zeros((len(of), 0)))


@dataclass
class PretendedRecipe:
    """Does not train, and remembers who it was shown."""

    name: str = "fcn"
    seen: set[str] = field(default_factory=set)
    asked: list[float] = field(default_factory=list)
    on_epoch: object = None

    def fit(self, parts: Parts, task: Task, *, seed: int) -> dict[str, Fitted]:  # noqa: ARG002
        self.seen |= set(parts.train.subjects.tolist()) | set(parts.validation.subjects.tolist())
        assert set(parts.train.subjects.tolist()) == set(parts.subjects["train"])
        rate = float(task.options["learning_rate"])  # type: ignore[arg-type]
        self.asked.append(rate)
        return {"fcn-eda": Pretended(sureness=5.0 - abs(np.log10(rate) + 4.0))}


def test_the_search_stays_with_those_who_are_learnt_from() -> None:
    recipe, parts = PretendedRecipe(), parts_of()
    found = tune(recipe, parts, Task(inputs=(EDA,), classes=CLASSES), seed=3, trials=12, folds=3)
    everybody = {*SUBJECTS["train"], *SUBJECTS["validation"]}
    assert recipe.seen == everybody
    assert (found.learnt.kind, found.learnt.subjects) == ("choice", frozenset(everybody))
    assert len(recipe.asked) == 12 * 3
    assert all(LEARNING_RATE[0] <= rate <= LEARNING_RATE[1] for rate in recipe.asked)
    # The best of what was tried, and a test part that the choice may open.
    best = min(recipe.asked, key=lambda rate: abs(np.log10(rate) + 4.0))
    assert found.options["learning_rate"] == pytest.approx(best)
    weights = Learnt(name="weights", kind="weights", subjects=frozenset(SUBJECTS["train"]))
    assert len(parts.open_test([weights, found.learnt])) == 3
    again = tune(PretendedRecipe(), parts_of(), Task(inputs=(EDA,), classes=CLASSES), seed=3, trials=12, folds=3)
    assert again.options == found.options


def test_a_choice_that_had_seen_the_test_part_would_be_refused() -> None:
    strange = Parts("fold-1", {p: windows(w) for p, w in SUBJECTS.items()}, {**SUBJECTS, "test": ("f",)})
    found = tune(PretendedRecipe(), strange, Task(inputs=(EDA,), classes=CLASSES), seed=3, trials=1, folds=2)
    weights = Learnt(name="weights", kind="weights", subjects=frozenset(SUBJECTS["train"]))
    with pytest.raises(LeakError, match="has seen the test part"):
        strange.open_test([weights, found.learnt])


def test_nothing_is_searched_unless_asked() -> None:
    recipe, task = PretendedRecipe(), Task(inputs=(EDA,), classes=CLASSES)
    assert tuned(recipe, parts_of(), task, seed=1) == (task, ())
    assert not recipe.asked
    for wrong in ({"tune": -1}, {"tune": True}, {"tune": 2, "tune_folds": 1}):
        with pytest.raises(ConfigError, match="is no number of"):
            tuned(recipe, parts_of(), Task(inputs=(EDA,), classes=CLASSES, options=wrong), seed=1)


def test_ranges_are_the_papers() -> None:
    import optuna

    given = {"learning_rate": 1e-5, "dropout": 0.2, "final_dropout": 0.6}
    options = suggested("crossmod", optuna.trial.FixedTrial(given))
    assert options["dropout"] == {"fcn": 0.2, "alstm": 0.2, "block": 0.2, "fusion": 0.6}
    assert suggested("mscn-se", optuna.trial.FixedTrial(given)) == {"learning_rate": 1e-5}
    assert (LEARNING_RATE, DROPOUT, FINAL_DROPOUT) == ((1e-6, 1e-3), (0.1, 0.4), (0.3, 0.7))


def test_a_real_recipe_is_tuned_and_says_whom_it_has_seen() -> None:
    options = {"epochs": 1, "tune": 2, "tune_folds": 2, "device": "cpu"}
    told: list[object] = []
    recipe = make_recipe("fcn", on_epoch=lambda *said: told.append(said))
    methods = recipe.fit(parts_of(), Task(inputs=(EDA,), classes=CLASSES, options=options), seed=1)
    kinds = [(item.kind, sorted(item.subjects)) for item in methods["fcn-eda"].learnt]
    assert kinds == [
        ("weights", ["a", "b", "c", "d"]),
        ("choice", ["e", "f"]),
        ("choice", ["a", "b", "c", "d", "e", "f"]),
    ]
    assert len(told) == 1  # of the training itself, not of the search
