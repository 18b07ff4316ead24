from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import Normalize

from monitor.images.colours import shades, table


def test_viridis_is_that_of_matplotlib_and_grey_is_grey() -> None:
    np.testing.assert_array_equal(table("viridis"), mpl.colormaps["viridis"](np.arange(256), bytes=True)[:, :3])
    np.testing.assert_array_equal(table("grey"), np.arange(256)[:, None].repeat(3, axis=1))
    assert not table("viridis").flags.writeable
    assert not table("grey").flags.writeable


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_take_the_colours_that_matplotlib_gives_them(dtype: type) -> None:
    data = np.random.default_rng(6).standard_normal((60, 50)).astype(dtype)
    image = mpl.colormaps["viridis"](Normalize()(data), bytes=True)[..., :3]
    np.testing.assert_array_equal(table("viridis")[shades(data)], image)


def test_least_and_greatest_take_the_ends() -> None:
    assert shades(np.array([-3.0, 5.0, 1.0])).tolist() == [0, 255, 128]


def test_flat_data_take_the_lowest_colour() -> None:
    assert not shades(np.full((3, 4), 7.5)).any()


def test_data_are_left_as_they_are() -> None:
    data = np.arange(6.0)
    shades(data)
    np.testing.assert_array_equal(data, np.arange(6.0))
