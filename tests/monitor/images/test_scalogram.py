from __future__ import annotations

import numpy as np
import pytest
import pywt

from monitor.images.scalogram import CENTRE, log_scales, scalogram
from monitor.types import FloatArray


def signal(kind: str, samples: int) -> FloatArray:
    time = np.arange(samples)
    if kind == "noise":
        return np.random.default_rng(4).standard_normal(samples)
    if kind == "sine":
        return np.sin(2 * np.pi * 0.013 * time) + 0.01 * np.sin(2 * np.pi * 0.3 * time)
    return 500.0 + 0.1 * time  # the edges, where the signal falls to 0, outweigh all else


@pytest.mark.parametrize("kind", ["noise", "sine", "ramp"])
@pytest.mark.parametrize("samples", [1000, 2816])
def test_equals_pywavelets(kind: str, samples: int) -> None:
    values = signal(kind, samples)
    scales = log_scales(64, 2.0, 256.0)
    theirs = np.abs(pywt.cwt(values, scales, "morl", method="fft")[0])
    ours = scalogram(values, scales)
    assert ours.shape == (64, samples)
    assert np.abs(ours - theirs).max() < 1e-5 * theirs.max()


@pytest.mark.parametrize("samples", [2, 3, 17, 101])
@pytest.mark.parametrize("scales", [(1.0, 1.03, 1.07), (3.14159, 40.0, 7.5), (1000.0, 999.5), (5.0,)])
def test_equals_pywavelets_at_odd_lengths_and_scales(samples: int, scales: tuple[float, ...]) -> None:
    values = signal("noise", samples)
    theirs = np.abs(pywt.cwt(values, scales, "morl")[0])
    assert np.abs(scalogram(values, scales) - theirs).max() < 1e-5 * theirs.max()


def test_scales_are_even_on_a_log_axis() -> None:
    scales = log_scales(64, 2.0, 256.0)
    assert (scales[0], scales[-1]) == pytest.approx((2.0, 256.0))
    np.testing.assert_allclose(np.diff(np.log(scales)), np.log(128.0) / 63)


@pytest.mark.parametrize("scale", [4.0, 16.0, 50.0])
def test_a_sine_lies_at_the_scale_of_its_frequency(scale: float) -> None:
    assert pywt.scale2frequency("morl", scale) == pytest.approx(CENTRE / scale, rel=1e-3)
    scales = log_scales(64, 2.0, 128.0)
    magnitude = scalogram(np.sin(2 * np.pi * CENTRE / scale * np.arange(2000)), scales)
    # The greatest lies a little above: magnitudes grow with the root of the scale.
    strongest = scales[magnitude[:, 500:1500].max(axis=1).argmax()]
    assert strongest == pytest.approx(scale, rel=0.1)


def test_what_is_kept_for_one_length_does_not_leak_into_another() -> None:
    scales = log_scales(5, 2.0, 40.0)
    first = scalogram(signal("noise", 300), scales)
    scalogram(signal("noise", 900), scales)
    scalogram(signal("noise", 300), scales[::-1])
    np.testing.assert_array_equal(scalogram(signal("noise", 300), scales), first)
    np.testing.assert_allclose(scalogram(signal("noise", 300), scales[::-1])[::-1], first, atol=1e-5 * first.max())
