"""Calibration: valid seconds only, frozen afterwards."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.bundle import default_input
from monitor.calibration import Calibration, input_key
from monitor.types import CalibrationState


def test_a_baseline_is_made_of_exactly_the_seconds_that_were_asked_for() -> None:
    calibration = Calibration(bed="bed1", needed_s=4.0)
    random = np.random.default_rng(0)
    pieces = [random.normal(size=25) for _ in range(6)]
    assert calibration.state(["a"]) is CalibrationState.NOT_CALIBRATED
    for second, piece in enumerate(pieces):
        if not calibration.wants("a", float(second)):
            break
        calibration.add("a", piece, seconds=1.0)
    assert second == 4
    baseline = calibration.baseline("a")
    assert baseline is not None
    points = np.concatenate(pieces[:4])
    lower, upper = np.percentile(points, [25, 75])
    assert (baseline.center, baseline.spread) == (pytest.approx(np.median(points)), pytest.approx(upper - lower))
    assert baseline.range == pytest.approx(np.ptp(points))
    assert not calibration.wants("a", 99.0)


def test_the_slowest_input_sets_state_and_countdown() -> None:
    calibration = Calibration(bed="bed1", needed_s=2.0)
    points = np.arange(50.0)
    calibration.add("a", points, seconds=2.0)
    calibration.add("b", points, seconds=0.5)
    event = calibration.event(["a", "b"], 7.0)
    assert event.state is CalibrationState.CALIBRATING
    assert event.valid_s == 0.5
    assert set(event.baseline) == {"a"}
    calibration.add("b", points, seconds=1.5)
    assert calibration.event(["a", "b"], 8.0).state is CalibrationState.CALIBRATED
    assert calibration.state(["a", "c"]) is CalibrationState.CALIBRATING


def test_restart_forgets_and_restore_brings_back_the_same_numbers() -> None:
    calibration = Calibration(bed="bed1", needed_s=1.0)
    calibration.restrict(5.0, 9.0)
    assert not calibration.wants("a", 5.0)
    assert calibration.wants("a", 5.25)
    assert not calibration.wants("a", 9.25)
    calibration.add("a", np.array([0.1, 0.2, 0.7]), seconds=1.0)
    stored = calibration.event(["a"], 1.0).baseline
    calibration.restart()
    assert calibration.baseline("a") is None
    assert calibration.wants("a", 100.0)
    calibration.restore(stored)
    assert calibration.event(["a"], 2.0).baseline == stored


def test_inputs_that_are_filtered_alike_share_a_baseline_and_others_do_not() -> None:
    eda = default_input("EDA", fallback={"center": 1.0, "spread": 1.0})
    assert input_key(eda) == input_key(eda.model_copy(update={"name": "other", "samples": 250}))
    faster = eda.model_copy(update={"rate_hz": 512.0})
    wider = eda.model_copy(update={"filter": eda.filter.model_copy(update={"high_hz": 5.0})})
    assert len({input_key(eda), input_key(faster), input_key(wider)}) == 3
