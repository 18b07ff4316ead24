"""What a trained model does on screen: the index of held-out subjects, through the real pipeline."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.metrics import balanced_accuracy_score

from models.base import PainModel
from models.data.simulated import MODERATE, NONE, READ_S, SEVERE, Sitting, draw_sitting, least_rates, play
from monitor.bundle import BundleSpec, InputSpec
from monitor.config import BedSettings
from monitor.pipeline import Pipeline
from monitor.scoring.scorer import RawScore, Runner
from monitor.types import Float32Array, PainIndex, Score

CALM: Final = 35.0
"""At rest the fast index should mostly stay below this."""
HALF: Final = 50.0
HIGH: Final = 70.0
"""In severe lasting pain it should rise above this."""

_AFTER_PAIN_S: Final = 30.0
_AFTER_CONFOUNDER_S: Final = 20.0
_RISE_S: Final = 30.0
_SHOWN_S: Final = 12.0


class TorchRunner:
    """Scores windows with a torch module, one at a time, as the monitor's own runner does with its graph."""

    def __init__(self, model: PainModel) -> None:
        self._model = model.eval()

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:  # noqa: ARG002
        """Logits and features of one window."""
        with torch.inference_mode():
            result = self._model({name: torch.tensor(value)[None] for name, value in inputs.items()})
        return RawScore(logits=result.logits[0].numpy(), features=result.features[0].numpy())

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:  # noqa: ARG002
        """No maps."""
        return {}


@dataclass(frozen=True, kw_only=True, eq=False)
class Course:
    """The index of one subject over a sitting, once it is calibrated."""

    sitting: Sitting
    t: NDArray[np.float64]
    """(n,) ends of the windows whose fast index stands, in seconds."""
    fast: NDArray[np.float64]
    """(n,) fast index."""
    scored_t: NDArray[np.float64]
    """(m,) ends of the windows that were scored."""
    classes: NDArray[np.int64]
    """(m,) likeliest class."""

    def between(self, start: float, end: float) -> NDArray[np.float64]:
        """Fast index of the windows that end in [start, end)."""
        return self.fast[(self.t >= start) & (self.t < end)]


def follow(runner: Runner, spec: BundleSpec, sitting: Sitting) -> Course:
    """Score a whole sitting live.

    Args:
        runner: Runs the model.
        spec: Its bundle's specification; the temperature counts.
        sitting: The subject.
    """
    bed = BedSettings(name="followed", bundles=(spec.name,), calibration_s=sitting.calibration_s)
    pipeline = Pipeline(bed=bed, bundles=[spec], runner=runner, session=uuid.UUID(int=sitting.patient.seed))
    events = list(play(sitting, pipeline, list(dict.fromkeys(item.modality for item in spec.inputs))))
    stands = [e for e in events if isinstance(e, PainIndex) and e.fast is not None and not e.hollow]
    scored = [e for e in events if isinstance(e, Score) and e.probabilities and e.calibration != "population"]
    return Course(
        sitting=sitting,
        t=np.array([e.t_end for e in stands]),
        fast=np.array([e.fast for e in stands], dtype=np.float64),
        scored_t=np.array([e.t_end for e in scored]),
        classes=np.array([int(np.argmax(e.probabilities or ())) for e in scored], dtype=np.int64),
    )


def calibrated_sittings(part: str, first: int, count: int, inputs: Sequence[InputSpec]) -> list[Sitting]:
    """The first `count` sittings from subject `first` on in which a baseline is taken."""
    modalities = [item.modality for item in inputs]
    sittings: list[Sitting] = []
    number = first
    while len(sittings) < count:
        sitting = draw_sitting(part, number, modalities, least_hz=least_rates(inputs))
        if sitting.calibration_s < sitting.seconds / 2:
            sittings.append(sitting)
        number += 1
    return sittings


def live_figures(courses: Sequence[Course]) -> dict[str, float]:
    """Shares over several subjects, each named for what it counts.

    Rest is 30 s after pain and 20 s after a confounder at least; severe tonic pain counts in responders only.
    """
    rest: list[NDArray[np.float64]] = []
    held: list[NDArray[np.float64]] = []
    reached: list[bool] = []
    confounded: list[bool] = []
    told: list[NDArray[np.int64]] = []
    true: list[NDArray[np.int64]] = []
    for course in courses:
        patient, seconds = course.sitting.patient, course.sitting.seconds
        episodes, others = patient.episodes_until(seconds), patient.confounders_until(seconds)
        calm = np.ones(len(course.t), dtype=np.bool_)
        for episode in episodes:
            calm &= (course.t < episode.onset_s) | (course.t >= episode.end_s + _AFTER_PAIN_S)
        quiet = calm.copy()
        for other in others:
            quiet &= (course.t < other.onset_s) | (course.t >= other.end_s + _AFTER_CONFOUNDER_S)
        rest.append(course.fast[quiet])
        for other in others:
            shown = (course.t >= other.onset_s) & (course.t < other.end_s + _SHOWN_S)
            if shown.any() and calm[shown].all():
                confounded.append(bool(course.fast[shown].max() >= HALF))
        for episode in episodes:
            if episode.kind == "tonic" and episode.level >= 0.75 and patient.responder:
                reached.append(bool((course.between(episode.onset_s, episode.onset_s + _RISE_S) > HIGH).any()))
                held.append(course.between(episode.onset_s + _RISE_S, episode.end_s))
        level = patient.level_at(course.scored_t - READ_S)
        true.append(np.where(level == 0.0, NONE, np.where(level < 0.75, MODERATE, SEVERE)))
        told.append(course.classes)
    at_rest, in_pain = np.concatenate(rest), np.concatenate(held)
    figures = {
        "subjects": float(len(courses)),
        "windows": float(sum(map(len, told))),
        "balanced_accuracy": balanced_accuracy_score(np.concatenate(true), np.concatenate(told)),
        "rest.median_index": np.median(at_rest),
        "rest.share_below_35": np.mean(at_rest < CALM),
        "severe_tonic.spells": float(len(reached)),
        "severe_tonic.share_above_70_within_30_s": np.mean(reached),
        "severe_tonic.later_median_index": np.median(in_pain),
        "severe_tonic.later_share_above_70": np.mean(in_pain > HIGH),
        "severe_tonic.later_share_above_50": np.mean(in_pain > HALF),
        "confounders": float(len(confounded)),
        "confounders.share_that_reach_50": np.mean(confounded),
    }
    return {name: round(float(value), 4) for name, value in figures.items()}
