"""From the push of the last sample that a window needs to its score, between processes, over LSL, in real time.

A window that ends at t needs a sample of ECG and of EDA at or after t. The player sends packets of 0.05 s when their
last sample has been taken, so the packet that completes a window leaves 0.05 s after t: that wait belongs to the
device and is not counted. The clock starts when the player's `push_chunk` of the later of the two packets returns, and
stops when the pipeline returns the Score; both read the same monotonic clock. Between them lie liblsl, the inlet's
pause between two reads, the queues, the pipeline, and the model.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np
from rich.console import Console

from benchmarks.latency_player import RATES_HZ
from benchmarks.one_thread import unrestricted
from benchmarks.random_model import MODALITIES, random_bundle
from benchmarks.report import Figure, Result
from monitor.bundle_folder import shipped_bundles
from monitor.errors import MonitorError
from monitor.outputs.synthetic_playback import source_id
from monitor.types import FloatArray

BUNDLE: Final = "crossmod-eda-ecg"
LEAD_IN_S: Final = 12.0
"""First window of 5.5 s and the filters' warm-up, then some scores that do not count."""
SKIPPED_SCORES: Final = 3

_STARTS_S: Final = 60.0
_ENDS_S: Final = 30.0

_LSL_CONFIG = """\
[multicast]
ResolveScope = machine
[lab]
KnownPeers = {{127.0.0.1}}
SessionID = {session}
[ports]
PortRange = 256
[log]
level = -3
"""


def run(*, quick: bool) -> Result:
    """Measure an engine that listens to four streams and scores one of its bundles each second.

    Args:
        quick: 15 s in place of 150.
    """
    seconds = 15.0 if quick else 150.0
    measured = (
        "One bed, ECG, EDA and EMG at 512 Hz and BVP at 64 Hz from another process over LSL, hop 1 s, session "
        f"recorded; {seconds:.0f} s. From the return of push_chunk of the packet that completes a window to the return "
        "of its Score."
    )
    with tempfile.TemporaryDirectory(prefix="pain-monitor-benchmark-") as scratch:
        folder = Path(scratch)
        try:
            bundle = BUNDLE if BUNDLE in shipped_bundles() else str(random_bundle(folder))
            pushes, noted = _measure(folder, bundle, seconds)
        except ImportError as error:
            reason = f"no bundle is shipped, and {error.name}, which would make one, is not installed"
            return Result(name="latency", measured=measured, figures=(), skipped=(reason,))
        except LiveFailureError as error:
            return Result(name="latency", measured=measured, figures=(), skipped=(str(error),))
    return Result(name="latency", measured=measured, figures=_figures(pushes, noted))


class LiveFailureError(MonitorError):
    """The two processes did not come to scores, with what they said."""


def _measure(folder: Path, bundle: str, seconds: float) -> tuple[list[Any], dict[str, Any]]:
    """Run engine and player side by side.

    Returns:
        The logs of both (see `latency_player` and `latency_engine`).

    Raises:
        LiveFailureError: If one of them fails.
    """
    tag = uuid.uuid4().hex[:12]
    config, pushed, noted = folder / "config.toml", folder / "pushed.json", folder / "noted.json"
    config.write_text(_config(state=folder / "state", bundle=bundle, tag=tag), encoding="utf-8")
    lsl = folder / "lsl.cfg"
    lsl.write_text(_LSL_CONFIG.format(session=f"pain-monitor-benchmark-{tag}"), encoding="utf-8")
    environment = unrestricted(os.environ) | {"LSLAPICFG": str(lsl)}
    play_s = LEAD_IN_S + seconds

    def start(module: str, *arguments: str) -> subprocess.Popen[bytes]:
        said = (folder / f"{module}.txt").open("wb")
        with said:
            return subprocess.Popen(
                [sys.executable, "-m", f"benchmarks.{module}", *arguments],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.DEVNULL,
                stderr=said,
            )

    engine = start("latency_engine", str(config), str(noted))
    player = start("latency_player", "--tag", tag, "--seconds", str(play_s), str(pushed))
    try:
        with Console(stderr=True).status(f"Playing {play_s:.0f} s in real time ..."):
            player.wait(play_s + _STARTS_S)
        assert engine.stdin is not None
        engine.stdin.close()
        engine.wait(_ENDS_S)
    except subprocess.TimeoutExpired:
        pass  # told below, with what they said
    finally:
        for process in (player, engine):
            if process.poll() is None:
                process.kill()
            process.wait()
            if process.stdin is not None:
                process.stdin.close()
    # An engine that fails leaves the player waiting for a listener: the cause is told first.
    for module, process, log in (("latency_engine", engine, noted), ("latency_player", player, pushed)):
        if process.returncode != 0 or not log.exists():
            said = (folder / f"{module}.txt").read_text(encoding="utf-8", errors="replace").strip()[-1000:]
            problem = f"ended with exit code {process.returncode}: {said or 'it said nothing'}"
            raise LiveFailureError(problem, where=module)
    return json.loads(pushed.read_text(encoding="utf-8")), json.loads(noted.read_text(encoding="utf-8"))


def _config(*, state: Path, bundle: str, tag: str) -> str:
    streams = "".join(
        f"\n[[bed.stream]]\nsource_id = {json.dumps(source_id(modality, tag=tag))}\nmodality = {json.dumps(modality)}\n"
        for modality in RATES_HZ
    )
    return (
        f'[engine]\nstate_dir = {json.dumps(str(state))}\n\n[lsl]\nresolve_s = 1.0\n\n[log]\nlevel = "WARNING"\n\n'
        f'[[bed]]\nname = "benchmark"\nbundles = [{json.dumps(bundle)}]\ncalibration_s = 20.0\n{streams}'
    )


def _figures(pushes: Sequence[Any], noted: Mapping[str, Any]) -> tuple[Figure, ...]:
    """Latencies from both logs.

    Raises:
        LiveFailureError: If no window was scored.
    """
    scored = [score for score in noted["scores"] if not score["absent"]][SKIPPED_SCORES:]
    if not scored:
        absent = noted["scores"][-1]["absent"] if noted["scores"] else "no window at all"
        raise LiveFailureError(f"no window was scored: {absent}", where="latency_engine")
    written = dict(noted["written"])
    origin = scored[0]["t_end"] - scored[0]["t_rel"]
    # Playing begins a whole number of seconds after the origin that the outlets announce, and pushes are hardly late.
    start = origin + round(float(np.median([at - due for _, _, due, at in pushes])) - origin)
    completes = {key: [(start + last, at) for k, last, _, at in pushes if k == key] for key in MODALITIES}
    created, lines, pipeline = [], [], []
    for score in scored:
        t_end = score["t_end"]
        push = max(next(at for last, at in completes[key] if last >= t_end - 1e-6) for key in MODALITIES)
        created.append(score["created"] - push)
        lines.append(written[t_end] - push)
        pipeline.append(score["created"] - score["decided"])
    first, last = scored[0], scored[-1]
    cores = (last["cpu_s"] - first["cpu_s"]) / (last["created"] - first["created"]) if last is not first else 0.0
    late = np.array([at - (start + due) for _, _, due, at in pushes])
    absent = len([score for score in noted["scores"] if score["t_end"] >= first["t_end"]]) - len(scored)
    return (
        _percentile("push to score, p50", created, 50, note=f"{len(scored)} windows scored, {absent} not"),
        _percentile("push to score, p95", created, 95),
        _percentile("push to score, p99", created, 99, aim=100.0, sense="at most"),
        Figure(name="push to score, longest", value=1e3 * max(created), unit="ms"),
        _percentile("  of it: chunk arrived to score, p50", pipeline, 50, note="queues, signal path and model"),
        _percentile("  of it: chunk arrived to score, p99", pipeline, 99),
        _percentile("push to JSON line written, p99", lines, 99),
        Figure(name="engine, CPU", value=cores, unit="cores", aim=0.25, sense="at most", note="all threads, recording"),
        Figure(
            name="engine, peak memory", value=noted["peak_bytes"] / 1e6, unit="MB", aim=400.0, sense="at most",
            note="resident set, from start to end",
        ),
        _percentile("player: push after due, p99", late.tolist(), 99, note="the device's own lateness, not counted"),
    )  # fmt: skip


def _percentile(name: str, seconds: Sequence[float] | FloatArray, percent: float, **fields: Any) -> Figure:
    return Figure(name=name, value=1e3 * float(np.percentile(seconds, percent)), unit="ms", **fields)
