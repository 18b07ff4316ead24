"""Devices of simulated subjects are fast enough for the model that reads them, and change nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from models.data.simulated import RATES_HZ, cut_sitting, draw_sitting, least_rates, population_inputs
from monitor.bundle import default_input
from monitor.types import MODALITY_UNITS

MODALITIES = ("EDA", "ECG", "EMG")
FINE = tuple(default_input(modality, rate_hz=512.0, samples=2816) for modality in MODALITIES)


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


def test_a_sitting_gives_windows_of_a_fine_grid() -> None:
    inputs = population_inputs(MODALITIES, part="train", numbers=range(2), rate_hz=512.0, samples=2816)
    assert [(item.name, item.rate_hz, item.samples) for item in inputs] == [
        (modality.lower(), 512.0, 2816) for modality in MODALITIES
    ]
    assert all(item.scale.fallback is not None for item in inputs if MODALITY_UNITS[item.modality] != "a.u.")
    windows = cut_sitting(draw_sitting("train", 4, MODALITIES, least_hz=least_rates(inputs)), inputs)
    assert len(windows) > 100
    for values in windows.inputs.values():
        assert values.shape == (len(windows), 1, 2816)
        assert 0.3 < values.std() < 5.0
