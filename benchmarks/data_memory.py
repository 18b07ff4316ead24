"""Memory of `models train` on all of BioVid A: a folder of its exact form is written and prepared as a user would.

Nobody's signals are in it: values are made up, at the length and in the number that Part A has. What is measured is
`python -m models train CONFIG --check` as a process of its own with one worker: it reads every file, caches samples,
looks for oddities, cuts the windows of two forms, opens them and lists the jobs; it trains nothing.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from benchmarks.report import Figure, Result
from models.data.biovid_read import CLASSES, RATE_HZ, ROWS

PEOPLE: Final = 87
"""In Part A."""
PER_CLASS: Final = 20
AIM_MB: Final = 2048.0
FEWEST: Final = 4
"""Fewer people cannot be divided into four parts."""
_LOOK_S: Final = 0.02
_HEADER: Final = "time\tgsr\tecg\temg_trapezius\temg_corrugator\temg_zygomaticus\n"
_LINE: Final = "%d\t%.4f\t%.4f\t%.4f\t%.4f\t%.4f\n"
_MB: Final = 1024.0 * 1024.0

# Three classes make the most windows; the second recipe reads 512 Hz, twenty times the points of the first.
_CONFIG: Final = """
[data]
kind = "biovid-a"
path = "PartA"
modalities = ["EDA", "ECG"]
cache = "cache"

[task]
protocol = "live-segment"
classes = { none = ["BL1"], mild = ["PA1", "PA2"], severe = ["PA3", "PA4"] }
inputs = ["EDA", "ECG"]

[split]
kind = "k-fold"
folds = 4

[train]
recipes = ["crossmod", "mscn"]

[output]
folder = "run"
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """Most memory of a process and its children together, in MB."""

    resident: float
    """All resident pages: of mapped files too, and those of shared libraries once for each process."""
    own: float
    """Anonymous pages alone: what cannot be dropped and read again."""
    seconds: float
    said: str
    """What the command said last."""


def run(*, quick: bool, subjects: int = 8) -> Result:
    """Prepare made-up data of few and of more subjects, and say where 87 of them lead.

    Args:
        quick: Five subjects at most.
        subjects: How many the larger of the two folders has.

    Raises:
        RuntimeError: If the command does not find the data fit.
    """
    if not Path("/proc/self/status").is_file():
        return Result(name="memory", measured="", figures=(), skipped=("memory: it is read from /proc, on Linux",))
    most = max(min(subjects, FEWEST + 1) if quick else subjects, FEWEST + 1)
    peaks: dict[int, Peak] = {}
    for count in (FEWEST, most):
        with tempfile.TemporaryDirectory(prefix="biovid-form-") as folder:
            write_form(Path(folder) / "PartA", count)
            peaks[count] = prepared(Path(folder))
    return Result(
        name="memory",
        measured=f"`models train --check` with one worker on {FEWEST} and {most} made-up subjects of BioVid A's form "
        f"({len(CLASSES) * PER_CLASS} files of {ROWS} rows each), protocol live-segment, three classes, windows of "
        "25 and of 512 Hz: most memory of both processes together. Resident memory counts mapped pages of cached "
        "samples and windows, which the system may drop at any time; own memory does not. What lies beyond the two is "
        "a straight line.",
        figures=tuple(_figures(peaks)),
    )


def _figures(peaks: dict[int, Peak]) -> Sequence[Figure]:
    (few, small), (many, large) = sorted(peaks.items())
    figures = []
    for name, of in (("resident", "resident"), ("own (anonymous)", "own")):
        low, high = getattr(small, of), getattr(large, of)
        growth = (high - low) / (many - few)
        figures += [
            Figure(name=f"{name}, {few} subjects", value=low, unit="MB"),
            Figure(name=f"{name}, {many} subjects", value=high, unit="MB"),
        ]
        if many < PEOPLE:
            # A line that falls is noise: all of the data need no less than a part.
            projected = high + max(growth, 0.0) * (PEOPLE - many)
            figures.append(
                Figure(
                    name=f"{name}, {PEOPLE} subjects by a straight line",
                    value=projected,
                    unit="MB",
                    aim=AIM_MB,
                    sense="at most",
                    note=f"{growth:+.1f} MB a subject",
                )
            )
    if many >= PEOPLE:
        figures.append(
            Figure(name="resident, all", value=large.resident, unit="MB", aim=AIM_MB, sense="at most", note=large.said)
        )
    figures.append(Figure(name=f"time, {many} subjects", value=large.seconds, unit="s", note=large.said))
    return figures


def write_form(root: Path, subjects: int) -> None:
    """A folder as Part A is: `samples.csv`, and 100 files of 5.5 s at 512 Hz for each subject.

    Args:
        root: Of the part.
        subjects: How many; their codes are made up.
    """
    rng = np.random.default_rng(20)
    time_us = np.round(np.arange(ROWS) * 1e6 / RATE_HZ)
    index = ["subject_id\tsubject_name\tclass_id\tclass_name\tsample_id\tsample_name"]
    lines = _LINE * ROWS
    for number in range(subjects):
        subject = f"{number + 10101:06d}_{'mw'[number % 2]}_{20 + number % 45}"
        folder = root / "biosignals_raw" / subject
        folder.mkdir(parents=True)
        names = [f"PA{1 + i % 4}-{i + 1:03d}" for i in range(4 * PER_CLASS)]
        names += [f"BL1-{i + 81:03d}" for i in range(PER_CLASS)]
        for at, name in enumerate(names):
            rows = np.column_stack([time_us, *_signals(rng)])
            sample = f"{subject}-{name}"
            text = _HEADER + lines % tuple(rows.ravel().tolist())
            (folder / f"{sample}_bio.csv").write_text(text, encoding="ascii")
            label = name[:3]
            index.append(f"{number + 1}\t{subject}\t{CLASSES.index(label)}\t{label}\t{at + 1}\t{sample}")
    (root / "starting_point").mkdir()
    (root / "starting_point" / "samples.csv").write_text("\n".join(index) + "\n", encoding="ascii")


def _signals(rng: np.random.Generator) -> list[np.ndarray]:
    """(2816,) of each column: uS, and uV that the quality gate takes for a heart; nothing of it is anybody's."""
    t = np.arange(ROWS) / RATE_HZ
    eda = 4.0 + 0.3 * np.sin(0.5 * t + rng.uniform(0.0, 6.0)) + 0.002 * rng.standard_normal(ROWS)
    beats = np.arange(rng.uniform(0.0, 0.8), 6.0, 0.8)
    ecg = 1000.0 * np.exp(-0.5 * ((t[:, None] - beats) / 0.012) ** 2).sum(axis=1) + 5.0 * rng.standard_normal(ROWS)
    return [eda, ecg, *(10.0 * rng.standard_normal((3, ROWS)))]


def prepared(folder: Path) -> Peak:
    """Run the command in a folder that holds PartA, and watch its processes.

    Raises:
        RuntimeError: If it fails.
    """
    (folder / "run.toml").write_text(_CONFIG, encoding="utf-8")
    command = [sys.executable, "-m", "models", "train", str(folder / "run.toml"), "--check"]
    began = time.monotonic()
    resident = own = 0.0
    with (folder / "said").open("w+", encoding="utf-8") as said:
        process = subprocess.Popen(command, stdout=said, stderr=subprocess.STDOUT)
        while process.poll() is None:
            each = [_memory(pid) for pid in _family(process.pid)]
            resident = max(resident, sum(pages for pages, _ in each))
            own = max(own, sum(pages for _, pages in each))
            time.sleep(_LOOK_S)
        said.seek(0)
        text = said.read()
    if process.returncode:
        raise RuntimeError(f"`{' '.join(command)}` ended with {process.returncode}: {text}")
    return Peak(resident=resident, own=own, seconds=time.monotonic() - began, said=text.strip().splitlines()[-1])


def _family(pid: int) -> list[int]:
    """A process and all below it."""
    found, at = [pid], 0
    while at < len(found):
        try:
            text = Path(f"/proc/{found[at]}/task/{found[at]}/children").read_text(encoding="ascii")
        except OSError:
            text = ""
        found += [int(child) for child in text.split()]
        at += 1
    return found


def _memory(pid: int) -> tuple[float, float]:
    """Resident and anonymous memory of a process in MB; nothing of one that has ended."""
    try:
        text = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    except OSError:
        return 0.0, 0.0
    kilobytes = {
        key: int(value) for key, value in re.findall(r"^(VmRSS|RssAnon|RssShmem):\s+(\d+) kB", text, re.MULTILINE)
    }
    own = kilobytes.get("RssAnon", 0) + kilobytes.get("RssShmem", 0)
    return kilobytes.get("VmRSS", 0) * 1024.0 / _MB, own * 1024.0 / _MB
