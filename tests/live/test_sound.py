"""Alarms as a room would hear them: the real output, PortAudio and a real sound server, whose sink is recorded.

Everything is judged in the time of the samples. A machine that is too busy may leave a hole in a burst, so that each
may be tried three times.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from monitor.clock import SystemClock
from monitor.config import SoundSettings
from monitor.outputs.sound import SoundOutput
from monitor.outputs.tones import EDGE, HIGH, LOW, MEDIUM, TECHNICAL, Pattern
from monitor.types import Activation, AlarmEvent, AlarmKind, Presence, Priority
from tests.helpers.made_session import made_alarm
from tests.helpers.scripted import wait_until
from tests.helpers.sound_room import Heard, Room, missing

pytestmark = pytest.mark.live
if reason := missing():
    # Of the module, not of a test: nobody has to install a sound server, on CI neither.
    pytest.skip(f"no sound can be recorded here: {reason}", allow_module_level=True)

VOLUME = 0.25
ALARMS = {
    "high": (HIGH, Priority.HIGH, AlarmKind.PHYSIOLOGICAL),
    "medium": (MEDIUM, Priority.MEDIUM, AlarmKind.PHYSIOLOGICAL),
    "low": (LOW, Priority.LOW, AlarmKind.PHYSIOLOGICAL),
    "technical": (TECHNICAL, Priority.LOW, AlarmKind.TECHNICAL),
}


@pytest.fixture(scope="module")
def room() -> Iterator[Room]:
    made = Room()
    try:
        made.start()
        yield made
    finally:
        made.close()


@pytest.fixture
def output(room: Room, monkeypatch: pytest.MonkeyPatch) -> Iterator[SoundOutput]:
    for name, value in room.environment.items():
        monkeypatch.setenv(name, value)
    made = SoundOutput(settings=SoundSettings(enabled=True, volume=VOLUME), clock=SystemClock())
    made.open()
    yield made
    made.close()


def alarm(name: str, audio: Activation = Activation.ON, presence: Presence = Presence.ON) -> AlarmEvent:
    _, priority, kind = ALARMS[name]
    return made_alarm(1.0, presence, condition=name, priority=priority, kind=kind, audio=audio)


def over(name: str) -> AlarmEvent:
    return alarm(name, Activation.OFF, Presence.OFF)


def wrong(heard: list[Heard], pattern: Pattern) -> str:
    """What of a burst was not as it is meant; empty where all was."""
    if len(heard) != len(pattern.pulses):
        return f"{len(heard)} pulses: {heard}"
    for pulse, meant in zip(heard, pattern.pulses, strict=True):
        edge = EDGE * meant.length_s
        if not (
            abs(pulse.start_s - heard[0].start_s - meant.start_s) < 0.02
            and abs(pulse.length_s - meant.length_s) < 0.02
            and abs(pulse.pitch_hz / meant.pitch_hz - 1.0) < 0.01
            and pulse.harmonics >= 4
            and abs(pulse.peak / VOLUME - 1.0) < 0.1
            and 0.4 * edge < pulse.rise_s < edge
            and 0.4 * edge < pulse.fall_s < edge
        ):
            return f"{pulse} instead of {meant}"
    return ""


def test_each_burst_is_heard_whole_and_silence_is_silent(room: Room, output: SoundOutput) -> None:
    since = room.length_s
    for name, (pattern, _, _) in ALARMS.items():
        said = ""
        for _ in range(3):
            output.publish("bed1", [alarm(name)])
            # The longest silence inside a burst is one of 0.7 s, in that of the highest priority.
            said = wrong(room.until_silent(since, for_s=0.8 if name == "high" else 0.45), pattern)
            since = room.length_s
            # Whatever were heard from here on would be one pulse too many for the next burst.
            output.publish("bed1", [alarm(name, Activation.PAUSED), over(name)])
            if not said:
                break
        assert not said, name
    wait_until(lambda: room.length_s > since + 0.3)
    assert not np.any(room.heard(since)), "not even noise"
    assert output.problem() == ""


def test_an_acknowledged_alarm_fades_at_once_and_a_server_that_goes_and_comes_back_is_noticed(
    room: Room, output: SoundOutput
) -> None:
    pulses = []
    for _ in range(3):  # a busy machine may be late with the acknowledgement itself
        since = room.length_s
        output.publish("bed1", [alarm("high")])
        wait_until(lambda since=since: bool(np.any(room.heard(since))))
        output.publish("bed1", [alarm("high", Activation.OFF, Presence.ACK)])
        pulses.append(len(room.until_silent(since)))
        output.publish("bed1", [over("high")])
        if pulses[-1] < len(HIGH.pulses) // 2:
            break
    assert pulses[-1] < len(HIGH.pulses) // 2

    output.publish("bed1", [alarm("low")])
    room.vanish()
    wait_until(lambda: output.problem() == "audio off: there is no sound device")
    assert output.probe({}, 20.0) == output.problem()
    output.publish("bed1", [over("low")])

    room.start()
    assert output.probe({}, 20.0) == ""
    output.publish("bed1", [alarm("technical")])
    assert room.until_silent(0.0)
