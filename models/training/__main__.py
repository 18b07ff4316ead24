"""`python -m models.training`: train the shipped bundles anew, ready for `python -m export write`."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import torch
import typer

from models.training.emotion import EMOTION_BUNDLES, build_emotion
from models.training.shipped import SHIPPED, build
from models.training.untrained import UNTRAINED_BUNDLES, build_untrained

app = typer.Typer(help=__doc__, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def main(
    bundle: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder to write into.")] = Path("build/bundles"),
) -> None:
    """Train the shipped bundles on simulated patients: about a quarter of an hour of one core for each."""
    known = [*SHIPPED, *EMOTION_BUNDLES, *UNTRAINED_BUNDLES]
    names = bundle or known
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(f"no shipped bundle {unknown[0]!r}; there are {', '.join(known)}")
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    # One thread: the order of sums, and so the weights, do not depend on how many cores there are.
    torch.set_num_threads(1)
    for name in names:
        if name in EMOTION_BUNDLES:
            build_emotion(name, out / name)
        elif name in UNTRAINED_BUNDLES:
            build_untrained(name, out / name)
        else:
            build(name, out / name)


if __name__ == "__main__":
    app()
