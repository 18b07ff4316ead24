"""How one value of the flow looks to a screen, one function a kind; what is remembered is `monitor.engine.snapshot`."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, Final

from monitor.bundle import BundleSpec
from monitor.config import AlarmSettings
from monitor.frames import (
    AlarmView,
    BundleView,
    ComparatorView,
    IndexView,
    LimitsView,
    MarkerView,
    QualityView,
    RecordingView,
    ScoreView,
    SignalsView,
)
from monitor.scoring.scorer import has_index
from monitor.types import (
    AlarmEvent,
    AlarmKind,
    Comparators,
    Marker,
    PainIndex,
    Priority,
    Quality,
    Score,
)

_URGENCY: Final = {Priority.HIGH: 0, Priority.MEDIUM: 1, Priority.LOW: 2}


def score_view(score: Score, levels: Mapping[str, float]) -> ScoreView:
    """What was said of a window.

    Args:
        score: The score.
        levels: Pain level of each class by name; a class without one counts as 0.
    """
    return ScoreView(
        bundle=score.bundle,
        epoch=score.epoch,
        k=score.k,
        t_end=score.t_end,
        t_rel=score.t_rel,
        absent=score.absent,
        classes=score.classes,
        levels=tuple(levels.get(name, 0.0) for name in score.classes),
        probabilities=score.told,
        index=score.index,
        calibration=score.calibration,
        uncertain=score.uncertain,
    )


def index_view(index: PainIndex) -> IndexView:
    """The index after a window."""
    return IndexView(
        fast=index.fast,
        slow=index.slow,
        fast_withheld=index.fast_withheld,
        slow_withheld=index.slow_withheld,
        hollow=index.hollow,
        vote=index.vote,
        voted=index.voted,
        votes=dict(index.votes),
    )


def quality_view(quality: Quality) -> QualityView:
    """Whether a modality was fit to be scored; measures that are not finite are left out."""
    return QualityView(
        modality=quality.modality,
        usable=quality.usable,
        reasons=tuple(str(reason) for reason in quality.reasons),
        grade=quality.grade,
        metrics={name: value for name, value in quality.metrics.items() if math.isfinite(value)},
    )


def comparator_view(found: Comparators | None) -> ComparatorView:
    """The plain measures beside the index; an empty view before the first."""
    if found is None:
        return ComparatorView()
    return ComparatorView(
        heart_rate_bpm=found.heart_rate_bpm,
        heart_rate_from=found.heart_rate_from,
        heart_rate_absent=found.heart_rate_absent,
        scr_per_s=found.scr_per_s,
        scr_absent=found.scr_absent,
        spi=found.spi,
        spi_absent=found.spi_absent,
    )


def recording_view(recording: Mapping[str, Any]) -> RecordingView:
    """Whether the session is being written, from `Recorder.status`."""
    return RecordingView(
        recording=recording.get("path") is not None and not recording.get("problem"),
        problem=str(recording.get("problem", "")),
        lost_records=int(recording.get("lost_records", 0)),
        lost_samples=int(recording.get("lost_samples", 0)),
    )


def marker_view(marker: Marker) -> MarkerView:
    """What a person entered."""
    return MarkerView(t=marker.t, kind=marker.kind, text=marker.text, value=marker.value, actor=marker.actor)


def bundle_view(spec: BundleSpec) -> BundleView:
    """A bundle by name, with what must be said beside it."""
    return BundleView(
        name=spec.name,
        version=spec.version,
        trained_on=spec.origin,
        notice=spec.notice,
        target=spec.target,
        has_index=has_index(spec),
        modalities=tuple(dict.fromkeys(item.modality for item in spec.inputs)),
        attention=tuple(item.name for item in spec.attention),
    )


def limits_view(alarm: AlarmSettings) -> LimitsView:
    """The limits in force, and which settings of alarms are not the default ones."""
    default = AlarmSettings()
    changed = tuple(name for name in AlarmSettings.model_fields if getattr(alarm, name) != getattr(default, name))
    return LimitsView(moderate_on=alarm.moderate_on, severe_on=alarm.severe_on, changed=changed)


def urgency(alarm: AlarmEvent) -> tuple[int, int, float]:
    """Most urgent first; a physiological one before a technical one of the same priority, then the newest."""
    return _URGENCY[alarm.priority], alarm.kind is AlarmKind.TECHNICAL, -alarm.onset


def alarm_view(alarm: AlarmEvent) -> AlarmView:
    """An alarm that stands."""
    return AlarmView(
        condition=alarm.condition,
        kind=alarm.kind.value,
        priority=alarm.priority.value,
        presence=alarm.presence.value,
        event_id=alarm.event_id,
        onset=alarm.onset,
        t=alarm.t,
        text=alarm.text,
        index=alarm.index,
        causes=alarm.causes,
        audio=alarm.audio.value,
        visual=alarm.visual.value,
        count=alarm.count,
        reminder=alarm.reminder,
        hard=alarm.hard,
    )


def signals_view(signals: Mapping[str, Any], now: float) -> SignalsView:
    """Pauses as they stand, from what the last action on alarms left; see `AlarmAction.after`."""
    audio, pain = (signals.get(name) for name in ("audio_until", "pain_until"))
    return SignalsView(
        audio="on" if audio is None else "paused",
        audio_left_s=0.0 if audio is None else max(0.0, audio - now),
        pain="on" if pain is None else "paused",
        pain_left_s=0.0 if pain is None else max(0.0, pain - now),
        reason=str(signals.get("reason", "")),
        delegates=tuple(map(str, signals.get("delegates", ()))),
    )
