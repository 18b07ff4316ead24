from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
import torch

from models.checkpoint import load_checkpoint, save_checkpoint
from models.data.base import WindowSet
from models.data.guards import Parts
from models.training.network import Network, fresh_model, stage_seed
from models.training.recipe import Fitted, Task
from models.training.recipes import RECIPES, make_recipe
from models.training.schedules import SCHEDULES
from monitor.bundle import InputSpec, default_input
from monitor.errors import ConfigError

SUBJECTS = {"train": ("a", "b", "c"), "validation": ("d", "e"), "calibration": ("f",), "test": ("g",)}
CLASSES = ("none", "mild", "severe")


def inputs(*modalities: str, rate_hz: float = 25.0, samples: int = 24) -> tuple[InputSpec, ...]:
    return tuple(default_input(m, rate_hz=rate_hz, samples=samples) for m in modalities)


def windows(of: Sequence[InputSpec], subjects: Sequence[str], seed: int, each: int, classes: int) -> WindowSet:
    """Classes differ in how far every signal swings."""
    rng = np.random.default_rng(seed)
    count = each * len(subjects)
    labels = np.arange(count) % classes
    size = (0.2 + labels)[:, None, None]
    return WindowSet(
        inputs={i.name: (size * rng.standard_normal((count, 1, i.samples))).astype(np.float32) for i in of},
        labels=labels.astype(np.int64),
        subjects=np.repeat(list(subjects), each),
        t_end=np.arange(count, dtype=np.float64),
        level=np.zeros(count),
        since_onset_s=np.zeros(count),
        confounded=np.zeros(count, dtype=np.bool_),
        calibrated=np.ones(count, dtype=np.bool_),
    )


def parts_of(of: Sequence[InputSpec], each: int = 6, classes: int = 3) -> Parts:
    sets = {part: windows(of, who, n, each, classes) for n, (part, who) in enumerate(SUBJECTS.items())}
    return Parts("fold-1", sets, SUBJECTS)


def trained(name: str, of: Sequence[InputSpec], seed: int = 1, each: int = 3, **options: object) -> dict[str, Fitted]:
    given = {"epochs": 1, "device": "cpu", **options}
    return make_recipe(name).fit(parts_of(of, each), Task(inputs=tuple(of), classes=CLASSES, options=given), seed=seed)


def logits(methods: Mapping[str, Fitted], of: Sequence[InputSpec]) -> dict[str, np.ndarray]:
    test = windows(of, SUBJECTS["test"], 9, 6, 3)
    return {name: method.tell(test).logits for name, method in methods.items()}


def test_crossmod_gives_every_stage_as_a_method_that_can_become_a_bundle(tmp_path) -> None:
    of = inputs("EDA", "ECG")
    methods = trained("crossmod", of)
    stages = [f"{part}-{name}" for name in ("eda", "ecg") for part in ("fcn", "alstm", "fat")]
    assert list(methods) == [*stages, "crossmod"]
    told = logits(methods, of)
    test = windows(of, SUBJECTS["test"], 9, 6, 3)
    for name, method in methods.items():
        assert isinstance(method, Network)
        assert told[name].shape == (6, 3)
        assert method.tell(test).features.shape == (6, 128)
        read = {i.name: torch.from_numpy(test.inputs[i.name]) for i in method.inputs}
        assert tuple(read) == method.model.input_names
        assert [i.name for i in method.inputs] == (["eda", "ecg"] if name == "crossmod" else [name.split("-")[1]])
        with torch.inference_mode():
            np.testing.assert_allclose(method.model(read).logits.numpy(), told[name], rtol=1e-5, atol=1e-6)
        path = tmp_path / f"{name}.pt"
        save_checkpoint(method.model, path)
        with torch.inference_mode():
            again = load_checkpoint(path)(read).logits.numpy()
        np.testing.assert_allclose(again, told[name], rtol=1e-5, atol=1e-6)
    assert list(methods["crossmod"].history) == [
        *(f"{name}.{part}" for name in ("eda", "ecg") for part in ("fcn", "alstm", "block")),
        "fusion",
    ]
    # Every stage says what its own network would, not what another's does.
    assert len({values.tobytes() for values in told.values()}) == len(told)


def test_a_stage_is_the_same_network_whichever_recipe_trained_it() -> None:
    of = inputs("EDA", "ECG")
    whole = logits(trained("crossmod", of), of)
    alone = logits(trained("crossmod", of[:1]), of[:1])
    assert list(alone) == ["fcn-eda", "alstm-eda", "fat-eda"]
    for name, methods in (("fcn", ["fcn-eda", "fcn-ecg"]), ("fat", ["fat-eda", "fat-ecg"])):
        single = logits(trained(name, of), of)
        assert list(single) == methods
        for method in methods:
            np.testing.assert_array_equal(single[method], whole[method])
    for method, values in alone.items():
        np.testing.assert_array_equal(values, whole[method])
    other = logits(trained("fcn", of, seed=2), of)
    assert not np.array_equal(other["fcn-eda"], whole["fcn-eda"])


def test_what_was_learnt_names_who_was_seen_and_opens_the_test_part() -> None:
    of = inputs("EDA")
    parts = parts_of(of)
    methods = make_recipe("fcn").fit(parts, Task(inputs=of, classes=CLASSES, options={"epochs": 1}), seed=1)
    learnt = methods["fcn-eda"].learnt
    assert [(item.kind, item.subjects) for item in learnt] == [
        ("weights", frozenset(SUBJECTS["train"])),
        ("choice", frozenset(SUBJECTS["validation"])),
    ]
    assert len(parts.open_test(learnt)) == 6


@pytest.mark.parametrize(("name", "method", "epochs"), [("fcn", "fcn-eda", 8), ("crossmod", "crossmod", 5)])
def test_a_recipe_learns_what_can_be_learnt(name: str, method: str, epochs: int) -> None:
    of = inputs("EDA", "ECG", samples=40)[: 1 if name == "fcn" else 2]
    options = {"epochs": epochs, "batch": 12, "learning_rate": 3e-3, "augment": False, "device": "cpu"}
    methods = make_recipe(name).fit(parts_of(of, 12), Task(inputs=of, classes=CLASSES, options=options), seed=1)
    test = windows(of, ("x", "y", "z"), 33, 12, 3)
    assert np.mean(methods[method].tell(test).logits.argmax(axis=1) == test.labels) > 0.8


def test_every_stage_trains_its_own_part() -> None:
    methods = trained("crossmod", inputs("EDA", "ECG"))
    own = {"fcn": ("fcn", "head"), "alstm": ("alstm", "head"), "fat": ("encoder.block", "fc4"), "": ("block", "fc4")}
    for name, method in methods.items():
        part, _, signal = name.rpartition("-")
        stage = f"{signal}.{part.replace('fat', 'block')}" if part else "fusion"
        model = method.model
        seed = stage_seed(1, f"{stage}/weights")
        fresh = fresh_model("test", model.architecture, seed, inputs=model.input_names, classes=3).state_dict()
        weights = {k: v for k, v in model.named_parameters() if k.startswith(own[part]) and "bias" not in k}
        assert weights
        assert [k for k, v in weights.items() if torch.equal(v, fresh[k])] == [], name


@pytest.mark.parametrize(
    ("name", "signals"),
    [
        ("mscn", 1),
        ("mscn-se", 2),
        ("mscn-tran", 1),
        ("painattnnet", 1),
        ("painattnnet-late", 2),
        ("painattnnet-attention", 2),
        ("crossmod-end-to-end", 2),
    ],
)
def test_models_that_are_trained_as_one(name: str, signals: int) -> None:
    whole = name == "crossmod-end-to-end"
    of = inputs("EDA", "ECG", **({} if whole else {"rate_hz": 512.0, "samples": 600}))[:signals]
    told: list[tuple[str, int, int]] = []
    recipe = make_recipe(name, on_epoch=lambda stage, epoch, of_, *_: told.append((stage, epoch, of_)))
    options = {"epochs": 1, "batch": 4, "device": "cpu"}
    methods = recipe.fit(parts_of(of, 3), Task(inputs=of, classes=CLASSES, options=options), seed=1)
    assert list(methods) == [name]
    method = methods[name]
    assert told == [("model", 1, 1)]
    assert method.parameters == method.model.parameter_count()
    found = method.tell(windows(of, SUBJECTS["test"], 9, 3, 3))
    assert found.logits.shape == (3, 3)
    assert np.isfinite(found.logits).all()
    assert found.features.shape[0] == 3


def test_leaving_a_signal_out_is_for_the_architecture_that_can_miss_one() -> None:
    of = inputs("EDA", "ECG", rate_hz=512.0, samples=600)
    options = {"augment": {"channel_dropout": 0.4}, "batch": 4}
    methods = trained("painattnnet-attention", of, each=3, **options)
    assert methods["painattnnet-attention"].model.channel_dropout == 0.4
    with pytest.raises(ConfigError, match=r"cannot miss a signal.*a lost signal means another bundle"):
        trained("painattnnet", of, each=3, **options)


def test_ordered_classes_give_logits_of_classes_too() -> None:
    of = inputs("EDA")
    parts = parts_of(of, 10, classes=5)
    task = Task(inputs=of, classes=tuple("abcde"), ordinal=True, options={"epochs": 1})
    plain = Task(inputs=of, classes=tuple("abcde"), options={"epochs": 1})
    one, other = (make_recipe("fcn").fit(parts, t, seed=1)["fcn-eda"].tell(parts.calibration) for t in (task, plain))
    assert one.logits.shape == (10, 5)
    assert not np.array_equal(one.logits, other.logits)


@pytest.mark.parametrize(
    ("name", "of", "said"),
    [
        ("crossmod", inputs("EDA", "ECG", "EMG"), "it fuses two signals, not 3"),
        ("crossmod", (*inputs("EDA"), *inputs("ECG", samples=50)), "as many points"),
        ("crossmod-end-to-end", inputs("EDA"), "it reads 2 signals, not 1"),
        ("painattnnet", inputs("EDA", samples=600), "25 Hz; its kernels are durations at 512 Hz"),
        ("painattnnet-late", inputs("EDA", rate_hz=512.0, samples=600), "2 to 8 signals, not 1"),
        ("mscn", inputs("EDA", rate_hz=512.0, samples=20), "recipe mscn"),
    ],
)
def test_what_a_recipe_cannot_read_is_said(name: str, of: tuple[InputSpec, ...], said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        trained(name, of)


def test_windows_that_teach_nothing_are_refused() -> None:
    of = inputs("EDA")
    two = parts_of(of, classes=2)
    task = Task(inputs=of, classes=CLASSES, options={"epochs": 1})
    with pytest.raises(ConfigError, match="no window of train is of the class severe"):
        make_recipe("fcn").fit(two, task, seed=1)
    with pytest.raises(ConfigError, match="has a label 2, and 2 classes are named"):
        make_recipe("fcn").fit(parts_of(of), Task(inputs=of, classes=("a", "b")), seed=1)
    with pytest.raises(ConfigError, match="fold-1 has no input ecg"):
        make_recipe("fcn").fit(parts_of(of), Task(inputs=inputs("ECG"), classes=CLASSES), seed=1)
    empty = parts_of(of)
    empty.validation = empty.validation.take(np.zeros(len(empty.validation), dtype=np.bool_))
    with pytest.raises(ConfigError, match="no window of validation has a label"):
        make_recipe("fcn").fit(empty, task, seed=1)


def test_windows_without_a_label_are_not_learnt_from() -> None:
    of = inputs("EDA")
    parts, more = parts_of(of), parts_of(of)
    noise = windows(of, SUBJECTS["train"], 77, 4, 3)
    noise.labels[:] = -1
    both = {n: np.concatenate([parts.train.inputs[n], noise.inputs[n]]) for n in noise.inputs}
    rest = ("labels", "subjects", "t_end", "level", "since_onset_s", "confounded", "calibrated", "groups")
    more.train = WindowSet(
        inputs=both, **{n: np.concatenate([getattr(parts.train, n), getattr(noise, n)]) for n in rest}
    )
    task = Task(inputs=of, classes=CLASSES, options={"epochs": 1})
    one, other = (make_recipe("fcn").fit(p, task, seed=1) for p in (parts, more))
    np.testing.assert_array_equal(logits(one, of)["fcn-eda"], logits(other, of)["fcn-eda"])


def test_every_recipe_of_a_network_has_both_schedules() -> None:
    networks = {name for name, entry in RECIPES.items() if not entry.baseline}
    assert set(SCHEDULES) == {"paper", "short"}
    for of_all in SCHEDULES.values():
        assert set(of_all) == networks
