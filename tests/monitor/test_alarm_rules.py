"""Properties of what surrounds an alarm: pause, suspension, reminder, re-alarm, limits, and technical conditions."""

from __future__ import annotations

import dataclasses
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alarm import REPORTED, AlarmManager
from monitor.alarm.manager import AlarmOutput
from monitor.types import (
    Activation,
    AlarmAction,
    AlarmEvent,
    AlarmKind,
    CalibrationState,
    Presence,
    Priority,
    Quality,
    Reason,
)
from tests.helpers.alarm_windows import GAP, ORIGIN, SESSION, Step, brief, manager, play, window

FLAT = ("ECG:flat",)
GOOD = (Quality(modality="EDA", usable=True), Quality(modality="ECG", usable=True))
BAD = (Quality(modality="EDA", usable=True), Quality(modality="ECG", usable=False, reasons=(Reason.FLAT,)))


def step(alarm: AlarmManager, k: int, value: Step) -> list[AlarmOutput]:
    """One window, and the tick after it."""
    quality = BAD if value == FLAT else GOOD
    now = ORIGIN + k
    return [*alarm.on_index(*window(k, value), quality), *alarm.on_tick(now, now, ORIGIN)]


def course(alarm: AlarmManager, steps: list[Step], *, first: int = 0) -> list[AlarmOutput]:
    return [event for k, value in enumerate(steps, start=first) for event in step(alarm, k, value)]


def transitions(events: list[AlarmOutput]) -> list[AlarmEvent]:
    return [event for event in events if isinstance(event, AlarmEvent)]


def actions(events: list[AlarmOutput]) -> list[AlarmAction]:
    return [event for event in events if isinstance(event, AlarmAction)]


# Audio pause (A9) ----------------------------------------------------------------------------------------------------


def test_a_pause_silences_what_is_there_for_its_time_and_hides_nothing() -> None:
    alarm = manager()
    course(alarm, [60.0] * 20)
    paused = alarm.audio_pause(None, "nurse", ORIGIN + 20.0)
    (action,) = actions(paused)
    assert (action.actor, action.before["audio"], action.after["audio"]) == ("nurse", "on", "paused")
    assert action.after["audio_until"] == ORIGIN + 140.0
    (restated,) = transitions(paused)
    assert (restated.presence, restated.audio, restated.visual) == (Presence.ON, Activation.PAUSED, Activation.ON)
    later = course(alarm, [60.0] * 130, first=20)
    assert [(a.t_rel, a.actor, a.after["audio"]) for a in actions(later)] == [(140.0, "", "on")]
    assert [(e.condition, e.audio, e.t_rel) for e in transitions(later)] == [("pain_moderate", Activation.ON, 140.0)]


def test_a_higher_priority_breaks_a_pause_and_an_equal_one_does_not() -> None:
    alarm = manager()
    course(alarm, [80.0] * 20)  # low is present, medium on its way
    alarm.audio_pause(None, "nurse", ORIGIN + 20.0)
    events = course(alarm, [80.0] * 50, first=20)
    assert [(a.action, a.actor, a.after["audio"]) for a in actions(events)] == [("audio_pause", "", "on")]
    raised = [event for event in transitions(events) if event.before is not event.presence]
    assert [(e.condition, e.audio) for e in raised] == [("pain_severe", Activation.ON)]
    alarm = manager()
    course(alarm, [10.0] * 5)
    alarm.audio_pause(60.0, "nurse", ORIGIN + 5.0)
    (low,) = transitions(course(alarm, [60.0] * 30, first=5))
    assert (low.condition, low.presence, low.audio) == ("pain_moderate", Presence.ON, Activation.PAUSED)


@pytest.mark.parametrize(("allowed", "asked"), [(120.0, 121.0), (0.0, None), (60.0, -1.0)])
def test_no_longer_pause_than_the_configuration_allows(allowed: float, asked: float | None) -> None:
    alarm = manager(audio_pause_s=allowed, suspend_s=allowed)
    before = alarm.signals()
    with pytest.raises(ValueError, match="the configuration allows"):
        alarm.audio_pause(asked, "nurse", ORIGIN)
    with pytest.raises(ValueError, match="the configuration allows"):
        alarm.suspend(asked, "washing", "nurse", ORIGIN)
    assert alarm.signals() == before


# Suspension for a procedure (A14) -------------------------------------------------------------------------------------


def test_a_suspension_holds_back_pain_until_it_ends_and_then_it_must_persist_anew() -> None:
    alarm = manager()
    course(alarm, [10.0] * 10)
    (action,) = alarm.suspend(1.0, "turning", "nurse", ORIGIN + 10.0)
    assert isinstance(action, AlarmAction)
    assert (action.after["pain"], action.after["pain_until"], action.after["reason"]) == (
        "paused",
        ORIGIN + 70.0,
        "turning",
    )
    events = course(alarm, [60.0] * 100, first=10)
    assert [(a.t_rel, a.after["pain"]) for a in actions(events)] == [(70.0, "on")]
    (raised,) = transitions(events)
    assert raised.condition == "pain_moderate"
    assert raised.onset > ORIGIN + 70.0
    assert raised.t - raised.onset >= 15.0


def test_pain_that_is_there_is_paused_not_forgotten() -> None:
    alarm = manager()
    course(alarm, [80.0] * 70)
    paused = transitions(alarm.suspend(5.0, "washing", "nurse", ORIGIN + 70.0))
    assert {e.condition for e in paused} == {"pain_moderate", "pain_severe"}
    assert {(e.audio, e.visual, e.presence) for e in paused} == {(Activation.PAUSED, Activation.PAUSED, Presence.ON)}
    course(alarm, [10.0] * 40, first=70)
    assert brief(alarm.active()) == [("pain_severe", "latched", 100.0)]
    (back,) = transitions(alarm.resume("nurse", ORIGIN + 110.0))
    assert (back.presence, back.audio, back.visual) == (Presence.LATCHED, Activation.ON, Activation.ON)
    assert alarm.resume("nurse", ORIGIN + 111.0) == []


# Reminder and re-alarm (A10, A13) -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("every", "heard"), [(180, [250.0, 430.0]), (120, [190.0, 310.0, 430.0]), (0, [])])
def test_an_acknowledged_alarm_that_stays_is_heard_again(every: int, heard: list[float]) -> None:
    alarm = manager(reminder_s=every)
    course(alarm, [60.0] * 70)
    (ack,) = alarm.acknowledge("pain_moderate", "nurse", ORIGIN + 70.0)
    assert (ack.audio, ack.visual, ack.actor, ack.before) == (Activation.OFF, Activation.ON, "nurse", Presence.ON)
    reminders = transitions(course(alarm, [60.0] * 400, first=70))
    assert [event.t_rel for event in reminders] == heard
    assert [event.reminder for event in reminders] == list(range(1, len(heard) + 1))
    assert all(event.text.startswith("Still present: Reassess pain") for event in reminders)  # not who acknowledged it
    assert {(e.presence, e.audio, e.event_id) for e in reminders} <= {(Presence.ACK, Activation.ON, ack.event_id)}


def test_an_alarm_that_nobody_acknowledged_sounds_by_itself_and_is_not_reminded_of() -> None:
    assert len(course(manager(), [60.0] * 600)) == 1


def test_what_returns_soon_joins_the_last_alarm_without_a_new_sound() -> None:
    alarm = manager()
    first, off = transitions(course(alarm, [60.0] * 20 + [10.0] * 40))
    assert off.presence is Presence.OFF
    (again,) = transitions(course(alarm, [60.0] * 60, first=60))
    assert (again.event_id, again.count, again.audio, again.visual) == (
        first.event_id,
        2,
        Activation.OFF,
        Activation.ON,
    )
    (reminder,) = transitions(course(alarm, [60.0] * 160, first=120))  # silence is not for ever
    assert (reminder.reminder, reminder.audio, reminder.presence) == (1, Activation.ON, Presence.ON)


def test_what_returns_late_is_a_new_alarm() -> None:
    first, _, second = transitions(course(manager(), [60.0] * 20 + [10.0] * 160 + [60.0] * 30))
    assert second.event_id != first.event_id
    assert (second.count, second.audio) == (1, Activation.ON)
    assert second.onset == ORIGIN + 180.0


def test_latching_is_for_the_configuration_alone() -> None:
    alarm = manager(latch_medium=False)
    course(alarm, [80.0] * 70 + [10.0] * 40)
    assert alarm.active() == ()
    with pytest.raises(ValueError, match="limits are"):
        alarm.limit({"latch_medium": 1.0}, "nurse", ORIGIN)


# Limits --------------------------------------------------------------------------------------------------------------


def test_limits_change_with_a_record_of_before_and_after() -> None:
    alarm = manager()
    assert course(alarm, [45.0] * 60) == []
    (action,) = alarm.limit({"moderate_on": 40.0, "moderate_off": 30.0}, "nurse", ORIGIN + 60.0)
    assert isinstance(action, AlarmAction)
    assert action.before == {"moderate_on": 50.0, "moderate_off": 35.0}
    assert action.after == {"moderate_on": 40.0, "moderate_off": 30.0}
    (raised,) = transitions(course(alarm, [45.0] * 30, first=60))
    assert (raised.limit, raised.t_rel, raised.onset) == (40.0, 75.0, ORIGIN + 60.0)  # persists anew


@pytest.mark.parametrize(
    "changes", [{}, {"moderate_on": 10.0}, {"moderate_off": 50.0}, {"severe_on": 45.0}, {"freeze_s": 0.0}]
)
def test_wrong_limits_change_nothing(changes: dict[str, float]) -> None:
    alarm = manager()
    before = alarm.settings
    with pytest.raises(ValueError, match=r"limits|than|below"):
        alarm.limit(changes, "nurse", ORIGIN)
    assert alarm.settings == before
    assert brief(play(alarm, [60.0] * 20)) == [("pain_moderate", "on", 15.0)]


def test_the_plain_comparator_alarms_only_where_it_has_a_limit() -> None:
    def run(**changes: float) -> list[tuple[str, str, float]]:
        alarm = manager(**changes)
        events: list[AlarmOutput] = []
        for k in range(200):
            rate = 130.0 if 20 <= k < 120 else 110.0
            beats = (Quality(modality="ECG", usable=True, metrics={"heart_rate_bpm": rate}),)
            events += alarm.on_index(*window(k, 10.0), beats)
        return brief(transitions(events))

    assert run() == []
    assert run(heart_rate_on=125.0) == [("heart_rate", "on", 80.0)]  # 110 lies between its limits
    assert run(heart_rate_on=125.0, heart_rate_off=115.0) == [("heart_rate", "on", 80.0), ("heart_rate", "off", 150.0)]


# Two signs (A17) -----------------------------------------------------------------------------------------------------


def two(
    steps: list[tuple[Step, float]], *, rate_from: str = "ECG", reads: tuple[str, ...] = ("EDA",), **changes: float
) -> list[AlarmEvent]:
    """Windows of (index, heart rate); the model reads some signals, the heart rate is taken from one."""
    alarm = manager(**({"heart_rate_on": 120.0, "heart_rate_after_s": 10.0} | changes))
    events: list[AlarmOutput] = []
    for k, (step_, rate) in enumerate(steps):
        index, score = window(k, step_)
        score = dataclasses.replace(score, quality=tuple(Quality(modality=name, usable=True) for name in reads))
        beats = Quality(modality=rate_from, usable=True, metrics={"heart_rate_bpm": rate})
        events += alarm.on_index(index, score, (*score.quality, beats))
    return transitions(events)


def test_two_low_signs_of_different_signals_make_a_medium_alarm() -> None:
    steps: list[tuple[Step, float]] = [(60.0, 80.0)] * 30 + [(60.0, 130.0)] * 30 + [(60.0, 80.0)] * 60
    events = [e for e in two(steps) if e.condition == "two_signs"]
    assert brief(events) == [("two_signs", "on", 40.0), ("two_signs", "latched", 90.0)]
    assert (events[0].priority, events[0].kind) == (Priority.MEDIUM, AlarmKind.PHYSIOLOGICAL)
    assert events[0].onset == ORIGIN + 30.0
    assert events[0].text.startswith("Reassess pain: enter a score")
    assert events[0].audio is Activation.ON


@pytest.mark.parametrize("reads", [("ECG",), ("EDA", "ECG")])
def test_one_signal_that_shows_twice_is_no_second_sign(reads: tuple[str, ...]) -> None:
    events = two([(60.0, 130.0)] * 120, reads=reads)
    assert {e.condition for e in events} == {"pain_moderate", "heart_rate"}
    assert {e.priority for e in events} == {Priority.LOW}
    assert "two_signs" in {e.condition for e in two([(60.0, 130.0)] * 120, reads=reads, rate_from="BVP")}


@given(st.lists(st.tuples(st.sampled_from([60.0, 10.0, GAP]), st.sampled_from([130.0, 80.0])), max_size=12))
@settings(deadline=None)
def test_two_signs_hold_exactly_while_both_do(phases: list[tuple[Step, float]]) -> None:
    steps = [phase for phase in phases for _ in range(17)]
    present: set[str] = set()
    for event in two(steps):
        (present.add if event.presence is Presence.ON else present.discard)(event.condition)
        if event.condition == "two_signs" and event.presence is Presence.ON:
            assert {"pain_moderate", "heart_rate"} <= present
            assert steps[int(event.t_rel)][0] != GAP
    if "two_signs" in present:
        assert {"pain_moderate", "heart_rate"} <= present


def test_severe_pain_needs_no_second_sign() -> None:
    events = two([(80.0, 80.0)] * 80 + [(80.0, 130.0)] * 60)
    assert "two_signs" not in {e.condition for e in events}


def test_no_sign_begins_in_a_suspension_and_two_break_a_pause_for_low_ones() -> None:
    alarm = manager(heart_rate_on=120.0, heart_rate_after_s=10.0)
    beats = (Quality(modality="ECG", usable=True, metrics={"heart_rate_bpm": 130.0}),)
    course(alarm, [60.0] * 20)
    alarm.audio_pause(None, "nurse", ORIGIN + 20.0)
    events = [event for k in range(20, 60) for event in alarm.on_index(*window(k, 60.0), beats)]
    assert [a.after["audio"] for a in actions(events)] == ["on"]
    assert brief([e for e in transitions(events) if e.before is not e.presence]) == [
        ("heart_rate", "on", 30.0),
        ("two_signs", "on", 30.0),
    ]


# Technical conditions (A1, A12) ---------------------------------------------------------------------------------------


def test_a_sensor_that_comes_off_is_said_and_explains_the_missing_score() -> None:
    alarm = manager()
    events = transitions(course(alarm, [10.0] * 20 + [FLAT] * 100 + [10.0] * 30))
    assert brief(events) == [("sensor_off", "on", 22.0), ("sensor_off", "off", 125.0)]
    assert (events[0].causes, events[0].hard, events[0].kind) == (FLAT, True, AlarmKind.TECHNICAL)


def test_a_sensor_that_was_never_on_is_a_prompt_and_no_alarm() -> None:
    alarm = manager()
    bad = tuple(dataclasses.replace(item, usable=False, reasons=(Reason.FLAT,)) for item in GOOD)
    events = [event for k in range(300) for event in alarm.on_index(*window(k, ("EDA:starting",)), bad)]
    assert events == []


def test_a_second_sensor_is_announced_anew() -> None:
    alarm = manager()
    course(alarm, [10.0] * 20 + [FLAT] * 10)
    alarm.acknowledge("sensor_off", "nurse", ORIGIN + 30.0)
    both = tuple(dataclasses.replace(item, usable=False, reasons=(Reason.FLAT,)) for item in GOOD)
    events = [e for k in range(30, 40) for e in alarm.on_index(*window(k, ("EDA:flat", "ECG:flat")), both)]
    (more,) = transitions(events)
    assert (more.presence, more.audio, set(more.causes)) == (Presence.ON, Activation.ON, {"EDA:flat", "ECG:flat"})


def test_other_faults_of_windows_have_their_alarms() -> None:
    alarm = manager(uncertain_above=0.9, uncertain_after_s=10.0)
    course(alarm, [10.0] * 5)
    names = set()
    for k in range(5, 30):
        index, score = window(k, 10.0)  # both classes alike: as uncertain as can be
        score = dataclasses.replace(score, calibration_state=CalibrationState.REQUIRED)
        jumped = (Quality(modality="EDA", usable=False, reasons=(Reason.CLOCK_FAULT,)), GOOD[1])
        names |= {event.condition for event in transitions(alarm.on_index(index, score, jumped))}
    assert names == {"calibration_required", "clock_fault", "uncertain"}
    failed = transitions(course(manager(), [10.0] * 5 + [("model_fault",)] * 60))
    assert [(event.condition, event.hard) for event in failed] == [("model_fault", True)]


def test_scores_that_stop_while_data_come_are_stale() -> None:
    alarm = manager()
    course(alarm, [10.0] * 5)
    events = [event for k in range(5, 40) for event in alarm.on_tick(ORIGIN + k, ORIGIN + k, ORIGIN)]
    assert brief(transitions(events)) == [("stale", "on", 14.0)]
    events = course(alarm, [10.0] * 20, first=40)
    assert brief(transitions(events)) == [("stale", "off", 45.0)]


def test_silence_is_one_alarm_also_where_a_sensor_was_off() -> None:
    alarm = manager()
    course(alarm, [10.0] * 20 + [FLAT] * 10)
    events: list[AlarmOutput] = []
    for k in range(30, 90):
        events += alarm.on_index(*window(k, ("ECG:no_data",)), BAD)
        events += alarm.on_tick(ORIGIN + k, ORIGIN + 29.0, ORIGIN)
    assert [event.condition for event in alarm.active()] == ["no_data"]


@pytest.mark.parametrize("name", REPORTED)
def test_what_is_reported_holds_until_it_has_been_gone_for_a_while(name: str) -> None:
    alarm = manager()
    course(alarm, [10.0] * 5)
    (on,) = alarm.technical(name, present=True, at=ORIGIN + 5.0)
    assert isinstance(on, AlarmEvent)
    assert (on.condition, on.kind, on.priority, on.hard) == (name, AlarmKind.TECHNICAL, Priority.LOW, False)
    assert alarm.technical(name, present=True, at=ORIGIN + 6.0) == []
    assert course(alarm, [10.0] * 20, first=6) == []
    for k in range(26, 40):  # comes and goes: nothing flaps
        assert alarm.technical(name, present=bool(k % 2), at=ORIGIN + k) == []
        assert course(alarm, [10.0], first=k) == []
    alarm.technical(name, present=False, at=ORIGIN + 40.0)
    (off,) = transitions(course(alarm, [10.0] * 20, first=40))
    assert (off.presence, off.event_id) == (Presence.OFF, on.event_id)


def test_only_what_lies_outside_can_be_reported() -> None:
    with pytest.raises(ValueError, match="cannot be reported"):
        manager().technical("pain_severe", present=True, at=ORIGIN)


# Random courses -------------------------------------------------------------------------------------------------------

COURSES = st.lists(
    st.tuples(
        st.sampled_from([4, 16, 33, 65]),
        st.one_of(st.sampled_from([10.0, 45.0, 60.0, 80.0]), st.sampled_from([GAP, FLAT])),
        st.sampled_from(["", "", "pause", "suspend", "resume", "ack_severe", "ack_moderate", "store_on", "store_off"]),
    ),
    min_size=3,
    max_size=14,
)
Course = list[tuple[int, Step, str]]


def run(alarm: AlarmManager, plan: Course, *, leave_out: str = "") -> list[AlarmOutput]:
    """Windows and ticks with a command at the beginning of each span; one kind of command may be left out."""
    events: list[AlarmOutput] = []
    k = 0
    for seconds, value, command in plan:
        t = ORIGIN + k
        match "" if command == leave_out else command:
            case "pause":
                events += alarm.audio_pause(None, "nurse", t)
            case "suspend":
                events += alarm.suspend(2.0, "washing", "nurse", t)
            case "resume":
                events += alarm.resume("nurse", t)
            case "ack_severe" | "ack_moderate" as ack:
                events += alarm.acknowledge(ack.replace("ack", "pain"), "nurse", t)
            case "store_on" | "store_off" as told:
                events += alarm.technical("store_full", present=told == "store_on", at=t)
        for _ in range(seconds):
            events += step(alarm, k, value)
            k += 1
    return events


def changed(events: list[AlarmOutput]) -> list[AlarmEvent]:
    """Transitions of presence, without those of signals alone."""
    return [event for event in transitions(events) if event.presence is not event.before]


@settings(max_examples=40, deadline=None)
@given(plan=COURSES)
def test_random_courses_keep_every_rule(plan: Course) -> None:
    events = run(manager(), plan)
    assert events == run(AlarmManager(bed="bed1", settings=manager().settings, session=SESSION), plan)  # and their ids
    suspended = paused = False
    covered = Priority.LOW
    for position, event in enumerate(events):
        if isinstance(event, AlarmAction):
            suspended, paused = event.after["pain"] == "paused", event.after["audio"] == "paused"
            if event.action == "audio_pause" and event.actor:
                before = {e.condition: e for e in transitions(events[:position])}.values()
                there = {e.priority for e in before if e.presence in (Presence.ON, Presence.LATCHED)}
                covered = Priority.MEDIUM if Priority.MEDIUM in there else Priority.LOW
            continue
        begins = event.presence is Presence.ON and event.before in (Presence.OFF, Presence.LATCHED)
        if event.kind is AlarmKind.PHYSIOLOGICAL:
            assert not (begins and suspended)
            assert (event.visual is Activation.PAUSED) == (suspended and event.presence is not Presence.OFF)
        else:
            assert event.visual is (Activation.OFF if event.presence is Presence.OFF else Activation.ON)
        if begins and event.kind is AlarmKind.PHYSIOLOGICAL:
            after = 15.0 if event.condition == "pain_moderate" else 60.0
            assert event.t - event.onset >= after
        if paused and event.audio is Activation.ON:
            assert event.priority is Priority.MEDIUM
            assert covered is Priority.LOW
        assert event.presence is not Presence.LATCHED or event.priority is Priority.MEDIUM
    for name in {event.condition for event in transitions(events)}:
        mine = [event for event in changed(events) if event.condition == name]
        for a, b in pairwise(mine):
            assert b.before is a.presence
            if a.presence is Presence.LATCHED and b.presence is Presence.OFF:
                assert b.actor == "nurse"


@settings(max_examples=25, deadline=None)
@given(plan=COURSES)
def test_a_pause_never_changes_presence(plan: Course) -> None:
    with_pause, without = run(manager(), plan), run(manager(), plan, leave_out="pause")
    assert brief(changed(with_pause)) == brief(changed(without))
    assert [e.event_id for e in changed(with_pause)] == [e.event_id for e in changed(without)]


@settings(max_examples=25, deadline=None)
@given(plan=COURSES)
def test_a_suspension_never_hides_a_technical_alarm(plan: Course) -> None:
    plan = [(seconds, 10.0 if isinstance(v, float) else v, c) for seconds, v, c in plan]  # technical ones by themselves
    kept, without = run(manager(), plan), run(manager(), plan, leave_out="suspend")
    assert brief(transitions(kept)) == brief(transitions(without))


@settings(max_examples=25, deadline=None)
@given(plan=COURSES)
def test_a_higher_priority_is_always_heard(plan: Course) -> None:
    """While a low one's sounds are paused, severe pain begins audibly; the pause is over then."""
    alarm = manager()
    run(alarm, plan)
    k = sum(seconds for seconds, _, _ in plan)
    course(alarm, [10.0] * 200, first=k)
    alarm.resume("nurse", ORIGIN + k + 200)
    alarm.acknowledge("pain_severe", "nurse", ORIGIN + k + 200)
    for name in REPORTED:
        alarm.technical(name, present=False, at=ORIGIN + k + 200)
    course(alarm, [10.0] * 10, first=k + 200)
    alarm.audio_pause(120.0, "nurse", ORIGIN + k + 210)
    events = course(alarm, [80.0] * 70, first=k + 210)
    (severe,) = [event for event in changed(events) if event.condition == "pain_severe"]
    assert severe.audio is Activation.ON
    assert alarm.signals()["audio"] == "on"
