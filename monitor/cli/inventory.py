"""What there is: streams on the network, and whether a configuration is right."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from monitor.cli import gateway

if TYPE_CHECKING:
    from monitor.sources.lsl_discovery import StreamReport


def check(config: Annotated[Path, typer.Argument(help="The configuration, e.g. config.toml.")]) -> None:
    """Find everything wrong with a configuration, all at once: keys, limits, bundles and their hashes, units, LSL.

    Exit code 0 where all is well, 3 otherwise. Nothing is started; what is on the network is shown by
    `pain-monitor streams`.
    """
    from monitor.checkup import check_config

    found = check_config(config)
    for note in found.notes:
        print(note)
    count = len(found.settings.bed)
    print(f"{config}: all is well ({count} bed{'s' if count != 1 else ''})")


def streams(
    *,
    preview: Annotated[bool, typer.Option("--preview", help="Listen too: measured rate, range, loss, clock.")] = False,
    seconds: Annotated[
        float | None, typer.Option(min=0.5, max=120.0, help="How long to look; default 2, with --preview 7.")
    ] = None,
    mqtt: gateway.Broker = "",
    tls_ca: gateway.TlsCa = None,
    no_tls: gateway.Plain = False,
    user: gateway.User = "",
    password_file: gateway.PasswordFile = None,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object a stream on standard output.")] = False,
) -> None:
    """Show what LSL offers now, which modality each channel would become, and the lines to paste into config.toml.

    With --mqtt it also listens to the signal topics of a broker, as a user that may read them.

    With --preview it listens for a few seconds: a measured rate far from the claimed one, losses, a stamp that is
    seconds away from the clock, or a range that makes no sense in the stated unit show what to mend first.

    Nothing found? The device must stream on the same network, and a firewall may block UDP 16571 and TCP 16572-16604.
    """
    from dataclasses import asdict

    from rich.console import Console

    from monitor.sources.lsl_discovery import discover

    log = Console(stderr=True)
    look_s = seconds if seconds is not None else (7.0 if preview else 2.0)
    broker = None
    if mqtt:
        broker = gateway.broker_settings(mqtt, tls_ca=tls_ca, plain=no_tls, user=user, password_file=password_file)
    with log.status(f"Looking at the network for {look_s:g} s ..."):
        reports = discover(look_s, preview=preview)
    topics = []
    if broker is not None:
        from monitor.clock import SystemClock
        from monitor.sources import mqtt_discovery

        with log.status(f"Listening to the broker for {look_s:g} s ..."):
            topics = mqtt_discovery.discover(broker, look_s, clock=SystemClock())
    if as_json:
        for found in [*map(asdict, reports), *map(asdict, topics)]:
            print(json.dumps(found))
        return
    if not reports:
        print("LSL offers no stream now. To try the monitor without a device: pain-monitor stream synthetic --lsl")
    for report in reports:
        print("\n".join(_stream_lines(report)))
    if broker is not None and not topics:
        print(f"No signal came over MQTT within {look_s:g} s. A user that may not read sees nothing, either.")
    for topic in topics:
        print("\n".join(gateway.topic_lines(topic)))


_MANY: Final = 16
"""Channels of a stream that are listed one by one; of more, the first few."""
_FEW: Final = 4


def _stream_lines(report: StreamReport) -> list[str]:
    rate = f"{report.rate_claimed_hz:g} Hz" if report.rate_claimed_hz else "irregular"
    provenance = f" · {report.provenance.value.upper()}" if report.provenance.value != "live" else ""
    lines = [
        f"{report.name}  (type '{report.type}', source_id '{report.source_id}', on {report.hostname}){provenance}",
        f"    claims {rate}, {report.format}",
    ]
    if report.samples is not None:
        measured = f"{report.rate_measured_hz:.2f} Hz" if report.rate_measured_hz is not None else "no rate"
        lost = f"{report.lost} lost" if report.lost is not None else "loss unknown"
        lines[-1] += f"; measured {measured} over {report.samples} samples, {lost}"
        if report.stamp_minus_clock_s is not None:
            lines[-1] += f", stamp minus clock {report.stamp_minus_clock_s:+.3f} s"
    if report.problem:
        lines.append(f"    {report.problem}")
    shown = report.channels if len(report.channels) <= _MANY else report.channels[:_FEW]
    for number, channel in enumerate(shown):
        seen = f", {channel.low:.4g} to {channel.high:.4g}" if channel.low is not None else ""
        bad = f", {channel.not_finite} not finite" if channel.not_finite else ""
        becomes = channel.modality or "unknown"
        lines.append(f"    channel {number} '{channel.label}', {channel.unit or 'no unit'}{seen}{bad} -> {becomes}")
        lines += [f"        {line}" for line in channel.config.splitlines()]
    if len(shown) < len(report.channels):
        broken = sum(channel.not_finite for channel in report.channels[len(shown) :])
        rest = f", {broken} samples not finite" if broken else ""
        lines.append(f"    and {len(report.channels) - len(shown)} more channels{rest}")
    if not any(channel.modality for channel in report.channels):
        lines += [f"        {line}" for line in report.config.splitlines()]
    return [*lines, ""]
