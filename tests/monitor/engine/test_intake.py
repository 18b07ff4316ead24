"""The queue in front of the pipeline: one order, oldest dropped, every loss counted."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.clock import ManualClock, SystemClock
from monitor.engine.intake import Intake, Request, SourceThread
from monitor.errors import EngineError, SourceError
from monitor.sources.base import SourceReading
from monitor.types import Chunk, Command, StreamEvent
from tests.helpers.feeding import stream
from tests.helpers.scripted import ScriptedSource, wait_until


def chunk(key: str, first: int, n: int, lost: int = 0) -> Chunk:
    samples = np.arange(first, first + n, dtype=np.float32)
    return Chunk(stream=key, samples=samples, stamps=samples.astype(np.float64), arrival=float(first + n), lost=lost)


def drained(intake: Intake) -> list[object]:
    items = []
    while (item := intake.take(0.0)) is not None:
        items.append(item.what)
    return items


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 1), st.integers(1, 9)), max_size=60),
    st.integers(1, 12),
)
def test_every_sample_arrives_or_is_counted(puts: list[tuple[int, int, int]], capacity: int) -> None:
    """What is left of a source is its newest chunks in order, and `lost` makes up for the rest exactly."""
    intake = Intake(capacity=capacity, clock=ManualClock())
    given_to: dict[str, list[Chunk]] = {}
    counts: dict[str, int] = {}
    for source, number, n in puts:
        key = f"{source}/{number}"
        piece = chunk(key, counts.get(key, 0), n)
        counts[key] = counts.get(key, 0) + n
        given_to.setdefault(f"s{source}", []).append(piece)
        intake.put_chunk(f"s{source}", "bed1", piece)
    taken = [what for what in drained(intake) if isinstance(what, Chunk)]
    for source, pieces in given_to.items():
        mine = [piece for piece in taken if f"s{piece.stream[0]}" == source]
        assert [p.samples.tolist() for p in mine] == [p.samples.tolist() for p in pieces[-capacity:]]
        assert intake.dropped().get(source, 0) == max(0, len(pieces) - capacity)
    for key, total in counts.items():
        mine = [piece for piece in taken if piece.stream == key]
        if mine:  # a stream whose every chunk was dropped is told so with its next one
            assert sum(len(piece) + piece.lost for piece in mine) == total


def test_a_full_source_takes_nothing_from_another() -> None:
    intake = Intake(capacity=2, clock=ManualClock())
    intake.put_chunk("quiet", "bed1", chunk("A", 0, 3))
    for i in range(10):
        intake.put_chunk("loud", "bed1", chunk("B", i, 1))
    taken = drained(intake)
    assert isinstance(taken[0], Chunk)
    assert taken[0].stream == "A"
    assert taken[0].lost == 0
    assert [piece.lost for piece in taken[1:] if isinstance(piece, Chunk)] == [8, 0]


def test_commands_and_streams_are_never_dropped_and_keep_their_place() -> None:
    intake = Intake(capacity=1, clock=ManualClock())
    for i in range(50):
        intake.put("bed1", stream("EDA", 4.0, key=str(i)))
        intake.put("bed1", Request(Command(action="marker", at=float(i), actor="a")))
    intake.put_chunk("s", "bed1", chunk("A", 0, 1))
    intake.put("bed1", stream("EDA", 4.0, key="last"))
    taken = drained(intake)
    assert len(taken) == 102
    assert isinstance(taken[100], Chunk)


def test_after_close_what_waits_can_be_taken_and_commands_are_refused() -> None:
    intake = Intake(capacity=4, clock=ManualClock())
    intake.put_chunk("s", "bed1", chunk("A", 0, 1))
    intake.close()
    late = Request(Command(action="marker", at=0.0, actor="a"))
    intake.put("bed1", late)
    assert len(drained(intake)) == 1
    with pytest.raises(EngineError, match="stopping"):
        late.wait(1.0)


def test_take_wakes_for_what_another_thread_puts() -> None:
    intake = Intake(capacity=4, clock=SystemClock())
    threading.Timer(0.05, lambda: intake.put_chunk("s", "bed1", chunk("A", 0, 1))).start()
    assert intake.take(30.0) is not None


@pytest.mark.parametrize("error", [RuntimeError("defect"), SourceError("two streams match", where="EDA")])
def test_a_source_that_fails_is_reported_and_opened_again(error: Exception) -> None:
    intake = Intake(capacity=16, clock=SystemClock())
    script = [SourceReading(chunks=[chunk("A", 0, 2)]), error, SourceReading(chunks=[chunk("A", 2, 2)])]
    source = ScriptedSource("flaky", script, endless=False)
    done = threading.Event()
    thread = SourceThread(bed="bed1", source=source, number=0, intake=intake, clock=SystemClock(), on_done=done.set)
    thread.start()
    assert done.wait(20.0)
    assert thread.join(20.0)
    assert (source.opened, thread.restarts) == (2, 1)
    taken = drained(intake)
    assert sum(len(what) for what in taken if isinstance(what, Chunk)) == 4
    reports = [what for what in taken if isinstance(what, StreamEvent)]
    assert len(reports) == 1
    assert str(error) in reports[0].detail


def test_a_stopped_source_ends() -> None:
    source = ScriptedSource("quiet", [])
    thread = SourceThread(
        bed="bed1", source=source, number=0, intake=Intake(capacity=4, clock=SystemClock()), clock=SystemClock()
    )
    thread.start()
    wait_until(lambda: source.opened == 1)
    thread.stop()
    assert thread.join(20.0)
