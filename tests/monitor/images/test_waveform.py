from __future__ import annotations

import numpy as np
import pytest

from monitor.images.waveform import waveform


def test_a_level_line_has_its_thickness_and_its_height() -> None:
    covered = waveform(np.full(100, 40.25), 64, 1.5)
    inner = covered[:, 2:-2]
    np.testing.assert_allclose(inner.sum(axis=0), 1.5, atol=1e-5)
    heights = np.arange(63.5, 0.0, -1.0)
    np.testing.assert_allclose(heights @ inner / inner.sum(axis=0), 40.25, atol=0.3)
    # From 39.5 to 41.0: half of the pixel that begins at 39, all of that at 40.
    np.testing.assert_allclose(inner[63 - 39], 0.5, atol=1e-5)
    np.testing.assert_allclose(inner[63 - 40], 1.0, atol=1e-5)


@pytest.mark.parametrize("slope", [0.0, 0.5, 1.0, 3.0])
@pytest.mark.parametrize("line_px", [1.5, 3.0, 6.0])
def test_a_straight_line_is_as_thick_in_every_direction(slope: float, line_px: float) -> None:
    # 20 columns across the middle, so that neither the ends nor the frame matter.
    heights = 64.0 + slope * (np.linspace(0.5, 127.5, 500) - 64.0)
    middle = waveform(heights, 128, line_px)[:, 54:74]
    assert middle.sum() / 20 == pytest.approx(line_px * np.hypot(1.0, slope), rel=0.06)


@pytest.mark.parametrize("samples", [2, 7, 224, 1000, 2816])
def test_the_line_passes_through_every_sample(samples: int) -> None:
    size = 224
    heights = np.random.default_rng(5).uniform(10.0, 214.0, samples)
    covered = waveform(heights, size, 2.0)
    columns = np.linspace(0.5, size - 0.5, samples).astype(int)
    assert covered[size - 1 - heights.astype(int), columns].min() > 0.3


def test_nothing_is_drawn_far_from_the_line() -> None:
    heights = 100.0 + 50.0 * np.sin(np.linspace(0.0, 6.0, 1000))
    covered = waveform(heights, 224, 1.5)
    assert covered[: 224 - 152].max() == 0.0
    assert covered[224 - 48 :].max() == 0.0
    assert (covered.max(axis=0) > 0.5).all()
    assert covered.min() >= -1e-6
    assert covered.max() <= 1.0 + 1e-6


def test_what_lies_outside_is_cut_off() -> None:
    covered = waveform(np.linspace(-100.0, 200.0, 300), 64, 1.5)
    columns = np.flatnonzero(covered.sum(axis=0))
    assert (columns.min(), columns.max()) == pytest.approx((64 / 3, 64 * 164 / 300), abs=2.0)


def test_one_outlying_sample_is_seen() -> None:
    heights = np.full(2816, 20.0)
    heights[1400] = 60.0
    assert waveform(heights, 64, 1.5)[64 - 58].max() > 0.3
