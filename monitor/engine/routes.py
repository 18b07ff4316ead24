"""What the self-check proves: the routes that alarms, records and words of operators take out of an engine and in."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from monitor.clock import Clock
from monitor.errors import MonitorError
from monitor.link import ControlClient
from monitor.outputs.base import Output, Route

Probe: TypeAlias = Callable[[Mapping[str, Any], float], str]
"""(report, seconds that it may take) -> what was wrong, empty where the route is proved; see `Route.probe`."""

_PROBE_BYTES: Final = 4096
CLOCK_SET_S: Final = 2.0
"""A clock that was set by less than this since the start still tells the time of an alarm well enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One route, and how it is proved."""

    name: str
    bed: str
    """The bed that it serves; empty: all of them."""
    probe: Probe
    problem: Callable[[], str] = str
    """`Route.problem`; never one for routes that are not outputs."""


def output_checks(outputs: Sequence[Output]) -> list[Check]:
    """Outputs that can prove their route: an echo of the broker, a 2xx of the webhook, a device that plays.

    Only one of a single bed has another end that can be lost; what serves all of them is of this machine.
    """
    return [
        Check(name=output.name, bed=output.bed, probe=output.probe, problem=output.problem if output.bed else str)
        for output in outputs
        if isinstance(output, Route)
    ]


def session_check(bed: str, *, folder: Path, status: Callable[[str], Mapping[str, Any]]) -> Check:
    """That the session of a bed is being written, and that its disk takes some more.

    Args:
        bed: Name of the bed.
        folder: On the same disk.
        status: `Recorder.status`.
    """

    def probe(_report: Mapping[str, Any], _timeout_s: float) -> str:
        recording = status(bed)
        if problem := str(recording["problem"]):
            return problem
        file = recording.get("path")
        if file and not Path(file).exists():
            return (
                f"{file} was moved or deleted, and what is recorded is lost: `pain-monitor new-session` begins another"
            )
        path = folder / f"{bed}.probe"
        try:
            handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "wb") as file:
                file.write(bytes(_PROBE_BYTES))
                file.flush()
                os.fsync(file.fileno())
            path.unlink()
        except OSError as error:
            return f"nothing can be written: {error.strerror or error}"
        return ""

    return Check(name=f"session-{bed}", bed=bed, probe=probe)


def link_check(bed: str, *, state: Path) -> Check:
    """That the socket by which screens and operators reach a bed answers; a request goes through it as theirs do.

    Args:
        bed: Name of the bed.
        state: State folder.
    """
    client = ControlClient(state_dir=state, bed=bed, actor="self-check")

    def probe(_report: Mapping[str, Any], timeout_s: float) -> str:
        try:
            client.request("history", {"minutes": 0.01}, timeout=timeout_s)
        except MonitorError as error:
            return str(error)
        return ""

    return Check(name=f"link-{bed}", bed=bed, probe=probe)


def clock_check(clock: Clock) -> Check:
    """That this machine tells the time of day as it did at the start.

    All times are of the stream clock, and are told in UTC by the difference that there was at the start: a machine that
    begins with a wrong clock and is set right afterwards would tell the time of every alarm wrongly until it is started
    anew, and take the stamps of devices for wrong ones.

    Args:
        clock: The engine's clock.
    """
    began = clock.utc() - clock.now()

    def probe(_report: Mapping[str, Any], _timeout_s: float) -> str:
        moved = clock.utc() - clock.now() - began
        if abs(moved) <= CLOCK_SET_S:
            return ""
        return (
            f"this machine's clock was set by {moved:+.0f} s since the start, or the machine slept; all times are "
            "still told by the clock as it was. Start the daemon anew when the clock is right"
        )

    return Check(name="clock", bed="", probe=probe)
