"""Folders in the exact on-disk form of the published pain data sets, with made-up numbers: never a real sample."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np

BIOVID_HEADER = "time\tgsr\tecg\temg_trapezius\temg_corrugator\temg_zygomaticus"
BIOVID_CLASSES = ("BL1", "PA1", "PA2", "PA3", "PA4")
BIOVID_ROWS = 2816
AI4PAIN_SIGNALS = ("Bvp", "Eda", "Resp", "SpO2")
PMED_HEADER = "Seconds;Bvp;Eda_E4;Tmp;Ibi;Hr;Resp;Eda_RB;Ecg;Emg;Heater [C];COVAS;Heater_cleaned"
PMCD_HEADER = "Seconds;Bvp;Eda_E4;Tmp;Resp;Eda_RB;Bvp_RB;Emg;Grip;Pain rates;Pain labels"
PMED_TEMPERATURES = (41.0, 42.5, 43.5, 44.5, 46.0)


def wave(name: str, rate_hz: float, n: int, *, offset: float = 0.0) -> np.ndarray:
    """(n,) made-up samples of a signal, in the unit that the files use; the offset tells recordings apart."""
    t = np.arange(n) / rate_hz
    low = name.lower()
    if "ecg" in low:
        return 900.0 * np.sin(2 * np.pi * 1.1 * t + offset) ** 21 + 3 * np.sin(17 * t)
    if "emg" in low:
        return 20.0 * np.sin(900 * t + offset)
    if "spo2" in low:
        return 96.0 + np.sin(t + offset)
    if "tmp" in low:
        return 33.0 + 0.1 * np.sin(0.1 * t + offset)
    if "gsr" in low or "eda" in low:
        return 4.0 + 0.3 * np.sin(0.5 * t) + 0.01 * offset
    return 0.5 + 0.1 * np.sin(2 * np.pi * 1.2 * t + offset)


def write_lines(path: Path, header: str, rows: Iterable[str]) -> Path:
    """A text file with LF ends."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return path


# -- BioVid ----------------------------------------------------------------------------------------------------------


def biovid_rows(n: int, offset: float) -> list[str]:
    """Rows of a BioVid file: microseconds, rounded, then five signals."""
    time = np.round(np.arange(n) * 1953.125).astype(int)
    columns = [wave(name, 512.0, n, offset=offset) for name in BIOVID_HEADER.split("\t")[1:]]
    return [
        f"{t}\t" + "\t".join(f"{v:.4f}" for v in values) for t, *values in zip(time.tolist(), *columns, strict=True)
    ]


def biovid_samples(subject: str, per_class: int) -> list[tuple[str, int]]:
    """(sample name, class number) of a subject: painful ones numbered from 001, baselines from 081."""
    stimuli = [name for _ in range(per_class) for name in BIOVID_CLASSES[1:]]
    return [(f"{subject}-{name}-{i + 1:03d}", BIOVID_CLASSES.index(name)) for i, name in enumerate(stimuli)] + [
        (f"{subject}-BL1-{81 + i:03d}", 0) for i in range(per_class)
    ]


def write_biovid(
    root: Path,
    subjects: Sequence[str] = ("071309_w_21", "082315_w_60"),
    *,
    per_class: int = 2,
    rows: int = BIOVID_ROWS,
    nested: bool = False,
    index: bool = True,
) -> Path:
    """Part A or B. The second subject is one of the 20 that are often left out."""
    signals = root / "biosignals_raw" / ("biosignals_raw" if nested else "")
    lines = []
    for number, subject in enumerate(subjects):
        for at, (sample, label) in enumerate(biovid_samples(subject, per_class)):
            offset = number + 0.01 * int(sample[-3:])
            write_lines(signals / subject / f"{sample}_bio.csv", BIOVID_HEADER, biovid_rows(rows, offset))
            lines.append(f"{number + 1}\t{subject}\t{label}\t{BIOVID_CLASSES[label]}\t{at + 1}\t{sample}")
    if index:
        header = "subject_id\tsubject_name\tclass_id\tclass_name\tsample_id\tsample_name"
        write_lines(root / "starting_point" / "samples.csv", header, lines)
    return root


def write_biovid_c(
    root: Path,
    subjects: Sequence[str] = ("071309_w_21",),
    *,
    stimuli: Sequence[tuple[float, float, int]] = ((2.0, 4.0, 4), (6.0, 8.0, 1)),
    seconds: float = 10.0,
) -> Path:
    """Part C: one file a subject, and the label of every sample beside it."""
    n = round(seconds * 512)
    for number, subject in enumerate(subjects):
        write_lines(root / "biosignals_raw" / f"{subject}.csv", BIOVID_HEADER, biovid_rows(n, float(number)))
        time = np.round(np.arange(n) * 1953.125).astype(int)
        label = np.zeros(n, dtype=int)
        for start, end, code in stimuli:
            label[(time >= start * 1e6) & (time < end * 1e6)] = code
        rows = [f"{t}\t{c}" for t, c in zip(time.tolist(), label.tolist(), strict=True)]
        write_lines(root / "label" / f"{subject}.csv", "time\tlabel", rows)
    return root


# -- AI4PAIN ---------------------------------------------------------------------------------------------------------


def ai4pain_2025_columns(subject: str) -> dict[str, int]:
    """Names and lengths of a labelled subject's 48 columns, in order of presentation."""
    columns = {f"{subject}_Baseline_1": 5950}
    for i in range(12):
        for name in (f"{subject}_HIGH_{i + 1}", f"{subject}_LOW_{i + 1}"):
            columns[name] = 1022
            rest = len([c for c in columns if "REST" in c]) + 1
            if rest <= 23:
                columns[f"{subject}_REST_{rest}"] = 3934
    columns[f"{subject}_LOW_3"] = 990
    return columns


def ai4pain_2026_columns(subject: str, samples: int = 1022) -> dict[str, int]:
    """Names and lengths of a labelled subject's 36 columns."""
    return {f"{subject}_{name}_{i + 1}": samples for name in ("Baseline", "ARM", "HAND") for i in range(12)}


def write_ai4pain(
    root: Path,
    part: str,
    subject: str,
    columns: Mapping[str, int],
    *,
    change: Callable[[str, str, np.ndarray], np.ndarray] | None = None,
    signals: Sequence[str] = AI4PAIN_SIGNALS,
) -> None:
    """One subject: four files whose columns end in empty cells where they are shorter than the longest.

    Args:
        root: Folder that holds train, validation and test.
        part: One of them.
        subject: Its number.
        columns: Lengths by name.
        change: Returns other samples for (signal, column, samples).
        signals: Files to write.
    """
    longest = max(columns.values())
    for signal in signals:
        cells = []
        for number, (name, n) in enumerate(columns.items()):
            values = wave(signal, 100.0, n, offset=0.1 * number + float(subject))
            if change is not None:
                values = change(signal, name, values)
            cells.append([f"{v:.5f}" if np.isfinite(v) else "" for v in values] + [""] * (longest - len(values)))
        rows = [",".join(row) for row in zip(*cells, strict=True)]
        write_lines(root / part / signal / f"{subject}.csv", ",".join(columns), rows)


# -- PainMonit -------------------------------------------------------------------------------------------------------


def comma(value: float, digits: int = 4) -> str:
    """A number with a decimal comma; empty where it is NaN."""
    return f"{value:.{digits}f}".replace(".", ",") if np.isfinite(value) else ""


def pmed_heater(stimuli: int, *, first_s: float = 20.0, pause_s: float = 20.0) -> np.ndarray:
    """Cleaned heater at 250 Hz: 32 degC but for 10 s at one of the five temperatures, in turn."""
    seconds = first_s + stimuli * (10.0 + pause_s)
    heater = np.full(round(seconds * 250), 32.0)
    for i in range(stimuli):
        start = round((first_s + i * (10.0 + pause_s)) * 250)
        heater[start : start + 2500] = PMED_TEMPERATURES[i % 5]
    return heater


def write_pmed(root: Path, subject: str = "S_02", heater: np.ndarray | None = None) -> Path:
    """One subject of PMED; Ibi is mostly missing, COVAS follows the heater."""
    heater = pmed_heater(10) if heater is None else heater
    n = len(heater)
    names = PMED_HEADER.split(";")
    columns = {name: wave(name, 250.0, n, offset=float(subject[-2:])) for name in names}
    columns["Seconds"] = np.arange(n) / 250.0
    columns["Ecg"] = columns["Ecg"] / 1000
    columns["Emg"] = columns["Emg"] / 1000
    columns["Ibi"] = np.where(np.arange(n) % 200 == 0, 0.8, np.nan)
    columns["Heater [C]"] = heater + 0.01
    columns["Heater_cleaned"] = heater
    columns["COVAS"] = np.maximum(heater - 42.0, 0.0) * 20.0
    text = [[comma(v) for v in columns[name].tolist()] for name in names]
    rows = [";".join(row) for row in zip(*text, strict=True)]
    return write_lines(root / "raw-data" / f"{subject}-synchronised-data.csv", PMED_HEADER, rows)


def write_pmcd(
    root: Path,
    session: str = "P01_1",
    *,
    labels: Mapping[float, tuple[float, int]] | None = None,
    seconds: float = 20.0,
    run_up_s: float = 10.0,
) -> Path:
    """One session of PMCD.

    Args:
        root: Folder that holds raw-data.
        session: Subject and number.
        labels: (rate, label) by second; cells between are empty.
        seconds: Length of the session.
        run_up_s: Length of the run-up.
    """
    labels = {5.0: (0.0, 0), 9.0: (6.0, 1), 15.0: (9.0, 2)} if labels is None else labels
    folder = root / "raw-data" / session
    names = PMCD_HEADER.split(";")
    for suffix, length in (("", seconds), ("_runUp", run_up_s)):
        n = round(length * 250)
        columns = {name: wave(name, 250.0, n, offset=len(suffix) + float(session[1:3])) for name in names}
        columns["Seconds"] = np.arange(n) / 250.0
        columns["Emg"] = columns["Emg"] / 1000
        columns["Pain rates"] = np.full(n, np.nan)
        columns["Pain labels"] = np.full(n, np.nan)
        if not suffix:
            for at, (rate, label) in labels.items():
                columns["Pain rates"][round(at * 250)] = rate
                columns["Pain labels"][round(at * 250)] = label
        text = [[comma(v) for v in columns[name].tolist()] for name in names]
        rows = [";".join(row) for row in zip(*text, strict=True)]
        write_lines(folder / f"{session}{suffix}.csv", PMCD_HEADER, rows)
    (folder / "noPainThreshold.txt").write_text("2,5\n")
    (folder / "severePainThreshold.txt").write_text("7,0\n")
    return folder


# -- configuration ---------------------------------------------------------------------------------------------------


def write_config(folder: Path, kind: str, root: Path, more: str = "") -> Path:
    """A configuration whose cache lies beside it."""
    path = folder / f"{kind}.toml"
    path.write_text(f'[data]\nkind = "{kind}"\npath = "{root}"\ncache = "cache"\n{more}\n', encoding="utf-8")
    return path
