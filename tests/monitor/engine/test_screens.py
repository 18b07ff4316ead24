"""A screen that does not show what there is becomes an alarm, and nothing else does (clinical.md D7)."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.alarm import SELF_CHECK_MISSED
from monitor.engine.engine import Engine
from monitor.engine.screens import BEHIND_S, FORGOTTEN_S, Screens
from monitor.errors import EngineError
from monitor.link import EngineLink, endpoint
from tests.helpers.engine_process import settings_for
from tests.helpers.scripted import ScriptedSource, wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

STATE_S = 0.25


class Ward:
    """An engine that sends a state four times a second, on a clock of the test."""

    def __init__(self) -> None:
        self.screens = Screens("e1")
        self.now = 100.0
        self.seq = 0

    def run(self, seconds: float, *, showing: dict[str, int | None] | None = None) -> list[tuple[str, ...]]:
        """Time passes; what was behind at bed1, at each look. `showing`: the seq of a screen, None for the newest."""
        found = []
        for _ in range(round(seconds / STATE_S)):
            self.now += STATE_S
            self.seq += 1
            self.screens.sent(self.seq, self.now)
            for name, seq in (showing or {}).items():
                self.says(name, self.seq if seq is None else seq)
            found.append(self.screens.behind(self.now).get("bed1", ()))
        return found

    def says(self, name: str, seq: int, *, engine: str = "e1", leaving: bool = False) -> dict[str, object]:
        """A screen, whose user has its name, says what it shows."""
        return self.screens.seen(
            bed="bed1", screen=name, actor=name, engine=engine, seq=seq, leaving=leaving, now=self.now
        )


@pytest.fixture
def ward() -> Ward:
    made = Ward()
    made.run(10.0)
    return made


def test_a_screen_that_keeps_up_is_no_alarm_and_learns_what_was_sent(ward: Ward) -> None:
    assert set(ward.run(30.0, showing={"anna": None})) == {()}
    assert ward.says("anna", ward.seq) == {"engine": "e1", "seq": ward.seq}


@pytest.mark.parametrize("stuck", ["old", "future"])
def test_a_screen_that_stands_still_is_behind_after_three_seconds(ward: Ward, stuck: str) -> None:
    ward.run(5.0, showing={"anna": None, "bert": None})
    shown = ward.seq if stuck == "old" else ward.seq + 10_000
    found = ward.run(6.0, showing={"anna": None, "bert": shown})
    first = found.index(("dashboard-bert",))
    assert set(found[:first]) == {()}
    assert set(found[first:]) == {("dashboard-bert",)}
    assert BEHIND_S <= (first + 1) * STATE_S <= BEHIND_S + 3 * STATE_S
    assert set(ward.run(2.0, showing={"anna": None, "bert": None})) == {()}


def test_a_screen_that_goes_silent_is_behind_until_it_is_forgotten(ward: Ward) -> None:
    ward.run(5.0, showing={"anna": None})
    found = ward.run(FORGOTTEN_S + 5.0)
    assert found[round((BEHIND_S + 1.0) / STATE_S)] == ("dashboard-anna",)
    assert found[-1] == ()


def test_a_screen_that_says_farewell_is_not_missed(ward: Ward) -> None:
    ward.run(5.0, showing={"anna": None})
    ward.says("anna", ward.seq, leaving=True)
    assert set(ward.run(20.0)) == {()}


def test_a_screen_has_time_for_its_first_look_at_a_new_engine_but_not_for_ever(ward: Ward) -> None:
    ward.says("anna", 9000, engine="e0")
    found = ward.run(BEHIND_S)
    ward.says("anna", 9000, engine="e0")
    assert set(found) == {()}
    assert ward.run(1.0)[-1] == ("dashboard-anna",)


def test_whoever_did_not_look_for_a_while_judges_nobody_at_once(ward: Ward) -> None:
    """A pipeline that hung has held up the answers to the screens, too."""
    ward.run(5.0, showing={"anna": None})
    for _ in range(40):  # states go on, looks do not
        ward.now += STATE_S
        ward.seq += 1
        ward.screens.sent(ward.seq, ward.now)
    assert ward.screens.behind(ward.now) == {}
    assert set(ward.run(5.0, showing={"anna": None})) == {()}


def test_a_name_is_fit_for_every_output_and_screens_are_bounded(ward: Ward) -> None:
    ward.says("<b>Dr. X</b>/../#\n", 0)
    assert ward.run(BEHIND_S + 1.0)[-1] == ("dashboard-_b_Dr._X__b__..___",)
    for number in range(1000):
        ward.says(f"s{number}", 0)
    assert len(ward.run(BEHIND_S + 1.0)[-1]) == 64


@given(st.lists(st.tuples(st.integers(0, 60), st.booleans(), st.sampled_from(["e1", "e0"])), max_size=30))
def test_only_what_was_missed_for_long_enough_counts(words: list[tuple[int, bool, str]]) -> None:
    ward = Ward()
    ward.run(5.0)
    shown_at = None  # when the screen was first heard, or last showed what was the newest
    for seq, leaving, engine in words:
        ward.says("anna", seq, engine=engine, leaving=leaving)
        if leaving:
            shown_at = None
        elif shown_at is None or (engine == "e1" and seq == ward.seq):
            shown_at = ward.now
        found = ward.run(0.5)[-1]
        if shown_at is None or ward.now - shown_at <= BEHIND_S:
            assert found == ()


def test_a_real_screen_that_stops_is_a_technical_alarm_of_its_bed(tmp_path: Path) -> None:
    settings = settings_for(tmp_path, write_tiny_bundle(tmp_path), record=False)
    engine = Engine(settings=settings, sources={"bed1": [ScriptedSource("none", [])]})
    engine.start()
    link = EngineLink(address=endpoint(tmp_path / "run", "bed1"), actor="anna")
    try:
        shown = []

        def look(*, leaving: bool = False) -> None:
            received = link.receive()
            if received.state is not None:
                shown.append(received.state)
            if shown:
                seen = {"screen": "s1", "engine": shown[-1].engine, "seq": shown[-1].seq, "leaving": leaving}
                link.request("seen", seen, bed="bed1")

        def causes() -> list[str]:
            alarms = engine.request("status", {}, bed="bed1")["alarms"]
            return [cause for alarm in alarms if alarm["condition"] == SELF_CHECK_MISSED for cause in alarm["causes"]]

        def looked(times: int) -> bool:
            look()
            return len(shown) >= times

        wait_until(lambda: looked(4) and causes() == [])
        wait_until(lambda: causes() == ["dashboard-anna"])

        def well() -> bool:
            look()
            return not causes()

        wait_until(well)
        with pytest.raises(EngineError, match="seq"):
            engine.request("seen", {"screen": "s1", "engine": "e", "seq": -1}, bed="bed1")
        look(leaving=True)
    finally:
        link.close()
        engine.stop()
