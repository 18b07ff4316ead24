"""Which channel serves which modality, in what unit and at what rate: decided once, without guessing.

Config (or `--map`) goes first, then what the stream or file states itself, then the table of names (`names.NAMES`);
what is still open is refused with the lines to add.

A whole mapping is refused (`MappingError`, all problems at once) where the user asked for something that cannot be
done as asked, or where going on would mean to guess about a modality that a model needs:

* a setting that matches no signal of a recording, or two channels anywhere; two settings for one modality or channel;
* two channels for one needed modality; a needed unit or rate that nobody states, or an unknown or wrong unit;
* two streams that announce different origins; a recording in which nothing can be used.

An ARRAY or EMBED is always a whole stream, all of its channels in their order, and is taken only where a setting or the
source itself says so; its numbers have no unit that anybody converts.

Everything else leaves that one stream unused, says why, and the rest goes on: a rate below the modality's lowest (such
as an integrated EMG at 15 Hz), raw counts without a transfer function (`unit unknown`), a signal without a recognised
modality, and any of the problems above in a modality that nothing needs. BVP and RESP are in arbitrary units, so a
unit that nobody states is no problem there: the scale comes from the bed's calibration.

Of a recording every signal is considered, named by a setting or not. Live, settings are the whole truth once there are
any: a stream that they do not name may belong to another bed.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from monitor.config import StreamSettings
from monitor.errors import MappingError
from monitor.modality import MODALITY_MIN_RATE_HZ, MODALITY_UNITS, many_channels, parse_modality
from monitor.sources.base import Candidate
from monitor.sources.names import guess_modalities, stream_of
from monitor.sources.suggest import describe, map_option, stated_unit, toml_table
from monitor.sources.transfer import transfer_of
from monitor.sources.units import ARBITRARY, COUNTS, canonical_unit, convert, known_units
from monitor.types import Reason, StreamInfo

AUXILIARY: Final = frozenset({"TEMP", "ACC"})
"""Modalities that no model takes as an input: they never stop a mapping unless someone needs them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """The outcome of a mapping."""

    streams: tuple[StreamInfo, ...]
    """Streams that serve a modality, in the order of the candidates."""
    shown: tuple[StreamInfo, ...]
    """Streams whose modality is known but that cannot serve it (`modality` None, `unused` says why): to be shown and
    stored, never scored."""
    unused: tuple[tuple[Candidate, str], ...]
    """Every candidate that is not in `streams`, with the reason in words (those of `shown` as well)."""
    missing: tuple[tuple[StreamSettings, str], ...]
    """Live only: settings that match nothing yet, with what was seen instead."""
    channel_of: Mapping[str, StreamInfo]
    """Candidate key -> stream, for `streams` and `shown`."""


class _RefusalError(Exception):
    """One thing that cannot be done without guessing, and whether adding a line would settle it."""

    def __init__(self, what: str, *, lines_for: Sequence[tuple[Candidate, str]] = ()) -> None:
        super().__init__(what)
        self.what = what
        self.lines_for = tuple(lines_for)


class _UnfitError(Exception):
    """The stream is understood and cannot serve its modality."""


@dataclass(slots=True)
class _Draft:
    candidates: Sequence[Candidate]
    """Channels, and whole streams that state a modality themselves."""
    wholes: Sequence[Candidate]
    """All whole streams."""
    bed: str
    live: bool
    streams: dict[str, StreamInfo] = field(default_factory=dict)
    shown: dict[str, StreamInfo] = field(default_factory=dict)
    unused: dict[str, str] = field(default_factory=dict)
    missing: list[tuple[StreamSettings, str]] = field(default_factory=list)
    refusals: list[_RefusalError] = field(default_factory=list)
    claimed: dict[str, Candidate] = field(default_factory=dict)
    """Modality -> the candidate that a setting gives it."""


def resolve(
    candidates: Sequence[Candidate],
    settings: Sequence[StreamSettings],
    *,
    bed: str,
    live: bool,
    needed: Collection[str] | None = None,
    only_named: bool = False,
) -> Mapped:
    """Map channels to modalities.

    Args:
        candidates: What a recording or the network offers: channels, and streams as a whole.
        settings: The bed's streams from the configuration, those of `--map` in front (see `override`).
        bed: Name of the bed.
        live: Whether the candidates come from a network, where more may appear later.
        needed: Modalities that the bed's bundles take as inputs; None for all but the auxiliaries.
        only_named: Leave alone what no setting names, as a live bed with settings always does.

    Raises:
        MappingError: If a mapping would be a guess, with all problems and the lines that settle them.
    """
    wholes = [candidate for candidate in candidates if candidate.whole]
    candidates = [candidate for candidate in candidates if not candidate.whole or candidate.modality is not None]
    draft = _Draft(candidates=candidates, wholes=wholes, bed=bed, live=live)
    guesses = guess_modalities(candidates)
    _map_settings(draft, settings, guesses)
    wanted = frozenset(MODALITY_UNITS) - AUXILIARY if needed is None else frozenset(needed)
    _map_rest(draft, guesses, needed=wanted, only_settings=only_named or (live and bool(settings)))
    _check_origins(draft)
    if not draft.refusals and not draft.streams and not live:
        reasons = "; ".join(f"{describe(c)}: {draft.unused.get(c.key, 'unused')}" for c in candidates)
        draft.refusals.append(
            _RefusalError(
                f"no signal of the recording can be used: {reasons}",
                lines_for=[(c, guesses[c.key]) for c in candidates if c.key in draft.shown and c.key in guesses],
            )
        )
    if draft.refusals:
        raise _as_error(draft)
    return Mapped(
        streams=tuple(draft.streams.values()),
        shown=tuple(draft.shown.values()),
        unused=tuple((c, draft.unused[c.key]) for c in candidates if c.key in draft.unused),
        missing=tuple(draft.missing),
        channel_of={**draft.streams, **draft.shown},
    )


def parse_map(text: str) -> StreamSettings:
    """Read a `--map` option: `EDA=hand GSR:uS`, or without a unit, `RESP=chest belt`.

    A name that holds a colon is written with a colon behind it: `ECG=lead:II:`.

    Raises:
        MappingError: If it does not have that form, or its modality or unit is not known.
    """
    modality, separator, rest = text.partition("=")
    name, colon, unit = rest.rpartition(":") if ":" in rest else (rest, "", "")
    if not separator or not name.strip() or not modality.strip():
        raise MappingError(f"--map '{text}' is not understood", todo="Write MODALITY=NAME:UNIT, e.g. 'EDA=hand GSR:uS'")
    if colon and unit.strip() and canonical_unit(unit) is None:
        raise MappingError(
            f"--map '{text}': there is no unit '{unit}'",
            todo=f"Write one of {known_units()}; a name that holds a colon needs another colon behind it",
        )
    return StreamSettings(
        name=name.strip(), modality=parse_modality(modality), unit=canonical_unit(unit) if unit.strip() else None
    )


def override(settings: Sequence[StreamSettings], maps: Sequence[StreamSettings]) -> tuple[StreamSettings, ...]:
    """Return the settings with those of `--map` in front, each in the place of what served its modality before."""
    replaced = {setting.modality for setting in maps}
    return (
        *maps,
        *(setting for setting in settings if (setting.modality or "").upper() not in replaced),
    )


def _map_settings(draft: _Draft, settings: Sequence[StreamSettings], guesses: Mapping[str, str]) -> None:
    taken: dict[str, int] = {}
    for number, setting in enumerate(settings):
        try:
            candidate = _find(draft, setting, guesses)
            if candidate is None:
                continue
            if candidate.key in taken:
                raise _RefusalError(
                    f"streams {taken[candidate.key] + 1} and {number + 1} both name {describe(candidate)}"
                )
            taken[candidate.key] = number
            modality = parse_modality(setting.modality) if setting.modality else guesses.get(candidate.key)
            if modality is None:
                raise _RefusalError(
                    f"{describe(candidate)}: no modality follows from its name; add modality = to its [[bed.stream]]"
                )
            if modality in draft.claimed:
                both = f"{describe(draft.claimed[modality])} and {describe(candidate)}"
                raise _RefusalError(f"{modality} is given to two channels, {both}: name one")
            draft.claimed[modality] = candidate
            _place(draft, candidate, modality, setting)
        except _RefusalError as refusal:
            draft.refusals.append(refusal)
        except MappingError as error:
            draft.refusals.append(_RefusalError(f"stream {number + 1}: {error}".rstrip(".")))


def _find(draft: _Draft, setting: StreamSettings, guesses: Mapping[str, str]) -> Candidate | None:
    """Return the one candidate that a setting names, None where it may still appear."""
    wanted = parse_modality(setting.modality) if setting.modality else None
    offered = draft.wholes if many_channels(wanted) else [c for c in draft.candidates if not c.whole]
    matches = [c for c in offered if _matches(setting, c, live=draft.live)]
    if not matches and not draft.live and isinstance(setting.channel, str):
        # The name is that of the live stream, the label that of the signal: most files know the label only.
        matches = [c for c in draft.candidates if setting.channel in (c.channel, c.name)]
    if not _criteria(setting, live=draft.live):
        if wanted is None:
            raise _RefusalError("a [[bed.stream]] names neither a stream nor a modality")
        matches = [c for c in matches if guesses.get(c.key) == wanted]
    if len(matches) > 1 and wanted is not None:
        # A stream of several channels: its labels may tell which one is meant.
        matches = [c for c in matches if guesses.get(c.key) == wanted] or matches
    if len(matches) == 1:
        return matches[0]
    criteria = ", ".join(f"{k} = {v!r}" for k, v in _criteria(setting, live=draft.live).items()) or f"{wanted}"
    if not matches:
        seen = ", ".join(describe(c) for c in offered) or "nothing"
        what = f"nothing matches {criteria}; seen: {seen}"
        if draft.live:
            draft.missing.append((setting, what))
            return None
        raise _RefusalError(what)
    listed = " and ".join(describe(c) for c in matches)
    raise _RefusalError(
        f"{criteria} matches {len(matches)} channels, {listed}: add what tells them apart",
        lines_for=[(c, wanted or guesses.get(c.key) or "ECG") for c in matches],
    )


def _criteria(setting: StreamSettings, *, live: bool) -> dict[str, str | int]:
    # A recording has neither types nor ids: settings written for the live stream match by name and channel.
    keys = ("name", "type", "source_id", "channel") if live else ("name", "channel")
    return {key: value for key in keys if (value := getattr(setting, key)) is not None}


def _matches(setting: StreamSettings, candidate: Candidate, *, live: bool) -> bool:
    criteria = _criteria(setting, live=live)
    channel = criteria.pop("channel", None)
    if isinstance(channel, int):
        if candidate.channel_index != channel:
            return False
    elif channel is not None and candidate.channel != channel:
        return False
    if not live and "name" in criteria:
        return criteria["name"] in (candidate.name, candidate.channel, f"{candidate.name}/{candidate.channel}")
    return all(getattr(candidate, key) == value for key, value in criteria.items())


def _map_rest(draft: _Draft, guesses: Mapping[str, str], *, needed: frozenset[str], only_settings: bool) -> None:
    settled = {*draft.streams, *draft.shown, *(c.key for c in draft.claimed.values())}
    by_modality: dict[str, list[Candidate]] = {}
    for candidate in draft.candidates:
        if candidate.key in settled:
            continue
        array = next((c for c in draft.claimed.values() if c.whole and stream_of(c) == stream_of(candidate)), None)
        if array is not None:
            draft.unused[candidate.key] = "its stream is taken as a whole"
            continue
        modality = guesses.get(candidate.key)
        if only_settings:
            draft.unused[candidate.key] = "not named by the configuration"
        elif modality is None:
            draft.unused[candidate.key] = "no modality follows from its name"
        elif modality in draft.claimed:
            draft.unused[candidate.key] = f"{modality} is taken from {describe(draft.claimed[modality])}"
        else:
            by_modality.setdefault(modality, []).append(candidate)
    for modality, found in by_modality.items():
        try:
            if len(found) > 1:
                raise _RefusalError(
                    f"{len(found)} channels for {modality}: {' and '.join(describe(c) for c in found)}; add one",
                    lines_for=[(c, modality) for c in found],
                )
            _place(draft, found[0], modality, None)
        except _RefusalError as refusal:
            if modality in needed:
                draft.refusals.append(refusal)
            for candidate in found:
                draft.unused[candidate.key] = refusal.what


def _place(draft: _Draft, candidate: Candidate, modality: str, setting: StreamSettings | None) -> None:
    """Put a candidate among the streams, or among those that are only shown."""
    chosen = setting or StreamSettings()
    siblings = sum(stream_of(other) == stream_of(candidate) for other in draft.candidates) > 1
    name = f"{candidate.name}/{candidate.channel}" if siblings and candidate.channel else candidate.name
    rate_hz = chosen.rate_hz if isinstance(chosen.rate_hz, float) else candidate.rate_hz
    measured = chosen.rate_hz == "measured" or (candidate.rate_measured and not isinstance(chosen.rate_hz, float))
    own_jitter = "jitter_s" in chosen.model_fields_set
    gain, offset, rails, why = 1.0, 0.0, None, ""
    unit = chosen.unit or candidate.unit
    try:
        rate_hz = _check_rate(candidate, modality, rate_hz)
        unit, gain, offset, rails = _scale(candidate, modality, chosen)
    except _UnfitError as unfit:
        why = str(unfit)
    info = StreamInfo(
        key=candidate.key,
        bed=draft.bed,
        modality=None if why else modality,
        name=name,
        unit=unit,
        rate_hz=rate_hz or 0.0,
        source=candidate.source,
        provenance=candidate.provenance,
        gain=gain,
        offset=offset,
        channels=candidate.channels,
        origin=candidate.origin,
        rate_measured=measured,
        jitter_s=chosen.jitter_s if own_jitter or candidate.jitter_s is None else candidate.jitter_s,
        rails=rails,
        unused=why,
    )
    if why:
        draft.shown[candidate.key] = info
        draft.unused[candidate.key] = why
    else:
        draft.streams[candidate.key] = info


def _check_rate(candidate: Candidate, modality: str, rate_hz: float | None) -> float:
    if rate_hz is None or rate_hz <= 0.0:
        nobody = (
            "its stamps are irregular and no rate is stated" if rate_hz == 0.0 else "nobody states its sampling rate"
        )
        raise _RefusalError(f"{describe(candidate)} for {modality}: {nobody}", lines_for=[(candidate, modality)])
    lowest = MODALITY_MIN_RATE_HZ.get(modality, 0.0)
    if rate_hz < lowest:
        raise _UnfitError(f"{Reason.RATE_TOO_LOW}: {modality} needs at least {lowest:g} Hz, this has {rate_hz:g}")
    return rate_hz


def _scale(
    candidate: Candidate, modality: str, setting: StreamSettings
) -> tuple[str, float, float, tuple[float, float] | None]:
    """Return unit of the samples, gain, offset and rails."""
    text = setting.unit or candidate.unit
    if many_channels(modality):
        gain, offset = setting.gain, setting.offset
        return text or ARBITRARY, 1.0 if gain is None else gain, 0.0 if offset is None else offset, None
    unit = canonical_unit(text) if text else None
    if setting.transfer is not None:
        transfer = transfer_of(setting.transfer, modality, bits=setting.bits)
        if transfer is None:
            raise _RefusalError(f"{describe(candidate)}: transfer '{setting.transfer}' is not defined for {modality}")
        return COUNTS, transfer.gain, transfer.offset, transfer.rails
    if setting.gain is not None or setting.offset is not None:
        gain, offset = setting.gain, setting.offset
        return unit or COUNTS, 1.0 if gain is None else gain, 0.0 if offset is None else offset, None
    rails = candidate.rails if setting.unit is None or setting.unit == candidate.unit else None
    if candidate.gain is not None and candidate.modality == modality and setting.unit in (None, candidate.unit):
        return unit or COUNTS, candidate.gain, candidate.offset, rails
    target = MODALITY_UNITS.get(modality, ARBITRARY)
    if text and unit is None:
        raise _RefusalError(
            f"{describe(candidate)} for {modality}: the unit '{text}' is not known (known: {known_units()})",
            lines_for=[(candidate, modality)],
        )
    if unit is None:
        if target != ARBITRARY:
            raise _RefusalError(
                f"{describe(candidate)} for {modality}: nobody states its unit", lines_for=[(candidate, modality)]
            )
        unit = ARBITRARY
    if unit == COUNTS and target != ARBITRARY:
        raise _UnfitError(f"{Reason.UNIT_UNKNOWN}: raw counts need gain and offset, or a transfer function")
    conversion = convert(unit, modality)
    if isinstance(conversion, str):
        raise _RefusalError(f"{describe(candidate)} for {modality}: {conversion}")
    return unit, *conversion, rails


def _check_origins(draft: _Draft) -> None:
    announced = {info.origin: info.name for info in draft.streams.values() if info.origin is not None}
    if len(announced) > 1:
        listed = ", ".join(f"'{name}' {origin:.6f}" for origin, name in announced.items())
        draft.refusals.append(
            _RefusalError(f"the bed's streams announce different origins of the window grid: {listed}")
        )


def _as_error(draft: _Draft) -> MappingError:
    what = "; ".join(refusal.what for refusal in draft.refusals)
    lines = {pair[0].key: pair for refusal in draft.refusals for pair in refusal.lines_for}
    todo = ""
    if lines:
        tables = "\n\n".join(
            toml_table(candidate, modality, draft.candidates) for candidate, modality in lines.values()
        )
        todo = f"Check unit and rate, and add to the bed's configuration\n\n{tables}\n"
        if not draft.live:
            # Counts need a gain, which has no short form on the command line.
            options = [
                map_option(c, modality, draft.candidates) for c, modality in lines.values() if stated_unit(c) != COUNTS
            ]
            options += [] if all(candidate.rate_hz for candidate, _ in lines.values()) else ["--rate 100"]
            todo += f"\nor to the command\n\n{' '.join(options)}\n" if options else ""
    return MappingError(what, where=f"bed '{draft.bed}'", todo=todo)
