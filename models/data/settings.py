"""The table [data] of a training configuration: which data, where, and what of them. Every problem is said at once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final, Literal, get_args

import platformdirs
from pydantic import BaseModel, ConfigDict, Field

from monitor.config import read_toml
from monitor.errors import Problem
from monitor.modality import MODALITY_UNITS
from monitor.sources.physiology_population import load_population
from monitor.sources.units import canonical_unit, known_units

Kind = Literal[
    "biovid-a",
    "biovid-b",
    "biovid-c",
    "ai4pain-2025",
    "ai4pain-2026",
    "pmed",
    "pmcd",
    "e4",
    "xdf",
    "sessions",
    "simulated",
]
OWN: Final = ("e4", "xdf", "sessions")
"""Kinds that hold what a user recorded, in a form that says nothing of classes."""
SIMULATED: Final = ("simulated",)
_RECORDED: Final = tuple(kind for kind in get_args(Kind) if kind not in SIMULATED)
_NEUROKIT: Final = ("ECG", "EDA", "BVP", "RESP")
_PARTS: Final = ("train", "validation", "calibration", "test")

_BELONGS: Final = {
    "version": ("biovid-a", "biovid-b", "biovid-c"),
    "rest": ("ai4pain-2025",),
    "channels": OWN,
    "labels": OWN,
    "classes": OWN,
    "nrs_cuts": OWN,
    "nrs_span_s": OWN,
    "path": _RECORDED,
    "signals": _RECORDED,
    "units": _RECORDED,
    "population": SIMULATED,
    "least_hz": SIMULATED,
    **dict.fromkeys(_PARTS, SIMULATED),
}
"""Keys that only some kinds read."""


_People = Annotated[int, Field(ge=0, le=100_000)]


class DataSettings(BaseModel):
    """Which data set, where it lies, and what of it is read. `[data]`."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)

    kind: Kind | None = None
    """Which data set; docs/data.md shows the folder of each."""
    path: str = ""
    """Its folder; relative to the configuration file."""
    modalities: tuple[str, ...] = ()
    """ECG, EDA, BVP, EMG, RESP, SPO2, TEMP, ...; empty: all that the data set has."""
    signals: tuple[str, ...] = ()
    """Columns by the data set's own names instead, where a modality was measured twice (Eda_RB and Eda_E4)."""
    units: dict[str, str] = {}
    """Units by column, where the one that the loader assumes is wrong: {ecg = "mV"}."""
    subjects: tuple[str, ...] = ()
    """Only these; empty: all."""
    leave_out: tuple[str, ...] = ()
    """Subjects to leave out, by code."""
    cache: str = ""
    """Folder for memory-mapped copies (as confidential as the data); empty: the user's cache folder."""
    version: Literal["raw", "filtered"] = "raw"
    """BioVid: biosignals_raw or biosignals_filtered. Only raw ones may become a bundle."""
    rest: Literal["no-pain", "unlabelled"] = "no-pain"
    """AI4PAIN 2025: what the REST columns count as; published work differs."""
    channels: dict[str, str] = {}
    """E4, XDF, sessions: modality of a signal whose name does not tell: {"Ch 3" = "EDA"}."""
    labels: str = ""
    """E4, XDF, sessions: a CSV of spans with their class, see docs/data.md; empty: labels.csv in the folder, if any."""
    classes: Annotated[tuple[str, ...], Field(min_length=2, max_length=11)] = ("none", "mild", "moderate", "severe")
    """E4, XDF, sessions: names of the classes, the least painful first."""
    nrs_cuts: tuple[Annotated[float, Field(gt=0, le=10)], ...] = (1.0, 4.0, 7.0)
    """E4, XDF, sessions: the lowest score of every class but the first."""
    nrs_span_s: Annotated[float, Field(ge=1, le=600)] = 10.0
    """E4, XDF, sessions: a score speaks for so many seconds before it was entered."""
    train: _People = 60
    """Simulated: subjects to learn from; the parts are other people, whatever their numbers."""
    validation: _People = 12
    """Simulated: subjects to stop training by."""
    calibration: _People = 12
    """Simulated: subjects to calibrate on."""
    test: _People = 60
    """Simulated: subjects for figures alone."""
    population: Literal["default", "shifted", "neurokit"] = "default"
    """Simulated: `shifted`: all ranges half as wide again, other noise and devices; `neurokit`: signals of neurokit2's
    own simulators, with which nothing here was tuned."""
    least_hz: dict[str, Annotated[float, Field(gt=0)]] = {}
    """Simulated: sampling rate by modality below which no device is drawn, so that one cohort serves all models of a
    run: {ECG = 250} for those at 512 Hz."""


class _File(BaseModel):
    """The whole file; tables other than [data] belong to other commands and are checked there."""

    model_config = ConfigDict(extra="ignore", frozen=True)

    data: DataSettings = DataSettings()


def load_data_settings(path: Path) -> DataSettings:
    """Read [data] of a configuration; its paths come back absolute.

    Raises:
        ConfigError: If the file cannot be read or [data] is wrong anywhere; with every problem and its key.
    """
    settings = read_toml(path, _File, lambda file: contradictions(file.data, path.parent)).data
    return settings.model_copy(
        update={
            "path": str(_resolved(settings.path, path.parent)) if settings.path else "",
            "cache": str(
                _resolved(settings.cache, path.parent)
                if settings.cache
                else platformdirs.user_cache_path("pain-monitor") / "data"
            ),
            "labels": str(_resolved(settings.labels, path.parent)) if settings.labels else "",
        }
    )


def _resolved(text: str, base: Path) -> Path:
    return (base / Path(text).expanduser()).resolve()


def contradictions(data: DataSettings, base: Path) -> list[Problem]:
    """Everything that is wrong between keys that are each right by themselves.

    Args:
        data: The table.
        base: Folder that relative paths start from.
    """
    problems = []
    if data.kind is None:
        problems.append(Problem("data.kind", "it is not given", "which data set is it? see docs/data.md"))
    if data.kind in SIMULATED:
        problems += _cohort_contradictions(data)
    elif not data.path:
        problems.append(Problem("data.path", "it is not given", "the folder of the data set, which you must have"))
    elif not _resolved(data.path, base).is_dir():
        place = _resolved(data.path, base)
        what = f"{place} is a file, no folder" if place.is_file() else f"there is no folder {place}"
        problems.append(Problem("data.path", what, "relative paths start at the configuration file"))
    if data.labels and not _resolved(data.labels, base).is_file():
        problems.append(Problem("data.labels", f"there is no file {_resolved(data.labels, base)}"))
    for number, modality in enumerate(data.modalities):
        if modality not in MODALITY_UNITS:
            problems.append(
                Problem(f"data.modalities[{number}]", f"'{modality}' is none", f"one of {', '.join(MODALITY_UNITS)}")
            )
    problems += [
        Problem(f"data.channels.{name}", f"'{modality}' is none", f"one of {', '.join(MODALITY_UNITS)}")
        for name, modality in data.channels.items()
        if modality not in MODALITY_UNITS
    ]
    problems += [
        Problem(f"data.{name}", "something is listed twice")
        for name in ("modalities", "signals", "subjects")
        if len(set(getattr(data, name))) != len(getattr(data, name))
    ]
    if data.modalities and data.signals:
        problems.append(Problem("data.signals", "modalities is given too", "one or the other"))
    problems += [
        Problem(f"data.units.{name}", f"the unit '{unit}' is not known", f"one of {known_units()}")
        for name, unit in data.units.items()
        if canonical_unit(unit) is None
    ]
    if both := sorted(set(data.subjects) & set(data.leave_out)):
        problems.append(Problem("data.leave_out", f"{', '.join(both)} is in subjects too"))
    if data.kind is not None:
        problems += [
            Problem(f"data.{name}", f"it has no meaning for {data.kind}", f"it belongs to {', '.join(kinds)}")
            for name, kinds in _BELONGS.items()
            if name in data.model_fields_set and data.kind not in kinds
        ]
    return problems + _score_contradictions(data)


def _cohort_contradictions(data: DataSettings) -> list[Problem]:
    problems = []
    if not any(getattr(data, part) for part in _PARTS):
        problems.append(Problem("data.train", "the cohort is of nobody", f"one subject in {', '.join(_PARTS)}"))
    rates = load_population("shifted" if data.population == "shifted" else "default").devices.rates_hz()
    for modality, rate_hz in data.least_hz.items():
        known = rates.get(modality)
        key = f"data.least_hz.{modality}"
        if known is None:
            problems.append(Problem(key, f"'{modality}' is not simulated", f"one of {', '.join(rates)}"))
        elif rate_hz > max(known):
            problems.append(Problem(key, f"no device gives {rate_hz:g} Hz", f"at most {max(known):g}"))
    problems += [
        Problem(f"data.modalities[{number}]", f"'{modality}' is not simulated", f"one of {', '.join(rates)}")
        for number, modality in enumerate(data.modalities)
        if modality in MODALITY_UNITS and modality not in rates
    ]
    if data.population == "neurokit":
        problems += [
            Problem(f"data.modalities[{number}]", f"neurokit2 has no {modality}", f"one of {', '.join(_NEUROKIT)}")
            for number, modality in enumerate(data.modalities)
            if modality in rates and modality not in _NEUROKIT
        ]
    return problems


def _score_contradictions(data: DataSettings) -> list[Problem]:
    problems = []
    if list(data.nrs_cuts) != sorted(set(data.nrs_cuts)):
        problems.append(Problem("data.nrs_cuts", "they do not ascend"))
    if len(data.nrs_cuts) != len(data.classes) - 1:
        problems.append(
            Problem("data.nrs_cuts", f"{len(data.nrs_cuts)} scores cannot part {len(data.classes)} classes")
        )
    if len(set(data.classes)) != len(data.classes):
        problems.append(Problem("data.classes", "a class is listed twice"))
    return problems
