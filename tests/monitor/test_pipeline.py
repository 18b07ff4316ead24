"""The whole flow: every window accounted for, whatever the chunks, the skew and the faults."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import numpy as np
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from monitor.bundle import BundleSpec
from monitor.bundle_folder import load_bundle
from monitor.sources.synthetic_patient import SyntheticPatient
from monitor.types import (
    AlarmEvent,
    CalibrationEvent,
    CalibrationState,
    Chunk,
    Command,
    Event,
    Float32Array,
    Marker,
    PainIndex,
    Score,
    StreamEventKind,
    WindowsSkipped,
)
from tests.helpers.feeding import (
    LinearRunner,
    chunks,
    line,
    make_pipeline,
    run,
    scores,
    stream,
    stream_events,
)
from tests.helpers.tiny_bundle import write_tiny_bundle

SECONDS = 60
RATES_HZ = {"ECG": 256.0, "EDA": 32.0, "BVP": 64.0}


class Specs(dict[str, BundleSpec]):
    """Bundles by short name, shown as a line."""

    def __repr__(self) -> str:
        return f"<{', '.join(self)}>"


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> Specs:
    folder = tmp_path_factory.mktemp("bundles")
    return Specs(
        ecg=load_bundle(write_tiny_bundle(folder, name="tiny-eda-ecg", modalities=("EDA", "ECG"))).spec,
        bvp=load_bundle(write_tiny_bundle(folder, name="tiny-eda-bvp", modalities=("EDA", "BVP"))).spec,
    )


@lru_cache(maxsize=4)
def _signals(number: int = 3) -> dict[str, Float32Array]:
    patient = SyntheticPatient(part="test", number=number, episodes=[], confounders=[], rates_hz=RATES_HZ)
    return {m: patient.samples(m, 0, int(SECONDS * rate)) for m, rate in RATES_HZ.items()}


def _log(
    modalities: tuple[str, ...] = ("EDA", "ECG"),
    *,
    sizes: dict[str, Any] | float = 0.1,
    skew: dict[str, float] | None = None,
    start: float = 0.0,
) -> list[Chunk]:
    """Chunks of the patient's signals; `sizes` in seconds, or an iterable of counts a modality."""
    log: list[Chunk] = []
    for modality in modalities:
        rate = RATES_HZ[modality]
        size = max(1, round(sizes * rate)) if isinstance(sizes, float) else sizes[modality]
        samples = _signals()[modality]
        delay = (skew or {}).get(modality, 0.0)
        log += chunks(modality, samples, line(rate, len(samples), start), size, delay_s=delay)
    return log


def _streams(*modalities: str, **changes: Any) -> list[Any]:
    return [stream(modality, RATES_HZ[modality], **changes) for modality in modalities]


class Essence(list[tuple[Any, ...]]):
    """Compared as a list, shown as a line."""

    def __repr__(self) -> str:
        return f"<{len(self)} facts>"


def _essence(events: list[Event]) -> Essence:
    """What must not depend on chunking: everything of a score but the moment at which it was decided.

    Windows after the last sample are left out: when the bed falls silent depends on when the last chunk came.
    """
    result = Essence()
    for event in events:
        if isinstance(event, (Score, PainIndex)) and event.t_rel >= SECONDS:
            continue
        if isinstance(event, Score):
            about = (event.k, event.t_end, event.bundle, event.absent, event.calibration)
            model = (event.probabilities, event.logits, event.window_hash, event.quality, event.index)
            result.append((*about, *model))
        elif isinstance(event, PainIndex):
            result.append((event.k, event.fast, event.slow, event.fast_withheld, event.slow_withheld))
        elif isinstance(event, CalibrationEvent):
            result.append((event.t, event.state, event.valid_s, tuple(event.baseline.items())))
    return result


@pytest.fixture(scope="module")
def reference(specs: Specs) -> Essence:
    """What chunks of 0.1 s give."""
    pipeline, _ = make_pipeline([specs["ecg"]])
    return _essence(run(pipeline, _streams("EDA", "ECG"), _log(), until=SECONDS + 5.0))


@settings(max_examples=15, deadline=None, phases=(Phase.explicit, Phase.reuse, Phase.generate))
@given(
    ecg=st.lists(st.integers(1, int(1.4 * 256)), min_size=1, max_size=8),
    eda=st.lists(st.integers(1, int(1.4 * 32)), min_size=1, max_size=8),
    skew=st.floats(0.0, 0.5),
)
def test_chunks_and_skew_change_no_bit(
    specs: Specs, reference: Essence, ecg: list[int], eda: list[int], skew: float
) -> None:
    def cycle(sizes: list[int]) -> Any:
        while True:
            yield from sizes

    pipeline, _ = make_pipeline([specs["ecg"]])
    log = _log(sizes={"ECG": cycle(ecg), "EDA": cycle(eda)}, skew={"EDA": skew})
    assert _essence(run(pipeline, _streams("EDA", "ECG"), log, until=SECONDS + 5.0)) == reference


@pytest.mark.parametrize("seconds", [3.0, 10.0])
def test_chunks_of_up_to_ten_seconds_with_a_lateness_of_eleven(
    specs: Specs, reference: Essence, seconds: float
) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]], allowed_lateness_s=11.0)
    events = run(pipeline, _streams("EDA", "ECG"), _log(sizes=seconds, skew={"ECG": 0.4}), until=SECONDS + 15.0)
    assert _essence(events) == reference


def test_every_window_is_accounted_for_and_most_are_scored(specs: Specs) -> None:
    pipeline, runner = make_pipeline([specs["ecg"]])
    found = scores(run(pipeline, _streams("EDA", "ECG"), _log(), until=SECONDS + 5.0))
    assert [score.k for score in found] == list(range(found[-1].k + 1))
    assert all(bool(score.absent) == (score.probabilities is None) for score in found)
    scored = [score for score in found if not score.absent]
    assert len(scored) == len(runner.seen) >= 50
    assert {score.provenance.value for score in found} == {"simulated"}
    assert all(sum(score.probabilities or ()) == pytest.approx(1.0) for score in scored)
    assert all(reason.split(":")[1] == "starting" for score in found[:5] for reason in score.absent)
    assert [score.t_end for score in found] == [float(score.k) for score in found]


def test_the_same_log_gives_the_same_events(specs: Specs) -> None:
    runs = []
    for _ in range(2):
        pipeline, _runner = make_pipeline([specs["ecg"]])
        runs.append(run(pipeline, _streams("EDA", "ECG"), _log(skew={"EDA": 0.3}), until=SECONDS + 30.0))
    assert runs[0] == runs[1]


def test_calibration_counts_valid_seconds_freezes_and_fills_the_index(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    events = run(pipeline, _streams("EDA", "ECG"), _log())
    progress = [event for event in events if isinstance(event, CalibrationEvent)]
    # The electrodermal input is ready before the heart's, whose filter settles later; the slower one counts.
    assert [event.valid_s for event in progress if event.valid_s] == [float(second) for second in range(1, 21)]
    assert progress[-1].state is CalibrationState.CALIBRATED
    assert len(progress[-1].baseline) == 2
    by_k = {score.k: score for score in scores(events)}
    done = int(progress[-1].t)
    assert by_k[done].calibration == "population"
    assert by_k[done + 1].calibration == "subject"
    indices = {event.k: event for event in events if isinstance(event, PainIndex)}
    assert indices[done].hollow
    assert not indices[done + 1].hollow
    assert indices[done + 11].fast is not None


def test_recalibration_starts_again_and_a_restored_one_is_complete(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    events = run(pipeline, _streams("EDA", "ECG"), _log())
    baseline = [event for event in events if isinstance(event, CalibrationEvent)][-1].baseline
    (event,) = pipeline.command(Command(action="recalibrate", at=60.0, actor="nurse"))
    assert isinstance(event, CalibrationEvent)
    assert event.state is CalibrationState.NOT_CALIBRATED
    assert event.valid_s == 0.0
    restore = Command(action="restore_calibration", at=60.0, actor="engine", args={"baseline": baseline})
    (event,) = pipeline.command(restore)
    assert isinstance(event, CalibrationEvent)
    assert event.state is CalibrationState.CALIBRATED
    assert event.baseline == baseline


def test_a_calibration_span_takes_no_later_second(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]], calibration_s=12.0)
    pipeline.command(Command(action="calibrate_span", at=0.0, actor="cli", args={"start": 20.0, "end": 35.0}))
    events = run(pipeline, _streams("EDA", "ECG"), _log())
    progress = [event for event in events if isinstance(event, CalibrationEvent)]
    assert [event.t for event in progress] == [float(t) for t in range(21, 33)]


def test_arbitrary_units_stay_absent_until_calibrated(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["bvp"]])
    events = run(pipeline, _streams("EDA", "BVP"), _log(("EDA", "BVP")))
    reasons = {score.k: score.absent for score in scores(events)}
    assert "BVP:not_calibrated" in reasons[15]
    assert reasons[50] == ()


def test_a_gap_silences_the_windows_that_touch_it_and_no_others(specs: Specs, reference: Essence) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    log = [c for c in _log() if not (c.stream == "ECG" and 30.0 < c.stamps[0] < 31.0)]
    events = run(pipeline, _streams("EDA", "ECG"), log, until=SECONDS + 5.0)
    assert len(stream_events(events, StreamEventKind.GAP)) == 1
    found = {score.k: score.absent for score in scores(events)}
    assert found[30] == ()
    assert {reason for k in range(32, 37) for reason in found[k]} == {"ECG:gap"}
    assert all(found[k] for k in range(31, 37))
    expected = {item[0]: item for item in reference if len(item) == 10}
    mine = {item[0]: item for item in _essence(events) if len(item) == 10}
    assert all(mine[k] == expected[k] for k in range(6, 31))
    assert found[50] == ()


def test_what_comes_after_the_lateness_is_counted_and_rescores_nothing(specs: Specs, reference: Essence) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    on_time, held = [], []
    for chunk in _log():
        (held if chunk.stream == "ECG" and 30.0 <= chunk.stamps[0] < 33.0 else on_time).append(chunk)
    delayed = [
        Chunk(stream=c.stream, samples=c.samples, stamps=c.stamps, arrival=34.0 + i * 1e-3) for i, c in enumerate(held)
    ]
    after = [
        Chunk(stream=c.stream, samples=c.samples, stamps=c.stamps, arrival=max(c.arrival, 34.5))
        if c.stream == "ECG" and c.stamps[0] >= 33.0
        else c
        for c in on_time
    ]
    events = run(pipeline, _streams("EDA", "ECG"), after + delayed, until=SECONDS + 5.0)
    found = scores(events)
    assert [score.k for score in found] == list(range(len(found)))
    absent = {score.k: score.absent for score in found if score.absent and 10 < score.k < 60}
    assert absent == {31: ("ECG:late",), 32: ("ECG:late",)}
    late = stream_events(events, StreamEventKind.LATE)
    assert sum(event.samples for event in late) == pytest.approx(2 * 256, abs=40)
    mine = {item[0]: item for item in _essence(events) if len(item) == 10}
    expected = {item[0]: item for item in reference if len(item) == 10}
    assert mine[33][5:8] == expected[33][5:8]  # what was late serves the next window


def test_silence_is_told_by_the_clock_and_windows_go_on(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    log = [chunk for chunk in _log() if chunk.arrival < 30.0]
    events = run(pipeline, _streams("EDA", "ECG"), log, until=330.0)
    found = scores(events)
    assert [score.k for score in found] == list(range(found[-1].k + 1))
    assert found[-1].k >= 327
    assert set(found[100].absent) == {"EDA:no_data", "ECG:no_data"}
    alarms = [event for event in events if isinstance(event, AlarmEvent)]
    assert "no_data" in {event.condition for event in alarms}


def test_one_stream_whose_clock_jumps_is_left_out_while_another_keeps_time(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    log = [
        Chunk(stream=c.stream, samples=c.samples, stamps=c.stamps + 200_000.0, arrival=c.arrival)
        if c.stream == "ECG" and 30.0 <= c.arrival < 40.0
        else c
        for c in _log()
    ]
    events = run(pipeline, _streams("EDA", "ECG"), log, until=SECONDS + 5.0)
    found = {score.k: score.absent for score in scores(events)}
    assert sorted(found) == list(range(len(found)))
    assert len(stream_events(events, StreamEventKind.CLOCK_FAULT)) == 1
    assert found[35] == ("ECG:clock_fault",)
    assert found[55] == ()
    assert not [event for event in events if isinstance(event, WindowsSkipped)]


@pytest.mark.parametrize("jump", [200_000.0, -20_000.0])
def test_when_every_clock_jumps_the_grid_starts_anew_and_says_what_it_skipped(specs: Specs, jump: float) -> None:
    pipeline, runner = make_pipeline([specs["ecg"]])
    log = [
        Chunk(stream=c.stream, samples=c.samples, stamps=c.stamps + jump, arrival=c.arrival) if c.arrival >= 30.0 else c
        for c in _log()
    ]
    events = run(pipeline, _streams("EDA", "ECG"), log)
    (skipped,) = [event for event in events if isinstance(event, WindowsSkipped)]
    found = scores(events)
    assert len(found) < 80
    later = [score for score in found if score.epoch == 1]
    assert later[0].k == skipped.last_k + 1
    assert not later[-1].absent
    assert all(score.absent for score in later[:5])
    assert len({(score.epoch, score.k) for score in found}) == len(found)
    assert len(runner.seen) == sum(not score.absent for score in found)


def test_a_lost_sensor_falls_back_at_once_and_comes_back_after_ten_seconds(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"], specs["bvp"]])
    log = [c for c in _log(("EDA", "ECG", "BVP")) if not (c.stream == "ECG" and 30.0 <= c.arrival < 35.0)]
    found = {s.k: s for s in scores(run(pipeline, _streams("EDA", "ECG", "BVP"), log, until=SECONDS + 5.0))}
    assert found[29].bundle == "tiny-eda-ecg"
    assert found[32].bundle == "tiny-eda-bvp"
    assert not found[32].absent
    back = min(k for k in found if k > 32 and found[k].bundle == "tiny-eda-ecg")
    first_usable = 35 + 6 + 3
    assert first_usable + 8 <= back <= first_usable + 12


def test_an_unmapped_first_choice_does_not_delay_the_second(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"], specs["bvp"]])
    found = scores(run(pipeline, _streams("EDA", "BVP"), _log(("EDA", "BVP"))))
    assert {score.bundle for score in found} == {"tiny-eda-bvp"}
    assert max(score.decided_at - score.t_end for score in found if not score.absent) < 0.2


def test_no_stream_for_a_modality_is_said(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    found = scores(run(pipeline, _streams("EDA"), _log(("EDA",)), until=SECONDS + 5.0))
    assert "ECG:no_stream" in found[30].absent
    assert [score.k for score in found] == list(range(len(found)))
    slow, _ = make_pipeline([specs["ecg"]])
    too_slow = [stream("EDA", 32.0), stream("ECG", 50.0)]
    samples = _signals()["ECG"][: 50 * SECONDS]
    log = _log(("EDA",)) + chunks("ECG", samples, line(50.0, len(samples)), 5)
    assert "ECG:rate_too_low" in scores(run(slow, too_slow, log, until=65.0))[30].absent


def test_a_model_that_fails_costs_its_window_only(specs: Specs) -> None:
    class Failing(LinearRunner):
        def score(self, bundle: str, inputs: Any) -> Any:
            result = super().score(bundle, inputs)
            if 20 <= len(self.seen) < 23:
                raise RuntimeError("the graph broke")
            return result

    spec = specs["ecg"]
    pipeline, _ = make_pipeline([spec], runner=Failing([spec]))
    found = scores(run(pipeline, _streams("EDA", "ECG"), _log()))
    assert sum(score.absent == ("model_fault",) for score in found) == 3
    assert not found[-1].absent


def test_streams_that_do_not_fit_are_refused_with_the_reason(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    pipeline.open_stream(stream("EDA", 32.0), 0.0)
    for info, words in [
        (stream("EDA", 32.0, key="second"), "already comes from stream 'EDA'"),
        (stream("ECG", 256.0, bed="bed2"), "belongs to bed bed2"),
        (stream("ECG", 0.0), "no sampling rate"),
    ]:
        (event,) = stream_events(pipeline.open_stream(info, 0.0), StreamEventKind.REFUSED)
        assert words in event.detail
    assert [info.modality for info in pipeline.streams] == ["EDA"]


def test_windows_count_from_the_announced_origin(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]], hop_s=0.5)
    start = 1000.125
    found = scores(run(pipeline, _streams("EDA", "ECG", origin=start), _log(start=start)))
    assert found[0].k == 0
    assert {score.t_end - start for score in found} == {score.k * 0.5 for score in found}
    plain, _ = make_pipeline([specs["ecg"]])
    found = scores(run(plain, _streams("EDA", "ECG", origin=None), _log(start=start)))
    assert found[0].t_end == 1001.0


def test_alarms_count_their_seconds_from_the_origin_and_from_nothing_before_one_is_named(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    start = 20000.0
    pipeline.tick(start - 9.0)
    gone = {"name": "broker_lost", "present": True, "causes": ["mqtt"]}
    events = pipeline.command(Command(action="technical", at=start - 8.0, actor="engine", args=gone))
    for info in _streams("EDA", "ECG", origin=start):
        pipeline.open_stream(info, start)
    pipeline.tick(start + 1.0)
    events += pipeline.command(
        Command(action="technical", at=start + 2.0, actor="engine", args=gone | {"present": False})
    )
    events += [event for second in range(3, 60) for event in pipeline.tick(start + second)]
    told = [event for event in events if isinstance(event, AlarmEvent) and event.condition == "broker_lost"]
    assert [str(event.presence) for event in told] == ["on", "off"]
    assert [event.t_rel for event in told] == [0.0, told[1].t - start]


def test_markers_scores_by_people_and_nonsense(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    (event,) = pipeline.command(Command(action="nrs", at=5.0, actor="nurse", args={"value": 6, "text": "at rest"}))
    assert event == Marker(bed="bed1", t=5.0, kind="nrs", text="at rest", value=6.0, actor="nurse")
    for action, args, words in [
        ("nrs", {"value": 11}, "between 0 and 10"),
        ("dance", {}, "no action 'dance'"),
        ("calibrate_span", {"start": 5, "end": 5}, "ends after it begins"),
    ]:
        with pytest.raises(ValueError, match=words):
            pipeline.command(Command(action=action, at=6.0, actor="nurse", args=args))


def test_empty_chunks_and_strangers_change_nothing(specs: Specs, reference: Essence) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    empty = np.empty(0, dtype=np.float32), np.empty(0)
    log: list[Chunk] = []
    for chunk in _log():
        log.append(chunk)
        log.append(Chunk(stream=chunk.stream, samples=empty[0], stamps=empty[1], arrival=chunk.arrival))
        log.append(Chunk(stream="unknown", samples=empty[0], stamps=empty[1], arrival=chunk.arrival))
    assert _essence(run(pipeline, _streams("EDA", "ECG"), log, until=SECONDS + 5.0)) == reference


def test_two_live_streams_of_different_origins_are_not_mixed(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    streams = [*_streams("EDA"), *_streams("ECG", origin=3.5)]
    events = run(pipeline, streams, _log())
    (refused,) = stream_events(events, StreamEventKind.REFUSED)
    assert "announces the origin 3.5" in refused.detail
    assert "ECG:no_stream" in scores(events)[-1].absent


def test_devices_that_were_started_again_count_windows_from_their_new_origin(specs: Specs) -> None:
    pipeline, _ = make_pipeline([specs["ecg"]])
    first = run(pipeline, _streams("EDA", "ECG"), [c for c in _log() if c.arrival < 30.0], until=31.0)
    start = 32.125
    events: list[Event] = []
    for info in _streams("EDA", "ECG", origin=start):
        events.extend(pipeline.open_stream(info, 31.5))
    assert len(stream_events(events, StreamEventKind.REFUSED)) == 1  # the second old stream may still live
    assert len(stream_events(events, StreamEventKind.OPENED)) == 2
    tick = 31.5
    for chunk in sorted(_log(start=start), key=lambda item: item.arrival):
        while tick <= chunk.arrival:
            events.extend(pipeline.tick(tick))
            tick += 0.25
        events.extend(pipeline.feed(chunk))
    found = scores(events)
    again = [score for score in found if score.epoch == 1]
    assert again[0].k == 0
    assert again[0].t_end == start
    assert len({(s.epoch, s.k) for s in scores(first) + found}) == len(scores(first)) + len(found)
    assert sum(not score.absent for score in again) >= 45


def test_a_device_that_begins_without_values_starts_the_windows_with_its_first_value(specs: Specs) -> None:
    log = _log()
    silent = [
        Chunk(stream=c.stream, samples=np.full_like(c.samples, np.nan), stamps=c.stamps, arrival=c.arrival)
        if c.arrival < 10.0
        else c
        for c in log
    ]
    assert any(np.isnan(c.samples).any() for c in silent)

    pipeline, _ = make_pipeline([specs["ecg"]], calibration_s=10.0)
    found = scores(run(pipeline, _streams("EDA", "ECG"), silent))

    assert found[0].t_end >= 9.9
    assert [score.k for score in found] == list(range(found[0].k, found[0].k + len(found)))
    assert any(not score.absent for score in found)
