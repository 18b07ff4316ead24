"""Embeddings of the frames of a face that nobody has: what an encoder of video would send, without any video.

They stand in for `EMBED:<name>` streams, so that a model that reads skin and face can be tried. Deterministic in the
patient's seed and the same for any grouping of frames.
"""

from __future__ import annotations

from typing import Final

import numpy as np

from monitor.sources.synthetic_patient import SyntheticPatient
from monitor.types import Float32Array, FloatArray

WIDTH: Final = 160
"""Numbers a frame: the width of PainFormer's embedding."""
FRAME_RATE_HZ: Final = 25.0
"""BioVid's cameras; 138 frames make its 5.5 s."""

_LAG_S: Final = 0.6
"""A face follows a stimulus sooner than heart and skin do [assumed]."""
_SALT: Final = 0xFACE
_BLOCK: Final = 25
_WANDERS: Final = 3


class SyntheticEmbeddings:
    """Frame embeddings of one simulated patient: a face of its own, slow wandering, noise, and an answer to pain.

    All sizes are assumed: they show the pipeline and say nothing about any face.

    Args:
        patient: Whose face.
    """

    def __init__(self, patient: SyntheticPatient) -> None:
        self._patient = patient
        rng = self._generator(0)
        self._face: FloatArray = rng.standard_normal(WIDTH)
        self._answer: FloatArray = 0.8 * rng.standard_normal(WIDTH) * patient.profile.strengths.responsiveness
        self._wander: FloatArray = 0.3 * rng.standard_normal((_WANDERS, WIDTH))
        self._period_s: FloatArray = rng.uniform(4.0, 60.0, _WANDERS)
        self._phase: FloatArray = rng.uniform(0.0, 2.0 * np.pi, _WANDERS)

    def _generator(self, block: int) -> np.random.Generator:
        return np.random.Generator(np.random.PCG64([self._patient.seed, _SALT, block]))

    def frames(self, first: int, count: int) -> Float32Array:
        """(count, 160) float32 for the frames from number `first` on; frame i is taken at i / 25 s."""
        if count <= 0:
            return np.empty((0, WIDTH), dtype=np.float32)
        times = (first + np.arange(count)) / FRAME_RATE_HZ
        level = self._patient.level_at(times - _LAG_S)
        wander = np.sin(2.0 * np.pi * times[:, None] / self._period_s + self._phase) @ self._wander
        values = self._face + level[:, None] * self._answer + wander + self._noise(first, count)
        return values.astype(np.float32)

    def _noise(self, first: int, count: int) -> FloatArray:
        begin, end = first // _BLOCK, (first + count - 1) // _BLOCK + 1
        blocks = [self._generator(1 + block).standard_normal((_BLOCK, WIDTH)) for block in range(begin, end)]
        offset = first - begin * _BLOCK
        noise: FloatArray = 0.4 * np.concatenate(blocks)[offset : offset + count]
        return noise
