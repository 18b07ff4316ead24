"""config.toml -> frozen settings. Every key has its default, its range and its sentence here, and nowhere else."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias, TypeVar, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monitor.errors import ConfigError, MappingError, Problem
from monitor.types import many_channels, parse_modality

VoteRule: TypeAlias = Literal["first", "any", "majority", "weighted"]
"""How several bundles of a bed decide together; see `monitor.scoring.vote`."""

LONGEST_WINDOW_S: Final = 10.0
"""What a buffer must hold at least beside what it waits for; a bundle with a longer window gets a longer buffer."""


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, allow_inf_nan=False)


class StreamSettings(_Settings):
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


class AlarmSettings(_Settings):
    """Limits and delays of the alarms, on the fast index; unvalidated. `[bed.alarm]`."""

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
    no_data_after_s: Annotated[float, Field(ge=1, le=120)] | None = None
    """Seconds without any sample before the technical alarm `no_data`; left out, 2 s and the usual packet interval."""
    unscorable_after_s: Annotated[float, Field(ge=1, le=600)] = 30.0
    """Stream time without a score before the technical alarm `unscorable`."""
    fault_after_s: Annotated[float, Field(ge=0, le=60)] = 2.0
    """Stream time for which a fault (sensor off, clock, model, calibration) must last before its technical alarm."""
    stale_after_s: Annotated[float, Field(ge=2, le=120)] = 10.0
    """Seconds without a decided window, though data come, before the technical alarm `stale`; at least two hops."""
    uncertain_above: Annotated[float, Field(ge=0.5, le=1)] = 1.0
    """Entropy of the class probabilities, 1 = all alike, above which the model is uncertain; at 1 it never is."""
    uncertain_after_s: Annotated[float, Field(ge=0, le=600)] = 30.0
    """Stream time above it before the technical alarm `uncertain`."""
    heart_rate_on: Annotated[float, Field(ge=60, le=240)] | None = None
    """Heart rate in 1/min at or above which the plain comparator alarms (priority low); left out, it never does."""
    heart_rate_off: Annotated[float, Field(ge=40, le=240)] | None = None
    """Heart rate below which that alarm ends; left out, 15 below heart_rate_on."""
    heart_rate_after_s: Annotated[float, Field(ge=0, le=120)] = 60.0
    """Stream time above the limit before that alarm."""
    scr_per_s_on: Annotated[float, Field(ge=0.02, le=1)] | None = None
    """Skin conductance responses a second, over the last minute, at or above which that comparator alarms (low)."""
    scr_per_s_off: Annotated[float, Field(ge=0.01, le=1)] | None = None
    """Rate below which that alarm ends; left out, half of scr_per_s_on."""
    scr_per_s_after_s: Annotated[float, Field(ge=0, le=120)] = 15.0
    """Stream time above the limit before that alarm."""
    spi_on: Annotated[float, Field(ge=20, le=100)] | None = None
    """SPI-style index of the pulse wave, 0 to 100, at or above which that comparator alarms (low)."""
    spi_off: Annotated[float, Field(ge=5, le=100)] | None = None
    """Index below which that alarm ends; left out, 15 below spi_on."""
    spi_after_s: Annotated[float, Field(ge=0, le=120)] = 60.0
    """Stream time above the limit before that alarm."""
    latch_medium: bool = True
    """Medium physiological alarms stay until acknowledged; nobody at the bedside can change this."""
    rejoin_s: Annotated[float, Field(ge=0, le=600)] = 120.0
    """An alarm that returns within so many seconds joins the last one: the same id, counted, and no new sound."""
    reminder_s: Literal[0, 120, 180] = 180
    """Seconds after which an acknowledged alarm that is still there is heard again, once; 0: never."""
    audio_pause_s: Annotated[float, Field(ge=0, le=300)] = 120.0
    """Longest pause of alarm sounds, and the usual one; 0: there is none."""
    suspend_s: Annotated[float, Field(ge=0, le=300)] = 300.0
    """Longest suspension of pain alarms during a procedure, and the usual one; 0: there is none."""
    delegation_s: Annotated[float, Field(ge=0, le=60)] = 10.0
    """A client that signals alarms in this monitor's place must say so again within so many seconds; 0: none may."""


class BedSettings(_Settings):
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
    watchdog_s: Annotated[float, Field(ge=2, le=300)] = 6.0
    """A pipeline that shows no sign of life for so long is reported as an alarm, ended, and started anew."""
    selfcheck_s: Annotated[float, Field(ge=1, le=3600)] = 60.0
    """Seconds between two self-checks, which prove each route that alarms take."""
    restart_limit: Annotated[int, Field(ge=0, le=1000)] = 10
    """Restarts within an hour before the supervisor gives up."""
    device: Literal["cpu", "cuda", "auto"] = "cpu"
    """Where models run; "cuda" is refused where it cannot be had, "auto" says what it took."""


class LslSettings(_Settings):
    """How LSL streams are looked for. `[lsl]`."""

    resolve_s: Annotated[float, Field(ge=1, le=60)] = 2.0
    """Seconds that one look at the network takes."""
    buffer_s: Annotated[float, Field(ge=1, le=360)] = 30.0
    """Seconds that liblsl may hold for us; what is older is lost and counted as a gap."""
    silent_s: Annotated[float, Field(ge=1, le=120)] = 5.0
    """Seconds without a sample after which an inlet is given up and looked for anew."""


class MqttSettings(_Settings):
    """The MQTT broker, for streams that come in and scores that go out. `[mqtt]`."""

    host: Annotated[str, Field(pattern=r"^[A-Za-z0-9._:-]{0,253}$")] = ""
    """Name or address of the broker; empty: no MQTT."""
    port: Annotated[int, Field(ge=1, le=65535)] = 8883
    """8883 is usual with TLS, 1883 without."""
    tls: bool = True
    """Encrypt, and verify the broker's certificate and name."""
    ca_file: str = ""
    """Certificates that the broker's is verified with; empty: those that this system trusts."""
    user: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.@:-]{0,64}$")] = ""
    """User at the broker; empty: none. The password is never written here."""
    password_file: str = ""
    """File whose first line is the password; nobody else may read it."""
    password_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "PAIN_MONITOR_MQTT_PASSWORD"
    """Environment variable with the password, where there is no password_file."""
    keepalive_s: Annotated[int, Field(ge=5, le=300)] = 15
    """Seconds of quiet after which broker and monitor ask for a sign of life."""
    silent_s: Annotated[float, Field(ge=1, le=120)] = 5.0
    """Seconds without a packet after which a stream counts as gone."""
    publish: bool = True
    """Publish scores, quality, alarms, status and heartbeat of every bed."""
    commands: bool = True
    """Take commands of users on their own topics; only where `publish` is on, since they are answered."""


class WebhookSettings(_Settings):
    """A web address that is sent every alarm transition, signed. `[webhook]`."""

    url: Annotated[str, Field(pattern=r"^(https?://[^\s/?#@]+([/?][^\s#]*)?)?$", max_length=2048)] = ""
    """https://host/path; empty: no webhook. http is for this machine only. No user name or password in it."""
    ca_file: str = ""
    """Certificates that the receiver's is verified with; empty: those that this system trusts."""
    key_file: str = ""
    """File whose first line is the key that messages are signed with; nobody else may read it."""
    key_env: Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = "PAIN_MONITOR_WEBHOOK_KEY"
    """Environment variable with the key, where there is no key_file."""
    timeout_s: Annotated[float, Field(ge=0.5, le=60)] = 5.0
    """Seconds that the receiver may take to connect, and again to answer, before it is tried anew."""


class MetricsSettings(_Settings):
    """Numbers for Prometheus, on this machine's loopback address only. `[metrics]`."""

    port: Annotated[int, Field(ge=0, le=65535)] = 0
    """Port on 127.0.0.1 that answers with them; 0: none."""


class JsonLogSettings(_Settings):
    """A log of alarms, stream events and commands, one JSON object a line. `[jsonlog]`."""

    path: str = ""
    """File that it is written to, of mode 0600; empty: none."""
    max_mb: Annotated[float, Field(ge=0.01, le=10_000)] = 10.0
    """Size in MB at which the file is put aside and a new one begun."""
    keep: Annotated[int, Field(ge=1, le=1000)] = 5
    """Files put aside that are kept: path.1 is the newest; older ones are deleted."""


class LinkSettings(_Settings):
    """Who reaches the engine over TCP; programs of its own user on this machine always do. `[link]`."""

    listen: Annotated[str, Field(pattern=r"^(tcp://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5})?$")] = ""
    """tcp://ADDRESS:PORT of this machine, with the next two ports; empty: none. Encrypted, and only with keys."""
    key_file: str = ""
    """The engine's key, made by `pain-monitor keys engine`; nobody else may read it."""
    clients: str = ""
    """Folder with a NAME.pub file for each client that may connect."""


class SoundSettings(_Settings):
    """Alarm tones on this machine. `[sound]`."""

    enabled: bool = False
    """Sound alarms here; what is heard is always shown too."""
    device: str = ""
    """Name or number of the sound device; empty: the system's own choice."""
    volume: Annotated[float, Field(ge=0.1, le=1)] = 0.5
    """Share of the device's full scale; it cannot be silent, which is what `enabled` is for."""


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
    mqtt: MqttSettings = MqttSettings()
    """The MQTT broker."""
    webhook: WebhookSettings = WebhookSettings()
    """A web address that is sent every alarm transition."""
    metrics: MetricsSettings = MetricsSettings()
    """Numbers for Prometheus."""
    jsonlog: JsonLogSettings = JsonLogSettings()
    """A log of alarms, stream events and commands."""
    sound: SoundSettings = SoundSettings()
    """Alarm tones on this machine."""
    link: LinkSettings = LinkSettings()
    """Who reaches the engine over TCP."""
    log: LogSettings = LogSettings()
    """What is written to standard error."""
    bed: tuple[BedSettings, ...] = ()
    """One or several beds."""


def load_settings(path: Path) -> Settings:
    """Read a configuration file.

    Values are taken strictly as TOML types them (a quoted number is not a number), and nothing outside the file has a
    say in them.

    Args:
        path: The file, in TOML.

    Raises:
        ConfigError: If it cannot be read or is wrong anywhere; it carries every problem at once, each with its key.
    """
    return read_toml(path, Settings, contradictions)


_Model = TypeVar("_Model", bound=BaseModel)


def read_toml(path: Path, model: type[_Model], contradictions: Callable[[_Model], Sequence[Problem]]) -> _Model:
    """Read a TOML file as a settings model, strictly, as `load_settings` reads config.toml.

    Args:
        path: The file.
        model: What it holds; every key must have a default.
        contradictions: What is wrong between keys that are each right by themselves.

    Raises:
        ConfigError: If it cannot be read or is wrong anywhere; it carries every problem at once, each with its key.
    """
    where = str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise ConfigError(where=where, problems=[Problem("(file)", "there is no such file")]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(where=where, problems=[Problem("(file)", f"cannot be read: {error}")]) from error
    try:
        data = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(where=where, problems=[Problem("(syntax)", f"not TOML: {error}")]) from error

    problems: list[Problem] = []
    wrong: list[str] = []
    while True:
        # What is wrong is taken out and the rest looked at again, so that one bad value hides no other problem; every
        # key has a default, so this ends.
        try:
            settings = model.model_validate_json(json.dumps(data, default=str), strict=True)
            break
        except ValidationError as error:
            found = _problems(error, data, model)
            problems += found
            wrong += [problem.key for problem in found]
            for keys in sorted({_existing(item["loc"], data) for item in error.errors()}, key=_deepest_first):
                _take_out(data, keys)
    problems += [problem for problem in contradictions(settings) if not _concerns(problem, wrong)]
    if problems:
        raise ConfigError(where=where, problems=problems)
    return settings


def contradictions(settings: Settings) -> list[Problem]:
    """Everything that is wrong between keys that are each right by themselves."""
    problems = []
    if not settings.bed:
        problems.append(Problem("bed", "no bed is configured", "add [[bed]] and a [[bed.stream]] for each stream"))
    names: dict[str, int] = {}
    for number, bed in enumerate(settings.bed):
        key = f"bed[{number}]"
        if bed.name in names:
            problems.append(Problem(f"{key}.name", f"bed[{names[bed.name]}] is called '{bed.name}' already"))
        names.setdefault(bed.name, number)
        problems += _bed_contradictions(bed, key)
        problems += alarm_contradictions(bed.alarm, f"{key}.alarm")
        for position, stream in enumerate(bed.stream):
            problems += _stream_contradictions(stream, f"{key}.stream[{position}]")
            if stream.source == "mqtt" and not settings.mqtt.host:
                problems.append(
                    Problem(f"{key}.stream[{position}].source", "[mqtt] names no broker", "set mqtt.host, or use LSL")
                )
    problems += _mqtt_contradictions(settings.mqtt) + _webhook_contradictions(settings.webhook)
    return problems + _link_contradictions(settings.link)


def _link_contradictions(link: LinkSettings) -> list[Problem]:
    if not link.listen:
        return []
    problems = []
    if not 0 < int(link.listen.rpartition(":")[2]) <= 65_533:
        problems.append(Problem("link.listen", "the port and the next two must be below 65536", "tcp://ADDRESS:PORT"))
    if not link.clients:
        problems.append(Problem("link.clients", "nobody could connect", "a folder with the .pub file of each client"))
    return problems


def _mqtt_contradictions(mqtt: MqttSettings) -> list[Problem]:
    problems = []
    if mqtt.ca_file and not mqtt.tls:
        problems.append(Problem("mqtt.ca_file", "tls is false, so nothing is verified with it", "set tls = true"))
    if mqtt.password_file and not mqtt.user:
        problems.append(Problem("mqtt.password_file", "there is no user that it belongs to", "set mqtt.user"))
    return problems


def _webhook_contradictions(webhook: WebhookSettings) -> list[Problem]:
    if not webhook.url:
        return []
    parts = re.fullmatch(r"(https?)://(\[[0-9a-fA-F:.]+\]|[^:/?\[\]]+)(?::(\d{1,5}))?(?:[/?].*)?", webhook.url)
    if parts is None or not 0 < int(parts[3] or 1) < 65_536:
        return [Problem("webhook.url", "this is no address", "https://host:port/path")]
    problems = []
    if parts[1] == "http" and parts[2] not in ("localhost", "127.0.0.1", "[::1]"):
        problems.append(Problem("webhook.url", "http is readable on its way to another machine", "https://"))
    if parts[1] == "http" and webhook.ca_file:
        problems.append(Problem("webhook.ca_file", "over http nothing is verified with it", "use https://"))
    return problems


def _bed_contradictions(bed: BedSettings, key: str) -> list[Problem]:
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


def alarm_contradictions(alarm: AlarmSettings, key: str) -> list[Problem]:
    """What is wrong between alarm settings that are each right by themselves; `key` names their table."""
    problems = []
    for level in ("moderate", "severe"):
        on, off = getattr(alarm, f"{level}_on"), getattr(alarm, f"{level}_off")
        if off >= on:
            problems.append(
                Problem(f"{key}.{level}_off", f"{off:g} is not below {level}_on = {on:g}", "an alarm would flap")
            )
    for plain in ("heart_rate", "scr_per_s", "spi"):
        on, off = getattr(alarm, f"{plain}_on"), getattr(alarm, f"{plain}_off")
        if off is not None and (on is None or off >= on):
            what = f"there is no higher {plain}_on"
            problems.append(Problem(f"{key}.{plain}_off", what, f"set {plain}_on above it, or drop it"))
    if alarm.severe_on < alarm.moderate_on:
        problems.append(
            Problem(f"{key}.severe_on", f"{alarm.severe_on:g} is below moderate_on = {alarm.moderate_on:g}")
        )
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


def _stream_contradictions(stream: StreamSettings, key: str) -> list[Problem]:
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


def _problems(error: ValidationError, data: dict[str, Any], root: type[BaseModel]) -> list[Problem]:
    """What pydantic found, one problem a key (each arm of a union reports by itself)."""
    by_key: dict[str, list[str]] = {}
    hints: dict[str, str] = {}
    for item in error.errors():
        keys = _existing(item["loc"], data)
        dotted = _dotted(keys)
        if item["type"] == "extra_forbidden":
            model = _model_at(keys[:-1], root)
            names = list(model.model_fields) if model else []
            close = difflib.get_close_matches(str(keys[-1]), names, n=1, cutoff=0.6)
            by_key[dotted] = ["there is no such key"]
            hints[dotted] = f"did you mean '{close[0]}'?" if close else f"one of {', '.join(names)}"
        else:
            said = item["msg"].replace("Input should be", "should be")
            by_key.setdefault(dotted, [])
            if said not in by_key[dotted]:
                by_key[dotted].append(said)
            hints[dotted] = f"it is {_value_at(data, keys)!r}"
            model = _model_at(keys[:-1], root) if item["type"] == "string_pattern_mismatch" else None
            if model is not None:
                field = model.model_fields[str(keys[-1])]
                by_key[dotted] = [f"'{_value_at(data, keys)}' is not allowed"]
                hints[dotted] = (field.description or "").rstrip(".")
    return [Problem(key, ", or ".join(said), hints[key]) for key, said in by_key.items()]


def _existing(loc: tuple[int | str, ...], data: Any) -> tuple[int | str, ...]:
    """The part of a pydantic location that lies in the file; what follows names the arm of a union."""
    keys: list[int | str] = []
    for part in loc:
        inside = part in data if isinstance(data, dict) else isinstance(data, list) and part in range(len(data))
        if not inside:
            break
        data = data[part]
        keys.append(part)
    return tuple(keys)


def _value_at(data: Any, keys: tuple[int | str, ...]) -> Any:
    for key in keys:
        data = data[key]
    return data


def _take_out(data: Any, keys: tuple[int | str, ...]) -> None:
    if not keys:
        data.clear()
        return
    holder = _value_at(data, keys[:-1])
    del holder[keys[-1]]


def _deepest_first(keys: tuple[int | str, ...]) -> tuple[int, list[int]]:
    """Sort key: inner before outer and later list entries before earlier ones, so that deletions keep numbers right."""
    return -len(keys), [-part for part in keys if isinstance(part, int)]


def _dotted(keys: tuple[int | str, ...]) -> str:
    text = ""
    for key in keys:
        text += f"[{key}]" if isinstance(key, int) else f".{key}" if text else key
    return text or "(file)"


def _model_at(keys: tuple[int | str, ...], root: type[BaseModel]) -> type[BaseModel] | None:
    """The settings model that describes the table at `keys`."""
    model = root
    for key in keys:
        if isinstance(key, int):
            continue
        if key not in model.model_fields:
            return None
        annotation: Any = model.model_fields[key].annotation
        for candidate in (annotation, *get_args(annotation)):
            if isinstance(candidate, type) and issubclass(candidate, BaseModel):
                model = candidate
                break
        else:
            return None
    return model


def _concerns(problem: Problem, wrong: list[str]) -> bool:
    """Whether a contradiction may merely come from a default that stands in for a wrong value that it speaks of."""
    table = problem.key.rpartition(".")[0]
    for key in wrong:
        holder, _, name = key.rpartition(".")
        if holder == problem.key or (holder == table and name in str(problem)):
            return True
    return False
