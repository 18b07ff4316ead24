"""A session of images and of arrays: computed anew to the same bits, replayed, summed up, drawn and exported."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from monitor.bundle import FilterSpec, InputSpec, ScaleSpec
from monitor.bundle_folder import load_bundle
from monitor.config import BedSettings
from monitor.images.spec import RecurrenceRender, WaveformRender
from monitor.pipeline import Pipeline
from monitor.replay_run import prepare, run
from monitor.scoring.session import OnnxRunner
from monitor.sessions.export import export
from monitor.sessions.picture import picture
from monitor.sessions.reader import SessionReader
from monitor.sessions.report import summary, summary_text
from monitor.sessions.rows import decode_samples, encode_samples
from monitor.sessions.store import SessionWriter, StoredBundle
from monitor.sessions.verify import verify
from monitor.sources.recordings import open_recording
from monitor.types import Chunk, Event, Float32Array, Provenance, Score, StreamInfo, snap
from tests.helpers.made_session import OFFSET, SESSION, made_meta
from tests.helpers.tiny_bundle import write_tiny_bundle

REGIONS = 246
SECONDS = 50
START = 5_000.0


def inputs() -> list[InputSpec]:
    plain = ScaleSpec(center="none", spread="none", floor=0.0, clip=1e6)
    common: dict[str, Any] = {"modality": "EDA", "unit": "uS", "min_rate_hz": 4.0, "rate_hz": 25.0, "samples": 250}
    common |= {"filter": FilterSpec(high_hz=1.5), "scale": plain}
    return [
        InputSpec(name="wave", render=WaveformRender(kind="waveform", size=32), **common),
        InputSpec(name="recurrence", render=RecurrenceRender(kind="recurrence", size=32, points=32), **common),
        InputSpec(
            name="regions",
            modality="ARRAY:regions",
            channels=REGIONS,
            unit="a.u.",
            min_rate_hz=0.9,
            filter=FilterSpec(kind="none"),
            rate_hz=1.0,
            samples=25,
            scale=ScaleSpec(center="window_min", spread="window_range", floor=1e-6),
        ),
    ]


def streams() -> list[StreamInfo]:
    common: dict[str, Any] = {"bed": "bed1", "source": "lsl", "provenance": Provenance.SIMULATED, "origin": START}
    eda = StreamInfo(key="lsl:eda:0", modality="EDA", name="wrist", unit="uS", rate_hz=16.0, **common)
    regions = StreamInfo(
        key="lsl:regions:all",
        modality="ARRAY:regions",
        name="regions",
        unit="a.u.",
        rate_hz=1.0,
        channels=REGIONS,
        **common,
    )
    return [eda, regions]


def log() -> list[Chunk]:
    random = np.random.default_rng(7)
    found = []
    for info in streams():
        t = np.arange(int(SECONDS * info.rate_hz)) / info.rate_hz
        shape = (len(t), info.channels) if info.channels > 1 else (len(t),)
        wave = 2 + 0.3 * np.sin(t / 5).reshape(-1, *([1] * (len(shape) - 1))) + 0.05 * random.normal(size=shape)
        stamps = snap(START + t + random.normal(0, 1e-3, len(t)))
        samples = wave.astype(np.float32)
        if info.channels > 1:
            samples[4, 11] = np.nan
        step = max(1, int(info.rate_hz) // 4)
        for first in range(0, len(t), step):
            part = slice(first, first + step)
            arrival = float(snap(stamps[part][-1] + 0.04))
            found.append(
                Chunk(stream=info.key, samples=samples[part].copy(), stamps=stamps[part].copy(), arrival=arrival)
            )
    return sorted(found, key=lambda chunk: chunk.arrival)


@pytest.fixture(scope="module")
def bundle_path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_tiny_bundle(tmp_path_factory.mktemp("bundles"), name="tiny-mixed", inputs=inputs())


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory, bundle_path: Path) -> tuple[Path, list[Score]]:
    """A session of the real pipeline with the real graph, and its scores."""
    path, bundle = tmp_path_factory.mktemp("session") / "a.session.db", load_bundle(bundle_path)
    bed = BedSettings(name="bed1", bundles=("tiny-mixed",), calibration_s=10)
    stored = StoredBundle(spec=bundle.spec, path=str(bundle.path))
    writer = SessionWriter(path=path, meta=made_meta(settings=bed), bundles=[stored])
    pipeline = Pipeline(bed=bed, bundles=[bundle.spec], runner=OnnxRunner([bundle]), session=SESSION)
    found: list[Event] = []

    def take(events: list[Event]) -> None:
        writer.events(events)
        found.extend(events)

    for info in streams():
        writer.stream(info, START)
        take(pipeline.open_stream(info, START))
    tick = START + 0.25
    for chunk in log():
        while tick <= chunk.arrival:
            writer.tick(tick)
            take(pipeline.tick(tick))
            tick += 0.25
        writer.chunk(chunk)
        take(pipeline.feed(chunk))
    writer.close()
    return path, [event for event in found if isinstance(event, Score)]


def test_every_score_of_images_and_arrays_computes_anew_bit_for_bit(recorded: tuple[Path, list[Score]]) -> None:
    path, scores = recorded
    scored = [score for score in scores if score.probabilities is not None]
    assert len(scored) > 15
    assert len({score.window_hash for score in scored}) == len(scored)
    result = verify(path, runner_factory=OnnxRunner)
    assert result.differences == ()
    assert result.equal


def test_another_pixel_or_region_is_found_out(recorded: tuple[Path, list[Score]], tmp_path: Path) -> None:
    path = tmp_path / "b.session.db"
    shutil.copy(recorded[0], path)
    connection = sqlite3.connect(path, isolation_level=None)
    query = "SELECT seq, packing, samples, n, channels FROM chunk WHERE channels > 0 ORDER BY seq LIMIT 1 OFFSET 30"
    seq, packing, blob, n, channels = connection.execute(query).fetchone()
    samples = decode_samples(packing, blob, n, channels).copy()
    samples[0, 200] += 0.5
    packing, blob = encode_samples(samples)
    connection.execute("UPDATE chunk SET packing = ?, samples = ? WHERE seq = ?", (packing, blob, seq))
    connection.close()
    assert not verify(path, runner_factory=OnnxRunner).equal


def test_the_stored_session_replays_to_the_same_scores(recorded: tuple[Path, list[Score]], bundle_path: Path) -> None:
    path, scores = recorded
    recording = open_recording(path)
    assert [signal.samples.shape for signal in recording.arrays] == [(SECONDS, REGIONS)]
    assert len(recording.signals) == 1
    job = prepare(recording, bundles=(str(bundle_path),))
    runner = OnnxRunner(job.bundles)
    again = [event for _, events in run(job, runner=runner) for event in events if isinstance(event, Score)]
    zero = recording.utc_start - OFFSET
    replayed = {round(score.t_end + zero, 3): score for score in again if score.probabilities}
    live = {round(score.t_end, 3): score for score in scores if score.probabilities}
    assert replayed.keys() == live.keys()
    for t, score in live.items():
        assert replayed[t].probabilities == pytest.approx(score.probabilities, abs=2e-3)


def test_reports_pictures_and_exports_take_a_wide_stream(recorded: tuple[Path, list[Score]], tmp_path: Path) -> None:
    with SessionReader(recorded[0]) as reader:
        text = summary_text(summary(reader))
        assert f"{SECONDS} samples of {REGIONS} channels" in text
        assert picture(reader, tmp_path / "a.png").stat().st_size > 10_000
        names = {path.name for path in export(reader, tmp_path / "csv")}
    assert "signals_ARRAY_regions.csv" in names
    lines = (tmp_path / "csv" / "signals_ARRAY_regions.csv").read_text(encoding="utf-8").splitlines()
    assert lines[0].split(",")[:3] == ["t_rel", "utc", "value_0"]
    assert {line.count(",") for line in lines} == {REGIONS + 1}
    table: Float32Array = np.genfromtxt(lines[1:], delimiter=",", usecols=range(2, REGIONS + 2)).astype(np.float32)
    sent = np.concatenate([chunk.samples for chunk in log() if chunk.stream == "lsl:regions:all"])
    np.testing.assert_array_equal(table, sent)
    assert f"samples of {REGIONS} channels" in (tmp_path / "csv" / "README.txt").read_text(encoding="utf-8")
