"""What pain does to a synthetic subject: published directions and latencies, and confounders that only look alike.

Single trials vary by design, so directions are judged on the mean over subjects and, where stated, on the median.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest

from monitor.sources.physiology import draw_profile
from monitor.sources.physiology_population import load_population
from monitor.sources.synthetic import Confounder, PainEpisode, SyntheticPatient, patient_seed
from monitor.types import FloatArray

SUBJECTS = range(24)
PHASIC_ONSETS = (40.0, 80.0, 120.0)
TONIC_ONSET, TONIC_S = 170.0, 120.0


@lru_cache(maxsize=256)
def subject(number: int, *, level: float = 1.0, responder: bool = True) -> SyntheticPatient:
    episodes = [PainEpisode.phasic(onset, level) for onset in PHASIC_ONSETS]
    episodes.append(PainEpisode.tonic(TONIC_ONSET, TONIC_S, level))
    return SyntheticPatient(part="test", number=number, episodes=episodes, confounders=(), responder=responder)


def stretch(patient: SyntheticPatient, modality: str, start: float, stop: float) -> FloatArray:
    rate = patient.rates_hz[modality]
    return patient.samples(modality, int(start * rate), int((stop - start) * rate)).astype(np.float64)


def heart_rate(patient: SyntheticPatient, start: float, stop: float) -> float:
    """Mean heart rate in bpm over whole intervals."""
    beats = patient.beats_until(stop)
    return 60.0 / float(np.mean(np.diff(beats[beats >= start])))


def eda_rise(patient: SyntheticPatient, onset: float, start: float, stop: float) -> float:
    """Mean of the EDA in uS over a stretch relative to an onset, above its value at the onset."""
    before = stretch(patient, "EDA", onset - 0.5, onset + 0.5).mean()
    return float(stretch(patient, "EDA", onset + start, onset + stop).mean() - before)


def spread(patient: SyntheticPatient, modality: str, start: float, stop: float) -> float:
    return float(np.std(stretch(patient, modality, start, stop)))


def breathing_rate(patient: SyntheticPatient, start: float, stop: float) -> float:
    """Breaths a minute from upward crossings of the median, with hysteresis against the sensor's noise."""
    resp = stretch(patient, "RESP", start, stop)
    resp = resp - np.median(resp)
    state = np.sign(np.where(np.abs(resp) > 0.3 * np.std(resp), resp, 0.0))
    state = state[state != 0]
    return 60.0 * float(np.sum(np.diff(state) > 0)) / (stop - start)


def mean(values: list[float]) -> float:
    return float(np.mean(values))


def test_heart_rate_rises_after_a_latency_and_returns() -> None:
    rises = {"early": (0.0, 1.0), "peak": (3.5, 7.0), "late": (26.0, 34.0)}
    change = {name: [] for name in rises}  # type: dict[str, list[float]]
    for number in SUBJECTS:
        patient = subject(number)
        beats = patient.beats_until(200.0)
        instantaneous = np.interp(np.arange(0, 200, 0.1), beats[1:], 60.0 / np.diff(beats))
        for onset in PHASIC_ONSETS:
            before = instantaneous[int(10 * (onset - 8)) : int(10 * onset)].mean()
            for name, (a, b) in rises.items():
                change[name].append(float(instantaneous[int(10 * (onset + a)) : int(10 * (onset + b))].mean() - before))
    assert abs(mean(change["early"])) < 1.0
    assert mean(change["peak"]) > 3.0
    assert abs(mean(change["late"])) < 1.0


def test_the_skin_answers_one_to_three_seconds_after_onset() -> None:
    onsets = []
    for number in SUBJECTS:
        patient = subject(number)
        rise = np.mean([stretch(patient, "EDA", onset, onset + 8.0) for onset in PHASIC_ONSETS], axis=0)
        rise -= rise[: int(patient.rates_hz["EDA"])].mean()
        # Onset as electrodermal work scores it: where the response first leaves the baseline for good.
        onsets.append(float(np.flatnonzero(rise < 0.05 * rise.max())[-1]) / patient.rates_hz["EDA"])
    # Few exceptions: a spontaneous SCR may begin on its own just before.
    assert 1.0 < np.median(onsets) < 3.0
    assert np.mean([(1.0 <= onset <= 3.2) for onset in onsets]) > 0.85


def test_pulse_amplitude_falls_muscles_tense_and_breathing_quickens() -> None:
    rest, pain = (60.0, 78.0), (TONIC_ONSET + 8.0, TONIC_ONSET + TONIC_S)
    # The pulse drifts on its own: what pain does to it shows against the same subject at the same time without pain.
    smaller = [spread(subject(n), "BVP", *pain) / spread(subject(n, level=0.0), "BVP", *pain) for n in SUBJECTS]
    assert mean(smaller) < 0.8
    assert max(smaller) < 1.0
    assert mean([spread(subject(n), "EMG", *pain) / spread(subject(n), "EMG", *rest) for n in SUBJECTS]) > 2.0
    faster = [breathing_rate(subject(n), *pain) - breathing_rate(subject(n, level=0.0), *pain) for n in SUBJECTS]
    assert mean(faster) > 2.0
    assert min(faster) > -0.6


def test_in_tonic_pain_the_skin_fades_while_the_rest_holds() -> None:
    early, late = (4.0, 14.0), (90.0, 118.0)
    fading, holding = [], []
    for number in SUBJECTS:
        pain, calm = subject(number), subject(number, level=0.0)
        eda = [
            float(
                (
                    stretch(pain, "EDA", TONIC_ONSET + a, TONIC_ONSET + b)
                    - stretch(calm, "EDA", TONIC_ONSET + a, TONIC_ONSET + b)
                ).mean()
            )
            for a, b in (early, late)
        ]
        fading.append(eda[1] / eda[0])
        for modality in ("BVP", "EMG"):
            effect = [
                spread(pain, modality, TONIC_ONSET + a, TONIC_ONSET + b)
                - spread(calm, modality, TONIC_ONSET + a, TONIC_ONSET + b)
                for a, b in (early, late)
            ]
            holding.append(effect[1] / effect[0])
        rates = [
            heart_rate(pain, TONIC_ONSET + a, TONIC_ONSET + b) - heart_rate(calm, TONIC_ONSET + a, TONIC_ONSET + b)
            for a, b in (early, late)
        ]
        holding.append(rates[1] / rates[0])
    assert np.median(fading) < 0.1
    assert max(fading) < 0.3
    assert 0.85 < np.median(holding) < 1.3
    assert all(10.0 <= subject(n).profile.strengths.fade_s <= 20.0 for n in SUBJECTS)


def test_more_pain_more_answer() -> None:
    for low, high in ((0.0, 0.5), (0.5, 1.0)):
        weak, strong = ([subject(n, level=level) for n in SUBJECTS] for level in (low, high))
        tonic = (TONIC_ONSET + 6.0, TONIC_ONSET + TONIC_S)
        assert mean([heart_rate(p, *tonic) for p in strong]) > mean([heart_rate(p, *tonic) for p in weak]) + 1.0
        assert mean([eda_rise(p, 40.0, 3.0, 8.0) for p in strong]) > mean([eda_rise(p, 40.0, 3.0, 8.0) for p in weak])
        assert mean([spread(p, "EMG", *tonic) for p in strong]) > mean([spread(p, "EMG", *tonic) for p in weak])


def test_non_responders_hardly_answer() -> None:
    tonic = (TONIC_ONSET + 6.0, TONIC_ONSET + TONIC_S)
    for number in SUBJECTS:
        calm, numb, other = subject(number, level=0.0), subject(number, responder=False), subject(number)
        assert not numb.responder
        assert other.responder
        shift, usual = (heart_rate(p, *tonic) - heart_rate(calm, *tonic) for p in (numb, other))
        assert -0.3 < shift < 0.35 * usual
        eda_shift, eda_usual = (
            float((stretch(p, "EDA", 43.0, 48.0) - stretch(calm, "EDA", 43.0, 48.0)).mean()) for p in (numb, other)
        )
        assert -1e-3 < eda_shift < 0.35 * eda_usual


def test_the_share_of_non_responders_is_as_stated_and_subjects_differ() -> None:
    strengths = [draw_profile(patient_seed("train", n), None).strengths for n in range(1500)]
    share = np.mean([s.responsiveness < 0.25 for s in strengths])
    assert share == pytest.approx(load_population().shares.non_responders.value, abs=0.03)
    for field in ("heart_rate_bpm", "constriction", "muscle_mv", "breath_rate_per_min", "scr_us"):
        values = [getattr(s, field) for s in strengths]
        assert np.std(values) > 0.15 * np.mean(values), field


def test_before_pain_begins_nothing_is_different() -> None:
    pain, calm = subject(3), subject(3, level=0.0)
    for modality in pain.rates_hz:
        np.testing.assert_array_equal(stretch(pain, modality, 0.0, 40.0), stretch(calm, modality, 0.0, 40.0))
        assert not np.array_equal(stretch(pain, modality, 40.0, 60.0), stretch(calm, modality, 40.0, 60.0))


@pytest.mark.parametrize(
    ("kind", "duration"),
    [("movement", 4.0), ("effort", 12.0), ("startle", 0.5)],
)
def test_confounders_move_the_signals_but_are_no_pain(kind: str, duration: float) -> None:
    faster, emg, eda = [], [], []
    for number in SUBJECTS:
        event = Confounder(kind=kind, onset_s=60.0, duration_s=duration, strength=1.0)  # type: ignore[arg-type]
        moved = SyntheticPatient(part="test", number=number, episodes=(), confounders=[event])
        calm = SyntheticPatient(part="test", number=number, episodes=(), confounders=())
        assert not moved.level_at(np.arange(0.0, 120.0, 0.1)).any()
        end = 60.0 + duration
        faster.append(heart_rate(moved, 61.0, end + 4.0) - heart_rate(calm, 61.0, end + 4.0))
        emg.append(spread(moved, "EMG", 60.0, end) / spread(calm, "EMG", 60.0, end))
        eda.append(float((stretch(moved, "EDA", 63.0, 68.0) - stretch(calm, "EDA", 63.0, 68.0)).mean()))
    assert mean(faster) > 1.0
    assert np.median(emg) > 3.0
    assert mean(eda) > 0.05
