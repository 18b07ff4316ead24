"""Takes turns: every contender once a round, the order turned round each time, so that drift of the machine cancels."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np
from rich.console import Console
from rich.progress import track

from monitor.types import FloatArray

Step: TypeAlias = Callable[[int], object]
"""Does the work of one round; it is given the round's number, from 0."""


def take_turns(
    contenders: Sequence[Mapping[str, Step]], *, rounds: int, warm_up: int, label: str
) -> dict[str, FloatArray]:
    """Time contenders side by side.

    Args:
        contenders: Each with its steps by name, run and timed one after the other.
        rounds: Rounds that count.
        warm_up: Rounds before them that do not; step numbers go on through both.
        label: Shown beside the progress bar.

    Returns:
        (rounds,) seconds by step name.
    """
    taken = {name: np.empty(rounds) for steps in contenders for name in steps}
    forth, back = list(contenders), list(reversed(contenders))
    for number in track(range(warm_up + rounds), description=label, console=Console(stderr=True), transient=True):
        for steps in forth if number % 2 == 0 else back:
            for name, step in steps.items():
                began = time.perf_counter_ns()
                step(number)
                ended = time.perf_counter_ns()
                if number >= warm_up:
                    taken[name][number - warm_up] = (ended - began) * 1e-9
    return taken
