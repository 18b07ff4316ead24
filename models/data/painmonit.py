"""PainMonit: PMED (heat, experimental) and PMCD (physiotherapy, clinical), Gouverneur et al., Sci Data 11:1051 (2024).

The article is open, the data come under an agreement of their own: their user obtains them, nothing is shipped. All
files are `;`-separated with a decimal comma, at 250 Hz after synchronisation. The article's cuts are followed:

PMED. A stimulus begins where the cleaned heater leaves 32 degC and lasts 10 s; it counts where the temperature stays
the same all along. Class 0 is the 10 s that end 5 s before a stimulus, for the first eight only; classes 1 to 5 are the
ranks of the subject's own five temperatures, the lowest of which is not painful.

PMCD. Windows of 4 s every 2 s; the label is the highest of the sparse ones inside, a window without one is none.
Windows that a label of 0 gives are kept here and marked `rated 0`: the article drops them and takes windows of the
run-up instead (`run-up`).

Units of the electrodes of the RespiBAN are not stated and taken as uS and mV [inf]; `data.units` mends that.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Final

from models.data.folders import csv_files, find_folder, one_level_down
from models.data.painmonit_read import PMCD_CLASSES, PMED_CLASSES, RATE_HZ, THRESHOLDS, read_pmcd, read_pmed
from models.data.recorded import (
    Column,
    DataSet,
    Oddity,
    SittingFiles,
    channel_of,
    choose_columns,
)
from models.data.settings import DataSettings
from monitor.errors import SourceError

_PMED_COLUMNS: Final = (
    Column(name="Bvp", modality="BVP", unit="a.u.", rate_hz=RATE_HZ),
    Column(name="Eda_RB", modality="EDA", unit="uS", rate_hz=RATE_HZ),
    Column(name="Eda_E4", modality="EDA", unit="uS", rate_hz=RATE_HZ),
    Column(name="Tmp", modality="TEMP", unit="degC", rate_hz=RATE_HZ),
    Column(name="Resp", modality="RESP", unit="a.u.", rate_hz=RATE_HZ),
    Column(name="Ecg", modality="ECG", unit="mV", rate_hz=RATE_HZ),
    Column(name="Emg", modality="EMG", unit="mV", rate_hz=RATE_HZ),
    Column(name="Ibi", modality="", unit="s", rate_hz=RATE_HZ),
    Column(name="Hr", modality="", unit="bpm", rate_hz=RATE_HZ),
    Column(name="COVAS", modality="", unit="0-100", rate_hz=RATE_HZ),
)
_PMCD_COLUMNS: Final = (
    Column(name="Bvp", modality="BVP", unit="a.u.", rate_hz=RATE_HZ),
    Column(name="Bvp_RB", modality="BVP", unit="a.u.", rate_hz=RATE_HZ),
    Column(name="Eda_RB", modality="EDA", unit="uS", rate_hz=RATE_HZ),
    Column(name="Eda_E4", modality="EDA", unit="uS", rate_hz=RATE_HZ),
    Column(name="Tmp", modality="TEMP", unit="degC", rate_hz=RATE_HZ),
    Column(name="Resp", modality="RESP", unit="a.u.", rate_hz=RATE_HZ),
    Column(name="Emg", modality="EMG", unit="mV", rate_hz=RATE_HZ),
    Column(name="Grip", modality="", unit="a.u.", rate_hz=RATE_HZ),
)

_PMED_PEOPLE: Final = 52
_PMCD_SITTINGS: Final = 90
_OFTEN_LEFT_OUT: Final = ("S_01", "S_22", "S_23", "S_24", "S_25", "S_33", "S_58")
_PMED_FILE: Final = re.compile(r"^(?P<subject>S_\d+)-synchronised-data\.csv$")
_PMCD_FOLDER: Final = re.compile(r"^(?P<subject>P\d+)_(?P<session>\d+)$")
_REFUSED: Final = MappingProxyType({"live-segment": "it is continuous, which live-stream makes full use of"})


def open_painmonit(settings: DataSettings) -> DataSet:
    """List what is in a folder of PMED or PMCD.

    Raises:
        SourceError: If it is not that part, or empty.
    """
    root = Path(settings.path)
    pmed = settings.kind == "pmed"
    chosen = choose_columns(
        _PMED_COLUMNS if pmed else _PMCD_COLUMNS,
        modalities=settings.modalities,
        signals=settings.signals,
        units=settings.units,
        where=str(root),
    )
    for column in chosen:
        channel_of(column, where=str(root))
    folder = _raw_folder(root, "PMED" if pmed else "PMCD")
    oddities: list[Oddity] = []
    sittings = _pmed_sittings(folder, chosen, oddities) if pmed else _pmcd_sittings(folder, chosen, oddities)
    if not sittings:
        expected = "S_01-synchronised-data.csv" if pmed else "P01_1/P01_1.csv"
        other = any(_PMCD_FOLDER.match(e.name) if pmed else _PMED_FILE.match(e.name) for e in folder.iterdir())
        raise SourceError(
            "no subject is in it" + (f"; it looks like {'PMCD' if pmed else 'PMED'}" if other else ""),
            where=str(folder),
            todo=f'Set kind = "{"pmcd" if pmed else "pmed"}"' if other else f"Expected {expected} and so on",
        )
    expected_count = _PMED_PEOPLE if pmed else _PMCD_SITTINGS
    if len(sittings) != expected_count:
        what = f"{len(sittings)} {'subjects' if pmed else 'sessions'} instead of the published {expected_count}"
        oddities.append(Oddity(level="warning", code="subjects", where=str(folder), what=what))
    return DataSet(
        kind=str(settings.kind),
        root=root,
        classes=PMED_CLASSES if pmed else PMCD_CLASSES,
        sittings=tuple(sittings),
        refused=dict(_REFUSED),
        oddities=tuple(oddities),
    )


def _raw_folder(root: Path, name: str) -> Path:
    """The folder raw-data: in the root, in PMED or PMCD, or the root itself."""
    tops = [root] + [one_level_down(top, name) for top in [find_folder(root, name)] if top is not None]
    for top in reversed(tops):
        found = find_folder(top, "raw-data")
        if found is not None:
            return found
    return tops[-1]


# -- PMED ------------------------------------------------------------------------------------------------------------


def _pmed_sittings(folder: Path, chosen: Sequence[Column], oddities: list[Oddity]) -> list[SittingFiles]:
    sittings = []
    for path in csv_files(folder):
        match = _PMED_FILE.match(path.name)
        if match is None:
            oddities.append(Oddity(level="warning", code="stray", where=str(path), what="its name is no subject's"))
            continue
        sittings.append(
            SittingFiles(
                subject=match["subject"], files=(path,), read=partial(read_pmed, match["subject"], path, chosen)
            )
        )
    if dropped := [s.subject for s in sittings if s.subject in _OFTEN_LEFT_OUT]:
        what = f"{', '.join(dropped)}: older published code leaves them out; they stay in"
        oddities.append(Oddity(level="note", code="often left out", where=str(folder), what=what))
    return sittings


# -- PMCD ------------------------------------------------------------------------------------------------------------


def _pmcd_sittings(folder: Path, chosen: Sequence[Column], oddities: list[Oddity]) -> list[SittingFiles]:
    sittings = []
    for place in sorted(e for e in folder.iterdir() if e.is_dir()):
        match = _PMCD_FOLDER.match(place.name)
        if match is None:
            oddities.append(Oddity(level="warning", code="stray", where=str(place), what="its name is no session's"))
            continue
        main, run_up = place / f"{place.name}.csv", place / f"{place.name}_runUp.csv"
        files = [main, run_up, *(place / name for name in THRESHOLDS)]
        for path in files:
            if not path.is_file():
                needed = path in (main, run_up)
                what = "is missing" + (": the session is left out" if needed else "")
                level = "error" if needed else "warning"
                oddities.append(Oddity(level=level, code="missing", where=str(path), what=what))
        if main.is_file() and run_up.is_file():
            sittings.append(
                SittingFiles(
                    subject=match["subject"],
                    session=match["session"],
                    files=tuple(files),
                    read=partial(read_pmcd, match["subject"], match["session"], main, run_up, chosen),
                )
            )
    return sittings
