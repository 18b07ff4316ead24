"""A secret comes from the file that is named, else from systemd, else from the environment; errors never quote it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from monitor.config import MqttSettings, WebhookSettings
from monitor.credentials import CREDENTIALS, MQTT_PASSWORD, SecretError, read_secret
from monitor.errors import MonitorError
from monitor.outputs.webhook import webhook_key
from monitor.sources.broker import password

SECRET = "correct-horse-battery-staple"


def found(file: str = "") -> str:
    return read_secret(file=file, variable="OUR_SECRET", credential=MQTT_PASSWORD)


def test_the_nearest_source_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OUR_SECRET", raising=False)
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    with pytest.raises(SecretError, match=r"OUR_SECRET.*is not set"):
        found()
    monkeypatch.setenv("OUR_SECRET", "from the environment")
    assert found() == "from the environment"
    (tmp_path / MQTT_PASSWORD).write_text("from systemd\n")
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path))
    assert found() == "from systemd"
    file = tmp_path / "file"
    file.write_text("from the file\nand a second line\n")
    file.chmod(0o600)
    assert found(str(file)) == "from the file"
    assert password(MqttSettings(host="x", user="monitor")) == "from systemd"
    (tmp_path / "pain-monitor.webhook-key").write_text(SECRET)
    assert webhook_key(WebhookSettings()) == SECRET.encode()


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o660, 0o644])
def test_a_file_that_others_may_read_is_refused(tmp_path: Path, mode: int) -> None:
    file = tmp_path / "file"
    file.write_text(SECRET)
    file.chmod(mode)
    with pytest.raises(SecretError, match="read by others") as caught:
        found(str(file))
    assert SECRET not in str(caught.value)


@pytest.mark.parametrize("content", [b"\n", b"", SECRET.encode() + b"\xff\xfe"])
def test_a_useless_file_is_told_without_what_is_in_it(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "file"
    file.write_bytes(content)
    file.chmod(0o600)
    for read in (
        lambda: found(str(file)),
        lambda: password(MqttSettings(host="x", user="monitor", password_file=str(file))),
        lambda: webhook_key(WebhookSettings(key_file=str(file))),
    ):
        with pytest.raises((SecretError, MonitorError)) as caught:
            read()
        assert SECRET not in f"{caught.value!r}{caught.value.__cause__!r}"


def test_the_names_are_documented(repository: Path) -> None:
    text = (repository / "docs" / "security.md").read_text(encoding="utf-8")
    for name in CREDENTIALS:
        assert name in text


@pytest.mark.skipif(sys.platform == "win32", reason="rights of files are told otherwise there")
def test_a_credential_that_does_not_reach_us_is_told(tmp_path: Path, repository: Path) -> None:
    """In some containers systemd's folder stays its own: a message, and no traceback."""
    folder = tmp_path / "credentials"
    folder.mkdir()
    (folder / MQTT_PASSWORD).write_text(SECRET)
    folder.chmod(0)
    program = "import os; from monitor.credentials import *; os.getuid() or os.setuid(65534)\n"
    program += "try: read_secret(file='', variable='OUR_SECRET', credential=MQTT_PASSWORD)\n"
    program += "except SecretError as error: print(error)"
    environment = {**os.environ, "CREDENTIALS_DIRECTORY": str(folder)}
    try:
        done = subprocess.run(
            [sys.executable, "-c", program], cwd=repository, env=environment, capture_output=True, text=True, timeout=60
        )
    finally:
        folder.chmod(0o700)
    assert "cannot be read (Permission denied)" in done.stdout, done.stderr
    assert MQTT_PASSWORD in done.stdout
    assert SECRET not in done.stdout + done.stderr
