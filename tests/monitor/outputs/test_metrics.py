"""What Prometheus scrapes says what the events said, and nothing that no longer holds."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from monitor.clock import Clock, ManualClock, SystemClock
from monitor.config import BedSettings, MetricsSettings, Settings
from monitor.engine.engine import Engine
from monitor.engine.wiring import metrics_outputs
from monitor.outputs.base import OutputThread
from monitor.outputs.metrics import MetricsOutput
from monitor.types import Activation, Presence, StreamEvent, StreamEventKind
from tests.helpers.broker import free_port
from tests.helpers.engine_process import patient_source, settings_for
from tests.helpers.made_session import made_alarm, made_index, made_measures, made_score
from tests.helpers.scripted import wait_until
from tests.helpers.tiny_bundle import write_tiny_bundle

Samples = dict[tuple[str, frozenset[tuple[str, str]]], float]


@pytest.fixture
def port() -> int:
    return free_port()


def scrape(port: int) -> Samples:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=20) as answer:
        text = answer.read().decode()
    assert "RESEARCH USE ONLY" in text
    assert "P-001" not in text
    return {
        (sample.name.removeprefix("pain_monitor_"), frozenset(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def value(samples: Samples, name: str, **labels: str) -> float | None:
    return samples.get((name, frozenset({key.rstrip("_"): text for key, text in labels.items()}.items())))


def made(clock: Clock, port: int) -> MetricsOutput:
    bed = BedSettings(name="bed1", subject="P-001")
    return MetricsOutput(beds=[bed], settings=MetricsSettings(port=port), clock=clock, version="1.2.3")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(10.0)


@pytest.fixture
def output(clock: ManualClock, port: int) -> Iterator[MetricsOutput]:
    output = made(clock, port)
    output.open()
    yield output
    output.close()
    output.close()


def test_a_scrape_says_what_the_events_said(output: MetricsOutput, clock: ManualClock, port: int) -> None:
    gap = StreamEvent(bed="bed1", stream="eda", kind=StreamEventKind.GAP, t=5.0, seconds=1.75)
    output.publish("bed1", [made_score(8, absent=("EDA:gap", "EDA:late")), gap, gap, made_alarm(8.0)])
    score, index = made_score(9), made_index(9, slow=None, slow_withheld="half_empty")
    output.publish("bed1", [score, index, made_measures(9), made_alarm(9.0, condition="no_data")])
    standing = Presence.ON
    output.publish("bed1", [made_alarm(9.5, Presence.OFF, condition="no_data", before=standing)])
    # Signalled otherwise, and reminded of: it is still one alarm.
    output.publish("bed1", [made_alarm(9.6, before=standing, audio=Activation.PAUSED)])
    output.publish("bed1", [made_alarm(9.7, Presence.ACK, before=Presence.ACK, reminder=1)])
    clock.advance(2.5)
    found = scrape(port)
    assert value(found, "index", bed="bed1", mean="fast", bundle="made-eda", hollow="0") == index.fast
    assert not any(name == "index" and ("mean", "slow") in labels for name, labels in found)
    assert score.probabilities is not None
    assert value(found, "probability", bed="bed1", class_="severe") == score.probabilities[2]
    assert value(found, "usable", bed="bed1", modality="EDA") == 1.0
    assert value(found, "comparator", bed="bed1", measure="heart_rate_bpm") == 70.0
    assert value(found, "comparator", bed="bed1", measure="scr_per_s") == 0.0625
    assert value(found, "comparator", bed="bed1", measure="spi") is None
    assert value(found, "windows_total", bed="bed1", result="scored") == 1.0
    assert value(found, "windows_total", bed="bed1", result="absent") == 1.0
    assert value(found, "absent_total", bed="bed1", reason="EDA:gap") == 1.0
    assert value(found, "stream_events_total", bed="bed1", stream="eda", kind="gap") == 2.0
    assert value(found, "gap_seconds_total", bed="bed1", stream="eda") == 3.5
    assert [dict(labels)["condition"] for name, labels in found if name == "alarm"] == ["pain_moderate"]
    assert value(found, "alarm_transitions_total", bed="bed1", condition="no_data", presence="off") == 1.0
    assert value(found, "alarm_transitions_total", bed="bed1", condition="pain_moderate", presence="on") == 1.0
    assert value(found, "alarm_reminders_total", bed="bed1", condition="pain_moderate") == 1.0
    of_moderate = [
        labels for name, labels in found if name == "alarm_transitions_total" and "pain_moderate" in str(labels)
    ]
    assert len(of_moderate) == 1
    assert value(found, "score_age_seconds", bed="bed1") == 2.5
    assert value(found, "provenance", bed="bed1", provenance="simulated") == 1.0
    assert value(found, "info", version="1.2.3") == 1.0


def test_histograms_add_up(output: MetricsOutput, clock: ManualClock, port: int) -> None:
    for k, late in ((11, 0.01), (12, 0.25), (13, 0.3), (14, 99.0)):
        clock.set(k + late)
        output.publish("bed1", [made_score(k, decided_at=k + late)])
    found = scrape(port)
    for name in ("decision_seconds", "delivery_seconds"):
        rows = {edge: value(found, f"{name}_bucket", bed="bed1", le=edge) for edge in ("0.05", "0.25", "0.5", "30.0")}
        assert rows == {"0.05": 1.0, "0.25": 2.0, "0.5": 3.0, "30.0": 3.0}
        assert value(found, f"{name}_bucket", bed="bed1", le="+Inf") == 4.0
        assert value(found, f"{name}_count", bed="bed1") == 4.0
        assert value(found, f"{name}_sum", bed="bed1") == pytest.approx(99.56)


def test_an_old_index_is_left_out_and_its_age_goes_on(output: MetricsOutput, clock: ManualClock, port: int) -> None:
    output.publish("bed1", [made_score(9), made_index(9), made_measures(9)])
    assert any(name == "index" for name, _ in scrape(port))
    clock.advance(13.0)
    found = scrape(port)
    assert not {name for name, _ in found} & {"index", "probability", "usable", "comparator"}
    assert value(found, "score_age_seconds", bed="bed1") == 13.0


def test_an_index_of_another_window_is_not_shown(output: MetricsOutput, port: int) -> None:
    output.publish("bed1", [made_score(8), made_index(8)])
    output.publish("bed1", [made_score(9, absent=("EDA:gap",))])
    assert not any(name == "index" for name, _ in scrape(port))


def test_it_is_off_by_default_and_listens_on_loopback_only(output: MetricsOutput) -> None:
    assert metrics_outputs(Settings(bed=(BedSettings(),)), SystemClock()) == []
    assert output._server is not None
    assert output._server[0].server_address[0] == "127.0.0.1"


def test_a_taken_port_is_said_once_and_tried_until_it_is_free(
    output: MetricsOutput, port: int, caplog: pytest.LogCaptureFixture
) -> None:
    second = made(ManualClock(0.0), port)
    thread = OutputThread(second)
    thread.start()
    try:
        wait_until(lambda: thread.failures >= 2, 20.0)
        assert second._server is None
        output.close()
        wait_until(lambda: second._server is not None, 20.0)
        thread.put("bed1", [made_score(1)])
        wait_until(lambda: any("works again" in record.getMessage() for record in caplog.records), 20.0)
    finally:
        assert thread.stop(5.0)
    failures = [record for record in caplog.records if record.levelname == "ERROR"]
    assert len(failures) == 1, "a log must last for months"
    assert f"port {port} on 127.0.0.1" in failures[0].getMessage()
    assert "set another metrics.port" in failures[0].getMessage()
    assert not failures[0].exc_info, "no traceback for what is no defect of ours"


def test_a_running_engine_is_scraped(tmp_path: Path, port: int) -> None:
    clock = SystemClock()
    output = made(clock, port)
    settings = settings_for(tmp_path, write_tiny_bundle(tmp_path / "bundles"))
    engine = Engine(settings=settings, sources={"bed1": [patient_source()]}, outputs=[output], clock=clock)
    output.watch(engine.load)
    engine.start()
    try:

        def windows() -> float:
            found = scrape(port)
            return sum(count for (name, _), count in found.items() if name == "windows_total")

        wait_until(lambda: output._server is not None)
        wait_until(lambda: windows() > 1, 20.0)
        found = scrape(port)
    finally:
        engine.stop()
    assert {dict(labels)["queue"] for name, labels in found if name == "queue"} == {
        "pipeline", "store", "output-metrics"
    }  # fmt: skip
    assert value(found, "failures_total", of="output-metrics") == 0.0
    assert value(found, "lost_records", bed="bed1") == 0.0
    assert value(found, "pipelines_rebuilt_total", bed="bed1") == 0.0
    age = value(found, "pipeline_age_seconds")
    assert age is not None
    assert 0.0 <= age < 5.0
