"""What is drawn of attention: on the right signal, at the right moment, and nothing where there is no focus."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.screen_frames import attention
from monitor.dashboard.attention import NO_FOCUS, normalised_entropy, shadings
from monitor.dashboard.attention_cards import MapCard, ProfileCard, cards
from monitor.link import AttentionFrame, AttentionInput, AttentionMap


def one_map(values: np.ndarray, **changes: object) -> AttentionFrame:
    """A frame with a single map of EDA over 10 points at 2 Hz with a delay of 0.25 s."""
    fields = {"name": "x", "kind": "self", "axis": "time", "of": "EDA", "by": "EDA"} | changes
    item = AttentionMap(shape=values.shape, x=values.astype("<f4").tobytes(), **fields)
    grid = AttentionInput(modality="EDA", samples=10, rate_hz=2.0, delay_s=0.25)
    return attention(100).model_copy(update={"inputs": (grid,), "maps": (item,)})


def test_shading_stands_on_the_raw_signal_at_the_moment_that_is_meant() -> None:
    weights = np.full(10, 0.01)
    weights[7] = 0.91
    shading = shadings(one_map(weights))["EDA"]
    assert shading.focus
    assert int(shading.strength.argmax()) == 7
    # Point j lies at t_end - (9 - j) / 2, and the filter made it 0.25 s late.
    middle = shading.start + (7 + 0.5) * shading.width
    assert middle == pytest.approx(100.0 - (9 - 7) / 2.0 - 0.25 - 0.25)


def test_self_attention_stands_in_by_its_mean_over_queries_and_temporal_wins() -> None:
    square = np.full((10, 10), 0.01)
    square[:, 3] = 0.91
    frame = one_map(square)
    assert int(shadings(frame)["EDA"].strength.argmax()) == 3
    temporal = np.full(10, 0.01)
    temporal[8] = 0.91
    both = frame.model_copy(update={"maps": (*one_map(temporal, kind="temporal").maps, *frame.maps)})
    assert int(shadings(both)["EDA"].strength.argmax()) == 8


@pytest.mark.parametrize("axis", ["token", "channel", "image", "modality"])
def test_only_maps_over_time_are_drawn_over_a_waveform(axis: str) -> None:
    frame = one_map(np.eye(10), axis=axis)
    assert shadings(frame) == {}
    assert not any("time" in card.note or isinstance(card, ProfileCard) for card in cards(frame))


def test_a_flat_map_has_no_focus_and_no_colour() -> None:
    frame = attention(30, flat=True)
    assert not any(item.focus or item.strength.any() for item in shadings(frame).values())
    assert not any(item.focus or item.strength.any() for item in cards(frame))
    assert all(item.focus for item in shadings(attention(30)).values())
    crossed = [card for card in cards(attention(30)) if isinstance(card, MapCard)]
    assert [card.title for card in crossed] == ["EDA reads ECG", "ECG reads EDA"]
    assert all(card.focus and card.strength.max() == 1.0 for card in crossed)


@pytest.mark.parametrize("broken", [np.full(10, np.nan), np.ones(9), np.zeros(10)])
def test_what_cannot_be_attention_is_not_drawn(broken: np.ndarray) -> None:
    found = shadings(one_map(broken))
    assert all(not item.focus or not item.strength.any() for item in found.values())


@settings(max_examples=50, deadline=None)
# As wide as maps are on the wire; the smallest float64 halved is nothing, and nothing has no scale.
@given(
    weights=st.lists(st.floats(0, 1, width=32, allow_subnormal=False), min_size=2, max_size=60),
    factor=st.floats(0.01, 100),
)
def test_entropy_is_a_share_and_does_not_depend_on_scale(weights: list[float], factor: float) -> None:
    entropy = normalised_entropy(np.array(weights))
    assert 0.0 <= entropy <= 1.0 + 1e-9
    assert normalised_entropy(factor * np.array(weights)) == pytest.approx(entropy, abs=1e-6)


def test_entropy_is_one_for_all_alike_and_nothing_for_a_single_point() -> None:
    assert normalised_entropy(np.ones(138)) == pytest.approx(1.0)
    assert normalised_entropy(np.eye(138)) == pytest.approx(0.0)
    assert normalised_entropy(np.ones(138)) > NO_FOCUS
