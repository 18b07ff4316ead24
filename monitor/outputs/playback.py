"""A recording as the packets that a device would send."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np

from monitor.errors import SourceError
from monitor.outputs.player import Packet, SignalSpec
from monitor.sources.base import Recording, Signal
from monitor.sources.names import guess_modalities
from monitor.types import FloatArray, snap

PACKET_S: Final = 0.05
"""Length of a packet: what a wearable sends twenty times a second."""


def recording_specs(recording: Recording) -> tuple[SignalSpec, ...]:
    """What each signal of a recording says of itself; nothing that the file does not state.

    The source_id is made of the file's name and the signal's, so that a second start is known as the same stream.
    """
    guesses = guess_modalities([signal.candidate for signal in recording.signals])
    return tuple(
        SignalSpec(
            key=signal.candidate.key,
            name=signal.candidate.name,
            type=guesses.get(signal.candidate.key, ""),
            source_id=f"pain-monitor-stream/{recording.path.name}/{signal.candidate.key}",
            rate_hz=signal.candidate.rate_hz or 0.0,
            unit=signal.candidate.unit,
            provenance=recording.provenance,
            channel=signal.candidate.channel,
        )
        for signal in recording.signals
    )


def recording_packets(
    recording: Recording, *, start_s: float = 0.0, duration_s: float | None = None, packet_s: float = PACKET_S
) -> Iterator[Packet]:
    """Cut a recording into packets, in the order in which a device would have sent them.

    Zero is the origin that the recording states, else the earliest first stamp of all signals, plus `start_s`. Stamps
    are the recording's own, less that; a packet is due when its last sample has been taken.

    Args:
        recording: What to play.
        start_s: Seconds to leave out at the beginning.
        duration_s: Seconds to play; None for all.
        packet_s: Length of a packet in seconds.

    Returns:
        An iterator over packets, in order of their due time.

    Raises:
        SourceError: If nothing lies between `start_s` and the end.
    """
    stamps = {signal.candidate.key: stamps_of(signal) for signal in recording.signals}
    samples = {signal.candidate.key: signal.samples for signal in recording.signals}
    begun = {key: values for key, values in stamps.items() if len(values)}
    if not begun:
        raise SourceError("the recording holds no samples", where=str(recording.path))
    stated = next((s.candidate.origin for s in recording.signals if s.candidate.origin is not None), None)
    first = stated if stated is not None else min(float(values[0]) for values in begun.values())
    zero = float(snap(first + start_s))
    # What a device has sent by a certain time is a matter of its samples' order, whatever their stamps say.
    sent_at = {key: np.maximum.accumulate(values) - zero for key, values in begun.items()}
    end = max(float(values[-1]) for values in sent_at.values())
    if end < 0:
        raise SourceError(
            f"the recording ends {end + start_s:.1f} s after its start", where=str(recording.path),
            todo="Choose a smaller --start",
        )  # fmt: skip
    last = end if duration_s is None else min(end, duration_s)
    return _cut(samples, begun, sent_at, zero=zero, last=last, duration_s=duration_s, packet_s=packet_s)


def _cut(
    samples: dict[str, np.ndarray[tuple[int], np.dtype[np.float32]]],
    stamps: dict[str, FloatArray],
    sent_at: dict[str, FloatArray],
    *,
    zero: float,
    last: float,
    duration_s: float | None,
    packet_s: float,
) -> Iterator[Packet]:
    position = {key: int(np.searchsorted(values, 0.0, side="left")) for key, values in sent_at.items()}
    final = {
        key: len(values) if duration_s is None else int(np.searchsorted(values, duration_s, side="left"))
        for key, values in sent_at.items()
    }
    for number in range(1, math.ceil(last / packet_s) + 2):
        edge = number * packet_s
        due: list[Packet] = []
        for key, values in sent_at.items():
            begin = position[key]
            end = min(int(np.searchsorted(values, edge, side="left")), final[key])
            if end > begin:
                due.append((float(values[end - 1]), key, samples[key][begin:end], stamps[key][begin:end] - zero))
                position[key] = end
        yield from sorted(due, key=lambda packet: packet[0])


def stamps_of(signal: Signal) -> FloatArray:
    """(n,) stamps of a recorded signal, in seconds from the recording's zero, snapped.

    Raises:
        SourceError: If the file states neither stamps nor a sampling rate.
    """
    if signal.stamps is not None:
        return snap(signal.stamps)
    rate = signal.candidate.rate_hz
    if not rate:
        raise SourceError(
            "neither stamps nor a sampling rate are known",
            where=signal.candidate.name,
            todo="State the rate with --rate HZ",
        )
    return snap(signal.t_first + np.arange(len(signal.samples)) / rate)
