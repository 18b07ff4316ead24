"""The window with every kind of model: its attention, what it is, and no index where it has none."""

from __future__ import annotations

import re

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QWidget
from pytestqt.qtbot import QtBot

from benchmarks.screen_frames import alarm_view, bed_state, stream_view
from benchmarks.screen_models import PosedModel, posed_models, rollout_attention
from monitor.dashboard import theme
from monitor.dashboard.attention_cards import GateCard, MapCard, PictureCard, RankedCard, ShareCard
from monitor.link import IndexView, MarkerView, QualityView, StreamView
from tests.helpers.screen import SIX, Screen, cut_off, ink, squeezed, texts

SIZES = [(960, 540), (1024, 720), (1280, 800), (1920, 1080)]
MODELS = posed_models()
WITHOUT = [name for name, model in MODELS.items() if not model.view.has_index]
NO_INDEX = IndexView(fast=None, slow=None, fast_withheld="no_index", slow_withheld="no_index", hollow=True)


def see(screen: Screen, model: PosedModel, k: int, **changes: object) -> None:
    """Window k of a model."""
    bed = bed_state(k=k)
    assert bed.score is not None
    fields: dict[str, object] = {
        "bundles": (model.view, *bed.bundles[1:]),
        "streams": (*(stream_view(name) for name in SIX), *model.streams),
        "score": bed.score.model_copy(update={"classes": model.classes}),
        "quality": tuple(
            QualityView(modality=name, usable=True, reasons=(), grade="", metrics={}) for name in model.view.modalities
        ),
    }
    if not model.view.has_index:
        fields["index"] = NO_INDEX
        fields["score"] = bed.score.model_copy(update={"classes": model.classes, "levels": (0, 0.5, 1), "index": None})
    screen.see(k, maps=model.attention(k), **(fields | changes))


def said(screen: Screen) -> list[str]:
    names = [widget.accessibleName() for widget in screen.window.findChildren(QWidget) if widget.isVisible()]
    return texts(screen.window) + [name for name in names if name]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", list(MODELS))
def test_nothing_is_cut_off_and_the_notice_is_read_whole(screen: Screen, size: tuple[int, int], name: str) -> None:
    screen.window.resize(*size)
    QApplication.processEvents()
    for k in (29, 30):
        see(screen, MODELS[name], k)
    screen.window.attention.next_page()
    screen.window.tick()
    QApplication.processEvents()
    assert (screen.window.width(), screen.window.height()) == size
    assert cut_off(screen.window) == []
    assert squeezed(screen.window) == []
    notice = screen.window.header.notice
    assert notice.text().replace("\n", " ") == MODELS[name].view.notice
    assert notice.isVisible() is bool(MODELS[name].view.notice)
    if notice.isVisible():
        lines = notice.text().split("\n")
        assert max(map(notice.fontMetrics().horizontalAdvance, lines)) < notice.width()
        assert len(lines) * notice.fontMetrics().height() <= notice.height()


@pytest.mark.parametrize(
    ("name", "kind"),
    [("modalities", ShareCard), ("gates", PictureCard), ("untrained", PictureCard), ("emotion", RankedCard)],
)
def test_every_model_has_its_own_attention_and_shades_no_waveform(screen: Screen, name: str, kind: type) -> None:
    see(screen, MODELS[name], 30)
    panel = screen.window.attention
    assert isinstance(panel.shown[0], kind)
    assert "not a cause" in panel.said
    assert not any(row._shade.isVisible() for row in screen.window.waveforms._rows.values())
    for widget, card in zip(panel._widgets, panel.shown, strict=False):
        assert widget.isVisible()
        assert widget.card is card
        assert ink(screen.window, widget) > 100


def test_all_maps_are_reached_by_key_and_by_button(screen: Screen, qtbot: QtBot) -> None:
    see(screen, MODELS["modalities"], 30)
    panel = screen.window.attention
    assert "V" in screen.window.status.full_text
    seen = [card.name for card in panel.shown]
    qtbot.keyClick(screen.window, Qt.Key.Key_V)
    seen += [card.name for card in panel.shown]
    assert all(isinstance(card, MapCard) for card in panel.shown)
    see(screen, MODELS["modalities"], 31)  # the next window stays on the page
    assert [card.name for card in panel.shown] == seen[4:]
    qtbot.mouseClick(panel.more, Qt.MouseButton.LeftButton)
    seen += [card.name for card in panel.shown]
    assert sorted(seen) == sorted(item.name for item in MODELS["modalities"].attention(30).maps)
    qtbot.mouseClick(panel.more, Qt.MouseButton.LeftButton)
    assert [card.name for card in panel.shown] == seen[:4]
    see(screen, MODELS["emotion"], 32)
    assert not panel.more.isVisible()
    assert len(panel.shown) == 1


def test_a_page_outlives_a_window_without_a_score(screen: Screen) -> None:
    see(screen, MODELS["gates"], 30)
    screen.window.attention.next_page()
    before = [card.name for card in screen.window.attention.shown]
    screen.see(31, attentive=False, absent=("EDA:flat",))
    assert screen.window.attention.shown == ()
    assert not any(widget.isVisible() for widget in screen.window.attention._widgets)
    see(screen, MODELS["gates"], 32)
    assert [card.name for card in screen.window.attention.shown] == before
    assert any(isinstance(card, GateCard) for card in screen.window.attention.shown)


def test_a_flat_roll_out_is_said_to_have_no_focus(screen: Screen) -> None:
    model = MODELS["untrained"]
    see(screen, model, 30)
    (first, _) = screen.window.attention._widgets
    sharp = first.grab().toImage()
    bed = bed_state(k=31)
    screen.see(31, maps=rollout_attention(31, flat=True), bundles=(model.view, *bed.bundles[1:]), index=NO_INDEX)
    assert not any(card.focus for card in screen.window.attention.shown if isinstance(card, PictureCard))
    blue = [colours(image) for image in (sharp, first.grab().toImage())]
    assert blue[0] > 50
    assert blue[1] == 0


def colours(image: object) -> int:
    """Pixels in the colour of a roll-out: more blue than anything else, by far."""
    count = 0
    for y in range(20, image.height() - 20, 2):  # type: ignore[attr-defined]
        for x in range(image.width() // 2 - 60, image.width(), 2):  # type: ignore[attr-defined]
            pixel = image.pixelColor(x, y)  # type: ignore[attr-defined]
            count += pixel.blue() > pixel.red() + 60 and pixel.blue() > pixel.green() + 40
    return count


@pytest.mark.parametrize("name", WITHOUT)
def test_without_an_index_there_is_no_number_for_one_anywhere(screen: Screen, name: str) -> None:
    see(screen, MODELS[name], 30)
    window = screen.window
    assert window.index.number.reading is None
    everything = said(screen)
    assert "NO INDEX" in everything
    assert MODELS[name].view.notice in everything
    assert any("no index with this model" in text for text in everything)
    assert not any(re.search(r"index \d|INDEX 0|mean of|hollow|pain index", text, re.IGNORECASE) for text in everything)
    assert not window.index.slow.isVisible()
    assert not any(item.isVisible() for item in (window.trend._fast, window.trend._slow, *window.trend._limits))
    assert "No pain alarms with this model" in window.alarms.text.full_text


@pytest.mark.parametrize("name", WITHOUT)
def test_an_index_that_was_there_before_is_not_shown_as_this_models(screen: Screen, name: str) -> None:
    screen.see(30, fast=77.0)
    assert screen.window.index.number.reading is not None
    assert screen.window.index.number.reading.text == "77"
    still = IndexView(fast=77.0, slow=60.0, fast_withheld="", slow_withheld="", hollow=False)
    see(screen, MODELS[name], 31, index=still)
    assert screen.window.index.number.reading is None
    assert not any("77" in text or "60" in text for text in texts(screen.window.index))
    screen.see(32, fast=20.0)
    assert screen.window.index.number.reading is not None
    assert screen.window.index.number.reading.text == "20"
    assert not screen.window.index.notice.isVisible()
    assert screen.window.trend._fast.isVisible()


@pytest.mark.parametrize("name", WITHOUT)
def test_classes_that_are_no_levels_of_pain_have_no_colour_of_one(screen: Screen, name: str) -> None:
    screen.see(30)
    assert {colour for _, _, colour in screen.window.index._bars._rows} == {
        theme.level_colour(level) for level in (0.0, 0.5, 1.0)
    }
    see(screen, MODELS[name], 31)
    rows = screen.window.index._bars._rows
    assert [row[0] for row in rows] == list(MODELS[name].classes)
    assert {colour for _, _, colour in rows} == {theme.ACCENT}
    assert screen.window.index.number.class_name in MODELS[name].classes


@pytest.mark.parametrize("name", WITHOUT)
def test_technical_alarms_and_reported_pain_are_shown_without_an_index_too(screen: Screen, name: str) -> None:
    nrs = MarkerView(t=29.0, kind="nrs", text="", value=6.0, actor="nurse")
    see(screen, MODELS[name], 30, alarms=(alarm_view("no_data", index=None),), markers=(nrs,))
    assert "No data" in screen.window.alarms.text.full_text
    assert len(screen.window.trend._scores.data) == 1


@pytest.mark.parametrize("alarms", [(), (alarm_view("unscorable", causes=("regions:no_data",), index=None),)])
def test_without_a_score_it_says_why(screen: Screen, alarms: tuple[object, ...]) -> None:
    see(screen, MODELS["emotion"], 30)
    bed = bed_state(k=31, absent=("ARRAY:regions:no_data",))
    see(screen, MODELS["emotion"], 31, score=bed.score, alarms=alarms)
    assert "sensor is silent" in screen.window.index.reason.text()
    assert screen.window.index.number.class_name == ""


def test_nine_classes_have_room(screen: Screen) -> None:
    bed = bed_state(k=30)
    assert bed.score is not None
    score = bed.score.model_copy(
        update={
            "classes": tuple(f"level {n}" for n in range(-4, 5)),
            "levels": (0.0,) * 9,
            "probabilities": (1 / 9,) * 9,
        }
    )
    see(screen, MODELS["emotion"], 30, score=score)
    bars = screen.window.index._bars
    assert len(bars._rows) == 9
    assert bars.height() >= 9 * 11
    assert cut_off(screen.window) == []


def test_streams_of_many_channels_are_a_line_and_no_trace(screen: Screen) -> None:
    see(screen, MODELS["emotion"], 30)
    panel = screen.window.waveforms
    assert set(panel.rows) == set(SIX)
    assert "ARRAY:regions   246 channels at 1.0 Hz · newest 0.4 s ago" in texts(panel)
    silent = MODELS["emotion"].streams[0].model_copy(update={"age_s": 30.0})
    see(screen, MODELS["emotion"], 31, streams=(silent,))
    assert panel.rows == ()
    assert any("no signal for 30 s" in text for text in texts(panel))
    see(screen, MODELS["emotion"], 32, streams=())
    assert not any("246" in text for text in texts(panel))
    assert "waiting for signals" in texts(panel)


def test_an_older_engine_that_tells_no_channels_is_understood(screen: Screen) -> None:
    fields = MODELS["emotion"].streams[0].model_dump(exclude={"channels"})
    screen.see(30, streams=(stream_view("ECG"),))
    screen.window.waveforms.refresh_streams((stream_view("ECG"), StreamView(**fields)))
    assert screen.window.waveforms.rows == ("ECG",)


def test_attention_of_another_model_is_not_shown(screen: Screen) -> None:
    other = MODELS["emotion"].attention(30).model_copy(update={"bundle": "another"})
    screen.see(30, maps=other)
    assert screen.window.attention.shown == ()
