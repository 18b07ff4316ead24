"""The six images of a biosignal, and the data behind four of them against matplotlib and PyWavelets."""

from __future__ import annotations

import importlib
from functools import partial
from types import ModuleType
from typing import Final, get_args

import numpy as np
from pydantic import TypeAdapter

from benchmarks.report import Figure, Result, median_of, ratio_of
from benchmarks.side_by_side import Step, take_turns
from monitor.images.render import render
from monitor.images.scalogram import log_scales, scalogram
from monitor.images.spec import RenderSpec, ScalogramRender, SpectrogramRender
from monitor.images.spectrogram import Mode, spectrogram
from monitor.types import FloatArray

WINDOWS: Final = ((1000, 100.0), (2816, 512.0))
"""Points and rate in Hz: 10 s at the rate of AI4Pain, 5.5 s at that of BioVid."""
KINDS: Final = ("spectrogram_angle", "spectrogram_phase", "spectrogram_psd", "recurrence", "scalogram", "waveform")
MODES: Final[tuple[Mode, ...]] = get_args(Mode)
AIM_MS: Final = 15.0
TOLERANCE: Final = 1e-4
"""Both sides must give the same scalogram and densities, as a share of the greatest, or nothing could be compared."""


def run(*, quick: bool) -> Result:
    """Measure one window of each length on one thread.

    Args:
        quick: Few rounds.
    """
    rounds = 5 if quick else 100
    skipped: list[str] = []
    peers = {name: found for name in ("matplotlib.mlab", "pywt") if (found := _peer(name, skipped)) is not None}
    contenders: list[dict[str, Step]] = []
    for samples, rate_hz in WINDOWS:
        contenders += [{name: step} for name, step in _steps(samples, rate_hz, peers).items()]
    taken = take_turns(contenders, rounds=rounds, warm_up=2, label="images")
    figures: list[Figure] = []
    for samples, rate_hz in WINDOWS:
        at = _at(samples, rate_hz)
        figures.append(median_of(f"all six images{at}", taken[f"six{at}"], "ms", aim=AIM_MS, sense="at most"))
        figures += [median_of(f"{kind}{at}", taken[f"{kind}{at}"], "us") for kind in KINDS]
        figures.append(median_of(f"data of three spectrograms{at}", taken[f"spectrograms{at}"], "us"))
        if "matplotlib.mlab" in peers:
            theirs = taken[f"specgram{at}"]
            figures += [
                median_of(f"matplotlib's specgram, three modes{at}", theirs, "us", note="the numbers, no figure"),
                ratio_of(f"matplotlib / monitor{at}", theirs, taken[f"spectrograms{at}"]),
            ]
        figures.append(median_of(f"data of a scalogram, 64 scales{at}", taken[f"scalogram data{at}"], "ms"))
        if "pywt" in peers:
            for method in ("conv", "fft"):
                theirs = taken[f"cwt {method}{at}"]
                figures += [
                    median_of(f"PyWavelets' cwt by {method}{at}", theirs, "ms", note="double precision"),
                    ratio_of(f"PyWavelets by {method} / monitor{at}", theirs, taken[f"scalogram data{at}"]),
                ]
    return Result(
        name="images",
        measured="One made-up window, drawn as 224 x 224 float32 images for a model with the defaults of each kind; "
        f"{rounds} rounds, all contenders by turns. Wavelets are kept from one window to the next, as they are live.",
        figures=tuple(figures),
        skipped=tuple(skipped),
    )


def _at(samples: int, rate_hz: float) -> str:
    return f", {samples} points at {rate_hz:g} Hz"


def _peer(name: str, skipped: list[str]) -> ModuleType | None:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        skipped.append(f"{name}: {error.name} is not installed: pip install 'pain-monitor[test]'")
        return None


def _steps(samples: int, rate_hz: float, peers: dict[str, ModuleType]) -> dict[str, Step]:
    """What is timed at one length of window, by name.

    Raises:
        RuntimeError: If a peer gives other numbers than the monitor.
    """
    values = _values(samples, rate_hz)
    adapter: TypeAdapter[RenderSpec] = TypeAdapter(RenderSpec)
    specs = [adapter.validate_python({"kind": kind}) for kind in KINDS]
    spectral, wavelet = SpectrogramRender(kind="spectrogram_psd"), ScalogramRender(kind="scalogram")
    scales = log_scales(wavelet.scales, wavelet.least_scale, wavelet.greatest_scale)
    nfft, overlap = spectral.nfft, spectral.overlap
    at = _at(samples, rate_hz)
    steps: dict[str, Step] = {
        f"six{at}": lambda _: [render(values, spec, rate_hz=rate_hz) for spec in specs],
        f"spectrograms{at}": lambda _: [spectrogram(values, mode, nfft, overlap, rate_hz) for mode in MODES],
        f"scalogram data{at}": lambda _: scalogram(values, scales),
    }
    for spec in specs:
        steps[f"{spec.kind}{at}"] = partial(_draw, values, spec, rate_hz)
    if mlab := peers.get("matplotlib.mlab"):
        theirs = mlab.specgram(values, NFFT=nfft, Fs=rate_hz, noverlap=overlap, mode="psd")[0]
        _agree("matplotlib", theirs, spectrogram(values, "psd", nfft, overlap, rate_hz))
        steps[f"specgram{at}"] = lambda _: [
            mlab.specgram(values, NFFT=nfft, Fs=rate_hz, noverlap=overlap, mode=mode) for mode in MODES
        ]
    if pywt := peers.get("pywt"):
        _agree("PyWavelets", np.abs(pywt.cwt(values, scales, "morl")[0]), scalogram(values, scales))
        for method in ("conv", "fft"):
            steps[f"cwt {method}{at}"] = partial(_cwt, pywt, values, scales, method)
    return steps


def _draw(values: FloatArray, spec: RenderSpec, rate_hz: float, _: int) -> object:
    return render(values, spec, rate_hz=rate_hz)


def _cwt(pywt: ModuleType, values: FloatArray, scales: FloatArray, method: str, _: int) -> object:
    return np.abs(pywt.cwt(values, scales, "morl", method=method)[0])


def _agree(peer: str, theirs: FloatArray, ours: FloatArray) -> None:
    difference = float(np.abs(theirs - ours).max() / np.abs(theirs).max())
    if difference > TOLERANCE:
        raise RuntimeError(f"{peer} and the monitor differ by {difference:.2e}; nothing can be compared")


def _values(samples: int, rate_hz: float) -> FloatArray:
    """A wave of 1.2 Hz with overtones, drift and a little noise."""
    rng = np.random.Generator(np.random.PCG64(7))
    seconds = np.arange(samples) / rate_hz
    beats = sum(np.sin(2 * np.pi * 1.2 * order * seconds) / order for order in range(1, 9))
    values: FloatArray = beats + 0.3 * seconds + 0.02 * rng.standard_normal(samples)
    return values
