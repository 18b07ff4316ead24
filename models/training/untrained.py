"""Bundles at random weights: they show that a model runs, from a sensor to the screen, and nothing else.

PainFormer's encoder was trained on 14 data sets that cannot be shipped, and neither can its weights. With the authors'
file, `python -m export painformer --published painformer.pth --head HEAD.pt` makes the real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Final

import torch

from models.data.simulated import CLASSES, least_rates
from models.data.simulated_cohort import population_sitting
from models.data.streams import stream_windows
from models.data.unscored import unscored_spec
from models.painformer import PainFormer
from models.registry import create_model
from models.training.drawing import Drawing, images_of
from models.training.result import spread, write_result
from monitor.bundle import BundleSpec, InputSpec, ScaleSpec, WeightsSpec, default_input
from monitor.images.spec import RenderSpec, WaveformRender
from monitor.sources.physiology_population import load_population

INTENDED_USE: Final = (
    "Research use only. The weights are random: its output means nothing and shows the pipeline only. Not a medical "
    "device."
)


@dataclass(frozen=True, kw_only=True)
class Untrained:
    """One bundle to build."""

    modality: str
    rate_hz: float
    samples: int
    image: RenderSpec
    hop_seconds: float
    version: str = "0.1.0"
    seed: int = 20


UNTRAINED_BUNDLES: Final[Mapping[str, Untrained]] = MappingProxyType(
    {
        "painformer-eda-untrained": Untrained(
            modality="EDA",
            # BioVid's window; of the paper's images of skin conductance the waveform did best.
            rate_hz=512.0,
            samples=2816,
            image=WaveformRender(kind="waveform", mean=PainFormer.mean, std=PainFormer.std),
            hop_seconds=2.0,
        )
    }
)


def build_untrained(name: str, out: Path) -> None:
    """Write what `python -m export write` needs.

    Args:
        name: One of `UNTRAINED_BUNDLES`.
        out: Folder to write into.
    """
    plan = UNTRAINED_BUNDLES[name]
    signal = default_input(plan.modality, rate_hz=plan.rate_hz, samples=plan.samples)
    # Each picture has its window's own limits: nothing of a baseline would be left in it.
    signal = signal.model_copy(update={"scale": ScaleSpec(center="none", spread="none", floor=1.0, clip=1e9)})
    inputs = images_of("painformer", [signal], [plan.image])
    torch.manual_seed(plan.seed)
    model = create_model("painformer", inputs=[item.name for item in inputs], classes=len(CLASSES))
    spec = unscored_spec(name, inputs).model_copy(
        update={
            "version": plan.version,
            "architecture": model.architecture,
            "paper": model.paper,
            "hop_seconds": plan.hop_seconds,
            "weights": WeightsSpec(backbone="random", head="random", alarm_eligible=False),
            "parameters": model.parameter_count(),
            "flops": model.flops({item.name: item.shape for item in inputs}),
            "intended_use": INTENDED_USE,
        }
    )
    drawn = Drawing([signal], inputs)(_some(signal))
    samples = {key: values.numpy() for key, values in drawn.items()}
    write_result(out, model=model, spec=spec, card=_card(spec), samples=samples)


def _some(signal: InputSpec) -> dict[str, torch.Tensor]:
    """A few windows of one simulated person: real input, on which the export looks at what rounding changes."""
    sitting = population_sitting(
        load_population(), "test", 0, modalities=[signal.modality], least_hz=least_rates([signal])
    )
    every = {number: number for number in range(len(CLASSES))}
    cut = stream_windows(sitting, [signal], classes=every, silence_is_rest=True, joined=False).windows
    return {name: torch.from_numpy(values) for name, values in cut.take(spread(len(cut))).inputs.items()}


def _card(spec: BundleSpec) -> str:
    item = spec.inputs[0]
    assert item.render is not None
    kind = item.render.kind
    return f"""# {spec.name} {spec.version}

**UNTRAINED: every weight is random. {spec.intended_use}**

## What it is

PainFormer on one image of {item.modality}, with a linear head on its embedding (`models/painformer.py`,
`models/image_pipeline.py`): {spec.parameters:,} parameters, {spec.flops / 1e9:.1f} thousand million operations a
window, at 2 per multiply-accumulate. {spec.paper}.

Windows of {item.samples} points at {item.rate_hz:g} Hz ({item.samples / item.rate_hz:g} s), low-pass
{item.filter.high_hz:g} Hz, drawn as a {kind} of 224 x 224 with the window's own limits; {item.modality} from
{item.min_rate_hz:g} Hz. It refers to no baseline, so it needs no calibration. One window in {spec.hop_seconds:g} s is
proposed: the monitor measures at start whether this machine is fast enough.

`rollout`: attention of the last two stages rolled out onto the picture, 14 x 14, summing to 1. With random weights it
shows that the map reaches the screen, not what a trained encoder would look at.

## What it is not

There is no index and no alarm: its three classes carry pain levels that nobody has taught it. There is nothing to
evaluate, so there are no figures here.

## The real one

With the authors' checkpoint and a head trained on its embeddings:

    python -m export painformer --published painformer.pth --head HEAD.pt --out DIR
"""
