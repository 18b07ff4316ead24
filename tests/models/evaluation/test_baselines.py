"""Plain methods find what they measure, learn from the training part alone, and say when they cannot."""

from __future__ import annotations

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest

from models.data.base import WindowSet, join
from models.data.guards import Parts, divide
from models.data.splits import Split
from models.data.traced import join_traced
from models.evaluation.baselines import (
    PLAIN,
    PlainRecipe,
    hand_crafted,
    heart_rate,
    plain_for,
    pulse_size,
    responses_a_second,
)
from models.evaluation.metrics import BASELINES
from models.training.recipe import Fitted, Recipe, Task
from monitor.bundle import default_input
from monitor.errors import ConfigError
from tests.helpers.traced_windows import traced_person

SECONDS = 10
EDA = default_input("EDA", rate_hz=8.0, samples=8 * SECONDS)
ECG = default_input("ECG", rate_hz=100.0, samples=100 * SECONDS)
BVP = default_input("BVP", rate_hz=32.0, samples=32 * SECONDS)
INPUTS = (EDA, ECG, BVP)
TASK = Task(inputs=INPUTS, classes=("none", "moderate", "severe"))


def beats(bpm: float, rate_hz: float, phase: float = 0.3) -> np.ndarray:
    t = np.arange(round(SECONDS * rate_hz)) / rate_hz
    return np.exp(-0.5 * ((((t * bpm / 60.0 + phase) % 1.0) - 0.5) / 0.05) ** 2)


def eda(responses: int) -> np.ndarray:
    t = np.arange(8 * SECONDS) / 8.0
    starts = 0.5 + np.arange(responses) * (SECONDS - 1.0) / max(responses, 1)
    return sum((np.exp(-0.5 * ((t - start - 1.2) / 0.5) ** 2) for start in starts), np.zeros(len(t)))


def person(subject: str, labels: list[int], seed: int) -> WindowSet:
    """More pain: a faster heart, a smaller pulse wave, more skin conductance responses."""
    rng = np.random.default_rng(seed)
    base = traced_person(subject, labels).windows
    rows: dict[str, list[np.ndarray]] = {"eda": [], "ecg": [], "bvp": []}
    for label in labels:
        bpm = 65.0 + 14.0 * label + rng.normal()
        rows["eda"].append(eda(label))
        rows["ecg"].append(beats(bpm, 100.0, rng.random()))
        rows["bvp"].append((1.5 - 0.4 * label + 0.05 * rng.normal()) * beats(bpm, 32.0, rng.random()))
    inputs = {
        name: (np.stack(x)[:, None] + 0.01 * rng.normal(size=(len(labels), 1, x[0].size))).astype(np.float32)
        for name, x in rows.items()
    }
    return replace(base, inputs=inputs)


def cohort(labels: tuple[int, ...] = (0, 1, 2, 0, 1, 2)) -> Parts:
    names = [f"p{i}" for i in range(10)]
    made = join_traced([traced_person(name, labels) for name in names])
    windows = join([person(name, list(labels), i) for i, name in enumerate(names)])
    split = Split(
        name="one",
        train=tuple(names[:6]),
        validation=(names[6],),
        calibration=(names[7],),
        test=tuple(names[8:]),
        seed=1,
    )
    return divide(replace(made, inputs=INPUTS, windows=windows), split)


def fitted(name: str, parts: Parts, task: Task = TASK) -> Fitted:
    return PlainRecipe(name=name, trees=30).fit(parts, task, seed=1)[name]


def test_numbers_are_found() -> None:
    rates = np.array([48.0, 61.0, 77.0, 95.0, 118.0])
    for rate_hz in (25.0, 100.0):
        found = heart_rate(np.stack([beats(bpm, rate_hz) for bpm in rates]), rate_hz)
        assert found == pytest.approx(rates, rel=0.03)
    assert pulse_size(np.stack([2.0 * beats(70, 32.0), beats(70, 32.0)])) == pytest.approx([1.8, 0.9], rel=0.2)
    counted = responses_a_second(np.stack([eda(n) for n in (0, 1, 2, 3)]), 8.0) * SECONDS
    assert counted == pytest.approx([0, 1, 2, 3])


def test_the_registry_is_what_the_tables_call_baselines() -> None:
    assert tuple(PLAIN) == BASELINES
    assert plain_for((EDA,)) == ("scr-rate", "logistic-regression", "random-forest")
    assert plain_for(INPUTS) == BASELINES
    recipes: list[Recipe] = list(PLAIN.values())
    assert [recipe.name for recipe in recipes] == list(BASELINES)


@pytest.mark.parametrize("name", BASELINES)
def test_each_tells_people_it_has_not_seen(name: str) -> None:
    parts = cohort()
    method = fitted(name, parts)
    assert {subject for item in method.learnt for subject in item.subjects} == set(parts.subjects["train"])
    test = parts.open_test(method.learnt)
    told = method.tell(test)
    assert told.logits.shape == (len(test), 3)
    assert np.exp(told.logits).sum(axis=1) == pytest.approx(1.0, abs=1e-4)
    assert len(told.features) == len(test)
    assert (told.logits.argmax(axis=1) == test.labels).mean() > 0.8
    assert method.parameters > 0
    assert method.model is None
    again = pickle.loads(pickle.dumps(method)).tell(test)  # a fold's worker may hand it over
    assert (again.logits == told.logits).all()
    assert method.tell(test.take(np.zeros(0, dtype=np.int64))).logits.shape == (0, 3)


@pytest.mark.parametrize("name", BASELINES)
def test_only_the_training_part_decides(name: str) -> None:
    """Other people's windows may be anything: the method is the same to the last bit."""
    parts, other = cohort(), cohort()
    for part in ("validation", "calibration"):
        windows = getattr(other, part)
        spoilt = {key: np.full_like(values, 7.0) for key, values in windows.inputs.items()}
        setattr(other, part, replace(windows, inputs=spoilt))
    seen = parts.calibration
    one, two = fitted(name, parts).tell(seen), fitted(name, other).tell(seen)
    assert (one.logits == two.logits).all()


def test_a_method_says_which_signal_it_lacks() -> None:
    parts = cohort()
    for name, said in (("heart-rate", "ECG or BVP"), ("scr-rate", "EDA"), ("spi-style", "BVP")):
        inputs = (EDA,) if name != "scr-rate" else (ECG,)
        with pytest.raises(ConfigError, match=said):
            fitted(name, parts, replace(TASK, inputs=inputs))


def test_the_pulse_wave_serves_where_there_is_no_ecg() -> None:
    parts = cohort()
    told = fitted("heart-rate", parts, replace(TASK, inputs=(BVP,))).tell(parts.validation)
    assert (told.logits.argmax(axis=1) == parts.validation.labels).mean() > 0.7


def test_flat_and_strange_inputs_give_finite_features() -> None:
    many = default_input("EDA", rate_hz=8.0, samples=80).model_copy(update={"modality": "TEMP", "name": "t"})
    breath = BVP.model_copy(update={"modality": "RESP", "name": "resp"})
    flat = replace(
        traced_person("a", [0, 1]).windows,
        inputs={
            "eda": np.zeros((2, 1, 80), np.float32),
            "ecg": np.zeros((2, 1, 1000), np.float32),
            "bvp": np.zeros((2, 1, 320), np.float32),
            "t": np.zeros((2, 3, 80), np.float32),
            "resp": np.zeros((2, 1, 320), np.float32),
        },
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert np.isfinite(hand_crafted(flat, (*INPUTS, many, breath))).all()
