"""A session computes anew to the same bits, and whatever does not is named."""

from __future__ import annotations

import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.bundle_folder import Bundle, load_bundle
from monitor.config import BedSettings
from monitor.errors import SessionError
from monitor.pipeline import Pipeline
from monitor.scoring.session import OnnxRunner
from monitor.sessions.alarm_grid import read_alarm_log, reproduce
from monitor.sessions.reader import SessionReader
from monitor.sessions.rows import StreamOpened, Tick
from monitor.sessions.store import SessionWriter, StoredBundle
from monitor.sessions.verify import VerifyResult, verify
from monitor.types import (
    AlarmAction,
    AlarmEvent,
    Event,
    Score,
    StreamEvent,
    StreamEventKind,
)
from tests.helpers.driven_session import made_steps, record
from tests.helpers.made_session import SESSION, made_chunk, made_info, made_meta, made_score, made_spec, made_writer
from tests.helpers.tiny_bundle import write_tiny_bundle


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    """A tiny real bundle."""
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("bundles")))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    """A session of a real pipeline with a real graph."""
    path = tmp_path_factory.mktemp("session") / "a.session.db"
    bed = BedSettings(name="bed1", bundles=("tiny-eda-ecg",), calibration_s=10)
    meta = made_meta(settings=bed)
    writer = SessionWriter(path=path, meta=meta, bundles=[StoredBundle(spec=bundle.spec, path=str(bundle.path))])
    pipeline = Pipeline(bed=bed, bundles=[bundle.spec], runner=OnnxRunner([bundle]), session=SESSION)
    record(writer, pipeline, made_steps())
    external = StreamEvent(bed="bed1", stream="eda", kind=StreamEventKind.LOST, t=170.0, samples=3)
    writer.events([external], external=True)
    writer.close()
    return path


def altered(recorded: Path, folder: Path, *statements: str) -> Path:
    """A copy of a session that was changed behind the monitor's back."""
    path = folder / "altered.session.db"
    shutil.copy(recorded, path)
    connection = sqlite3.connect(path, isolation_level=None)
    for statement in statements:
        assert connection.execute(statement).rowcount
    connection.close()
    return path


def test_a_real_session_computes_anew_bit_for_bit(recorded: Path) -> None:
    shares: list[float] = []
    result = verify(recorded, runner_factory=OnnxRunner, progress=shares.append)
    assert result.differences == ()
    assert result.equal
    assert result.closed
    assert result.gap is None
    assert result.versions == ()
    with SessionReader(recorded) as reader:
        scores = list(reader.scores())
    assert result.compared["Score"] == result.compared["PainIndex"] == len(scores) > 60
    assert sum(not score.absent for score in scores) > 20
    assert any("EDA:gap" in score.absent for score in scores)
    assert {
        "Score",
        "PainIndex",
        "Comparators",
        "StreamEvent",
        "CalibrationEvent",
        "Marker",
        "AlarmEvent",
        "AlarmAction",
    } <= set(result.compared)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    assert "equal bit for bit" in result.text()


def test_the_alarms_of_a_real_session_come_again_from_its_scores_alone(recorded: Path) -> None:
    with SessionReader(recorded) as reader:
        log = read_alarm_log(reader)
        again = reproduce(log, reader)
    assert again.differences == again.notes == ()
    assert again.compared == len(log.recorded) > 10
    assert {"no_data", "broker_lost"} <= {item.condition for item in again.made if isinstance(item, AlarmEvent)}
    assert {"audio_pause", "suspend", "limits"} <= {item.action for item in again.made if isinstance(item, AlarmAction)}


SCORED = "(SELECT min(seq) FROM score WHERE window_hash IS NOT NULL)"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        (
            f"UPDATE score SET window_hash = 'x' || window_hash WHERE seq = {SCORED}",
            ["the score of window", "window_hash"],
        ),
        (
            f"UPDATE score SET probabilities = zeroblob(24) WHERE seq = {SCORED}",
            ["probabilities stored (0.0, 0.0, 0.0)"],
        ),
        ("UPDATE score SET decided_at = decided_at + 1e-9 WHERE k = 103", ["the score of window 103", "decided_at"]),
        ("UPDATE pain_index SET fast_withheld = 'x' WHERE k = 104", ["the index after window 104", "fast_withheld"]),
        ("DELETE FROM marker WHERE kind = 'nrs'", ["the marker nrs", "came now, but is not stored"]),
        ("UPDATE alarm SET condition = 'x' WHERE seq = (SELECT min(seq) FROM alarm)", ["the alarm x", "where"]),
        ("UPDATE calibration SET valid_s = valid_s + 1 WHERE seq = (SELECT min(seq) FROM calibration)", ["valid_s"]),
    ],
)
def test_one_changed_output_is_found_and_named(
    recorded: Path, tmp_path: Path, statement: str, words: list[str]
) -> None:
    result = verify(altered(recorded, tmp_path, statement), runner_factory=OnnxRunner)
    assert result.difference_count == 1
    for word in words:
        assert word in result.differences[0]
    assert result.differences[0] in result.text()


def test_one_changed_sample_changes_the_windows_that_hold_it(recorded: Path, tmp_path: Path) -> None:
    connection = sqlite3.connect(recorded)
    query = "SELECT c.seq, c.samples FROM chunk c JOIN stream s ON s.seq = c.stream WHERE s.key = 'eda' AND packing = 0"
    seq, blob = connection.execute(query + " AND n > 0 ORDER BY c.seq LIMIT 1 OFFSET 60").fetchone()
    connection.close()
    changed = (np.frombuffer(blob, dtype="<f4") + np.float32(1e-3)).tobytes()
    statement = f"UPDATE chunk SET samples = x'{changed.hex()}' WHERE seq = {seq}"
    result = verify(altered(recorded, tmp_path, statement), runner_factory=OnnxRunner, most=3)
    assert result.difference_count >= 3
    assert len(result.differences) == 3
    assert any("window_hash" in words for words in result.differences)
    assert "more" in result.text()


def test_a_session_that_was_cut_off_verifies_up_to_any_record(recorded: Path, tmp_path: Path) -> None:
    tables = (
        "stream",
        "chunk",
        "command",
        "tick",
        "score",
        "pain_index",
        "comparators",
        "alarm",
        "alarm_action",
        "stream_event",
        "calibration",
        "marker",
    )
    with SessionReader(recorded) as reader:
        last = reader.last_seq()
        cuts = [entry.seq for entry in reader.entries() if isinstance(entry.item, Score)]
    # Between a score and its index, and after an input whose outputs had not been written.
    for cut in (cuts[30], cuts[30] - 1, last // 3, 2):
        statements = [f"DELETE FROM {table} WHERE seq > {cut}" for table in tables]
        path = tmp_path / f"{cut}.session.db"
        shutil.copy(recorded, path)
        with sqlite3.connect(path) as connection:
            connection.execute("DELETE FROM meta WHERE key = 'closed_utc'")
            for statement in statements:
                connection.execute(statement)
        connection.close()
        result = verify(path, runner_factory=OnnxRunner)
        assert (result.difference_count, result.closed) == (0, False), result.text()
        assert "not ended in order" in result.text()


def test_a_session_from_before_the_plain_measures_verifies_without_them(recorded: Path, tmp_path: Path) -> None:
    result = verify(altered(recorded, tmp_path, "DROP TABLE comparators"), runner_factory=OnnxRunner)
    assert result.equal, result.text()
    assert "Comparators" not in result.compared
    assert result.compared["PainIndex"] > 60


def test_a_missing_or_changed_bundle_is_refused_by_name(recorded: Path, bundle: Bundle, tmp_path: Path) -> None:
    other = tmp_path / "other"
    moved = altered(recorded, tmp_path, f"UPDATE bundle SET path = '{tmp_path / 'gone'}'")
    with pytest.raises(SessionError, match=r"tiny-eda-ecg cannot be used.*no such model bundle"):
        verify(moved, runner_factory=OnnxRunner)
    assert verify(moved, runner_factory=OnnxRunner, bundles=[bundle]).equal
    with pytest.raises(SessionError, match=r"tiny-eda-ecg 1\.0\.0 is missing"):
        verify(moved, runner_factory=OnnxRunner, bundles=[])
    shutil.copytree(bundle.path, other)
    (other / "model.onnx").write_bytes((other / "model.onnx").read_bytes() + b"\0")
    damaged = altered(recorded, tmp_path, f"UPDATE bundle SET path = '{other}'")
    with pytest.raises(SessionError, match=r"tiny-eda-ecg cannot be used.*model\.onnx"):
        verify(damaged, runner_factory=OnnxRunner)
    retrained = Bundle(
        bundle.path, bundle.spec.model_copy(update={"sha256": {**bundle.spec.sha256, "model.onnx": "0" * 64}})
    )
    with pytest.raises(SessionError, match=r"not the one it was recorded with.*changed: model\.onnx"):
        verify(recorded, runner_factory=OnnxRunner, bundles=[retrained])
    reworded = Bundle(
        bundle.path, bundle.spec.model_copy(update={"sha256": {**bundle.spec.sha256, bundle.spec.card: "0" * 64}})
    )
    assert verify(recorded, runner_factory=OnnxRunner, bundles=[reworded]).equal, "its card makes no scores"


def test_other_versions_are_said_and_no_difference(recorded: Path, tmp_path: Path) -> None:
    versions = json.dumps({"python": "3.0.0", "scipy": "0.1"})
    path = altered(recorded, tmp_path, f"UPDATE meta SET value = '{versions}' WHERE key = 'versions'")
    result = verify(path, runner_factory=OnnxRunner)
    assert result.equal
    assert any(line.startswith("scipy is") and line.endswith("was 0.1") for line in result.versions)
    assert any("numpy" in line and "was absent" in line for line in result.versions)


# -- with a pipeline made for the purpose ------------------------------------------------------------------------------


class CountingPipeline:
    """Answers every input with a score that carries how many there have been."""

    def __init__(self, **_: object) -> None:
        self.count = 0

    def answer(self, *_: object) -> list[Event]:
        """The next score."""
        self.count += 1
        return [made_score(self.count)]

    open_stream = feed = command = tick = answer


class FailingPipeline(CountingPipeline):
    """Fails at its 20th input."""

    def answer(self, *_: object) -> list[Event]:
        """The next score, or an error."""
        if self.count == 19:
            raise ZeroDivisionError("what")
        return super().answer()

    open_stream = feed = command = tick = answer


def counting_session(path: Path, *, before_end: Callable[[SessionWriter], None] = lambda _: None) -> Path:
    """A session of the counting pipeline with 41 inputs."""
    writer = made_writer(path)
    pipeline = CountingPipeline()
    record(writer, pipeline, [StreamOpened(info=made_info(), at=0.0)])
    for t in range(20):
        record(writer, pipeline, [made_chunk(float(t)), Tick(now=t + 1.0)])
    before_end(writer)
    writer.close()
    return path


def check(path: Path, pipeline: Any = CountingPipeline) -> VerifyResult:
    given = [Bundle(Path("bundles/made-eda"), made_spec())]
    return verify(path, runner_factory=lambda _: None, bundles=given, pipeline=pipeline)  # type: ignore[arg-type,return-value]


def test_nothing_behind_a_recording_gap_is_compared_or_called_wrong(tmp_path: Path) -> None:
    def lose(writer: SessionWriter) -> None:
        writer.tick(21.0)  # an input whose score fell into the gap
        writer.gap(start=21.0, end=30.0, records=9, samples=30, reason="the disk is full")
        writer.tick(31.0)
        writer.events([made_score(999)])

    result = check(counting_session(tmp_path / "a.session.db", before_end=lose))
    assert result.equal
    assert result.compared == {"Score": 41}
    assert result.unverified == {"Score": 1}
    assert result.gap is not None
    assert "Not verifiable behind 21.00 s" in result.text()
    assert "the disk is full" in result.text()


def test_a_surplus_at_the_end_of_a_closed_session_is_a_difference(tmp_path: Path) -> None:
    result = check(counting_session(tmp_path / "a.session.db", before_end=lambda writer: writer.tick(99.0)))
    assert result.difference_count == 1
    assert "came now, but is not stored" in result.differences[0]


def test_an_output_that_does_not_come_again_is_a_difference(tmp_path: Path) -> None:
    path = counting_session(tmp_path / "a.session.db", before_end=lambda writer: writer.events([made_score(1000)]))
    result = check(path)
    assert result.difference_count == 1
    assert "window 1000" in result.differences[0]
    assert "did not come again" in result.differences[0]


def test_a_pipeline_that_fails_now_is_a_difference_and_ends_the_comparison(tmp_path: Path) -> None:
    result = check(counting_session(tmp_path / "a.session.db"), FailingPipeline)
    assert result.difference_count == 1
    assert "ZeroDivisionError" in result.differences[0]
    assert result.compared == {"Score": 19}


def test_a_session_without_inputs_is_equal_to_itself(tmp_path: Path) -> None:
    writer = made_writer(tmp_path / "a.session.db")
    writer.close()
    result = check(writer.path)
    assert result.equal
    assert result.compared == {}
    assert "no outputs" in result.text()
