"""Scores and events as LSL outlets, so that a recorder such as LabRecorder keeps them beside the raw signals.

Research use only. Nothing that leaves here is fit to treat anyone by.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import fields
from typing import Any, Final

from monitor.bundle import BundleSpec
from monitor.outputs.lsl_player import PlayProgress, SignalOutlets, SignalSpec, play, stopped_by_signals
from monitor.outputs.playback import recording_packets, recording_specs
from monitor.sources.liblsl import LSL_ERRORS, pylsl
from monitor.types import Comparators, Event, PainIndex, Provenance, Score, WindowsSkipped

__all__ = [
    "PlayProgress",
    "ScoreOutlets",
    "SignalOutlets",
    "SignalSpec",
    "play",
    "recording_packets",
    "recording_specs",
    "stopped_by_signals",
]

_LOGGER = logging.getLogger(__name__)

PROVENANCE_CODES: Final[Mapping[Provenance, float]] = {
    Provenance.LIVE: 0.0,
    Provenance.REPLAY: 1.0,
    Provenance.SIMULATED: 2.0,
}
"""How the channel `provenance` of PainScore says where the scored signals came from."""


MODEL: Final = "model"
"""Stands among the modalities for the model's own quality: 1 where it is believed, 0 where it is uncertain."""


class ScoreOutlets:
    """An `Output` (see monitor/outputs/base.py) with two outlets a bed.

    `PainScore-<bed>` (type PainScore, irregular, double64) has one sample a window, stamped at the window's end:
    index_fast, index_slow, one probability a class, one quality a modality (1 usable, 0 not), the model's own where a
    bundle can be uncertain (`quality.model`), provenance, and the plain measures beside the model (heart_rate, scr,
    spi). Whatever is absent, or uncertain, is NaN;
    such a score is sent, not left out. `PainEvents-<bed>` (type PainEvents, irregular, string) has one JSON object
    an event that is neither a score, nor an index, nor a set of plain measures.

    Args:
        beds: The bundles of each bed, in order of preference.
    """

    name = "lsl"

    def __init__(self, *, beds: Mapping[str, Sequence[BundleSpec]]) -> None:
        self._beds = dict(beds)
        self._scores: dict[str, _ScoreOutlet] = {}
        self._events: dict[str, pylsl.StreamOutlet] = {}
        self._failing = False
        self._problem = ""
        self.bed = ""

    @property
    def waiting(self) -> int:
        """Nothing waits: LSL is for those who are there."""
        return 0

    def problem(self) -> str:
        """Why nothing is sent now; empty where it is."""
        return self._problem

    def probe(self, report: Mapping[str, Any], timeout_s: float) -> str:  # noqa: ARG002 - see `Route`
        """Whether the outlets are offered and take what is pushed; see `monitor.outputs.base.Route`.

        No more can be proved from here: LSL knows no receipts, and a network without multicast is no fault of ours.
        """
        if self._problem:
            return self._problem
        return "" if self._events or not self._beds else "there are no outlets"

    def open(self) -> None:
        """Offer the outlets. Where liblsl cannot, that is logged, and nothing is sent."""
        self.close()
        try:
            self._scores = {bed: _ScoreOutlet(bed, bundles) for bed, bundles in self._beds.items()}
            self._events = {bed: _event_outlet(bed) for bed in self._beds}
        except LSL_ERRORS as error:
            self.close()
            self._problem = f"scores cannot be offered over LSL ({error})"
            _LOGGER.error("scores cannot be offered over LSL (%s); the monitor goes on without", error)

    def publish(self, bed: str, events: Sequence[Event]) -> None:
        """Send what one step of a bed's pipeline gave."""
        outlet, text = self._scores.get(bed), self._events.get(bed)
        if outlet is None or text is None:
            return
        try:
            outlet.push(events)
            for event in events:
                if not isinstance(event, Score | PainIndex | Comparators):
                    # 0.0 is liblsl's word for "now": a range of windows that never were has no better time.
                    text.push_sample([event_json(event)], 0.0 if isinstance(event, WindowsSkipped) else event.t)
            self._failing, self._problem = False, ""
        except LSL_ERRORS as error:
            if not self._failing:
                _LOGGER.error("sending scores over LSL failed (%s)", error)
            self._failing, self._problem = True, f"sending over LSL failed ({error})"

    def close(self) -> None:
        """Withdraw all outlets. May be called twice."""
        self._scores, self._events = {}, {}


class _ScoreOutlet:
    """The PainScore outlet of one bed."""

    def __init__(self, bed: str, bundles: Sequence[BundleSpec]) -> None:
        # A bed may fall back to another bundle: its channels are the union, and what a bundle lacks is NaN.
        self._classes = tuple(dict.fromkeys(item.name for bundle in bundles for item in bundle.classes))
        modalities = tuple(dict.fromkeys(item.modality for bundle in bundles for item in bundle.inputs))
        abstains = any(bundle.calibration.abstain is not None for bundle in bundles)
        self._modalities = (*modalities, MODEL) if abstains else modalities
        labels = score_channels(self._classes, self._modalities)
        info = pylsl.StreamInfo(
            f"PainScore-{bed}", "PainScore", len(labels), pylsl.IRREGULAR_RATE, pylsl.cf_double64,
            f"pain-monitor/{bed}/score",
        )  # fmt: skip
        channels = info.desc().append_child("channels")
        for label, unit in labels:
            channel = channels.append_child("channel")
            channel.append_child_value("label", label)
            channel.append_child_value("unit", unit)
            channel.append_child_value("type", "PainScore")
        pain = info.desc().append_child("pain")
        pain.append_child_value("bed", bed)
        pain.append_child_value("intended_use", "Research use only; an evidence scale, not a measurement of pain.")
        for bundle in bundles:
            node = pain.append_child("bundle")
            node.append_child_value("name", bundle.name)
            node.append_child_value("version", bundle.version)
            node.append_child_value("origin", bundle.origin)
            node.append_child_value("notice", bundle.notice)
        self._outlet = pylsl.StreamOutlet(info, max_buffered=60)

    def push(self, events: Sequence[Event]) -> None:
        indices = {(event.epoch, event.k): event for event in events if isinstance(event, PainIndex)}
        measures = {(event.epoch, event.k): event for event in events if isinstance(event, Comparators)}
        for event in events:
            if isinstance(event, Score):
                which = event.epoch, event.k
                row = score_row(event, indices.get(which), self._classes, self._modalities, measures.get(which))
                self._outlet.push_sample(row, event.t_end)


def score_channels(classes: Sequence[str], modalities: Sequence[str]) -> list[tuple[str, str]]:
    """(label, unit) of each channel of PainScore."""
    return [
        ("index_fast", "0-100"),
        ("index_slow", "0-100"),
        *((f"p.{name}", "probability") for name in classes),
        *((f"quality.{modality}", "0/1") for modality in modalities),
        ("provenance", "0 live, 1 replay, 2 simulated"),
        # At the end: whoever reads by position what was there before still does.
        ("heart_rate", "1/min"),
        ("scr", "1/s"),
        ("spi", "0-100"),
    ]


def score_row(
    score: Score,
    index: PainIndex | None,
    classes: Sequence[str],
    modalities: Sequence[str],
    measures: Comparators | None = None,
) -> list[float]:
    """One sample of PainScore, in the order of `score_channels`; NaN where something is absent."""
    probability = dict(zip(score.classes, score.told or (), strict=False))
    usable = {quality.modality: float(quality.usable) for quality in score.quality}
    if score.probabilities is not None:
        usable[MODEL] = float(not score.uncertain)
    return [
        _or_nan(index.fast if index is not None else None),
        _or_nan(index.slow if index is not None else None),
        *(probability.get(name, math.nan) for name in classes),
        *(usable.get(modality, math.nan) for modality in modalities),
        PROVENANCE_CODES[score.provenance],
        _or_nan(measures.heart_rate_bpm if measures is not None else None),
        _or_nan(measures.scr_per_s if measures is not None else None),
        _or_nan(measures.spi if measures is not None else None),
    ]


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def event_json(event: Event) -> str:
    """An event as one JSON object; `event` names its kind, and what JSON cannot say (NaN, infinity) is null."""
    content = {item.name: _value(getattr(event, item.name)) for item in fields(event)}
    return json.dumps({"event": type(event).__name__, **content}, ensure_ascii=False, allow_nan=False)


def _event_outlet(bed: str) -> pylsl.StreamOutlet:
    info = pylsl.StreamInfo(
        f"PainEvents-{bed}", "PainEvents", 1, pylsl.IRREGULAR_RATE, pylsl.cf_string, f"pain-monitor/{bed}/events"
    )
    info.desc().append_child("pain").append_child_value("bed", bed)
    return pylsl.StreamOutlet(info, max_buffered=60)


def _value(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _value(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_value(item) for item in value]
    return value
