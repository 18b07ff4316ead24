"""Preprocessing equals its definition: `sosfilt` over the whole signal, then interpolation at the grid."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import signal

from monitor import dsp
from monitor.bundle import InputSpec, default_input
from monitor.preprocess import StreamBuffer
from monitor.types import Chunk, Float32Array, Reason, StreamEventKind
from tests.helpers.feeding import chunks, line, stream

RATES_HZ = (4.0, 15.5, 64.0, 100.0, 255.3, 496.0, 512.0, 1000.0)
MODALITIES = ("EDA", "ECG", "BVP", "EMG", "RESP", "SPO2")
SECONDS = 30


def _signal(rate_hz: float, seed: int = 3) -> Float32Array:
    """Something with slow and fast parts, as float32 from a device."""
    times = np.arange(int(SECONDS * rate_hz)) / rate_hz
    random = np.random.default_rng(seed)
    beats = np.exp(-0.5 * (((times % 0.8) - 0.3) / 0.03) ** 2)
    return (5 + np.sin(0.4 * times) + beats + 0.02 * random.normal(size=len(times))).astype(np.float32)


def _input(modality: str, samples: int = 138, rate_hz: float = 25.0) -> InputSpec:
    spec = default_input(modality, rate_hz=rate_hz, samples=samples)
    return spec.model_copy(update={"min_rate_hz": 0.1})


def _filled(
    spec: InputSpec, rate_hz: float, sizes: int | list[int], start: float = 17.25
) -> tuple[StreamBuffer, object]:
    samples = _signal(rate_hz)
    buffer = StreamBuffer(stream(spec.modality, rate_hz), seconds=60.0)
    track = buffer.track(spec)
    for chunk in chunks(spec.modality, samples, line(rate_hz, len(samples), start), sizes):
        buffer.push(chunk, buffer.timeline.newest)
    return buffer, track


@pytest.mark.parametrize("rate_hz", RATES_HZ)
@pytest.mark.parametrize("modality", MODALITIES)
def test_streaming_equals_the_definition(modality: str, rate_hz: float) -> None:
    spec = _input(modality)
    start = 17.25
    buffer = StreamBuffer(stream(modality, rate_hz), seconds=60.0)
    track = buffer.track(spec)
    samples = _signal(rate_hz)
    for chunk in chunks(modality, samples, line(rate_hz, len(samples), start), max(1, int(0.37 * rate_hz))):
        buffer.push(chunk, buffer.timeline.newest)
        track.advance()  # filtering chunk by chunk ...

    design = dsp.design_filter(spec.filter, stream_rate_hz=rate_hz, target_rate_hz=spec.rate_hz)
    whole = samples.astype(np.float64)  # ... equals filtering the whole, bit for bit
    if design.sos is not None:
        whole, _ = signal.sosfilt(design.sos, whole, zi=signal.sosfilt_zi(design.sos) * whole[0])
    assert track.filtered(0, len(whole)).tobytes() == whole.tobytes()

    t_end = start + SECONDS - 1.0
    instants = dsp.grid(t_end, samples=spec.samples, rate_hz=spec.rate_hz)
    segment = buffer.timeline.covering(float(instants[0]), t_end)
    if design.warmup_s > SECONDS:
        assert track.cut(instants, segment, silent=False).reason is Reason.WARMING_UP
        return
    cut = track.cut(instants, segment, silent=False)
    assert cut.values is not None
    expected = np.interp(instants, start + np.arange(len(whole)) / rate_hz, whole)
    spread = np.subtract(*np.percentile(whole, [75, 25]))
    assert np.abs(cut.values - expected).max() <= 1e-6 * spread


@settings(max_examples=25, deadline=None)
@given(sizes=st.lists(st.integers(0, 700), min_size=1, max_size=10), state=st.sampled_from(["carried", "window"]))
def test_chunking_and_laziness_never_change_a_point(sizes: list[int], state: str) -> None:
    spec = _input("ECG")
    spec = spec.model_copy(update={"filter": spec.filter.model_copy(update={"state": state})})
    rate_hz, count = 128.0, int(SECONDS * 128)
    whole, whole_track = _filled(spec, rate_hz, count)
    parts, parts_track = _filled(spec, rate_hz, [*sizes, count])
    for t_end in (30.0, 41.5, 46.0):
        instants = dsp.grid(t_end, samples=spec.samples, rate_hz=spec.rate_hz)
        segment = whole.timeline.covering(float(instants[0]), t_end)
        first = whole_track.cut(instants, segment, silent=False)  # type: ignore[attr-defined]
        segment = parts.timeline.covering(float(instants[0]), t_end)
        second = parts_track.cut(instants, segment, silent=False)  # type: ignore[attr-defined]
        assert first.values is not None
        assert first.values.tobytes() == second.values.tobytes()


def test_the_newest_point_does_not_depend_on_what_came_after_it() -> None:
    spec = _input("ECG")
    samples, stamps = _signal(100.0), line(100.0, int(SECONDS * 100))
    t_end = 20.0  # a sample lies exactly there
    cuts = []
    for count in (2001, 2002, 2100, 3000):
        buffer = StreamBuffer(stream("ECG", 100.0), seconds=60.0)
        track = buffer.track(spec)
        buffer.push(chunks("ECG", samples[:count], stamps[:count], count)[0], None)
        instants = dsp.grid(t_end, samples=spec.samples, rate_hz=spec.rate_hz)
        cuts.append(track.cut(instants, buffer.timeline.covering(float(instants[0]), t_end), silent=False).values)
    assert all(cut is not None and cut.tobytes() == cuts[0].tobytes() for cut in cuts)


def test_a_gap_restarts_the_filter_and_warms_up_again() -> None:
    spec = _input("ECG")
    samples = _signal(100.0)
    keep = np.r_[0:1000, 1050:3000]
    stamps = line(100.0, 3000)[keep]
    buffer = StreamBuffer(stream("ECG", 100.0), seconds=60.0)
    track = buffer.track(spec)
    for chunk in chunks("ECG", samples[keep], stamps, 33):
        buffer.push(chunk, buffer.timeline.newest)

    def reason(t_end: float) -> Reason | None:
        instants = dsp.grid(t_end, samples=spec.samples, rate_hz=spec.rate_hz)
        return track.cut(instants, buffer.timeline.covering(float(instants[0]), t_end), silent=False).reason

    warm = 10.5 + track.design.warmup_s + 137 / 25
    assert reason(2.0) is Reason.STARTING
    assert reason(9.9) is None
    assert [reason(t) for t in (10.25, 11.0, 15.9)] == [Reason.GAP] * 3
    assert reason(warm - 0.02) is Reason.WARMING_UP
    assert reason(warm + 0.02) is None
    afresh, _ = dsp.run_filter(
        track.design, dsp.start_state(track.design, float(samples[1050])), samples[1050:].astype(np.float64)
    )
    assert track.filtered(1000, 2950).tobytes() == afresh.tobytes()
    assert reason(30.5) is Reason.LATE
    instants = dsp.grid(30.5, samples=138, rate_hz=25.0)
    assert track.cut(instants, None, silent=True).reason is Reason.NO_DATA


def test_numbers_that_are_none_are_left_out_and_said() -> None:
    samples = _signal(100.0)
    samples[1200] = np.nan
    samples[1300] = np.inf
    buffer = StreamBuffer(stream("ECG", 100.0), seconds=60.0)
    track = buffer.track(_input("ECG"))
    events = []
    for chunk in chunks("ECG", samples, line(100.0, 3000), 100):
        events += buffer.push(chunk, buffer.timeline.newest)
    assert sum(e.samples for e in events if e.kind is StreamEventKind.NOT_FINITE) == 2
    instants = dsp.grid(12.5, samples=138, rate_hz=25.0)
    assert track.cut(instants, buffer.timeline.covering(7.0, 12.5), silent=False).reason is Reason.NOT_FINITE
    assert np.isfinite(track.filtered(buffer.times.oldest, buffer.times.total)).all()


def test_losses_that_the_source_counted_are_a_gap_even_where_stamps_hide_them() -> None:
    buffer = StreamBuffer(stream("ECG", 100.0), seconds=60.0)
    first, second = chunks("ECG", _signal(100.0)[:400], line(100.0, 400), 200)
    buffer.push(first, None)
    lossy = Chunk(stream="ECG", samples=second.samples, stamps=second.stamps, arrival=second.arrival, lost=7)
    events = buffer.push(lossy, buffer.timeline.newest)
    assert [event.kind for event in events] == [StreamEventKind.LOST, StreamEventKind.GAP]
    assert events[0].samples == 7
    assert len(buffer.timeline.segments) == 2


def test_a_chunk_larger_than_the_ring_is_filtered_as_well() -> None:
    rate_hz = 100.0
    samples = np.tile(_signal(rate_hz), 8)
    buffer = StreamBuffer(stream("ECG", rate_hz), seconds=30.0)
    track = buffer.track(_input("ECG"))
    buffer.push(chunks("ECG", samples, line(rate_hz, len(samples)), len(samples))[0], None)
    whole, _ = dsp.run_filter(
        track.design, dsp.start_state(track.design, float(samples[0])), samples.astype(np.float64)
    )
    newest = track.filtered(len(samples) - 3000, len(samples))
    assert newest.tobytes() == whole[-3000:].tobytes()


def test_units_are_converted_before_anything_else() -> None:
    info = stream("ECG", 100.0, unit="uV", gain=1e-3, offset=0.5)
    buffer = StreamBuffer(info, seconds=30.0)
    raw = (1000 * np.ones(100)).astype(np.float32)
    buffer.push(chunks("ECG", raw, line(100.0, 100), 100)[0], None)
    assert np.allclose(buffer.converted(0, 100), 1.5)
