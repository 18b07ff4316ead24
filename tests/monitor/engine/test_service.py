"""The unit is one that systemd takes, with few rights; the daemon tells systemd when it is ready, alive and ending."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli import app
from monitor.config import (
    BedSettings,
    EngineSettings,
    JsonLogSettings,
    LinkSettings,
    MqttSettings,
    Settings,
    SoundSettings,
    WebhookSettings,
)
from monitor.credentials import CREDENTIALS
from monitor.engine.notify import ALIVE, READY, STOPPING, notify, watchdog_interval
from monitor.engine.service import MARK, service_files, what_remains, write_service
from monitor.errors import EngineError
from tests.helpers.tiny_bundle import write_tiny_bundle

CONFIG = Path("/etc/pain-monitor/config.toml")
SETTINGS = Settings(bed=(BedSettings(),))
UNIX = pytest.mark.skipif(sys.platform == "win32", reason="systemd's sockets are Unix sockets")


@pytest.fixture
def manager(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """What listens in systemd's place."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listening:
        listening.bind(path)
        listening.settimeout(30.0)
        monkeypatch.setenv("NOTIFY_SOCKET", path)
        yield listening


def unit_of(settings: Settings = SETTINGS, config: Path = CONFIG, **given: str) -> dict[str, list[str]]:
    """The unit's keys and what each is set to."""
    python, package = "/opt/pain/bin/python", Path("/opt/pain/monitor")
    text = service_files(config, settings, python=python, package=package, **given)[1].text
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if "=" in line and not line.startswith("#"):
            key, _, value = line.partition("=")
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_has_few_rights_and_a_watchdog() -> None:
    unit = unit_of()
    expected = {
        "User": "pain-monitor", "Type": "notify", "ProtectSystem": "strict", "ProtectHome": "yes",
        "NoNewPrivileges": "yes", "CapabilityBoundingSet": "", "PrivateDevices": "yes", "Restart": "always",
        "WatchdogSec": "30", "UMask": "0077", "StateDirectory": "pain-monitor", "PrivateUsers": "yes",
        "MemoryDenyWriteExecute": "yes", "LimitCORE": "0",
    }  # fmt: skip
    assert {key: unit[key] for key in expected} == {key: [value] for key, value in expected.items()}
    assert unit["ExecStart"] == ['"/opt/pain/bin/python" -m monitor.cli daemon "/etc/pain-monitor/config.toml"']
    assert "ReadWritePaths" not in unit


def test_it_may_write_where_the_configuration_says_and_nowhere_else() -> None:
    settings = Settings(
        engine=EngineSettings(state_dir="/srv/pain", device="cuda"),
        jsonlog=JsonLogSettings(path="/var/log/pain-monitor/events.jsonl"),
    )
    unit = unit_of(settings)
    assert unit["ReadWritePaths"] == ['"/srv/pain"']
    assert unit["PrivateDevices"] == ["no"]
    assert "MemoryDenyWriteExecute" not in unit, "a driver of a graphics processor may write code"
    assert any("install -d -o pain-monitor -m 700 /srv/pain" in step for step in what_remains(CONFIG, settings))
    with pytest.raises(EngineError, match="whole paths"):
        unit_of(Settings(engine=EngineSettings(state_dir="state")))


def test_what_remains_can_be_done_from_the_first_line_to_the_last() -> None:
    """Whoever pastes the commands one after another has a service: the user before what belongs to it."""
    settings = Settings(
        engine=EngineSettings(state_dir="/srv/pain state"),
        mqtt=MqttSettings(host="b", user="bed1", password_file="/etc/pain-monitor/bed 1"),
        webhook=WebhookSettings(url="https://ward.example"),
    )
    secret, *commands = what_remains(CONFIG, settings, python="/opt/pain/bin/python")
    assert secret.startswith("put the secret into /etc/credstore/pain-monitor.webhook-key ")
    assert commands == [
        "systemd-sysusers",
        "install -d -o pain-monitor -m 700 '/srv/pain state'",
        "chown pain-monitor '/etc/pain-monitor/bed 1'",
        "systemctl daemon-reload",
        "systemctl enable --now pain-monitor.service",
    ]


def test_what_stands_in_a_path_is_not_expanded() -> None:
    unit = unit_of(config=Path('/etc/a b/50% "x" $HOME\\c.toml'))
    assert unit["ExecStart"][0].endswith('daemon "/etc/a b/50%% \\"x\\" $$HOME\\\\c.toml"')
    with pytest.raises(EngineError, match="control characters"):
        unit_of(config=Path("/etc/a\nExecStartPre=/bin/evil"))
    for user in ("root", "a b", "x\ny", ""):
        with pytest.raises(EngineError, match="cannot run as"):
            unit_of(user=user)


def test_homes_are_seen_only_where_something_lies_in_one() -> None:
    assert unit_of(config=Path("/home/ann/config.toml"))["ProtectHome"] == ["read-only"]
    assert any("/home/ann" in step for step in what_remains(Path("/home/ann/config.toml"), SETTINGS))


def test_secrets_are_asked_for_and_not_in_the_unit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PAIN_MONITOR_WEBHOOK_KEY", "the-key-of-the-webhook")
    settings = Settings(
        mqtt=MqttSettings(host="b", user="bed1"), webhook=WebhookSettings(url="https://ward.example/t0ken")
    )
    text = "".join(file.text for file in service_files(CONFIG, settings))
    assert not any(word in text for word in ("the-key", "t0ken"))
    steps = " ".join(what_remains(CONFIG, settings))
    assert "PAIN_MONITOR_MQTT_PASSWORD=..." in steps
    assert "PAIN_MONITOR_WEBHOOK_KEY=..." in steps
    assert "/etc/credstore/pain-monitor.mqtt-password" in steps
    assert "/etc/credstore/pain-monitor.link-key" not in steps
    link = LinkSettings(listen="tcp://192.0.2.1:5560", clients="/etc/pain-monitor/clients")
    assert "/etc/credstore/pain-monitor.link-key" in " ".join(what_remains(CONFIG, Settings(link=link)))
    assert unit_of()["LoadCredential"] == list(CREDENTIALS), "without a path: what is absent stops nothing"


def test_a_sound_device_is_seen_only_where_alarms_are_heard() -> None:
    (_, service) = service_files(CONFIG, Settings(sound=SoundSettings(enabled=True)))
    assert "PrivateDevices=no" in service.text
    assert "SupplementaryGroups=audio" in service.text
    assert "DevicePolicy=closed\nDeviceAllow=char-alsa rw\n" in service.text
    assert "DevicePolicy" not in unit_of(
        Settings(engine=EngineSettings(device="cuda"), sound=SoundSettings(enabled=True))
    )
    assert unit_of()["PrivateDevices"] == ["yes"]


def test_it_writes_says_so_and_replaces_only_its_own(tmp_path: Path) -> None:
    files = service_files(CONFIG, SETTINGS)
    assert [line.rpartition(": ")[2] for line in write_service(files, root=tmp_path)] == ["written", "written"]
    assert all("is as it should be" in line for line in write_service(files, root=tmp_path))
    changed = service_files(CONFIG, SETTINGS, user="other")
    assert [line.rpartition(": ")[2] for line in write_service(changed, root=tmp_path)] == ["replaced", "replaced"]
    unit = tmp_path / "etc/systemd/system/pain-monitor.service"
    assert unit.read_text(encoding="utf-8").startswith(MARK)
    assert unit.stat().st_mode & 0o777 == 0o644
    unit.write_text("[Service]\n")
    with pytest.raises(EngineError, match="somebody else"):
        write_service(files, root=tmp_path)
    assert "other" in (tmp_path / "etc/sysusers.d/pain-monitor.conf").read_text(encoding="utf-8")


def test_the_command_prints_or_writes(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text('[[bed]]\nname = "bed1"\n', encoding="utf-8")
    dry = CliRunner().invoke(app, ["install-service", str(config), "--dry-run"])
    assert dry.exit_code == 0
    assert "WatchdogSec=30" in dry.output
    assert str(config) in dry.output
    if sys.platform == "linux":
        wet = CliRunner().invoke(app, ["install-service", str(config), "--root", str(tmp_path / "image")])
        assert wet.exit_code == 0
        assert "systemctl enable --now pain-monitor.service" in wet.output
        assert (tmp_path / "image/etc/systemd/system/pain-monitor.service").exists()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize(
    "settings",
    [
        SETTINGS,
        Settings(engine=EngineSettings(state_dir="/srv/a b", device="cuda")),
        Settings(sound=SoundSettings(enabled=True), jsonlog=JsonLogSettings(path="/srv/log/events.jsonl")),
    ],
    ids=["plain", "cuda", "sound"],
)
def test_systemd_finds_nothing_wrong(settings: Settings, tmp_path: Path) -> None:
    files = service_files(CONFIG, settings, python=sys.executable)
    write_service(files, root=tmp_path)
    good, bad = tmp_path / files[1].path.relative_to("/"), tmp_path / "bad.service"
    bad.write_text(files[1].text.replace("ProtectClock=", "ProtectClocks="), encoding="utf-8")

    def complaints(path: Path) -> str:
        command = ["systemd-analyze", "verify", "--man=no", str(path)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60).stderr
        return "\n".join(line for line in said.splitlines() if path.name in line)

    assert complaints(good) == ""
    assert "ProtectClocks" in complaints(bad)


def exposure(unit: Path) -> float:
    """systemd's own figure for how much a service may do: 0 is nothing, 10 everything."""
    command = ["systemd-analyze", "security", "--offline=true", "--no-pager", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    found = re.search(r"exposure level for \S+: ([0-9.]+)", done.stdout)
    if found is None:
        pytest.skip(f"this systemd-analyze cannot look at a unit that is not running: {done.stderr.strip()[:200]}")
    return float(found[1])


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
def test_systemd_finds_little_that_the_service_may_do(tmp_path: Path) -> None:
    """1.4 with systemd 252, and what is left is needed; other versions weigh a little differently."""
    text = service_files(CONFIG, SETTINGS, python=sys.executable)[1].text
    unit, open_one = tmp_path / "pain-monitor.service", tmp_path / "open.service"
    unit.write_text(text, encoding="utf-8")
    open_one.write_text(
        text.replace("CapabilityBoundingSet=\n", "").replace("PrivateUsers=yes\n", ""), encoding="utf-8"
    )
    assert exposure(unit) <= 1.8
    assert exposure(open_one) > exposure(unit) + 0.5


@UNIX
def test_nobody_is_told_where_nobody_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    assert not notify(READY)
    for address in (str(tmp_path / "gone"), "relative", "@nobody-listens-here"):
        monkeypatch.setenv("NOTIFY_SOCKET", address)
        assert not notify(READY)


@UNIX
def test_words_arrive_as_one_datagram(manager: socket.socket) -> None:
    assert notify(READY, "STATUS=all well")
    assert manager.recv(4096) == b"READY=1\nSTATUS=all well"


def test_signs_of_life_are_for_the_process_that_is_meant(monkeypatch: pytest.MonkeyPatch) -> None:
    for limit, process, expected in (
        ("30000000", str(os.getpid()), 15.0),
        ("30000000", "1", None),
        ("30000000", "", 15.0),
        ("0", "", None),
        ("soon", "", None),
    ):
        monkeypatch.setenv("WATCHDOG_USEC", limit)
        monkeypatch.setenv("WATCHDOG_PID", process)
        assert watchdog_interval() == expected
    monkeypatch.delenv("WATCHDOG_USEC")
    assert watchdog_interval() is None


@UNIX
def test_a_supervised_engine_says_ready_alive_and_stopping(
    manager: socket.socket, repository: Path, tmp_path: Path
) -> None:
    bundle = write_tiny_bundle(tmp_path / "bundles")
    program = "import sys; from monitor.engine.supervisor import Supervisor; "
    program += "sys.exit(Supervisor(command=sys.argv[1:], restart_limit=3).run())"
    engine = [sys.executable, "-m", "tests.helpers.engine_process", str(tmp_path / "state"), str(bundle)]
    environment = {**os.environ, "WATCHDOG_USEC": "1000000"}
    environment.pop("WATCHDOG_PID", None)
    process = subprocess.Popen(
        [sys.executable, "-c", program, *engine, "--supervised"], cwd=repository, env=environment,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        said: list[str] = []
        deadline = time.monotonic() + 60.0
        while not any(words.startswith(READY) for words in said) or said.count(ALIVE) < 3:
            assert time.monotonic() < deadline
            said.append(manager.recv(4096).decode())
        assert any("bed1" in words for words in said if words.startswith(READY))
        process.send_signal(signal.SIGTERM)
        while not any(words.startswith(STOPPING) for words in said):
            said.append(manager.recv(4096).decode())
        assert "STATUS=Not monitoring" in said[-1], "systemctl status shows the last word of a service that has ended"
        assert process.wait(timeout=60) == 0
    finally:
        process.kill()
        process.wait()
