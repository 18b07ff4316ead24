"""The process that plays tones: `python -m monitor.outputs.sound_process RATE [DEVICE]`, a child of `DevicePlayer`.

PortAudio is kept out of the engine for what was seen with a real sound server: it knows only the devices that were
there when it was loaded; a server that hangs holds up whoever calls it, even the end of the process; its C libraries
write to the error stream; and its callback would wait for an interpreter that is busy with scores. This process can be
ended and started anew, and ends by itself with its parent, whatever it is at.

A request is a line on standard input: `check`, `devices`, `stop`, or `play N` and N bytes of mono float32. Each is
answered by a line of JSON: {"problem": text, empty where all is well}, and {"devices": [text]} beside it for `devices`.
"""

from __future__ import annotations

import array
import contextlib
import importlib
import json
import os
import queue
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any, Final

LEAD_S: Final = 0.1
"""Silence before a burst: a device that wakes up swallows the beginning of what it is given."""
TAIL_S: Final = 0.4
"""Silence after it: what is in the device's buffer when a stream ends is not heard, and the cut clicks."""

_LATENCY_S: Final = 0.1
"""What the device's buffer holds: enough for a busy machine, and little enough to fall silent at once."""
_FADE_S: Final = 0.01
_SILENT_S: Final = 0.5
_BYTES: Final = 4


class _SpeakerError(Exception):
    """Nothing can be heard; says why."""


class _Speaker:
    """A device, and at most one stream on it. Everything but `_give` is called by one thread."""

    def __init__(self, rate_hz: int, device: str) -> None:
        self._rate_hz = rate_hz
        self._device: str | int | None = int(device) if device.isdecimal() else device or None
        self._library: Any = None
        self._stream: Any = None
        self._lock = threading.Lock()
        self._sound = b""
        self._given = 0
        self._ended = threading.Event()

    def check(self) -> None:
        """See whether the newest burst came through so far, and whether the device is there.

        Raises:
            _SpeakerError: If not.
        """
        if self._stream is not None:
            if self._stream.active:
                return
            self._release()
            if self._given < len(self._sound):
                raise _SpeakerError("the device broke off")
        library = self._load()
        try:
            library.check_output_settings(
                device=self._device, channels=1, dtype="float32", samplerate=self._rate_hz
            )  # fmt: skip
        except (library.PortAudioError, ValueError) as error:
            if self._device is None and not self.devices():
                raise _SpeakerError("there is no sound device") from None
            wanted = "the system's own device" if self._device is None else f"device '{self._device}'"
            raise _SpeakerError(f"{wanted} cannot be used ({error})") from None

    def devices(self) -> list[str]:
        """Number and name of each that plays."""
        found = self._load().query_devices()
        return [f"{item['index']} {item['name']}" for item in found if item["max_output_channels"] > 0]

    def play(self, samples: bytes) -> None:
        """Begin; what still plays is cut off.

        Raises:
            _SpeakerError: If it cannot.
        """
        self.stop()
        library = self._load()
        self._sound, self._given = self._silence(LEAD_S) + samples + self._silence(TAIL_S), 0
        self._ended.clear()
        try:
            self._stream = library.RawOutputStream(
                samplerate=self._rate_hz, channels=1, dtype="float32", device=self._device, latency=_LATENCY_S,
                callback=self._give, finished_callback=self._ended.set,
            )  # fmt: skip
            self._stream.start()
        except (library.PortAudioError, ValueError) as error:
            self._release()
            raise _SpeakerError(f"the device failed ({error})") from None

    def stop(self) -> None:
        """Fade out as soon as the device's buffer lets it: a tone that is cut off clicks."""
        if self._stream is None:
            return
        with self._lock:
            fade = _faded(self._sound[self._given : self._given + _BYTES * round(_FADE_S * self._rate_hz)])
            self._sound, self._given = fade + self._silence(2.0 * _LATENCY_S), 0
        if self._stream.active:
            self._ended.wait(_SILENT_S)
        self._release()

    def _give(self, out: Any, frames: int, _time: Any, _status: Any) -> None:
        with self._lock:
            part = self._sound[self._given : self._given + _BYTES * frames]
            self._given += len(part)
            over = self._given == len(self._sound)
        out[: len(part)] = part
        out[len(part) :] = bytes(_BYTES * frames - len(part))
        if over:
            raise self._library.CallbackStop

    def _silence(self, seconds: float) -> bytes:
        return bytes(_BYTES * round(seconds * self._rate_hz))

    def _release(self) -> None:
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.abort(ignore_errors=True)
            stream.close(ignore_errors=True)

    def _load(self) -> Any:
        if self._library is None:
            try:
                # Only where it is used: it loads PortAudio.
                self._library = importlib.import_module("sounddevice")
            except ImportError:
                raise _SpeakerError("sounddevice is not installed (pip install 'pain-monitor[sound]')") from None
            except OSError as error:
                raise _SpeakerError(f"{error} (Debian and Ubuntu: apt install libportaudio2)") from None
        return self._library


def _faded(samples: bytes) -> bytes:
    values = array.array("f", samples)
    for k in range(len(values)):
        values[k] *= 1.0 - (k + 1) / len(values)
    return values.tobytes()


def _answer(speaker: _Speaker, request: str, samples: bytes) -> dict[str, Any]:
    found: dict[str, Any] = {"problem": ""}
    try:
        match request:
            case "check":
                speaker.check()
            case "devices":
                found["devices"] = speaker.devices()
            case "play":
                speaker.play(samples)
            case "stop":
                speaker.stop()
            case _:
                found["problem"] = f"unknown request {request!r}"
    except _SpeakerError as problem:
        found["problem"] = str(problem)
    except Exception as error:  # noqa: BLE001 - whatever a library does wrong is a device that cannot be heard
        found["problem"] = f"{type(error).__name__}: {error}"
    return found


def main(arguments: Sequence[str]) -> None:
    """Answer requests until there can be no more; never returns.

    Args:
        arguments: Sampling rate in Hz, and the device: its name, part of it, or number; empty for the system's own.
    """
    for ignored in (signal.SIGINT, signal.SIGTERM):  # its end is for its parent to say
        signal.signal(ignored, signal.SIG_IGN)
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a library prints is no answer
    speaker = _Speaker(int(arguments[0]), arguments[1] if len(arguments) > 1 else "")
    requests: queue.SimpleQueue[tuple[str, bytes]] = queue.SimpleQueue()

    def serve() -> None:
        while True:
            answer = _answer(speaker, *requests.get())
            with contextlib.suppress(OSError):
                answers.write(json.dumps(answer).encode() + b"\n")
                answers.flush()

    threading.Thread(target=serve, name="sound", daemon=True).start()
    # Here nothing but the pipe is waited for, so that the end of the parent is seen even while a device hangs.
    while line := sys.stdin.buffer.readline().split():
        samples = sys.stdin.buffer.read(int(line[1])) if len(line) > 1 else b""
        requests.put((line[0].decode(), samples))
    os._exit(0)  # at an orderly end PortAudio would wait for a device that hangs


if __name__ == "__main__":
    main(sys.argv[1:])
