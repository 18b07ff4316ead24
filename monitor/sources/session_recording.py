"""A session database of this monitor as a recording: the streams of its bed, sample for sample as they were received.

Streams keep modality, unit, gain and offset, rails and jitter, and every stamp, so that windows are cut where the
session cut them: the recording's zero lies on the session's own grid of windows, and is announced as its origin. What
was live becomes a replay; what was simulated stays simulated. Markers and reported scores come along; other commands,
the session's calibration and its settings do not, since a replay has its own (to compute a session again exactly as it
ran there is `pain-monitor verify`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from monitor.errors import SessionError, SourceError
from monitor.modality import many_channels
from monitor.sessions.reader import SessionReader, StoredStream
from monitor.sources.base import WHOLE, Candidate, Recording, Signal
from monitor.types import Float32Array, FloatArray, Marker, Provenance, snap

SUFFIX: Final = ".db"


def read_session(path: Path) -> Recording:
    """Read a session, also one that an engine is still writing: everything up to now.

    Raises:
        SourceError: If it cannot be read, is no session, is damaged, or holds no samples.
    """
    try:
        with SessionReader(path) as reader:
            return _read(path, reader)
    except SessionError as error:
        raise SourceError(error.what, where=error.where, todo=error.todo) from error


def _read(path: Path, reader: SessionReader) -> Recording:
    stored = reader.streams()
    signals = {stream.info.key: reader.signal(stream.info.key) for stream in stored}
    firsts = [
        float(stamps.min())
        for stream in stored
        if len(stamps := signals[stream.info.key][0]) and stream.info.modality is not None
    ] or [float(stamps.min()) for stamps, _ in signals.values() if len(stamps)]
    if not firsts:
        raise SourceError(
            "the session holds no samples", where=str(path), todo="Its streams never came: `pain-monitor inspect` it"
        )
    zero = _zero(reader, min(firsts))
    return Recording(
        path=path,
        format="session",
        signals=tuple(
            signal
            for stream in stored
            if not many_channels(stream.info.modality)
            for signal in _signals(stream, *signals[stream.info.key], among=stored, zero=zero)
        ),
        arrays=tuple(
            _array(stream, *signals[stream.info.key], zero=zero)
            for stream in stored
            if many_channels(stream.info.modality)
        ),
        utc_start=0.0 if reader.meta.clock_offset is None else reader.meta.clock_offset + zero,
        markers=tuple(sorted((float(snap(marker.t - zero)), _text(marker)) for marker in reader.events(Marker))),
        notes=tuple(_notes(reader, stored)),
        # One simulated stream makes what is computed of all of them simulated.
        provenance=_replayed(
            Provenance.SIMULATED
            if Provenance.SIMULATED in (stream.info.provenance for stream in stored)
            else reader.meta.provenance
        ),
    )


def _zero(reader: SessionReader, first: float) -> float:
    """Return the last instant of the session's grid of windows at or before its first sample, on its stream clock.

    With it as the origin a replay cuts its windows at the same samples, whatever clock the session ran on.
    """
    announced = [s.info.origin for s in reader.streams() if s.info.origin is not None and s.info.modality is not None]
    origin = reader.origin()
    if origin is None:
        origin = announced[0] if announced else 0.0
    hop_s = reader.meta.settings.hop_s
    return float(snap(origin + math.floor((first - origin) / hop_s) * hop_s))


def _signals(
    stream: StoredStream, stamps: FloatArray, samples: Float32Array, *, among: Sequence[StoredStream], zero: float
) -> Iterator[Signal]:
    info = stream.info
    name, label = _name_and_label(info.name, [other.info.name for other in among])
    rebased = snap(stamps - zero)
    rebased.flags.writeable = False
    columns = samples.reshape(len(stamps), -1) if len(stamps) else np.empty((0, info.channels), dtype=np.float32)
    for index in range(columns.shape[1]):
        column = np.ascontiguousarray(columns[:, index])
        column.flags.writeable = False
        several = columns.shape[1] > 1
        yield Signal(
            candidate=Candidate(
                key=info.key + (f"#{index}" if several else ""),
                name=name,
                channel=f"{label} {index}" if several else label,
                channel_index=index,
                unit=info.unit,
                rate_hz=info.rate_hz,
                rate_measured=info.rate_measured,
                origin=0.0,
                source="session",
                provenance=_replayed(info.provenance),
                modality=info.modality,
                gain=info.gain if info.modality is not None else None,
                offset=info.offset,
                rails=info.rails,
                jitter_s=info.jitter_s,
            ),
            samples=column,
            t_first=float(rebased[0]) if len(rebased) else 0.0,
            stamps=rebased,
        )


def _array(stream: StoredStream, stamps: FloatArray, samples: Float32Array, *, zero: float) -> Signal:
    """An ARRAY or EMBED, all channels together."""
    info = stream.info
    rebased = snap(stamps - zero)
    rebased.flags.writeable = False
    return Signal(
        candidate=Candidate(
            key=info.key,
            name=info.name,
            channel_index=WHOLE,
            channels=info.channels,
            unit=info.unit,
            rate_hz=info.rate_hz,
            rate_measured=info.rate_measured,
            origin=0.0,
            source="session",
            provenance=_replayed(info.provenance),
            modality=info.modality,
            gain=info.gain,
            offset=info.offset,
            jitter_s=info.jitter_s,
        ),
        samples=samples,
        t_first=float(rebased[0]) if len(rebased) else 0.0,
        stamps=rebased,
    )


def _name_and_label(name: str, among: Sequence[str]) -> tuple[str, str]:
    """Take apart `stream/label`, as the channels of a stream that has several were announced."""
    head, slash, label = name.rpartition("/")
    siblings = sum(other.rpartition("/")[0] == head for other in among)
    return (head, label) if slash and head and label and siblings > 1 else (name, name)


def _replayed(provenance: Provenance) -> Provenance:
    return Provenance.SIMULATED if provenance is Provenance.SIMULATED else Provenance.REPLAY


def _text(marker: Marker) -> str:
    value = "" if marker.value is None else f" {marker.value:g}"
    return f"{marker.kind}{value}" + (f": {marker.text}" if marker.text else "")


def _notes(reader: SessionReader, stored: tuple[StoredStream, ...]) -> Iterator[str]:
    meta = reader.meta
    yield f"session {meta.session} of bed '{meta.bed}': its calibration and settings are not taken over"
    if reader.closed_utc is None:
        yield "the session is still being recorded, or was cut off: read up to what is stored"
    for gap in reader.recording_gaps():
        yield f"{gap.samples} sample(s) could not be recorded ({gap.reason}): a gap"
    for stream in stored:
        if stream.lost:
            yield f"stream '{stream.info.name}': {stream.lost} sample(s) were lost before they reached the monitor"
