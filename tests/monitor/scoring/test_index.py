"""Properties of the fast and slow pain index."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.scoring.index import IndexTracker
from monitor.types import CalibrationState, PainIndex, Provenance, Score


def make_score(
    k: int,
    index: float | None,
    *,
    hop: float = 1.0,
    bundle: str = "a",
    epoch: int = 0,
    calibration: str = "subject",
    scored: bool | None = None,
) -> Score:
    """Return a score of window `k`; absent where `index` is None, unless `scored` says otherwise."""
    scored = index is not None if scored is None else scored
    return Score(
        bed="bed1",
        bundle=bundle,
        epoch=epoch,
        k=k,
        t_end=1000.0 + k * hop,
        t_rel=k * hop,
        absent=() if scored else ("EDA:gap",),
        calibration=calibration,
        calibration_state=CalibrationState.CALIBRATED,
        classes=("none", "severe"),
        probabilities=(0.5, 0.5) if scored else None,
        index=index,
        logits=(0.0, 0.0) if scored else None,
        quality=(),
        edges_hz={},
        delay_s={},
        window_hash=None,
        provenance=Provenance.SIMULATED,
        decided_at=1000.0 + k * hop,
    )


def run(tracker: IndexTracker, scores: list[Score]) -> list[PainIndex]:
    return [tracker.update(score) for score in scores]


indices = st.lists(st.one_of(st.none(), st.floats(0.0, 100.0)), min_size=1, max_size=160)


@settings(max_examples=60, deadline=None)
@given(values=indices, hop=st.sampled_from([0.25, 0.5, 0.75, 1.0, 2.0, 15.0]))
def test_means_equal_their_definition(values: list[float | None], hop: float) -> None:
    got = run(IndexTracker(hop_s=hop), [make_score(k, value, hop=hop) for k, value in enumerate(values)])
    for k, index in enumerate(got):
        for span, mean, withheld in (
            (10.0, index.fast, index.fast_withheld),
            (120.0, index.slow, index.slow_withheld),
        ):
            fit = [j for j in range(k, k - 1000, -1) if (k - j) * hop < span]
            valid = [v for j in fit if j >= 0 and (v := values[j]) is not None]
            if 2 * len(valid) < len(fit):
                assert (mean, withheld) == (None, "half_empty")
            else:
                assert withheld == ""
                exact = sum((Fraction(v) for v in valid), Fraction(0)) / len(valid)
                assert mean == pytest.approx(float(exact), rel=1e-14, abs=1e-12)


@settings(max_examples=30, deadline=None)
@given(values=indices, before=indices)
def test_bits_do_not_depend_on_what_has_left_the_spans(values: list[float | None], before: list[float | None]) -> None:
    history = before + [None] * 120
    fresh = run(IndexTracker(hop_s=1.0), [make_score(k, value) for k, value in enumerate(values)])
    late = IndexTracker(hop_s=1.0)
    run(late, [make_score(k - len(history), value) for k, value in enumerate(history)])
    assert run(late, [make_score(k, value) for k, value in enumerate(values)]) == fresh


def test_value_dies_with_stream_time_after_the_last_score() -> None:
    tracker = IndexTracker(hop_s=1.0)
    run(tracker, [make_score(k, 80.0) for k in range(20)])
    after = run(tracker, [make_score(k, None) for k in range(20, 26)])
    assert [index.fast for index in after] == [80.0] * 5 + [None]


def test_skipped_windows_count_as_unscored() -> None:
    tracker = IndexTracker(hop_s=1.0)
    run(tracker, [make_score(k, 80.0) for k in range(20)])
    later = tracker.update(make_score(100, 20.0))
    assert later.fast is None
    assert later.fast_withheld == "half_empty"


def test_bundle_switch_withholds_until_half_full() -> None:
    tracker = IndexTracker(hop_s=1.0)
    run(tracker, [make_score(k, 80.0) for k in range(130)])
    got = run(tracker, [make_score(k, 20.0, bundle="b") for k in range(130, 200)])
    assert [index.fast_withheld for index in got[:5]] == ["bundle_changed"] * 4 + [""]
    assert got[4].fast == 20.0
    assert all(index.slow_withheld == "bundle_changed" for index in got[:59])
    assert got[59].slow == 20.0
    assert {index.bundle for index in got} == {"b"}


def test_absent_score_of_another_bundle_is_no_switch() -> None:
    tracker = IndexTracker(hop_s=1.0)
    run(tracker, [make_score(k, 80.0, bundle="b") for k in range(10)])
    index = tracker.update(make_score(10, None, bundle="preferred"))
    assert (index.bundle, index.fast) == ("b", 80.0)


def test_new_epoch_starts_afresh() -> None:
    tracker = IndexTracker(hop_s=1.0)
    run(tracker, [make_score(k, 80.0) for k in range(10)])
    index = tracker.update(make_score(0, 10.0, epoch=1))
    assert (index.fast, index.fast_withheld) == (None, "half_empty")


def test_hollow_until_calibrated_and_scalings_never_mix() -> None:
    tracker = IndexTracker(hop_s=1.0)
    hollow = run(tracker, [make_score(k, 90.0, calibration="population") for k in range(10)])
    assert all(index.hollow for index in hollow)
    solid = run(tracker, [make_score(k, 10.0) for k in range(10, 20)])
    assert not any(index.hollow for index in solid)
    assert {index.fast for index in solid} == {None, 10.0}


def test_bundle_without_index() -> None:
    tracker = IndexTracker(hop_s=1.0)
    index = tracker.update(make_score(0, None, scored=True))
    assert (index.fast, index.slow) == (None, None)
    assert (index.fast_withheld, index.slow_withheld) == ("no_index", "no_index")


def test_windows_out_of_order_are_a_defect() -> None:
    tracker = IndexTracker(hop_s=1.0)
    tracker.update(make_score(3, 1.0))
    with pytest.raises(ValueError, match="came after"):
        tracker.update(make_score(3, 1.0))


@pytest.mark.parametrize("bad", [0.0, -1.0])
def test_spans_must_be_positive(bad: float) -> None:
    with pytest.raises(ValueError, match="positive"):
        IndexTracker(hop_s=bad)


def test_sum_is_exactly_rounded() -> None:
    values = [0.1 * (k % 7) + 33.3 for k in range(10)]
    got = run(IndexTracker(hop_s=1.0), [make_score(k, value) for k, value in enumerate(values)])
    assert got[-1].fast == math.fsum(reversed(values)) / 10
