"""What a configuration says of MQTT: contradictions are found, and each bed gets the sources and outputs it names."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.checkup import check_config
from monitor.clock import SystemClock
from monitor.config import BedSettings, MqttSettings, Settings, StreamSettings, load_settings
from monitor.engine.wiring import live_sources
from monitor.errors import ConfigError
from monitor.sources.broker import BrokerError, password, tls_context
from tests.helpers.tiny_bundle import write_tiny_bundle

LSL = StreamSettings(name="belt", modality="ECG")
MQTT = StreamSettings(source="mqtt", modality="EDA")


@pytest.mark.parametrize(
    ("streams", "host", "expected"),
    [
        ((), "", ["lsl:bed1"]),
        ((), "broker", ["lsl:bed1", "mqtt:bed1"]),
        ((LSL,), "", ["lsl:bed1"]),
        ((LSL,), "broker", ["lsl:bed1"]),
        ((MQTT,), "broker", ["mqtt:bed1"]),
        ((LSL, MQTT), "broker", ["lsl:bed1", "mqtt:bed1"]),
    ],
)
def test_a_bed_has_the_sources_that_its_streams_need(
    streams: tuple[StreamSettings, ...], host: str, expected: list[str]
) -> None:
    settings = Settings(mqtt=MqttSettings(host=host), bed=(BedSettings(stream=streams),))
    assert [source.name for source in live_sources(settings, SystemClock())["bed1"]] == expected


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('[[bed]]\n[[bed.stream]]\nsource = "mqtt"\nmodality = "EDA"', "bed[0].stream[0].source"),
        ('[mqtt]\nhost = "b"\n[[bed]]\n[[bed.stream]]\nsource = "mqtt"\nname = "x"', "bed[0].stream[0].modality"),
        ('[[bed]]\n[[bed.stream]]\nname = "a"\ndevice = "wrist-7"', "bed[0].stream[0].device"),
        ('[mqtt]\nhost = "b"\n[[bed]]\n[[bed.stream]]\nsource = "mqtt"\nmodality = "EDA"\ntype = "x"',
         "bed[0].stream[0]"),
        ('[mqtt]\nhost = "b"\ntls = false\nca_file = "x"\n[[bed]]', "mqtt.ca_file"),
        ('[mqtt]\nhost = "b"\npassword_file = "x"\n[[bed]]', "mqtt.password_file"),
        ('[mqtt]\nhost = "b"\npassword = "secret"\n[[bed]]', "mqtt.password"),
        ('[mqtt]\nhost = "a b"\n[[bed]]', "mqtt.host"),
        ('[mqtt]\nport = 0\n[[bed]]', "mqtt.port"),
        ('[[bed]]\n[[bed.stream]]\nsource = "mqtt"\nmodality = "EDA"\ndevice = "a/b"', "bed[0].stream[0].device"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_found_at_its_key(tmp_path: Path, text: str, key: str) -> None:
    path = tmp_path / "config.toml"
    path.write_text(text + "\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert key in [problem.key for problem in caught.value.problems]


def test_a_password_is_taken_from_a_file_that_is_private_or_from_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "password"
    settings = MqttSettings(host="broker", user="monitor", password_file=str(file))
    with pytest.raises(BrokerError, match="cannot be read"):
        password(settings)
    file.write_text("secret word\nsomething else\n", encoding="utf-8")
    file.chmod(0o640)
    with pytest.raises(BrokerError, match="can be read by others"):
        password(settings)
    file.chmod(0o600)
    assert password(settings) == "secret word"
    file.write_text("\n", encoding="utf-8")
    with pytest.raises(BrokerError, match="is empty"):
        password(settings)
    from_environment = MqttSettings(host="broker", user="monitor", password_env="OUR_PASSWORD")
    with pytest.raises(BrokerError, match="OUR_PASSWORD"):
        password(from_environment)
    monkeypatch.setenv("OUR_PASSWORD", "other")
    assert password(from_environment) == "other"
    assert password(MqttSettings(host="broker")) is None


def test_without_certificates_there_is_no_connection(tmp_path: Path) -> None:
    context = tls_context(MqttSettings(host="broker"))
    assert context is not None
    assert context.check_hostname
    assert tls_context(MqttSettings(host="broker", tls=False)) is None
    wrong = tmp_path / "ca.crt"
    wrong.write_text("no certificate", encoding="utf-8")
    with pytest.raises(BrokerError, match="cannot be read"):
        tls_context(MqttSettings(host="broker", ca_file=str(wrong)))


def test_check_looks_at_the_password_and_the_certificates(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    bundle = write_tiny_bundle(tmp_path)
    bed = f'[[bed]]\nbundles = ["{bundle.as_posix()}"]\n'
    for modality in ("EDA", "ECG"):
        bed += f'[[bed.stream]]\nsource = "mqtt"\nmodality = "{modality}"\ndevice = "wrist-7"\n'
    config.write_text(f'[mqtt]\nhost = "broker"\nuser = "monitor"\npassword_file = "none"\n{bed}', encoding="utf-8")
    with pytest.raises(ConfigError, match="password cannot be read"):
        check_config(config)
    config.write_text(f'[mqtt]\nhost = "broker"\n{bed}', encoding="utf-8")
    notes = " ".join(check_config(config).notes)
    assert "broker:8883 over TLS" in notes
    assert "EDA over MQTT from device 'wrist-7'" in notes
