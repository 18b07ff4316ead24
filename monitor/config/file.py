"""The whole of config.toml, and what contradicts between its tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from monitor.config.alarm import alarm_contradictions
from monitor.config.bed import BedSettings, bed_contradictions, stream_contradictions
from monitor.config.engine import EngineSettings
from monitor.config.links import (
    LinkSettings,
    LslSettings,
    MqttSettings,
    WebhookSettings,
    link_contradictions,
    mqtt_contradictions,
    webhook_contradictions,
)
from monitor.config.outputs import JsonLogSettings, LogSettings, MetricsSettings, SoundSettings
from monitor.config.reading import read_toml
from monitor.config.table import Table
from monitor.errors import Problem


class Settings(Table):
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


def load_settings(path: Path, *, text: str | None = None) -> Settings:
    """Read a configuration file.

    Values are taken strictly as TOML types them (a quoted number is not a number), and nothing outside the file has a
    say in them.

    Args:
        path: The file, in TOML.
        text: What stood in it, where it was read before; else it is read.

    Raises:
        ConfigError: If it cannot be read or is wrong anywhere; it carries every problem at once, each with its key.
    """
    return read_toml(path, Settings, contradictions, text=text)


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
        problems += bed_contradictions(bed, key)
        problems += alarm_contradictions(bed.alarm, f"{key}.alarm")
        for position, stream in enumerate(bed.stream):
            problems += stream_contradictions(stream, f"{key}.stream[{position}]")
            if stream.source == "mqtt" and not settings.mqtt.host:
                problems.append(
                    Problem(f"{key}.stream[{position}].source", "[mqtt] names no broker", "set mqtt.host, or use LSL")
                )
    problems += _shared_streams(settings.bed)
    problems += mqtt_contradictions(settings.mqtt) + webhook_contradictions(settings.webhook)
    return problems + link_contradictions(settings.link)


def _shared_streams(beds: Sequence[BedSettings]) -> list[Problem]:
    """LSL streams that two beds claim for the same modality: one patient's signal would be scored as another's too.

    Over MQTT this cannot be written down, since the bed is a part of every topic.
    """
    problems = []
    claims: dict[tuple[object, ...], str] = {}
    for number, bed in enumerate(beds):
        for position, stream in enumerate(bed.stream):
            named = (stream.name, stream.type, stream.source_id)
            if stream.source != "lsl" or not any(named):
                continue
            key = f"bed[{number}].stream[{position}]"
            claim = (*named, stream.channel, stream.modality)
            if claims.setdefault(claim, key) != key and not claims[claim].startswith(f"bed[{number}]."):
                what = f"{claims[claim]} is the very same stream, and a signal belongs to one patient"
                problems.append(Problem(key, what, "tell them apart by source_id; see `pain-monitor streams`"))
    return problems
