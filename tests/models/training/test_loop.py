from __future__ import annotations

import logging

import numpy as np
import pytest
import torch
from torch import nn

from models.evaluation.calibration import fit_temperature, softmax
from models.training.baseline import features, fit_baseline
from models.training.loop import Examples, FitSettings, class_weights, fit, predict
from models.training.metrics import calibration_error, classification


def blobs(count: int, seed: int) -> Examples:
    generator = torch.Generator().manual_seed(seed)
    labels = torch.arange(count) % 3
    return Examples(inputs=(torch.eye(3)[labels] + 0.3 * torch.randn(count, 3, generator=generator),), labels=labels)


def linear() -> nn.Module:
    torch.manual_seed(3)
    return nn.Linear(3, 3)


def test_training_is_deterministic_and_depends_on_the_seed() -> None:
    def weights(seed: int) -> torch.Tensor:
        module = linear()
        fit(module, module, train=blobs(60, 1), validation=blobs(30, 2),
            settings=FitSettings(epochs=3, milestone=2, batch=8, seed=seed))  # fmt: skip
        return module.weight.detach()

    assert torch.equal(weights(1), weights(1))
    assert not torch.equal(weights(1), weights(2))


def test_the_weights_kept_are_those_of_the_best_validation_loss() -> None:
    module = linear()
    # Labels of the validation set contradict the training set: every step makes it worse, so the first epoch is best.
    against = blobs(30, 2)
    against = Examples(inputs=against.inputs, labels=(against.labels + 1) % 3)
    settings = FitSettings(epochs=20, milestone=20, batch=8, patience=3, learning_rate=0.05)
    result = fit(module, module, train=blobs(60, 1), validation=against, settings=settings)
    assert result.best_epoch == 0
    assert len(result.validation_loss) == 4  # patience
    loss = nn.functional.cross_entropy(predict(module, module, against.inputs), against.labels)
    assert float(loss) == pytest.approx(result.validation_loss[0], rel=1e-6)


def test_the_time_limit_is_explicit_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    module = linear()
    with caplog.at_level(logging.WARNING):
        result = fit(module, module, train=blobs(30, 1), validation=blobs(30, 2),
                     settings=FitSettings(epochs=50, milestone=50, limit_s=0.0))  # fmt: skip
    assert result.limited
    assert len(result.train_loss) == 1
    assert "time limit" in caplog.text


def test_classes_count_the_same_whatever_their_numbers() -> None:
    labels = torch.tensor([0] * 6 + [1] * 3 + [2] * 1)
    weights = class_weights(labels, 3)
    sums = [float(weights[label] * (labels == label).sum()) for label in range(3)]
    assert sums == pytest.approx([sums[0]] * 3)
    with pytest.raises(ValueError, match="no example"):
        class_weights(torch.tensor([0, 0, 2]), 3)


def test_a_last_window_alone_is_no_batch() -> None:
    module = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))  # BatchNorm refuses to train on one example
    fit(module, module, train=blobs(9, 1), validation=blobs(6, 2),
        settings=FitSettings(epochs=1, milestone=1, batch=4))  # fmt: skip


@pytest.mark.parametrize("temperature", [0.5, 3.0])
def test_the_temperature_that_generated_labels_is_found(temperature: float) -> None:
    rng = np.random.default_rng(1)
    logits = 3.0 * rng.standard_normal((6000, 3))
    chances = softmax(logits, temperature)
    labels = (chances.cumsum(axis=1) > rng.random((6000, 1))).argmax(axis=1)
    assert fit_temperature(logits, labels) == pytest.approx(temperature, rel=0.1)
    honest, table = calibration_error(chances, labels)
    assert honest < 0.03
    assert honest < calibration_error(softmax(logits, 0.2 * temperature), labels)[0]
    assert len(table) == 15
    assert sum(count for _, _, count in table) == 6000


def test_figures_of_a_known_confusion() -> None:
    labels = np.array([0, 0, 0, 0, 1, 1, 2, 2])
    predicted = np.array([0, 0, 0, 1, 1, 2, 2, 2])
    figures = classification(np.eye(3)[predicted] * 0.9 + 0.1 / 3, labels, ("none", "moderate", "severe"))
    assert figures["accuracy"] == 0.75
    assert figures["balanced_accuracy"] == pytest.approx((0.75 + 0.5 + 1.0) / 3, abs=1e-4)
    assert figures["recall_moderate"] == 0.5
    assert figures["auc_none_severe"] == 1.0
    assert figures["confusion"] == "3 1 0 | 0 1 1 | 0 0 2"


def test_the_plain_baseline_reads_the_heart_rate() -> None:
    rate, samples = 25.0, 138
    t = np.arange(samples) / rate
    beats = np.array([60.0, 75.0, 100.0])
    pulses = np.exp(np.cos(2 * np.pi * beats[:, None] / 60.0 * t) * 4)[:, None].astype(np.float32)
    found = features({"ecg": pulses}, rate)
    assert np.abs(found[:, 4] - beats).max() < 4.0
    told = fit_baseline(np.repeat(found, 3, axis=0), np.repeat([0, 1, 2], 3), seed=1).predict(found)
    assert told.tolist() == [0, 1, 2]
