from __future__ import annotations

import numpy as np
import torch

from models.painattnnet import MSCNSE
from models.training.baseline import features
from models.training.end_to_end import train_end_to_end
from models.training.loop import FitSettings
from models.training.network import Signals

SAMPLES = 600


def signals(count: int, seed: int) -> Signals:
    """Three classes that differ in the size of one signal's noise; the other says nothing."""
    rng = np.random.default_rng(seed)
    labels = np.arange(count) % 3
    emg = rng.standard_normal((count, 1, SAMPLES)) * (0.1 + labels[:, None, None])
    eda = 0.1 * rng.standard_normal((count, 1, SAMPLES))
    return Signals(
        inputs={"emg": torch.tensor(emg, dtype=torch.float32), "eda": torch.tensor(eda, dtype=torch.float32)},
        labels=torch.tensor(labels),
    )


def test_a_model_learns_a_tiny_set_from_its_inputs_to_its_logits() -> None:
    torch.manual_seed(1)
    model = MSCNSE(inputs=("eda", "emg"), samples=SAMPLES, dropout=0.0)
    before = {name: value.clone() for name, value in model.named_parameters()}
    settings = FitSettings(epochs=10, milestone=8, batch=12, learning_rate=2e-3)
    results = train_end_to_end(model, train=signals(60, 1), validation=signals(30, 2), settings=settings)
    assert list(results) == ["model"]
    assert not model.training
    held = signals(30, 3)
    with torch.inference_mode():
        told = model(held.inputs).logits.argmax(dim=1)
    assert (told == held.labels).float().mean() > 0.9
    assert all(not torch.equal(before[name], value) for name, value in model.named_parameters())


def test_the_plain_baseline_reads_the_muscle() -> None:
    rng = np.random.default_rng(5)
    noise = rng.standard_normal((4, 1, 2816)).astype(np.float32)
    half = np.where(np.arange(2816) < 1408, 1.0, 3.0).astype(np.float32)
    calm, tense = features({"emg": noise}, 512.0), features({"emg": 5.0 * noise}, 512.0)
    rising = features({"emg": noise * half}, 512.0)
    np.testing.assert_allclose(tense[:, 0] - calm[:, 0], np.log(5.0), atol=0.01)
    np.testing.assert_allclose(rising[:, 1] - calm[:, 1], np.log(3.0), atol=0.01)
    np.testing.assert_allclose(tense[:, 2], 5.0 * calm[:, 2], rtol=1e-5)
    assert np.isfinite(features({"emg": np.zeros((1, 1, 2816), np.float32)}, 512.0)).all()
