"""The one model of an undivided split as a bundle: weights, figures, card. `export` is run beside, not called.

The figures are those of exactly these weights on the test subjects of their split. Codes of people are left out of
model.json and card, which may be handed on: they stay under the agreement of their data; simulated subjects are named.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import torch

from models.base import PainModel
from models.checkpoint import load_checkpoint
from models.data.base import IntArray
from models.data.guards import check_learnt
from models.data.population import population_fallback
from models.data.protocols import require_bundle
from models.data.simulated import CLASSES
from models.data.traced import TracedSet
from models.evaluation.predictions import Predictions, read_predictions
from models.evaluation.streaming import without_distance
from models.training.baseline import features, fit_baseline
from models.training.bundle_card import write_bundle_card
from models.training.card import describes, write_card
from models.training.drawing import Drawing
from models.training.folds import Job, found
from models.training.live import TorchRunner, calibrated_sittings, follow, live_figures
from models.training.metrics import CALM_AT_REST, calibration_error, classification, fit_for_alarms, standing
from models.training.result import spread, write_result
from models.training.run import Plan
from models.training.windows import open_windows
from monitor.bundle import BundleSpec, CalibrationSpec, ClassSpec, InputSpec, TrainingSpec, WeightsSpec
from monitor.errors import BundleError, ConfigError, Problem, SourceError
from monitor.feature_space import FEATURES_NPZ

_log = logging.getLogger(__name__)

_PARTS: Final = ("train", "validation", "calibration", "test")


@dataclass(frozen=True, kw_only=True, eq=False)
class _Chosen:
    """The model that becomes a bundle."""

    job: Job
    method: str
    content: Mapping[str, Any]
    """Of the job's JSON."""

    @property
    def entry(self) -> Mapping[str, Any]:
        entry: Mapping[str, Any] = self.content["methods"][self.method]
        return entry


def make_bundle(plan: Plan) -> str:
    """Write the bundle of a run that is done; gives a line about it.

    Raises:
        SourceError: If the model is not trained, or the protocol makes no bundles.
        ConfigError: If there is no such method, or it is no network.
        BundleError: If the export refuses it, with its reason.
    """
    settings = plan.settings
    require_bundle(str(settings.task.protocol))
    chosen = _choose(plan)
    parts = write_parts(plan, chosen)
    out = settings.bundle_out
    command = [sys.executable, "-m", "export", "write", "--stored", settings.bundle.stored, "--out", str(out)]
    for name, file in (
        ("weights", "weights.pt"),
        ("spec", "spec.json"),
        ("card", "card.md"),
        ("samples", "samples.npz"),
    ):
        command += [f"--{name}", str(parts / file)]
    _log.info("%s", " ".join(command))
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    _log.info("%s", (done.stdout + done.stderr).strip())
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).splitlines()
        raise BundleError(
            f"the export refused it: {said[-1] if said else 'no reason given'}",
            where=str(out),
            todo=f"{plan.settings.folder / 'train.log'} has all that it said",
        )
    return f"{out}: {settings.bundle.name}, {chosen.method}. Try it: pain-monitor demo --bundle {out}"


def _choose(plan: Plan) -> _Chosen:
    settings = plan.settings
    seed, wanted = settings.train.seeds[0], settings.bundle.method
    there: dict[str, _Chosen] = {}
    for job in plan.jobs:
        if job.seed != seed or not job.keep_weights:
            continue
        content = found(job)
        if content is None:
            raise SourceError("it is not trained", where=job.name, todo=f"`python -m models train {plan.config}`")
        there |= {
            name: _Chosen(job=job, method=name, content=content)
            for name, entry in content["methods"].items()
            if entry["weights"]
        }
    name = wanted or next((r for r in settings.train.recipes if r in there), "")
    if not name and len(there) == 1:
        name = next(iter(there))
    if name not in there:
        problem = Problem(
            "bundle.method", f"'{name}' is none" if name else "it is not given", f"one of {', '.join(there)}"
        )
        raise ConfigError(where=str(plan.config), problems=[problem])
    return there[name]


def write_parts(plan: Plan, chosen: _Chosen) -> Path:
    """Write what `python -m export write` takes into a folder, which is returned."""
    job, entry, split = chosen.job, chosen.entry, chosen.job.split
    torch.set_num_threads(1)
    traced = open_windows(job.windows)
    model = load_checkpoint(job.weights(chosen.method))
    inputs = _with_fallback(entry, traced, job)
    told = _predictions(job, chosen.method)
    test = traced.windows.of(split.test)
    simulated = plan.data.kind == "simulated"
    live_classes = simulated and job.classes == CLASSES

    figures: dict[str, float | str] = {"data": plan.name}
    figures |= _prefixed("test", _judged(told))
    baseline, by = _baseline(plan, chosen, traced)
    figures |= _prefixed("baseline", _judged(baseline))
    figures["baseline.method"] = by
    index = 100.0 * told.probabilities @ np.linspace(0.0, 1.0, len(job.classes))
    figures["test.none_median_index"] = round(float(np.median(index[told.labels == 0])), 2)
    figures["training.cpu_seconds"] = round(float(chosen.content["training_cpu_seconds"]))
    figures |= {f"validation_loss.{k}": round(v["best_loss"], 4) for k, v in entry["history"].items() if v["best_loss"]}
    spec = _spec(plan, chosen, model, inputs)
    subjects: dict[str, tuple[str, ...]] = {part: tuple(split.parts[part]) for part in _PARTS} if simulated else {}
    figures |= {} if simulated else {f"subjects.{part}": float(len(split.parts[part])) for part in _PARTS}
    if live_classes:
        figures["rule"] = _RULE[str(plan.settings.task.protocol)]
        sittings = calibrated_sittings("test", max(100, len(split.test)), plan.settings.bundle.live_subjects, inputs)
        followed = _may_alarm(without_distance(spec), True)
        courses = [follow(TorchRunner(model), followed, sitting) for sitting in sittings]
        figures |= _prefixed("live", live_figures(courses))
        subjects["live"] = tuple(sitting.patient.subject for sitting in sittings)
        eligible = fit_for_alarms(figures)
    else:
        eligible = standing(figures) != "worse" and float(figures["test.none_median_index"]) < CALM_AT_REST
    training = TrainingSpec(
        data=_data(plan),
        protocol=plan.settings.task.protocol or "none",
        subjects=subjects,
        metrics=figures,
        seeds=(job.seed,),
    )
    spec = _may_alarm(spec, eligible and entry["backbone"] != "random").model_copy(update={"training": training})
    sizes = {part: sum(chosen.content["windows"][part].values()) for part in _PARTS}
    title = plan.settings.bundle.title or f"{chosen.method} on {' and '.join(plan.settings.task.inputs)}"
    if live_classes and describes(model.architecture):
        card = write_card(title=title, spec=spec, model=model, windows=sizes)
    else:
        card = write_bundle_card(title=title, method=chosen.method, spec=spec, model=model, windows=sizes, split=split)
    parts = plan.settings.folder / "export"
    shutil.rmtree(parts, ignore_errors=True)
    write_result(parts, model=model, spec=spec, card=card, samples=_samples(test.inputs, traced.inputs, inputs))
    if job.features(chosen.method).is_file():
        shutil.copyfile(job.features(chosen.method), parts / FEATURES_NPZ)
    return parts


_RULE: Final = {
    "live-stream": "painful where half of the window lies between onset + 1 s and end + 2 s; none where less than a "
    "tenth does; the rest left out",
    "live-segment": "the stimulus of the event that the window was cut around",
}


def _spec(plan: Plan, chosen: _Chosen, model: PainModel, inputs: tuple[InputSpec, ...]) -> BundleSpec:
    job, entry = chosen.job, chosen.entry
    classes = job.classes
    calibration = entry.get("calibration", {})
    simulated = plan.data.kind == "simulated"
    own = "simulated" if simulated else "trained"
    frozen = entry["backbone"] in ("random", "published")
    where = "simulated" if simulated else "none"
    return BundleSpec(
        name=plan.settings.bundle.name,
        version=plan.settings.bundle.version,
        architecture=model.architecture,
        target="pain",
        inputs=inputs,
        hop_seconds=plan.settings.bundle.hop_seconds,
        classes=tuple(ClassSpec(name=name, level=i / (len(classes) - 1)) for i, name in enumerate(classes)),
        calibration=CalibrationSpec.model_validate_json(
            json.dumps(
                {
                    "temperature": entry["temperature"],
                    "prior": [1.0 / len(classes)] * len(classes),
                    "ece": calibration.get("ece"),
                    "bins": calibration.get("bins", []),
                    "subjects": list(job.split.calibration) if simulated else [],
                    "abstain": entry["abstain"],
                }
            )
        ),
        training=TrainingSpec(data=_data(plan), protocol=plan.settings.task.protocol or "none"),
        weights=WeightsSpec(
            backbone=entry["backbone"] if frozen else where,
            head=own,  # type: ignore[arg-type]
            alarm_eligible=False,
            stored=plan.settings.bundle.stored,
        ),
        parameters=model.parameter_count(),
        flops=0,
        card="card.md",
        intended_use=f"Research use only. Trained on {_data(plan)}; not a medical device, and its output is not a "
        "measure of any person's pain.",
    )


def _data(plan: Plan) -> str:
    return "simulated patients" if plan.data.kind == "simulated" else f"the data set {plan.data.kind}"


def _may_alarm(spec: BundleSpec, eligible: bool) -> BundleSpec:
    return spec.model_copy(update={"weights": spec.weights.model_copy(update={"alarm_eligible": eligible})})


def _with_fallback(entry: Mapping[str, Any], traced: TracedSet, job: Job) -> tuple[InputSpec, ...]:
    """What the model reads, with the baseline of the training subjects to stand in until a bed is calibrated."""
    inputs = tuple(InputSpec.model_validate_json(json.dumps(item)) for item in entry["inputs"])
    try:
        filled, learnt = population_fallback(traced, job.split.train)
    except ValueError as error:
        raise SourceError(str(error), where=job.name, todo="Train on people whose rest was recorded") from None
    check_learnt([learnt], job.split.parts, job.split.name)
    scales = {item.modality: item.scale for item in filled}
    return tuple(
        item.model_copy(update={"scale": item.scale.model_copy(update={"fallback": scales[item.modality].fallback})})
        for item in inputs
    )


def _predictions(job: Job, method: str) -> Predictions:
    return next(p for p in read_predictions(job.predictions) if p.method == method)


def _judged(told: Predictions) -> dict[str, float | str]:
    """Figures over all test windows; where it is known who answers to pain, of those too."""
    figures = classification(told.probabilities, told.labels, told.classes)
    if (told.responder == 1).any() and not (told.responder < 0).any():
        own = told.take(told.responder == 1)
        of = classification(own.probabilities, own.labels, own.classes)
        keys = ("balanced_accuracy", f"auc_{told.classes[0]}_{told.classes[-1]}")
        figures |= {f"responders.{key}": of[key] for key in keys}
    return figures | {"ece": round(calibration_error(told.probabilities, told.labels)[0], 4)}


def _baseline(plan: Plan, chosen: _Chosen, traced: TracedSet) -> tuple[Predictions, str]:
    """The logistic regression of the same run, or one that is fitted now on a few features of the same windows."""
    own = _predictions(chosen.job, chosen.method)
    for job in plan.jobs:
        if job.recipe == "logistic-regression" and job.split == chosen.job.split and found(job) is not None:
            return _predictions(job, job.recipe), job.recipe
    train, test = (traced.windows.of(chosen.job.split.parts[part]) for part in ("train", "test"))
    rate_hz = traced.inputs[0].rate_hz
    chain = fit_baseline(features(train.inputs, rate_hz), train.labels, seed=chosen.job.seed)
    told = np.asarray(chain.predict_proba(features(test.inputs, rate_hz)))
    return _replaced(own, told, test.labels), "logistic-regression on plain features"


def _replaced(own: Predictions, probabilities: np.ndarray, labels: IntArray) -> Predictions:
    if not np.array_equal(own.labels, labels):
        raise RuntimeError("the windows are not those of the predictions")
    names = ("method", "seed", "protocol", "classes", "splits", "subjects", "sessions", "t_end", "order", "groups")
    given = {name: getattr(own, name) for name in (*names, "responder", "labels")}
    return Predictions(**given, probabilities=probabilities)


def _samples(
    windows: Mapping[str, np.ndarray], signals: Sequence[InputSpec], inputs: Sequence[InputSpec]
) -> dict[str, np.ndarray]:
    which = spread(len(next(iter(windows.values()))))
    some = {item.name: torch.tensor(np.asarray(windows[item.name][which])) for item in signals}
    return {name: values.numpy() for name, values in Drawing(signals, inputs)(some).items()}


def _prefixed(prefix: str, figures: Mapping[str, Any]) -> dict[str, Any]:
    return {f"{prefix}.{key}": value for key, value in figures.items()}
