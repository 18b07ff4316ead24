"""One bed's signal path, hop by hop, against neurokit2 and against scipy with ready-made filters.

The monitor filters each sample once and keeps the state; both peers start afresh on the last seconds at every hop, as
a script does that has a window and no stream. neurokit2 is handed its samples as one contiguous array, for
free; scipy once so, and once with a buffer of two lines; the monitor takes chunks of a tenth of a second with stamps,
checks and fits the stamps, and keeps both.
"""

from __future__ import annotations

import functools
import itertools
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal

import numpy as np
from scipy import signal

from benchmarks.report import Figure, Result, median_of, ratio_of
from benchmarks.side_by_side import Step, take_turns
from monitor import dsp
from monitor.bundle import BundleSpec, CalibrationSpec, ClassSpec, InputSpec, TrainingSpec, WeightsSpec, default_input
from monitor.config import BedSettings
from monitor.modality import MODALITY_UNITS
from monitor.pipeline import Pipeline
from monitor.preprocess import StreamBuffer
from monitor.scoring.scorer import RawScore
from monitor.sources.synthetic import SyntheticPatient
from monitor.types import Chunk, Float32Array, FloatArray, Provenance, Score, StreamInfo, snap

RATE_HZ: Final = 512
MODALITIES: Final = ("ECG", "EDA")
PEER_S: Final = 10
"""Seconds that neurokit2 is given at each hop: it wants more than one window of 5.5 s."""
LEAD_S: Final = 15
"""Hops before the first that counts: filters warmed up, rings and caches in use."""

_FALLBACKS: Final[Mapping[str, Mapping[Literal["center", "spread"], float]]] = MappingProxyType(
    {"ECG": {"center": 0.0, "spread": 0.15}, "EDA": {"center": 2.0, "spread": 0.5}}
)
_BASELINE: Final = dsp.Baseline(center=0.0, spread=0.15, range=1.0)


@dataclass(frozen=True, slots=True, eq=False)
class _Signals:
    """ECG and EDA of a simulated patient: sample i was taken at i / 512 s."""

    samples: Mapping[str, Float32Array]
    stamps: FloatArray

    @classmethod
    def make(cls, seconds: int) -> _Signals:
        patient = SyntheticPatient(part="test", number=1, rates_hz=dict.fromkeys(MODALITIES, float(RATE_HZ)))
        count = seconds * RATE_HZ + 1
        samples = {modality: patient.samples(modality, 0, count) for modality in MODALITIES}
        return cls(samples, snap(np.arange(count) / RATE_HZ))

    def last(self, modality: str, seconds: float, until_s: int) -> Float32Array:
        """The samples of the seconds up to and including `until_s`."""
        stop = until_s * RATE_HZ + 1
        return self.samples[modality][stop - round(seconds * RATE_HZ) : stop]

    def chunks(self, hop: int, sizes: int) -> list[Chunk]:
        """What arrives in hop number `hop`, both modalities by turns, in `sizes` chunks each.

        A hop ends with the sample that lies on its end, which completes the window.
        """
        first = 0 if hop == 0 else hop * RATE_HZ + 1
        edges = np.linspace(first, (hop + 1) * RATE_HZ + 1, sizes + 1).round().astype(int).tolist()
        return [
            Chunk(
                stream=modality,
                samples=self.samples[modality][start:stop].copy(),
                stamps=self.stamps[start:stop].copy(),
                arrival=float(self.stamps[stop - 1]),
            )
            for start, stop in itertools.pairwise(edges)
            for modality in MODALITIES
        ]


class _SignalPath:
    """Buffer, filter, resample, scale and window as the pipeline does it, without the gate that judges quality."""

    def __init__(self, log: Sequence[Sequence[Chunk]]) -> None:
        self._log = log
        self._buffers = {modality: StreamBuffer(_stream(modality), seconds=120.0) for modality in MODALITIES}
        self._inputs = [
            (spec, self._buffers[spec.modality], self._buffers[spec.modality].track(spec)) for spec in _inputs()
        ]

    def buffer(self, hop: int) -> None:
        for chunk in self._log[hop]:
            self._buffers[chunk.stream].push(chunk, float(hop))

    def window(self, hop: int) -> dict[str, Float32Array]:
        arrays = {}
        for spec, buffer, track in self._inputs:
            instants = dsp.grid(float(hop + 1), samples=spec.samples, rate_hz=spec.rate_hz)
            segment = buffer.timeline.covering(float(instants[0]), float(instants[-1]))
            cut = track.cut(instants, segment, silent=False)
            if cut.values is not None:  # absent while the filters warm up
                arrays[spec.name] = dsp.scale(cut.values, spec.scale, _BASELINE)
        return arrays


class _FreeRunner:
    """A model that costs nothing."""

    def __init__(self) -> None:
        zeros = np.zeros(3, dtype=np.float32)
        self._nothing = RawScore(logits=zeros, features=zeros, distance=0.0)

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:  # noqa: ARG002
        return self._nothing

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:  # noqa: ARG002
        return {}


class _WholePipeline:
    """The pipeline that runs live, with quality, index and alarm, and a model that costs nothing."""

    def __init__(self, log: Sequence[Sequence[Chunk]]) -> None:
        self._log = log
        spec = _bundle()
        bed = BedSettings(name="bed1", bundles=(spec.name,))
        self._pipeline = Pipeline(bed=bed, bundles=[spec], runner=_FreeRunner(), session=uuid.UUID(int=1))
        for modality in MODALITIES:
            self._pipeline.open_stream(_stream(modality), 0.0)
        self.scored = 0

    def hop(self, hop: int) -> None:
        events = [event for chunk in self._log[hop] for event in self._pipeline.feed(chunk)]
        self.scored += sum(isinstance(event, Score) and not event.absent for event in events)


class _Scipy:
    """The same filters, designed once, over the last `seconds` at each hop; then interpolation and scaling.

    With 5.5 s the filter starts inside the window, which costs least and is not what the monitor computes.

    Args:
        signals: Where `hop` takes the last seconds from, at no cost.
        log: Chunks that `buffer` collects, the simplest way: drop the oldest samples, append the new ones.
        seconds: What is filtered anew at each hop.
    """

    def __init__(self, signals: _Signals, log: Sequence[Sequence[Chunk]], seconds: float) -> None:
        self._signals, self._log, self._seconds = signals, log, seconds
        self._kept = {
            modality: (np.zeros(round(seconds * RATE_HZ), np.float32), np.zeros(round(seconds * RATE_HZ)))
            for modality in MODALITIES
        }
        self._inputs = [
            (spec, dsp.design_filter(spec.filter, stream_rate_hz=RATE_HZ, target_rate_hz=spec.rate_hz).sos)
            for spec in _inputs()
        ]
        self._times = np.arange(round(seconds * RATE_HZ)) / RATE_HZ

    def buffer(self, hop: int) -> None:
        for chunk in self._log[hop]:
            samples, stamps = self._kept[chunk.stream]
            self._kept[chunk.stream] = (
                np.concatenate((samples[len(chunk) :], chunk.samples)),
                np.concatenate((stamps[len(chunk) :], chunk.stamps)),
            )

    def hop(self, hop: int) -> dict[str, Float32Array]:
        arrays = {}
        for spec, sos in self._inputs:
            raw = self._signals.last(spec.modality, self._seconds, hop + 1).astype(np.float64)
            filtered = signal.sosfilt(sos, raw)
            end = self._times[-1]
            at = np.linspace(end - (spec.samples - 1) / spec.rate_hz, end, spec.samples)
            values = np.interp(at, self._times, filtered)
            center = values[0] if spec.modality == "EDA" else np.median(values)
            scaled = np.clip((values - center) / _BASELINE.spread, -spec.scale.clip, spec.scale.clip)
            arrays[spec.name] = scaled.astype(np.float32)[np.newaxis, :]
        return arrays


def run(*, quick: bool) -> Result:
    """Measure the signal path of one bed with ECG and EDA at 512 Hz and a hop of 1 s.

    Args:
        quick: Few rounds.
    """
    rounds, single_rounds = (10, 3) if quick else (300, 40)
    signals = _Signals.make(LEAD_S + rounds + 1)
    tenths = [signals.chunks(hop, 10) for hop in range(LEAD_S + rounds)]
    path, pipeline = _SignalPath(tenths), _WholePipeline(tenths)
    scipy = {seconds: _Scipy(signals, tenths, seconds) for seconds in (5.5, float(PEER_S))}
    contenders: list[dict[str, Step]] = [
        {"buffer": path.buffer, "window": path.window},
        {"pipeline": pipeline.hop},
        *({f"scipy {s} s, buffer": peer.buffer, f"scipy {s} s": _from(peer.hop)} for s, peer in scipy.items()),
    ]
    skipped = []
    failed: set[int] = set()
    try:
        contenders.append({"neurokit2": _from(_neurokit(signals, failed))})
    except ImportError as error:
        skipped.append(f"neurokit2 is not installed ({error}): pip install 'pain-monitor[test]'")
    taken = take_turns(contenders, rounds=rounds, warm_up=LEAD_S, label="preprocessing")
    if pipeline.scored == 0:
        raise RuntimeError("no window of the benchmark's patient was scored; the figures would mean nothing")

    path_s, short, long = taken["buffer"] + taken["window"], taken["scipy 5.5 s"], taken["scipy 10.0 s"]
    long_s = long + taken["scipy 10.0 s, buffer"]
    figures = [
        median_of("one hop: buffer + filter + resample + scale + window", path_s, "us", note="20 chunks of 0.1 s"),
        median_of("  of it: buffer", taken["buffer"], "us", note="stamps checked and placed, both rings written"),
        median_of("  of it: filter + resample + scale + window", taken["window"], "us"),
        median_of("one hop: whole pipeline", taken["pipeline"], "us", note="quality, index, alarm too; free model"),
        median_of("one hop: scipy on 10 s, with a plain buffer", long_s, "us", note="stamps kept, not looked at"),
        median_of("one hop: scipy on 10 s, array for free", long, "us"),
        median_of("one hop: scipy on 5.5 s, array for free", short, "us", note="its filter never settles"),
        ratio_of("scipy on 10 s / monitor, both with buffer", long_s, path_s, aim=2.0),
        ratio_of("scipy on 10 s / monitor, both without buffer", long, taken["window"]),
        ratio_of("scipy on 5.5 s / monitor, both without buffer", short, taken["window"]),
        ratio_of("scipy on 10 s without buffer / monitor with", long, path_s),
    ]
    if "neurokit2" in taken:
        done = [number for number in range(rounds) if LEAD_S + number not in failed]
        theirs = taken["neurokit2"][done]
        note = "ecg_clean + eda_process" + (f"; failed on {rounds - len(done)} hops, left out" if failed else "")
        figures += [
            median_of("one hop: neurokit2 on 10 s", theirs, "us", note=note),
            ratio_of("neurokit2 / monitor", theirs, path_s[done], aim=20.0),
            ratio_of("neurokit2 / whole pipeline", theirs, taken["pipeline"][done]),
        ]
    figures += _per_chunk(signals, tenths, rounds=min(rounds, single_rounds))
    return Result(
        name="preprocessing",
        measured=f"One bed, ECG and EDA at {RATE_HZ} Hz, hop 1 s, inputs of 138 points at 25 Hz; {rounds} hops, all "
        "contenders by turns on one thread. Ratios above 1 favour the monitor.",
        figures=tuple(figures),
        skipped=tuple(skipped),
    )


def _per_chunk(signals: _Signals, tenths: Sequence[Sequence[Chunk]], *, rounds: int) -> list[Figure]:
    """Cost of one chunk at two sizes, windows and all, spread over the chunks of a hop."""
    hops = LEAD_S + rounds
    singles = [signals.chunks(hop, RATE_HZ) for hop in range(hops)]
    large, small = _WholePipeline(tenths[:hops]), _WholePipeline(singles)
    paths = {"buffer, tenths": _SignalPath(tenths[:hops]).buffer, "buffer, singles": _SignalPath(singles).buffer}
    contenders: list[dict[str, Step]] = [{name: step} for name, step in paths.items()]
    contenders += [{"tenths": large.hop}, {"singles": small.hop}]
    taken = take_turns(contenders, rounds=rounds, warm_up=LEAD_S, label="chunk sizes")
    many, few = len(MODALITIES) * RATE_HZ, len(tenths[0])
    return [
        median_of("one chunk of 0.1 s: buffer", taken["buffer, tenths"] / few, "us"),
        median_of("one chunk of 0.1 s: whole pipeline", taken["tenths"] / few, "us", note="windows spread over chunks"),
        median_of("one chunk of 1 sample: buffer", taken["buffer, singles"] / many, "us"),
        median_of("one chunk of 1 sample: whole pipeline", taken["singles"] / many, "us"),
        median_of("one hop in chunks of 1 sample: whole pipeline", taken["singles"], "ms", note="1024 chunks"),
    ]


def _from(step: Step) -> Step:
    """A step that rests while there are not yet as many seconds as it wants."""
    return lambda hop: step(hop) if hop + 1 > PEER_S else None


def _neurokit(signals: _Signals, failed: set[int]) -> Step:
    """What neurokit2 does with the last seconds; `failed` gets the hops on which it gives up.

    `eda_process` raises a ValueError where 10 s of EDA hold no SCR.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import neurokit2  # type: ignore[import-untyped]

    def step(hop: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it warns of its own dependencies' deprecations
            neurokit2.ecg_clean(signals.last("ECG", PEER_S, hop + 1), sampling_rate=RATE_HZ)
            try:
                neurokit2.eda_process(signals.last("EDA", PEER_S, hop + 1), sampling_rate=RATE_HZ)
            except ValueError:
                failed.add(hop)

    return step


@functools.cache
def _inputs() -> tuple[InputSpec, ...]:
    return tuple(default_input(modality, fallback=_FALLBACKS[modality]) for modality in MODALITIES)


def _stream(modality: str) -> StreamInfo:
    return StreamInfo(
        key=modality,
        bed="bed1",
        modality=modality,
        name=modality,
        unit=MODALITY_UNITS[modality],
        rate_hz=float(RATE_HZ),
        source="synthetic",
        provenance=Provenance.SIMULATED,
        origin=0.0,
    )


def _bundle() -> BundleSpec:
    levels = {"none": 0.0, "moderate": 0.5, "severe": 1.0}
    return BundleSpec(
        name="benchmark",
        version="1.0.0",
        architecture="none",
        target="pain",
        inputs=_inputs(),
        classes=tuple(ClassSpec(name=name, level=level) for name, level in levels.items()),
        calibration=CalibrationSpec(prior=(1 / 3, 1 / 3, 1 / 3)),
        training=TrainingSpec(data="none", protocol="none"),
        weights=WeightsSpec(backbone="none", head="random", alarm_eligible=True),
        parameters=0,
        flops=0,
        card="card.md",
        intended_use="Benchmarks only.",
    )
