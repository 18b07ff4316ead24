"""Ends a process whose pipeline shows no sign of life, so that its supervisor can start it anew.

A thread that hangs cannot be mended from inside its process; a monitor that has stopped scoring and still looks alive
is the worst of all states. So it says an alarm first, past the pipeline, and then ends. Where it cannot even do that,
since something in C holds the interpreter, a timer that needs no interpreter ends the process.
"""

from __future__ import annotations

import faulthandler
import logging
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import Final

_LOGGER = logging.getLogger(__name__)

LAST_WORDS_S: Final = 2.0
"""Longest time that outputs get for the alarm before the process ends."""

LAST_RESORT_S: Final = 2.0
"""The process is ended from outside the interpreter when the watchdog itself has been held up for its limit and so much
more."""

EXIT_STUCK: Final = 21
"""Exit code of an engine that its watchdog ended."""


class Heartbeat:
    """When a thread last showed a sign of life."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def beat(self) -> None:
        """Show a sign of life."""
        self._last = time.monotonic()

    @property
    def age_s(self) -> float:
        """Seconds since the last one."""
        return time.monotonic() - self._last


def end_process() -> None:
    """Write what every thread is doing to standard error, and leave without cleaning up: clean-up could hang too."""
    faulthandler.dump_traceback(file=sys.__stderr__ or 2, all_threads=True)
    os._exit(EXIT_STUCK)


def last_words(say: Callable[[], None], end: Callable[[], None] = end_process) -> None:
    """Say something, for `LAST_WORDS_S` at most, and then end: what is said may hang or fail as well.

    Args:
        say: What to say, in a thread of its own.
        end: What to do then.
    """

    def speak() -> None:
        try:
            say()
        except Exception:  # the end must come, whatever is wrong
            _LOGGER.exception("that the pipeline hangs cannot be said everywhere")

    speaker = threading.Thread(target=speak, name="watchdog-alarm", daemon=True)
    speaker.start()
    speaker.join(LAST_WORDS_S)
    end()


class Watchdog:
    """Watches one heartbeat from a thread of its own.

    Args:
        heartbeat: What to watch.
        limit_s: Age in seconds at which the watched thread counts as stuck.
        on_stuck: What to do then, once.
        last_resort: End the process, too, when this thread itself cannot run for longer. There is one such timer in a
            process, so it is for processes that are an engine and nothing else.
    """

    def __init__(
        self,
        *,
        heartbeat: Heartbeat,
        limit_s: float,
        on_stuck: Callable[[], None] = end_process,
        last_resort: bool = False,
    ) -> None:
        self._last_resort = last_resort
        self._heartbeat = heartbeat
        self._limit_s = limit_s
        self._on_stuck = on_stuck
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        """Start watching; the heartbeat counts from now."""
        self._heartbeat.beat()
        self._thread.start()

    def stop(self) -> None:
        """Stop watching."""
        self._stop.set()
        self._thread.join()
        if self._last_resort:
            faulthandler.cancel_dump_traceback_later()

    def _run(self) -> None:
        self._arm()
        while not self._stop.wait(min(1.0, self._limit_s / 4)):
            self._arm()
            if self._heartbeat.age_s > self._limit_s:
                _LOGGER.critical("the pipeline has shown no sign of life for %.1f s", self._heartbeat.age_s)
                self._on_stuck()
                return

    def _arm(self) -> None:
        if self._last_resort:
            faulthandler.dump_traceback_later(
                self._limit_s + LAST_RESORT_S, exit=True, file=sys.__stderr__ or sys.stderr
            )
