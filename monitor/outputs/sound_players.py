"""What makes tones heard: a sound device of this machine, or a file."""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import wave
from pathlib import Path
from typing import IO, Any, Final, Protocol

import numpy as np

from monitor.outputs.tones import RATE_HZ
from monitor.types import Float32Array

_PROCESS: Final = "monitor.outputs.sound_process"
_START_S: Final = 20.0
"""A Python on a busy machine, and the look for devices."""
_ANSWER_S: Final = 5.0
_STOP_S: Final = 1.5
_END_S: Final = 0.5


class SoundError(Exception):
    """Nothing can be heard; says why and what to do."""


class Player(Protocol):
    """Makes samples heard. Used by one thread at a time."""

    def open(self) -> None:
        """See whether it can.

        Raises:
            SoundError: If not.
        """
        ...

    def play(self, samples: Float32Array) -> None:
        """Begin to play (n,) samples at `RATE_HZ`, and return at once; what still plays is cut off.

        Raises:
            SoundError: If it cannot.
        """
        ...

    def check(self) -> None:
        """See whether what was played last came through, and whether more would.

        Raises:
            SoundError: If not.
        """
        ...

    def stop(self) -> None:
        """Fall silent now."""
        ...

    def close(self) -> None:
        """Release the device. May be called twice."""
        ...


class DevicePlayer:
    """A sound device of this machine, through PortAudio in a process of its own (`monitor.outputs.sound_process`).

    Whatever the device does, each call ends within seconds: a process that does not answer is killed, which also
    silences it.

    Args:
        device: Name, part of it, or number; empty for the system's own choice.
    """

    def __init__(self, device: str = "") -> None:
        self._device = device
        self._child: subprocess.Popen[bytes] | None = None

    def open(self) -> None:
        """See `Player`."""
        if self._child is not None:
            with contextlib.suppress(SoundError):
                self.check()
                return
            self.close()  # PortAudio knows only the devices that were there when its process began
        self._start()
        try:
            self._ask("check", within_s=_START_S)
        except SoundError:
            self.close()
            raise

    def devices(self) -> list[str]:
        """Number and name of each device that plays.

        Raises:
            SoundError: If that cannot be known.
        """
        if self._child is None:
            self._start()
        found: list[str] = self._ask("devices", within_s=_START_S)["devices"]
        return found

    def play(self, samples: Float32Array) -> None:
        """See `Player`."""
        if self._child is None:
            self.open()
        content = samples.astype("=f4").tobytes()
        self._ask(f"play {len(content)}", content)

    def check(self) -> None:
        """See `Player`."""
        if self._child is None:
            self.open()
        else:
            self._ask("check")

    def stop(self) -> None:
        """See `Player`."""
        if self._child is not None:
            with contextlib.suppress(SoundError):  # then it is killed, and silent
                self._ask("stop", within_s=_STOP_S)

    def close(self) -> None:
        """See `Player`."""
        child, self._child = self._child, None
        if child is None:
            return
        assert child.stdin is not None
        assert child.stdout is not None
        with contextlib.suppress(OSError):
            child.stdin.close()
        try:
            child.wait(_END_S)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
        child.stdout.close()

    def _start(self) -> None:
        try:
            # A session of its own: Ctrl-C in a terminal is for the parent alone.
            self._child = subprocess.Popen(
                [sys.executable, "-m", _PROCESS, str(RATE_HZ), self._device],
                stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                start_new_session=sys.platform != "win32",
            )  # fmt: skip
        except OSError as error:
            raise SoundError(f"the process that plays cannot be started ({error.strerror})") from None

    def _ask(self, request: str, content: bytes = b"", *, within_s: float = _ANSWER_S) -> dict[str, Any]:
        child = self._child
        assert child is not None
        assert child.stdin is not None
        assert child.stdout is not None
        late = threading.Event()

        def give_up() -> None:
            late.set()
            child.kill()

        limit = threading.Timer(within_s, give_up)
        limit.daemon = True
        limit.start()
        line = b""
        try:
            child.stdin.write(request.encode() + b"\n" + content)
            child.stdin.flush()
            line = child.stdout.readline()
        except OSError:
            pass
        finally:
            limit.cancel()
        if not line.endswith(b"\n"):
            self.close()
            raise SoundError("the device does not answer" if late.is_set() else "the process that plays has ended")
        answer: dict[str, Any] = json.loads(line)
        if answer["problem"]:
            raise SoundError(answer["problem"])
        return answer


class WavePlayer:
    """A file that takes every burst one after the other, 16 bits, mono, each followed by a second of silence.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: wave.Wave_write | None = None
        self._raw: IO[bytes] | None = None

    def open(self) -> None:
        """See `Player`."""
        if self._file is not None:
            return
        try:
            self._raw = self._path.open("wb")
        except OSError as error:
            raise SoundError(f"{self._path} cannot be written ({error.strerror})") from None
        self._file = wave.open(self._raw, "wb")  # noqa: SIM115 - it stays open until `close`
        self._file.setnchannels(1)
        self._file.setsampwidth(2)
        self._file.setframerate(RATE_HZ)

    def play(self, samples: Float32Array) -> None:
        """See `Player`."""
        self.open()
        assert self._file is not None
        self._file.writeframes(np.round(samples * 32_767.0).astype("<i2").tobytes())
        self._file.writeframes(bytes(2 * RATE_HZ))

    def check(self) -> None:
        """See `Player`."""
        self.open()

    def stop(self) -> None:
        """Nothing plays in a file."""

    def close(self) -> None:
        """See `Player`."""
        file, self._file = self._file, None
        if file is not None and self._raw is not None:
            file.close()
            self._raw.close()
