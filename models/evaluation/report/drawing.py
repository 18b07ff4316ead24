"""Figures as SVG inside the page: they take the page's ink, so that they can be read on light and on dark."""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final, Literal

from models.evaluation.report.elements import Html

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

INK: Final = "#010203"
FAINT: Final = "#040506"
"""Stand for the page's ink and lines; replaced in the SVG by what follows the page."""

BLUE: Final = "#0072b2"
ORANGE: Final = "#e69f00"
GREEN: Final = "#009e73"
VERMILION: Final = "#d55e00"
PURPLE: Final = "#cc79a7"
SKY: Final = "#56b4e9"
"""Of Okabe and Ito (2008): told apart by nearly everybody, and seen on white and on black."""

WIDTH: Final = 11.4
"""Inches; at 100 points an inch the text of a figure has the size of that of the page."""

_STYLE: Final[dict[Any, Any]] = {
    "svg.fonttype": "none",
    "svg.hashsalt": "pain-monitor",
    "font.family": "DejaVu Sans",
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.titlesize": 9.5,
    "axes.titlecolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.7,
    "axes.grid": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "xtick.color": INK,
    "ytick.color": INK,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "image.cmap": "cividis",
}


@contextmanager
def styled() -> Iterator[None]:
    """The look of all figures."""
    from matplotlib import rc_context

    with rc_context(_STYLE):
        yield


def new_figure(width: float, height: float) -> Figure:
    """A figure that no window knows, in inches; laid out so that nothing is cut off."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def panels(count: int, across: int, *, height: float, width: float = WIDTH) -> tuple[Figure, list[Axes]]:
    """Panels in rows, as many as are needed.

    Args:
        count: Of panels.
        across: In a row at most.
        height: Of a row, in inches.
        width: Of a full row, in inches.
    """
    columns = min(across, count)
    rows = -(-count // columns)
    figure = new_figure(width * columns / across, height * rows)
    axes = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for unused in axes[count:]:
        unused.set_axis_off()
    return figure, axes[:count]


def grid(axes: Axes, axis: Literal["both", "x", "y"] = "both") -> None:
    """Faint lines behind what is drawn."""
    axes.grid(visible=True, axis=axis)
    axes.set_axisbelow(True)


def on_colour(share: float) -> str:
    """Ink that is read on the colour map at a share of its range."""
    return "#ffffff" if share < 0.55 else "#000000"


def inline(figure: Figure, name: str, alternative: str) -> Html:
    """The figure as an element of the page.

    Args:
        figure: Drawn within `styled`.
        name: Of this figure alone: its parts are called by it.
        alternative: What it shows, for who does not see it.
    """
    written = io.StringIO()
    with styled():
        # No date and no program inside: the same figures are the same page.
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    svg = written.getvalue()
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    # In a page of HTML there are no name spaces, and no address that anything could be taken for.
    svg = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", svg).replace("xlink:href", "href")
    svg = re.sub(r'\bid="', f'id="{name}-', svg)
    svg = svg.replace("url(#", f"url(#{name}-").replace('href="#', f'href="#{name}-')
    svg = svg.replace(INK, "currentColor").replace(FAINT, "var(--line)")
    svg = re.sub(r'\b(d|points)="[^"]*"', lambda found: re.sub(r"(\.\d\d)\d+", r"\1", found[0]), svg)
    label = alternative.replace("&", "&amp;").replace("<", "&lt;").replace('"', "&quot;")
    return Html(svg.replace("<svg ", f'<svg role="img" aria-label="{label}" ', 1))
