"""Recurrence plot: how far a signal's states in phase space (Takens' time-delay embedding) lie from each other."""

from __future__ import annotations

import numpy as np

from monitor.types import FloatArray


def recurrence(values: FloatArray, points: int, dimension: int, delay: int) -> FloatArray:
    """Distances between states.

    A state at time t is (x(t), x(t + delay), ..., x(t + (dimension - 1) delay)). The states are evenly spaced from the
    first to the last that the window holds whole; between samples the signal is interpolated linearly.

    Args:
        values: (samples,) signal.
        points: Number of states.
        dimension: Coordinates of a state.
        delay: Samples of the signal between a state's coordinates.

    Returns:
        (points, points) Euclidean distances, in the unit of the signal; symmetric, 0 on the diagonal.

    Raises:
        ValueError: If the window does not hold two different states.
    """
    span = (dimension - 1) * delay
    if len(values) < span + 2:
        raise ValueError(
            f"a recurrence plot of {dimension} coordinates {delay} points apart needs {span + 2} points or more; "
            f"{len(values)} are given"
        )
    starts = np.linspace(0.0, len(values) - 1 - span, points)
    grid = np.arange(len(values))
    squares = np.zeros((points, points))
    for coordinate in range(dimension):
        state = np.interp(starts + coordinate * delay, grid, values)
        apart = state[:, None] - state
        apart *= apart
        squares += apart
    return np.sqrt(squares, out=squares)
