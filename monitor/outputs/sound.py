"""Alarms that are heard on this machine. docs/sound.md.

When they may be heard (paused, acknowledged, suspended, a reminder) is for the alarm manager to say, with every
transition; here is only what it sounds like and when the next burst is due. What is not shown is not heard. Without a
device, or without the library, that is said once and alarms go on in silence.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.clock import Clock
from monitor.config import SoundSettings
from monitor.outputs.sound_players import DevicePlayer, Player, SoundError
from monitor.outputs.tones import PATTERNS, Pattern, burst, pattern_of
from monitor.types import Activation, AlarmAction, AlarmEvent, AlarmKind, Event, Presence, Priority

_LOGGER = logging.getLogger(__name__)

_RETRY_S: Final = 60.0
_REPEAT_S: Final = 10.0
"""A burst that nobody heard is repeated at once, but a device that always breaks off is not for ever hurried."""
_AFTER_S: Final = 1.0
"""Seconds after a burst until it is looked whether the device took all of it."""
_URGENCY: Final = (Priority.HIGH, Priority.MEDIUM, Priority.LOW)


@dataclass(frozen=True, slots=True)
class _Sounding:
    rank: tuple[int, bool]
    """Urgency, and at the same one the patient before the technical."""
    pattern: Pattern


class Bursts:
    """Which burst is due when, of all beds together. Pure; times are of any one clock."""

    def __init__(self) -> None:
        self._sounding: dict[tuple[str, str], _Sounding] = {}
        self._once: list[_Sounding] = []
        self._elsewhere: set[str] = set()
        self._next_at = 0.0

    @property
    def pattern(self) -> Pattern | None:
        """Pattern of the most urgent alarm that is to be heard now; None where none is."""
        here = [item for (bed, _), item in self._sounding.items() if bed not in self._elsewhere]
        first = min(here, key=lambda item: item.rank, default=None)
        return first.pattern if first is not None else None

    def delegate(self, bed: str, now: float, *, elsewhere: bool) -> bool:
        """Take in who signals the alarms of a bed: somebody else, who has confirmed it, or this machine (A15).

        Args:
            bed: Name of the bed.
            now: When it was said.
            elsewhere: Nothing is to be heard of this bed here.

        Returns:
            Whether what sounds now must fall silent.
        """
        before = self.pattern
        (self._elsewhere.add if elsewhere else self._elsewhere.discard)(bed)
        if self.pattern is before:
            return False
        self._next_at = now
        return before is not None

    def take(self, event: AlarmEvent, now: float) -> bool:
        """Take in a transition.

        Args:
            event: The transition.
            now: When it came.

        Returns:
            Whether what sounds now must fall silent.
        """
        key, before = (event.bed, event.condition), self.pattern
        heard = (
            event.presence is not Presence.OFF
            and event.audio is Activation.ON
            and event.visual is Activation.ON  # never sound alone
        )
        item = _Sounding(
            (_URGENCY.index(event.priority), event.kind is AlarmKind.TECHNICAL), pattern_of(event.kind, event.priority)
        )
        if heard and event.reminder:
            if event.bed not in self._elsewhere:
                self._once.append(item)
            self._sounding.pop(key, None)
        elif heard:
            if self._sounding.get(key) != item:
                self._sounding[key] = item
                if self.pattern is item.pattern and event.bed not in self._elsewhere:  # it is new, and as urgent as any
                    self._next_at = now
        else:
            self._sounding.pop(key, None)
        if before is not None and self.pattern is not before:
            self._next_at = now
            return True
        return False

    def due(self, now: float) -> Pattern | None:
        """The burst that is to begin now, if any; each is given out once."""
        pattern = self.pattern
        once, self._once = self._once, []
        if pattern is not None and now >= self._next_at:  # says at least as much as a reminder would
            self._next_at = now + pattern.every_s
            return pattern
        if pattern is None and once:
            return min(once, key=lambda item: item.rank).pattern
        return None

    def repeat(self, now: float) -> None:
        """The last burst was not heard: the next one is due now."""
        self._next_at = now

    def wait_s(self, now: float) -> float | None:
        """Seconds until a burst is due; None where none is."""
        if self._once:
            return 0.0
        return max(0.0, self._next_at - now) if self.pattern is not None else None


class SoundOutput:
    """An `Output` and a `Route` (see monitor/outputs/base.py) for all beds.

    Args:
        settings: Device and volume.
        clock: The engine's clock.
        player: What makes it heard; None for the device of the settings.
    """

    def __init__(self, *, settings: SoundSettings, clock: Clock, player: Player | None = None) -> None:
        self.name = "sound"
        self.bed = ""
        self._clock = clock
        self._player = player or DevicePlayer(settings.device)
        self._samples = {pattern.name: burst(pattern, settings.volume) for pattern in PATTERNS}
        self._changed = threading.Condition()
        self._bursts = Bursts()
        self._silence = False
        self._ending = False
        self._thread: threading.Thread | None = None
        # Whoever uses the player may wait for a device that hangs; `_changed` is never held meanwhile.
        self._in_use = threading.Lock()
        self._problem = ""
        self._tried_at = -_RETRY_S
        self._repeated_at = -_REPEAT_S
        self._check_at: float | None = None

    @property
    def waiting(self) -> int:
        """Nothing waits: what was not heard in its time is not heard later."""
        return 0

    def problem(self) -> str:
        """Why nothing can be heard; empty where it can."""
        return self._problem

    def probe(self, report: Mapping[str, Any], timeout_s: float) -> str:  # noqa: ARG002 - see `Route`
        """Whether there is a device; without a sound. That somebody hears it, no program can tell."""
        if self._thread is None:
            return self._problem or "audio off: it has not begun"
        if not self._in_use.acquire(timeout=timeout_s):
            return self._problem or "audio off: the device does not answer"
        try:
            if self._problem:
                self._recover()
            else:
                self._check()
        finally:
            self._in_use.release()
        return self._problem

    def open(self) -> None:
        """Start; where nothing can be heard, that is logged once."""
        self.close()
        self._ending = False
        with self._in_use:
            self._try()
        self._thread = threading.Thread(target=self._run, name="output-sound-bursts", daemon=True)
        self._thread.start()

    def publish(self, bed: str, events: Sequence[Event]) -> None:  # noqa: ARG002 - every event names its bed
        """Sound what begins, and fall silent with what may no longer be heard."""
        with self._changed:
            for event in events:
                if isinstance(event, AlarmEvent):
                    self._silence |= self._bursts.take(event, self._clock.now())
                elif isinstance(event, AlarmAction) and "location" in event.after:
                    elsewhere = event.after["location"] == "remote"
                    self._silence |= self._bursts.delegate(event.bed, self._clock.now(), elsewhere=elsewhere)
            self._changed.notify()

    def close(self) -> None:
        """Fall silent. May be called twice."""
        with self._changed:
            self._ending = True
            self._changed.notify()
        thread, self._thread = self._thread, None
        if thread is not None:
            thread.join()
        with self._in_use:
            self._player.close()

    def _run(self) -> None:
        while True:
            with self._changed:
                if self._ending:
                    return
                now = self._clock.now()
                silence, self._silence = self._silence, False
                pattern = self._bursts.due(now)
                check = self._check_at is not None and now >= self._check_at
                if not silence and pattern is None and not check:
                    self._changed.wait(self._wait_s(now))
                    continue
            with self._in_use:
                if silence:
                    self._check_at = None
                    self._player.stop()
                if pattern is not None:
                    self._play(pattern)
                elif check:
                    self._check()

    def _wait_s(self, now: float) -> float | None:
        waits = [] if self._check_at is None else [max(0.0, self._check_at - now)]
        if (burst_s := self._bursts.wait_s(now)) is not None:
            waits.append(burst_s)
        return min(waits, default=None)

    def _play(self, pattern: Pattern) -> None:
        if self._problem:
            if self._clock.now() - self._tried_at < _RETRY_S:
                return
            if not self._try():
                return
        try:
            try:
                self._player.play(self._samples[pattern.name])
            except SoundError as error:
                self._failed(error)
                if not self._try():
                    return
                self._player.play(self._samples[pattern.name])  # another device, or the same one anew
        except SoundError as error:
            self._failed(error)
        else:
            self._check_at = self._clock.now() + pattern.length_s + _AFTER_S

    def _check(self) -> None:
        self._check_at = None
        try:
            self._player.check()
        except SoundError as error:
            self._failed(error)
            self._recover()

    def _recover(self) -> None:
        now = self._clock.now()
        if not self._try() or now - self._repeated_at < _REPEAT_S:
            return
        self._repeated_at = now
        with self._changed:
            self._bursts.repeat(now)
            self._changed.notify()

    def _try(self) -> bool:
        self._tried_at = self._clock.now()
        try:
            self._player.open()
        except SoundError as error:
            self._failed(error)
            return False
        if self._problem:
            _LOGGER.warning("alarms are heard again")
        self._problem = ""
        return True

    def _failed(self, error: SoundError) -> None:
        problem = f"audio off: {error}"
        if problem != self._problem:
            _LOGGER.error("%s; alarms are shown and sent, and not heard here", problem)
        self._problem = problem
