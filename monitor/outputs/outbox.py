"""Alarms on their way to a broker that may be away: none is lost, and whoever missed the first hears the second. Pure.

Every transition waits until the broker has confirmed it. After each new connection the newest state of every condition
goes out again, since a broker that was replaced or killed may have forgotten what it had retained, be it that an alarm
stands or that it has gone. A transition can therefore arrive twice; its `event_id`, `presence` and `t` are the same.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import Final

CAPACITY: Final = 1024
"""Transitions that may wait: an alarm every half minute for more than eight hours."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Letter:
    """One transition of one condition."""

    condition: str
    payload: bytes


class Outbox:
    """See the module.

    Args:
        capacity: Transitions that may wait; beyond it the oldest one that a newer one of its condition has overtaken
            is given up.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._waiting: deque[Letter] = deque()
        self._newest: dict[str, Letter] = {}
        self.given_up = 0
        """Transitions that were never sent."""

    def __len__(self) -> int:
        return len(self._waiting)

    @property
    def conditions(self) -> frozenset[str]:
        """Conditions of which anything was ever said."""
        return frozenset(self._newest)

    def put(self, letter: Letter) -> None:
        """Add a transition."""
        self._waiting.append(letter)
        self._newest[letter.condition] = letter
        if len(self._waiting) > self._capacity:
            overtaken = next((old for old in self._waiting if self._newest[old.condition] is not old), None)
            if overtaken is not None:  # else every one is the newest of its condition, and there are few conditions
                self._waiting.remove(overtaken)
                self.given_up += 1

    def first(self) -> Letter | None:
        """The oldest transition that has not been confirmed."""
        return self._waiting[0] if self._waiting else None

    def confirm(self, letter: Letter) -> None:
        """The broker has it."""
        if letter in self._waiting:
            self._waiting.remove(letter)

    def repeat(self) -> None:
        """A new connection: the newest state of each condition is to be sent again, behind what still waits."""
        for letter in self._newest.values():
            if letter not in self._waiting:
                self._waiting.append(letter)
