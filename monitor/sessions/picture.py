"""One picture of a session: every signal, the index with its limits, what was absent, alarms and markers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

import numpy as np

from monitor.errors import SessionError
from monitor.modality import MODALITY_UNITS
from monitor.sessions.reader import SessionReader
from monitor.sessions.report import bundles_in_words, contiguous_limit_s, duration, provenance, signals_in_words
from monitor.types import AlarmEvent, AlarmKind, FloatArray, Marker, PainIndex, Presence, StreamInfo

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMNS: Final = 1800
"""Columns of the picture that signals are reduced to: lowest and highest value in each, so that no spike is lost."""

_SIGNAL, _FAST, _SLOW = "#1f4e79", "#b03a2e", "#5b2c6f"
_LOW, _MEDIUM, _TECHNICAL, _MARKER = "#00838f", "#ef8f00", "#616161", "#2e7d32"

_SOFTWARE: Final = "pain-monitor session picture"

_NAME_ROWS: Final = 4

_Moment: TypeAlias = tuple[float, str, str]
"""Seconds from the origin, name, colour."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Envelope:
    """A signal reduced to columns of equal length in time."""

    edges: FloatArray
    """(columns + 1,) seconds from the origin."""
    low: FloatArray
    """(columns,) lowest value, NaN where there is no sample."""
    high: FloatArray
    gaps: tuple[tuple[float, float], ...]
    """(start, end) in seconds from the origin, wherever two samples lie further apart than a gap's length."""


def envelope(reader: SessionReader, info: StreamInfo, *, origin: float, start: float, end: float) -> Envelope:
    """Reduce one stream to its lowest and highest value per column, chunk by chunk.

    Args:
        reader: The session.
        info: The stream.
        origin: Stream clock of `t_rel` = 0.
        start: First moment of the picture, seconds from the origin.
        end: Last moment.

    Returns:
        In the modality's unit. A stream of several channels is drawn by their mean.
    """
    edges = np.linspace(start, end, COLUMNS + 1)
    low, high = np.full(COLUMNS, np.inf), np.full(COLUMNS, -np.inf)
    limit, last = contiguous_limit_s(info), start + origin
    gaps: list[tuple[float, float]] = []
    for chunk in reader.chunks(info.key):
        if not len(chunk):
            continue
        stamps = np.concatenate([[last], chunk.stamps])
        gaps.extend((stamps[i] - origin, stamps[i + 1] - origin) for i in np.flatnonzero(np.diff(stamps) > limit))
        last = max(last, float(chunk.stamps[-1]))
        values = info.gain * chunk.samples.astype(np.float64) + info.offset
        if values.ndim == 2:
            values = values.mean(axis=1)
        column = np.floor((chunk.stamps - origin - start) / (end - start) * COLUMNS)
        shown = (column >= 0) & (column <= COLUMNS) & np.isfinite(values)
        where = np.minimum(column[shown].astype(np.intp), COLUMNS - 1)
        np.minimum.at(low, where, values[shown])
        np.maximum.at(high, where, values[shown])
    if end + origin - last > limit:
        gaps.append((last - origin, end))
    empty = low > high
    low[empty] = high[empty] = np.nan
    inside = [(max(a, start), min(b, end)) for a, b in gaps if b > start and a < end]
    return Envelope(edges=edges, low=low, high=high, gaps=tuple(inside))


def picture(reader: SessionReader, out: Path, *, progress: Callable[[float], None] | None = None) -> Path:
    """Draw a session into a PNG file.

    Args:
        reader: The session.
        out: The file. A picture that this function drew before is replaced, any other file is not.
        progress: Told the share that is done, 0 to 1.

    Returns:
        `out`.

    Raises:
        SessionError: If another file is there or it cannot be written, or the session has nothing to draw.
    """
    # Takes a second to load, which nobody else should wait for.
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    if out.exists() and not _is_ours(out):
        raise SessionError("there is another file of this name", where=str(out), todo="Name another one, or remove it")
    span = reader.span()
    if span is None or span[1] <= span[0]:
        raise SessionError("there is nothing to draw: the session has no signal yet", where=str(reader.path))
    found = reader.origin()
    origin = span[0] if found is None else found
    start, end = span[0] - origin, span[1] - origin
    infos = [stream.info for stream in reader.streams() if stream.samples and not stream.info.unused]
    infos = [info for info in infos if info.modality is not None]
    rows = len(infos) + 1
    figure = Figure(figsize=(15, 2.1 + 1.45 * len(infos) + 3.0), dpi=110)
    FigureCanvasAgg(figure)
    top = 1 - 1.25 / figure.get_figheight()
    bottom = 1.05 / figure.get_figheight()
    panels = figure.subplots(
        rows,
        1,
        sharex=True,
        squeeze=False,
        gridspec_kw={
            "height_ratios": [1.0] * len(infos) + [2.0],
            "hspace": 0.14,
            "left": 0.075,
            "right": 0.985,
            "top": top,
            "bottom": bottom,
        },
    )
    axes: list[Axes] = list(panels[:, 0])
    for number, (axis, info) in enumerate(zip(axes, infos, strict=False)):
        _draw_signal(axis, info, envelope(reader, info, origin=origin, start=start, end=end))
        if progress is not None:
            progress((number + 1) / rows)
    _draw_index(axes[-1], reader, origin)
    for axis in axes:
        moments = _draw_moments(axis, reader, origin, end=end)
        for gap in reader.recording_gaps():
            axis.axvspan(gap.start - origin, gap.end - origin, facecolor="none", edgecolor="#b03a2e", hatch="xx", lw=0)
        axis.set_xlim(start, end)
    _name_moments(axes[0], moments, end - start)
    _label_time(axes[-1], end - start)
    _title(figure, reader, end - start)
    try:
        figure.savefig(out, format="png", metadata={"Software": _SOFTWARE, "Description": reader.meta.notice})
    except OSError as error:
        raise SessionError(f"the picture cannot be written: {error.strerror}", where=str(out)) from error
    if progress is not None:
        progress(1.0)
    return out


def _is_ours(path: Path) -> bool:
    with path.open("rb") as file:
        return _SOFTWARE.encode() in file.read(1024)


def _draw_signal(axis: Axes, info: StreamInfo, drawn: Envelope) -> None:
    middle = (drawn.edges[:-1] + drawn.edges[1:]) / 2
    seen = np.isfinite(drawn.low)
    sparse = info.rate_hz > 0 and (drawn.edges[1] - drawn.edges[0]) * info.rate_hz < 2
    if sparse:  # less than two samples a column: a line through them, broken where a gap is
        cut = np.zeros(len(middle), dtype=bool)
        for a, b in drawn.gaps:
            cut |= (middle > a) & (middle < b)
        keep = seen | cut
        value = np.where(seen, (drawn.low + drawn.high) / 2, np.nan)
        axis.plot(middle[keep], value[keep], color=_SIGNAL, lw=0.8)
    else:
        axis.fill_between(middle, drawn.low, drawn.high, color=_SIGNAL, lw=0.6)
    if seen.any():
        # Drawn to the bulk of the signal: one artefact must not flatten the rest of the night.
        low, high = np.quantile(drawn.low[seen], 0.005), np.quantile(drawn.high[seen], 0.995)
        margin = 0.08 * (high - low) or 1.0
        axis.set_ylim(low - margin, high + margin)
    for a, b in drawn.gaps:
        axis.axvspan(a, b, facecolor="#f4f4f4", edgecolor="#9e9e9e", hatch="///", lw=0)
    unit = MODALITY_UNITS.get(info.modality or "", info.unit or "")
    mean = f"\nmean of {info.channels}" if info.channels > 1 else ""
    axis.set_ylabel(f"{info.modality}\n{unit}{mean}", rotation=0, ha="right", va="center", fontsize=10)
    axis.tick_params(labelsize=8)
    axis.grid(axis="x", lw=0.3, color="#dddddd")


def _draw_index(axis: Axes, reader: SessionReader, origin: float) -> None:
    indices = list(reader.indices())
    limits = reader.meta.settings.alarm
    hop = reader.meta.settings.hop_s
    if indices:
        t = np.array([index.t_end - origin for index in indices])
        jumps = np.flatnonzero(np.diff(t) > 2.5 * max(hop, float(np.median(np.diff(t))) if len(t) > 1 else hop)) + 1
        hollow = np.array([index.hollow for index in indices])
        for name, colour, width in (("slow", _SLOW, 2.0), ("fast", _FAST, 1.1)):
            value = np.array([getattr(index, name) for index in indices], dtype=np.float64)
            for shown, style, label in ((~hollow, "-", name), (hollow, ":", f"{name}, not calibrated to this subject")):
                if (shown & np.isfinite(value)).any():
                    line = np.insert(np.where(shown, value, np.nan), jumps, np.nan)  # not through what is missing
                    axis.plot(np.insert(t, jumps, t[jumps]), line, color=colour, lw=width, ls=style, label=label)
        label = "no fast index"
        for a, b in _withheld(indices, hop, origin):
            axis.axvspan(a, b, facecolor="#e6e6e6", edgecolor="#b0b0b0", hatch="\\\\", lw=0, label=label)
            label = "_"  # one entry in the legend is enough
    for limit, colour, word in ((limits.moderate_on, _LOW, "moderate"), (limits.severe_on, _MEDIUM, "severe")):
        axis.axhline(limit, color=colour, lw=1.2, ls="--", label=f"limit {word} ({limit:g})")
    axis.set_ylim(0, 100)
    axis.set_ylabel("index\n0-100", rotation=0, ha="right", va="center", fontsize=10)
    axis.tick_params(labelsize=9)
    axis.grid(lw=0.3, color="#dddddd")
    axis.legend(loc="upper left", bbox_to_anchor=(-0.005, -0.17), fontsize=8, ncols=7, frameon=False, borderaxespad=0)


def _withheld(indices: Sequence[PainIndex], hop: float, origin: float) -> list[tuple[float, float]]:
    """Spans without a fast index, in seconds from the origin."""
    spans: list[tuple[float, float]] = []
    before: PainIndex | None = None
    for index in indices:
        if index.fast is None:
            end = index.t_end - origin
            if before is not None and before.fast is None:
                spans[-1] = spans[-1][0], end
            else:
                spans.append((end - hop, end))
        before = index
    return spans


def _draw_moments(axis: Axes, reader: SessionReader, origin: float, *, end: float) -> list[_Moment]:
    """Alarms as bars from their beginning to their end, markers as lines; returns what they are called."""
    begun: dict[str, AlarmEvent] = {}
    moments: list[_Moment] = []

    def bar(alarm: AlarmEvent, until: float) -> None:
        colour = _TECHNICAL if alarm.kind is AlarmKind.TECHNICAL else {"low": _LOW}.get(alarm.priority, _MEDIUM)
        axis.axvspan(alarm.t - origin, until, color=colour, alpha=0.16, lw=0)
        axis.axvline(alarm.t - origin, color=colour, lw=1.2)
        moments.append((alarm.t - origin, alarm.condition, colour))

    for alarm in reader.events(AlarmEvent):
        if alarm.presence is Presence.ON:
            begun.setdefault(alarm.condition, alarm)
        elif alarm.presence is Presence.OFF and alarm.condition in begun:
            bar(begun.pop(alarm.condition), alarm.t - origin)
    for alarm in begun.values():
        bar(alarm, end)
    for marker in reader.events(Marker):
        axis.axvline(marker.t - origin, color=_MARKER, lw=0.9, ls="-.")
        text = f"{marker.kind} {marker.value:g}" if marker.value is not None else marker.text or marker.kind
        moments.append((marker.t - origin, text, _MARKER))
    return moments


def _name_moments(axis: Axes, moments: Sequence[_Moment], seconds: float) -> None:
    """Write what alarms and markers are called above a panel, in a few rows; what finds no room there is left out."""
    taken = [-np.inf] * _NAME_ROWS
    for t, text, colour in sorted(moments):
        short = text if len(text) <= 24 else text[:23] + "…"
        row = next((number for number, until in enumerate(taken) if until <= t), None)
        if row is None:
            continue
        taken[row] = t + seconds * (0.0046 * len(short) + 0.004)
        axis.annotate(
            short,
            (t, 1.0),
            xycoords=("data", "axes fraction"),
            xytext=(0, 3 + 10 * row),
            textcoords="offset points",
            fontsize=7.5,
            color=colour,
            ha="left",
            va="bottom",
        )


def _label_time(axis: Axes, seconds: float) -> None:
    from matplotlib.ticker import FuncFormatter, MaxNLocator

    factor, unit = (1.0, "s") if seconds < 300 else (60.0, "min") if seconds < 4 * 3600 else (3600.0, "h")
    steps = np.array([1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600])
    step = next((int(s) for s in steps if seconds / s <= 14), int(steps[-1]))
    if factor == 1.0:
        axis.xaxis.set_major_locator(MaxNLocator(14))
    else:
        first, last = axis.get_xlim()
        axis.set_xticks(np.arange(np.ceil(first / step) * step, last, step))
    axis.xaxis.set_major_formatter(FuncFormatter(lambda t, _: f"{t / factor:g}"))
    axis.set_xlabel(f"{unit} from the origin of the windows", fontsize=9)


def _title(figure: Figure, reader: SessionReader, seconds: float) -> None:
    height = figure.get_figheight()
    meta = reader.meta
    begun = datetime.fromtimestamp(meta.created_utc, UTC)
    words = (
        f"bed {meta.bed}   subject {meta.subject}   begun {begun:%Y-%m-%d %H:%M} UTC   {duration(seconds)}",
        f"session {meta.session}   bundle {'; '.join(bundles_in_words(reader))}",
    )
    figure.text(0.075, 1 - 0.24 / height, words[0], fontsize=12, weight="bold", va="center")
    figure.text(0.075, 1 - 0.48 / height, words[1], fontsize=9, va="center")
    banner = "RESEARCH USE ONLY"
    if signals := signals_in_words(provenance(reader)):
        banner += "  ·  " + signals
    box = {"facecolor": "#fff3cd", "edgecolor": "#8a6d00", "boxstyle": "square,pad=0.3"}
    figure.text(0.985, 1 - 0.26 / height, banner, fontsize=11, weight="bold", ha="right", va="center", bbox=box)
    note = meta.notice + "  Hatched: no samples, or no index. Red crosses: not recorded."
    figure.text(0.075, 0.2 / height, note, fontsize=8, color="#444444", va="center")
    unused = [stream.info for stream in reader.streams() if stream.info.unused or stream.info.modality is None]
    if unused:
        said = "; ".join(f"{info.name} ({info.unused or 'serves no model'})" for info in unused)
        figure.text(0.985, 0.2 / height, f"Not drawn: {said}", fontsize=8, color="#444444", ha="right", va="center")
