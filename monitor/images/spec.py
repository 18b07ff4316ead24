"""How a signal is drawn as an image for a model: every parameter that the picture depends on, as model.json states it.

Neither PainFormer nor Tiny-BioMoE gives parameters. The names of the spectrograms are the modes of matplotlib's
`specgram`, so its defaults are the reading taken; the rest is stated field by field.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field


class Render(BaseModel):
    """What all six images share."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    size: Annotated[int, Field(ge=16, le=1024)] = 224
    """Height and width in pixels."""
    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    """Taken off red, green, blue (each 0..1) before the model."""
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    """What they are then divided by."""

    def least_samples(self) -> int:
        """Points that a window needs for this image."""
        return 2


class SpectrogramRender(Render):
    """Short-time Fourier transform, one-sided, no detrending; low frequencies at the bottom."""

    kind: Literal["spectrogram_angle", "spectrogram_phase", "spectrogram_psd"]
    """Angle in (-pi, pi]; the same unwrapped along frequency; power spectral density in dB."""
    nfft: Annotated[int, Field(ge=8)] = 256
    """Points of a segment, under a Hann window."""
    overlap: Annotated[int, Field(ge=0)] = 128
    """Points that neighbours share."""
    colours: Literal["viridis", "grey"] = "viridis"

    def least_samples(self) -> int:
        """One segment."""
        return self.nfft


class RecurrenceRender(Render):
    """Distances between the states of a time-delay embedding."""

    kind: Literal["recurrence"]
    points: Annotated[int, Field(ge=16, le=1024)] = 224
    """States along each axis; the signal is interpolated to as many as they need."""
    dimension: Annotated[int, Field(ge=1, le=10)] = 3
    """Coordinates of a state."""
    delay: Annotated[int, Field(ge=1)] = 4
    """Points between a state's coordinates."""
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """States closer than this share of the greatest distance are black, others white; None: shades of distance."""
    colours: Literal["viridis", "grey"] = "grey"

    def least_samples(self) -> int:
        """Enough for two states to differ."""
        return (self.dimension - 1) * self.delay + 2


class ScalogramRender(Render):
    """Magnitude of the continuous wavelet transform with a Morlet wavelet."""

    kind: Literal["scalogram"]
    scales: Annotated[int, Field(ge=2, le=256)] = 64
    """Number of scales, evenly spaced on a log axis; small scales (high frequencies) at the top."""
    least_scale: Annotated[float, Field(ge=1)] = 2.0
    """Smallest, in sampling periods."""
    greatest_scale: Annotated[float, Field(gt=1)] = 256.0
    """Largest, in sampling periods."""
    colours: Literal["viridis", "grey"] = "viridis"


class WaveformRender(Render):
    """A line on white."""

    kind: Literal["waveform"]
    line_px: Annotated[float, Field(gt=0, le=20)] = 1.5
    """Thickness."""
    margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Share of the height left free above and below."""
    low: float | None = None
    """Value at the bottom, in the input's scaled unit; None: the window's own least."""
    high: float | None = None
    """Value at the top; None: the window's own greatest."""


RenderSpec: TypeAlias = Annotated[
    SpectrogramRender | RecurrenceRender | ScalogramRender | WaveformRender, Field(discriminator="kind")
]
"""Any of the six, told apart by `kind`."""
