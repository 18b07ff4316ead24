"""Figures of methods: what was told of what, spread over people, whether probabilities hold, how training went."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from models.evaluation.figures import ECE_BINS
from models.evaluation.report.drawing import (
    BLUE,
    FAINT,
    GREEN,
    INK,
    ORANGE,
    VERMILION,
    WIDTH,
    grid,
    new_figure,
    on_colour,
    panels,
    styled,
)
from models.evaluation.report.findings import is_baseline
from models.evaluation.summary import Row

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_FEWEST_FOR_VIOLIN: Final = 5
_ACROSS: Final = 4


def confusion_figure(rows: Sequence[Row]) -> Figure:
    """One matrix a method, each row shared out to 100 %, with the counts of windows."""
    with styled():
        classes = len(rows[0].classes)
        figure, axes = panels(len(rows), _ACROSS, height=2.5 if classes <= 3 else 3.0)
        for ax, row in zip(axes, rows, strict=True):
            _matrix(ax, row)
        return figure


def _matrix(ax: Axes, row: Row) -> None:
    counts = np.array(row.confusion, dtype=np.float64)
    total = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, total, out=np.zeros_like(counts), where=total > 0)
    ax.pcolormesh(shares, vmin=0.0, vmax=1.0, cmap="cividis", edgecolors="none")
    size = 9.0 if len(counts) <= 3 else 7.0
    for (i, j), share in np.ndenumerate(shares):
        said = f"{100 * share:.0f} %\n{counts[i, j]:.0f}" if total[i, 0] else "-"
        ax.text(j + 0.5, i + 0.5, said, ha="center", va="center", color=on_colour(share), fontsize=size)
    ticks = np.arange(len(row.classes)) + 0.5
    ax.set_xticks(ticks, row.classes, fontsize=8)
    ax.set_yticks(ticks, row.classes, fontsize=8, rotation=90, va="center")
    ax.tick_params(length=0)
    ax.set_xlabel("told", fontsize=8)
    ax.set_ylabel("true", fontsize=8)
    ax.invert_yaxis()
    ax.set_aspect("equal")
    for side in ax.spines.values():
        side.set_visible(False)
    ax.set_title(row.method)


def violin_figure(rows: Sequence[Row]) -> Figure:
    """Macro F1 of each subject by method (Fig. 4 of the CrossMod paper)."""
    with styled():
        figure = new_figure(min(WIDTH, max(5.0, 1.1 + 0.85 * len(rows))), 4.0)
        ax = figure.subplots()
        rng = np.random.Generator(np.random.PCG64(4))
        for place, row in enumerate(rows):
            values = np.array([value for value in row.subject_f1.values() if np.isfinite(value)])
            colour = GREEN if is_baseline(row.method) else BLUE
            if len(values) >= _FEWEST_FOR_VIOLIN and np.ptp(values) > 0:
                drawn = ax.violinplot(values, [place], widths=0.8, showextrema=False, points=80)
                bodies: Any = drawn["bodies"]
                for body in bodies:
                    body.set(facecolor=colour, edgecolor=colour, alpha=0.3)
            beside = place + rng.uniform(-0.1, 0.1, len(values))
            ax.plot(beside, values, "o", color=colour, markersize=3.2, alpha=0.8, markeredgewidth=0)
            if len(values):
                ax.hlines(np.median(values), place - 0.3, place + 0.3, color=INK, linewidth=1.6)
        slanted: dict[str, Any] = {"rotation": 30, "ha": "right", "rotation_mode": "anchor"} if len(rows) > 5 else {}
        ax.set_xticks(range(len(rows)), [row.method for row in rows], **slanted)
        ax.set_xlim(-0.6, len(rows) - 0.4)
        ax.set_ylim(0.0, 1.02)
        ax.set_ylabel("macro F1 of a subject")
        grid(ax, "y")
        return figure


def reliability_figure(rows: Sequence[Row]) -> Figure:
    """Told probability of pain against what was true, in bins of equal mass."""
    with styled():
        figure, axes = panels(len(rows), _ACROSS, height=2.75)
        for ax, row in zip(axes, rows, strict=True):
            ax.plot([0, 1], [0, 1], color=INK, linewidth=0.8, linestyle=(0, (4, 3)))
            told = [one.told for one in row.reliability]
            true = [one.true for one in row.reliability]
            colour = GREEN if is_baseline(row.method) else BLUE
            ax.plot(told, true, "o-", color=colour, markersize=4, linewidth=1.2)
            ece = row.figures.get("ece")
            ax.set_title(row.method if ece is None else f"{row.method}\nECE {ece.value:.3f}")
            ax.set_xlim(-0.02, 1.02)
            ax.set_ylim(-0.02, 1.02)
            ax.set_aspect("equal")
            ax.set_xticks([0, 0.5, 1])
            ax.set_yticks([0, 0.5, 1])
            ax.set_xlabel("probability of pain that was told", fontsize=8)
            ax.set_ylabel("share that was pain", fontsize=8)
            grid(ax)
        return figure


RELIABILITY_BINS: Final = ECE_BINS


# -- learning curves ---------------------------------------------------------------------------------------------------


def histories(folds: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[str, Mapping[str, Any]]]]:
    """(job, losses) by `recipe: stage`; a stage that several methods of a job share is listed once."""
    found: dict[str, list[tuple[str, Mapping[str, Any]]]] = {}
    for fold in folds:
        seen: set[tuple[float, ...]] = set()
        job = str(fold.get("job", "?"))
        recipe = job.split(".")[-2] if job.count(".") >= 2 else job
        methods = sorted((fold.get("methods") or {}).items(), key=lambda pair: -len(pair[1].get("history") or {}))
        for name, method in methods:
            for stage, item in (method.get("history") or {}).items():
                losses = tuple(item.get("train_loss") or ())
                if losses and losses not in seen:
                    seen.add(losses)
                    own = stage if name == recipe else f"{name}, {stage}"
                    found.setdefault(f"{recipe}: {own}", []).append((job, item))
    return found


def learning_figure(stages: Mapping[str, Sequence[tuple[str, Mapping[str, Any]]]]) -> Figure:
    """Loss by epoch, a line a fold and seed, training and validation; a dot where the weights were kept."""
    from matplotlib.ticker import MaxNLocator

    with styled():
        figure, axes = panels(len(stages), _ACROSS, height=2.3)
        for place, (ax, (stage, runs)) in enumerate(zip(axes, stages.items(), strict=True)):
            for _, item in runs:
                for key, colour in (("train_loss", BLUE), ("validation_loss", ORANGE)):
                    values = np.array([np.nan if v is None else v for v in item.get(key) or ()], dtype=np.float64)
                    epochs = np.arange(1, len(values) + 1)
                    dots = "." if len(values) < 3 else ""
                    ax.plot(epochs, values, color=colour, linewidth=0.9, alpha=0.75, marker=dots, markersize=3)
                best = item.get("best_epoch")
                if best is not None and 0 <= best < len(values) and np.isfinite(values[best]):
                    ax.plot(best + 1, values[best], "o", color=VERMILION, markersize=3.5)
            ax.set_title(stage)
            ax.set_xlabel("epoch", fontsize=8)
            if place % _ACROSS == 0:
                ax.set_ylabel("loss", fontsize=8)
            longest = max((len(item.get("train_loss") or ()) for _, item in runs), default=0)
            if longest > 1:
                ax.xaxis.set_major_locator(MaxNLocator(nbins=6, integer=True))
            else:
                ax.set_xticks([1])
            grid(ax)
        lines = [
            axes[0].plot([], [], color=BLUE, label="training subjects")[0],
            axes[0].plot([], [], color=ORANGE, label="validation subjects")[0],
            axes[0].plot([], [], "o", color=VERMILION, markersize=3.5, label="weights that were kept")[0],
        ]
        figure.legend(handles=lines, loc="outside upper left", ncols=3 if len(stages) > 1 else 1, fontsize=8.5)
        return figure


# -- intervals and grids -----------------------------------------------------------------------------------------------


def chance_figure(rows: Sequence[tuple[str, float, float, float]]) -> Figure:
    """(name, value, low, high) of each control: the chance interval as a bar, what was found as a dot."""
    with styled():
        figure = new_figure(8.5, 0.8 + 0.34 * len(rows))
        ax = figure.subplots()
        for place, (_, value, low, high) in enumerate(rows):
            ax.hlines(place, low, high, color=FAINT, linewidth=8)
            inside = low <= value <= high
            ax.plot(value, place, "o" if inside else "D", color=BLUE if inside else VERMILION, markersize=6)
        ax.set_yticks(range(len(rows)), [name for name, *_ in rows])
        ax.set_ylim(len(rows) - 0.4, -0.6)
        ax.set_xlim(0.0, 1.0)
        ax.set_xlabel("balanced accuracy (circle: within chance, diamond: outside)")
        grid(ax, "x")
        return figure


def alarm_figure(curves: Mapping[str, Sequence[Mapping[str, Any]]]) -> Figure:
    """Bouts found (above) and false alarms an hour (below) by limit and delay, a column for each score."""
    with styled():
        names = list(curves)
        width = min(WIDTH, 1.0 + 2.7 * len(names))
        figure = new_figure(width, 5.6)
        axes = figure.subplots(2, len(names), squeeze=False)
        most = max((_value(p["false_per_hour"]) or 0.0 for points in curves.values() for p in points), default=1.0)
        for column, name in enumerate(names):
            _limits_and_delays(axes[0, column], curves[name], "sensitivity", 100.0, 100.0, "{:.0f}")
            _limits_and_delays(axes[1, column], curves[name], "false_per_hour", 1.0, max(most, 1.0), "{:.2g}")
            axes[0, column].set_title(f"{name}\nbouts found, %")
            axes[1, column].set_title("false alarms an hour without pain")
            axes[1, column].set_xlabel("limit of the index")
        for row in (0, 1):
            axes[row, 0].set_ylabel("delay, s")
        return figure


def _value(item: Mapping[str, Any] | None) -> float | None:
    return None if item is None or item.get("value") is None else float(item["value"])


def _limits_and_delays(
    ax: Axes, points: Sequence[Mapping[str, Any]], key: str, factor: float, most: float, form: str
) -> None:
    limits = sorted({float(p["limit"]) for p in points})
    delays = sorted({float(p["delay_s"]) for p in points})
    values = np.full((len(delays), len(limits)), np.nan)
    for point in points:
        value = _value(point[key])
        if value is not None:
            values[delays.index(float(point["delay_s"])), limits.index(float(point["limit"]))] = factor * value
    ax.pcolormesh(np.ma.masked_invalid(values), vmin=0.0, vmax=most, cmap="cividis", edgecolors="none")
    for (i, j), value in np.ndenumerate(values):
        said = form.format(value) if np.isfinite(value) else "-"
        colour = on_colour(value / most) if np.isfinite(value) else INK
        ax.text(j + 0.5, i + 0.5, said, ha="center", va="center", color=colour, fontsize=7.5)
    ax.set_xticks(np.arange(len(limits)) + 0.5, [f"{limit:g}" for limit in limits])
    ax.set_yticks(np.arange(len(delays)) + 0.5, [f"{delay:g}" for delay in delays])
    ax.tick_params(length=0)
    for side in ax.spines.values():
        side.set_visible(False)
