"""Recordings: replay."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

if TYPE_CHECKING:
    from monitor.config import BedSettings

Speed = Literal["1", "30", "max"]


def replay(
    recording: Annotated[
        Path,
        typer.Argument(
            help="CSV, OpenSignals text, XDF or EDF (also .bz2, .gz), WFDB record, folder of an Empatica E4 export, "
            "or a session of this monitor."
        ),
    ],
    *,
    config: Annotated[Path | None, typer.Option(help="Take a bed's streams, bundles and limits from here.")] = None,
    bed: Annotated[str, typer.Option(help="Which bed of the configuration, where it has several.")] = "",
    maps: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="MODALITY=SIGNAL[:UNIT]", help="What a signal is. May be repeated."),
    ] = None,
    rate: Annotated[float | None, typer.Option(help="Sampling rate in Hz where the recording states none.")] = None,
    calibrate: Annotated[
        str, typer.Option(metavar="A:B", help="Take the baseline between these seconds; default: the first valid ones.")
    ] = "",
    speed: Annotated[Speed, typer.Option(help="Times real time. The scores are the same at each.")] = "max",
    start: Annotated[float | None, typer.Option(min=0.0, help="Begin so many seconds into it.")] = None,
    duration: Annotated[float | None, typer.Option(min=1.0, help="Replay so many seconds.")] = None,
    bundle: Annotated[list[str] | None, typer.Option(help="Model bundle; may be repeated, best first.")] = None,
    attention: Annotated[
        Path | None, typer.Option(metavar="OUT.npz", help="Write the attention maps of each scored window too.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a window on standard output.")] = False,
) -> None:
    """Score a recording with the very pipeline that runs live; the same file gives the same scores each time.

        pain-monitor replay ride.csv --rate 100 --map "EDA=hand GSR:uS" --map ECG=ECG:mV --calibrate 0:120

    Nothing is guessed: a signal whose modality, unit or rate nobody states is refused with the words to add. Each
    window ends with a score or with the reasons why there is none.

    JSON: t_end (seconds from the origin), bundle, calibration (subject, population or none), classes,
    probabilities, index_fast, index_slow, absent (reasons, empty where there is a score); also hollow, quality,
    alarms, bed, provenance and window_hash.
    """
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

    from monitor.cli.lines import JsonLines, ScoreLines, recording_time
    from monitor.replay_run import AttentionFile, prepare, run
    from monitor.scoring.session import OnnxRunner
    from monitor.sources.mapping import parse_map
    from monitor.sources.recordings import open_recording
    from monitor.sources.replay import duration as duration_of

    span = _span(calibrate)
    settings = _bed(config, bed) if config is not None else None
    parsed = [parse_map(text) for text in maps or []]
    log = Console(stderr=True)
    with log.status(f"Reading {recording} ..."):
        found = open_recording(recording, rate_hz=rate)
        job = prepare(
            found, bed=settings, maps=parsed, bundles=bundle or (), calibrate=span, start_s=start, duration_s=duration
        )
        runner = OnnxRunner(job.bundles)
    for note in job.notes:
        log.print(note, highlight=False, markup=False)
    specs = [bundle.spec for bundle in job.bundles]
    lines = JsonLines(bundles=specs) if as_json else ScoreLines(timestamp=recording_time, bundles=specs)
    columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), TimeRemainingColumn())
    with contextlib.ExitStack() as stack:
        maps_file = stack.enter_context(AttentionFile(attention, runner)) if attention is not None else None
        bars = stack.enter_context(Progress(*columns, console=log, transient=True, redirect_stdout=False))
        zero = start or 0.0
        whole = max(duration_of(found) - zero, 0.0)
        bar = bars.add_task("replaying", total=min(whole, duration or whole))
        pace = None if speed == "max" else float(speed)
        for at, events in run(job, runner=maps_file or runner, speed=pace):
            if maps_file is not None:
                maps_file.take(events)
            for line in lines.add(job.bed.name, events):
                print(line, flush=pace is not None)
            bars.update(bar, completed=at - zero)


def _span(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    start, colon, end = text.partition(":")
    try:
        if colon:
            return float(start), float(end)
    except ValueError:
        pass
    raise typer.BadParameter(f"'{text}' is not START:END in seconds, e.g. 0:120", param_hint="--calibrate")


def _bed(config: Path, name: str) -> BedSettings:
    from monitor.config import load_settings
    from monitor.errors import ConfigError, Problem

    beds = load_settings(config).bed
    chosen = [bed for bed in beds if not name or bed.name == name]
    if len(chosen) != 1:
        names = ", ".join(bed.name for bed in beds)
        what = f"there is no bed '{name}'" if name else "there are several beds"
        raise ConfigError(where=str(config), problems=[Problem("bed", what, f"choose with --bed: {names}")])
    return chosen[0]
