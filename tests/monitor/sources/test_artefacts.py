"""Each artefact does what it says, to its own stream and in its own time, whatever the chunks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.errors import MonitorError
from monitor.sources.synthetic import Artefact, SyntheticPatient
from monitor.types import FloatArray

RATE = 256.0
COUNT = int(40 * RATE)
ONSET, LENGTH = 10.0, 6.0
KINDS = ("gap", "dropout", "motion", "saturation", "drift", "jitter", "clock_jump", "mains")
SIZES = {"saturation": 0.3, "jitter": 0.05, "clock_jump": 200_000.0}
TRUE_TIME = np.arange(COUNT) / RATE
INSIDE = (TRUE_TIME >= ONSET) & (TRUE_TIME < ONSET + LENGTH)


def patient(*artefacts: Artefact) -> SyntheticPatient:
    return SyntheticPatient(part="test", number=11, episodes=(), confounders=(), artefacts=artefacts)


def fault(kind: str, modality: str = "ECG") -> Artefact:
    return Artefact(kind=kind, modality=modality, onset_s=ONSET, duration_s=LENGTH, size=SIZES.get(kind, 0.5))  # type: ignore[arg-type]


def measure(kind: str) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Clean samples, and samples and stamps with the artefact."""
    ill = patient(fault(kind))
    samples, stamps = ill.measured("ECG", 0, COUNT)
    return ill.samples("ECG", 0, COUNT).astype(np.float64), samples.astype(np.float64), stamps


@given(kind=st.sampled_from(KINDS), cuts=st.lists(st.integers(0, COUNT), max_size=10))
@settings(max_examples=30, deadline=None)
def test_artefacts_do_not_depend_on_chunks(kind: str, cuts: list[int]) -> None:
    ill = patient(fault(kind), fault("motion"), fault("jitter"))
    samples, stamps = ill.measured("ECG", 0, COUNT)
    edges = [0, *sorted(cuts), COUNT]
    pieces = [ill.measured("ECG", a, b - a) for a, b in itertools.pairwise(edges)]
    np.testing.assert_array_equal(np.concatenate([p[0] for p in pieces]), samples)
    np.testing.assert_array_equal(np.concatenate([p[1] for p in pieces]), stamps)


@pytest.mark.parametrize("kind", KINDS)
def test_other_streams_and_other_times_are_untouched(kind: str) -> None:
    ill = patient(fault(kind))
    samples, stamps = ill.measured("EDA", 0, 1000)
    np.testing.assert_array_equal(samples, ill.samples("EDA", 0, 1000))
    np.testing.assert_array_equal(stamps, np.arange(1000) / 32.0)
    clean, samples, stamps = measure(kind)
    before = int(np.searchsorted(TRUE_TIME, ONSET))
    np.testing.assert_array_equal(samples[:before], clean[:before])
    np.testing.assert_array_equal(stamps[:before], TRUE_TIME[:before])
    after = int(np.sum(ONSET + LENGTH <= TRUE_TIME))
    np.testing.assert_array_equal(samples[-after:], clean[-after:])
    if kind != "clock_jump":
        np.testing.assert_array_equal(stamps[-after:], TRUE_TIME[-after:])


def test_gap_loses_samples_and_stamps_go_on() -> None:
    clean, samples, stamps = measure("gap")
    np.testing.assert_array_equal(samples, clean[~INSIDE])
    np.testing.assert_array_equal(stamps, TRUE_TIME[~INSIDE])


def test_dropout_is_constant_then_silent() -> None:
    _, samples, stamps = measure("dropout")
    during = (stamps >= ONSET) & (stamps < ONSET + LENGTH)
    assert stamps[during].max() < ONSET + LENGTH / 2
    assert during.sum() == LENGTH / 2 * RATE
    assert set(samples[during]) == {0.5}


def test_motion_adds_noise_of_the_stated_size() -> None:
    clean, samples, _ = measure("motion")
    added = (samples - clean)[INSIDE]
    # The half-sine envelope halves the power of noise with the stated standard deviation.
    assert np.std(added) == pytest.approx(0.5 / np.sqrt(2), rel=0.3)
    power = np.abs(np.fft.rfft(added * np.hanning(len(added)))) ** 2
    hz = np.fft.rfftfreq(len(added), 1 / RATE)
    assert power[hz > 8.0].sum() < 0.01 * power.sum()


def test_saturation_clips_to_the_rails() -> None:
    clean, samples, _ = measure("saturation")
    np.testing.assert_allclose(samples[INSIDE], np.clip(clean[INSIDE], -0.3, 0.3), atol=1e-7)
    assert np.sum(samples[INSIDE] == np.float32(0.3)) > 20


def test_drift_is_a_slow_bump_that_returns() -> None:
    clean, samples, _ = measure("drift")
    added = (samples - clean)[INSIDE]
    assert added.max() == pytest.approx(0.5, abs=1e-3)
    assert np.argmax(added) == pytest.approx(len(added) / 2, abs=2)
    assert np.abs(np.diff(added)).max() < 0.01


def test_jitter_scatters_stamps_and_leaves_samples() -> None:
    clean, samples, stamps = measure("jitter")
    np.testing.assert_array_equal(samples, clean)
    error = (stamps - TRUE_TIME)[INSIDE]
    assert 0.045 < np.abs(error).max() <= 0.05
    assert (np.diff(stamps) < 0).any()


def test_clock_jump_lasts() -> None:
    clean, samples, stamps = measure("clock_jump")
    np.testing.assert_array_equal(samples, clean)
    np.testing.assert_array_equal(stamps, TRUE_TIME + 200_000.0 * (TRUE_TIME >= ONSET))


def test_mains_is_hum_at_50_hz() -> None:
    clean, samples, _ = measure("mains")
    added = (samples - clean)[INSIDE]
    spectrum = 2 * np.abs(np.fft.rfft(added)) / len(added)
    hz = np.fft.rfftfreq(len(added), 1 / RATE)
    assert hz[np.argmax(spectrum)] == pytest.approx(50.0)
    assert spectrum.max() == pytest.approx(0.5, rel=0.01)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({"kind": "gremlin"}, "no artefact 'gremlin'"),
        ({"modality": "EEG"}, "no modality 'EEG'"),
        ({"duration_s": -1.0}, "is no span"),
        ({"onset_s": float("nan")}, "is no span"),
        ({"size": -1.0}, "size -1 is impossible"),
    ],
)
def test_impossible_artefacts_are_refused(wish: dict[str, object], message: str) -> None:
    good: dict[str, object] = {"kind": "motion", "modality": "ECG", "onset_s": 0.0, "duration_s": 1.0, "size": 1.0}
    with pytest.raises(MonitorError, match=message):
        Artefact(**(good | wish))  # type: ignore[arg-type]
