"""Small real parts for tests of the engine: a source that plays a script, and a pipeline that remembers its calls."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence

from monitor.config import BedSettings
from monitor.engine.beds import BedPipeline
from monitor.engine.wiring import Models
from monitor.sessions.rows import Input, StreamOpened, Tick
from monitor.sources.base import SourceReading
from monitor.types import Chunk, Command, Event, StreamInfo, Window


def wait_until(what: Callable[[], bool], seconds: float = 40.0) -> None:
    """Wait for something that another thread or process does; fail loudly where it never happens."""
    end = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < end, "it never happened"
        time.sleep(0.02)


class ScriptedSource:
    """Gives one reading after the other, then is quiet until it is closed; an exception in the script is raised."""

    def __init__(self, name: str, script: Iterable[SourceReading | Exception], *, endless: bool = True) -> None:
        self.name = name
        self.opened = 0
        self._script = iter(script)
        self._endless = endless
        self._ended = False

    def open(self) -> None:
        self.opened += 1

    def read(self, timeout: float) -> SourceReading:
        step = next(self._script, None)
        if isinstance(step, Exception):
            raise step
        if step is None:
            self._ended = True
            time.sleep(min(timeout, 0.02))
            return SourceReading()
        return step

    @property
    def finished(self) -> bool:
        return self._ended and not self._endless

    def close(self) -> None:
        pass


class HangingSource:
    """Never returns from `read`, as a driver might; `release` lets it go."""

    name = "hanging"
    finished = False

    def __init__(self) -> None:
        self.release = threading.Event()

    def open(self) -> None:
        pass

    def read(self, timeout: float) -> SourceReading:  # noqa: ARG002
        self.release.wait()
        return SourceReading()

    def close(self) -> None:
        pass


class RememberingPipeline:
    """The real pipeline, and the list of what it was given."""

    def __init__(self, inner: BedPipeline) -> None:
        self.inner = inner
        self.calls: list[Input] = []

    def open_stream(self, info: StreamInfo, at: float) -> list[Event]:
        self.calls.append(StreamOpened(info=info, at=at))
        return self.inner.open_stream(info, at)

    def feed(self, chunk: Chunk) -> list[Event]:
        self.calls.append(chunk)
        return self.inner.feed(chunk)

    def command(self, command: Command) -> list[Event]:
        self.calls.append(command)
        return self.inner.command(command)

    def tick(self, now: float) -> list[Event]:
        self.calls.append(Tick(now=now))
        return self.inner.tick(now)

    @property
    def window(self) -> Window | None:
        return self.inner.window


def remembering(models: Models) -> tuple[Models, list[RememberingPipeline]]:
    """Models whose pipelines remember their calls, and the list that they appear in."""
    made: list[RememberingPipeline] = []

    def build(bed: BedSettings, session: uuid.UUID) -> BedPipeline:
        made.append(RememberingPipeline(models.build(bed, session)))
        return made[-1]

    return Models(bundles=models.bundles, build=build, explain=models.explain), made


class Collected:
    """Keeps what an engine's callback is given."""

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, bed: str, events: Sequence[Event]) -> None:  # noqa: ARG002
        self.events += events

    def of(self, kind: type) -> list[Event]:
        """Events of one kind."""
        return [event for event in self.events if isinstance(event, kind)]
