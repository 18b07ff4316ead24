"""A room without walls: a real sound server whose only loudspeaker is a null sink, and what is heard in it.

PortAudio plays through ALSA's default device into PulseAudio, and `parec` records what the sink would have sounded.
"""

from __future__ import annotations

import ctypes.util
import importlib.util
import os
import shutil
import subprocess
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monitor.outputs.tones import RATE_HZ
from tests.helpers.scripted import wait_until

_ALSA = Path("/usr/share/alsa/alsa.conf")
_PLUGIN = "alsa-lib/libasound_module_pcm_pulse.so"
_QUIET = 10.0 ** (-50.0 / 20.0)
"""Below it, nothing is heard: -50 dB of full scale."""
_JOIN_S = 0.05
"""A shorter hole is none: half of the shortest pause between two pulses of a burst."""


def missing() -> str:
    """What a room needs and is not here; empty where all is."""
    for program in ("pulseaudio", "pactl", "parec"):
        if shutil.which(program) is None:
            return f"{program} is not installed (Debian and Ubuntu: apt install pulseaudio pulseaudio-utils)"
    if not _ALSA.exists() or not any(Path("/usr").glob(f"lib*/**/{_PLUGIN}")):
        return "ALSA has no way to PulseAudio (Debian and Ubuntu: apt install libasound2-plugins)"
    if importlib.util.find_spec("sounddevice") is None or ctypes.util.find_library("portaudio") is None:
        return "sounddevice or PortAudio is not installed (docs/sound.md)"
    return ""


@dataclass(frozen=True)
class Heard:
    """One pulse."""

    start_s: float
    length_s: float
    pitch_hz: float
    harmonics: int
    """Partials within 15 dB of the strongest, the fundamental among them."""
    peak: float
    rise_s: float
    """From a tenth to nine tenths of its loudness; the fall alike."""
    fall_s: float


class Room:
    """A sound server and a recording of it. `environment` leads PortAudio here."""

    def __init__(self) -> None:
        # Not below a test's own folder: the path of a socket may have about a hundred characters.
        self.folder = Path(tempfile.mkdtemp(prefix="room-"))
        (self.folder / "asound.conf").write_text(
            f"<{_ALSA}>\npcm.!default {{ type pulse }}\nctl.!default {{ type pulse }}\n", encoding="utf-8"
        )
        (self.folder / "client.conf").write_text("autospawn = no\nenable-shm = no\n", encoding="utf-8")
        self._socket = self.folder / "native"
        self.environment = {
            "ALSA_CONFIG_PATH": str(self.folder / "asound.conf"),
            "PULSE_CLIENTCONFIG": str(self.folder / "client.conf"),
            "PULSE_SERVER": f"unix:{self._socket}",
            "PULSE_STATE_PATH": str(self.folder),
            "PULSE_RUNTIME_PATH": str(self.folder),
            "PULSE_COOKIE": str(self.folder / "cookie"),
        }
        self._server: subprocess.Popen[bytes] | None = None
        self._recorder: subprocess.Popen[bytes] | None = None
        self._recording = self.folder / "heard.raw"

    def start(self) -> None:
        """Begin, with a new recording."""
        self._socket.unlink(missing_ok=True)
        environment = {**os.environ, **self.environment}
        with (self.folder / "server.log").open("wb") as log:
            self._server = subprocess.Popen(
                [
                    "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
                    "--disable-shm=yes", "--realtime=no", "--high-priority=no",
                    "-L", f"module-native-protocol-unix socket={self._socket} auth-anonymous=1",
                    "-L", f"module-null-sink sink_name=room rate={RATE_HZ} channels=1",
                ],
                env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            )  # fmt: skip

        def ask(*words: str) -> bytes | None:
            done = subprocess.run(["pactl", *words], env=environment, capture_output=True, timeout=20.0)
            return None if done.returncode else done.stdout

        wait_until(lambda: ask("info") is not None, 20.0)
        with self._recording.open("wb") as file:
            # The short latency is the sink's as well.
            self._recorder = subprocess.Popen(
                [
                    "parec", "--device=room.monitor", "--format=s16le", f"--rate={RATE_HZ}", "--channels=1", "--raw",
                    "--latency-msec=20",
                ],
                env=environment, stdin=subprocess.DEVNULL, stdout=file, stderr=subprocess.DEVNULL,
            )  # fmt: skip
        # A sink that nobody listens to takes two seconds at once, and would only then begin to be a short one.
        wait_until(lambda: bool(ask("list", "short", "source-outputs")), 20.0)
        ask("suspend-sink", "room", "1")
        ask("suspend-sink", "room", "0")
        wait_until(lambda: self.length_s > 0.1, 20.0)

    def vanish(self) -> None:
        """The server is gone, as after a crash."""
        for process in (self._server, self._recorder):
            if process is not None:
                process.kill()
                process.wait()
        self._server = self._recorder = None

    def close(self) -> None:
        """End all of it."""
        self.vanish()
        shutil.rmtree(self.folder)

    @property
    def length_s(self) -> float:
        """What was recorded so far."""
        return self._recording.stat().st_size / 2 / RATE_HZ

    def heard(self, since_s: float = 0.0) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Samples from that moment of the recording on, 1 is full scale."""
        content = self._recording.read_bytes()[2 * round(since_s * RATE_HZ) :]
        return np.frombuffer(content[: len(content) // 2 * 2], dtype="<i2") / 32_768.0

    def until_silent(self, since_s: float, *, for_s: float = 0.8, deadline_s: float = 20.0) -> list[Heard]:
        """The pulses since a moment of the recording, once there were some and then silence for so long."""
        found: list[Heard] = []
        end = time.monotonic() + deadline_s
        while time.monotonic() < end:
            samples = self.heard(since_s)
            found = pulses(samples)
            if found and len(samples) / RATE_HZ - (found[-1].start_s + found[-1].length_s) > for_s:
                return found
            time.sleep(0.05)
        raise AssertionError(f"no sound and silence after it within {deadline_s:g} s, but {found}")


def pulses(samples: np.ndarray[Any, np.dtype[np.float64]]) -> list[Heard]:
    """What sounds in (n,) samples at `RATE_HZ`, pulse by pulse."""
    window = round(0.004 * RATE_HZ)
    power = np.convolve(samples**2, np.full(window, 1.0 / window), "same") if len(samples) > window else samples**2
    loudness = np.sqrt(np.maximum(power, 0.0))
    loud = np.flatnonzero(loudness > _QUIET)
    if not len(loud):
        return []
    cuts = np.flatnonzero(np.diff(loud) > _JOIN_S * RATE_HZ)
    edges = zip(np.r_[loud[0], loud[cuts + 1]], np.r_[loud[cuts], loud[-1]] + 1, strict=True)
    return [_pulse(samples, loudness, int(first), int(last)) for first, last in edges]


def _pulse(samples: Any, loudness: Any, first: int, last: int) -> Heard:
    part, level = samples[first:last], loudness[first:last]
    n = max(8 * len(part), RATE_HZ)
    spectrum = np.abs(np.fft.rfft(part * np.hanning(len(part)), n)) ** 2
    hz = np.fft.rfftfreq(n, 1.0 / RATE_HZ)
    pitch = float(hz[spectrum.argmax()])
    strength = [spectrum[np.abs(hz - k * pitch) < 10.0].max(initial=0.0) for k in range(1, 11)]
    most = level.max()
    over = [np.flatnonzero(level >= share * most) for share in (0.1, 0.9)]
    return Heard(
        start_s=first / RATE_HZ,
        length_s=(last - first) / RATE_HZ,
        pitch_hz=pitch,
        harmonics=sum(value > max(strength) * 10.0**-1.5 for value in strength),
        peak=float(np.abs(part).max()),
        rise_s=float(over[1][0] - over[0][0]) / RATE_HZ,
        fall_s=float(over[0][-1] - over[1][-1]) / RATE_HZ,
    )
