"""One LSL inlet in a thread of its own.

An inlet object is created, read and destroyed in the same thread and never closed and opened again: liblsl has
aborted processes, and delivered nothing, on other paths. It does not recover by itself (`recover=False`), because a
recovering inlet only goes quiet; whoever started this thread looks for the stream anew when it ends.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

import numpy as np

from monitor.clock import Clock
from monitor.config import LslSettings
from monitor.sources.base import WHOLE
from monitor.sources.liblsl import LSL_ERRORS, own_hostname, pylsl
from monitor.sources.lsl_discovery import DESCRIBE_S, Offer
from monitor.sources.lsl_stamps import ArrivalStamps, ClockOffset
from monitor.sources.mailbox import Mailbox
from monitor.types import Chunk, Float32Array, FloatArray, StreamEvent, StreamEventKind, StreamInfo, snap

_LOGGER = logging.getLogger(__name__)

COALESCE_S: Final = 0.02
"""Pause between two reads: at 512 Hz ten samples travel together, at a fifth of the cost of one by one."""
FIRST_SAMPLE_S: Final = 60.0
"""Patience with a stream that is there but has not begun: a player waits until all of its streams have a listener."""
FOREIGN_CLOCK_S: Final = 5.0
"""A first stamp further than this from our clock is reported: the device does not stamp with the LSL clock."""
_POLL_S: Final = 0.2
_CLOCK_QUERY_S: Final = 2.0
_FIRST_OFFSET_S: Final = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Binding:
    """One channel of an outlet, or all of them, and the stream of a bed that it serves."""

    place: str
    """The place of the bed that it fills."""
    info: StreamInfo
    channel: int
    """From 0; `WHOLE` for all."""
    timestamps: Literal["device", "arrival"] = "device"


class InletThread(threading.Thread):
    """Receives one outlet until it is lost, falls silent, or is told to stop.

    Args:
        stream: The outlet, as resolved.
        offer: Its description.
        bindings: The bed's streams that its channels serve.
        settings: Buffer and silence limits.
        clock: Says when samples arrived.
        clock_base: Our stream clock minus LSL's `local_clock()`, in seconds; 0 where they are the same clock.
        mailbox: Where everything goes.
        origins: Announced origins by (host, origin on its clock), on our clock; shared by all inlets of a bed, since
            two streams of one host that announce one origin must come out with one, whatever their clock estimates.
    """

    def __init__(
        self,
        *,
        stream: pylsl.StreamInfo,
        offer: Offer,
        bindings: Sequence[Binding],
        settings: LslSettings,
        clock: Clock,
        clock_base: float,
        mailbox: Mailbox,
        origins: dict[tuple[str, float], float],
    ) -> None:
        super().__init__(name=f"lsl-{offer.name}", daemon=True)
        self.offer = offer
        self.bindings = tuple(bindings)
        self.delivered = False
        """Whether a sample ever came."""
        self._stream = stream
        self._settings = settings
        self._clock = clock
        self._base = clock_base
        self._mailbox = mailbox
        self._origins = origins
        self._halt = threading.Event()
        local = offer.hostname == own_hostname() or all(binding.timestamps == "arrival" for binding in bindings)
        self._offset = ClockOffset(fixed=0.0 if local else None)
        self._made = {
            binding.info.key: ArrivalStamps(rate_hz=binding.info.rate_hz)
            for binding in bindings
            if binding.timestamps == "arrival"
        }
        self._last_stamp = 0.0

    def stop(self) -> None:
        """Ask the thread to end; it does within about a second."""
        self._halt.set()

    def run(self) -> None:
        """Receive, and report how it ended."""
        clock_query: threading.Thread | None = None
        if not self._offset.known:
            clock_query = threading.Thread(target=self._query_clock, name=f"{self.name}-clock", daemon=True)
            clock_query.start()
        lost = False
        try:
            ended = self._receive()
        except LSL_ERRORS as error:
            ended, lost = f"connection lost ({error})", True
        except Exception as defect:  # noqa: BLE001 - a defect must reach the engine's thread, not die here unseen
            self._mailbox.fail(defect)
            return
        finally:
            stopped = self._halt.is_set()
            self._halt.set()
            if clock_query is not None:
                clock_query.join()
        if stopped:
            return
        if lost and not self.delivered:  # an outlet that was already going when we found it: nothing has changed
            _LOGGER.info("LSL stream '%s' went before it began: %s", self.offer.name, ended)
            return
        _LOGGER.warning("LSL stream '%s': %s; it is looked for anew", self.offer.name, ended)
        kind = StreamEventKind.GONE if self.delivered else StreamEventKind.SEARCHING
        self._mailbox.put(*(self._event(binding, kind, detail=ended) for binding in self.bindings))

    def _receive(self) -> str:
        """Create the inlet and pull until something ends it.

        Returns:
            Why it ended, in words.
        """
        inlet = pylsl.StreamInlet(
            self._stream,
            max_buflen=math.ceil(self._settings.buffer_s),
            max_chunklen=1,  # the outlet may have asked for chunks of seconds
            recover=False,
            processing_flags=pylsl.proc_none,
        )
        if not self._wait_for_offset():
            return f"its clock could not be compared with ours within {_FIRST_OFFSET_S:g} s"
        # The subscription begins with the next call and not before, so nothing older than this moment can be queued
        # and nothing needs to be flushed; a flush could only take away the first new samples.
        inlet.open_stream(DESCRIBE_S)
        at_most = max(256, math.ceil(self.offer.rate_hz))
        buffer = np.empty((at_most, self.offer.channels), dtype=inlet.np_dtype)
        heard_at = time.monotonic()
        while not self._halt.is_set():
            samples, stamps = inlet.pull_chunk(
                _POLL_S, max_samples=at_most, dest_obj=buffer, min_samples=1, as_numpy=True
            )
            if len(stamps):
                self._deliver(samples, stamps)
                heard_at = time.monotonic()
                if len(stamps) < at_most:
                    self._halt.wait(COALESCE_S)
            elif (silent := time.monotonic() - heard_at) > self._patience():
                return f"no sample for {silent:.0f} s"
        return "stopped"

    def _patience(self) -> float:
        if not self.delivered:
            return max(FIRST_SAMPLE_S, self._settings.silent_s)
        slow = 3.0 / self.offer.rate_hz if self.offer.rate_hz > 0 else 0.0
        return max(self._settings.silent_s, slow)

    def _deliver(self, samples: np.ndarray[Any, np.dtype[Any]], stamps: FloatArray) -> None:
        arrival = self._clock.now()
        offset = self._base + self._offset.apply(arrival)
        corrected = snap(stamps + offset)
        if not self.delivered:
            self._begin(float(corrected[-1]) - arrival, offset)
        chunks = [
            Chunk(
                stream=binding.info.key,
                samples=_taken(samples, binding.channel),
                stamps=made.make(len(stamps), arrival) if (made := self._made.get(binding.info.key)) else corrected,
                arrival=arrival,
                clock_offset=0.0 if made else offset,
            )
            for binding in self.bindings
        ]
        self._last_stamp = float(chunks[-1].stamps[-1])
        self._mailbox.put(*chunks)

    def _begin(self, stamp_minus_clock: float, offset: float) -> None:
        """Announce the streams; only now, with a sample in hand, is it known that they deliver and when they began."""
        self.delivered = True
        for binding in self.bindings:
            info = binding.info
            if info.origin is not None:
                ours = self._origins.setdefault((self.offer.hostname, info.origin), float(snap(info.origin + offset)))
                info = replace(info, origin=ours)
            self._mailbox.put(info)
            if binding.timestamps == "device" and abs(stamp_minus_clock) > FOREIGN_CLOCK_S:
                detail = (
                    f"first stamp is {stamp_minus_clock:+.1f} s from our clock: '{self.offer.name}' does not stamp "
                    'with the LSL clock; timestamps = "arrival" in its [[bed.stream]] takes ours instead'
                )
                _LOGGER.warning("LSL stream '%s': %s", self.offer.name, detail)
                self._mailbox.put(
                    self._event(binding, StreamEventKind.CLOCK_FAULT, seconds=stamp_minus_clock, detail=detail)
                )

    def _event(self, binding: Binding, kind: StreamEventKind, *, seconds: float = 0.0, detail: str = "") -> StreamEvent:
        return StreamEvent(
            bed=binding.info.bed,
            stream=binding.info.key,
            kind=kind,
            t=self._last_stamp or self._clock.now(),
            seconds=seconds,
            detail=detail,
        )

    def _wait_for_offset(self) -> bool:
        deadline = time.monotonic() + _FIRST_OFFSET_S
        while not self._offset.known:
            if self._halt.wait(0.05) or time.monotonic() > deadline:
                return False
        return True

    def _query_clock(self) -> None:
        """Compare the outlet's clock with ours again and again, with an inlet that never receives samples.

        The first comparison blocks for some 0.6 s, which is why it has a thread, and an inlet, of its own. A query
        that fails publishes nothing.
        """
        inlet: pylsl.StreamInlet | None = None
        while not self._halt.is_set():
            try:
                if inlet is None:
                    inlet = pylsl.StreamInlet(self._stream, recover=False, processing_flags=pylsl.proc_none)
                self._offset.publish(float(inlet.time_correction(_CLOCK_QUERY_S)))
            except LSL_ERRORS as error:
                _LOGGER.debug("no clock estimate for LSL stream '%s' (%s)", self.offer.name, error)
                inlet = None
            self._halt.wait(_CLOCK_QUERY_S)


def _taken(samples: np.ndarray[Any, np.dtype[Any]], channel: int) -> Float32Array:
    """A copy of one channel (n,), or of all (n, channels), as float32: the next read uses the buffer again."""
    if channel == WHOLE and samples.shape[1] > 1:
        return np.array(samples, dtype=np.float32, order="C")
    return np.array(samples[:, max(channel, 0)], dtype=np.float32, order="C")
