"""Real recordings in which nobody is in pain, replayed through the pipeline: which, from where, and what came of them.

The readers and the mapping are those of `pain-monitor replay`. What lies in the folder of recordings is described in
its own notices; nothing of it shows pain, and none of it is shipped.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import numpy as np
from numpy.typing import NDArray

from monitor.bundle_folder import Bundle
from monitor.calibration import needs_baseline
from monitor.config import BedSettings, StreamSettings, load_settings
from monitor.errors import SourceError
from monitor.replay_run import prepare, run
from monitor.scoring.scorer import Runner
from monitor.sources.base import Recording, Signal
from monitor.sources.recordings import open_recording
from monitor.types import AlarmEvent, CalibrationEvent, CalibrationState, PainIndex, Score

FloatArray = NDArray[np.float64]

DRIVER: Final = "driver at rest"
NEUROKIT: Final = "NeuroKit"
WRISTBAND: Final = "wristband at rest"

CALIBRATION_SPAN_S: Final = 180.0
"""Where a recording is calibrated: the first so many seconds of its first rest."""
_STRESS: Final = "stress_predict"


@dataclass(frozen=True, slots=True, kw_only=True)
class Segment:
    """A stretch of a recording, in seconds from its zero."""

    name: str
    """`rest`, or as the data set calls it."""
    start_s: float
    end_s: float
    rest: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One recording to replay."""

    group: str
    path: Path
    config: str
    """File name of the bed's configuration."""
    subject: str
    segments: tuple[Segment, ...]
    """Seconds from the recording's zero; of E4 exports in UTC until it is read."""
    calibrate: tuple[float, float]
    utc: bool = False
    maps: tuple[StreamSettings, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Course:
    """What one recording gave, a window an entry."""

    group: str
    subject: str
    recording: str
    segments: tuple[Segment, ...]
    t: FloatArray
    """(n,) ends of all windows, seconds from the recording's zero."""
    fast: FloatArray
    """(n,) fast index; NaN where it is withheld or not on the subject's own baseline."""
    scored: NDArray[np.bool_]
    """(n,) whether the window told something: neither left out nor uncertain."""
    scores: tuple[Score, ...]
    alarms: tuple[AlarmEvent, ...]
    """Transitions of all conditions."""
    calibrated_at: float
    """Infinite where it never was; 0 where the model needs no baseline."""
    length_s: float
    """Of a window."""
    eda: Signal | None
    """The raw skin conductance, where there is one."""


def known_items(folder: Path, modalities: Sequence[str]) -> tuple[Item, ...]:
    """Recordings in a folder that bring the signals of a model, with their rests.

    Args:
        folder: Of the recordings, with `drivedb17`, `neurokit` and `stress_predict` in it, or some of them.
        modalities: That the model reads.

    Raises:
        SourceError: If the folder is not there, or nothing in it has these signals.
    """
    if not folder.is_dir():
        raise SourceError(
            "there is no such folder of recordings",
            where=str(folder),
            todo="Name it, or set PAIN_MONITOR_RECORDINGS; docs/evaluation.md says what belongs in it",
        )
    wanted = set(modalities)
    found = [item for has, items in _shelves(folder) if wanted <= has for item in items if _is_there(item.path)]
    if not found:
        raise SourceError(
            f"no recording in it brings {', '.join(sorted(wanted))}",
            where=str(folder),
            todo="Take a model of EDA and ECG, EDA and BVP, or one of these alone",
        )
    return tuple(found)


def _is_there(path: Path) -> bool:
    return path.exists() or path.with_name(path.name + ".hea").exists()


def _shelves(folder: Path) -> Iterator[tuple[set[str], list[Item]]]:
    """Kinds of recordings: their signals, and the recordings themselves."""
    driver, neurokit = folder / "drivedb17", folder / "neurokit"
    yield (
        {"ECG", "EDA"},
        [
            # The marker's presses: the drive begins at 956.9 s of the first record and ends at 605-610 s of the second.
            _item(DRIVER, driver / "drive17a", "drivedb17.toml", "drive17", (26.8, 956.9)),
            _item(DRIVER, driver / "drive17b", "drivedb17.toml", "drive17", (610.4, 1510.2)),
        ],
    )
    csv_config = "neurokit_eventrelated.toml"
    yield (
        {"ECG", "EDA"},
        [
            _item(NEUROKIT, neurokit / "bio_resting_8min_100hz.csv.bz2", csv_config, "resting-8min", (0.0, 507.0)),
            # Four pictures are looked at; 45 s are all that there is to calibrate on.
            _item(NEUROKIT, neurokit / "bio_eventrelated_100hz.csv.bz2", csv_config, "eventrelated", (0.0, 150.0), 45),
        ],
    )
    ppg = StreamSettings(name="PPG", modality="BVP", unit="a.u.", rate_hz=100)
    resting = _item(NEUROKIT, neurokit / "bio_resting_5min_100hz.csv.bz2", csv_config, "resting-5min", (0.0, 300.0))
    yield {"ECG", "BVP"}, [replace(resting, maps=(ppg,))]
    yield {"EDA", "BVP"}, _wristbands(folder / _STRESS)


def _item(
    group: str, path: Path, config: str, subject: str, rest: tuple[float, float], calibrate_s: float = 0.0
) -> Item:
    span = calibrate_s or min(CALIBRATION_SPAN_S, 0.4 * (rest[1] - rest[0]))
    return Item(
        group=group,
        path=path,
        config=config,
        subject=subject,
        segments=(Segment(name="rest", start_s=rest[0], end_s=rest[1], rest=True),),
        calibrate=(rest[0], rest[0] + span),
    )


def _wristbands(folder: Path) -> list[Item]:
    """Subjects of Stress-Predict with their blocks in UTC; the first rest calibrates."""
    path = folder / "segments.csv"
    if not path.is_file():
        return []
    blocks: dict[str, list[Segment]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                segment = Segment(
                    name=row["segment"],
                    start_s=float(row["start_unix"]),
                    end_s=float(row["end_unix"]),
                    rest=row["stress"] == "0",
                )
                blocks.setdefault(row["subject"], []).append(segment)
            except (KeyError, TypeError, ValueError) as error:
                raise SourceError(
                    f"line {number} is not subject,segment,stress,start_unix,end_unix ({error})", where=str(path)
                ) from None
    return [
        Item(
            group=WRISTBAND,
            path=folder / subject,
            config="stress_predict.toml",
            subject=subject,
            segments=tuple(own),
            calibrate=(own[0].start_s, own[0].end_s),
            utc=True,
        )
        for subject, own in blocks.items()
    ]


def replay_item(item: Item, bundle: Bundle, runner: Runner, *, configs: Path, hop_s: float) -> Course:
    """Replay one recording.

    Args:
        item: Which.
        bundle: The model.
        runner: Runs it.
        configs: Folder of the beds' configurations.
        hop_s: Seconds between windows; a multiple of 0.25.

    Raises:
        MonitorError: If the recording or its configuration cannot be read, or its signals not be mapped.
    """
    recording = open_recording(item.path)
    shift_s = -recording.utc_start if item.utc else 0.0
    segments = tuple(replace(s, start_s=s.start_s + shift_s, end_s=s.end_s + shift_s) for s in item.segments)
    # Stretches that were logged before the sensors were switched on begin with them.
    segments = tuple(replace(s, start_s=max(s.start_s, 0.0)) for s in segments if s.end_s > 0.0)
    calibrate = (max(item.calibrate[0] + shift_s, 0.0), item.calibrate[1] + shift_s)
    bed = _bed(configs / item.config, recording, item, hop_s)
    start_s = segments[0].start_s if segments[0].start_s > 0.0 and not item.utc else None
    replay = prepare(
        recording, bed=bed, maps=item.maps, bundles=(str(bundle.path),), start_s=start_s, calibrate=calibrate
    )
    origin = replay.streams[0].origin or 0.0
    replay = replace(replay, span=(max(calibrate[0] - origin, 0.0), calibrate[1] - origin))
    scores: list[Score] = []
    fast: list[float] = []
    alarms: list[AlarmEvent] = []
    calibrated_at = math.inf if any(needs_baseline(spec.scale) for spec in bundle.spec.inputs) else 0.0
    for _, events in run(replay, runner=runner):
        for event in events:
            match event:
                case Score():
                    scores.append(event)
                case PainIndex():
                    fast.append(math.nan if event.fast is None or event.hollow else event.fast)
                case AlarmEvent():
                    alarms.append(event)
                case CalibrationEvent(state=CalibrationState.CALIBRATED):
                    calibrated_at = min(calibrated_at, event.t)
                case _:
                    pass
    return Course(
        group=item.group,
        subject=item.subject,
        recording=item.path.name,
        segments=segments,
        t=np.array([score.t_end for score in scores], dtype=np.float64),
        fast=np.array(fast, dtype=np.float64),
        scored=np.array([not score.withheld for score in scores], dtype=np.bool_),
        scores=tuple(scores),
        alarms=tuple(alarms),
        calibrated_at=calibrated_at,
        length_s=max(spec.samples / spec.rate_hz for spec in bundle.spec.inputs),
        eda=next((s for s in recording.signals if s.candidate.name in ("EDA", "hand GSR")), None),
    )


def _bed(path: Path, recording: Recording, item: Item, hop_s: float) -> BedSettings:
    """The configured bed, without streams that this recording does not bring, at our hop."""
    if not path.is_file():
        raise SourceError(
            "there is no such configuration of a bed",
            where=str(path),
            todo="Give the folder that holds it by --configs",
        )
    bed = load_settings(path).bed[0]
    names = {signal.candidate.name for signal in recording.signals}
    return BedSettings.model_validate(
        bed.model_dump()
        | {
            "subject": item.subject,
            "hop_s": hop_s,
            "stream": tuple(stream for stream in bed.stream if stream.name is None or stream.name in names),
        }
    )
