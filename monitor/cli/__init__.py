"""The command `pain-monitor`: argument parsing and printing, nothing else. Each command imports what it needs when it
runs, so that `--help` answers at once and a missing library stops only the commands that use it.
"""

from __future__ import annotations

import logging
import os
import sys
from typing import Annotated, Final

import typer

from monitor.cli import (
    alarm_reports,
    commands,
    inventory,
    keys,
    live,
    recordings,
    screen,
    service,
    sessions,
    shelf,
    sound,
    status,
)
from monitor.errors import MonitorError

EXIT_CODES: Final = """
Exit codes:

0 all well · 1 a defect of ours · 2 wrong arguments · 3 configuration, or something of the system is missing ·
4 a stream cannot be mapped without guessing · 5 a recording or stream cannot be read or found ·
6 a model bundle is missing or damaged · 7 a session cannot be read, or did not verify · 8 the bed is monitored by
another engine · 9 no engine answers, or it stopped in disorder · 130 interrupted (Ctrl-C)
"""

app = typer.Typer(
    name="pain-monitor",
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode="markdown",
    pretty_exceptions_enable=False,  # a traceback is for us, and should look like one
    epilog=EXIT_CODES,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 120},
)


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        print(f"pain-monitor {version('pain-monitor')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Say it and end.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="Say more on standard error.")] = False,
) -> None:
    """Real-time pain monitor: physiology in over LSL, published deep models, every window accounted for.

    **Research use only.** The shipped models were trained on simulated patients.

    Begin with `pain-monitor demo`. To use your own devices: `pain-monitor streams` shows what is on the network and
    what to write into config.toml, `pain-monitor check config.toml` finds every mistake in it, and
    `pain-monitor daemon config.toml` monitors. To score a recording: `pain-monitor replay RECORDING`.
    """
    logging.basicConfig(
        stream=sys.stderr,
        level=logging.DEBUG if verbose else logging.WARNING,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
    )


app.command(rich_help_panel="Monitor")(live.demo)
app.command(rich_help_panel="Monitor")(screen.run)
app.command(rich_help_panel="Monitor")(live.daemon)
app.command(rich_help_panel="Monitor")(screen.dashboard)
app.command("install-service", rich_help_panel="Monitor")(service.install_service)
app.command(rich_help_panel="Monitor")(recordings.replay)
app.command(rich_help_panel="Monitor")(live.stream)

app.command(rich_help_panel="Look around")(inventory.streams)
app.command(rich_help_panel="Look around")(inventory.check)
app.command(rich_help_panel="Look around")(shelf.models)
app.command("sound-test", rich_help_panel="Look around")(sound.sound_test)

app.command(rich_help_panel="A running engine")(status.status)
app.command(rich_help_panel="A running engine")(commands.marker)
app.command(rich_help_panel="A running engine")(commands.nrs)
app.command(rich_help_panel="A running engine")(commands.acknowledge)
app.command("audio-pause", rich_help_panel="A running engine")(commands.audio_pause)
app.command(rich_help_panel="A running engine")(commands.suspend)
app.command(rich_help_panel="A running engine")(commands.resume)
app.command(rich_help_panel="A running engine")(commands.limits)
app.command(rich_help_panel="A running engine")(commands.recalibrate)
app.command("new-session", rich_help_panel="A running engine")(commands.new_session)
app.command(rich_help_panel="A running engine")(keys.keys)

app.command(rich_help_panel="Recorded sessions")(sessions.inspect)
app.command(rich_help_panel="Recorded sessions")(sessions.verify)
app.command(rich_help_panel="Recorded sessions")(sessions.export)
app.command(rich_help_panel="Recorded sessions")(alarm_reports.alarms)
app.command("simulate-alarms", rich_help_panel="Recorded sessions")(alarm_reports.simulate_alarms)


def main() -> None:
    """Run the command line; a user's mistake is one message, and its exit code says of which kind it was."""
    try:
        app()
    except MonitorError as error:
        print(f"pain-monitor: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except BrokenPipeError:  # whoever read our output (head, less) has gone
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)


__all__ = ["app", "main"]
