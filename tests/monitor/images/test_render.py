from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pydantic import TypeAdapter

from monitor.images.colours import table
from monitor.images.render import picture, picture_of, render
from monitor.images.scalogram import CENTRE, log_scales
from monitor.images.spec import RenderSpec
from monitor.types import FloatArray

ADAPTER: TypeAdapter[RenderSpec] = TypeAdapter(RenderSpec)
KINDS = ("spectrogram_angle", "spectrogram_phase", "spectrogram_psd", "recurrence", "scalogram", "waveform")


def spec_of(kind: str, **fields: Any) -> RenderSpec:
    return ADAPTER.validate_python({"kind": kind, **fields})


def small(kind: str, **fields: Any) -> RenderSpec:
    """A picture of 32 pixels out of 16 points or more."""
    few: dict[str, Any] = {"size": 32}
    if kind.startswith("spectrogram"):
        few |= {"nfft": 16, "overlap": 8}
    elif kind == "recurrence":
        few |= {"points": 40}
    return spec_of(kind, **few, **fields)


def beats(samples: int = 1000) -> FloatArray:
    time = np.arange(samples) / 100.0
    noise = np.random.default_rng(8).standard_normal(samples)
    return np.sin(2 * np.pi * 1.2 * time) ** 9 + 0.1 * time + 0.02 * noise


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("samples", "rate_hz"), [(1000, 100.0), (2816, 512.0)])
def test_pictures_and_what_the_model_is_given(kind: str, samples: int, rate_hz: float) -> None:
    spec = spec_of(kind, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225))
    values = beats(samples)
    before = values.copy()
    seen, given_to_model = picture(values, spec, rate_hz=rate_hz), render(values, spec, rate_hz=rate_hz)
    np.testing.assert_array_equal(values, before)
    assert (seen.shape, seen.dtype) == ((224, 224, 3), np.uint8)
    assert (given_to_model.shape, given_to_model.dtype) == ((3, 224, 224), np.float32)
    assert given_to_model.flags.c_contiguous
    assert not seen.flags.writeable
    assert not given_to_model.flags.writeable
    expected = (seen / 255.0 - np.array(spec.mean)) / np.array(spec.std)
    np.testing.assert_allclose(given_to_model, expected.transpose(2, 0, 1), rtol=0, atol=1e-6)
    assert len(np.unique(seen)) > 20, "the picture shows something"
    # The same input, the same bytes, whatever was drawn between.
    picture(beats(500), spec, rate_hz=rate_hz)
    assert picture(values, spec, rate_hz=rate_hz).tobytes() == seen.tobytes()
    assert render(values, spec, rate_hz=rate_hz).tobytes() == given_to_model.tobytes()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("power", [-300, -7, 1, 12, 400])
def test_a_power_of_two_changes_no_picture(kind: str, power: int) -> None:
    spec, values = spec_of(kind), beats()
    scaled = picture(np.ldexp(values, power), spec, rate_hz=100.0)
    np.testing.assert_array_equal(scaled, picture(values, spec, rate_hz=100.0))
    assert not np.array_equal(scaled, picture(values[::-1], spec, rate_hz=100.0))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("level", [0.0, 3.3, -1e-200])
def test_a_constant_signal_can_be_drawn(kind: str, level: float) -> None:
    values = np.full(1000, level)
    seen = picture(values, spec_of(kind), rate_hz=100.0)
    assert np.isfinite(render(values, spec_of(kind), rate_hz=100.0)).all()
    lowest = table("grey" if kind == "recurrence" else "viridis")[0]
    if kind == "waveform":
        assert (seen[10:101] == 255).all()
        assert (seen[111:113] < 100).all(), "a level line runs through the middle"
    elif level == 0.0 or kind == "recurrence":
        assert (seen == lowest).all()


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=60, deadline=None)
@given(values=arrays(np.float64, st.integers(16, 50), elements=st.floats(allow_nan=False, allow_infinity=False)))
def test_finite_values_give_finite_images(kind: str, values: FloatArray) -> None:
    specs = [small(kind)]
    if kind == "waveform":
        specs.append(small(kind, low=-1e-9, high=1e-9, margin=0.0))
    if kind == "recurrence":
        specs.append(small(kind, threshold=0.2))
    if kind == "scalogram":
        specs.append(small(kind, detrend="ends"))
    for spec in specs:
        assert np.isfinite(render(values, spec, rate_hz=100.0)).all()


@pytest.mark.parametrize("kind", KINDS)
def test_bad_signals_are_refused(kind: str) -> None:
    spec = spec_of(kind)
    needed = spec.least_samples()
    picture(np.arange(needed), spec, rate_hz=100.0)
    with pytest.raises(ValueError, match=f"a {kind} image needs {needed} points or more; {needed - 1} are given"):
        picture(np.arange(needed - 1), spec, rate_hz=100.0)
    with pytest.raises(ValueError, match=r"\(samples,\); \(1, 1000\) is given"):
        render(np.zeros((1, 1000)), spec, rate_hz=100.0)
    for bad in (np.nan, np.inf):
        with pytest.raises(ValueError, match="not finite"):
            render(np.append(np.zeros(999), bad), spec, rate_hz=100.0)


def test_empty_bins_of_a_density_take_the_floor_and_not_the_range() -> None:
    # Three segments of 256 without overlap: the first is silence, which has no decibels.
    values = np.concatenate((np.zeros(256), beats(512)))
    seen = picture(values, spec_of("spectrogram_psd", overlap=0, colours="grey"), rate_hz=100.0)[:, :, 0]
    assert (seen[:, :70] == 0).all()
    assert len(np.unique(seen[:, 80:])) > 50


def test_low_frequencies_of_a_spectrogram_are_at_the_bottom() -> None:
    hertz = np.linspace(2.0, 48.0, 1000)
    rising = np.sin(2 * np.pi * np.cumsum(hertz) / 100.0)
    seen = picture(rising, spec_of("spectrogram_psd", colours="grey"), rate_hz=100.0)[:, :, 0]
    columns = np.array([18, 56, 93, 130, 168, 205])  # the middles of six segments
    found = (223 - seen[:, columns].argmax(axis=0)) / 224 * 50.0
    np.testing.assert_allclose(found, hertz[128 * np.arange(1, 7)], atol=2.0)


@pytest.mark.parametrize("scale", [4.0, 16.0, 50.0])
def test_high_frequencies_of_a_scalogram_are_at_the_top(scale: float) -> None:
    sine = np.sin(2 * np.pi * CENTRE / scale * np.arange(1000))
    seen = picture(sine, spec_of("scalogram", colours="grey"), rate_hz=100.0)[:, 80:144, 0]
    row = np.abs(np.log(log_scales(64, 2.0, 256.0) / scale)).argmin() * 224 / 64
    assert seen.max(axis=1).argmax() == pytest.approx(row, abs=8)


def test_without_the_line_between_its_ends_a_drifting_signal_has_no_edges() -> None:
    values = 5.0 + 0.01 * np.arange(1000) + np.sin(2 * np.pi * np.arange(1000) / 20)
    seen = picture(values, spec_of("scalogram", colours="grey"), rate_hz=100.0)[:, :, 0]
    freed = picture(values, spec_of("scalogram", colours="grey", detrend="ends"), rate_hz=100.0)[:, :, 0]
    assert seen[:, 100:124].max() < 100
    assert freed[:, 100:124].max() > 200


def test_recurrence_in_shades_and_in_black_and_white() -> None:
    values = np.linspace(0.0, 1.0, 500)
    shaded = picture(values, spec_of("recurrence"), rate_hz=100.0)[:, :, 0]
    assert (np.diag(shaded[::-1]) == 0).all(), "time runs upwards: the diagonal rises"
    assert shaded[0, 0] == shaded[-1, -1] == 255
    parted = picture(values, spec_of("recurrence", threshold=0.25), rate_hz=100.0)[:, :, 0]
    assert set(np.unique(parted)) == {0, 255}
    np.testing.assert_array_equal(parted == 255, shaded >= 64)


def test_a_waveform_lies_between_its_limits() -> None:
    values = np.linspace(0.0, 1.0, 1000)
    own = picture(values, spec_of("waveform"), rate_hz=100.0)[:, :, 0]
    darkest = own.argmin(axis=0)
    np.testing.assert_allclose(darkest, 223 - (0.05 + 0.9 * np.linspace(0.0, 1.0, 224)) * 224, atol=1.5)
    fixed = picture(values, spec_of("waveform", low=-1.0, high=3.0, margin=0.0), rate_hz=100.0)[:, :, 0]
    rows = np.flatnonzero(fixed.min(axis=1) < 128)
    assert (rows.min(), rows.max()) == pytest.approx((112, 168), abs=2)
    twice = picture(2.0 * values, spec_of("waveform", low=-1.0, high=3.0, margin=0.0), rate_hz=100.0)
    assert not np.array_equal(twice[:, :, 0], fixed), "fixed limits keep the scale"


def test_more_data_than_pixels() -> None:
    """Densities are averaged within a pixel: one strong bin out of 513 is still seen in 32 rows."""
    values = np.sin(2 * np.pi * 100.5 / 1024 * np.arange(1024) * 4) + 1e-3 * beats(1024)
    spec = spec_of("spectrogram_psd", nfft=1024, overlap=0, size=32, colours="grey")
    seen = picture(values, spec, rate_hz=100.0)[:, :, 0]
    assert seen[31 - 402 * 32 // 513].min() == 255


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("scaled", [{}, {"mean": (0.485, 0.456, 0.406), "std": (0.229, 0.224, 0.225)}])
def test_what_a_model_was_given_turns_back_into_the_picture(kind: str, scaled: dict[str, Any]) -> None:
    spec = small(kind, **scaled)
    seen = picture(beats(), spec, rate_hz=100.0)
    assert np.array_equal(picture_of(render(beats(), spec, rate_hz=100.0), spec), seen)
    assert len(np.unique(seen)) > 2
