"""A sound device that is missing or hangs, or a library that is, is said within seconds, and harms nobody else.

What a device really plays: tests/live/test_sound.py.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.outputs import sound_players
from monitor.outputs.sound_players import DevicePlayer, SoundError
from monitor.outputs.tones import LOW, RATE_HZ, burst

HANGS = "import time\ndef __getattr__(name):\n    time.sleep(1000.0)\n"
"""A library whose every call waits for a device that does not answer."""
ENDS = "import os\ndef __getattr__(name):\n    os.abort()\n"
"""One that takes its process with it."""
DEFECT = "def __getattr__(name):\n    raise RuntimeError('a defect\\nof two lines')\n"


def library(folder: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put a library of this text in the place of the real one, for processes that begin from now on."""
    (folder / "sounddevice.py").write_text(text, encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", str(folder))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("raise ImportError", r"pain-monitor\[sound\]"),
        ("raise OSError('PortAudio library not found')", "PortAudio library not found .*libportaudio2"),
        (ENDS, "the process that plays has ended"),
        (DEFECT, "RuntimeError: a defect"),
    ],
)
def test_what_is_missing_or_broken_is_said_in_words(
    text: str, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, text, monkeypatch)
    player = DevicePlayer()
    for attempt in (player.open, player.check, lambda: player.play(burst(LOW, 0.5))):
        with pytest.raises(SoundError, match=said):
            attempt()
    player.stop()
    player.close()
    player.close()
    assert player._child is None


def test_a_device_that_is_not_there_is_named() -> None:
    player = DevicePlayer("no such device")
    with pytest.raises(SoundError, match=r"libportaudio2|pain-monitor\[sound\]|'no such device'"):  # what is here
        player.open()
    assert player._child is None


def test_a_process_that_does_not_answer_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library(tmp_path, HANGS, monkeypatch)
    monkeypatch.setattr(sound_players, "_START_S", 1.0)
    player = DevicePlayer()
    with pytest.raises(SoundError, match="the device does not answer"):
        player.open()
    assert player._child is None


def test_the_process_ends_with_its_parent_even_while_a_device_hangs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    library(tmp_path, HANGS, monkeypatch)
    child = subprocess.Popen(
        [sys.executable, "-m", "monitor.outputs.sound_process", str(RATE_HZ)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=os.environ,
    )  # fmt: skip
    # As `communicate` does it: the request, and then nobody at the other end any more.
    said, _ = child.communicate(b"check\n", timeout=60.0)
    assert said == b""
    assert child.returncode == 0
