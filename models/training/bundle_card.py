"""The model card of a bundle that somebody trained on their data: what it is, of whom, how good, and for what not.

It follows TRIPOD+AI (Collins et al. 2024, BMJ) where that applies to a research bundle: source of data, participants by
number, outcome, predictors, handling of classes, performance with calibration, limits, and intended use.
"""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import Final

from models.base import PainModel
from models.data.splits import Split
from models.training.metrics import CALM_AT_REST, standing
from monitor.bundle import BundleSpec

_BIOVID: Final = "BioVid A, no pain against the highest level"
_PUBLISHED: Final[Mapping[str, tuple[str, str]]] = {
    "crossmod": (_BIOVID, "accuracy 87.52 % (EDA and ECG, leave-one-subject-out, paper scaling)"),
    "fat-eda": (_BIOVID, "accuracy 86.12 % (leave-one-subject-out, paper scaling)"),
    "painattnnet": (
        _BIOVID,
        "accuracy 85.56 % (EDA, leave-one-subject-out, the best epoch on the test subject)",
    ),
    "painformer-frozen": (_BIOVID, "accuracy 88.99 % (EDA waveforms, 600 epochs, no validation set)"),
}
"""By method: on what, and the value."""


def write_bundle_card(
    *, title: str, method: str, spec: BundleSpec, model: PainModel, windows: Mapping[str, int], split: Split
) -> str:
    """Markdown text of the card. No code of any person is in it.

    Args:
        title: What the model is.
        method: Name of the method in the run.
        spec: With `training.metrics` and `calibration`.
        model: Trained.
        windows: Windows by part.
        split: Whose parts they are.
    """
    figures = spec.training.metrics
    simulated = "simulated" in spec.training.data
    signals = "\n".join(
        f"| {item.name} | {item.modality} | {item.unit} | {item.samples} points at {item.rate_hz:g} Hz | "
        f"{item.min_rate_hz:g} Hz |"
        for item in spec.inputs
    )
    people = "\n".join(f"| {part} | {len(split.parts[part])} | {count} |" for part, count in windows.items())
    who = "simulated subjects, who are no people" if simulated else "subjects"
    stated = (
        "Every figure is about simulated patients. None says anything about people."
        if simulated
        else "Codes of subjects stay with the data, under its agreement: here are numbers only."
    )
    phase = (
        "\nTrained at one stimulus phase: every window lies to its stimulus in the same way, and live windows do not.\n"
        if spec.training.protocol == "live-segment"
        else ""
    )
    names = [item.name for item in spec.classes]
    return f"""# {spec.name} {spec.version}

{title}. **{spec.intended_use}**

{stated}

## What it is

{textwrap.fill(f"{model.architecture}, after {model.paper}. {model.parameter_count():,} parameters.", 120)}
Classes, the least painful first: {", ".join(f"{c.name} ({c.level:g})" for c in spec.classes)}. The number is the level
that the index gives a class; the index is an evidence scale, not a probability of pain.

| Input | Modality | Unit | Window | Least rate |
|---|---|---|---|---|
{signals}

## Data

{spec.training.data}; protocol `{spec.training.protocol}`; split `{split.name}`, seed {spec.training.seeds[0]}.
{phase}
| Part | Subjects | Windows |
|---|---|---|
{people}

No subject is in two parts. The model learnt from `train`, was stopped by `validation`, its temperature and limits are
of `calibration`. `test` was opened once, when nothing was left to be decided.

## Results on held-out {who}

Of exactly these weights, on the test part; beside them {figures["baseline.method"]} on the same windows.

| | This model | Plain |
|---|---|---|
{_rows(figures, names)}

Confusion (rows true: {", ".join(names)}): `{figures["test.confusion"]}`; plain: `{figures["baseline.confusion"]}`.

{_verdict(figures)}

Median index of windows without pain: {float(figures["test.none_median_index"]):.3g}. Temperature
{spec.calibration.temperature:g}; calibration error on the calibration subjects {_number(spec.calibration.ece)}.
{_no_index(spec)}{_live(figures)}
## Published

{_published(method, spec)}

## Limits

- Held-out subjects of one data set: other devices, places, stimuli and people were not tried.
- Accuracy live is lower than on windows that are cut around stimuli.
- Until a bed is calibrated the training subjects' baseline stands in; the index is then drawn hollow, and pain alarms
  are off.
- It has not been validated as a measure of pain in anybody. A low index is no finding.

## Intended use

For research and teaching. What it is not for, and what nobody knows of it, stands in `docs/intended-use.md`.
"""


def _rows(figures: Mapping[str, float | str], names: list[str]) -> str:
    keys = [
        ("Balanced accuracy", "balanced_accuracy"),
        ("Accuracy", "accuracy"),
        ("Macro F1", "macro_f1"),
        *((f"Recall, {name}", f"recall_{name}") for name in names),
        (f"AUC, {names[0]} against {names[-1]}", f"auc_{names[0]}_{names[-1]}"),
        ("Calibration error (15 bins of equal mass)", "ece"),
    ]
    return "\n".join(
        f"| {text} | {_number(figures[f'test.{key}'])} | {_number(figures[f'baseline.{key}'])} |" for text, key in keys
    )


def _number(value: float | str | None) -> str:
    return "unknown" if value is None else f"{float(value):.3g}"


def _verdict(figures: Mapping[str, float | str]) -> str:
    return {
        "worse": "On these windows it is **worse than plain features**.",
        "alike": "On these windows it is **not clearly better than plain features**.",
        "better": "On these windows it is better than plain features.",
    }[standing(figures)]


def _no_index(spec: BundleSpec) -> str:
    if spec.weights.alarm_eligible:
        return ""
    return (
        "\n**It draws no index and may not alarm**: for that a model has to stand beside plain features at least, and\n"
        f"to have a median index under {CALM_AT_REST:g} where there is no pain.\n"
    )


_LIVE: Final = (
    ("Median at rest", "rest.median_index"),
    ("At rest: share of windows below 35", "rest.share_below_35"),
    ("Severe tonic pain of responders: share that pass 70 within 30 s", "severe_tonic.share_above_70_within_30_s"),
    ("The same from 30 s on: median", "severe_tonic.later_median_index"),
    ("Confounders without pain: share with an index of 50 or more", "confounders.share_that_reach_50"),
)


def _live(figures: Mapping[str, float | str]) -> str:
    """The index of whole sittings, where some were followed live."""
    if "live.windows" not in figures:
        return ""
    rows = "\n".join(f"| {text} | {_number(figures[f'live.{key}'])} |" for text, key in _LIVE)
    return (
        f"\nLive, every window of {_number(figures['live.subjects'])} further held-out sittings "
        f"({float(figures['live.windows']):.0f} windows): balanced accuracy "
        f"{_number(figures['live.balanced_accuracy'])}.\n\n| Fast index, after calibration | |\n|---|---|\n{rows}\n"
    )


def _published(method: str, spec: BundleSpec) -> str:
    if method not in _PUBLISHED:
        return "We know of no published value of this method on such data. Same protocol? no."
    of, value = _PUBLISHED[method]
    text = f"{of}: {value}. Same protocol? no: the article scales with knowledge of the whole sitting and leaves no "
    text += f"subjects to stop and calibrate by; this is `{spec.training.protocol}`. The two are not to be compared."
    return textwrap.fill(text, 120)
