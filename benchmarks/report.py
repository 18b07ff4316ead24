"""What a benchmark found: figures with their spread, what was left out and why; as tables and as JSON."""

from __future__ import annotations

import importlib.metadata
import os
import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal

import numpy as np
from rich.console import Console
from rich.table import Table

from monitor.types import FloatArray

_PACKAGES: Final = ("numpy", "scipy", "onnxruntime", "torch", "neurokit2", "pylsl")


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One measured number."""

    name: str
    value: float
    """The median, or what the name says."""
    unit: str
    """`us`, `ms`, `kB`, `MB`, `cores`, `/s`, `GFLOP/s`, or `x` for a ratio."""
    low: float | None = None
    """First quartile over all rounds; None where the figure has no spread."""
    high: float | None = None
    """Third quartile."""
    aim: float | None = None
    sense: Literal["at least", "at most"] = "at least"
    """On which side of `aim` the figure should lie."""
    note: str = ""
    of: str = ""
    """Model that it belongs to, where several have the same figures: they are shown as one table, a row each."""

    @property
    def met(self) -> bool | None:
        """Whether the aim was reached; None where there is none."""
        if self.aim is None:
            return None
        return self.value >= self.aim if self.sense == "at least" else self.value <= self.aim


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """Everything that one benchmark found."""

    name: str
    measured: str
    """What was measured, in a sentence or two."""
    figures: tuple[Figure, ...]
    skipped: tuple[str, ...] = ()
    """What could not be measured here, and why."""


def median_of(name: str, seconds: FloatArray, unit: Literal["us", "ms"], **fields: Any) -> Figure:
    """Median and quartiles of timings.

    Args:
        name: What was timed.
        seconds: (rounds,) s.
        unit: Unit to report in.
        **fields: Further fields of `Figure`.
    """
    values = seconds * {"us": 1e6, "ms": 1e3}[unit]
    return _spread(name, values, unit, **fields)


def ratio_of(name: str, over: FloatArray, under: FloatArray, **fields: Any) -> Figure:
    """Median and quartiles of `over / under`, round by round, so that a machine that slows down slows both.

    Args:
        name: What is compared with what.
        over: (rounds,) s.
        under: (rounds,) s, of the same rounds.
        **fields: Further fields of `Figure`.
    """
    return _spread(name, over / under, "x", **fields)


def _spread(name: str, values: FloatArray, unit: str, **fields: Any) -> Figure:
    low, middle, high = np.percentile(values, [25.0, 50.0, 75.0])
    return Figure(name=name, value=float(middle), low=float(low), high=float(high), unit=unit, **fields)


def machine() -> dict[str, Any]:
    """What a reader must know of the machine and the versions to judge the figures."""
    versions: dict[str, str | None] = {}
    for package in _PACKAGES:
        try:
            versions[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            versions[package] = None
    return {
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.machine()}",
        "cores": os.cpu_count(),
        "load_average": list(os.getloadavg()) if hasattr(os, "getloadavg") else None,
        "versions": versions,
    }


def as_json(results: Sequence[Result], *, quick: bool) -> dict[str, Any]:
    """All results as plain values, with the machine at the end of the run."""
    benchmarks = [
        asdict(result) | {"figures": [asdict(figure) | {"met": figure.met} for figure in result.figures]}
        for result in results
    ]
    return {"quick": quick, "machine": machine(), "benchmarks": benchmarks}


def show(console: Console, result: Result) -> None:
    """Print one benchmark's table."""
    table = Table(title=result.name, title_justify="left", title_style="bold", expand=False)
    table.add_column("figure")
    table.add_column("median", justify="right")
    table.add_column("quartiles", justify="right")
    table.add_column("aim")
    table.add_column("note", overflow="fold")
    for figure in (figure for figure in result.figures if not figure.of):
        spread = "" if figure.low is None or figure.high is None else f"{_number(figure.low)}-{_number(figure.high)}"
        aim = "" if figure.aim is None else f"{figure.sense} {_number(figure.aim)}: {'yes' if figure.met else 'NO'}"
        table.add_row(figure.name, f"{_number(figure.value)} {figure.unit}", spread, aim, figure.note)
    console.print(table)
    if any(figure.of for figure in result.figures):
        console.print(_rows(result.figures))
    console.print(result.measured, style="dim", highlight=False)
    for text in result.skipped:
        console.print(f"skipped: {text}", style="yellow", highlight=False, markup=False)
    console.print()


def _rows(figures: Sequence[Figure]) -> Table:
    """Figures that belong to something: a row for each, a column for each name; ratios with what they aim at."""
    names = list(dict.fromkeys(figure.name for figure in figures if figure.of))
    table = Table(expand=False)
    table.add_column("model", overflow="fold")
    for name in names:
        table.add_column(name, justify="right")
    rows: dict[str, dict[str, str]] = {}
    for figure in figures:
        if figure.of:
            aim = "" if figure.aim is None else f", {_number(figure.aim)}: {'yes' if figure.met else 'NO'}"
            rows.setdefault(figure.of, {})[figure.name] = f"{_number(figure.value)} {figure.unit}{aim}"
    for of, cells in rows.items():
        table.add_row(of, *(cells.get(name, "") for name in names))
    return table


def _number(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"
