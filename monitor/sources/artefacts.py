"""Faults on demand: what a bad contact, a moving cable, a full amplifier or a confused clock does to a stream.

An artefact is a pure function of sample number and time, so it is the same however the stream is cut into chunks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from monitor.errors import MonitorError
from monitor.modality import MODALITY_UNITS
from monitor.sources.physiology_random import Purpose, generator
from monitor.sources.physiology_waveforms import motion_waveform
from monitor.types import Float32Array, FloatArray

ArtefactKind = Literal["gap", "dropout", "motion", "saturation", "drift", "jitter", "clock_jump", "mains"]

MAINS_HZ: Final = 50.0
_JITTER_BLOCK: Final = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Artefact:
    """One fault of one modality's stream, on for `onset_s` <= t < `onset_s + duration_s`.

    | kind | what happens | size |
    |---|---|---|
    | gap | samples are lost on the way; stamps go on as if they had come | unused |
    | dropout | the sensor comes off: constant for the first half, then silent | that constant, in the unit |
    | motion | noise of 0.3-6 Hz under a half-sine is added | its standard deviation, in the unit |
    | saturation | the amplifier's rails close in: values are clipped to +-size | the rail, in the unit |
    | drift | the baseline rises by a sine-squared bump and comes back | its height, in the unit |
    | jitter | stamps scatter evenly; beyond half a period they step backwards | largest error in seconds |
    | clock_jump | the device clock is set: all stamps from the onset on are off, for ever | by how much, in seconds |
    | mains | hum at 50 Hz is added, with a third harmonic where the rate carries it | its amplitude, in the unit |

    Raises:
        MonitorError: If the kind or modality is unknown, or the span or size is impossible.
    """

    kind: ArtefactKind
    modality: str
    onset_s: float
    duration_s: float
    size: float = 0.0

    def __post_init__(self) -> None:
        where = f"artefact {self.kind} on {self.modality}"
        if self.kind not in get_args(ArtefactKind):
            raise MonitorError(f"there is no artefact '{self.kind}'", todo=f"Write {', '.join(get_args(ArtefactKind))}")
        if self.modality not in MODALITY_UNITS:
            raise MonitorError(f"there is no modality '{self.modality}'", where=where)
        if not (np.isfinite(self.onset_s) and self.duration_s >= 0.0):
            raise MonitorError(f"onset {self.onset_s:g} s, duration {self.duration_s:g} s is no span", where=where)
        if not np.isfinite(self.size) or (self.size < 0.0 and self.kind not in ("dropout", "drift", "clock_jump")):
            raise MonitorError(f"size {self.size:g} is impossible", where=where, todo="Give a size of 0 or more")


def apply_artefacts(
    artefacts: Sequence[Artefact],
    *,
    seed: int,
    modality: str,
    rate_hz: float,
    first: int,
    samples: Float32Array,
) -> tuple[Float32Array, FloatArray]:
    """Return what is left of a clean stretch of a stream.

    Args:
        artefacts: All artefacts of the patient; those of other modalities are passed over. They act in order.
        seed: The patient's seed; an artefact's noise depends on it and on the artefact's place in the sequence.
        modality: Modality of the stretch.
        rate_hz: Its sampling rate.
        first: Number of its first sample.
        samples: (n,) clean samples.

    Returns:
        Samples (m,) and stamps (m,) in seconds from the patient's zero, m <= n.
    """
    count = len(samples)
    true_time = (first + np.arange(count)) / rate_hz
    values = samples.astype(np.float64)
    stamps = true_time.copy()
    kept = np.ones(count, dtype=np.bool_)
    for index, artefact in enumerate(artefacts):
        if artefact.modality != modality:
            continue
        since = true_time - artefact.onset_s
        on = (since >= 0.0) & (since < artefact.duration_s)
        if artefact.kind == "clock_jump":
            stamps[since >= 0.0] += artefact.size
        elif not on.any():
            continue
        elif artefact.kind == "gap":
            kept &= ~on
        elif artefact.kind == "dropout":
            values[on] = artefact.size
            kept &= ~(on & (since >= artefact.duration_s / 2))
        elif artefact.kind == "saturation":
            values[on] = np.clip(values[on], -artefact.size, artefact.size)
        elif artefact.kind == "jitter":
            stamps[on] += artefact.size * _scatter(seed, index, first, count)[on]
        else:
            values[on] += artefact.size * _shape(artefact, seed, index, since[on], true_time[on], rate_hz)
    return values[kept].astype(np.float32), stamps[kept]


def _shape(artefact: Artefact, seed: int, index: int, since: FloatArray, t: FloatArray, rate_hz: float) -> FloatArray:
    """What is added to the signal (n,), for unit size."""
    if artefact.kind == "motion":
        return motion_waveform(generator(seed, Purpose.ARTEFACT, index), since, artefact.duration_s)
    if artefact.kind == "drift":
        return np.asarray(np.sin(np.pi * since / artefact.duration_s) ** 2)
    hum = 2 * np.pi * MAINS_HZ * t
    third = 0.2 if rate_hz / 2 > 3 * MAINS_HZ else 0.0
    return np.asarray(np.sin(hum) + third * np.sin(3 * hum))


def _scatter(seed: int, index: int, first: int, count: int) -> NDArray[np.float64]:
    """Uniform in [-1, 1), one a sample number, whatever stretch is asked for."""
    low, high = first // _JITTER_BLOCK, (first + count - 1) // _JITTER_BLOCK
    blocks = [generator(seed, Purpose.JITTER, index, k).uniform(-1, 1, _JITTER_BLOCK) for k in range(low, high + 1)]
    start = first - low * _JITTER_BLOCK
    return np.concatenate(blocks)[start : start + count]
