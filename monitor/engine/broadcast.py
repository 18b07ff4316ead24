"""Tells screens what the beds do: follows every step on the pipeline thread, sends from a thread of its own.

On the pipeline thread a step costs a few assignments under a lock that is never held while something is sent. Nothing
that a screen does, or fails to do, reaches this far: the sockets drop what is not fetched.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol, TypeAlias

from monitor.bundle import BundleSpec
from monitor.clock import Clock
from monitor.config import BedSettings
from monitor.engine.attention_frames import attention_frame
from monitor.engine.journal import SessionStart
from monitor.engine.screens import Screens
from monitor.engine.snapshot import BedSnapshot
from monitor.frames import LINK_VERSION, AttentionFrame, History, StateFrame, WaveBlock
from monitor.sessions.rows import Input, StreamOpened
from monitor.types import Chunk, Command, Event, Float32Array, Score, Window

_LOGGER = logging.getLogger(__name__)

WAVE_S: Final = 0.04
"""Seconds between two sendings of samples: smooth to the eye, and few packets."""

STATE_S: Final = 0.25
"""Seconds between two states, and the least between two attention maps."""

Explain: TypeAlias = Callable[[str, Mapping[str, Float32Array]], Mapping[str, Float32Array]]
"""`monitor.scoring.scorer.Runner.explain`."""


class Sender(Protocol):
    """Where frames go; see `monitor.link.Publisher`. Nothing of it may wait."""

    def send_state(self, frame: StateFrame) -> None: ...  # noqa: D102
    def send_waves(self, blocks: Sequence[WaveBlock]) -> None: ...  # noqa: D102
    def send_attention(self, frame: AttentionFrame) -> None: ...  # noqa: D102
    def attention_wanted(self) -> frozenset[str]: ...  # noqa: D102
    def close(self) -> None: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Scored:
    """The newest scored window of a bed, until its maps have been made or another one comes."""

    session: str
    window: Window


class Broadcast:
    """Journal of all beds that tells screens. Its journal methods never wait for a screen and never raise.

    Args:
        beds: Settings of the beds.
        bundles: By bed, in order of preference.
        sender: Where frames go; used by this object's thread alone once it has started.
        clock: The engine's clock.
        recording: `Recorder.status`.
        window: The newest scored window of a bed; called on the pipeline thread.
        explain: Makes attention maps; None where there is nothing to make them.
    """

    def __init__(
        self,
        *,
        beds: Sequence[BedSettings],
        bundles: Mapping[str, Sequence[BundleSpec]],
        sender: Sender,
        clock: Clock,
        recording: Callable[[str], Mapping[str, Any]],
        window: Callable[[str], Window | None],
        explain: Explain | None = None,
    ) -> None:
        self._snapshots = {bed.name: BedSnapshot(settings=bed, bundles=bundles[bed.name]) for bed in beds}
        self._specs = {spec.name: spec for specs in bundles.values() for spec in specs}
        self._sender = sender
        self._clock = clock
        self._recording = recording
        self._window = window
        self._explain = explain
        self._engine = uuid.uuid4().hex
        self.screens: Final = Screens(self._engine)
        """What those who look on say that they have seen."""
        self._seq = 0
        self._lock = threading.Lock()
        self._sessions: dict[str, str] = {}
        self._scored: dict[str, _Scored] = {}
        self._failed = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="broadcast", daemon=True)

    # -- journal, on the pipeline thread ------------------------------------------------------------------------------

    def begin(self, start: SessionStart) -> None:
        """See `Journal`."""
        bed = start.bed.name
        with self._lock:
            self._sessions[bed] = str(start.session)
            self._scored.pop(bed, None)
            self._snapshots[bed].begin(session=str(start.session), subject=start.bed.subject, at=start.at)

    def log(self, bed: str, step: Input | None, events: Sequence[Event]) -> None:
        """See `Journal`."""
        try:
            with self._lock:
                self._follow(bed, step, events)
        except Exception:  # a screen's sums must not cost a window
            if not self._failed:
                self._failed = True
                _LOGGER.exception("bed %s: screens may show less than there is", bed)

    def end(self, bed: str) -> None:
        """See `Journal`."""

    def _follow(self, bed: str, step: Input | None, events: Sequence[Event]) -> None:
        snapshot = self._snapshots[bed]
        match step:
            case Chunk():
                snapshot.feed(step)
            case StreamOpened(info=info):
                snapshot.open_stream(info)
            case Command(action="choose_bundle", args=args):
                snapshot.prefer(str(args["bundle"]))
        if not events:
            return
        snapshot.note(events)
        if self._explain is not None and any(isinstance(e, Score) and e.told is not None for e in events):
            window = self._window(bed)
            if window is not None:
                self._scored[bed] = _Scored(session=self._sessions.get(bed, ""), window=window)

    # -- from any thread ----------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start sending."""
        self._thread.start()

    def stop(self, timeout: float) -> bool:
        """Close the sockets and end; whether that took at most `timeout` seconds."""
        self._stop.set()
        if self._thread.ident is None:
            self._sender.close()
            return True
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def history(self, bed: str, seconds: float) -> History:
        """Indices of a bed over the last so many seconds of stream time."""
        with self._lock:
            return self._snapshots[bed].history(seconds)

    # -- broadcast thread ---------------------------------------------------------------------------------------------

    def _run(self) -> None:
        due = -float("inf")
        try:
            while not self._stop.wait(WAVE_S):
                try:
                    self._send_waves()
                    now = self._clock.now()
                    if now >= due:
                        due = max(due + STATE_S, now)
                        self._send_state(now)
                        self._send_attention()
                except Exception:  # screens may go dark for a moment; monitoring goes on
                    _LOGGER.exception("screens could not be told")
                    self._stop.wait(1.0)
        finally:
            self._sender.close()

    def _send_waves(self) -> None:
        with self._lock:
            blocks = [block for snapshot in self._snapshots.values() for block in snapshot.waves()]
        self._sender.send_waves(blocks)

    def _send_state(self, now: float) -> None:
        recording = {bed: self._recording(bed) for bed in self._snapshots}
        with self._lock:
            beds = tuple(snapshot.state(now, recording[bed]) for bed, snapshot in self._snapshots.items())
        self._seq += 1
        self._sender.send_state(
            StateFrame(v=LINK_VERSION, engine=self._engine, seq=self._seq, t=now, utc=self._clock.utc(), beds=beds)
        )
        self.screens.sent(self._seq, self._clock.now())

    def _send_attention(self) -> None:
        for bed in self._sender.attention_wanted():
            with self._lock:
                scored = self._scored.pop(bed, None)
            if scored is None or self._explain is None:
                continue
            spec = self._specs.get(scored.window.bundle)
            maps = self._explain(scored.window.bundle, scored.window.inputs) if spec is not None else {}
            if spec is not None and maps:
                frame = attention_frame(spec=spec, session=scored.session, window=scored.window, maps=maps)
                self._sender.send_attention(frame)
