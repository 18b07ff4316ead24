"""`[[bed]]` and `[[bed.stream]]`: one bed, its streams and its models."""

from __future__ import annotations

from typing import Annotated, Final, Literal, TypeAlias

from pydantic import Field

from monitor.config.alarm import AlarmSettings
from monitor.config.table import Table
from monitor.errors import MappingError, Problem
from monitor.modality import many_channels, parse_modality

VoteRule: TypeAlias = Literal["first", "any", "majority", "weighted"]
"""How several bundles of a bed decide together; see `monitor.scoring.vote`."""

LONGEST_WINDOW_S: Final = 10.0
"""What a buffer must hold at least beside what it waits for; a bundle with a longer window gets a longer buffer."""


class StreamSettings(Table):
    """One stream of a bed: how to find it, and what it is. `[[bed.stream]]`."""

    source: Literal["lsl", "mqtt"] = "lsl"
    """Where it comes from live; `replay` takes it from the recording instead."""
    name: str | None = None
    """Name of the LSL stream, or of the signal in a recording."""
    type: str | None = None
    """Type of the LSL stream."""
    source_id: str | None = None
    """source_id of the LSL stream: the surest way to name one."""
    device: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.@:-]{0,63}$")] | None = None
    """Name of the MQTT device, as in its topic; left out, the one device that sends the modality."""
    channel: str | int | None = None
    """Label or number (from 0) of the channel, where a stream has several."""
    modality: str | None = None
    """ECG, EDA, BVP, EMG, RESP, SPO2, TEMP, ACC; else it follows from the name or type. ARRAY:<name> or EMBED:<name>
    for all channels of a stream together, named as the model's input is."""
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
    """How far a stamp may be off its prediction before it counts as a gap; over MQTT 0.1 where it is left out."""


class BedSettings(Table):
    """One bed: its streams, models and limits. `[[bed]]`."""

    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,32}$")] = "bed1"
    """Letters, digits, - and _, at most 32."""
    subject: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")] = "unknown"
    """Subject code; never a person's name."""
    bundles: Annotated[tuple[str, ...], Field(min_length=1)] = ("crossmod-eda-ecg",)
    """Model bundles in order of preference: names of shipped ones, or folders."""
    vote: VoteRule = "first"
    """first: the most preferred usable bundle alone. Else all score, and pain alarms rest on their indices: any (the
    greatest), majority (the median) or weighted (the mean)."""
    vote_weights: tuple[Annotated[float, Field(gt=0, le=100)], ...] = ()
    """For weighted, one a bundle in their order; left out, all count alike."""
    hop_s: Annotated[float, Field(ge=0.25, le=60, multiple_of=0.25)] = 1.0
    """A window is scored every so many seconds; a multiple of 0.25."""
    allowed_lateness_s: Annotated[float, Field(ge=0.0, le=60)] = 2.0
    """How long a window waits for samples; at least the longest packet interval + 0.5 s."""
    calibration_s: Annotated[float, Field(ge=10, le=300)] = 120.0
    """Seconds of valid data at rest that make the baseline (30-300; less only for demonstrations)."""
    drift_above: Annotated[float, Field(ge=0, le=20)] = 2.0
    """Robust SD by which signals may leave the baseline for ten minutes before calibration is required; 0: not seen."""
    buffer_s: Annotated[float, Field(ge=30, le=3600)] = 120.0
    """Seconds of signal kept in memory per stream."""
    alarm: AlarmSettings = AlarmSettings()
    """Limits and delays."""
    stream: tuple[StreamSettings, ...] = ()
    """The bed's streams."""


def bed_contradictions(bed: BedSettings, key: str) -> list[Problem]:
    """What is wrong between settings of a bed that are each right by themselves; `key` names its table."""
    problems = []
    modalities: dict[str, int] = {}
    for position, stream in enumerate(bed.stream):
        try:
            modality = parse_modality(stream.modality) if stream.modality is not None else None
        except MappingError as error:
            problems.append(Problem(f"{key}.stream[{position}].modality", error.what, error.todo))
            continue
        if modality is None or modality in ("TEMP", "ACC"):  # auxiliaries may come several times
            continue
        if modality in modalities:
            problems.append(
                Problem(
                    f"{key}.stream[{position}].modality",
                    f"stream[{modalities[modality]}] is the bed's {modality} already",
                    "one stream for each modality",
                )
            )
        modalities.setdefault(modality, position)
    if len(set(bed.bundles)) != len(bed.bundles):
        problems.append(Problem(f"{key}.bundles", "a bundle is listed twice"))
    if bed.vote != "first" and len(bed.bundles) < 2:
        problems.append(Problem(f"{key}.vote", "there is one bundle, which cannot vote", 'vote = "first"'))
    if bed.vote_weights and bed.vote != "weighted":
        problems.append(Problem(f"{key}.vote_weights", f'vote is "{bed.vote}" and has no weights', "drop them"))
    elif bed.vote_weights and len(bed.vote_weights) != len(bed.bundles):
        what = f"{len(bed.vote_weights)} weights for {len(bed.bundles)} bundles"
        problems.append(Problem(f"{key}.vote_weights", what, "one a bundle, in their order"))
    if bed.buffer_s < bed.allowed_lateness_s + LONGEST_WINDOW_S + 2 * bed.hop_s:
        problems.append(
            Problem(
                f"{key}.buffer_s",
                f"{bed.buffer_s:g} s cannot hold a window that waits for samples",
                f"at least {LONGEST_WINDOW_S:g} + allowed_lateness_s + 2 hop_s",
            )
        )
    return problems


def stream_contradictions(stream: StreamSettings, key: str) -> list[Problem]:
    """What is wrong between settings of a stream that are each right by themselves; `key` names its table."""
    problems = _array_contradictions(stream, key)
    if stream.source == "mqtt" and stream.modality is None:
        problems.append(Problem(f"{key}.modality", "MQTT needs it: it is a part of the topic"))
    if stream.source == "mqtt" and (stream.type is not None or stream.source_id is not None):
        problems.append(
            Problem(key, "type and source_id belong to LSL", "MQTT streams are named by device and modality")
        )
    if stream.source == "lsl" and stream.device is not None:
        problems.append(Problem(f"{key}.device", "it belongs to MQTT", 'set source = "mqtt", or name the LSL stream'))
    if stream.source == "lsl" and stream.name is None and stream.type is None and stream.source_id is None:
        problems.append(
            Problem(
                key, "nothing says which stream this is", "give name, type or source_id; see `pain-monitor streams`"
            )
        )
    if stream.transfer is not None and (stream.gain is not None or stream.offset is not None):
        problems.append(Problem(f"{key}.transfer", "gain and offset are given too", "one or the other"))
    if stream.offset is not None and stream.gain is None and stream.transfer is None:
        problems.append(Problem(f"{key}.offset", "there is no gain with it", "gain = 1.0 where only the zero is off"))
    if stream.bits is not None and stream.transfer is None:
        problems.append(Problem(f"{key}.bits", "only a transfer uses it", "set transfer, or drop bits"))
    if stream.gain == 0:
        problems.append(Problem(f"{key}.gain", "0 would make every sample the same"))
    if isinstance(stream.rate_hz, float) and stream.rate_hz <= 0:
        problems.append(Problem(f"{key}.rate_hz", f"{stream.rate_hz:g} is no rate", 'more than 0, or "measured"'))
    if stream.channel is not None and isinstance(stream.channel, int) and stream.channel < 0:
        problems.append(Problem(f"{key}.channel", f"there is no channel {stream.channel}", "the first one is 0"))
    return problems


def _array_contradictions(stream: StreamSettings, key: str) -> list[Problem]:
    try:
        array = stream.modality is not None and many_channels(parse_modality(stream.modality))
    except MappingError:  # said elsewhere
        return []
    if not array:
        return []
    problems = []
    if stream.source == "mqtt":
        problems.append(Problem(f"{key}.source", f"{stream.modality} comes over LSL only", 'source = "lsl"'))
    for name in ("channel", "transfer"):
        if getattr(stream, name) is not None:
            what = f"{stream.modality} takes all channels of its stream as they are"
            problems.append(Problem(f"{key}.{name}", what, f"drop {name}"))
    return problems
