"""Plain measures that may alarm beside the model, each only where the configuration gives it a limit (I6, A17)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Final, TypeAlias

from monitor.alarm.conditions import HEART_RATE, SCR_RATE, SPI, Bed, Condition
from monitor.alarm.levels import Level
from monitor.config import AlarmSettings
from monitor.types import AlarmKind, Comparators, Quality

Readings: TypeAlias = Mapping[str, tuple[float, str]]
"""By condition: the measure and the modality that it is taken from; whatever cannot be told is left out."""

BAND: Final = 15.0
"""Beats a minute, or points of the SPI-style index, below its limit at which an alarm ends by default."""
SCR_SHARE: Final = 0.5
"""Share of its limit at which that of skin conductance responses does."""


class PlainSign:
    """One plain measure with its limit.

    Args:
        bed: What conditions share.
        condition: Name of the condition.
        prefix: Of its settings: `<prefix>_on`, `<prefix>_off`, `<prefix>_after_s`.
        noun: Name of the measure in a sentence.
        said: Writes a value.
        ends: Where it ends by its limit, if the configuration does not say.
    """

    def __init__(
        self,
        bed: Bed,
        condition: str,
        *,
        prefix: str,
        noun: str,
        said: Callable[[float], str],
        ends: Callable[[float], float],
    ) -> None:
        self.noun = noun
        self.source = ""
        """Modality that it was last taken from."""
        self.lost_s = 0.0
        """For how long it could not be told."""
        self._prefix = prefix
        self._said = said
        self._ends = ends
        self.condition = Condition(bed, condition, kind=AlarmKind.PHYSIOLOGICAL)
        self.level = Level(self.condition, text=self._text, quantity=noun[0].upper() + noun[1:])

    def limited(self, settings: AlarmSettings) -> bool:
        """Whether it has a limit at all."""
        return getattr(settings, f"{self._prefix}_on") is not None

    def limit(self, settings: AlarmSettings) -> None:
        """Take over limits and delays; both timers begin anew."""
        on, off = (getattr(settings, f"{self._prefix}_{which}") for which in ("on", "off"))
        high = math.inf if on is None else on
        self.level.limit(
            on=high,
            off=self._ends(high) if off is None else off,
            after_s=getattr(settings, f"{self._prefix}_after_s"),
            off_after_s=settings.off_after_s,
        )

    def _text(self, value: float, limit: float, after_s: float) -> str:
        return f"Look at the patient: {self.noun} {self._said(value)} >= {limit:g} for {after_s:g} s"


def plain_signs(bed: Bed) -> tuple[PlainSign, ...]:
    """All of them, without limits yet."""
    return (
        PlainSign(bed, HEART_RATE, prefix="heart_rate", noun="heart rate", said="{:.0f}".format, ends=_band),
        PlainSign(
            bed,
            SCR_RATE,
            prefix="scr_per_s",
            noun="skin conductance responses a second",
            said="{:.2f}".format,
            ends=lambda on: SCR_SHARE * on,
        ),
        PlainSign(bed, SPI, prefix="spi", noun="SPI-style index", said="{:.0f}".format, ends=_band),
    )


def _band(on: float) -> float:
    return on - BAND


def readings_of(comparators: Comparators) -> Readings:
    """What was measured after a window."""
    told = (
        (HEART_RATE, comparators.heart_rate_bpm, comparators.heart_rate_from),
        (SCR_RATE, comparators.scr_per_s, comparators.scr_from),
        (SPI, comparators.spi, comparators.spi_from),
    )
    return {name: (value, source) for name, value, source in told if value is not None}


def heart_rate_in(quality: Sequence[Quality]) -> Readings:
    """The heart rate that the quality of a window found, for sessions without `Comparators`."""
    for item in quality:
        rate = item.metrics.get("heart_rate_bpm", math.nan)
        if item.usable and math.isfinite(rate):
            return {HEART_RATE: (rate, item.modality)}
    return {}
