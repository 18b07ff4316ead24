"""The synthetic patient: reproducible however it is read, one body behind all sensors, and marked as simulated."""

from __future__ import annotations

import itertools
import threading

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.signal import butter, find_peaks, sosfiltfilt

from monitor.clock import ManualClock, SystemClock
from monitor.errors import MonitorError
from monitor.modality import MODALITY_UNITS
from monitor.quality import HISTORY_S, judge
from monitor.sources.physiology_pulse import draw_pulse
from monitor.sources.synthetic import (
    DEFAULT_RATES_HZ,
    SEED_RANGES,
    Artefact,
    Confounder,
    PainEpisode,
    SyntheticPatient,
    SyntheticSource,
    patient_chunks,
    patient_seed,
    synthetic_recording,
)
from monitor.types import STAMP_TICK, FloatArray, Provenance

ODD_RATES = {"ECG": 255.3, "EDA": 15.5, "BVP": 64.0, "EMG": 496.0}
SECONDS = 70.0  # crosses two block edges


def whole(patient: SyntheticPatient, modality: str, seconds: float = SECONDS) -> FloatArray:
    return patient.samples(modality, 0, int(seconds * patient.rates_hz[modality])).astype(np.float64)


@given(
    number=st.integers(0, 50),
    modality=st.sampled_from(sorted(DEFAULT_RATES_HZ)),
    read_before=st.lists(st.sampled_from(sorted(DEFAULT_RATES_HZ)), max_size=3),
    cuts=st.lists(st.integers(0, 40_000), max_size=12),
)
@settings(max_examples=25, deadline=None)
def test_samples_depend_neither_on_chunks_nor_on_the_order_of_reading(
    number: int, modality: str, read_before: list[str], cuts: list[int]
) -> None:
    expected = whole(SyntheticPatient(part="train", number=number, rates_hz=ODD_RATES), modality)
    other = SyntheticPatient(part="train", number=number, rates_hz=ODD_RATES)
    for early in read_before:
        other.samples(early, int(200 * other.rates_hz[early]), 10)
    edges = [0, *sorted(cut % len(expected) for cut in cuts), len(expected)]
    pieces = [other.samples(modality, a, b - a) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate(pieces), expected)


def test_a_block_that_was_forgotten_comes_back_the_same() -> None:
    patient = SyntheticPatient(part="test", number=2)
    early = whole(patient, "ECG")
    patient.samples("ECG", 3600 * 256, 100)
    np.testing.assert_array_equal(whole(patient, "ECG"), early)


@pytest.mark.parametrize("modality", ["ECG", "EMG", "EDA"])
def test_the_patient_is_no_loop(modality: str) -> None:
    patient = SyntheticPatient(part="test", number=4, episodes=(), confounders=())
    block = int(32 * patient.rates_hz[modality])
    # Second differences leave the sensor's noise and take the slow course away; 256 s are eight of the inner blocks.
    noise = np.diff(whole(patient, modality, 256.0), n=2)
    for blocks in range(1, 5):
        shift = blocks * block
        assert abs(np.corrcoef(noise[shift:], noise[:-shift])[0, 1]) < 0.3


def test_seed_ranges_are_disjoint_and_enforced() -> None:
    seeds = [set(part) for part in SEED_RANGES.values()]
    assert sum(map(len, seeds)) == len(set.union(*seeds))
    for part, seed_range in SEED_RANGES.items():
        assert patient_seed(part, 0) in seed_range
        assert patient_seed(part, len(seed_range) - 1) in seed_range
        for outside in (-1, len(seed_range)):
            with pytest.raises(MonitorError, match="outside the seeds"):
                SyntheticPatient(part=part, number=outside)
    with pytest.raises(MonitorError, match="no part 'nowhere'"):
        SyntheticPatient(part="nowhere", number=0)


def test_patients_of_different_parts_differ() -> None:
    train, test = (SyntheticPatient(part=part, number=7) for part in ("train", "test"))
    assert train.profile != test.profile
    assert (train.subject, test.subject) == ("sim-train-0007", "sim-test-0007")


def test_physiology_does_not_depend_on_sampling_rates() -> None:
    slow = SyntheticPatient(part="train", number=3, rates_hz={"ECG": 125.0, "EDA": 4.0, "BVP": 25.0, "RESP": 10.0})
    fast = SyntheticPatient(part="train", number=3, rates_hz={"ECG": 1000.0, "EDA": 32.0, "BVP": 200.0, "RESP": 50.0})
    np.testing.assert_array_equal(slow.beats_until(200.0), fast.beats_until(200.0))
    assert slow.episodes_until(500.0) == fast.episodes_until(500.0)
    # Only the sensor's own noise is drawn per sample; its standard deviation is at most 0.01 of the unit or gain.
    noise = {
        "ECG": 0.008,
        "EDA": 0.0015,
        "BVP": 0.006 * slow.profile.pulse_gain,
        "RESP": 0.01 * slow.profile.breath_gain,
    }
    for modality, sd in noise.items():
        step = int(fast.rates_hz[modality] / slow.rates_hz[modality])
        difference = whole(fast, modality)[::step] - whole(slow, modality)
        assert np.std(difference) == pytest.approx(np.sqrt(2) * sd, rel=0.15)


@pytest.mark.parametrize("number", range(4))
def test_ecg_and_bvp_beat_with_one_heart(number: int) -> None:
    patient = SyntheticPatient(part="test", number=number, confounders=())
    beats = patient.beats_until(59.0)
    beats = beats[beats > 1.0]
    ecg, bvp = whole(patient, "ECG", 60.0), whole(patient, "BVP", 60.0)
    r_peaks = _peaks(ecg, height=0.5 * float(ecg.max())) / patient.rates_hz["ECG"]
    assert 50 < len(beats) < 110
    lag = r_peaks[np.searchsorted(r_peaks, beats - 0.006)] - beats
    assert len(r_peaks[(r_peaks >= beats[0] - 0.006) & (r_peaks <= beats[-1] + 0.006)]) == len(beats)
    assert np.abs(lag).max() <= 0.006
    # Pulses have many forms; without their harmonics each has one top, a constant share of a beat after its R peak.
    rate = patient.rates_hz["BVP"]
    band = butter(2, (0.6, 1.8), "bandpass", fs=rate, output="sos")
    smooth = draw_pulse(patient.seed).polarity * sosfiltfilt(band, bvp)
    pulses = find_peaks(smooth)[0] / rate
    lag = pulses[np.searchsorted(pulses, beats[1:-1] + 0.2)] - beats[1:-1]
    assert len(pulses[(pulses >= beats[1] + 0.2) & (pulses < beats[-1] + 0.2)]) == len(beats) - 2
    assert np.ptp(lag) < 0.2
    assert 0.25 < np.median(lag) < 0.6


def _peaks(x: FloatArray, height: float) -> FloatArray:
    """Sample numbers of the highest point of every excursion over `height`."""
    above = np.flatnonzero(np.diff(np.concatenate([[0], (x > height).astype(int), [0]])))
    return np.asarray([a + int(np.argmax(x[a:b])) for a, b in above.reshape(-1, 2)], dtype=np.float64)


@pytest.mark.parametrize("number", range(6))
def test_heart_rate_breathes_and_varies_slowly(number: int) -> None:
    patient = SyntheticPatient(part="test", number=number, episodes=(), confounders=())
    profile, times = patient.profile, np.arange(5.0, 295.0, 0.25)
    beats = patient.beats_until(300.0)
    rate = np.interp(times, 0.5 * (beats[1:] + beats[:-1]), 60.0 / np.diff(beats))
    resp = whole(patient, "RESP", 300.0) / profile.breath_gain
    breath = np.interp(times, np.arange(len(resp)) / patient.rates_hz["RESP"], resp)
    slope = np.polyfit(breath - breath.mean(), rate, 1)[0]
    # One interval averages the heart rate over a beat, which takes some of a fast oscillation away.
    assert 0.6 * profile.rsa_bpm < slope < 1.15 * profile.rsa_bpm
    power = np.abs(np.fft.rfft((rate - rate.mean()) * np.hanning(len(rate)))) ** 2
    hz = np.fft.rfftfreq(len(rate), 0.25)
    low_frequency, between = ((hz > 0.07) & (hz < 0.13)), ((hz > 0.14) & (hz < 0.155))
    assert power[low_frequency].mean() > 10 * power[between].mean()


@pytest.mark.parametrize("modality", ["ECG", "EDA", "BVP", "EMG", "RESP", "SPO2"])
def test_clean_signals_pass_the_quality_gate(modality: str) -> None:
    window_s, windows, refused = 5.5, 0, []
    for number in range(8):
        patient = SyntheticPatient(part="test", number=number, confounders=())
        rate = patient.rates_hz[modality]
        values = whole(patient, modality, 220.0)
        times = np.arange(len(values)) / rate
        for start in np.arange(15.0, 210.0, 6.5):
            first = int((start - min(HISTORY_S[modality], 14.0)) * rate)
            last = int((start + window_s) * rate) + 1
            quality = judge(
                modality=modality,
                times=times[first:last],
                values=values[first:last],
                window_start=float(start),
                rate_hz=rate,
            )
            windows += 1
            if not quality.usable:
                refused.append((number, start, quality))
    assert len(refused) <= 0.005 * windows, refused


def test_values_lie_where_people_do() -> None:
    for number in range(12):
        patient = SyntheticPatient(part="test", number=number, confounders=())
        ecg, eda, emg = (whole(patient, modality, 120.0) for modality in ("ECG", "EDA", "EMG"))
        assert 0.6 < np.quantile(ecg, 0.999) < 1.8
        assert 0.5 < eda.min() <= eda.max() < 20.0
        assert 0.003 < np.median(np.abs(emg)) / 0.6745 < 0.015
        assert 94.0 < whole(patient, "SPO2", 120.0).min() <= whole(patient, "SPO2", 120.0).max() <= 100.0
        assert 30.0 < whole(patient, "TEMP", 120.0).min() <= whole(patient, "TEMP", 120.0).max() < 40.0


def test_the_own_schedule_starts_after_rest_and_never_ends() -> None:
    patient = SyntheticPatient(part="demo", number=0, rest_s=30.0)
    episodes = patient.episodes_until(7200.0)
    assert episodes[0].onset_s == 30.0
    assert {e.kind for e in episodes} == {"phasic", "tonic"}
    assert {e.level for e in episodes} == {0.5, 1.0}
    assert episodes[-1].onset_s > 6000.0
    assert all(a.end_s < b.onset_s for a, b in itertools.pairwise(episodes))
    assert SyntheticPatient(part="demo", number=0).episodes_until(150.0) == ()
    assert SyntheticPatient(part="demo", number=0, episodes=[]).episodes_until(7200.0) == ()


def test_level_is_the_stimulus_half_open_and_the_strongest_counts() -> None:
    patient = SyntheticPatient(
        part="test",
        number=0,
        episodes=[PainEpisode(onset_s=20.0, duration_s=40.0, level=0.5), PainEpisode.phasic(30.0, 1.0)],
        confounders=[Confounder(kind="startle", onset_s=5.0, duration_s=0.5, strength=1.0)],
    )
    times = np.array([0.0, 5.2, 19.99, 20.0, 30.0, 33.99, 34.0, 59.99, 60.0, 500.0])
    np.testing.assert_array_equal(patient.level_at(times), [0, 0, 0, 0.5, 1.0, 1.0, 0.5, 0.5, 0, 0])
    np.testing.assert_array_equal(patient.level_at(times[::-1]), patient.level_at(times)[::-1])
    assert patient.level_at(np.zeros(0)).shape == (0,)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: PainEpisode(onset_s=0.0, duration_s=4.0, level=1.5), "level 1.5"),
        (lambda: PainEpisode(onset_s=-1.0, duration_s=4.0, level=1.0), "onset -1"),
        (lambda: PainEpisode.tonic(0.0, 10.0, 1.0), "tonic pain of 10 s"),
        (lambda: Confounder(kind="sneeze", onset_s=0.0, duration_s=1.0, strength=1.0), "no confounder 'sneeze'"),
        (lambda: SyntheticPatient(part="demo", number=0, rates_hz={"EEG": 100.0}), "cannot generate EEG"),
        (lambda: SyntheticPatient(part="demo", number=0, rates_hz={"ECG": 0.0}), "cannot generate ECG at 0 Hz"),
        (lambda: SyntheticPatient(part="demo", number=0).samples("ACC", 0, 1), "has no ACC"),
    ],
)
def test_impossible_wishes_are_refused(make: object, message: str) -> None:
    assert callable(make)
    with pytest.raises(MonitorError, match=message):
        make()


def _source(patient: SyntheticPatient, clock: ManualClock, *, realtime: bool, chunk_s: float = 0.1) -> SyntheticSource:
    return SyntheticSource(
        patient=patient, bed="bed1", clock=clock, modalities=("ECG", "SPO2"), chunk_s=chunk_s, realtime=realtime
    )


@pytest.mark.parametrize("realtime", [True, False])
def test_source_announces_itself_as_simulated_and_brings_every_sample_once(realtime: bool) -> None:
    patient = SyntheticPatient(part="demo", number=1)
    clock = ManualClock(1000.3)
    source = _source(patient, clock, realtime=realtime, chunk_s=0.07)
    source.open()
    first = source.read(0.0)
    origin = first.opened[0].origin
    assert origin is not None
    assert abs(origin - 1000.3) <= STAMP_TICK
    assert {info.provenance for info in first.opened} == {Provenance.SIMULATED}
    assert [info.unit for info in first.opened] == [MODALITY_UNITS["ECG"], MODALITY_UNITS["SPO2"]]
    chunks = list(first.chunks)
    for _ in range(60):
        clock.advance(0.13)
        reading = source.read(0.0)
        assert not reading.opened
        chunks += reading.chunks
    for modality in ("ECG", "SPO2"):
        mine = [chunk for chunk in chunks if chunk.stream == f"synthetic:{modality}"]
        samples = np.concatenate([chunk.samples for chunk in mine])
        stamps = np.concatenate([chunk.stamps for chunk in mine])
        assert len(samples) >= 4 * patient.rates_hz[modality]
        np.testing.assert_array_equal(samples, patient.samples(modality, 0, len(samples)))
        assert stamps[0] == origin
        np.testing.assert_allclose(
            stamps, origin + np.arange(len(stamps)) / patient.rates_hz[modality], atol=STAMP_TICK
        )
        np.testing.assert_array_equal(stamps / STAMP_TICK, np.round(stamps / STAMP_TICK))
        if realtime:
            assert all(chunk.stamps[-1] <= chunk.arrival for chunk in mine)


def test_realtime_source_never_runs_ahead_of_the_clock() -> None:
    clock = ManualClock(5.0)
    source = _source(SyntheticPatient(part="demo", number=1), clock, realtime=True)
    source.open()
    assert not source.read(0.0).chunks
    clock.advance(0.05)
    assert not source.read(0.0).chunks
    clock.advance(0.06)
    assert source.read(0.0).chunks


def test_close_ends_a_waiting_read_from_another_thread() -> None:
    source = SyntheticSource(
        patient=SyntheticPatient(part="demo", number=1),
        bed="bed1",
        clock=SystemClock(),
        modalities=("ECG",),
        chunk_s=3600.0,
    )
    source.open()
    reader = threading.Thread(target=source.read, args=(3600.0,))
    reader.start()
    source.close()
    source.close()
    reader.join(timeout=30.0)
    assert not reader.is_alive()
    assert source.finished
    assert not source.read(0.0).chunks


def test_source_refuses_a_modality_that_the_patient_lacks() -> None:
    with pytest.raises(MonitorError, match="has no ACC"):
        SyntheticSource(
            patient=SyntheticPatient(part="demo", number=1), bed="bed1", clock=ManualClock(), modalities=("ACC",)
        )


@pytest.mark.parametrize("chunk_s", [0.004, 0.1, 1.3])
def test_player_recording_and_samples_agree(chunk_s: float) -> None:
    patient = SyntheticPatient(
        part="demo", number=3, artefacts=[Artefact(kind="gap", modality="ECG", onset_s=2.0, duration_s=1.5)]
    )
    modalities = ("ECG", "EDA", "TEMP")
    recording = synthetic_recording(patient, 8.0, modalities)
    assert recording.provenance is Provenance.SIMULATED
    chunks = list(patient_chunks(patient, modalities, seconds=8.0, chunk_s=chunk_s))
    due = [chunk.due_s for chunk in chunks]
    assert due == sorted(due)
    assert max(due) <= 8.0
    for signal in recording.signals:
        mine = [chunk for chunk in chunks if chunk.modality == signal.candidate.name]
        np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in mine]), signal.samples)
        stamps = np.concatenate([chunk.stamps for chunk in mine])
        assert all(chunk.stamps[-1] < chunk.due_s for chunk in mine)
        rate = patient.rates_hz[signal.candidate.name]
        expected = np.arange(len(stamps)) / rate if signal.stamps is None else signal.stamps
        np.testing.assert_array_equal(stamps, expected)


def test_player_can_start_in_the_middle() -> None:
    patient = SyntheticPatient(part="demo", number=3)
    chunks = list(patient_chunks(patient, ("BVP",), start_s=100.0, seconds=2.0))
    samples = np.concatenate([chunk.samples for chunk in chunks])
    np.testing.assert_array_equal(samples, patient.samples("BVP", 6400, 128))
    assert chunks[0].stamps[0] == 100.0


def test_recording_marks_pain_and_what_is_not_pain() -> None:
    patient = SyntheticPatient(
        part="demo",
        number=3,
        episodes=[PainEpisode.phasic(3.0, 0.5)],
        confounders=[Confounder(kind="effort", onset_s=1.0, duration_s=1.0, strength=1.0)],
    )
    markers = synthetic_recording(patient, 10.0, ("SPO2",)).markers
    assert [t for t, _ in markers] == [1.0, 3.0]
    assert "not pain" in markers[0][1]
    assert "level 0.5" in markers[1][1]
