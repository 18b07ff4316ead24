"""A process with LSL outlets that does what it is told, line by line; and its handle for the tests.

Samples and stamps travel as JSON numbers, which Python writes and reads without loss.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np


class Outlets:
    """Handle of the process."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Outlets:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    def _ask(self, **command: object) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise RuntimeError("the process with the outlets has ended")
        return json.loads(answer)

    def create(
        self,
        *,
        name: str,
        rate: float,
        kind: str = "",
        source_id: str | None = None,
        channels: Sequence[tuple[str, str]] = (("", ""),),
        form: str = "float32",
        pain: dict[str, str] | None = None,
    ) -> str:
        """Offer a stream; returns its source_id."""
        source_id = uuid.uuid4().hex if source_id is None else source_id
        self._ask(
            do="create", name=name, kind=kind, rate=rate, source_id=source_id, channels=list(channels), form=form,
            pain=pain or {},
        )  # fmt: skip
        return source_id

    def wait(self, source_id: str, seconds: float = 40.0) -> bool:
        """Wait until somebody receives a stream."""
        return bool(self._ask(do="wait", source_id=source_id, seconds=seconds))

    def push(self, source_id: str, samples: np.ndarray, stamps: np.ndarray) -> None:
        """Send (n,) or (n, channels) samples with their stamps."""
        values = np.atleast_2d(samples.T).T
        self._ask(do="push", source_id=source_id, samples=values.tolist(), stamps=stamps.tolist())

    def stream(self, source_id: str, *, count: int, rate: float) -> None:
        """Let the process send a ramp on its own, in real time, from now on; `drop` ends it."""
        self._ask(do="stream", source_id=source_id, count=count, rate=rate)

    def drop(self, source_id: str) -> None:
        """Withdraw a stream."""
        self._ask(do="drop", source_id=source_id)

    def kill(self) -> None:
        """End the process without a farewell, as a crash does."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()


def _serve() -> None:
    import threading

    import pylsl

    outlets: dict[str, pylsl.StreamOutlet] = {}

    def create(c: dict[str, Any]) -> bool:
        info = pylsl.StreamInfo(c["name"], c["kind"], len(c["channels"]), c["rate"], c["form"], c["source_id"])
        if any(label or unit for label, unit in c["channels"]):
            channels = info.desc().append_child("channels")
            for label, unit in c["channels"]:
                node = channels.append_child("channel")
                node.append_child_value("label", label)
                if unit:
                    node.append_child_value("unit", unit)
        pain = info.desc().append_child("pain")
        for key, value in c["pain"].items():
            pain.append_child_value(key, value)
        outlets[c["source_id"]] = pylsl.StreamOutlet(info)
        return True

    def wait(c: dict[str, Any]) -> bool:
        deadline = time.monotonic() + c["seconds"]
        while not outlets[c["source_id"]].have_consumers() and time.monotonic() < deadline:
            time.sleep(0.02)
        return outlets[c["source_id"]].have_consumers()

    def push(c: dict[str, Any]) -> bool:
        outlets[c["source_id"]].push_chunk(c["samples"], c["stamps"])
        return True

    def stream(c: dict[str, Any]) -> bool:
        def run() -> None:
            start = pylsl.local_clock()
            for i in range(c["count"]):
                if (outlet := outlets.get(c["source_id"])) is None:
                    return
                stamp = start + i / c["rate"]
                time.sleep(max(0.0, stamp - pylsl.local_clock()))
                outlet.push_sample([float(i)] * outlet.channel_count, stamp)

        threading.Thread(target=run, daemon=True).start()
        return True

    def drop(c: dict[str, Any]) -> bool:
        del outlets[c["source_id"]]
        return True

    actions = {"create": create, "wait": wait, "push": push, "stream": stream, "drop": drop}
    for line in sys.stdin:
        command = json.loads(line)
        sys.stdout.write(json.dumps(actions[command["do"]](command)) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    _serve()
