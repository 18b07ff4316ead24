"""Tones are told apart and soft, sound exactly while the alarm manager says so, and never without something to see."""

from __future__ import annotations

import logging
import threading
import wave
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.clock import SystemClock
from monitor.config import AlarmSettings, SoundSettings
from monitor.outputs import sound
from monitor.outputs.base import Route
from monitor.outputs.sound import Bursts, SoundOutput
from monitor.outputs.sound_players import SoundError, WavePlayer
from monitor.outputs.tones import (
    EDGE,
    HARMONICS,
    HIGH,
    LOW,
    MEDIUM,
    PATTERNS,
    RATE_HZ,
    TECHNICAL,
    Pattern,
    burst,
    pattern_of,
)
from monitor.types import Activation, AlarmEvent, AlarmKind, Float32Array, Presence, Priority
from tests.helpers.made_session import made_alarm
from tests.helpers.scripted import wait_until

ON, OFF, PAUSED = Activation.ON, Activation.OFF, Activation.PAUSED


class SilentPlayer:
    """Plays nothing, and remembers what was to be played; may fail as a device does."""

    def __init__(self) -> None:
        self.played: list[Float32Array] = []
        self.stops = 0
        self.checks = 0
        self.broken = ""
        self.broke_off = ""
        self.fails_to_begin = ""
        self.hangs = threading.Event()
        self.hangs.set()

    def open(self) -> None:
        self.hangs.wait()
        if self.broken:
            raise SoundError(self.broken)

    def check(self) -> None:
        self.checks += 1
        reason, self.broke_off = self.broke_off, ""
        if reason:
            raise SoundError(reason)
        self.open()

    def play(self, samples: Float32Array) -> None:
        reason, self.fails_to_begin = self.fails_to_begin, ""
        if reason:
            raise SoundError(reason)
        self.open()
        self.played.append(samples)

    def stop(self) -> None:
        self.stops += 1

    def close(self) -> None:
        pass


def medium(presence: Presence = Presence.ON, audio: Activation = ON, **changes: Any) -> AlarmEvent:
    changes = {"condition": "pain_severe", "priority": Priority.MEDIUM, **changes}
    return made_alarm(1.0, presence, audio=audio, **changes)


# -- the tones --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("pattern", PATTERNS, ids=lambda pattern: pattern.name)
def test_every_pulse_has_its_pitch_its_harmonics_its_time_and_soft_edges(pattern: Pattern) -> None:
    samples = burst(pattern, 0.5)
    assert samples.dtype == np.float32
    assert np.abs(samples).max() == pytest.approx(0.5)
    silent = np.ones(len(samples), dtype=bool)
    for pulse in pattern.pulses:
        first, n = round(pulse.start_s * RATE_HZ), round(pulse.length_s * RATE_HZ)
        part = samples[first : first + n].astype(np.float64)
        silent[first : first + n] = False
        power = np.abs(np.fft.rfft(part, 8 * n)) ** 2
        hz = np.fft.rfftfreq(8 * n, 1.0 / RATE_HZ)
        peaks = [
            10 * np.log10(power[np.abs(hz - k * pulse.pitch_hz) < 3.0].max()) for k in range(1, HARMONICS + 1)
        ]  # fmt: skip
        assert hz[power.argmax()] == pytest.approx(pulse.pitch_hz, abs=3.0)
        assert max(peaks) - min(peaks) < 15.0
        assert sum(300.0 <= k * pulse.pitch_hz <= 4000.0 for k in range(1, HARMONICS + 1)) >= 4
        between = power[np.min(np.abs(hz[:, None] - pulse.pitch_hz * np.arange(1, HARMONICS + 1)), axis=1) > 40.0]
        assert 10 * np.log10(between.max()) < max(peaks) - 20.0, "nothing but the harmonics"
        edge = round(EDGE * n)
        loud = np.abs(part[edge : n - edge]).max()
        assert np.abs(part[: edge // 10]).max() < 0.1 * loud
        assert np.abs(part[-edge // 10 :]).max() < 0.1 * loud
        assert 0.1 <= EDGE <= 0.4
    assert not samples[silent].any()


def test_priorities_differ_in_number_pitch_and_interval_and_no_burst_is_used_twice() -> None:
    assert [len(pattern.pulses) for pattern in (HIGH, MEDIUM, LOW)] == [10, 3, 2]
    assert [pattern.every_s for pattern in PATTERNS] == [10.0, 25.0, 30.0, 30.0]
    pitches = [pattern.pulses[0].pitch_hz for pattern in PATTERNS]
    assert pitches == sorted(pitches, reverse=True)
    assert len(set(pitches)) == len(PATTERNS)
    gaps = np.diff([pulse.start_s for pulse in HIGH.pulses]) - HIGH.pulses[0].length_s
    np.testing.assert_allclose(gaps, [0.1, 0.1, 0.4, 0.1, 0.7, 0.1, 0.1, 0.4, 0.1])
    assert all(pattern.length_s < pattern.every_s / 2 for pattern in PATTERNS)
    assert pattern_of(AlarmKind.TECHNICAL, Priority.LOW) is TECHNICAL
    assert pattern_of(AlarmKind.TECHNICAL, Priority.MEDIUM) is MEDIUM
    assert pattern_of(AlarmKind.PHYSIOLOGICAL, Priority.LOW) is LOW


def test_a_file_holds_the_very_samples(tmp_path: Path) -> None:
    player = WavePlayer(tmp_path / "tones.wav")
    player.play(burst(LOW, 0.5))
    player.play(burst(MEDIUM, 1.0))
    player.close()
    with wave.open(str(tmp_path / "tones.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, RATE_HZ)
        found = np.frombuffer(file.readframes(file.getnframes()), dtype="<i2")
    second = np.zeros(RATE_HZ, dtype="<i2")
    parts = [np.round(burst(pattern, v) * 32_767.0).astype("<i2") for pattern, v in ((LOW, 0.5), (MEDIUM, 1.0))]
    np.testing.assert_array_equal(found, np.concatenate([parts[0], second, parts[1], second]))
    with pytest.raises(SoundError, match="cannot be written"):
        WavePlayer(tmp_path / "none" / "x.wav").open()


# -- when they sound --------------------------------------------------------------------------------------------------


def test_bursts_come_at_their_interval_until_nothing_is_to_be_heard() -> None:
    bursts = Bursts()
    bursts.take(medium(), 100.0)
    heard = [(t, pattern.name) for t in np.arange(100.0, 160.0, 0.5) if (pattern := bursts.due(float(t)))]
    assert heard == [(100.0, "medium"), (125.0, "medium"), (150.0, "medium")]
    assert bursts.wait_s(160.0) == 15.0
    for silencing in (
        medium(Presence.ACK, OFF), medium(audio=PAUSED), medium(Presence.OFF, OFF),
        medium(audio=PAUSED, visual=PAUSED), medium(visual=OFF), medium(audio=OFF),
    ):  # fmt: skip
        bursts.take(medium(), 200.0)
        assert bursts.take(silencing, 201.0)
        assert bursts.due(1000.0) is None
        assert bursts.wait_s(1000.0) is None


def test_the_most_urgent_is_heard_at_once_and_the_other_when_it_has_gone() -> None:
    bursts = Bursts()
    technical = made_alarm(0.0, condition="no_data", kind=AlarmKind.TECHNICAL)
    bursts.take(technical, 0.0)
    assert bursts.due(0.0) is TECHNICAL
    bursts.take(made_alarm(0.0), 1.0)
    assert bursts.due(1.0) is LOW
    bursts.take(medium(), 2.0)
    assert bursts.due(2.0) is MEDIUM
    bursts.take(medium(bed="bed2"), 3.0)
    assert bursts.due(3.0) is MEDIUM, "another one as urgent is heard as well"
    bursts.take(medium(Presence.LATCHED), 4.0)
    assert bursts.due(4.0) is None, "the same goes on"
    assert not bursts.take(medium(Presence.ACK, OFF), 5.0), "the other bed's goes on"
    assert bursts.take(medium(Presence.ACK, OFF, bed="bed2"), 6.0)
    assert bursts.due(6.0) is LOW


def test_a_reminder_is_heard_once() -> None:
    bursts = Bursts()
    bursts.take(medium(), 0.0)
    bursts.due(0.0)
    bursts.take(medium(Presence.ACK, OFF), 1.0)
    bursts.take(medium(Presence.ACK, ON, reminder=1), 181.0)
    assert bursts.wait_s(181.0) == 0.0
    assert bursts.due(181.0) is MEDIUM
    assert bursts.due(1000.0) is None


_EVENTS = st.builds(
    made_alarm,
    st.just(1.0),
    st.sampled_from(Presence),
    bed=st.sampled_from(["bed1", "bed2"]),
    condition=st.sampled_from("ab"),
    priority=st.sampled_from(Priority),
    audio=st.sampled_from(Activation),
    visual=st.sampled_from(Activation),
    reminder=st.sampled_from([0, 0, 0, 1]),
)


@given(events=st.lists(st.tuples(_EVENTS, st.floats(0.1, 40.0)), max_size=20))
@settings(max_examples=200, deadline=None)
def test_nothing_is_heard_that_is_not_shown_and_meant_to_be_heard(events: list[tuple[AlarmEvent, float]]) -> None:
    bursts, now = Bursts(), 0.0
    last: dict[tuple[str, str], AlarmEvent] = {}
    for event, wait in events:
        bursts.take(event, now)
        last[event.bed, event.condition] = event
        meant = [
            item for item in last.values() if item.presence is not Presence.OFF and item.audio is ON is item.visual
        ]
        lasting = [item for item in meant if not item.reminder]
        first = bursts.due(now)
        if first is not None:
            assert first in {pattern_of(item.kind, item.priority) for item in meant}
        assert (bursts.pattern is None) == (not lasting)
        now += wait
        later = bursts.due(now)
        if later is not None:
            assert later in {pattern_of(item.kind, item.priority) for item in lasting}
        now += 0.01


def test_what_the_alarm_manager_lets_be_heard_is_always_shown() -> None:
    """All that `Signals` can say: audio on implies visual on."""
    from monitor.alarm.signals import Signals

    for suspended in (False, True):
        for paused in (False, True):
            signals = Signals()
            if suspended:
                signals.suspend(300.0, "turning")
            if paused:
                signals.pause(120.0, Priority.MEDIUM)
            for kind in AlarmKind:
                for priority in Priority:
                    for presence in Presence:
                        audio, visual = signals.activation(kind, priority, presence)
                        assert audio is not ON or visual is ON
    assert AlarmSettings().audio_pause_s > 0


# -- the output -------------------------------------------------------------------------------------------------------


@pytest.fixture
def player() -> SilentPlayer:
    return SilentPlayer()


@pytest.fixture
def output(player: SilentPlayer) -> Iterator[SoundOutput]:
    made = SoundOutput(settings=SoundSettings(enabled=True, volume=0.25), clock=SystemClock(), player=player)
    yield made
    made.close()


def test_an_alarm_is_heard_and_falls_silent_when_it_is_acknowledged(output: SoundOutput, player: SilentPlayer) -> None:
    assert isinstance(output, Route)
    output.open()
    output.publish("bed1", [medium()])
    wait_until(lambda: len(player.played) == 1)
    np.testing.assert_array_equal(player.played[0], burst(MEDIUM, 0.25))
    stops = player.stops
    output.publish("bed1", [medium(Presence.ACK, OFF)])
    wait_until(lambda: player.stops > stops)
    assert len(player.played) == 1
    assert output.probe({}, 20.0) == output.problem() == ""


def test_without_a_device_it_is_said_once_and_shown_until_there_is_one(
    output: SoundOutput, player: SilentPlayer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    player.broken = "no device"
    output.open()
    for k in range(5):
        output.publish("bed1", [medium(Presence.OFF if k % 2 else Presence.ON, OFF if k % 2 else ON)])
    assert output.problem() == output.probe({}, 20.0) == "audio off: no device"
    assert [record.getMessage() for record in caplog.records if "audio off" in record.getMessage()] == [
        "audio off: no device; alarms are shown and sent, and not heard here"
    ]
    assert not any(record.exc_info for record in caplog.records)
    player.broken = ""
    assert output.probe({}, 20.0) == ""
    output.publish("bed1", [medium(Presence.OFF, OFF), medium()])
    wait_until(lambda: bool(player.played))


def test_a_burst_that_broke_off_is_reported_at_once_and_repeated(
    output: SoundOutput, player: SilentPlayer, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sound, "_REPEAT_S", 1000.0)
    output._repeated_at = -1000.0
    caplog.set_level(logging.INFO)
    output.open()
    player.broke_off = "the device broke off"
    output.publish("bed1", [medium()])
    wait_until(lambda: len(player.played) == 2)
    assert caplog.messages == [
        "audio off: the device broke off; alarms are shown and sent, and not heard here",
        "alarms are heard again",
    ]
    player.broke_off = "the device broke off"
    checks = player.checks
    wait_until(lambda: player.checks > checks)
    wait_until(lambda: output.problem() == "")
    assert len(player.played) == 2, "one that always breaks off is not hurried"


def test_a_burst_that_cannot_begin_is_tried_once_more_on_what_is_there_then(
    output: SoundOutput, player: SilentPlayer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    output.open()
    player.fails_to_begin = "the device failed"
    output.publish("bed1", [medium()])
    wait_until(lambda: len(player.played) == 1)
    assert caplog.messages == [
        "audio off: the device failed; alarms are shown and sent, and not heard here",
        "alarms are heard again",
    ]
    assert output.problem() == ""


def test_a_device_that_goes_while_nothing_sounds_is_found_by_the_self_check(
    output: SoundOutput, player: SilentPlayer
) -> None:
    assert output.probe({}, 20.0) == "audio off: it has not begun"
    output.open()
    assert output.probe({}, 20.0) == ""
    player.broken = "no device"
    assert output.probe({}, 20.0) == "audio off: no device"
    player.broken = ""
    assert output.probe({}, 20.0) == output.problem() == ""


def test_a_device_that_hangs_holds_up_nobody(output: SoundOutput, player: SilentPlayer) -> None:
    output.open()
    player.hangs.clear()
    try:
        output.publish("bed1", [medium()])
        wait_until(output._in_use.locked)
        output.publish("bed1", [medium(Presence.ACK, OFF)])
        assert output.problem() == ""
        assert output.probe({}, 0.1) == "audio off: the device does not answer"
        stops = player.stops
    finally:
        player.hangs.set()
    wait_until(lambda: player.stops > stops)


def test_threads_end_with_the_output(output: SoundOutput, player: SilentPlayer) -> None:
    output.open()
    output.open()
    output.close()
    output.close()
    assert not [thread for thread in threading.enumerate() if thread.name == "output-sound-bursts"]


def test_the_command_writes_the_tones_or_says_why_none_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from typer.testing import CliRunner

    from monitor.cli import app
    from monitor.errors import EngineError

    run: Callable[..., Any] = CliRunner().invoke
    done = run(app, ["sound-test", "--wav", str(tmp_path / "tones.wav")])
    assert done.exit_code == 0, done.output
    with wave.open(str(tmp_path / "tones.wav")) as file:
        expected = sum(len(burst(pattern, 0.5)) + RATE_HZ for pattern in PATTERNS)
        assert file.getnframes() == expected
    config = tmp_path / "config.toml"
    config.write_text('[sound]\ndevice = "none such"\n[[bed]]\n', encoding="utf-8")
    failed = run(app, ["sound-test", str(config)])
    assert isinstance(failed.exception, EngineError)
    assert "audio off" in str(failed.exception)
