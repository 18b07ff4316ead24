"""The window: it draws what it is told, asks when somebody acts, and shows nothing before it is confirmed."""

from __future__ import annotations

import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QApplication, QMessageBox
from pytestqt.qtbot import QtBot

from benchmarks.screen_frames import (
    POSED_BUNDLE,
    ScriptedLink,
    alarm_view,
    attention,
    bed_state,
    bundle_view,
    state,
    stream_view,
    wave,
)
from monitor.bundle_folder import shipped_bundles
from monitor.dashboard import words
from monitor.dashboard.window import DashboardWindow
from monitor.link import CalibrationView, LimitsView, MarkerView, StateFrame
from tests.helpers.screen import SIX, Screen, cut_off, ink, squeezed, texts

SIZES = [(960, 540), (1280, 800), (1920, 1080)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("what", ["calm", "alarming", "calibrating", "absent", "lost"])
def test_nothing_is_cut_off(screen: Screen, size: tuple[int, int], what: str) -> None:
    screen.window.resize(*size)
    QApplication.processEvents()
    changes: dict[str, object] = {
        "calm": {},
        "alarming": {"fast": 100.0, "alarms": (alarm_view(), alarm_view("unscorable"))},
        "calibrating": {"calibration": CalibrationView(state="calibrating", valid_s=10.0, needed_s=120.0)},
        "absent": {"fast": None, "absent": ("EDA:skin_temperature", "EDA:artefact", "ECG:warming_up")},
        "lost": {},
    }[what]
    for k in (29, 30):
        screen.see(k, **changes)
    if what == "lost":
        screen.now += 30.0
        screen.window.tick()
        QApplication.processEvents()
    assert (screen.window.width(), screen.window.height()) == size
    assert cut_off(screen.window) == []
    assert squeezed(screen.window) == []


def test_the_longest_names_leave_room_for_who_the_patient_is(screen: Screen) -> None:
    name = max(shipped_bundles(), key=len)
    view = bundle_view(name, ("EDA", "ECG", "EMG"))
    for k in (29, 30):
        screen.see(k, subject="sim-demo-0023", bundle=name, bundles=(view,))
    assert cut_off(screen.window) == []
    assert "Subject sim-demo-0023" in texts(screen.window.header)
    code = f"{'a' * 30}-{'b' * 30}-17"  # the longest that is allowed
    for k in (31, 32):
        screen.see(k, subject=code, bundle=name, bundles=(view,))
    assert screen.window.header._subject.text().endswith("b-17")  # codes differ at their ends
    assert screen.window.header._subject.toolTip() == f"Subject {code}"


def test_a_bundle_that_steps_in_is_named_with_what_it_reads(screen: Screen) -> None:
    screen.see(30)
    assert "reads EDA+ECG" in texts(screen.window.header)
    screen.see(31, bundle="crossmod-eda-bvp")
    assert "now scored by crossmod-eda-bvp: EDA+BVP" in texts(screen.window.header)


def test_what_needs_no_baseline_offers_none(screen: Screen) -> None:
    screen.see(30)
    assert screen.window.quality.recalibrate.isVisible()
    screen.see(31, calibration=CalibrationView(state="unspecified", valid_s=0.0, needed_s=0.0))
    assert not screen.window.quality.recalibrate.isVisible()


def test_what_this_is_and_whose_signals_these_are_always_stands_there(screen: Screen) -> None:
    screen.see()
    said = texts(screen.window)
    assert words.BANNER in said
    assert "SIMULATED SIGNALS" in said
    assert any("trained on simulated patients" in text for text in said)
    screen.see(31, provenance="replay")
    assert "REPLAY" in texts(screen.window)
    screen.see(32, provenance="live")
    assert not {"REPLAY", "SIMULATED SIGNALS"} & set(texts(screen.window))


def test_every_modality_has_a_trace_with_its_unit(screen: Screen) -> None:
    for k in range(25, 31):
        screen.see(k)
    assert set(screen.window.waveforms.rows) == set(SIX)
    said = " ".join(texts(screen.window.waveforms))
    assert all(name in said for name in SIX)
    assert all(unit in said for unit in ("mV", "µS", "a.u.", "%"))
    rows = [screen.window.waveforms._rows[key] for key in SIX]
    assert all(len(row._curve.getData()[0]) > 3 for row in rows)
    assert all(row._curve.opts["pen"].widthF() <= 1 for row in rows)


def test_attention_is_drawn_while_its_window_has_a_score_and_hidden_with_it(screen: Screen) -> None:
    screen.see(30)
    shade = screen.window.waveforms._rows["ECG"]._shade
    assert shade.isVisible()
    assert not screen.window.waveforms._rows["BVP"]._shade.isVisible()
    assert "not a cause" in screen.window.attention.said
    screen.see(31, attentive=False, absent=("EDA:flat",), fast=40.0)
    screen.window.waveforms.draw(31.0)
    assert not shade.isVisible()
    assert "no score" in screen.window.attention.said


def test_flat_attention_is_said_to_have_no_focus(screen: Screen) -> None:
    screen.see(30, flat=True)
    screen.see(31, flat=True)
    assert not screen.window.waveforms._rows["ECG"]._shade.isVisible()
    assert any("no focus on" in text for text in texts(screen.window.waveforms))


def test_attention_of_another_session_is_not_shown(screen: Screen) -> None:
    screen.see(30, session="s2")
    assert not screen.window.waveforms._rows["ECG"]._shade.isVisible()


def test_a_hollow_index_is_outlined(screen: Screen) -> None:
    screen.see(30)
    number = screen.window.index.number
    filled = ink(screen.window, number)
    bed = bed_state(k=31)
    assert bed.index is not None
    screen.see(31, index=bed.index.model_copy(update={"hollow": True}))
    assert 0 < ink(screen.window, number) < 0.8 * filled
    assert any("not calibrated" in text for text in texts(screen.window.index))
    assert any("Pain alarms are off" in text for text in texts(screen.window.alarms))


def test_a_click_on_the_pad_asks_and_the_entry_shows_when_it_is_confirmed(screen: Screen, qtbot: QtBot) -> None:
    screen.see(30)
    qtbot.mouseClick(screen.window.entries.pad.buttons[7], Qt.MouseButton.LeftButton)
    assert ("nrs", {"value": 7.0}) in screen.link.asked
    assert "Nothing entered" in screen.window.entries.last.full_text
    screen.see(31, markers=(MarkerView(t=30.5, kind="nrs", text="", value=7.0, actor="nurse"),))
    assert "NRS 7" in screen.window.entries.last.full_text


@pytest.mark.parametrize(("keys", "value"), [("7", 7.0), ("10", 10.0), ("0", 0.0), ("12", 2.0), ("44", 4.0)])
def test_a_score_from_the_keyboard_needs_enter(screen: Screen, qtbot: QtBot, keys: str, value: float) -> None:
    screen.see(30)
    pad = screen.window.entries.pad
    pad.begin()
    qtbot.keyClicks(pad, keys)
    assert not [asked for asked in screen.link.asked if asked[0] == "nrs"]
    qtbot.keyClick(pad, Qt.Key.Key_Return)
    assert ("nrs", {"value": value}) in screen.link.asked


def test_escape_forgets_a_typed_score(screen: Screen, qtbot: QtBot) -> None:
    screen.see(30)
    pad = screen.window.entries.pad
    pad.begin()
    qtbot.keyClicks(pad, "9")
    qtbot.keyClick(pad, Qt.Key.Key_Escape)
    pad.begin()
    qtbot.keyClick(pad, Qt.Key.Key_Return)
    assert not [asked for asked in screen.link.asked if asked[0] == "nrs"]


def test_markers_take_the_text_along_and_a_note_needs_one(screen: Screen, qtbot: QtBot) -> None:
    screen.see(30)
    entries = screen.window.entries
    qtbot.mouseClick(entries.buttons["note"], Qt.MouseButton.LeftButton)
    assert not [asked for asked in screen.link.asked if asked[0] == "marker"]
    entries.note.setText("  turned to the left  ")
    qtbot.mouseClick(entries.buttons["movement"], Qt.MouseButton.LeftButton)
    assert screen.link.asked[-1] == ("marker", {"kind": "movement", "text": "turned to the left"})
    assert entries.note.text() == ""


def test_an_alarm_is_acknowledged_from_its_line(screen: Screen, qtbot: QtBot) -> None:
    screen.see(30, fast=78.0, alarms=(alarm_view(),))
    qtbot.mouseClick(screen.window.alarms.button, Qt.MouseButton.LeftButton)
    assert screen.link.asked[-1] == ("acknowledge", {"condition": "pain_severe"})
    screen.see(31, fast=78.0, alarms=(alarm_view(presence="ack"),))
    assert not screen.window.alarms.button.isVisible()
    assert "acknowledged" in screen.window.alarms.text.full_text


def test_a_bundle_is_chosen_by_the_engine_and_not_by_the_box(screen: Screen) -> None:
    screen.see(30)
    box = screen.window.header.bundles
    box.setCurrentIndex(1)
    box.activated.emit(1)
    assert screen.link.asked[-1] == ("choose_bundle", {"bundle": "crossmod-eda-bvp"})
    assert box.currentText() == POSED_BUNDLE
    bundles = tuple(reversed(bed_state().bundles))
    screen.see(31, bundles=bundles)
    assert box.currentText() == "crossmod-eda-bvp"


def test_pause_stops_the_traces_and_nothing_else(screen: Screen) -> None:
    screen.see(30)
    screen.window.header.pause.setChecked(True)
    row = screen.window.waveforms._rows["ECG"]
    before = row._curve.getData()[1].tolist()
    screen.see(31, fast=66.0)
    assert row._curve.getData()[1].tolist() == before
    assert any("PAUSED" in text for text in texts(screen.window.waveforms))
    assert screen.window.index.number.reading is not None
    assert screen.window.index.number.reading.text == "66"
    screen.window.header.pause.setChecked(False)
    screen.see(32)
    assert row._curve.getData()[1].tolist() != before


def test_changed_limits_and_silent_sensors_are_said(screen: Screen) -> None:
    screen.see(30, limits=LimitsView(moderate_on=40.0, severe_on=70.0, changed=("moderate_on",)))
    assert "Limits changed from default" in screen.window.alarms.text.full_text
    screen.see(31, streams=(stream_view("ECG", age_s=9.0), stream_view("EDA")))
    assert any("no signal for 9 s" in text for text in texts(screen.window.quality))


def test_a_refusal_is_told(screen: Screen) -> None:
    screen.see(30)
    screen.window.ask("recalibrate")
    screen.link.give(replies=(screen.link.reply("recalibrate", ok=False, error="that cannot be"),))
    screen.window.tick()
    assert "calibration was not done: that cannot be" in screen.window.status.full_text


def test_an_engine_of_another_version_is_told(screen: Screen) -> None:
    screen.link.problem = "the engine speaks version 2 of the link, this reader 1"
    screen.window.tick()
    assert "speaks version 2" in screen.window.status.full_text


@pytest.mark.parametrize(("answer", "closed"), [("No", False), ("Yes", True)])
def test_closing_asks_where_it_would_stop_something(
    screen: Screen, monkeypatch: pytest.MonkeyPatch, answer: str, closed: bool
) -> None:
    monkeypatch.setattr(QMessageBox, "question", lambda *_: getattr(QMessageBox.StandardButton, answer))
    screen.window.close_without_asking = False
    screen.window._started_here = "the engine"
    assert screen.window.close() is closed
    screen.window.close_without_asking = True


def test_several_beds_are_looked_at_one_at_a_time(screen: Screen) -> None:
    screen.see(30)
    assert screen.link.watched == ("bed1", True)
    two = state(bed_state(k=31), t=31.2, seq=2).model_copy(
        update={"beds": (bed_state(k=31), bed_state(k=31, bed="bed2", subject="P-002"))}
    )
    screen.link.give(state=two)
    screen.window.tick()
    screen.window.header.bed_chosen.emit("bed2")
    screen.link.give(state=two.model_copy(update={"seq": 3}))
    screen.window.tick()
    assert screen.link.watched == ("bed2", True)
    assert any("P-002" in text for text in texts(screen.window.header))


def two_beds(k: int) -> StateFrame:
    other = bed_state(k=k, bed="bed2", subject="P-002", fast=71.0)
    return state(bed_state(k=k), t=k + 0.2, seq=k).model_copy(update={"beds": (bed_state(k=k), other)})


def test_another_bed_is_there_at_once_and_nothing_of_the_one_before_with_it(screen: Screen, qtbot: QtBot) -> None:
    window = screen.window
    screen.see(30)
    screen.link.give(state=two_beds(31), attention=attention(31))
    window.tick()
    late = screen.link.reply("history", result={"t": [29.0], "fast": [99.0], "slow": [None], "absent": [""]})
    window.entries.note.setText("meant for bed1")
    window.entries.pad.begin()
    qtbot.keyClicks(window.entries.pad, "9")
    window.header.bed_chosen.emit("bed2")
    # No state has come since.
    assert screen.link.watched == ("bed2", True)
    assert "Subject P-002" in texts(window.header)
    assert window.index.number.reading is not None
    assert window.index.number.reading.text == "71"
    assert not window.waveforms.rows
    assert window.attention.shown == ()
    assert window.entries.note.text() == ""
    qtbot.keyClick(window.entries.pad, Qt.Key.Key_Return)
    assert not [asked for asked in screen.link.asked if asked[0] == "nrs"]
    qtbot.mouseClick(window.entries.pad.buttons[3], Qt.MouseButton.LeftButton)
    assert screen.link.beds[-1] == ("nrs", "bed2")
    # What was under way for the bed before comes, and is not taken for this one's.
    screen.link.give(replies=(late,), waves=(wave("ECG", 30.0, 1.0),), state=two_beds(32))
    window.tick()
    assert 99.0 not in window.model.trend()[1]
    assert all(len(row._curve.getData()[0]) == 0 for row in window.waveforms._rows.values())


def test_the_bed_that_was_asked_for_is_the_first_that_is_shown(qtbot: QtBot, dark: None) -> None:
    link = ScriptedLink()
    window = DashboardWindow(link=link, bed="bed2", clock=lambda: 31.2)  # type: ignore[arg-type]
    qtbot.addWidget(window)
    window.show()
    link.give(state=two_beds(31))
    window.tick()
    assert window.header.beds.currentText() == "bed2"
    assert "Subject P-002" in texts(window.header)
    assert link.watched == ("bed2", True)


def test_a_bed_that_the_engine_has_no_more_shows_nothing_and_says_so(screen: Screen, qtbot: QtBot) -> None:
    window = screen.window
    screen.see(30)
    gone = bed_state(k=31, bed="bed2", subject="P-002")
    screen.link.give(state=state(gone, t=31.2, seq=2, engine="e2"))
    window.tick()
    assert "does not monitor bed1" in window.alarms.text.full_text
    said = " ".join(texts(window))
    assert "good" not in said
    assert "P-001" not in said
    assert "HR -- /min" in said
    assert not window.waveforms.rows
    assert len(window.trend._fast.getData()[0]) == 0
    qtbot.mouseClick(window.entries.pad.buttons[3], Qt.MouseButton.LeftButton)
    assert not [asked for asked in screen.link.asked if asked[0] == "nrs"]
    assert "no bed is shown" in window.status.full_text
    window.header.bed_chosen.emit("bed2")
    assert "Subject P-002" in texts(window.header)


def test_an_alarm_of_a_bed_that_is_not_shown_is_told_and_leads_there(screen: Screen, qtbot: QtBot) -> None:
    button = screen.window.header.elsewhere
    alarming = bed_state(k=30, bed="bed2", alarms=(alarm_view(), alarm_view("no_data")))
    technical = bed_state(k=30, bed="bed3", alarms=(alarm_view("no_data"),))
    beds = (bed_state(k=30), technical, alarming)
    screen.link.give(state=state(beds[0], t=30.2).model_copy(update={"beds": beds}))
    screen.window.tick()
    assert button.isVisible()
    assert button.text() == "** Alarm at bed2  + 1"
    QApplication.processEvents()
    assert cut_off(screen.window) == []
    qtbot.mouseClick(button, Qt.MouseButton.LeftButton)
    assert screen.link.watched == ("bed2", True)
    assert "Severe pain" in screen.window.alarms.text.full_text
    assert button.text() == "* Alarm at bed3"
    seen = technical.model_copy(update={"alarms": (alarm_view("no_data", presence="ack"),)})
    screen.link.give(state=state(alarming, t=30.4, seq=2).model_copy(update={"beds": (beds[0], seen, alarming)}))
    screen.window.tick()
    assert not button.isVisible()


def test_a_long_alarm_is_read_whole_in_smaller_type_and_a_short_one_as_large_as_ever(screen: Screen) -> None:
    line = screen.window.alarms.text
    screen.see(30, fast=78.0, alarms=(alarm_view(),))
    largest = line.font().pixelSize()
    long = alarm_view("model_fault", causes=("the process ended without a farewell, and was started anew",))
    screen.see(31, alarms=(long,))
    assert line.text() == line.full_text
    assert "started anew" in line.text()
    assert 0.6 * largest <= line.font().pixelSize() < largest
    screen.see(32, fast=78.0, alarms=(alarm_view(),))
    assert line.font().pixelSize() == largest


def test_a_trace_that_is_over_has_no_range(screen: Screen) -> None:
    screen.see(30)
    row = screen.window.waveforms._rows["ECG"]
    assert "mV" in row._range.full_text
    row.draw(60.0, None)
    assert row._range.full_text == ""
    row.draw(30.0, None)
    assert "mV" in row._range.full_text


def test_the_engine_is_told_what_is_shown_and_a_screen_that_is_behind_says_so(screen: Screen) -> None:
    screen.see(30)
    (first,) = [args for action, args in screen.link.asked if action == "seen"]
    assert (first["engine"], first["seq"], first["leaving"]) == ("e1", 1, False)
    screen.now += 2.8  # nothing new is shown, and yet the engine answers
    screen.link.give(replies=(screen.link.reply("seen", result={"engine": "e1", "seq": 1}),))
    screen.window.tick()
    assert not any("behind the engine" in said for said in texts(screen.window))
    screen.now += 0.4
    screen.link.give(replies=(screen.link.reply("seen", result={"engine": "e1", "seq": 13}),))
    screen.window.tick()
    assert any("This screen is 3 s behind the engine" in said for said in texts(screen.window))
    screen.see(34)
    assert not any("behind the engine" in said for said in texts(screen.window))
    screen.window.close()
    last = [args for action, args in screen.link.asked if action == "seen"][-1]
    assert (last["screen"], last["leaving"]) == (first["screen"], True)
