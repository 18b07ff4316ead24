"""The pain index after each window: a fast and a slow causal mean over the valid scores of one bundle.

Two numbers on purpose, each named after its span (10 s and 120 s), as the analgesia monitors do that print an
instantaneous beside an averaged value. The index runs from 0 (no pain response) to 100 (extreme); it is an evidence
scale on the bundle's stated prior, not a probability of pain.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from monitor.types import PainIndex, Reason, Score

FAST_S: Final = 10.0
"""Span of the fast mean in seconds; alarms rest on it."""
SLOW_S: Final = 120.0
"""Span of the slow mean in seconds."""

_SOLID: Final = frozenset({"subject", "none"})
"""Scalings that stand on this subject alone: its own baseline, or nothing beyond the window itself."""


class IndexTracker:
    """Makes one `PainIndex` of every `Score`, in the order of the windows.

    A mean is taken over the windows that end within the last `fast_s` (`slow_s`) seconds of stream time and is
    withheld unless at least half of the windows that fit there have a score; an uncertain one counts as none. Only
    scores that are comparable are averaged: those of one epoch, one bundle and one kind of scaling; when any of
    these changes, what went before is forgotten. A window without a score adds nothing, and its predecessors age
    with stream time, so a value never outlives its span.

    Each mean is computed afresh with `math.fsum` from the scores that it covers, so equal scores give equal bits
    whatever came before them.

    Args:
        hop_s: Seconds between window ends.
        fast_s: Span of the fast mean in seconds.
        slow_s: Span of the slow mean in seconds.

    Raises:
        ValueError: If a span or the hop is not positive.
    """

    def __init__(self, *, hop_s: float, fast_s: float = FAST_S, slow_s: float = SLOW_S) -> None:
        if min(hop_s, fast_s, slow_s) <= 0:
            raise ValueError(f"hop and spans must be positive, not {hop_s}, {fast_s}, {slow_s}")
        # Window ends t, t - hop, ... that lie in the half-open span (t - span, t].
        self._fast_windows = math.ceil(fast_s / hop_s)
        self._slow_windows = math.ceil(slow_s / hop_s)
        self._scores: deque[tuple[int, float]] = deque()  # (k, index) of valid scores, oldest first
        self._epoch: int | None = None
        self._last_k: int | None = None
        self._bundle: str | None = None
        self._calibration: str | None = None
        self._switched_k: int | None = None
        self._no_index = False

    def update(self, score: Score) -> PainIndex:
        """Take the score of the next window, valid or absent, and return the index after it.

        Args:
            score: Scores come in the order of (epoch, k); a k may be left out, which counts as no score.

        Raises:
            ValueError: If a window comes twice or out of order within its epoch.
        """
        if score.epoch != self._epoch:
            self._restart(score.epoch)
        elif self._last_k is not None and score.k <= self._last_k:
            raise ValueError(f"window {score.k} of epoch {score.epoch} came after window {self._last_k}")
        self._last_k = score.k
        if not score.withheld:
            self._take(score)
        while self._scores and self._scores[0][0] <= score.k - max(self._fast_windows, self._slow_windows):
            self._scores.popleft()
        fast, fast_withheld = self._mean(score.k, self._fast_windows, score.uncertain)
        slow, slow_withheld = self._mean(score.k, self._slow_windows, score.uncertain)
        return PainIndex(
            bed=score.bed,
            bundle=self._bundle or score.bundle,
            epoch=score.epoch,
            k=score.k,
            t_end=score.t_end,
            t_rel=score.t_rel,
            fast=fast,
            slow=slow,
            fast_withheld=fast_withheld,
            slow_withheld=slow_withheld,
            hollow=score.calibration not in _SOLID or self._calibration not in (None, *_SOLID),
        )

    def _restart(self, epoch: int) -> None:
        self._epoch = epoch
        self._last_k = None
        self._scores.clear()
        self._bundle = None
        self._calibration = None
        self._switched_k = None
        self._no_index = False

    def _take(self, score: Score) -> None:
        """Add a scored window; only a bundle that has scored can take over (an absent score merely names one)."""
        if score.bundle != self._bundle:
            self._switched_k = None if self._bundle is None else score.k
            self._bundle = score.bundle
            self._scores.clear()
        if score.calibration != self._calibration:
            # Scores under the population's scaling and under the subject's own do not make one mean.
            self._calibration = score.calibration
            self._scores.clear()
        self._no_index = score.index is None
        if score.index is not None:
            self._scores.append((score.k, score.index))

    def _mean(self, k: int, windows: int, uncertain: tuple[str, ...]) -> tuple[float | None, str]:
        """Return the mean over the last `windows` windows up to `k`, or None and why it is withheld."""
        if self._no_index:
            return None, Reason.NO_INDEX.value
        values = [index for at, index in self._scores if at > k - windows]
        if 2 * len(values) >= windows:
            return math.fsum(values) / len(values), ""
        # Nothing has left the span since a switch inside it, so until then only the switch can be the cause.
        if self._switched_k is not None and self._switched_k > k - windows:
            return None, Reason.BUNDLE_CHANGED.value
        if uncertain:  # the newest window is so; where it is not, what is there is merely too little
            return None, uncertain[0]
        return None, Reason.HALF_EMPTY.value
