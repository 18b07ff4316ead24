from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from models.base import PainOutput
from models.training.drawing import Drawing, images_of
from models.training.end_to_end import train_end_to_end
from models.training.loop import FitSettings
from models.training.network import Signals
from monitor.bundle import default_input
from monitor.images.render import render
from monitor.images.spec import ScalogramRender, WaveformRender

SCALOGRAM = ScalogramRender(kind="scalogram", scales=16, size=32)
WAVEFORM = WaveformRender(kind="waveform", low=-2.0, high=2.0, size=32)
EDA = default_input("EDA", rate_hz=100.0, samples=300)
ECG = default_input("ECG", rate_hz=100.0, samples=300)


def windows(count: int, seed: int) -> Tensor:
    rng = np.random.default_rng(seed)
    return torch.tensor(np.cumsum(rng.standard_normal((count, 1, 300)), axis=-1) / 17.0, dtype=torch.float32)


def test_each_signal_is_drawn_as_each_image() -> None:
    inputs = images_of("tiny-biomoe", [EDA, ECG], [SCALOGRAM, WAVEFORM])
    assert [item.name for item in inputs] == ["eda_scalogram", "eda_waveform", "ecg_scalogram", "ecg_waveform"]
    given = {"eda": windows(2, 1), "ecg": windows(2, 2)}
    read = Drawing([EDA, ECG], inputs)(given)
    assert list(read) == [item.name for item in inputs]
    for item in inputs:
        assert item.render is not None
        for window, drawn in zip(given[item.modality.lower()], read[item.name], strict=True):
            np.testing.assert_array_equal(drawn, render(window[0].numpy(), item.render, rate_hz=100.0))
    assert Drawing([EDA], [EDA])(given)["eda"] is given["eda"]


class Ink(nn.Module):
    """Classifies by how dark the upper half of an image is: what only the drawing tells."""

    classes = 3

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(32, 3)
        self.dtypes: set[torch.dtype] = set()

    def forward(self, inputs: Mapping[str, Tensor]) -> PainOutput:
        rows = 1.0 - inputs["eda_waveform"].mean(dim=(1, 3))
        logits = self.layer(32.0 * rows)
        self.dtypes.add(logits.dtype)
        return PainOutput(logits=logits, features=rows)


def test_a_model_learns_from_what_is_drawn() -> None:
    torch.manual_seed(2)

    def signals(count: int, seed: int) -> Signals:
        labels = torch.arange(count) % 3
        level = (labels - 1.0)[:, None, None] + 0.1 * windows(count, seed)
        return Signals(inputs={"eda": level.clamp(-1.9, 1.9)}, labels=labels)

    inputs = images_of("tiny-biomoe", [EDA], WAVEFORM)
    for low_precision in (False, True):
        model = Ink()
        settings = FitSettings(epochs=12, milestone=10, batch=8, learning_rate=0.03, bfloat16=low_precision)
        (result,) = train_end_to_end(
            model,  # type: ignore[arg-type]
            train=signals(48, 3),
            validation=signals(12, 4),
            settings=settings,
            read=Drawing([EDA], inputs),
        ).values()
        assert result.best_loss < 0.3
        assert model.dtypes == {torch.bfloat16 if low_precision else torch.float32}
        assert model.layer.weight.dtype == torch.float32
