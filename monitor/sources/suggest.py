"""The lines that a user has to add so that a channel can be used: printed by refusals and by `streams`."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Sequence

from monitor.modality import MODALITY_UNITS
from monitor.sources.base import Candidate
from monitor.sources.names import guess_modalities, stream_of
from monitor.sources.units import COUNTS, canonical_unit


def suggest(candidates: Sequence[Candidate]) -> str:
    """Return `[[bed.stream]]` tables for every candidate, those without a recognised modality as comments.

    What nobody states stands there as the monitor's own unit or as 100 Hz, with a comment that asks to check it.
    """
    guesses = guess_modalities(candidates)
    tables = []
    for candidate in candidates:
        modality = guesses.get(candidate.key)
        if modality is None:
            tables.append(f"# {describe(candidate)}: no modality follows from its name")
        else:
            tables.append(toml_table(candidate, modality, candidates))
    return "\n\n".join(tables)


def toml_table(candidate: Candidate, modality: str, among: Sequence[Candidate]) -> str:
    """Return the `[[bed.stream]]` table that maps one candidate.

    Args:
        candidate: The channel.
        modality: What it is to serve.
        among: All candidates, to find out what it takes to name this one uniquely.
    """
    lines = ["[[bed.stream]]"]
    # Over MQTT the topic names a stream: its device and its modality.
    lines += ['source = "mqtt"'] if candidate.source == "mqtt" else []
    named_by = "device" if candidate.source == "mqtt" else "name"
    lines.append(f"{named_by} = {json.dumps(candidate.name, ensure_ascii=False)}")
    others = [other for other in among if other.key != candidate.key and other.name == candidate.name]
    if candidate.source == "mqtt":
        others = []
    if candidate.source_id and any(stream_of(other) != stream_of(candidate) for other in others):
        lines.append(f"source_id = {json.dumps(candidate.source_id, ensure_ascii=False)}")
    if not candidate.whole and any(stream_of(other) == stream_of(candidate) for other in others):
        labels = [other.channel for other in others]
        by_label = candidate.channel and candidate.channel not in labels and candidate.channel != candidate.name
        channel = json.dumps(candidate.channel, ensure_ascii=False) if by_label else candidate.channel_index
        lines.append(f"channel = {channel}")
    lines.append(f'modality = "{modality}"')
    unit = stated_unit(candidate)
    if unit == COUNTS:
        lines.append("gain = 1.0  # value = gain * count + offset; or transfer = ..., bits = ... of a known device")
        lines.append("offset = 0.0")
    elif unit is not None:
        lines.append(f'unit = "{unit}"')
    else:
        lines.append(f'unit = "{MODALITY_UNITS.get(modality, "a.u.")}"  # not stated: check it')
    if not candidate.rate_hz:
        lines.append("rate_hz = 100  # not stated: write the true one")
    return "\n".join(lines)


def array_table(candidate: Candidate) -> str:
    """Return the `[[bed.stream]]` table that binds all channels of a stream together."""
    name = re.sub(r"[^a-z0-9]+", "-", candidate.name.casefold()).strip("-") or "name"
    lines = ["[[bed.stream]]", f"name = {json.dumps(candidate.name, ensure_ascii=False)}"]
    lines += [f"source_id = {json.dumps(candidate.source_id, ensure_ascii=False)}"] if candidate.source_id else []
    note = f"all {candidate.channels} channels; take the name behind the colon from the model's inputs"
    lines.append(f'modality = "ARRAY:{name}"  # or EMBED:{name}; {note}')
    if not candidate.rate_hz:
        lines.append("rate_hz = 1  # not stated: write the true one")
    return "\n".join(lines)


def map_option(candidate: Candidate, modality: str, among: Sequence[Candidate]) -> str:
    """Return the `--map` option of the command line that maps one signal of a file.

    Args:
        candidate: The signal.
        modality: What it is to serve.
        among: All candidates: where several have its name, the channel's label tells them apart.
    """
    unit = stated_unit(candidate) or MODALITY_UNITS.get(modality, "a.u.")
    alone = sum(other.name == candidate.name for other in among) == 1
    name = candidate.name if alone or not candidate.channel else f"{candidate.name}/{candidate.channel}"
    return "--map " + shlex.quote(f"{modality}={name}:{unit}")


def stated_unit(candidate: Candidate) -> str | None:
    """The candidate's unit where it states a known one."""
    return canonical_unit(candidate.unit) if candidate.unit else None


def describe(candidate: Candidate) -> str:
    """Name a candidate for a message: `'hand GSR' (30 Hz, unit not stated)`."""
    if candidate.whole:
        return f"'{candidate.name}' ({candidate.channels} channels at {candidate.rate_hz or 0:g} Hz)"
    label = candidate.channel and candidate.channel != candidate.name
    parts = [f"channel {candidate.channel_index} '{candidate.channel}'"] if label else []
    parts += [f"type {candidate.type}"] if candidate.type else []
    parts += [f"source_id {candidate.source_id}"] if candidate.source_id else []
    parts.append(f"{candidate.rate_hz:g} Hz" if candidate.rate_hz else "rate not stated")
    parts.append(candidate.unit or "unit not stated")
    return f"'{candidate.name}' ({', '.join(parts)})"
