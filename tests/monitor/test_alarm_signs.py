"""Alarms on plain measures: none without a limit, none without persistence, and none of two signs of one sensor."""

from __future__ import annotations

import dataclasses
from typing import Final

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alarm import HEART_RATE, SCR_RATE, SPI, TWO_SIGNS
from monitor.alarm.limits import LIMITS
from monitor.alarm.manager import AlarmOutput
from monitor.types import AlarmEvent, AlarmKind, Comparators, Presence, Priority, Quality
from tests.helpers.alarm_windows import ORIGIN, Step, brief, manager, window

LOW: Final = {"heart_rate_bpm": 70.0, "scr_per_s": 0.02, "spi": 30.0}
HIGH: Final = {"heart_rate_bpm": 130.0, "scr_per_s": 0.3, "spi": 90.0}
LIMITED: Final = {"heart_rate_on": 120.0, "scr_per_s_on": 0.1, "spi_on": 70.0}
AFTER: Final = {"heart_rate_after_s": 10.0, "scr_per_s_after_s": 10.0, "spi_after_s": 10.0}
MEASURES: Final = {HEART_RATE: "heart_rate_bpm", SCR_RATE: "scr_per_s", SPI: "spi"}


def told(k: int, **values: float | None) -> Comparators:
    """The plain measures of window k; low ones where nothing is said."""
    found = LOW | values
    return Comparators(
        bed="bed1",
        epoch=0,
        k=k,
        t_end=ORIGIN + k,
        t_rel=float(k),
        heart_rate_bpm=found["heart_rate_bpm"],
        heart_rate_from="" if found["heart_rate_bpm"] is None else "ECG",
        heart_rate_absent=(),
        scr_per_s=found["scr_per_s"],
        scr_from="" if found["scr_per_s"] is None else "EDA",
        scr_absent=(),
        spi=found["spi"],
        spi_from="" if found["spi"] is None else "BVP",
        spi_absent=(),
    )


def course(
    steps: list[tuple[Step, dict[str, float | None]]], *, reads: tuple[str, ...] = (), **changes: float
) -> list[AlarmEvent]:
    """Windows of an index and of plain measures; the model reads some signals."""
    alarm = manager(**changes)
    events: list[AlarmOutput] = []
    for k, (value, measures) in enumerate(steps):
        index, score = window(k, value)
        score = dataclasses.replace(score, quality=tuple(Quality(modality=name, usable=True) for name in reads))
        events += alarm.on_index(index, score, score.quality, told(k, **measures))
    return [event for event in events if isinstance(event, AlarmEvent)]


@pytest.mark.parametrize("condition", MEASURES)
def test_a_measure_alarms_only_where_it_has_a_limit_and_asks_to_look(condition: str) -> None:
    name = MEASURES[condition]
    steps = [(10.0, {})] * 10 + [(10.0, {name: HIGH[name]})] * 60 + [(10.0, {})] * 60
    assert course(steps) == []
    on, off = course(steps, **LIMITED, **AFTER)
    assert brief([on, off]) == [(condition, "on", 20.0), (condition, "off", 100.0)]
    assert (on.priority, on.kind, on.index) == (Priority.LOW, AlarmKind.PHYSIOLOGICAL, None)
    assert on.onset == ORIGIN + 10.0
    assert on.text.startswith("Look at the patient: ")
    assert on.limit == LIMITED[name.removesuffix("_bpm") + "_on"]


@pytest.mark.parametrize("condition", MEASURES)
def test_what_cannot_be_told_freezes_then_ends_it(condition: str) -> None:
    name = MEASURES[condition]
    high: list[tuple[Step, dict[str, float | None]]] = [(10.0, {name: HIGH[name]})] * 30
    lost: list[tuple[Step, dict[str, float | None]]] = [(10.0, {name: None})] * 30
    assert brief(course(high + lost, **LIMITED, **AFTER))[1] == (condition, "off", 40.0)
    short = course([*high, *lost[:8], *high], **LIMITED, **AFTER)
    assert brief(short) == [(condition, "on", 10.0)]


@given(
    st.lists(st.tuples(st.sampled_from([HIGH, LOW, {}]), st.integers(1, 25)), min_size=1, max_size=12),
    st.sampled_from(sorted(MEASURES)),
)
@settings(deadline=None)
def test_there_is_no_alarm_without_its_persistence(spans: list[tuple[dict[str, float], int]], condition: str) -> None:
    name = MEASURES[condition]
    values: list[float | None] = [span.get(name) for span, seconds in spans for _ in range(seconds)]
    events = course([(10.0, {name: value}) for value in values], rejoin_s=0.0, **LIMITED, **AFTER)
    assert {event.condition for event in events} <= {condition}
    for event in events:
        if event.presence is Presence.ON:
            since = values[int(event.onset - ORIGIN) : int(event.t_rel) + 1]
            assert set(since) <= {None, HIGH[name]}
            assert sum(value is not None for value in since) == 11  # 10 s between them; what is not told does not count


def test_any_measure_of_another_sensor_is_a_second_sign() -> None:
    both = [(60.0, {"spi": 90.0})] * 40 + [(60.0, {})] * 60
    events = course(both, reads=("EDA", "ECG"), **LIMITED, **AFTER)
    signs = [event for event in events if event.condition == TWO_SIGNS]
    assert brief(signs) == [(TWO_SIGNS, "on", 15.0), (TWO_SIGNS, "latched", 70.0)]
    assert "SPI-style index from BVP" in signs[0].text
    assert TWO_SIGNS not in {e.condition for e in course(both, reads=("EDA", "BVP"), **LIMITED, **AFTER)}
    scr = [(60.0, {"scr_per_s": 0.3})] * 40
    assert TWO_SIGNS not in {e.condition for e in course(scr, reads=("EDA", "ECG"), **LIMITED, **AFTER)}
    assert TWO_SIGNS in {e.condition for e in course(scr, reads=("ECG",), **LIMITED, **AFTER)}


def test_two_signs_last_while_another_sensor_still_shows() -> None:
    steps = [(60.0, HIGH)] * 30 + [(60.0, HIGH | {"heart_rate_bpm": 70.0})] * 60 + [(60.0, {})] * 60
    events = [e for e in course(steps, reads=("EDA",), **LIMITED, **AFTER) if e.condition == TWO_SIGNS]
    assert brief(events) == [(TWO_SIGNS, "on", 15.0), (TWO_SIGNS, "latched", 120.0)]


def test_every_limit_can_be_changed_while_a_session_runs() -> None:
    for prefix in ("heart_rate", "scr_per_s", "spi"):
        assert {f"{prefix}_on", f"{prefix}_off", f"{prefix}_after_s"} <= set(LIMITS)
    alarm = manager()
    alarm.limit({"spi_on": 60.0, "spi_after_s": 5.0}, "nurse", ORIGIN)
    events = [e for k in range(10) for e in alarm.on_index(*window(k, 10.0), (), told(k, spi=65.0))]
    assert [event.t_rel for event in events if isinstance(event, AlarmEvent)] == [5.0]
    with pytest.raises(ValueError, match="spi_off"):
        alarm.limit({"spi_off": 61.0}, "nurse", ORIGIN)
