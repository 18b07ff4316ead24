"""What a score looks like in text: one readable line for people, one JSON object for programs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from monitor.bundle import BundleSpec
from monitor.types import (
    Activation,
    AlarmAction,
    AlarmEvent,
    CalibrationEvent,
    CalibrationState,
    Comparators,
    Event,
    Marker,
    PainIndex,
    Presence,
    Provenance,
    Quality,
    Score,
    StreamEvent,
    StreamEventKind,
    WindowsSkipped,
)

RESEARCH_ONLY: Final = "RESEARCH USE ONLY"

_SIGNALS: Final = {
    Provenance.SIMULATED: "SIMULATED SIGNALS · ",
    Provenance.REPLAY: "REPLAYED SIGNALS · ",
    Provenance.LIVE: "",
}

_BANNER_EVERY: Final = 20
"""Lines between two banners, so that every screenful has one."""

_QUIET: Final = (StreamEventKind.SEGMENT, StreamEventKind.LATE, StreamEventKind.NOT_FINITE)
"""What befalls streams often, and is seen in the reasons of the windows anyway."""

Timestamp = Callable[[float, float], str]
"""(stream clock, seconds from the origin) -> how a line writes it."""


def local_time(utc_minus_stream: float) -> Timestamp:
    """Local time of day, for live lines.

    Args:
        utc_minus_stream: UTC minus stream clock, in seconds.
    """
    return lambda t, _: datetime.fromtimestamp(t + utc_minus_stream).astimezone().strftime("%H:%M:%S")


def recording_time(_: float, t_rel: float) -> str:
    """Seconds from the origin, for replayed lines."""
    return f"{t_rel:8.2f} s"


def banner(provenance: Provenance, about: str) -> str:
    """The notice that every screenful carries.

    Args:
        provenance: Of the signals.
        about: What is to be said of the bundle, from `said_of`; may be empty.
    """
    return f"=== {_SIGNALS[provenance]}{f'{about} · ' if about else ''}{RESEARCH_ONLY} ==="


def said_of(bundles: Iterable[BundleSpec]) -> dict[str, str]:
    """What a banner says of each bundle, by its name: where its weights come from, and its notice."""
    return {spec.name: " · ".join(filter(None, (f"model: {spec.origin}", spec.notice))) for spec in bundles}


@dataclass(slots=True)
class _Bed:
    calibration: CalibrationEvent | None = None
    alarms: dict[str, AlarmEvent] = field(default_factory=dict)
    score: Score | None = None
    index: PainIndex | None = None
    measures: Comparators | None = None
    t_end: float = 0.0
    t_rel_minus_t: float = 0.0

    def take(self, event: Event) -> None:
        """Keep what the next line needs."""
        if isinstance(event, Score):
            self.score, self.index, self.measures = event, None, None
            self.t_end, self.t_rel_minus_t = event.t_end, event.t_rel - event.t_end
        elif isinstance(event, PainIndex):
            self.index = event
        elif isinstance(event, Comparators):
            self.measures = event
        elif isinstance(event, CalibrationEvent):
            self.calibration = event
        elif isinstance(event, AlarmEvent):
            if event.presence is Presence.OFF:
                self.alarms.pop(event.condition, None)
            else:
                self.alarms[event.condition] = event


class ScoreLines:
    """Writes the events of beds as readable lines: one a window, and one for whatever else a person should see.

    An index that is not calibrated to this subject is hollow and bears a `~`.

    Args:
        timestamp: How to write the time of a line.
        bundles: What may score; each banner says where the weights of the one that does come from.
        several_beds: Each line names its bed.
    """

    def __init__(self, *, timestamp: Timestamp, bundles: Iterable[BundleSpec], several_beds: bool = False) -> None:
        self._timestamp = timestamp
        self._about = said_of(bundles)
        self._several = several_beds
        self._beds: dict[str, _Bed] = {}
        self._until_banner = 0
        self._last_bundle = ""

    def add(self, bed: str, events: Sequence[Event]) -> list[str]:
        """Return the lines that these events of one bed make."""
        state = self._beds.setdefault(bed, _Bed())
        lines: list[str] = []
        for event in events:
            if isinstance(event, Score):
                lines += self._window(bed, state)
            state.take(event)
            if (text := _other(event)) is not None:
                lines += self._window(bed, state)  # what happened belongs below the window that it came of
                t = getattr(event, "t", state.t_end)  # a range of windows has no moment of its own
                lines.append(self._head(bed, t, t + state.t_rel_minus_t) + text)
        return lines + self._window(bed, state)

    def _head(self, bed: str, t: float, t_rel: float) -> str:
        return f"{self._timestamp(t, t_rel)}  " + (f"{bed}  " if self._several else "")

    def _window(self, bed: str, state: _Bed) -> list[str]:
        score, state.score = state.score, None
        if score is None:
            return []
        parts = [
            _said(score, state.index),
            _votes(state.index),
            *map(_quality, score.quality),
            _measured(state.measures),
            _calibration(score, state.calibration),
        ]
        if state.alarms:
            parts.append("ALARM " + ", ".join(sorted(state.alarms)))
        line = self._head(bed, score.t_end, score.t_rel) + "  ".join(part for part in parts if part)
        if self._until_banner > 0 and score.bundle == self._last_bundle:
            self._until_banner -= 1
            return [line]
        self._until_banner, self._last_bundle = _BANNER_EVERY - 1, score.bundle
        return [banner(score.provenance, self._about.get(score.bundle, "")), line]


def _said(score: Score, index: PainIndex | None) -> str:
    if score.probabilities is None:
        return "no score: " + ", ".join(score.absent)
    if score.uncertain:  # its class is not said
        return f"index {_mean(index, 'fast')} fast {_mean(index, 'slow')} slow  {', '.join(score.uncertain)}"
    best = max(range(len(score.classes)), key=score.probabilities.__getitem__)
    shares = " ".join(f"{name} {p:.2f}" for name, p in zip(score.classes, score.probabilities, strict=True))
    if score.index is None:  # what this bundle tells is no pain, or not fit to be called so
        return f"no index  {score.classes[best]:<8} ({shares})"
    return f"index {_mean(index, 'fast')} fast {_mean(index, 'slow')} slow  {score.classes[best]:<8} ({shares})"


def _votes(index: PainIndex | None) -> str:
    """`any 52 (eda-ecg 47, eda-bvp 52)`; empty where there is no vote."""
    if index is None or not index.vote:
        return ""
    said = ", ".join(f"{name} {'--' if value is None else f'{value:.0f}'}" for name, value in index.votes.items())
    return f"{index.vote} {'--' if index.voted is None else f'{index.voted:.0f}'} ({said})"


def _mean(index: PainIndex | None, which: str) -> str:
    value = getattr(index, which) if index is not None else None
    if index is None or value is None:
        return "  --"
    return f"{'~' if index.hollow else ''}{value:.0f}".rjust(4)


def _measured(measures: Comparators | None) -> str:
    """The plain measures that there are: `HR 72 SCR 0.07/s SPI 41`."""
    if measures is None:
        return ""
    told = (
        ("HR {:.0f}", measures.heart_rate_bpm),
        ("SCR {:.2f}/s", measures.scr_per_s),
        ("SPI {:.0f}", measures.spi),
    )
    return " ".join(text.format(value) for text, value in told if value is not None)


def _quality(quality: Quality) -> str:
    if quality.usable:
        return f"{quality.modality} ok" + (f" ({quality.grade})" if quality.grade not in ("", "full") else "")
    return f"{quality.modality} {'+'.join(quality.reasons) or 'unusable'}"


def _calibration(score: Score, event: CalibrationEvent | None) -> str:
    if score.calibration_state is CalibrationState.UNSPECIFIED:
        return "no calibration needed"
    if event is None:
        return "not calibrated"
    if event.state is CalibrationState.CALIBRATING:
        return f"calibrating: {max(event.needed_s - event.valid_s, 0.0):.0f} s to go"
    return event.state.value.replace("-", " ")


def _signalled(event: AlarmEvent) -> Iterator[str]:
    """Chain and priority of an alarm, and what is unusual about its signals."""
    yield event.kind.value
    yield event.priority.value
    if event.visual is Activation.PAUSED:
        yield "suspended"
    elif event.audio is Activation.PAUSED:
        yield "sound paused"
    if event.count > 1:
        yield f"came {event.count} times"
    if event.reminder:
        yield f"reminder {event.reminder}"


def _other(event: Event) -> str | None:
    """A line of its own for an event that is no window, or None where it needs none."""
    if isinstance(event, AlarmEvent):
        return f"ALARM {event.presence.value.upper()} ({', '.join(_signalled(event))}): {event.text}"
    if isinstance(event, AlarmAction):
        return f"ALARMS: {event.text}"
    if isinstance(event, Marker):
        value = f" {event.value:g}" if event.value is not None else ""
        return f"marker {event.kind}{value}: {event.text} ({event.actor})"
    if isinstance(event, WindowsSkipped):
        return f"windows {event.first_k} to {event.last_k} were skipped: {event.reason.value}"
    if isinstance(event, StreamEvent) and event.kind not in _QUIET:
        seconds = f" of {event.seconds:.2f} s" if event.seconds else ""
        samples = f", {event.samples} samples" if event.samples else ""
        detail = f" ({event.detail})" if event.detail else ""
        return f"stream {event.stream}: {event.kind.value}{seconds}{samples}{detail}"
    return None


class JsonLines:
    """Writes the windows of beds as JSON objects, one a line.

    `t_end` counts in seconds from the origin of the window grid; `probabilities`, `index_fast` and `index_slow` are
    null where there are none, and `absent` or `uncertain` then says why; `hollow` marks an index not calibrated to the
    subject.
    `comparators` has the plain measures beside the model, null where one cannot be told, and why under `absent`.
    `model` says where the bundle's weights come from, and what else is to be said of it.

    Args:
        bundles: What may score.
    """

    def __init__(self, *, bundles: Iterable[BundleSpec]) -> None:
        self._about = said_of(bundles)
        self._beds: dict[str, _Bed] = {}

    def add(self, bed: str, events: Sequence[Event]) -> list[str]:
        """Return the objects of the windows among these events of one bed."""
        state = self._beds.setdefault(bed, _Bed())
        lines: list[str] = []
        for event in events:
            if isinstance(event, Score):
                lines += self._window(state)
            state.take(event)
        return lines + self._window(state)

    def _window(self, state: _Bed) -> list[str]:
        score, state.score = state.score, None
        return [] if score is None else [json.dumps(_object(score, state, self._about), allow_nan=False)]


def _object(score: Score, state: _Bed, about: Mapping[str, str]) -> dict[str, Any]:
    index = state.index
    return {
        "t_end": score.t_rel,
        "bundle": score.bundle,
        "model": about.get(score.bundle, "").removeprefix("model: "),
        "calibration": score.calibration,
        "classes": list(score.classes),
        "probabilities": None if score.told is None else list(score.told),
        "index_fast": None if index is None else index.fast,
        "index_slow": None if index is None else index.slow,
        "absent": list(score.absent),
        "uncertain": list(score.uncertain),
        "hollow": None if index is None else index.hollow,
        "voted": None if index is None else index.voted,
        "votes": {} if index is None else dict(index.votes),
        "quality": {
            quality.modality: "ok" if quality.usable else "+".join(quality.reasons) or "unusable"
            for quality in score.quality
        },
        "comparators": _comparators(state.measures),
        "alarms": sorted(state.alarms),
        "bed": score.bed,
        "provenance": score.provenance.value,
        "window_hash": score.window_hash,
    }


def _comparators(measures: Comparators | None) -> dict[str, Any] | None:
    if measures is None:
        return None
    why = (measures.heart_rate_absent, measures.scr_absent, measures.spi_absent)
    names = ("heart_rate_bpm", "scr_per_s", "spi")
    return {
        **{name: getattr(measures, name) for name in names},
        "heart_rate_from": measures.heart_rate_from,
        "absent": {name: list(reasons) for name, reasons in zip(names, why, strict=True) if reasons},
    }
