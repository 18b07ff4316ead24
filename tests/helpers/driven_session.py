"""What a bed goes through in a minute and a quarter, and a pipeline that is driven through it with its session."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monitor.sessions.rows import StreamOpened, Tick
from monitor.sessions.store import SessionWriter
from monitor.types import Chunk, Command, Provenance, StreamInfo, snap

SECONDS = 75


def record(writer: SessionWriter, pipeline: Any, steps: Sequence[object]) -> None:
    """Drive a pipeline and its session as the engine does."""
    for step in steps:
        match step:
            case StreamOpened(info=info, at=at):
                writer.stream(info, at)
                writer.events(pipeline.open_stream(info, at))
            case Chunk():
                writer.chunk(step)
                writer.events(pipeline.feed(step))
            case Command():
                writer.command(step)
                writer.events(pipeline.command(step))
            case Tick(now=now):
                writer.tick(now)
                writer.events(pipeline.tick(now))


def made_steps(seed: int = 0) -> list[object]:
    """EDA at 8 Hz and ECG at 128 Hz with jitter, a gap, a loss, a NaN, a reconnect, silence, a marker, an NRS score."""
    rng = np.random.default_rng(seed)
    infos = {
        "EDA": StreamInfo(**info_fields("eda", "EDA", "uS", 8.0)),
        "ECG": StreamInfo(**info_fields("ecg", "ECG", "mV", 128.0)),
    }
    steps: list[tuple[float, object]] = [(0.0, StreamOpened(info=info, at=100.0)) for info in infos.values()]
    for info in infos.values():
        n = int(SECONDS * info.rate_hz)
        t = np.arange(n) / info.rate_hz
        wave = 2 + 0.3 * np.sin(t / 5) + 0.05 * rng.normal(size=n)
        if info.modality == "ECG":
            wave = 0.03 * rng.normal(size=n) + np.exp(-(((t % 0.8) - 0.4) ** 2) / 2e-4)
        stamps = snap(100.0 + t + rng.normal(0, 1e-3, n))
        samples = wave.astype(np.float32)
        samples[n * 2 // 3] = np.nan
        edges = np.cumsum(rng.integers(1, max(2, int(info.rate_hz)), n))
        for start, end in zip([0, *edges], edges, strict=False):
            if start >= n or (info.modality == "EDA" and 40 <= t[start] < 43):
                continue
            part = slice(start, min(end, n))
            arrival = float(snap(stamps[part][-1] + 0.05))
            chunk = Chunk(
                stream=info.key,
                samples=samples[part].copy(),
                stamps=stamps[part].copy(),
                arrival=arrival,
                lost=int(t[start] <= 64 < t[min(end, n) - 1]),
            )
            steps.append((arrival - 100.0, chunk))
    steps += [(k / 4, Tick(now=100.0 + k / 4)) for k in range(4 * (SECONDS + 15))]
    steps.append((50.0, StreamOpened(info=infos["EDA"], at=150.0)))
    steps.append((55.0, Command(action="marker", at=155.0, actor="nurse", args={"kind": "note", "text": "turned"})))
    steps.append((56.0, Command(action="nrs", at=156.0, actor="nurse", args={"value": 4, "text": ""})))
    steps.append((60.0, Command(action="recalibrate", at=160.0, actor="nurse")))
    baseline = {"eda": [2.0, 0.4, 1.0], "ecg": [0.0, 0.2, 1.0]}
    steps.append((65.0, Command(action="restore_calibration", at=165.0, actor="engine", args={"baseline": baseline})))
    for at, action, args in (
        (20.0, "technical", {"name": "broker_lost", "present": True, "causes": ["mqtt"]}),
        (21.0, "audio_pause", {"seconds": 30.0}),
        (30.0, "limits", {"moderate_on": 20.0, "moderate_off": 10.0, "moderate_after_s": 2.0}),
        (45.0, "suspend", {"minutes": 0.2, "reason": "turning"}),
        (66.0, "technical", {"name": "broker_lost", "present": False, "causes": []}),
        (70.0, "resume", {}),
        (71.0, "acknowledge", {"condition": "pain_moderate"}),
    ):
        steps.append((at, Command(action=action, at=100.0 + at, actor="nurse", args=args)))
    return [step for _, step in sorted(steps, key=lambda item: item[0])]


def info_fields(key: str, modality: str, unit: str, rate: float) -> dict[str, Any]:
    return {
        "key": key,
        "bed": "bed1",
        "modality": modality,
        "name": key,
        "unit": unit,
        "rate_hz": rate,
        "source": "synthetic",
        "provenance": Provenance.SIMULATED,
    }
