"""config.toml -> frozen settings. Every key has its default, its range and its sentence here, and nowhere else.

Each module holds some of the file's tables: `engine`, `links`, `outputs`, `bed`, `alarm`; `file` holds the whole, and
`reading` reads it. Everything that others need is imported from here.
"""

from monitor.config.alarm import AlarmSettings, alarm_contradictions
from monitor.config.bed import LONGEST_WINDOW_S, BedSettings, StreamSettings, VoteRule
from monitor.config.engine import EngineSettings
from monitor.config.file import Settings, contradictions, load_settings
from monitor.config.links import LinkSettings, LslSettings, MqttSettings, WebhookSettings
from monitor.config.outputs import JsonLogSettings, LogSettings, MetricsSettings, SoundSettings
from monitor.config.reading import read_text, read_toml

__all__ = [
    "LONGEST_WINDOW_S",
    "AlarmSettings",
    "BedSettings",
    "EngineSettings",
    "JsonLogSettings",
    "LinkSettings",
    "LogSettings",
    "LslSettings",
    "MetricsSettings",
    "MqttSettings",
    "Settings",
    "SoundSettings",
    "StreamSettings",
    "VoteRule",
    "WebhookSettings",
    "alarm_contradictions",
    "contradictions",
    "load_settings",
    "read_text",
    "read_toml",
]
