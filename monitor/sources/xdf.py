"""XDF files (LabRecorder and others), `.xdf` and `.xdfz`: the streams of a Lab Streaming Layer recording.

**Time.** Each sample keeps the stamp that the recorder received. It is moved onto the recorder's clock by the clock
offsets that stand in the file, as `pyxdf` does it: a robust straight line through a stream's offsets, and one line for
each stretch between two resets of the sender's clock. A line adds no step of its own, so what is irregular in the
stamps was irregular in the recording. `pyxdf` would also put the samples of a stream onto an even grid ("dejitter"):
that is off, since it hides lost samples and sampling rates that are not what they claim to be. After a reset there is a
gap as long as the recorder's clock says; where a file has no offsets, the stamps themselves jump.

**Signals.** Every channel of a numeric stream is one signal, with the label and unit of its description. Streams of
strings, and irregular ones whose type says markers, become markers. Empty streams stay, empty.
"""

from __future__ import annotations

import io
import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final

import numpy as np
import pyxdf

from monitor.errors import SourceError
from monitor.sources.base import WHOLE, Candidate, Recording, Signal
from monitor.sources.compressed import read_bytes
from monitor.sources.units import canonical_unit
from monitor.sources.xdf_chunks import MAGIC, StreamHeader, WholeChunks, whole_chunks
from monitor.types import FloatArray, Provenance, snap

SUFFIXES: Final = (".xdf", ".xdfz")

_ONE_CLOCK_S: Final = 86400.0
"""Streams further apart than this were stamped by clocks that nothing in the file relates to each other."""

_LATEST_S: Final = 1e12
"""No clock shows more, in seconds; a damaged stamp may."""

_RATE_TOLERANCE: Final = 0.05


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Stream:
    header: StreamHeader
    samples: Any
    """(n, channels) numbers, or n lists of strings."""
    stamps: FloatArray
    """(n,) seconds on the recorder's clock."""

    @property
    def is_marker(self) -> bool:
        words = self.header.type.casefold()
        return self.header.text or (
            self.header.rate_hz == 0.0 and any(word in words for word in ("marker", "event", "stim", "trigger"))
        )


def read_xdf(path: Path) -> Recording:
    """Read a file; of one that was cut short or damaged, every whole chunk.

    Raises:
        SourceError: If the file cannot be read or holds no stream of numbers.
    """
    data, fault = read_bytes(path)
    notes = [fault] if fault else []
    if not data.startswith(MAGIC):
        raise SourceError("is not an XDF file: it does not start with 'XDF:'", where=str(path), todo="Check the file")
    chunks = whole_chunks(data)
    if chunks.cut:
        notes.append(f"the file ends inside a chunk: its last {chunks.cut} bytes are left out")
    if chunks.damaged:
        notes.append(f"{chunks.damaged} damaged chunk(s) are left out")
    streams = _related(_decode(chunks, where=str(path), notes=notes), notes)
    signals = [stream for stream in streams if not stream.is_marker]
    if not signals:
        raise SourceError(
            "holds no stream of numbers" + "".join(f"; {note}" for note in notes),
            where=str(path),
            todo="A recording needs at least one stream of a signal, such as ECG",
        )
    zero = float(snap(min((float(s.stamps.min()) for s in signals if len(s.stamps)), default=0.0)))
    return Recording(
        path=path,
        format="xdf",
        signals=tuple(signal for stream in signals for signal in _signals(stream, signals, zero=zero, notes=notes)),
        arrays=tuple(_array(stream, signals, zero=zero) for stream in signals if stream.header.channels > 1),
        utc_start=_utc(chunks.started),
        markers=_markers([stream for stream in streams if stream.is_marker], zero=zero),
        notes=tuple(notes),
        provenance=_least_real([s.header.provenance for s in signals]),
    )


def _decode(chunks: WholeChunks, *, where: str, notes: list[str]) -> list[_Stream]:
    with _warnings_of_pyxdf() as warnings, np.errstate(all="ignore"):
        try:
            decoded, _ = pyxdf.load_xdf(io.BytesIO(chunks.data), dejitter_timestamps=False)
        except Exception as error:  # what damage may raise in there is open-ended, and all of it is the file's fault
            raise SourceError(f"not a readable XDF file: {error}", where=where, todo="Fetch it again") from error
    notes += warnings
    streams = []
    for found in decoded:
        header = chunks.headers[found["info"]["stream_id"]]
        stamps = np.asarray(found["time_stamps"], dtype=np.float64)
        samples = found["time_series"]
        finite = np.abs(stamps) < _LATEST_S  # nor NaN
        if not finite.all():
            notes.append(
                f"stream '{header.name}': {np.count_nonzero(~finite)} sample(s) without a possible time are left out"
            )
            samples = [samples[i] for i in np.flatnonzero(finite)] if header.text else samples[finite]
            stamps = stamps[finite]
        if len(stamps) and not found["clock_times"]:
            notes.append(f"stream '{header.name}' has no clock offsets: its stamps are taken for the recorder's")
        resets = len(found["info"]["clock_segments"]) - 1
        if resets > 0:
            notes.append(f"stream '{header.name}': its clock was set anew {resets} time(s), each of them a gap")
        streams.append(_Stream(header=header, samples=samples, stamps=stamps))
    return streams


@contextmanager
def _warnings_of_pyxdf() -> Iterator[list[str]]:
    """Collect what `pyxdf` logs while it reads, for the notes, instead of leaving it to whoever handles logs."""
    collected: list[str] = []

    class _Collector(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            # Two divisions of a stream, of which ours has no use for the first: it is not dejittered.
            if record.levelno >= logging.WARNING and "clock-segments differ" not in record.getMessage():
                collected.append(record.getMessage())

    logger = logging.getLogger("pyxdf")
    handler, propagate = _Collector(), logger.propagate
    logger.addHandler(handler)
    logger.propagate = False
    try:
        yield collected
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagate


def _related(streams: Sequence[_Stream], notes: list[str]) -> list[_Stream]:
    """Leave out streams whose clock has nothing to do with that of the longest signal."""
    filled = [stream for stream in streams if len(stream.stamps) and not stream.is_marker]
    if not filled:
        return list(streams)
    reference = float(np.median(max(filled, key=lambda stream: len(stream.stamps)).stamps))
    related = []
    for stream in streams:
        apart = abs(float(np.median(stream.stamps)) - reference) if len(stream.stamps) else 0.0
        if apart > _ONE_CLOCK_S:
            notes.append(
                f"stream '{stream.header.name}' lies {apart:.0f} s from the others on a clock that nothing relates to "
                "theirs: left out"
            )
        else:
            related.append(stream)
    return related


def _signals(stream: _Stream, among: Sequence[_Stream], *, zero: float, notes: list[str]) -> Iterator[Signal]:
    header = stream.header
    stamps = snap(stream.stamps - zero) + 0.0  # never -0.0
    stamps.flags.writeable = False
    if not len(stamps):
        notes.append(f"stream '{header.name}' is empty")
    _check_rate(header, stamps, notes)
    key = _key(stream, among)
    for index in range(header.channels):
        with np.errstate(over="ignore"):  # beyond float32 is infinite: the quality gate refuses it
            samples = np.ascontiguousarray(stream.samples[:, index], dtype=np.float32)
        samples.flags.writeable = False
        unit = header.units[index]
        yield Signal(
            candidate=Candidate(
                key=f"{key}:{index}",
                name=header.name,
                type=header.type,
                source_id=header.source_id,
                channel=header.labels[index] or (f"channel {index}" if header.channels > 1 else ""),
                channel_index=index,
                unit=(canonical_unit(unit) or unit) if unit else None,
                rate_hz=header.rate_hz,
                source="xdf",
                provenance=_least_real([header.provenance]),
            ),
            samples=samples,
            t_first=float(stamps[0]) if len(stamps) else 0.0,
            stamps=stamps,
        )


def _array(stream: _Stream, among: Sequence[_Stream], *, zero: float) -> Signal:
    """All channels of a stream together."""
    header = stream.header
    stamps = snap(stream.stamps - zero) + 0.0
    stamps.flags.writeable = False
    with np.errstate(over="ignore"):
        samples = np.ascontiguousarray(stream.samples, dtype=np.float32)
    samples.flags.writeable = False
    units = {unit for unit in header.units if unit}
    return Signal(
        candidate=Candidate(
            key=f"{_key(stream, among)}:all",
            name=header.name,
            type=header.type,
            source_id=header.source_id,
            channel_index=WHOLE,
            channels=header.channels,
            unit=units.pop() if len(units) == 1 else None,
            rate_hz=header.rate_hz,
            source="xdf",
            provenance=_least_real([header.provenance]),
        ),
        samples=samples,
        t_first=float(stamps[0]) if len(stamps) else 0.0,
        stamps=stamps,
    )


def _key(stream: _Stream, among: Sequence[_Stream]) -> str:
    name = stream.header.name
    twin = sum(other.header.name == name for other in among[: among.index(stream)])
    return f"xdf:{name}" + (f"#{twin + 1}" if twin else "")


def _check_rate(header: StreamHeader, stamps: FloatArray, notes: list[str]) -> None:
    """Note a rate that is not what the stream claims; gaps and resets do not count, since the median is taken."""
    step = float(np.median(np.diff(stamps))) if len(stamps) > 1 else 0.0
    if header.rate_hz and step > 0.0 and abs(1.0 / step - header.rate_hz) > _RATE_TOLERANCE * header.rate_hz:
        notes.append(
            f"stream '{header.name}' claims {header.rate_hz:g} Hz, its stamps say {1.0 / step:.4g} Hz "
            '(rate_hz = "measured" in its [[bed.stream]] accepts them)'
        )


def _markers(streams: Sequence[_Stream], *, zero: float) -> tuple[tuple[float, str], ...]:
    markers = []
    for stream in streams:
        # One stream of markers needs no name in front of each; of several, each says where it comes from.
        prefix = f"{stream.header.name}: " if sum(len(s.stamps) > 0 for s in streams) > 1 else ""
        for at, values in zip(stream.stamps, stream.samples, strict=True):
            words = [value if isinstance(value, str) else f"{value:g}" for value in values]
            text = ", ".join(word for word in words if word.strip())
            if text:
                markers.append((float(snap(at - zero)), prefix + text))
    return tuple(sorted(markers))


def _least_real(provenances: Sequence[Provenance | None]) -> Provenance:
    return Provenance.SIMULATED if Provenance.SIMULATED in provenances else Provenance.REPLAY


def _utc(started: str) -> float:
    """UTC of a date and time that states its zone; 0 without one, since local times are left alone."""
    try:
        moment = datetime.fromisoformat(started)
    except ValueError:
        return 0.0
    return moment.timestamp() if moment.tzinfo is not None else 0.0
