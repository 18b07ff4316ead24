from __future__ import annotations

import pytest

from benchmarks.alarm_days import _non_responders, _pain_of, draw_patient
from benchmarks.alarm_tables import fared, front
from benchmarks.alarm_truth import Condition, Span, judge, merged
from monitor.types import AlarmEvent, AlarmKind, Presence, Priority

DAY = 86400.0


def _event(t: float, presence: Presence, before: Presence, event_id: str = "a") -> AlarmEvent:
    return AlarmEvent(
        bed="bed",
        condition="pain_moderate",
        kind=AlarmKind.PHYSIOLOGICAL,
        priority=Priority.LOW,
        presence=presence,
        before=before,
        event_id=event_id,
        onset=t,
        t=t,
        t_rel=t,
        text="Reassess pain",
        index=60.0,
        bundle="none",
    )


def _alarms(*spans: tuple[float, float]) -> Condition:
    events = []
    for number, (start, end) in enumerate(spans):
        events.append(_event(start, Presence.ON, Presence.OFF, f"id{number}"))
        events.append(_event(end, Presence.OFF, Presence.ON, f"id{number}"))
    return Condition.of(events, ("pain_moderate",), DAY)


PAIN = [Span(1000.0, 1300.0, True, True), Span(5000.0, 5010.0, False, False)]


def test_an_alarm_within_a_bout_is_right_and_has_its_delay() -> None:
    got = judge(_alarms((1040.0, 1290.0)), PAIN, DAY)
    assert got["false"] == 0
    assert [(b["found"], b["delay_s"]) for b in got["bouts"]] == [(True, 40.0), (False, None)]
    assert got["free_s"] == pytest.approx(DAY - 360.0 - 70.0)


def test_an_alarm_that_was_there_before_the_onset_has_no_delay() -> None:
    got = judge(_alarms((900.0, 1100.0)), PAIN, DAY)
    assert got["bouts"][0] == {"severe": True, "lasting": True, "found": True, "delay_s": None}
    assert got["false"] == 1


def test_false_alarms_that_follow_closely_are_one() -> None:
    assert judge(_alarms((10.0, 20.0), (100.0, 110.0), (400.0, 410.0)), PAIN, DAY)["false"] == 2


def test_stimuli_within_a_minute_are_one_bout_as_bad_as_the_worst() -> None:
    train = [Span(100.0, 104.0, False, False), Span(112.0, 116.0, True, False)]
    bouts = merged([*train, Span(300.0, 304.0, False, False)])
    assert [(b.start, b.end, b.severe) for b in bouts] == [(100.0, 116.0, True), (300.0, 304.0, False)]


def test_rates_are_of_time_without_pain_and_shares_of_responders_alone() -> None:
    points = [judge(_alarms((1040.0, 1290.0), (9000.0, 9050.0)), PAIN, DAY), judge(_alarms(), PAIN, DAY)]
    beds = [{"hours": 24.0, "responder": True}, {"hours": 24.0, "responder": False}]
    how = fared(beds, points)
    assert how.false_a_day == pytest.approx(1.0 / (2 * (DAY - 430.0) / DAY))
    assert (how.sensitivity, how.spells, how.sensitivity_others, how.spells_others) == (1.0, 1, 0.0, 1)
    assert how.delay_median_s == 40.0


def test_only_points_that_nothing_beats_are_shown() -> None:
    beds = [{"hours": 24.0, "responder": True}]
    tried = {
        "finds": _alarms((1040.0, 1290.0), (9000.0, 9050.0)),
        "misses": _alarms((9000.0, 9050.0)),
        "silent": _alarms(),
    }
    rows = [({"what": name}, fared(beds, [judge(alarms, PAIN, DAY)])) for name, alarms in tried.items()]
    assert [point["what"] for point, _ in front(rows)] == ["silent", "finds"]


def test_a_reminder_is_no_beginning_and_no_end() -> None:
    began, ended = _event(10.0, Presence.ON, Presence.OFF), _event(900.0, Presence.OFF, Presence.ON)
    reminder = _event(610.0, Presence.ON, Presence.ON)
    assert _pain_of([began, reminder, ended]) == _pain_of([began, ended])
    assert [t for _, t, _ in _pain_of([began, ended])] == [10.0, 900.0]


def test_further_beds_are_the_next_patients_who_do_not_respond() -> None:
    found = _non_responders(510, 3)
    answers = [draw_patient(number, 1.0, ["EDA"]).responder for number in range(510, found[-1] + 1)]
    assert [510 + i for i, responds in enumerate(answers) if not responds] == found
