"""The model card of a bundle of the simulated cohort: every figure in it is the one in model.json."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from models.base import PainModel
from models.training.metrics import CALM_AT_REST, standing
from monitor.bundle import BundleSpec
from monitor.images.spec import Render, ScalogramRender, WaveformRender

_ROWS: Final = (
    ("Balanced accuracy", "balanced_accuracy"),
    ("Accuracy", "accuracy"),
    ("Macro F1", "macro_f1"),
    ("Recall, none", "recall_none"),
    ("Recall, moderate", "recall_moderate"),
    ("Recall, severe", "recall_severe"),
    ("AUC, none against severe", "auc_none_severe"),
    ("Calibration error (15 bins of equal mass)", "ece"),
    ("Balanced accuracy, responders only", "responders.balanced_accuracy"),
    ("AUC, none against severe, responders only", "responders.auc_none_severe"),
)

_CONFOUNDED: Final = "confounders.share_that_reach_50"
_SPELLS: Final = "severe_tonic.spells"
_LIVE_ROWS: Final = (
    ("Median at rest", "", "rest.median_index"),
    ("At rest: share of windows below 35", "", "rest.share_below_35"),
    (
        "Severe tonic pain of responders ({} spells): share that pass 70 within 30 s",
        _SPELLS,
        "severe_tonic.share_above_70_within_30_s",
    ),
    ("The same from 30 s on: median", "", "severe_tonic.later_median_index"),
    ("The same from 30 s on: share of windows above 50", "", "severe_tonic.later_share_above_50"),
    ("The same from 30 s on: share of windows above 70", "", "severe_tonic.later_share_above_70"),
    ("Confounders without pain ({}): share with an index of 50 or more", "confounders", _CONFOUNDED),
)


@dataclass(frozen=True, kw_only=True)
class _About:
    """What is said of an architecture."""

    what: str
    maps: str
    """How its attention maps are read."""


_GATES: Final = (
    "The gates weigh channels of the network, neither signals nor times, and need not sum to 1. They come from one "
    "hidden unit, so that all are exactly 0.5 where it is off: the block is then inactive."
)

_ABOUT: Final[Mapping[str, _About]] = MappingProxyType(
    {
        "crossmod-transformer": _About(
            what=(
                'CrossMod-Transformer after its paper\'s Tables 1-3 (preset "tables"; the readings taken where the '
                "paper contradicts itself are in `models/crossmod_parts.py`)"
            ),
            maps="Rows are queries and sum to 1, mean over heads; `embedding.*` is signed and does not.",
        ),
        "mscn-se": _About(
            what=(
                "MSCN+SE after the public code of m-PainAttnNet: the signals joined along time in the order of the "
                "table below, three branches of convolutions over 0.1 to 2 s, one squeeze-and-excitation block and one "
                "linear layer (the quirks kept are in `models/painattnnet.py`)"
            ),
            maps=_GATES,
        ),
        "painattnnet": _About(
            what=(
                "PainAttnNet after its public code: the signals joined along time in the order of the table below "
                "(m-PainAttnNet's early fusion), three branches of convolutions over 0.1 to 2 s, one "
                "squeeze-and-excitation block, two layers of attention with causal convolutions, and one linear layer "
                "(the quirks kept are in `models/painattnnet.py` and `models/blocks/causal_encoder.py`)"
            ),
            maps=(
                "`self.*`: rows are queries and sum to 1, mean over heads. Their 75 steps are mixtures of the whole "
                "window, no times. " + _GATES
            ),
        ),
        "painattnnet-attention": _About(
            what=(
                "PainAttnNet's encoder once for each signal, and learned weights over the signals that depend on the "
                "window. m-PainAttnNet's page promises such a fusion and its code has none: the reading taken is in "
                "`models/painattnnet_fusion.py`"
            ),
            maps=(
                "`modality`: the share of each signal's encoding in the sum that is classified, in the order of the "
                "table above; an encoding of small weight can still decide. `self.*`: rows are queries and sum to 1, "
                "mean over heads; their 75 steps are mixtures of the whole window, no times. " + _GATES
            ),
        ),
        "tiny-biomoe": _About(
            what=(
                "Tiny-BioMoE after its public code, trained here from random weights, end to end, without the authors' "
                "weights and without their training on many other images: both encoders for each image, gates on their "
                "channels, the images' embeddings joined, ELU and one linear layer (where paper and code differ is in "
                "`models/tiny_biomoe.py`)"
            ),
            maps=(
                "`gate.1.*` and `gate.2.*` weigh the channels of the first and second encoder for each image, 0..1. "
                "They are neither times nor places in the image, and need not sum to 1."
            ),
        ),
    }
)


def describes(architecture: str) -> bool:
    """Whether `write_card` has words for an architecture."""
    return architecture in _ABOUT


_COHORT: Final = (
    'The simulated cohort (`kind = "simulated"`): subjects whose answers to pain follow published directions and '
    "latencies, some of them weak or absent; phasic and tonic pain; movement, effort and startle, which are not pain; "
    "sensors that fail. Sampling rates are drawn for each subject. Protocol: `{protocol}`; live windows are cut, gated "
    "and scaled by the same `Pipeline` that runs at a bed."
)


def write_card(*, title: str, spec: BundleSpec, model: PainModel, windows: Mapping[str, int]) -> str:
    """Markdown text of the card.

    Args:
        title: What the model is.
        spec: With `training.metrics` and `calibration`.
        model: Trained.
        windows: Windows by part (train, validation, calibration, test).
    """
    figures, calibration = spec.training.metrics, spec.calibration
    about = _ABOUT[model.architecture]
    samples = spec.inputs[0].samples
    long_s = f"{samples / spec.inputs[0].rate_hz:.2g}"
    shapes = {item.name: item.shape for item in spec.inputs}
    people = {part: len(codes) for part, codes in spec.training.subjects.items()}
    maps = "\n".join(
        f"| `{item.name}` | {item.axis} | {' x '.join(map(str, item.shape))} |" for item in model.attention_maps(shapes)
    )
    rows = (
        f"| {item.modality} | {item.unit} | {item.min_rate_hz:g} Hz | "
        f"{item.filter.low_hz or 0:g}-{item.filter.high_hz:g} Hz | {_fallback(item.scale.fallback)} |"
        for item in spec.inputs
    )
    inputs = "\n".join(dict.fromkeys(rows))  # several images of one signal
    table = "\n".join(
        f"| {text} | {_of(figures, 'test', key)} | {_of(figures, 'baseline', key)} |" for text, key in _ROWS
    )

    def live(key: str) -> str:
        return _of(figures, "live", key)

    index = "\n".join(f"| {text.format(live(of) if of else '')} | {live(key)} |" for text, of, key in _LIVE_ROWS)
    return f"""# {spec.name} {spec.version}

{title}. **{spec.intended_use}**

Every figure on this page is about simulated patients. None says anything about people.

## What it is

{_wrapped(about.what + ", with three classes: none 0, moderate 0.5, severe 1.")}
{model.parameter_count():,} parameters, {model.flops(shapes) / 1e6:.0f} million operations a window, at 2 per
multiply-accumulate.

Windows of {samples} points at {spec.inputs[0].rate_hz:g} Hz, filtered and scaled by the monitor's own pipeline:

| Input | Unit | Least rate | Filter | Population's centre and spread |
|---|---|---|---|---|
{inputs}
{_images(spec)}
Index = 100 x (0.5 p(moderate) + p(severe)) on a balanced prior: an evidence scale, not a probability of pain.

Attention maps:

| Map | Axis | Shape |
|---|---|---|
{maps}

{_wrapped(about.maps)}

## Data

{_wrapped(_COHORT.format(protocol=spec.training.protocol))}

{_wrapped(f"Labels from the known stimulus: {figures['rule']}.")}

| Part | Subjects | Windows |
|---|---|---|
{chr(10).join(f"| {part} | {people[part]} | {count} |" for part, count in windows.items())}

No subject is in two parts; test subjects come from a range of seeds of their own. Seed {spec.training.seeds[0]};
{figures["training.cpu_seconds"]:.0f} s of processor time on one thread.

## Results on held-out simulated patients

Windows drawn alike of every subject; beside the model, logistic regression on a few plain features of the same windows.

| | This model | Logistic regression |
|---|---|---|
{table}

Confusion (rows true: none, moderate, severe): `{figures["test.confusion"]}`; logistic regression:
`{figures["baseline.confusion"]}`.

{_verdict(figures)}{_no_index(spec)}

Temperature {calibration.temperature:g}, fitted on {people["calibration"]} further subjects; calibration error there
{calibration.ece:.3f}.

Live, every window of {live("subjects")} further held-out sittings ({live("windows")} windows, also those that the label
rule leaves out, compared with the stimulus 2 s before the window's end): balanced accuracy {live("balanced_accuracy")}.

| Fast index, after calibration | |
|---|---|
{index}

## Limits

- No person was measured. Real signals differ from simulated ones in ways that nobody has counted here.
- A window of {long_s} s says little of moderate pain, and of pain that has lasted: skin conductance fades within half a
  minute{_heart_note(spec)}. Non-responders look like rest, whatever they feel.
- Startle and effort resemble pain. The index after them is not a finding.
{_signal_note(spec)}- Without calibration the population's statistics stand in; the index is drawn hollow and pain
  alarms are off.

## Intended use

For research and teaching. What it is not for, and what nobody knows of it, stands in `docs/intended-use.md`.
"""


def _images(spec: BundleSpec) -> str:
    """What is drawn, if anything."""
    drawn = [f"- `{item.name}`: {_image(item.render)}." for item in spec.inputs if item.render is not None]
    if not drawn:
        return ""
    lines = "\n".join(textwrap.fill(line, 120, subsequent_indent="  ") for line in drawn)
    return (
        f"\nEach window is drawn as images of 224 x 224 pixels, one window every {spec.hop_seconds:g} s. Neither paper "
        f"nor public code says\nhow; this is our choice (`render` in model.json has all of it):\n\n{lines}\n"
    )


def _image(render: Render) -> str:
    if isinstance(render, ScalogramRender):
        end = ", less the line from its first to its last point" if render.detrend == "ends" else ""
        return (
            f"scalogram, {render.scales} Morlet scales of {render.least_scale:g}-{render.greatest_scale:g} points, of "
            f"the window{end}; its colours run from the window's own least to its greatest, so it shows shape and no "
            "size"
        )
    if isinstance(render, WaveformRender) and render.low is not None:
        return (
            f"waveform between the fixed limits {render.low:g} and {render.high:g} of the scaled signal (spreads of "
            "the baseline above the window's first point), cut off beyond them; with a window's own limits it would "
            "show no size either"
        )
    return f"{getattr(render, 'kind', 'image')}"


def _wrapped(text: str) -> str:
    return textwrap.fill(text, 120)


def _of(figures: Mapping[str, float | str], prefix: str, key: str) -> str:
    value = figures[f"{prefix}.{key}"]
    return f"{value:.3g}" if isinstance(value, float) and not value.is_integer() else f"{value:.0f}"


def _verdict(figures: Mapping[str, float | str]) -> str:
    match standing(figures):
        case "worse":
            return "On these data the deep model is **worse than logistic regression**."
        case "alike":
            return "On these data the deep model is **not clearly better than logistic regression**."
        case "better":
            return "On these data the deep model is better than logistic regression."


def _no_index(spec: BundleSpec) -> str:
    if spec.weights.alarm_eligible:
        return ""
    return (
        "\n\n**It draws no index and may not alarm**: for that a model has to stand beside plain features at least, and"
        f"\nto have a median index under {CALM_AT_REST:g} at rest. What its index would have been is told here only."
    )


def _fallback(values: Mapping[str, float] | None) -> str:  # type: ignore[type-arg]
    return "none" if values is None else f"{values['center']:g}, {values['spread']:g}"


def _signal_note(spec: BundleSpec) -> str:
    if any(item.modality == "BVP" for item in spec.inputs):
        return (
            "- The simulated pulse has many forms, from a finger's to a wristband's, and drifts without pain. They\n"
            "  are of our own making. On wrist recordings of stress tests a model that knew one form stood near 100;\n"
            "  this one stays about the middle of the scale, which is no finding about those people either. A large\n"
            "  drift of contact can still pass for constriction.\n"
        )
    if any(item.modality == "EMG" for item in spec.inputs):
        return (
            "- Muscles tense for many reasons: whoever moves, speaks or shivers is not in pain for that. "
            "The simulated EMG\n  has neither heartbeats of the trunk nor electrodes that move in it.\n"
        )
    return ""


def _heart_note(spec: BundleSpec) -> str:
    if all(item.modality == "EDA" for item in spec.inputs):
        return ", and nothing else is looked at here"
    if any(item.modality == "EMG" for item in spec.inputs):
        return ", and heart rate and muscle tone remain, which differ between subjects as well"
    if any(item.modality == "BVP" for item in spec.inputs):
        return ", and pulse amplitude and heart rate alone remain"
    return ", and heart rate alone remains, which differs more between subjects than pain moves it"
