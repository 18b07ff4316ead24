"""The table of `python -m export all --check`."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table

from export.matrix import Case, Outcome, examine
from export.parity import RULE
from export.weights import Stored


def check_all(console: Console, cases: Iterable[Case], *, stored: Stored) -> bool:
    """Check models one by one, tell each as it is done, and print the table.

    Returns:
        Whether all passed.
    """
    outcomes = []
    for case in cases:
        with console.status(f"{case.name} ..."):
            outcomes.append(examine(case, stored=stored))
    console.print(_table(outcomes))
    console.print(
        f"Parity: {RULE} at batch 1, 3, 8, at fill weights stored as {stored}; noise: the torch module in float32 "
        "against itself in float64; mutation: the smallest error over bound when one steering tensor is zeroed.",
        style="dim",
        highlight=False,
    )
    failed = [outcome for outcome in outcomes if outcome.problem]
    for outcome in failed:
        console.print(f"{outcome.case.name}: {outcome.problem}", style="red", markup=False, highlight=False)
    console.print(f"{len(outcomes) - len(failed)} of {len(outcomes)} passed", highlight=False)
    return bool(outcomes) and not failed


def _table(outcomes: Iterable[Outcome]) -> Table:
    table = Table(title="export, all models", title_justify="left", title_style="bold")
    table.add_column("model", overflow="fold")
    for heading in ("parameters", "worst error", "of bound", "noise logits", "features", "maps", "mutation", "MB", "s"):
        table.add_column(heading, justify="right")
    for outcome in outcomes:
        worst = outcome.worst
        if worst is None:
            table.add_row(outcome.case.name, "", "[red]FAILED[/red]", *[""] * 6, f"{outcome.seconds:.0f}")
            continue
        noise = [outcome.noise.get(f"noise.{group}") for group in ("logits", "features", "attention")]
        table.add_row(
            outcome.case.name,
            f"{outcome.parameters:,}",
            f"{worst.error:.1e} {worst.output}",
            f"{100 * worst.ratio:.1f} %",
            *("-" if value is None else f"{value:.1e}" for value in noise),
            f"{outcome.weakest:.3g} x ({outcome.probes})" if outcome.probes else "-",
            f"{outcome.size / 1e6:.1f}",
            f"{outcome.seconds:.0f}",
        )
    return table
