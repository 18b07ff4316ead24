"""Signals that leave the baseline: said after ten minutes, on the record, and never adapted to."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.bundle import BundleSpec, ScaleSpec
from monitor.bundle_folder import load_bundle
from monitor.drift import SPAN_S, DriftWatch, deviation
from monitor.dsp import Baseline
from monitor.types import (
    AlarmEvent,
    CalibrationEvent,
    CalibrationState,
    Command,
    Event,
    Float32Array,
    PainIndex,
    Score,
)
from tests.helpers.feeding import chunks, line, make_pipeline, run, scores, stream
from tests.helpers.tiny_bundle import write_tiny_bundle

FROZEN = Baseline(center=0.0, spread=1.349, range=4.0)
BOTH = ScaleSpec(center="baseline", spread="baseline", floor=0.1)
SPREAD = ScaleSpec(center="window_first", spread="baseline", floor=0.1)


def follow(values: list[tuple[float, float]], *, above: float = 2.0, scale: ScaleSpec = BOTH) -> float | None:
    """Blocks of a minute with this centre and IQR, one a minute; when the input has left its baseline."""
    watch = DriftWatch(block_s=60.0, above=above)
    for number, (center, spread) in enumerate(values, start=1):
        points = center + 0.5 * spread * np.linspace(-2.0, 2.0, 201)  # its IQR is `spread`
        if watch.add("a", points, seconds=60.0, t_rel=60.0 * number, baseline=FROZEN, scale=scale):
            return 60.0 * number
    return None


# What counts as leaving ----------------------------------------------------------------------------------------------


def test_what_is_compared_is_what_the_scaling_takes() -> None:
    assert deviation(3.0, 1.349, baseline=FROZEN, scale=BOTH) == pytest.approx(3.0)
    assert deviation(-3.0, 1.349, baseline=FROZEN, scale=BOTH) == pytest.approx(3.0)
    assert deviation(3.0, 1.349, baseline=FROZEN, scale=SPREAD) == 0.0  # each window brings its own centre
    assert deviation(0.0, 2.0 * 1.349, baseline=FROZEN, scale=SPREAD) == pytest.approx(1.349)
    assert deviation(0.0, 0.5 * 1.349, baseline=FROZEN, scale=SPREAD) == pytest.approx(1.349)
    # Below the floor a spread is not used, so that it cannot have changed.
    flat = Baseline(center=0.0, spread=0.01, range=0.1)
    assert deviation(0.0, 0.09, baseline=flat, scale=SPREAD) == 0.0
    share = ScaleSpec(center="window_median", spread="baseline", floor=0.5, floor_relative=True)
    assert deviation(0.0, 0.04, baseline=flat, scale=share) == 0.0
    nothing = ScaleSpec(center="baseline", spread="baseline", floor=0.0)
    still = Baseline(center=1.0, spread=0.0, range=0.0)
    assert deviation(1.0, 0.0, baseline=still, scale=nothing) == 0.0
    assert deviation(1.1, 0.0, baseline=still, scale=nothing) == np.inf


@given(st.floats(0.01, 100.0), st.floats(-50, 50), st.floats(0.0, 50.0))
def test_units_do_not_matter(unit: float, center: float, spread: float) -> None:
    free = BOTH.model_copy(update={"floor": 0.0})
    scaled = Baseline(center=0.0, spread=FROZEN.spread * unit, range=4.0)
    here = deviation(center * unit, spread * unit, baseline=scaled, scale=free)
    assert here == pytest.approx(deviation(center, spread, baseline=FROZEN, scale=free), rel=1e-6)


# When it is said -----------------------------------------------------------------------------------------------------


def test_it_takes_ten_minutes_of_difference_and_not_less() -> None:
    # The slow median follows after five minutes of known values; ten more must pass.
    assert follow([(5.0, 1.349)] * 60) == 300.0 + SPAN_S
    assert follow([(0.0, 1.349)] * 5 + [(5.0, 1.349)] * 60) is not None
    assert follow([(1.9, 1.349)] * 100) is None
    assert follow([(5.0, 1.349)] * 100, above=0.0) is None
    assert follow([(5.0, 1.349)] * 100, above=6.0) is None
    assert follow([(5.0, 1.349)] * 100, scale=SPREAD) is None
    assert follow([(0.0, 6.0)] * 60, scale=SPREAD) == 300.0 + SPAN_S


@given(st.lists(st.booleans(), min_size=1, max_size=12), st.integers(1, 4))
@settings(deadline=None)
def test_an_outburst_shorter_than_the_median_is_none(there: list[bool], length: int) -> None:
    """At most four of ten minutes: sustained change is what counts, an episode is not."""
    values = []
    for item in [False, *there]:
        values += [(5.0, 1.349) if item else (0.0, 1.349)] * length + [(0.0, 1.349)] * (10 - length)
    assert follow(values) is None


def test_what_came_back_begins_anew() -> None:
    away, here = (5.0, 1.349), (0.0, 1.349)
    assert follow([here] * 5 + ([away] * 9 + [here] * 20) * 6) is None
    assert follow([here] * 5 + [away] * 11 + [here] * 20) is not None


def test_gaps_neither_count_nor_reset() -> None:
    watch = DriftWatch(block_s=60.0, above=2.0)
    points = 5.0 + np.linspace(-1.349, 1.349, 201)

    def feed(times: list[float]) -> list[float]:
        return [t for t in times if watch.add("a", points, seconds=60.0, t_rel=t, baseline=FROZEN, scale=BOTH)]

    assert feed([60.0 * n for n in range(1, 11)]) == []
    assert watch.statistics("a") is not None
    assert feed([7200.0]) == []
    assert watch.statistics("a") is None  # what is two hours old says nothing of now
    found = feed([7200.0 + 60.0 * n for n in range(1, 12)])
    assert found == [7200.0 + 60.0 * 8]  # five minutes had counted, of ten
    assert watch.drifted == {"a"}
    watch.restart()
    assert watch.drifted == frozenset()


# In the flow ---------------------------------------------------------------------------------------------------------

RATE = 32.0
QUIET_S, SECONDS = 60, 1400


@pytest.fixture(scope="module")
def spec(tmp_path_factory: pytest.TempPathFactory) -> BundleSpec:
    return load_bundle(write_tiny_bundle(tmp_path_factory.mktemp("bundle"), name="tiny-eda", modalities=("EDA",))).spec


def signal(grown: float) -> Float32Array:
    """Skin conductance that wanders, by `grown` times as much after the first minute."""
    t = np.arange(int(SECONDS * RATE)) / RATE
    size = np.where(t < QUIET_S, 1.0, grown)
    noise = np.random.default_rng(4).normal(0, 0.002, len(t))
    return (2.0 + 0.1 * size * np.sin(2 * np.pi * t / 8.0) + noise).astype(np.float32)


def flow(spec: BundleSpec, grown: float, *, size: int = 64, **bed: Any) -> tuple[Any, list[Event]]:
    values = signal(grown)
    pipeline, _ = make_pipeline([spec], **({"hop_s": 4.0} | bed))
    events = run(pipeline, [stream("EDA", RATE)], chunks("EDA", values, line(RATE, len(values)), size))
    return pipeline, events


@pytest.fixture(scope="module")
def grown(spec: BundleSpec) -> tuple[Any, list[Event]]:
    return flow(spec, 5.0)


def test_a_signal_that_has_left_its_baseline_is_said_and_nothing_is_adapted(grown: tuple[Any, list[Event]]) -> None:
    pipeline, events = grown
    (found,) = [e for e in events if isinstance(e, CalibrationEvent) and e.state is CalibrationState.REQUIRED]
    assert found.causes == ("EDA:drift",)
    assert QUIET_S + SPAN_S < found.t < QUIET_S + SPAN_S + 400.0
    (frozen,) = found.baseline.values()
    (slow,) = found.slow.values()
    assert slow[1] == pytest.approx(5.0 * frozen[1], rel=0.1)
    after = [score for score in scores(events) if score.t_end > found.t]
    assert len(after) > 50
    assert {(s.calibration_state, s.drift, s.absent) for s in after} == {
        (CalibrationState.REQUIRED, ("EDA:drift",), ())
    }
    last = [event for event in events if isinstance(event, PainIndex)][-1]
    assert last.fast is not None  # it stays, flagged
    assert not last.hollow
    complete = [e for e in events if isinstance(e, CalibrationEvent) and e.baseline]
    assert all(e.baseline == complete[0].baseline for e in complete)
    (alarm,) = [e for e in events if isinstance(e, AlarmEvent) and e.condition == "calibration_required"]
    assert (alarm.causes, alarm.hard, alarm.kind.value) == (("EDA:drift",), False, "technical")
    assert found.t < alarm.t <= found.t + 12.0
    assert pipeline.alarms


def test_calibrating_again_clears_it(spec: BundleSpec) -> None:
    pipeline, _ = flow(spec, 5.0)
    last = SECONDS
    (told,) = pipeline.command(Command(action="recalibrate", at=float(last), actor="nurse"))
    assert told.state is CalibrationState.NOT_CALIBRATED
    more = signal(5.0)[-int(60 * RATE) :]
    events: list[Event] = []
    for chunk in chunks("EDA", more, line(RATE, len(more), float(last)), 64):
        events += pipeline.feed(chunk)
    ended = [e for e in events if isinstance(e, AlarmEvent) and e.condition == "calibration_required"]
    assert [e.presence.value for e in ended] == ["off"]
    assert scores(events)[-1].calibration_state is CalibrationState.CALIBRATED
    assert scores(events)[-1].drift == ()


def test_what_stays_as_it_was_or_is_not_watched_says_nothing(spec: BundleSpec) -> None:
    for grown, bed in ((1.0, {}), (5.0, {"drift_above": 0.0}), (5.0, {"drift_above": 9.0})):
        _, events = flow(spec, grown, **bed)
        assert {e.state for e in events if isinstance(e, CalibrationEvent)} == {
            CalibrationState.CALIBRATING,
            CalibrationState.CALIBRATED,
        }
        assert not [e for e in events if isinstance(e, AlarmEvent) and e.condition == "calibration_required"]


def test_chunks_do_not_matter(spec: BundleSpec, grown: tuple[Any, list[Event]]) -> None:
    def essence(events: list[Event]) -> list[Any]:
        return [
            (e.t, e.state, e.causes, e.slow, e.baseline) if isinstance(e, CalibrationEvent) else (e.k, e.drift)
            for e in events
            if isinstance(e, (CalibrationEvent, Score))
        ]

    assert essence(flow(spec, 5.0, size=17)[1]) == essence(grown[1])
