"""What a session takes over from the one that failed before it is counted once, and no time is negative."""

from __future__ import annotations

import dataclasses
import uuid
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alarm import AlarmManager
from monitor.cli import main
from monitor.config import AlarmSettings
from monitor.sessions.alarm_burden import Burden, alarms_of, burden
from monitor.sessions.alarm_report import alarm_report
from monitor.sessions.reader import SessionReader
from monitor.sessions.rows import plain
from monitor.types import AlarmEvent, Command, Presence
from tests.helpers.made_session import SESSION, made_alarm, made_info, made_writer

OFF, ON, LATCHED, ACK = Presence.OFF, Presence.ON, Presence.LATCHED, Presence.ACK
BEFORE = uuid.UUID(int=7)


def course(*steps: tuple[float, Presence], before: Presence = OFF, **changes: object) -> list[AlarmEvent]:
    """The transitions of one alarm."""
    states = [before, *(presence for _, presence in steps)]
    return [
        dataclasses.replace(made_alarm(t, **changes), presence=presence, before=last)
        for (t, presence), last in zip(steps, states, strict=False)
    ]


def summed(events: Sequence[AlarmEvent], start: float = 100.0, end: float = 200.0) -> Burden:
    return burden(events, start=start, end=end)


def test_an_alarm_that_was_taken_over_is_no_new_one_but_its_time_counts() -> None:
    found = summed(course((100.0, ON), (130.0, OFF), before=ON))
    assert (found.alarms, found.by_priority, found.restored) == (0, {}, 1)
    assert (found.true, found.false, found.unlabelled) == (0, 0, 0)
    assert (found.in_alarm_s, found.in_pain_alarm_s) == (30.0, 30.0)
    (row,) = found.conditions
    assert (row.alarms, row.restored, row.rejoined, row.brief, row.self_cleared) == (0, 1, 0, 0, 1)
    assert (row.per_hour, row.median_present_s, row.present_s) == (0.0, None, 30.0)


def test_the_same_alarm_is_counted_in_the_session_that_announced_it() -> None:
    found = summed(course((150.0, ON)))
    assert (found.alarms, found.restored, found.in_alarm_s) == (1, 0, 50.0)


@pytest.mark.parametrize("presence", [ON, LATCHED, ACK])
def test_windows_that_were_waiting_are_older_than_the_restart_and_make_no_time_negative(presence: Presence) -> None:
    (alarm,) = alarms_of(course((100.2, presence), (80.0, OFF), before=presence), start=100.0, end=200.0)
    assert alarm.restored
    assert alarm.present_s == alarm.latched_s == 0.0
    new = alarms_of(course((95.0, ON), (104.0, OFF)), start=100.0, end=200.0)
    assert [(item.raised, item.present) for item in new] == [((100.0,), ((100.0, 104.0),))]


def test_a_latched_alarm_that_was_taken_over_waits_from_the_sessions_beginning() -> None:
    (alarm,) = alarms_of(course((100.0, LATCHED), (160.0, OFF), before=LATCHED), start=100.0, end=200.0)
    assert (alarm.latched_s, alarm.acknowledged, alarm.latency_s) == (60.0, 160.0, None)
    found = summed(course((100.0, LATCHED), (120.0, ON), (140.0, OFF), before=LATCHED))
    assert (found.alarms, found.conditions[0].rejoined, found.latched, found.in_alarm_s) == (0, 1, 1, 20.0)


def test_a_renewal_whose_beginning_was_not_recorded_is_an_alarm_of_this_session() -> None:
    found = summed(course((150.0, ON), (160.0, OFF), before=ON))
    assert (found.alarms, found.restored, found.in_alarm_s) == (1, 0, 10.0)


@given(
    st.lists(st.tuples(st.floats(0, 300), st.sampled_from([ON, LATCHED, ACK, OFF])), max_size=12),
    st.sampled_from([OFF, ON, LATCHED, ACK]),
)
def test_no_time_is_negative_or_of_before_the_session(steps: list[tuple[float, Presence]], before: Presence) -> None:
    events = course(*([(100.0, before)] if before is not OFF else []), *steps, before=before)
    for alarm in alarms_of(events, start=100.0, end=200.0):
        assert alarm.restored == (before is not OFF)
        assert alarm.latched_s >= 0.0
        assert all(100.0 <= start <= end for start, end in alarm.present)
        assert all(a[1] <= b[0] for a, b in pairwise(alarm.present))
        assert alarm.latency_s is None or alarm.latency_s >= 0.0


@pytest.fixture
def continued(tmp_path: Path) -> Path:
    """A session that begins with what one before it left standing, as its alarm manager says it."""
    path = tmp_path / "b.session.db"
    writer = made_writer(path, meta={"continues": BEFORE})
    info = made_info()
    left = [plain(dataclasses.replace(made_alarm(90.0), condition=name, event_id=name)) for name in ("pain_moderate",)]
    alarm = AlarmManager(bed="bed1", settings=AlarmSettings(), session=SESSION)
    writer.command(Command(action="restore_alarms", at=100.0, actor="engine", args={"alarms": left}))
    writer.events(alarm.restore(left, 100.0))
    writer.stream(info, 100.0)
    for second in range(1, 61):
        writer.tick(100.0 + second)
    writer.close()
    return path


def test_the_report_of_a_session_that_continues_another_says_so(
    continued: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with SessionReader(continued) as reader:
        (event,) = reader.events(AlarmEvent)
        report = alarm_report(reader)
    assert (event.event_id, event.onset, event.before) == ("pain_moderate", 75.0, ON)
    assert report.continues == str(BEFORE)
    assert (report.burden.alarms, report.burden.restored, report.burden.in_alarm_s) == (0, 1, 60.0)
    monkeypatch.setattr("sys.argv", ["pain-monitor", "alarms", str(continued)])
    with pytest.raises(SystemExit) as end:
        main()
    assert not end.value.code
    said = " ".join(capsys.readouterr().out.split())
    assert f"It continues session {BEFORE}, which failed" in said
    assert "taken over 1 from the session before, not among these" in said
