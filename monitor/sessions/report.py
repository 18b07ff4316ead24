"""What a session holds, in numbers and words."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import numpy as np

from monitor.sessions.reader import SessionReader, StoredStream
from monitor.sessions.rows import RecordingGap
from monitor.timeline import tolerated_periods
from monitor.types import (
    AlarmEvent,
    Marker,
    Provenance,
    StreamEvent,
    StreamEventKind,
    StreamInfo,
    WindowsSkipped,
)

QUANTILES: Final = (0.05, 0.25, 0.5, 0.75, 0.95)


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruption:
    """A gap in a stream, as the pipeline saw it."""

    t_rel: float
    """Seconds from the origin."""
    seconds: float
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamSummary:
    """One stream over the whole session."""

    info: StreamInfo
    samples: int
    measured_hz: float | None
    """Rate inside contiguous stretches, from the stamps; None with fewer than two samples."""
    coverage: float | None
    """Share of the session's time that contiguous samples cover."""
    gaps: tuple[Interruption, ...]
    lost: int
    """Samples that the source itself counted as lost."""
    late: int
    """Samples that came after their windows had been decided."""
    not_finite: int
    clock_faults: tuple[float, ...]
    """Seconds from the origin."""
    reconnects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionSummary:
    """A session in numbers. `t_rel` counts from the origin of the window grid."""

    path: Path
    session: uuid.UUID
    bed: str
    subject: str
    created_utc: float
    origin: float
    """Stream clock of `t_rel` = 0."""
    seconds: float
    """From the first input to the last."""
    closed: bool
    provenance: tuple[Provenance, ...]
    """Where its signals come from."""
    bundles: tuple[str, ...]
    """Name, version and weights, in words."""
    notice: str
    streams: tuple[StreamSummary, ...]
    scored: int
    absent: int
    skipped: int
    """Windows that were never decided because the bed's clock was set anew."""
    reasons: Mapping[str, int]
    """Windows without a score by reason, most frequent first; a window may have several."""
    fast: tuple[float, ...]
    """Quantiles (see `QUANTILES`) of the fast index; empty where there is none."""
    slow: tuple[float, ...]
    alarms: tuple[AlarmEvent, ...]
    markers: tuple[Marker, ...]
    recording_gaps: tuple[RecordingGap, ...]

    @property
    def scored_share(self) -> float | None:
        """Windows with a score among all windows."""
        windows = self.scored + self.absent + self.skipped
        return self.scored / windows if windows else None


def summary(reader: SessionReader, *, progress: Callable[[float], None] | None = None) -> SessionSummary:
    """Read a session once and sum it up.

    Args:
        reader: The session.
        progress: Told the share that is done, 0 to 1.

    Raises:
        SessionError: If the session is damaged.
    """
    start, end = reader.span() or (0.0, 0.0)
    found = reader.origin()
    origin = start if found is None else found
    scored, reasons = 0, Counter[str]()
    absent = 0
    for score in reader.scores():
        scored += not score.withheld
        absent += bool(score.withheld)
        reasons.update(score.withheld)
    skipped = list(reader.events(WindowsSkipped))
    reasons.update({str(item.reason): item.last_k - item.first_k + 1 for item in skipped})
    indices = [(index.fast, index.slow) for index in reader.indices()]
    befell = list(reader.events(StreamEvent))
    stored = reader.streams()
    streams = []
    for done, stream in enumerate(stored):
        own = [event for event in befell if event.stream == stream.info.key]
        streams.append(_stream_summary(reader, stream, own, origin=origin, seconds=end - start))
        if progress is not None:
            progress((done + 1) / len(stored))
    return SessionSummary(
        path=reader.path,
        session=reader.meta.session,
        bed=reader.meta.bed,
        subject=reader.meta.subject,
        created_utc=reader.meta.created_utc,
        origin=origin,
        seconds=end - start,
        closed=reader.closed_utc is not None,
        provenance=provenance(reader),
        bundles=bundles_in_words(reader),
        notice=reader.meta.notice,
        streams=tuple(streams),
        scored=scored,
        absent=absent,
        skipped=sum(item.last_k - item.first_k + 1 for item in skipped),
        reasons=dict(reasons.most_common()),
        fast=_quantiles([fast for fast, _ in indices if fast is not None]),
        slow=_quantiles([slow for _, slow in indices if slow is not None]),
        alarms=tuple(reader.events(AlarmEvent)),
        markers=tuple(reader.events(Marker)),
        recording_gaps=reader.recording_gaps(),
    )


def provenance(reader: SessionReader) -> tuple[Provenance, ...]:
    """Where a session's signals come from: what its streams say, and the session itself where it is not live."""
    said = {stream.info.provenance for stream in reader.streams()} or {reader.meta.provenance}
    if reader.meta.provenance is not Provenance.LIVE:
        said.add(reader.meta.provenance)
    return tuple(item for item in Provenance if item in said)


def signals_in_words(found: Sequence[Provenance]) -> str:
    """A banner's words, e.g. `SIMULATED SIGNALS`; empty where all signals are live."""
    words = {Provenance.SIMULATED: "SIMULATED SIGNALS", Provenance.REPLAY: "REPLAY OF A RECORDING"}
    return " + ".join(words[item] for item in found if item in words)


def bundles_in_words(reader: SessionReader) -> tuple[str, ...]:
    """Name, version and origin of the weights of each bundle."""
    words = []
    for bundle in reader.bundles():
        spec = bundle.spec
        said = "; ".join(filter(None, (spec.origin, spec.notice)))
        words.append(f"{spec.name} {spec.version} ({said})")
    return tuple(words)


def contiguous_limit_s(info: StreamInfo) -> float:
    """Largest distance of two samples that is no gap, in seconds; inf for a stream without a rate."""
    if info.rate_hz <= 0:
        return float("inf")
    return 1.0 / info.rate_hz + max(tolerated_periods(info.rate_hz) / info.rate_hz, info.jitter_s)


def _stream_summary(
    reader: SessionReader, stream: StoredStream, events: Sequence[StreamEvent], *, origin: float, seconds: float
) -> StreamSummary:
    kinds = StreamEventKind
    steps, covered, last = 0, 0.0, float("nan")
    limit = contiguous_limit_s(stream.info)
    for chunk in reader.chunks(stream.info.key):
        if len(chunk):
            distances = np.diff(chunk.stamps, prepend=last)
            inside = distances[(distances > 0) & (distances <= limit)]
            steps, covered, last = steps + len(inside), covered + float(inside.sum()), float(chunk.stamps[-1])
    measured = steps / covered if covered > 0 else None
    return StreamSummary(
        info=stream.info,
        samples=stream.samples,
        measured_hz=measured,
        coverage=min(1.0, (covered + 1.0 / measured) / seconds) if measured and seconds > 0 else None,
        gaps=tuple(
            Interruption(t_rel=event.t - origin, seconds=event.seconds, detail=event.detail)
            for event in events
            if event.kind is kinds.GAP
        ),
        lost=stream.lost,
        late=sum(event.samples for event in events if event.kind is kinds.LATE),
        not_finite=sum(event.samples for event in events if event.kind is kinds.NOT_FINITE),
        clock_faults=tuple(event.t - origin for event in events if event.kind is kinds.CLOCK_FAULT),
        reconnects=max(0, len(stream.opened) - 1),
    )


def _quantiles(values: Sequence[float]) -> tuple[float, ...]:
    return tuple(float(value) for value in np.quantile(values, QUANTILES)) if values else ()


# -- in words ---------------------------------------------------------------------------------------------------------

_SHOWN: Final = 20
"""Gaps, alarms and markers that are listed one by one; the rest is counted."""


def summary_text(item: SessionSummary) -> str:
    """A summary as plain text of some thirty lines."""
    return "\n".join(_lines(item))


def _lines(item: SessionSummary) -> Iterator[str]:
    created = datetime.fromtimestamp(item.created_utc, UTC)
    yield f"Session {item.session}  bed {item.bed}  subject {item.subject}"
    yield f"{item.notice}"
    if banner := signals_in_words(item.provenance):
        yield banner
    ended = "ended in order" if item.closed else "NOT ended in order, or still running"
    yield f"Begun {created:%Y-%m-%d %H:%M:%S} UTC, {duration(item.seconds)}, {ended}"
    yield f"Bundles: {'; '.join(item.bundles) or 'none'}"
    yield ""
    yield "Streams"
    for stream in item.streams:
        yield from _stream_lines(stream)
    yield ""
    share = item.scored_share
    total = item.scored + item.absent + item.skipped
    yield f"Windows: {total}" + ("" if share is None else f", {item.scored} scored ({100 * share:.1f} %)")
    for reason, count in item.reasons.items():
        yield f"  without a score, {reason}: {count}"
    for name, values in (("fast", item.fast), ("slow", item.slow)):
        if values:
            marks = ", ".join(f"{100 * q:g} %: {value:.1f}" for q, value in zip(QUANTILES, values, strict=True))
            yield f"Index {name}, share of the time at or below: {marks}"
    if not item.fast and not item.slow:
        yield "Index: none"
    yield f"Alarm transitions: {len(item.alarms)}"
    yield from _listed([f"{alarm.t_rel:10.1f} s  {alarm.condition} {alarm.presence}" for alarm in item.alarms])
    yield f"Markers: {len(item.markers)}"
    yield from _listed(
        [
            f"{marker.t - item.origin:10.1f} s  {marker.kind}"
            f"{'' if marker.value is None else f' {marker.value:g}'} {marker.text}".rstrip()
            for marker in item.markers
        ]
    )
    for gap in item.recording_gaps:
        yield (
            f"NOT RECORDED: {gap.start - item.origin:.1f} to {gap.end - item.origin:.1f} s, {gap.records} records "
            f"({gap.samples} samples): {gap.reason}"
        )


def _stream_lines(stream: StreamSummary) -> Iterator[str]:
    info = stream.info
    samples = f"{stream.samples} samples" + (f" of {info.channels} channels" if info.channels > 1 else "")
    rate = "no regular rate" if stream.measured_hz is None else f"{stream.measured_hz:.4g} Hz measured"
    cover = "" if stream.coverage is None else f", covers {100 * stream.coverage:.1f} %"
    yield (
        f"  {info.modality or 'unused':6s} {info.name} [{info.unit or 'unit unknown'}]: {samples}, "
        f"{info.rate_hz:g} Hz nominal, {rate}{cover} ({info.provenance})"
    )
    if info.unused:
        yield f"         not used: {info.unused}"
    counts = {
        "gaps": len(stream.gaps),
        "lost by the source": stream.lost,
        "late": stream.late,
        "not finite": stream.not_finite,
        "clock faults": len(stream.clock_faults),
        "reconnects": stream.reconnects,
    }
    if any(counts.values()):
        yield "         " + ", ".join(f"{name} {count}" for name, count in counts.items() if count)
    longest = sorted(stream.gaps, key=lambda gap: -abs(gap.seconds))[:_SHOWN]
    for gap in sorted(longest, key=lambda gap: gap.t_rel):
        yield f"         gap at {gap.t_rel:.1f} s, {gap.seconds:.3g} s {gap.detail}".rstrip()
    if len(stream.gaps) > _SHOWN:
        yield f"         ... and {len(stream.gaps) - _SHOWN} shorter ones"


def _listed(lines: Sequence[str]) -> Iterator[str]:
    yield from lines[:_SHOWN]
    if len(lines) > _SHOWN:
        yield f"  ... and {len(lines) - _SHOWN} more"


def duration(seconds: float) -> str:
    """A span in words: `4.2 s`, `12 min 3 s`, `3 h 20 min`."""
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
