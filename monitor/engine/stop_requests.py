"""Who wants the engine to end, and how the main thread waits for it: signals, a failure, sources that have ended."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType


class StopRequests:
    """Requests to end in order, each with the exit code that it wants."""

    def __init__(self) -> None:
        self._codes: queue.SimpleQueue[int] = queue.SimpleQueue()

    def put(self, code: int = 0) -> None:
        """Ask for the end; from any thread or a signal handler."""
        self._codes.put(code)  # SimpleQueue is re-entrant, which an Event or a Condition is not

    def wait(self, seconds: float | None) -> int:
        """Wait for a request, or for so many seconds.

        Returns:
            The exit code of the request; 0 where none came.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while end is None or time.monotonic() < end:
            # Waits in short steps: on Windows a wait without an end could not be interrupted.
            step = 1.0 if end is None else min(1.0, max(0.0, end - time.monotonic()))
            with contextlib.suppress(queue.Empty):
                return self._codes.get(timeout=step)
        return 0

    @contextlib.contextmanager
    def by_signals(self) -> Iterator[None]:
        """SIGINT and SIGTERM ask for the end, the second one forces it; nothing outside the main thread."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        seen = 0

        def on_signal(number: int, _frame: FrameType | None) -> None:
            nonlocal seen
            seen += 1
            if seen > 1:
                os._exit(128 + number)
            self.put()

        before = {number: signal.signal(number, on_signal) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
