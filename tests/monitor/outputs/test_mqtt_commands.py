"""A command is taken once, in time, from its own user, and only where it is whole."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.outputs.mqtt_commands import MAX_BYTES, REMEMBERED, TTL_S, CommandDesk, RefusedError

NOW = 1_795_000_000.0


def command(**changes: Any) -> bytes:
    fields = {"id": "c1", "t": NOW, "action": "marker", "args": {"kind": "note"}, **changes}
    return json.dumps({key: value for key, value in fields.items() if value is not ...}).encode()


def refusal(payload: bytes, *, retained: bool = False, desk: CommandDesk | None = None, utc: float = NOW) -> str:
    with pytest.raises(RefusedError) as caught:
        (desk or CommandDesk()).read("nurse", payload, retained=retained, utc=utc)
    assert caught.value.detail
    return caught.value.reason


def test_a_whole_command_is_taken() -> None:
    taken = CommandDesk().read("nurse", command(user="nurse", ttl=5), retained=False, utc=NOW + 4)
    assert (taken.user, taken.id, taken.action, dict(taken.args)) == ("nurse", "c1", "marker", {"kind": "note"})


@pytest.mark.parametrize(
    ("payload", "reason"),
    [
        (b"", "malformed"),
        (b"[]", "malformed"),
        (b"\xff", "malformed"),
        (b"[" * 10_000, "malformed"),
        (b'{"id": "a", "id": "b"}', "malformed"),
        (b" " * (MAX_BYTES + 1), "malformed"),
        (command(id=...), "malformed"),
        (command(id=5), "malformed"),
        (command(t=...), "malformed"),
        (command(t="now"), "malformed"),
        (command(t=True), "malformed"),
        (command(action=...), "malformed"),
        (command(args=[]), "malformed"),
        (command(force=True), "malformed"),
        (command(ttl=0), "malformed"),
        (command(ttl=3600), "malformed"),
        (command(t=NOW - TTL_S - 0.1), "expired"),
        (command(t=NOW + TTL_S + 0.1), "expired"),
        (command(t=NOW - 2, ttl=1), "expired"),
        (command(user="doctor"), "user"),
    ],
)
def test_what_is_wrong_is_refused_for_its_reason(payload: bytes, reason: str) -> None:
    assert refusal(payload) == reason


def test_a_retained_one_is_refused() -> None:
    assert refusal(command(), retained=True) == "retained"


@given(times=st.lists(st.floats(0.0, 3 * TTL_S), min_size=2, max_size=20).map(sorted))
@settings(max_examples=60, deadline=None)
def test_a_repeat_is_never_carried_out_however_late_it_comes(times: list[float]) -> None:
    desk = CommandDesk()
    outcomes = [outcome(desk, NOW + utc) for utc in times]
    assert outcomes.count("done") == (times[0] <= TTL_S)
    assert set(outcomes[1:]) <= {"repeated", "expired"}


def outcome(desk: CommandDesk, utc: float) -> str:
    try:
        desk.read("nurse", command(), retained=False, utc=utc)
    except RefusedError as refusal:
        return refusal.reason
    return "done"


def test_one_id_of_two_users_is_two_commands_and_a_flood_is_refused() -> None:
    desk = CommandDesk()
    desk.read("nurse", command(), retained=False, utc=NOW)
    desk.read("doctor", command(), retained=False, utc=NOW)
    for number in range(REMEMBERED - 2):
        desk.read("nurse", command(id=f"n{number}"), retained=False, utc=NOW)
    assert refusal(command(id="one more"), desk=desk) == "busy"
    later = NOW + 2 * TTL_S + 1
    assert desk.read("nurse", command(id="later", t=later), retained=False, utc=later).id == "later"
