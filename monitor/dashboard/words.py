"""Codes of the wire in the words of a bedside."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Final

from monitor.types import CalibrationState, Reason

BANNER: Final = "RESEARCH USE ONLY  –  not for diagnosis or treatment  –  not an alarm system of record"

REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        Reason.STARTING: "just started",
        Reason.NO_STREAM: "no sensor connected",
        Reason.NO_DATA: "sensor is silent",
        Reason.LATE: "data arrive too late",
        Reason.GAP: "samples are missing",
        Reason.NOT_FINITE: "invalid samples",
        Reason.WARMING_UP: "filter is settling",
        Reason.CLOCK_FAULT: "clock of the device is wrong",
        Reason.CLOCK_JUMP: "clock was set anew",
        Reason.RATE_FAULT: "sampling rate is off",
        Reason.RATE_TOO_LOW: "sampling rate too low",
        Reason.CHANNEL_COUNT: "wrong number of channels",
        Reason.UNIT_UNKNOWN: "unit unknown",
        Reason.NOT_CALIBRATED: "not calibrated yet",
        Reason.OUT_OF_RANGE: "out of range",
        Reason.SLOPE: "changes too fast",
        Reason.FLAT: "flat line",
        Reason.SATURATED: "saturated",
        Reason.LOW_SNR: "too noisy",
        Reason.NO_BEATS: "no beats found",
        Reason.MAINS: "mains hum",
        Reason.ARTEFACT: "settling after an artefact",
        Reason.TEMPERATURE: "skin temperature out of range",
        Reason.BUNDLE_CHANGED: "the model has just changed",
        Reason.HALF_EMPTY: "too few scores yet",
        Reason.MODEL_FAULT: "the model failed",
        Reason.NO_INDEX: "this model gives no index",
        Reason.ENTROPY: "cannot tell the classes apart",
        Reason.DRIFT: "has left the baseline",
        Reason.UNLIKE_TRAINING: "unlike what it was trained on",
    }
)

CALIBRATION: Final[Mapping[str, str]] = MappingProxyType(
    {
        CalibrationState.NOT_CALIBRATED: "Not calibrated",
        CalibrationState.CALIBRATING: "Calibrating",
        CalibrationState.CALIBRATED: "Calibrated to this subject",
        CalibrationState.REQUIRED: "Calibration required",
        CalibrationState.UNSPECIFIED: "No calibration needed",
    }
)

ALARMS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "pain_severe": "Severe pain",
        "pain_moderate": "Moderate pain",
        "no_data": "No data: check sensors and connection",
        "unscorable": "No score can be made: check sensors",
        "model_fault": "The monitor or its model failed: assess the patient",
        "sensor_off": "Sensor off or its signal lost: check it",
        "stale": "Scores have stopped, values are old: assess the patient",
        "uncertain": "The model is uncertain: rely on your own assessment",
        "calibration_required": "The baseline no longer fits: look at the patient, then calibrate again at rest",
        "clock_fault": "A device's clock is wrong: check the device",
        "store_full": "The session is not being recorded: free space on the disk",
        "broker_lost": "Alarms are not passed on: the broker cannot be reached",
        "self_check_missed": "A self-check was missed: check that alarms still reach you",
        "two_signs": "Index and a plain measure both above their limits: reassess pain, enter a score",
        "heart_rate": "Heart rate above its limit: look at the patient",
        "scr_rate": "Skin conductance responses above their limit: look at the patient",
        "spi": "SPI-style index above its limit: look at the patient",
    }
)
"""Titles of the alarm conditions; none advises treatment."""

PROVENANCE: Final[Mapping[str, str]] = MappingProxyType({"simulated": "SIMULATED SIGNALS", "replay": "REPLAY"})
"""Badge for signals that are not a patient's own, now; `live` has none."""


def reason(code: str) -> str:
    """One reason in words: `EDA:gap` -> `EDA: samples are missing`."""
    modality, colon, name = code.rpartition(":")
    said = REASONS.get(name, name.replace("_", " "))
    return f"{modality}{colon} {said}" if modality else said


def reasons(codes: Iterable[str]) -> str:
    """Several reasons in words: `EDA, ECG: filter is settling; BVP: flat line, saturated`."""
    said: dict[str, list[str]] = {}
    for code in codes:
        modality, _, name = code.rpartition(":")
        words = said.setdefault(modality, [])
        word = REASONS.get(name, name.replace("_", " "))
        if word not in words:
            words.append(word)
    sharing: dict[str, list[str]] = {}
    for modality, words in said.items():
        sharing.setdefault(", ".join(words), []).append(modality)
    return "; ".join(f"{', '.join(names)}: {text}" if names != [""] else text for text, names in sharing.items())


def seconds(value: float) -> str:
    """A length of time: `8 s`, `3 min`, `2 h`."""
    if value < 90:
        return f"{value:.0f} s"
    return f"{value / 60:.0f} min" if value < 5400 else f"{value / 3600:.0f} h"
