"""Streams of many channels: what one channel is promised holds for 246, at 1 Hz as at 25 Hz."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError

from monitor import dsp
from monitor.bundle import BundleSpec, FilterSpec, InputSpec, ScaleSpec, default_input
from monitor.bundle_folder import load_bundle
from monitor.preprocess import StreamBuffer
from monitor.quality import judge
from monitor.scoring.session import OnnxRunner
from monitor.types import Chunk, Event, Float32Array, Reason, Score, StreamEventKind, snap
from tests.helpers.feeding import LinearRunner, chunks, line, make_pipeline, run, scores, stream, stream_events
from tests.helpers.tiny_bundle import write_tiny_bundle

REGIONS = 246
SECONDS = 60
WINDOW = 25
_SCALE = ScaleSpec(center="window_min", spread="window_range", floor=1e-6)


def array_input(
    modality: str = "ARRAY:regions",
    *,
    channels: int = REGIONS,
    rate_hz: float = 1.0,
    samples: int = WINDOW,
    **changes: Any,
) -> InputSpec:
    fields: dict[str, Any] = {
        "name": modality.partition(":")[2],
        "modality": modality,
        "channels": channels,
        "unit": "a.u.",
        "min_rate_hz": 0.9 * rate_hz,
        "filter": FilterSpec(kind="none"),
        "rate_hz": rate_hz,
        "samples": samples,
        "scale": _SCALE,
    }
    return InputSpec(**(fields | changes))


@pytest.fixture(scope="module")
def regions(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles"), name="tiny-regions", inputs=[array_input()])


@lru_cache(maxsize=4)
def signal(channels: int = REGIONS, rate_hz: float = 1.0, seconds: int = SECONDS) -> Float32Array:
    """Slow waves, another one a channel, with noise."""
    times = np.arange(int(seconds * rate_hz) + 1) / rate_hz
    random = np.random.default_rng(5)
    waves = np.sin(2 * np.pi * np.outer(times, random.uniform(0.02, 0.2, channels)) + random.uniform(0, 6, channels))
    return (100 + waves + 0.1 * random.normal(size=waves.shape)).astype(np.float32)


def regions_stream(**changes: Any) -> Any:
    return stream("ARRAY:regions", 1.0, **({"channels": REGIONS} | changes))


def feed(
    specs: list[BundleSpec], log: list[Chunk], *, until: float = SECONDS + 3.0, **changes: Any
) -> tuple[list[Event], LinearRunner]:
    pipeline, runner = make_pipeline(specs)
    return run(pipeline, [regions_stream(**changes)], log, until=until), runner


def scored(events: list[Event]) -> list[Score]:
    return [score for score in scores(events) if score.probabilities is not None]


def test_at_one_sample_a_second_every_window_is_scored_by_its_definition(regions: Path) -> None:
    # Single samples, each some time after it was taken, and off the grid by 0.3 s.
    spec = load_bundle(regions).spec
    stamps = line(1.0, SECONDS + 1, start=0.3)
    events, runner = feed([spec], chunks("ARRAY:regions", signal(), stamps, 1, delay_s=0.12))
    found = scored(events)
    assert [score.k for score in found] == list(range(WINDOW, SECONDS + 1))
    assert not stream_events(events, StreamEventKind.GAP)
    assert max(score.decided_at - score.t_end for score in found) < 1.5
    assert {score.calibration for score in found} == {"none"}
    for score, (_, arrays) in zip(found, runner.seen, strict=True):
        at = score.t_end - np.arange(WINDOW)[::-1]
        points = np.stack([np.interp(at, stamps, channel) for channel in signal().astype(np.float64).T])
        expected = (points - points.min()) / np.ptp(points)
        assert arrays["regions"].shape == (REGIONS, WINDOW)
        np.testing.assert_allclose(arrays["regions"], expected, atol=1e-6)
    assert found[3].quality[0].metrics["flat_channels"] == 0


def test_chunks_change_no_bit_and_the_real_graph_takes_them(regions: Path) -> None:
    bundle = load_bundle(regions)
    essences = []
    for sizes in (1, 2, [1, 2, 0, 1, 2, 2] * 20):
        pipeline, _ = make_pipeline([bundle.spec], runner=OnnxRunner([bundle]))  # type: ignore[arg-type]
        log = chunks("ARRAY:regions", signal(), line(1.0, SECONDS + 1), sizes)
        events = run(pipeline, [regions_stream()], log)
        windows = [score for score in scores(events) if score.t_rel < SECONDS - 3]
        essences.append([(s.k, s.absent, s.window_hash, s.logits, s.quality) for s in windows])
    assert essences[0] == essences[1] == essences[2]
    assert len({essence[2] for essence in essences[0] if essence[2]}) > 20


@pytest.mark.parametrize("reason", [Reason.NOT_FINITE, Reason.GAP])
def test_a_bad_channel_or_a_lost_sample_is_a_hole_and_nothing_bridges_it(regions: Path, reason: Reason) -> None:
    samples, stamps, at = signal().copy(), line(1.0, SECONDS + 1), 30
    if reason is Reason.NOT_FINITE:
        samples[at, 17] = np.nan
    else:
        samples, stamps = np.delete(samples, at, axis=0), np.delete(stamps, at)
    events, _ = feed([load_bundle(regions).spec], chunks("ARRAY:regions", samples, stamps, 1))
    kind = StreamEventKind.NOT_FINITE if reason is Reason.NOT_FINITE else StreamEventKind.GAP
    assert len(stream_events(events, kind)) == 1
    by_k = {score.k: score for score in scores(events)}
    assert by_k[at - 1].absent == ()
    # The window that ends on the hole cannot tell what caused it.
    assert by_k[at].absent == ("ARRAY:regions:gap",)
    assert {by_k[k].absent for k in range(at + 1, at + WINDOW)} == {(f"ARRAY:regions:{reason}",)}
    assert by_k[at + WINDOW].absent == ()


def test_another_number_of_channels_is_refused_with_both_numbers(regions: Path) -> None:
    spec = load_bundle(regions).spec
    log = chunks("ARRAY:regions", signal(80), line(1.0, SECONDS + 1), 1)
    events, runner = feed([spec], log, channels=80)
    refused = stream_events(events, StreamEventKind.REFUSED)
    assert [event.detail for event in refused] == ["has 80 channels of ARRAY:regions, tiny-regions takes 246"]
    assert not runner.seen
    # Beside a stream that keeps the bed's time, windows say why.
    other = default_input("EDA", fallback={"center": 2.0, "spread": 0.5})
    mixed = spec.model_copy(update={"inputs": (*spec.inputs, other)})
    pipeline, _ = make_pipeline([mixed])
    eda = chunks("EDA", np.full(32 * 20, 2.0, np.float32), line(32.0, 32 * 20), 8)
    events = run(pipeline, [regions_stream(channels=80), stream("EDA", 32.0)], [*log, *eda])
    assert all("ARRAY:regions:channel_count" in score.absent for score in scores(events))
    assert scores(events)


def test_a_stream_that_comes_back_with_other_channels_is_refused_and_its_samples_ignored(regions: Path) -> None:
    pipeline, _ = make_pipeline([load_bundle(regions).spec])
    stamps = line(1.0, SECONDS + 1)
    events = run(pipeline, [regions_stream()], chunks("ARRAY:regions", signal()[:30], stamps[:30], 1))
    assert scored(events)
    events = pipeline.open_stream(regions_stream(channels=80), 30.0)
    assert [event.detail for event in stream_events(events, StreamEventKind.REFUSED)] == [
        "has 80 channels of ARRAY:regions, tiny-regions takes 246"
    ]
    for chunk in chunks("ARRAY:regions", signal(80)[30:], stamps[30:], 1):
        assert not scored(pipeline.feed(chunk))
    events = pipeline.open_stream(regions_stream(), 61.0)
    assert [event.kind for event in stream_events(events, StreamEventKind.OPENED)] == [StreamEventKind.OPENED]


@pytest.mark.parametrize(("rate_hz", "lost_is_a_gap"), [(0.5, True), (1.0, True), (2.0, True), (4.0, False)])
def test_in_a_slow_stream_one_lost_sample_is_a_gap_and_jitter_is_none(rate_hz: float, lost_is_a_gap: bool) -> None:
    random = np.random.default_rng(4)
    stamps = snap(np.arange(60) / rate_hz + random.uniform(-0.2, 0.2, 60) / rate_hz)
    for missing in (False, True):
        buffer = StreamBuffer(stream("ARRAY:regions", rate_hz), seconds=200.0)
        kept = np.delete(stamps, 40) if missing else stamps
        found = [
            event.kind
            for chunk in chunks("ARRAY:regions", np.zeros(len(kept), np.float32), kept, 1)
            for event in buffer.push(chunk, buffer.timeline.newest)
        ]
        assert found == ([StreamEventKind.GAP] if missing and lost_is_a_gap else [])


def test_of_two_bundles_the_one_with_these_channels_scores(regions: Path, tmp_path: Path) -> None:
    few = load_bundle(write_tiny_bundle(tmp_path, name="tiny-few", inputs=[array_input(channels=80)])).spec
    log = chunks("ARRAY:regions", signal(), line(1.0, SECONDS + 1), 1)
    events, runner = feed([few, load_bundle(regions).spec], log)
    assert {name for name, _ in runner.seen} == {"tiny-regions"}
    assert not stream_events(events, StreamEventKind.REFUSED)


def test_what_is_rarer_than_the_lateness_allows_is_said_at_once(regions: Path) -> None:
    events, _ = feed([load_bundle(regions).spec], [])
    assert [event.detail for event in stream_events(events, StreamEventKind.OPENED)] == [""]
    pipeline, _ = make_pipeline([load_bundle(regions).spec], allowed_lateness_s=1.0)
    opened = stream_events(run(pipeline, [regions_stream()], []), StreamEventKind.OPENED)
    assert [event.detail for event in opened] == ["allowed_lateness_s = 1 is too short for 1 Hz: 1.5 s or more"]


def test_frames_of_160_numbers_beside_a_signal(tmp_path: Path) -> None:
    rate, seconds = 25.0, 15
    inputs = [
        default_input("EDA", fallback={"center": 2.0, "spread": 0.5}),
        array_input(
            "EMBED:video",
            channels=160,
            rate_hz=rate,
            samples=138,
            scale=ScaleSpec(center="none", spread="none", floor=0.0, clip=1e6),
        ),
    ]
    spec = load_bundle(write_tiny_bundle(tmp_path, name="tiny-video", inputs=inputs)).spec
    random = np.random.default_rng(2)
    eda = (2 + np.sin(0.3 * np.arange(32 * seconds) / 32)).astype(np.float32)
    eda += 0.01 * random.normal(size=len(eda)).astype(np.float32)
    frames = signal(160, rate, seconds)
    hashes = []
    for size in (1, 5, 31):
        pipeline, runner = make_pipeline([spec])
        log = chunks("EDA", eda, line(32.0, len(eda)), size) + chunks(
            "EMBED:video", frames, line(rate, len(frames)), size
        )
        events = run(pipeline, [stream("EDA", 32.0), stream("EMBED:video", rate, channels=160)], log)
        hashes.append([(s.k, s.window_hash) for s in scores(events) if s.t_rel < seconds - 2])
        newest = runner.seen[-1][1]["video"]
        np.testing.assert_array_equal(newest, frames[: round(scored(events)[-1].t_rel * rate) + 1][-138:].T)
    assert hashes[0] == hashes[1] == hashes[2]
    assert sum(hash_ is not None for _, hash_ in hashes[0]) >= 4


def test_a_faster_stream_is_low_passed_channel_by_channel() -> None:
    spec = array_input(channels=7, rate_hz=1.0)
    samples = signal(7, 4.0)
    stamps = line(4.0, len(samples))
    buffer = StreamBuffer(stream("ARRAY:regions", 4.0, channels=7), seconds=60.0)
    track = buffer.track(spec)
    assert track.design.edges_hz == (0.4,)
    for chunk in chunks("ARRAY:regions", samples, stamps, 3):
        buffer.push(chunk, buffer.timeline.newest)
    instants = dsp.grid(55.0, samples=WINDOW, rate_hz=1.0)
    several = track.cut(instants, buffer.timeline.covering(instants[0], instants[-1]), silent=False).values
    assert several is not None
    for channel in range(7):
        alone = StreamBuffer(stream("ARRAY:regions", 4.0), seconds=60.0)
        one = alone.track(spec)
        for chunk in chunks("ARRAY:regions", np.ascontiguousarray(samples[:, channel]), stamps, 11):
            alone.push(chunk, alone.timeline.newest)
        values = one.cut(instants, alone.timeline.covering(instants[0], instants[-1]), silent=False).values
        np.testing.assert_allclose(several[channel], values, rtol=1e-12)


def test_interpolating_rows_is_interpolating_each_channel() -> None:
    random = np.random.default_rng(9)
    times = np.cumsum(random.uniform(0.5, 1.5, 40))
    values = random.normal(size=(40, 5))
    at = np.sort(np.concatenate([times[3:9], random.uniform(times[0], times[-1], 50), times[[0, -1]]]))
    rows = dsp.interpolate(at, times, values)
    assert rows.shape == (5, len(at))
    np.testing.assert_allclose(rows, [np.interp(at, times, channel) for channel in values.T], rtol=1e-12, atol=1e-14)
    np.testing.assert_array_equal(rows[:, np.isin(at, times)], values[np.isin(times, at)].T)
    with pytest.raises(ValueError, match="interpolation at"):
        dsp.interpolate(at + 1.0, times, values)


def test_chunks_of_another_width_are_a_defect_and_not_squeezed_in() -> None:
    buffer = StreamBuffer(regions_stream(), seconds=60.0)
    with pytest.raises(ValueError, match="of 246 channels"):
        buffer.push(chunks("ARRAY:regions", signal(80), line(1.0, SECONDS + 1), 5)[0], None)


@pytest.mark.parametrize(("flat", "usable"), [(0, True), (123, True), (124, False), (246, False)])
def test_an_array_is_flat_when_most_of_its_channels_are(flat: int, usable: bool) -> None:
    values = signal().astype(np.float64).copy()
    values[:, :flat] = 3.0
    quality = judge(
        modality="ARRAY:regions", times=line(1.0, len(values)), values=values, window_start=-1.0, rate_hz=1.0
    )
    assert (quality.usable, quality.metrics) == (usable, {"flat_channels": flat})
    assert quality.reasons == (() if usable else (Reason.FLAT,))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"modality": "EDA", "name": "eda"}, "only ARRAY:<name> and EMBED:<name> carry several"),
        ({"filter": FilterSpec(high_hz=0.4)}, "filter.kind must be none"),
        ({"scale": _SCALE.model_copy(update={"center": "window_median"})}, "window_median centres one"),
    ],
)
def test_a_bundle_cannot_ask_of_many_channels_what_only_one_can_have(changes: dict[str, Any], words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        array_input(**changes)
