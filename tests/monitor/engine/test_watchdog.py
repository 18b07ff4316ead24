"""A pipeline that hangs: an alarm on every route, and then the end, whatever hangs besides."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from monitor.alarm import MODEL_FAULT, PAIN_SEVERE
from monitor.config import BedSettings
from monitor.engine import engine as engine_module
from monitor.engine import watchdog
from monitor.engine.beds import BedPipeline
from monitor.engine.engine import Engine
from monitor.engine.faults import ended, failure, restated
from monitor.engine.resume import ResumeNote, read_note, write_note
from monitor.engine.watchdog import last_words
from monitor.engine.wiring import Models, load_models
from monitor.scoring.session import OnnxRunner
from monitor.sessions.reader import SessionReader
from monitor.sessions.store import list_sessions
from monitor.sessions.verify import verify
from monitor.types import Activation, AlarmAction, AlarmEvent, AlarmKind, Event, Presence, Priority
from tests.helpers.engine_process import patient_source, settings_for
from tests.helpers.scripted import Collected, wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

BLOCKED = """
import re, threading
from monitor.engine.watchdog import Heartbeat, Watchdog
Watchdog(heartbeat=Heartbeat(), limit_s=1.0, on_stuck=lambda: None, last_resort=True).start()
re.match("(a+)+$", 64 * "a" + "b")  # holds the interpreter for longer than anybody lives
"""


def test_an_interpreter_that_is_held_is_ended_from_outside(repository: Path) -> None:
    done = subprocess.run([sys.executable, "-c", BLOCKED], cwd=repository, capture_output=True, timeout=60, check=False)
    assert done.returncode == 1
    assert b"Timeout" in done.stderr


@pytest.mark.parametrize("fault", ["hangs", "fails", ""])
def test_the_end_comes_whatever_becomes_of_the_last_words(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watchdog, "LAST_WORDS_S", 0.2)
    release, ends = threading.Event(), []

    def say() -> None:
        if fault == "hangs":
            release.wait()
        if fault == "fails":
            raise OSError("no route")

    last_words(say, lambda: ends.append(time.monotonic()))
    release.set()
    assert len(ends) == 1


class StuckPipeline:
    """Hangs at a tick when it is told to."""

    hang = threading.Event()
    release = threading.Event()

    def __init__(self, inner: BedPipeline) -> None:
        self.open_stream, self.feed, self.command = inner.open_stream, inner.feed, inner.command
        self.inner = inner

    @property
    def window(self) -> None:
        return None

    def tick(self, now: float) -> list[Event]:
        if self.hang.is_set():
            self.release.wait()
        return self.inner.tick(now)


class Slow:
    """An output that takes a while for everything."""

    name = "slow"

    def __init__(self) -> None:
        self.got: list[Event] = []

    def open(self) -> None:
        pass

    def publish(self, bed: str, events: Sequence[Event]) -> None:  # noqa: ARG002
        time.sleep(0.1)
        self.got += events

    def close(self) -> None:
        pass


def test_a_pipeline_that_hangs_is_an_alarm_on_every_route_and_in_the_next_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ends: list[float] = []
    for module in (watchdog, engine_module):  # what is said is said to the end, on a busy machine too
        monkeypatch.setattr(module, "LAST_WORDS_S", 15.0)
    monkeypatch.setattr(engine_module, "last_words", lambda say: last_words(say, lambda: ends.append(1.0)))
    settings = settings_for(tmp_path, write_tiny_bundle(tmp_path), watchdog_s=2.0)
    models = load_models(settings)

    def build(bed: BedSettings, session: uuid.UUID) -> BedPipeline:
        return StuckPipeline(models.build(bed, session))

    seen, slow = Collected(), Slow()
    engine = Engine(
        settings=settings,
        sources={"bed1": [patient_source()]},
        on_events=seen,
        outputs=[slow],
        models=Models(bundles=models.bundles, build=build),
    )
    engine.start()
    wait_until(lambda: bool(seen.events))
    StuckPipeline.hang.set()
    wait_until(lambda: bool(ends), 30.0)
    alarms = [event for event in seen.events if isinstance(event, AlarmEvent) and event.condition == MODEL_FAULT]
    (alarm,) = alarms
    assert alarm in slow.got
    assert (alarm.presence, alarm.hard, "hangs" in alarm.text) == (Presence.ON, True, True)
    note = read_note(tmp_path / "run", "bed1", "P-001")
    assert note is not None
    assert note.fault == alarm
    (path,) = list_sessions(tmp_path)
    with SessionReader(path) as session:  # nothing is pending, though nothing comes any more
        assert [event.event_id for event in session.events(AlarmEvent)] == [alarm.event_id]
    (view,) = engine._broadcast._snapshots["bed1"].state(0.0, {}).alarms
    assert view.event_id == alarm.event_id
    StuckPipeline.hang.clear()
    StuckPipeline.release.set()
    engine._pipeline.failed = True  # the session stays open, as when the process is gone
    engine.stop()

    left = dataclasses.replace(
        alarm, condition=PAIN_SEVERE, kind=AlarmKind.PHYSIOLOGICAL, priority=Priority.MEDIUM, hard=False,
        presence=Presence.LATCHED, event_id=str(uuid.UUID(int=7)),
    )  # fmt: skip
    write_note(tmp_path / "run", "bed1", dataclasses.replace(note, alarms=(left,)))
    later = Collected()
    engine = Engine(settings=settings, sources={"bed1": [patient_source()]}, on_events=later, models=models)
    engine.start()
    faults = lambda: [e for e in later.events if isinstance(e, AlarmEvent) and e.condition == MODEL_FAULT]  # noqa: E731
    wait_until(lambda: len(faults()) == 2, 40.0)
    assert [item["event_id"] for item in engine.request("status", {})["alarms"]] == [left.event_id]
    engine.request("delegate", {"seconds": 1.0}, actor="desk")
    wait_until(lambda: len(later.of(AlarmAction)) == 2)
    engine.request("acknowledge", {"condition": PAIN_SEVERE}, actor="nurse")
    assert engine.stop() == 0
    actions = [(event.actor, event.after["location"]) for event in later.events if isinstance(event, AlarmAction)]
    assert actions == [("desk", "remote"), ("", "local")]
    (newest,) = set(list_sessions(tmp_path)) - {path}
    result = verify(newest, runner_factory=OnnxRunner)
    assert result.difference_count == 0, result.differences
    assert result.compared["AlarmEvent"] == 2  # taken over, and acknowledged
    assert [(event.event_id, event.before, event.presence) for event in faults()] == [
        (alarm.event_id, Presence.ON, Presence.ON),
        (alarm.event_id, Presence.ON, Presence.OFF),
    ]


def fault(onset: float = 100.0) -> AlarmEvent:
    return failure(
        bed="bed1", session=uuid.UUID(int=5), bundle="tiny", onset=onset, t=onset + 6.0, t_rel=6.0, text="It hangs",
        cause="no sign of life",
    )  # fmt: skip


def test_a_fault_has_one_id_from_its_beginning_to_its_end() -> None:
    first = fault()
    again, over = restated(first, 120.0, 0.0), ended(first, 130.0, 0.0, "A score again")
    assert first.event_id == fault().event_id == again.event_id == over.event_id != fault(101.0).event_id
    assert (again.before, again.presence) == (Presence.ON, Presence.ON)
    assert (over.before, over.presence, over.audio) == (Presence.ON, Presence.OFF, Activation.OFF)


def test_a_note_carries_alarms_exactly_and_onto_the_clock_of_a_machine_that_was_started_anew(tmp_path: Path) -> None:
    note = ResumeNote(
        session=uuid.UUID(int=5), subject="P-001", baseline={}, alarms=(fault(0.1),), fault=fault(), utc_offset=1000.0
    )
    write_note(tmp_path, "bed1", note)
    found = read_note(tmp_path, "bed1", "P-001")
    assert found is not None
    assert found == note
    assert abs(found.alive_utc - time.time()) < 60.0
    assert found.on_clock(1001.0) == note  # UTC was corrected, and the clock is the same
    moved = found.on_clock(1900.0)
    assert moved.fault is not None
    assert (moved.fault.onset, moved.alarms[0].t) == (fault().onset - 900.0, fault(0.1).t - 900.0)
    assert moved.fault.event_id == fault().event_id
