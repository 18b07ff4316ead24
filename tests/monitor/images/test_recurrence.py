from __future__ import annotations

import numpy as np
import pytest

from monitor.images.recurrence import recurrence


@pytest.mark.parametrize(("points", "dimension", "delay"), [(224, 3, 4), (50, 1, 1), (224, 2, 100)])
def test_distances_are_symmetric_and_zero_to_oneself(points: int, dimension: int, delay: int) -> None:
    found = recurrence(np.random.default_rng(1).standard_normal(1000), points, dimension, delay)
    assert found.shape == (points, points)
    np.testing.assert_array_equal(found, found.T)
    np.testing.assert_array_equal(np.diag(found), 0.0)
    assert found[~np.eye(points, dtype=bool)].min() > 0.0


def test_every_sample_a_state_gives_plain_distances() -> None:
    values = np.random.default_rng(2).standard_normal(40)
    states = np.stack([values[:-6], values[3:-3], values[6:]], axis=1)
    expected = np.linalg.norm(states[:, None] - states, axis=2)
    np.testing.assert_allclose(recurrence(values, 34, 3, 3), expected, atol=1e-12)


def test_states_are_spread_over_the_window_and_interpolated() -> None:
    # On a straight line the distance of two states is their distance in time, once a coordinate.
    found = recurrence(np.arange(101.0), 16, 2, 20)
    steps = np.linspace(0.0, 80.0, 16)
    np.testing.assert_allclose(found, np.abs(steps[:, None] - steps) * np.sqrt(2.0), atol=1e-9)


def test_a_wave_returns_after_each_period() -> None:
    found = recurrence(np.sin(2 * np.pi * np.arange(1001) / 100), 996, 2, 5)
    assert np.diag(found, 100).max() < 1e-9
    assert np.diag(found, 50).min() > 0.4


def test_too_short_a_signal_is_refused() -> None:
    recurrence(np.arange(10.0), 16, 3, 4)
    with pytest.raises(ValueError, match="needs 10 points or more; 9 are given"):
        recurrence(np.arange(9.0), 16, 3, 4)
