"""`python -m models.training`: make the two bundles that are no pain models, ready for `python -m export write`.

`se-cnn-regions` tells emotion from simulated brain regions; `painformer-eda-untrained` has random weights. All other
bundles that ship have a configuration in `models/bundles`, which `python -m models train` takes.
"""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Annotated

import torch
import typer

from models.training.emotion import EMOTION_BUNDLES, build_emotion
from models.training.untrained import UNTRAINED_BUNDLES, build_untrained

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command(help=__doc__)
def main(
    bundle: Annotated[list[str] | None, typer.Option(help="Only this one; may be repeated.")] = None,
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder to write into.")] = Path("build/bundles"),
) -> None:
    """See the module; some minutes of one core."""
    known = [*EMOTION_BUNDLES, *UNTRAINED_BUNDLES]
    names = bundle or known
    if unknown := [name for name in names if name not in known]:
        raise typer.BadParameter(
            f"{unknown[0]!r} is not made here, but {' and '.join(known)} are; "
            "`python -m models train models/bundles/NAME.toml` trains the pain models"
        )
    logging.basicConfig(format="%(message)s", level=logging.INFO)
    # One thread: the order of sums, and so the weights, do not depend on how many cores there are.
    torch.set_num_threads(1)
    for name in names:
        build = build_emotion if name in EMOTION_BUNDLES else build_untrained
        build(name, out / name)


if __name__ == "__main__":
    app()
