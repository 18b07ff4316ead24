"""One number of several bundles' indices, for the alarms (clinical.md A17).

`any` is the greatest, `majority` the median (the mean of the middle two where they are even in number), `weighted` the
mean by the configuration's weights. Who votes: each bundle that scored this window, is believed, and has a fast index
that refers to this subject. With fewer bundles fewer vote; with none there is no number.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping

from monitor.config import VoteRule


def voted(rule: VoteRule, votes: Mapping[str, float], weights: Mapping[str, float]) -> float | None:
    """The vote of a window.

    Args:
        rule: How; `first` is no vote.
        votes: Fast index, 0 to 100, by name of those that vote.
        weights: By name, for `weighted`; whoever has none counts 1.

    Returns:
        0 to 100, None where nobody votes.
    """
    if rule == "first" or not votes:
        return None
    if rule == "any":
        return max(votes.values())
    if rule == "majority":
        return float(statistics.median(votes.values()))
    total = math.fsum(weights.get(name, 1.0) for name in votes)
    return math.fsum(weights.get(name, 1.0) * value for name, value in votes.items()) / total
