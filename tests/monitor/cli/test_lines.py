"""A line says all that a window is; a banner is never further away than a screenful."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.bundle import BundleSpec, CalibrationSpec, ClassSpec, TrainingSpec, WeightsSpec, default_input
from monitor.cli.lines import RESEARCH_ONLY, JsonLines, ScoreLines, local_time, recording_time
from monitor.types import (
    AlarmEvent,
    AlarmKind,
    CalibrationEvent,
    CalibrationState,
    Event,
    Marker,
    PainIndex,
    Presence,
    Priority,
    Provenance,
    Quality,
    Reason,
    Score,
    StreamEvent,
    StreamEventKind,
    WindowsSkipped,
)
from tests.helpers.made_session import made_measures

FIELDS = {"t_end", "bundle", "calibration", "classes", "probabilities", "index_fast", "index_slow", "absent"}
CALIBRATING = CalibrationEvent(
    bed="b", t=0.0, state=CalibrationState.CALIBRATING, valid_s=8.0, needed_s=20.0, baseline={}
)


def score(k: int, *absent: str, provenance: Provenance = Provenance.SIMULATED) -> Score:
    quality = Quality(modality="EDA", usable=not absent, reasons=(Reason.GAP,) if absent else ())
    return Score(
        bed="b",
        bundle="tiny",
        epoch=0,
        k=k,
        t_end=1000.0 + k,
        t_rel=float(k),
        absent=absent,
        calibration="population",
        calibration_state=CalibrationState.CALIBRATING,
        classes=("none", "moderate", "severe"),
        probabilities=None if absent else (0.1, 0.2, 0.7),
        index=None if absent else 80.0,
        logits=None,
        quality=(quality,),
        edges_hz={},
        delay_s={},
        window_hash=None,
        provenance=provenance,
        decided_at=1000.0 + k,
    )


def index(k: int, *, fast: float | None = 61.4, hollow: bool = False) -> PainIndex:
    return PainIndex(
        bed="b",
        bundle="tiny",
        epoch=0,
        k=k,
        t_end=1000.0 + k,
        t_rel=float(k),
        fast=fast,
        slow=None,
        fast_withheld="",
        slow_withheld="half_empty",
        hollow=hollow,
    )


def alarm(presence: Presence) -> AlarmEvent:
    return AlarmEvent(
        bed="b",
        condition="pain_moderate",
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=Priority.LOW,
        presence=presence,
        event_id="x",
        onset=1000.0,
        t=1003.0,
        t_rel=3.0,
        text="Reassess.",
        index=61.0,
        bundle="tiny",
    )


def specs() -> list[BundleSpec]:
    """One with an index, one whose backbone has seen nothing, and one of emotion."""
    tiny = BundleSpec(
        name="tiny",
        version="1",
        architecture="tiny",
        target="pain",
        inputs=(default_input("EDA"),),
        classes=tuple(
            ClassSpec(name=name, level=level) for name, level in (("none", 0), ("moderate", 0.5), ("severe", 1))
        ),
        calibration=CalibrationSpec(prior=(1 / 3, 1 / 3, 1 / 3)),
        training=TrainingSpec(data="none", protocol="none"),
        weights=WeightsSpec(backbone="simulated", head="simulated", alarm_eligible=True),
        parameters=1,
        flops=1,
        card="card.md",
        intended_use="Tests only.",
    )
    untrained = tiny.weights.model_copy(update={"backbone": "random", "head": "random", "alarm_eligible": False})
    return [
        tiny,
        tiny.model_copy(update={"name": "untrained", "weights": untrained}),
        tiny.model_copy(update={"name": "moods", "target": "emotion"}),
    ]


def lines() -> ScoreLines:
    return ScoreLines(timestamp=recording_time, bundles=specs())


def test_a_line_holds_time_index_class_probabilities_quality_and_calibration() -> None:
    banner, line = lines().add("b", [CALIBRATING, score(3), index(3, hollow=True)])
    assert "SIMULATED" in banner
    assert "RESEARCH USE ONLY" in banner
    assert line == (
        "    3.00 s  index  ~61 fast   -- slow  severe   (none 0.10 moderate 0.20 severe 0.70)  EDA ok  "
        "calibrating: 12 s to go"
    )
    assert "index   61 fast" in lines().add("b", [score(3), index(3)])[1]
    unneeded = replace(score(3), calibration="none", calibration_state=CalibrationState.UNSPECIFIED)
    assert lines().add("b", [unneeded, index(3)])[1].endswith("EDA ok  no calibration needed")


def test_plain_measures_stand_in_the_line_of_their_window() -> None:
    measures = made_measures(3, spi=41.4, spi_absent=())
    assert "EDA ok  HR 70 SCR 0.06/s SPI 41  not calibrated" in lines().add("b", [score(3), index(3), measures])[1]
    partly = lines().add("b", [score(3), index(3), made_measures(3), score(4), index(4)])
    assert ("SPI" in partly[1], "HR" in partly[1], "HR" in partly[2]) == (False, True, False)
    first, second = map(json.loads, JsonLines(bundles=specs()).add("b", [score(3), measures, score(4)]))
    assert first["comparators"] == {
        "heart_rate_bpm": 70.375,
        "scr_per_s": 0.0625,
        "spi": 41.4,
        "heart_rate_from": "ECG",
        "absent": {},
    }
    assert second["comparators"] is None


def test_an_absent_score_gives_its_reasons_and_no_number() -> None:
    line = lines().add("b", [score(3, "EDA:gap"), index(3, fast=None)])[-1]
    assert "no score: EDA:gap" in line
    assert "EDA gap" in line
    assert "index" not in line


def test_an_alarm_stands_in_each_line_until_it_is_off() -> None:
    out = lines()
    shown = out.add("b", [score(3), index(3), alarm(Presence.ON)])
    assert "ALARM pain_moderate" in shown[1]
    assert shown[2].endswith("ALARM ON (physiological, low): Reassess.")
    assert "ALARM pain_moderate" in out.add("b", [score(4), index(4)])[0]
    assert "ALARM pain_moderate" not in out.add("b", [score(5), index(5), alarm(Presence.OFF)])[0]


def test_what_befalls_streams_is_told_and_routine_is_not() -> None:
    gap = StreamEvent(bed="b", stream="s", kind=StreamEventKind.GAP, t=1001.0, seconds=3.25, samples=104)
    late = replace(gap, kind=StreamEventKind.LATE)
    skipped = WindowsSkipped(bed="b", epoch=1, first_k=4, last_k=9, reason=Reason.CLOCK_JUMP)
    said = Marker(bed="b", t=1002.0, kind="nrs", text="at rest", value=6.0, actor="jo")
    shown = lines().add("b", [gap, late, skipped, said])
    assert len(shown) == 3
    assert "gap of 3.25 s, 104 samples" in shown[0]
    assert "windows 4 to 9 were skipped: clock_jump" in shown[1]
    assert "nrs 6: at rest (jo)" in shown[2]


def test_several_beds_are_named_and_kept_apart() -> None:
    out = ScoreLines(timestamp=recording_time, bundles=specs(), several_beds=True)
    out.add("a", [alarm(Presence.ON)])
    line = out.add("b", [score(3), index(3)])[-1]
    assert "  b  index" in line
    assert "ALARM" not in line


def test_local_time_is_that_of_the_window() -> None:
    assert local_time(0.0)(0.25, 7.0) == local_time(100.0)(-99.75, 0.0)


@settings(max_examples=30, deadline=None)
@given(count=st.integers(1, 90), cuts=st.sets(st.integers(1, 180)))
def test_every_screenful_has_a_banner_and_batches_change_nothing(count: int, cuts: set[int]) -> None:
    events: list[Event] = [event for k in range(count) for event in (score(k), index(k))]
    whole = lines().add("b", events)
    edges = [0, *sorted(2 * (cut // 2) for cut in cuts if cut < len(events)), len(events)]
    out = lines()
    assert [line for a, b in itertools.pairwise(edges) for line in out.add("b", events[a:b])] == whole
    for start in range(len(whole)):
        screen = whole[start : start + 24]
        assert len(screen) < 24 or any(RESEARCH_ONLY in line for line in screen)
    assert sum("index" in line for line in whole) == count


def test_json_has_the_promised_fields() -> None:
    out = JsonLines(bundles=specs())
    scored, absent = (
        json.loads(line)
        for line in out.add("b", [score(3), index(3, hollow=True), alarm(Presence.ON), score(4, "EDA:gap"), index(4)])
    )
    assert set(scored) >= FIELDS
    assert set(scored) == set(absent)
    assert scored["t_end"] == 3.0
    assert scored["probabilities"] == [0.1, 0.2, 0.7]
    assert (scored["index_fast"], scored["index_slow"], scored["hollow"]) == (61.4, None, True)
    assert scored["absent"] == []
    assert scored["alarms"] == ["pain_moderate"]
    assert scored["provenance"] == "simulated"
    assert scored["model"] == "trained on simulated patients"
    assert absent["probabilities"] is None
    assert absent["absent"] == ["EDA:gap"]
    assert absent["quality"] == {"EDA": "gap"}


def test_live_signals_are_not_called_simulated() -> None:
    banner = lines().add("b", [score(3, provenance=Provenance.LIVE)])[0]
    assert "SIGNALS" not in banner
    assert "RESEARCH USE ONLY" in banner
    assert "REPLAYED" in lines().add("b", [score(3, provenance=Provenance.REPLAY)])[0]


def test_a_banner_says_of_each_bundle_what_it_is_and_follows_a_switch() -> None:
    out = lines()
    assert "model: trained on simulated patients" in out.add("b", [score(3)])[0]
    untrained = replace(score(4), bundle="untrained", index=None)
    banner, line = out.add("b", [untrained])
    assert "UNTRAINED BACKBONE: shows the pipeline, not pain" in banner
    assert "no index" in line
    assert "CLASSIFIES EMOTION, NOT PAIN" in out.add("b", [replace(score(5), bundle="moods", index=None)])[0]
    assert len(out.add("b", [replace(score(6), bundle="moods", index=None)])) == 1


def test_a_score_without_an_index_says_its_class_and_that_there_is_none() -> None:
    line = lines().add("b", [replace(score(3), bundle="moods", index=None), index(3, fast=None)])[-1]
    assert "severe" in line
    assert "no index" in line
    assert "fast" not in line
