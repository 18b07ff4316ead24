"""The gateways of docs/mqtt.md, as they stand there, against a real mosquitto."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from monitor.clock import SystemClock
from monitor.sources.mqtt_discovery import TopicReport, discover
from tests.helpers.broker import Broker, tool

pytestmark = pytest.mark.live


def block(repository: Path, language: str) -> str:
    """The first code block of a language in docs/mqtt.md."""
    text = (repository / "docs" / "mqtt.md").read_text(encoding="utf-8")
    found = re.search(rf"```{language}\n(.*?)```", text, re.DOTALL)
    assert found is not None
    return found[1]


def looked(broker: Broker) -> list[TopicReport]:
    """What `streams` reports, asked until the gateway is going and has been heard for three packets."""
    end = time.monotonic() + 60.0
    while True:
        reports = discover(broker.settings(), 2.5, clock=SystemClock())
        if time.monotonic() > end or (reports and reports[0].packets >= 3):
            return reports


def check(report: TopicReport, *, rate: float) -> None:
    assert (report.device, report.modality, report.unit, report.problem) == ("wrist-7", "EDA", "uS", "")
    assert report.rate_claimed_hz == rate
    assert report.packets >= 3
    assert report.lost == 0


def test_the_gateway_in_python_is_understood(repository: Path, broker: Broker) -> None:
    code = block(repository, "python")
    assert len(code.strip().splitlines()) <= 22
    names: dict[str, Any] = {}
    exec(code.replace("8883", str(broker.port)), names)
    start = time.time()
    sent = 0

    async def read_samples() -> tuple[float, list[float]]:
        nonlocal sent
        await asyncio.sleep(0.25)
        sent += 1
        return start + sent * 0.25, [2.0] * 16

    async def run() -> None:
        password = broker.password_file("gateway-bed1").read_text().strip()
        task = asyncio.create_task(
            names["main"]("localhost", str(broker.ca_file), "gateway-bed1", password, read_samples)
        )
        while not done.is_set():
            await asyncio.sleep(0.05)
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)

    done = threading.Event()

    def live() -> None:
        with asyncio.Runner(loop_factory=asyncio.SelectorEventLoop) as runner:
            runner.run(run())

    thread = threading.Thread(target=live)
    thread.start()
    try:
        (report,) = looked(broker)
    finally:
        done.set()
        thread.join()
    check(report, rate=64.0)
    assert report.form == "CBOR"


def test_the_gateway_with_mosquitto_pub_is_understood(repository: Path, broker: Broker, tmp_path: Path) -> None:
    if tool("mosquitto_pub") is None:
        pytest.skip("mosquitto_pub is not installed")
    (tmp_path / "ca.crt").write_bytes(broker.ca_file.read_bytes())
    password = broker.password_file("gateway-bed1").read_text().strip()
    process = subprocess.Popen(
        ["sh", "-c", block(repository, "sh")],
        cwd=tmp_path,
        stdin=subprocess.PIPE,
        text=True,
        env={**os.environ, "HOST": "localhost", "PORT": str(broker.port), "PASSWORD": password},
    )
    reports: list[TopicReport] = []
    listener = threading.Thread(target=lambda: reports.extend(looked(broker)))
    listener.start()
    assert process.stdin is not None
    while listener.is_alive():
        process.stdin.write(f"{time.time():.3f} 2.31,2.32,2.30,2.33\n")
        process.stdin.flush()
        time.sleep(0.3)
    listener.join()
    process.communicate(timeout=60)
    (report,) = reports
    check(report, rate=4.0)
    assert report.form == "JSON"
