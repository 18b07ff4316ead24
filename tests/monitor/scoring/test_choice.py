"""Down at once, up after ten seconds."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.scoring.choice import UP_AFTER_S, BundleChooser


@settings(max_examples=60, deadline=None)
@given(
    usable=st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), max_size=60),
    hop_s=st.sampled_from([0.25, 1.0, 2.5]),
)
def test_a_usable_window_is_scored_and_a_better_bundle_waits_its_time(
    usable: list[tuple[bool, bool, bool]], hop_s: float
) -> None:
    chooser = BundleChooser(count=3, hop_s=hop_s)
    streak = [0.0, 0.0, 0.0]
    before: int | None = None
    for row in usable:
        streak = [s + hop_s if ok else 0.0 for s, ok in zip(streak, row, strict=True)]
        chosen = chooser.choose(row)
        assert (chosen is None) == (not any(row))
        if chosen is None:
            continue
        assert row[chosen]
        if before is not None and row[before] and chosen != before:
            assert chosen < before
            assert streak[chosen] >= UP_AFTER_S
        before = chosen


def test_the_walk_down_and_up_again() -> None:
    chooser = BundleChooser(count=2, hop_s=1.0)
    chosen = [chooser.choose([5 <= k < 20 or k >= 22, True]) for k in range(40)]
    assert chosen[:5] == [1] * 5
    assert chosen[5:14] == [1] * 9
    assert chosen[14:20] == [0] * 6
    assert chosen[20:31] == [1] * 11
    assert chosen[31:] == [0] * 9
