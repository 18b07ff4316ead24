"""`[metrics]`, `[jsonlog]`, `[sound]` and `[log]`: what is told and heard on this machine."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from monitor.config.table import Table


class MetricsSettings(Table):
    """Numbers for Prometheus, on this machine's loopback address only. `[metrics]`."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port on 127.0.0.1 that answers with them; 0: none."""


class JsonLogSettings(Table):
    """A log of alarms, stream events and commands, one JSON object a line. `[jsonlog]`."""

    path: str = ""
    """File that it is written to, of mode 0600; empty: none."""
    max_mb: Annotated[float, Field(ge=0.01, le=10_000)] = 10.0
    """Size in MB at which the file is put aside and a new one begun."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 5
    """Files put aside that are kept: path.1 is the newest; older ones are deleted."""


class SoundSettings(Table):
    """Alarm tones on this machine. `[sound]`."""

    enabled: bool = False
    """Sound alarms here; what is heard is always shown too."""
    device: str = ""
    """Name or number of the sound device; empty: the system's own choice."""
    volume: Annotated[float, Field(ge=0.1, le=1)] = 0.5
    """Share of the device's full scale; it cannot be silent, which is what `enabled` is for."""


class LogSettings(Table):
    """What is written to standard error. `[log]`."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level that is written."""
