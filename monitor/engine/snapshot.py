"""What a screen is told of one bed, built from the steps of its pipeline. Pure: no threads, no sockets, no clock."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from monitor.bundle import BundleSpec
from monitor.config import BedSettings
from monitor.engine.views import (
    alarm_view,
    bundle_view,
    comparator_view,
    index_view,
    limits_view,
    marker_view,
    quality_view,
    recording_view,
    score_view,
    signals_view,
    urgency,
)
from monitor.frames import (
    LINK_VERSION,
    BedState,
    CalibrationView,
    History,
    StreamView,
    WaveBlock,
)
from monitor.modality import MODALITY_UNITS
from monitor.types import (
    AlarmAction,
    AlarmEvent,
    CalibrationEvent,
    CalibrationState,
    Chunk,
    Comparators,
    Event,
    Marker,
    PainIndex,
    Presence,
    Provenance,
    Score,
    StreamEvent,
    StreamEventKind,
    StreamInfo,
)

HISTORY_S: Final = 3600.0
"""Stream time of which indices are kept for screens that come later."""

WAVE_BACKLOG_S: Final = 2.0
"""Samples that may wait to be sent on; older ones are left out, which the index shows."""

_MARKERS: Final = 20
_RATE_SPAN_S: Final = 10.0
_RANK: Final = {Provenance.LIVE: 0, Provenance.REPLAY: 1, Provenance.SIMULATED: 2}
_COUNTED: Final = {StreamEventKind.GAP: "gaps", StreamEventKind.LOST: "lost", StreamEventKind.LATE: "late"}


@dataclass(slots=True, eq=False)
class _Stream:
    """One stream as far as a screen needs it."""

    info: StreamInfo
    delay_s: float
    refused: str = ""
    total: int = 0
    """Samples that it brought, and those that are known to be missing between them."""
    expected: float | None = None
    """Stamp of the next sample if nothing is missing."""
    last_arrival: float | None = None
    arrived: deque[tuple[float, int]] = field(default_factory=deque)
    counts: Counter[str] = field(default_factory=Counter)
    waiting: deque[WaveBlock] = field(default_factory=deque)

    @property
    def unit(self) -> str:
        """Unit of the samples as they are sent on."""
        return MODALITY_UNITS.get(self.info.modality or "", self.info.unit or "")


class BedSnapshot:
    """Follows one bed and says how it stands.

    Args:
        settings: Settings of the bed.
        bundles: Its bundles, in order of preference.
    """

    def __init__(self, *, settings: BedSettings, bundles: Sequence[BundleSpec]) -> None:
        self._settings = settings
        self._specs = {spec.name: spec for spec in bundles}
        self._order = [spec.name for spec in bundles]
        self._streams: dict[str, _Stream] = {}
        self.begin(session="", subject=settings.subject, at=0.0)

    # -- what happens ------------------------------------------------------------------------------------------------

    def begin(self, *, session: str, subject: str, at: float) -> None:
        """A session begins; what the bed hears goes on, what was said of the one before is gone."""
        self._session, self._subject, self._started = session, subject, at
        self._score: Score | None = None
        self._index: PainIndex | None = None
        self._measures: Comparators | None = None
        self._calibration: CalibrationEvent | None = None
        self._alarms: dict[str, AlarmEvent] = {}
        self._limits = self._settings.alarm
        self._signals: dict[str, Any] = {}
        self._markers: deque[Marker] = deque(maxlen=_MARKERS)
        self._history: deque[tuple[float, float | None, float | None, str]] = deque()

    def open_stream(self, info: StreamInfo) -> None:
        """A stream was found, or found again."""
        known = self._streams.get(info.key)
        if known is not None:
            known.info, known.refused, known.expected = info, "", None
            return
        self._streams[info.key] = _Stream(info=info, delay_s=0.0)

    def prefer(self, bundle: str) -> None:
        """Somebody chose the bundle that shall score whenever it can."""
        if bundle in self._order:
            self._order.sort(key=lambda name: name != bundle)

    def feed(self, chunk: Chunk) -> None:
        """Samples arrived."""
        stream = self._streams.get(chunk.stream)
        if stream is None or len(chunk) == 0:
            return
        info = stream.info
        stream.last_arrival = chunk.arrival
        stream.arrived.append((chunk.arrival, len(chunk)))
        while stream.arrived[0][0] < chunk.arrival - _RATE_SPAN_S:
            stream.arrived.popleft()
        if chunk.samples.ndim != 1 or info.rate_hz <= 0:  # there is no one trace to draw
            return
        t0, last = float(chunk.stamps[0]), float(chunk.stamps[-1])
        missing = 0
        if stream.expected is not None:
            off = t0 - stream.expected
            if abs(off) > max(1.5 / info.rate_hz, info.jitter_s) or chunk.lost:
                missing = max(1, chunk.lost, min(round(off * info.rate_hz), 1 << 40))
        stream.total += missing
        stream.expected = last + 1.0 / info.rate_hz
        values = np.ascontiguousarray(info.gain * chunk.samples.astype(np.float64) + info.offset, dtype="<f4")
        block = WaveBlock.model_construct(
            v=LINK_VERSION,
            bed=info.bed,
            stream=info.key,
            modality=info.modality or "",
            unit=stream.unit,
            first_index=stream.total,
            t0=t0,
            rate=info.rate_hz,
            delay=stream.delay_s,
            x=values.tobytes(),
        )
        stream.total += len(chunk)
        stream.waiting.append(block)
        while stream.waiting[0].t0 < t0 - WAVE_BACKLOG_S:
            stream.waiting.popleft()

    def note(self, events: Sequence[Event]) -> None:
        """Something came of it."""
        for event in events:
            match event:
                case Score():
                    self._score = event
                    self._learn_delays(event)
                case PainIndex():
                    self._index = event
                    self._remember(event)
                case Comparators():
                    self._measures = event
                case CalibrationEvent():
                    self._calibration = event
                case AlarmEvent():
                    if event.presence is Presence.OFF:
                        self._alarms.pop(event.condition, None)
                    else:
                        self._alarms[event.condition] = event
                case AlarmAction(action="limits"):
                    self._limits = self._limits.model_copy(update=dict(event.after))
                case AlarmAction():
                    self._signals = dict(event.after)
                case Marker():
                    self._markers.append(event)
                case StreamEvent():
                    self._note_stream(event)

    # -- what a screen is told ---------------------------------------------------------------------------------------

    def waves(self) -> list[WaveBlock]:
        """Samples that came since the last call, in blocks as long as they are contiguous."""
        blocks: list[WaveBlock] = []
        for stream in self._streams.values():
            joined: list[WaveBlock] = []
            for block in stream.waiting:
                if joined and _follows(joined[-1], block):
                    joined[-1] = joined[-1].model_copy(update={"x": joined[-1].x + block.x})
                else:
                    joined.append(block)
            stream.waiting.clear()
            blocks += joined
        return blocks

    def history(self, seconds: float) -> History:
        """Indices of the last so many seconds of stream time."""
        rows = list(self._history)
        if rows:
            rows = [row for row in rows if row[0] > rows[-1][0] - seconds]
        t, fast, slow, absent = zip(*rows, strict=True) if rows else ((), (), (), ())
        return History(t=t, fast=fast, slow=slow, absent=absent)

    def state(self, now: float, recording: Mapping[str, Any]) -> BedState:
        """The bed as it stands.

        Args:
            now: Stream clock.
            recording: `Recorder.status` of the bed.
        """
        score, index = self._score, self._index
        bundle = score.bundle if score is not None else self._order[0]
        levels = {item.name: item.level for item in self._specs[bundle].classes} if bundle in self._specs else {}
        return BedState(
            bed=self._settings.name,
            session=self._session,
            subject=self._subject,
            started=self._started,
            hop_s=self._settings.hop_s,
            provenance=self._provenance(),
            bundle=bundle,
            bundles=tuple(bundle_view(self._specs[name]) for name in self._order),
            score=None if score is None else score_view(score, levels),
            index=None if index is None else index_view(index),
            quality=() if score is None else tuple(map(quality_view, score.quality)),
            calibration=self._calibration_view(),
            comparators=comparator_view(self._measures),
            alarms=tuple(alarm_view(alarm) for alarm in sorted(self._alarms.values(), key=urgency)),
            streams=tuple(self._stream_view(stream, now) for stream in self._streams.values()),
            recording=recording_view(recording),
            limits=limits_view(self._limits),
            signals=signals_view(self._signals, now),
            markers=tuple(map(marker_view, self._markers)),
        )

    # -- parts -------------------------------------------------------------------------------------------------------

    def _remember(self, index: PainIndex) -> None:
        score = self._score
        absent = "+".join(score.withheld) if score is not None and score.k == index.k else ""
        self._history.append((index.t_end, index.fast, index.slow, absent))
        while self._history[0][0] < index.t_end - HISTORY_S:
            self._history.popleft()
        if len(self._history) > 1 and index.t_end < self._history[-2][0]:  # the bed's clock was set anew
            newest = self._history[-1]
            self._history.clear()
            self._history.append(newest)

    def _learn_delays(self, score: Score) -> None:
        spec = self._specs.get(score.bundle)
        if spec is None:
            return
        by_modality = {item.modality: score.delay_s.get(item.name, 0.0) for item in spec.inputs}
        for stream in self._streams.values():
            stream.delay_s = by_modality.get(stream.info.modality or "", 0.0)

    def _note_stream(self, event: StreamEvent) -> None:
        stream = self._streams.get(event.stream)
        if stream is None:
            return
        if event.kind is StreamEventKind.REFUSED:
            stream.refused = event.detail or "refused"
        elif event.kind in _COUNTED:
            stream.counts[_COUNTED[event.kind]] += 1 if event.kind is StreamEventKind.GAP else event.samples

    def _provenance(self) -> str:
        used = [stream.info.provenance for stream in self._streams.values() if stream.last_arrival is not None]
        used = used or [stream.info.provenance for stream in self._streams.values()]
        return max(used, key=_RANK.__getitem__, default=Provenance.LIVE).value

    def _calibration_view(self) -> CalibrationView:
        event, score = self._calibration, self._score
        state = event.state if event is not None else CalibrationState.NOT_CALIBRATED
        if score is not None and state is not CalibrationState.CALIBRATED:
            state = score.calibration_state if event is None else state
        needed = event.needed_s if event is not None else self._settings.calibration_s
        return CalibrationView(state=state.value, valid_s=event.valid_s if event else 0.0, needed_s=needed)

    def _stream_view(self, stream: _Stream, now: float) -> StreamView:
        info = stream.info
        measured = None
        if len(stream.arrived) > 1 and (span := stream.arrived[-1][0] - stream.arrived[0][0]) > 0.5 * _RATE_SPAN_S:
            measured = (sum(count for _, count in stream.arrived) - stream.arrived[0][1]) / span
        return StreamView(
            key=info.key,
            name=info.name,
            modality=info.modality,
            unit=stream.unit,
            rate_hz=info.rate_hz,
            measured_hz=measured,
            age_s=None if stream.last_arrival is None else max(0.0, now - stream.last_arrival),
            gaps=stream.counts["gaps"],
            lost=stream.counts["lost"],
            late=stream.counts["late"],
            provenance=info.provenance.value,
            unused=stream.refused or info.unused,
            channels=info.channels,
        )


def _follows(before: WaveBlock, after: WaveBlock) -> bool:
    return before.first_index + len(before.x) // 4 == after.first_index and before.delay == after.delay
