"""From indices to announcements: what is found, how soon, and what is false, by the monitor's own alarm manager."""

from __future__ import annotations

import numpy as np
import pytest

from models.evaluation.alarm_path import Watched, alarm_curve, settings_at
from models.evaluation.alarm_path_plain import HEART_RATE, SCR_RATE, SPI_STYLE, plain_steps, scr_rates
from models.evaluation.streaming_feed import live_run
from tests.helpers.alarm_windows import ORIGIN, window
from tests.helpers.live_sittings import RisingRunner, live_sitting, live_spec

HOUR = 3600


def sitting(high, bouts, *, seconds=1800, subject="a"):
    """A sitting whose index is 80 within `high` and 10 elsewhere; times from the origin of the alarm helper."""
    values = [80.0 if any(a <= k < b for a, b in high) else 10.0 for k in range(seconds)]
    return Watched(
        subject=subject,
        steps=tuple(window(k, value) for k, value in enumerate(values)),
        bouts=tuple((ORIGIN + a, ORIGIN + b) for a, b in bouts),
        start_s=ORIGIN,
        end_s=ORIGIN + seconds,
        covered=1.0,
    )


def point(items, limit=50.0, delay=15.0):
    return alarm_curve(items, score="index", seed=1, limits=[limit], delays_s=[delay]).points[0]


def test_a_bout_is_found_once_the_index_has_persisted():
    found = point([sitting([(205, 260)], [(200, 260)])])
    assert (found.bouts, found.detected, found.false_alarms) == (1, 1, 0)
    assert found.delay_median_s == found.delay_p90_s == 20.0  # 5 s until it rises, 15 s of persistence
    assert point([sitting([(205, 260)], [(200, 260)])], delay=60.0).detected == 0
    assert point([sitting([(205, 260)], [(200, 260)])], limit=90.0).detected == 0


def test_an_announcement_outside_of_every_bout_is_false():
    found = point([sitting([(1000, 1040)], [(200, 260)])])
    assert (found.detected, found.false_alarms) == (0, 1)
    assert found.false_per_hour.value == pytest.approx(HOUR / (1800 - 60 - 15))
    assert found.false_per_monitored_hour == pytest.approx(2.0)


def test_an_alarm_that_never_ends_finds_nothing():
    found = point([sitting([(0, 1800)], [(200, 260), (600, 660)])])
    assert (found.detected, found.there_before, found.false_alarms) == (0, 2, 1)
    assert found.in_alarm_without_pain > 0.95


def test_a_second_announcement_soon_after_the_first_counts_too():
    """By its id it is the same alarm; here each announcement has to be right."""
    found = point([sitting([(205, 260), (330, 360)], [(200, 260)])])
    assert (found.detected, found.false_alarms) == (1, 1)


def test_without_any_false_alarm_the_rate_is_not_said_to_be_nought():
    figure = point([sitting([], [(200, 260)])]).false_per_hour
    assert (figure.value, figure.low) == (0.0, 0.0)
    assert figure.high == pytest.approx(3.0 / ((1800 - 75) / HOUR))


def test_a_laxer_rate_never_finds_less():
    rng = np.random.default_rng(2)
    items = []
    for i in range(4):
        bouts = [(300, 360), (900, 960), (1500, 1560)]
        high = [(a + int(rng.integers(20)), b + 10) for a, b in bouts if rng.random() < 0.8]
        high += [(int(t), int(t) + int(rng.integers(10, 60))) for t in rng.integers(0, 1700, 3)]
        items.append(sitting(high, bouts, subject=str(i)))
    curve = alarm_curve(
        items, score="index", seed=1, limits=[50.0], delays_s=[5, 15, 30, 60], rates_per_hour=[0.5, 5, 50]
    )
    found = [0.0 if p is None else p.sensitivity.value for p in curve.at_rates.values()]
    assert found == sorted(found)
    assert found[-1] > 0.5
    for rate, chosen in curve.at_rates.items():
        assert chosen is None or chosen.false_per_hour.value <= float(rate)


def test_settings_of_the_grid_are_those_that_the_monitor_allows():
    assert settings_at(30.0, 10.0).moderate_off == 15.0
    with pytest.raises(ValueError, match="moderate_on"):
        settings_at(10.0, 10.0)


@pytest.fixture(scope="module")
def run():
    return live_run(live_sitting(1, ("EDA", "BVP")), live_spec(("EDA", "BVP")), RisingRunner(), seed=5)


def test_plain_measures_go_the_same_way_as_the_model(run):
    steps = plain_steps(run)
    assert set(steps) == {HEART_RATE, SCR_RATE, SPI_STYLE}
    for name, found in steps.items():
        assert len(found) == len(run.scores)
        resting = [i for i, s in found if s.t_end <= run.calibrated_at]
        assert all(index.hollow or index.fast is None for index in resting), name  # no alarm while calibrating
        values = np.array([s.index for _, s in found if s.index is not None])
        assert values.min() >= 0, name
        assert values.max() <= 100, name
    assert set(plain_steps(live_run(live_sitting(1), live_spec(), RisingRunner(), seed=5))) == {SCR_RATE}


def test_plain_measures_are_those_that_the_monitor_shows(run):
    told = [score for _, score in plain_steps(run)[SPI_STYLE]]
    assert [score.index for score in told] == [found.spi for found in run.comparators]
    assert all(bool(score.absent) == (score.index is None) for score in told)
    assert [score.t_end for score in told] == [found.t_end for found in run.comparators]


def test_responses_rise_with_pain(run):
    t_end = np.array([found.t_end for found in run.comparators])
    rates = scr_rates(run.comparators)
    during, before = np.nanmax(rates[(t_end > 60) & (t_end < 180)]), np.nanmedian(rates[t_end < 60])
    assert during > before
