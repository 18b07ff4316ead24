"""Draws a biosignal as the image that an image model reads.

Every picture is a (size, size) array of places in a table of 256 colours; `picture` looks up what a person sees,
`render` what the model is given. Values are mapped linearly from the picture's least to its greatest onto the colours.
Where a picture has more pixels than data, the nearest datum is shown, as it is: a spectrogram of six columns shows six.
Where it has fewer, powers and magnitudes are averaged within a pixel, angles are not (the mean of two angles is no
angle): the datum in the pixel's middle is shown.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from monitor.images.colours import Bytes, Colours, scaled_table, shades, table
from monitor.images.recurrence import recurrence
from monitor.images.scalogram import log_scales, scalogram
from monitor.images.spec import RecurrenceRender, RenderSpec, ScalogramRender, SpectrogramRender, WaveformRender
from monitor.images.spectrogram import Mode, spectrogram
from monitor.images.waveform import waveform
from monitor.types import Float32Array, FloatArray

FLOOR: Final = 1e-20
"""Densities below this share of a picture's greatest (-200 dB) are drawn as if they were it: an empty bin has no
decibels, and what lies below is rounding."""
_LEAST: Final = float(np.finfo(np.float64).tiny)


def picture(values: NDArray[Any], spec: RenderSpec, *, rate_hz: float) -> Bytes:
    """The image as a person sees it.

    Args:
        values: (samples,) scaled window, finite.
        spec: What to draw, and how.
        rate_hz: Sampling rate.

    Returns:
        (size, size, 3) red, green, blue in 0..255, read-only. The same input gives the same bytes, and so does the
        input times a power of two, unless a waveform's limits are fixed.

    Raises:
        ValueError: If there are too few values, or one is not finite.
    """
    image = table(_colours(spec))[_places(values, spec, rate_hz)]
    image.setflags(write=False)
    return image


def render(values: NDArray[Any], spec: RenderSpec, *, rate_hz: float) -> Float32Array:
    """The image as the model is given it: (picture / 255 - mean) / std, channels first.

    Args:
        values: (samples,) scaled window, finite.
        spec: What to draw, and how.
        rate_hz: Sampling rate.

    Returns:
        (3, size, size) float32, C order, read-only.

    Raises:
        ValueError: If there are too few values, or one is not finite.
    """
    places = _places(values, spec, rate_hz)
    image = np.empty((3, spec.size, spec.size), np.float32)
    for channel, colours in zip(image, scaled_table(_colours(spec), spec.mean, spec.std), strict=True):
        np.take(colours, places, out=channel, mode="clip")
    image.setflags(write=False)
    return image


def picture_of(image: Float32Array, spec: RenderSpec) -> Bytes:
    """The image as a person sees it, from what a model was given: what `picture` gave, byte by byte.

    Args:
        image: (3, size, size) as of `render`.
        spec: What it was drawn by.

    Returns:
        (size, size, 3) red, green, blue in 0..255.
    """
    mean, std = (np.array(part)[:, None, None] for part in (spec.mean, spec.std))
    colours = np.rint(255.0 * (image * std + mean))
    found: Bytes = np.clip(colours, 0.0, 255.0).astype(np.uint8).transpose(1, 2, 0)
    return np.ascontiguousarray(found)


def _colours(spec: RenderSpec) -> Colours:
    return "grey" if isinstance(spec, WaveformRender) else spec.colours


def _places(values: NDArray[Any], spec: RenderSpec, rate_hz: float) -> Bytes:
    """(size, size) places in the table of colours; row 0 is the top."""
    signal = np.asarray(values, dtype=np.float64)
    if signal.ndim != 1:
        raise ValueError(f"an image is drawn of one signal, (samples,); {signal.shape} is given")
    if len(signal) < spec.least_samples():
        raise ValueError(f"a {spec.kind} image needs {spec.least_samples()} points or more; {len(signal)} are given")
    if not np.isfinite(signal).all():
        raise ValueError(f"a {spec.kind} image cannot be drawn of values that are not finite")
    if isinstance(spec, WaveformRender) and spec.low is not None and spec.high is not None:
        return _waveform(signal, spec.low, spec.high, spec)
    # No other picture depends on the unit; a power of two costs no precision and keeps squares in range.
    signal = np.ldexp(signal, -math.frexp(float(np.abs(signal).max()))[1])
    if isinstance(spec, SpectrogramRender):
        return _spectrogram(signal, spec, rate_hz)
    if isinstance(spec, RecurrenceRender):
        return _recurrence(signal, spec)
    if isinstance(spec, ScalogramRender):
        return _scalogram(signal, spec)
    return _waveform(signal, float(signal.min()), float(signal.max()), spec)


def _spectrogram(signal: FloatArray, spec: SpectrogramRender, rate_hz: float) -> Bytes:
    if spec.kind == "spectrogram_psd":
        density = _shrunk(spectrogram(signal, "psd", spec.nfft, spec.overlap, rate_hz), spec.size)
        # Silence, whose greatest is 0 too, takes the least positive number: one colour.
        data = 10.0 * np.log10(np.maximum(density, max(FLOOR * float(density.max()), _LEAST)))
    else:
        mode: Mode = "angle" if spec.kind == "spectrogram_angle" else "phase"
        data = spectrogram(signal, mode, spec.nfft, spec.overlap, rate_hz)
    return _fitted(shades(data)[::-1], spec.size)


def _recurrence(signal: FloatArray, spec: RecurrenceRender) -> Bytes:
    distances = recurrence(signal, spec.points, spec.dimension, spec.delay)
    if spec.threshold is None:
        places = shades(distances)
    else:
        places = np.where(distances > spec.threshold * distances.max(), np.uint8(255), np.uint8(0))
    # Time runs to the right and upwards.
    return _fitted(places[::-1], spec.size)


def _scalogram(signal: FloatArray, spec: ScalogramRender) -> Bytes:
    if spec.detrend == "ends":
        signal = signal - np.linspace(signal[0], signal[-1], len(signal))
    scales = log_scales(spec.scales, spec.least_scale, spec.greatest_scale)
    return _fitted(shades(_shrunk(scalogram(signal, scales), spec.size)), spec.size)


def _waveform(signal: FloatArray, low: float, high: float, spec: WaveformRender) -> Bytes:
    free = spec.size * spec.margin
    span = high - low
    if span > 0.0:
        # One picture's height outside is as good as anywhere outside, and keeps numbers in range.
        within = np.clip(signal, low - span, high + span)
        heights = free + (within - low) * ((spec.size - 2.0 * free) / span)
    else:
        heights = np.full(len(signal), spec.size / 2.0)
    covered = waveform(heights, spec.size, spec.line_px)
    covered -= 1.0
    covered *= -255.0
    places: Bytes = np.rint(covered, out=covered).astype(np.uint8)
    return places


def _shrunk(data: NDArray[Any], size: int) -> NDArray[Any]:
    """The data with each axis longer than the picture averaged over runs of neighbours, one run a pixel."""
    for axis, length in enumerate(data.shape):
        if length > size:
            starts = np.arange(size) * length // size
            counts = np.diff(starts, append=length).astype(data.dtype)
            data = np.add.reduceat(data, starts, axis=axis)
            data /= counts[:, None] if axis == 0 else counts
    return data


def _fitted(places: Bytes, size: int) -> Bytes:
    """(size, size): the nearest datum at each pixel."""
    rows, columns = places.shape
    if rows != size:
        places = places[_nearest(rows, size)]
    if columns != size:
        places = places[:, _nearest(columns, size)]
    return places


@lru_cache(maxsize=64)
def _nearest(length: int, size: int) -> NDArray[np.intp]:
    """(size,) the datum out of `length` at the middle of each pixel."""
    nearest: NDArray[np.intp] = (2 * np.arange(size) + 1) * length // (2 * size)
    nearest.setflags(write=False)
    return nearest
