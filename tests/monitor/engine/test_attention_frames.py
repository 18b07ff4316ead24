"""What is sent of a window's attention: the maps by input, and the pictures that the model was given."""

from __future__ import annotations

import numpy as np
import pytest

from monitor.bundle import BundleSpec
from monitor.bundle_folder import load_bundle
from monitor.engine.attention_frames import attention_frame
from monitor.images.render import picture, render
from monitor.images.spec import ScalogramRender, WaveformRender
from monitor.types import Window

RENDERS = {
    "eda_scalogram": ScalogramRender(kind="scalogram", size=32, scales=16, mean=(0.4, 0.4, 0.4), std=(0.2, 0.2, 0.2)),
    "eda_waveform": WaveformRender(kind="waveform", size=32),
}


@pytest.fixture(scope="module")
def spec() -> BundleSpec:
    """Two images of one signal, the signal itself, and a map of each image and of all inputs together."""
    shipped = load_bundle("crossmod-eda-ecg").spec
    eda, ecg = shipped.inputs
    images = [eda.model_copy(update={"name": name, "render": render}) for name, render in RENDERS.items()]
    names = "+".join([*RENDERS, "ecg"])
    one = shipped.attention[0]
    maps = [
        one.model_copy(update={"name": f"rollout.{name}", "axis": "image", "of": name, "by": name}) for name in RENDERS
    ]
    maps.append(one.model_copy(update={"name": "modality", "axis": "modality", "of": names, "by": names}))
    return shipped.model_copy(update={"inputs": (*images, ecg), "attention": tuple(maps)})


def test_pictures_are_those_that_the_model_was_given_and_belong_to_their_inputs(spec: BundleSpec) -> None:
    values = np.sin(np.arange(138) / 4.0) + np.arange(138) / 138.0
    inputs = {name: render(values, item, rate_hz=25.0) for name, item in RENDERS.items()}
    inputs["ecg"] = values[None].astype(np.float32)
    window = Window(
        bed="bed1", bundle=spec.name, epoch=0, k=7, t_end=7.0, inputs=inputs, delay_s={"ecg": 0.1}, edges_hz={}
    )
    maps = {item.name: np.full((14, 14), 1 / 196, dtype=np.float32) for item in spec.attention[:2]}
    maps["modality"] = np.full(3, 1 / 3, dtype=np.float32)
    frame = attention_frame(spec=spec, session="s1", window=window, maps=maps)
    assert [(image.input, image.modality, image.kind) for image in frame.images] == [
        ("eda_scalogram", "EDA", "scalogram"),
        ("eda_waveform", "EDA", "waveform"),
    ]
    for image in frame.images:
        assert np.array_equal(image.pixels, picture(values, RENDERS[image.input], rate_hz=25.0))
    assert [(item.name, item.of, item.of_input) for item in frame.maps] == [
        ("rollout.eda_scalogram", "EDA", "eda_scalogram"),
        ("rollout.eda_waveform", "EDA", "eda_waveform"),
        ("modality", "EDA+EDA+ECG", "eda_scalogram+eda_waveform+ecg"),
    ]
    assert [(item.name, item.modality, item.delay_s) for item in frame.inputs] == [
        ("eda_scalogram", "EDA", 0.0),
        ("eda_waveform", "EDA", 0.0),
        ("ecg", "ECG", 0.1),
    ]
