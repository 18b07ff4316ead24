"""The session database gives back, in its order and bit for bit, what was put in; faults of the disk are counted."""

from __future__ import annotations

import dataclasses
import math
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import threading
import typing
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import SessionError
from monitor.sessions.reader import SessionReader
from monitor.sessions.rows import (
    APPLICATION_ID,
    EVENT_TABLES,
    SCHEMA_VERSION,
    RecordingGap,
    StreamOpened,
    Tick,
    decode_samples,
    decode_stamps,
    encode_samples,
    encode_stamps,
)
from monitor.sessions.store import list_sessions, session_path, state_folder
from monitor.types import STAMP_TICK, AlarmAction, AlarmEvent, Chunk, Command, Event, Provenance, Score, snap
from tests.helpers.made_session import (
    made_chunk,
    made_info,
    made_meta,
    made_score,
    made_spec,
    made_writer,
    one_event_of_each_kind,
)

# -- bits -------------------------------------------------------------------------------------------------------------


@st.composite
def stamp_arrays(draw: st.DrawFn) -> tuple[np.ndarray, float]:
    """Stamps as devices make them: regular, jittered, bursts, jumps forth and back, and some never snapped."""
    n = draw(st.integers(0, 60))
    rate = draw(st.sampled_from([0.0, 1 / 3, 4.0, 15.5, 64.0, 255.3, 496.0, 1000.0]))
    start = draw(st.floats(-1e9, 1e9))
    stamps = start + np.arange(n) / (rate or 1.0)
    random = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shape = draw(st.sampled_from(["line", "drift", "jitter", "jump", "burst", "backwards", "foreign"]))
    if shape == "drift":
        stamps = start + np.arange(n) / (rate or 1.0) * 1.03
    if shape == "jitter":
        stamps = stamps + random.normal(0, draw(st.sampled_from([1e-6, 1e-3, 0.3])), n)
    if shape == "jump":
        stamps = stamps + np.where(np.arange(n) > n // 2, draw(st.floats(-3e5, 3e5)), 0.0)
    if shape == "burst":
        stamps = np.full(n, start)
    if shape == "backwards":
        stamps = stamps[::-1]
    stamps = snap(stamps)
    if shape == "foreign" and n:
        stamps[random.integers(n)] = draw(st.sampled_from([math.nan, math.inf, -math.inf, -0.0, 1e300, 0.1]))
    return stamps, rate


@given(made=stamp_arrays())
@settings(max_examples=200, deadline=None)
def test_stamps_come_back_bit_for_bit(made: tuple[np.ndarray, float]) -> None:
    stamps, rate = made
    back = decode_stamps(len(stamps), *encode_stamps(stamps, rate))
    assert back.tobytes() == stamps.tobytes()


@pytest.mark.parametrize("rate", [4.0, 15.5, 64.0, 255.3, 496.0, 1000.0])
def test_regular_stamps_take_no_residuals_at_the_nominal_rate_nor_at_another(rate: float) -> None:
    stamps = snap(12345.678 + np.arange(500) / rate)
    on_the_grid = stamps[0] + np.rint(np.arange(500) / rate / STAMP_TICK) * STAMP_TICK
    assert encode_stamps(on_the_grid, rate)[2] is None
    # Rounding each stamp to the tick moves a sample by one tick at most: a few bits a sample, not 8 bytes.
    for nominal in (rate, 1.04 * rate):
        residuals = encode_stamps(stamps, nominal)[2]
        assert residuals is None or len(residuals) < 500


@given(
    values=st.lists(st.floats(width=32, allow_nan=True, allow_infinity=True), max_size=48),
    channels=st.sampled_from([0, 1, 2, 3]),
    repeat=st.integers(1, 8),
)
@settings(max_examples=100, deadline=None)
def test_samples_come_back_bit_for_bit(values: list[float], channels: int, repeat: int) -> None:
    samples = np.array(values * repeat, dtype=np.float32)
    samples = samples[: len(samples) // channels * channels].reshape(-1, channels) if channels else samples
    back = decode_samples(*encode_samples(samples), len(samples), channels)
    assert back.shape == samples.shape
    assert back.tobytes() == samples.tobytes()


def test_samples_keep_the_payload_of_a_nan_and_are_never_stored_larger() -> None:
    rng = np.random.default_rng(5)
    samples = rng.integers(0, 2**32, 300, dtype=np.uint32).view(np.float32)
    packing, blob = encode_samples(samples)
    assert len(blob) <= samples.nbytes
    assert decode_samples(packing, blob, 300, 0).tobytes() == samples.tobytes()
    counts = np.round(np.sin(np.arange(300) / 9) * 500).astype(np.float32)
    assert len(encode_samples(counts)[1]) < counts.nbytes


# -- the log ----------------------------------------------------------------------------------------------------------


def same(a: object, b: object) -> bool:
    """Equal field by field, NaN equal to itself; signals bit by bit."""
    if isinstance(a, Chunk) and isinstance(b, Chunk):
        arrays = a.samples.tobytes() == b.samples.tobytes() and a.stamps.tobytes() == b.stamps.tobytes()
        rest = ("stream", "arrival", "lost", "clock_offset")
        return (
            arrays
            and a.samples.shape == b.samples.shape
            and all(repr(getattr(a, f)) == repr(getattr(b, f)) for f in rest)
        )
    return type(a) is type(b) and repr(a) == repr(b)


def test_every_kind_of_event_has_a_table() -> None:
    assert set(typing.get_args(Event)) == set(EVENT_TABLES)


def test_the_log_comes_back_in_its_order_and_equal(tmp_path: Path) -> None:
    info, other = made_info(), made_info("acc", modality=None, unit=None, channels=3, rails=(-2.0, 2.0), origin=0.125)
    command = Command(
        action="nrs", at=1.5, actor="nurse", args={"value": 6, "text": "", "nested": {"a": [1, 2.5, None]}}
    )
    samples = np.array([[1, np.nan, 3], [4, np.inf, -0.0]], dtype=np.float32)
    wide = Chunk(
        stream="acc", samples=samples, stamps=snap(np.array([0.5, 0.75])), arrival=1.0, lost=7, clock_offset=-0.5
    )
    events = one_event_of_each_kind()
    writer = made_writer(tmp_path / "a.session.db")
    put: list[object] = []
    writer.stream(info, 0.0)
    writer.stream(other, 0.25)
    put += [StreamOpened(info=info, at=0.0), StreamOpened(info=other, at=0.25)]
    zero = made_chunk(0.0, 1, stamps=np.array([-0.0]), arrival=-0.0, clock_offset=-0.0)
    for chunk in (made_chunk(0.0), wide, made_chunk(1.0, 0), zero):
        writer.chunk(chunk)
        put.append(chunk)
    writer.command(command)
    writer.tick(1.75)
    put += [command, Tick(now=1.75)]
    for event in events:
        writer.events([event])
        writer.tick(2.0)
        put += [event, Tick(now=2.0)]
    writer.events(events[:1], external=True)
    put.append(events[0])
    writer.close()

    with SessionReader(writer.path) as reader:
        entries = list(reader.entries())
        assert [entry.seq for entry in entries] == list(range(1, len(put) + 1))
        assert all(same(entry.item, item) for entry, item in zip(entries, put, strict=True))
        assert [entry.external for entry in entries] == [False] * (len(put) - 1) + [True]
        assert [entry.seq for entry in reader.entries(after=10)] == list(range(11, len(put) + 1))
        assert reader.meta == made_meta()
        assert reader.bundles()[0].spec == made_spec()
        assert reader.closed_utc is not None
        assert reader.origin() == 0.0
        streams = {stream.info.key: stream for stream in reader.streams()}
        assert streams[info.key].info == info
        assert (streams["acc"].samples, streams["acc"].lost) == (2, 7)
        for kind in EVENT_TABLES:
            found = [entry.item for entry in entries if type(entry.item) is kind]
            assert list(map(repr, reader.events(kind))) == list(map(repr, found))


def test_a_session_from_before_alarm_actions_and_signals_is_read(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db")
    events = one_event_of_each_kind()
    writer.events(events)
    writer.close()
    with sqlite3.connect(writer.path) as connection:
        connection.execute("DROP TABLE alarm_action")
        for column in ("before", "actor", "audio", "visual", "count", "reminder", "hard", '"limit"'):
            connection.execute(f"ALTER TABLE alarm DROP COLUMN {column}")
    connection.close()
    with SessionReader(writer.path) as reader:
        assert reader.last_seq() == len(events)
        assert [type(entry.item) for entry in reader.entries()] == [
            type(event) for event in events if not isinstance(event, AlarmAction)
        ]
        assert list(reader.events(AlarmAction)) == []
        assert list(reader.events(AlarmEvent)) == [event for event in events if isinstance(event, AlarmEvent)]


def test_scores_are_bit_exact(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    put = [
        made_score(k, probabilities=tuple(rng.random(3).tolist()), logits=tuple(rng.normal(size=3).tolist()))
        for k in range(50)
    ]
    writer = made_writer(tmp_path / "a.session.db")
    writer.events(put)
    writer.close()
    with SessionReader(writer.path) as reader:
        for a, b in zip(put, reader.scores(), strict=True):
            assert dataclasses.asdict(a) == dataclasses.asdict(b)


def test_a_signal_is_read_over_reconnects_and_by_span(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db", commit_s=0.0)
    chunks = [made_chunk(t, 8, rate=4.0) for t in (0.0, 2.0, 10.0)]
    writer.stream(made_info(), 0.0)
    writer.chunk(chunks[0])
    writer.stream(made_info("other"), 0.0)
    writer.chunk(made_chunk(0.0, 5, stream="other"))
    writer.chunk(chunks[1])
    writer.stream(made_info(name="hand EDA 2"), 9.0)
    writer.chunk(chunks[2])
    writer.close()
    with SessionReader(writer.path) as reader:
        stamps, samples = reader.signal("lsl:eda:0")
        assert stamps.tobytes() == np.concatenate([c.stamps for c in chunks]).tobytes()
        assert samples.tobytes() == np.concatenate([c.samples for c in chunks]).tobytes()
        stamps, samples = reader.signal("lsl:eda:0", start=1.0, end=10.5)
        assert (stamps >= 1.0).all()
        assert (stamps < 10.5).all()
        assert len(stamps) == len(samples) == 14
        first = reader.streams()[0]
        assert (first.opened, first.info.name, first.samples) == ((0.0, 9.0), "hand EDA 2", 24)
        connection = sqlite3.connect(writer.path)
        rows = connection.execute("SELECT first_index, n FROM chunk WHERE n = 8 ORDER BY seq").fetchall()
        connection.close()
        assert rows == [(0, 8), (8, 8), (16, 8)]


def test_a_chunk_of_a_stream_that_was_never_announced_is_a_defect(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db")
    with pytest.raises(ValueError, match="never announced"):
        writer.chunk(made_chunk())
    writer.close()
    writer.close()
    with pytest.raises(ValueError, match="closed"):
        writer.tick(0.0)


# -- the file ---------------------------------------------------------------------------------------------------------


def test_the_file_is_private_recognisable_and_never_overwritten(tmp_path: Path) -> None:
    path = session_path(state_dir=tmp_path, bed="bed1", subject="S/01", utc=0.0)
    assert path == tmp_path / "sessions" / "bed1" / "19700101T000000Z-S_01.session.db"
    writer = made_writer(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.with_name(path.name + "-wal").stat().st_mode) == 0o600
    content = path.read_bytes()
    with pytest.raises(SessionError, match="never overwritten"):
        made_writer(path)
    assert path.read_bytes() == content
    second = session_path(state_dir=tmp_path, bed="bed1", subject="S/01", utc=0.0)
    assert second != path
    writer.tick(0.0)
    writer.close()
    assert not path.with_name(path.name + "-wal").exists()
    assert list_sessions(tmp_path) == list_sessions(tmp_path, "bed1") == [path]
    assert list_sessions(tmp_path, "bed2") == []
    header = path.read_bytes()[:100]
    assert int.from_bytes(header[68:72], "big") == APPLICATION_ID
    assert int.from_bytes(header[60:64], "big") == SCHEMA_VERSION


def test_the_state_folder_follows_the_setting_then_xdg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_folder(str(tmp_path / "x")) == tmp_path / "x"
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    assert state_folder() == tmp_path / "pain-monitor"
    monkeypatch.delenv("XDG_DATA_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert state_folder().name == "pain-monitor"


def test_what_is_no_session_is_refused_with_what_to_do(tmp_path: Path) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("not a database")
    other = tmp_path / "other.db"
    with sqlite3.connect(other) as connection:
        connection.execute("CREATE TABLE t (x)")
    connection.close()
    newer = made_writer(tmp_path / "newer.session.db")
    newer.close()
    connection = sqlite3.connect(newer.path, isolation_level=None)
    connection.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    connection.close()
    for path, message in (
        (tmp_path / "none.session.db", "no such session"),
        (text, "not a session"),
        (other, "not a session"),
        (newer.path, "newer one"),
    ):
        with pytest.raises(SessionError, match=message) as caught:
            SessionReader(path)
        assert str(path) in str(caught.value)


def test_a_damaged_session_is_named_as_such_wherever_the_damage_lies(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db")
    writer.stream(made_info(), 0.0)
    for t in range(400):
        writer.chunk(made_chunk(float(t)))
        writer.events([made_score(t)])
    writer.close()
    whole = writer.path.read_bytes()
    broken = tmp_path / "b.session.db"
    messages = []
    for start in range(4096, len(whole) - 4096, len(whole) // 12):
        broken.write_bytes(whole[:start] + b"\xa5" * 4096 + whole[start + 4096 :])
        try:
            with SessionReader(broken) as reader:
                items = len(list(reader.entries()))
            assert items <= 801
        except SessionError as error:
            messages.append(str(error))
    assert messages
    assert all("damaged" in message for message in messages)
    broken.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(SessionError, match="damaged"), SessionReader(broken) as reader:
        list(reader.entries())


def test_a_closed_session_can_be_read_from_a_folder_that_nobody_may_write(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    writer = made_writer(folder / "a.session.db")
    writer.tick(1.0)
    writer.close()
    folder.chmod(0o500)
    try:
        with SessionReader(writer.path) as reader:
            assert [entry.item for entry in reader.entries()] == [Tick(now=1.0)]
    finally:
        folder.chmod(0o700)


def test_a_field_that_is_newer_than_the_file_reads_as_its_default(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db")
    writer.stream(made_info(unused="too slow"), 0.0)
    writer.close()
    connection = sqlite3.connect(writer.path)
    connection.execute("ALTER TABLE stream DROP COLUMN unused")
    connection.close()
    with SessionReader(writer.path) as reader:
        assert reader.streams()[0].info == made_info()
    connection = sqlite3.connect(writer.path)
    connection.execute("ALTER TABLE score DROP COLUMN window_hash")
    connection.close()
    with pytest.raises(SessionError, match="no column window_hash"):
        SessionReader(writer.path)


def test_readers_follow_a_session_that_is_being_written(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db", commit_s=0.0)
    writer.stream(made_info(), 0.0)
    writer.flush()
    stop, problems, seen = threading.Event(), [], []

    def read() -> None:
        last = 0
        with SessionReader(writer.path) as reader:
            while not stop.is_set() or last < 2001:
                numbers = [entry.seq for entry in reader.entries(after=last)]
                if numbers != list(range(last + 1, last + 1 + len(numbers))):
                    problems.append(numbers)
                last = numbers[-1] if numbers else last
        seen.append(last)

    threads = [threading.Thread(target=read) for _ in range(2)]
    for thread in threads:
        thread.start()
    for t in range(1000):
        writer.chunk(made_chunk(float(t)))
        writer.tick(t + 1.0)
    writer.flush()
    stop.set()
    for thread in threads:
        thread.join(60)
    assert not writer.suspended
    writer.close()
    assert (problems, seen) == ([], [2001, 2001])


def test_an_input_is_committed_together_with_what_came_of_it(tmp_path: Path) -> None:
    now = [0.0]
    writer = made_writer(tmp_path / "a.session.db", commit_s=0.5, monotonic=lambda: now[0])
    with SessionReader(writer.path) as reader:
        writer.tick(1.0)
        now[0] = 10.0
        writer.events([made_score(1)])
        assert reader.last_seq() == 0
        writer.tick(1.25)
        assert reader.last_seq() == 2
    writer.close()


# -- faults of the disk ------------------------------------------------------------------------------------------------


def fill(writer: typing.Any, start: int, count: int, stream: str = "lsl:eda:0") -> None:
    rng = np.random.default_rng(start)
    for t in range(start, start + count):
        noise = rng.normal(size=200).astype(np.float32)
        stamps = snap(t + np.arange(200) / 200.0)
        writer.chunk(Chunk(stream=stream, samples=noise, stamps=stamps, arrival=t + 1.0))
        writer.tick(t + 1.0)
    writer.flush()


def test_a_full_disk_suspends_recording_and_leaves_a_gap_when_it_can_go_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    writer = made_writer(tmp_path / "a.session.db", commit_s=0.0, retry_s=3.0, monotonic=lambda: now[0])
    writer.stream(made_info(rate_hz=200.0), 0.0)
    fill(writer, 0, 10)
    limit = writer._connection
    pages = limit.execute("PRAGMA page_count").fetchone()[0]
    limit.execute(f"PRAGMA max_page_count = {pages + 20}")
    fill(writer, 10, 100)
    assert writer.suspended
    assert writer.problem == "the disk is full"
    writer.stream(made_info("late", name="came while the disk was full"), 105.0)
    lost = writer.lost_records
    now[0] = 2.9
    limit.execute("PRAGMA max_page_count = 1000000")
    writer.tick(111.0)
    assert writer.suspended
    assert writer.lost_records == lost + 1
    now[0] = 3.1
    fill(writer, 120, 10)
    assert not writer.suspended
    assert writer.problem == ""
    fill(writer, 130, 2, stream="late")
    writer.close()

    with SessionReader(writer.path) as reader:
        entries = list(reader.entries())
        (gap,) = reader.recording_gaps()
        assert gap.reason == "the disk is full"
        assert gap.records == writer.lost_records == lost + 1
        assert gap.samples == writer.lost_samples
        assert 10 <= gap.start < gap.end == 111.0
        kinds = [type(entry.item) for entry in entries]
        at = kinds.index(RecordingGap)
        assert entries[at].seq - entries[at - 1].seq == gap.records + 1
        assert [entry.seq for entry in entries[at:]] == list(range(entries[at].seq, entries[-1].seq + 1))
        # The announcement that fell into the gap is there, and marked as one that no pipeline was given here.
        restated = entries[at + 1].item
        assert isinstance(restated, StreamOpened)
        assert restated.restated
        assert reader.streams()[1].samples == 400
        stamps, _ = reader.signal("lsl:eda:0")
        assert len(stamps) == (10 + 100 + 10) * 200 - gap.samples
    assert "suspended" in caplog.text
    assert "goes on" in caplog.text


def test_a_session_that_ends_with_a_full_disk_can_be_read(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db", commit_s=0.0)
    writer.stream(made_info(rate_hz=200.0), 0.0)
    fill(writer, 0, 10)
    writer._connection.execute("PRAGMA max_page_count = 1")  # SQLite takes it as: not one page more
    fill(writer, 10, 50)
    assert writer.suspended
    writer.close()
    with SessionReader(writer.path) as reader:
        stored = len(list(reader.entries()))
        assert stored >= 21
        # The gap itself finds room in a page that is begun, or else the session says that it was not closed in order.
        assert reader.recording_gaps() or reader.closed_utc is None
        assert stored - len(reader.recording_gaps()) + writer.lost_records == 1 + 2 * 60


@pytest.mark.skipif(sys.platform == "win32", reason="file size limits are a POSIX matter")
def test_a_write_that_the_system_refuses_is_survived(tmp_path: Path) -> None:
    """A limit on file size makes the kernel itself refuse to let the write-ahead log grow; then it is lifted."""
    code = """
        import resource, sys
        from pathlib import Path
        from tests.helpers.made_session import made_info, made_writer
        from tests.monitor.sessions.test_store import fill
        now = [0.0]
        writer = made_writer(Path(sys.argv[1]), commit_s=0.0, monotonic=lambda: now[0])
        writer.stream(made_info(rate_hz=200.0), 0.0)
        fill(writer, 0, 5)
        hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
        resource.setrlimit(resource.RLIMIT_FSIZE, (150_000, hard))
        fill(writer, 5, 300)
        assert writer.suspended, "not suspended"
        assert writer.problem
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
        now[0] = 60.0
        fill(writer, 305, 5)
        assert not writer.suspended, writer.problem
        writer.close()
        print(writer.lost_records)
    """
    path = tmp_path / "a.session.db"
    done = run_python(code, str(path))
    assert done.returncode == 0, done.stderr
    with SessionReader(path) as reader:
        assert sum(gap.records for gap in reader.recording_gaps()) == int(done.stdout) > 0
        assert reader.signal("lsl:eda:0", start=305.0)[0].size == 1000
        assert reader._connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_a_session_that_was_killed_opens_up_to_its_last_commit(tmp_path: Path) -> None:
    code = """
        import os, signal, sys
        from pathlib import Path
        from tests.helpers.made_session import made_chunk, made_info, made_score, made_writer
        writer = made_writer(Path(sys.argv[1]), commit_s=1e9, commit_records=100)
        writer.stream(made_info(), 0.0)
        for t in range(10_000):
            writer.chunk(made_chunk(float(t)))
            writer.events([made_score(t)])
            if t == 731:
                os.kill(os.getpid(), signal.SIGKILL)
    """
    path = tmp_path / "a.session.db"
    done = run_python(code, str(path))
    assert done.returncode == -signal.SIGKILL
    with SessionReader(path) as reader:
        assert reader.closed_utc is None
        entries = list(reader.entries())
        assert [entry.seq for entry in entries] == list(range(1, len(entries) + 1))
        assert 1 + 2 * 731 - 101 <= len(entries) <= 1 + 2 * 732
        assert isinstance(entries[-1].item, Score)


def test_a_loss_before_the_writer_is_recorded_too(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db", meta={"provenance": Provenance.LIVE})
    writer.tick(1.0)
    writer.gap(start=1.25, end=3.5, records=12, samples=100, reason="the queue to the disk was full")
    writer.tick(3.75)
    writer.close()
    assert (writer.lost_records, writer.lost_samples) == (12, 100)
    with SessionReader(writer.path) as reader:
        assert [type(entry.item) for entry in reader.entries()] == [Tick, RecordingGap, Tick]
        assert reader.recording_gaps()[0].end == 3.5


def run_python(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    root = Path(__file__).resolve().parents[3]
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), *arguments],
        cwd=root,
        env=os.environ | {"PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
