"""The MQTT side of `stream` and `streams`: which broker, and as whom."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from monitor.config import MqttSettings
    from monitor.outputs.player import SignalSpec
    from monitor.sources.mqtt_discovery import TopicReport

_PANEL = "MQTT"
Broker = Annotated[
    str,
    typer.Option(
        "--mqtt", metavar="HOST[:PORT]", rich_help_panel=_PANEL, help="A broker; port 8883, or 1883 without TLS."
    ),
]
TlsCa = Annotated[
    Path | None,
    typer.Option(rich_help_panel=_PANEL, help="Certificate to verify the broker with; default: those of this system."),
]
Plain = Annotated[
    bool, typer.Option("--no-tls", rich_help_panel=_PANEL, help="Without encryption: on a closed network only.")
]
User = Annotated[str, typer.Option(rich_help_panel=_PANEL, help="User at the broker.")]
PasswordFile = Annotated[
    Path | None,
    typer.Option(
        rich_help_panel=_PANEL,
        help="File whose first line is the password; else the variable PAIN_MONITOR_MQTT_PASSWORD has it.",
    ),
]
Bed = Annotated[str, typer.Option(rich_help_panel=_PANEL, help="Whose signals they are: part of the topic.")]
Device = Annotated[str, typer.Option(rich_help_panel=_PANEL, help="Name of the device: part of the topic.")]


def broker_settings(
    address: str, *, tls_ca: Path | None, plain: bool, user: str, password_file: Path | None
) -> MqttSettings:
    """The broker that the options name.

    Raises:
        typer.BadParameter: If an option makes no sense.
    """
    from pydantic import ValidationError

    from monitor.config import MqttSettings

    host, colon, port = address.rpartition(":") if address.count(":") == 1 else (address, "", "")
    if colon and not port.isdecimal():
        raise typer.BadParameter(f"'{port}' is no port", param_hint="--mqtt")
    if plain and tls_ca is not None:
        raise typer.BadParameter("nothing is verified with --tls-ca where --no-tls is given", param_hint="--no-tls")
    if password_file is not None and not user:
        raise typer.BadParameter("it belongs to a --user", param_hint="--password-file")
    try:
        return MqttSettings(
            host=host,
            port=int(port) if colon else (1883 if plain else 8883),
            tls=not plain,
            ca_file=str(tls_ca) if tls_ca is not None else "",
            user=user,
            password_file=str(password_file) if password_file is not None else "",
        )
    except ValidationError as error:
        wrong = "; ".join(f"{item['loc'][0]}: {item['msg']}" for item in error.errors())
        raise typer.BadParameter(wrong, param_hint="--mqtt") from error


def sent_lines(specs: Sequence[SignalSpec], *, bed: str, device: str) -> list[str]:
    """What will be sent where, and what cannot be sent.

    Raises:
        typer.BadParameter: If bed or device cannot be part of a topic.
    """
    from monitor.outputs.mqtt_player import topics_of
    from monitor.sources.topics import NAME_PATTERN
    from monitor.types import BED_PATTERN

    if not BED_PATTERN.fullmatch(bed):
        raise typer.BadParameter("letters, digits, - and _, at most 32", param_hint="--bed")
    if not NAME_PATTERN.fullmatch(device):
        raise typer.BadParameter("letters, digits and _.@:-, at most 64", param_hint="--device")
    topics, notes = topics_of(specs, bed=bed, device=device)
    sent = [
        f"{spec.name}: {topics[spec.key]}, {spec.rate_hz:g} Hz, {spec.unit or 'no unit'} ({spec.provenance.value})"
        for spec in specs
        if spec.key in topics
    ]
    return [*sent, *notes]


def topic_lines(report: TopicReport) -> list[str]:
    """What `streams` says of one topic."""
    provenance = f" · {report.provenance.value.upper()}" if report.provenance.value != "live" else ""
    lines = [f"{report.topic}  (MQTT){provenance}"]
    if report.form is not None:
        claimed = f"claims {report.rate_claimed_hz:g} Hz" if report.rate_claimed_hz else "states no rate"
        measured = f"; measured {report.rate_measured_hz:.2f} Hz" if report.rate_measured_hz else ""
        lost = f"{report.lost} lost" if report.lost is not None else "loss unknown"
        seen = f", {report.low:.4g} to {report.high:.4g}" if report.low is not None else ""
        ahead = report.stamp_minus_clock_s
        clock = f", stamp minus clock {ahead:+.3f} s" if ahead is not None else ", on a clock of its own"
        lines.append(
            f"    {report.form}, {claimed}, {report.unit or 'no unit'}{measured} over {report.samples} samples in "
            f"{report.packets} packets, {lost}{seen}{clock}"
        )
    if report.refused:
        counts = ", ".join(f"{count} {reason}" for reason, count in report.refused.items())
        lines.append(f"    refused: {counts}; the last one: {report.problem}")
    lines += [f"        {line}" for line in report.config.splitlines()]
    return [*lines, ""]
