"""Sittings of simulated subjects, and the devices that are drawn for them."""

from __future__ import annotations

import numpy as np
import pytest

from models.data.simulated import RATES_HZ, draw_sitting, least_rates
from monitor.bundle import default_input
from monitor.modality import MODALITY_MIN_RATE_HZ

MODALITIES = ("EDA", "ECG", "EMG")
FINE = tuple(default_input(modality, rate_hz=512.0, samples=2816) for modality in MODALITIES)


def test_a_sitting_has_both_kinds_and_levels_of_pain_and_rest_to_calibrate_on() -> None:
    calibrations, rates = set(), set()
    for number in range(30):
        sitting = draw_sitting("train", number, ["EDA", "ECG"])
        again = draw_sitting("train", number, ["EDA", "ECG"])
        episodes = sitting.patient.episodes_until(np.inf)
        assert episodes == again.patient.episodes_until(np.inf)
        assert {(e.kind, e.level) for e in episodes if e.kind == "tonic"} == {("tonic", 0.5), ("tonic", 1.0)}
        assert {e.level for e in episodes if e.kind == "phasic"} == {0.5, 1.0}
        if sitting.calibration_s < 300.0:
            assert 20.0 <= sitting.calibration_s <= 120.0
            assert episodes[0].onset_s > sitting.calibration_s
        calibrations.add(sitting.calibration_s)
        rates.add(sitting.patient.rates_hz["ECG"])
        for modality, choices in RATES_HZ.items():
            assert sitting.patient.rates_hz[modality] in choices
    assert len(calibrations) > 10
    assert 300.0 in calibrations  # some subjects are never calibrated
    assert len(rates) > 4
    assert all(draw_sitting("train", n, ["EDA", "BVP"]).calibration_s < 300.0 for n in range(30))


def test_all_device_rates_serve_their_modality() -> None:
    assert all(min(rates) >= MODALITY_MIN_RATE_HZ[modality] for modality, rates in RATES_HZ.items())


def test_every_device_is_one_that_the_model_accepts() -> None:
    least = least_rates(FINE)
    assert least == {"EDA": 4.0, "ECG": 250.0, "EMG": 450.0}
    drawn = {modality: set[float]() for modality in MODALITIES}
    for number in range(60):
        patient = draw_sitting("train", number, MODALITIES, least_hz=least).patient
        for modality in MODALITIES:
            drawn[modality].add(patient.rate_hz(modality))
    for modality, rates in drawn.items():
        assert rates == {rate for rate in RATES_HZ[modality] if rate >= least[modality]}


@pytest.mark.parametrize("number", range(8))
def test_what_befalls_a_subject_does_not_depend_on_the_model(number: int) -> None:
    coarse = draw_sitting("train", number, ("EDA", "ECG"))
    fine = draw_sitting("train", number, MODALITIES, least_hz=least_rates(FINE))
    assert (coarse.calibration_s, coarse.seconds) == (fine.calibration_s, fine.seconds)
    assert coarse.patient.episodes_until(np.inf) == fine.patient.episodes_until(np.inf)
    assert coarse.patient.confounders_until(np.inf) == fine.patient.confounders_until(np.inf)
    assert coarse.patient.rate_hz("EDA") == fine.patient.rate_hz("EDA")
    if coarse.patient.rate_hz("ECG") >= 250.0:
        assert coarse.patient.rate_hz("ECG") == fine.patient.rate_hz("ECG")
