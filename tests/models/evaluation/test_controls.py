"""Controls find a leak where one is, and nothing where nothing is."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import TYPE_CHECKING, cast

import numpy as np
import pytest
import torch

from models.data import guards
from models.data.guards import Parts, divide
from models.data.splits import Split, k_fold
from models.data.traced import TracedSet, join_traced
from models.evaluation import controls
from models.evaluation.baselines import PlainRecipe
from models.evaluation.chance import against_chance
from models.evaluation.controls import (
    canary,
    controls_step,
    identity_probe,
    leak_shown,
    refused_leaks,
    run_controls,
    time_features,
    told_by,
)
from models.registry import create_model
from models.training import windows
from models.training.folds import Job
from models.training.recipe import Fitted, Task, Told
from monitor.bundle import default_input
from tests.helpers.traced_windows import traced_person

if TYPE_CHECKING:
    from models.training.run import Plan

INPUT = default_input("EDA", rate_hz=4.0, samples=24)
TASK = Task(inputs=(INPUT,), classes=("none", "pain"), options={"epochs": 1})
LR = PlainRecipe(name="logistic-regression")
DRAWS = 2000


def cohort(people: int = 12, windows: int = 20, *, answer: float = 1.0, in_order: bool = False) -> TracedSet:
    """Painful windows rise; every person has an offset of their own. `in_order`: all pain in the second half."""
    made = []
    for number in range(people):
        rng = np.random.default_rng(number)
        labels = np.repeat([0, 1], windows // 2)
        if not in_order:
            labels = rng.permutation(labels)
        person = traced_person(f"p{number:02}", labels.tolist())
        x = 0.4 * rng.normal(size=(windows, 24)).cumsum(axis=1) + 3.0 * rng.normal()
        x += answer * labels[:, None] * np.linspace(0.0, 4.0, 24)
        inputs = {"eda": x[:, None].astype(np.float32)}
        made.append(replace(person, inputs=(INPUT,), windows=replace(person.windows, inputs=inputs)))
    return join_traced(made)


def split_of(traced: TracedSet) -> Split:
    return k_fold(np.unique(traced.windows.subjects).tolist(), 3, seed=1)[0]


@dataclass(frozen=True)
class Cheat:
    """Knows the test part by heart: what a leak that the guards cannot see would do."""

    truth: Mapping[bytes, int]
    name: str = "cheat"

    def fit(self, parts: Parts, task: Task, *, seed: int) -> dict[str, Fitted]:
        honest = LR.fit(parts, task, seed=seed)[LR.name]
        test = parts._test
        assert test is not None
        known = {row.tobytes(): label for row, label in zip(test.inputs["eda"], test.labels, strict=True)}

        @dataclass(frozen=True)
        class Knows:
            learnt = honest.learnt
            history = honest.history
            model = None
            parameters = 0

            def tell(self, windows):
                told = [known.get(row.tobytes(), 0) for row in windows.inputs["eda"]]
                return Told(logits=np.eye(2)[told], features=np.zeros((len(windows), 0)))

        return {"cheat": Knows()}


@dataclass(frozen=True)
class OneEpoch:
    """The published FCN for one pass over the windows; no more than a canary's test needs."""

    name: str = "fcn"

    def fit(self, parts: Parts, task: Task, *, seed: int) -> dict[str, Fitted]:
        torch.manual_seed(seed)
        network = create_model("crossmod-fcn", inputs=["eda"], classes=len(task.classes))
        train = parts.train.labelled()
        for rows in torch.randperm(len(train)).split(16):
            logits = network({"eda": torch.from_numpy(train.inputs["eda"][rows])}).logits
            loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(train.labels[rows]))
            learning = list(network.parameters())
            for value, slope in zip(learning, torch.autograd.grad(loss, learning), strict=True):
                value.data -= 0.02 * slope
        network.eval()

        @dataclass(frozen=True)
        class Trained:
            learnt = (guards.Learnt(name="fcn", kind="weights", subjects=frozenset(parts.subjects["train"])),)
            history = MappingProxyType({})
            model = network
            parameters = network.parameter_count()

            def tell(self, windows):
                with torch.inference_mode():
                    out = network({"eda": torch.from_numpy(windows.inputs["eda"])})
                return Told(logits=out.logits.double().numpy(), features=out.features.double().numpy())

        return {"fcn-eda": Trained()}


def test_chance_of_two_balanced_classes_is_the_binomial_s() -> None:
    """With fair answers over many subjects the permutation interval is close to that of independent draws."""
    rng = np.random.default_rng(0)
    labels = np.tile([0, 1], 500).astype(np.int64)
    told = rng.integers(0, 2, 1000)
    chance = against_chance(labels, told, np.repeat([f"s{i}" for i in range(50)], 20), seed=1)
    width = 3.29 * 0.5 / np.sqrt(1000)  # 99.9 % of a binomial share
    assert (chance.low, chance.high) == pytest.approx((0.5 - width, 0.5 + width), abs=0.01)
    assert chance.inside
    assert not against_chance(labels, labels, np.full(1000, "s"), seed=1).inside


def test_chance_is_that_of_permuted_labels() -> None:
    """Three classes, of which subjects have different shares, and one that is told but never true."""
    rng = np.random.default_rng(1)
    subjects = np.repeat(["a", "b", "c", "d"], 15)
    labels = np.concatenate(
        [rng.choice(3, 15, p=p) for p in ([0.6, 0.2, 0.2], [0.1, 0.8, 0.1], [1, 0, 0], [0, 0.5, 0.5])]
    )
    told = np.where(rng.random(60) < 0.5, labels, rng.integers(0, 4, 60))
    found = against_chance(labels.astype(np.int64), told, subjects, seed=1)
    shuffled = np.tile(labels, (8000, 1))
    for subject in np.unique(subjects):
        own = subjects == subject
        shuffled[:, own] = rng.permuted(shuffled[:, own], axis=1)
    hits = (shuffled == told)[:, :, None] & (shuffled[:, :, None] == np.arange(3))
    drawn = (hits.sum(axis=1) / np.bincount(labels)).mean(axis=1)
    assert (found.low, found.high) == pytest.approx(np.quantile(drawn, [0.0005, 0.9995]).tolist(), abs=0.025)
    right = [(told[labels == c] == c).mean() for c in range(3)]
    assert found.value == pytest.approx(np.mean(right))


def test_chance_keeps_what_subjects_have() -> None:
    """Somebody who has one class only cannot be at fault: permuting changes nothing."""
    labels = np.repeat([0, 1], 20).astype(np.int64)
    chance = against_chance(labels, labels, np.repeat(["a", "b"], 20), seed=1, draws=500)
    assert (chance.value, round(chance.low, 6), round(chance.high, 6)) == (1.0, 1.0, 1.0)


def test_a_canary_of_an_honest_training_is_at_chance() -> None:
    traced = cohort()
    for seed in (1, 2, 3):
        assert canary(traced, split_of(traced), LR, TASK, seed=seed, draws=DRAWS)[LR.name].inside


def test_a_canary_of_a_training_that_has_seen_the_test_part_is_not() -> None:
    traced = cohort()
    found = canary(traced, split_of(traced), Cheat({}), TASK, seed=1, draws=DRAWS)["cheat"]
    assert found.value > found.high


def test_a_canary_that_tells_one_class_proves_nothing() -> None:
    labels = np.tile([0, 1], 20).astype(np.int64)
    chance = against_chance(labels, np.zeros(40, dtype=np.int64), np.repeat(["a", "b"], 20), seed=1, draws=200)
    assert chance.inside
    assert not chance.informative
    assert "could not have failed" in controls._of_canary("fcn", chance)


def test_every_leak_is_refused_and_would_have_paid() -> None:
    traced = cohort()
    assert all(refused_leaks(traced, split_of(traced)).values())
    assert "two names" in refused_leaks(traced, split_of(traced))["recording"]
    without = replace(traced, digests=np.full(len(traced), ""))
    assert all(refused_leaks(without, split_of(traced)).values())
    honest, leaked = leak_shown(traced, split_of(traced), TASK, seed=1, draws=DRAWS)
    assert honest.inside
    assert leaked.value > 0.95 > leaked.high


def test_a_guard_that_sleeps_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    traced = cohort(people=6)
    monkeypatch.setattr(guards, "check_parts", lambda *_: None)
    assert refused_leaks(traced, split_of(traced))["subject"] == ""


def test_time_tells_only_where_stimuli_come_in_order() -> None:
    for in_order in (False, True):
        traced = cohort(answer=0.0, in_order=in_order)
        found = told_by(time_features(traced), traced, split_of(traced), forest=True, seed=1, draws=DRAWS)
        assert found.inside is not in_order
        assert (found.value > 0.9) is in_order


def test_people_are_told_by_what_is_theirs() -> None:
    rng = np.random.default_rng(0)
    subjects, t_end = np.repeat([f"s{i}" for i in range(8)], 20), np.tile(np.arange(20.0), 8)
    own = np.repeat(2.0 * rng.normal(size=(8, 5)), 20, axis=0)
    noise = rng.normal(size=(160, 5))
    known = identity_probe(own + noise, subjects, t_end, seed=1, draws=DRAWS)
    unknown = identity_probe(noise, subjects, t_end, seed=1, draws=DRAWS)
    assert known is not None
    assert known.value > 0.6 > known.high
    assert unknown is not None
    assert unknown.inside
    late_pain = np.tile(np.repeat([0, 1], 10), 8)
    changed = own + noise + 10.0 * late_pain[:, None]
    blind = identity_probe(changed, subjects, t_end, seed=1, draws=DRAWS)
    aware = identity_probe(changed, subjects, t_end, late_pain, seed=1, draws=DRAWS)
    assert blind is not None
    assert aware is not None
    assert aware.value > max(aware.high, blind.value)
    assert identity_probe(noise[:20], subjects[:20], t_end[:20], seed=1) is None
    assert identity_probe(noise[:, :0], subjects, t_end, seed=1) is None


def test_all_controls_are_plain_values_with_sentences() -> None:
    traced = cohort(people=9, windows=16)
    split = split_of(traced)
    trained = LR.fit(divide(traced, split), TASK, seed=1)
    found = run_controls(traced, split, [LR, OneEpoch()], TASK, trained=trained, draws=DRAWS)
    assert found["passed"]
    assert set(found["canary"]) == {"logistic-regression", "fcn-eda"}
    assert set(found["identity"]) == {"logistic-regression"}
    assert json.loads(json.dumps(found)) == found
    assert any("finds nothing" in said for said in found["sentences"])
    assert sum("is refused" in said for said in found["sentences"]) == 3
    caught = run_controls(traced, split, [Cheat({})], TASK, draws=DRAWS)
    assert not caught["passed"]
    assert "Trust no figure" in caught["sentences"][0]


def test_a_run_is_controlled_once(tmp_path: Path) -> None:
    traced = cohort(people=8, windows=12)
    windows._write(traced, tmp_path / "windows")
    job = Job(
        split=split_of(traced),
        recipe="logistic-regression",
        seed=1,
        windows=tmp_path / "windows",
        classes=TASK.classes,
        schedule="short",
        ordinal=False,
        options={},
        temperature=True,
        responders={},
        keep_weights=False,
        may_become_bundle=False,
        folder=tmp_path,
        asked={"seed": 1},
    )
    plan = cast("Plan", SimpleNamespace(jobs=(job, replace(job, recipe="heart-rate"))))
    path = controls_step(tmp_path, plan)
    found = json.loads(path.read_text())
    assert found["passed"]
    assert set(found["canary"]) == {"logistic-regression"}
    assert set(found["identity"]) == {"hand-crafted features"}
    before = path.stat().st_mtime_ns
    assert controls_step(tmp_path, plan).stat().st_mtime_ns == before
    other = cast("Plan", SimpleNamespace(jobs=(replace(job, asked={"seed": 2}),)))
    assert controls_step(tmp_path, other).stat().st_mtime_ns > before
    path.write_text("not ours")
    assert json.loads(controls_step(tmp_path, plan).read_text()) == found
