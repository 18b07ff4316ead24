"""Real recordings without pain: how often a bundle would alarm there, and what it makes of stress.

Nobody in them is in pain, so every pain alarm is a false one. A bundle that would alarm more than twice an hour there
is not shipped as default. Of one data set with blocks of stress the index is compared with that of the rests beside
them, as arousal and never as pain (`arousal`).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from scipy.stats import chi2

from models.evaluation.arousal import arousal_of
from models.evaluation.recordings_replay import WRISTBAND, Course, known_items, replay_item
from monitor.alarm import PAIN_MODERATE, PAIN_SEVERE
from monitor.bundle_folder import Bundle, load_bundle
from monitor.config import AlarmSettings
from monitor.errors import BundleError, SourceError
from monitor.scoring.index import FAST_S
from monitor.scoring.scorer import has_index
from monitor.scoring.session import OnnxRunner
from monitor.sessions.alarm_burden import Alarm, alarms_of

MOST_ALARMS_PER_HOUR: Final = 2.0
"""A bundle with more of them where nobody is in pain is not shipped as default."""
FASTER_HOP_S: Final = 5.0
"""Windows are scored every so many seconds unless it is said otherwise: an hour then takes a fifth of its time."""

_REPOSITORY: Final = Path(__file__).resolve().parents[2]
DEFAULT_CONFIGS: Final = _REPOSITORY / "tests" / "configs"


def default_recordings() -> Path:
    """The folder of recordings: PAIN_MONITOR_RECORDINGS, or shared/recordings beside this repository."""
    stated = os.environ.get("PAIN_MONITOR_RECORDINGS")
    return Path(stated) if stated else _REPOSITORY.parent / "shared" / "recordings"


def recordings_report(
    bundle_folder: str | Path,
    recordings: Path | None = None,
    *,
    hop_s: float = FASTER_HOP_S,
    configs: Path | None = None,
    only: Sequence[str] = (),
    seed: int = 20,
    on_recording: Callable[[str], None] | None = None,
) -> dict[str, Any]:
    """Replay all recordings that a bundle can read, and say what it makes of them.

    Args:
        bundle_folder: A bundle's folder, or the name of a shipped one.
        recordings: Their folder; None for `default_recordings`.
        hop_s: Seconds between windows. At 5 s the fast index is a mean of 2 windows where a bed of 1 s has 10, so it
            wavers more and alarms are rather too many than too few.
        configs: Folder of the beds' configurations; None for those of the tests.
        only: Codes of recordings or subjects; empty for all.
        seed: Of the intervals and permutations.
        on_recording: Told which recording is done.

    Returns:
        Plain values: `all` and `groups` (see `_rest_figures`), `recordings` one by one, `verdict`, and `arousal` where
        there are blocks of stress.

    Raises:
        MonitorError: If the bundle has no index, nothing fits it, or a recording cannot be read.
    """
    bundle = load_bundle(bundle_folder)
    if not has_index(bundle.spec):
        raise BundleError(
            "it draws no index and raises no pain alarm, so there is nothing to count",
            where=bundle.spec.name,
            todo="Give a bundle that may alarm",
        )
    folder = recordings or default_recordings()
    items = known_items(folder, [spec.modality for spec in bundle.spec.inputs])
    if only:
        known = ", ".join(dict.fromkeys(item.subject for item in items))
        items = tuple(item for item in items if item.subject in only or item.path.name.split(".")[0] in only)
        if not items:
            raise SourceError(f"there is no {', '.join(only)}", where=str(folder), todo=f"There are {known}")
    runner = OnnxRunner([bundle])
    courses = []
    for item in items:
        courses.append(replay_item(item, bundle, runner, configs=configs or DEFAULT_CONFIGS, hop_s=hop_s))
        if on_recording is not None:
            on_recording(f"{item.group}: {item.subject}")
    return _report(bundle, courses, hop_s=hop_s, seed=seed)


def _report(bundle: Bundle, courses: Sequence[Course], *, hop_s: float, seed: int) -> dict[str, Any]:
    limit = AlarmSettings().moderate_on
    groups = {name: [c for c in courses if c.group == name] for name in dict.fromkeys(c.group for c in courses)}
    everything = _rest_figures(courses, limit)
    stressed = [course for course in courses if course.group == WRISTBAND]
    notes = [
        "Nobody here is in pain, as far as anybody knows; every pain alarm counts as false",
        "Alarms by the monitor's default limits; one that returns within 120 s is the same alarm",
    ]
    if hop_s != bundle.spec.hop_seconds:
        notes.append(
            f"A window every {hop_s:g} s instead of {bundle.spec.hop_seconds:g} s, to replay hours in minutes: the "
            "fast index rests on fewer windows and wavers more than at a bedside"
        )
    if everything["uncalibrated"]:
        notes.append(f"{everything['uncalibrated']} of the recordings never held enough valid signal to calibrate on")
    return {
        "bundle": bundle.spec.name,
        "version": bundle.spec.version,
        "trained_on": bundle.spec.training.data,
        "hop_s": hop_s,
        "alarm_limit": limit,
        "all": everything,
        "groups": {name: _rest_figures(own, limit) for name, own in groups.items()},
        "recordings": [
            {"group": c.group, "subject": c.subject, "recording": c.recording, **_rest_figures([c], limit)}
            for c in courses
        ],
        "verdict": verdict(everything),
        "arousal": arousal_of(stressed, seed=seed) if stressed else None,
        "notes": notes,
    }


def verdict(figures: dict[str, Any]) -> dict[str, Any]:
    """Whether a bundle may be shipped as default, by its alarms at rest.

    Args:
        figures: Of all recordings together, as `_rest_figures` gives them.

    Returns:
        `may_be_default` (None where no window was scored) and `text`.
    """
    rate = figures["alarms_per_hour"]
    if rate is None or not figures["scored_windows"]:
        return {"may_be_default": None, "text": "No rest was scored, so nothing can be said"}
    allowed = rate <= MOST_ALARMS_PER_HOUR
    low, high = figures["alarms_per_hour_interval"]
    said = (
        f"{rate:.2g} pain alarms an hour at rest (95 % {low:.2g} to {high:.2g}; {figures['alarms']} in "
        f"{figures['hours']:.2f} h, {100 * figures['scored_share']:.0f} % of it scored)"
    )
    most = f"{MOST_ALARMS_PER_HOUR:g} an hour"
    rest = f"at most {most}: may be a default" if allowed else f"more than {most}: not to be shipped as default"
    return {"may_be_default": allowed, "text": f"{said}: {rest}"}


def _rest_figures(courses: Sequence[Course], limit: float) -> dict[str, Any]:
    """Figures of the rests of some recordings, after the calibration and once the fast index has left what was before.

    Returns:
        recordings, uncalibrated (those that count in nothing else), hours, windows, scored_windows, scored_share,
        over_limit_share, index_median, index_iqr (quartiles), alarms, alarms_per_hour with its 95 % Poisson interval,
        the same by the scored share of the hours; None where there is nothing to count.
    """
    hours, alarms = 0.0, 0
    scored: list[bool] = []
    fast: list[float] = []
    for course in courses:
        starts = alarm_starts(alarms_of(course.alarms, end=float(course.t[-1]) if len(course.t) else 0.0))
        for start_s, end_s in rest_spans(course):
            inside = (course.t > start_s) & (course.t <= end_s)
            scored += course.scored[inside].tolist()
            fast += course.fast[inside][np.isfinite(course.fast[inside])].tolist()
            alarms += sum(start_s < t <= end_s for t in starts)
            hours += (end_s - start_s) / 3600.0
    low, center, high = np.percentile(fast, [25.0, 50.0, 75.0]).tolist() if fast else (None, None, None)
    rate = alarms / hours if hours else None
    return {
        "recordings": len(courses),
        "uncalibrated": sum(not np.isfinite(c.calibrated_at) for c in courses),
        "hours": hours,
        "windows": len(scored),
        "scored_windows": sum(scored),
        "scored_share": float(np.mean(scored)) if scored else None,
        "over_limit_share": float(np.mean(np.array(fast) >= limit)) if fast else None,
        "index_median": center,
        "index_iqr": [low, high],
        "alarms": alarms,
        "alarms_per_hour": rate,
        "alarms_per_hour_interval": None if not hours else [bound / hours for bound in poisson_interval(alarms)],
        "alarms_per_scored_hour": alarms / (hours * float(np.mean(scored))) if any(scored) else None,
    }


def rest_spans(course: Course) -> list[tuple[float, float]]:
    """Rests of a recording in seconds from its zero, without the calibration and the first windows of each.

    A window, and the 10 s that the fast index reaches back, must lie within the rest.
    """
    end = float(course.t[-1]) if len(course.t) else 0.0
    spans = []
    for segment in course.segments:
        start_s = max(segment.start_s, course.calibrated_at) + course.length_s + FAST_S
        if segment.rest and start_s < min(segment.end_s, end):
            spans.append((start_s, min(segment.end_s, end)))
    return spans


def alarm_starts(alarms: Sequence[Alarm]) -> list[float]:
    """When pain alarms were announced, in seconds; one that returns within the time to rejoin is the same alarm.

    A latched alarm that nobody acknowledges keeps its id for ever; here it counts anew once it has been gone so long.
    """
    rejoin_s = AlarmSettings().rejoin_s
    starts = []
    for alarm in alarms:
        if alarm.condition not in (PAIN_MODERATE, PAIN_SEVERE):
            continue
        for t in alarm.raised:
            before = [end for _, end in alarm.present if end <= t]
            if not before or t - max(before) > rejoin_s:
                starts.append(t)
    return sorted(starts)


def poisson_interval(count: int) -> tuple[float, float]:
    """95 % interval of a count (Garwood 1936)."""
    low = 0.5 * chi2.ppf(0.025, 2 * count) if count else 0.0
    return float(low), float(0.5 * chi2.ppf(0.975, 2 * count + 2))
