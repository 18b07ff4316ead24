"""Which channel on the network fills which place of a bed: uniquely, or not at all. Pure; knows no liblsl.

A bed that names its streams has one place for each. A bed that names none has one for each modality that turns up
under a name that the table of names knows.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from monitor.config import StreamSettings
from monitor.errors import MappingError
from monitor.modality import many_channels, parse_modality
from monitor.sources.base import Candidate
from monitor.sources.mapping import resolve
from monitor.sources.names import guess_modalities
from monitor.types import StreamEventKind, StreamInfo

ANY_PLACE: Final = "lsl"
"""Name of the place that a bed without named streams still has when nothing at all turned up."""
_LISTED: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """One channel on the network, or an outlet as a whole."""

    uid: str
    """Of its outlet: tells two outlets apart that say the same of themselves."""
    host: str
    """Where it runs; announced origins of one host are on one clock."""
    where: str
    """The outlet in words."""
    candidate: Candidate

    def __str__(self) -> str:
        if self.candidate.whole:
            return f"[{self.where}]"
        label = f" '{self.candidate.channel}'" if self.candidate.channel else ""
        return f"[{self.where}; channel {self.candidate.channel_index}{label}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A channel, or an outlet with all of its channels, that fills a place."""

    place: str
    seen: Seen
    info: StreamInfo
    settings: StreamSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Vacancy:
    """A place that stays empty, and why."""

    place: str
    kind: StreamEventKind
    """SEARCHING where nothing fits, REFUSED where something does but must not be taken."""
    detail: str


def place_name(stream: StreamSettings, number: int) -> str:
    """How messages and events call the place of a `[[bed.stream]]`."""
    parts = (stream.modality, stream.name, stream.type, stream.source_id)
    said = " ".join(part for part in parts if part)
    channel = f"/{stream.channel}" if stream.channel is not None else ""
    return f"stream[{number}] {said}{channel}".rstrip()


def fits(candidate: Candidate, stream: StreamSettings) -> bool:
    """Whether a channel agrees with each of name, type, source_id and channel that a `[[bed.stream]]` states."""
    if stream.name is not None and stream.name != candidate.name:
        return False
    if stream.type is not None and stream.type != candidate.type:
        return False
    if stream.source_id is not None and stream.source_id != candidate.source_id:
        return False
    if isinstance(stream.channel, int):
        return stream.channel == candidate.channel_index
    if stream.channel is not None:
        return stream.channel == candidate.channel
    return True


def choose(
    seen: Sequence[Seen],
    *,
    bed: str,
    wanted: Mapping[str, StreamSettings],
    served: Collection[str],
    announced: Mapping[str, float],
) -> tuple[list[Match], list[Vacancy]]:
    """Decide what fills the places that are still empty.

    Args:
        seen: Every channel on the network, and every outlet as a whole.
        bed: Name of the bed.
        wanted: The bed's named streams, by place; empty where it takes what turns up.
        served: Places that are filled.
        announced: Origin of the window grid that filled places announce, by host.

    Returns:
        What fills a place, and the places that stay empty with the reason.
    """
    wholes = [item for item in seen if item.candidate.whole]
    channels = [item for item in seen if not item.candidate.whole]
    guesses = guess_modalities([item.candidate for item in channels])
    fitting: dict[str, list[Seen]] = {}
    if wanted:
        for place, stream in wanted.items():
            if place not in served:
                array = stream.modality is not None and many_channels(parse_modality(stream.modality))
                fitting[place] = (
                    [item for item in wholes if fits(item.candidate, stream)]
                    if array
                    else _fitting(channels, stream, guesses)
                )
        settings = dict(wanted)
    else:
        for item in channels:
            modality = guesses.get(item.candidate.key)
            if modality is not None and modality not in served:
                fitting.setdefault(modality, []).append(item)
        settings = {modality: StreamSettings(modality=modality) for modality in fitting}
        if not fitting and not served:
            return [], [Vacancy(place=ANY_PLACE, kind=StreamEventKind.SEARCHING, detail=_nothing(seen))]
    matches: list[Match] = []
    vacancies: list[Vacancy] = []
    for place, items in fitting.items():
        result = _decide(items, place=place, bed=bed, stream=settings[place], seen=seen)
        if isinstance(result, Match):
            matches.append(result)
        else:
            vacancies.append(result)
    return _without_conflicts(matches, vacancies, announced)


def _fitting(seen: Sequence[Seen], stream: StreamSettings, guesses: Mapping[str, str]) -> list[Seen]:
    """The channels that a `[[bed.stream]]` can mean; its modality narrows the choice where names leave it open."""
    found = [item for item in seen if fits(item.candidate, stream)]
    if stream.modality is None:
        return found
    modality = parse_modality(stream.modality)
    by_modality = [item for item in found if guesses.get(item.candidate.key) == modality]
    names_nothing = stream.name is None and stream.type is None and stream.source_id is None
    if names_nothing:
        return by_modality
    return (by_modality or found) if len(found) > 1 else found


def _decide(
    fitting: Sequence[Seen], *, place: str, bed: str, stream: StreamSettings, seen: Sequence[Seen]
) -> Match | Vacancy:
    if not fitting:
        return Vacancy(place=place, kind=StreamEventKind.SEARCHING, detail=_nothing(seen))
    if len(fitting) > 1:
        return Vacancy(
            place=place,
            kind=StreamEventKind.REFUSED,
            detail=f"{len(fitting)} LSL streams match, so none is taken: {_listing(fitting)}. "
            "Name one by source_id (and channel) in its [[bed.stream]], or switch the others off",
        )
    chosen = fitting[0]
    whole = chosen.candidate.whole
    outlet = [item.candidate for item in seen if item.uid == chosen.uid and item.candidate.whole is whole]
    exact = stream if whole else stream.model_copy(update={"channel": chosen.candidate.channel_index})
    try:
        mapped = resolve(outlet, (exact,), bed=bed, live=True)
    except MappingError as error:
        return Vacancy(place=place, kind=StreamEventKind.REFUSED, detail=str(error))
    return Match(place=place, seen=chosen, info=mapped.channel_of[chosen.candidate.key], settings=stream)


def _without_conflicts(
    matches: Sequence[Match], vacancies: Sequence[Vacancy], announced: Mapping[str, float]
) -> tuple[list[Match], list[Vacancy]]:
    """Leave out channels that two places claim, and streams that announce another origin than their neighbours."""
    places: dict[tuple[str, int], list[str]] = {}
    origins = dict(announced)
    for match in matches:
        places.setdefault((match.seen.uid, match.seen.candidate.channel_index), []).append(match.place)
    kept: list[Match] = []
    empty = list(vacancies)
    for match in matches:
        claimed = places[match.seen.uid, match.seen.candidate.channel_index]
        origin = match.info.origin
        detail = ""
        if len(claimed) > 1:
            detail = f"{match.seen} would fill {' and '.join(claimed)} at once; tell them apart by source_id or channel"
        elif origin is not None and origins.setdefault(match.seen.host, origin) != origin:
            detail = (
                f"{match.seen} announces the origin {origin:.6f} of the window grid, another stream of this bed "
                f"{origins[match.seen.host]:.6f}; start both from one program, or announce none"
            )
        if detail:
            empty.append(Vacancy(place=match.place, kind=StreamEventKind.REFUSED, detail=detail))
        else:
            kept.append(match)
    return kept, empty


def _nothing(seen: Sequence[Seen]) -> str:
    if not seen:
        return "LSL offers no stream; still looking"
    count = Counter(item.uid for item in seen if not item.candidate.whole)
    wholes = {item.uid for item in seen if item.candidate.whole}
    # An outlet of very many channels is named once.
    listed = [item for item in seen if item.candidate.whole is (item.uid in wholes and count[item.uid] > _LISTED)]
    return f"no LSL stream matches; still looking. There are: {_listing(listed)}"


def _listing(seen: Sequence[Seen]) -> str:
    more = f" and {len(seen) - _LISTED} more" if len(seen) > _LISTED else ""
    return ", ".join(str(item) for item in seen[:_LISTED]) + more
