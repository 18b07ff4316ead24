"""One bed inside a running engine: its pipeline, its session, and what happens when either ends.

Everything here runs on the pipeline thread. A step is one call of the pipeline; it is handed to the journal in the
very order in which it was made, with the events that came of it, and then the events go to the outputs.

A pipeline that raises is a defect of ours. Its session ends before the step that failed, so that it can still be
verified; a new session with a new pipeline continues it, with its calibration, and the bed shows the technical alarm
`model_fault` until it has a score again. Other beds do not notice.
"""

from __future__ import annotations

import logging
import uuid
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol, TypeAlias

from monitor.actions import came_of, checked
from monitor.clock import Clock
from monitor.config import BedSettings
from monitor.engine.faults import REBUILT, ended, failure, restated
from monitor.engine.journal import Journal, SessionStart
from monitor.errors import EngineError
from monitor.sessions.rows import Input, StreamOpened, Tick, plain
from monitor.types import (
    AlarmAction,
    AlarmEvent,
    CalibrationEvent,
    Chunk,
    Command,
    Event,
    PainIndex,
    Presence,
    Score,
    StreamInfo,
    Window,
    snap,
)

_LOGGER = logging.getLogger(__name__)

CRASH_LIMIT: Final = 3
CRASH_SPAN_S: Final = 60.0
"""More crashes of one bed's pipeline than the limit within this span end the process, for its supervisor to restart."""

Baseline: TypeAlias = Mapping[str, tuple[float, float, float]]
"""As `CalibrationEvent.baseline`."""


class BedPipeline(Protocol):
    """What the engine asks of a pipeline; see `monitor.pipeline.Pipeline`."""

    def open_stream(self, info: StreamInfo, at: float) -> list[Event]:
        """Announce a stream, before its first chunk."""
        ...

    def feed(self, chunk: Chunk) -> list[Event]:
        """Take samples."""
        ...

    def command(self, command: Command) -> list[Event]:
        """Take an operator's command."""
        ...

    def tick(self, now: float) -> list[Event]:
        """Take the time."""
        ...

    @property
    def window(self) -> Window | None:
        """The newest window that was scored."""
        ...


PipelineFactory: TypeAlias = Callable[[BedSettings, uuid.UUID], BedPipeline]
"""Makes the pipeline of a bed for one session."""


class BedCrashError(Exception):
    """A bed's pipeline fails again and again."""


class Bed:
    """One bed.

    Args:
        settings: Its settings; a new session changes the subject.
        build: Makes its pipelines.
        journal: Keeps its steps.
        publish: Passes events on to the outputs.
        clock: The engine's clock.
    """

    def __init__(
        self,
        *,
        settings: BedSettings,
        build: PipelineFactory,
        journal: Journal,
        publish: Callable[[str, Sequence[Event]], None],
        clock: Clock,
    ) -> None:
        self.name = settings.name
        self._settings = settings
        self._build = build
        self._journal = journal
        self._publish = publish
        self._clock = clock
        self._streams: dict[str, StreamInfo] = {}
        self._refused: set[str] = set()
        self._pipeline: BedPipeline | None = None
        self._session = uuid.UUID(int=0)
        self._continues: uuid.UUID | None = None
        self._calibration: CalibrationEvent | None = None
        self._score: Score | None = None
        self._index: PainIndex | None = None
        self._alarms: dict[str, AlarmEvent] = {}
        self._fault: AlarmEvent | None = None
        self._signals: Mapping[str, Any] = {}
        self._preferred = ""
        self._limits: dict[str, float] = {}
        self._reported: dict[str, tuple[str, ...]] = {}
        self._crashes: deque[float] = deque()
        self._rebuilt = 0

    @property
    def session(self) -> uuid.UUID:
        """The present session."""
        return self._session

    @property
    def window(self) -> Window | None:
        """The newest window that was scored; None before the first of a session."""
        return None if self._pipeline is None else self._pipeline.window

    @property
    def rebuilt(self) -> int:
        """How often its pipeline failed and was built anew; from any thread."""
        return self._rebuilt

    @property
    def fault(self) -> AlarmEvent | None:
        """The alarm that the pipeline, or the process before this one, failed; None once there is a score."""
        return self._fault

    def start(
        self,
        *,
        continues: uuid.UUID | None = None,
        baseline: Baseline | None = None,
        alarms: Sequence[AlarmEvent] = (),
        fault: AlarmEvent | None = None,
    ) -> None:
        """Begin the first session.

        Args:
            continues: Session of a process that failed a moment ago, if this one takes it up.
            baseline: The calibration of that session, if it had one.
            alarms: Those that its pipeline left standing.
            fault: That it failed; stands until there is a score.
        """
        self._fault = fault
        self._begin(at=self._now(), continues=continues, baseline=baseline, alarms=alarms)

    def open_stream(self, info: StreamInfo) -> None:
        """A source found a stream, or found it again."""
        self._streams[info.key] = info
        self._step(StreamOpened(info=info, at=self._now()))

    def feed(self, chunk: Chunk) -> None:
        """A source brought samples."""
        if chunk.stream in self._streams:
            self._step(chunk)
        elif chunk.stream not in self._refused:
            self._refused.add(chunk.stream)
            _LOGGER.error("bed %s: stream %s was never announced; its samples are ignored", self.name, chunk.stream)

    def tick(self, now: float) -> None:
        """Time has passed."""
        self._step(Tick(now=now))

    def note(self, event: Event) -> None:
        """A source reported something by itself."""
        self._pass_on(None, [event])

    def execute(self, command: Command) -> dict[str, Any]:
        """Do what an operator asks.

        Returns:
            The answer, in plain values.

        Raises:
            MonitorError: If it is refused; nothing has changed then.
        """
        args = checked(command.action, command.args)
        match command.action:
            case "status":
                return self.status()
            case "streams":
                return {"streams": [plain(info) for info in self._streams.values()]}
            case "new_session":
                return self._new_session(args["subject"], command)
        events = self._step(Command(action=command.action, at=self._now(), actor=command.actor, args=args))
        if command.action == "choose_bundle":
            self._preferred = args["bundle"]
        if command.action == "limits":
            self._limits.update(args)
        return {"bed": self.name, "session": str(self._session), **came_of(command.action, args, events)}

    def report(self, condition: str, *, present: bool, causes: Sequence[str] = ()) -> None:
        """Say that a technical condition from outside the pipeline has come or gone; the same twice is nothing new.

        Args:
            condition: One of `monitor.alarm.REPORTED`: the disk, the broker, a self-check.
            present: Whether it is there.
            causes: What it comes from, in words.
        """
        told = (tuple(causes) or (condition,)) if present else ()
        if self._reported.get(condition, ()) == told:
            return
        self._reported[condition] = told
        self._step(self._technical(condition, self._now()))

    def _technical(self, condition: str, at: float) -> Command:
        told = self._reported[condition]
        args = {"name": condition, "present": bool(told), "causes": list(told)}
        return Command(action="technical", at=at, actor="engine", args=args)

    def status(self) -> dict[str, Any]:
        """The bed as it stands, in plain values."""
        return {
            "bed": self.name,
            "subject": self._settings.subject,
            "session": str(self._session),
            "continues": str(self._continues) if self._continues else None,
            "streams": sorted(self._streams),
            "calibration": plain(self._calibration),
            "score": plain(self._score),
            "index": plain(self._index),
            "alarms": [plain(alarm) for alarm in self._standing()],
            "pipelines_rebuilt": self._rebuilt,
        }

    def stop(self) -> None:
        """End the session."""
        if self._pipeline is not None:
            self._journal.end(self.name)
            self._pipeline = None

    def _now(self) -> float:
        return float(snap(self._clock.now()))

    def _begin(
        self,
        *,
        at: float,
        continues: uuid.UUID | None = None,
        baseline: Baseline | None = None,
        alarms: Sequence[AlarmEvent] = (),
    ) -> None:
        self._session, self._continues = uuid.uuid4(), continues
        self._calibration = self._score = self._index = None
        self._alarms = {}
        self._pipeline = self._build(self._settings, self._session)
        utc = self._clock.utc() + (at - self._clock.now())
        self._journal.begin(
            SessionStart(bed=self._settings, session=self._session, at=at, utc=utc, continues=continues)
        )
        _LOGGER.info(
            "bed %s: session %s of subject %s%s",
            self.name,
            self._session,
            self._settings.subject,
            f" continues {continues}" if continues else "",
        )
        session = self._session
        if self._signals.get("delegates"):  # a new pipeline begins with its own sound on, and must say so
            text, signals = "Alarms are heard here again: the session is a new one", self._signals
            after = {**signals, "location": "local", "delegates": []}
            self.note(
                AlarmAction(
                    bed=self.name, t=at, t_rel=0.0, action="delegate", actor="", before=signals, after=after, text=text
                )
            )
        if self._fault is not None:
            self.note(self._fault)
            self._fault = restated(self._fault, at, 0.0)  # said again only by a session that follows this one
        if alarms:  # first of all, so that whoever is told finds them standing
            left = {"alarms": [plain(alarm) for alarm in alarms]}
            try:
                self._step(Command(action="restore_alarms", at=at, actor="engine", args=left))
            except EngineError:
                _LOGGER.exception("bed %s: the alarms of the session before cannot be taken over", self.name)
        for info in list(self._streams.values()):
            self._step(StreamOpened(info=info, at=at))
        if self._preferred and session == self._session:  # a choice outlives the session that it was made in
            choice = {"bundle": self._preferred}
            self._step(Command(action="choose_bundle", at=at, actor="engine", args=choice))
        if self._limits and session == self._session:  # of the same subject: `new_session` has forgotten them
            self._step(Command(action="limits", at=at, actor="engine", args=dict(self._limits)))
        for condition in [name for name, told in self._reported.items() if told]:
            if session == self._session:
                self._step(self._technical(condition, at))
        if baseline and session == self._session:  # a crash in between has begun another one
            restore = {"baseline": {key: list(values) for key, values in baseline.items()}}
            self._step(Command(action="restore_calibration", at=at, actor="engine", args=restore))

    def _new_session(self, subject: str, command: Command) -> dict[str, Any]:
        before, at = self._session, self._now()
        # Built first: what cannot be built leaves the running session as it is.
        settings = BedSettings.model_validate({**self._settings.model_dump(), "subject": subject})
        for alarm in self._standing():  # of another patient: nobody is to find them standing
            self.note(ended(alarm, at, at - alarm.t + alarm.t_rel, "A new session has begun"))
        self._journal.end(self.name)
        self._settings, self._fault, self._limits = settings, None, {}
        self._begin(at=at)
        _LOGGER.info("bed %s: new session asked for by %s", self.name, command.actor)
        return {"bed": self.name, "session": str(self._session), "ended": str(before), "subject": subject}

    def _step(self, what: Input) -> Sequence[Event]:
        pipeline = self._pipeline
        if pipeline is None:
            return ()
        try:
            match what:
                case Chunk():
                    events = pipeline.feed(what)
                case Tick():
                    events = pipeline.tick(what.now)
                case StreamOpened():
                    events = pipeline.open_stream(what.info, what.at)
                case Command():
                    events = pipeline.command(what)
        except Exception as error:  # a defect in one bed's pipeline must not end the others
            if isinstance(what, Command) and isinstance(error, ValueError):
                raise EngineError(f"{error}".rstrip("."), where=f"bed {self.name}") from error
            _LOGGER.exception("bed %s: the pipeline failed in %s; it is built anew", self.name, type(what).__name__)
            self._crashed(error)
            return ()
        self._pass_on(what, events)
        return events

    def _crashed(self, error: Exception) -> None:
        at = self._now()
        self._crashes.append(at)
        while self._crashes[0] < at - CRASH_SPAN_S:
            self._crashes.popleft()
        self._fault = self._fault or self.failure(onset=at, text=REBUILT, cause=f"{type(error).__name__}: {error}")
        if len(self._crashes) > CRASH_LIMIT:  # the session stays open, for the next process to continue
            self.note(self._fault)
            raise BedCrashError(
                f"the pipeline of bed {self.name} failed {len(self._crashes)} times in {CRASH_SPAN_S:g} s"
            ) from error
        calibration, before, standing = self._calibration, self._session, tuple(self._alarms.values())
        self._journal.end(self.name)
        self._pipeline = None
        self._rebuilt += 1
        baseline = calibration.baseline if calibration else None
        self._begin(at=at, continues=before, baseline=baseline, alarms=standing)

    def failure(self, *, onset: float, text: str, cause: str) -> AlarmEvent:
        """The alarm that this bed has no working pipeline; said by nobody yet. From any thread.

        Args:
            onset: Stream clock since when.
            text: See `monitor.engine.faults`.
            cause: What happened, in words.
        """
        at, bundle = self._now(), self._settings.bundles[0]
        t_rel = at - (score.t_end - score.t_rel) if (score := self._score) else 0.0
        return failure(
            bed=self.name, session=self._session, bundle=bundle, onset=onset, t=at, t_rel=t_rel, text=text, cause=cause
        )

    def _standing(self) -> list[AlarmEvent]:
        return [*self._alarms.values(), *([self._fault] if self._fault else [])]

    def _clear_fault(self, score: Score) -> None:
        fault, self._fault = self._fault, None
        if fault is not None:
            self.note(ended(fault, score.decided_at, score.t_rel, "A score again"))

    def _pass_on(self, step: Input | None, events: Sequence[Event]) -> None:
        self._journal.log(self.name, step, events)
        if not events:
            return
        scored: Score | None = None
        for event in events:
            match event:
                case Score():
                    self._score = event
                    scored = scored or (event if event.probabilities is not None else None)
                case PainIndex():
                    self._index = event
                case CalibrationEvent():
                    self._calibration = event
                case AlarmAction() if "location" in event.after:
                    self._signals = event.after
                case AlarmEvent() if step is not None:  # else it is the fault, which is no pipeline's
                    if event.presence is Presence.OFF:
                        self._alarms.pop(event.condition, None)
                    else:
                        self._alarms[event.condition] = event
        self._publish(self.name, events)
        if scored is not None and self._fault is not None:
            self._clear_fault(scored)
