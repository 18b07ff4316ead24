"""One bed's whole flow, synchronous: chunks, commands and ticks in; scores, indices and alarms out.

No threads, no clock, no I/O: the engine, replay, training and tests drive this same object. Its calls form one
ordered log; the same log gives the same events, bit for bit, on the same machine and versions.
"""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence

from monitor.admission import Admission
from monitor.alarm import AlarmManager
from monitor.alarm.commands import carry_out
from monitor.assessment import Assessment, BundlePlan, WindowInputs
from monitor.bed_clock import BedClock
from monitor.bundle import BundleSpec
from monitor.calibration import Calibration
from monitor.config import BedSettings
from monitor.preprocess import StreamBuffer
from monitor.scoring.choice import BundleChooser
from monitor.scoring.index import IndexTracker
from monitor.scoring.measures import PlainMeasures
from monitor.scoring.scorer import Runner
from monitor.scoring.vote import voted
from monitor.types import (
    STAMP_TICK,
    AlarmEvent,
    Chunk,
    Command,
    Comparators,
    Event,
    Marker,
    PainIndex,
    Score,
    StreamEventKind,
    StreamInfo,
    Window,
)
from monitor.window_score import WindowScorer


class Pipeline:
    """Everything between one bed's samples and its alarms.

    Args:
        bed: Settings of the bed.
        bundles: Model bundles in order of preference.
        runner: Runs their graphs.
        session: Identity of the session; alarm ids derive from it.
    """

    def __init__(self, *, bed: BedSettings, bundles: Sequence[BundleSpec], runner: Runner, session: uuid.UUID) -> None:
        if not bundles:
            raise ValueError(f"bed {bed.name} has no bundle")
        self.bed = bed
        self.bundles = tuple(bundles)
        self.session = session
        self._plans = tuple(BundlePlan(spec) for spec in bundles)
        self._measures = PlainMeasures(
            bed=bed.name, hop_s=bed.hop_s, reference_s=bed.calibration_s, lag_s=Admission.lag_s(bed)
        )
        self._admission = Admission(bed=bed, plans=self._plans, measures=self._measures)
        self._buffers = self._admission.buffers
        self._now = 0.0
        self._clock = BedClock(bed=bed.name, hop_s=bed.hop_s, admission=self._admission, void=self._forget)
        self._grid, self._watermark = self._clock.grid, self._clock.watermark
        self._calibration = Calibration(bed=bed.name, needed_s=bed.calibration_s, drift_above=bed.drift_above)
        self._scorer = WindowScorer(bed=bed.name, runner=runner, calibration=self._calibration, buffers=self._buffers)
        self._chooser = BundleChooser(count=len(bundles), hop_s=bed.hop_s)
        self._index = IndexTracker(hop_s=bed.hop_s)
        names = [spec.name for spec in bundles]
        self._voters = {} if bed.vote == "first" else {name: IndexTracker(hop_s=bed.hop_s) for name in names}
        self._weights = dict(zip(names, bed.vote_weights, strict=False))
        self._alarm = AlarmManager(bed=bed.name, settings=bed.alarm, session=session)
        self._assessment: Assessment | None = None

    # -- the log -------------------------------------------------------------------------------------------------

    def open_stream(self, info: StreamInfo, at: float) -> list[Event]:
        """Announce a stream before its first chunk, or again after a reconnect.

        Args:
            info: The stream.
            at: Stream clock.

        Returns:
            Opened, or refused with the reason. A stream that announces another origin than the bed counts from is
            refused while any stream of the old origin lives, and taken over when none does: a device was restarted.
        """
        self._now = max(self._now, at)
        self._clock.waiting.pop(info.key, None)
        refusal = self._admission.refusal(info)
        if refusal:
            self._assessment = None
            return [self._admission.event(info, StreamEventKind.REFUSED, at, refusal)]
        if self._clock.must_wait(info):
            takeover = self._clock.take_over(at, now=self._now)
            here = self._grid.origin
            detail = f"announces the origin {info.origin:.6f} s, the bed's windows count from {here:.6f} s"
            return takeover or [self._admission.event(info, StreamEventKind.REFUSED, at, detail)]
        self._assessment = None
        return [self._admission.admit(info, at)]

    def feed(self, chunk: Chunk) -> list[Event]:
        """Take samples.

        Args:
            chunk: Of an opened stream; chunks of streams that are only shown are ignored.

        Returns:
            What followed from them, in order.
        """
        self._now = max(self._now, chunk.arrival)
        buffer = self._buffers.get(chunk.stream)
        if buffer is None or chunk.stream in self._clock.waiting:
            return []
        events: list[Event] = []
        self._admission.last_arrival[chunk.stream] = chunk.arrival
        if len(chunk):
            self._alarm.arrived(buffer.info.modality or chunk.stream, chunk.arrival)
        before = buffer.times.total
        events.extend(buffer.push(chunk, self._watermark.value))
        late = self._admission.late(buffer, before)
        if late is not None:
            events.append(late)
        if buffer.timeline.clock_fault:
            events.extend(self._clock.resolve(buffer, self._now))
            self._watermark.seen(None, chunk.arrival)
        elif len(chunk):
            self._watermark.seen(buffer.timeline.newest, chunk.arrival)
            # A device may begin with samples that are none: the grid waits for the first that is one.
            if not self._grid.started and buffer.timeline.segments:
                self._grid.start(buffer.timeline.segments[-1].t_first)
        self._decide(events)
        return events

    def tick(self, now: float) -> list[Event]:
        """Let time pass: the watermark goes on while nothing arrives, and silence is noticed.

        Args:
            now: Stream clock.
        """
        self._now = max(self._now, now)
        self._watermark.tick(now)
        events = self._clock.take_over(now, now=self._now)
        self._decide(events)
        events.extend(self._alarm.on_tick(now, self._watermark.last_arrival, self._clock.origin))
        return events

    def command(self, command: Command) -> list[Event]:
        """Carry out what an operator asks.

        Args:
            command: marker {kind, text}; nrs {value, text}; recalibrate {}; calibrate_span {start, end};
                restore_calibration {baseline}; restore_alarms {alarms}; acknowledge {condition}; audio_pause {seconds};
                suspend {minutes, reason}; resume {}; delegate {seconds}; limits {name: value}; technical {name,
                present, causes}, which the engine alone says; choose_bundle {bundle}, which is preferred to all others
                from now on.

        Raises:
            ValueError: If the action is unknown or its arguments do not fit; nothing has changed then.
        """
        self._now = max(self._now, command.at)
        args = command.args
        match command.action:
            case "marker":
                return [self._marker(command, kind=str(args.get("kind", "note")), value=None)]
            case "nrs":
                value = float(args["value"])
                if not 0 <= value <= 10:
                    raise ValueError(f"an NRS score lies between 0 and 10, not {value:g}")
                return [self._marker(command, kind="nrs", value=value)]
            case "recalibrate":
                self._calibration.restart()
                self._measures.recalibrate()
                return [self._calibration.event(self._plan_keys(), command.at)]
            case "calibrate_span":
                start, end = float(args["start"]), float(args["end"])
                if not start < end:
                    raise ValueError(f"a calibration span ends after it begins, not {start:g}:{end:g}")
                self._calibration.restrict(start, end)
                self._measures.restrict(start, end)
                return []
            case "restore_calibration":
                self._calibration.restore({key: (v[0], v[1], v[2]) for key, v in args["baseline"].items()})
                return [self._calibration.event(self._plan_keys(), command.at)]
            case "choose_bundle":
                self._prefer(str(args["bundle"]))
                return []
        told = carry_out(self._alarm, command)
        if told is None:
            raise ValueError(f"there is no action {command.action!r}")
        return list(told)

    # -- what others ask -----------------------------------------------------------------------------------------

    @property
    def alarms(self) -> tuple[AlarmEvent, ...]:
        """Alarm conditions that are present or latched now, most urgent first."""
        return self._alarm.active()

    @property
    def origin(self) -> float:
        """Origin of the window grid on the stream clock."""
        return self._grid.origin

    @property
    def streams(self) -> tuple[StreamInfo, ...]:
        """Streams that serve a modality."""
        return tuple(buffer.info for buffer in self._buffers.values())

    @property
    def window(self) -> Window | None:
        """The newest window that was scored; None before the first."""
        return self._scorer.window

    # -- streams -------------------------------------------------------------------------------------------------

    def _forget(self) -> None:
        self._assessment = None

    def _silent(self, buffer: StreamBuffer) -> bool:
        return self._admission.silent(buffer, self._now)

    # -- windows -------------------------------------------------------------------------------------------------

    def _decide(self, events: list[Event]) -> None:
        """Decide every window that can be decided now."""
        watermark = self._watermark.value
        if watermark is None or not self._grid.started:
            return
        while True:
            k = self._grid.next_k
            t_end = self._grid.end_of(k)
            if watermark < t_end - STAMP_TICK:
                return
            overdue = watermark >= t_end + self.bed.allowed_lateness_s
            if self._assessment is None or self._assessment.t_end != t_end:
                self._assessment = Assessment(
                    plans=self._plans,
                    t_end=t_end,
                    silent=self._silent,
                    skin_temperature=self._admission.skin_temperature,
                )
            assessment = self._assessment
            if not overdue and not self._ready(assessment):
                return
            if overdue:
                for buffer in assessment.incomplete():
                    self._admission.missed_until[buffer.info.key] = t_end
            self._finish(k, assessment, events)
            self._grid.advance()
            self._assessment = None

    def _ready(self, assessment: Assessment) -> bool:
        """Whether nothing that could still arrive in time would change this window."""
        waiting = assessment.waiting()
        if waiting is None:
            return False
        if not any(waiting):
            return True
        if any(self._calibration.baseline(key) is None for key in self._available_keys()):
            return False
        active = self._chooser.active
        # Where all vote, all are waited for: who votes must not depend on how samples were grouped into chunks.
        if active is None or any(waiting if self._voters else waiting[: active + 1]):
            return False
        return not assessment.inputs(active, self._calibration).reasons

    def _prefer(self, bundle: str) -> None:
        """Put one bundle before all others; it scores the next window if it has been usable for a while."""
        names = [spec.name for spec in self.bundles]
        if bundle not in names:
            raise ValueError(f"this bed has no bundle {bundle!r}; it has {', '.join(names)}")
        order = sorted(range(len(names)), key=lambda position: names[position] != bundle)
        self.bundles = tuple(self.bundles[position] for position in order)
        self._plans = tuple(self._plans[position] for position in order)
        self._chooser.reorder(order)
        self._assessment = None

    def _available_keys(self) -> list[str]:
        return [key for plan in self._plans if plan.available for key in plan.keys]

    def _plan_keys(self) -> Sequence[str]:
        """Inputs of the bundle that scores, or would."""
        return self._plans[self._position()].keys

    def _position(self) -> int:
        if self._chooser.active is not None:
            return self._chooser.active
        return next((i for i, plan in enumerate(self._plans) if plan.available), 0)

    def _finish(self, k: int, assessment: Assessment, events: list[Event]) -> None:
        """Score one window, or say why not; then index, alarm and calibration follow from it."""
        t_rel = k * self._grid.hop_s
        prepared = [assessment.inputs(position, self._calibration) for position in range(len(self._plans))]
        chosen = self._chooser.choose([not item.reasons for item in prepared])
        position = self._position() if chosen is None else chosen
        score = self._score(k, t_rel, position, prepared[position], shown=True)
        index = self._index.update(score)
        scored = [] if score.absent else [self._plans[position]]
        if self._voters:
            scores = [
                score if other == position else self._score(k, t_rel, other, item, shown=False)
                for other, item in enumerate(prepared)
            ]
            index = self._vote(index, scores)
            scored = [plan for plan, item in zip(self._plans, scores, strict=True) if not item.absent]
        comparators = self._compare(score, prepared[: position + 1])
        events.extend((score, index, comparators))
        watched = {item.modality: item for inputs in reversed(prepared) for item in inputs.quality}
        events.extend(self._alarm.on_index(index, score, tuple(watched.values()), comparators))
        self._calibrate(assessment, t_rel, scored, events)

    def _compare(self, score: Score, prepared: Sequence[WindowInputs]) -> Comparators:
        """The plain measures; `prepared` is of the bundles whose streams the window waited for, where there are any."""
        waited = [item for plan, item in zip(self._plans, prepared, strict=False) if plan.available]
        return self._measures.after(
            epoch=score.epoch,
            k=score.k,
            t_end=score.t_end,
            t_rel=score.t_rel,
            qualities={quality.modality: quality for item in reversed(waited) for quality in item.quality},
            silent={buffer.info.modality or "" for buffer in self._buffers.values() if self._silent(buffer)},
        )

    def _vote(self, index: PainIndex, scores: Sequence[Score]) -> PainIndex:
        """Add what the bundles say together to the index of the one that is shown."""
        votes: dict[str, float | None] = {}
        for score in scores:
            own = self._voters[score.bundle].update(score)
            votes[score.bundle] = None if score.withheld or own.hollow else own.fast
        given = {name: value for name, value in votes.items() if value is not None}
        total = voted(self.bed.vote, given, self._weights)
        return dataclasses.replace(index, vote=self.bed.vote, voted=total, votes=votes)

    def _score(self, k: int, t_rel: float, position: int, item: WindowInputs, *, shown: bool) -> Score:
        return self._scorer.score(
            self._plans[position],
            item,
            epoch=self._grid.epoch,
            k=k,
            t_end=self._grid.end_of(k),
            t_rel=t_rel,
            decided_at=self._now,
            shown=shown,
        )

    def _calibrate(
        self, assessment: Assessment, t_rel: float, scored: Sequence[BundlePlan], events: list[Event]
    ) -> None:
        """Add the newest hop of every valid input to the bed's baseline, or hold it against the one that there is.

        Only what was scored is held against it: of the other bundles' streams, which are not waited for, it would
        depend on the moment at which samples arrived.
        """
        changed = False
        for key, points in assessment.valid_points(self.bed.hop_s):
            if self._calibration.wants(key, t_rel):
                self._calibration.add(key, points, seconds=self.bed.hop_s)
                changed = True
            elif (scale := next((plan.scales[key] for plan in scored if key in plan.scales), None)) is not None:
                hop = self.bed.hop_s
                changed |= self._calibration.compare(key, points, seconds=hop, t_rel=t_rel, scale=scale)
        if changed:
            events.append(self._calibration.event(self._plan_keys(), assessment.t_end))

    def _marker(self, command: Command, *, kind: str, value: float | None) -> Marker:
        return Marker(
            bed=self.bed.name,
            t=command.at,
            kind=kind,
            text=str(command.args.get("text", "")),
            value=value,
            actor=command.actor,
        )
