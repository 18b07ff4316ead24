"""What a screen is told of other kinds of models than CrossMod, made up: for pictures of the screen, and its tests.

The pictures that a model is shown are drawn from a simulated patient as the product draws them. All weights, gates and
roll-outs are invented: no model was run.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from benchmarks.screen_frames import POSED_BUNDLE, calm_patient
from monitor.images.render import picture
from monitor.images.spec import RenderSpec, ScalogramRender, SpectrogramRender, WaveformRender
from monitor.link import (
    LINK_VERSION,
    AttentionFrame,
    AttentionImage,
    AttentionInput,
    AttentionMap,
    BundleView,
    StreamView,
)
from monitor.sources.synthetic import SyntheticPatient
from monitor.types import FloatArray

REGIONS: Final = 246
UNTRAINED: Final = "UNTRAINED BACKBONE: shows the pipeline, not pain"
EMOTION: Final = "CLASSIFIES EMOTION, NOT PAIN: no index, no alarm"

NOT_ELIGIBLE: Final = "NOT ELIGIBLE FOR ALARMS: no index, no alarm"

_STEPS: Final = 75
_SE_SPREAD: Final = (0.14, 0.03, 0.0)
"""How far gates are from 0.5; the last block is off. Like those of the shipped bundle at rest."""
_FEW: Final = {1: 2.6, 2: 1.0}
"""Height of the gates by expert: few are open, as in the shipped bundle."""
_SPREAD_US: Final = 0.18
"""Spread of a baseline, in which limits of a waveform's picture are given."""
_PICTURE_RATE_HZ: Final = 100.0
_PICTURE_S: Final = 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PosedModel:
    """A kind of model as a screen sees it."""

    view: BundleView
    classes: tuple[str, ...]
    attention: Callable[..., AttentionFrame]
    """Of window k and a patient."""
    streams: tuple[StreamView, ...] = ()
    """Beside the body's signals."""


def fusion_attention(k: int, patient: SyntheticPatient | None = None) -> AttentionFrame:  # noqa: ARG001
    """PainAttnNet with attention over three signals: modality weights, gates and self-attention of each."""
    names = ("eda", "ecg", "emg")
    inputs = tuple(
        AttentionInput(modality=name.upper(), samples=2816, rate_hz=512.0, delay_s=0.1, name=name) for name in names
    )
    maps = [posed_map("modality", "modality", "modality", np.array([0.23, 0.33, 0.44]), "+".join(names))]
    for number, (name, size) in enumerate(zip(names, _SE_SPREAD, strict=True)):
        wiggle = np.sin(1.7 * np.arange(30) + number) * np.cos(0.37 * np.arange(30))
        maps.append(posed_map(f"channel.se.{name}", "channel", "channel", 0.5 + size * wiggle, name))
        maps += [posed_map(f"self.{layer}.{name}", "self", "token", _causal(layer + number), name) for layer in (0, 1)]
    return posed_frame(k, inputs, maps)


def gated_attention(k: int, patient: SyntheticPatient | None = None) -> AttentionFrame:
    """Tiny-BioMoE on two pictures of one signal: of each the gates of both experts."""
    specs = (
        ScalogramRender(kind="scalogram", detrend="ends", least_scale=32.0, greatest_scale=512.0),
        WaveformRender(kind="waveform", low=-4.0, high=10.0),
    )
    images = tuple(posed_image(f"eda_{spec.kind}", "EDA", spec, k, patient) for spec in specs)
    channel = np.arange(96)
    maps = []
    for expert in (1, 2):
        for number, image in enumerate(images):
            wiggle = np.sin(1.3 * channel + expert) * np.cos(0.21 * channel * expert + number)
            values = np.clip(_FEW[expert] * (wiggle - 0.3), 0.0, 1.0)
            maps.append(posed_map(f"gate.{expert}.{image.input}", "gate", "channel", values, image.input))
    return posed_frame(k, tuple(map(_image_input, images)), maps, images)


def rollout_attention(k: int, patient: SyntheticPatient | None = None, *, flat: bool = False) -> AttentionFrame:
    """PainFormer on two pictures: the roll-out of each."""
    specs: tuple[tuple[str, str, RenderSpec], ...] = (
        ("ecg_spectrogram_psd", "ECG", SpectrogramRender(kind="spectrogram_psd", nfft=128, overlap=112)),
        ("eda_waveform", "EDA", WaveformRender(kind="waveform", line_px=2.5)),
    )
    images = tuple(posed_image(name, modality, spec, k, patient) for name, modality, spec in specs)
    row, column = np.mgrid[0:14, 0:14]
    maps = []
    for number, image in enumerate(images):
        spot = np.exp(-((row - 10 + 5 * number) ** 2 + (column - 9 + number) ** 2) / 8.0) + 0.06
        weights = np.ones((14, 14)) if flat else spot
        maps.append(posed_map(f"rollout.{image.input}", "rollout", "image", weights / weights.sum(), image.input))
    return posed_frame(k, tuple(map(_image_input, images)), maps, images)


def region_attention(k: int, patient: SyntheticPatient | None = None) -> AttentionFrame:  # noqa: ARG001
    """SE-CNN: a weight for each of 246 regions."""
    grid = AttentionInput(
        modality="ARRAY:regions", samples=25, rate_hz=1.0, delay_s=0.0, name="regions", channels=REGIONS
    )
    weights = np.random.Generator(np.random.PCG64(11)).beta(2.0, 3.0, REGIONS)
    return posed_frame(k, (grid,), [posed_map("channel.regions", "channel", "channel", weights, "regions")])


def posed_frame(
    k: int, inputs: tuple[AttentionInput, ...], maps: list[AttentionMap], images: tuple[AttentionImage, ...] = ()
) -> AttentionFrame:
    """Maps of window k; modalities are those of the inputs."""
    modality = {item.name: item.modality for item in inputs}
    named = []
    for item in maps:
        of, by = ("+".join(modality[part] for part in name.split("+")) for name in (item.of_input, item.by_input))
        named.append(item.model_copy(update={"of": of, "by": by}))
    return AttentionFrame(
        v=LINK_VERSION,
        bed="bed1",
        session="s1",
        bundle=POSED_BUNDLE,
        epoch=0,
        k=k,
        t_end=float(k),
        inputs=inputs,
        maps=tuple(named),
        images=images,
    )


def posed_map(name: str, kind: str, axis: str, values: FloatArray, of: str, by: str = "") -> AttentionMap:
    """A map of the inputs `of`, read by the inputs `by`."""
    return AttentionMap(
        name=name,
        kind=kind,
        axis=axis,
        of=of,
        by=by or of,
        shape=values.shape,
        x=values.astype("<f4").tobytes(),
        of_input=of,
        by_input=by or of,
    )


def posed_image(
    name: str, modality: str, spec: RenderSpec, k: int, patient: SyntheticPatient | None = None
) -> AttentionImage:
    """The last seconds of a patient's signal, drawn as a bundle with `spec` would have them drawn."""
    patient = patient or calm_patient()
    rate = patient.rate_hz(modality)
    count = round(_PICTURE_S * rate)
    first = max(0, round(k * rate) - count)
    samples = patient.samples(modality, first, count).astype(np.float64)
    points = round(_PICTURE_S * _PICTURE_RATE_HZ)
    values = np.interp(np.arange(points) / _PICTURE_RATE_HZ, np.arange(count) / rate, samples)
    limited = isinstance(spec, WaveformRender) and spec.low is not None
    values = (values - values[0]) / _SPREAD_US if limited else values - values.mean()
    pixels = picture(values, spec, rate_hz=_PICTURE_RATE_HZ)
    height, width = pixels.shape[:2]
    return AttentionImage(input=name, modality=modality, kind=spec.kind, height=height, width=width, x=pixels.tobytes())


def posed_models() -> dict[str, PosedModel]:
    """One of each kind, by a short name of what its attention is on."""
    regions = StreamView(
        key="regions",
        name="Simulated regions",
        modality="ARRAY:regions",
        unit="a.u.",
        rate_hz=1.0,
        measured_hz=1.0,
        age_s=0.4,
        gaps=0,
        lost=0,
        late=0,
        provenance="simulated",
        unused="",
        channels=REGIONS,
    )
    pain = ("none", "moderate", "severe")
    return {
        "modalities": PosedModel(
            view=_view(("EDA", "ECG", "EMG")), classes=pain, attention=fusion_attention
        ),
        "gates": PosedModel(
            view=_view(("EDA",), notice=NOT_ELIGIBLE, has_index=False), classes=pain, attention=gated_attention
        ),
        "untrained": PosedModel(
            view=_view(
                ("ECG", "EDA"), trained_on="random weights, not trained", notice=UNTRAINED, has_index=False
            ),
            classes=pain,
            attention=rollout_attention,
        ),
        "emotion": PosedModel(
            view=_view(("ARRAY:regions",), trained_on="trained on simulated subjects", notice=EMOTION,
                       target="emotion", has_index=False),
            classes=("happy", "normal", "sad"),
            attention=region_attention,
            streams=(regions,),
        ),
    }  # fmt: skip


def _view(modalities: tuple[str, ...], **changes: Any) -> BundleView:
    fields = {"name": POSED_BUNDLE, "version": "1.0.0", "trained_on": "trained on simulated patients"} | changes
    return BundleView(modalities=modalities, attention=("posed",), **fields)


def _image_input(image: AttentionImage) -> AttentionInput:
    return AttentionInput(
        modality=image.modality,
        samples=round(_PICTURE_S * _PICTURE_RATE_HZ),
        rate_hz=_PICTURE_RATE_HZ,
        delay_s=0.0,
        name=image.input,
    )


def _causal(number: int) -> FloatArray:
    at = np.arange(_STEPS)
    square = np.exp(-((at[:, None] - at[None, :]) ** 2) / 60.0)
    square += np.exp(-((at[None, :] - 20 - 9 * number) ** 2) / 20.0)
    return np.asarray(square / square.sum(axis=1, keepdims=True))
