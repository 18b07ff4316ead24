"""The engine of the latency benchmark: the daemon's own parts, which note when each score was there.

A process of its own: `python -m benchmarks.latency_engine CONFIG LOG`. Besides taking the time it differs in nothing
from the process that `pain-monitor daemon --json` supervises: LSL in, session database, LSL and JSON lines out.
"""

from __future__ import annotations

import argparse
import json
import logging
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from monitor.cli.lines import JsonLines
from monitor.clock import SystemClock
from monitor.config import BedSettings, load_settings
from monitor.engine.beds import BedPipeline
from monitor.engine.engine import Engine
from monitor.engine.supervisor import end_with_parent
from monitor.engine.wiring import Models, load_models, lsl_outputs
from monitor.types import Chunk, Event, Score


class _TimedPipeline:
    """A pipeline that notes the moment at which it has returned a score, and the process's CPU time then."""

    def __init__(self, inner: BedPipeline, log: list[dict[str, Any]]) -> None:
        self._inner = inner
        self._log = log

    def __getattr__(self, name: str) -> Any:
        """Everything else is the pipeline's own."""
        return getattr(self._inner, name)

    def feed(self, chunk: Chunk) -> list[Event]:
        return self._noted(self._inner.feed(chunk))

    def tick(self, now: float) -> list[Event]:
        return self._noted(self._inner.tick(now))

    def _noted(self, events: list[Event]) -> list[Event]:
        for event in events:
            if isinstance(event, Score):
                moment = {"created": time.monotonic(), "cpu_s": time.process_time()}
                window = {"t_end": event.t_end, "t_rel": event.t_rel, "decided": event.decided_at}
                self._log.append({**window, **moment, "absent": list(event.absent)})
        return events


def main() -> int:
    """Monitor until standard input closes, then write what was noted.

    Returns:
        Exit code of the engine.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("log", type=Path)
    given = parser.parse_args()
    settings = load_settings(given.config)
    logging.basicConfig(level=settings.log.level)
    scores: list[dict[str, Any]] = []
    written: list[tuple[float, float]] = []
    models = load_models(settings)
    lines = JsonLines(bundles=models.specs)

    def show(bed: str, events: Sequence[Event]) -> None:
        for line in lines.add(bed, events):
            sys.stdout.write(line + "\n")
        sys.stdout.flush()
        now = time.monotonic()
        written.extend((event.t_end, now) for event in events if isinstance(event, Score))

    def build(bed: BedSettings, session: uuid.UUID) -> BedPipeline:
        return cast(BedPipeline, _TimedPipeline(models.build(bed, session), scores))

    engine = Engine(
        settings=settings,
        models=Models(bundles=models.bundles, build=build),
        outputs=lsl_outputs(models),
        on_events=show,
        clock=SystemClock(),
    )
    end_with_parent(engine.request_stop)
    code = engine.run()
    given.log.write_text(
        json.dumps({"scores": scores, "written": written, "peak_bytes": _peak_bytes()}), encoding="utf-8"
    )
    return code


def _peak_bytes() -> int:
    """Largest resident set of this process so far, in bytes."""
    status = Path("/proc/self/status")
    if status.exists():
        # Not getrusage: on Linux its maximum survives exec, and would be that of the process that started us.
        kilobytes = next(line.split()[1] for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(kilobytes) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


if __name__ == "__main__":
    sys.exit(main())
