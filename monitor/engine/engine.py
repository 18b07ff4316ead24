"""The engine: one process that monitors one bed or several.

Threads, each with a name:

- `source-<bed>/<n>-<name>`: one a source, reads it into the intake (`monitor.engine.intake`);
- `pipeline`: the only one that touches a bed (`monitor.engine.beds`); takes chunks, commands and the time in one order
  (`monitor.engine.pipeline_thread`);
- `store`: writes session databases (`monitor.engine.recorder`);
- `output-<name>`: one an output (`monitor.outputs.base`);
- `control`: answers operators (`monitor.link`);
- `broadcast`: tells screens (`monitor.engine.broadcast`);
- `selfcheck`, `selfcheck-<route>`: prove each route that alarms take (`monitor.engine.selfcheck`);
- `watchdog`: says an alarm and ends the process when the pipeline thread shows no sign of life.

Nothing downstream can hold up the pipeline thread: what it hands on goes into bounded queues that drop and count.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from monitor.actions import checked
from monitor.clock import Clock, SystemClock
from monitor.config import BedSettings, Settings
from monitor.engine.beds import Bed
from monitor.engine.broadcast import Broadcast
from monitor.engine.faults import REBUILT, STUCK, failure, restated
from monitor.engine.intake import Intake, Request, SourceThread
from monitor.engine.journal import Journals
from monitor.engine.notify import READY, notify
from monitor.engine.pipeline_thread import PipelineThread
from monitor.engine.recorder import Recorder
from monitor.engine.resume import read_note
from monitor.engine.routes import clock_check, link_check, output_checks, session_check
from monitor.engine.selfcheck import SelfCheck
from monitor.engine.stop_requests import StopRequests
from monitor.engine.watchdog import EXIT_STUCK, LAST_WORDS_S, Heartbeat, Watchdog, last_words
from monitor.engine.wiring import Models, live_sources, load_models, session_writers
from monitor.errors import EngineError
from monitor.link import ControlServer, Publisher, RemoteDoor
from monitor.locks import BedLock, run_dir
from monitor.outputs.base import CallbackOutput, EngineLoad, Heir, Output, OutputThread, Route
from monitor.sessions.store import state_folder
from monitor.sources.base import Source
from monitor.types import Command, Event

_LOGGER = logging.getLogger(__name__)

EXIT_CRASHED: Final = 20
"""Exit code of an engine that ended itself because a pipeline kept failing."""

_SOURCES_END_S: Final = 4.0
_PIPELINE_END_S: Final = 10.0
_STORE_END_S: Final = 10.0
_OUTPUT_END_S: Final = 2.0
_LAST_PACKET_S: Final = 0.3
_PROBES_END_S: Final = 0.5


class Engine:
    """Monitors the beds of its settings from `start` to `stop`, or inside `run`.

    Args:
        settings: The whole configuration.
        sources: By bed, what brings its streams; None for the live sources that the settings name.
        on_events: Called with a bed's name and the events of one step, in a thread of its own.
        outputs: Where events go besides.
        models: Bundles and how pipelines are made of them; None to load those that the settings name.
        clock: The stream clock.
        on_command: Told of every command that was carried out or refused: bed, command, why it was refused. Called by
            the pipeline thread: it must neither wait nor raise.
        last_resort: This process is the engine and nothing else; see `Watchdog`.

    Raises:
        BundleError: If a bundle is missing or damaged.
        ConfigError: If the settings contradict the bundles.
    """

    def __init__(
        self,
        *,
        settings: Settings,
        sources: Mapping[str, Sequence[Source]] | None = None,
        on_events: Callable[[str, Sequence[Event]], None] | None = None,
        outputs: Sequence[Output] = (),
        models: Models | None = None,
        clock: Clock | None = None,
        on_command: Callable[[str, Command, str], None] = lambda bed, command, refused: None,  # noqa: ARG005
        last_resort: bool = False,
    ) -> None:
        clock = clock or SystemClock()
        models = models or load_models(settings)
        state = state_folder(settings.engine.state_dir)
        self._settings = settings
        self._clock = clock
        self._run_dir = state / "run"
        self._exit_code = 0
        self._stops = StopRequests()
        self._intake = Intake(capacity=settings.engine.queue_chunks, clock=clock)
        open_writer = session_writers(state=state, bundles=models.bundles) if settings.engine.record else None
        self._recorder = Recorder(run=self._run_dir, capacity=settings.engine.store_queue, open_writer=open_writer)
        everything = [*outputs, *([CallbackOutput(on_events)] if on_events else [])]
        self._outputs = [OutputThread(output) for output in everything]
        self._locks = [BedLock(state=state, bed=bed.name) for bed in settings.bed]
        self._publisher = Publisher(
            run=self._run_dir,
            beds=[bed.name for bed in settings.bed],
            remote=RemoteDoor.configured(settings.link),
        )
        self._broadcast = Broadcast(
            beds=settings.bed,
            bundles={bed: [item.spec for item in bundles] for bed, bundles in models.bundles.items()},
            sender=self._publisher,
            clock=clock,
            recording=self._recorder.status,
            window=lambda bed: self._beds[bed].window,
            explain=models.explain,
        )
        journal = Journals(self._recorder, self._broadcast)
        self._beds = {
            bed.name: Bed(settings=bed, build=models.build, journal=journal, publish=self._publish, clock=clock)
            for bed in settings.bed
        }
        if sources is None:
            sources = live_sources(settings, clock)
        if unknown := sorted(set(sources) - set(self._beds)):
            raise ValueError(f"sources for beds that the settings do not name: {unknown}")
        self._sources = [
            SourceThread(
                bed=bed, source=source, number=number, intake=self._intake, clock=clock, on_done=self._source_done
            )
            for bed, of_bed in sources.items()
            for number, source in enumerate(of_bed)
        ]
        self._heartbeat = Heartbeat()
        self._watchdog = Watchdog(
            heartbeat=self._heartbeat,
            limit_s=settings.engine.watchdog_s,
            on_stuck=lambda: last_words(self._say_stuck),
            last_resort=last_resort,
        )
        checks = [*output_checks(everything), clock_check(clock)]
        for bed in self._beds:
            checks.append(link_check(bed, state=state))
            if settings.engine.record:
                checks.append(session_check(bed, folder=self._run_dir, status=self._recorder.status))
        self._selfcheck = SelfCheck(checks, period_s=settings.engine.selfcheck_s, clock=clock)
        self._pipeline = PipelineThread(
            beds=self._beds,
            intake=self._intake,
            clock=clock,
            heartbeat=self._heartbeat,
            recorder=self._recorder,
            selfcheck=self._selfcheck,
            screens=self._broadcast.screens,
            standing=self._standing,
            on_command=on_command,
            on_failed=self._fail,
        )
        self._control = ControlServer(
            run=self._run_dir, beds=list(self._beds), handle=self.request, remote=RemoteDoor.configured(settings.link)
        )

    # -- life ---------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Take the beds and start all threads.

        Raises:
            BusyError: If another engine has one of the beds.
            EngineError: If the state folder cannot be used.
        """
        run_dir(self._run_dir.parent)
        with contextlib.ExitStack() as undo:
            for lock in self._locks:
                lock.acquire()
                undo.callback(lock.release)
            self._control.bind()
            undo.callback(self._control.stop)
            self._publisher.bind()
            undo.pop_all()
        self._recorder.start()
        for bed_settings in self._settings.bed:
            self._take_up(bed_settings)
        for output in self._outputs:
            output.start()
        self._watchdog.start()
        self._pipeline.start()
        self._control.start()
        self._broadcast.start()
        self._selfcheck.start()
        for source in self._sources:
            source.start()

    def _take_up(self, settings: BedSettings) -> None:
        """Begin the bed's first session, where there is one that failed as its continuation."""
        bed, note = self._beds[settings.name], read_note(self._run_dir, settings.name, settings.subject)
        utc_offset = self._clock.utc() - self._clock.now()
        note = note.on_clock(utc_offset) if note else None
        alarms = note.alarms if note else ()
        fault = note.fault if note else None
        if note is not None and fault is None:
            alive = min(note.alive_utc - utc_offset, self._clock.now())
            cause = "the process ended without a farewell"
            fault = failure(
                bed=bed.name, session=note.session, bundle=settings.bundles[0], onset=alive, t=self._clock.now(),
                t_rel=0.0, text=REBUILT, cause=cause,
            )  # fmt: skip
            _LOGGER.error("bed %s: %s; session %s is continued", bed.name, cause, note.session)
        elif fault is not None:
            fault = restated(fault, self._clock.now(), 0.0)
        for thread in self._outputs:
            if isinstance(heir := thread.output, Heir):
                heir.restored(bed.name, [*alarms, *([note.fault] if note and note.fault else [])])
        bed.start(
            continues=note.session if note else None, baseline=note.baseline if note else None, alarms=alarms,
            fault=fault,
        )  # fmt: skip

    def stop(self) -> int:
        """End everything in order: sources, pipeline, sessions, outputs, locks. What hangs is left behind and logged.

        Returns:
            Exit code for the process: 0, or why the engine could not go on.
        """
        for source in self._sources:
            source.stop()
        deadline = time.monotonic() + _SOURCES_END_S
        for source in self._sources:
            if not source.join(max(0.0, deadline - time.monotonic())):
                _LOGGER.warning("source %s does not end and is left behind", source.name)
        self._selfcheck.stop(_PROBES_END_S)  # while what they ask is still there to answer
        self._control.stop()
        self._intake.close()
        if not self._pipeline.join(_PIPELINE_END_S):
            _LOGGER.critical("the pipeline does not end; its last steps are lost")
            self._exit_code = self._exit_code or EXIT_STUCK
        self._watchdog.stop()
        if not self._recorder.stop(_STORE_END_S):
            _LOGGER.error("the disk does not take the last records; they are lost")
        if not self._broadcast.stop(_OUTPUT_END_S):
            _LOGGER.warning("what tells the screens does not end and is left behind")
        for output in self._outputs:
            if not output.stop(_OUTPUT_END_S):
                _LOGGER.warning("output %s does not end and is left behind", output.name)
        if not self._selfcheck.stop(_OUTPUT_END_S):
            _LOGGER.warning("a self-check does not end and is left behind")
        for lock in self._locks:
            lock.release()
        _LOGGER.info("the engine has stopped")
        return self._exit_code

    def run(self, *, seconds: float | None = None) -> int:
        """Monitor until SIGINT or SIGTERM, until all sources have ended, or for so long. A second signal forces.

        Args:
            seconds: Clock time after which to stop by itself.

        Returns:
            Exit code for the process.
        """
        with self._stops.by_signals():
            self.start()
            notify(READY, f"STATUS=Monitoring {', '.join(self._beds)}. RESEARCH USE ONLY")
            try:
                if asked := self._stops.wait(seconds):
                    self._exit_code = asked
            finally:
                code = self.stop()
        return code

    def request_stop(self, code: int = 0) -> None:
        """Make `run` end in order and return `code`; from any thread or a signal handler."""
        self._stops.put(code)

    @property
    def clean(self) -> bool:
        """Whether no thread was left behind, so that the interpreter can shut down in peace."""
        return not any(thread.name.startswith(_THREADS) for thread in threading.enumerate())

    def load(self) -> EngineLoad:
        """How the engine stands by itself; from any thread, and without waiting for the pipeline."""
        outputs = {f"output-{output.name}": output for output in self._outputs}
        return EngineLoad(
            waiting={
                "pipeline": self._intake.waiting,
                "store": self._recorder.waiting,
                **{name: output.waiting for name, output in outputs.items()},
            },
            dropped=self._intake.dropped() | {name: output.dropped for name, output in outputs.items()},
            failures={source.name: source.restarts for source in self._sources}
            | {name: output.failures for name, output in outputs.items()},
            rebuilt={name: bed.rebuilt for name, bed in self._beds.items()},
            lost_records={bed: self._recorder.status(bed)["lost_records"] for bed in self._beds},
            pipeline_age_s=self._heartbeat.age_s,
            checks=max((checks for checks, _ in self._selfcheck.counts().values()), default=0),
            missed={name: missed for name, (_, missed) in self._selfcheck.counts().items()},
            unproved={name: bool(item["problem"]) for name, item in self._selfcheck.state().items()},
        )

    # -- commands -----------------------------------------------------------------------------------------------------

    def request(
        self, action: str, args: Mapping[str, Any], *, bed: str = "", actor: str = "", timeout: float = 10.0
    ) -> dict[str, Any]:
        """Do what an operator asks; returns when the pipeline thread has done it.

        Args:
            action: See `monitor.actions.ACTIONS`.
            args: Its arguments.
            bed: Name of the bed; may be left out where there is only one.
            actor: Who asks, for the record.
            timeout: Seconds to wait.

        Raises:
            MonitorError: If it is refused.
            TimeoutError: If the pipeline did not get to it in time.
        """
        names = list(self._beds)
        if not bed and len(names) == 1:
            bed = names[0]
        if bed not in self._beds:
            raise EngineError(f"this engine has no bed '{bed}'", todo=f"It has {', '.join(names)}")
        args = checked(action, args)
        if action == "history":
            return self._broadcast.history(bed, 60.0 * args["minutes"]).model_dump()
        if action == "seen":
            return self._broadcast.screens.seen(bed=bed, actor=actor or "unknown", now=self._clock.now(), **args)
        request = Request(Command(action=action, at=self._clock.now(), actor=actor or "unknown", args=args))
        self._intake.put(bed, request)
        return request.wait(timeout)

    # -- pipeline thread ----------------------------------------------------------------------------------------------

    def _standing(self, bed: str) -> dict[str, Any]:
        return {
            "recording": self._recorder.status(bed),
            "selfcheck": self._selfcheck.state(),
            "dropped_chunks": self._intake.dropped(),
            "source_restarts": {source.name: source.restarts for source in self._sources},
            "outputs": {
                output.name: {"failures": output.failures, "dropped": output.dropped} for output in self._outputs
            },
        }

    def _fail(self) -> None:
        self._exit_code = EXIT_CRASHED
        self.request_stop(EXIT_CRASHED)

    def _publish(self, bed: str, events: Sequence[Event]) -> None:
        for output in self._outputs:
            output.put(bed, events)

    # -- watchdog thread ----------------------------------------------------------------------------------------------

    def _say_stuck(self) -> None:
        """Say on every route that the pipeline hangs, past the pipeline; the next process takes it up from the note."""
        age = self._heartbeat.age_s
        notify(f"STATUS=The pipeline hangs since {age:.0f} s; the engine is ended. RESEARCH USE ONLY")
        onset, cause = self._clock.now() - age, "the pipeline shows no sign of life"
        said = {bed.name: bed.fault or bed.failure(onset=onset, text=STUCK, cause=cause) for bed in self._beds.values()}
        for name, event in said.items():
            self._publish(name, [event])
            self._recorder.log(name, None, [event])
        self._recorder.hurry()
        for name, event in said.items():  # may wait for the pipeline, where that hangs in what screens are told
            self._broadcast.log(name, None, [event])
        end = time.monotonic() + LAST_WORDS_S
        while time.monotonic() < end and self._unsaid():
            time.sleep(0.02)
        time.sleep(_LAST_PACKET_S)  # for what is on its way, and for screens, which are told four times a second

    def _unsaid(self) -> bool:
        routes = [thread.output for thread in self._outputs if isinstance(thread.output, Route)]
        return bool(
            self._recorder.waiting
            or any(thread.waiting for thread in self._outputs)
            or any(route.waiting for route in routes)
        )

    # -- source threads ------------------------------------------------------------------------------------------------

    def _source_done(self) -> None:
        if all(source.done for source in self._sources):
            _LOGGER.info("all sources have ended")
            self.request_stop()


_THREADS: Final = ("source-", "pipeline", "store", "output-", "control", "broadcast", "watchdog", "selfcheck")
