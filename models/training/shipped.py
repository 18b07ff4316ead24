"""The bundles that ship with the monitor, from seeds alone: cut windows, train, calibrate, judge, describe."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import numpy as np
import torch

from models.base import PainModel
from models.crossmod_transformer import CrossModTransformer
from models.data.base import WindowSet
from models.data.simulated import CLASSES, cohort, population_inputs, unscored_spec
from models.painattnnet import MSCNSE, PainAttnNet
from models.painattnnet_fusion import PainAttnNetAttention
from models.registry import create_model
from models.training.baseline import features, fit_baseline
from models.training.card import write_card
from models.training.crossmod import Recipe, Signals, train_crossmod
from models.training.drawing import Drawing, drawn_inputs
from models.training.end_to_end import Read, train_end_to_end
from models.training.live import TorchRunner, calibrated_sittings, follow, live_figures
from models.training.loop import FitResult, FitSettings, predict
from models.training.metrics import calibration_error, classification, fit_for_alarms, fit_temperature, softmax
from models.training.result import spread, write_result
from monitor.bundle import CalibrationSpec, TrainingSpec, WeightsSpec
from monitor.images.spec import RenderSpec, ScalogramRender, WaveformRender
from monitor.sources.synthetic import SyntheticPatient

_log = logging.getLogger(__name__)

INTENDED_USE: Final = (
    "Research use only. Trained on simulated patients; not a medical device, and its output is not a measure of any "
    "person's pain."
)


@dataclass(frozen=True, kw_only=True)
class Cohort:
    """Some subjects, and how many windows of each class are drawn of each at most."""

    part: str
    numbers: range
    per_class: tuple[int, int, int]


@dataclass(frozen=True, kw_only=True)
class ShippedModel:
    """One bundle to build."""

    modalities: tuple[str, ...]
    title: str
    architecture: str = CrossModTransformer.architecture
    rate_hz: float = 25.0
    samples: int = 138
    version: str = "0.1.0"
    seed: int = 20
    baseline_subjects: range = range(30)
    """Training subjects whose baselines at rest make the fallback statistics."""
    train: Cohort = Cohort(part="train", numbers=range(150), per_class=(8, 4, 4))
    validation: Cohort = Cohort(part="train", numbers=range(200, 224), per_class=(5, 5, 5))
    """For early stopping."""
    calibration: Cohort = Cohort(part="train", numbers=range(240, 266), per_class=(5, 5, 5))
    """For the temperature."""
    test: Cohort = Cohort(part="test", numbers=range(40), per_class=(5, 5, 5))
    live_first: int = 100
    live_subjects: int = 12
    """Held-out subjects, from this number of the test part on, whose whole sittings are scored live."""
    recipe: Recipe | FitSettings = field(default_factory=Recipe)
    """In stages, or as one."""
    images: tuple[RenderSpec, ...] = ()
    """Drawn of every signal and read in its place."""
    options: Mapping[str, Any] = field(default_factory=dict)
    """Further arguments of the architecture."""
    hop_seconds: float = 1.0
    """Between windows live; at least four times what scoring one takes."""

    @property
    def judged_batch(self) -> int:
        """Windows that are judged at a time."""
        return self.recipe.judged_batch if isinstance(self.recipe, FitSettings) else 128


_SMALL: Final = Cohort(part="train", numbers=range(80), per_class=(6, 3, 3))
"""For models of which some minutes of training must do."""

SHIPPED: Final[Mapping[str, ShippedModel]] = MappingProxyType(
    {
        "crossmod-eda-ecg": ShippedModel(
            modalities=("EDA", "ECG"), title="CrossMod-Transformer on skin conductance and ECG"
        ),
        "crossmod-eda-bvp": ShippedModel(
            modalities=("EDA", "BVP"),
            title="CrossMod-Transformer on skin conductance and blood volume pulse",
            version="0.2.0",
            # Forms of the pulse differ between subjects: more of them, and fewer windows of each.
            train=Cohort(part="train", numbers=range(200), per_class=(6, 3, 3)),
        ),
        "mscn-se-eda-ecg-emg": ShippedModel(
            modalities=("EDA", "ECG", "EMG"),
            title="MSCN+SE on skin conductance, ECG and EMG",
            architecture=MSCNSE.architecture,
            rate_hz=512.0,
            samples=2816,
            recipe=FitSettings(epochs=6, milestone=3, learning_rate=1e-3),
        ),
        "painattnnet-eda-ecg-emg": ShippedModel(
            modalities=("EDA", "ECG", "EMG"),
            title="PainAttnNet on skin conductance, ECG and EMG",
            architecture=PainAttnNet.architecture,
            rate_hz=512.0,
            samples=2816,
            train=_SMALL,
            recipe=FitSettings(epochs=12, milestone=8, learning_rate=1e-3, batch=32),
        ),
        "painattnnet-attention-eda-ecg-emg": ShippedModel(
            modalities=("EDA", "ECG", "EMG"),
            title="PainAttnNet with attention over skin conductance, ECG and EMG",
            architecture=PainAttnNetAttention.architecture,
            rate_hz=512.0,
            samples=2816,
            train=_SMALL,
            recipe=FitSettings(epochs=12, milestone=8, learning_rate=1e-3, batch=32),
        ),
        "tiny-biomoe-eda": ShippedModel(
            modalities=("EDA",),
            title="Tiny-BioMoE on two images of skin conductance",
            architecture="tiny-biomoe",
            rate_hz=100.0,
            samples=1000,
            train=Cohort(part="train", numbers=range(120), per_class=(5, 3, 3)),
            validation=Cohort(part="train", numbers=range(200, 220), per_class=(3, 3, 3)),
            calibration=Cohort(part="train", numbers=range(240, 266), per_class=(4, 4, 4)),
            live_subjects=8,
            recipe=FitSettings(
                epochs=5, milestone=3, learning_rate=5e-4, batch=16, judged_batch=16, limit_s=2400.0, bfloat16=True
            ),
            # Conductance lives at 0.16-2.5 Hz. A window's own limits would hide how far it rises.
            images=(
                ScalogramRender(kind="scalogram", least_scale=32.0, greatest_scale=512.0, detrend="ends"),
                WaveformRender(kind="waveform", low=-4.0, high=10.0),
            ),
            options={"fusion": "concat"},
            hop_seconds=2.0,
        ),
    }
)


def build(name: str, out: Path, model_of: ShippedModel | None = None) -> None:
    """Train one bundle and write what `python -m export write` needs (`models.training.result`).

    Args:
        name: Name of the bundle.
        out: Folder to write into.
        model_of: What to build; None for the shipped one of that name.
    """
    started = time.process_time()
    plan = model_of or SHIPPED[name]
    _log.info("%s: cutting windows", name)
    signals = population_inputs(
        plan.modalities, part="train", numbers=plan.baseline_subjects, rate_hz=plan.rate_hz, samples=plan.samples
    )
    inputs = drawn_inputs(signals, plan.images)
    read = Drawing(signals, inputs)
    sets = {
        part: cohort(signals, part=c.part, numbers=c.numbers, per_class=c.per_class, seed=plan.seed)
        for part, c in _cohorts(plan).items()
    }
    for part, windows in sets.items():
        _log.info("%s: %d windows, %s by class", part, len(windows), np.bincount(windows.labels).tolist())

    torch.manual_seed(plan.seed)
    model = create_model(plan.architecture, inputs=[item.name for item in inputs], classes=len(CLASSES), **plan.options)
    stages = train_model(
        model, train=_signals(sets["train"]), validation=_signals(sets["validation"]), recipe=plan.recipe, read=read
    )
    train_s = sum(stage.seconds for stage in stages.values())

    held, test = sets["calibration"], sets["test"]
    logits = _logits(model, held, read, plan.judged_batch)
    temperature = fit_temperature(logits, held.labels)
    error, bins = calibration_error(softmax(logits, temperature), held.labels)
    told = softmax(_logits(model, test, read, plan.judged_batch), temperature)
    figures: dict[str, float | str] = {"data": "simulated patients", "rule": _RULE}
    figures |= _prefixed("test", _judged(told, test))
    figures |= _prefixed("baseline", _judged(_baseline(sets["train"], test, plan.rate_hz, plan.seed), test))

    spec = unscored_spec(name, inputs).model_copy(
        update={
            "version": plan.version,
            "hop_seconds": plan.hop_seconds,
            "calibration": CalibrationSpec(
                temperature=temperature,
                prior=(1.0 / len(CLASSES),) * len(CLASSES),
                ece=round(error, 4),
                bins=tuple((round(mean, 4), round(share, 4), count) for mean, share, count in bins),
                subjects=_codes(held),
            ),
            "weights": WeightsSpec(backbone="simulated", head="simulated", alarm_eligible=True),
            "intended_use": INTENDED_USE,
        }
    )
    _log.info("%s: following %d held-out subjects live", name, plan.live_subjects)
    runner = TorchRunner(model)
    sittings = calibrated_sittings("test", plan.live_first, plan.live_subjects, signals)
    figures |= _prefixed("live", live_figures([follow(runner, spec, sitting) for sitting in sittings]))
    figures["training.cpu_seconds"] = round(train_s)
    figures |= {f"validation_loss.{stage}": round(result.best_loss, 4) for stage, result in stages.items()}
    # Followed live with an index, so that the card can tell of it, whether or not anybody is to see one.
    eligible = fit_for_alarms(figures)
    spec = spec.model_copy(
        update={
            "weights": spec.weights.model_copy(update={"alarm_eligible": eligible}),
            "training": TrainingSpec(
                data="simulated patients (monitor.sources.synthetic)",
                protocol="live-stream",
                subjects={part: _codes(windows) for part, windows in sets.items()}
                | {"live": tuple(sitting.patient.subject for sitting in sittings)},
                metrics=figures,
                seeds=(plan.seed,),
            ),
        }
    )
    sizes = {part: len(windows) for part, windows in sets.items()}
    card = write_card(title=plan.title, spec=spec, model=model, windows=sizes)
    write_result(out, model=model, spec=spec, card=card, samples=_samples(test, read))
    _log.info("%s: written to %s, %.0f s of processor time", name, out, time.process_time() - started)


_RULE: Final = "painful 3 s after onset to 2 s after the end; none from 15 s after the end; the rest left out"


def _cohorts(plan: ShippedModel) -> dict[str, Cohort]:
    return {"train": plan.train, "validation": plan.validation, "calibration": plan.calibration, "test": plan.test}


def train_model(
    model: PainModel, *, train: Signals, validation: Signals, recipe: Recipe | FitSettings, read: Read = dict
) -> dict[str, FitResult]:
    """Train a model in place, in stages where the recipe has them, else as one.

    Raises:
        ValueError: If the model has no such stages.
    """
    if isinstance(recipe, FitSettings):
        return train_end_to_end(model, train=train, validation=validation, settings=recipe, read=read)
    if not isinstance(model, CrossModTransformer):
        raise ValueError(f"{model.architecture} is not trained in stages")
    return train_crossmod(model, train=train, validation=validation, recipe=recipe)


def _codes(windows: WindowSet) -> tuple[str, ...]:
    return tuple(str(code) for code in np.unique(windows.subjects))


def _signals(windows: WindowSet) -> Signals:
    inputs = {name: torch.from_numpy(values) for name, values in windows.inputs.items()}
    return Signals(inputs=inputs, labels=torch.from_numpy(windows.labels))


def _logits(model: PainModel, windows: WindowSet, read: Read, batch: int) -> np.ndarray:
    names = tuple(windows.inputs)

    def forward(*signals: torch.Tensor) -> torch.Tensor:
        return model(read(dict(zip(names, signals, strict=True)))).logits

    return predict(forward, model, [torch.from_numpy(windows.inputs[name]) for name in names], batch).numpy()


def _samples(windows: WindowSet, read: Read) -> dict[str, np.ndarray]:
    some = windows.take(spread(len(windows)))
    return {
        name: values.numpy()
        for name, values in read({name: torch.from_numpy(x) for name, x in some.inputs.items()}).items()
    }


def _baseline(train: WindowSet, test: WindowSet, rate_hz: float, seed: int) -> np.ndarray:
    chain = fit_baseline(features(train.inputs, rate_hz), train.labels, seed=seed)
    return np.asarray(chain.predict_proba(features(test.inputs, rate_hz)))


def _judged(probabilities: np.ndarray, windows: WindowSet) -> dict[str, float | str]:
    """Figures over all windows, and the balanced accuracy and AUC in responders alone."""
    figures = classification(probabilities, windows.labels, CLASSES)
    figures["ece"] = round(calibration_error(probabilities, windows.labels)[0], 4)
    answering = np.isin(windows.subjects, [code for code in _codes(windows) if _responds(code)])
    responders = classification(probabilities[answering], windows.labels[answering], CLASSES)
    return figures | {f"responders.{key}": responders[key] for key in ("balanced_accuracy", "auc_none_severe")}


def _responds(code: str) -> bool:
    _, part, number = code.split("-")
    return SyntheticPatient(part=part, number=int(number)).responder


def _prefixed(prefix: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{key}": value for key, value in figures.items()}
