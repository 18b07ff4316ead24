"""The one protocol of all outputs, and the thread that each of them gets: an output fails alone."""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, Protocol, runtime_checkable

from monitor.errors import MonitorError
from monitor.types import AlarmEvent, Event

_LOGGER = logging.getLogger(__name__)

QUEUE_EVENTS: Final = 4096
"""Lists of events that may wait for a slow output; then the oldest are dropped and counted."""

_BACKOFF_S: Final = (1.0, 60.0)

_REPEAT_S: Final = 3600.0
"""A failure that lasts is said once, and again after so long: a log must last for months, too."""


class Output(Protocol):
    """Carries the events of all beds to somewhere else. All its methods are called by one thread of its own."""

    name: str

    def open(self) -> None:
        """Start; called again after a failure."""
        ...

    def publish(self, bed: str, events: Sequence[Event]) -> None:
        """Pass on what one step of a bed's pipeline gave, in order. May block; an exception reopens the output."""
        ...

    def close(self) -> None:
        """Release everything. May be called twice."""
        ...


@runtime_checkable
class Route(Protocol):
    """What an output has besides where it passes alarms on to somebody: it says how that stands, and can prove it.

    Optional: whatever output has these four is watched by the self-check (`monitor.engine.selfcheck`), no other is.
    All of them may be called by any thread at any time, also before `open` and after `close`.
    """

    bed: str
    """Name of the bed that it serves; empty: all of them."""

    @property
    def waiting(self) -> int:
        """Alarm transitions that the other end has not taken yet."""
        ...

    def problem(self) -> str:
        """Why alarms do not get through now; empty where they do, or where nothing is known yet. Returns at once."""
        ...

    def probe(self, report: Mapping[str, Any], timeout_s: float) -> str:
        """Send a probe over the whole route, and wait until the other end has proved that it came: an echo, a 2xx.

        Called by a thread of its own, never by two at once; must not hold up `publish`.

        Args:
            report: Plain values that go along, for whoever looks: `n` (which check), `missed` (names of routes that
                failed the last one).
            timeout_s: Seconds that it may take.

        Returns:
            What was wrong, in words; empty where the route is proved.
        """
        ...


@runtime_checkable
class Heir(Protocol):
    """An output that keeps the state of alarms somewhere else, where a process that died has left some standing."""

    def restored(self, bed: str, alarms: Sequence[AlarmEvent]) -> None:
        """Take note of the alarms that this process has taken over from one that failed.

        Called once for each bed before the first `open`, also with none. These still stand, under their ids: they are
        not to be ended, and not to be announced as new. Whatever else the process before left standing is over.
        """
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineLoad:
    """How an engine stands by itself, beside its beds: for an output that tells it."""

    waiting: Mapping[str, int]
    """By queue: `pipeline`, `store`, and one an output."""
    dropped: Mapping[str, int]
    """By source: chunks; by output: lists of events."""
    failures: Mapping[str, int]
    """By source or output: how often it was opened anew."""
    lost_records: Mapping[str, int]
    """By bed: records of its session that could not be written."""
    pipeline_age_s: float
    """Seconds since the pipeline's last sign of life."""
    checks: int = 0
    """Self-checks so far."""
    missed: Mapping[str, int] = field(default_factory=dict)
    """By route: self-checks that it failed so far."""
    unproved: Mapping[str, bool] = field(default_factory=dict)
    """By route: whether it failed the newest one."""
    rebuilt: Mapping[str, int] = field(default_factory=dict)
    """By bed: how often its pipeline failed and was built anew in this process."""


class CallbackOutput:
    """An output that hands the events to a function.

    Args:
        callback: Called with the bed's name and the events of one step, in a thread of its own.
        name: Name in log lines.
    """

    def __init__(self, callback: Callable[[str, Sequence[Event]], None], *, name: str = "callback") -> None:
        self.name = name
        self._callback = callback

    def open(self) -> None:
        """Nothing to start."""

    def publish(self, bed: str, events: Sequence[Event]) -> None:
        """Call the function."""
        self._callback(bed, events)

    def close(self) -> None:
        """Nothing to release."""


class OutputThread:
    """Feeds one output from a bounded queue, and reopens it with growing pauses when it fails.

    Args:
        output: The output.
        capacity: Lists of events that may wait.
    """

    def __init__(self, output: Output, *, capacity: int = QUEUE_EVENTS) -> None:
        self._output = output
        self._queue: queue.Queue[tuple[str, Sequence[Event]] | None] = queue.Queue(capacity)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"output-{output.name}", daemon=True)
        self.dropped = 0
        """Lists of events that this output never saw."""
        self.failures = 0
        self._said = ""
        self._said_at = 0.0

    @property
    def name(self) -> str:
        """Name of the output."""
        return self._output.name

    @property
    def output(self) -> Output:
        """The output itself."""
        return self._output

    @property
    def waiting(self) -> int:
        """Lists of events that wait."""
        return self._queue.qsize()

    def start(self) -> None:
        """Start the thread; it opens the output."""
        self._thread.start()

    def put(self, bed: str, events: Sequence[Event]) -> None:
        """Hand over events without ever waiting: when the queue is full the oldest are dropped and counted."""
        while True:
            try:
                self._queue.put_nowait((bed, events))
            except queue.Full:
                self._drop_oldest()
            else:
                return

    def stop(self, timeout: float) -> bool:
        """Let the queue run dry, close the output, and end the thread.

        Args:
            timeout: Seconds to wait for it.

        Returns:
            Whether it ended in time.
        """
        self._stop.set()
        try:
            self._queue.put_nowait(None)
        except queue.Full:
            self._drop_oldest()
            self._queue.put(None)
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _drop_oldest(self) -> None:
        try:
            self._queue.get_nowait()
        except queue.Empty:
            return
        self.dropped += 1
        if self.dropped == 1 or self.dropped % 1000 == 0:
            _LOGGER.warning("output %s is too slow: %d lists of events dropped", self.name, self.dropped)

    def _run(self) -> None:
        pause = _BACKOFF_S[0]
        while True:
            try:
                self._output.open()
                while (item := self._queue.get()) is not None:
                    self._output.publish(*item)
                    pause = _BACKOFF_S[0]
                    if self._said:
                        _LOGGER.warning("output %s works again", self.name)
                        self._said = ""
                return
            except Exception as error:  # noqa: BLE001 - whatever it does wrong must not reach scoring or another output
                self.failures += 1
                self._report(error, pause)
            finally:
                self._close()
            if self._stop.wait(pause):
                return
            pause = min(2.0 * pause, _BACKOFF_S[1])

    def _report(self, error: Exception, pause: float) -> None:
        """Log a failure: in words where the system or the user is at fault, and not again and again while it lasts."""
        why, now = f"{type(error).__name__}: {error}", time.monotonic()
        if why == self._said and now - self._said_at < _REPEAT_S:
            return
        self._said, self._said_at = why, now
        ours = not isinstance(error, (OSError, MonitorError))  # a defect of ours keeps its traceback
        _LOGGER.error(
            "output %s failed (failure %d): %s It is tried again in %g s, and for as long as it takes",
            *(self.name, self.failures, f"{error}".rstrip(".") + ".", pause),
            exc_info=ours,
        )

    def _close(self) -> None:
        try:
            self._output.close()
        except Exception:  # as above
            _LOGGER.exception("output %s could not be closed", self.name)
