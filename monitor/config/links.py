"""`[lsl]`, `[mqtt]`, `[webhook]` and `[link]`: what the engine reaches over a network, and who reaches it."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field

from monitor.config.table import Table
from monitor.errors import Problem


class LslSettings(Table):
    """How LSL streams are looked for. `[lsl]`."""

    resolve_s: Annotated[float, Field(ge=1, le=60)] = 2.0
    """Seconds that one look at the network takes."""
    buffer_s: Annotated[float, Field(ge=1, le=360)] = 30.0
    """Seconds that liblsl may hold for us; what is older is lost and counted as a gap."""
    silent_s: Annotated[float, Field(ge=1, le=120)] = 5.0
    """Seconds without a sample after which an inlet is given up and looked for anew."""


class MqttSettings(Table):
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


def mqtt_contradictions(mqtt: MqttSettings) -> list[Problem]:
    """What is wrong between settings of the broker that are each right by themselves."""
    problems = []
    if mqtt.ca_file and not mqtt.tls:
        problems.append(Problem("mqtt.ca_file", "tls is false, so nothing is verified with it", "set tls = true"))
    if mqtt.password_file and not mqtt.user:
        problems.append(Problem("mqtt.password_file", "there is no user that it belongs to", "set mqtt.user"))
    return problems


class WebhookSettings(Table):
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


def webhook_contradictions(webhook: WebhookSettings) -> list[Problem]:
    """What is wrong with the address, or between it and the other settings of the webhook."""
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


class LinkSettings(Table):
    """Who reaches the engine over TCP; programs of its own user on this machine always do. `[link]`."""

    listen: Annotated[str, Field(pattern=r"^(tcp://([A-Za-z0-9.-]+|\[[0-9a-fA-F:.]+\]):\d{1,5})?$")] = ""
    """tcp://ADDRESS:PORT of this machine, with the next two ports; empty: none. Encrypted, and only with keys."""
    key_file: str = ""
    """The engine's key, made by `pain-monitor keys engine`; nobody else may read it."""
    clients: str = ""
    """Folder with a NAME.pub file for each client that may connect."""


def link_contradictions(link: LinkSettings) -> list[Problem]:
    """What is wrong between settings of the link that are each right by themselves."""
    if not link.listen:
        return []
    problems = []
    if not 0 < int(link.listen.rpartition(":")[2]) <= 65_533:
        problems.append(Problem("link.listen", "the port and the next two must be below 65536", "tcp://ADDRESS:PORT"))
    if not link.clients:
        problems.append(Problem("link.clients", "nobody could connect", "a folder with the .pub file of each client"))
    return problems
