"""The daemon with a patient and a model that a test can steer: `-m tests.helpers.fault_engine CONFIG FOLDER`.

Supervisor, engine, outputs, sessions and sockets are the real ones; only the signals are simulated (with half a minute
of them there at once, so that nobody has to wait for a calibration), and the model says what the file `pain` in FOLDER
says: 0 none, 1 severe. Where there is a file `hang`, the next window never comes back.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
import uuid
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from monitor.bundle_folder import load_bundle
from monitor.clock import SystemClock
from monitor.config import BedSettings, load_settings
from monitor.engine.beds import BedPipeline
from monitor.engine.daemon import run_engine
from monitor.engine.supervisor import Supervisor, end_with_parent
from monitor.engine.wiring import Models
from monitor.pipeline import Pipeline
from monitor.scoring.scorer import RawScore
from monitor.sessions.store import StoredBundle
from monitor.sources.synthetic import SyntheticPatient, SyntheticSource
from monitor.types import Float32Array, snap

BACKLOG_S = 30.0


class BacklogSource(SyntheticSource):
    """A patient who has been measured for a while already."""

    def open(self) -> None:
        self._origin = float(snap(self._clock.now() - BACKLOG_S))


class SteeredRunner:
    """A model that says what a file says."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def score(self, bundle: str, inputs: Mapping[str, Float32Array]) -> RawScore:  # noqa: ARG002
        hang = self._folder / "hang"
        if hang.exists():
            hang.unlink()  # the process after this one shall live
            time.sleep(3600.0)
        pain = float((self._folder / "pain").read_text())
        logits = np.array([8.0 * (1.0 - pain), 0.0, 8.0 * pain], dtype=np.float32)
        return RawScore(logits=logits, features=logits)

    def explain(self, bundle: str, inputs: Mapping[str, Float32Array]) -> dict[str, Float32Array]:  # noqa: ARG002
        return {}


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("config", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--child", action="store_true")
    given = parser.parse_args()
    logging.basicConfig(level="INFO", format="%(asctime)s %(levelname)s [%(process)d %(threadName)s] %(message)s")
    if not given.child:
        command = [sys.executable, "-m", "tests.helpers.fault_engine", str(given.config), str(given.folder), "--child"]
        return Supervisor(command=command, restart_limit=10).run()
    settings = load_settings(given.config)
    bundle = load_bundle(settings.bed[0].bundles[0])
    runner = SteeredRunner(given.folder)

    def build(bed: BedSettings, session: uuid.UUID) -> BedPipeline:
        return Pipeline(bed=bed, bundles=[bundle.spec], runner=runner, session=session)

    stored = (StoredBundle(spec=bundle.spec, path=str(bundle.path)),)
    models = Models(bundles={bed.name: stored for bed in settings.bed}, build=build, explain=runner.explain)
    patient = SyntheticPatient(part="test", number=1)
    source = BacklogSource(
        patient=patient, bed=settings.bed[0].name, clock=SystemClock(), modalities=("EDA",), chunk_s=0.25
    )
    return run_engine(
        settings,
        json=True,
        models=models,
        sources={settings.bed[0].name: [source]},
        write=lambda _: None,
        on_start=lambda engine: end_with_parent(engine.request_stop),
        last_resort=True,
    )


if __name__ == "__main__":
    sys.exit(main())
