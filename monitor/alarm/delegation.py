"""Who signals a bed's alarms in this monitor's place (A15): a client that says so again and again, and falls back here.

SDC calls it a delegation with a fallback signal: the remote signal counts while its giver confirms it in time, and the
local one comes back by itself where it does not. Pure.
"""

from __future__ import annotations

from collections.abc import Sequence


class Delegation:
    """Clients that have confirmed that they signal alarms, each until a time of its own."""

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    @property
    def by(self) -> tuple[str, ...]:
        """Who they are, by name; empty: alarms are signalled here."""
        return tuple(sorted(self._until))

    def confirm(self, actor: str, until: float, now: float) -> None:
        """Take the word of a client, in place of the one that it gave before.

        Args:
            actor: Who.
            until: Stream clock from which it no longer counts; not later than `now`: it takes its word back.
            now: Stream clock.
        """
        if until > now:
            self._until[actor] = until
        else:
            self._until.pop(actor, None)

    def would_change(self, actor: str, until: float, now: float) -> bool:
        """Whether a word would make another set of clients, and not just renew one."""
        return (actor in self._until) != (until > now)

    def lapsed(self, now: float) -> tuple[str, ...]:
        """Those who have not renewed their word in time."""
        return tuple(actor for actor in self.by if self._until[actor] <= now)

    def end(self, actors: Sequence[str]) -> None:
        """Count them no longer."""
        for actor in actors:
            self._until.pop(actor, None)
