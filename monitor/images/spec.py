"""How a signal is drawn as an image for a model: every parameter that the picture depends on, as model.json states it.

Neither PainFormer nor Tiny-BioMoE gives parameters. The names of the spectrograms are the modes of matplotlib's
`specgram`, so its defaults are the reading taken; the rest is stated field by field.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

_Positive: TypeAlias = Annotated[FiniteFloat, Field(gt=0)]


class Render(BaseModel):
    """What all six images share."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    size: Annotated[int, Field(ge=16, le=1024)] = 224
    """Height and width in pixels."""
    mean: tuple[FiniteFloat, FiniteFloat, FiniteFloat] = (0.0, 0.0, 0.0)
    """Taken off red, green, blue (each 0..1) before the model."""
    std: tuple[_Positive, _Positive, _Positive] = (1.0, 1.0, 1.0)
    """What they are then divided by."""

    def least_samples(self) -> int:
        """Points that a window needs for this image."""
        return 2


class SpectrogramRender(Render):
    """Short-time Fourier transform, one-sided, no detrending; low frequencies at the bottom."""

    kind: Literal["spectrogram_angle", "spectrogram_phase", "spectrogram_psd"]
    """Angle in (-pi, pi]; the same unwrapped along frequency; power spectral density in dB."""
    nfft: Annotated[int, Field(ge=8, le=65536)] = 256
    """Points of a segment, under a Hann window."""
    overlap: Annotated[int, Field(ge=0)] = 128
    """Points that neighbours share."""
    colours: Literal["viridis", "grey"] = "viridis"

    @model_validator(mode="after")
    def _advances(self) -> SpectrogramRender:
        if self.overlap >= self.nfft:
            raise ValueError(f"overlap is {self.overlap}: it must be below nfft ({self.nfft}), or no segment advances")
        return self

    def least_samples(self) -> int:
        """One segment."""
        return self.nfft


class RecurrenceRender(Render):
    """Distances between the states of a time-delay embedding; time runs to the right and upwards."""

    kind: Literal["recurrence"]
    points: Annotated[int, Field(ge=16, le=1024)] = 224
    """States along each axis, evenly spaced over the window; between samples the signal is interpolated."""
    dimension: Annotated[int, Field(ge=1, le=10)] = 3
    """Coordinates of a state."""
    delay: Annotated[int, Field(ge=1, le=65536)] = 4
    """Points of the input between a state's coordinates."""
    threshold: Annotated[float, Field(gt=0, le=1)] | None = None
    """States closer than this share of the greatest distance are black, others white; None: shades of distance, black
    for the same state."""
    colours: Literal["viridis", "grey"] = "grey"

    def least_samples(self) -> int:
        """Enough for two states to differ."""
        return (self.dimension - 1) * self.delay + 2


class ScalogramRender(Render):
    """Magnitude of the continuous wavelet transform with a real Morlet wavelet; high frequencies at the top.

    A scale of s points has its centre at 0.8125 rate / s Hz. Outside the window the signal is taken as 0, so an edge
    where it is not near 0 is a step, and a drifting signal shows little else: see `detrend`.
    """

    kind: Literal["scalogram"]
    scales: Annotated[int, Field(ge=2, le=256)] = 64
    """Number of scales, evenly spaced on a log axis; small scales (high frequencies) at the top."""
    least_scale: Annotated[float, Field(ge=1)] = 2.0
    """Smallest, in sampling periods."""
    greatest_scale: Annotated[float, Field(gt=1, le=65536)] = 256.0
    """Largest, in sampling periods."""
    detrend: Literal["none", "ends"] = "none"
    """`ends`: the straight line from the first to the last sample is taken off before, which leaves no step."""
    colours: Literal["viridis", "grey"] = "viridis"

    @model_validator(mode="after")
    def _ascending(self) -> ScalogramRender:
        if self.least_scale >= self.greatest_scale:
            raise ValueError(
                f"least_scale is {self.least_scale:g}: it must be below greatest_scale ({self.greatest_scale:g})"
            )
        return self


class WaveformRender(Render):
    """A black line on white."""

    kind: Literal["waveform"]
    line_px: Annotated[float, Field(ge=0.5, le=20)] = 1.5
    """Thickness."""
    margin: Annotated[float, Field(ge=0, lt=0.5)] = 0.05
    """Share of the height left free above and below."""
    low: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    """Value at the lower margin, in the input's scaled unit; None: the window's own least."""
    high: Annotated[float, Field(ge=-1e9, le=1e9)] | None = None
    """Value at the upper margin; None: the window's own greatest."""

    @model_validator(mode="after")
    def _both(self) -> WaveformRender:
        if (self.low is None) != (self.high is None):
            raise ValueError("low and high go together: give both, or neither for the window's own")
        if self.low is not None and self.high is not None and self.low >= self.high:
            raise ValueError(f"low is {self.low:g}: it must be below high ({self.high:g})")
        return self


RenderSpec: TypeAlias = Annotated[
    SpectrogramRender | RecurrenceRender | ScalogramRender | WaveformRender, Field(discriminator="kind")
]
"""Any of the six, told apart by `kind`."""
