"""What all players share: the packets of a device, what each signal says of itself, and how far the player is."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType
from typing import Final, TypeAlias

from monitor.types import Float32Array, FloatArray, Provenance

Packet: TypeAlias = tuple[float, str, Float32Array, FloatArray]
"""(seconds from the start at which the device would send it, signal key, (n,) or (n, channels) samples, (n,) stamps in
seconds from the start). Stamps need not agree with the first: a device whose clock has jumped is played as it is."""

PROGRESS_S: Final = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class SignalSpec:
    """What one outlet says of its signal."""

    key: str
    """Names the signal in packets."""
    name: str
    type: str
    """The modality, where one can be told; else empty."""
    source_id: str
    """Not empty, and the same at every start: by it a listener knows the stream again."""
    rate_hz: float
    """Nominal sampling rate; 0 where irregular."""
    unit: str | None
    """None where nobody states one: then the outlet states none either."""
    provenance: Provenance
    channel: str = ""
    """Label of the channel; the name where empty."""
    channels: int = 1
    """Channels, numbered from 0 where there are several."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlayProgress:
    """How far the player is, for a person to look at."""

    waiting_for: tuple[str, ...]
    """Names of the signals without a listener; empty once it plays."""
    played_s: float
    """Seconds played."""


class Reporter:
    """Passes on how far a player is, about twice a second.

    Args:
        progress: Whom to tell; None for nobody.
    """

    def __init__(self, progress: Callable[[PlayProgress], None] | None) -> None:
        self._progress = progress
        self._next = 0.0

    def __call__(self, state: PlayProgress, *, final: bool = False) -> None:
        """Pass on a state if it is time, or the last one."""
        now = time.monotonic()
        if self._progress is not None and (final or now >= self._next):
            self._next = now + PROGRESS_S
            self._progress(state)


@contextmanager
def stopped_by_signals() -> Iterator[threading.Event]:
    """An event that SIGINT and SIGTERM set, for as long as the block lasts; main thread only."""
    stop = threading.Event()

    def handle(number: int, frame: FrameType | None) -> None:
        del number, frame
        stop.set()

    before = {number: signal.signal(number, handle) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
