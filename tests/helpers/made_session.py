"""Made-up session content: one record of every kind, and a writer for it, without a pipeline."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monitor.bundle import BundleSpec, CalibrationSpec, ClassSpec, TrainingSpec, WeightsSpec, default_input
from monitor.config import BedSettings
from monitor.sessions.store import SessionMeta, SessionWriter, StoredBundle
from monitor.types import (
    AlarmAction,
    AlarmEvent,
    AlarmKind,
    CalibrationEvent,
    CalibrationState,
    Chunk,
    Comparators,
    Event,
    Marker,
    PainIndex,
    Presence,
    Priority,
    Provenance,
    Quality,
    Reason,
    Score,
    StreamEvent,
    StreamEventKind,
    StreamInfo,
    WindowsSkipped,
    snap,
)

SESSION = uuid.UUID("6f9c2c0e-3d0f-4a56-9a53-5f6f3d8f2b11")
CREATED_UTC = 1_780_000_000.25
OFFSET = 1_779_999_000.125


def made_spec(name: str = "made-eda") -> BundleSpec:
    """A bundle description with hashes, and no files behind it."""
    return BundleSpec(
        name=name,
        version="1.2.3",
        architecture="made",
        target="pain",
        inputs=(default_input("EDA", fallback={"center": 2.0, "spread": 0.5}),),
        classes=(
            ClassSpec(name="none", level=0),
            ClassSpec(name="moderate", level=0.5),
            ClassSpec(name="severe", level=1),
        ),
        calibration=CalibrationSpec(prior=(0.5, 0.25, 0.25)),
        training=TrainingSpec(data="simulated", protocol="none"),
        weights=WeightsSpec(backbone="simulated", head="simulated", alarm_eligible=True),
        parameters=10,
        flops=20,
        card="card.md",
        intended_use="Tests only.",
        sha256={"model.onnx": "ab" * 32, "model.json": "cd" * 32},
    )


def made_meta(**changes: Any) -> SessionMeta:
    """What a made-up session says of itself."""
    fields: dict[str, Any] = {
        "session": SESSION,
        "bed": "bed1",
        "subject": "S01",
        "created_utc": CREATED_UTC,
        "clock_offset": OFFSET,
        "provenance": Provenance.SIMULATED,
        "settings": BedSettings(name="bed1", subject="S01", bundles=("made-eda",), hop_s=0.5),
    }
    return SessionMeta(**(fields | changes))


def made_writer(path: Path, *, specs: Sequence[BundleSpec] | None = None, **arguments: Any) -> SessionWriter:
    """A writer of a made-up session at `path`."""
    meta = made_meta(**arguments.pop("meta", {}))
    bundles = [StoredBundle(spec=spec, path=f"bundles/{spec.name}") for spec in (specs or [made_spec()])]
    return SessionWriter(path=path, meta=meta, bundles=bundles, **arguments)


def made_info(key: str = "lsl:eda:0", **changes: Any) -> StreamInfo:
    """An announced EDA stream at 4 Hz."""
    fields: dict[str, Any] = {
        "key": key,
        "bed": "bed1",
        "modality": "EDA",
        "name": "hand EDA",
        "unit": "uS",
        "rate_hz": 4.0,
        "source": "synthetic",
        "provenance": Provenance.SIMULATED,
    }
    return StreamInfo(**(fields | changes))


def made_chunk(
    start: float = 0.0, n: int = 4, *, rate: float = 4.0, stream: str = "lsl:eda:0", **changes: Any
) -> Chunk:
    """n samples of a slow wave, from `start` seconds at `rate` Hz, arriving with the last of them."""
    stamps = snap(start + np.arange(n) / rate)
    fields: dict[str, Any] = {
        "stream": stream,
        "samples": (2.0 + np.sin(stamps / 7.0)).astype(np.float32),
        "stamps": stamps,
        "arrival": float(stamps[-1]) if n else start,
    }
    return Chunk(**(fields | changes))


def made_score(k: int, *, absent: tuple[str, ...] = (), **changes: Any) -> Score:
    """The score of window k of a grid of one second that starts at 0."""
    p = np.exp(np.sin(k / 11.0) * np.array([-1.0, 0.1, 1.0]))
    p = tuple((p / p.sum()).tolist())
    fields: dict[str, Any] = {
        "bed": "bed1",
        "bundle": "made-eda",
        "epoch": 0,
        "k": k,
        "t_end": float(k),
        "t_rel": float(k),
        "absent": absent,
        "calibration": "subject",
        "calibration_state": CalibrationState.CALIBRATED,
        "classes": ("none", "moderate", "severe"),
        "probabilities": None if absent else p,
        "index": None if absent else 100.0 * (0.5 * p[1] + p[2]),
        "logits": None if absent else tuple(float(np.float32(x)) for x in np.log(p)),
        "quality": (
            Quality(
                modality="EDA", usable=not absent, reasons=(Reason.GAP,) if absent else (), metrics={"slope": 1 / 3}
            ),
        ),
        "edges_hz": {"eda": (1.5,)},
        "delay_s": {"eda": 0.1 + 0.2},
        "window_hash": None if absent else f"{k:032x}",
        "provenance": Provenance.SIMULATED,
        "decided_at": k + 0.25,
    }
    return Score(**(fields | changes))


def made_index(k: int, *, withheld: str = "", **changes: Any) -> PainIndex:
    """The index after window k."""
    value = 45.0 + 40.0 * float(np.sin(k / 40.0))
    fields: dict[str, Any] = {
        "bed": "bed1",
        "bundle": "made-eda",
        "epoch": 0,
        "k": k,
        "t_end": float(k),
        "t_rel": float(k),
        "fast": None if withheld else value,
        "slow": None if withheld else 45.0 + 0.6 * (value - 45.0),
        "fast_withheld": withheld,
        "slow_withheld": withheld,
        "hollow": False,
    }
    return PainIndex(**(fields | changes))


def made_measures(k: int, **changes: Any) -> Comparators:
    """The plain measures after window k: heart rate and responses, and no pulse wave."""
    fields: dict[str, Any] = {
        "bed": "bed1",
        "epoch": 0,
        "k": k,
        "t_end": float(k),
        "t_rel": float(k),
        "heart_rate_bpm": 70.0 + 0.125 * (k % 9),
        "heart_rate_from": "ECG",
        "heart_rate_absent": (),
        "scr_per_s": 0.0625,
        "scr_from": "EDA",
        "scr_absent": (),
        "spi": None,
        "spi_from": "",
        "spi_absent": ("BVP:no_stream",),
    }
    return Comparators(**(fields | changes))


def made_alarm(t: float, presence: Presence = Presence.ON, **changes: Any) -> AlarmEvent:
    """A transition of the condition `pain_moderate`."""
    fields: dict[str, Any] = {
        "bed": "bed1",
        "condition": "pain_moderate",
        "kind": AlarmKind.PHYSIOLOGICAL,
        "priority": Priority.LOW,
        "presence": presence,
        "event_id": str(uuid.uuid5(SESSION, "pain_moderate")),
        "onset": t - 15.0,
        "t": t,
        "t_rel": t,
        "text": "The index has been at or above 50 for 15 s: reassess the patient",
        "index": 61.5,
        "bundle": "made-eda",
        "causes": ("index_fast",),
    }
    return AlarmEvent(**(fields | changes))


def one_event_of_each_kind() -> list[Event]:
    """Every kind of output, with every optional field once filled and once empty."""
    return [
        made_score(1),
        made_score(2, absent=("EDA:gap", "EDA:warming_up")),
        made_index(1),
        made_index(3, fast=float("nan"), slow=-0.0),
        made_index(2, withheld="half_empty"),
        made_measures(1),
        made_measures(
            2, heart_rate_bpm=None, heart_rate_from="", heart_rate_absent=("ECG:no_beats", "BVP:gap"), spi=50.5
        ),
        made_alarm(3.0),
        made_alarm(4.0, Presence.OFF, index=None, causes=()),
        AlarmAction(
            bed="bed1",
            t=4.5,
            t_rel=4.5,
            action="audio_pause",
            actor="nurse",
            before={"audio": "on", "audio_until": None},
            after={"audio": "paused", "audio_until": 124.5},
            text="Alarm sounds paused for 120 s by nurse",
        ),
        StreamEvent(bed="bed1", stream="lsl:eda:0", kind=StreamEventKind.GAP, t=5.0, seconds=1.75, detail="7 samples"),
        CalibrationEvent(
            bed="bed1",
            t=6.0,
            state=CalibrationState.CALIBRATED,
            valid_s=20.0,
            needed_s=20.0,
            baseline={"eda": (2.0, 1 / 7, 0.5), "ecg": (float("inf"), float("nan"), 0.0)},
        ),
        CalibrationEvent(bed="bed1", t=6.5, state=CalibrationState.REQUIRED, valid_s=0.0, needed_s=20.0, baseline={}),
        WindowsSkipped(bed="bed1", epoch=0, first_k=8, last_k=200_007, reason=Reason.CLOCK_JUMP),
        Marker(bed="bed1", t=7.0, kind="nrs", text="", value=6.0, actor="nurse"),
        Marker(bed="bed1", t=7.5, kind="note", text='turned, "slowly"\nto the left', value=None, actor="nurse"),
    ]


def write_eventful_session(path: Path, *, seconds: int = 600, closed: bool = True, **arguments: Any) -> Path:
    """A session with all that a report has to show.

    ECG at 100 Hz and EDA at 4 Hz in raw counts, with a gap of 40 s in EDA from a quarter of the time on, one loss, one
    clock fault, one alarm, two markers, one unused stream, and a span in the middle that was not recorded.
    """
    writer = made_writer(path, **arguments)
    ecg = made_info("ecg", modality="ECG", name="chest ECG", unit="mV", rate_hz=100.0)
    eda = made_info("eda", unit="counts", gain=0.01, offset=1.0)
    shown = made_info(
        "acc", modality=None, name="wrist ACC", unit=None, rate_hz=2.0, channels=3, unused="serves no model"
    )
    for info in (ecg, eda, shown):
        writer.stream(info, 0.0)
    rng = np.random.default_rng(11)
    gap = seconds // 4, seconds // 4 + 40
    unwritten = seconds // 2, seconds // 2 + 20
    for second in range(seconds):
        if unwritten[0] <= second < unwritten[1]:
            continue
        if second == unwritten[1]:
            writer.gap(
                start=float(unwritten[0]), end=float(unwritten[1]), records=100, samples=2200, reason="the disk is full"
            )
        t = second + np.arange(100) / 100
        beat = np.exp(-(((t % 0.83) - 0.4) ** 2) / 3e-4) + 0.03 * rng.normal(size=100)
        writer.chunk(made_chunk(second, 100, rate=100.0, stream="ecg", samples=beat.astype(np.float32)))
        if not gap[0] <= second < gap[1]:
            t = second + np.arange(4) / 4
            level = 100 * (2 + 1.5 * np.sin(t / 60) + 0.02 * rng.normal(size=4))
            writer.chunk(
                made_chunk(second, 4, stream="eda", samples=level.astype(np.float32), lost=3 * (second == gap[1]))
            )
        writer.chunk(made_chunk(second, 2, rate=2.0, stream="acc", samples=np.zeros((2, 3), dtype=np.float32)))
        if second > 5:
            missing = gap[0] <= second < gap[1] + 6
            writer.events([made_score(second, absent=("EDA:gap",) if missing else ())])
            writer.events([made_index(second, withheld="half_empty" if missing else "", hollow=second < 60)])
            unknown = {"scr_per_s": None, "scr_from": "", "scr_absent": ("EDA:gap",)} if missing else {}
            writer.events([made_measures(second, **unknown)])
        if second == gap[1]:
            seconds_lost = float(gap[1] - gap[0])
            writer.events(
                [
                    StreamEvent(
                        bed="bed1", stream="eda", kind=StreamEventKind.GAP, t=float(gap[0]), seconds=seconds_lost
                    ),
                    StreamEvent(bed="bed1", stream="eda", kind=StreamEventKind.CLOCK_FAULT, t=gap[0] + 41.0),
                    StreamEvent(bed="bed1", stream="ecg", kind=StreamEventKind.LATE, t=second + 0.5, samples=17),
                ]
            )
        if second in (100, 160):
            writer.events([made_alarm(float(second), Presence.ON if second == 100 else Presence.OFF)])
        if second in (90, 120):
            kind, value = ("stimulus", None) if second == 90 else ("nrs", 6.0)
            text = "dressing changed" if second == 90 else ""
            writer.events([Marker(bed="bed1", t=float(second), kind=kind, text=text, value=value, actor="nurse")])
        writer.tick(second + 1.0)
    writer.flush()
    if closed:
        writer.close()
    return path
