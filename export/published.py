"""Bundles of the authors' own checkpoints: the model, and a model.json that feeds it as it was published.

What a checkpoint does not say (how a signal was filtered, drawn and scaled) is filled in with stated defaults; a spec
file overrides any of it. Such a bundle draws no index and may not alarm unless its user takes that upon themselves.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, get_args

import torch
from pydantic import TypeAdapter

from models.base import PainModel
from models.blocks.backbone import ImageBackbone
from models.checkpoint import load_head
from models.embedding_mixer import EMBEDDING, FRAMES
from models.image_pipeline import ImagePipeline
from models.published import SAMPLES, load_file
from models.registry import create_model
from monitor.bundle import FilterSpec, InputSpec, ScaleSpec, default_input
from monitor.images.spec import RenderSpec

Encoder: TypeAlias = Literal["painformer", "tiny-biomoe"]
Variant: TypeAlias = Literal["mscn", "mscn_se", "mscn_tran", "full", "early", "late"]

RAW_HZ: Final = 512.0
"""Of BioVid, on which PainAttnNet and PainFormer were evaluated."""
_WINDOWS: Final[Mapping[str, tuple[float, int]]] = {"painformer": (RAW_HZ, SAMPLES), "tiny-biomoe": (100.0, 1000)}
"""Rate and points of the published windows: 5.5 s of BioVid, 10 s of AI4Pain."""
_RENDER: Final[TypeAdapter[RenderSpec]] = TypeAdapter(RenderSpec)
_KINDS: Final = (
    "spectrogram_angle", "spectrogram_phase", "spectrogram_psd", "recurrence", "scalogram", "waveform",
)  # fmt: skip
_MICROVOLTS: Final = ("ECG", "EMG")
_NO_CLIP: Final = 1e9


@dataclass(frozen=True, kw_only=True)
class Source:
    """A model of published weights and what is to stand in its model.json."""

    model: PainModel
    spec: dict[str, Any]
    card: str


def image_model(
    encoder: Encoder,
    *,
    published: Path,
    head: Path | None,
    images: Sequence[str],
    classes: Sequence[str],
    untrained_head: bool = False,
) -> Source:
    """A pipeline on an encoder's published weights.

    Args:
        encoder: Whose.
        published: The authors' checkpoint.
        head: File of `models.checkpoint.save_head`; it knows its images by name, `eda_waveform`.
        images: `MODALITY:KIND` in the order of the model's inputs, to say so otherwise or where there is no head.
        classes: Names of the classes, the least painful first; empty: numbered.
        untrained_head: Take a head at random weights instead, to see the pipeline run.

    Raises:
        ValueError: If neither or both heads are given, or something does not fit, saying what to do.
    """
    if (head is None) == (not untrained_head):
        raise ValueError(
            f"{encoder}'s checkpoint gives an embedding, and no classes: give a trained head (--head HEAD.pt, see "
            "models.checkpoint.save_head), or --untrained-head to see the pipeline run on a head that knows nothing"
        )
    backbone = load_file(encoder.replace("-", "_"), published).model
    assert isinstance(backbone, ImageBackbone)
    if head is not None:
        model = load_head(head, backbone.state_dict())
        if model.architecture != encoder:
            raise ValueError(f"{head} is a head of {model.architecture}, not of {encoder}")
    else:
        named = [_input_name(image) for image in images or ("eda:waveform",)]
        torch.manual_seed(0)
        model = create_model(encoder, inputs=named, classes=len(classes) or 3)
        model.backbone.load_state_dict(backbone.state_dict())
        model.train().eval()
    assert isinstance(model, ImagePipeline)
    _check_classes(model, classes)

    given = list(images) or [_of_input(name) for name in model.images]
    if len(given) != len(model.images):
        raise ValueError(f"the model reads {len(model.images)} images ({', '.join(model.images)}), not {len(given)}")
    inputs = [
        _image_input(name, *_parts(image), encoder=encoder, backbone=backbone)
        for name, image in zip(model.images, given, strict=True)
    ]
    inputs += [_video_input(name) for name in model.embeds]
    signals = "-".join(dict.fromkeys(item.modality.lower().replace("embed:", "") for item in inputs))
    name = f"{encoder}-{signals}-published" + ("-untrained-head" if untrained_head else "")
    weights = {"backbone": "published", "head": "random" if untrained_head else "trained"}
    files = [published] if head is None else [published, head]
    return _source(model, name=name, inputs=inputs, classes=classes, weights=weights, files=files, hop=2.0 * len(given))


def signal_model(*, published: Path, variant: Variant, signals: Sequence[str], classes: Sequence[str]) -> Source:
    """A model of PainAttnNet's family on the weights of one of its runs.

    Args:
        published: Checkpoint of the public code.
        variant: Its ablation mode, `early` or `late`; `full` of one signal is PainAttnNet.
        signals: Modalities in the order in which the run joined them (upstream EDA, ECG, EMG).
        classes: Names of the classes, the least painful first; empty: as many as the weights have.

    Raises:
        ValueError: If something does not fit, saying what.
    """
    if variant not in get_args(Variant):
        raise ValueError(f"no variant {variant!r}; there are {', '.join(get_args(Variant))}")
    modalities = [signal.strip().upper() for signal in signals]
    name = f"mpan_{variant}_m{len(modalities)}"
    loaded = load_file(name, published, classes=len(classes) or None).model
    assert isinstance(loaded, PainModel)
    names = [modality.lower() for modality in modalities]
    model = create_model(loaded.architecture, **{**loaded.arguments, "inputs": names})
    model.load_state_dict(loaded.state_dict())
    model.eval()
    _check_classes(model, classes)
    return _source(
        model,
        name=f"{model.architecture}-{'-'.join(names)}-published",
        inputs=[_raw_input(modality) for modality in modalities],
        classes=classes,
        weights={"backbone": "published", "head": "published"},
        files=[published],
        hop=1.0,
    )


def _raw_input(modality: str) -> InputSpec:
    """The values of BioVid's csv files: no scaling, EDA in uS, ECG and EMG in uV (the monitor has mV)."""
    item = default_input(modality, rate_hz=RAW_HZ, samples=SAMPLES)
    scale = ScaleSpec(center="none", spread="none", floor=1.0, clip=_NO_CLIP)
    if modality in _MICROVOLTS:
        fixed: dict[Literal["center", "spread"], float] = {"center": 0.0, "spread": 1e-3}
        scale = ScaleSpec(center="fixed", spread="fixed", floor=1e-9, clip=_NO_CLIP, fallback=fixed)
    return item.model_copy(update={"scale": scale})


def _image_input(name: str, modality: str, kind: str, *, encoder: str, backbone: ImageBackbone) -> InputSpec:
    """One image of the published window, unscaled: each image has its own limits."""
    rate_hz, samples = _WINDOWS[encoder]
    item = default_input(modality, rate_hz=rate_hz, samples=samples)
    scale = ScaleSpec(center="none", spread="none", floor=1.0, clip=_NO_CLIP)
    render = _RENDER.validate_python({"kind": kind, "mean": backbone.mean, "std": backbone.std})
    changed = item.model_dump() | {"name": name, "scale": scale.model_dump(), "render": render.model_dump()}
    return InputSpec.model_validate(changed)


def _video_input(name: str) -> InputSpec:
    return InputSpec(
        name=name,
        modality=f"EMBED:{name}",
        channels=EMBEDDING,
        unit="a.u.",
        min_rate_hz=20.0,
        filter=FilterSpec(kind="none"),
        rate_hz=25.0,
        samples=FRAMES,
        scale=ScaleSpec(center="none", spread="none", floor=1.0, clip=_NO_CLIP),
    )


def _parts(image: str) -> tuple[str, str]:
    modality, _, kind = image.strip().partition(":")
    if kind.lower() not in _KINDS:
        raise ValueError(f"an image is MODALITY:KIND, e.g. eda:waveform, not {image!r}; kinds: {', '.join(_KINDS)}")
    return modality.upper(), kind.lower()


def _input_name(image: str) -> str:
    return "_".join(_parts(image)).lower()


def _of_input(name: str) -> str:
    modality, _, kind = name.partition("_")
    if kind not in _KINDS:
        raise ValueError(f"the head calls an image {name!r}, which does not say what it shows: give --images")
    return f"{modality}:{kind}"


def _check_classes(model: PainModel, classes: Sequence[str]) -> None:
    if classes and len(classes) != model.classes:
        raise ValueError(f"the model has {model.classes} classes, not the {len(classes)} named: {', '.join(classes)}")


def _source(
    model: PainModel,
    *,
    name: str,
    inputs: Sequence[InputSpec],
    classes: Sequence[str],
    weights: Mapping[str, str],
    files: Sequence[Path],
    hop: float,
) -> Source:
    count = model.classes
    usual = ("no pain", "pain") if count == 2 else tuple(f"class {number}" for number in range(count))
    named = tuple(classes) or usual
    spec = {
        "name": name,
        "version": "1.0.0",
        "target": "pain",
        "inputs": [item.model_dump() for item in inputs],
        "hop_seconds": hop,
        "classes": [{"name": text, "level": number / (count - 1)} for number, text in enumerate(named)],
        "calibration": {"prior": [1.0 / count] * count},
        "training": {"data": "not stated: weights of a file that its user gave", "protocol": "none"},
        "weights": {**weights, "alarm_eligible": False},
        "intended_use": "Research use only. Not assessed on this monitor's preprocessing; not calibrated.",
    }
    return Source(model=model, spec=spec, card=_card(model, name, named, weights, files))


def _card(
    model: PainModel, name: str, classes: Sequence[str], weights: Mapping[str, str], files: Sequence[Path]
) -> str:
    hashes = "\n".join(f"- `{path.name}`, SHA-256 `{hashlib.sha256(path.read_bytes()).hexdigest()}`" for path in files)
    head = "The head is at random weights: **it knows nothing of pain.**\n" if weights["head"] == "random" else ""
    return f"""# {name}

{model.architecture} ({model.paper}) with weights from files that its user gave:

{hashes}

{head}Research use only. The export was checked against the module that these weights were loaded into. **Not checked:**
what the weights were trained on, whether filters, scaling and images here are those of the training, the order and
meaning of the classes ({", ".join(classes)}), and whether the probabilities mean anything on another device or patient.
They are not calibrated (temperature 1, equal priors).
"""
