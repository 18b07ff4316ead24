"""`se-cnn-regions`: SE-CNN on simulated brain regions, from seeds alone. It tells emotion, not pain."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import balanced_accuracy_score, confusion_matrix, f1_score, recall_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import nn

from models.data.simulated_regions import RegionWindows, cut_regions, every_window, regions_input
from models.evaluation.calibration import fit_temperature, softmax
from models.se_cnn import L2, SECNN
from models.training.end_to_end import train_end_to_end
from models.training.loop import FitSettings, predict
from models.training.metrics import calibration_error, standing
from models.training.network import Signals
from models.training.result import spread, write_result
from monitor.bundle import BundleSpec, CalibrationSpec, ClassSpec, TrainingSpec, WeightsSpec
from monitor.sources.synthetic_regions import EMOTIONS

_log = logging.getLogger(__name__)

INTENDED_USE: Final = (
    "Research use only. Trained on simulated regions to tell simulated emotions; not a medical device, and its output "
    "is neither a measure of pain nor of any person's emotion."
)
DELAY_S: Final = 5.0
"""A window of the whole stream is compared with the emotion this long before its end: so late do the regions answer."""

_SETTINGS: Final = FitSettings(epochs=6, milestone=3, learning_rate=2e-4, batch=64, limit_s=250.0)


@dataclass(frozen=True, kw_only=True)
class EmotionModel:
    """One bundle to build; numbers are those of simulated subjects."""

    title: str
    version: str = "0.1.0"
    seed: int = 20
    train: range = range(2000)
    validation: range = range(3000, 3030)
    """For early stopping."""
    calibration: range = range(3040, 3080)
    """For the temperature."""
    test: range = range(200, 260)
    live: range = range(100, 112)
    """Of the test part, whose every second is judged."""
    train_blocks: int = 3
    """Minutes of each training subject: many subjects and little of each, or the model learns the subjects."""
    blocks: int = 6
    """Minutes of all others."""
    per_block: int = 2
    settings: FitSettings = _SETTINGS


EMOTION_BUNDLES: Final[Mapping[str, EmotionModel]] = MappingProxyType(
    {"se-cnn-regions": EmotionModel(title="SE-CNN on 246 simulated brain regions")}
)


def build_emotion(name: str, out: Path, model_of: EmotionModel | None = None) -> None:
    """Train one bundle and write what `python -m export write` needs: weights.pt, spec.json and card.md.

    Args:
        name: Name of the bundle.
        out: Folder to write into.
        model_of: What to build; None for the one of that name.
    """
    plan = model_of or EMOTION_BUNDLES[name]
    parts = {
        "train": ("train", plan.train),
        "validation": ("train", plan.validation),
        "calibration": ("train", plan.calibration),
        "test": ("test", plan.test),
    }
    sets = {
        key: cut_regions(
            part,
            numbers,
            blocks=plan.train_blocks if key == "train" else plan.blocks,
            per_block=plan.per_block,
        )
        for key, (part, numbers) in parts.items()
    }
    stream = every_window("test", plan.live, blocks=plan.blocks, delay_s=DELAY_S)
    for key, windows in sets.items():
        _log.info("%s: %d windows, %s by class", key, len(windows), np.bincount(windows.labels).tolist())

    torch.manual_seed(plan.seed)
    model = SECNN(inputs=("regions",), variant="se", classes=len(EMOTIONS))
    started = time.process_time()
    best_loss = train_regions(model, sets["train"], sets["validation"], plan.settings)
    seconds = time.process_time() - started

    held, test = sets["calibration"], sets["test"]
    temperature = fit_temperature(_logits(model, held), held.labels)
    error, bins = calibration_error(softmax(_logits(model, held), temperature), held.labels)
    told = softmax(_logits(model, test), temperature)
    plain = make_pipeline(StandardScaler(), LogisticRegression(C=1e-3, max_iter=2000, random_state=plan.seed))
    plain.fit(_means(sets["train"]), sets["train"].labels)
    figures: dict[str, float | str] = {"data": "simulated regions", "rule": _RULE}
    figures |= _prefixed("test", judged(told, test.labels))
    figures["test.ece"] = round(calibration_error(told, test.labels)[0], 4)
    figures |= _prefixed("baseline", judged(np.asarray(plain.predict_proba(_means(test))), test.labels))
    figures |= _prefixed("stream", judged(softmax(_logits(model, stream), temperature), stream.labels))
    figures |= {"training.cpu_seconds": round(seconds), "validation_loss": round(best_loss, 4)}
    figures |= _gates(model, test)

    shapes = model.example_shapes()
    spec = BundleSpec(
        name=name,
        version=plan.version,
        architecture=model.architecture,
        paper=model.paper,
        target="emotion",
        inputs=(regions_input(),),
        hop_seconds=1.0,
        classes=tuple(ClassSpec(name=emotion, level=0.0) for emotion in EMOTIONS),
        calibration=CalibrationSpec(
            temperature=temperature,
            prior=(1.0 / len(EMOTIONS),) * len(EMOTIONS),
            ece=round(error, 4),
            bins=tuple((round(mean, 4), round(share, 4), count) for mean, share, count in bins),
            subjects=_codes(held),
        ),
        training=TrainingSpec(
            data="simulated regions (monitor.sources.synthetic_regions)",
            protocol="live-segment",
            subjects={key: _codes(windows) for key, windows in sets.items()} | {"live": _codes(stream)},
            metrics=figures,
            seeds=(plan.seed,),
        ),
        weights=WeightsSpec(backbone="simulated", head="simulated", alarm_eligible=False),
        parameters=model.parameter_count(),
        flops=model.flops(shapes),
        card="card.md",
        intended_use=INTENDED_USE,
    )
    sizes = {key: len(windows) for key, windows in sets.items()}
    samples = {"regions": test.inputs["regions"][spread(len(test))]}
    write_result(out, model=model, spec=spec, card=_card(plan.title, spec, sizes), samples=samples)
    _log.info("%s: written to %s, %.0f s of processor time for training", name, out, seconds)


def train_regions(model: SECNN, train: RegionWindows, validation: RegionWindows, settings: FitSettings) -> float:
    """Train in place and return the validation loss, cross entropy alone.

    Upstream's L2 term is kept, as its gradient. Changed: Adam for 6 epochs, not Lookahead with RectifiedAdam for
    10,000; running statistics move at torch's 0.1 while training, as 0.01 would lag behind so few steps.
    """
    for weight in model.penalised():
        assert isinstance(weight, nn.Parameter)
        weight.register_hook(lambda gradient, weight=weight: gradient + 2.0 * L2 * weight.detach())
    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm1d)]
    published = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.1
    try:
        result = train_end_to_end(model, train=_signals(train), validation=_signals(validation), settings=settings)
    finally:
        for norm, momentum in zip(norms, published, strict=True):
            norm.momentum = momentum
    return result["model"].best_loss


def judged(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> dict[str, float | str]:
    """Figures of unordered classes: accuracy, balanced accuracy, macro F1, recalls, confusion (rows true)."""
    told, every = probabilities.argmax(axis=1), range(len(EMOTIONS))
    recalls = recall_score(labels, told, labels=every, average=None, zero_division=0.0)
    figures: dict[str, float | str] = {
        "accuracy": round(float(np.mean(told == labels)), 4),
        "balanced_accuracy": round(float(balanced_accuracy_score(labels, told)), 4),
        "macro_f1": round(float(f1_score(labels, told, average="macro", zero_division=0.0)), 4),
    }
    figures |= {f"recall_{name}": round(float(recall), 4) for name, recall in zip(EMOTIONS, recalls, strict=True)}
    rows = confusion_matrix(labels, told, labels=every)
    return figures | {"confusion": " | ".join(" ".join(map(str, row)) for row in rows), "windows": float(len(labels))}


_RULE: Final = "the emotion of the minute in which all 25 points of the window lie"


def _signals(windows: RegionWindows) -> Signals:
    inputs = {name: torch.from_numpy(values) for name, values in windows.inputs.items()}
    return Signals(inputs=inputs, labels=torch.from_numpy(windows.labels))


def _logits(model: SECNN, windows: RegionWindows) -> NDArray[np.float32]:
    regions = torch.from_numpy(windows.inputs["regions"])
    return predict(lambda x: model({"regions": x}).logits, model, (regions,)).numpy()


def _means(windows: RegionWindows) -> NDArray[np.float32]:
    return windows.inputs["regions"].mean(axis=2)


def _gates(model: SECNN, windows: RegionWindows) -> dict[str, float | str]:
    """How far the gates are from saying the same of all regions, or of all windows."""

    def forward(x: torch.Tensor) -> torch.Tensor:
        return model({"regions": x}, with_attention=True).attention["channel.regions"]

    gates = predict(forward, model, (torch.from_numpy(windows.inputs["regions"]),)).numpy()
    return {
        "gates.mean": round(float(gates.mean()), 4),
        "gates.spread_over_regions": round(float(gates.mean(axis=0).std()), 4),
        "gates.spread_over_windows": round(float(gates.std(axis=0).mean()), 4),
    }


def _codes(windows: RegionWindows) -> tuple[str, ...]:
    return tuple(str(code) for code in np.unique(windows.subjects))


def _prefixed(prefix: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{key}": value for key, value in figures.items()}


_ROWS: Final = (
    ("Balanced accuracy", "balanced_accuracy"),
    ("Macro F1", "macro_f1"),
    *((f"Recall, {emotion}", f"recall_{emotion}") for emotion in EMOTIONS),
)


def _card(title: str, spec: BundleSpec, windows: Mapping[str, int]) -> str:
    figures = spec.training.metrics
    people = {part: len(codes) for part, codes in spec.training.subjects.items()}

    def of(key: str) -> str:
        return f"{float(figures[key]):.3g}"

    rows = "\n".join(
        f"| {text} | {of(f'test.{key}')} | {of(f'baseline.{key}')} | {of(f'stream.{key}')} |" for text, key in _ROWS
    )
    cohorts = "\n".join(f"| {part} | {people[part]} | {count} |" for part, count in windows.items())
    verdict = {"worse": "worse", "alike": "not clearly better", "better": "better"}[standing(figures)]
    return f"""# {spec.name} {spec.version}

{title}. **It tells emotion, not pain. {spec.intended_use}**

Every figure on this page is about simulated subjects. None says anything about people or about brains.

## What it is

SE-CNN after the public code of the ICBHI 2024 entry, variant "se", class task: happy, normal, sad
(`models/se_cnn.py`). {spec.parameters:,} trained parameters, {spec.flops / 1e6:.1f} million operations a window, at 2
per multiply-accumulate.

Input: an `ARRAY:regions` stream of 246 channels, at least 0.5 Hz; windows of 25 points at 1 Hz, not filtered, less
their least value over their range, both taken over all regions and points. The paper states no repetition time: one
second a point is our assumption.

Its classes have no pain level: there is no index and no alarm.

`channel.regions`: a gate of 0 to 1 for each region, which need not sum to 1. A gate scales its region before the first
convolution; whether it matters depends on what follows. On held-out subjects the mean gate is {of("gates.mean")}. Its
standard deviation is {of("gates.spread_over_regions")} between regions, and {of("gates.spread_over_windows")} between
windows of one region: so much of the ranking belongs to the model, and so much to the moment.

## Data

`monitor/sources/synthetic_regions.py`: subjects whose emotion changes every minute. 32 regions answer to each of happy
and sad, none to normal; which ones was drawn at random. Answers are late by some 5 s, differ between subjects and from
minute to minute, and lie within noise, drifts and baselines of the regions.

Label: {figures["rule"]}.

| Part | Subjects | Windows |
|---|---|---|
{cohorts}

No subject is in two parts; test subjects come from a range of seeds of their own. (Upstream splits by trial, so that
every subject is in training too.) Seed {spec.training.seeds[0]}; {of("training.cpu_seconds")} s of processor
time on one thread. Upstream's L2 term is kept; its optimiser and its 10,000 epochs are not.

## Results on held-out simulated subjects

Beside the model, logistic regression on each region's mean in the same windows. Last column: this model on every
second of {people["live"]} further held-out subjects ({figures["stream.windows"]:.0f} windows), changes of emotion
included, compared with the emotion 5 s before the window's end.

| | This model | Logistic regression | Every second |
|---|---|---|---|
{rows}

Confusion (rows true: {", ".join(EMOTIONS)}): `{figures["test.confusion"]}`.

On these data the deep model is **{verdict} than logistic regression**.

Temperature {spec.calibration.temperature:g}, fitted on {people["calibration"]} further subjects; calibration error on
the test subjects {of("test.ece")}.

## Limits

- No person was measured. The simulated answers are of our own making, and so is how hard they are to tell.
- The published accuracies come from one split of 48 test trials in which every subject was also trained on.
- Emotion is not pain. Nothing here may be read as a level of pain.

## Intended use

For research and teaching. What it is not for, and what nobody knows of it, stands in `docs/intended-use.md`.
"""
