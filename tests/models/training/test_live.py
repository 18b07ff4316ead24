"""A model followed live on simulated sittings, as its card tells of it."""

from __future__ import annotations

import numpy as np
import pytest

from models.data.simulated import MODERATE, NONE, SEVERE, Sitting, draw_sitting, least_rates
from models.training.live import Course, calibrated_sittings, follow, live_figures
from monitor.bundle import default_input
from monitor.sources.synthetic import Confounder, PainEpisode, SyntheticPatient
from tests.helpers.live_sittings import RisingRunner, live_spec


def sitting(*confounders: Confounder) -> Sitting:
    """Rest, a severe spell of 45 s, rest."""
    patient = SyntheticPatient(
        part="test", number=1, episodes=[PainEpisode.tonic(60.0, 45.0, 1.0)], confounders=confounders, responder=True
    )
    return Sitting(patient=patient, calibration_s=20.0, seconds=160.0)


def test_sittings_are_those_in_which_a_baseline_is_taken() -> None:
    inputs = [default_input("EDA"), default_input("ECG")]
    drawn = [draw_sitting("test", n, ["EDA", "ECG"], least_hz=least_rates(inputs)) for n in range(100, 115)]
    taken = [s.patient.subject for s in drawn if s.calibration_s < 300.0]
    assert len(taken) < len(drawn)
    found = calibrated_sittings("test", 100, len(taken), inputs)
    assert [s.patient.subject for s in found] == taken


def test_a_sitting_is_scored_once_it_is_calibrated() -> None:
    course = follow(RisingRunner(), live_spec(), sitting())
    assert len(course.scored_t) > 100
    assert 20.0 < course.scored_t[0] < 35.0
    assert course.t[-1] > 155.0
    assert ((course.fast >= 0.0) & (course.fast <= 100.0)).all()
    assert set(course.classes.tolist()) <= {NONE, MODERATE, SEVERE}


@pytest.mark.parametrize("high", [60.0, 90.0])
def test_figures_count_what_they_are_named_for(high: float) -> None:
    """Ten at rest, `high` in pain from 5 s after its onset on, and a startle that shows as 55."""
    t = np.arange(30.0, 160.0)
    startle = Confounder(kind="startle", onset_s=145.0, duration_s=0.5, strength=1.0)
    fast = np.where((t >= 65.0) & (t < 105.0), high, 10.0)
    fast[t == 147.0] = 55.0
    told = np.where((t - 2.0 >= 60.0) & (t - 2.0 < 105.0), SEVERE, NONE)
    course = Course(sitting=sitting(startle), t=t, fast=fast, scored_t=t, classes=told)
    figures = live_figures([course])
    assert figures["balanced_accuracy"] == 1.0
    assert (figures["rest.median_index"], figures["rest.share_below_35"]) == (10.0, 1.0)
    assert figures["severe_tonic.spells"] == 1.0
    assert figures["severe_tonic.share_above_70_within_30_s"] == float(high > 70.0)
    assert figures["severe_tonic.later_median_index"] == high
    assert (figures["confounders"], figures["confounders.share_that_reach_50"]) == (1.0, 1.0)
