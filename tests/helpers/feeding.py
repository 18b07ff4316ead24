"""Feeds a real pipeline with made or recorded signals in any chunking: the log of a bed, without threads."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from monitor.bundle import BundleSpec
from monitor.config import BedSettings
from monitor.modality import MODALITY_UNITS
from monitor.pipeline import Pipeline
from monitor.scoring.scorer import RawScore
from monitor.types import (
    Chunk,
    Event,
    Float32Array,
    FloatArray,
    Provenance,
    Score,
    StreamEvent,
    StreamEventKind,
    StreamInfo,
    snap,
)

SESSION = uuid.UUID(int=7)


def stream(modality: str, rate_hz: float, **changes: Any) -> StreamInfo:
    """A simulated stream of bed1 in the modality's own unit."""
    fields: dict[str, Any] = {
        "key": modality,
        "bed": "bed1",
        "modality": modality,
        "name": modality,
        "unit": MODALITY_UNITS.get(modality, "a.u."),
        "rate_hz": rate_hz,
        "source": "synthetic",
        "provenance": Provenance.SIMULATED,
        "origin": 0.0,
    }
    return StreamInfo(**(fields | changes))


def line(rate_hz: float, count: int, start: float = 0.0) -> FloatArray:
    """Stamps of an ideal device."""
    return snap(start + np.arange(count) / rate_hz)


def chunks(
    key: str, samples: Float32Array, stamps: FloatArray, sizes: int | Iterable[int], *, delay_s: float = 0.0
) -> list[Chunk]:
    """Cut a signal into chunks of one size, or of the sizes that an iterable gives; each arrives with its last
    sample, `delay_s` later.
    """
    result: list[Chunk] = []
    position = 0
    given = iter(sizes) if not isinstance(sizes, int) else None
    while position < len(stamps):
        size = next(given) if given is not None else sizes
        part = slice(position, position + size)  # type: ignore[operator]
        position += size  # type: ignore[operator]
        arrival = float(stamps[part][-1]) + delay_s if size else float(stamps[max(0, position - 1)]) + delay_s
        result.append(Chunk(stream=key, samples=samples[part].copy(), stamps=stamps[part].copy(), arrival=arrival))
    return result


def run(
    pipeline: Pipeline, streams: Sequence[StreamInfo], log: Iterable[Chunk], *, until: float | None = None
) -> list[Event]:
    """Open the streams, feed the chunks by arrival with a tick every 0.25 s, and return every event."""
    events: list[Event] = []
    for info in streams:
        events.extend(pipeline.open_stream(info, 0.0))
    tick = 0.25
    for chunk in sorted(log, key=lambda item: item.arrival):
        while tick <= chunk.arrival:
            events.extend(pipeline.tick(tick))
            tick += 0.25
        events.extend(pipeline.feed(chunk))
    while until is not None and tick <= until:
        events.extend(pipeline.tick(tick))
        tick += 0.25
    return events


def scores(events: Iterable[Event]) -> list[Score]:
    """The scores among events."""
    return [event for event in events if isinstance(event, Score)]


def stream_events(events: Iterable[Event], kind: StreamEventKind) -> list[StreamEvent]:
    """The stream events of one kind."""
    return [event for event in events if isinstance(event, StreamEvent) and event.kind is kind]


class LinearRunner:
    """A deterministic model: logits are fixed projections of every input sample. Records what it was given."""

    def __init__(self, specs: Sequence[BundleSpec]) -> None:
        self._specs = {spec.name: spec for spec in specs}
        self.seen: list[tuple[str, dict[str, Float32Array]]] = []

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:
        """Project the inputs; equal inputs give equal bits."""
        spec = self._specs[bundle]
        assert set(inputs) == {item.name for item in spec.inputs}
        for item in spec.inputs:
            assert inputs[item.name].shape == item.shape
            assert inputs[item.name].dtype == np.float32
        self.seen.append((bundle, dict(inputs)))
        joined = np.concatenate([inputs[item.name].ravel() for item in spec.inputs]).astype(np.float64)
        weights = np.cos(np.outer(np.arange(1, len(spec.classes) + 1), np.arange(len(joined)) + 1.0))
        logits = (weights @ joined / np.sqrt(len(joined))).astype(np.float32)
        return RawScore(logits=logits, features=logits)

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:
        """Maps that sum up what they were given."""
        assert bundle in self._specs
        return {name: values.sum(axis=1) for name, values in inputs.items()}


def make_pipeline(
    specs: Sequence[BundleSpec], *, runner: LinearRunner | None = None, **bed: Any
) -> tuple[Pipeline, LinearRunner]:
    """A pipeline for bed1 with a quick calibration."""
    used = runner or LinearRunner(specs)
    settings = BedSettings(**({"name": "bed1", "bundles": tuple(s.name for s in specs), "calibration_s": 20.0} | bed))
    return Pipeline(bed=settings, bundles=specs, runner=used, session=SESSION), used
