"""The mailbox through which the threads of a live source hand over what came."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import replace
from typing import Final

from monitor.sources.base import SourceReading
from monitor.types import Chunk, StreamEvent, StreamInfo

_MAILBOX_ITEMS: Final = 20_000


class Mailbox:
    """What the threads of one source brought, in the order in which it came. Bounded: the oldest chunk goes first.

    Args:
        capacity: Items that may wait; a reader that is alive never gets near it.
    """

    def __init__(self, capacity: int = _MAILBOX_ITEMS) -> None:
        self._items: deque[StreamInfo | StreamEvent | Chunk] = deque()
        self._capacity = capacity
        self._lost: dict[str, int] = {}
        self._ready = threading.Condition()
        self._defect: Exception | None = None

    def put(self, *items: StreamInfo | StreamEvent | Chunk) -> None:
        """Append items and wake the reader."""
        with self._ready:
            self._items.extend(items)
            if len(self._items) > self._capacity:
                self._drop_oldest_chunk()
            self._ready.notify()

    def fail(self, defect: Exception) -> None:
        """Hand a defect of a thread to the reader, whose `take` raises it."""
        with self._ready:
            self._defect = self._defect or defect
            self._ready.notify()

    def take(self, timeout: float) -> SourceReading:
        """Return what came, waiting at most `timeout` seconds for something.

        A reading ends before a stream that was opened again after chunks or events, so that `opened` always comes
        before whatever else the reading holds.
        """
        with self._ready:
            self._ready.wait_for(lambda: self._items or self._defect is not None, timeout)
            if self._defect is not None:
                raise self._defect
            chunks: list[Chunk] = []
            events: list[StreamEvent] = []
            opened: list[StreamInfo] = []
            while self._items:
                item = self._items[0]
                if isinstance(item, StreamInfo):
                    if chunks or events:
                        break
                    opened.append(item)
                elif isinstance(item, StreamEvent):
                    events.append(item)
                else:
                    lost = self._lost.pop(item.stream, 0)
                    chunks.append(replace(item, lost=item.lost + lost) if lost else item)
                self._items.popleft()
        return SourceReading(chunks=chunks, events=events, opened=opened)

    def _drop_oldest_chunk(self) -> None:
        for position, item in enumerate(self._items):
            if isinstance(item, Chunk):
                del self._items[position]
                self._lost[item.stream] = self._lost.get(item.stream, 0) + len(item) + item.lost
                return
