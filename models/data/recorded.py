"""What every loader gives, whatever lies on the disk: people, what was recorded of them, and what it is called.

A `DataSet` lists its sittings without reading a sample. A `Sitting` is one person recorded in one go: one or more
stretches of contiguous signals and the trials in them. Where the data come cut (BioVid A and B, AI4PAIN), every cut is
a stretch of its own and its trial is the whole of it; where they are continuous, a stretch is the recording and a
trial a labelled span of it. Samples are memory-mapped float32 in the monitor's units (uS, mV, %, degC).

Nothing of any of these data sets is shipped: whoever has one names its folder in a configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from monitor.errors import SourceError
from monitor.modality import MODALITY_UNITS
from monitor.sources.units import canonical_unit, convert

Float32Array = NDArray[np.float32]
FloatArray = NDArray[np.float64]

PROTOCOLS: Final = ("paper", "live-segment", "live-stream")
"""What the article did; cut data as the monitor would see them; continuous data through the real pipeline."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Oddity:
    """Something in a data set that its user should know before training on it."""

    level: Literal["note", "warning", "error"]
    """An error: nothing should be trained before it is mended."""
    code: str
    """What kind of thing, e.g. `constant`; oddities of one code are counted together."""
    where: str
    """Subject, sitting or file (with its line)."""
    what: str
    todo: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A signal as the files hold it."""

    name: str
    """As the data set writes it."""
    modality: str
    """One of the monitor's; empty where it serves no model (a slider, a heater)."""
    unit: str
    """Of the numbers in the file."""
    rate_hz: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Channel:
    """A signal as it is given: in the monitor's unit for its modality."""

    name: str
    modality: str
    unit: str
    rate_hz: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A labelled span of one stretch."""

    name: str
    label: int | None
    """Number in `Sitting.classes`; None where nobody says (test columns, a rating only)."""
    group: str = ""
    """What it is in the data set's own words where that is finer than the class: `baseline`, `rest`, `run-up`."""
    stretch: int = 0
    """Number of the stretch that it lies in."""
    start_s: float = 0.0
    """Seconds from the stretch's zero."""
    seconds: float | None = None
    """Length; None for the whole stretch."""
    onset_s: float | None = None
    """Begin of the stimulus, seconds from the stretch's zero; None where the data set does not say."""
    presented: int | None = None
    """Position in the order of presentation; None where it is not known."""
    rating: float | None = None
    """What the person said (NRS 0-10, COVAS 0-100)."""
    calibration: bool = False
    """Set aside for the person's baseline in `live-segment`: never trained or tested on there."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """Further numbers by name with unit, e.g. `temperature_degC`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rating:
    """What a person said at one moment of a continuous stretch."""

    t: float
    """Seconds from the stretch's zero."""
    value: float
    stretch: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Track:
    """One signal in one stretch."""

    samples: NDArray[Any]
    """(n,) in the channel's unit; NaN where there is none."""
    t_first: float = 0.0
    """Seconds from the stretch's zero to the first sample."""
    stamps: FloatArray | None = None
    """(n,) seconds from the stretch's zero where the file states them; else samples lie at t_first + i / rate_hz."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stretch:
    """Contiguous signals, or one cut."""

    name: str
    tracks: Mapping[str, Track]
    """By name of the channel."""
    start_s: float | None = None
    """Seconds from the sitting's zero; None where the data set does not say when it was."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Sitting:
    """One person recorded in one go."""

    subject: str
    session: str
    part: str
    """train, validation or test where the data set is divided, else empty."""
    classes: tuple[str, ...]
    channels: tuple[Channel, ...]
    stretches: tuple[Stretch, ...]
    trials: tuple[Trial, ...]
    """In the data set's own order: of presentation where that is known."""
    ratings: tuple[Rating, ...] = ()
    oddities: tuple[Oddity, ...] = ()
    """What the loader met while it read."""
    facts: Mapping[str, float] = field(default_factory=dict)
    """Numbers that belong to the whole sitting."""
    digest: str = ""
    """Hash of all samples: two sittings with the same one are the same recording."""

    @property
    def key(self) -> str:
        """Subject and session, to name it in messages."""
        return f"{self.subject}/{self.session}" if self.session else self.subject

    def channel(self, modality: str) -> Channel:
        """The first channel of a modality.

        Raises:
            KeyError: If there is none.
        """
        for channel in self.channels:
            if channel.modality == modality:
                return channel
        raise KeyError(f"{self.key} has no {modality}, only {', '.join(c.name for c in self.channels)}")

    def cut(self, trial: Trial) -> dict[str, NDArray[Any]]:
        """Samples of a trial by channel name, without a copy where they are evenly spaced.

        A span that ends beyond the recording comes shorter than it was asked for.
        """
        stretch = self.stretches[trial.stretch]
        return {
            channel.name: _span(stretch.tracks[channel.name], channel.rate_hz, trial)
            for channel in self.channels
            if channel.name in stretch.tracks
        }


def _span(track: Track, rate_hz: float, trial: Trial) -> NDArray[Any]:
    if trial.seconds is None:
        return track.samples
    end_s = trial.start_s + trial.seconds
    if track.stamps is not None:
        return track.samples[(track.stamps >= trial.start_s) & (track.stamps < end_s)]
    # Rounded as a count of samples, so that equal spans give equal lengths at every phase.
    first = round((trial.start_s - track.t_first) * rate_hz)
    stop = first + round(trial.seconds * rate_hz)
    return track.samples[max(first, 0) : max(stop, 0)]


@dataclass(frozen=True, kw_only=True, eq=False)
class SittingFiles:
    """A sitting that has not been read."""

    subject: str
    session: str = ""
    part: str = ""
    files: tuple[Path, ...] = ()
    """All that its samples and labels come from: the cache is renewed when one of them changes."""
    read: Callable[[], Sitting] = field(repr=False)
    """Reads them; raises SourceError with file and line where they are damaged."""

    @property
    def key(self) -> str:
        """Subject and session, to name it in messages."""
        return f"{self.subject}/{self.session}" if self.session else self.subject


@dataclass(frozen=True, kw_only=True, eq=False)
class DataSet:
    """A folder, understood."""

    kind: str
    root: Path
    classes: tuple[str, ...]
    sittings: tuple[SittingFiles, ...]
    refused: Mapping[str, str]
    """Protocols that these data cannot support, and why; those of `PROTOCOLS` that are not here they can."""
    oddities: tuple[Oddity, ...] = ()
    """What was seen from names and headers alone."""
    load: Callable[[SittingFiles], Sitting] = field(default=lambda files: files.read(), repr=False)
    """Reads a sitting through the cache."""

    def __iter__(self) -> Iterator[Sitting]:
        """Sittings one by one; whoever keeps none of them needs the memory of one."""
        return map(self.load, self.sittings)

    @property
    def subjects(self) -> tuple[str, ...]:
        """Subject codes in order, each once."""
        return tuple(dict.fromkeys(sitting.subject for sitting in self.sittings))

    def require(self, protocol: str) -> None:
        """Refuse a protocol that the data cannot support.

        Raises:
            SourceError: If they cannot, with the reason.
        """
        if protocol not in PROTOCOLS:
            raise SourceError(f"there is no protocol '{protocol}'", todo=f"One of {', '.join(PROTOCOLS)}")
        if protocol in self.refused:
            allowed = [name for name in PROTOCOLS if name not in self.refused]
            raise SourceError(
                f"{self.kind} does not allow the protocol {protocol}: {self.refused[protocol]}",
                where=str(self.root),
                todo=f"It allows {', '.join(allowed) or 'none'}",
            )

    def without(self, subjects: Sequence[str]) -> DataSet:
        """The same without some subjects."""
        return replace(self, sittings=tuple(s for s in self.sittings if s.subject not in subjects))


def choose_columns(
    columns: Sequence[Column],
    *,
    modalities: Sequence[str],
    signals: Sequence[str],
    units: Mapping[str, str],
    where: str,
) -> tuple[Column, ...]:
    """The columns that a configuration asks for, in its order, with its word on units.

    Args:
        columns: What the data set has.
        modalities: Which of the monitor's modalities; empty for all.
        signals: Names of columns instead; empty for all of the modalities.
        units: Units by name of column that replace the assumed ones.
        where: To name in an error.

    Raises:
        SourceError: If there is no such column or modality, or a unit does not fit its modality.
    """
    by_name = {column.name: column for column in columns}
    unknown = [name for name in (*signals, *units) if name not in by_name]
    missing = [] if signals else [m for m in modalities if all(c.modality != m for c in columns)]
    if unknown or missing:
        raise SourceError(
            f"there is no {', '.join([*unknown, *missing])}",
            where=where,
            todo=f"There are {', '.join(f'{c.name} ({c.modality or c.unit})' for c in columns)}",
        )
    if signals:
        chosen = [by_name[name] for name in signals]
    elif modalities:
        chosen = [c for modality in modalities for c in columns if c.modality == modality]
    else:
        chosen = [c for c in columns if c.modality]
    return tuple(replace(c, unit=units.get(c.name, c.unit)) for c in chosen)


def channel_of(column: Column, *, where: str = "") -> tuple[Channel, float, float]:
    """The channel that a column becomes, with the gain and the offset that its numbers need.

    Raises:
        SourceError: If the unit is not known, or does not fit the modality.
    """
    if not column.modality:
        return Channel(name=column.name, modality="", unit=column.unit, rate_hz=column.rate_hz), 1.0, 0.0
    unit = canonical_unit(column.unit)
    known = convert(unit, column.modality) if unit is not None else f"the unit '{column.unit}' is not known"
    if isinstance(known, str):
        raise SourceError(f"{column.name}: {known}", where=where, todo="Mend data.units")
    channel = Channel(
        name=column.name, modality=column.modality, unit=MODALITY_UNITS[column.modality], rate_hz=column.rate_hz
    )
    return channel, *known


def to_track(values: FloatArray, gain: float, offset: float, **more: Any) -> Track:
    """Numbers of a file as a track in the monitor's unit."""
    with np.errstate(over="ignore"):  # beyond float32 is infinite, and reported as such
        return Track(samples=(values * gain + offset).astype(np.float32), **more)
