"""The engine's process, started by the supervisor: `python -m monitor.engine.daemon [--json] [--seconds N] CONFIG`."""

from __future__ import annotations

import argparse
import faulthandler
import logging
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from monitor.cli.lines import JsonLines, ScoreLines, local_time
from monitor.clock import SystemClock
from monitor.config import Settings, load_settings
from monitor.engine.engine import Engine
from monitor.engine.supervisor import CONFIGURATION, end_with_parent
from monitor.engine.wiring import (
    Models,
    load_models,
    log_outputs,
    lsl_outputs,
    metrics_outputs,
    mqtt_outputs,
    sound_outputs,
    webhook_outputs,
)
from monitor.errors import MonitorError
from monitor.sources.base import Source
from monitor.types import Command, Event


class Lines(Protocol):
    """Makes lines of text of events."""

    def add(self, bed: str, events: Sequence[Event]) -> list[str]:
        """The lines that these events of one bed make."""
        ...


def run_engine(
    settings: Settings,
    *,
    json: bool = False,
    seconds: float | None = None,
    write: Callable[[str], None] | None = None,
    on_start: Callable[[Engine], None] = lambda _: None,
    models: Models | None = None,
    sources: Mapping[str, Sequence[Source]] | None = None,
    last_resort: bool = False,
) -> int:
    """Run an engine on the live sources of its settings in this process, and write a line for each score and alarm.

    Args:
        settings: The whole configuration.
        json: JSON objects instead of readable lines.
        seconds: Clock time after which to stop; None to run until a signal.
        write: Takes the lines, from a thread of its own; None for standard output.
        on_start: Called with the engine before it starts.
        models: Instead of those that the settings name.
        sources: Instead of those that the settings name.
        last_resort: This process is the engine and nothing else.

    Returns:
        Exit code.

    Raises:
        MonitorError: If it cannot start.
    """
    clock = SystemClock()
    models = models or load_models(settings)
    specs = models.specs
    lines: Lines = (
        JsonLines(bundles=specs)
        if json
        else ScoreLines(
            timestamp=local_time(clock.utc() - clock.now()), bundles=specs, several_beds=len(settings.bed) > 1
        )
    )
    out = write or _write_line

    def show(bed: str, events: Sequence[Event]) -> None:
        for line in lines.add(bed, events):
            out(line)

    over_mqtt = mqtt_outputs(settings, models, clock)
    webhooks, metrics = webhook_outputs(settings, clock), metrics_outputs(settings, clock)
    logs = log_outputs(settings, models, clock)

    def log_command(bed: str, command: Command, refused: str) -> None:
        for log in logs:
            log.command(bed, command, refused)

    outputs = [
        *lsl_outputs(models), *over_mqtt, *webhooks, *metrics, *logs, *sound_outputs(settings, clock),
    ]  # fmt: skip
    engine = Engine(
        settings=settings,
        sources=sources,
        models=models,
        outputs=outputs,
        on_events=show,
        clock=clock,
        on_command=log_command,
        last_resort=last_resort,
    )
    for output in over_mqtt:
        output.serve(engine.request)
    for numbers in metrics:
        numbers.watch(engine.load, [*over_mqtt, *webhooks])
    on_start(engine)
    return engine.run(seconds=seconds)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the engine that a configuration file describes.

    Returns:
        Exit code: of the `MonitorError` where it cannot start, else the engine's.
    """
    parser = argparse.ArgumentParser(prog="python -m monitor.engine.daemon", description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--seconds", type=float)
    parser.add_argument("--supervised", action="store_true", help="end when standard input closes")
    given = parser.parse_args(arguments)
    faulthandler.enable()
    try:
        settings = load_settings(given.config, text=os.environ.pop(CONFIGURATION, None))
        logging.basicConfig(
            level=settings.log.level,
            format="%(asctime)s %(levelname)s %(name)s [%(threadName)s] %(message)s",
            force=True,
        )
        on_start = (lambda engine: end_with_parent(engine.request_stop)) if given.supervised else (lambda _: None)
        return run_engine(settings, json=given.json, seconds=given.seconds, on_start=on_start, last_resort=True)
    except MonitorError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


def _write_line(line: str) -> None:
    sys.stdout.write(line + "\n")
    sys.stdout.flush()  # whoever reads a pipe wants each score now


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    # A thread that was left behind inside a C library must not hold up or crash the interpreter's own end.
    os._exit(code)
