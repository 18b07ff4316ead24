"""A simulated stream of 246 brain regions in three emotions: seeded, endless, and the same however it is read.

It stands in for the parcelled fMRI of the SE-CNN paper, so that its model can be trained and shown live. Which regions
answer to which emotion is drawn at random once and for all: nothing about brains is claimed. The paper states no
repetition time; one point a second is our assumption.
"""

from __future__ import annotations

from collections import OrderedDict
from enum import IntEnum
from typing import Final

import numpy as np

from monitor.sources.synthetic_patient import patient_seed
from monitor.types import Float32Array, FloatArray

EMOTIONS: Final = ("happy", "normal", "sad")
"""In the order of the published model's classes."""
CHANNELS: Final = 246
RATE_HZ: Final = 1.0
BLOCK_S: Final = 60.0
"""One emotion lasts so long; three in a row are all three, in an order of their own."""

_STREAM: Final = 246  # sets the generators of this stream apart from those of a patient of the same seed
_PAGE: Final = 64  # samples that are generated at once
_PAGES_KEPT: Final = 4
_NETWORKS: Final = 7
_ANSWERING: Final = 32
"""Regions with an answer to each emotion other than normal."""
_EFFECT: Final = 0.3
_INDIVIDUAL_EFFECT: Final = 0.25
_OWN_NOISE: Final = 0.8
_NETWORK_NOISE: Final = 0.6
_BASELINE: Final = 0.3
_DRIFT: Final = 0.3
_DRIFT_PERIODS_S: Final = (100.0, 500.0)
_SMOOTHING: Final = 0.5 ** np.arange(5)
_NORMAL: Final = EMOTIONS.index("normal")


class _Purpose(IntEnum):
    """What a generator is for; never renumber, only append."""

    PATTERN = 1
    PERSON = 2
    ORDER = 3
    STRENGTH = 4
    NOISE = 5


def _generator(seed: int, purpose: _Purpose, index: int = 0) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([_STREAM, seed, purpose, index])))


def _pattern() -> FloatArray:
    """(3, 246) what is common to all subjects: 32 regions each for happy and sad, none for normal."""
    rng = _generator(0, _Purpose.PATTERN)
    pattern = np.zeros((len(EMOTIONS), CHANNELS))
    for emotion in (0, 2):
        answering = rng.choice(CHANNELS, _ANSWERING, replace=False)
        pattern[emotion, answering] = _EFFECT * rng.choice([-1.0, 1.0], _ANSWERING) * rng.uniform(0.5, 1.5, _ANSWERING)
    return pattern


_PATTERN: Final = _pattern()
_NETWORK_OF: Final = np.arange(CHANNELS) * _NETWORKS // CHANNELS


def _step_response(t: FloatArray) -> FloatArray:
    """What a lasting stimulus has raised of the blood's answer after `t` s: 0 before, 1 at last, 1.1 in between.

    The integral of the usual difference of two gamma densities, peaking at 5 s and dipping at 15 s.
    """
    t = np.maximum(t, 0.0)

    def gamma_cdf(shape: int) -> FloatArray:
        term, total = np.ones_like(t), np.ones_like(t)
        for k in range(1, shape):
            term = term * t / k
            total = total + term
        return np.asarray(1.0 - np.exp(-t) * total)

    return np.asarray((gamma_cdf(6) - gamma_cdf(16) / 6.0) / (1.0 - 1.0 / 6.0))


class SyntheticRegions:
    """One simulated subject whose emotion changes every minute.

    Sample i lies at i seconds. Its values are in arbitrary units, of about unit noise: an answer of the regions that is
    smooth and late by some 5 s, differs between subjects and from minute to minute, on top of a baseline of each
    region, slow drifts, and noise that regions of one network share.

    Args:
        number: Which subject of the part.
        part: train, test or demo, as of `SyntheticPatient`: no model is shown live what it learnt from.

    Raises:
        MonitorError: If there is no such part or subject.
    """

    rate_hz: Final = RATE_HZ
    channels: Final = CHANNELS

    def __init__(self, number: int, *, part: str = "demo") -> None:
        self.seed: Final = patient_seed(part, number)
        self.subject: Final = f"sim-regions-{part}-{number:04d}"
        rng = _generator(self.seed, _Purpose.PERSON)
        own = rng.standard_normal(_PATTERN.shape) * np.where(_PATTERN != 0.0, _INDIVIDUAL_EFFECT, 0.1)
        self._answers = _PATTERN * rng.uniform(0.6, 1.4) + own
        self._baseline = _BASELINE * rng.standard_normal(CHANNELS)
        low, high = np.log(_DRIFT_PERIODS_S)
        self._drift_omega = 2.0 * np.pi / np.exp(rng.uniform(low, high, (3, CHANNELS)))
        self._drift_phase = rng.uniform(0.0, 2.0 * np.pi, (3, CHANNELS))
        self._pages: OrderedDict[int, Float32Array] = OrderedDict()

    def emotion_at(self, t: float) -> str:
        """What the subject feels at `t` seconds; normal before zero.

        The regions follow by some 5 s.
        """
        return EMOTIONS[self._emotion(int(t // BLOCK_S))]

    def samples(self, first: int, count: int) -> Float32Array:
        """Samples `first` to `first + count`, (count, 246).

        Raises:
            ValueError: If `first` or `count` is negative.
        """
        if first < 0 or count < 0:
            raise ValueError(f"samples {first}..{first + count} do not exist")
        pages = range(first // _PAGE, -(-(first + count) // _PAGE))
        if not pages:
            return np.empty((0, CHANNELS), dtype=np.float32)
        joined = np.concatenate([self._page(k) for k in pages])
        start = first - pages[0] * _PAGE
        return joined[start : start + count].copy()

    def _emotion(self, block: int) -> int:
        if block < 0:
            return _NORMAL
        order = _generator(self.seed, _Purpose.ORDER, block // 3).permutation(len(EMOTIONS))
        return int(order[block % 3])

    def _page(self, k: int) -> Float32Array:
        page = self._pages.get(k)
        if page is None:
            t = np.arange(k * _PAGE, (k + 1) * _PAGE) / RATE_HZ
            page = (self._baseline + self._answer(t) + self._drift(t) + self._noise(k)).astype(np.float32)
            self._pages[k] = page
            if len(self._pages) > _PAGES_KEPT:
                self._pages.popitem(last=False)
        return page

    def _answer(self, t: FloatArray) -> FloatArray:
        """(n, 246); what began two blocks ago is over, as the answer settles within 30 s."""
        answer = np.zeros((len(t), CHANNELS))
        for block in range(int(t[0] // BLOCK_S) - 1, int(t[-1] // BLOCK_S) + 1):
            since = t - block * BLOCK_S
            share = _step_response(since) - _step_response(since - BLOCK_S)
            strength = _generator(self.seed, _Purpose.STRENGTH, block + 1).uniform(0.6, 1.4)
            answer += share[:, np.newaxis] * (strength * self._answers[self._emotion(block)])
        return answer

    def _drift(self, t: FloatArray) -> FloatArray:
        waves = np.sin(t[:, np.newaxis, np.newaxis] * self._drift_omega + self._drift_phase)
        return np.asarray(_DRIFT * np.sqrt(2.0 / 3.0) * waves.sum(axis=1))

    def _noise(self, k: int) -> FloatArray:
        """(64, 246), smoothed over the last five points, of which the first need those of the page before."""
        lags = len(_SMOOTHING) - 1
        white = np.concatenate([self._white(k - 1)[-lags:], self._white(k)])
        smooth = sum(weight * white[lags - j : lags - j + _PAGE] for j, weight in enumerate(_SMOOTHING))
        smooth = np.asarray(smooth) / np.sqrt(np.sum(_SMOOTHING**2))
        own, shared = smooth[:, :CHANNELS], smooth[:, CHANNELS:]
        return np.asarray(_OWN_NOISE * own + _NETWORK_NOISE * shared[:, _NETWORK_OF])

    def _white(self, k: int) -> FloatArray:
        return _generator(self.seed, _Purpose.NOISE, k + 1).standard_normal((_PAGE, CHANNELS + _NETWORKS))
