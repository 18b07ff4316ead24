"""What the monitor says over MQTT: each message as a JSON object. Pure. docs/mqtt.md describes them for readers.

Times are UTC in seconds. Everything says where the signals came from, and that it is for research only.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any, Final

from monitor.types import AlarmAction, AlarmEvent, Comparators, PainIndex, Provenance, Score

VERSION: Final = 1
NOTICE: Final = "RESEARCH USE ONLY"


def score_message(
    score: Score,
    index: PainIndex | None,
    measures: Comparators | None = None,
    *,
    utc_offset: float,
    origin: str,
    notice: str,
) -> dict[str, Any]:
    """One window: its score, or why there is none, and the index after it.

    Args:
        score: The score.
        index: The index of the same window, where there is one.
        measures: The plain measures of the same window, where there are any.
        utc_offset: UTC minus stream clock in seconds.
        origin: Where the bundle's weights come from, in words.
        notice: What is said beside the bundle's name; empty where nothing is to be said.
    """
    return {
        **_head(score.bed, score.provenance),
        "t": score.t_end + utc_offset,
        "t_rel": score.t_rel,
        "epoch": score.epoch,
        "k": score.k,
        "decided": score.decided_at + utc_offset,
        "bundle": score.bundle,
        "origin": origin,
        "bundle_notice": notice,
        "absent": list(score.absent),
        "classes": list(score.classes),
        "uncertain": list(score.uncertain),
        "probabilities": list(score.told) if score.told is not None else None,
        "index": score.index,
        "fast": index.fast if index else None,
        "slow": index.slow if index else None,
        "fast_withheld": index.fast_withheld if index else "",
        "slow_withheld": index.slow_withheld if index else "",
        "hollow": index.hollow if index else True,
        "vote": {"rule": index.vote, "index": index.voted, "votes": dict(index.votes)}
        if index and index.vote
        else None,
        "calibration": score.calibration,
        "calibration_state": score.calibration_state.value,
        **({} if measures is None else measured(measures)),
    }


def measured(measures: Comparators) -> dict[str, Any]:
    """The plain measures of a window under keys of their own; null where one cannot be told, and then why."""
    return {
        "heart_rate_bpm": measures.heart_rate_bpm,
        "heart_rate_from": measures.heart_rate_from,
        "scr_per_s": measures.scr_per_s,
        "spi": measures.spi,
        "not_measured": {
            name: list(why)
            for name, why in (
                ("heart_rate_bpm", measures.heart_rate_absent),
                ("scr_per_s", measures.scr_absent),
                ("spi", measures.spi_absent),
            )
            if why
        },
    }


def quality_message(score: Score, *, utc_offset: float) -> dict[str, Any]:
    """Whether each signal of one window is fit to be scored."""
    return {
        **_head(score.bed, score.provenance),
        "t": score.t_end + utc_offset,
        "epoch": score.epoch,
        "k": score.k,
        "modalities": {
            quality.modality: {
                "usable": quality.usable,
                "reasons": [reason.value for reason in quality.reasons],
                "grade": quality.grade,
                "metrics": dict(quality.metrics),
            }
            for quality in score.quality
        },
    }


def alarm_message(event: AlarmEvent, *, utc_offset: float, provenance: Provenance | None) -> dict[str, Any]:
    """One transition of an alarm condition.

    Args:
        event: The transition.
        utc_offset: UTC minus stream clock in seconds.
        provenance: Of the bed's last score; None before the first.
    """
    return {
        **_head(event.bed, provenance),
        "condition": event.condition,
        "kind": event.kind.value,
        "priority": event.priority.value,
        "presence": event.presence.value,
        "before": event.before.value,
        "actor": event.actor,
        "audio": event.audio.value,
        "visual": event.visual.value,
        "count": event.count,
        "reminder": event.reminder,
        "hard": event.hard,
        "limit": event.limit,
        "event_id": event.event_id,
        "onset": event.onset + utc_offset,
        "t": event.t + utc_offset,
        "t_rel": event.t_rel,
        "text": event.text,
        "index": event.index,
        "bundle": event.bundle,
        "causes": list(event.causes),
    }


def action_message(action: AlarmAction, *, utc_offset: float, provenance: Provenance | None) -> dict[str, Any]:
    """Alarms are signalled or limited otherwise from now on.

    Args:
        action: What was done, or ended by itself.
        utc_offset: UTC minus stream clock in seconds.
        provenance: Of the bed's last score; None before the first.
    """
    return {
        **_head(action.bed, provenance),
        "action": action.action,
        "actor": action.actor,
        "t": action.t + utc_offset,
        "t_rel": action.t_rel,
        "before": _in_utc(action.before, utc_offset),
        "after": _in_utc(action.after, utc_offset),
        "text": action.text,
    }


def _in_utc(state: Mapping[str, Any], utc_offset: float) -> dict[str, Any]:
    return {
        name: value + utc_offset if name.endswith("_until") and value is not None else value
        for name, value in state.items()
    }


def status_message(bed: str, *, online: bool, reason: str, utc: float | None) -> dict[str, Any]:
    """Whether the bed's monitor is there.

    Args:
        bed: The bed.
        online: Whether it is.
        reason: `started`, `stopped`, or `lost` in the last will.
        utc: Since when; None in the last will, which is written long before it is sent.
    """
    return {**_head(bed, None), "status": "online" if online else "offline", "reason": reason, "t": utc}


def heartbeat_message(bed: str, *, count: int, utc: float, score_age_s: float | None) -> dict[str, Any]:
    """A sign of life.

    Args:
        bed: The bed.
        count: Heartbeats since the start.
        utc: Now.
        score_age_s: Seconds since a window was decided, with or without a score; None before the first.
    """
    return {**_head(bed, None), "t": utc, "n": count, "score_age_s": score_age_s}


def encode(message: Mapping[str, Any]) -> bytes:
    """A message as JSON; what JSON cannot say (NaN, infinity) is null."""
    return json.dumps(_finite(message), ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _head(bed: str, provenance: Provenance | None) -> dict[str, Any]:
    head: dict[str, Any] = {"v": VERSION, "bed": bed, "notice": NOTICE}
    if provenance is not None:
        head["provenance"] = provenance.value
    return head


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {str(key): _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
