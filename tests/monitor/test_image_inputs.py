"""Bundles that look at images: one cut, drawn where it is scored, and no calibration where nothing refers to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from monitor import assessment as rooms
from monitor import dsp
from monitor.bundle import BundleSpec, FilterSpec, InputSpec, ScaleSpec, default_input
from monitor.bundle_folder import load_bundle
from monitor.errors import BundleError
from monitor.images.render import render
from monitor.images.spec import RenderSpec
from monitor.scoring.session import OnnxRunner
from monitor.sources.synthetic_patient import SyntheticPatient
from monitor.types import CalibrationEvent, CalibrationState, Event, Float32Array, PainIndex, Score
from tests.helpers.feeding import LinearRunner, chunks, line, make_pipeline, run, scores, stream
from tests.helpers.tiny_bundle import write_tiny_bundle

RATE_HZ = 64.0
SECONDS = 40
WINDOW_S = 10
_RENDER: TypeAdapter[RenderSpec] = TypeAdapter(RenderSpec)


def _image(name: str, kind: str, *, samples: int = 25 * WINDOW_S, **changes: object) -> InputSpec:
    return InputSpec(
        name=name,
        modality="EDA",
        unit="uS",
        min_rate_hz=4.0,
        filter=FilterSpec(high_hz=1.5),
        rate_hz=25.0,
        samples=samples,
        scale=ScaleSpec(center="none", spread="none", floor=0.0, clip=1e6),
        render=_RENDER.validate_python({"kind": kind, "size": 32, **changes}),
    )


def _two_images() -> list[InputSpec]:
    return [_image("wave", "waveform"), _image("recurrence", "recurrence", points=32)]


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles"), name="tiny-images", inputs=_two_images())


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> BundleSpec:
    """The same modality, rate and filter as the images, but a window of 5.5 s and a scale that needs a baseline."""
    spec = default_input("EDA", fallback={"center": 2.0, "spread": 0.5})
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("bundles"), name="tiny-eda", inputs=[spec])).spec


@pytest.fixture(scope="module")
def signal() -> Float32Array:
    patient = SyntheticPatient(part="test", number=3, episodes=[], confounders=[], rates_hz={"EDA": RATE_HZ})
    return patient.samples("EDA", 0, int(SECONDS * RATE_HZ))


def _run(specs: list[BundleSpec], signal: Float32Array, size: int = 7) -> tuple[list[Event], LinearRunner]:
    pipeline, used = make_pipeline(specs)
    log = chunks("EDA", signal, line(RATE_HZ, len(signal)), size)
    return run(pipeline, [stream("EDA", RATE_HZ)], log, until=SECONDS + 3.0), used


def test_a_window_is_drawn_as_its_bundle_says(images: Path, signal: Float32Array) -> None:
    spec = load_bundle(images).spec
    events, runner = _run([spec], signal)
    scored = [score for score in scores(events) if score.probabilities is not None]
    assert len(scored) >= SECONDS - WINDOW_S - 3
    score, (_, arrays) = scored[5], runner.seen[5]
    # From the definition: filter all, interpolate at the grid, draw.
    design = dsp.design_filter(spec.inputs[0].filter, stream_rate_hz=RATE_HZ, target_rate_hz=25.0)
    values = signal.astype(np.float64)
    filtered, _ = dsp.run_filter(design, dsp.start_state(design, float(values[0])), values)
    at = dsp.grid(score.t_end, samples=25 * WINDOW_S, rate_hz=25.0)
    points = np.interp(at, line(RATE_HZ, len(signal)), filtered).astype(np.float32)
    for item in spec.inputs:
        assert item.render is not None
        expected = render(points.astype(np.float64), item.render, rate_hz=25.0)
        assert arrays[item.name].shape == (3, 32, 32)
        np.testing.assert_array_equal(arrays[item.name], expected)
    assert not np.array_equal(arrays["wave"], arrays["recurrence"])


def test_chunks_change_no_pixel_and_the_real_graph_takes_them(images: Path, signal: Float32Array) -> None:
    bundle = load_bundle(images)
    hashes = []
    for size in (1, 50, 101):  # up to what the allowed lateness of 2 s holds
        pipeline, _ = make_pipeline([bundle.spec], runner=OnnxRunner([bundle]))  # type: ignore[arg-type]
        log = chunks("EDA", signal, line(RATE_HZ, len(signal)), size)
        events = run(pipeline, [stream("EDA", RATE_HZ)], log)
        hashes.append([(s.k, s.window_hash, s.logits) for s in scores(events) if s.t_rel < SECONDS - 8])
    assert hashes[0] == hashes[1] == hashes[2]
    assert len({hash_ for _, hash_, _ in hashes[0] if hash_}) > 10


def test_an_input_that_refers_to_no_baseline_needs_none(images: Path, signal: Float32Array) -> None:
    events, _ = _run([load_bundle(images).spec], signal)
    first = next(score for score in scores(events) if score.probabilities is not None)
    assert first.t_rel < WINDOW_S + 3
    assert {score.calibration for score in scores(events)} == {"none"}
    assert {score.calibration_state for score in scores(events)} == {CalibrationState.UNSPECIFIED}
    indices = [event for event in events if isinstance(event, PainIndex)]
    assert any(index.fast is not None for index in indices)
    assert not any(index.hollow for index in indices)
    assert not any(isinstance(event, CalibrationEvent) for event in events)
    assert all(len(score.quality) == 1 for score in scores(events))  # two images of one signal
    assert scores(events)[0].absent == ("EDA:starting",)


def test_the_bed_calibrates_for_the_bundles_that_need_it(
    images: Path, traces: BundleSpec, signal: Float32Array
) -> None:
    events, runner = _run([load_bundle(images).spec, traces], signal)
    last = [event for event in events if isinstance(event, CalibrationEvent)][-1]
    assert list(last.baseline) == ["EDA@25/0-1.5/2/carried"]
    # One modality, rate and filter, two lengths of window: each bundle gets its own.
    assert {name: arrays["eda"].shape for name, arrays in runner.seen if name == "tiny-eda"} == {"tiny-eda": (1, 138)}
    assert {name for name, _ in runner.seen} == {"tiny-eda", "tiny-images"}
    alone, _ = _run([traces], signal)
    assert [event for event in alone if isinstance(event, CalibrationEvent)][-1].baseline == last.baseline


def test_only_what_is_scored_is_drawn(
    images: Path, traces: BundleSpec, signal: Float32Array, monkeypatch: pytest.MonkeyPatch
) -> None:
    drawn: list[str] = []

    def counting(values: Float32Array, spec: RenderSpec, *, rate_hz: float) -> Float32Array:
        drawn.append(spec.kind)
        return render(values, spec, rate_hz=rate_hz)

    monkeypatch.setattr(rooms, "render", counting)
    events, _ = _run([traces, load_bundle(images).spec], signal, 1)
    assert any(score.probabilities is not None for score in scores(events))
    assert drawn == []
    events, _ = _run([load_bundle(images).spec], signal, 1)
    scored = [score for score in scores(events) if score.probabilities is not None]
    assert drawn == ["waveform", "recurrence"] * len(scored)


def test_a_window_that_is_too_short_for_its_image_is_refused_with_the_bundle(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"a window of 2 s has 50 points, a spectrogram_psd image needs 256"):
        _image("psd", "spectrogram_psd", samples=50)
    good = write_tiny_bundle(tmp_path, name="short", inputs=[_image("psd", "spectrogram_psd", samples=300)])
    text = (good / "model.json").read_text(encoding="utf-8")
    (good / "model.json").write_text(text.replace('"samples": 300', '"samples": 50'), encoding="utf-8")
    with pytest.raises(BundleError, match=r"a window of 2 s has 50 points, a spectrogram_psd image needs 256 or more"):
        load_bundle(good)


def test_a_picture_that_fails_costs_its_window_only(
    images: Path, signal: Float32Array, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    calls = iter(range(10_000))

    def failing(values: Float32Array, spec: RenderSpec, *, rate_hz: float) -> Float32Array:
        if next(calls) == 4:
            raise ValueError("cannot be drawn")
        return render(values, spec, rate_hz=rate_hz)

    monkeypatch.setattr(rooms, "render", failing)
    events, _ = _run([load_bundle(images).spec], signal)
    absent = [score for score in scores(events) if score.absent == ("model_fault",)]
    assert len(absent) == 1
    assert absent[0].window_hash is None
    assert "tiny-images failed" in caplog.text
    later = [score for score in scores(events) if score.k > absent[0].k and isinstance(score, Score)]
    assert any(score.probabilities is not None for score in later)
