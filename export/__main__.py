"""`python -m export`: bundles from checkpoints, ours and the authors'; and the checks of both."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from monitor.bundle import BundleSpec
from monitor.bundle_folder import load_bundle
from monitor.errors import MonitorError
from monitor.feature_space import FEATURES_NPZ
from monitor.scoring.session import OnnxRunner

if TYPE_CHECKING:
    from collections.abc import Callable

    from export.published import Source

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Out = Annotated[Path, typer.Option(file_okay=False, help="Folder to write; replaced if it exists.")]
Stored = Annotated[Literal["float32", "float16"], typer.Option(help="How weights lie on disk.")]
Published = Annotated[Path, typer.Option(exists=True, dir_okay=False, help="The authors' checkpoint.")]
Head = Annotated[Path | None, typer.Option(exists=True, dir_okay=False, help="File of models.checkpoint.save_head.")]
UntrainedHead = Annotated[
    bool, typer.Option("--untrained-head", help="A head at random weights: shows the pipeline, not pain.")
]
Images = Annotated[
    str,
    typer.Option(help="MODALITY:KIND, comma-separated, in the order of the head's inputs; default: their names."),
]
Classes = Annotated[str, typer.Option(help="Names of the classes, comma-separated, the least painful first.")]
Alarm = Annotated[
    bool,
    typer.Option(
        "--alarm-eligible",
        help="Draw an index and let it alarm. You vouch for these weights: nobody has tried them here.",
    ),
]
Override = Annotated[
    Path | None, typer.Option(exists=True, dir_okay=False, help="JSON object; its keys replace those of model.json.")
]


@app.command()
def write(
    weights: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="Checkpoint of models.checkpoint.save_checkpoint.")
    ],
    spec: Annotated[
        Path, typer.Option(exists=True, dir_okay=False, help="model.json without what follows from the model itself.")
    ],
    card: Annotated[Path, typer.Option(exists=True, dir_okay=False, help="Model card, Markdown.")],
    out: Out,
    *,
    stored: Annotated[
        Literal["float32", "float16"] | None, typer.Option(help="How weights lie on disk; default: as the spec says.")
    ] = None,
    samples: Annotated[
        Path | None, typer.Option(exists=True, dir_okay=False, help="Real windows, .npz of (windows, *shape) by input.")
    ] = None,
) -> None:
    """Export a trained model, check it against torch, and write its bundle. Takes a minute or some.

    A features.npz beside the weights becomes a part of the bundle.
    """

    def make() -> BundleSpec:
        import numpy as np

        from export.bundle import write_bundle
        from models.checkpoint import load_checkpoint

        windows = None
        if samples is not None:
            with np.load(samples, allow_pickle=False) as file:
                windows = {name: file[name] for name in file.files}
        return write_bundle(
            model=load_checkpoint(weights),
            spec=_json(spec),
            card=card.read_text(encoding="utf-8"),
            out=out,
            stored=stored,
            samples=windows,
            features=beside.read_bytes() if (beside := weights.with_name(FEATURES_NPZ)).is_file() else None,
        ).spec

    _write(make, out)


@app.command()
def painformer(
    published: Published,
    out: Out,
    *,
    head: Head = None,
    untrained_head: UntrainedHead = False,
    images: Images = "",
    classes: Classes = "",
    alarm_eligible: Alarm = False,
    spec: Override = None,
    stored: Stored = "float16",
) -> None:
    """Write a bundle of PainFormer's published weights (painformer.pth) and a head trained on its embeddings."""
    _encoder("painformer", published, out, head, untrained_head, images, classes, alarm_eligible, spec, stored)


@app.command("tiny-biomoe")
def tiny_biomoe(
    published: Published,
    out: Out,
    *,
    head: Head = None,
    untrained_head: UntrainedHead = False,
    images: Images = "",
    classes: Classes = "",
    alarm_eligible: Alarm = False,
    spec: Override = None,
    stored: Stored = "float16",
) -> None:
    """Write a bundle of Tiny-BioMoE's published weights (Tiny-BioMoE.pth) and a head trained on its embeddings."""
    _encoder("tiny-biomoe", published, out, head, untrained_head, images, classes, alarm_eligible, spec, stored)


@app.command()
def painattnnet(
    published: Published,
    out: Out,
    *,
    variant: Annotated[
        Literal["mscn", "mscn_se", "mscn_tran", "full", "early", "late"], typer.Option(help="Mode of the run.")
    ] = "full",
    signals: Annotated[str, typer.Option(help="Modalities in the order in which the run joined them.")] = "eda",
    classes: Classes = "",
    alarm_eligible: Alarm = False,
    spec: Override = None,
    stored: Stored = "float16",
) -> None:
    """Write a bundle of a run of PainAttnNet or m-PainAttnNet: raw values at 512 Hz, as published."""

    def source() -> Source:
        from export.published import signal_model

        return signal_model(published=published, variant=variant, signals=_list(signals), classes=_list(classes))

    _publish(source, out, alarm_eligible=alarm_eligible, spec=spec, stored=stored)


@app.command(name="all")
def all_models(
    *,
    check: Annotated[bool, typer.Option("--check", help="Check them; nothing is written.")] = False,
    only: Annotated[str, typer.Option(help="Models whose name begins so, e.g. painformer.")] = "",
    stored: Stored = "float16",
) -> None:
    """Export every architecture and main variant at fill weights and check parity and mutations. Half an hour.

    Exit code 1 if one fails.
    """
    from rich.console import Console

    from export.matrix import cases
    from export.show import check_all

    chosen = [case for case in cases() if case.name.startswith(only)]
    if not check or not chosen:
        names = "\n  ".join(case.name for case in cases())
        typer.echo(f"{'no such model' if check else 'give --check'}; there are\n  {names}", err=True)
        raise typer.Exit(2)
    _quiet()
    if not check_all(Console(width=None if sys.stdout.isatty() else 140), chosen, stored=stored):
        raise typer.Exit(1)


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


def _encoder(
    name: Literal["painformer", "tiny-biomoe"],
    published: Path,
    out: Path,
    head: Path | None,
    untrained_head: bool,
    images: str,
    classes: str,
    alarm_eligible: bool,
    spec: Path | None,
    stored: Literal["float32", "float16"],
) -> None:
    if untrained_head and alarm_eligible:
        raise typer.BadParameter("a head that knows nothing may not alarm: give --head HEAD.pt")

    def source() -> Source:
        from export.published import image_model

        return image_model(
            name,
            published=published,
            head=head,
            images=_list(images),
            classes=_list(classes),
            untrained_head=untrained_head,
        )

    _publish(source, out, alarm_eligible=alarm_eligible, spec=spec, stored=stored)


def _publish(
    source: Callable[[], Source],
    out: Path,
    *,
    alarm_eligible: bool,
    spec: Path | None,
    stored: Literal["float32", "float16"],
) -> None:
    def make() -> BundleSpec:
        from export.bundle import write_bundle

        made = source()
        given = made.spec | ({} if spec is None else _json(spec))
        given["weights"] = made.spec["weights"] | {"alarm_eligible": alarm_eligible}
        return write_bundle(model=made.model, spec=given, card=made.card, out=out, stored=stored).spec

    _write(make, out)


def _write(make: Callable[[], BundleSpec], out: Path) -> None:
    """Run what writes a bundle; whatever a user can cause is told in one message."""
    # torch takes seconds to import, and `verify` does without.
    from export.parity import ParityError
    from export.precision import RoundingError

    _quiet()
    try:
        spec = make()
    except (MonitorError, ParityError, RoundingError, ValueError, RuntimeError, OSError) as error:
        typer.echo(f"nothing was written: {error}", err=True)
        raise typer.Exit(1) from error
    _describe(out, spec)


def _quiet() -> None:
    logging.basicConfig(format="%(message)s")
    logging.getLogger("export").setLevel(logging.INFO)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)  # it lists operators of packages that we do not use


def _json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not valid JSON ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} must hold one JSON object")
    return content


def _list(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]


def _describe(path: Path, spec: BundleSpec) -> None:
    size = sum(file.stat().st_size for file in path.iterdir()) / 1e6
    inputs = " + ".join(item.modality for item in spec.inputs)
    typer.echo(f"{path}: {spec.name} {spec.version}, {spec.architecture} on {inputs}, {size:.1f} MB")
    if spec.notice:
        typer.echo(f"  {spec.notice}")
    for name, value in spec.parity.items():
        typer.echo(f"  parity {name}: {value}")


if __name__ == "__main__":
    app()
