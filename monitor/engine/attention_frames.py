"""What a screen is told of a model's attention to one window: its maps, and the pictures that it was shown."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from monitor.bundle import BundleSpec, InputSpec
from monitor.frames import LINK_VERSION, AttentionFrame, AttentionImage, AttentionInput, AttentionMap
from monitor.images.render import picture_of
from monitor.types import Float32Array, Window


def attention_frame(
    *, spec: BundleSpec, session: str, window: Window, maps: Mapping[str, Float32Array]
) -> AttentionFrame:
    """The maps of one window, as they are sent.

    Args:
        spec: The bundle that scored the window.
        session: Session of the bed.
        window: The window.
        maps: By name, without a batch axis.
    """
    modality = {item.name: item.modality for item in spec.inputs}
    return AttentionFrame(
        v=LINK_VERSION,
        bed=window.bed,
        session=session,
        bundle=spec.name,
        epoch=window.epoch,
        k=window.k,
        t_end=window.t_end,
        inputs=tuple(_input(item, window) for item in spec.inputs),
        maps=tuple(
            AttentionMap(
                name=item.name,
                kind=item.kind,
                axis=item.axis,
                of=_modalities(item.of, modality),
                by=_modalities(item.by, modality),
                shape=maps[item.name].shape,
                x=np.ascontiguousarray(maps[item.name], dtype="<f4").tobytes(),
                of_input=item.of,
                by_input=item.by,
            )
            for item in spec.attention
            if item.name in maps
        ),
        images=tuple(
            image for item in spec.inputs if (image := _image(item, window.inputs.get(item.name))) is not None
        ),
    )


def _modalities(inputs: str, modality: Mapping[str, str]) -> str:
    """`eda+ecg` -> `EDA+ECG`: a map may belong to several inputs at once."""
    return "+".join(modality.get(name, name) for name in inputs.split("+"))


def _input(item: InputSpec, window: Window) -> AttentionInput:
    return AttentionInput(
        modality=item.modality,
        samples=item.samples,
        rate_hz=item.rate_hz,
        delay_s=window.delay_s.get(item.name, 0.0),
        name=item.name,
        channels=item.channels,
    )


def _image(item: InputSpec, given: Float32Array | None) -> AttentionImage | None:
    """The picture of an input; None where it is a signal."""
    if item.render is None or given is None:
        return None
    pixels = picture_of(given, item.render)
    height, width = pixels.shape[:2]
    return AttentionImage(
        input=item.name,
        modality=item.modality,
        kind=item.render.kind,
        height=height,
        width=width,
        x=pixels.tobytes(),
    )
