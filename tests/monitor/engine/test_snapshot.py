"""What screens are told of a bed: what the pipeline said, no more and no less."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.bundle import BundleSpec
from monitor.bundle_folder import load_bundle
from monitor.config import AlarmSettings, BedSettings
from monitor.engine.attention_frames import attention_frame
from monitor.engine.snapshot import WAVE_BACKLOG_S, BedSnapshot
from monitor.frames import BedState, SignalsView, WaveBlock
from monitor.sources.synthetic_patient import SyntheticPatient
from monitor.types import (
    AlarmAction,
    AlarmEvent,
    AlarmKind,
    Chunk,
    Command,
    Event,
    Float32Array,
    Marker,
    PainIndex,
    Presence,
    Priority,
    Provenance,
    Score,
    StreamEvent,
    StreamEventKind,
)
from tests.helpers.feeding import chunks, line, make_pipeline, stream
from tests.helpers.tiny_bundle import write_tiny_bundle

RECORDING = {"path": "/x", "problem": "", "lost_records": 0, "lost_samples": 0}
RATES_HZ = {"ECG": 256.0, "EDA": 32.0}


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> list[BundleSpec]:
    folder = tmp_path_factory.mktemp("bundles")
    names = {"tiny-eda-ecg": ("EDA", "ECG"), "tiny-eda": ("EDA",)}
    return [load_bundle(write_tiny_bundle(folder, name=name, modalities=m)).spec for name, m in names.items()]


@lru_cache(maxsize=4)
def signal(modality: str, seconds: int) -> Float32Array:
    """A simulated patient's signal."""
    return SyntheticPatient(part="test", number=1).samples(modality, 0, round(RATES_HZ[modality] * seconds))


def fresh(specs: list[BundleSpec], **bed: object) -> BedSnapshot:
    names = tuple(spec.name for spec in specs)
    settings = BedSettings(**({"name": "bed1", "calibration_s": 20.0, "bundles": names} | bed))  # type: ignore[arg-type]
    snapshot = BedSnapshot(settings=settings, bundles=specs)
    snapshot.begin(session="s1", subject="P-001", at=0.0)
    return snapshot


def followed(
    specs: list[BundleSpec], seconds: int, *, snapshot: BedSnapshot | None = None
) -> tuple[BedSnapshot, list[Event]]:
    """A snapshot that followed a real pipeline on a simulated patient."""
    pipeline, _ = make_pipeline(specs)
    snapshot = snapshot or fresh(specs)
    log: list[Chunk] = []
    events: list[Event] = []
    for modality, rate in RATES_HZ.items():
        info = stream(modality, rate)
        snapshot.open_stream(info)
        events += pipeline.open_stream(info, 0.0)
        log += chunks(modality, signal(modality, seconds), line(rate, round(rate * seconds)), round(rate / 8))
    for chunk in sorted(log, key=lambda item: item.arrival):
        snapshot.feed(chunk)
        came = pipeline.feed(chunk)
        snapshot.note(came)
        events += came
    return snapshot, events


def last(events: list[Event], kind: type) -> Event:
    return next(event for event in reversed(events) if isinstance(event, kind))


def test_a_state_says_what_the_pipeline_said_last(specs: list[BundleSpec]) -> None:
    snapshot, events = followed(specs, 50)
    state = snapshot.state(50.0, RECORDING)
    score, index = last(events, Score), last(events, PainIndex)
    assert isinstance(score, Score)
    assert isinstance(index, PainIndex)
    assert state.score is not None
    assert state.index is not None
    assert (state.score.k, state.score.t_end, state.score.absent) == (score.k, score.t_end, score.absent)
    assert (state.score.classes, state.score.probabilities) == (score.classes, score.probabilities)
    assert state.score.levels == (0.0, 0.5, 1.0)
    assert (state.index.fast, state.index.slow, state.index.hollow) == (index.fast, index.slow, index.hollow)
    assert [item.modality for item in state.quality] == [item.modality for item in score.quality]
    assert state.calibration.state == "calibrated"
    assert state.provenance == "simulated"
    assert 40 < (state.comparators.heart_rate_bpm or 0.0) < 120
    assert state.comparators.heart_rate_from == "ECG"
    assert state.comparators.scr_per_s is not None
    assert (state.comparators.spi, state.comparators.spi_absent) == (None, ("BVP:no_stream",))
    assert state.recording.recording


def test_a_state_survives_the_wire(specs: list[BundleSpec]) -> None:
    import cbor2

    state = followed(specs, 12)[0].state(12.0, RECORDING)
    assert BedState.model_validate(cbor2.loads(cbor2.dumps(state.model_dump()))) == state


def test_a_fresh_bed_has_no_numbers(specs: list[BundleSpec]) -> None:
    state = fresh(specs).state(0.0, {"path": None, "problem": "the disk is full"})
    assert (state.score, state.index, state.quality, state.streams, state.alarms) == (None, None, (), (), ())
    assert state.calibration.state == "not-calibrated"
    assert (state.recording.recording, state.recording.problem) == (False, "the disk is full")


def test_a_new_session_forgets_what_was_said_of_the_last_subject(specs: list[BundleSpec]) -> None:
    snapshot, _ = followed(specs, 50)
    snapshot.begin(session="s2", subject="P-002", at=50.0)
    state = snapshot.state(50.0, RECORDING)
    assert (state.session, state.subject, state.score, state.index, state.alarms) == ("s2", "P-002", None, None, ())
    assert (state.markers, snapshot.history(3600.0).t) == ((), ())
    assert len(state.streams) == 2


def test_history_has_every_window_in_order_and_is_cut_by_time(specs: list[BundleSpec]) -> None:
    snapshot, events = followed(specs, 50)
    indices = [event for event in events if isinstance(event, PainIndex)]
    everything = snapshot.history(3600.0)
    assert everything.t == tuple(event.t_end for event in indices)
    assert everything.fast == tuple(event.fast for event in indices)
    assert snapshot.history(10.0).t == everything.t[-10:]
    absent = [event for event in events if isinstance(event, Score)]
    assert [bool(text) for text in everything.absent] == [bool(score.absent) for score in absent]


def alarm(presence: Presence, condition: str = "pain_severe", priority: Priority = Priority.MEDIUM) -> AlarmEvent:
    return AlarmEvent(
        bed="bed1",
        condition=condition,
        kind=AlarmKind.PHYSIOLOGICAL if condition.startswith("pain") else AlarmKind.TECHNICAL,
        priority=priority,
        presence=presence,
        event_id=condition,
        onset=1.0,
        t=2.0,
        t_rel=2.0,
        text="x",
        index=None,
        bundle="b",
    )


def test_alarms_stand_until_they_are_off_most_urgent_first(specs: list[BundleSpec]) -> None:
    snapshot = fresh(specs)
    snapshot.note([alarm(Presence.ON, "unscorable", Priority.LOW), alarm(Presence.ON, "pain_moderate", Priority.LOW)])
    snapshot.note([alarm(Presence.ON)])
    assert [a.condition for a in snapshot.state(3.0, {}).alarms] == ["pain_severe", "pain_moderate", "unscorable"]
    snapshot.note([alarm(Presence.ACK), alarm(Presence.OFF, "unscorable", Priority.LOW)])
    assert [(a.condition, a.presence) for a in snapshot.state(3.0, {}).alarms] == [
        ("pain_severe", "ack"),
        ("pain_moderate", "on"),
    ]


def test_changed_limits_are_named(specs: list[BundleSpec]) -> None:
    assert fresh(specs).state(0.0, {}).limits.changed == ()
    limits = fresh(specs, alarm=AlarmSettings(severe_on=60.0)).state(0.0, {}).limits
    assert (limits.severe_on, limits.changed) == (60.0, ("severe_on",))


def action(name: str, **after: object) -> AlarmAction:
    return AlarmAction(bed="bed1", t=2.0, t_rel=2.0, action=name, actor="nurse", before={}, after=after, text="")


def test_pauses_count_down_and_limits_follow_the_operator(specs: list[BundleSpec]) -> None:
    snapshot = fresh(specs)
    assert snapshot.state(2.0, {}).signals == SignalsView()
    paused = {"audio": "paused", "audio_until": 122.0, "pain": "paused", "pain_until": 62.0, "reason": "washing"}
    snapshot.note([action("suspend", **paused), action("limits", severe_on=65.0)])
    state = snapshot.state(32.0, {})
    assert state.signals == SignalsView(
        audio="paused", audio_left_s=90.0, pain="paused", pain_left_s=30.0, reason="washing"
    )
    assert (state.limits.severe_on, state.limits.changed) == (65.0, ("severe_on",))
    snapshot.begin(session="s9", subject="P-9", at=40.0)
    state = snapshot.state(41.0, {})
    assert (state.signals, state.limits.changed) == (SignalsView(), ())


def test_the_newest_markers_are_kept(specs: list[BundleSpec]) -> None:
    snapshot = fresh(specs)
    for number in range(50):
        snapshot.note([Marker(bed="bed1", t=float(number), kind="note", text=str(number), value=None, actor="x")])
    markers = snapshot.state(50.0, {}).markers
    assert markers[-1].text == "49"
    assert len(markers) < 50


def test_the_chosen_bundle_comes_first(specs: list[BundleSpec]) -> None:
    snapshot = fresh(specs)
    snapshot.prefer("tiny-eda")
    assert [item.name for item in snapshot.state(0.0, {}).bundles] == ["tiny-eda", "tiny-eda-ecg"]
    snapshot.prefer("no such")
    assert [item.name for item in snapshot.state(0.0, {}).bundles] == ["tiny-eda", "tiny-eda-ecg"]


def test_streams_say_what_befell_them(specs: list[BundleSpec]) -> None:
    snapshot = fresh(specs)
    snapshot.open_stream(stream("EDA", 32.0))
    for kind, samples in ((StreamEventKind.GAP, 0), (StreamEventKind.GAP, 0), (StreamEventKind.LOST, 7)):
        snapshot.note([StreamEvent(bed="bed1", stream="EDA", kind=kind, t=1.0, samples=samples)])
    refused = StreamEvent(bed="bed1", stream="EDA", kind=StreamEventKind.REFUSED, t=1.0, detail="too slow")
    snapshot.note([refused])
    seen = snapshot.state(5.0, {}).streams[0]
    assert (seen.gaps, seen.lost, seen.unused, seen.age_s) == (2, 7, "too slow", None)
    for chunk in chunks("EDA", signal("EDA", 12), line(32.0, 12 * 32), 8):
        snapshot.feed(chunk)
    seen = snapshot.state(20.0, {}).streams[0]
    assert seen.age_s == pytest.approx(20.0 - 12.0, abs=0.1)
    assert seen.measured_hz == pytest.approx(32.0, rel=0.02)


@pytest.mark.parametrize(
    ("kinds", "shown"),
    [
        ([Provenance.LIVE, Provenance.LIVE], "live"),
        ([Provenance.LIVE, Provenance.REPLAY], "replay"),
        ([Provenance.SIMULATED, Provenance.REPLAY], "simulated"),
    ],
)
def test_one_signal_that_is_not_live_is_enough(specs: list[BundleSpec], kinds: list[Provenance], shown: str) -> None:
    snapshot = fresh(specs)
    for modality, kind in zip(("ECG", "EDA"), kinds, strict=True):
        snapshot.open_stream(stream(modality, 32.0, provenance=kind))
    assert snapshot.state(0.0, {}).provenance == shown


# -- samples -----------------------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=40),
    every=st.integers(1, 5),
    gain=st.sampled_from([1.0, -0.5]),
)
def test_waves_are_the_samples_in_the_modalitys_unit_however_they_are_cut(
    specs_cache: list[BundleSpec], sizes: list[int], every: int, gain: float
) -> None:
    total = sum(sizes)
    x = np.arange(total, dtype=np.float32)
    snapshot = fresh(specs_cache)
    snapshot.open_stream(stream("EDA", 32.0, gain=gain, offset=2.0))
    blocks: list[WaveBlock] = []
    first = 0
    stamps = line(32.0, total)
    for number, size in enumerate(sizes):
        part = slice(first, first + size)
        first += size
        snapshot.feed(Chunk(stream="EDA", samples=x[part].copy(), stamps=stamps[part].copy(), arrival=first / 32.0))
        if number % every == 0:
            blocks += snapshot.waves()
    blocks += snapshot.waves()
    got = np.concatenate([block.samples for block in blocks]) if blocks else np.zeros(0)
    assert np.allclose(got, gain * x + 2.0)
    index = 0
    for block in blocks:
        assert block.first_index == index
        assert block.t0 == pytest.approx(index / 32.0)
        assert block.unit == "uS"
        index += len(block.samples)


@pytest.fixture(scope="module")
def specs_cache(specs: list[BundleSpec]) -> list[BundleSpec]:
    return specs


def test_missing_samples_make_the_index_jump(specs: list[BundleSpec]) -> None:
    snapshot = fresh(specs)
    snapshot.open_stream(stream("EDA", 32.0))
    for start in (0.0, 0.5, 1.5):
        stamps = start + np.arange(16) / 32.0
        snapshot.feed(Chunk(stream="EDA", samples=np.ones(16, dtype=np.float32), stamps=stamps, arrival=start + 0.5))
    first, second = snapshot.waves()
    assert (first.first_index, len(first.samples)) == (0, 32)
    assert (second.first_index, second.t0) == (32 + 16, 1.5)


def test_nobody_fetching_costs_no_memory(specs: list[BundleSpec]) -> None:
    snapshot = fresh(specs)
    snapshot.open_stream(stream("EDA", 32.0))
    for chunk in chunks("EDA", signal("EDA", 50), line(32.0, 50 * 32), 8):
        snapshot.feed(chunk)
    blocks = snapshot.waves()
    assert sum(len(block.samples) for block in blocks) <= (WAVE_BACKLOG_S + 0.5) * 32
    assert blocks[0].first_index > 0


def test_a_stream_that_was_never_announced_and_empty_chunks_change_nothing(specs: list[BundleSpec]) -> None:
    snapshot = fresh(specs)
    empty = Chunk(stream="EDA", samples=np.zeros(0, dtype=np.float32), stamps=np.zeros(0), arrival=1.0)
    snapshot.feed(empty)
    snapshot.open_stream(stream("EDA", 32.0))
    snapshot.feed(empty)
    assert snapshot.waves() == []
    assert snapshot.state(1.0, {}).streams[0].age_s is None


# -- attention ---------------------------------------------------------------------------------------------------------


def test_attention_names_the_modalities_and_the_window_that_was_scored(specs: list[BundleSpec]) -> None:
    pipeline, _ = make_pipeline(specs)
    for modality, rate in RATES_HZ.items():
        pipeline.open_stream(stream(modality, rate), 0.0)
    log = [
        chunk
        for modality, rate in RATES_HZ.items()
        for chunk in chunks(modality, signal(modality, 50), line(rate, round(50 * rate)), round(rate / 4))
    ]
    assert pipeline.window is None
    scored = [
        event
        for chunk in sorted(log, key=lambda item: item.arrival)
        for event in pipeline.feed(chunk)
        if isinstance(event, Score) and event.probabilities is not None
    ]
    window = pipeline.window
    assert window is not None
    assert (window.k, window.bundle) == (scored[-1].k, scored[-1].bundle)
    spec = next(spec for spec in specs if spec.name == window.bundle)
    rng = np.random.Generator(np.random.PCG64(3))
    maps = {item.name: rng.random(item.shape).astype(np.float32) for item in spec.attention}
    frame = attention_frame(spec=spec, session="s1", window=window, maps=maps)
    assert {item.modality for item in frame.inputs} == {"EDA", "ECG"}
    assert all(item.delay_s > 0 for item in frame.inputs)
    cross = next(item for item in frame.maps if item.name == "cross.eda_from_ecg")
    assert (cross.by, cross.of) == ("EDA", "ECG")
    assert np.array_equal(cross.values, maps[cross.name])


def test_a_preferred_bundle_takes_over_and_the_choice_is_a_command_of_the_log(specs: list[BundleSpec]) -> None:
    def played() -> list[Score]:
        pipeline, _ = make_pipeline(specs)
        found: list[Score] = []
        for modality, rate in RATES_HZ.items():
            pipeline.open_stream(stream(modality, rate), 0.0)
        log = [
            chunk
            for modality, rate in RATES_HZ.items()
            for chunk in chunks(modality, signal(modality, 50), line(rate, round(50 * rate)), round(rate / 4))
        ]
        chosen = False
        for chunk in sorted(log, key=lambda item: item.arrival):
            if chunk.arrival > 40.0 and not chosen:
                chosen = True
                pipeline.command(Command(action="choose_bundle", at=40.0, actor="x", args={"bundle": "tiny-eda"}))
            found += [event for event in pipeline.feed(chunk) if isinstance(event, Score)]
        return found

    first, second = played(), played()
    # At the very beginning the ECG's filter is not warm yet, and the second choice scores.
    names = [score.bundle for score in first if score.probabilities is not None and score.t_end > 30]
    assert names == sorted(names, key=lambda name: name == "tiny-eda")
    assert {"tiny-eda", "tiny-eda-ecg"} == set(names)
    assert [score.window_hash for score in first] == [score.window_hash for score in second]
    assert next(score.t_end for score in first if score.bundle == "tiny-eda" and score.t_end > 30) <= 43.0


def test_a_bundle_that_the_bed_does_not_have_is_refused(specs: list[BundleSpec]) -> None:
    pipeline, _ = make_pipeline(specs)
    with pytest.raises(ValueError, match="no bundle 'other'"):
        pipeline.command(Command(action="choose_bundle", at=0.0, actor="x", args={"bundle": "other"}))
    assert [spec.name for spec in pipeline.bundles] == ["tiny-eda-ecg", "tiny-eda"]
