"""Whether those who look on see what there is (clinical.md D7): screens say what they have seen, we hold them to it.

A screen sends the number of the newest state that it has drawn, about once a second. One that has not seen for
`BEHIND_S` what was sent is behind: it may be showing somebody an old value. From here a screen that hangs and one that
is gone without a word look alike, so the latter counts as behind too, until it is forgotten after `FORGOTTEN_S`.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict, deque
from dataclasses import dataclass
from typing import Any, Final

BEHIND_S: Final = 3.0
"""A state that a screen has not seen for longer is one too many."""
FORGOTTEN_S: Final = 15.0
"""A screen that has not been heard for so long is gone."""

_MOST: Final = 64
_KEPT: Final = 256
_LOOK_AGAIN_S: Final = 1.0
_NOT_OURS = re.compile(r"[^A-Za-z0-9_.@-]")


@dataclass(slots=True)
class _Screen:
    bed: str
    actor: str
    seq: int | None
    """None: of another run of the engine, or of a state that was never sent."""
    since: float
    """When it was first heard, or began to show what is not ours; before this nothing was its to see."""
    heard: float


class Screens:
    """What each screen has seen of what this engine has sent. Any thread may call it; nothing waits.

    Args:
        engine: Name of this run of the engine, as states bear it.
    """

    def __init__(self, engine: str) -> None:
        self._engine = engine
        self._lock = threading.Lock()
        self._sent: deque[tuple[int, float]] = deque(maxlen=_KEPT)
        self._screens: OrderedDict[str, _Screen] = OrderedDict()
        self._looked: float | None = None
        self._judge_from = 0.0

    def sent(self, seq: int, now: float) -> None:
        """A state has been sent.

        Args:
            seq: Its number.
            now: Clock of the engine.
        """
        with self._lock:
            self._sent.append((seq, now))

    def seen(
        self, *, bed: str, screen: str, actor: str, engine: str, seq: int, leaving: bool, now: float
    ) -> dict[str, Any]:
        """A screen says what it has seen.

        Args:
            bed: The bed that it shows.
            screen: Its own name for itself, another one for each window.
            actor: Who looks.
            engine: Run of the engine that the state was of.
            seq: Number of the newest state that it has drawn.
            leaving: It is about to close.
            now: Clock of the engine.

        Returns:
            The newest state that was sent: `engine` and `seq`.
        """
        with self._lock:
            known = self._screens.pop(screen, None)
            newest = self._sent[-1][0] if self._sent else 0
            if not leaving:
                known = known if known is not None and known.bed == bed else None
                ours = seq if engine == self._engine and seq <= newest else None
                since = now if known is None or (ours is None and known.seq is not None) else known.since
                self._screens[screen] = _Screen(bed, actor, ours, since, now)
                while len(self._screens) > _MOST:
                    self._screens.popitem(last=False)
            return {"engine": self._engine, "seq": newest}

    def behind(self, now: float) -> dict[str, tuple[str, ...]]:
        """By bed, the routes to screens that do not show what there is: `dashboard-<who looks>`. To be asked steadily.

        Who has not asked for a while was held up, and with it perhaps what the screens said; it judges nobody at once.

        Args:
            now: Clock of the engine.
        """
        with self._lock:
            if self._looked is None or now - self._looked > _LOOK_AGAIN_S:
                self._judge_from = now + BEHIND_S
            self._looked = now
            for name in [name for name, item in self._screens.items() if now - item.heard > FORGOTTEN_S]:
                del self._screens[name]
            if now < self._judge_from:
                return {}
            found: dict[str, set[str]] = {}
            for screen in self._screens.values():
                if self._lag(screen, now) > BEHIND_S:
                    found.setdefault(screen.bed, set()).add(f"dashboard-{_NOT_OURS.sub('_', screen.actor)}")
            return {bed: tuple(sorted(names)) for bed, names in found.items()}

    def _lag(self, screen: _Screen, now: float) -> float:
        """Seconds for which there has been a state that the screen has not seen."""
        unseen = next((at for number, at in self._sent if screen.seq is None or number > screen.seq), now)
        return now - max(unseen, screen.since)
