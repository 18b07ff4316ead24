"""The dashboard: on an engine that runs, or together with one that is started for it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from monitor.cli.commands import Actor, Bed, Engine, EngineKey, Key, StateDir, remote_keys
from monitor.errors import EngineError

_END_S: Final = 45.0


def dashboard(
    *,
    engine: Engine = "",
    key: Key = None,
    engine_key: EngineKey = None,
    bed: Bed = "",
    state_dir: StateDir = None,
    actor: Actor = "",
) -> None:
    """Open the dashboard of an engine that is running.

    The engine does not notice whether a dashboard looks: it may be closed, started again, or killed at any time, and
    several may look at once. What is entered there is written into the session with the name of who entered it.

        pain-monitor daemon config.toml       (one terminal)

        pain-monitor dashboard                (another)

        pain-monitor dashboard --engine tcp://engine.ward.example:5560 --key nurse.key
    """
    from monitor.cli.commands import default_actor, running_bed
    from monitor.link import endpoint
    from monitor.sessions.file import state_folder

    _need_display()
    keys = remote_keys(engine, key, engine_key)
    if not engine:
        state = state_folder(str(state_dir or ""))
        engine = endpoint(state / "run", bed or running_bed(state, for_screen=True))
    from monitor.dashboard.app import run_dashboard

    run_dashboard(address=engine, actor=actor or default_actor(), keys=keys, bed=bed)


def run(
    config: Annotated[Path, typer.Argument(help="The configuration, e.g. config.toml.")],
    *,
    actor: Actor = "",
) -> None:
    """Monitor the beds of a configuration, with the dashboard on this screen.

    The engine runs in a process of its own, under supervision, exactly as `pain-monitor daemon` runs it. Closing the
    window asks, and then stops the engine. To look at an engine that goes on without a screen, use `daemon` and
    `dashboard`.
    """
    from monitor.checkup import check_config
    from monitor.cli.commands import default_actor
    from monitor.link import endpoint
    from monitor.sessions.file import state_folder

    settings = check_config(config).settings
    _need_display()
    from monitor.dashboard.app import run_dashboard

    with _started(["daemon", str(config)], quiet=True) as engine:
        address = endpoint(state_folder(settings.engine.state_dir) / "run", settings.bed[0].name)
        run_dashboard(
            address=address,
            actor=actor or default_actor(),
            started_here="the engine that `run` started",
            ended=lambda: "" if engine.poll() is None else f"The engine ended (exit code {engine.returncode}).",
        )
    raise typer.Exit(engine.returncode)


def demo_on_screen(arguments: Sequence[str]) -> int:
    """Run the demonstration in a process of its own, and its dashboard in this one.

    Args:
        arguments: For `pain-monitor demo --headless`.

    Returns:
        Exit code of the demonstration.
    """
    from monitor.cli.commands import default_actor
    from monitor.dashboard.app import run_dashboard
    from monitor.link import endpoint
    from monitor.sessions.file import state_folder

    with _started(["demo", "--headless", "--with-parent", *arguments]) as engine:
        run_dashboard(
            address=endpoint(state_folder() / "run", f"demo-{engine.pid}"),
            actor=default_actor(),
            started_here="the demonstration",
            ended=lambda: "" if engine.poll() is None else "The demonstration has ended.",
            close_at_end=True,
        )
    return int(engine.returncode)


def why_no_screen() -> str:
    """Why no dashboard can be opened here, in one line; empty where one can."""
    if sys.platform not in ("win32", "darwin") and not any(
        os.environ.get(name) for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    ):
        return "there is no display"
    try:
        from monitor.dashboard.app import why_no_display
    except ImportError as error:
        return str(error)
    return why_no_display()


def stop_with_parent() -> None:
    """End this process in order when its standard input closes, as it does when whoever started it is gone."""

    def wait() -> None:
        import signal

        while os.read(0, 1024):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=wait, name="parent", daemon=True).start()


def _need_display() -> None:
    if why := why_no_screen():
        raise EngineError(
            "the dashboard cannot be opened",
            where=why,
            todo="Use `pain-monitor daemon CONFIG` without a screen, or run this where there is one",
        )


@contextlib.contextmanager
def _started(arguments: Sequence[str], *, quiet: bool = False) -> Iterator[subprocess.Popen[bytes]]:
    """Run a command of ours beside this one; at the end it is asked to stop, and waited for."""
    child = subprocess.Popen(
        [sys.executable, "-m", "monitor.cli", *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL if quiet else None,
        start_new_session=sys.platform != "win32",  # Ctrl-C is for us alone, who then stop it in order
    )
    try:
        yield child
    finally:
        if child.stdin is not None:
            child.stdin.close()
        if child.poll() is None:
            child.terminate()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
