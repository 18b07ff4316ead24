"""`python -m export`: write a bundle from a checkpoint, or verify one."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Annotated

import typer

from monitor.bundle import BundleSpec, load_bundle
from monitor.errors import MonitorError
from monitor.scoring.session import OnnxRunner

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.command()
def write(
    weights: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Checkpoint of models.checkpoint.save_checkpoint.")
    ],
    spec: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="model.json without what follows from the model itself.")
    ],
    card: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Model card, Markdown.")],
    out: Annotated[Path, typer.Option(file_okay=False, help="Folder to write; replaced if it exists.")],
) -> None:
    """Export a trained model, check it against torch, and write its bundle. Takes about a minute."""
    # torch takes seconds to import, and `verify` does without.
    from export.bundle import write_bundle
    from export.parity import ParityError
    from models.checkpoint import load_checkpoint

    logging.basicConfig(format="%(message)s")
    logging.getLogger("export").setLevel(logging.INFO)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists operators of packages that we do not use
    try:
        bundle = write_bundle(
            model=load_checkpoint(weights),
            spec=json.loads(spec.read_text(encoding="utf-8")),
            card=card.read_text(encoding="utf-8"),
            out=out,
        )
    except (MonitorError, ParityError, ValueError, RuntimeError) as error:
        typer.echo(f"nothing was written: {error}", err=True)
        raise typer.Exit(1) from error
    _describe(bundle.path, bundle.spec)


@app.command()
def verify(folder: Annotated[Path, typer.Argument(help="Bundle to verify.")]) -> None:
    """Check a bundle's model.json and hashes, and that its graphs run and match it."""
    try:
        bundle = load_bundle(folder)
        OnnxRunner([bundle])
    except MonitorError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(error.exit_code) from error
    _describe(bundle.path, bundle.spec)


def _describe(path: Path, spec: BundleSpec) -> None:
    size = sum(file.stat().st_size for file in path.iterdir()) / 2**20
    inputs = " + ".join(item.modality for item in spec.inputs)
    typer.echo(f"{path}: {spec.name} {spec.version}, {spec.architecture} on {inputs}, {size:.1f} MiB")
    for name, value in spec.parity.items():
        typer.echo(f"  parity {name}: {value}")


if __name__ == "__main__":
    app()
