"""Images for training, drawn of the signals a batch at a time: an image takes 150 times the room of its signal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
import torch
from pydantic import TypeAdapter, ValidationError
from torch import Tensor

from models.painformer import PainFormer
from monitor.bundle import InputSpec
from monitor.errors import ConfigError, Problem
from monitor.images.render import render
from monitor.images.spec import RenderSpec, ScalogramRender, SpectrogramRender, WaveformRender

_SPEC: Final[TypeAdapter[Any]] = TypeAdapter(RenderSpec)
KINDS: Final = (
    "waveform",
    "spectrogram_angle",
    "spectrogram_phase",
    "spectrogram_psd",
    "recurrence",
    "scalogram",
)


def usual_images(architecture: str, signal: InputSpec) -> tuple[RenderSpec, ...]:
    """What an architecture reads of a signal where nobody says.

    Tiny-BioMoE: scalogram and waveform, its best two of skin conductance. Conductance lives at 0.16-2.5 Hz, and limits
    of a window's own would hide how far it rises, so that both are fixed for it. PainFormer: of its images the waveform
    did best on skin conductance, the power spectral density on ECG and EMG.
    """
    if architecture == "painformer":
        if signal.modality in ("ECG", "EMG"):
            return (SpectrogramRender(kind="spectrogram_psd"),)
        return (WaveformRender(kind="waveform"),)
    if signal.modality == "EDA":
        scale = signal.rate_hz / 100.0
        return (
            ScalogramRender(
                kind="scalogram", least_scale=max(1.0, 32.0 * scale), greatest_scale=512.0 * scale, detrend="ends"
            ),
            WaveformRender(kind="waveform", low=-4.0, high=10.0),
        )
    return (ScalogramRender(kind="scalogram", detrend="ends"), WaveformRender(kind="waveform"))


def images_of(architecture: str, signals: Sequence[InputSpec], asked: object = None) -> tuple[InputSpec, ...]:
    """The images that a model of images reads of each signal, as inputs of its bundle.

    Args:
        architecture: `tiny-biomoe` or `painformer`, whose colours are centred as its encoder takes them.
        signals: What was cut.
        asked: Kinds of images, or whole descriptions as tables; None for `usual_images`.

    Raises:
        ConfigError: If there is no such image, or a window is too short for it.
    """
    try:
        given = None if asked is None else tuple(_spec(one) for one in _listed(asked))
        centred = {"mean": PainFormer.mean, "std": PainFormer.std} if architecture == "painformer" else {}
        return tuple(
            InputSpec.model_validate(
                {
                    **signal.model_dump(),
                    "name": f"{signal.name}_{image.kind}",
                    "render": {**image.model_dump(), **centred},
                }
            )
            for signal in signals
            for image in (usual_images(architecture, signal) if given is None else given)
        )
    except (ValidationError, TypeError) as error:
        said = error.errors()[0]["msg"] if isinstance(error, ValidationError) else str(error)
        problem = Problem("images", said, f"kinds are {', '.join(KINDS)}")
        raise ConfigError(where="train.options", problems=[problem]) from None


def _listed(asked: object) -> Sequence[object]:
    return [asked] if isinstance(asked, str | Mapping) or not isinstance(asked, Sequence) else asked


def _spec(asked: object) -> RenderSpec:
    return _SPEC.validate_python({"kind": asked} if isinstance(asked, str) else asked)


class Drawing:
    """Draws what a model reads, as the live pipeline does.

    Args:
        signals: What was cut.
        inputs: What the model reads of it, as of `images_of`.
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
        # Drawn by the processor wherever the model is: it is the live pipeline's own code.
        drawn = [render(window, item.render, rate_hz=item.rate_hz) for window in signal[:, 0].cpu().numpy()]
        return torch.from_numpy(np.stack(drawn)).to(signal.device)
