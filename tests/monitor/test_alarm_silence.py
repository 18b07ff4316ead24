"""A lost signal is an alarm within 2 s and the usual packet interval of its stream; and only one that is lost."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.alarm import NO_DATA, SENSOR_OFF, AlarmManager
from monitor.alarm.silence import Silence
from monitor.config import AlarmSettings, BedSettings
from monitor.pipeline import Pipeline
from monitor.types import AlarmEvent, Event, Presence
from tests.helpers.feeding import LinearRunner, chunks, line, stream
from tests.helpers.tiny_bundle import write_tiny_bundle

TICK_S = 0.25


def onset(silence: Silence, modality: str, until: float) -> float | None:
    """First tick at which a stream counts as lost."""
    return next((k * TICK_S for k in range(int(until / TICK_S)) if modality in silence.lost(k * TICK_S)), None)


@settings(deadline=None)
@given(st.floats(0.02, 20.0), st.floats(0.0, 0.3), st.integers(5, 40))
def test_the_alarm_comes_within_two_seconds_and_the_usual_interval(every: float, jitter: float, count: int) -> None:
    silence, last = Silence(), 0.0
    for k in range(count):
        last = k * every + jitter * every * (k % 2)
        silence.arrived("EDA", last)
    end = last + 2.0 + 2.0 * every + 5.0
    for k in range(int(end / 0.04)):  # another one goes on
        silence.arrived("ECG", 0.04 * k)
    found = onset(silence, "EDA", end)
    assert found is not None
    assert found - last <= 2.0 + every * (1.0 + 2.0 * jitter)
    assert found - last >= 1.75
    assert "ECG" not in silence.lost(end)
    assert silence.all_quiet(end) is False


def test_what_stops_together_is_no_single_sensor() -> None:
    silence = Silence()
    assert silence.all_quiet(5.0) is None
    for k in range(20):
        silence.arrived("EDA", 0.5 * k)
        silence.arrived("ECG", 0.5 * k + 0.2)
    assert silence.all_quiet(9.7 + 2.0) is False
    assert silence.all_quiet(9.7 + 2.25) is True
    assert silence.lost(100.0) == ()


def test_an_interruption_is_no_interval_and_a_slower_device_is_learnt() -> None:
    silence, at = Silence(), 0.0
    for _ in range(20):
        at += 0.5
        silence.arrived("EDA", at)
    at += 60.0
    for _ in range(3):
        at += 0.5
        silence.arrived("EDA", at)
    assert silence.all_quiet(at + 2.25)
    for _ in range(20):
        at += 5.0
        silence.arrived("EDA", at)
    assert not silence.all_quiet(at + 6.5)
    assert silence.all_quiet(at + 6.75)


@pytest.fixture(scope="module")
def pipeline_factory(tmp_path_factory: pytest.TempPathFactory) -> object:
    from monitor.bundle_folder import load_bundle

    spec = load_bundle(str(write_tiny_bundle(tmp_path_factory.mktemp("b")))).spec

    def make(**alarm: object) -> Pipeline:
        bed = BedSettings.model_validate(
            {"name": "bed1", "bundles": ("tiny-eda-ecg",), "calibration_s": 10.0, "alarm": AlarmSettings(**alarm)}  # type: ignore[arg-type]
        )
        return Pipeline(bed=bed, bundles=[spec], runner=LinearRunner([spec]), session=uuid.UUID(int=1))

    return make


@pytest.mark.parametrize("every", [0.1, 1.0])
@pytest.mark.parametrize("lost", [("EDA",), ("EDA", "ECG")])
def test_a_signal_that_is_lost_is_told_in_time_by_the_whole_pipeline(
    pipeline_factory: object, lost: tuple[str, ...], every: float
) -> None:
    import numpy as np

    pipeline: Pipeline = pipeline_factory()  # type: ignore[operator]
    rng = np.random.default_rng(1)
    rates, seconds, gone = {"ECG": 250.0, "EDA": 20.0}, 40, 25.0
    log = []
    for modality, rate in rates.items():
        n = int(seconds * rate)
        t = np.arange(n) / rate
        samples = 3 + 0.3 * np.sin(t) + 0.02 * rng.standard_normal(n)
        if modality == "ECG":
            samples = np.exp(-(((t % 0.8) - 0.4) ** 2) / 2e-4) + 0.01 * rng.standard_normal(n)
        pieces = chunks(modality, samples.astype(np.float32), line(rate, n), int(every * rate))
        log += [piece for piece in pieces if modality not in lost or piece.arrival <= gone]
    last = max(piece.arrival for piece in log if piece.stream == lost[0])
    events: list[Event] = []
    for modality, rate in rates.items():
        events += pipeline.open_stream(stream(modality, rate), 0.0)
    now = 0.0
    for piece in sorted(log, key=lambda item: item.arrival):
        while now + TICK_S <= piece.arrival:
            now += TICK_S
            events += pipeline.tick(now)
        events += pipeline.feed(piece)
    while now < seconds:
        now += TICK_S
        events += pipeline.tick(now)
    raised = [e for e in events if isinstance(e, AlarmEvent) and e.before is Presence.OFF and e.t > 1.0]
    assert [event.condition for event in raised] == [SENSOR_OFF if len(lost) == 1 else NO_DATA]
    assert 1.75 <= raised[0].t - last <= 2.0 + every
    assert raised[0].causes == (("EDA:no_data",) if len(lost) == 1 else ("no_data",))


def test_a_number_in_the_configuration_comes_before_what_was_measured() -> None:
    for configured, expected in ((None, 2.0), (30.0, 30.0)):
        alarm = AlarmManager(
            bed="bed1", settings=AlarmSettings(no_data_after_s=configured), session=uuid.UUID(int=1)
        )  # fmt: skip
        for k in range(41):
            alarm.arrived("EDA", 0.25 * k)
            alarm.on_tick(0.25 * k, 0.25 * k, 0.0)
        told = [e for k in range(41, 200) for e in alarm.on_tick(0.25 * k, 10.0, 0.0) if isinstance(e, AlarmEvent)]
        assert [(event.condition, event.t) for event in told] == [(NO_DATA, 10.0 + expected)]
