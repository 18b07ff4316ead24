"""The only thread that touches a bed: it takes chunks, commands and the time in one order."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from typing import Any, Final

from monitor.alarm import SELF_CHECK_MISSED, STORE_FULL
from monitor.clock import Clock
from monitor.engine.beds import Bed, BedCrashError
from monitor.engine.intake import Intake, Item, Request
from monitor.engine.recorder import Recorder
from monitor.engine.screens import Screens
from monitor.engine.selfcheck import SelfCheck
from monitor.engine.watchdog import Heartbeat
from monitor.errors import MonitorError
from monitor.types import Chunk, Command, StreamEvent, StreamInfo

_LOGGER = logging.getLogger(__name__)

TICK_S: Final = 0.25
"""Every bed is told the time at multiples of this on the stream clock."""


class PipelineThread:
    """Brings each bed what came in for it, and tells it the time and what is wrong around it.

    Args:
        beds: By name. They are started by somebody else, and ended by this thread, unless it fails.
        intake: What came in; the thread ends when it is closed and empty.
        clock: The engine's clock.
        heartbeat: Beats with every item and every bed's tick.
        recorder: Asked whether the disk takes what is recorded.
        selfcheck: Asked which routes are not proved.
        screens: Asked which screens do not keep up.
        standing: By bed's name, what the answer to `status` says of the engine around it.
        on_command: Told of every command that was carried out or refused: bed, command, why it was refused.
        on_failed: Called once when the thread fails; it ends then.
    """

    def __init__(
        self,
        *,
        beds: Mapping[str, Bed],
        intake: Intake,
        clock: Clock,
        heartbeat: Heartbeat,
        recorder: Recorder,
        selfcheck: SelfCheck,
        screens: Screens,
        standing: Callable[[str], dict[str, Any]],
        on_command: Callable[[str, Command, str], None],
        on_failed: Callable[[], None],
    ) -> None:
        self._beds = beds
        self._intake = intake
        self._clock = clock
        self._heartbeat = heartbeat
        self._recorder = recorder
        self._selfcheck = selfcheck
        self._screens = screens
        self._standing = standing
        self._on_command = on_command
        self._on_failed = on_failed
        self._last_tick = -float("inf")
        self._thread = threading.Thread(target=self.run, name="pipeline", daemon=True)
        self.failed = False
        """The sessions were left open, for the next process to continue."""

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def join(self, timeout: float) -> bool:
        """Wait for its end; whether it has ended within so many seconds."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def run(self) -> None:
        """What the thread does: until the intake is closed and empty, or something fails."""
        try:
            while True:
                self._heartbeat.beat()
                item = self._intake.take(self._until_tick())
                if item is None:
                    if self._intake.closed:
                        break
                    self._tick(self._clock.now())
                else:
                    # What arrived before a tick was due must not be overtaken by it, however far behind we are.
                    self._tick(item.at)
                    self._handle(item)
        except BedCrashError as error:
            _LOGGER.critical("%s; the engine ends", error)
            self._fail()
        except Exception:  # a defect of ours; nothing may end a thread unseen
            _LOGGER.exception("the pipeline thread failed; the engine ends")
            self._fail()
        finally:
            if not self.failed:  # else the sessions stay open, for the next process to continue
                for bed in self._beds.values():
                    bed.stop()

    def _fail(self) -> None:
        self.failed = True
        self._on_failed()

    def _until_tick(self) -> float:
        return TICK_S - self._clock.now() % TICK_S

    def _tick(self, limit: float) -> None:
        now = limit // TICK_S * TICK_S
        if now > self._last_tick:
            self._last_tick = now
            behind = self._screens.behind(self._clock.now())
            for bed in self._beds.values():
                full = bool(self._recorder.status(bed.name)["problem"])
                bed.report(STORE_FULL, present=full)
                wrong = {SELF_CHECK_MISSED: (), **self._selfcheck.causes(bed.name)}
                wrong[SELF_CHECK_MISSED] = (*wrong[SELF_CHECK_MISSED], *behind.get(bed.name, ()))
                for condition, routes in wrong.items():
                    # One cause, one alarm: a disk that is full is reported already.
                    causes = [route for route in routes if not full or route != f"session-{bed.name}"]
                    bed.report(condition, present=bool(causes), causes=causes)
                bed.tick(now)
                self._heartbeat.beat()  # each bed may have a window to score, and they add up

    def _handle(self, item: Item) -> None:
        bed = self._beds[item.bed]
        match item.what:
            case Chunk() as chunk:
                bed.feed(chunk)
            case StreamInfo() as info:
                bed.open_stream(info)
            case StreamEvent() as event:
                bed.note(event)
            case Request() as request:
                self._execute(bed, request)

    def _execute(self, bed: Bed, request: Request) -> None:
        try:
            result = bed.execute(request.command)
        except MonitorError as error:
            request.fail(error)
            self._on_command(bed.name, request.command, str(error))
            return
        except Exception as error:
            request.fail(error)
            raise
        self._on_command(bed.name, request.command, "")
        if request.command.action == "status":
            result |= self._standing(bed.name)
        request.succeed(result)
