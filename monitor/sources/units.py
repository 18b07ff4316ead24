"""Units of samples: one canonical spelling each, and the linear conversions between them."""

from __future__ import annotations

from types import MappingProxyType
from typing import Final

from monitor.modality import MODALITY_UNITS

COUNTS: Final = "counts"
"""Raw converter output: carries no physical meaning without a transfer function."""

ARBITRARY: Final = "a.u."

_FACTORS: Final = MappingProxyType(
    {
        # unit: (dimension, factor to the dimension's base unit, offset in the base unit)
        "V": ("voltage", 1.0, 0.0),
        "mV": ("voltage", 1e-3, 0.0),
        "uV": ("voltage", 1e-6, 0.0),
        "nV": ("voltage", 1e-9, 0.0),
        "S": ("conductance", 1.0, 0.0),
        "mS": ("conductance", 1e-3, 0.0),
        "uS": ("conductance", 1e-6, 0.0),
        "nS": ("conductance", 1e-9, 0.0),
        "Ohm": ("resistance", 1.0, 0.0),
        "kOhm": ("resistance", 1e3, 0.0),
        "MOhm": ("resistance", 1e6, 0.0),
        "%": ("share", 1e-2, 0.0),
        "degC": ("temperature", 1.0, 0.0),
        "degF": ("temperature", 5.0 / 9.0, -160.0 / 9.0),
        "K": ("temperature", 1.0, -273.15),
        "g": ("acceleration", 1.0, 0.0),
        "mg": ("acceleration", 1e-3, 0.0),
        "m/s2": ("acceleration", 1.0 / 9.80665, 0.0),
        "bpm": ("frequency", 1.0, 0.0),
        ARBITRARY: ("arbitrary", 1.0, 0.0),
        COUNTS: ("counts", 1.0, 0.0),
    }
)

_SPELLINGS: Final = MappingProxyType(
    {
        "volt": "V",
        "volts": "V",
        "millivolt": "mV",
        "millivolts": "mV",
        "microvolt": "uV",
        "microvolts": "uV",
        "siemens": "S",
        "millisiemens": "mS",
        "microsiemens": "uS",
        "usiemens": "uS",
        "umho": "uS",
        "nanosiemens": "nS",
        "ω": "Ohm",
        "ohms": "Ohm",
        "kω": "kOhm",
        "kohms": "kOhm",
        "mω": "MOhm",
        "percent": "%",
        "pct": "%",
        "°c": "degC",
        "c": "degC",
        "celsius": "degC",
        "deg c": "degC",
        "°f": "degF",
        "f": "degF",
        "fahrenheit": "degF",
        "kelvin": "K",
        "m/s^2": "m/s2",
        "m/s²": "m/s2",
        "1/bpm": "bpm",
        "beats/min": "bpm",
        "au": ARBITRARY,
        "a.u": ARBITRARY,
        "arb": ARBITRARY,
        "arbitrary": ARBITRARY,
        "normalized": ARBITRARY,
        "normalised": ARBITRARY,
        "count": COUNTS,
        "raw": COUNTS,
        "adc": COUNTS,
        "adu": COUNTS,
        "lsb": COUNTS,
    }
)

# "ms" and "us" are times, "MV" is a megavolt that nobody means: only these may be written in any case.
_ANY_CASE: Final = MappingProxyType(
    {u.casefold(): u for u in ("mV", "uV", "nV", "Ohm", "kOhm", "degC", "degF", "bpm", ARBITRARY, COUNTS)}
)


def canonical_unit(text: str) -> str | None:
    """Return the monitor's spelling of a unit, or None where it is not known.

    Args:
        text: As a file, a stream or a person writes it: `µV`, `microsiemens`, `[uS]`, `°C`.
    """
    plain = text.strip().strip("[]()").strip().replace("\u00b5", "u").replace("\u03bc", "u").replace("\u2126", "\u03c9")
    if plain in _FACTORS:
        return plain
    lowered = plain.casefold()
    return _ANY_CASE.get(lowered) or _SPELLINGS.get(lowered)


def known_units() -> str:
    """All spellings that messages offer, joined by commas."""
    return ", ".join(_FACTORS)


def convert(unit: str, modality: str) -> tuple[float, float] | str:
    """Return (gain, offset) that take samples in `unit` to the modality's unit, or why that is impossible, in words.

    Modalities in arbitrary units take any unit as it is: only their shape matters, and the scale comes from the
    bed's calibration.

    Args:
        unit: A canonical unit.
        modality: A modality of `MODALITY_UNITS`; ARRAY and EMBED streams are never converted.
    """
    target = MODALITY_UNITS.get(modality, ARBITRARY)
    if target in (ARBITRARY, unit):
        return 1.0, 0.0
    have, factor, shift = _FACTORS[unit]
    want, target_factor, target_shift = _FACTORS[target]
    if have == want:
        return factor / target_factor, (shift - target_shift) / target_factor
    if have == "resistance" and want == "conductance":
        return "resistance becomes conductance by 1/R, which is not linear: convert the samples (uS = 1000 / kOhm)"
    return f"{unit} is a unit of {have}, but {modality} is measured in {target}"
