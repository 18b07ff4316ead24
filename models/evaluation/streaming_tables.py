"""A streaming evaluation as tables for a person."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table

from models.evaluation.alarm_path import AlarmPoint
from models.evaluation.streaming import StreamingResult
from models.evaluation.streaming_losses import GOAL, PUBLISHED_LOSS, STEPS, Losses
from models.evaluation.summary import Figure

_NAMES = {
    "paper": "events, scaling of the articles",
    "live_events": "same events, live scaling",
    "free_running": "every hop, free-running",
}


def show_streaming(result: StreamingResult, console: Console) -> None:
    """Print what `models.evaluation.streaming.stream_evaluation` found."""
    equality = result.equality
    console.print(f"[bold]{result.model}[/bold], trained on {result.trained} windows")
    console.print(
        f"{len(result.subjects)} subjects, {result.sittings} sittings, {result.hours:.2f} h after calibration, "
        f"{100 * result.prevalence:.0f} % of it in pain; {100 * result.coverage:.0f} % scored",
        highlight=False,
        soft_wrap=True,
    )
    console.print(
        f"Live scores are those of the arrays: {equality.windows} windows, {equality.bit_equal} of them with inputs "
        f"equal in every bit, {equality.compared} scored twice, largest difference {equality.largest_difference:.2g}",
        highlight=False,
        soft_wrap=True,
    )
    if result.losses is not None:
        console.print(_steps(result.losses))
    for name, curve in result.alarms.items():
        table = Table(title=f"Alarms by {name}: the best point at each rate of false alarms")
        for column in ("false alarms an hour", "limit", "delay", "found", "false an hour", "in alarm at rest", "onset"):
            table.add_column(column, justify="right")
        for rate, point in curve.at_rates.items():
            table.add_row(f"at most {rate}", *_cells(point))
        console.print(table)
    for line in (*result.left_out, *result.notes):
        console.print(line, style="dim", highlight=False, markup=False, soft_wrap=True)


def _steps(losses: Losses) -> Table:
    table = Table(title="Balanced accuracy, mean over subjects")
    table.add_column("step")
    table.add_column("accuracy (95 %)", justify="right")
    table.add_column("lost, points (95 %)", justify="right")
    lost = {
        "paper": "",
        "live_events": f"{_points(losses.scaling)}; goal {100 * GOAL:g}, published {100 * PUBLISHED_LOSS:.1f}",
        "free_running": _points(losses.free_running),
    }
    for step in STEPS:
        table.add_row(_NAMES[step], _percent(losses.accuracy[step]), lost[step])
    return table


def _cells(point: AlarmPoint | None) -> tuple[str, ...]:
    if point is None:
        return ("none",) + ("-",) * 5
    onset = (
        "-" if point.delay_median_s is None else f"{point.delay_median_s:.0f} s, 9 of 10 in {point.delay_p90_s:.0f} s"
    )
    return (
        f"{point.limit:g}",
        f"{point.delay_s:g} s",
        f"{point.detected} of {point.bouts}, {_percent(point.sensitivity)}",
        f"{point.false_per_hour.value:.2g}",
        f"{100 * point.in_alarm_without_pain:.0f} %",
        onset,
    )


def _percent(figure: Figure) -> str:
    interval = (
        "" if figure.low is None or figure.high is None else f" ({100 * figure.low:.0f} to {100 * figure.high:.0f})"
    )
    return f"{100 * figure.value:.1f} %{interval}"


def _points(figure: Figure) -> str:
    interval = (
        "" if figure.low is None or figure.high is None else f" ({100 * figure.low:+.1f} to {100 * figure.high:+.1f})"
    )
    return f"{100 * figure.value:+.1f}{interval}"
