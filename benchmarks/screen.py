"""What the dashboard costs: pictures a second and CPU, drawn by software, fed through the link that an engine uses.

This process stands where the engine stands. It publishes over the real sockets, at an engine's pace (samples every
0.04 s, a state four times a second, attention once a second), what `screen_frames` makes; the dashboard is another
process with the product's own window and link, and tells how many pictures it drew and what they cost it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any, Final

from rich.console import Console

from benchmarks.one_thread import unrestricted
from benchmarks.report import Figure, Result
from benchmarks.screen_frames import attention, bed_state, state, stream_view, wave
from monitor.link import Publisher, endpoint
from monitor.sources.synthetic import SyntheticPatient

SIZES: Final = ((1280, 800), (1920, 1080))
RATES_HZ: Final[Mapping[str, float]] = {
    "ECG": 512.0, "EDA": 512.0, "EMG": 512.0, "BVP": 64.0, "RESP": 32.0, "SPO2": 1.0
}  # fmt: skip

_BED: Final = "bed1"
_WAVE_S: Final = 0.04
_WAVES_A_STATE: Final = 6
"""A state every 0.24 s."""
_WAVES_A_WINDOW: Final = 25
_STARTS_S: Final = 60.0


def run(*, quick: bool) -> Result:
    """Measure the dashboard in both sizes, one after the other.

    Args:
        quick: 2 s each in place of 20.
    """
    seconds = 2.0 if quick else 20.0
    rates = ", ".join(f"{name} {rate:.0f} Hz" for name, rate in RATES_HZ.items())
    measured = (
        f"Six waveforms ({rates}) and attention maps once a second, over the real link from another process; the "
        f"window drawn by software, offscreen; {seconds:.0f} s each. A picture is one painting of the ECG's trace."
    )
    figures: list[Figure] = []
    skipped: list[str] = []
    for width, height in SIZES:
        size = f"{width}x{height}"
        with tempfile.TemporaryDirectory(prefix="pain-monitor-screen-") as scratch:
            noted, said = _measure(Path(scratch), width, height, seconds)
        if noted is None:
            skipped.append(f"{size}: the dashboard failed: {said}")
        else:
            figures += _figures(size, noted)
    return Result(name="screen", measured=measured, figures=tuple(figures), skipped=tuple(skipped))


def _figures(size: str, noted: Mapping[str, float]) -> list[Figure]:
    wall = noted["wall_s"]
    note = f"longest pause between two pictures {1e3 * noted['longest_s']:.0f} ms"
    return [
        Figure(name=f"{size}: pictures", value=noted["pictures"] / wall, unit="/s", aim=30.0, note=note),
        Figure(
            name=f"{size}: dashboard, CPU", value=noted["cpu_s"] / wall, unit="cores", aim=0.5, sense="at most",
            note="user and system time of all threads",
        ),
    ]  # fmt: skip


def _measure(folder: Path, width: int, height: int, seconds: float) -> tuple[Mapping[str, float] | None, str]:
    """Publish to one dashboard until it has measured itself.

    Returns:
        What it noted (see `screen_window`), None where it failed; and what it said.
    """
    run_folder, noted, said = folder / "run", folder / "noted.json", folder / "said.txt"
    publisher = Publisher(run=run_folder, beds=[_BED])
    publisher.bind()
    arguments = [endpoint(run_folder, _BED), f"{width}", f"{height}", f"{seconds}", str(noted)]
    environment = unrestricted(os.environ) | {"QT_QPA_PLATFORM": "offscreen"}
    try:
        with said.open("wb") as stream, Console(stderr=True).status(f"Drawing {width}x{height} ..."):
            dashboard = subprocess.Popen(
                [sys.executable, "-m", "benchmarks.screen_window", *arguments],
                env=environment, stdout=subprocess.DEVNULL, stderr=stream,
            )  # fmt: skip
            try:
                _publish(publisher, dashboard, seconds + _STARTS_S)
            finally:
                if dashboard.poll() is None:
                    dashboard.kill()
                dashboard.wait()
    finally:
        publisher.close()
    if dashboard.returncode != 0 or not noted.exists():
        text = said.read_text(encoding="utf-8", errors="replace").strip()
        return None, text[-500:] or f"exit code {dashboard.returncode}"
    found: dict[str, Any] = json.loads(noted.read_text(encoding="utf-8"))
    return found, ""


def _publish(publisher: Publisher, dashboard: subprocess.Popen[bytes], longest_s: float) -> None:
    """Send what an engine would send, in real time, until the dashboard ends."""
    patient = SyntheticPatient(part="demo", number=7, confounders=(), rates_hz=RATES_HZ)
    streams = tuple(stream_view(name, rate_hz=rate, measured_hz=rate) for name, rate in RATES_HZ.items())
    start = time.monotonic()
    for step in count():
        due = step * _WAVE_S
        time.sleep(max(0.0, start + due - time.monotonic()))
        if due > longest_s or dashboard.poll() is not None:
            return
        begin = due - _WAVE_S if step else 0.0
        blocks = [wave(name, begin, due - begin, patient=patient) for name in RATES_HZ]
        publisher.send_waves([block for block in blocks if block.x])
        k = step // _WAVES_A_WINDOW
        if step % _WAVES_A_STATE == 0:
            publisher.send_state(state(bed_state(k=k, streams=streams), seq=step, t=due))
        if step % _WAVES_A_WINDOW == 0 and publisher.attention_wanted():
            publisher.send_attention(attention(k))
