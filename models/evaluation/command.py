"""`python -m models evaluate CONFIG`: figures, report and further looks at what `train` left behind."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from models.evaluation.predictions import Predictions
    from models.evaluation.summary import Row, Summary
    from models.training.run import Plan


def evaluate(
    config: Annotated[Path, typer.Argument(help="The configuration that was trained, see docs/training.md.")],
    *,
    despite_oddities: Annotated[bool, typer.Option("--despite-oddities", help="As for `train`.")] = False,
) -> None:
    """Compute the figures of a run anew from its predictions, write table, report, and what `evaluate` in it asks for.

    Folds that are not trained are named and left out. Exit codes as of `train`.
    """
    from rich.console import Console

    from models.training.progress import Board
    from models.training.run import prepare
    from models.training.settings import load_run_settings
    from models.training.workers import Workers
    from monitor.errors import MonitorError

    log, out = Console(stderr=True, soft_wrap=True), Console(width=None if sys.stdout.isatty() else 120)
    try:
        settings = load_run_settings(config)
        with Board(log) as board, Workers(settings.train.workers, board.news) as workers:
            plan = prepare(settings, config, workers, despite_oddities=despite_oddities, watcher=board)
        evaluate_run(plan, out, log)
        run_steps(plan, out, log)
    except MonitorError as error:
        log.print(str(error), markup=False, highlight=False)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        raise typer.Exit(130) from None


def evaluate_run(plan: Plan, out: Console, log: Console) -> Summary:
    """Write summary.json and table.md, and print the table.

    Args:
        plan: Of a run whose jobs, or some of them, are done.
        out: For the table.
        log: For what went otherwise than asked.

    Raises:
        SourceError: If no job is done, or one was done with other settings.
    """
    from models.evaluation.metrics import summarise
    from models.evaluation.miscalibration import reasons
    from models.training.folds import placed, write_json

    told, folds, missing = results_of_run(plan)
    settings = plan.settings
    summary = summarise(told, data=plan.name, seed=settings.evaluate.seed)
    content = asdict(summary)
    if missing:
        note = f"{len(missing)} of {len(plan.jobs)} jobs are not trained: {', '.join(missing[:6])}"
        content["notes"] = [*content["notes"], note]
        log.print(f"Figures of a part only: {note}", markup=False, highlight=False)
    write_json(settings.folder / "summary.json", content)
    why = reasons(summary.rows, folds)
    text = markdown(summary, content["notes"], why)
    placed(settings.folder / "table.md", lambda path: path.write_text(text, encoding="utf-8"))
    out.print(_table(summary))
    for note in content["notes"]:
        out.print(note, style="dim", markup=False, highlight=False)
    return summary


def run_steps(plan: Plan, out: Console, log: Console) -> None:
    """Run the steps that [evaluate] asks for; one that cannot be taken says why, and the others are.

    Args:
        plan: Of a run whose figures are written; some steps ask its bundle.
        out: For what was written.
        log: For what went otherwise than asked.
    """
    from models.evaluation.steps import steps_of
    from monitor.errors import MonitorError

    for name, step in steps_of(plan.settings):
        if isinstance(step, str):
            log.print(f"{name}: {step}", markup=False, highlight=False)
            continue
        try:
            out.print(f"{name}: {step(plan.settings.folder, plan)}", markup=False, highlight=False)
        except MonitorError as error:
            log.print(f"{name}: not done. {error}", markup=False, highlight=False)


def results_of_run(plan: Plan) -> tuple[tuple[Predictions, ...], list[dict[str, Any]], list[str]]:
    """Predictions by method and seed over all trained splits, what folds/*.json say, and the jobs that are not done.

    Raises:
        SourceError: If no job is done, or one was done with other settings.
    """
    from models.evaluation.predictions import pooled, read_predictions
    from models.training.folds import found
    from monitor.errors import SourceError

    by_method: dict[tuple[str, int], list[Predictions]] = {}
    folds, missing = [], []
    for job in plan.jobs:
        if (fold := found(job)) is None:
            missing.append(job.name)
            continue
        folds.append(fold)
        for item in read_predictions(job.predictions):
            by_method.setdefault((item.method, item.seed), []).append(item)
    if not by_method:
        raise SourceError(
            "nothing is trained yet", where=str(plan.settings.folder), todo=f"`python -m models train {plan.config}`"
        )
    return tuple(pooled(parts) for parts in by_method.values()), folds, missing


# -- tables ------------------------------------------------------------------------------------------------------------

_SHOWN = (
    ("balanced_accuracy", "balanced accuracy"),
    ("macro_f1", "macro F1"),
    ("mcc", "MCC"),
    ("auroc", "AUROC"),
    ("auprc", "AUPRC"),
    ("sensitivity_at_90", "sensitivity at 90 %"),
    ("mae", "MAE"),
    ("qwk", "QWK"),
    ("ece", "ECE"),
)

_PRINTED = ("balanced_accuracy", "macro_f1", "mcc", "auroc", "ece")
_WITH_INTERVAL = ("balanced_accuracy", "auroc")


def _columns(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return [(key, text) for key, text in _SHOWN if any(key in row.figures for row in rows)]


def _cell(row: Row, key: str, *, interval: bool = True) -> str:
    figure = row.figures.get(key)
    if figure is None:
        return ""
    if not interval or figure.low is None or figure.high is None:
        return f"{figure.value:.3f}"
    return f"{figure.value:.3f} ({figure.low:.3f}-{figure.high:.3f})"


def _heading(summary: Summary) -> str:
    simulated = " (not people)" if "simulated" in summary.data else ""
    return f"{summary.data}{simulated}, protocol {summary.protocol}, classes {', '.join(summary.classes)}"


def _table(summary: Summary) -> Any:
    """The main figures in 120 columns, a part for each subset; all of them are in table.md and the report."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    columns = [(k, t) for k, t in _columns(summary.rows) if k in _PRINTED]
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), title=_heading(summary), title_justify="left")
    table.add_column("Method", no_wrap=True)
    for text in ("Seeds", "Subjects", "Windows", *(text for _, text in columns)):
        table.add_column(text[0].upper() + text[1:], justify="right", no_wrap=True)
    for name in dict.fromkeys(row.subset for row in summary.rows):
        table.add_section()
        table.add_row(f"[bold]{name}[/bold]")
        for row in (row for row in summary.rows if row.subset == name):
            cells = (_cell(row, key, interval=key in _WITH_INTERVAL) for key, _ in columns)
            table.add_row(row.method, str(len(row.seeds)), str(row.subjects), str(row.windows), *cells)
    return table


def markdown(summary: Summary, notes: Sequence[str], why: Sequence[str] = ()) -> str:
    """All figures of a run as a table.

    Args:
        summary: Of the run.
        notes: Printed below it.
        why: Sentences on methods whose probabilities are off, of `models.evaluation.miscalibration.reasons`.
    """
    columns = _columns(summary.rows)
    head = ["Method", "Of", "Seeds", "Subjects", "Windows", *(text for _, text in columns)]
    lines = [
        f"# {_heading(summary)}",
        "",
        "Research use only. Means over seeds; in brackets 95 % intervals over subjects.",
        "",
        f"| {' | '.join(head)} |",
        f"|{'---|' * len(head)}",
    ]
    for row in summary.rows:
        cells = [row.method, row.subset, str(len(row.seeds)), str(row.subjects), str(row.windows)]
        lines.append(f"| {' | '.join([*cells, *(_cell(row, key) for key, _ in columns)])} |")
    if summary.comparisons:
        lines += ["", "| Method | Against | Of | Figure | Difference | p (Holm) |", "|---|---|---|---|---|---|"]
        for item in summary.comparisons:
            d = item.difference
            interval = "" if d.low is None or d.high is None else f" ({d.low:+.3f} to {d.high:+.3f})"
            lines.append(
                f"| {item.method} | {item.other} | {item.subset} | {item.figure} | {d.value:+.3f}{interval} | "
                f"{item.p_holm:.3g} |"
            )
    if why:
        lines += ["", "Where the expected calibration error is above its aim:", "", *(f"- {text}" for text in why)]
    lines += ["", *(f"- {note}" for note in notes)]
    return "\n".join(lines).rstrip() + "\n"


def read_summary(folder: Path) -> dict[str, Any]:
    """summary.json of a run, as plain values.

    Raises:
        SourceError: If it is not there or damaged.
    """
    from monitor.errors import SourceError

    try:
        content: dict[str, Any] = json.loads((folder / "summary.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SourceError(
            f"cannot be read: {error}", where=str(folder / "summary.json"), todo="Evaluate again"
        ) from None
    return content
