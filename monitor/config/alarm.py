"""`[bed.alarm]`: limits and delays of the alarms."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from monitor.config.table import Table
from monitor.errors import Problem


class AlarmSettings(Table):
    """Limits and delays of the alarms, on the fast index; unvalidated. `[bed.alarm]`."""

    moderate_on: Annotated[float, Field(ge=20, le=95)] = 50.0
    """Index at or above which moderate pain counts as present (priority low)."""
    moderate_off: Annotated[float, Field(ge=5, le=95)] = 35.0
    """Index below which it counts as gone."""
    moderate_after_s: Annotated[float, Field(ge=0, le=120)] = 15.0
    """Stream time above the limit before the alarm."""
    severe_on: Annotated[float, Field(ge=20, le=95)] = 70.0
    """Index at or above which severe pain counts as present (priority medium)."""
    severe_off: Annotated[float, Field(ge=5, le=95)] = 55.0
    """Index below which it counts as gone."""
    severe_after_s: Annotated[float, Field(ge=0, le=120)] = 60.0
    """Stream time above the limit before the alarm."""
    off_after_s: Annotated[float, Field(ge=0, le=120)] = 30.0
    """Stream time below the off limit before a pain alarm clears."""
    freeze_s: Annotated[float, Field(ge=0, le=60)] = 10.0
    """Windows without an index freeze the timers for this long, then reset them."""
    no_data_after_s: Annotated[float, Field(ge=1, le=120)] | None = None
    """Seconds without any sample before the technical alarm `no_data`; left out, 2 s and the usual packet interval."""
    first_data_within_s: Annotated[float, Field(ge=10, le=3600)] | None = None
    """Seconds from the start within which a first sample must come, else `no_data` is there; left out, a bed that has
    had no signal yet does not alarm (A12). For a daemon that starts by itself beside a patient."""
    unscorable_after_s: Annotated[float, Field(ge=1, le=600)] = 30.0
    """Stream time without a score before the technical alarm `unscorable`."""
    fault_after_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    """Stream time for which a fault (sensor off, clock, model, calibration) must last before its technical alarm."""
    stale_after_s: Annotated[float, Field(ge=2, le=120)] = 10.0
    """Seconds without a decided window, though data come, before the technical alarm `stale`; at least two hops."""
    uncertain_above: Annotated[float, Field(ge=0.5, le=1)] = 1.0
    """Entropy of the class probabilities, 1 = all alike, above which the model is uncertain; at 1 it never is."""
    uncertain_after_s: Annotated[float, Field(ge=0, le=600)] = 30.0
    """Stream time above it before the technical alarm `uncertain`."""
    heart_rate_on: Annotated[float, Field(ge=60, le=240)] | None = None
    """Heart rate in 1/min at or above which the plain comparator alarms (priority low); left out, it never does."""
    heart_rate_off: Annotated[float, Field(ge=40, le=240)] | None = None
    """Heart rate below which that alarm ends; left out, 15 below heart_rate_on."""
    heart_rate_after_s: Annotated[float, Field(ge=0, le=120)] = 60.0
    """Stream time above the limit before that alarm."""
    scr_per_s_on: Annotated[float, Field(ge=0.02, le=1)] | None = None
    """Skin conductance responses a second, over the last minute, at or above which that comparator alarms (low)."""
    scr_per_s_off: Annotated[float, Field(ge=0.01, le=1)] | None = None
    """Rate below which that alarm ends; left out, half of scr_per_s_on."""
    scr_per_s_after_s: Annotated[float, Field(ge=0, le=120)] = 15.0
    """Stream time above the limit before that alarm."""
    spi_on: Annotated[float, Field(ge=20, le=100)] | None = None
    """SPI-style index of the pulse wave, 0 to 100, at or above which that comparator alarms (low)."""
    spi_off: Annotated[float, Field(ge=5, le=100)] | None = None
    """Index below which that alarm ends; left out, 15 below spi_on."""
    spi_after_s: Annotated[float, Field(ge=0, le=120)] = 60.0
    """Stream time above the limit before that alarm."""
    latch_medium: bool = True
    """Medium physiological alarms stay until acknowledged; nobody at the bedside can change this."""
    rejoin_s: Annotated[float, Field(ge=0, le=600)] = 120.0
    """An alarm that returns within so many seconds joins the last one: the same id, counted, and no new sound."""
    reminder_s: Literal[0, 120, 180] = 180
    """Seconds after which an acknowledged alarm that is still there is heard again, once; 0: never."""
    audio_pause_s: Annotated[float, Field(ge=0, le=300)] = 120.0
    """Longest pause of alarm sounds, and the usual one; 0: there is none."""
    suspend_s: Annotated[float, Field(ge=0, le=300)] = 300.0
    """Longest suspension of pain alarms during a procedure, and the usual one; 0: there is none."""
    delegation_s: Annotated[float, Field(ge=0, le=60)] = 10.0
    """A client that signals alarms in this monitor's place must say so again within so many seconds; 0: none may."""


def alarm_contradictions(alarm: AlarmSettings, key: str) -> list[Problem]:
    """What is wrong between alarm settings that are each right by themselves; `key` names their table."""
    problems = []
    for level in ("moderate", "severe"):
        on, off = getattr(alarm, f"{level}_on"), getattr(alarm, f"{level}_off")
        if off >= on:
            problems.append(
                Problem(f"{key}.{level}_off", f"{off:g} is not below {level}_on = {on:g}", "an alarm would flap")
            )
    for plain in ("heart_rate", "scr_per_s", "spi"):
        on, off = getattr(alarm, f"{plain}_on"), getattr(alarm, f"{plain}_off")
        if off is not None and (on is None or off >= on):
            what = f"there is no higher {plain}_on"
            problems.append(Problem(f"{key}.{plain}_off", what, f"set {plain}_on above it, or drop it"))
    if alarm.severe_on < alarm.moderate_on:
        problems.append(
            Problem(f"{key}.severe_on", f"{alarm.severe_on:g} is below moderate_on = {alarm.moderate_on:g}")
        )
    return problems
