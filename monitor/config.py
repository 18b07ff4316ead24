"""config.toml -> frozen settings. Every key has its default, its range and its sentence here, and nowhere else."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)


class StreamSettings(_Settings):
    """One stream of a bed: how to find it, and what it is. `[[bed.stream]]`."""

    source: Literal["lsl"] = "lsl"
    """Where it comes from live; `replay` takes it from the recording instead."""
    name: str | None = None
    """Name of the LSL stream, or of the signal in a recording."""
    type: str | None = None
    """Type of the LSL stream."""
    source_id: str | None = None
    """source_id of the LSL stream: the surest way to name one."""
    channel: str | int | None = None
    """Label or number (from 0) of the channel, where a stream has several."""
    modality: str | None = None
    """ECG, EDA, BVP, EMG, RESP, SPO2, TEMP, ACC; else it follows from the name or type."""
    unit: str | None = None
    """Unit of the samples; else it follows from the stream's own description, else the stream is refused."""
    rate_hz: float | Literal["measured"] | None = None
    """Sampling rate; "measured" where the device keeps no promise; else it follows from the stream."""
    gain: float | None = None
    """Value in the modality's unit = gain * sample + offset, for raw counts."""
    offset: float | None = None
    """See gain."""
    transfer: Literal["bitalino_rev", "biosignalsplux"] | None = None
    """Transfer function of a known device, from its data sheet, instead of gain and offset."""
    bits: Annotated[int, Field(ge=6, le=24)] | None = None
    """Resolution of the converter, for `transfer`."""
    timestamps: Literal["device", "arrival"] = "device"
    """Whose stamps to believe: the device's, or our clock at arrival (for bursts with useless stamps)."""
    jitter_s: Annotated[float, Field(ge=0.0, le=5.0)] = 0.02
    """How far a stamp may be off its prediction before it counts as a gap."""


class AlarmSettings(_Settings):
    """Limits of the first alarm, on the fast index; unvalidated. `[bed.alarm]`."""

    moderate_on: Annotated[float, Field(ge=20, le=95)] = 50.0
    """Index at or above which moderate pain counts as present (priority low)."""
    moderate_off: Annotated[float, Field(ge=5, le=95)] = 35.0
    """Index below which it counts as gone."""
    moderate_after_s: Annotated[float, Field(ge=0, le=120)] = 15.0
    """Stream time above the limit before the alarm."""
    severe_on: Annotated[float, Field(ge=20, le=95)] = 70.0
    """Index at or above which severe pain counts as present (priority medium)."""
    severe_off: Annotated[float, Field(ge=5, le=95)] = 55.0
    """Index below which it counts as gone."""
    severe_after_s: Annotated[float, Field(ge=0, le=120)] = 60.0
    """Stream time above the limit before the alarm."""
    off_after_s: Annotated[float, Field(ge=0, le=120)] = 30.0
    """Stream time below the off limit before a pain alarm clears."""
    freeze_s: Annotated[float, Field(ge=0, le=60)] = 10.0
    """Windows without an index freeze the timers for this long, then reset them."""
    no_data_after_s: Annotated[float, Field(ge=1, le=120)] = 10.0
    """Seconds without any sample before the technical alarm `no_data`."""
    unscorable_after_s: Annotated[float, Field(ge=1, le=600)] = 30.0
    """Stream time without a score before the technical alarm `unscorable`."""


class BedSettings(_Settings):
    """One bed: its streams, models and limits. `[[bed]]`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "bed1"
    """Letters, digits, - and _, at most 32."""
    subject: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "unknown"
    """Subject code; never a person's name."""
    bundles: Annotated[tuple[str, ...], Field(min_length=1)] = ("crossmod-eda-ecg",)
    """Model bundles in order of preference: names of shipped ones, or folders."""
    hop_s: Annotated[float, Field(ge=0.25, le=60, multiple_of=0.25)] = 1.0
    """A window is scored every so many seconds; a multiple of 0.25."""
    allowed_lateness_s: Annotated[float, Field(ge=0.0, le=60)] = 2.0
    """How long a window waits for samples; at least the longest packet interval + 0.5 s."""
    calibration_s: Annotated[float, Field(ge=10, le=300)] = 120.0
    """Seconds of valid data at rest that make the baseline (30-300; less only for demonstrations)."""
    buffer_s: Annotated[float, Field(ge=30, le=3600)] = 120.0
    """Seconds of signal kept in memory per stream."""
    alarm: AlarmSettings = AlarmSettings()
    """Limits and delays."""
    stream: tuple[StreamSettings, ...] = ()
    """The bed's streams."""


class EngineSettings(_Settings):
    """The engine process. `[engine]`."""

    state_dir: str = ""
    """Where sessions, lock files and the control socket live; empty: the XDG data folder of the user."""
    record: bool = True
    """Write a session database for every bed."""
    queue_chunks: Annotated[int, Field(ge=16, le=100_000)] = 4096
    """Chunks that may wait for the pipeline; when full the oldest of that source are dropped, counted, and shown."""
    store_queue: Annotated[int, Field(ge=64, le=1_000_000)] = 65_536
    """Records that may wait for the disk; when full recording pauses and the lost span is counted and shown."""
    watchdog_s: Annotated[float, Field(ge=2, le=300)] = 20.0
    """A pipeline that shows no sign of life for so long is ended, and started anew by its supervisor."""
    restart_limit: Annotated[int, Field(ge=0, le=1000)] = 10
    """Restarts within an hour before the supervisor gives up."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where models run; "cuda" is refused where it cannot be had, "auto" says what it took."""


class LslSettings(_Settings):
    """How LSL streams are looked for. `[lsl]`."""

    resolve_s: Annotated[float, Field(ge=0.2, le=60)] = 2.0
    """Seconds that one look at the network takes."""
    buffer_s: Annotated[float, Field(ge=1, le=360)] = 30.0
    """Seconds that liblsl may hold for us; what is older is lost and counted as a gap."""
    silent_s: Annotated[float, Field(ge=1, le=120)] = 5.0
    """Seconds without a sample after which an inlet is given up and looked for anew."""


class LogSettings(_Settings):
    """What is written to standard error. `[log]`."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Lowest level that is written."""


class Settings(_Settings):
    """The whole of config.toml."""

    engine: EngineSettings = EngineSettings()
    """The engine process."""
    lsl: LslSettings = LslSettings()
    """How LSL streams are looked for."""
    log: LogSettings = LogSettings()
    """What is written to standard error."""
    bed: tuple[BedSettings, ...] = ()
    """One or several beds."""
