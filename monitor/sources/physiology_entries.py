"""The forms that an entry of population.toml may have; each with its unit and where it comes from."""

from __future__ import annotations

import math
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class Table(BaseModel):
    """A table whose every key is known."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Entry(Table):
    """What every entry says of itself."""

    unit: str = Field(min_length=1)
    source: str = Field(min_length=1)
    """A citation, or "[assumed]"."""


class Value(Entry):
    """One number for everybody."""

    value: float

    @model_validator(mode="after")
    def _share(self) -> Self:
        if self.unit.startswith("share") and not 0.0 <= self.value <= 1.0:
            raise ValueError("a share lies in 0..1")
        return self


class Lognormal(Entry):
    """`median * exp(spread * z)`, z standard normal."""

    median: float = Field(gt=0)
    spread: float = Field(ge=0)
    distribution: Literal["lognormal"]


class Range(Entry):
    """From `low` to `high`."""

    low: float
    high: float
    distribution: Literal["uniform", "log-uniform", "log-uniform, squared", "limits"]
    least: float = -math.inf
    """What a wider population never falls below."""
    most: float = math.inf

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=True)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if not (math.isfinite(self.low) and math.isfinite(self.high)):
            raise ValueError("low and high must be finite")
        if not self.least <= self.low <= self.high <= self.most:
            raise ValueError("least <= low <= high <= most does not hold")
        if self.distribution.startswith("log") and self.low <= 0:
            raise ValueError("a logarithm needs a positive low")
        return self


class Normal(Entry):
    """Mean and standard deviation."""

    mean: float
    sd: float = Field(ge=0)
    distribution: Literal["normal"]


class Noise(Entry):
    """Standard deviation of something about zero."""

    sd: float = Field(ge=0)
    distribution: Literal["normal"]


class Band(Entry):
    """Band-limited noise as a sum of sines, see `SineMixture`."""

    low_hz: float = Field(gt=0)
    high_hz: float
    sd: float = Field(ge=0)
    sines: int = Field(ge=1)
    distribution: Literal["sines"]

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.high_hz <= self.low_hz:
            raise ValueError("high_hz must exceed low_hz")
        return self


class Course(Entry):
    """Time constants of an answer, see `TimeCourse`."""

    gain: float = 1.0
    latency: float = Field(ge=0)
    rise: float = Field(gt=0)
    fall: float = Field(gt=0, le=40.0)
    """A tenth of the time after which an answer is taken to be over, at most."""


class Choice(Entry):
    """One of some values, all equally likely."""

    values: tuple[float, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _positive(self) -> Self:
        if any(value <= 0 for value in self.values) or len(set(self.values)) != len(self.values):
            raise ValueError("values must be positive and different")
        return self
