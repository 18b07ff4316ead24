"""The quality gates: what must pass, what must not, and that the cut of the history does not matter."""

from __future__ import annotations

import bz2
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.quality import HISTORY_S, judge
from monitor.types import FloatArray, Quality, Reason

RECORDINGS = Path(__file__).resolve().parents[3] / "shared" / "recordings"
WINDOW_S = 5.5

needs_recordings = pytest.mark.skipif(not RECORDINGS.is_dir(), reason="the shared recordings are not on this machine")


def window_at(
    modality: str,
    values: FloatArray,
    rate_hz: float,
    end: float,
    *,
    rails: tuple[float, float] | None = None,
    temperature: float | None = None,
    history_s: float | None = None,
) -> Quality:
    """Judge the window that ends `end` seconds into a signal that starts at 0 s."""
    times = np.arange(len(values)) / rate_hz
    start = end - WINDOW_S
    reach = HISTORY_S.get(modality, 0.0) if history_s is None else history_s
    cut = slice(*np.searchsorted(times, (start - reach, end), side="right"))
    return judge(
        modality=modality,
        times=times[cut],
        values=values[cut],
        window_start=start,
        rate_hz=rate_hz,
        rails=rails,
        temperature=temperature,
    )


def all_windows(modality: str, values: FloatArray, rate_hz: float) -> list[Quality]:
    ends = np.arange(WINDOW_S, (len(values) - 1) / rate_hz, 1.0)
    return [window_at(modality, values, rate_hz, end) for end in ends]


def share_usable(qualities: list[Quality]) -> float:
    return sum(quality.usable for quality in qualities) / len(qualities)


def column(file: str, number: int, *, skip: int = 0) -> FloatArray:
    with bz2.open(RECORDINGS / file, "rt") as lines:
        rows = [line for line in lines if not line.startswith("#")][skip:]
    return np.array([float(row.replace(",", " ").split()[number]) for row in rows])


def ecg(rate_hz: float, seconds: float, *, bpm: float = 65.0, noise_mv: float = 0.01, seed: int = 0) -> FloatArray:
    """Return P, QRS and T as Gaussians at a steady rate, in mV."""
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = (t + 0.3) % (60.0 / bpm) - 0.3
    beat = sum(
        amplitude * np.exp(-0.5 * ((phase - at) / width) ** 2)
        for amplitude, at, width in ((0.1, -0.16, 0.02), (1.0, 0.0, 0.01), (-0.2, 0.03, 0.01), (0.25, 0.22, 0.04))
    )
    return np.asarray(beat + noise_mv * np.random.default_rng(seed).normal(size=len(t)))


def bvp(rate_hz: float, seconds: float, *, bpm: float = 70.0) -> FloatArray:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * bpm / 60.0 * t
    return np.asarray(np.sin(phase) + 0.3 * np.sin(2 * phase - 1.0) + 0.1 * np.sin(2 * np.pi * 0.2 * t))


def eda(rate_hz: float, seconds: float) -> FloatArray:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    return np.asarray(5.0 + 0.5 * np.sin(0.3 * t) + 1e-3 * np.random.default_rng(1).normal(size=len(t)))


# Every modality ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("modality", ["ECG", "EDA", "BVP", "EMG", "RESP", "SPO2", "TEMP", "ARRAY:fmri"])
def test_no_samples_and_samples_that_are_no_numbers(modality: str) -> None:
    empty = np.empty(0)
    nothing = judge(modality=modality, times=empty, values=empty, window_start=0.0, rate_hz=100.0)
    assert nothing.reasons == (Reason.NO_DATA,)
    for bad in (np.nan, np.inf, -np.inf):
        values = np.linspace(60.0, 61.0, 550)
        values[300] = bad
        assert window_at(modality, values, 100.0, 5.5).reasons == (Reason.NOT_FINITE,)


@pytest.mark.parametrize(
    ("modality", "rate_hz", "limit_s"),
    [("ECG", 250.0, 2.0), ("BVP", 64.0, 2.0), ("EMG", 1000.0, 2.0), ("EDA", 4.0, 10.0), ("RESP", 25.0, 10.0)],
)
def test_flat_lines_are_found_only_beyond_their_limit(modality: str, rate_hz: float, limit_s: float) -> None:
    rng = np.random.default_rng(2)
    for length_s, flat in ((0.8 * limit_s, False), (1.2 * limit_s, True)):
        values = 5.0 + 0.01 * rng.normal(size=round(30 * rate_hz))
        values[round((20.0 - length_s) * rate_hz) : round(20.0 * rate_hz)] = 5.0
        # The run ends early in the window, so that most of a long one lies in the history.
        found = window_at(modality, values, rate_hz, 20.0 + WINDOW_S - 0.4)
        assert (Reason.FLAT in found.reasons) is flat
        assert Reason.FLAT not in window_at(modality, values, rate_hz, 29.0).reasons


def test_whole_per_cents_may_stay_but_a_frozen_fraction_may_not() -> None:
    assert window_at("SPO2", np.full(100, 97.0), 1.0, 90.0).usable
    assert window_at("SPO2", np.full(100, 97.3), 1.0, 90.0).reasons == (Reason.FLAT,)
    assert window_at("SPO2", np.zeros(100), 1.0, 90.0).reasons == (Reason.OUT_OF_RANGE,)


@pytest.mark.parametrize("modality", ["ECG", "EDA", "BVP", "EMG", "RESP"])
def test_known_rails(modality: str) -> None:
    values = eda(100.0, 10.0)
    top = float(values[-300:].max())
    assert Reason.SATURATED in window_at(modality, values, 100.0, 9.0, rails=(0.0, top)).reasons
    assert Reason.SATURATED not in window_at(modality, values, 100.0, 9.0, rails=(0.0, 2 * top)).reasons


@settings(max_examples=25, deadline=None)
@given(
    modality=st.sampled_from(sorted(HISTORY_S)),
    seed=st.integers(0, 1000),
    more=st.floats(0.0, 20.0),
    kind=st.sampled_from(["noise", "steps", "held"]),
)
def test_history_beyond_what_is_asked_for_changes_nothing(modality: str, seed: int, more: float, kind: str) -> None:
    rate_hz, rng = 50.0, np.random.default_rng(seed)
    values = 5.0 + np.cumsum(rng.normal(size=6000)) * 0.01
    if kind == "steps":
        values += np.repeat(rng.choice([0.0, 8.0, 14.0], size=60), 100)
    elif kind == "held":
        values = np.repeat(values[::250][: len(values) // 250], 250)
    got = window_at(modality, values, rate_hz, 100.0)
    longer = window_at(modality, values, rate_hz, 100.0, history_s=HISTORY_S[modality] + more)
    assert (got.usable, got.reasons, got.grade) == (longer.usable, longer.reasons, longer.grade)


# EDA -----------------------------------------------------------------------------------------------------------------


def test_eda_range_then_recovery() -> None:
    values = eda(4.0, 60.0)
    values[80] = 0.0  # 20 s
    assert window_at("EDA", values, 4.0, 19.75).usable
    assert Reason.OUT_OF_RANGE in window_at("EDA", values, 4.0, 20.0).reasons
    # The window begins within 5 s of the artefact ...
    assert window_at("EDA", values, 4.0, 20.0 + WINDOW_S + 4.75).reasons == (Reason.ARTEFACT,)
    # ... and one reason is enough where the window itself has an artefact.
    values[72] = 0.0
    assert window_at("EDA", values, 4.0, 18.0 + WINDOW_S + 1.0).reasons == (Reason.OUT_OF_RANGE,)
    # Beyond the 5 s it passes.
    assert window_at("EDA", values, 4.0, 20.0 + WINDOW_S + 5.0).usable


def test_eda_slope_is_that_of_a_one_second_mean() -> None:
    for rise, steep in ((8.0, False), (12.0, True)):
        values = eda(100.0, 40.0)
        values[2000:] += rise
        got = window_at("EDA", values, 100.0, 22.0)
        assert (Reason.SLOPE in got.reasons) is steep
        assert got.metrics["slope_us_per_s"] == pytest.approx(rise, abs=0.5)


def test_single_steps_of_a_coarse_converter_are_no_slope() -> None:
    step = 0.0244  # one step of 10 bits over 25 uS: 24 uS/s from sample to sample at 1 kHz
    values = np.round(eda(1000.0, 20.0) / step) * step
    assert window_at("EDA", values, 1000.0, 15.0).usable


def test_skin_temperature_counts_where_known() -> None:
    values = eda(4.0, 30.0)
    assert window_at("EDA", values, 4.0, 20.0, temperature=33.0).usable
    assert window_at("EDA", values, 4.0, 20.0, temperature=22.0).reasons == (Reason.TEMPERATURE,)


# ECG -----------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [100.0, 255.3, 496.0, 1000.0])
@pytest.mark.parametrize("bpm", [45.0, 65.0, 150.0])
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_clean_ecg_is_full_and_its_rate_right(rate_hz: float, bpm: float, sign: float) -> None:
    got = window_at("ECG", sign * ecg(rate_hz, 12.0, bpm=bpm), rate_hz, 11.0)
    assert (got.usable, got.grade) == (True, "full")
    assert got.metrics["heart_rate_bpm"] == pytest.approx(bpm, rel=0.02)


def test_ecg_offset_and_drift_do_not_count() -> None:
    values = ecg(250.0, 12.0)
    drift = 120.0 + 0.5 * np.sin(2 * np.pi * 0.15 * np.arange(len(values)) / 250.0)
    assert window_at("ECG", values + drift, 250.0, 11.0).grade == "full"


def test_ecg_grade_falls_with_noise() -> None:
    order = ["full", "beats", "unusable"]
    snr, grades = [], []
    for noise in (0.01, 0.03, 0.1, 0.3, 1.0):
        got = [window_at("ECG", ecg(250.0, 8.0, noise_mv=noise, seed=seed), 250.0, 7.5) for seed in range(5)]
        snr.append(np.mean([quality.metrics.get("snr_db", 0.0) for quality in got]))
        grades.append(order.index(got[0].grade))
    assert snr == sorted(snr, reverse=True)
    assert grades == sorted(grades)
    assert {grades[0], grades[-1]} == {0, 2}


def test_no_ecg_in_junk() -> None:
    rng, n = np.random.default_rng(3), 250 * 60
    t = np.arange(n) / 250.0
    for junk in (
        0.3 * rng.normal(size=n),
        np.cumsum(0.01 * rng.normal(size=n)),
        np.sin(2 * np.pi * 50 * t) + 0.01 * rng.normal(size=n),
        40.0 * ecg(250.0, 60.0),
    ):
        qualities = all_windows("ECG", junk, 250.0)
        assert share_usable(qualities) <= 0.05
        assert {quality.grade for quality in qualities if not quality.usable} == {"unusable"}


def test_ecg_clipping_is_seen_without_known_rails() -> None:
    values = ecg(1000.0, 10.0, noise_mv=0.005)
    assert Reason.SATURATED not in window_at("ECG", values, 1000.0, 9.0).reasons
    assert Reason.SATURATED in window_at("ECG", np.minimum(values, 0.5), 1000.0, 9.0).reasons


@pytest.mark.parametrize("bits", [8, 10, 12])
def test_coarse_converters_are_not_clipping(bits: int) -> None:
    for modality, values in (("ECG", ecg(1000.0, 10.0)), ("BVP", bvp(1000.0, 10.0))):
        step = 4.0 / 2**bits
        assert Reason.SATURATED not in window_at(modality, np.round(values / step) * step, 1000.0, 9.0).reasons


@pytest.mark.parametrize("times", [5, 8])
def test_repeated_samples_are_not_clipping(times: int) -> None:
    for modality, values in (("ECG", ecg(100.0, 10.0)), ("BVP", bvp(64.0, 10.0))):
        rate_hz = times * (100.0 if modality == "ECG" else 64.0)
        held = np.repeat(values, times)
        assert Reason.SATURATED not in window_at(modality, held, rate_hz, 9.0).reasons
        clipped = np.minimum(held, 0.3)
        assert Reason.SATURATED in window_at(modality, clipped, rate_hz, 9.0).reasons


def test_a_crest_that_stands_still_for_a_moment_is_not_clipped() -> None:
    values = bvp(1000.0, 10.0)  # fine steps, all slower near the crest than elsewhere
    top = int(np.argmax(values[5000:9000])) + 5000
    values[top - 3 : top + 4] = values[top]
    assert Reason.SATURATED not in window_at("BVP", values, 1000.0, 9.0).reasons


# BVP and EMG ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rate_hz", [25.0, 64.0, 1000.0])
@pytest.mark.parametrize("bpm", [48.0, 70.0, 140.0])
def test_pulse_is_found_at_any_amplitude(rate_hz: float, bpm: float) -> None:
    for amplitude in (1e-3, 1.0, 500.0):
        got = window_at("BVP", amplitude * bvp(rate_hz, 12.0, bpm=bpm), rate_hz, 11.0)
        assert got.usable
        assert got.metrics["heart_rate_bpm"] == pytest.approx(bpm, rel=0.03)


def test_no_pulse_in_junk() -> None:
    rng, n = np.random.default_rng(4), 64 * 120
    for junk in (rng.normal(size=n), np.cumsum(rng.normal(size=n)), np.linspace(0.0, 1.0, n)):
        assert share_usable(all_windows("BVP", junk, 64.0)) <= 0.05


@pytest.mark.parametrize("rate_hz", [500.0, 1000.0])
def test_emg_rules(rate_hz: float) -> None:
    n = round(10 * rate_hz)
    t, rng = np.arange(n) / rate_hz, np.random.default_rng(5)
    muscle = 0.05 * rng.normal(size=n)
    assert window_at("EMG", muscle, rate_hz, 9.0).usable
    assert window_at("EMG", muscle + 0.02 * np.sin(2 * np.pi * 50 * t), rate_hz, 9.0).usable
    for mains in (50.0, 60.0):
        hum = muscle + 0.2 * np.sin(2 * np.pi * mains * t)
        assert window_at("EMG", hum, rate_hz, 9.0).reasons == (Reason.MAINS,)
    quiet = 0.02 * muscle + 0.003 * np.sin(2 * np.pi * 50 * t)  # hum dominates, but is too weak to hide anything
    assert window_at("EMG", quiet, rate_hz, 9.0).usable
    assert Reason.OUT_OF_RANGE in window_at("EMG", 1000 * muscle, rate_hz, 9.0).reasons
    assert window_at("EMG", 1e-4 * muscle, rate_hz, 9.0).reasons == (Reason.FLAT,)
    assert Reason.SATURATED in window_at("EMG", np.clip(muscle, -0.03, 0.03), rate_hz, 9.0).reasons


def test_emg_rms_is_that_of_the_signal() -> None:
    t = np.arange(10_000) / 1000.0
    got = window_at("EMG", 0.3 * np.sin(2 * np.pi * 77.0 * t) + 2.0, 1000.0, 9.0)
    assert got.metrics["rms_mv"] == pytest.approx(0.3 / np.sqrt(2), rel=1e-3)


# Recordings ----------------------------------------------------------------------------------------------------------


@needs_recordings
@pytest.mark.parametrize(
    ("file", "modality", "number", "least"),
    [
        ("neurokit/bio_eventrelated_100hz.csv.bz2", "ECG", 0, 0.99),
        ("neurokit/bio_eventrelated_100hz.csv.bz2", "EDA", 1, 0.99),
        ("neurokit/bio_resting_5min_100hz.csv.bz2", "ECG", 0, 0.90),  # spikes taller than its small R waves
        ("neurokit/bio_resting_5min_100hz.csv.bz2", "BVP", 1, 0.99),
        ("neurokit/bio_resting_8min_100hz.csv.bz2", "ECG", 0, 0.99),
        ("neurokit/bio_resting_8min_100hz.csv.bz2", "RESP", 1, 0.99),
        ("neurokit/bio_resting_8min_100hz.csv.bz2", "EDA", 2, 0.99),
    ],
)
def test_clean_recordings_pass(file: str, modality: str, number: int, least: float) -> None:
    assert share_usable(all_windows(modality, column(file, number, skip=1), 100.0)) >= least


@needs_recordings
def test_ecg_snr_follows_the_noise_stress_test() -> None:
    medians = [
        np.median([q.metrics["snr_db"] for q in all_windows("ECG", column(f"heartpy/118e{snr}.csv.bz2", 0), 360.0)])
        for snr in ("06", "12", "24")
    ]
    assert medians[0] < 5.0 < medians[1] < 18.0 < medians[2]


@needs_recordings
def test_leading_zeros_of_a_wristband_are_refused_and_the_rest_is_not() -> None:
    values = column("stress_predict/S05/EDA.csv.bz2", 0, skip=2)
    values = np.concatenate((np.zeros(12), values))
    assert Reason.OUT_OF_RANGE in window_at("EDA", values, 4.0, 6.0).reasons
    assert share_usable(all_windows("EDA", values[60:4000], 4.0)) >= 0.99


@needs_recordings
def test_a_clipped_recording_is_seen() -> None:
    values = column("plux/supine_1min.txt.bz2", 2) / 65536 * 3.0 / 1.1  # 16 bits, some R peaks at the rail
    reasons = [quality.reasons for quality in all_windows("ECG", values, 1000.0)]
    assert (Reason.SATURATED,) in reasons
    assert () in reasons
