"""What can be measured of a patient: the modalities by name, their units, and the least rate of each."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from monitor.errors import MappingError

MODALITY_UNITS: Final[Mapping[str, str]] = MappingProxyType(
    {"ECG": "mV", "EDA": "uS", "BVP": "a.u.", "EMG": "mV", "RESP": "a.u.", "SPO2": "%", "TEMP": "degC", "ACC": "g"}
)
"""Every physiological modality and the unit that the monitor works in."""

MODALITY_MIN_RATE_HZ: Final[Mapping[str, float]] = MappingProxyType(
    {"ECG": 100.0, "EDA": 4.0, "BVP": 25.0, "EMG": 450.0, "RESP": 10.0, "SPO2": 0.5, "TEMP": 0.1, "ACC": 10.0}
)
"""Lowest sampling rate at which a stream may serve a modality at all; a bundle may ask for more."""


def parse_modality(text: str) -> str:
    """Return the canonical name of a modality.

    Args:
        text: `EDA`, `spo2`, `ARRAY:fmri`, `EMBED:video`, in any case.

    Raises:
        MappingError: If there is no such modality.
    """
    prefix, colon, rest = text.strip().partition(":")
    if colon and prefix.upper() in ("ARRAY", "EMBED") and rest:
        return f"{prefix.upper()}:{rest}"
    if text.strip().upper() in MODALITY_UNITS:
        return text.strip().upper()
    raise MappingError(
        f"there is no modality '{text}'",
        todo=f"Write one of {', '.join(MODALITY_UNITS)}, ARRAY:<name> or EMBED:<name>",
    )


def many_channels(modality: str | None) -> bool:
    """Whether one stream carries all channels of a modality, each sample a row of them: ARRAY and EMBED."""
    return modality is not None and modality.startswith(("ARRAY:", "EMBED:"))
