"""The MQTT options of `stream` and `streams`: what makes no sense is refused before anything is sent."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer

from monitor.cli.gateway import broker_settings, sent_lines, topic_lines
from monitor.outputs.player import SignalSpec
from monitor.sources.mqtt_discovery import TopicReport
from monitor.types import Provenance


def settings(address: str = "broker", **changes: object):
    options = {"tls_ca": None, "plain": False, "user": "", "password_file": None, **changes}
    return broker_settings(address, **options)  # type: ignore[arg-type]


def test_an_address_has_the_port_that_fits_it() -> None:
    assert (settings().host, settings().port, settings().tls) == ("broker", 8883, True)
    assert (settings(plain=True).port, settings(plain=True).tls) == (1883, False)
    assert settings("broker:9000").port == 9000
    assert (settings("::1").host, settings("::1").port) == ("::1", 8883)


@pytest.mark.parametrize(
    ("address", "changes"),
    [
        ("broker:port", {}),
        ("broker:0", {}),
        ("a b", {}),
        ("mqtt://broker/x", {}),
        ("broker", {"plain": True, "tls_ca": Path("ca.crt")}),
        ("broker", {"password_file": Path("password")}),
        ("broker", {"user": "a b"}),
    ],
)
def test_what_makes_no_sense_is_refused(address: str, changes: dict[str, object]) -> None:
    with pytest.raises(typer.BadParameter):
        settings(address, **changes)


def test_what_is_sent_where_is_said() -> None:
    spec = SignalSpec(
        key="a", name="GSR", type="EDA", source_id="a", rate_hz=4.0, unit="uS", provenance=Provenance.REPLAY
    )
    assert sent_lines([spec], bed="bed1", device="d") == ["GSR: pain/v1/bed1/signal/d/EDA, 4 Hz, uS (replay)"]
    for wrong in ({"bed": "a/b", "device": "d"}, {"bed": "bed1", "device": "#"}):
        with pytest.raises(typer.BadParameter):
            sent_lines([spec], **wrong)


def test_a_topic_is_shown_with_what_is_wrong_with_it() -> None:
    report = TopicReport(
        topic="pain/v1/bed1/signal/d/EDA", bed="bed1", device="d", modality="EDA", form="CBOR", unit=None,
        rate_claimed_hz=4.0, rate_measured_hz=8.0, packets=3, samples=12, lost=4, stamp_minus_clock_s=-7.5, low=1.0,
        high=2.0, provenance=Provenance.SIMULATED, refused={"malformed": 2}, problem="malformed: cut short",
        config="[[bed.stream]]",
    )  # fmt: skip
    text = "\n".join(topic_lines(report))
    for words in (
        "SIMULATED",
        "claims 4 Hz",
        "no unit",
        "measured 8.00 Hz",
        "4 lost",
        "-7.500 s",
        "2 malformed",
        "[[bed",
    ):
        assert words in text
