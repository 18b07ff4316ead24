"""A real mosquitto with the shipped configuration and access list, on a port of its own, with certificates of its own.

Only what must differ on a test machine is changed: the port, and the interface.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import time
from pathlib import Path

from monitor.config import MqttSettings

REPOSITORY = Path(__file__).resolve().parents[2]
_NEW_KEY = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
USERS = ("monitor", "gateway-bed1", "station", "nurse", "guest")
"""Those of the shipped access list, and one that it does not know."""


class Broker:
    """Handle of the process; not started yet.

    Args:
        folder: Empty folder for its files.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None
        self._write_certificates()
        self._write_passwords()
        shipped = REPOSITORY / "docs" / "mosquitto"
        text = (shipped / "mosquitto.conf").read_text(encoding="utf-8")
        assert text.count("listener 8883\n") == 1
        text = text.replace("listener 8883\n", f"listener {self.port} 127.0.0.1\n")
        if hasattr(os, "geteuid") and os.geteuid() == 0:  # else mosquitto gives up root, and with it these files
            text = "user root\n" + text
        (folder / "mosquitto.conf").write_text(text, encoding="utf-8")
        shutil.copy(shipped / "acl", folder / "acl")
        (folder / "acl").chmod(0o600)

    @property
    def ca_file(self) -> Path:
        """Certificate of the authority that signed the broker's."""
        return self.folder / "certs" / "ca.crt"

    def settings(self, user: str = "monitor", **changes: object) -> MqttSettings:
        """How a user of this broker connects to it."""
        base = {
            "host": "localhost",
            "port": self.port,
            "ca_file": str(self.ca_file),
            "user": user,
            "password_file": str(self.password_file(user)),
        }
        return MqttSettings.model_validate({**base, **changes})

    def password_file(self, user: str) -> Path:
        """File with a user's password."""
        return self.folder / f"{user}.password"

    def start(self) -> None:
        """Start, and wait until it answers."""
        with (self.folder / "mosquitto.log").open("ab") as log:
            self._process = subprocess.Popen(
                [mosquitto(), "-c", "mosquitto.conf"], cwd=self.folder, stdout=log, stderr=log
            )
        end = time.monotonic() + 30.0
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1.0).close()
            except OSError:
                assert time.monotonic() < end, f"mosquitto does not start: {self.log()}"
                assert self._process.poll() is None, f"mosquitto ended: {self.log()}"
                time.sleep(0.05)
            else:
                return

    def save(self) -> None:
        """Have it write down now what it otherwise writes twice a minute: sessions, and what is retained."""
        file = self.folder / "mosquitto.db"
        before = file.stat().st_mtime_ns if file.exists() else 0
        assert self._process is not None
        self._process.send_signal(signal.SIGUSR1)
        end = time.monotonic() + 30.0
        while not file.exists() or file.stat().st_mtime_ns == before:
            assert time.monotonic() < end, f"mosquitto does not save: {self.log()}"
            time.sleep(0.02)

    def kill(self) -> None:
        """End it without a farewell, as a power cut does."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """End it in order."""
        self._end(signal.SIGTERM)

    def log(self) -> str:
        """What it has said."""
        return (self.folder / "mosquitto.log").read_text(encoding="utf-8", errors="replace")[-4000:]

    def _end(self, number: int) -> None:
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait(30.0)
            self._process = None

    def _write_certificates(self) -> None:
        certs = self.folder / "certs"
        certs.mkdir()
        make_authority(certs / "ca.key", certs / "ca.crt")
        (certs / "san.cnf").write_text("subjectAltName=DNS:localhost\n", encoding="utf-8")
        _openssl(certs, "req", *_NEW_KEY, "-nodes", "-subj", "/CN=localhost", "-keyout", "server.key",
                 "-out", "server.csr")  # fmt: skip
        _openssl(certs, "x509", "-req", "-in", "server.csr", "-CA", "ca.crt", "-CAkey", "ca.key", "-CAcreateserial",
                 "-days", "2", "-extfile", "san.cnf", "-out", "server.crt")  # fmt: skip

    def _write_passwords(self) -> None:
        passwd = self.folder / "passwd"
        passwd.touch(mode=0o600)
        for user in USERS:
            secret = f"{user}-{os.urandom(6).hex()}"
            subprocess.run(
                [str(tool("mosquitto_passwd")), "-b", "passwd", user, secret],
                cwd=self.folder, check=True, capture_output=True,
            )  # fmt: skip
            file = self.password_file(user)
            file.touch(mode=0o600)
            file.write_text(secret + "\n", encoding="utf-8")


def make_authority(key: Path, certificate: Path) -> None:
    """Make a certificate authority."""
    _openssl(key.parent, "req", "-x509", *_NEW_KEY, "-nodes", "-days", "2", "-subj", "/CN=test CA",
             "-addext", "basicConstraints=critical,CA:TRUE", "-addext", "keyUsage=critical,keyCertSign",
             "-keyout", str(key), "-out", str(certificate))  # fmt: skip


def missing() -> str:
    """Why no broker can be started here; empty where one can."""
    absent = [name for name in ("mosquitto", "mosquitto_passwd", "openssl") if tool(name) is None]
    return f"{', '.join(absent)} not installed" if absent else ""


def tool(name: str) -> str | None:
    """Path of a program; daemons are often outside a user's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/opt/homebrew/sbin")


def mosquitto() -> str:
    """Path of the broker's program."""
    return str(tool("mosquitto"))


def free_port(count: int = 1) -> int:
    """The first of some ports in a row that nobody has just now.

    They lie below those that a system gives away by itself: who takes one of these only later, or again after a broker
    was killed, must not find somebody else's connection there.
    """
    while True:
        first = 20_000 + secrets.randbelow(12_000)  # tests that run side by side share the seed of `random`
        try:
            with contextlib.ExitStack() as held:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
        except OSError:
            continue
        return first


def client_tls(ca_file: Path) -> ssl.SSLContext:
    """What a client verifies the broker with."""
    return ssl.create_default_context(cafile=str(ca_file))


def _openssl(folder: Path, *arguments: str) -> None:
    done = subprocess.run([str(tool("openssl")), *arguments], cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
