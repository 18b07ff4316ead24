"""`[engine]`: the engine process."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from monitor.config.table import Table


class EngineSettings(Table):
    """The engine process. `[engine]`."""

    state_dir: str = ""
    """Where sessions, lock files and the control socket live; empty: the XDG data folder of the user."""
    record: bool = True
    """Write a session database for every bed."""
    queue_chunks: Annotated[int, Field(ge=16, le=100_000)] = 4096
    """Chunks that may wait for the pipeline; when full the oldest of that source are dropped, counted, and shown."""
    store_queue: Annotated[int, Field(ge=64, le=1_000_000)] = 65_536
    """Records that may wait for the disk; when full recording pauses and the lost span is counted and shown."""
    watchdog_s: Annotated[float, Field(ge=2, le=300)] = 6.0
    """A pipeline that shows no sign of life for so long is reported as an alarm, ended, and started anew."""
    selfcheck_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """Seconds between two self-checks, which prove each route that alarms take."""
    restart_limit: Annotated[int, Field(ge=0, le=1000)] = 10
    """Restarts within an hour before the supervisor gives up."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where models run; "cuda" is refused where it cannot be had, "auto" says what it took."""
