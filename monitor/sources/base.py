"""The one protocol of all sources, and what a file reader returns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, Protocol

from monitor.types import Chunk, Float32Array, FloatArray, Provenance, StreamEvent, StreamInfo

WHOLE: Final = -1
"""`Candidate.channel_index` of a stream with all of its channels, as ARRAY and EMBED take it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """What a file or a network says of one channel, or of a stream as a whole, before anyone decided what it is."""

    key: str
    """Unique among the candidates, stable over reconnects, e.g. `lsl:<source_id>:0` or `csv:hand GSR`."""
    name: str
    """Name of the stream or of the file's signal."""
    type: str = ""
    """Type of the LSL stream, also of a recorded one; the transducer that an EDF file names; else empty."""
    source_id: str = ""
    """source_id of the LSL stream; empty in files."""
    channel: str = ""
    """Label of the channel; the signal's name in files."""
    channel_index: int = 0
    """From 0; `WHOLE` where the candidate is a stream with all of its channels."""
    channels: int = 1
    """Numbers of a sample: more than 1 only where the candidate is a whole stream."""
    unit: str | None = None
    """As stated by the stream or file itself; None where nobody states one."""
    rate_hz: float | None = None
    """As stated; None where nobody states one; 0 for irregular streams."""
    rate_measured: bool = False
    """`rate_hz` was estimated from the stamps of the samples: no promise that it holds."""
    origin: float | None = None
    source: str = ""
    provenance: Provenance = Provenance.LIVE
    modality: str | None = None
    """What the source itself says that the channel is; goes before every name."""
    gain: float | None = None
    """Value in the unit of `modality` = `gain` * sample + `offset`, where the source itself states it; it holds for
    no other modality."""
    offset: float = 0.0
    rails: tuple[float, float] | None = None
    """Lowest and highest value the converter can give, in `unit`, where the source itself states them."""
    jitter_s: float | None = None
    """Jitter of the stamps that the source itself states; None for the default."""

    @property
    def whole(self) -> bool:
        """Whether this is a stream with all of its channels."""
        return self.channel_index == WHOLE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Signal:
    """One signal of a recording from its beginning to its end. It may be empty."""

    candidate: Candidate
    samples: Float32Array
    """(n,) in the file's unit; (n, channels) of a whole stream."""
    t_first: float
    """Seconds from the recording's own zero."""
    stamps: FloatArray | None = None
    """(n,) seconds from the recording's own zero, where the file states a time for every sample; else the samples
    lie at t_first + i / rate_hz."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Recording:
    """A file or folder, read. `utc_start` is 0 where the file states none."""

    path: Path
    format: str
    signals: tuple[Signal, ...]
    arrays: tuple[Signal, ...] = ()
    """Streams of several channels as a whole, for settings that ask for an ARRAY or EMBED."""
    utc_start: float = 0.0
    markers: tuple[tuple[float, str], ...] = ()
    """(seconds from the recording's zero, text)."""
    notes: tuple[str, ...] = ()
    """What a reader should be told, e.g. that the file ends in the middle of a row."""
    provenance: Provenance = Provenance.REPLAY


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceReading:
    """What one `read` brought: any number of chunks, and anything that befell the streams."""

    chunks: Sequence[Chunk] = ()
    events: Sequence[StreamEvent] = ()
    opened: Sequence[StreamInfo] = field(default_factory=tuple)
    """Streams found since the last read; always before their first chunk."""


class Source(Protocol):
    """Brings the streams of one bed, in a thread of its own.

    Quiet and lost are different things: a quiet source returns an empty reading, a lost stream is reported as an
    event and looked for again inside `read`; an exception is a defect and ends the thread, which the engine restarts.
    """

    name: str

    def open(self) -> None:
        """Start. Must not wait for streams: they are reported by `read` when they are found.

        Raises:
            MonitorError: If the source can never deliver (file missing, two streams match).
        """
        ...

    def read(self, timeout: float) -> SourceReading:
        """Return what has arrived, waiting at most `timeout` seconds for something."""
        ...

    @property
    def finished(self) -> bool:
        """True when nothing will ever come again (end of a recording); live sources never finish."""
        ...

    def close(self) -> None:
        """Release everything. May be called twice, and from another thread."""
        ...
