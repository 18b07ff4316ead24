"""Which alarm settings an operator may change while a session runs, and to what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from pydantic import ValidationError

from monitor.config import AlarmSettings, alarm_contradictions

LIMITS: Final = (
    *("moderate_on", "moderate_off", "moderate_after_s", "severe_on", "severe_off", "severe_after_s", "off_after_s"),
    *("heart_rate_on", "heart_rate_off", "heart_rate_after_s"),
    *("scr_per_s_on", "scr_per_s_off", "scr_per_s_after_s"),
    *("spi_on", "spi_off", "spi_after_s"),
)
"""Settings that an operator may change; whether an alarm latches, say, is for the configuration alone (A11)."""


def changed_limits(settings: AlarmSettings, changes: Mapping[str, float]) -> AlarmSettings:
    """Return the settings with some limits changed.

    Raises:
        ValueError: If a name is none of `LIMITS`, a value out of its range, or one limit contradicts another.
    """
    if not changes or not set(changes) <= set(LIMITS):
        raise ValueError(f"limits are one or several of {', '.join(LIMITS)}")
    try:
        found = AlarmSettings.model_validate({**settings.model_dump(), **changes})
    except ValidationError as error:
        said = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
        raise ValueError(said) from None
    problems = alarm_contradictions(found, "limits")
    if problems:
        raise ValueError("; ".join(map(str, problems)))
    return found
