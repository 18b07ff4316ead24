"""Images for training, drawn of the signals a batch at a time: an image takes 150 times the room of its signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from monitor.bundle import InputSpec
from monitor.images.render import render
from monitor.images.spec import RenderSpec


def drawn_inputs(signals: Sequence[InputSpec], images: Sequence[RenderSpec]) -> tuple[InputSpec, ...]:
    """One input for every image of every signal, such as `eda_waveform`; the signals themselves where no image is."""
    if not images:
        return tuple(signals)
    return tuple(
        item.model_copy(update={"name": f"{item.name}_{image.kind}", "render": image})
        for item in signals
        for image in images
    )


class Drawing:
    """Draws what a model reads, as the live pipeline does.

    Args:
        signals: What was cut.
        inputs: What the model reads of it, as of `drawn_inputs`.
    """

    def __init__(self, signals: Sequence[InputSpec], inputs: Sequence[InputSpec]) -> None:
        self._inputs = tuple(inputs)
        self._signal = {item.modality: item.name for item in signals}

    def __call__(self, signals: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """(B, 1, samples) by signal -> by input, (B, 3, size, size) of an image, else what was given."""
        return {item.name: self._read(item, signals[self._signal[item.modality]]) for item in self._inputs}

    @staticmethod
    def _read(item: InputSpec, signal: Tensor) -> Tensor:
        if item.render is None:
            return signal
        drawn = [render(window, item.render, rate_hz=item.rate_hz) for window in signal[:, 0].numpy()]
        return torch.from_numpy(np.stack(drawn))
