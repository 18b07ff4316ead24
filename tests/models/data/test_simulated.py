from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from models.data.base import UNLABELLED, WindowSet, join
from models.data.simulated import (
    AFTER_S,
    ANSWER_S,
    MODERATE,
    NONE,
    RATES_HZ,
    RECOVERY_S,
    SEVERE,
    Sitting,
    choose_windows,
    cut_sitting,
    draw_sitting,
    label_windows,
    population_inputs,
)
from models.training.shipped import SHIPPED
from monitor.bundle import default_input
from monitor.sources.synthetic import PainEpisode, SyntheticPatient
from monitor.types import MODALITY_MIN_RATE_HZ

EPISODES = st.lists(
    st.builds(
        PainEpisode,
        onset_s=st.floats(0, 200),
        duration_s=st.floats(1, 60),
        level=st.sampled_from([0.5, 1.0]),
    ),
    max_size=4,
)


def brief(number: int = 1, *, part: str = "train", calibration_s: float = 20.0) -> Sitting:
    """Rest, one severe spell, rest."""
    patient = SyntheticPatient(
        part=part, number=number, episodes=[PainEpisode.tonic(45.0, 30.0, 1.0)], confounders=(), responder=True
    )
    return Sitting(patient=patient, calibration_s=calibration_s, seconds=95.0)


@pytest.fixture(scope="module")
def windows() -> WindowSet:
    return cut_sitting(brief(), [default_input("EDA"), default_input("ECG")])


@settings(max_examples=60, deadline=None)
@given(EPISODES, st.floats(0, 300))
def test_the_label_rule_is_what_it_says(episodes: list[PainEpisode], t: float) -> None:
    label = label_windows(np.array([t]), episodes)[0]
    painful = [e for e in episodes if e.onset_s + ANSWER_S <= t < e.end_s + AFTER_S]
    if painful:
        assert label == (SEVERE if max(e.level for e in painful) == 1.0 else MODERATE)
    elif any(e.onset_s <= t < e.end_s + RECOVERY_S for e in episodes):
        assert label == UNLABELLED
    else:
        assert label == NONE


def test_the_first_seconds_of_pain_and_those_after_it_have_no_label() -> None:
    episode = PainEpisode.tonic(50.0, 30.0, 1.0)
    times = np.array([49.9, 50.0, 52.9, 53.0, 79.9, 81.9, 82.0, 94.9, 95.0])
    expected = [NONE, UNLABELLED, UNLABELLED, SEVERE, SEVERE, SEVERE, UNLABELLED, UNLABELLED, NONE]
    assert label_windows(times, [episode]).tolist() == expected


def test_the_same_subject_gives_the_same_windows_bit_for_bit(windows: WindowSet) -> None:
    again = cut_sitting(brief(), [default_input("EDA"), default_input("ECG")])
    assert len(windows) > 40
    for name, values in windows.inputs.items():
        assert values.tobytes() == again.inputs[name].tobytes()
    assert windows.labels.tolist() == again.labels.tolist()
    other = cut_sitting(brief(2), [default_input("EDA"), default_input("ECG")])
    assert other.inputs["ecg"][:5].tobytes() != windows.inputs["ecg"][:5].tobytes()


def test_every_window_is_whole_scaled_and_labelled(windows: WindowSet) -> None:
    assert set(windows.inputs) == {"eda", "ecg"}
    for values in windows.inputs.values():
        assert values.shape == (len(windows), 1, 138)
        assert values.dtype == np.float32
        assert np.isfinite(values).all()
        assert np.abs(values).max() <= 20.0
    assert (windows.inputs["eda"][:, 0, 0] == 0.0).all()  # centred on its first point
    assert (np.diff(windows.t_end) > 0).all()
    assert set(windows.labels.tolist()) == {NONE, SEVERE, UNLABELLED}
    assert windows.calibrated.all()  # without fallback statistics nothing is scored before


def test_a_fallback_lets_windows_be_cut_before_the_baseline_is_complete() -> None:
    inputs = [
        default_input("EDA", fallback={"center": 5.0, "spread": 0.1}),
        default_input("ECG", fallback={"center": 0.0, "spread": 0.1}),
    ]
    cut = cut_sitting(brief(calibration_s=60.0), inputs)
    assert not cut.calibrated[0]
    assert cut.calibrated[-1]
    first = int(np.flatnonzero(cut.calibrated)[0])
    assert not cut.calibrated[:first].any()
    assert cut.calibrated[first:].all()


def test_population_statistics_are_for_absolute_units_only() -> None:
    eda, bvp = population_inputs(["EDA", "BVP"], part="train", numbers=range(3))
    assert bvp.scale.fallback is None
    assert eda.scale.fallback is not None
    assert 0.5 < eda.scale.fallback["center"] < 20.0
    assert 0.0 < eda.scale.fallback["spread"] < 2.0


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


def test_chosen_windows_are_labelled_distinct_and_no_more_than_wanted(windows: WindowSet) -> None:
    chosen = choose_windows(windows, (8, 5, 7), np.random.default_rng(1))
    assert np.bincount(chosen.labels, minlength=3).tolist() == [8, 0, 7]
    assert len(set(chosen.t_end.tolist())) == len(chosen)
    everything = choose_windows(windows, (10_000,) * 3, np.random.default_rng(1))
    assert everything.t_end.tolist() == windows.labelled().t_end.tolist()


def test_joined_windows_are_those_of_the_parts(windows: WindowSet) -> None:
    both = join([windows.take(np.arange(3)), windows.take(np.arange(10, 14))])
    assert both.t_end.tolist() == [*windows.t_end[:3], *windows.t_end[10:14]]
    assert both.inputs["eda"].shape == (7, 1, 138)
    with pytest.raises(ValueError, match="nothing to join"):
        join([])


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_no_subject_is_in_two_parts(name: str) -> None:
    plan = SHIPPED[name]
    cohorts = [plan.train, plan.validation, plan.calibration, plan.test]
    subjects = [(cohort.part, number) for cohort in cohorts for number in cohort.numbers]
    assert len(set(subjects)) == len(subjects)
    assert plan.test.part == "test"
    assert all(cohort.part == "train" for cohort in cohorts[:3])
    assert plan.live_first > max(plan.test.numbers)
    windows = sum(len(cohort.numbers) * sum(cohort.per_class) for cohort in cohorts[:3])
    assert windows <= 4000
