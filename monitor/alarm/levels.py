"""When a condition begins and ends: limits on a number, and faults; both in stream time (A5, A6, A7)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from monitor.alarm.conditions import ASKED_OF, Condition, Moment
from monitor.types import AlarmEvent

TECHNICAL_CLEAR_S: Final = 5.0
"""A technical alarm ends after so many seconds without its cause; a single good window does not end it."""


class Level:
    """Persistence and hysteresis of one limit on a number; times in seconds of stream time.

    Args:
        condition: What is raised.
        text: Makes the sentence from the number, the limit and the seconds.
        quantity: Name of the number, to say that it fell.
    """

    def __init__(self, condition: Condition, *, text: Callable[[float, float, float], str], quantity: str) -> None:
        self.condition = condition
        self._text = text
        self._quantity = quantity
        self._on = self._off = self._after_s = self._off_after_s = 0.0
        self._onset: float | None = None
        self._above_s = 0.0
        self._below_s: float | None = None

    def limit(self, *, on: float, off: float, after_s: float, off_after_s: float) -> None:
        """Set the limits; both timers begin anew."""
        self._on, self._off, self._after_s, self._off_after_s = on, off, after_s, off_after_s
        self.condition.limit = on
        self.reset()

    @property
    def engaged(self) -> bool:
        """Whether the condition holds or is on its way."""
        return self.condition.holds or self._onset is not None

    def reset(self) -> None:
        """Forget both timers; a condition that holds goes on holding."""
        self._onset = None
        self._above_s = 0.0
        self._below_s = None

    def wants(self, value: float, dt: float, moment: Moment) -> tuple[float, str] | None:
        """Take a number while the condition does not hold; onset and text once it persisted long enough."""
        if value < self._on:
            self.reset()
            return None
        if self._onset is None:
            self._onset, self._above_s = moment.t, 0.0
        else:
            self._above_s += dt
        if self._above_s < self._after_s:
            return None
        onset = self._onset
        self.reset()
        return onset, self._text(value, self._on, self._after_s)

    def fall(self, value: float, dt: float, moment: Moment) -> list[AlarmEvent]:
        """Take a number while the condition holds; it ends after long enough below the lower limit."""
        if value >= self._off:
            self._below_s = None
            return []
        self._below_s = 0.0 if self._below_s is None else self._below_s + dt
        if self._below_s < self._off_after_s:
            return []
        self.reset()
        return self.condition.clear(moment, f"{self._quantity} below {self._off:g} for {self._off_after_s:g} s")

    def abandon(self, moment: Moment, why: str) -> list[AlarmEvent]:
        """End what nobody can judge any longer."""
        self.reset()
        return self.condition.clear(moment, why)


class Fault:
    """One technical cause: raised once it has lasted, ended once it has been gone for `TECHNICAL_CLEAR_S`.

    A cause that the one before did not have (another sensor) is announced anew.

    Args:
        condition: What is raised.
        after_s: Seconds for which it must last.
    """

    def __init__(self, condition: Condition, *, after_s: float) -> None:
        self.condition = condition
        self._after_s = after_s
        self._known: frozenset[str] = frozenset()
        self._onset: float | None = None
        self._present_s = 0.0
        self._absent_s: float | None = None

    def see(self, sources: frozenset[str], dt: float, moment: Moment) -> list[AlarmEvent]:
        """Take the state of the cause.

        Args:
            sources: What it comes from (sensors, or the condition's own name); empty where it is not there.
            dt: Seconds since the last look.
            moment: Now, with the causes in its words.
        """
        if not sources:
            return self._see_nothing(dt, moment)
        self._absent_s = None
        if self.condition.holds:
            more = bool(self._known) and not sources <= self._known  # nothing is known of what was restored
            self._known |= sources
            return self.condition.renew(moment, ASKED_OF[self.condition.name]) if more else []
        if self._onset is None:
            self._onset, self._present_s = moment.t, 0.0
        else:
            self._present_s += dt
        if self._present_s < self._after_s:
            return []
        onset, self._onset, self._known = self._onset, None, sources
        return self.condition.raise_(onset, moment, ASKED_OF[self.condition.name])

    def begin(self, sources: frozenset[str], moment: Moment) -> list[AlarmEvent]:
        """Raise it now, however short it has lasted; what holds already goes on as it is."""
        if self.condition.holds:
            return []
        onset = moment.t if self._onset is None else self._onset
        self._onset, self._absent_s, self._known = None, None, sources
        return self.condition.raise_(onset, moment, ASKED_OF[self.condition.name])

    def drop(self, moment: Moment, why: str) -> list[AlarmEvent]:
        """End it at once: another alarm says the same."""
        self._onset = self._absent_s = None
        return self.condition.clear(moment, why)

    def _see_nothing(self, dt: float, moment: Moment) -> list[AlarmEvent]:
        self._onset = None
        if not self.condition.holds:
            return []
        self._absent_s = 0.0 if self._absent_s is None else self._absent_s + dt
        if self._absent_s < TECHNICAL_CLEAR_S:
            return []
        self._absent_s = None
        return self.condition.clear(moment, "No longer so")
