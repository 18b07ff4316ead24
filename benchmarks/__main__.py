"""`python -m benchmarks [NAME ...] [--quick] [--json]`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.one_thread import is_single_threaded, single_threaded

if TYPE_CHECKING:
    from benchmarks.report import Result


class Name(StrEnum):
    """The benchmarks."""

    PREPROCESSING = "preprocessing"
    INFERENCE = "inference"
    IMAGES = "images"
    LATENCY = "latency"
    SCREEN = "screen"
    MEMORY = "memory"
    SCREENSHOTS = "screenshots"


_MEASURED = [name for name in Name if name is not Name.SCREENSHOTS]
"""What runs where none is named: measurements, nothing that writes into the repository."""


def main(
    names: Annotated[
        list[Name] | None, typer.Argument(help="Which ones; all measurements where none is named.")
    ] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="A few rounds, to see that it works.")] = False,
    subjects: Annotated[
        int, typer.Option(help="Of memory: made-up subjects of BioVid A's form; all of it has 87.", min=5, max=87)
    ] = 8,
    out: Annotated[
        Path, typer.Option("--out", metavar="DIR", help="Where screenshots are written.", file_okay=False)
    ] = Path("docs/screenshots"),
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output, no tables.")] = False,
) -> None:
    """Measure the monitor beside what one would otherwise take, in one run and on one thread.

    preprocessing: one bed's signal path against neurokit2 and scipy. inference: every architecture in ONNX Runtime
    against torch. images: the six images of a biosignal, beside matplotlib and PyWavelets. latency: from a sample
    pushed over LSL to its score, with the engine's CPU time and memory. screen: the dashboard's pictures a second and
    CPU time. memory: the most that `models train` takes to read and cut a data set of BioVid A's form. screenshots: no
    measurement; writes the documentation's pictures of the dashboard, and only where it is named.

    Contenders take turns, ratios are formed round by round, and medians are given with their quartiles. A peer that is
    not installed is skipped with the reason. Exit code 0 whatever the figures are. A whole run takes about six
    minutes; on a busy machine believe the ratios more than the times.
    """
    # After the thread counts are set: what follows loads numpy.
    from rich.console import Console

    from benchmarks.report import as_json as to_json
    from benchmarks.report import show

    # Tables are wider than the 80 columns that a pipe is taken for.
    console = Console(width=None if sys.stdout.isatty() else 140)
    results = []
    for name in names or _MEASURED:
        results.append(_benchmark(name, out, subjects)(quick=quick))
        if not as_json:
            show(console, results[-1])
    if as_json:
        print(json.dumps(to_json(results, quick=quick), indent=2, allow_nan=False))


def _benchmark(name: Name, out: Path, subjects: int) -> Callable[..., Result]:
    if name is Name.PREPROCESSING:
        from benchmarks.preprocessing import run
    elif name is Name.INFERENCE:
        from benchmarks.inference import run
    elif name is Name.IMAGES:
        from benchmarks.images import run
    elif name is Name.LATENCY:
        from benchmarks.latency import run
    elif name is Name.SCREEN:
        from benchmarks.screen import run
    elif name is Name.MEMORY:
        from benchmarks import data_memory

        return partial(data_memory.run, subjects=subjects)
    else:
        from benchmarks import screenshots

        return partial(screenshots.run, out=out)
    return run


if __name__ == "__main__":
    if not is_single_threaded(os.environ):
        # BLAS and OpenMP read these when they are loaded, which is before any line of ours could set them.
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], single_threaded(os.environ))
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app(prog_name="python -m benchmarks")
