"""`python -m benchmarks [NAME ...] [--quick] [--json]`."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from benchmarks.one_thread import is_single_threaded, single_threaded

if TYPE_CHECKING:
    from benchmarks.report import Result


class Name(StrEnum):
    """The benchmarks."""

    PREPROCESSING = "preprocessing"
    INFERENCE = "inference"
    LATENCY = "latency"


def main(
    names: Annotated[list[Name] | None, typer.Argument(help="Which benchmarks; all where none is named.")] = None,
    *,
    quick: Annotated[bool, typer.Option("--quick", help="A few rounds, to see that it works.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document on standard output, no tables.")] = False,
) -> None:
    """Measure the monitor beside what one would otherwise take, in one run and on one thread.

    preprocessing: one bed's signal path against neurokit2 and scipy. inference: CrossMod-Transformer in ONNX Runtime
    against torch. latency: from a sample pushed over LSL to its score, with the engine's CPU time and memory.

    Contenders take turns, ratios are formed round by round, and medians are given with their quartiles. A peer that is
    not installed is skipped with the reason. Exit code 0 whatever the figures are. A whole run takes about five
    minutes; on a busy machine believe the ratios more than the times.
    """
    # After the thread counts are set: what follows loads numpy.
    from rich.console import Console

    from benchmarks.report import as_json as to_json
    from benchmarks.report import show

    # Tables are wider than the 80 columns that a pipe is taken for.
    console = Console(width=None if sys.stdout.isatty() else 140)
    results = []
    for name in names or list(Name):
        results.append(_benchmark(name)(quick=quick))
        if not as_json:
            show(console, results[-1])
    if as_json:
        print(json.dumps(to_json(results, quick=quick), indent=2, allow_nan=False))


def _benchmark(name: Name) -> Callable[..., Result]:
    if name is Name.PREPROCESSING:
        from benchmarks.preprocessing import run
    elif name is Name.INFERENCE:
        from benchmarks.inference import run
    else:
        from benchmarks.latency import run
    return run


if __name__ == "__main__":
    if not is_single_threaded(os.environ):
        # BLAS and OpenMP read these when they are loaded, which is before any line of ours could set them.
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks", *sys.argv[1:]], single_threaded(os.environ))
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
    app.command()(main)
    app(prog_name="python -m benchmarks")
