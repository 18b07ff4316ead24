"""What is odd about the signals and the classes of a data set: looked for before an hour is spent on training.

Limits are engineering choices, each stated at its constant. They point at what a person should look at, and refuse
nothing; what a live window must be like is the monitor's quality gate's business.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from models.data.recorded import Channel, Oddity, Sitting, Track, Trial

_BLOCK: Final = 1 << 20
"""Samples looked at together, so that a long recording is never in memory as a whole."""

_RAIL_S: Final[Mapping[str, float]] = MappingProxyType({"ECG": 0.05, "EMG": 0.05, "BVP": 0.1, "RESP": 0.5, "EDA": 2.0})
"""A signal that rests on its very highest or lowest value for so long looks clipped. SpO2 rests on 100 % in health."""
_RAIL_SHARE: Final = 0.01
"""At least so much of the samples must rest there: the top of one clean beat is no rail."""

_PLAUSIBLE: Final[Mapping[str, tuple[float, float]]] = MappingProxyType(
    {"EDA": (0.01, 100.0), "SPO2": (50.0, 100.0), "TEMP": (10.0, 45.0)}
)
"""The median of a sitting beyond these is no value of a person: a wrong unit, or no contact."""
_SPREAD: Final[Mapping[str, tuple[float, float]]] = MappingProxyType({"ECG": (0.05, 20.0), "EMG": (1e-4, 20.0)})
"""Distance between the 0.5th and 99.5th percentile, in mV; beyond it the unit is most likely another."""
_UNEQUAL: Final = 1.05
"""Cuts of one class that are longer than those of another by this can be told by their length."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassCount:
    """Trials of one class."""

    name: str
    trials: int
    shortest_s: float
    longest_s: float


def count_classes(sitting: Sitting) -> tuple[ClassCount, ...]:
    """Trials and their lengths by class, then those without a class, in the order of `Sitting.classes`."""
    counts = []
    for label, name in [*enumerate(sitting.classes), (None, "unlabelled")]:
        seconds = [_seconds(sitting, trial) for trial in sitting.trials if trial.label == label]
        if seconds or label is not None:
            shortest, longest = (min(seconds), max(seconds)) if seconds else (0.0, 0.0)
            counts.append(ClassCount(name=name, trials=len(seconds), shortest_s=shortest, longest_s=longest))
    return tuple(counts)


def _seconds(sitting: Sitting, trial: Trial) -> float:
    if trial.seconds is not None:
        return trial.seconds
    tracks = sitting.stretches[trial.stretch].tracks
    return max(
        (len(tracks[c.name].samples) / c.rate_hz for c in sitting.channels if c.name in tracks),
        default=0.0,
    )


def signal_oddities(sitting: Sitting) -> Iterator[Oddity]:
    """What is odd about one sitting's signals."""
    for channel in sitting.channels:
        tracks = [s.tracks[channel.name] for s in sitting.stretches if channel.name in s.tracks]
        where = f"{sitting.key} {channel.name}"
        constant = [track for track in tracks if len(track.samples) and _is_constant(track)]
        if constant:
            values = sorted({f"{float(np.nanmax(t.samples[:1])):g}" for t in constant})
            what = f"constant in {len(constant)} of {len(tracks)} " + ("cuts" if len(tracks) > 1 else "recordings")
            yield Oddity(
                level="warning",
                code="constant",
                where=where,
                what=f"{what} ({', '.join(values[:3])} {channel.unit})",
                todo="Its spread is zero: scaling needs a floor" if channel.modality == "SPO2" else "Was it connected?",
            )
        missing = sum(int(np.count_nonzero(~np.isfinite(block))) for t in tracks for block in _blocks(t))
        total = sum(len(track.samples) for track in tracks)
        if total and missing and channel.modality:
            what = f"{missing} of {total} samples are missing ({100 * missing / total:.2g} %)"
            yield Oddity(level="warning", code="missing values", where=where, what=what)
        moving = [track for track in tracks if len(track.samples) and not _is_constant(track)]
        yield from _rails(moving, channel, where)
        yield from _plausible(moving, channel, where)


def _blocks(track: Track) -> Iterator[NDArray[Any]]:
    for start in range(0, len(track.samples), _BLOCK):
        yield track.samples[start : start + _BLOCK]


def _is_constant(track: Track) -> bool:
    first = track.samples[0]
    return bool(np.isfinite(first)) and all(bool(np.all(block == first)) for block in _blocks(track))


def _extremes(tracks: Sequence[Track]) -> tuple[float, float] | None:
    lows, highs = [], []
    for block in (b for track in tracks for b in _blocks(track)):
        finite = block[np.isfinite(block)]
        if finite.size:
            lows.append(float(finite.min()))
            highs.append(float(finite.max()))
    return (min(lows), max(highs)) if lows else None


def _rails(tracks: Sequence[Track], channel: Channel, where: str) -> Iterator[Oddity]:
    """Look for rests on the highest or lowest value of the sitting."""
    seconds = _RAIL_S.get(channel.modality)
    extremes = _extremes(tracks)
    if seconds is None or extremes is None:
        return
    shortest = max(round(seconds * channel.rate_hz), 4)
    total = sum(len(track.samples) for track in tracks)
    for value, name in zip(extremes, ("lowest", "highest"), strict=True):
        resting = sum(_resting(block, value, shortest) for track in tracks for block in _blocks(track))
        if resting >= max(_RAIL_SHARE * total, shortest):
            what = (
                f"rests on its {name} value {value:.4g} {channel.unit} for {resting / channel.rate_hz:.3g} s: saturated"
            )
            yield Oddity(level="warning", code="saturated", where=where, what=what)


def _resting(block: NDArray[Any], value: float, shortest: int) -> int:
    """Samples in runs of at least `shortest` on a value."""
    at = np.concatenate([[False], block == np.float32(value), [False]])
    edges = np.flatnonzero(at[1:] != at[:-1])
    runs = edges[1::2] - edges[::2]
    return int(runs[runs >= shortest].sum())


def _plausible(tracks: Sequence[Track], channel: Channel, where: str) -> Iterator[Oddity]:
    if not tracks or channel.modality not in (*_PLAUSIBLE, *_SPREAD):
        return
    # A thinned sample is enough for a median and for percentiles, and costs nothing.
    thin = max(sum(len(track.samples) for track in tracks) // 100_000, 1)
    values = np.concatenate([track.samples[::thin] for track in tracks]).astype(np.float64)
    values = values[np.isfinite(values)]
    if not values.size:
        return
    todo = f"Was it connected? Else mend data.units.{channel.name}"
    if channel.modality in _PLAUSIBLE:
        low, high = _PLAUSIBLE[channel.modality]
        median = float(np.median(values))
        if not low <= median <= high:
            what = f"its median is {median:.4g} {channel.unit}, where {low:g} to {high:g} is plausible"
            yield Oddity(level="warning", code="range", where=where, what=what, todo=todo)
        elif channel.modality == "SPO2" and (under := float(np.mean(values < low))) > 0:
            what = f"{100 * under:.2g} % of the samples are below {low:g} %: no pulse was found"
            yield Oddity(level="warning", code="range", where=where, what=what)
        elif channel.modality == "EDA" and (zero := float(np.mean(values <= 0))) > 0:
            what = f"{100 * zero:.2g} % of the samples are 0 or less: no contact"
            yield Oddity(level="warning", code="range", where=where, what=what)
        return
    low, high = _SPREAD[channel.modality]
    spread = float(np.subtract(*np.percentile(values, [99.5, 0.5])))
    if not low <= spread <= high:
        what = f"it spans {spread:.4g} {channel.unit}, where {low:g} to {high:g} is plausible"
        yield Oddity(level="warning", code="range", where=where, what=what, todo=todo)


def class_oddities(
    counts: Mapping[str, Sequence[ClassCount]],
    classes: Sequence[str],
    parts: Mapping[str, str],
    *,
    cut: bool,
    configured: bool = False,
) -> Iterator[Oddity]:
    """What is odd about the classes of all sittings together.

    Args:
        counts: By sitting.
        classes: Names of the data set's classes.
        parts: By sitting: train, validation, test or empty.
        cut: The data come cut, so that the length of a trial is the data set's; a stream is cut into equal windows.
        configured: The classes are the configuration's, not the data set's: some of them may well be of nobody. Whether
            one that is trained on is among these is said when windows are cut.
    """
    own = {key: value for key, value in counts.items() if parts[key] != "test"}
    total = {name: sum(c.trials for cs in own.values() for c in cs if c.name == name) for name in classes}
    if own and configured and not any(total.values()):
        yield Oddity(
            level="error",
            code="class",
            where="all",
            what="nothing is labelled: no score was reported in these recordings, no span of labels.csv lies in them",
            todo="docs/data.md says where labels come from",
        )
        return
    for name in classes:
        if own and not total[name]:
            what = "no trial has it: nothing can be learnt about it"
            enough = configured and sum(n > 0 for n in total.values()) > 1
            todo = "Leave it out of task.classes" if configured else ""
            yield Oddity(level="warning" if enough else "error", code="class", where=name, what=what, todo=todo)
    there = {name: n for name, n in total.items() if n}
    if there and max(there.values()) > 1.5 * min(there.values()):
        what = "the classes differ in number: " + ", ".join(f"{name} {n}" for name, n in there.items())
        yield Oddity(level="warning", code="unequal", where="all", what=what, todo="Weigh the classes, or draw equally")
    spans = {
        name: [(c.shortest_s, c.longest_s) for cs in own.values() for c in cs if c.name == name and c.trials]
        for name in there
    }
    longest = {name: max(s[1] for s in pairs) for name, pairs in spans.items()}
    shortest = {name: min(s[0] for s in pairs) for name, pairs in spans.items()}
    if cut and longest and max(longest.values()) > _UNEQUAL * min(longest.values()):
        what = "cuts differ in length by class: " + ", ".join(
            f"{name} {shortest[name]:.4g}-{longest[name]:.4g} s" for name in there
        )
        yield Oddity(
            level="warning",
            code="length leak",
            where="all",
            what=what,
            todo=f"The class can be read from the length: cut all to at most {min(shortest.values()):.4g} s first",
        )
    for key, cs in own.items():
        lacking = [c.name for c in cs if c.name in there and not c.trials]
        if lacking:
            yield Oddity(level="warning", code="class", where=key, what=f"it has no trial of {', '.join(lacking)}")
