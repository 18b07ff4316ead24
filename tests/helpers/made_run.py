"""The folder of a run that nobody trained: real figures of made predictions, and what the steps write beside them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from models.evaluation.alarm_path import AlarmCurve, AlarmPoint
from models.evaluation.arousal import contrast
from models.evaluation.chance import against_chance
from models.evaluation.metrics import summarise
from models.evaluation.predictions import Predictions
from models.evaluation.recordings import _rest_figures, verdict
from models.evaluation.streaming import EqualitySummary, StreamingResult
from models.evaluation.streaming_losses import STEPS, SubjectSteps, losses
from models.evaluation.summary import Figure
from models.training.folds import write_json

CLASSES = ("none", "moderate", "severe")


def predictions(method: str, *, seed: int = 20, subjects: int = 10, windows: int = 24, strength: float = 1.2):
    """Answers of a method that knows something, to labels balanced by subject."""
    rng = np.random.default_rng([seed, *method.encode()])
    n = subjects * windows
    labels = np.tile(np.arange(windows) % len(CLASSES), subjects)
    logits = rng.normal(size=(n, len(CLASSES))) + 0.6 * rng.normal(size=subjects).repeat(windows)[:, np.newaxis]
    logits[np.arange(n), labels] += strength
    p = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    codes = np.repeat([f"sim-train-{i:04}" for i in range(subjects)], windows)
    return Predictions(
        method=method,
        seed=seed,
        protocol="live-stream",
        classes=CLASSES,
        splits=np.full(n, "fold-1-of-2"),
        subjects=codes,
        sessions=codes,
        t_end=np.arange(n, dtype=np.float64),
        order=np.tile(np.arange(windows), subjects),
        groups=np.where(labels == 0, "rest", np.where(np.arange(n) % 2, "phasic", "tonic")),
        responder=(np.arange(subjects) % 4 != 0).astype(np.int64).repeat(windows),
        labels=labels,
        probabilities=p,
    )


def write_run(
    folder: Path,
    methods: Mapping[str, float],
    *,
    seeds: Sequence[int] = (20, 21),
    data: str = "simulated patients",
    subjects: int = 10,
) -> Path:
    """run.json, summary.json and one fold of each method.

    Args:
        folder: Made.
        methods: How much each one knows.
        seeds: Of its trainings; plain methods have the first.
        data: As `Plan.name`.
        subjects: Who were tested.
    """
    from models.evaluation.metrics import BASELINES

    made = [
        predictions(method, seed=seed, strength=strength, subjects=subjects)
        for method, strength in methods.items()
        for seed in (seeds[:1] if method in BASELINES else seeds)
    ]
    write_json(folder / "summary.json", asdict(summarise(made, data=data, draws=200)))
    kind = "simulated" if "simulated" in data else data
    settings = {
        "data": {"kind": kind, "path": "/somewhere/private", "population": "default"},
        "task": {"protocol": "live-stream", "inputs": ["EDA", "ECG"]},
        "split": {"kind": "k-fold", "folds": 2, "seed": 20},
        "train": {"recipes": list(methods), "schedule": "short", "seeds": list(seeds), "epochs": 0},
        "calibrate": {"temperature": True},
        "output": {"folder": str(folder), "weights": "all"},
    }
    jobs = [f"fold-1-of-2.{item.method}.s{item.seed}" for item in made]
    splits = {"fold-1-of-2": {"train": ["a", "b"], "validation": ["c"], "calibration": ["d"], "test": ["e"]}}
    write_json(
        folder / "run.json",
        {
            "data": data,
            "written": "2026-01-01",
            "settings": settings,
            "splits": splits,
            "jobs": jobs,
            "notice": "Research use only.",
        },
    )
    for job, item in zip(jobs, made, strict=True):
        rng = np.random.default_rng(len(job))
        losses_ = (np.exp(-np.arange(12) / 5) + 0.05 * rng.random(12)).tolist()
        stages = (
            {} if item.method in BASELINES else {"model": {"train_loss": losses_, "validation_loss": losses_[::-1]}}
        )
        for stage in stages.values():
            stage |= {"best_epoch": 11, "best_loss": 0.1, "seconds": 1.0, "limited": False}
        content = {"job": job, "versions": {"torch": "2.0"}, "methods": {item.method: {"history": stages}}}
        write_json(folder / "folds" / f"{job}.json", content)
    return folder


def streaming() -> dict[str, Any]:
    """streaming.json of a model that loses a little at each step."""
    rng = np.random.default_rng(1)
    steps = [
        SubjectSteps(
            subject=f"s{i}",
            events=20,
            events_lost=1,
            hops=900,
            accuracy=dict(zip(STEPS, (0.8 + 0.1 * rng.random(3) - [0, 0.02, 0.05]).tolist(), strict=True)),
        )
        for i in range(8)
    ]
    curves = {name: _curve(name, gain) for name, gain in (("index", 1.0), ("heart rate", 0.6), ("SCR rate", 0.8))}
    found = losses(steps, seed=1)
    result = StreamingResult(
        model="made 0.1.0",
        trained="live-stream",
        paper_model="made 0.1.0 itself",
        subjects=tuple(item.subject for item in steps),
        sittings=8,
        hop_s=1.0,
        equality=EqualitySummary(
            sittings=8,
            windows=7000,
            bit_equal=6900,
            compared=200,
            largest_difference=2e-8,
            tolerance=1e-6,
            only_arrays=0,
        ),
        losses=found,
        coverage=0.93,
        prevalence=0.31,
        hours=4.2,
        alarms=curves,
        left_out=("s9 cannot be calibrated",),
        notes=("A note of the streaming evaluation",),
    )
    return json.loads(json.dumps(result.as_json()))


def _curve(name: str, gain: float) -> AlarmCurve:
    points = tuple(
        AlarmPoint(
            limit=limit,
            delay_s=delay,
            bouts=60,
            detected=round(60 * gain * (1 - limit / 120) * (1 - delay / 120)),
            there_before=1,
            false_alarms=3,
            sensitivity=Figure(value=gain * (1 - limit / 120) * (1 - delay / 120), low=0.1, high=0.9),
            false_per_hour=Figure(value=12 * (1 - limit / 90) * (1 - delay / 80), low=0.0, high=14.0),
            false_per_monitored_hour=1.0,
            in_alarm_without_pain=0.05,
            delay_median_s=delay + 8.0,
            delay_p90_s=delay + 20.0,
        )
        for limit in (30.0, 40.0, 50.0, 60.0, 70.0, 80.0)
        for delay in (5.0, 10.0, 15.0, 30.0, 60.0)
    )
    coverage = Figure(value=0.9, low=0.8, high=0.95)
    at_rates = {"1": None, "2": points[-1], "6": points[9]}
    return AlarmCurve(score=name, points=points, at_rates=at_rates, sittings=8, coverage=coverage)


def controls(*, leaks: bool = False) -> dict[str, Any]:
    """controls.json; with `leaks` the canary is not at chance and a guard lets a leak pass."""
    labels = np.tile(np.arange(3), 40)
    people = np.repeat([f"s{i}" for i in range(10)], 12)
    rng = np.random.default_rng(2)
    guessed = against_chance(labels, rng.permutation(labels), people, seed=1, draws=500).plain()
    known = against_chance(labels, np.where(rng.random(120) < 0.6, labels, 0), people, seed=1, draws=500).plain()
    return {
        "of": ["hash"],
        "split": "fold-1-of-2",
        "seed": 20,
        "within": 0.999,
        "passed": not leaks,
        "canary": {"fcn-eda": known if leaks else guessed},
        "refused": {"subject": "s1 is in train and test", "recording": "the same", "weights": "" if leaks else "seen"},
        "leak": {"honest": guessed, "leaked": known},
        "time": known,
        "amplitude": guessed,
        "identity": {"hand-crafted features": {**known, "people": 10}},
        "sentences": [
            "fcn-eda, trained on permuted labels, finds nothing.",
            "The time in the session tells something.",
        ],
    }


def recordings(*, alarms: float = 0.5) -> dict[str, Any]:
    """recordings.json of a bundle with so many alarms an hour."""
    rest = {
        **_rest_figures([], 50.0),
        "recordings": 5,
        "hours": 4.0,
        "windows": 2800,
        "scored_windows": 2500,
        "scored_share": 0.9,
        "over_limit_share": 0.02,
        "index_median": 22.0,
        "index_iqr": [12.0, 31.0],
        "alarms": round(4 * alarms),
        "alarms_per_hour": alarms,
        "alarms_per_hour_interval": [alarms / 2, 2 * alarms],
    }
    values = np.random.default_rng(3).normal(size=(9, 3)) + np.array([1.0, 0.0, 0.0])
    return {
        "bundle": "made",
        "version": "0.1.0",
        "trained_on": "simulated patients",
        "hop_s": 5.0,
        "alarm_limit": 50.0,
        "all": rest,
        "groups": {"driver at rest": rest},
        "recordings": [],
        "verdict": verdict(rest),
        "arousal": {"notice": "Arousal, never pain", "blocks": {"Stroop test": {"index": contrast(values, seed=1)}}},
        "notes": ["Nobody here is in pain, as far as anybody knows"],
    }
