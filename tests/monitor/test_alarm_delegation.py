"""Signals that others give (A15), and alarms that are taken over from a process that failed: pure, replayable."""

from __future__ import annotations

import dataclasses
import json
import uuid
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alarm import AlarmManager
from monitor.alarm.manager import AlarmOutput
from monitor.clock import ManualClock
from monitor.config import AlarmSettings, SoundSettings
from monitor.outputs.sound import SoundOutput
from monitor.sessions.rows import plain
from monitor.types import AlarmAction, AlarmEvent, Float32Array, Presence

TICK_S = 0.25
LIMIT_S = AlarmSettings().delegation_s


def manager(session: int = 1, **changes: object) -> AlarmManager:
    return AlarmManager(bed="bed1", settings=AlarmSettings(**changes), session=uuid.UUID(int=session))  # type: ignore[arg-type]


def tick(alarm: AlarmManager, now: float) -> list[AlarmOutput]:
    return alarm.on_tick(now, None, 0.0)


words = st.lists(
    st.tuples(
        st.integers(0, 60),  # ticks until then
        st.sampled_from(["desk", "ward"]),
        st.sampled_from([None, 0.0, 1.0, 5.0, LIMIT_S]),
    ),
    max_size=25,
)


@settings(deadline=None)
@given(words)
def test_the_sound_here_is_off_only_while_somebody_has_confirmed_in_time(
    said: Sequence[tuple[int, str, float | None]],
) -> None:
    alarm, until, now, events = manager(), {}, 0.0, []
    location = "local"
    for ticks, actor, seconds in said:
        for _ in range(ticks):
            now += TICK_S
            events += tick(alarm, now)
            until = {who: end for who, end in until.items() if end > now}
            assert alarm.signals()["delegates"] == sorted(until)
        events += alarm.delegate(seconds, actor, now)
        length = LIMIT_S if seconds is None else seconds
        until = {**until, actor: now + length} if length else {k: v for k, v in until.items() if k != actor}
        assert alarm.signals()["location"] == ("remote" if until else "local")
    for _ in range(int(LIMIT_S / TICK_S) + 1):  # nobody says anything more
        now += TICK_S
        events += tick(alarm, now)
    assert alarm.signals()["location"] == "local"
    # Each change is reported once, with what stood before; a renewal is not.
    for event in events:
        assert isinstance(event, AlarmAction)
        assert event.before["location"] == location
        assert event.before["delegates"] != event.after["delegates"]
        location = event.after["location"]
    assert location == "local"


@pytest.mark.parametrize(("allowed", "asked"), [(10.0, 11.0), (0.0, None), (0.0, 5.0)])
def test_no_longer_than_the_configuration_allows(allowed: float, asked: float | None) -> None:
    alarm = manager(delegation_s=allowed)
    with pytest.raises(ValueError, match="the configuration allows"):
        alarm.delegate(asked, "desk", 0.0)
    assert alarm.signals()["location"] == "local"
    assert alarm.delegate(0, "desk", 0.0) == []


def left_standing() -> tuple[AlarmManager, list[dict[str, object]]]:
    """A manager with technical alarms, one of them acknowledged, and what a note of it says."""
    before = manager()
    before.technical("broker_lost", present=True, at=10.0, causes=["mqtt"])
    before.technical("store_full", present=True, at=11.0)
    before.acknowledge("store_full", "nurse", 12.0)
    return before, json.loads(json.dumps([plain(event) for event in before.active()]))


def test_what_was_left_standing_goes_on_under_its_id_and_ends_with_its_cause() -> None:
    before, note = left_standing()
    after = manager(session=2)
    restored = after.restore(note, 20.0)
    was = {event.condition: event for event in before.active()}
    for event in restored:
        assert isinstance(event, AlarmEvent)
        old = was[event.condition]
        assert (event.event_id, event.onset, event.count) == (old.event_id, old.onset, old.count)
        assert event.before is event.presence is old.presence
        assert (event.text, event.causes) == (old.text, old.causes)
    assert {event.condition for event in after.active()} == {"broker_lost", "store_full"}
    # The same cause is nothing new; its absence is the end of it.
    assert after.technical("broker_lost", present=True, at=20.0, causes=["mqtt"]) == []
    events = [event for k in range(30) for event in tick(after, 20.0 + k) if isinstance(event, AlarmEvent)]
    assert [(event.condition, event.presence, event.before) for event in events] == [
        ("store_full", Presence.OFF, Presence.ACK)
    ]
    # What comes back soon joins it, and later it is another one.
    (again,) = after.technical("store_full", present=True, at=60.0)
    assert isinstance(again, AlarmEvent)
    assert (again.event_id, again.count) == (was["store_full"].event_id, 2)
    after.technical("store_full", present=False, at=60.0)
    for k in range(60, 400):
        tick(after, float(k))
    (new,) = after.technical("store_full", present=True, at=400.0)
    assert isinstance(new, AlarmEvent)
    assert (new.event_id != again.event_id, new.count) == (True, 1)


def test_what_is_restored_twice_or_is_no_condition_changes_nothing() -> None:
    _, note = left_standing()
    after = manager(session=2)
    assert len(after.restore([*note, *note, {**note[0], "condition": "of_another_version"}], 20.0)) == 2
    standing = after.active()
    assert after.restore(note, 21.0) == []
    assert after.active() == standing
    with pytest.raises(ValueError, match="purple"):
        manager(session=3).restore([{**note[0], "presence": "purple"}], 20.0)


def test_a_latched_alarm_that_is_restored_waits_for_an_acknowledgement() -> None:
    _, note = left_standing()
    severe = {
        **note[0], "condition": "pain_severe", "kind": "physiological", "priority": "medium", "presence": "latched",
        "event_id": str(uuid.UUID(int=9)), "index": 80.0,
    }  # fmt: skip
    after = manager(session=2)
    after.restore([severe], 20.0)
    for k in range(400):
        tick(after, 20.0 + k)
    (standing,) = after.active()
    assert (standing.presence, standing.index) == (Presence.LATCHED, 80.0)
    (gone,) = after.acknowledge("pain_severe", "nurse", 500.0)
    assert (gone.presence, gone.event_id) == (Presence.OFF, str(uuid.UUID(int=9)))


def test_nothing_is_heard_here_while_somebody_else_signals_and_all_of_it_when_they_fall_silent() -> None:
    alarm, clock = manager(), ManualClock(0.0)
    output = SoundOutput(settings=SoundSettings(), clock=clock, player=Played())
    output.publish("bed1", alarm.technical("broker_lost", present=True, at=0.0, causes=["mqtt"]))
    assert output._bursts.pattern is not None
    output.publish("bed1", alarm.delegate(None, "desk", 1.0))
    assert output._bursts.pattern is None
    assert output._bursts.wait_s(1.0) is None
    output.publish("bed2", [other_bed()])  # nobody has taken over that one
    assert output._bursts.pattern is not None
    output.publish("bed2", [dataclasses.replace(other_bed(), presence=Presence.OFF)])
    assert output._bursts.pattern is None
    clock.set(20.0)
    output.publish("bed1", tick(alarm, 20.0))  # no word of the desk
    assert output._bursts.due(20.0) is not None


class Played:
    """A player that plays nothing."""

    def open(self) -> None: ...

    def play(self, samples: Float32Array) -> None: ...

    def check(self) -> None: ...

    def stop(self) -> None: ...

    def close(self) -> None: ...


def other_bed() -> AlarmEvent:
    (event,) = manager().technical("store_full", present=True, at=0.0)
    assert isinstance(event, AlarmEvent)
    return dataclasses.replace(event, bed="bed2")
