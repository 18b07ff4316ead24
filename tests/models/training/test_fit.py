from __future__ import annotations

import logging
import math
import signal
import warnings
from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from torch import Tensor, nn
from torch.optim.optimizer import register_optimizer_step_post_hook

from models.training.loop import Examples, FitSettings, device_of, fit, predict
from monitor.errors import ConfigError


def blobs(count: int, seed: int) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return Examples(inputs=(torch.eye(3)[labels] + 0.3 * torch.randn(count, 3, generator=generator),), labels=labels)


def network(dropout: float = 0.3) -> nn.Module:
    torch.manual_seed(3)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(dropout), nn.Linear(8, 3))


def trained(seed: int = 1, augment: Callable[..., tuple[Tensor, ...]] | None = None, **settings: object) -> nn.Module:
    module = network()
    given = {"epochs": 3, "batch": 8, "seed": seed, "device": "cpu", **settings}
    fit(module, module, train=blobs(60, 1), validation=blobs(30, 2), settings=FitSettings(**given), augment=augment)  # type: ignore[arg-type]
    return module


def same(one: nn.Module, other: nn.Module) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_the_same_seed_gives_the_same_weights_whatever_was_drawn_before() -> None:
    def noisy(inputs: tuple[Tensor, ...], draws: torch.Generator) -> tuple[Tensor, ...]:
        return (inputs[0] + 0.1 * torch.randn(inputs[0].shape, generator=draws),)

    first = trained(augment=noisy)
    torch.randn(1000)
    assert same(first, trained(augment=noisy))
    assert not same(first, trained(seed=2, augment=noisy))
    assert not same(first, trained())


def test_every_epoch_is_told_and_nothing_else_is_said(caplog: pytest.LogCaptureFixture) -> None:
    told: list[tuple[str, int, int, float, float]] = []
    module = network()
    with caplog.at_level(logging.DEBUG), warnings.catch_warnings():
        warnings.simplefilter("error")
        result = fit(
            module.eval(),  # as a module is that has been trained before
            module,
            train=blobs(60, 1),
            validation=blobs(30, 2),
            settings=FitSettings(epochs=3, batch=8),
            stage="eda.fcn",
            on_epoch=lambda *said: told.append(said),
        )
    assert [item[:3] for item in told] == [("eda.fcn", 1, 3), ("eda.fcn", 2, 3), ("eda.fcn", 3, 3)]
    assert [item[3] for item in told] == list(result.train_loss)
    assert [item[4] for item in told] == list(result.validation_loss)
    assert {record.name.partition(".")[0] for record in caplog.records} <= {"models"}
    assert not module.training


def test_validation_is_the_loss_of_all_windows_at_once_and_in_no_training_mode() -> None:
    module = network(dropout=0.9)
    held = blobs(30, 2)
    weights = torch.tensor([1.0, 2.0, 5.0])
    settings = FitSettings(epochs=2, batch=8, judged_batch=7, label_smoothing=(0.3, 0.3))
    result = fit(module, module, train=blobs(60, 1), validation=held, settings=settings, weights=weights)
    loss = nn.functional.cross_entropy(predict(module, module, held.inputs), held.labels, weight=weights)
    assert float(loss) == pytest.approx(result.best_loss, rel=1e-5)


def test_the_milestone_is_a_tenth_and_the_cosine_warms_up_and_cools_down() -> None:
    steps = FitSettings(epochs=10, milestone=7)
    assert [steps.rate_share(e) for e in range(10)] == [1.0] * 7 + [0.1] * 3
    assert FitSettings(epochs=5).rate_share(4) == 1.0
    cosine = FitSettings(epochs=20, decay="cosine", warm_up=3, cool_down=4)
    shares = [cosine.rate_share(e) for e in range(20)]
    assert shares[:3] == pytest.approx([0.25, 0.5, 0.75])
    assert shares[3] == 1.0
    assert all(a > b for a, b in pairwise(shares[3:17]))
    assert shares[16:] == pytest.approx([0.01] * 4)
    assert shares[9] == pytest.approx(0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * 6 / 13)))


def test_the_learning_rate_that_is_asked_for_is_the_one_that_learns() -> None:
    def moved(**settings: object) -> float:
        torch.manual_seed(1)
        module = nn.Linear(3, 3)
        before = module.weight.detach().clone()
        given = {"epochs": 1, "batch": 60, "gradient_norm": 1e9, **settings}
        fit(module, module, train=blobs(60, 1), validation=blobs(30, 2), settings=FitSettings(**given))  # type: ignore[arg-type]
        return float((module.weight.detach() - before).abs().max())

    # One step of Adam is as long as its rate.
    assert moved(learning_rate=1e-3) == pytest.approx(1e-3, rel=1e-2)
    assert moved(learning_rate=1e-2, milestone=0) == pytest.approx(1e-3, rel=1e-2)
    assert moved(learning_rate=1e-3, optimiser="adamw") == pytest.approx(1e-3, rel=1e-2)
    assert moved(learning_rate=1e-3, optimiser="adamw", weight_decay=100.0) > 0.01


def test_gradients_are_clipped() -> None:
    norms: list[float] = []

    def look(optimiser: torch.optim.Optimizer, *_: object) -> None:
        gradients = [p.grad.flatten() for group in optimiser.param_groups for p in group["params"]]
        norms.append(float(torch.cat(gradients).norm()))

    def largest(gradient_norm: float) -> float:
        norms.clear()
        module = nn.Linear(3, 3)
        large = Examples(inputs=(1e4 * blobs(60, 1).inputs[0],), labels=blobs(60, 5).labels)
        settings = FitSettings(epochs=1, batch=20, gradient_norm=gradient_norm)
        fit(module, module, train=large, validation=blobs(30, 2), settings=settings)
        assert len(norms) == 3
        return max(norms)

    hook = register_optimizer_step_post_hook(look)
    try:
        assert largest(1e9) > 1.0
        assert largest(0.5) == pytest.approx(0.5, rel=1e-3)
    finally:
        hook.remove()


def test_dropout_and_smoothing_run_linearly_over_the_epochs() -> None:
    settings = FitSettings(epochs=4, batch=8, dropout=(0.1, 0.5), label_smoothing=(0.0, 0.2), patience=4)
    assert [settings.running(settings.label_smoothing, e) for e in range(4)] == pytest.approx([0.0, 0.05, 0.1, 0.15])
    module = network(dropout=0.3)
    seen: list[float] = []

    def forward(x: Tensor) -> Tensor:
        if module.training:
            seen.append(module[2].p)
        return module(x)

    fit(forward, module, train=blobs(16, 1), validation=blobs(9, 2), settings=settings)
    assert seen == pytest.approx([0.1, 0.1, 0.2, 0.2, 0.3, 0.3, 0.4, 0.4])
    assert module[2].p == 0.3  # as it was built


def test_what_is_frozen_stays() -> None:
    module = network()
    module[0].requires_grad_(False)
    before = module[0].weight.clone()
    fit(module, module, train=blobs(60, 1), validation=blobs(30, 2), settings=FitSettings(epochs=1, batch=8))
    assert torch.equal(before, module[0].weight)


def test_a_loss_that_is_no_number_is_an_error_and_ctrl_c_stays_what_it_was() -> None:
    module = network()
    broken = Examples(inputs=(torch.full((12, 3), torch.nan),), labels=torch.arange(12) % 3)
    handler = signal.getsignal(signal.SIGINT)
    with pytest.raises(ValueError, match="loss of epoch 0 is not finite"):
        fit(module, module, train=broken, validation=blobs(9, 1), settings=FitSettings(epochs=2, batch=4))

    def interrupted(_: Tensor) -> Tensor:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(interrupted, module, train=blobs(9, 1), validation=blobs(9, 1), settings=FitSettings(epochs=2, batch=4))
    assert signal.getsignal(signal.SIGINT) is handler


def test_a_gpu_that_is_not_there_is_refused_with_what_to_do() -> None:
    assert device_of("cpu") == torch.device("cpu")
    assert device_of("auto").type == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(ConfigError, match="auto, cpu, cuda"):
        device_of("tpu")
    number = torch.cuda.device_count() if torch.cuda.is_available() else 0
    module = network()
    with pytest.raises(ConfigError, match=r'cannot be had.*write "auto" or "cpu"'):
        fit(module, module, train=blobs(9, 1), validation=blobs(9, 2),
            settings=FitSettings(epochs=1, device=f"cuda:{number}"))  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"epochs": 0},
        {"batch": 1},
        {"patience": 0},
        {"learning_rate": 0.0},
        {"warm_up": 3, "cool_down": 2},
        {"label_smoothing": (0.0, 1.0)},
        {"dropout": (-0.1, 0.5)},
        {"optimiser": "sgd"},
        {"decay": "none"},
        {"device": "tpu"},
    ],
)
def test_settings_that_cannot_train_are_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(ValueError, match=r"."):
        FitSettings(**{"epochs": 5, **wrong})  # type: ignore[arg-type]
