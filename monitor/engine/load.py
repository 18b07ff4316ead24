"""What a window of each bundle costs on this machine, and whether the beds leave time for it.

A bed scores on the one pipeline thread. A hop of at least four times a window's cost keeps that thread idle for three
quarters of the time: for signals, other beds, and whatever else this machine does.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Final

import numpy as np

from monitor.assessment import drawn
from monitor.bundle_folder import Bundle
from monitor.config import BedSettings
from monitor.errors import Problem
from monitor.scoring.scorer import Runner
from monitor.scoring.session import OnnxRunner
from monitor.types import Float32Array

SHARE: Final = 0.25
"""Greatest share of the pipeline thread's time that all beds' models may take together."""
WATCHDOG_SHARE: Final = 0.5
"""Greatest share of `engine.watchdog_s` that the models of one bed may take in a row: no sign of life comes of them."""
HOP_STEP_S: Final = 0.25
"""Hops are multiples of this."""
_RUNS: Final = 3
_LONGEST_WATCHDOG_S: Final = 300


def measure(bundle: Bundle, runner: Runner | None = None, *, clock: Callable[[], float] = time.thread_time) -> float:
    """Seconds that one window of a bundle takes here: images drawn and the score graph run, at batch 1.

    Args:
        bundle: The bundle.
        runner: Has its graph open; None to open it here, on the CPU.
        clock: What to read. The CPU time of this thread leaves out what others take from the core meanwhile; a model
            that runs elsewhere than on the CPU needs `time.perf_counter`.

    Returns:
        Median of three runs after a first that does not count.

    Raises:
        BundleError: If the graph cannot be opened.
    """
    spec = bundle.spec
    runner = runner or OnnxRunner([bundle])
    random = np.random.Generator(np.random.PCG64(1))
    points: dict[str, Float32Array] = {
        # Wanders as a signal does, within the clip range of any scale: noise has another picture.
        item.name: np.sin(np.cumsum(random.normal(0, 0.3, (item.channels, item.samples)), axis=1)).astype(np.float32)
        for item in spec.inputs
    }
    taken = []
    for _ in range(1 + _RUNS):
        start = clock()
        runner.score(spec.name, drawn(spec, points))
        taken.append(clock() - start)
    return float(np.median(taken[1:]))


def smallest_hop_s(seconds: float) -> float:
    """Shortest hop, in seconds, that a bed alone may have with a window that takes so long."""
    return max(HOP_STEP_S, math.ceil(seconds / SHARE / HOP_STEP_S - 1e-9) * HOP_STEP_S)


def overloads(beds: Sequence[BedSettings], seconds: Mapping[str, float]) -> list[Problem]:
    """What keeps the models of these beds from being run in time.

    Args:
        beds: All beds of the engine.
        seconds: What a window takes, by bundle as `BedSettings.bundles` names it.

    Returns:
        One problem for each bundle whose bed's hop is too short; where there is none, one for beds that are too many
        together. See `outlasts` for models that are too slow for the watchdog.
    """
    problems = []
    for number, bed in enumerate(beds):
        for name in bed.bundles:
            needed = smallest_hop_s(seconds[name])
            if bed.hop_s < needed:
                what = f"{bed.hop_s:g} s is too short for {name}, whose windows take {1e3 * seconds[name]:.0f} ms here"
                problems.append(Problem(f"bed[{number}].hop_s", what, f"hop_s = {needed:g} or more"))
    if problems:
        return problems
    # Any of a bed's bundles may have to score: the slowest counts, and where they vote all of them.
    shares = [(max if bed.vote == "first" else sum)(seconds[name] for name in bed.bundles) / bed.hop_s for bed in beds]
    total = sum(shares)
    if total <= SHARE + 1e-9:
        return []
    hops = (
        f"{bed.name}: hop_s = {math.ceil(bed.hop_s * total / SHARE / HOP_STEP_S - 1e-9) * HOP_STEP_S:g}" for bed in beds
    )
    what = (
        f"the models of {len(beds)} beds take {100 * total:.0f} % of the time of the one thread that scores, "
        f"at most {100 * SHARE:.0f} % will do"
    )
    return [Problem("bed", what, f"longer hops ({', '.join(hops)}), fewer beds, or an engine of its own for some")]


def outlasts(beds: Sequence[BedSettings], seconds: Mapping[str, float], *, watchdog_s: float) -> list[Problem]:
    """What the watchdog would take for a pipeline that hangs, though it only scores.

    Args:
        beds: All beds of the engine.
        seconds: What a window takes, by bundle as `BedSettings.bundles` names it.
        watchdog_s: `engine.watchdog_s`.

    Returns:
        At most one problem: the bed whose models take longest, if that is more than `WATCHDOG_SHARE` of the limit.
    """
    worst: tuple[float, str, str] = (0.0, "", "")
    for bed in beds:
        slowest = max(bed.bundles, key=lambda name: seconds[name])
        voting = bed.vote != "first" and len(bed.bundles) > 1
        taken = sum(seconds[name] for name in bed.bundles) if voting else seconds[slowest]
        who = f"the {len(bed.bundles)} bundles of {bed.name} together take" if voting else f"{slowest} takes"
        worst = max(worst, (taken, who, "fewer or smaller bundles" if voting else "a smaller bundle"))
    taken, who, else_ = worst
    if taken <= WATCHDOG_SHARE * watchdog_s:
        return []
    needed = math.ceil(taken / WATCHDOG_SHARE)
    what = f"{watchdog_s:g} s is too short: {who} {taken:.1f} s a window here, and would be taken to hang"
    todo = f"watchdog_s = {needed} or more, or {else_}" if needed <= _LONGEST_WATCHDOG_S else else_
    return [Problem("engine.watchdog_s", what, todo)]
