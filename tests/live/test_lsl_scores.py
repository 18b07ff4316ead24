"""What the score outlets send is what a recorder receives."""

from __future__ import annotations

import json
import math
import time
import uuid
from typing import Any

import numpy as np
import pytest

from monitor.bundle import BundleSpec, CalibrationSpec, ClassSpec, TrainingSpec, WeightsSpec, default_input
from monitor.outputs.lsl import ScoreOutlets
from monitor.sources.liblsl import pylsl
from monitor.sources.lsl_discovery import describe, look
from monitor.types import (
    CalibrationState,
    Marker,
    PainIndex,
    Provenance,
    Quality,
    Reason,
    Score,
    StreamEvent,
    StreamEventKind,
)
from tests.helpers.made_session import made_measures
from tests.helpers.scripted import wait_until

pytestmark = pytest.mark.live

CLASSES = ("none", "moderate", "severe")


def a_bundle() -> BundleSpec:
    return BundleSpec(
        name="tiny", version="1", architecture="tiny", target="pain",
        inputs=(default_input("EDA"), default_input("ECG")),
        classes=tuple(ClassSpec(name=name, level=i / 2) for i, name in enumerate(CLASSES)),
        calibration=CalibrationSpec(prior=(1 / 3, 1 / 3, 1 / 3)),
        training=TrainingSpec(data="synthetic patients", protocol="live-stream"),
        weights=WeightsSpec(backbone="simulated", head="simulated", alarm_eligible=True),
        parameters=1, flops=1, card="card.md", intended_use="research",
    )  # fmt: skip


def a_score(bed: str, k: int, probabilities: tuple[float, ...] | None) -> Score:
    return Score(
        bed=bed, bundle="tiny", epoch=0, k=k, t_end=1000.0 + k, t_rel=float(k),
        absent=() if probabilities else ("EDA:gap",), calibration="subject",
        calibration_state=CalibrationState.CALIBRATED, classes=CLASSES, probabilities=probabilities, index=None,
        logits=None, edges_hz={}, delay_s={}, window_hash=None, provenance=Provenance.SIMULATED, decided_at=1000.0 + k,
        quality=(
            Quality(modality="EDA", usable=probabilities is not None, reasons=() if probabilities else (Reason.GAP,)),
            Quality(modality="ECG", usable=True),
        ),
    )  # fmt: skip


def receive(inlet: Any, count: int) -> tuple[list[Any], list[float]]:
    rows: list[Any] = []
    stamps: list[float] = []
    deadline = time.monotonic() + 30.0
    while len(rows) < count:
        row, stamp = inlet.pull_sample(0.5)
        if row is not None:
            rows.append(row)
            stamps.append(stamp)
        assert time.monotonic() < deadline, f"only {len(rows)} of {count} came"
    return rows, stamps


def test_scores_absences_and_events_reach_a_recorder(lsl: None) -> None:
    bed = f"b{uuid.uuid4().hex[:8]}"
    output = ScoreOutlets(beds={bed: [a_bundle()]})
    output.open()
    names = [f"PainScore-{bed}", f"PainEvents-{bed}"]
    found: dict[str, Any] = {}

    def all_found() -> bool:  # a look can miss an outlet
        found.update({info.name(): info for info in look(1.0)})
        return found.keys() >= set(names)

    wait_until(all_found, 30.0)
    scores, events = (pylsl.StreamInlet(found[name], recover=False) for name in names)
    for inlet in (scores, events):
        inlet.open_stream(20.0)
    # An inlet is open before its outlet knows of it, and what is pushed in between goes to nobody.
    wait_until(lambda: output._scores[bed]._outlet.have_consumers() and output._events[bed].have_consumers())
    offer = describe(found[f"PainScore-{bed}"])
    assert offer is not None
    assert offer.labels == (
        "index_fast", "index_slow", "p.none", "p.moderate", "p.severe", "quality.EDA", "quality.ECG", "provenance",
        "heart_rate", "scr", "spi",
    )  # fmt: skip
    assert "simulated patients" in scores.info(20.0).as_xml()
    assert offer.candidates() == ()  # the monitor never takes its own scores for a signal

    index = PainIndex(
        bed=bed, bundle="tiny", epoch=0, k=7, t_end=1007.0, t_rel=7.0, fast=31.25, slow=None, fast_withheld="",
        slow_withheld="half_empty", hollow=False,
    )  # fmt: skip
    marker = Marker(bed=bed, t=1005.5, kind="note", text="turned – links", value=None, actor="ward")
    lost = StreamEvent(bed=bed, stream="s", kind=StreamEventKind.GONE, t=1006.5, seconds=math.inf)
    measures = made_measures(7, bed=bed)
    output.publish(bed, [a_score(bed, 7, (0.2, 0.3, 0.5)), index, measures, marker])
    output.publish(bed, [a_score(bed, 8, None), lost])
    output.publish("another bed", [marker])

    rows, stamps = receive(scores, 2)
    assert stamps == [1007.0, 1008.0]
    np.testing.assert_array_equal(rows[0], [31.25, np.nan, 0.2, 0.3, 0.5, 1.0, 1.0, 2.0, 70.875, 0.0625, np.nan])
    np.testing.assert_array_equal(rows[1], [np.nan] * 5 + [0.0, 1.0, 2.0] + [np.nan] * 3)
    texts, stamps = receive(events, 2)
    assert stamps == [1005.5, 1006.5]
    first, second = (json.loads(text[0]) for text in texts)
    assert (first["event"], first["text"], first["value"]) == ("Marker", "turned – links", None)
    assert (second["event"], second["kind"], second["seconds"]) == ("StreamEvent", "gone", None)
    output.close()
    output.close()
    output.publish(bed, [marker])  # a closed output swallows, it does not fail
