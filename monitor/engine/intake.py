"""Everything that waits for the pipeline thread, and the threads that bring it: one for every source.

One consumer takes items in the order in which they were put. Chunks are bounded per source: when a source's share is
full its oldest chunk is dropped, and the samples lost are carried by that stream's next chunk (`Chunk.lost`), so that
the pipeline, the record and a later replay count the same loss. Commands and announced streams are never dropped.
"""

from __future__ import annotations

import dataclasses
import itertools
import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, TypeAlias

from monitor.clock import Clock
from monitor.errors import EngineError, MonitorError
from monitor.sources.base import Source
from monitor.types import Chunk, Command, Event, StreamEvent, StreamEventKind, StreamInfo

_LOGGER = logging.getLogger(__name__)

READ_TIMEOUT_S: Final = 0.5
"""How long a source may wait for data before it has to look whether it should end."""

READ_INTERVAL_S: Final = 0.02
"""A source that always has something is read no more often than this: batches cost far less than single samples, and
a fiftieth of a second is far below the 100 ms from sample to score."""

_BACKOFF_S: Final = (0.5, 30.0)
_HEALTHY_S: Final = 60.0


class Request:
    """A command on its way to the pipeline thread, and its answer on the way back.

    Args:
        command: The command.
    """

    def __init__(self, command: Command) -> None:
        self.command = command
        self._done = threading.Event()
        self._result: dict[str, object] = {}
        self._events: tuple[Event, ...] = ()
        self._error: Exception | None = None

    def succeed(self, result: dict[str, object]) -> None:
        """Answer; called by the pipeline thread when the command has been executed."""
        self._result = result
        self._done.set()

    def fail(self, error: Exception) -> None:
        """Answer that the command was refused or failed."""
        self._error = error
        self._done.set()

    def wait(self, timeout: float) -> dict[str, object]:
        """The answer.

        Raises:
            TimeoutError: If the pipeline did not get to it within `timeout` seconds; it may still do so.
            Exception: What `fail` was given.
        """
        if not self._done.wait(timeout):
            raise TimeoutError(f"command {self.command.action} was not executed within {timeout:g} s")
        if self._error is not None:
            raise self._error
        return self._result


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Item:
    """One thing for the pipeline thread."""

    bed: str
    what: Chunk | StreamInfo | StreamEvent | Request
    at: float
    """Stream clock when it was put."""


_Ticket: TypeAlias = tuple[int, Item]


class Intake:
    """A bounded queue of many producers and one consumer that keeps their common order.

    Args:
        capacity: Chunks that may wait per source.
        clock: Stamps each item.
    """

    def __init__(self, *, capacity: int, clock: Clock) -> None:
        self._capacity = capacity
        self._clock = clock
        self._condition = threading.Condition()
        self._tickets = itertools.count()
        self._chunks: dict[str, deque[_Ticket]] = {}
        self._kept: deque[_Ticket] = deque()
        self._pending_loss: Counter[tuple[str, str]] = Counter()
        self._dropped: Counter[str] = Counter()
        self._closed = False

    def put_chunk(self, source: str, bed: str, chunk: Chunk) -> None:
        """Queue a chunk of a source; drops that source's oldest when its share is full. Never waits."""
        with self._condition:
            share = self._chunks.setdefault(source, deque())
            if len(share) >= self._capacity:
                self._drop_oldest(source, share)
            self._put(share, bed, chunk)

    def put(self, bed: str, what: StreamInfo | StreamEvent | Request) -> None:
        """Queue something that is never dropped."""
        with self._condition:
            if self._closed and isinstance(what, Request):
                what.fail(EngineError("the engine is stopping"))
                return
            self._put(self._kept, bed, what)

    def take(self, timeout: float) -> Item | None:
        """The oldest item, waiting at most `timeout` seconds for one; None where none came or `close` was called."""
        with self._condition:
            if (found := self._oldest()) is None and not self._closed:
                self._condition.wait(timeout)
                found = self._oldest()
            if found is None:
                return None
            item = found.popleft()[1]
            if isinstance(item.what, Chunk) and self._pending_loss:
                lost = self._pending_loss.pop((item.bed, item.what.stream), 0)
                if lost:
                    item = dataclasses.replace(item, what=dataclasses.replace(item.what, lost=item.what.lost + lost))
            return item

    def close(self) -> None:
        """Wake the consumer for good: what is queued can still be taken, and further commands are refused."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()

    @property
    def closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    @property
    def waiting(self) -> int:
        """Chunks, announcements and requests that wait."""
        with self._condition:
            return len(self._kept) + sum(map(len, self._chunks.values()))

    def dropped(self) -> dict[str, int]:
        """Chunks dropped so far, by source; sources that lost none are left out."""
        with self._condition:
            return dict(self._dropped)

    def _put(self, queue: deque[_Ticket], bed: str, what: Chunk | StreamInfo | StreamEvent | Request) -> None:
        queue.append((next(self._tickets), Item(bed=bed, what=what, at=self._clock.now())))
        self._condition.notify()

    def _oldest(self) -> deque[_Ticket] | None:
        waiting = [queue for queue in (self._kept, *self._chunks.values()) if queue]
        return min(waiting, key=lambda queue: queue[0][0]) if waiting else None

    def _drop_oldest(self, source: str, share: deque[_Ticket]) -> None:
        item = share.popleft()[1]
        assert isinstance(item.what, Chunk)
        self._pending_loss[item.bed, item.what.stream] += len(item.what) + item.what.lost
        self._dropped[source] += 1
        if self._dropped[source] == 1 or self._dropped[source] % 1000 == 0:
            _LOGGER.warning("the pipeline is behind: %d chunks of %s dropped", self._dropped[source], source)


class SourceThread:
    """Reads one source of one bed into the intake, and opens it anew with growing pauses when it fails.

    Args:
        bed: Name of the bed.
        source: The source; used by this thread only, but for `close` at the very end.
        number: Tells several sources of a bed apart.
        intake: Where its readings go.
        clock: The engine's clock.
        on_done: Called by the thread when the source has finished by itself.
    """

    def __init__(
        self,
        *,
        bed: str,
        source: Source,
        number: int,
        intake: Intake,
        clock: Clock,
        on_done: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = f"{bed}/{number}-{source.name}"
        self.restarts = 0
        self.done = False
        """Nothing will ever come again: the recording has ended, or `stop` was called."""
        self._bed = bed
        self._source = source
        self._intake = intake
        self._clock = clock
        self._on_done = on_done
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name=f"source-{self.name}", daemon=True)

    def start(self) -> None:
        """Start reading."""
        self._thread.start()

    def stop(self) -> None:
        """Ask the thread to end after its current read."""
        self._stop.set()

    def join(self, timeout: float) -> bool:
        """Wait for the thread's end; whether it came within `timeout` seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def _run(self) -> None:
        pause = _BACKOFF_S[0]
        while not self._stop.is_set():
            started = time.monotonic()
            try:
                self._source.open()
                self._read_on()
                break
            except MonitorError as error:
                _LOGGER.error("source %s: %s Tried again in %g s.", self.name, error, pause)
                self._report(str(error))
            except Exception as error:  # a defect of one source must not end the others
                _LOGGER.exception("source %s failed; it is opened anew in %g s", self.name, pause)
                self._report(f"{type(error).__name__}: {error}")
            finally:
                self._close()
            self.restarts += 1
            if time.monotonic() - started > _HEALTHY_S:
                pause = _BACKOFF_S[0]
            self._stop.wait(pause)
            pause = min(2.0 * pause, _BACKOFF_S[1])
        self.done = True
        if not self._stop.is_set():
            self._on_done()

    def _read_on(self) -> None:
        while not self._stop.is_set():
            began = time.monotonic()
            reading = self._source.read(READ_TIMEOUT_S)
            for info in reading.opened:
                self._intake.put(self._bed, info)
            for event in reading.events:
                self._intake.put(self._bed, event)
            for chunk in reading.chunks:
                if len(chunk) or chunk.lost:
                    self._intake.put_chunk(self.name, self._bed, chunk)
            if self._source.finished:
                return
            spare = READ_INTERVAL_S - (time.monotonic() - began)
            if spare > 0:
                self._stop.wait(spare)

    def _report(self, detail: str) -> None:
        event = StreamEvent(
            bed=self._bed,
            stream=self._source.name,
            kind=StreamEventKind.REFUSED,
            t=self._clock.now(),
            detail=detail,
        )
        self._intake.put(self._bed, event)

    def _close(self) -> None:
        try:
            self._source.close()
        except Exception:  # as in _run
            _LOGGER.exception("source %s could not be closed", self.name)
