"""A report on real recordings as tables for a person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.console import Console
from rich.table import Table


def show_recordings(report: Mapping[str, Any], console: Console) -> None:
    """Print a report of `models.evaluation.recordings.recordings_report`."""
    console.print(f"[bold]{report['bundle']} {report['version']}[/bold], trained on {report['trained_on']}")
    console.print(_rests(report))
    may = report["verdict"]["may_be_default"]
    console.print(
        report["verdict"]["text"], style="bold red" if may is False else "bold", highlight=False, soft_wrap=True
    )
    if report["arousal"] is not None:
        console.print(_arousal(report["arousal"]))
        console.print(report["arousal"]["notice"], style="bold", highlight=False)
    for note in report["notes"]:
        console.print(note, style="dim", highlight=False, soft_wrap=True)


def _rests(report: Mapping[str, Any]) -> Table:
    table = Table(title=f"At rest, a window every {report['hop_s']:g} s, limit {report['alarm_limit']:g}")
    table.add_column("recordings", overflow="fold")
    for name in ("n", "hours", "scored", "over", "index (quartiles)", "alarms", "an hour (95 %)"):
        table.add_column(name, justify="right", overflow="fold")
    for name, row in (*report["groups"].items(), ("all", report["all"])):
        table.add_row(
            name,
            str(row["recordings"]),
            f"{row['hours']:.2f}",
            _share(row["scored_share"]),
            _share(row["over_limit_share"]),
            "-"
            if row["index_median"] is None
            else f"{row['index_median']:.0f} ({row['index_iqr'][0]:.0f}-{row['index_iqr'][1]:.0f})",
            str(row["alarms"]),
            "-"
            if row["alarms_per_hour"] is None
            else "{:.1f} ({:.1f}-{:.1f})".format(row["alarms_per_hour"], *row["alarms_per_hour_interval"]),
        )
    return table


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _arousal(arousal: Mapping[str, Any]) -> Table:
    table = Table(title="Blocks of stress less the mean of the rests before and after")
    for name in ("block", "measure"):
        table.add_column(name, overflow="fold")
    for name in ("n", "difference (95 %)", "higher", "p", "shuffled labels"):
        table.add_column(name, justify="right", overflow="fold")
    for kind, measures in arousal["blocks"].items():
        for name, row in measures.items():
            interval = "" if row["low"] is None else f" ({row['low']:+.2g} to {row['high']:+.2g})"
            shuffled = row["shuffled"]
            table.add_row(
                kind,
                name,
                str(row["subjects"]),
                f"{row['difference']:+.2g}{interval}",
                _share(row["share_higher"]),
                f"{row['p']:.3f}",
                f"{shuffled['mean']:+.2g} ({shuffled['low']:+.2g} to {shuffled['high']:+.2g})",
            )
    return table
