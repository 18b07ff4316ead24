"""`python -m models.evaluation`: what a finished bundle does live, and where nobody is in pain."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from collections.abc import Callable

    from models.data.recorded import DataSet, Sitting

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

_BUNDLE = typer.Argument(help="Folder of a bundle, or the name of a shipped one.")
_JSON = typer.Option("--json", help="Write all figures to this file.")


@app.command()
def streaming(
    bundle: Annotated[str, _BUNDLE],
    config: Annotated[Path, typer.Argument(help="A configuration with the table [data] of a continuous data set.")],
    *,
    part: Annotated[str, typer.Option(help="Part of the data set; all where it has none.")] = "test",
    subject: Annotated[list[str] | None, typer.Option(help="Only these; may be given again.")] = None,
    most: Annotated[int, typer.Option(min=1, help="At most so many sittings.")] = 1000,
    classes: Annotated[str, typer.Option(help="Class of the model by label of the data, e.g. 0=0,4=1.")] = "",
    paper: Annotated[str, typer.Option(help="A bundle trained for the scaling of the articles.")] = "",
    quiet: Annotated[
        int, typer.Option(min=0, help="Simulated: so many further half hours with little pain, for the alarms.")
    ] = 0,
    hop: Annotated[float, typer.Option(help="Seconds between windows.")] = 1.0,
    seed: Annotated[int, typer.Option(help="Of pieces, drawn rests and intervals.")] = 20,
    out: Annotated[Path | None, _JSON] = None,
) -> None:
    """Run held-out sittings through the monitor's pipeline: equal scores, losses on the way to the bedside, alarms."""
    _told(lambda: _streaming(bundle, config, part, subject or [], most, classes, paper, quiet, hop, seed, out))


@app.command()
def recordings(
    bundle: Annotated[str, _BUNDLE],
    folder: Annotated[
        Path | None, typer.Option(help="Of real recordings without pain.", envvar="PAIN_MONITOR_RECORDINGS")
    ] = None,
    *,
    hop: Annotated[float, typer.Option(help="Seconds between windows; a bed has 1.")] = 5.0,
    configs: Annotated[Path | None, typer.Option(help="Folder of the recordings' beds.")] = None,
    only: Annotated[list[str] | None, typer.Option(help="Only this recording or subject; may be given again.")] = None,
    seed: Annotated[int, typer.Option(help="Of intervals and permutations.")] = 20,
    out: Annotated[Path | None, _JSON] = None,
) -> None:
    """Count a bundle's pain alarms on real recordings in which nobody is in pain; more than two an hour fail it."""
    _told(lambda: _recordings(bundle, folder, hop, configs, only or [], seed, out))


def _checked_hop(hop_s: float) -> float:
    """A hop that a bed may have.

    Raises:
        MonitorError: If it is none.
    """
    from monitor.errors import MonitorError

    if hop_s % 0.25 or not 0.25 <= hop_s <= 60.0:
        raise MonitorError(f"--hop {hop_s:g} is no hop", todo="Write a multiple of 0.25, up to 60, e.g. 1")
    return hop_s


def _told(work: Callable[[], None]) -> None:
    """Run, and say in words what a user can mend."""
    from rich.console import Console

    from monitor.errors import MonitorError

    try:
        work()
    except MonitorError as error:
        Console(stderr=True).print(str(error), markup=False, highlight=False, soft_wrap=True)
        raise typer.Exit(error.exit_code) from None


def _streaming(
    name: str,
    config: Path,
    part: str,
    subjects: list[str],
    most: int,
    classes: str,
    paper: str,
    quiet: int,
    hop: float,
    seed: int,
    out: Path | None,
) -> None:
    from rich.console import Console

    from models.data.catalogue import open_data
    from models.data.protocols import SILENCE_IS_REST
    from models.data.settings import load_data_settings
    from models.evaluation.streaming import stream_evaluation
    from models.evaluation.streaming_quiet import quiet_sittings
    from models.evaluation.streaming_tables import show_streaming
    from monitor.bundle_folder import load_bundle
    from monitor.errors import MonitorError
    from monitor.scoring.session import OnnxRunner

    loaded = load_bundle(name)
    other = load_bundle(paper) if paper else None
    data = open_data(load_data_settings(config))
    data.require("live-stream")
    if quiet and data.kind != "simulated":
        raise MonitorError("--quiet generates simulated people, the data are recorded", todo="Leave --quiet out")
    inputs = loaded.spec.inputs
    console = Console(stderr=True)
    result = stream_evaluation(
        OnnxRunner([loaded]),
        loaded.spec,
        _sittings(data, part, subjects, most),
        seed=seed,
        classes=_pairs(classes),
        silence_is_rest=data.kind in SILENCE_IS_REST,
        hop_s=_checked_hop(hop),
        paper=None if other is None else (OnnxRunner([other]), other.spec),
        alarm_sittings=quiet_sittings(
            quiet, [item.modality for item in inputs], least_hz={item.modality: item.min_rate_hz for item in inputs}
        ),
        on_sitting=lambda key: console.print(key, style="dim", highlight=False),
    )
    _write(out, result.as_json())
    show_streaming(result, Console())


def _sittings(data: DataSet, part: str, subjects: list[str], most: int) -> Iterator[Sitting]:
    from monitor.errors import SourceError

    chosen = [files for files in data.sittings if files.part in ("", part)]
    chosen = [files for files in chosen if not subjects or files.subject in subjects]
    if not chosen:
        raise SourceError(
            f"there is no sitting of the part {part}" + (f" and of {', '.join(subjects)}" if subjects else ""),
            where=str(data.root),
            todo=f"There are {', '.join(sorted({f.part or 'undivided' for f in data.sittings}))}",
        )
    return (data.load(files) for files in chosen[:most])


def _pairs(text: str) -> dict[int, int] | None:
    from monitor.errors import MonitorError

    if not text:
        return None
    try:
        return {int(label): int(number) for label, number in (pair.split("=") for pair in text.split(","))}
    except ValueError:
        raise MonitorError(
            f"--classes {text} says nothing", todo="Write label=class, separated by commas, e.g. 0=0,4=1"
        ) from None


def _recordings(
    name: str, folder: Path | None, hop: float, configs: Path | None, only: list[str], seed: int, out: Path | None
) -> None:
    from rich.console import Console

    from models.evaluation.recordings import recordings_report
    from models.evaluation.recordings_tables import show_recordings

    console = Console(stderr=True)
    report = recordings_report(
        name,
        folder,
        hop_s=_checked_hop(hop),
        configs=configs,
        only=only,
        seed=seed,
        on_recording=lambda done: console.print(done, style="dim", highlight=False),
    )
    _write(out, report)
    show_recordings(report, Console())


def _write(path: Path | None, content: Any) -> None:
    from monitor.errors import MonitorError

    if path is None:
        return
    try:
        path.write_text(json.dumps(content, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    except OSError as error:
        raise MonitorError(f"cannot be written ({error.strerror})", where=str(path)) from None


if __name__ == "__main__":
    app()
