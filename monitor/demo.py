"""The demonstration: a simulated patient in a process of its own, real LSL between, and an engine that scores it."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

from monitor.bundle_folder import load_bundle
from monitor.config import BedSettings, LogSettings, LslSettings, Settings, StreamSettings
from monitor.engine.daemon import run_engine
from monitor.engine.engine import Engine
from monitor.engine.load import measure, smallest_hop_s
from monitor.errors import EngineError
from monitor.outputs.synthetic_playback import source_id
from monitor.sessions.file import list_sessions, state_folder

_LOGGER = logging.getLogger(__name__)

CALIBRATION_S: Final = 20.0
"""Valid seconds of baseline; too few for any study, enough to see what calibration does."""
REST_S: Final = 40.0
"""Seconds before the patient's first pain: calibration, and the filters' warm-up before it."""
_END_S: Final = 10.0


def demo_settings(
    *, bed: str, bundle: str, modalities: Sequence[str], tag: str, subject: str, hop_s: float = 1.0
) -> Settings:
    """Settings that listen to one simulated patient and to nobody else.

    Args:
        bed: Name of the bed.
        bundle: Name of the model bundle.
        modalities: Its inputs.
        tag: What the patient's source_ids contain.
        subject: Subject code.
        hop_s: What the bundle proposes.
    """
    streams = tuple(
        StreamSettings(source_id=source_id(modality, tag=tag), modality=modality) for modality in modalities
    )
    settings = BedSettings(
        name=bed, subject=subject, bundles=(bundle,), hop_s=hop_s, calibration_s=CALIBRATION_S, stream=streams
    )
    return Settings(bed=(settings,), lsl=LslSettings(resolve_s=1.0), log=LogSettings(level="WARNING"))


def run_demo(*, bundle: str, patient: int, seconds: float | None, write: Callable[[str], None]) -> int:
    """Run the demonstration until it is stopped.

    Args:
        bundle: Name of the model bundle, or its folder.
        patient: Which demonstration patient.
        seconds: Stop after so long; None to go on until a signal.
        write: Takes each line.

    Returns:
        Exit code.

    Raises:
        BundleError: If the bundle is missing or damaged.
        EngineError: If the patient's process fails.
    """
    loaded = load_bundle(bundle)
    spec = loaded.spec
    # Twice what just suffices: the engine measures anew, and a demonstration is not the place to ask for settings.
    hop_s = max(spec.hop_seconds, smallest_hop_s(2.0 * measure(loaded)))
    modalities = tuple(dict.fromkeys(item.modality for item in spec.inputs))
    # Two demonstrations, on one machine or on one network, neither share a bed nor hear each other's patient.
    tag = uuid.uuid4().hex[:12]
    bed = f"demo-{os.getpid()}"
    subject = f"sim-demo-{patient:04d}"
    settings = demo_settings(bed=bed, bundle=bundle, modalities=modalities, tag=tag, subject=subject, hop_s=hop_s)
    write(
        f"A simulated patient ({', '.join(modalities)}) over LSL, scored by {spec.name} {spec.version} "
        f"every {hop_s:g} s."
    )
    logging.getLogger("monitor").setLevel(logging.ERROR)  # what befalls streams stands among the lines
    write("~ marks an index that is not yet calibrated to the subject. RESEARCH USE ONLY.")
    with contextlib.ExitStack() as stack:
        stack.enter_context(_quiet_liblsl())

        def start_patient(engine: Engine) -> None:
            stack.enter_context(_patient(patient, modalities, tag, engine))

        code = run_engine(settings, seconds=seconds, write=write, on_start=start_patient)
    for session in list_sessions(state_folder(), bed):
        write(f"Recorded in {session}")
        write("  `pain-monitor inspect FILE` sums it up, `pain-monitor verify FILE` computes every score again.")
    return code


@contextlib.contextmanager
def _quiet_liblsl() -> Iterator[None]:
    """Keep liblsl's own chatter off the screen, unless somebody has configured liblsl: then all is left as it is.

    liblsl reads the variable when it is loaded, so in this process once, and in the patient's.
    """
    configured = [Path("lsl_api.cfg"), Path.home() / "lsl_api" / "lsl_api.cfg", Path("/etc/lsl_api/lsl_api.cfg")]
    if "LSLAPICFG" in os.environ or any(path.exists() for path in configured):
        yield
        return
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lsl_api.cfg"
        path.write_text("[log]\nlevel = -2\n", encoding="utf-8")
        os.environ["LSLAPICFG"] = str(path)
        try:
            yield
        finally:
            del os.environ["LSLAPICFG"]


@contextlib.contextmanager
def _patient(number: int, modalities: Sequence[str], tag: str, engine: Engine) -> Iterator[None]:
    """Run the patient's process; it ends when our end of its standard input closes, so also if we are killed."""
    command = [sys.executable, "-m", "monitor.cli", "stream", "synthetic", "--lsl", "--with-parent"]
    command += ["--patient", str(number), "--rest", str(REST_S), "--modalities", ",".join(modalities), "--tag", tag]
    stopping = threading.Event()
    with tempfile.TemporaryFile() as said:
        child = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said,
            # Ctrl-C in a terminal is for us alone; we end the patient after the engine, in order.
            start_new_session=sys.platform != "win32",
        )  # fmt: skip

        def watch() -> None:
            child.wait()
            if not stopping.is_set():
                engine.request_stop(EngineError.exit_code)

        watcher = threading.Thread(target=watch, name="patient-watch", daemon=True)
        watcher.start()
        try:
            yield
        finally:
            stopping.set()
            if child.poll() is not None:
                said.seek(0)
                _LOGGER.error(
                    "the simulated patient ended by itself (exit code %s): %s",
                    child.returncode,
                    said.read().decode(errors="replace").strip()[-2000:],
                )
            if child.stdin is not None:
                child.stdin.close()
            try:
                child.wait(_END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
