"""The topics of a bed: `pain/v1/<bed>/...`. Pure."""

from __future__ import annotations

import re
from typing import Final

from monitor.types import BED_PATTERN

BASE: Final = "pain/v1"
NAME_PATTERN: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@:-]{0,63}")
"""What a device and a user may be called: one level of a topic, and nothing that a wildcard or a log could trip on."""


def bed_topic(bed: str, *levels: str) -> str:
    """A topic of a bed, e.g. `bed_topic("bed1", "alarm", "no_data")`; `+` and `#` make it a filter."""
    return "/".join((BASE, bed, *levels))


def signal_of(topic: str) -> tuple[str, str, str] | None:
    """(bed, device, modality as written) of a signal topic; None where it is none."""
    parts = topic.split("/")
    if len(parts) != 6 or "/".join(parts[:2]) != BASE or parts[3] != "signal":
        return None
    bed, device, modality = parts[2], parts[4], parts[5]
    if not BED_PATTERN.fullmatch(bed) or not NAME_PATTERN.fullmatch(device) or not NAME_PATTERN.fullmatch(modality):
        return None
    return bed, device, modality


def user_of(topic: str, bed: str) -> str | None:
    """User of a bed's command topic; None where it is none."""
    start = bed_topic(bed, "command") + "/"
    user = topic.removeprefix(start)
    return user if topic.startswith(start) and NAME_PATTERN.fullmatch(user) else None
