"""What the days of the simulated beds amount to, as tables."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from rich.console import Console
from rich.table import Table

from monitor.bundle import BundleSpec

_DAY_S: Final = 86400.0
MOST_FALSE_A_DAY: Final = 1.0
"""The aim: at most so many false pain alarms a patient-day."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fared:
    """One limit and delay over all beds."""

    false_a_day: float
    """False alarms a day of time without pain."""
    alarms_a_day: float
    sensitivity: float | None
    """Share of severe spells of 3-15 minutes with an alarm, responders."""
    spells: int
    sensitivity_others: float | None
    """The same of non-responders."""
    spells_others: int
    sensitivity_moderate: float | None
    """Share of moderate spells, responders."""
    delay_median_s: float | None
    """From the onset of severe spells that were alarmed on, responders."""
    delay_p90_s: float | None


def fared(beds: Sequence[dict[str, Any]], points: Sequence[dict[str, Any]]) -> Fared:
    """Add up one point over beds.

    Args:
        beds: As `benchmarks.alarm_days.run_bed` gives them.
        points: The same point of each.
    """
    free_days = sum(point["free_s"] for point in points) / _DAY_S
    days = sum(bed["hours"] for bed in beds) / 24.0

    def bouts(responder: bool, severe: bool) -> list[dict[str, Any]]:
        return [
            bout
            for bed, point in zip(beds, points, strict=True)
            for bout in point["bouts"]
            if bed["responder"] == responder and bout["severe"] == severe and bout["lasting"]
        ]

    mine, others = bouts(True, True), bouts(False, True)
    delays = sorted(bout["delay_s"] for bout in mine if bout["delay_s"] is not None)
    return Fared(
        false_a_day=sum(point["false"] for point in points) / free_days,
        alarms_a_day=sum(point["alarms"] for point in points) / days,
        sensitivity=_share(bout["found"] for bout in mine),
        spells=len(mine),
        sensitivity_others=_share(bout["found"] for bout in others),
        spells_others=len(others),
        sensitivity_moderate=_share(bout["found"] for bout in bouts(True, False)),
        delay_median_s=statistics.median(delays) if delays else None,
        delay_p90_s=delays[min(len(delays) - 1, int(0.9 * len(delays)))] if delays else None,
    )


def _share(found: Iterable[bool]) -> float | None:
    seen = list(found)
    return sum(seen) / len(seen) if seen else None


def curve(beds: Sequence[dict[str, Any]]) -> list[tuple[dict[str, Any], Fared]]:
    """Every limit and delay, with how it fared."""
    rows = []
    for number, point in enumerate(beds[0]["points"]):
        if point["what"] != "default":
            rows.append((point, fared(beds, [bed["points"][number] for bed in beds])))
    return rows


def front(rows: Sequence[tuple[dict[str, Any], Fared]]) -> list[tuple[dict[str, Any], Fared]]:
    """Points that no other beats: as many severe spells found at fewer false alarms, or more at as many."""
    best: list[tuple[dict[str, Any], Fared]] = []
    for point, how in sorted(rows, key=lambda row: (row[1].false_a_day, -(row[1].sensitivity or 0.0))):
        if not best or (how.sensitivity or 0.0) > (best[-1][1].sensitivity or 0.0):
            best.append((point, how))
    return best


def show(beds: Sequence[dict[str, Any]], *, bundle: BundleSpec, hop_s: float) -> None:
    """Print everything.

    Args:
        beds: As `benchmarks.alarm_days.run_bed` gives them.
        bundle: Which was judged.
        hop_s: Seconds between windows.
    """
    console = Console(width=None if Console().is_terminal else 150)
    windows, scored = (sum(bed[name] for bed in beds) for name in ("windows", "scored"))
    responders = sum(bed["responder"] for bed in beds)
    console.print(
        f"{len(beds)} simulated beds of {beds[0]['hours']:g} h, {responders} of them responders; {bundle.name} "
        f"{bundle.version}, a window each {hop_s:g} s, index at {100 * scored / max(windows, 1):.1f} % of them. "
        "RESEARCH USE ONLY: simulated patients, no person's pain."
    )
    table = _table("At the default limits and delays", "alarm")
    first = [bed["points"][0] for bed in beds]
    for name, points in (
        ("any pain alarm", first),
        ("low: moderate pain", [point["moderate"] for point in first]),
        ("medium: severe pain", [point["severe"] for point in first]),
    ):
        table.add_row(name, *_cells(fared(beds, points)))
    console.print(table)
    rows = curve(beds)
    for what in dict.fromkeys(point["what"] for point, _ in rows):
        own = [(point, how) for point, how in rows if point["what"] == what]
        table = _table(
            f"Alarm on the {what} alone, where nothing is better in both: the rest is in --out", "limit, delay"
        )
        for point, how in front(own):
            table.add_row(f"{point['limit']:g}, {point['after_s']:g} s", *_cells(how))
        console.print(table)
        within = [(point, how) for point, how in own if how.false_a_day <= MOST_FALSE_A_DAY and how.sensitivity]
        if within:
            point, how = max(within, key=lambda row: (row[1].sensitivity or 0.0, -(row[1].delay_median_s or 0.0)))
            console.print(
                f"Best {what} with at most {MOST_FALSE_A_DAY:g} false alarm a day: limit {point['limit']:g} for "
                f"{point['after_s']:g} s: {_percent(how.sensitivity)} of severe spells, {how.false_a_day:.2f} a day\n"
            )
        else:
            console.print(f"No limit on the {what} keeps to {MOST_FALSE_A_DAY:g} false alarm a day.\n")
    _technical(console, beds)


def _table(title: str, first: str) -> Table:
    table = Table(title=title, title_justify="left")
    table.add_column(first)
    for name in (
        "false a day",
        "alarms a day",
        "severe spells found",
        "of non-responders",
        "moderate found",
        "delay median",
        "delay p90",
    ):
        table.add_column(name, justify="right")
    return table


def _cells(how: Fared) -> list[str]:
    return [
        f"{how.false_a_day:.2f}",
        f"{how.alarms_a_day:.1f}",
        f"{_percent(how.sensitivity)} of {how.spells}",
        f"{_percent(how.sensitivity_others)} of {how.spells_others}",
        _percent(how.sensitivity_moderate),
        _seconds(how.delay_median_s),
        _seconds(how.delay_p90_s),
    ]


def _technical(console: Console, beds: Sequence[dict[str, Any]]) -> None:
    table = Table(title="Technical alarms after faults of a sensor", title_justify="left")
    for name in ("fault", "modality", "faults", "alarmed on", "median", "p90", "slowest"):
        table.add_column(name, justify="left" if name in ("fault", "modality") else "right")
    faults = [fault for bed in beds for fault in bed["technical"]]
    for kind, modality in sorted({(fault["kind"], fault["modality"]) for fault in faults}):
        own = [f for f in faults if (f["kind"], f["modality"]) == (kind, modality)]
        delays = sorted(f["delay_s"] for f in own if f["delay_s"] is not None)
        cells = [
            _seconds(statistics.median(delays) if delays else None),
            _seconds(delays[min(len(delays) - 1, int(0.9 * len(delays)))] if delays else None),
            _seconds(delays[-1] if delays else None),
        ]
        table.add_row(kind, modality, str(len(own)), str(len(delays)), *cells)
    console.print(table)
    days = sum(bed["hours"] for bed in beds) / 24.0
    console.print(f"{sum(bed['technical_alarms'] for bed in beds) / days:.1f} technical alarms a bed-day")


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
