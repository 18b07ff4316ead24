"""A synthetic patient as the packets that its devices would have sent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Final

from monitor.outputs.player import Packet, SignalSpec
from monitor.sources.synthetic import patient_chunks
from monitor.sources.synthetic_patient import SyntheticPatient
from monitor.sources.synthetic_streams import SyntheticSubject
from monitor.types import Provenance

PACKET_S: Final = 0.05
"""Length of a packet: what a wearable sends twenty times a second."""


def synthetic_specs(patient: SyntheticPatient, modalities: Sequence[str], *, tag: str = "") -> tuple[SignalSpec, ...]:
    """What each device of the patient says of itself.

    Args:
        patient: Whose signals.
        modalities: Which of them.
        tag: Keeps patients on one network apart: part of each source_id, the same at every start.

    Raises:
        MonitorError: If the patient lacks a modality.
    """
    subject = SyntheticSubject(patient)
    return tuple(
        SignalSpec(
            key=modality,
            name=f"Synthetic {modality}",
            type=modality,
            source_id=source_id(modality, tag=tag),
            rate_hz=subject.rate_hz(modality),
            unit=subject.unit(modality),
            channels=subject.channels(modality),
            provenance=Provenance.SIMULATED,
        )
        for modality in modalities
    )


def source_id(modality: str, *, tag: str = "") -> str:
    """The LSL source_id of a synthetic signal."""
    return f"pain-monitor-synthetic{f'-{tag}' if tag else ''}-{modality}"


def synthetic_packets(
    patient: SyntheticPatient,
    modalities: Sequence[str],
    *,
    start_s: float = 0.0,
    duration_s: float | None = None,
    packet_s: float = PACKET_S,
) -> Iterator[Packet]:
    """Packets in the order of their due time; endless without a duration.

    Args:
        patient: Whom to play.
        modalities: Which signals.
        start_s: Seconds of the patient's life to leave out.
        duration_s: Seconds to play; None for ever.
        packet_s: Length of a packet in seconds.
    """
    for chunk in patient_chunks(
        SyntheticSubject(patient), modalities, start_s=start_s, seconds=duration_s, chunk_s=packet_s
    ):
        yield chunk.due_s - start_s, chunk.modality, chunk.samples, chunk.stamps - start_s
