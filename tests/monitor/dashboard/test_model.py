"""What the dashboard knows: nothing old is ever shown as new, and what is missing is said in words."""

from __future__ import annotations

import math
import re

import pytest

from benchmarks.screen_frames import alarm_view, bed_state, state
from monitor.dashboard import words
from monitor.dashboard.model import GONE_S, DashboardModel, pauses
from monitor.link import History, IndexView, LimitsView, SignalsView
from monitor.types import CalibrationState, Reason

STREAM = 500.0
"""Stream clock minus the clock of the test, so that nothing can mistake one for the other."""


class Screen:
    """A model and the clock of its process."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.model = DashboardModel(clock=lambda: self.now)
        self.seq = 0

    def see(self, k: int, *, after: float = 1.0, engine: str = "e1", **bed: object) -> None:
        """A state arrives `after` seconds later."""
        self.now += after
        self.seq += 1
        self.model.take(state(bed_state(k=k, **bed), seq=self.seq, t=self.now + STREAM, engine=engine))


@pytest.fixture
def screen() -> Screen:
    screen = Screen()
    for k in range(int(screen.now + STREAM), int(screen.now + STREAM) + 5):
        screen.see(k)
    return screen


def test_a_fresh_index_is_shown_as_it_is(screen: Screen) -> None:
    reading = screen.model.index()
    assert (reading.text, reading.grey, reading.hollow, reading.reason) == ("42", False, False, "")


def test_without_news_the_index_turns_grey_and_then_goes(screen: Screen) -> None:
    said = []
    for _ in range(120):
        screen.now += 0.1
        reading = screen.model.index()
        said.append((reading.text, reading.grey))
    assert said[15] == ("42", False)
    assert said[29] == ("42", True)
    assert said[-1] == ("---", True)
    grey = [text for text, is_grey in said if is_grey]
    assert grey.index("---") > 60
    assert "no word from the engine" in screen.model.index().reason


def test_an_engine_that_talks_but_scores_nothing_new_is_just_as_stale(screen: Screen) -> None:
    k = screen.model.bed.score.k
    for _ in range(int(4 * (GONE_S + 1))):
        screen.see(k, after=0.25)
    reading = screen.model.index()
    assert screen.model.connected
    assert (reading.text, reading.grey) == ("---", True)
    assert reading.reason == "no new score"
    assert not screen.model.has_score


def test_a_stopped_screen_does_not_take_an_old_state_for_a_new_one(screen: Screen) -> None:
    screen.now += 60.0
    assert screen.model.index().text == "---"
    assert not screen.model.connected


def test_the_first_look_at_an_old_score_does_not_make_it_new() -> None:
    screen = Screen()
    old = int(screen.now + STREAM) - 30
    screen.see(old)
    assert screen.model.index().text == "---"
    screen.see(old + 29)
    assert screen.model.index().text == "42"


def test_a_window_without_a_score_says_why_and_shows_no_attention(screen: Screen) -> None:
    k = screen.model.bed.score.k
    screen.see(k + 1, absent=("EDA:flat", "EDA:saturated", "ECG:flat"), fast=40.0)
    assert screen.model.index().reason == "EDA: flat line, saturated; ECG: flat line"
    assert not screen.model.has_score


def test_an_index_that_is_withheld_has_no_number_whatever_came_before(screen: Screen) -> None:
    k = screen.model.bed.score.k
    withheld = IndexView(fast=None, slow=None, fast_withheld="bundle_changed", slow_withheld="", hollow=False)
    screen.see(k + 1, index=withheld)
    reading = screen.model.index()
    assert (reading.text, reading.value, reading.slow) == ("---", None, None)
    assert reading.reason == "the model has just changed"


def test_a_restarted_engine_begins_a_new_trend(screen: Screen) -> None:
    assert len(screen.model.trend()[0]) == 5
    screen.see(3000, engine="e2")
    assert screen.model.trend()[0].tolist() == [3000.0]
    assert screen.model.wants_history


def test_a_hole_in_what_was_seen_is_asked_for_and_filled(screen: Screen) -> None:
    screen.model.wants_history = False
    k = screen.model.bed.score.k
    screen.see(k + 10, after=10.0)
    assert screen.model.wants_history
    t = tuple(float(i) for i in range(k - 20, k + 11))
    screen.model.take_history(History(t=t, fast=(10.0,) * 31, slow=(None,) * 31, absent=("EDA:gap", *[""] * 30)))
    times, fast, slow, absent = screen.model.trend()
    assert times.tolist() == sorted(set(times.tolist()))
    assert len(times) == 31
    assert fast[0] == 10.0
    assert math.isnan(slow[0])
    assert absent.tolist() == [float(k - 20)]


def test_the_trend_points_where_the_index_goes() -> None:
    screen = Screen()
    start = int(screen.now + STREAM)
    for step in range(60):
        screen.see(start + step, fast=20.0 + step)
    assert screen.model.index().trend == pytest.approx(33.0, abs=4.0)


def test_without_an_engine_the_alarm_line_says_that_alarms_are_not_known(screen: Screen) -> None:
    screen.now += 5.0
    alarm = screen.model.alarm()
    assert alarm.level == "technical"
    assert "alarms are not known" in alarm.text


@pytest.mark.parametrize("step", [0, -3])
def test_states_that_do_not_advance_are_no_sign_of_life(screen: Screen, step: int) -> None:
    known = screen.model.frame
    assert known is not None
    for _ in range(14):
        screen.now += 0.25
        screen.model.take(known.model_copy(update={"seq": known.seq + step, "t": screen.now + STREAM}))
    assert screen.model.alarm().text.startswith("* No word from the engine for 4 s")
    assert screen.model.index().grey
    screen.model.take_sent("e1", known.seq)
    assert not screen.model.behind  # there is nothing newer
    screen.model.take_sent("e1", known.seq + 14)
    assert screen.model.alarm().text.startswith("* This screen is 4 s behind the engine")
    screen.see(int(screen.now + STREAM))
    assert not screen.model.behind
    assert screen.model.alarm().text == ""


def test_an_alarm_states_its_deviation_and_asks_for_reassessment(screen: Screen) -> None:
    k = screen.model.bed.score.k
    screen.see(k + 1, fast=78.0, alarms=(alarm_view(), alarm_view("unscorable", causes=("EDA:flat",))))
    alarm = screen.model.alarm()
    assert alarm.text == "** Severe pain: index 78 (limit 70). Reassess pain, enter a score"
    assert (alarm.level, alarm.flashing, alarm.condition, alarm.others) == ("medium", True, "pain_severe", 1)
    # It stands until the index has been low for a while; until then the line does not contradict the number.
    screen.see(k + 2, fast=61.0, alarms=(alarm_view(),))
    assert screen.model.alarm().text == "** Severe pain: index now 61, was above 70. Reassess pain, enter a score"


def test_an_acknowledged_alarm_stops_flashing_and_stays() -> None:
    screen = Screen()
    screen.see(int(screen.now + STREAM), fast=78.0, alarms=(alarm_view(presence="ack"),))
    alarm = screen.model.alarm()
    assert (alarm.flashing, alarm.condition) == (False, "")
    assert alarm.text.endswith("(acknowledged)")


def test_alarms_of_one_priority_take_turns() -> None:
    screen = Screen()
    screen.see(
        int(screen.now + STREAM),
        alarms=(alarm_view("unscorable"), alarm_view("pain_moderate"), alarm_view("pain_severe", presence="ack")),
    )
    seen = set()
    for _ in range(4):
        seen.add(screen.model.alarm().condition)
        screen.now += 2.0
        screen.see(int(screen.now + STREAM), after=0.0, alarms=screen.model.bed.alarms)
    assert seen == {"unscorable", "pain_moderate"}


def test_every_code_has_words_and_none_advises_treatment() -> None:
    assert set(words.REASONS) == {str(reason) for reason in Reason}
    assert set(words.CALIBRATION) == {str(item) for item in CalibrationState}
    everything = " ".join([words.BANNER, *words.REASONS.values(), *words.ALARMS.values()]).lower()
    assert not re.search(r"analges|opioid|morphin|dose|drug|medicat|give ", everything)


def test_limits_other_than_default_reach_the_screen(screen: Screen) -> None:
    changed = LimitsView(moderate_on=40.0, severe_on=60.0, changed=("moderate_on", "severe_on"))
    screen.see(screen.model.bed.score.k + 1, fast=65.0, alarms=(alarm_view(),), limits=changed)
    assert "limit 60" in screen.model.alarm().text


def test_pauses_are_shown_with_their_countdown(screen: Screen) -> None:
    assert pauses(screen.model.bed) == ""
    signals = SignalsView(audio="paused", audio_left_s=118.2, pain="paused", pain_left_s=59.9, reason="washing")
    screen.see(int(screen.now + STREAM), alarms=(alarm_view(visual="paused", audio="paused"),), signals=signals)
    assert pauses(screen.model.bed) == "Pain alarms suspended (washing) 1:00 · Sound paused 1:59"
    reading = screen.model.alarm()
    assert (reading.flashing, bool(reading.text)) == (False, True)


def test_an_uncertain_window_greys_the_index_and_hides_its_class(screen: Screen) -> None:
    k = int(screen.now + STREAM) + 5
    score = bed_state(k=k).score
    assert score is not None
    unsure = score.model_copy(
        update={"uncertain": ("uncertain:unlike_training",), "probabilities": None, "index": None}
    )
    screen.see(k, score=unsure)
    reading = screen.model.index()
    assert (reading.text, reading.grey) == ("42", True)  # of the windows before it, and no longer of now
    assert reading.reason == "uncertain: unlike what it was trained on"
    assert not screen.model.has_score
    screen.see(k + 1)
    assert (screen.model.index().grey, screen.model.uncertain) == (False, False)


def test_a_vote_is_shown_by_name(screen: Screen) -> None:
    assert screen.model.votes() == ""
    index = IndexView(fast=42.0, slow=30.0, fast_withheld="", slow_withheld="", hollow=False)
    votes = {"a": 42.0, "b": 61.0, "c": None}
    screen.see(600, index=index.model_copy(update={"vote": "any", "voted": 61.0, "votes": votes}))
    assert screen.model.votes() == "alarms: any 61   ·   a 42  b 61  c --"
