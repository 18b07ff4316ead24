"""The player, what `streams` reports, and the score outlets, over real LSL between processes."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monitor.clock import SystemClock
from monitor.config import BedSettings, LslSettings
from monitor.outputs import lsl_player
from monitor.outputs.lsl import play, recording_packets, recording_specs, stopped_by_signals
from monitor.outputs.playback import stamps_of
from monitor.outputs.synthetic_playback import synthetic_packets, synthetic_specs
from monitor.sources.base import Candidate, Recording, Signal
from monitor.sources.lsl import LslSource, StreamReport, discover
from monitor.sources.synthetic import SyntheticPatient
from monitor.types import Provenance
from tests.live.outlets import Outlets

pytestmark = pytest.mark.live

SECONDS = 2.0


def a_recording() -> Recording:
    """Two signals, one with odd stamps, a hole and a NaN; they begin at different times."""
    rng = np.random.default_rng(3)

    def candidate(name: str, unit: str, rate: float) -> Candidate:
        return Candidate(key=f"csv:{name}", name=name, channel=name, unit=unit, rate_hz=rate, source="csv")

    ecg = rng.normal(size=int(250 * SECONDS)).astype(np.float32)
    ecg[17] = np.nan
    odd = 100.25 + np.arange(int(15.5 * SECONDS)) / 15.5 + rng.uniform(-0.004, 0.004, int(15.5 * SECONDS))
    odd[10:] += 0.3
    return Recording(
        path=Path("short.csv"),
        format="csv",
        signals=(
            Signal(candidate=candidate("ECG", "mV", 250.0), samples=ecg, t_first=100.0),
            Signal(
                candidate=candidate("EDA", "uS", 15.5),
                samples=rng.normal(size=len(odd)).astype(np.float32),
                t_first=100.25,
                stamps=odd,
            ),
        ),
    )


def _play_recording() -> None:
    # What has not been read when an outlet goes is lost, and a busy machine reads late.
    lsl_player._DRAIN_S = 3.0
    with stopped_by_signals() as stop:
        recording = a_recording()
        play(specs=recording_specs(recording), packets=recording_packets(recording), stop=stop)


def test_a_recording_comes_out_of_the_source_as_it_was_played(lsl: None) -> None:
    player = multiprocessing.get_context("spawn").Process(target=_play_recording)
    player.start()
    source = LslSource(bed=BedSettings(), settings=LslSettings(resolve_s=1.0), clock=SystemClock())
    source.open()
    opened, chunks = [], []
    expected = sum(len(signal.samples) for signal in a_recording().signals)
    deadline = time.monotonic() + 60.0
    try:
        while time.monotonic() < deadline and (player.is_alive() or sum(map(len, chunks)) < expected):
            reading = source.read(0.1)
            opened += reading.opened
            chunks += reading.chunks
    finally:
        source.close()
        player.terminate()
        player.join()
    infos = {info.modality: info for info in opened}
    assert infos.keys() == {"ECG", "EDA"}
    recording = a_recording()
    origins = {info.origin for info in opened}
    assert len(origins) == 1
    for signal in recording.signals:
        info = infos[signal.candidate.name]
        assert info.provenance is Provenance.REPLAY
        assert info.unit == signal.candidate.unit
        mine = [chunk for chunk in chunks if chunk.stream == info.key]
        np.testing.assert_array_equal(np.concatenate([chunk.samples for chunk in mine]), signal.samples)
        received = np.concatenate([chunk.stamps for chunk in mine])
        assert info.origin is not None
        since_origin = received - info.origin
        waited = np.round(since_origin[0] - (stamps_of(signal)[0] - 100.0))  # whole seconds, from waiting for us
        np.testing.assert_array_equal(since_origin - waited, stamps_of(signal) - 100.0)
        late = max(chunk.arrival - chunk.stamps[-1] for chunk in mine)
        assert -0.05 < late < 5.0


def looked(
    seconds: float, wanted: set[str], enough: Callable[[dict[str, StreamReport]], bool], *, preview: bool
) -> dict[str, StreamReport]:
    """What LSL offers, by source_id, looked for until all that is wanted was seen: a look can miss an outlet."""
    for _ in range(6):
        reports = {report.source_id: report for report in discover(seconds, preview=preview)}
        if wanted <= reports.keys() and enough(reports):
            break
    return reports


def test_streams_are_reported_with_their_true_rate_loss_clock_and_the_lines_to_paste(lsl: None) -> None:
    with Outlets() as outlets:
        slow = outlets.create(name="chest", kind="ECG", rate=100.0, channels=[("ECG", "mV")])
        dumb = outlets.create(name="markers", rate=0.0, form="string")
        quiet = outlets.create(name="quiet", rate=4.0, channels=[("hand GSR", "")])
        outlets.stream(slow, count=4000, rate=50.0)  # half of what it claims
        reports = looked(3.0, {slow, dumb, quiet}, lambda seen: (seen[slow].samples or 0) > 40, preview=True)
        plain = looked(1.0, {slow, dumb, quiet}, lambda _: True, preview=False)
    assert {slow, dumb, quiet} <= reports.keys()
    assert plain.keys() >= {slow, dumb, quiet}
    heard = reports[slow]
    assert heard.rate_claimed_hz == 100.0
    assert heard.rate_measured_hz == pytest.approx(50.0, rel=0.02)
    assert heard.samples is not None
    assert heard.samples > 40
    assert heard.lost is not None
    assert heard.lost > 0.8 * heard.samples
    assert heard.stamp_minus_clock_s is not None
    assert abs(heard.stamp_minus_clock_s) < 5.0
    (channel,) = heard.channels
    assert (channel.label, channel.unit, channel.modality) == ("ECG", "mV", "ECG")
    assert channel.low is not None
    assert channel.high is not None
    assert channel.high > channel.low
    assert 'name = "chest"' in channel.config
    assert reports[dumb].samples is None
    assert reports[dumb].channels[0].config == ""
    assert "no sample" in reports[quiet].problem
    assert reports[quiet].channels[0].modality == "EDA"
    assert plain[slow].samples is None


def test_nobody_listening_keeps_the_player_waiting_until_it_is_stopped(lsl: None) -> None:
    recording = a_recording()
    stop = threading.Event()
    seen = []
    threading.Timer(0.5, stop.set).start()
    played = play(
        specs=recording_specs(recording), packets=recording_packets(recording), stop=stop, progress=seen.append
    )
    assert played == 0.0
    assert seen[0].waiting_for == ("ECG", "EDA")


def test_a_patient_plays_without_a_listener_when_told_so_in_real_time(lsl: None) -> None:
    patient = SyntheticPatient(part="test", number=1)
    seen = []
    began = time.monotonic()
    played = play(
        specs=synthetic_specs(patient, ("EDA", "ECG")),
        packets=synthetic_packets(patient, ("EDA", "ECG"), duration_s=1.0),
        stop=threading.Event(),
        wait=False,
        progress=seen.append,
    )
    assert played == pytest.approx(1.0)
    assert time.monotonic() - began >= 1.0
    assert seen[-1].played_s == played
    assert all(spec.provenance is Provenance.SIMULATED for spec in synthetic_specs(patient, ("EDA",)))
