"""Files of PainMonit to values: the article's cuts as trials of the continuous signals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Final

import numpy as np
from numpy.typing import NDArray

from models.data.recorded import (
    Column,
    FloatArray,
    Oddity,
    Rating,
    Sitting,
    Stretch,
    Track,
    Trial,
    channel_of,
    to_track,
)
from models.data.tables import Table, read_table
from monitor.errors import SourceError

RATE_HZ: Final = 250.0
PMED_CLASSES: Final = ("baseline", "not painful", "P1", "P2", "P3", "P4")
PMCD_CLASSES: Final = ("0", "1", "2")
"""As the data write them; 0 is no pain, and what parts 1 from 2 is the session's own threshold of severe pain."""

BASELINE_DEGC: Final = 32.0
STIMULUS_S: Final = 10.0
_BASELINE_ENDS_S: Final = 5.0
_BASELINES: Final = 8
_RAMP_S: Final = 2.0
"""Heat for so long after a stimulus is its ramp."""
_TEMPERATURES: Final = 5
STIMULI: Final = 40
WINDOW_S: Final = 4.0
STEP_S: Final = 2.0

THRESHOLDS: Final = MappingProxyType(
    {"noPainThreshold.txt": "no_pain_threshold", "severePainThreshold.txt": "severe_pain_threshold"}
)


def _check_seconds(table: Table, path: Path) -> tuple[float, list[Oddity]]:
    """Compare the time column with 250 Hz.

    Returns:
        The rate as it is, and what is odd.

    Raises:
        SourceError: If the time goes back or holds no rate.
    """
    seconds = table.columns["Seconds"]
    steps = np.diff(seconds)
    if not np.all(steps > 0):
        line = int(np.flatnonzero(~(steps > 0))[0]) + 3
        raise SourceError("the time does not ascend", where=f"{path}, line {line}", todo="Copy it again")
    if not steps.size:
        raise SourceError("one row is no recording", where=str(path), todo="Copy it again")
    oddities = []
    rate_hz = 1.0 / float(np.median(steps))
    if abs(rate_hz - RATE_HZ) < 0.01 * RATE_HZ:
        rate_hz = RATE_HZ
    else:
        what = f"{rate_hz:.4g} Hz instead of {RATE_HZ:g} Hz: read at its own rate"
        oddities.append(Oddity(level="warning", code="rate", where=str(path), what=what))
    if (gaps := np.flatnonzero(steps > 1.5 / rate_hz)).size:
        what = f"{gaps.size} gaps, {float(np.sum(steps[gaps])):.3g} s together: kept by their times"
        oddities.append(Oddity(level="warning", code="gap", where=f"{path}, line {int(gaps[0]) + 3}", what=what))
    if not table.whole:
        oddities.append(Oddity(level="warning", code="cut short", where=str(path), what="the last line has no end"))
    return rate_hz, oddities


def _tracks(table: Table, chosen: Sequence[Column], *, gaps: bool) -> dict[str, Track]:
    seconds = table.columns["Seconds"] - table.columns["Seconds"][0]
    tracks = {}
    for column in chosen:
        _, gain, offset = channel_of(column)
        tracks[column.name] = to_track(table.columns[column.name], gain, offset, stamps=seconds if gaps else None)
    return tracks


def _at_rate(chosen: Sequence[Column], rate_hz: float) -> tuple[Column, ...]:
    return tuple(Column(name=c.name, modality=c.modality, unit=c.unit, rate_hz=rate_hz) for c in chosen)


# -- PMED --------------------------------------------------------------------------------------------------------------


def read_pmed(subject: str, path: Path, chosen: Sequence[Column]) -> Sitting:
    """Read a subject of PMED: one stretch, with the stimuli and the baselines before the first eight as trials.

    Raises:
        SourceError: If the file is damaged, with its line.
    """
    wanted = dict.fromkeys(["Seconds", "Heater_cleaned", "COVAS", *(c.name for c in chosen)])
    table = read_table(path, list(wanted), delimiter=";", decimal_comma=True)
    rate_hz, oddities = _check_seconds(table, path)
    columns = _at_rate(chosen, rate_hz)
    seconds = table.columns["Seconds"] - table.columns["Seconds"][0]
    trials, odd = _stimuli(seconds, table.columns["Heater_cleaned"], table.columns["COVAS"], rate_hz, str(path))
    gaps = any(o.code == "gap" for o in oddities)
    return Sitting(
        subject=subject,
        session="",
        part="",
        classes=PMED_CLASSES,
        channels=tuple(channel_of(c)[0] for c in columns),
        stretches=(Stretch(name=subject, tracks=_tracks(table, columns, gaps=gaps), start_s=0.0),),
        trials=tuple(trials),
        oddities=(*oddities, *odd),
        facts={"first_stimulus_s": min(heat)} if (heat := [t.start_s for t in trials if t.label != 0]) else {},
    )


def _stimuli(
    seconds: FloatArray, heater: FloatArray, covas: FloatArray, rate_hz: float, where: str
) -> tuple[list[Trial], list[Oddity]]:
    """Trials of the article's cut, and what is odd about them."""
    oddities = []
    length = round(STIMULUS_S * rate_hz)
    away = heater != BASELINE_DEGC
    onsets = np.flatnonzero(away[1:] & ~away[:-1]) + 1
    windows = [(int(i), heater[i : i + length]) for i in onsets]
    kept = [(i, float(w[0])) for i, w in windows if len(w) == length and bool(np.all(w == w[0]))]
    if len(kept) < len(windows):
        what = f"{len(windows) - len(kept)} of {len(windows)} stimuli do not hold one temperature for 10 s: left out"
        oddities.append(Oddity(level="warning", code="stimulus", where=where, what=what))
    if len(kept) != STIMULI:
        what = f"{len(kept)} whole stimuli instead of {STIMULI}"
        oddities.append(Oddity(level="warning", code="count", where=where, what=what))
    levels = sorted({temperature for _, temperature in kept})
    if len(levels) != _TEMPERATURES:
        what = f"{len(levels)} temperatures instead of {_TEMPERATURES}: " + ", ".join(f"{t:g}" for t in levels)
        # Ranks among four or six temperatures are other classes than the article's: nothing is called P1 by guess.
        oddities.append(Oddity(level="error", code="temperatures", where=where, what=what + "; stimuli have no class"))
    trials: list[Trial] = []
    for number, (first, temperature) in enumerate(kept):
        onset_s = float(seconds[first])
        window = covas[first : first + length]
        if number < _BASELINES and onset_s >= STIMULUS_S + _BASELINE_ENDS_S:
            trials.append(
                Trial(
                    name=f"baseline-{number + 1:02d}",
                    label=0,
                    group="baseline",
                    start_s=onset_s - _BASELINE_ENDS_S - STIMULUS_S,
                    seconds=STIMULUS_S,
                )
            )
        trials.append(
            Trial(
                name=f"stimulus-{number + 1:02d}",
                label=levels.index(temperature) + 1 if len(levels) == _TEMPERATURES else None,
                group=f"{temperature:g} degC",
                start_s=onset_s,
                seconds=STIMULUS_S,
                onset_s=onset_s,
                presented=number,
                rating=float(np.nanmean(window)) if np.any(np.isfinite(window)) else None,
                facts={"temperature_degC": temperature, "covas_sum": float(np.nansum(window))},
            )
        )
    return trials + _unknown_heat(seconds, away, [first for first, _ in kept], rate_hz), oddities


def _unknown_heat(seconds: FloatArray, away: NDArray[np.bool_], stimuli: Sequence[int], rate_hz: float) -> list[Trial]:
    """Spans of heat that are none of the article's stimuli, as trials without a class.

    Without them a stream would take heat that was left out for rest: what no trial names is free of pain there.
    """
    rest = away.copy()
    for first in stimuli:
        # The ramp back to the baseline belongs to its stimulus; whoever stays in the heat for longer is somewhere else.
        rest[first : first + round((STIMULUS_S + _RAMP_S) * rate_hz)] = False
    edges = np.flatnonzero(np.diff(np.concatenate([[False], rest, [False]]).astype(np.int8)))
    return [
        Trial(
            name=f"heat-{number + 1:02d}",
            label=None,
            group="other heat",
            start_s=float(seconds[first]),
            seconds=(stop - first) / rate_hz,
        )
        for number, (first, stop) in enumerate(zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True))
    ]


# -- PMCD --------------------------------------------------------------------------------------------------------------


def read_pmcd(subject: str, session: str, main: Path, run_up: Path, chosen: Sequence[Column]) -> Sitting:
    """Read a session of PMCD: the run-up and the session as two stretches, with windows of 4 s as trials.

    Raises:
        SourceError: If a file is damaged, with its line.
    """
    oddities: list[Oddity] = []
    signals = ["Seconds", *(c.name for c in chosen)]
    before = read_table(run_up, signals, delimiter=";", decimal_comma=True)
    during = read_table(main, [*signals, "Pain rates", "Pain labels"], delimiter=";", decimal_comma=True)
    stretches, rates = [], []
    for name, table, path in (("run-up", before, run_up), ("main", during, main)):
        rate_hz, odd = _check_seconds(table, path)
        oddities += odd
        rates.append(rate_hz)
        gaps = any(o.code == "gap" for o in odd)
        stretches.append(Stretch(name=name, tracks=_tracks(table, _at_rate(chosen, rate_hz), gaps=gaps)))
    if rates[0] != rates[1]:
        raise SourceError(
            f"{rates[0]:.4g} Hz in the run-up and {rates[1]:.4g} Hz after it", where=str(main), todo="Copy it again"
        )
    seconds = during.columns["Seconds"] - during.columns["Seconds"][0]
    said, labels = during.columns["Pain rates"], during.columns["Pain labels"]
    _check_range(said, 0, 10, "Pain rates", main)
    _check_range(labels, 0, 2, "Pain labels", main)
    trials = _run_up_windows(float(before.columns["Seconds"][-1] - before.columns["Seconds"][0]) + 1 / rates[0])
    trials += _rated_windows(seconds, said, labels, 1 / rates[0])
    if not any(trial.stretch for trial in trials):
        oddities.append(Oddity(level="error", code="label", where=str(main), what="there is no label in it"))
    facts = {}
    for name, fact in THRESHOLDS.items():
        path = main.parent / name
        if path.is_file():
            facts.update(_threshold(path, fact, oddities))
    return Sitting(
        subject=subject,
        session=session,
        part="",
        classes=PMCD_CLASSES,
        channels=tuple(channel_of(c)[0] for c in _at_rate(chosen, rates[0])),
        stretches=tuple(stretches),
        trials=tuple(trials),
        ratings=tuple(
            Rating(t=float(seconds[i]), value=float(said[i]), stretch=1) for i in np.flatnonzero(np.isfinite(said))
        ),
        oddities=tuple(oddities),
        facts=facts,
    )


def _check_range(values: FloatArray, low: float, high: float, name: str, path: Path) -> None:
    outside = np.flatnonzero((values < low) | (values > high))
    if outside.size:
        line = int(outside[0]) + 2
        raise SourceError(f"{name} is {values[outside[0]]:g}, beyond {low:g}..{high:g}", where=f"{path}, line {line}")


def _run_up_windows(length_s: float) -> list[Trial]:
    return [
        Trial(
            name=f"run-up-{number:03d}",
            label=0,
            group="run-up",
            start_s=start_s,
            seconds=WINDOW_S,
            calibration=True,
        )
        for number, start_s in enumerate(_starts(length_s))
    ]


def _rated_windows(seconds: FloatArray, said: FloatArray, labels: FloatArray, step_s: float) -> list[Trial]:
    """Windows with a label in them, by the highest of it."""
    sparse = np.flatnonzero(np.isfinite(labels))
    times, values = seconds[sparse], labels[sparse]
    rated = np.flatnonzero(np.isfinite(said))
    trials = []
    for number, start_s in enumerate(_starts(float(seconds[-1]) + step_s)):
        inside = values[np.searchsorted(times, start_s) : np.searchsorted(times, start_s + WINDOW_S)]
        if not inside.size:
            continue
        first, stop = np.searchsorted(seconds[rated], [start_s, start_s + WINDOW_S])
        label = int(inside.max())
        trials.append(
            Trial(
                name=f"main-{number:04d}",
                label=label,
                group=f"rated {label}",
                stretch=1,
                start_s=start_s,
                seconds=WINDOW_S,
                presented=number,
                rating=float(said[rated[first:stop]].max()) if stop > first else None,
            )
        )
    return trials


def _starts(length_s: float) -> Iterator[float]:
    number = 0
    while number * STEP_S + WINDOW_S <= length_s + 1e-6:
        yield number * STEP_S
        number += 1


def _threshold(path: Path, fact: str, oddities: list[Oddity]) -> Mapping[str, float]:
    text = path.read_text(encoding="utf-8-sig", errors="replace").strip()
    try:
        return {fact: float(text.replace(",", "."))}
    except ValueError:
        oddities.append(Oddity(level="warning", code="threshold", where=str(path), what=f"'{text[:40]}' is no number"))
        return {}
