"""An engine in a process of its own, on a simulated patient and the tiny bundle: `-m tests.helpers.engine_process`."""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
import uuid
from collections.abc import Sequence
from pathlib import Path

from monitor.clock import SystemClock
from monitor.config import BedSettings, EngineSettings, Settings
from monitor.engine.beds import BedPipeline
from monitor.engine.engine import Engine
from monitor.engine.supervisor import end_with_parent
from monitor.engine.wiring import Models, load_models
from monitor.errors import MonitorError
from monitor.sources.synthetic import SyntheticPatient, SyntheticSource
from monitor.types import Event


class StuckPipeline:
    """Hangs at the first tick, as a defect in a C library might."""

    window = None

    def __init__(self, inner: BedPipeline) -> None:
        self.open_stream, self.feed, self.command = inner.open_stream, inner.feed, inner.command

    def tick(self, now: float) -> list[Event]:  # noqa: ARG002
        time.sleep(3600)
        return []


class BrokenPipeline:
    """Fails at every tick."""

    window = None

    def __init__(self, inner: BedPipeline) -> None:
        self.open_stream, self.feed, self.command = inner.open_stream, inner.feed, inner.command

    def tick(self, now: float) -> list[Event]:  # noqa: ARG002
        raise RuntimeError("broken on purpose")


def settings_for(state: Path, *bundles: Path, **engine: object) -> Settings:
    """One bed, `bed1`, that calibrates in 10 s."""
    bed = BedSettings(name="bed1", subject="P-001", bundles=tuple(map(str, bundles)), calibration_s=10.0)
    return Settings(engine=EngineSettings(state_dir=str(state), **engine), bed=(bed,))


def patient_source(bed: str = "bed1") -> SyntheticSource:
    """ECG and EDA of a simulated patient, in real time."""
    patient = SyntheticPatient(part="test", number=1)
    return SyntheticSource(patient=patient, bed=bed, clock=SystemClock(), modalities=("ECG", "EDA"))


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("state", type=Path)
    parser.add_argument("bundles", type=Path, nargs="+")
    parser.add_argument("--supervised", action="store_true")
    parser.add_argument("--fault", choices=("stuck", "broken"))
    given = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(levelname)s %(message)s")
    # Only one that shall be found stuck is watched so closely: on a busy machine any other may stand still for a while.
    settings = settings_for(given.state, *given.bundles, watchdog_s=2.0 if given.fault == "stuck" else 60.0)
    models = load_models(settings)
    if given.fault:
        fault = StuckPipeline if given.fault == "stuck" else BrokenPipeline

        def build(bed: BedSettings, session: uuid.UUID) -> BedPipeline:
            return fault(models.build(bed, session))

        faulty = Models(bundles=models.bundles, build=build)

    def show(bed: str, events: Sequence[Event]) -> None:
        for event in events:
            sys.stdout.write(f"{os.getpid()} {type(event).__name__}\n")
        sys.stdout.flush()

    try:
        engine = Engine(
            settings=settings,
            sources={"bed1": [patient_source()]},
            on_events=show,
            models=faulty if given.fault else models,
        )
        if given.supervised:
            end_with_parent(engine.request_stop)
        return engine.run()
    except MonitorError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code


if __name__ == "__main__":
    code = main()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
