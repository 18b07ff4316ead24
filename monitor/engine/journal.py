"""What a bed tells whoever keeps or shows its steps: where a session begins, each step with its events, where it ends.

Sessions are written (`monitor.engine.recorder`) and screens are told (`monitor.engine.broadcast`) from this alone.
"""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from monitor.config import BedSettings
from monitor.sessions.rows import Input
from monitor.types import Event


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionStart:
    """All that a session says of itself at its beginning."""

    bed: BedSettings
    session: uuid.UUID
    at: float
    """Stream clock."""
    utc: float
    """UTC at that moment."""
    continues: uuid.UUID | None = None
    """The session that this one takes up after a failure."""


class Journal(Protocol):
    """Keeps what the beds do; never waits and never raises."""

    def begin(self, start: SessionStart) -> None:
        """A session begins; the one before it on this bed has been ended."""
        ...

    def log(self, bed: str, step: Input | None, events: Sequence[Event]) -> None:
        """One step and its events; without a step, events that did not come out of the pipeline."""
        ...

    def end(self, bed: str) -> None:
        """The bed's session ends."""
        ...


class Journals:
    """Several journals in one: each is told every step, in order.

    Args:
        journals: Whom to tell.
    """

    def __init__(self, *journals: Journal) -> None:
        self._journals = journals

    def begin(self, start: SessionStart) -> None:
        """See `Journal`."""
        for journal in self._journals:
            journal.begin(start)

    def log(self, bed: str, step: Input | None, events: Sequence[Event]) -> None:
        """See `Journal`."""
        for journal in self._journals:
            journal.log(bed, step, events)

    def end(self, bed: str) -> None:
        """See `Journal`."""
        for journal in self._journals:
            journal.end(bed)
