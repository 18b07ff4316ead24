"""Everything that a simulated subject can send: a body's signals, embeddings of frames, activity of brain regions."""

from __future__ import annotations

from typing import Final

import numpy as np

from monitor.errors import MonitorError
from monitor.modality import MODALITY_UNITS
from monitor.sources import synthetic_regions, synthetic_video
from monitor.sources.synthetic_patient import DEFAULT_RATES_HZ, SyntheticPatient
from monitor.types import Float32Array, FloatArray, snap

REGIONS: Final = "ARRAY:regions"
VIDEO: Final = "EMBED:video"


class SyntheticSubject:
    """One simulated subject: a patient, and beside it what else its bed may have sensors for.

    Its skin, heart and muscles answer to pain, and so do its frame embeddings (`EMBED:video`); the activity of its
    brain regions (`ARRAY:regions`) answers to pictures that it is shown, which have nothing to do with pain.

    Args:
        patient: The body.
    """

    def __init__(self, patient: SyntheticPatient) -> None:
        self._patient = patient
        self.subject: str = patient.subject
        self._video = synthetic_video.SyntheticEmbeddings(patient)
        self._regions = synthetic_regions.SyntheticRegions(patient.number, part=patient.part)

    def rate_hz(self, modality: str) -> float:
        """Sampling rate.

        Raises:
            MonitorError: If a simulated subject has no such signal.
        """
        if modality == VIDEO:
            return synthetic_video.FRAME_RATE_HZ
        if modality == REGIONS:
            return synthetic_regions.RATE_HZ
        if modality.startswith(("ARRAY:", "EMBED:")):
            raise MonitorError(
                f"has no {modality}",
                where=self.subject,
                todo=f"Choose from {', '.join((*DEFAULT_RATES_HZ, REGIONS, VIDEO))}",
            )
        return self._patient.rate_hz(modality)

    def channels(self, modality: str) -> int:
        """Channels of a signal."""
        return {VIDEO: synthetic_video.WIDTH, REGIONS: synthetic_regions.CHANNELS}.get(modality, 1)

    def unit(self, modality: str) -> str:
        """Unit of a signal."""
        return MODALITY_UNITS.get(modality, "a.u.")

    def measured(self, modality: str, first: int, count: int) -> tuple[Float32Array, FloatArray]:
        """(n,) or (n, channels) samples from number `first` on, and their (n,) stamps in seconds."""
        if modality not in (VIDEO, REGIONS):
            return self._patient.measured(modality, first, count)
        values = self._video.frames(first, count) if modality == VIDEO else self._regions.samples(first, count)
        return values, snap((first + np.arange(count)) / self.rate_hz(modality))
