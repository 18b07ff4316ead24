from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional

from models.training.loop import Examples, FitSettings, fit, predict
from models.training.ordinal import cumulative_logits, cumulative_loss


def some(count: int, classes: int) -> tuple[torch.Tensor, torch.Tensor]:
    torch.manual_seed(1)
    return 3.0 * torch.randn(count, classes), torch.randint(0, classes, (count,))


@pytest.mark.parametrize("classes", [2, 3, 5])
def test_answers_are_the_tail_sums_of_softmax_and_never_rise(classes: int) -> None:
    logits, _ = some(50, classes)
    chances = torch.softmax(logits.double(), dim=1)
    tails = torch.stack([chances[:, k + 1 :].sum(dim=1) for k in range(classes - 1)], dim=1)
    answers = torch.sigmoid(cumulative_logits(logits.double()))
    torch.testing.assert_close(answers, tails)
    assert (answers.diff(dim=1) <= 0).all()


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_of_two_classes_it_is_cross_entropy(smoothing: float) -> None:
    logits, labels = some(50, 2)
    for weights in (None, torch.tensor([1.0, 3.0])):
        found = cumulative_loss(logits, labels, weights=weights, smoothing=smoothing)
        if smoothing and weights is not None:
            continue  # torch weighs the smoothed share by the other class
        torch.testing.assert_close(
            found, functional.cross_entropy(logits, labels, weight=weights, label_smoothing=smoothing)
        )


def test_a_miss_by_two_classes_costs_more_than_a_miss_by_one() -> None:
    label = torch.tensor([0])
    near, far = torch.tensor([[0.0, 4.0, 0.0]]), torch.tensor([[0.0, 0.0, 4.0]])
    assert float(functional.cross_entropy(near, label)) == pytest.approx(float(functional.cross_entropy(far, label)))
    assert cumulative_loss(far, label) > 1.5 * cumulative_loss(near, label)


def test_extreme_logits_stay_finite() -> None:
    logits = torch.tensor([[1e4, 0.0, -1e4], [-1e4, 0.0, 1e4]], requires_grad=True)
    loss = cumulative_loss(logits, torch.tensor([2, 0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


def test_a_network_learns_ordered_classes() -> None:
    torch.manual_seed(2)
    labels = torch.arange(90) % 5
    examples = Examples(inputs=(labels[:, None] + 0.2 * torch.randn(90, 1),), labels=labels)
    module = nn.Sequential(nn.Linear(1, 16), nn.ReLU(), nn.Linear(16, 5))
    settings = FitSettings(epochs=40, batch=15, learning_rate=0.02, ordinal=True, patience=40)
    result = fit(module, module, train=examples, validation=examples, settings=settings)
    logits = predict(module, module, examples.inputs)
    assert logits.shape == (90, 5)
    assert (logits.argmax(dim=1) - labels).abs().float().mean() < 0.3
    assert float(cumulative_loss(logits, labels)) == pytest.approx(result.best_loss, rel=1e-5)
