"""Several bundles that decide together: what alarms rest on, and what it depends on."""

from __future__ import annotations

import dataclasses
import math
import statistics
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.bundle import AbstainSpec, BundleSpec
from monitor.bundle_folder import load_bundle
from monitor.config import BedSettings, Settings, contradictions
from monitor.engine.load import overloads
from monitor.scoring.vote import voted
from monitor.types import AlarmEvent, Event, PainIndex
from tests.helpers.alarm_windows import brief, manager, window
from tests.helpers.feeding import chunks, line, make_pipeline, run, scores, stream
from tests.helpers.tiny_bundle import write_tiny_bundle

VOTES = st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), st.floats(0, 100), min_size=1)
WEIGHTS = {"a": 3.0, "b": 1.0, "c": 0.5}


@given(VOTES)
def test_each_rule_is_what_its_name_says(votes: dict[str, float]) -> None:
    values = list(votes.values())
    assert voted("first", votes, {}) is None
    assert voted("any", votes, {}) == max(values)
    assert voted("majority", votes, {}) == statistics.median(values)
    mean = voted("weighted", votes, {})
    assert mean == pytest.approx(math.fsum(values) / len(values))
    weighted = voted("weighted", votes, WEIGHTS)
    shares = {name: WEIGHTS.get(name, 1.0) for name in votes}
    assert weighted == pytest.approx(sum(shares[n] * v for n, v in votes.items()) / sum(shares.values()))
    for rule in ("any", "majority", "weighted"):
        total = voted(rule, votes, WEIGHTS)  # type: ignore[arg-type]
        assert total is not None
        assert min(values) - 1e-9 <= total <= max(values) + 1e-9
        assert voted(rule, dict(reversed(votes.items())), WEIGHTS) == total  # type: ignore[arg-type]
        assert voted(rule, {}, WEIGHTS) is None  # type: ignore[arg-type]


# In the flow ---------------------------------------------------------------------------------------------------------

SECONDS = 70


@pytest.fixture(scope="module")
def specs(tmp_path_factory: pytest.TempPathFactory) -> list[BundleSpec]:
    folder = tmp_path_factory.mktemp("bundles")
    made = {"tiny-eda": ("EDA",), "tiny-ecg": ("ECG",), "tiny-both": ("EDA", "ECG")}
    return [load_bundle(write_tiny_bundle(folder, name=n, modalities=m)).spec for n, m in made.items()]


def flow(specs: list[BundleSpec], *, size: int = 8, lost: tuple[int, int] = (0, 0), **bed: Any) -> list[Event]:
    rng = np.random.default_rng(8)
    t = np.arange(32 * SECONDS) / 32.0
    eda = (2.0 + 0.3 * np.sin(t / 3.0) + rng.normal(0, 0.002, len(t))).astype(np.float32)
    beat = np.arange(256 * SECONDS) / 256.0
    ecg = (np.exp(-0.5 * ((beat % 0.8 - 0.4) / 0.02) ** 2) + rng.normal(0, 0.005, len(beat))).astype(np.float32)
    hearts = chunks("ECG", ecg, line(256.0, len(ecg)), 8 * size)
    log = [c for c in hearts if not lost[0] <= c.arrival < lost[1]] + chunks("EDA", eda, line(32.0, len(eda)), size)
    pipeline, _ = make_pipeline(specs, **bed)
    return run(pipeline, [stream("EDA", 32.0), stream("ECG", 256.0)], log)


def indices(events: list[Event]) -> list[PainIndex]:
    return [event for event in events if isinstance(event, PainIndex)]


@pytest.mark.parametrize("rule", ["any", "majority", "weighted"])
def test_every_bundle_votes_with_the_index_that_it_would_have_alone(specs: list[BundleSpec], rule: Any) -> None:
    weights = (3.0, 1.0, 0.5) if rule == "weighted" else ()
    together = flow(specs, vote=rule, vote_weights=weights)
    alone = {spec.name: {i.k: i for i in indices(flow([spec]))} for spec in specs}
    named = dict(zip([spec.name for spec in specs], weights, strict=False))
    judged = 0
    for index in indices(together):
        assert (index.vote, list(index.votes)) == (rule, [spec.name for spec in specs])
        given_ = {name: value for name, value in index.votes.items() if value is not None}
        assert index.judged == index.voted == voted(rule, given_, named)
        for name, value in given_.items():
            assert value == alone[name][index.k].fast
        judged += len(given_) == 3
    assert judged > 30
    # What is shown and kept is the preferred bundle's, vote or not.
    plain = flow(specs)
    assert [(s.k, s.bundle, s.logits) for s in scores(together)] == [(s.k, s.bundle, s.logits) for s in scores(plain)]
    assert [(i.fast, i.slow) for i in indices(together)] == [(i.fast, i.slow) for i in indices(plain)]


def test_without_a_vote_nothing_is_added(specs: list[BundleSpec]) -> None:
    for index in indices(flow(specs)):
        assert (index.vote, index.voted, index.votes) == ("", None, {})
        assert index.judged == (None if index.hollow else index.fast)


def test_who_lost_its_signal_does_not_vote_and_chunks_do_not_matter(specs: list[BundleSpec]) -> None:
    events = flow(specs, vote="majority", lost=(50, 60))
    within = [i for i in indices(events) if 56.0 <= i.t_end < 60.0]
    assert within
    assert all(i.votes["tiny-ecg"] is None and i.votes["tiny-both"] is None for i in within)
    assert all(i.voted == i.votes["tiny-eda"] for i in within)
    again = flow(specs, vote="majority")
    for size in (13,):
        other = flow(specs, vote="majority", size=size)
        assert [(i.k, i.voted, i.votes) for i in indices(other)][: SECONDS - 3] == [
            (i.k, i.voted, i.votes) for i in indices(again)
        ][: SECONDS - 3]


def test_who_does_not_believe_its_window_does_not_vote(specs: list[BundleSpec]) -> None:
    doubting = specs[0].model_copy(
        update={"calibration": specs[0].calibration.model_copy(update={"abstain": AbstainSpec(entropy_above=1e-9)})}
    )
    events = flow([doubting, specs[1]], vote="any")
    assert all(score.uncertain for score in scores(events) if not score.absent)
    told = [index for index in indices(events) if index.voted is not None]
    assert len(told) > 30
    assert all(index.votes["tiny-eda"] is None and index.voted == index.votes["tiny-ecg"] for index in told)


# Alarms and settings -------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 100), st.sampled_from([None, 10.0, 60.0, 90.0])), min_size=30, max_size=90))
@settings(max_examples=40, deadline=None)
def test_alarms_rest_on_the_vote_alone(steps: list[tuple[float, float | None]]) -> None:
    def alarms(*, shown: bool) -> list[Any]:
        alarm, found = manager(), []
        for k, (fast, vote) in enumerate(steps):
            index, score = window(k, 50.0)
            index = dataclasses.replace(index, fast=fast if shown else 0.0, vote="any", voted=vote, votes={"a": vote})
            found += alarm.on_index(index, score)
        return brief([e for e in found if isinstance(e, AlarmEvent)])

    assert alarms(shown=True) == alarms(shown=False)


def test_nobody_votes_is_said() -> None:
    alarm, found = manager(), []
    for k in range(40):
        index, score = window(k, 10.0)
        vote = 60.0 if k < 20 else None
        found += alarm.on_index(dataclasses.replace(index, vote="any", voted=vote, votes={"a": vote}), score)
    events = [e for e in found if isinstance(e, AlarmEvent)]
    assert brief(events) == [("pain_moderate", "on", 15.0), ("pain_moderate", "off", 30.0)]
    assert "nobody votes" in events[1].text
    assert events[0].index == 60.0


def test_wrong_settings_are_named_and_all_bundles_count() -> None:
    def said(**bed: Any) -> list[str]:
        return [problem.key for problem in contradictions(Settings(bed=(BedSettings(**bed),)))]

    two = ("a", "b")
    assert said(vote="any", bundles=("a",)) == ["bed[0].vote"]
    assert said(vote="any", bundles=two, vote_weights=(1.0, 2.0)) == ["bed[0].vote_weights"]
    assert said(vote="weighted", bundles=two, vote_weights=(1.0,)) == ["bed[0].vote_weights"]
    assert said(vote="weighted", bundles=two, vote_weights=(1.0, 2.0)) == []
    assert said(vote="weighted", bundles=two) == []
    costs = {"a": 0.15, "b": 0.15}
    assert not overloads([BedSettings(bundles=two)], costs)
    (problem,) = overloads([BedSettings(bundles=two, vote="any")], costs)
    assert "30 %" in str(problem)
