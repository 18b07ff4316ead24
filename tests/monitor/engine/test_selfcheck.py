"""The self-check: what counts as lost and as missed, and that a probe that hangs holds up nobody."""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alarm import BROKER_LOST, SELF_CHECK_MISSED
from monitor.clock import SystemClock
from monitor.engine import selfcheck
from monitor.engine.engine import Engine
from monitor.engine.routes import Check, session_check
from monitor.engine.selfcheck import GRACE_S, LOST_AFTER_S, START_S, TIMEOUT_S, Findings, SelfCheck
from monitor.outputs.base import Output, Route
from monitor.types import AlarmEvent, Event, Presence
from tests.helpers.engine_process import settings_for
from tests.helpers.scripted import Collected, wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

PERIOD_S = 60.0
LATER = 1000.0
"""Long after the start."""


def findings() -> Findings:
    return Findings(["a", "b"], period_s=PERIOD_S, now=0.0)


def prove(found: Findings, route: str, at: float, problem: str = "") -> float:
    found.begin(route, at)
    return found.end(route, at + 0.1, problem)


def test_a_route_that_proves_itself_is_asked_again_after_the_period_and_one_that_fails_sooner() -> None:
    found = findings()
    assert prove(found, "a", LATER) == PERIOD_S
    assert prove(found, "b", LATER, "denied") < PERIOD_S
    assert found.missed(LATER + 1.0) == {"b": "denied"}
    assert found.counts() == {"a": (1, 0), "b": (1, 1)}
    prove(found, "b", LATER + 5.0)
    assert found.missed(LATER + 6.0) == {}
    assert found.state(LATER + 6.0)["b"] == {"checks": 2, "missed": 1, "proved_s_ago": 0.9, "problem": ""}


def test_a_probe_that_never_comes_back_and_a_check_that_never_comes_are_missed() -> None:
    found = findings()
    prove(found, "b", LATER)
    found.begin("a", LATER)
    assert found.missed(LATER + TIMEOUT_S) == {}
    assert "no answer" in found.missed(LATER + TIMEOUT_S + GRACE_S + 0.1)["a"]
    found.end("a", LATER + 20.0, "")
    assert found.missed(LATER + 20.1) == {}
    late = LATER + 20.0 + PERIOD_S + TIMEOUT_S + GRACE_S + 0.1
    assert found.missed(late).keys() == {"a", "b"}


def test_connections_have_time_to_be_made() -> None:
    found = findings()
    assert prove(found, "a", 1.0, "not connected") < 5.0
    assert found.missed(START_S - 0.1) == {}
    assert found.counts()["a"] == (1, 0)
    assert found.missed(START_S + 0.1) == {"a": "not connected", "b": "it was never checked"}


@given(st.lists(st.tuples(st.floats(0.01, 2.0), st.booleans()), max_size=60))
def test_a_route_is_lost_exactly_after_it_was_gone_without_a_break(steps: Sequence[tuple[float, bool]]) -> None:
    found, now, gone_for = findings(), 0.0, None
    for dt, gone in steps:
        now += dt
        gone_for = (0.0 if gone_for is None else gone_for + dt) if gone else None
        found.tell("a", now, "no broker" if gone else "")
        lost = gone_for is not None and gone_for >= LOST_AFTER_S - 1e-9
        if gone_for is None or abs(gone_for - LOST_AFTER_S) > 1e-6:
            assert found.lost(now) == ({"a": "no broker"} if lost else {})


def test_a_session_that_cannot_be_written_is_not_proved(tmp_path: Path) -> None:
    problem = ""
    check = session_check("bed1", folder=tmp_path, status=lambda _: {"problem": problem})
    assert check.probe({}, 1.0) == ""
    assert list(tmp_path.iterdir()) == []
    problem = "the disk is full"
    assert check.probe({}, 1.0) == "the disk is full"
    problem = ""
    gone = session_check("bed1", folder=tmp_path / "gone", status=lambda _: {"problem": ""})
    assert "nothing can be written" in gone.probe({}, 1.0)


def test_a_session_that_somebody_tidied_away_is_not_proved(tmp_path: Path) -> None:
    """A file without a name takes whatever is written, and nobody will ever read it."""
    file = tmp_path / "a.session.db"
    file.touch()
    check = session_check("bed1", folder=tmp_path, status=lambda _: {"problem": "", "path": str(file)})
    assert check.probe({}, 1.0) == ""
    file.rename(tmp_path / "old.session.db")
    assert "was moved or deleted" in check.probe({}, 1.0)
    nothing_recorded = session_check("bed1", folder=tmp_path, status=lambda _: {"problem": "", "path": None})
    assert nothing_recorded.probe({}, 1.0) == ""


class Ward:
    """An output that is a route: goes away, hangs, and comes back as it is told."""

    name = "ward-bed1"
    bed = "bed1"
    waiting = 0

    def __init__(self) -> None:
        self.said = self.denied = ""
        self.hanging = threading.Event()
        self.hanging.set()
        self.reports: list[Mapping[str, Any]] = []

    def open(self) -> None:
        pass

    def publish(self, bed: str, events: Sequence[Event]) -> None:
        pass

    def close(self) -> None:
        pass

    def problem(self) -> str:
        return self.said

    def probe(self, report: Mapping[str, Any], timeout_s: float) -> str:  # noqa: ARG002
        self.reports.append(report)
        self.hanging.wait()
        return self.denied


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    # The routes that are not meant to fail have two seconds to begin, and three for an answer on a busy machine.
    for name, value in {"START_S": 2.0, "TIMEOUT_S": 3.0, "GRACE_S": 0.5, "RETRY_S": 0.1, "LOST_AFTER_S": 0.3}.items():
        monkeypatch.setattr(selfcheck, name, value)
    monkeypatch.setattr(selfcheck, "_LOOK_S", 0.05)


@pytest.mark.usefixtures("quick")
def test_lost_denied_and_hanging_routes_become_alarms_that_end_with_their_cause(tmp_path: Path) -> None:
    ward, seen = Ward(), Collected()
    assert isinstance(ward, Route)
    outputs: list[Output] = [ward]
    settings = settings_for(tmp_path, write_tiny_bundle(tmp_path), selfcheck_s=1.0)
    engine = Engine(settings=settings, sources={}, outputs=outputs, on_events=seen)

    def alarms(condition: str) -> list[tuple[Presence, tuple[str, ...]]]:
        events = [event for event in seen.of(AlarmEvent) if isinstance(event, AlarmEvent)]
        return [(event.presence, event.causes) for event in events if event.condition == condition]

    engine.start()
    try:
        wait_until(lambda: engine.load().checks >= 2 and not any(engine.load().unproved.values()))
        assert set(engine.request("status", {})["selfcheck"]) == {"ward-bed1", "clock", "link-bed1", "session-bed1"}
        ward.said = "no broker"
        wait_until(lambda: alarms(BROKER_LOST) == [(Presence.ON, ("ward-bed1",))])
        ward.said, ward.denied = "", "denied"
        wait_until(lambda: alarms(SELF_CHECK_MISSED) == [(Presence.ON, ("ward-bed1",))])
        ward.denied = ""
        wait_until(lambda: len(alarms(SELF_CHECK_MISSED)) == 2 and len(alarms(BROKER_LOST)) == 2)
        ward.hanging.clear()  # the pipeline, which answers to `status`, does not wait for it
        wait_until(lambda: "no answer" in engine.request("status", {})["selfcheck"]["ward-bed1"]["problem"])
        wait_until(lambda: len(alarms(SELF_CHECK_MISSED)) == 3)
    finally:
        ward.hanging.set()
        assert engine.stop() == 0
    assert [presence for presence, _ in alarms(BROKER_LOST)] == [Presence.ON, Presence.OFF]
    numbers = [report["n"] for report in ward.reports]
    assert numbers == list(range(1, len(numbers) + 1))
    assert any(report["missed"] == ["ward-bed1"] for report in ward.reports)
    wait_until(lambda: engine.clean)


def test_a_probe_with_a_defect_is_a_route_that_is_not_proved() -> None:
    def probe(_report: Mapping[str, Any], _timeout_s: float) -> str:
        raise ZeroDivisionError("defect")

    check = SelfCheck([Check(name="x", bed="", probe=probe)], period_s=60.0, clock=SystemClock())
    check.start()
    wait_until(lambda: check.state()["x"]["checks"] > 0)
    assert check.stop(20.0)
    assert check._findings._found["x"].problem == "ZeroDivisionError: defect"
