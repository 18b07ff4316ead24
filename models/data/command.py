"""`python -m models data CONFIG`: what is in a folder, as tables or JSON."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table

    from models.data.recorded import Oddity
    from models.data.survey import SittingSummary, Survey

_SHOWN: Final = 4
"""Places named for each kind of oddity; --json names all."""
_COLOURS: Final = {"error": "red", "warning": "yellow", "note": "dim"}


def data(
    config: Annotated[Path, typer.Argument(help="A configuration with the table [data], see docs/data.md.")],
    *,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")] = False,
) -> None:
    """Show what is in a data set's folder, per subject and class, and what is odd about it, before anything is trained.

    Every file is read once; what was read is cached, so that training starts at once. Nothing of these data sets is
    shipped. Exit code 0 where it can be trained on, 3 for a wrong configuration, 5 where the data are missing, damaged
    or not what the configuration says.
    """
    from rich.console import Console
    from rich.progress import Progress

    from models.data.catalogue import open_data
    from models.data.settings import load_data_settings
    from models.data.survey import survey
    from monitor.errors import MonitorError

    log, out = Console(stderr=True), Console()
    try:
        found = open_data(load_data_settings(config))
        with Progress(console=log, transient=True) as progress:
            task = progress.add_task("Reading", total=len(found.sittings))
            result = survey(
                found, on_sitting=lambda files: progress.update(task, advance=1, description=f"Reading {files.key}")
            )
    except MonitorError as error:
        log.print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from None
    if as_json:
        out.file.write(json.dumps(result.as_json(), allow_nan=False, indent=1) + "\n")
    else:
        show(result, out)
    if result.wrong:
        raise typer.Exit(5)


def show(result: Survey, out: Console) -> None:
    """Print a survey as tables."""
    from models.data.survey import notice

    subjects = len({sitting.subject for sitting in result.sittings})
    hours = sum(sitting.seconds for sitting in result.sittings) / 3600
    out.print(f"[bold]{result.kind}[/bold]  subjects {subjects}, sittings {len(result.sittings)}, hours {hours:.3g}")
    out.print(result.root, markup=False, highlight=False, soft_wrap=True)
    out.print(notice(result.kind), style="dim")
    signals = sorted({_signals(sitting) for sitting in result.sittings})
    if len(signals) == 1:
        out.print("Signals: " + signals[0], highlight=False, markup=False)
    # Simulated subjects differ in the rates of their devices alone, which the oddities below list.
    out.print(_sittings_table(result, signals=len(signals) > 1 and result.kind != "simulated"))
    if result.oddities:
        out.print(_oddities_table(result.oddities, result.root))
    for name, reason in result.protocols.items():
        out.print(f"{name}: {'no: ' + reason if reason else 'yes'}", highlight=False, markup=False)
    errors = sum(oddity.level == "error" for oddity in result.oddities)
    if errors:
        out.print(f"Not fit for training: {errors} error{'s' if errors != 1 else ''}", style="bold red")
    else:
        out.print("Nothing forbids training; read what is odd first" if result.oddities else "Nothing is odd")


def _signals(sitting: SittingSummary) -> str:
    return ", ".join(f"{c.name} ({c.unit}, {c.rate_hz:g} Hz)" for c in sitting.channels)


def _sittings_table(result: Survey, *, signals: bool) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="Trials by class")
    parts = any(sitting.part for sitting in result.sittings)
    unlabelled = any(c.name == "unlabelled" for s in result.sittings for c in s.counts)
    rated = any(sitting.ratings for sitting in result.sittings)
    classes = [*result.classes, *(["unlabelled"] if unlabelled else [])]
    for name in [*(["part"] if parts else []), "subject"]:
        table.add_column(name)
    for name in [*classes, *(["scores"] if rated else []), "min"]:
        table.add_column(name, justify="right")
    if signals:
        table.add_column("signals")
    for sitting in result.sittings:
        by_name = {count.name: count.trials for count in sitting.counts}
        table.add_row(
            *([sitting.part] if parts else []),
            Text(sitting.key),
            *(str(by_name.get(name, 0)) for name in classes),
            *([str(sitting.ratings)] if rated else []),
            f"{sitting.seconds / 60:.1f}",
            *([Text(_signals(sitting))] if signals else []),
        )
    total = [sum(c.trials for s in result.sittings for c in s.counts if c.name == name) for name in classes]
    table.add_section()
    table.add_row(
        *([""] if parts else []),
        "all",
        *map(str, total),
        *([str(sum(s.ratings for s in result.sittings))] if rated else []),
        f"{sum(s.seconds for s in result.sittings) / 60:.1f}",
        *([""] if signals else []),
    )
    return table


def _oddities_table(oddities: Sequence[Oddity], root: str) -> Table:
    from rich.table import Table
    from rich.text import Text

    table = Table(title="What is odd", show_lines=True)
    for name in ("", "times", "what and where", "what to do"):
        table.add_column(name, overflow="fold")
    grouped: dict[tuple[str, str], list[Oddity]] = {}
    for oddity in oddities:
        grouped.setdefault((oddity.level, oddity.code), []).append(oddity)
    for (level, code), found in sorted(grouped.items(), key=lambda item: list(_COLOURS).index(item[0][0])):
        lines = [f"{oddity.where.removeprefix(root).lstrip('/') or '.'}: {oddity.what}" for oddity in found[:_SHOWN]]
        if len(found) > _SHOWN:
            lines.append(f"... and {len(found) - _SHOWN} more (--json names all)")
        todos = dict.fromkeys(oddity.todo for oddity in found if oddity.todo)
        table.add_row(
            Text(f"{level}\n{code}", style=_COLOURS[level]),
            str(len(found)),
            Text("\n".join(lines)),
            Text("\n".join(todos)),
        )
    return table
