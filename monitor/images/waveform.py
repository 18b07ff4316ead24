"""A signal as a line on white, anti-aliased, without a loop over pixels."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitor.types import Float32Array, FloatArray

_STRIPES: Final = 4
"""Each column of pixels is taken as so many stripes, in which coverage along the height is exact."""


def waveform(heights: FloatArray, size: int, line_px: float) -> Float32Array:
    """How much of each pixel a line through all samples covers.

    The first sample lies in the middle of the first column of pixels, the last in that of the last, straight lines
    between neighbours. Per stripe the line is one stretch of heights; drawn with a round pen, this stretch grows by
    the pen's half chord over every stripe that the pen reaches.

    Args:
        heights: (samples,) in pixels from the bottom of the picture; what lies outside of it is cut off.
        size: Height and width in pixels.
        line_px: Diameter of the pen, 0.5 or more.

    Returns:
        (size, size) share covered, 0..1; row 0 is the top.
    """
    bottom, top = _stretches(heights, size)
    radius = line_px / 2.0
    reach = int(radius * _STRIPES)
    low, high = bottom - radius, top + radius
    for shift in range(1, reach + 1):
        chord = np.sqrt(max(radius**2 - (shift / _STRIPES) ** 2, 0.0))
        for own, other in ((np.s_[shift:], np.s_[:-shift]), (np.s_[:-shift], np.s_[shift:])):
            np.minimum(low[own], bottom[other] - chord, out=low[own])
            np.maximum(high[own], top[other] + chord, out=high[own])
    rows = np.arange(size - 1, -1, -1, dtype=np.float32)[:, None]
    edges = np.stack((high, low)).astype(np.float32).reshape(2, size, _STRIPES)
    covered: Float32Array = np.zeros((size, size), np.float32)
    below: Float32Array = np.empty((size, size), np.float32)
    # A picture at a time stays in the cache, and a maximum and a minimum are several times as fast as clip.
    for stripe in range(_STRIPES):
        for edge, add in ((edges[0], np.add), (edges[1], np.subtract)):
            np.subtract(edge[:, stripe], rows, out=below)
            np.maximum(below, 0.0, out=below)
            np.minimum(below, 1.0, out=below)
            add(covered, below, out=covered)
    covered /= _STRIPES
    return covered


def _stretches(heights: FloatArray, size: int) -> tuple[FloatArray, FloatArray]:
    """(stripes,) the stretch of heights that each stripe stands for."""
    places, edges, order, starts = _layout(len(heights), size)
    at_edges = np.interp(edges, places, heights)
    line = np.concatenate((at_edges, heights))[order]
    # From each edge to the next.
    low = np.minimum.reduceat(line, starts)[:-1]
    high = np.maximum.reduceat(line, starts)[:-1]
    return -_upper(-low, -at_edges), _upper(high, at_edges)


def _upper(highest: FloatArray, at_edges: FloatArray) -> FloatArray:
    """(stripes,) upper end of each stripe's stretch, from its highest sample and the heights at its edges.

    A stripe stands for its middle, where a line that only climbs has reached half of its rise: the whole rise would
    draw steep lines too thick, and the pen closes the gaps. A peak, within a stripe or on an edge, is kept in full.
    """
    left, right = at_edges[:-1], at_edges[1:]
    edges = np.maximum(left, right)
    at_peak = np.zeros(len(at_edges), bool)
    at_peak[1:-1] = (at_edges[1:-1] > at_edges[:-2]) & (at_edges[1:-1] > at_edges[2:])
    kept = (highest > edges) | at_peak[:-1] | at_peak[1:]
    return np.where(kept, np.maximum(highest, edges), (left + right) / 2.0)


@lru_cache(maxsize=16)
def _layout(samples: int, size: int) -> tuple[FloatArray, FloatArray, NDArray[np.intp], NDArray[np.intp]]:
    """Where samples and edges of stripes lie, the order of both along the width, and where in it the edges are."""
    places = np.linspace(0.5, size - 0.5, samples)
    edges = np.linspace(0.0, size, size * _STRIPES + 1)
    order = np.argsort(np.concatenate((edges, places)), kind="stable")
    starts = np.flatnonzero(order < len(edges))
    for array in (places, edges, order, starts):
        array.setflags(write=False)
    return places, edges, order, starts
