"""What modality a stream or signal is by its own words: the one table of names."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Final

from monitor.sources.base import Candidate

NAMES: Final[Mapping[str, str]] = MappingProxyType(
    {
        "ecg": "ECG",
        "ekg": "ECG",
        "eda": "EDA",
        "gsr": "EDA",
        "sc": "EDA",
        "bvp": "BVP",
        "ppg": "BVP",
        "pleth": "BVP",
        "emg": "EMG",
        "rsp": "RESP",
        "resp": "RESP",
        "respiration": "RESP",
        "spo2": "SPO2",
        "temp": "TEMP",
        "temperature": "TEMP",
        "acc": "ACC",
    }
)
"""Words in names, in lower case, and the modality that they stand for."""


def modality_by_name(text: str) -> str | None:
    """Return the modality that a name stands for, None where it names none or more than one.

    `hand GSR`, `Resp`, `ECG1`, `PPG Finger` and `edaLeft` do; `Photosensor` does not.
    """
    spaced = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text)
    words = {word for form in (text, spaced) for word in re.split(r"[^a-z0-9]+", form.casefold())}
    words |= {word.rstrip("0123456789") for word in words}
    found = {NAMES[word] for word in words if word in NAMES}
    return found.pop() if len(found) == 1 else None


def guess_modalities(candidates: Sequence[Candidate]) -> dict[str, str]:
    """Return the modality of every candidate that states one, by its key.

    What the source itself states goes first, then the label of the channel, then the type and the name of the stream;
    these two speak for all channels of a stream, and therefore only where no label of that stream names a modality.
    """
    guesses: dict[str, str] = {}
    labelled: set[tuple[str, str, str]] = set()
    for candidate in candidates:
        modality = candidate.modality or modality_by_name(candidate.channel)
        if modality is not None:
            guesses[candidate.key] = modality
            labelled.add(stream_of(candidate))
    for candidate in candidates:
        if stream_of(candidate) in labelled:
            continue
        modality = modality_by_name(candidate.type) or modality_by_name(candidate.name)
        if modality is not None:
            guesses[candidate.key] = modality
    return guesses


def stream_of(candidate: Candidate) -> tuple[str, str, str]:
    """What all channels of one stream have in common."""
    return candidate.name, candidate.type, candidate.source_id
