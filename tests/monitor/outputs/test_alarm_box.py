"""No alarm is lost while its receiver is away or the process dies, and none is invented or counted twice."""

from __future__ import annotations

import sqlite3
import stat
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.outputs.alarm_box import RESTARTED, AlarmBox, Letter, delivery_id

_STEPS = ["put", "send", "reconnect", "restart"]


def message(condition: str, number: int, presence: str = "on") -> dict[str, Any]:
    return {"event_id": f"{condition}-{number}", "condition": condition, "presence": presence, "t": float(number)}


def box_at(path: Path | None, **changes: Any) -> AlarmBox:
    box = AlarmBox(path, receiver="a test", **changes)
    box.load(1000.0)
    return box


def emptied(box: AlarmBox) -> list[Letter]:
    sent = []
    while (first := box.first()) is not None:
        sent.append(first)
        box.done(first)
    return sent


@given(steps=st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from(_STEPS)), max_size=30), lost=st.booleans())
@settings(max_examples=40, deadline=None)
def test_every_transition_is_sent_in_order_and_the_last_word_is_the_newest(
    steps: list[tuple[str, str]], lost: bool
) -> None:
    """`lost`: a restart comes between sending and learning of it, so that what was sent goes out again."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "box"
        box = box_at(path)
        put: list[dict[str, Any]] = []
        sent: list[Letter] = []
        for number, (condition, step) in enumerate(steps):
            if step == "put":
                put.append(message(condition, number, "off" if number % 3 == 0 else "on"))
                box.put(put[-1])
            elif step == "send":
                sent += emptied(box)
            elif step == "reconnect":
                box.repeat()
            else:
                if lost and (first := box.first()) is not None:
                    sent.append(first)
                box.close()
                box = box_at(path)
        sent += emptied(box)
        box.close()
    taken: dict[str, Letter] = {}
    for letter in sent:  # what a receiver makes of it that takes each id once
        taken.setdefault(letter.message["id"], letter)
    new = [letter for letter in taken.values() if letter.message.get("text") != RESTARTED]
    assert [letter.message["event_id"] for letter in new] == [item["event_id"] for item in put]
    assert [letter.seq for letter in taken.values()] == list(range(1, len(taken) + 1)), "no gap and no double"
    assert len({letter.message["series"] for letter in sent}) <= 1
    for condition in "abc":
        if of_it := [letter.seq for letter in sent if letter.condition == condition]:
            assert of_it[-1] == max(of_it)


def test_after_a_reconnect_the_newest_state_of_each_condition_is_sent_once_more() -> None:
    box = box_at(None)
    for condition, number in (("a", 1), ("b", 2), ("b", 3), ("c", 4)):
        box.put(message(condition, number))
    for _ in range(3):
        first = box.first()
        assert first is not None
        box.done(first)
    box.repeat()
    assert [letter.message["t"] for letter in emptied(box)] == [4.0, 1.0, 3.0]


def test_a_restart_ends_what_stood_unless_the_new_process_goes_on_with_it(tmp_path: Path) -> None:
    path = tmp_path / "box"
    first = box_at(path)
    for item in (message("stands", 1), message("goes-on", 2), message("gone", 3), message("gone", 3, "off")):
        first.put(item)
    emptied(first)
    first.close()
    second = AlarmBox(path, receiver="a test")
    second.load(1000.0, still=["goes-on-2"])
    (end,) = emptied(second)
    assert (end.condition, end.message["presence"], end.message["before"], end.message["t"]) == (
        "stands", "off", "on", 1000.0,
    )  # fmt: skip
    assert end.message["event_id"] == "stands-1"
    assert "not known yet" in end.message["text"]
    second.close()
    third = box_at(path)
    assert [letter.message["event_id"] for letter in emptied(third)] == ["goes-on-2"]
    third.close()


def test_what_overflows_is_the_oldest_that_was_overtaken_and_it_stays_gone(tmp_path: Path) -> None:
    path = tmp_path / "box"
    box = box_at(path, capacity=4)
    for number in range(100):
        box.put(message("flapping", number))
        if number == 50:
            box.put(message("steady", number))
        if number == 60:
            box.put({"action": "suspend", "t": 60.0})
    assert (len(box), box.given_up) == (4, 98)
    box.close()
    again = AlarmBox(path, receiver="a test", capacity=4)
    again.load(0.0, still=[f"flapping-{n}" for n in range(100)] + ["steady-50"])
    left = [(letter.condition, letter.message["t"]) for letter in emptied(again)]
    again.close()
    assert left == [("steady", 50.0), ("", 60.0), ("flapping", 98.0), ("flapping", 99.0)]


def test_a_killed_process_loses_nothing_that_was_put(tmp_path: Path, repository: Path) -> None:
    program = f"""
from pathlib import Path
from tests.monitor.outputs.test_alarm_box import *
box = box_at(Path({str(tmp_path / "box")!r}))
for number in range(50):
    box.put(message("a", number))
    if number % 5 == 0:
        box.done(box.first())
print("done", flush=True)
import time; time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=repository, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        assert process.stdout.readline() == "done\n"
    finally:
        process.kill()
        process.communicate()
    for path in tmp_path.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path.name
    box = AlarmBox(tmp_path / "box", receiver="a test")
    box.load(0.0, still=["a-49"])
    assert [letter.seq for letter in emptied(box)] == list(range(11, 51))
    box.put(message("a", 50))
    assert [letter.seq for letter in emptied(box)] == [51]
    box.close()


def test_a_disk_that_takes_nothing_costs_only_the_copy(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    box = box_at(tmp_path / "nowhere" / "box")
    box.put(message("a", 1))
    assert [letter.message["event_id"] for letter in emptied(box)] == ["a-1"]
    assert box.unsaved
    assert "in memory only" in caplog.text
    assert "a test" in caplog.text


def test_when_the_disk_takes_it_again_all_of_it_is_written(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "box"
    box = box_at(path)
    other = sqlite3.connect(path, isolation_level=None)  # holds the database as a full disk would
    other.execute("BEGIN IMMEDIATE")
    box.put(message("a", 1))
    assert box.unsaved
    box.put(message("b", 2))
    assert caplog.text.count("in memory only") == 1
    other.execute("ROLLBACK")
    other.close()
    box.put(message("c", 3))
    assert not box.unsaved
    box.close()
    again = AlarmBox(path, receiver="a test")
    again.load(0.0, still=["a-1", "b-2", "c-3"])
    assert [letter.message["event_id"] for letter in emptied(again)] == ["a-1", "b-2", "c-3"]
    again.close()


@pytest.mark.parametrize("content", [b"no database at all, and rather long" * 50, None])
def test_a_damaged_file_is_said_put_aside_and_does_not_stop_alarms(
    tmp_path: Path, content: bytes | None, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "box"
    if content is None:
        made = box_at(path)
        made.put(message("a", 1))
        made.close()
        database = sqlite3.connect(path, isolation_level=None)
        database.execute("UPDATE waiting SET content = '[1]'")
        database.close()
    else:
        path.write_bytes(content)
    box = box_at(path)
    assert "cannot be read" in caplog.text
    assert (tmp_path / "box.damaged").exists()
    box.put(message("a", 2))
    assert not box.unsaved
    box.close()
    again = box_at(path)
    assert emptied(again)[0].message["event_id"] == "a-2"
    again.close()


def test_ids_differ_wherever_transitions_do() -> None:
    base = {"event_id": "e", "presence": "on", "t": 1.0}
    others = [{**base, "event_id": "f"}, {**base, "presence": "ack"}, {**base, "t": 1.5}]
    assert len({delivery_id(item) for item in [base, dict(base), *others]}) == 4
