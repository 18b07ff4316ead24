"""What LSL offers: one look at the network, a stream's description, and the report behind `pain-monitor streams`."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from xml.etree import ElementTree as ET

import numpy as np

from monitor.errors import SourceError
from monitor.sources.base import WHOLE, Candidate
from monitor.sources.liblsl import LSL_ERRORS, pylsl
from monitor.sources.names import guess_modalities
from monitor.sources.suggest import array_table, toml_table
from monitor.types import FloatArray, Provenance

_LOGGER = logging.getLogger(__name__)

DESCRIBE_S: Final = 3.0
"""Seconds that a stream gets to send its full description."""
OWN_TYPES: Final = frozenset({"PainScore", "PainEvents"})
"""Types of the streams that the monitor itself offers; never an input."""
_PREVIEW_SAMPLES: Final = 4096


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """One stream on the network, as its outlet describes it."""

    uid: str
    """New at each start of the outlet."""
    name: str
    type: str
    source_id: str
    """Stable over restarts; may be empty."""
    hostname: str
    rate_hz: float
    """As claimed; 0 for irregular streams."""
    format: str
    """float32, double64, int8 ... int64, string."""
    channels: int
    labels: tuple[str, ...]
    """One a channel; empty where none is given."""
    units: tuple[str | None, ...]
    """One a channel; None where none is given."""
    origin: float | None
    """Start of the window grid, on the outlet's own clock."""
    provenance: Provenance

    @property
    def identity(self) -> str:
        """What stays the same when the outlet is started again: its source_id, else name, type and host."""
        return self.source_id or f"{self.name}/{self.type}@{self.hostname}"

    def key(self, channel: int) -> str:
        """`Candidate.key` of one channel."""
        return f"lsl:{self.identity}:{channel}"

    def candidates(self) -> tuple[Candidate, ...]:
        """Each channel, for the mapping to decide on; none where the stream carries text or is one of our own."""
        if self.format == "string" or self.type in OWN_TYPES:
            return ()
        return tuple(
            Candidate(
                key=self.key(index),
                name=self.name,
                type=self.type,
                source_id=self.source_id,
                channel=self.labels[index],
                channel_index=index,
                unit=self.units[index],
                rate_hz=self.rate_hz,
                origin=self.origin,
                source="lsl",
                provenance=self.provenance,
            )
            for index in range(self.channels)
        )

    def whole(self) -> Candidate | None:
        """All channels together, as an ARRAY or EMBED takes them; None where there are no candidates."""
        if not self.candidates():
            return None
        units = {unit for unit in self.units if unit is not None}
        return Candidate(
            key=f"lsl:{self.identity}:all",
            name=self.name,
            type=self.type,
            source_id=self.source_id,
            channel_index=WHOLE,
            channels=self.channels,
            unit=units.pop() if len(units) == 1 else None,
            rate_hz=self.rate_hz,
            origin=self.origin,
            source="lsl",
            provenance=self.provenance,
        )

    def __str__(self) -> str:
        return (
            f"name='{self.name}' type='{self.type}' source_id='{self.source_id}' on {self.hostname}, "
            f"{self.channels} channel{'s' if self.channels != 1 else ''} at {self.rate_hz:g} Hz"
        )


def parse_description(xml: str) -> Offer:
    """Read the XML that an outlet sends of itself.

    Labels and units follow the XDF convention (`desc/channels/channel/{label,unit}`); `desc/pain/origin` and
    `desc/pain/provenance` (simulated | replay) are our own addition. What is missing or makes no sense is taken as
    not stated, never guessed.

    Raises:
        ValueError: If the text is no stream description at all.
    """
    try:
        root = ET.fromstring(xml)
    except ET.ParseError as error:
        raise ValueError(f"not a stream description: {error}") from error

    def text(path: str) -> str:
        return (root.findtext(path) or "").strip()

    channels = int(text("channel_count") or 0)
    if channels < 1:
        raise ValueError("the stream description names no channels")
    nodes = root.findall("desc/channels/channel")
    if len(nodes) != channels:  # labels that do not belong to the channels one by one are worse than none
        nodes = []
    labels = [(node.findtext("label") or "").strip() for node in nodes] or [""] * channels
    units = [(node.findtext("unit") or "").strip() or None for node in nodes] or [None] * channels
    stated = text("desc/pain/provenance").lower()
    provenance = Provenance(stated) if stated in tuple(Provenance) else Provenance.LIVE
    rate = _finite(text("nominal_srate"))
    return Offer(
        uid=text("uid"),
        name=text("name"),
        type=text("type"),
        source_id=text("source_id"),
        hostname=text("hostname"),
        rate_hz=max(rate or 0.0, 0.0),
        format=text("channel_format"),
        channels=channels,
        labels=tuple(labels),
        units=tuple(units),
        origin=_finite(text("desc/pain/origin")),
        provenance=provenance,
    )


def _finite(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def look(seconds: float) -> list[pylsl.StreamInfo]:
    """Return the streams that answer within `seconds`, without their descriptions.

    One-shot on purpose: a continuous resolver goes on listing an outlet that died a moment ago, which looks like a
    second stream beside the one that has just been started again.

    Raises:
        SourceError: If liblsl cannot look at all (e.g. no network interface is up).
    """
    try:
        return list(pylsl.resolve_streams(seconds))
    except LSL_ERRORS as error:
        raise SourceError(
            f"cannot look for streams ({error})",
            where="Lab Streaming Layer",
            todo="Check that a network interface is up; the loopback interface will do for one machine",
        ) from error


def describe(info: pylsl.StreamInfo) -> Offer | None:
    """Ask a stream for its full description; None where it does not answer."""
    try:
        inlet = pylsl.StreamInlet(info, max_buflen=1, recover=False, processing_flags=pylsl.proc_none)
        return parse_description(inlet.info(DESCRIBE_S).as_xml())
    except LSL_ERRORS as error:
        _LOGGER.info("LSL stream '%s' did not describe itself (%s)", info.name(), error)
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ChannelReport:
    """One channel of a stream on the network."""

    label: str
    unit: str | None
    modality: str | None
    """What it would become; None where nobody can tell from its name."""
    low: float | None = None
    """Smallest finite value seen; None without a preview or without samples."""
    high: float | None = None
    not_finite: int = 0
    """Samples that were NaN or infinite."""
    config: str = ""
    """Lines for config.toml that bind this channel to a bed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamReport:
    """One stream on the network."""

    name: str
    type: str
    source_id: str
    hostname: str
    format: str
    rate_claimed_hz: float
    """0 for irregular streams."""
    provenance: Provenance
    channels: tuple[ChannelReport, ...]
    samples: int | None = None
    """Received during the preview; None without one."""
    rate_measured_hz: float | None = None
    """By its stamps; None with fewer than two samples."""
    lost: int | None = None
    """Samples missing by the stamps, at the claimed rate; None for irregular streams."""
    stamp_minus_clock_s: float | None = None
    """Median of (corrected stamp - our clock at arrival). About -0.02 is healthy; seconds mean a foreign clock."""
    problem: str = ""
    """Why nothing could be measured."""
    config: str = ""
    """Lines for config.toml that bind all channels together; empty where the stream has one, or is none of ours."""


def discover(seconds: float, *, preview: bool) -> list[StreamReport]:
    """Report what LSL offers now.

    Args:
        seconds: How long to look; with `preview` the first half (at most 2 s) is spent on looking, the rest on
            listening to all streams at once.
        preview: Also receive samples: measured rate, range, loss, stamp minus clock.

    Returns:
        One report a stream, sorted by name, type and source_id.

    Raises:
        SourceError: If liblsl cannot look at all.
    """
    look_s = min(2.0, seconds / 2.0) if preview else seconds
    reports = []
    heard: list[_Listener] = []
    for info in look(look_s):
        offer = describe(info)
        if offer is None:
            continue
        if preview and offer.format != "string":
            heard.append(_Listener(info, offer))
        else:
            reports.append(_report(offer))
    deadline = time.monotonic() + max(seconds - look_s, 0.5)
    while heard and time.monotonic() < deadline:
        for listener in heard:
            listener.pull()
        time.sleep(0.02)
    reports.extend(listener.report() for listener in heard)
    return sorted(reports, key=lambda report: (report.name, report.type, report.source_id))


class _Listener:
    """Receives one stream for a few seconds and keeps what a person wants to know of it."""

    def __init__(self, info: pylsl.StreamInfo, offer: Offer) -> None:
        self._offer = offer
        self._stamps: list[FloatArray] = []
        self._ages: list[float] = []
        self._low = np.full(offer.channels, np.inf)
        self._high = np.full(offer.channels, -np.inf)
        self._not_finite = np.zeros(offer.channels, dtype=np.int64)
        self._problem = ""
        try:
            self._inlet = pylsl.StreamInlet(
                info, max_buflen=30, max_chunklen=1, recover=False, processing_flags=pylsl.proc_none
            )
            self._inlet.open_stream(DESCRIBE_S)
            self._offset = self._inlet.time_correction(DESCRIBE_S)
            self._inlet.flush()
        except LSL_ERRORS as error:
            self._problem = f"could not be opened ({error})"

    def pull(self) -> None:
        """Take what has come so far."""
        if self._problem:
            return
        try:
            samples, stamps = self._inlet.pull_chunk(0.0, max_samples=_PREVIEW_SAMPLES, as_numpy=True)
        except LSL_ERRORS as error:
            self._problem = f"was lost while listening ({error})"
            return
        if len(stamps) == 0:
            return
        corrected = stamps + self._offset
        self._stamps.append(corrected)
        self._ages.append(float(corrected[-1]) - pylsl.local_clock())
        values = samples.astype(np.float64)
        finite = np.isfinite(values)
        self._not_finite += np.count_nonzero(~finite, axis=0)
        self._low = np.minimum(self._low, np.where(finite, values, np.inf).min(axis=0))
        self._high = np.maximum(self._high, np.where(finite, values, -np.inf).max(axis=0))

    def report(self) -> StreamReport:
        """Sum up."""
        stamps = np.concatenate(self._stamps) if self._stamps else np.empty(0)
        problem = self._problem or ("" if len(stamps) else "no sample came while we listened")
        return _report(
            self._offer,
            samples=len(stamps),
            rate_measured_hz=measured_rate(stamps),
            lost=missing_samples(stamps, rate_hz=self._offer.rate_hz),
            stamp_minus_clock_s=float(np.median(self._ages)) if self._ages else None,
            problem=problem,
            low=self._low,
            high=self._high,
            not_finite=self._not_finite,
        )


def measured_rate(stamps: FloatArray) -> float | None:
    """Sampling rate in Hz by the stamps: one over the median step, so that gaps and jumps do not count.

    Where the stamps come in bursts (a median step of nothing, or steps of very different length), the count over
    the span is all that can be said.
    """
    if len(stamps) < 2:
        return None
    steps = np.diff(stamps)
    step = float(np.median(steps))
    span = float(stamps[-1] - stamps[0])
    regular = step > 0 and np.count_nonzero(np.abs(steps - step) < 0.5 * step) > 0.8 * len(steps)
    if regular:
        inliers = steps[np.abs(steps - step) < 0.5 * step]
        return float(1.0 / inliers.mean())
    return float((len(stamps) - 1) / span) if span > 0 else None


def missing_samples(stamps: FloatArray, *, rate_hz: float) -> int | None:
    """Samples that are missing between the first stamp and the last, at the claimed rate; None where irregular.

    Steps backwards and steps over 60 s are jumps of a clock, not losses.
    """
    if rate_hz <= 0 or len(stamps) < 2:
        return None
    steps = np.diff(stamps)
    holes = steps[(steps > 1.5 / rate_hz) & (steps < 60.0)]
    return int(np.sum(np.round(holes * rate_hz) - 1.0))


def _report(
    offer: Offer,
    *,
    samples: int | None = None,
    rate_measured_hz: float | None = None,
    lost: int | None = None,
    stamp_minus_clock_s: float | None = None,
    problem: str = "",
    low: FloatArray | None = None,
    high: FloatArray | None = None,
    not_finite: Sequence[int] | np.ndarray[tuple[int], np.dtype[np.int64]] | None = None,
) -> StreamReport:
    candidates = offer.candidates()
    guesses = guess_modalities(candidates)
    channels = []
    for index in range(offer.channels):
        modality = guesses.get(offer.key(index))
        config = toml_table(candidates[index], modality, candidates) if modality is not None else ""
        seen = low is not None and high is not None and bool(np.isfinite(low[index]))
        channels.append(
            ChannelReport(
                label=offer.labels[index],
                unit=offer.units[index],
                modality=modality,
                low=float(low[index]) if seen and low is not None else None,
                high=float(high[index]) if seen and high is not None else None,
                not_finite=int(not_finite[index]) if not_finite is not None else 0,
                config=config,
            )
        )
    whole = offer.whole()
    return StreamReport(
        config=array_table(whole) if whole is not None and whole.channels > 1 else "",
        name=offer.name,
        type=offer.type,
        source_id=offer.source_id,
        hostname=offer.hostname,
        format=offer.format,
        rate_claimed_hz=offer.rate_hz,
        provenance=offer.provenance,
        channels=tuple(channels),
        samples=samples,
        rate_measured_hz=rate_measured_hz,
        lost=lost,
        stamp_minus_clock_s=stamp_minus_clock_s,
        problem=problem,
    )
