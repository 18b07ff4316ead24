"""An array of many channels, one sample a second, over real LSL into the real engine: scored, recorded, verified."""

from __future__ import annotations

import itertools
import time
from pathlib import Path

import pytest

from monitor.bundle import FilterSpec, InputSpec, ScaleSpec
from monitor.config import BedSettings, EngineSettings, LslSettings, Settings, StreamSettings
from monitor.engine.engine import Engine
from monitor.scoring.session import OnnxRunner
from monitor.sessions.reader import SessionReader
from monitor.sessions.store import list_sessions
from monitor.sessions.verify import verify
from monitor.types import Score, StreamEvent, StreamEventKind
from tests.helpers.scripted import Collected
from tests.helpers.tiny_bundle import write_tiny_bundle
from tests.live.outlets import Outlets

pytestmark = pytest.mark.live

REGIONS = 246
WINDOW = 5
"""Points at 1 Hz: short, for the test's sake."""
LATENESS_S = 8.0


def regions(channels: int = REGIONS) -> InputSpec:
    return InputSpec(
        name="regions",
        modality="ARRAY:regions",
        channels=channels,
        unit="a.u.",
        min_rate_hz=0.9,
        filter=FilterSpec(kind="none"),
        rate_hz=1.0,
        samples=WINDOW,
        scale=ScaleSpec(center="window_min", spread="window_range", floor=1e-6),
    )


def bed(name: str, bundle: Path) -> BedSettings:
    stream = StreamSettings(name="regions", modality="ARRAY:regions")
    # The lateness bounds how long this machine may stand still; a window whose samples are there never waits for it.
    return BedSettings(name=name, bundles=(str(bundle),), stream=(stream,), allowed_lateness_s=LATENESS_S)


def test_single_samples_of_246_channels_are_scored_live_and_verify(outlets: Outlets, tmp_path: Path) -> None:
    fits = write_tiny_bundle(tmp_path, name="tiny-regions", inputs=[regions()])
    other = write_tiny_bundle(tmp_path, name="tiny-other", inputs=[regions(80)])
    settings = Settings(
        engine=EngineSettings(state_dir=str(tmp_path / "state")),
        lsl=LslSettings(resolve_s=1.0),
        bed=(bed("bed1", fits), bed("bed2", other)),
    )
    collected = Collected()
    engine = Engine(settings=settings, on_events=collected)
    source_id = outlets.create(name="regions", rate=1.0, channels=[("", "")] * REGIONS)
    engine.start()
    try:
        assert outlets.wait(source_id)
        time.sleep(1.0)  # both beds listen
        outlets.stream(source_id, count=60, rate=1.0)
        deadline = time.monotonic() + 50.0

        def scored() -> list[Score]:
            return [s for s in collected.of(Score) if isinstance(s, Score) and s.probabilities is not None]

        def refused() -> set[str]:
            events = [event for event in collected.of(StreamEvent) if isinstance(event, StreamEvent)]
            return {event.detail for event in events if event.kind is StreamEventKind.REFUSED}

        while len(scored()) < 4 or not refused():
            assert time.monotonic() < deadline, collected.events
            time.sleep(0.1)
    finally:
        engine.stop()
    live = scored()
    assert {score.bed for score in live} == {"bed1"}
    assert min(score.decided_at - score.t_end for score in live) < LATENESS_S / 2, "decided by what came"
    assert [b.k - a.k for a, b in itertools.pairwise(live)] == [1] * (len(live) - 1)
    events = [event for event in collected.of(StreamEvent) if isinstance(event, StreamEvent)]
    assert not [event for event in events if event.kind in (StreamEventKind.GAP, StreamEventKind.LATE)]
    assert refused() == {"has 246 channels of ARRAY:regions, tiny-other takes 80"}

    (path,) = list_sessions(tmp_path / "state", "bed1")
    result = verify(path, runner_factory=OnnxRunner)
    assert result.differences == ()
    with SessionReader(path) as reader:
        (stored,) = reader.streams()
        assert (stored.info.modality, stored.info.channels, stored.info.unit) == ("ARRAY:regions", REGIONS, "a.u.")
        assert reader.signal(stored.info.key)[1].shape[1] == REGIONS
        assert [s.window_hash for s in reader.scores() if s.probabilities] == [score.window_hash for score in live]
