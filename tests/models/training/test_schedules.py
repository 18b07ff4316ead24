from __future__ import annotations

import pytest

from models.training.schedules import EMBEDDING_STRENGTHS, SCHEDULES, plan_of
from monitor.errors import ConfigError


def test_the_papers_numbers() -> None:
    paper = {name: plan.stages for name, plan in SCHEDULES["paper"].items()}
    crossmod = {stage: (s.epochs, s.milestone) for stage, s in paper["crossmod"].items()}
    assert crossmod == {"fcn": (900, 500), "alstm": (500, 300), "block": (100, 80), "fusion": (50, None)}
    assert {s.batch for s in paper["crossmod"].values()} == {128}
    for name in ("mscn", "mscn-se", "mscn-tran", "painattnnet", "painattnnet-late", "painattnnet-attention"):
        stage = paper[name]["model"]
        assert (stage.epochs, stage.batch, stage.learning_rate, stage.optimiser) == (100, 128, 1e-3, "adam")
        assert [stage.rate_share(e - 1) for e in (1, 10, 11, 100)] == [1.0, 1.0, 0.1, 0.1]
    moe = paper["tiny-biomoe"]["model"]
    assert (moe.epochs, moe.batch, moe.learning_rate, moe.decay) == (200, 32, 1e-4, "cosine")
    for epochs, strengths in ((200, (0.5, 0.5, 0.1)), (300, (0.7, 0.7, 0.15)), (600, (0.5, 0.5, 0.15))):
        plan = plan_of("painformer-frozen", "paper", {"setting": epochs})
        stage = plan.stages["model"]
        assert (stage.epochs, stage.learning_rate, stage.weight_decay) == (epochs, 2e-5, 0.1)
        assert (stage.optimiser, stage.decay, stage.warm_up, stage.cool_down) == ("adamw", "cosine", 10, 10)
        found = plan.augmentation
        assert (found["embedding_basic"], found["embedding_mask"], found["embedding_mask_least"]) == strengths


def test_no_paper_stops_early_or_augments_where_none_did() -> None:
    for name, plan in SCHEDULES["paper"].items():
        assert all(stage.patience >= stage.epochs for stage in plan.stages.values())
        assert all(stage.limit_s is None for stage in plan.stages.values())
        wanted = {"image_mask"} if name == "tiny-biomoe" else set(EMBEDDING_STRENGTHS) if "frozen" in name else set()
        assert set(plan.augmentation) == wanted
    for plan in SCHEDULES["short"].values():
        assert plan.augmentation
        assert all(stage.limit_s is None for stage in plan.stages.values())


def test_any_number_can_be_changed_for_all_stages_or_for_one() -> None:
    plan = plan_of("crossmod", "short", {"epochs": {"fcn": 2}, "learning_rate": 1e-4, "dropout": {"fusion": 0.6}})
    stages = plan.stages
    assert [stages[name].epochs for name in ("fcn", "alstm", "block", "fusion")] == [2, 12, 4, 8]
    assert stages["fcn"].milestone == 1
    assert {s.learning_rate for s in stages.values()} == {1e-4}
    assert [s.dropout for s in stages.values()] == [None, None, None, (0.6, 0.6)]
    one = plan_of("tiny-biomoe", "paper", {"epochs": 2, "label_smoothing": [0.0, 0.2], "device": "cpu"}, ordinal=True)
    stage = one.stages["model"]
    assert (stage.epochs, stage.warm_up, stage.cool_down, stage.patience) == (2, 0, 0, 2)
    assert (stage.label_smoothing, stage.device, stage.ordinal) == ((0.0, 0.2), "cpu", True)
    assert plan_of("fcn", "short", {"epochs": 0}).stages == plan_of("fcn", "short", {}).stages
    assert plan_of("fcn", "short", {"augment": False}).augmentation == {}
    assert plan_of("fcn", "paper", {"augment": True}).augmentation == SCHEDULES["short"]["fcn"].augmentation
    changed = plan_of("fcn", "short", {"augment": {"jitter": 0.3, "scaling": False}}).augmentation
    assert changed["jitter"] == 0.3
    assert "scaling" not in changed
    # What another recipe of the same configuration takes is no mistake here.
    plan_of("fcn", "short", {"images": ["waveform"], "epochs": {"fusion": 3}})


def test_all_mistakes_are_said_at_once() -> None:
    wrong = {
        "epoch": 3,
        "batch": 1,
        "learning_rate": "fast",
        "augment": {"colours": 0.5, "jitter": 3.0},
        "dropout": {"last": 0.5},
    }
    with pytest.raises(ConfigError) as error:
        plan_of("crossmod", "short", wrong)
    said = {problem.key for problem in error.value.problems}
    assert {"epoch", "augment.colours", "augment.jitter", "dropout.last", "fcn"} <= said
    assert "learning_rate is 'fast', which is no number" in str(error.value)
    with pytest.raises(ConfigError, match="paper, short"):
        plan_of("crossmod", "long", {})
    with pytest.raises(ConfigError, match="200, 300 or 600"):
        plan_of("painformer-frozen", "paper", {"setting": 250})
    with pytest.raises(ConfigError, match="neither one number nor two"):
        plan_of("fcn", "short", {"dropout": "much"})
