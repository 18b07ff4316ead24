"""Plays signals as a device would: one LSL outlet a signal, in real time, with a stamp for every sample.

This is how the monitor is tried without hardware, in a process of its own, so that what the monitor receives has
truly come over Lab Streaming Layer.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from monitor.errors import SourceError
from monitor.outputs.player import PROGRESS_S, Packet, PlayProgress, Reporter, SignalSpec, stopped_by_signals
from monitor.sources.liblsl import LSL_ERRORS, pylsl
from monitor.types import Float32Array, FloatArray, snap

__all__ = ["Packet", "PlayProgress", "SignalOutlets", "SignalSpec", "play", "stopped_by_signals"]

_LOGGER = logging.getLogger(__name__)

SETTLE_S: Final = 5.0
"""When some outlets have listeners and no further one came for so long, nobody else is waited for."""
_DRAIN_S: Final = 0.5


class SignalOutlets:
    """One outlet a signal.

    Args:
        specs: The signals; at least one, keys unique.

    Raises:
        SourceError: If there is none, or liblsl cannot offer them.
    """

    def __init__(self, specs: Sequence[SignalSpec]) -> None:
        if not specs:
            raise SourceError("there is no signal to play", todo="Choose a recording with at least one signal")
        self.origin = float(snap(pylsl.local_clock()))
        """Announced start of the window grid, on the LSL clock. It stands in the outlets' description, which cannot
        be changed once a listener may have read it; playing starts a whole number of seconds later."""
        self._specs = {spec.key: spec for spec in specs}
        try:
            self._outlets = {spec.key: self._create(spec) for spec in specs}
        except LSL_ERRORS as error:
            raise SourceError(
                f"cannot offer streams ({error})",
                where="Lab Streaming Layer",
                todo="Check that a network interface is up; the loopback interface will do for one machine",
            ) from error

    def _create(self, spec: SignalSpec) -> pylsl.StreamOutlet:
        info = pylsl.StreamInfo(spec.name, spec.type, spec.channels, spec.rate_hz, pylsl.cf_float32, spec.source_id)
        channels = info.desc().append_child("channels")
        label = spec.channel or spec.name
        for number in range(spec.channels):
            channel = channels.append_child("channel")
            channel.append_child_value("label", label if spec.channels == 1 else f"{label} {number}")
            channel.append_child_value("type", spec.type)
            if spec.unit is not None:
                channel.append_child_value("unit", spec.unit)
        pain = info.desc().append_child("pain")
        pain.append_child_value("origin", repr(self.origin))
        pain.append_child_value("provenance", spec.provenance.value)
        return pylsl.StreamOutlet(info, max_buffered=60)

    def without_listener(self) -> tuple[str, ...]:
        """Names of the signals that nobody receives."""
        return tuple(self._specs[key].name for key, outlet in self._outlets.items() if not outlet.have_consumers())

    def start_after(self, earliest: float) -> float:
        """The first moment at or after `earliest` that lies a whole number of seconds after the origin."""
        return self.origin + max(0.0, float(math.ceil(earliest - self.origin)))

    def push(self, key: str, samples: Float32Array, stamps: FloatArray) -> None:
        """Send samples.

        Args:
            key: Which signal.
            samples: (n,) or (n, channels) float32.
            stamps: (n,) seconds on the LSL clock, sent as they are.
        """
        if len(stamps):
            self._outlets[key].push_chunk(samples.reshape(len(stamps), -1), stamps)

    def close(self) -> None:
        """Withdraw all outlets, after what was pushed has had time to leave. May be called twice."""
        if self._outlets:
            time.sleep(_DRAIN_S)
        self._outlets = {}


def play(
    *,
    specs: Sequence[SignalSpec],
    packets: Iterable[Packet],
    stop: threading.Event,
    wait: bool = True,
    progress: Callable[[PlayProgress], None] | None = None,
) -> float:
    """Play packets in real time until they end or `stop` is set.

    With `wait`, playing begins when every outlet has a listener, or when some have and no further one came for
    `SETTLE_S`. The due time of a packet counts from one common start, so that delays never add up; a player that was
    suspended catches up.

    Args:
        specs: The signals.
        packets: In order of their due time.
        stop: Set by someone else to end it (see `stopped_by_signals`).
        wait: Wait for listeners before the first sample.
        progress: Called about twice a second.

    Returns:
        Seconds played, by the newest due time that was pushed.

    Raises:
        SourceError: If liblsl cannot offer or send the streams.
    """
    report = Reporter(progress)
    outlets = SignalOutlets(specs)
    played = 0.0
    try:
        if wait and not _wait_for_listeners(outlets, stop, report):
            return 0.0
        start = outlets.start_after(pylsl.local_clock() + 0.1)
        for due, key, samples, stamps in packets:
            while (ahead := start + due - pylsl.local_clock()) > 0:
                if stop.wait(min(ahead, PROGRESS_S)):
                    return played
            if stop.is_set():
                return played
            outlets.push(key, samples, start + snap(stamps))
            played = due
            report(PlayProgress(waiting_for=(), played_s=played))
        report(PlayProgress(waiting_for=(), played_s=played), final=True)
    except LSL_ERRORS as error:
        raise SourceError(f"sending failed ({error})", where="Lab Streaming Layer", todo="Start it again") from error
    finally:
        outlets.close()
    return played


def _wait_for_listeners(outlets: SignalOutlets, stop: threading.Event, report: Reporter) -> bool:
    """Return whether to play: False where `stop` came first."""
    everyone = outlets.without_listener()
    lonely = everyone
    changed_at = time.monotonic()
    while lonely:
        report(PlayProgress(waiting_for=lonely, played_s=0.0))
        if stop.wait(0.05):
            return False
        now_lonely = outlets.without_listener()
        if now_lonely != lonely:
            lonely, changed_at = now_lonely, time.monotonic()
        elif lonely != everyone and time.monotonic() - changed_at > SETTLE_S:
            _LOGGER.info("nobody listens to %s; playing anyway", ", ".join(lonely))
            break
    return True
