"""The LSL streams of one bed.

A search thread looks at the network, decides what belongs to the bed, and starts one thread an outlet; `read` hands
over what they brought. A stream is matched uniquely or not at all: where two fit, both are named, neither is taken,
and the search goes on until one is gone or the configuration tells them apart.

A stream that comes back keeps its key. If it comes back with another rate, unit or channel count it is refused until
the monitor is started anew: filters, calibration and the session's record belong to the signal that was.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from monitor.clock import Clock
from monitor.config import BedSettings, LslSettings
from monitor.errors import SourceError
from monitor.sources.base import SourceReading
from monitor.sources.liblsl import pylsl
from monitor.sources.lsl_discovery import ChannelReport, Offer, StreamReport, describe, discover, look
from monitor.sources.lsl_inlet import Binding, InletThread
from monitor.sources.lsl_matching import ANY_PLACE, Match, Seen, Vacancy, choose, place_name
from monitor.sources.mailbox import Mailbox
from monitor.types import StreamEvent, StreamEventKind, StreamInfo

__all__ = ["ChannelReport", "LslSource", "StreamReport", "discover"]

_LOGGER = logging.getLogger(__name__)

REPEAT_S: Final = 30.0
"""What keeps a stream from being used is said when it changes, and again every so often."""
OPEN_BED_PAUSE_S: Final = 5.0
"""A bed that names no streams takes what turns up: between looks, so long, once it has something."""
SAME_CLOCK_S: Final = 0.005
"""Below this, LSL's clock and ours are one clock read twice."""
CONFIRM_LOOKS: Final = 2
"""A look can miss an outlet. A stream is connected to for the first time, and called missing, only when so many looks
in a row say the same: else the first of two that match would be taken just because it answered first."""
_IDLE_S: Final = 0.25


class LslSource:
    """Source of one bed (see `Source`).

    A bed that names its streams (`[[bed.stream]]`) has one place for each; a bed that names none has one place for
    each modality that turns up under a name that the table of names knows.

    Args:
        bed: The bed and its streams.
        settings: How to look.
        clock: The stream clock.
    """

    def __init__(self, *, bed: BedSettings, settings: LslSettings, clock: Clock) -> None:
        self.name = f"lsl:{bed.name}"
        self._bed = bed
        self._settings = settings
        self._clock = clock
        self._wanted = {place_name(stream, number): stream for number, stream in enumerate(bed.stream)}
        self._mailbox = Mailbox()
        self._halt = threading.Event()
        self._search: threading.Thread | None = None
        self._clock_base = 0.0
        # The rest belongs to the search thread alone.
        self._inlets: list[InletThread] = []
        self._described: dict[str, Offer] = {}
        self._keys: dict[str, str] = {}
        self._known: dict[str, StreamInfo] = {}
        self._origins: dict[tuple[str, float], float] = {}
        self._said: dict[str, tuple[str, float]] = {}
        self._streaks: dict[str, tuple[str, int]] = {}

    def open(self) -> None:
        """Start to look for the bed's streams; returns at once."""
        if self._search is not None:
            return
        base = self._clock.now() - pylsl.local_clock()
        self._clock_base = 0.0 if abs(base) < SAME_CLOCK_S else base
        self._mailbox = Mailbox()
        self._halt = threading.Event()
        self._search = threading.Thread(target=self._run, name=f"{self.name}-search", daemon=True)
        self._search.start()

    def read(self, timeout: float) -> SourceReading:
        """Return what has arrived, waiting at most `timeout` seconds for something.

        Raises:
            Exception: Whatever a thread of this source died of; always a defect.
        """
        return self._mailbox.take(timeout)

    @property
    def finished(self) -> bool:
        """Never: a device may always come back."""
        return False

    def close(self) -> None:
        """End all threads; waits for a look that is under way. May be called twice, and from another thread."""
        self._halt.set()
        search = self._search
        if search is not None:
            search.join()
            self._search = None

    def _run(self) -> None:
        try:
            while not self._halt.is_set():
                self._reap()
                if self._complete():
                    self._halt.wait(_IDLE_S)
                    continue
                self._look()
                if not self._wanted and self._inlets:
                    self._halt.wait(OPEN_BED_PAUSE_S)
        except Exception as defect:  # noqa: BLE001 - it is raised again where the engine reads
            self._mailbox.fail(defect)
        finally:
            for inlet in self._inlets:
                inlet.stop()
            for inlet in self._inlets:
                inlet.join()
            self._inlets = []

    def _reap(self) -> None:
        """Remember what has delivered, and forget the inlets that have ended."""
        for inlet in list(self._inlets):
            ended = not inlet.is_alive()
            if inlet.delivered:
                self._known.update({binding.place: binding.info for binding in inlet.bindings})
            if ended:
                inlet.join()
                self._inlets.remove(inlet)

    def _served(self) -> set[str]:
        return {binding.place for inlet in self._inlets for binding in inlet.bindings}

    def _complete(self) -> bool:
        return bool(self._wanted) and self._wanted.keys() <= self._served()

    def _look(self) -> None:
        try:
            streams = {info.uid(): info for info in look(self._settings.resolve_s)}
        except SourceError as error:
            self._say(Vacancy(place=ANY_PLACE, kind=StreamEventKind.SEARCHING, detail=str(error)))
            self._halt.wait(self._settings.resolve_s)
            return
        self._describe(streams)
        self._reap()
        seen = [
            Seen(uid=uid, host=offer.hostname, where=str(offer), candidate=candidate)
            for uid, offer in self._described.items()
            for candidate in (*offer.candidates(), *filter(None, [offer.whole()]))
        ]
        announced = {
            inlet.offer.hostname: inlet.offer.origin for inlet in self._inlets if inlet.offer.origin is not None
        }
        matches, vacancies = choose(
            seen, bed=self._bed.name, wanted=self._wanted, served=self._served(), announced=announced
        )
        bindings: dict[str, list[Binding]] = {}
        for match in matches:
            confirmed = self._confirmed(match.place, match.seen.uid) or match.place in self._known
            changed = self._changed(match)
            if changed is None and not confirmed:
                continue
            if changed is None:
                bindings.setdefault(match.seen.uid, []).append(self._bind(match))
            else:
                vacancies.append(changed)
        for vacancy in vacancies:
            confirmed = self._confirmed(vacancy.place, vacancy.kind)
            if confirmed or vacancy.kind is StreamEventKind.REFUSED:
                self._say(vacancy)
        for uid, bound in bindings.items():
            self._connect(streams[uid], self._described[uid], bound)

    def _confirmed(self, place: str, outcome: str) -> bool:
        """Whether `CONFIRM_LOOKS` looks in a row had the same outcome for a place."""
        before, count = self._streaks.get(place, ("", 0))
        count = count + 1 if outcome == before else 1
        self._streaks[place] = (outcome, count)
        return count >= CONFIRM_LOOKS

    def _describe(self, streams: Mapping[str, pylsl.StreamInfo]) -> None:
        """Read the description of every stream that is new; one that does not answer is asked again next time."""
        self._described = {uid: offer for uid, offer in self._described.items() if uid in streams}
        for uid, info in streams.items():
            if uid not in self._described and not self._halt.is_set():
                offer = describe(info)
                if offer is not None:
                    self._described[uid] = offer

    def _bind(self, match: Match) -> Binding:
        # The key belongs to the place: a device that draws a new source_id at each start stays the same stream.
        key = self._keys.setdefault(match.place, match.info.key)
        return Binding(
            place=match.place,
            info=replace(match.info, key=key),
            channel=match.seen.candidate.channel_index,
            timestamps=match.settings.timestamps,
        )

    def _changed(self, match: Match) -> Vacancy | None:
        """Refuse a stream that is not what it was when it last delivered."""
        before = self._known.get(match.place)
        if before is None or _substance(before) == _substance(match.info):
            return None
        return Vacancy(
            place=match.place,
            kind=StreamEventKind.REFUSED,
            detail=f"{match.seen} came back as {_words(match.info)}, but was {_words(before)}; "
            "set the device back, or start the monitor anew to accept the change",
        )

    def _connect(self, stream: pylsl.StreamInfo, offer: Offer, bindings: list[Binding]) -> None:
        if self._halt.is_set():
            return
        _LOGGER.info("bed %s: connecting to LSL stream %s", self._bed.name, offer)
        inlet = InletThread(
            stream=stream,
            offer=offer,
            bindings=bindings,
            settings=self._settings,
            clock=self._clock,
            clock_base=self._clock_base,
            mailbox=self._mailbox,
            origins=self._origins,
        )
        self._inlets.append(inlet)
        inlet.start()
        for binding in bindings:
            self._said.pop(binding.place, None)
        self._said.pop(ANY_PLACE, None)

    def _say(self, vacancy: Vacancy) -> None:
        """Report why a place is empty: when the reason is new, and every `REPEAT_S`."""
        now = self._clock.now()
        detail, said_at = self._said.get(vacancy.place, ("", now))
        if detail == vacancy.detail and now - said_at < REPEAT_S:
            return
        self._said[vacancy.place] = (vacancy.detail, now)
        _LOGGER.warning("bed %s, %s: %s", self._bed.name, vacancy.place, vacancy.detail)
        self._mailbox.put(
            StreamEvent(
                bed=self._bed.name,
                stream=self._keys.get(vacancy.place, vacancy.place),
                kind=vacancy.kind,
                t=now,
                detail=vacancy.detail,
            )
        )


def _substance(info: StreamInfo) -> tuple[object, ...]:
    return info.modality, info.rate_hz, info.rate_measured, info.unit, info.gain, info.offset, info.channels


def _words(info: StreamInfo) -> str:
    channels = f" with {info.channels} channels" if info.channels > 1 else ""
    return f"{info.modality or 'unused'}{channels} at {info.rate_hz:g} Hz in {info.unit or 'no unit'}"
