"""Messages are JSON that says where signals came from; the player's packets stand for the stamps they were cut from."""

from __future__ import annotations

import dataclasses
import json
import math
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.outputs.mqtt_messages import alarm_message, encode, quality_message, score_message
from monitor.outputs.mqtt_player import OFF_LINE, on_one_line, topics_of
from monitor.outputs.player import SignalSpec
from monitor.types import (
    AlarmEvent,
    AlarmKind,
    CalibrationState,
    Comparators,
    PainIndex,
    Presence,
    Priority,
    Provenance,
    Quality,
    Reason,
    Score,
)
from tests.helpers.made_session import made_measures

OFFSET = 1_795_000_000.0


def score(*, present: bool) -> Score:
    quality = Quality(modality="EDA", usable=present, reasons=() if present else (Reason.GAP,), metrics={"x": math.nan})
    return Score(
        bed="bed1", bundle="tiny", epoch=0, k=4, t_end=104.0, t_rel=4.0, absent=() if present else ("EDA:gap",),
        calibration="population", calibration_state=CalibrationState.CALIBRATING, classes=("none", "severe"),
        probabilities=(0.25, 0.75) if present else None, index=75.0 if present else None, logits=None,
        quality=(quality,), edges_hz={}, delay_s={}, window_hash=None, provenance=Provenance.SIMULATED,
        decided_at=104.5,
    )  # fmt: skip


def test_a_score_says_what_it_rests_on() -> None:
    index = PainIndex(
        bed="bed1", bundle="tiny", epoch=0, k=4, t_end=104.0, t_rel=4.0, fast=75.0, slow=None, fast_withheld="",
        slow_withheld="half_empty", hollow=True,
    )  # fmt: skip
    said = json.loads(
        encode(
            score_message(
                score(present=True), index, utc_offset=OFFSET, origin="trained on simulated patients", notice=""
            )
        )
    )
    assert said["provenance"] == "simulated"
    assert said["origin"] == "trained on simulated patients"
    assert said["notice"] == "RESEARCH USE ONLY"
    assert (said["t"], said["decided"]) == (OFFSET + 104.0, OFFSET + 104.5)
    assert (said["fast"], said["slow"], said["slow_withheld"], said["hollow"]) == (75.0, None, "half_empty", True)


def test_plain_measures_have_keys_of_their_own_and_say_why_one_is_missing() -> None:
    def said(measures: Comparators | None) -> dict[str, Any]:
        message = score_message(score(present=True), None, measures, utc_offset=OFFSET, origin="", notice="")
        return dict(json.loads(encode(message)))

    without, found = said(None), said(made_measures(4))
    assert (found["heart_rate_bpm"], found["heart_rate_from"]) == (70.5, "ECG")
    assert (found["scr_per_s"], found["spi"]) == (0.0625, None)
    assert found["not_measured"] == {"spi": ["BVP:no_stream"]}
    assert {key: found[key] for key in without} == without


def test_no_score_is_a_message_too() -> None:
    said = json.loads(
        encode(score_message(score(present=False), None, utc_offset=OFFSET, origin="", notice="UNTRAINED"))
    )
    assert (said["probabilities"], said["index"], said["absent"]) == (None, None, ["EDA:gap"])
    quality = json.loads(encode(quality_message(score(present=False), utc_offset=OFFSET)))
    assert quality["modalities"] == {"EDA": {"usable": False, "reasons": ["gap"], "grade": "", "metrics": {"x": None}}}


def test_an_alarm_bears_what_makes_it_known_again() -> None:
    event = AlarmEvent(
        bed="bed1", condition="pain_moderate", kind=AlarmKind.PHYSIOLOGICAL, priority=Priority.LOW,
        presence=Presence.ON, event_id="e1", onset=90.0, t=104.0, t_rel=4.0, text="Reassess.", index=60.0,
        bundle="tiny",
    )  # fmt: skip
    said = json.loads(encode(alarm_message(event, utc_offset=OFFSET, provenance=Provenance.REPLAY)))
    assert (said["event_id"], said["presence"], said["onset"]) == ("e1", "on", OFFSET + 90.0)
    assert said["provenance"] == "replay"
    # Whatever an alarm says of itself goes out under the same name.
    assert {field.name for field in dataclasses.fields(AlarmEvent)} <= set(said)


@given(
    steps=st.lists(st.sampled_from([1.0, 1.0, 1.0, 1.05, 3.0, -2.0]), min_size=1, max_size=30),
    rate=st.sampled_from([4.0, 64.0, 100.0]),
)
@settings(max_examples=100, deadline=None)
def test_parts_of_a_packet_stand_for_its_stamps(steps: list[float], rate: float) -> None:
    stamps = 1000.0 + np.cumsum(steps) / rate
    values = np.arange(len(steps), dtype=np.float32)
    parts = list(on_one_line(values, stamps, rate))
    np.testing.assert_array_equal(np.concatenate([part for part, _ in parts]), values)
    meant = np.concatenate([first + np.arange(len(part)) / rate for part, first in parts])
    assert np.abs(meant - stamps).max() <= OFF_LINE / rate * (1 + 1e-6)
    if set(steps[1:]) <= {1.0}:
        assert len(parts) == 1


def spec(name: str, kind: str, rate: float = 4.0) -> SignalSpec:
    return SignalSpec(
        key=name, name=name, type=kind, source_id=name, rate_hz=rate, unit="uS", provenance=Provenance.REPLAY
    )


def test_every_signal_has_a_topic_of_its_own_or_a_reason() -> None:
    specs = [
        spec("hand GSR", "EDA"),
        spec("foot GSR", "EDA"),
        spec("ECG", "ECG"),
        spec("marker", ""),
        spec("IBI", "BVP", 0),
    ]
    topics, notes = topics_of(specs, bed="bed1", device="wrist-7")
    assert len(set(topics.values())) == len(topics) == 3
    assert topics["ECG"] == "pain/v1/bed1/signal/wrist-7/ECG"
    assert topics["foot GSR"] == "pain/v1/bed1/signal/wrist-7-foot-GSR/EDA"
    assert [note.split(":")[0] for note in notes] == ["marker", "IBI"]
