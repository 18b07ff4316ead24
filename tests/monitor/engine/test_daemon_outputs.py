"""What a configuration names as outputs is what the daemon's engine gets, joined to it; by default only LSL."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

import monitor.engine.daemon as daemon
from monitor.config import BedSettings, JsonLogSettings, MetricsSettings, Settings, WebhookSettings
from monitor.engine.beds import BedPipeline
from monitor.engine.wiring import Models
from monitor.outputs.base import EngineLoad, Output
from monitor.types import Command


class EngineStandIn:
    """Keeps what the daemon gives it."""

    made: ClassVar[list[EngineStandIn]] = []

    def __init__(self, *, outputs: Sequence[Output], on_command: Any, **_rest: Any) -> None:
        self.outputs, self.on_command = outputs, on_command
        self.made.append(self)

    def load(self) -> EngineLoad:
        checks = {"checks": 3, "missed": {"mqtt-a": 1}, "unproved": {"mqtt-a": True, "link-a": False}}
        return EngineLoad(
            waiting={"pipeline": 7}, dropped={}, failures={}, lost_records={}, pipeline_age_s=0.0, **checks
        )

    def request(self) -> None:
        raise NotImplementedError

    def run(self, *, seconds: float | None) -> int:  # noqa: ARG002
        return 0


def refuse(_bed: BedSettings, _session: object) -> BedPipeline:
    raise NotImplementedError


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> list[EngineStandIn]:
    monkeypatch.setattr(daemon, "load_models", lambda _: Models(bundles={}, build=refuse))
    monkeypatch.setattr(daemon, "lsl_outputs", lambda _: [])
    monkeypatch.setattr(daemon, "Engine", EngineStandIn)
    monkeypatch.setattr(EngineStandIn, "made", [])
    return EngineStandIn.made


def test_everything_that_is_named_is_joined_to_the_engine(made: list[EngineStandIn], tmp_path: Path) -> None:
    settings = Settings(
        webhook=WebhookSettings(url="https://ward.example/x"),
        metrics=MetricsSettings(port=1),
        jsonlog=JsonLogSettings(path=str(tmp_path / "log.jsonl")),
        bed=(BedSettings(name="a"), BedSettings(name="b")),
    )
    assert daemon.run_engine(settings) == 0
    (engine,) = made
    by_name: dict[str, Any] = {output.name: output for output in engine.outputs}
    assert set(by_name) == {"webhook-a", "webhook-b", "metrics", "jsonlog"}
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in by_name["metrics"].collect()
        for sample in family.samples
    }
    assert samples["pain_monitor_queue", "pipeline"] == 7.0
    assert samples["pain_monitor_undelivered", "webhook-b"] == 0.0
    assert samples["pain_monitor_selfchecks_total",] == 3.0
    assert samples["pain_monitor_selfchecks_missed_total", "mqtt-a"] == 1.0
    assert samples["pain_monitor_selfchecks_missed_total", "link-a"] == 0.0
    assert [samples["pain_monitor_route_works", name] for name in ("mqtt-a", "link-a")] == [0.0, 1.0]
    engine.on_command("a", Command(action="acknowledge", at=1.0, actor="nurse"), "")
    by_name["jsonlog"].open()
    by_name["jsonlog"].close()
    assert '"action":"acknowledge"' in (tmp_path / "log.jsonl").read_text(encoding="utf-8")


def test_none_of_them_is_there_by_default(made: list[EngineStandIn], tmp_path: Path) -> None:
    assert daemon.run_engine(Settings(bed=(BedSettings(),))) == 0
    (engine,) = made
    assert list(engine.outputs) == []
