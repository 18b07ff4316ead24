"""What the panel shows of each kind of map: its numbers are the map's, and nothing is given a place that it has not."""

from __future__ import annotations

import cbor2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.screen_frames import attention, calm_patient
from benchmarks.screen_models import (
    REGIONS,
    fusion_attention,
    gated_attention,
    posed_frame,
    posed_map,
    region_attention,
    rollout_attention,
)
from monitor.dashboard.attention import shadings
from monitor.dashboard.attention_cards import (
    PAGE,
    STRONGEST,
    GateCard,
    MapCard,
    PictureCard,
    ProfileCard,
    RankedCard,
    ShareCard,
    cards,
    pages,
)
from monitor.dashboard.attention_paint import overlay
from monitor.frames import parse
from monitor.link import AttentionFrame, AttentionInput

POSED = (attention, fusion_attention, gated_attention, rollout_attention, region_attention)


def frame_of(
    values: np.ndarray, name: str, kind: str, axis: str, *, inputs: tuple[str, ...] = ("EDA",)
) -> AttentionFrame:
    """One map of all inputs, each of one channel of 10 points."""
    grids = tuple(AttentionInput(modality=m, samples=10, rate_hz=2.0, delay_s=0.0, name=m.lower()) for m in inputs)
    return posed_frame(30, grids, [posed_map(name, kind, axis, values, "+".join(grid.name for grid in grids))])


def regions(weights: np.ndarray) -> RankedCard:
    grid = AttentionInput(
        modality="ARRAY:regions", samples=25, rate_hz=1.0, delay_s=0.0, name="regions", channels=len(weights)
    )
    (card,) = cards(posed_frame(30, (grid,), [posed_map("channel.regions", "channel", "channel", weights, "regions")]))
    assert isinstance(card, RankedCard)
    return card


@pytest.mark.parametrize("made", POSED)
def test_every_card_has_a_title_of_its_own_and_fits_its_page(made: object) -> None:
    found = cards(made(30))  # type: ignore[operator]
    assert found
    assert len({card.title + card.note for card in found}) == len(found) == len({card.name for card in found})
    paged = pages(found)
    assert [card for group in paged for card in group] == list(found)
    assert all(group and sum(card.width for card in group) <= PAGE for group in paged)


def test_streams_of_one_signal_are_told_apart() -> None:
    grid = AttentionInput(modality="ECG", samples=10, rate_hz=2.0, delay_s=0.0, name="ecg")
    kinds = {"self.fcn": "self", "self.alstm": "self", "cross.fcn_from_alstm": "cross", "self.ecg": "self"}
    maps = [posed_map(name, kind, "time", np.eye(10), "ecg") for name, kind in kinds.items()]
    titles = [card.title for card in cards(posed_frame(30, (grid,), maps))]
    assert titles == [
        "ECG: self-attention (FCN)",
        "ECG: self-attention (ALSTM)",
        "ECG: FCN reads ALSTM",
        "ECG: self-attention",
    ]


def test_no_cards_are_one_empty_page() -> None:
    assert pages(()) == ((),)


def test_what_tells_most_comes_first() -> None:
    kinds = [type(card) for card in cards(fusion_attention(30))]
    assert kinds == [ShareCard, *[GateCard] * 3, *[MapCard] * 6]
    assert [type(card) for card in cards(attention(30))] == [MapCard, MapCard, ProfileCard, ProfileCard]
    # The gates of a picture stand on one page with it.
    assert [[type(card) for card in group] for group in pages(cards(gated_attention(30)))] == [
        [PictureCard, GateCard, GateCard]
    ] * 2


def test_tokens_are_never_a_time_and_never_shade_a_waveform() -> None:
    frame = fusion_attention(30)
    assert any(item.axis == "token" for item in frame.maps)
    assert shadings(frame) == {}
    tokens = [card for card in cards(frame) if isinstance(card, MapCard)]
    assert all(card.note == "tokens mix the whole window" for card in tokens)
    # Not even where there are as many tokens as points.
    assert shadings(frame_of(np.eye(10), "self.0", "self", "token")) == {}


@pytest.mark.parametrize(
    ("name", "kind", "axis", "shape"),
    [
        ("self.0", "self", "token", (75, 75)),
        ("self.eda", "self", "time", (10, 10)),
        ("temporal.eda", "temporal", "time", (10,)),
        ("rollout", "rollout", "image", (14, 14)),
    ],
)
def test_a_uniform_map_has_no_focus_and_no_colour(name: str, kind: str, axis: str, shape: tuple[int, ...]) -> None:
    noise = np.random.Generator(np.random.PCG64(5)).random(shape)
    (flat,) = cards(frame_of(1.0 + 0.01 * noise, name, kind, axis))
    (sharp,) = cards(frame_of(noise**40, name, kind, axis))
    assert isinstance(flat, MapCard | ProfileCard | PictureCard)
    assert isinstance(sharp, MapCard | ProfileCard | PictureCard)
    assert not flat.focus
    assert flat.strength is not None
    assert not flat.strength.any()
    assert sharp.focus
    assert sharp.strength is not None
    assert sharp.strength.max() == 1.0


def test_weights_of_modalities_are_shown_as_they_are() -> None:
    weights = np.array([0.7, 0.1, 0.2])
    (card,) = cards(frame_of(weights, "modality", "modality", "modality", inputs=("EDA", "ECG", "EMG")))
    assert isinstance(card, ShareCard)
    assert card.names == ("EDA", "ECG", "EMG")
    assert card.shares == pytest.approx(weights)
    (alike,) = cards(frame_of(np.full(3, 1 / 3), "modality", "modality", "modality", inputs=("EDA", "ECG", "EMG")))
    assert "no focus" in alike.note
    assert isinstance(alike, ShareCard)
    assert alike.shares == pytest.approx([1 / 3] * 3)


@settings(max_examples=40, deadline=None)
@given(weights=arrays(np.float32, REGIONS, elements=st.floats(0, 1, width=32)))
def test_the_ranked_list_is_the_array(weights: np.ndarray) -> None:
    card = regions(weights)
    assert card.active is bool(np.ptp(weights.astype(np.float64)) > 1e-6)
    numbers = [int(name.removeprefix("region ")) for name, _ in card.entries]
    assert len(set(numbers)) == STRONGEST
    assert [value for _, value in card.entries] == [weights[number - 1] for number in numbers]
    assert [value for _, value in card.entries] == sorted(weights.tolist(), reverse=True)[:STRONGEST]
    assert np.array_equal(card.values, weights)


def test_regions_are_numbered_from_one() -> None:
    weights = np.zeros(REGIONS)
    weights[14] = 0.83
    assert regions(weights).entries[0] == ("region 15", pytest.approx(0.83))


def test_gates_are_shown_from_nought_to_one_and_are_inactive_where_all_are_alike() -> None:
    values = np.linspace(0.2, 0.4, 30)
    frame = frame_of(values, "channel.se", "channel", "channel", inputs=("EDA", "ECG"))
    (card,) = cards(frame)
    assert isinstance(card, GateCard)
    assert card.active
    assert card.values == pytest.approx(values)  # not stretched
    assert card.title == "SE gates"
    (off,) = cards(frame_of(np.full(30, 0.5), "channel.se", "channel", "channel"))
    assert isinstance(off, GateCard)
    assert not off.active
    assert "SE inactive" in off.note
    (expert,) = cards(frame_of(np.linspace(0, 1, 96), "gate.2", "gate", "channel"))
    assert expert.title == "expert 2 gates"


def test_a_roll_out_lies_on_the_picture_that_the_model_saw() -> None:
    frame = rollout_attention(30, calm_patient())
    found = cards(frame)
    assert [card.title for card in found] == ["ECG spectrogram PSD", "EDA waveform"]
    for card, image, item in zip(found, frame.images, frame.maps, strict=True):
        assert isinstance(card, PictureCard)
        assert card.pixels is not None
        assert card.pixels.tobytes() == image.x
        assert card.strength is not None
        assert np.unravel_index(card.strength.argmax(), (14, 14)) == np.unravel_index(item.values.argmax(), (14, 14))
        assert overlay(card.strength)[..., 3].argmax() == item.values.argmax()
    assert not any(card.focus for card in cards(rollout_attention(30, flat=True)) if isinstance(card, PictureCard))


def test_pictures_come_over_the_wire_as_they_are_and_a_frame_without_them_is_read() -> None:
    frame = rollout_attention(30)
    sent = cbor2.loads(cbor2.dumps(frame.model_dump()))
    received = parse(AttentionFrame, sent)
    assert [image.pixels.shape for image in received.images] == [(224, 224, 3)] * 2
    assert [image.x for image in received.images] == [image.x for image in frame.images]
    del sent["images"]  # as of an engine that knows none
    assert parse(AttentionFrame, sent).images == ()


def test_a_picture_that_is_not_whole_is_not_drawn() -> None:
    frame = rollout_attention(30)
    broken = frame.model_copy(update={"images": tuple(i.model_copy(update={"x": i.x[:-1]}) for i in frame.images)})
    assert [card.pixels for card in cards(broken) if isinstance(card, PictureCard)] == [None, None]
    none = cards(frame.model_copy(update={"images": ()}))
    assert all("picture not sent" in card.note for card in none)


@pytest.mark.parametrize("broken", [np.full(3, np.nan), np.array([0.5, np.inf, 0.1]), np.empty(0)])
@pytest.mark.parametrize("axis", ["time", "modality", "channel"])
def test_what_cannot_be_attention_has_no_card(broken: np.ndarray, axis: str) -> None:
    assert cards(frame_of(broken, "x", "self", axis, inputs=("EDA", "ECG", "EMG"))) == ()


def test_an_older_engine_that_names_no_inputs_is_understood() -> None:
    frame = fusion_attention(30)
    older = frame.model_copy(
        update={
            "inputs": tuple(item.model_copy(update={"name": ""}) for item in frame.inputs),
            "maps": tuple(item.model_copy(update={"of_input": "", "by_input": ""}) for item in frame.maps),
        }
    )
    assert [type(card) for card in cards(older)] == [type(card) for card in cards(frame)]
