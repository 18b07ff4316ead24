"""The plain measures of one bed after each window: heart rate, skin conductance responses, an SPI-style index.

They are part of the flow: made of the samples up to the window's end, and so the same live, in a replay and however
samples were grouped into chunks. A stream that the scoring bundle reads has come by then, since the window waited for
it. One that it does not read is not waited for: of it what lies `lag_s` back is taken, where it has arrived anyway.

Nothing is bridged: a gap, a stream whose clock is not believed, an artefact, and the count of responses begins anew.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from monitor import dsp
from monitor.bundle import FilterSpec
from monitor.preprocess import InputTrack, StreamBuffer
from monitor.quality import HISTORY_S, judge
from monitor.scoring.comparators import ScrCounter
from monitor.scoring.pleth import WINDOW_S, PlethIndex, reading
from monitor.timeline import Segment
from monitor.types import Comparators, Quality, Reason

LONGEST_S: Final = 10.0
"""Most signal that a measure looks at in one piece, without the history that its quality takes."""

HEARTS: Final = ("ECG", "BVP")
"""What a heart rate is taken from, in order of preference."""

MEASURED: Final = (*HEARTS, "EDA")
"""Modalities that a measure is taken from."""

_JUDGED_S: Final[Mapping[str, float]] = MappingProxyType({"ECG": LONGEST_S, "BVP": LONGEST_S, "EDA": 5.0})
_PULSE: Final = FilterSpec(order=2, low_hz=0.5, high_hz=8.0)
_PULSE_HZ: Final = 25.0
"""Grid of the pulse wave; the filter and the grid are those of the shipped bundles, which then share the work."""


@dataclass(slots=True, eq=False)
class _Feed:
    """One stream and what is taken of it."""

    buffer: StreamBuffer
    scr: ScrCounter | None = None
    segment: Segment | None = None
    done: int = 0
    """Number of the next sample to count."""
    pulse: InputTrack | None = None


class PlainMeasures:
    """Follows the streams of one bed.

    Args:
        bed: Name of the bed.
        hop_s: Seconds between windows.
        reference_s: Usable signal at rest that the SPI-style index refers to.
        lag_s: How far back the streams are taken that windows do not wait for.
    """

    def __init__(self, *, bed: str, hop_s: float, reference_s: float, lag_s: float) -> None:
        self._bed = bed
        self._lag_s = lag_s
        self._feeds: dict[str, _Feed] = {}
        self._pleth = PlethIndex(hop_s=hop_s, reference_s=reference_s)
        self._rest: tuple[float, float] | None = None

    def attach(self, buffer: StreamBuffer) -> None:
        """Take a stream, before its first sample; one of the same modality takes the place of the one before."""
        info = buffer.info
        if info.modality not in MEASURED or info.channels != 1:
            return
        feed = self._feeds[info.modality] = _Feed(buffer)
        if info.modality == "EDA":
            feed.scr = ScrCounter(rate_hz=info.rate_hz)
        elif info.modality == "BVP" and info.rate_hz >= _PULSE_HZ:
            feed.pulse = buffer.track_of(_PULSE, _PULSE_HZ)

    def detach(self, buffer: StreamBuffer) -> None:
        """The stream is gone for good."""
        self._feeds = {modality: feed for modality, feed in self._feeds.items() if feed.buffer is not buffer}

    def recalibrate(self) -> None:
        """Take the reference of the SPI-style index anew."""
        self._pleth.recalibrate()
        self._rest = None

    def restrict(self, start: float, end: float) -> None:
        """Take that reference only from windows that end within `start` to `end`, seconds from the origin."""
        self._rest = (start, end)

    def after(
        self,
        *,
        epoch: int,
        k: int,
        t_end: float,
        t_rel: float,
        qualities: Mapping[str, Quality],
        silent: Collection[str],
    ) -> Comparators:
        """Measure once more.

        Args:
            epoch: Of the window.
            k: Its number.
            t_end: Its end on the stream clock.
            t_rel: The same in seconds from the origin.
            qualities: By modality, of the streams that the window waited for.
            silent: Modalities of streams that have brought nothing for a while.

        Returns:
            What was measured, or why it could not be.
        """
        judged: dict[str, Quality] = {}
        for modality, feed in self._feeds.items():
            at = t_end if modality in qualities else t_end - self._lag_s
            known = qualities.get(modality)
            if known is None and t_rel < self._lag_s:  # what lies so far back was before everything
                known = _unusable(modality, Reason.STARTING)
            judged[modality] = known or self._judge(feed, modality, at, silent=modality in silent)
        rate, rate_from, rate_absent = _heart_rate(judged)
        scr, scr_absent = self._responses(judged, t_end, waited="EDA" in qualities, silent="EDA" in silent)
        rest = self._rest is None or self._rest[0] < t_rel <= self._rest[1]
        spi, spi_absent = self._pulse(judged, t_end, waited="BVP" in qualities, silent="BVP" in silent, rest=rest)
        return Comparators(
            bed=self._bed,
            epoch=epoch,
            k=k,
            t_end=t_end,
            t_rel=t_rel,
            heart_rate_bpm=rate,
            heart_rate_from=rate_from,
            heart_rate_absent=rate_absent,
            scr_per_s=scr,
            scr_from="" if scr is None else "EDA",
            scr_absent=scr_absent,
            spi=spi,
            spi_from="" if spi is None else "BVP",
            spi_absent=spi_absent,
        )

    # -- one stream --------------------------------------------------------------------------------------------------

    def _judge(self, feed: _Feed, modality: str, at: float, *, silent: bool) -> Quality:
        """Quality of a stream that no bundle reads, over the last seconds up to `at`."""
        buffer, start = feed.buffer, at - _JUDGED_S[modality]
        first_needed = start + 1.0 / buffer.info.rate_hz
        segment = buffer.timeline.covering(first_needed, at)
        if segment is None:
            return _unusable(modality, buffer.missing(first_needed, at, silent=silent))
        if buffer.timeline.rate_fault_at(at):
            return _unusable(modality, Reason.RATE_FAULT)
        first, last = buffer.span(segment, start - HISTORY_S[modality], at)
        if last <= first:
            return _unusable(modality, Reason.LATE)
        return judge(
            modality=modality,
            times=buffer.times.view(first, last),
            values=buffer.converted(first, last),
            window_start=start,
            rate_hz=buffer.info.rate_hz,
            rails=buffer.rails,
        )

    def _responses(
        self, judged: Mapping[str, Quality], t_end: float, *, waited: bool, silent: bool
    ) -> tuple[float | None, tuple[str, ...]]:
        feed = self._feeds.get("EDA")
        if feed is None or feed.scr is None:
            return None, (f"EDA:{Reason.NO_STREAM}",)
        quality, at = judged["EDA"], t_end if waited else t_end - self._lag_s
        if not waited and Reason.STARTING in quality.reasons:
            return None, (f"EDA:{Reason.STARTING}",)
        segment = feed.buffer.timeline.covering(at, at)
        if segment is None:
            feed.scr.restart()
            feed.segment = None
            return None, (f"EDA:{feed.buffer.missing(at, at, silent=silent)}",)
        oldest = feed.buffer.times.oldest
        if segment is not feed.segment or feed.done < oldest:
            feed.scr.restart()
            feed.segment, feed.done = segment, max(segment.first, oldest)
        _, last = feed.buffer.span(segment, at, at)
        if last > feed.done:
            times, values = feed.buffer.times.view(feed.done, last), feed.buffer.converted(feed.done, last)
            feed.scr.add(values, float(times[0]))
            feed.done = last
        blamed = tuple(reason for reason in quality.reasons if reason in _OF_SAMPLES)
        if blamed:  # an artefact would count for a minute
            feed.scr.restart()
            return None, tuple(f"EDA:{reason}" for reason in blamed)
        rate = feed.scr.per_second()
        return rate, () if rate is not None else (f"EDA:{Reason.STARTING}",)

    def _pulse(
        self, judged: Mapping[str, Quality], t_end: float, *, waited: bool, silent: bool, rest: bool
    ) -> tuple[float | None, tuple[str, ...]]:
        feed = self._feeds.get("BVP")
        if feed is None:
            return None, (f"BVP:{Reason.NO_STREAM}",)
        if feed.pulse is None:
            return None, (f"BVP:{Reason.RATE_TOO_LOW}",)
        quality, at = judged["BVP"], t_end if waited else t_end - self._lag_s
        if not quality.usable:
            return None, _reasons(quality)
        instants = dsp.grid(at, samples=round(WINDOW_S * _PULSE_HZ), rate_hz=_PULSE_HZ)
        segment = feed.buffer.timeline.covering(float(instants[0]), float(instants[-1]))
        cut = feed.pulse.cut(instants, segment, silent=silent)
        if cut.values is None:
            return None, (f"BVP:{cut.reason}",)
        value = self._pleth.add(reading(cut.values, _PULSE_HZ), rest=rest)
        return value, () if value is not None else (f"BVP:{Reason.NOT_CALIBRATED}",)


_OF_SAMPLES: Final = frozenset(
    {
        *(Reason.OUT_OF_RANGE, Reason.SLOPE, Reason.ARTEFACT, Reason.TEMPERATURE),
        *(Reason.FLAT, Reason.SATURATED, Reason.RATE_FAULT),
    }
)
"""What is wrong with the samples themselves; holes begin a new count by themselves."""


def _heart_rate(judged: Mapping[str, Quality]) -> tuple[float | None, str, tuple[str, ...]]:
    """Beats a minute, of which modality, or why there is none."""
    there = [judged[modality] for modality in HEARTS if modality in judged]
    for quality in there:
        if quality.usable and "heart_rate_bpm" in quality.metrics:
            return quality.metrics["heart_rate_bpm"], quality.modality, ()
    if not there:
        return None, "", tuple(f"{modality}:{Reason.NO_STREAM}" for modality in HEARTS)
    return None, "", tuple(reason for quality in there for reason in _reasons(quality))


def _reasons(quality: Quality) -> tuple[str, ...]:
    return tuple(f"{quality.modality}:{reason}" for reason in quality.reasons or (Reason.NO_BEATS,))


def _unusable(modality: str, reason: Reason) -> Quality:
    return Quality(modality=modality, usable=False, reasons=(reason,))
