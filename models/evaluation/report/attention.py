"""Where a model's attention lay in single windows. It is a weight inside the model, and no cause of what was told.

One rightly told window of each class, picked by no eye: of those told right, the one whose probability is the middle
one. A map that is nearly uniform is called "no focus" and is never stretched to full colour, as on the screen.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.typing import NDArray

from models.evaluation.report.drawing import INK, ORANGE, WIDTH, new_figure, styled

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from models.base import AttentionMap, PainModel
    from models.data.base import WindowSet
    from models.training.folds import Job
    from models.training.run import Plan
    from monitor.bundle import InputSpec

FloatArray = NDArray[np.float64]

NO_FOCUS: Final = 0.98
"""A map whose normalised entropy is above this has no focus; the same on the screen."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Trace:
    """One signal of a window and the weight that each moment of it had."""

    modality: str
    seconds: FloatArray
    """(n,) from the end of the window, at most 0."""
    values: FloatArray
    """(n,) as the model was given them."""
    map: str
    """Name of the map; empty where the model has none over this signal's time."""
    weights: FloatArray
    """(n,) not negative; (0,) where there is no map."""

    @property
    def entropy(self) -> float:
        """Normalised, 0..1; 1 where there is no map."""
        return normalised_entropy(self.weights) if len(self.weights) else 1.0

    @property
    def focus(self) -> bool:
        """Whether the map lies on anything in particular."""
        return self.entropy <= NO_FOCUS


@dataclass(frozen=True, kw_only=True, eq=False)
class Window:
    """One rightly told window."""

    true: str
    """Its class."""
    probability: float
    """That was told of it."""
    traces: tuple[Trace, ...]


@dataclass(frozen=True, kw_only=True, eq=False)
class Example:
    """Windows of one method, at most one a class."""

    method: str
    job: str
    """Split, recipe and seed of the weights."""
    windows: tuple[Window, ...]
    missing: tuple[str, ...] = ()
    """Classes of which no window was told right."""


def normalised_entropy(weights: FloatArray) -> float:
    """Entropy of weights as a share of its greatest value: 1 where they lie on nothing in particular.

    Args:
        weights: (n,), none negative.
    """
    if len(weights) < 2:
        return 0.0
    total = float(weights.sum())
    if total <= 0:
        return 1.0
    shares = weights[weights > 0] / total
    return float(-(shares * np.log(shares)).sum() / np.log(len(weights)))


# -- from a run --------------------------------------------------------------------------------------------------------


def examples_of_run(plan: Plan) -> tuple[Example, ...]:
    """One example of each method whose weights were kept and whose model has maps over time; of the first such job."""
    from models.training.folds import found

    examples: dict[str, Example] = {}
    for job in plan.jobs:
        if not job.keep_weights:
            continue
        for name, method in ((found(job) or {}).get("methods") or {}).items():
            if name not in examples and method["weights"]:
                example = _example(job, name, method)
                if example is not None:
                    examples[name] = example
    return tuple(examples.values())


def _example(job: Job, name: str, method: Mapping[str, object]) -> Example | None:
    from models.checkpoint import load_checkpoint
    from models.evaluation.predictions import read_predictions
    from models.training.windows import open_windows
    from monitor.bundle import InputSpec

    items = method["inputs"]
    inputs = tuple(InputSpec.model_validate(item) for item in items) if isinstance(items, list) else ()
    if not inputs or any(item.render is not None for item in inputs):
        return None
    model = load_checkpoint(job.folder / str(method["weights"]))
    if not time_maps(model, inputs):
        return None
    traced = open_windows(job.windows)
    test = traced.windows.of(job.split.test).labelled()
    told = next((item for item in read_predictions(job.predictions) if item.method == name), None)
    if told is None or len(told) != len(test) or not np.allclose(told.t_end, test.t_end, atol=1e-5, rtol=0.0):
        return None  # of other windows than lie there now
    return example_of(model, inputs, test, told.probabilities, classes=job.classes, method=name, job=job.name)


def time_maps(model: PainModel, inputs: Sequence[InputSpec]) -> dict[str, AttentionMap]:
    """The map over each input's own time, by input name: the temporal one where there is one, else self-attention."""
    chosen: dict[str, AttentionMap] = {}
    for item in model.attention_maps({given.name: given.shape for given in inputs}):
        own = item.axis == "time" and item.of == item.by and item.kind in ("self", "temporal")
        if own and (item.of not in chosen or item.kind == "temporal"):
            chosen[item.of] = item
    return chosen


def example_of(
    model: PainModel,
    inputs: Sequence[InputSpec],
    windows: WindowSet,
    probabilities: FloatArray,
    *,
    classes: Sequence[str],
    method: str,
    job: str,
) -> Example | None:
    """One rightly told window of each class with the model's maps; None where it has no map over time.

    Args:
        model: Trained.
        inputs: That it reads.
        windows: Labelled, (n,).
        probabilities: (n, classes) that were told of them.
        classes: Names.
        method: Name.
        job: Whose weights they are.
    """
    maps = time_maps(model, inputs)
    if not maps:
        return None
    told = probabilities.argmax(axis=1)
    chosen: list[Window] = []
    missing: list[str] = []
    for number, name in enumerate(classes):
        right = np.flatnonzero((windows.labels == number) & (told == number))
        if not len(right):
            missing.append(name)
            continue
        sure = right[np.argsort(probabilities[right, number], kind="stable")]
        middle = int(sure[len(sure) // 2])
        traces = _traces(model, inputs, maps, windows, middle)
        chosen.append(Window(true=name, probability=float(probabilities[middle, number]), traces=traces))
    return Example(method=method, job=job, windows=tuple(chosen), missing=tuple(missing))


def _traces(
    model: PainModel,
    inputs: Sequence[InputSpec],
    maps: Mapping[str, AttentionMap],
    windows: WindowSet,
    number: int,
) -> tuple[Trace, ...]:
    import torch

    given = {item.name: np.array(windows.inputs[item.name][number : number + 1], dtype=np.float32) for item in inputs}
    with torch.inference_mode():
        batch = {name: torch.from_numpy(values) for name, values in given.items()}
        attention = model.eval()(batch, with_attention=True).attention
    traces = []
    for item in inputs:
        values = given[item.name][0, 0].astype(np.float64)
        own = maps.get(item.name)
        weights = np.zeros(0)
        if own is not None:
            map_ = attention[own.name][0].double().cpu().numpy()
            found = map_ if map_.ndim == 1 else map_.mean(axis=0)
            if len(found) == len(values) and np.isfinite(found).all() and (found >= 0).all():
                weights = found
        seconds = (np.arange(len(values)) - (len(values) - 1)) / item.rate_hz
        shown = own.name if own is not None and len(weights) else ""
        traces.append(Trace(modality=item.modality, seconds=seconds, values=values, map=shown, weights=weights))
    return tuple(traces)


# -- drawn -------------------------------------------------------------------------------------------------------------


def attention_figure(example: Example) -> Figure:
    """A column for each class, a row for each signal; the weight of each moment lies behind the signal."""
    with styled():
        signals = len(example.windows[0].traces)
        figure = new_figure(WIDTH * len(example.windows) / 3.0, 0.5 + 1.75 * signals)
        axes = figure.subplots(signals, len(example.windows), squeeze=False, sharex=True)
        for column, window in enumerate(example.windows):
            for row, trace in enumerate(window.traces):
                _draw(axes[row, column], trace)
            title = f"{window.true}, told with {100 * window.probability:.0f} %"
            axes[0, column].set_title(f"{title}\n{axes[0, column].get_title()}")
            axes[-1, column].set_xlabel("seconds (0: the window's end)", fontsize=8)
        for row, trace in enumerate(example.windows[0].traces):
            axes[row, 0].set_ylabel(f"{trace.modality}, scaled", fontsize=8)
        return figure


def _draw(ax: Axes, trace: Trace) -> None:
    from matplotlib.colors import to_rgb

    values, seconds = trace.values, trace.seconds
    low, high = float(values.min()), float(values.max())
    room = 0.08 * (high - low or 1.0)
    low, high = low - room, high + room
    if trace.map and trace.focus:
        step = float(seconds[1] - seconds[0])
        edges = np.append(seconds, seconds[-1] + step) - step / 2
        strength = np.clip(trace.weights / trace.weights.max(), 0.0, 1.0)
        shade = np.array([[(*to_rgb(ORANGE), 0.75 * share) for share in strength.tolist()]])
        ax.imshow(shade, extent=(edges[0], edges[-1], low, high), aspect="auto", interpolation="nearest")
        ax.set_title(f"entropy {trace.entropy:.2f}", fontsize=8)
    else:
        said = f"no focus (entropy {trace.entropy:.3f})" if trace.map else "no map over time"
        ax.set_title(said, fontsize=8)
    ax.plot(seconds, values, color=INK, linewidth=0.9)
    ax.set_ylim(low, high)
    ax.set_xlim(float(seconds[0]), float(seconds[-1]))
    ax.tick_params(labelsize=7.5)
