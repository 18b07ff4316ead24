"""The engine: order, failure of each part alone, sessions that verify, ordered ends."""

from __future__ import annotations

import dataclasses
import sqlite3
import threading
import time
import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import ClassVar

import numpy as np
import pytest

import monitor.engine.engine
from monitor.alarm import MODEL_FAULT
from monitor.clock import ManualClock, SystemClock
from monitor.config import BedSettings, EngineSettings, MetricsSettings, Settings
from monitor.engine.beds import CRASH_LIMIT, Bed, BedCrashError, BedPipeline
from monitor.engine.engine import EXIT_CRASHED, Engine
from monitor.engine.journal import SessionStart
from monitor.engine.recorder import Recorder, Writer
from monitor.engine.resume import ResumeNote, read_note, remove_note, write_note
from monitor.engine.watchdog import Heartbeat, Watchdog
from monitor.engine.wiring import Models, load_models
from monitor.errors import BusyError, EngineError
from monitor.locks import holder
from monitor.outputs.base import OutputThread
from monitor.outputs.metrics import MetricsOutput
from monitor.scoring.session import OnnxRunner
from monitor.sessions.reader import SessionReader
from monitor.sessions.rows import Input, RecordingGap, StreamOpened, Tick
from monitor.sessions.store import SessionWriter, list_sessions
from monitor.sessions.verify import verify
from monitor.sources.base import Source, SourceReading
from monitor.types import AlarmAction, AlarmEvent, Chunk, Command, Event, Marker, Presence, Score, StreamEvent
from tests.helpers.engine_process import patient_source, settings_for
from tests.helpers.feeding import stream
from tests.helpers.scripted import Collected, HangingSource, ScriptedSource, remembering, wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

BASELINE = {"EDA": (2.0, 0.5, 1.5), "ECG": (0.0, 0.1, 1.2)}


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles"))


@pytest.fixture
def running() -> object:
    """Starts engines and ends them, whatever the test does."""
    started: list[Engine] = []

    def start(engine: Engine) -> Engine:
        engine.start()
        started.append(engine)
        return engine

    yield start
    for engine in started:
        engine.stop()


def eda_chunks(key: str, count: int, n: int = 4) -> list[Chunk]:
    """Chunks of a stream at 4 Hz that lies on the present clock."""
    now = np.floor(time.monotonic())
    return [
        Chunk(
            stream=key,
            samples=np.full(n, 2.0 + 0.01 * i, dtype=np.float32),
            stamps=now + (i * n + np.arange(n)) * 0.25,
            arrival=now + (i + 1) * n * 0.25,
        )
        for i in range(count)
    ]


def one_by_one(key: str, count: int) -> list[SourceReading]:
    info = stream("EDA", 4.0, key=key, origin=None)
    return [SourceReading(opened=[info]), *(SourceReading(chunks=[piece]) for piece in eda_chunks(key, count))]


def same(a: Input, b: Input) -> bool:
    if isinstance(a, Chunk) and isinstance(b, Chunk):
        return (a.stream, a.arrival, a.lost, a.samples.tobytes(), a.stamps.tobytes()) == (
            b.stream, b.arrival, b.lost, b.samples.tobytes(), b.stamps.tobytes()
        )  # fmt: skip
    return a == b


# -- the log ----------------------------------------------------------------------------------------------------------


def test_the_record_is_what_the_pipeline_was_given_in_that_order(
    tmp_path: Path, bundle: Path, running: Callable[[Engine], Engine]
) -> None:
    settings = settings_for(tmp_path, bundle)
    models, made = remembering(load_models(settings))
    sources = [ScriptedSource("a", one_by_one("a", 20)), ScriptedSource("b", one_by_one("b", 20))]
    engine = running(Engine(settings=settings, sources={"bed1": sources}, models=models))
    engine.request("marker", {"kind": "stimulus", "text": "first"})
    wait_until(lambda: sum(isinstance(call, Chunk) for call in made[0].calls) == 40)
    engine.request("nrs", {"value": 4.0})
    assert engine.stop() == 0
    (path,) = list_sessions(tmp_path)
    with SessionReader(path) as reader:
        stored = [entry.item for entry in reader.entries() if isinstance(entry.item, Input)]
        assert reader.closed_utc is not None
        markers = list(reader.events(Marker))
    assert len(stored) == len(made[0].calls)
    assert all(same(a, b) for a, b in zip(stored, made[0].calls, strict=True))
    assert [(marker.kind, marker.text, marker.value) for marker in markers] == [
        ("stimulus", "first", None),
        ("nrs", "", 4.0),
    ]


def test_ticks_lie_on_the_grid_and_never_overtake_what_waits(tmp_path: Path, bundle: Path) -> None:
    settings = settings_for(tmp_path, bundle, record=False)
    models, made = remembering(load_models(settings))
    clock = ManualClock(100.1)
    source = ScriptedSource("a", [])
    engine = Engine(settings=settings, sources={"bed1": [source]}, models=models, clock=clock)
    engine._beds["bed1"].start()
    put = engine._intake
    put.put("bed1", stream("EDA", 4.0, key="a", origin=None))
    for i, piece in enumerate(eda_chunks("a", 5)):
        clock.set(101.0 + i)
        put.put_chunk("s", "bed1", piece)
    clock.set(200.0)  # the pipeline gets to them very late
    put.close()
    engine._pipeline.run()
    kinds = [call.now if isinstance(call, Tick) else type(call).__name__ for call in made[0].calls]
    expected: list[object] = [100.0, "StreamOpened"]
    for i in range(5):
        expected += [101.0 + i, "Chunk"]
    assert kinds == expected


def test_a_live_session_verifies_bit_for_bit(tmp_path: Path, bundle: Path, running: Callable[[Engine], Engine]) -> None:
    seen = Collected()
    settings = settings_for(tmp_path, bundle)
    engine = running(Engine(settings=settings, sources={"bed1": [patient_source()]}, on_events=seen))
    wait_until(lambda: len(seen.of(Score)) >= 3)
    assert engine.stop() == 0
    (path,) = list_sessions(tmp_path)
    result = verify(path, runner_factory=OnnxRunner)
    assert result.difference_count == 0, result.differences
    wait_until(lambda: result.compared["Score"] == len(seen.of(Score)))
    wait_until(lambda: engine.clean)


# -- each part fails alone --------------------------------------------------------------------------------------------


def test_a_source_that_fails_leaves_the_others_alone(
    tmp_path: Path, bundle: Path, running: Callable[[Engine], Engine]
) -> None:
    seen = Collected()
    settings = settings_for(tmp_path, bundle, record=False)
    flaky = ScriptedSource("flaky", [RuntimeError("unplugged"), *one_by_one("b", 3)])
    steady = ScriptedSource("steady", one_by_one("a", 10))
    models, made = remembering(load_models(settings))
    engine = running(Engine(settings=settings, sources={"bed1": [steady, flaky]}, models=models, on_events=seen))
    wait_until(lambda: sum(isinstance(call, Chunk) for call in made[0].calls) == 13)
    assert engine.request("status", {})["source_restarts"] == {"bed1/0-steady": 0, "bed1/1-flaky": 1}
    wait_until(lambda: any("unplugged" in event.detail for event in seen.of(StreamEvent)))  # type: ignore[attr-defined]


def full_disk(writer: SessionWriter) -> SessionWriter:
    """Let the database have no page more than it has."""
    connection = writer._connection
    assert isinstance(connection, sqlite3.Connection)
    pages = connection.execute("PRAGMA page_count").fetchone()[0]
    connection.execute(f"PRAGMA max_page_count = {pages}")
    return writer


def use_writers(monkeypatch: pytest.MonkeyPatch, change: Callable[[Writer], Writer]) -> None:
    real = monitor.engine.engine.session_writers
    monkeypatch.setattr(
        monitor.engine.engine, "session_writers", lambda **given: lambda start: change(real(**given)(start))
    )


def test_with_a_full_disk_scoring_goes_on_and_the_loss_is_shown(
    tmp_path: Path, bundle: Path, running: Callable[[Engine], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_writers(monkeypatch, full_disk)  # type: ignore[arg-type]
    seen = Collected()
    engine = running(
        Engine(settings=settings_for(tmp_path, bundle), sources={"bed1": [patient_source()]}, on_events=seen)
    )
    wait_until(lambda: engine.request("status", {})["recording"]["lost_records"] > 0)
    wait_until(lambda: "full" in engine.request("status", {})["recording"]["problem"])
    count = len(seen.of(Score))
    wait_until(lambda: len(seen.of(Score)) > count + 1)
    wait_until(lambda: any(event.condition == "store_full" for event in seen.of(AlarmEvent)))  # type: ignore[attr-defined]
    assert engine.stop() == 0


class DeadDisk:
    """A store whose every write fails in a way that nobody foresaw."""

    def __init__(self, writer: Writer) -> None:
        self.path = writer.path
        self.lost_records = self.lost_samples = 0
        self.problem = ""
        self.close = writer.close

    def __getattr__(self, name: str) -> Callable[..., None]:
        def fail(*_: object, **__: object) -> None:
            raise OSError("the disk has gone")

        return fail


def test_with_a_dead_store_scoring_goes_on(
    tmp_path: Path, bundle: Path, running: Callable[[Engine], Engine], monkeypatch: pytest.MonkeyPatch
) -> None:
    use_writers(monkeypatch, DeadDisk)
    seen = Collected()
    engine = running(
        Engine(settings=settings_for(tmp_path, bundle), sources={"bed1": [patient_source()]}, on_events=seen)
    )
    wait_until(lambda: len(seen.of(Score)) >= 2)
    wait_until(lambda: "the disk has gone" in engine.request("status", {})["recording"]["problem"])
    assert engine.stop() == 0


def test_a_slow_disk_pauses_the_record_and_the_gap_is_written(tmp_path: Path) -> None:
    gate, entered = threading.Event(), threading.Event()
    writes: list[object] = []

    class SlowWriter:
        path, lost_records, lost_samples, problem = tmp_path / "x", 0, 0, ""

        def tick(self, now: float) -> None:
            entered.set()
            gate.wait()
            writes.append(now)

        def events(self, events: Sequence[Event], *, external: bool = False) -> None:
            pass

        def gap(self, **lost: object) -> None:
            writes.append(RecordingGap(**lost))  # type: ignore[arg-type]

        def close(self) -> None:
            writes.append("closed")

    recorder = Recorder(run=tmp_path, capacity=8, open_writer=lambda _: SlowWriter())  # type: ignore[arg-type, return-value]
    recorder.start()
    recorder.begin(SessionStart(bed=BedSettings(), session=uuid.uuid4(), at=0.0, utc=0.0))
    recorder.log("bed1", Tick(now=0.0), [])
    assert entered.wait(30.0)
    for i in range(1, 31):
        recorder.log("bed1", Tick(now=float(i)), [])
    assert "slow" in recorder.status("bed1")["problem"]
    assert recorder.status("bed1")["lost_records"] == 22
    gate.set()
    wait_until(lambda: len(writes) == 9)
    recorder.log("bed1", Tick(now=99.0), [])
    recorder.end("bed1")
    assert recorder.stop(30.0)
    gap = RecordingGap(start=9.0, end=30.0, records=22, samples=0, reason="the disk was too slow")
    assert writes == [*(float(i) for i in range(9)), gap, 99.0, "closed"]


def test_an_output_that_fails_is_opened_again_and_a_slow_one_loses_its_oldest() -> None:
    class Flaky:
        name = "flaky"
        opened = 0
        got: ClassVar[list[Sequence[Event]]] = []

        def open(self) -> None:
            self.opened += 1

        def publish(self, bed: str, events: Sequence[Event]) -> None:  # noqa: ARG002
            if self.opened == 1:
                raise ConnectionError("gone")
            self.got.append(events)

        def close(self) -> None:
            pass

    output = Flaky()
    thread = OutputThread(output, capacity=3)
    lists: list[list[Event]] = [[Marker(bed="b", t=i, kind="note", text="", value=None, actor="")] for i in range(6)]
    for item in lists:
        thread.put("b", item)
    assert thread.dropped == 3
    thread.start()
    wait_until(lambda: len(output.got) == 2)  # the first of the three was lost with the failure
    assert thread.stop(20.0)
    assert (output.opened, thread.failures, output.got) == (2, 1, lists[4:])


def test_stop_does_not_wait_for_a_source_that_hangs(tmp_path: Path, bundle: Path) -> None:
    hanging = HangingSource()
    engine = Engine(settings=settings_for(tmp_path, bundle), sources={"bed1": [hanging]})
    engine.start()
    assert engine.stop() == 0
    assert not engine.clean
    (path,) = list_sessions(tmp_path)
    with SessionReader(path) as reader:
        assert reader.closed_utc is not None
    hanging.release.set()
    wait_until(lambda: engine.clean)


def test_the_watchdog_speaks_up_once_and_only_when_there_is_no_heartbeat() -> None:
    class Told(Heartbeat):
        """As old as the test says: however slow this machine is, no beat comes late."""

        age, looks = 0.5, 0

        @property
        def age_s(self) -> float:
            self.looks += 1
            return self.age

    heartbeat, stuck = Told(), threading.Semaphore(0)
    watchdog = Watchdog(heartbeat=heartbeat, limit_s=0.6, on_stuck=stuck.release)
    watchdog.start()
    wait_until(lambda: heartbeat.looks >= 5)
    assert not stuck.acquire(blocking=False)
    heartbeat.age = 0.7
    assert stuck.acquire(timeout=20.0)
    assert not stuck.acquire(timeout=0.5)
    watchdog.stop()


def test_a_beat_makes_a_heartbeat_young(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [5.0]
    monkeypatch.setattr("monitor.engine.watchdog.time", SimpleNamespace(monotonic=lambda: now[0]))
    heartbeat = Heartbeat()
    now[0] = 8.0
    assert heartbeat.age_s == 3.0
    heartbeat.beat()
    assert heartbeat.age_s == 0.0


def test_an_engine_ends_when_all_its_sources_have(tmp_path: Path, bundle: Path) -> None:
    source = ScriptedSource("short", one_by_one("a", 3), endless=False)
    engine = Engine(settings=settings_for(tmp_path, bundle), sources={"bed1": [source]})
    assert engine.run(seconds=30.0) == 0
    (path,) = list_sessions(tmp_path)
    with SessionReader(path) as reader:
        assert sum(isinstance(entry.item, Chunk) for entry in reader.entries()) == 3


# -- operators --------------------------------------------------------------------------------------------------------


def test_a_second_engine_on_a_bed_is_refused(tmp_path: Path, bundle: Path, running: Callable[[Engine], Engine]) -> None:
    settings = settings_for(tmp_path, bundle)
    first = running(Engine(settings=settings, sources={}))
    second = Engine(settings=settings, sources={})
    with pytest.raises(BusyError, match=f"process {holder(state=tmp_path, bed='bed1')}"):
        second.start()
    first.stop()
    assert holder(state=tmp_path, bed="bed1") is None
    running(Engine(settings=settings, sources={}))


@pytest.mark.parametrize(
    ("action", "args", "said"),
    [
        ("explode", {}, "no action"),
        ("nrs", {"value": 11.0}, "value"),
        ("nrs", {}, "value"),
        ("marker", {"kind": "party"}, "kind"),
        ("marker", {"kind": "note", "colour": "red"}, "colour"),
        ("new_session", {"subject": "../../etc"}, "subject"),
        ("restore_calibration", {"baseline": {}}, "no action"),
    ],
)
def test_what_makes_no_sense_is_refused_and_changes_nothing(
    tmp_path: Path, bundle: Path, running: Callable[[Engine], Engine], action: str, args: dict[str, object], said: str
) -> None:
    settings = settings_for(tmp_path, bundle, record=False)
    models, made = remembering(load_models(settings))
    engine = running(Engine(settings=settings, sources={}, models=models))
    with pytest.raises(EngineError, match=said):
        engine.request(action, args)
    with pytest.raises(EngineError, match="no bed 'bed9'"):
        engine.request("status", {}, bed="bed9")
    engine.stop()
    assert not any(isinstance(call, Command) for call in made[0].calls)


def test_a_new_session_takes_the_streams_along_and_not_the_calibration(
    tmp_path: Path, bundle: Path, running: Callable[[Engine], Engine]
) -> None:
    settings = settings_for(tmp_path, bundle)
    models, made = remembering(load_models(settings))
    engine = running(Engine(settings=settings, sources={"bed1": [patient_source()]}, models=models))
    wait_until(lambda: any(isinstance(call, Chunk) for call in made[0].calls))
    before = engine.request("status", {})["session"]
    answer = engine.request("new_session", {"subject": "P-002"}, actor="nurse")
    assert (answer["ended"], answer["subject"]) == (before, "P-002")
    wait_until(lambda: any(isinstance(call, Chunk) for call in made[1].calls))
    assert engine.stop() == 0
    opened = [call.info.key for call in made[1].calls if isinstance(call, StreamOpened)]
    assert sorted(opened) == ["synthetic:ECG", "synthetic:EDA"]
    assert not any(isinstance(call, Command) for call in made[1].calls)
    subjects = []
    for path in list_sessions(tmp_path):
        with SessionReader(path) as reader:
            subjects.append((reader.meta.subject, reader.meta.continues))
        assert verify(path, runner_factory=OnnxRunner).difference_count == 0
    assert sorted(subjects) == [("P-001", None), ("P-002", None)]


# -- failures and continuation ----------------------------------------------------------------------------------------


def test_a_failed_session_is_continued_with_its_calibration(
    tmp_path: Path, bundle: Path, running: Callable[[Engine], Engine]
) -> None:
    run, session = tmp_path / "run", uuid.uuid4()
    run.mkdir()
    write_note(run, "bed1", ResumeNote(session=session, subject="P-001", baseline=BASELINE))
    settings = settings_for(tmp_path, bundle)
    models, made = remembering(load_models(settings))
    engine = running(Engine(settings=settings, sources={}, models=models))
    assert engine.request("status", {})["continues"] == str(session)
    (restored,) = [call for call in made[0].calls if isinstance(call, Command)]
    assert restored.action == "restore_calibration"
    assert {key: tuple(values) for key, values in restored.args["baseline"].items()} == BASELINE
    engine.stop()
    assert read_note(run, "bed1", "P-001") is None  # it ended in order
    (path,) = list_sessions(tmp_path)
    with SessionReader(path) as reader:
        assert reader.meta.continues == session


def test_no_session_is_continued_for_another_subject_or_after_long(tmp_path: Path) -> None:
    import os

    note = ResumeNote(session=uuid.uuid4(), subject="P-001", baseline=BASELINE)
    write_note(tmp_path, "bed1", note)
    assert read_note(tmp_path, "bed1", "P-001") == note
    assert read_note(tmp_path, "bed1", "P-002") is None
    assert read_note(tmp_path, "bed2", "P-001") is None
    path = tmp_path / "bed1.resume.json"
    os.utime(path, (time.time() - 301, time.time() - 301))
    assert read_note(tmp_path, "bed1", "P-001") is None
    path.write_text("{")
    assert read_note(tmp_path, "bed1", "P-001") is None
    remove_note(tmp_path, "bed1")
    remove_note(tmp_path, "bed1")


class ListJournal:
    def __init__(self) -> None:
        self.sessions: list[tuple[SessionStart, list[Input | None]]] = []
        self.external: list[Event] = []
        self.ended = 0

    def begin(self, start: SessionStart) -> None:
        self.sessions.append((start, []))

    def log(self, bed: str, step: Input | None, events: Sequence[Event]) -> None:  # noqa: ARG002
        if step is None:
            self.external += events
        else:
            self.sessions[-1][1].append(step)

    def end(self, bed: str) -> None:  # noqa: ARG002
        self.ended += 1


class FailingPipeline:
    """A real pipeline that fails when a sample is negative."""

    def __init__(self, inner: BedPipeline) -> None:
        self.open_stream, self.command, self.tick = inner.open_stream, inner.command, inner.tick
        self._inner = inner

    def feed(self, chunk: Chunk) -> list[Event]:
        if len(chunk) and chunk.samples[0] < 0:
            raise ZeroDivisionError("defect on purpose")
        return self._inner.feed(chunk)


def bed_with_fault(bundle: Path, clock: ManualClock) -> tuple[Bed, ListJournal, list[Event]]:
    bed_settings = BedSettings(bundles=(str(bundle),), calibration_s=10.0)
    models = load_models(Settings(bed=(bed_settings,)))
    journal, published = ListJournal(), []

    def publish(_: str, events: Sequence[Event]) -> None:
        published.extend(events)

    bed = Bed(
        settings=bed_settings,
        build=lambda settings, session: FailingPipeline(models.build(settings, session)),
        journal=journal,
        publish=publish,
        clock=clock,
    )
    return bed, journal, published


def test_a_pipeline_that_fails_is_built_anew_and_the_bed_says_so_until_it_scores(bundle: Path) -> None:
    clock = ManualClock(0.0)
    bed, journal, published = bed_with_fault(bundle, clock)
    bed.start()
    patient = patient_chunks(40)
    for modality, rate in (("ECG", 250.0), ("EDA", 16.0)):
        bed.open_stream(stream(modality, rate))
    bad = dataclasses.replace(patient[0], samples=np.full(len(patient[0]), -1, dtype=np.float32))
    for piece in patient:
        clock.set(piece.arrival)
        bed.feed(piece)
        if piece.arrival == 20.0 and piece.stream == "EDA":
            bed.feed(bad)
    (first, steps), (second, further) = journal.sessions
    assert second.continues == first.session
    assert journal.ended == 1
    assert not any(isinstance(step, Chunk) and step.samples[0] == -1 for step in steps)  # so it can be verified
    assert [step.info.key for step in further[:2] if isinstance(step, StreamOpened)] == ["ECG", "EDA"]
    assert isinstance(further[2], Command)
    assert further[2].action == "restore_calibration"
    assert further[2].args["baseline"].keys()
    faults = [event for event in journal.external if isinstance(event, AlarmEvent)]
    assert [fault.presence for fault in faults] == [Presence.ON, Presence.OFF]
    assert {(fault.condition, fault.event_id) for fault in faults} == {(MODEL_FAULT, faults[0].event_id)}
    assert faults[0].onset == 20.0
    assert faults[0].causes == ("ZeroDivisionError: defect on purpose",)
    assert faults[1].t > 20.0
    after = published.index(faults[1])
    scores = [event for event in published[published.index(faults[0]) : after] if isinstance(event, Score)]
    assert [score.probabilities is not None for score in scores] == [False] * (len(scores) - 1) + [True]


def patient_chunks(seconds: int) -> list[Chunk]:
    """ECG at 250 Hz and EDA at 16 Hz in chunks of a second, positive throughout, from a seeded noise."""
    rng = np.random.default_rng(3)
    result = []
    for second in range(seconds):
        for modality, rate in (("ECG", 250), ("EDA", 16)):
            t = second + np.arange(rate) / rate
            samples = 3 + 0.3 * np.sin(7 * t) + 0.02 * rng.standard_normal(rate)
            if modality == "ECG":
                samples += np.exp(-(((t % 0.8) - 0.4) ** 2) / 2e-4)
            stamps = np.round(t * 2**20) / 2**20
            chunk = Chunk(stream=modality, samples=samples.astype(np.float32), stamps=stamps, arrival=second + 1.0)
            result.append(chunk)
    return result


def test_limits_and_reports_outlive_a_crash_and_limits_end_with_the_subject(bundle: Path) -> None:
    clock = ManualClock(0.0)
    bed, journal, published = bed_with_fault(bundle, clock)
    bed.report("broker_lost", present=True)  # before there is a session
    bed.start()
    bed.open_stream(stream("EDA", 4.0))
    bed.execute(Command(action="limits", at=0.0, actor="nurse", args={"severe_on": 65.0}))
    with pytest.raises(EngineError, match="severe_off"):
        bed.execute(Command(action="limits", at=0.0, actor="nurse", args={"severe_on": 40.0}))
    bed.feed(Chunk(stream="EDA", samples=np.full(1, -1, dtype=np.float32), stamps=np.zeros(1), arrival=0.0))
    bed.report("broker_lost", present=True)  # nothing new
    bed.execute(Command(action="new_session", at=0.0, actor="nurse", args={"subject": "P-2"}))
    told = [[(s.action, s.args) for s in steps if isinstance(s, Command)] for _, steps in journal.sessions]
    lost = ("technical", {"name": "broker_lost", "present": True, "causes": ["broker_lost"]})
    limits = ("limits", {"severe_on": 65.0})
    (restored, (left,)) = (told[1][0][0], told[1][0][1]["alarms"])
    assert (restored, left["condition"], left["presence"]) == ("restore_alarms", "broker_lost", "on")
    assert [told[0], told[1][1:], told[2]] == [[lost, limits], [limits, lost], [lost]]
    alarms = [event for event in published if isinstance(event, AlarmEvent) and event.condition == "broker_lost"]
    # Raised, taken over, ended with the subject, and raised anew for the next one.
    assert [event.presence.value for event in alarms] == ["on", "on", "off", "on"]
    assert len({event.event_id for event in alarms[:3]}) == 1
    assert (alarms[1].before, alarms[3].event_id != alarms[0].event_id) == (Presence.ON, True)
    changes = [event for event in published if isinstance(event, AlarmAction)]
    assert [(event.actor, event.before, event.after) for event in changes] == [
        ("nurse", {"severe_on": 70.0}, {"severe_on": 65.0}),
        ("engine", {"severe_on": 70.0}, {"severe_on": 65.0}),
    ]


def test_a_pipeline_that_is_built_anew_makes_its_own_sound_again_and_says_so(bundle: Path) -> None:
    bed, _, published = bed_with_fault(bundle, ManualClock(0.0))
    bed.start()
    bed.open_stream(stream("EDA", 4.0))
    bed.execute(Command(action="delegate", at=0.0, actor="desk", args={"seconds": 10.0}))
    for _ in range(2):
        bed.feed(Chunk(stream="EDA", samples=np.full(1, -1, dtype=np.float32), stamps=np.zeros(1), arrival=0.0))
    said = [(event.actor, event.after["location"]) for event in published if isinstance(event, AlarmAction)]
    assert said == [("desk", "remote"), ("", "local")]


def test_a_pipeline_that_keeps_failing_is_given_up(bundle: Path) -> None:
    clock = ManualClock(0.0)
    bed, journal, _ = bed_with_fault(bundle, clock)
    bed.start()
    bed.open_stream(stream("EDA", 4.0))
    bad = Chunk(stream="EDA", samples=np.full(1, -1, dtype=np.float32), stamps=np.zeros(1), arrival=0.0)
    for i in range(CRASH_LIMIT):
        clock.set(i)
        bed.feed(bad)
    with pytest.raises(BedCrashError):
        bed.feed(bad)
    assert len(journal.sessions) == CRASH_LIMIT + 1
    assert journal.ended == CRASH_LIMIT  # the last one is left open, for the next process to continue


def test_one_bed_that_fails_now_and_then_does_not_disturb_another(
    tmp_path: Path, bundle: Path, running: Callable[[Engine], Engine]
) -> None:
    beds = tuple(BedSettings(name=name, bundles=(str(bundle),)) for name in ("bed1", "bed2"))
    settings = Settings(engine=EngineSettings(state_dir=str(tmp_path), record=False), bed=beds)
    inner, made = remembering(load_models(settings))

    def build(bed: BedSettings, session: uuid.UUID) -> BedPipeline:
        pipeline = inner.build(bed, session)
        return FailingPipeline(pipeline) if bed.name == "bed1" else pipeline

    script = one_by_one("a", 3)
    bad = dataclasses.replace(script[2].chunks[0], samples=np.full(4, -1, dtype=np.float32))
    script.insert(2, SourceReading(chunks=[bad]))
    other = [
        SourceReading(opened=[dataclasses.replace(info, bed="bed2") for info in step.opened], chunks=step.chunks)
        for step in one_by_one("a", 10)
    ]
    sources: dict[str, list[Source]] = {
        "bed1": [ScriptedSource("a", script)],
        "bed2": [ScriptedSource("a", other)],
    }
    models = Models(bundles=inner.bundles, build=build)
    engine = running(Engine(settings=settings, sources=sources, models=models))
    wait_until(lambda: engine.request("status", {}, bed="bed1")["pipelines_rebuilt"] == 1)
    assert [alarm["condition"] for alarm in engine.request("status", {}, bed="bed1")["alarms"]] == [MODEL_FAULT]
    wait_until(lambda: sum(isinstance(call, Chunk) for call in made[1].calls) == 10)
    status = engine.request("status", {}, bed="bed2")
    assert (status["pipelines_rebuilt"], status["alarms"]) == (0, [])
    metrics = MetricsOutput(beds=beds, settings=MetricsSettings(), clock=SystemClock(), version="1")
    metrics.watch(engine.load)
    samples = [sample for family in metrics.collect() for sample in family.samples]
    rebuilt = {s.labels["bed"]: s.value for s in samples if s.name == "pain_monitor_pipelines_rebuilt_total"}
    assert rebuilt == {"bed1": 1.0, "bed2": 0.0}


def test_an_engine_whose_pipeline_keeps_failing_ends_with_a_code_of_its_own(tmp_path: Path, bundle: Path) -> None:
    settings = settings_for(tmp_path, bundle)
    models = load_models(settings)
    faulty = Models(bundles=models.bundles, build=lambda bed, session: FailingPipeline(models.build(bed, session)))
    script = one_by_one("a", 1)
    bad = dataclasses.replace(script[1].chunks[0], samples=np.full(4, -1, dtype=np.float32))
    source = ScriptedSource("a", [script[0], *[SourceReading(chunks=[bad])] * (CRASH_LIMIT + 1)])
    engine = Engine(settings=settings, sources={"bed1": [source]}, models=faulty, clock=SystemClock())
    assert engine.run(seconds=60.0) == EXIT_CRASHED
    assert read_note(tmp_path / "run", "bed1", "P-001") is not None  # the next process continues it
