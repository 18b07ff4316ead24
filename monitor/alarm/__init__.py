"""The alarms of one bed: conditions, their signals and limits, as one pure state machine; see `AlarmManager`."""

from monitor.alarm.absence import STARTUP_GRACE_S
from monitor.alarm.conditions import (
    BROKER_LOST,
    CALIBRATION_REQUIRED,
    CLOCK_FAULT,
    HEART_RATE,
    MODEL_FAULT,
    NO_DATA,
    PAIN_MODERATE,
    PAIN_SEVERE,
    SCR_RATE,
    SELF_CHECK_MISSED,
    SENSOR_OFF,
    SPI,
    STALE,
    STORE_FULL,
    TWO_SIGNS,
    UNCERTAIN,
    UNSCORABLE,
)
from monitor.alarm.levels import TECHNICAL_CLEAR_S
from monitor.alarm.manager import REPORTED, AlarmManager

__all__ = [
    "BROKER_LOST",
    "CALIBRATION_REQUIRED",
    "CLOCK_FAULT",
    "HEART_RATE",
    "MODEL_FAULT",
    "NO_DATA",
    "PAIN_MODERATE",
    "PAIN_SEVERE",
    "REPORTED",
    "SCR_RATE",
    "SELF_CHECK_MISSED",
    "SENSOR_OFF",
    "SPI",
    "STALE",
    "STARTUP_GRACE_S",
    "STORE_FULL",
    "TECHNICAL_CLEAR_S",
    "TWO_SIGNS",
    "UNCERTAIN",
    "UNSCORABLE",
    "AlarmManager",
]
