from __future__ import annotations

from typing import get_args

import numpy as np
import pytest
from matplotlib import mlab

from monitor.images.spectrogram import Mode, spectrogram
from monitor.types import FloatArray

MODES: tuple[Mode, ...] = get_args(Mode)


def signal(kind: str, samples: int) -> FloatArray:
    if kind == "noise":
        return np.random.default_rng(3).standard_normal(samples)
    return np.sin(2 * np.pi * 0.043 * np.arange(samples)) + 0.2


@pytest.mark.parametrize(("nfft", "overlap"), [(256, 128), (255, 100), (511, 0), (64, 63), (1000, 128)])
@pytest.mark.parametrize(("samples", "rate_hz"), [(1000, 100.0), (2816, 512.0)])
@pytest.mark.parametrize("kind", ["noise", "sine"])
@pytest.mark.filterwarnings("ignore:Only one segment is calculated")
def test_equals_matplotlib(kind: str, samples: int, rate_hz: float, nfft: int, overlap: int) -> None:
    values = signal(kind, samples)
    for mode in MODES:
        theirs, frequencies, _ = mlab.specgram(values, NFFT=nfft, Fs=rate_hz, noverlap=overlap, mode=mode)
        ours = spectrogram(values, mode, nfft, overlap, rate_hz)
        assert ours.shape == theirs.shape == (nfft // 2 + 1, 1 + (samples - nfft) // (nfft - overlap))
        if mode == "psd":
            np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-12 * theirs.max())
        else:
            assert np.abs(np.exp(1j * ours) - np.exp(1j * theirs)).max() < 1e-6
        if mode == "phase" and kind == "noise":
            # Where bins are not empty the turns agree too, not only the places on the circle.
            np.testing.assert_allclose(ours, theirs, atol=1e-6)
        assert frequencies[1] == pytest.approx(rate_hz / nfft)


def test_the_default_columns_are_those_of_the_paper() -> None:
    assert spectrogram(np.zeros(2816), "psd", 256, 128, 512.0).shape == (129, 21)
    assert spectrogram(np.zeros(1000), "psd", 256, 128, 100.0).shape == (129, 6)


@pytest.mark.parametrize("nfft", [256, 255])
def test_a_rising_sine_climbs(nfft: int) -> None:
    rate_hz, samples = 512.0, 2816
    hertz = np.linspace(20.0, 200.0, samples)
    density = spectrogram(np.sin(2 * np.pi * np.cumsum(hertz) / rate_hz), "psd", nfft, 128, rate_hz)
    middles = nfft // 2 + np.arange(density.shape[1]) * (nfft - 128)
    found = density.argmax(axis=0) * rate_hz / nfft
    np.testing.assert_allclose(found, hertz[middles], atol=2 * rate_hz / nfft)


@pytest.mark.parametrize("nfft", [256, 255])
def test_density_integrates_to_power(nfft: int) -> None:
    values = np.random.default_rng(9).standard_normal(200_000) * 3.0
    density = spectrogram(values, "psd", nfft, 0, 64.0)
    assert density.mean(axis=1).sum() * 64.0 / nfft == pytest.approx(9.0, rel=0.02)


def test_phase_is_angle_without_jumps_along_frequency() -> None:
    values = signal("noise", 1000)
    angle, phase = spectrogram(values, "angle", 256, 128, 100.0), spectrogram(values, "phase", 256, 128, 100.0)
    assert angle.min() >= -np.pi
    assert angle.max() <= np.pi
    turns = (phase - angle) / (2 * np.pi)
    np.testing.assert_allclose(turns, np.rint(turns), atol=1e-9)
    assert np.abs(np.diff(phase, axis=0)).max() <= np.pi + 1e-9
    assert np.abs(np.diff(angle, axis=0)).max() > np.pi + 1e-3


def test_less_than_a_segment_is_refused() -> None:
    with pytest.raises(ValueError, match="256 points or more; 255 are given"):
        spectrogram(np.zeros(255), "psd", 256, 128, 100.0)
