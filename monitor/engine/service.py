"""The daemon as a systemd service: the unit that runs it with as few rights as it needs. Writes files, runs nothing."""

from __future__ import annotations

import re
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monitor.config import Settings
from monitor.credentials import CREDENTIALS, LINK_KEY, MQTT_PASSWORD, WEBHOOK_KEY
from monitor.errors import EngineError

NAME: Final = "pain-monitor"
SECRETS: Final = f"/etc/{NAME}/secrets.env"
CREDSTORE: Final = "/etc/credstore"
"""Where systemd (251 and later) looks for credentials that a unit names without a path; one that is absent is none."""
MARK: Final = "# Written by `pain-monitor install-service`; it replaces this file when it is run again."

_USER: Final = re.compile(r"[a-z_][a-z0-9_-]{0,30}")


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceFile:
    """One file that makes the service."""

    path: Path
    text: str


def service_files(
    config: Path, settings: Settings, *, user: str = NAME, python: str = "", package: Path = Path(__file__)
) -> tuple[ServiceFile, ...]:
    """The unit, and the line that makes its user.

    Args:
        config: Absolute path of the configuration.
        settings: What is in it.
        user: Who it runs as; made by systemd-sysusers where there is no such user.
        python: Interpreter that has the monitor; empty for this one.
        package: Where the monitor itself lies.

    Raises:
        EngineError: If the user's name is none, or a path cannot be written into a unit.
    """
    if not _USER.fullmatch(user) or user == "root":
        raise EngineError(f"the service cannot run as '{user}'", todo="Name a user of its own: a-z, 0-9, _ and -")
    python = python or sys.executable
    unit = _unit(config, settings, user=user, python=python, package=package)
    sysusers = f'{MARK}\nu {user} - "Pain monitor (research use only)" /var/lib/{NAME}\n'
    return (
        ServiceFile(path=Path(f"/etc/sysusers.d/{NAME}.conf"), text=sysusers),
        ServiceFile(path=Path(f"/etc/systemd/system/{NAME}.service"), text=unit),
    )


def write_service(files: tuple[ServiceFile, ...], *, root: Path = Path("/")) -> tuple[str, ...]:
    """Write them; what somebody else wrote is never replaced.

    Args:
        files: See `service_files`.
        root: Where they go, if not into this system.

    Returns:
        One sentence for each file.

    Raises:
        EngineError: If one cannot be written, or is not ours; nothing has been written then, but by a disk that failed
            half-way.
    """
    places = [root / file.path.relative_to("/") for file in files]
    done = []
    try:
        before = [place.read_text(encoding="utf-8") if place.exists() else None for place in places]
        for place, text in zip(places, before, strict=True):
            if text is not None and not text.startswith(MARK):
                todo = "Move it away, or see with --dry-run what would be written"
                raise EngineError("somebody else wrote this file", where=str(place), todo=todo)
        for place, text, file in zip(places, before, files, strict=True):
            if text == file.text:
                done.append(f"{place}: is as it should be")
                continue
            place.parent.mkdir(parents=True, exist_ok=True)
            new = place.with_name(f".{place.name}.new")
            new.write_text(file.text, encoding="utf-8")
            new.chmod(0o644)
            new.replace(place)
            done.append(f"{place}: {'written' if text is None else 'replaced'}")
    except (OSError, UnicodeDecodeError) as error:
        where = str(getattr(error, "filename", None) or root)
        raise EngineError(f"cannot be written ({error})", where=where, todo="Run it as root, or --dry-run") from error
    return tuple(done)


def what_remains(config: Path, settings: Settings, *, user: str = NAME, python: str = "") -> tuple[str, ...]:
    """What is still to be done by hand, one sentence or command each, in the order in which it is to be done."""
    steps = []
    at_home = [path for path in (str(config), python or sys.executable) if _in_home(Path(path))]
    if at_home:
        steps.append(f"see to it that user {user} can read {' and '.join(at_home)}; better outside of home folders")
    for wanted, name, variable in (
        (bool(settings.mqtt.user) and not settings.mqtt.password_file, MQTT_PASSWORD, settings.mqtt.password_env),
        (bool(settings.webhook.url) and not settings.webhook.key_file, WEBHOOK_KEY, settings.webhook.key_env),
        (bool(settings.link.listen) and not settings.link.key_file, LINK_KEY, ""),
    ):
        if wanted:
            older = f"; before systemd 251 put {variable}=... into {SECRETS} instead" if variable else ""
            steps.append(f"put the secret into {CREDSTORE}/{name} (root only, chmod 600){older}")
    steps.append("systemd-sysusers")
    steps += [f"install -d -o {user} -m 700 {shlex.quote(str(path))}" for path in _own_folders(settings)]
    private = [
        item for item in (settings.mqtt.password_file, settings.webhook.key_file, settings.link.key_file) if item
    ]
    if private:
        steps.append(f"chown {user} {shlex.join(private)}")
    return (*steps, "systemctl daemon-reload", f"systemctl enable --now {NAME}.service")


def _unit(config: Path, settings: Settings, *, user: str, python: str, package: Path) -> str:
    own = _own_folders(settings)
    home = any(_in_home(path) for path in (config, Path(python), package, *own))
    folders = [f"ReadWritePaths={_quoted(str(path))}" for path in own]
    # On the processor alone nothing makes code at run time; drivers of other devices may.
    written_code = ["MemoryDenyWriteExecute=yes"]
    if settings.engine.device != "cpu":
        devices, written_code = ["# Models run on a graphics processor, which is a device.", "PrivateDevices=no"], []
    elif settings.sound.enabled:
        devices, written_code = ["PrivateDevices=no", "DevicePolicy=closed", "DeviceAllow=char-alsa rw"], []
    else:
        devices = ["PrivateDevices=yes"]
    if settings.sound.enabled:
        devices += ["# Alarms are heard through a sound device.", "SupplementaryGroups=audio"]
    return "\n".join(
        [
            MARK,
            "# RESEARCH USE ONLY: no alarm system of record.",
            "[Unit]",
            "Description=Pain monitor (research use only)",
            "Wants=network-online.target",
            "# Times are told by the clock at the start: where something waits for that to be right, so does this.",
            "After=network-online.target time-sync.target",
            "StartLimitIntervalSec=1h",
            "StartLimitBurst=10",
            "",
            "[Service]",
            "# The engine, a child, says that it is ready; the supervisor gives the signs of life.",
            "Type=notify",
            "NotifyAccess=all",
            f"ExecStart={_quoted(python)} -m monitor.cli daemon {_quoted(str(config))}",
            f"User={user}",
            f"Group={user}",
            f"StateDirectory={NAME}",
            "StateDirectoryMode=0700",
            f"LogsDirectory={NAME}",
            "LogsDirectoryMode=0700",
            "Environment=XDG_DATA_HOME=%S",
            f"# Secrets: files of root in {CREDSTORE}, which systemd hands over; or variables.",
            *(f"LoadCredential={name}" for name in CREDENTIALS),
            f"EnvironmentFile=-{SECRETS}",
            "",
            "# The supervisor restarts the engine, systemd the supervisor, after a stray signal too: `systemctl stop`",
            "# is what ends both. A mistake of the user stays one.",
            "Restart=always",
            "RestartSec=5",
            "RestartPreventExitStatus=2 3 4 5 6 7",
            "TimeoutStartSec=300",
            "WatchdogSec=30",
            "KillMode=mixed",
            "TimeoutStopSec=60",
            "",
            "# It reads its files, writes to its own folders, and talks to the network; no more.",
            "ProtectSystem=strict",
            f"ProtectHome={'read-only' if home else 'yes'}",
            *folders,
            "PrivateTmp=yes",
            *devices,
            *written_code,
            "PrivateMounts=yes",
            "PrivateUsers=yes",
            "NoNewPrivileges=yes",
            "CapabilityBoundingSet=",
            "AmbientCapabilities=",
            "ProtectClock=yes",
            "ProtectControlGroups=yes",
            "ProtectHostname=yes",
            "ProtectKernelLogs=yes",
            "ProtectKernelModules=yes",
            "ProtectKernelTunables=yes",
            "ProtectProc=invisible",
            "# Netlink: LSL asks which network interfaces there are.",
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6 AF_NETLINK",
            "RestrictNamespaces=yes",
            "RestrictRealtime=yes",
            "RestrictSUIDSGID=yes",
            "RemoveIPC=yes",
            "KeyringMode=private",
            "LockPersonality=yes",
            "SystemCallArchitectures=native",
            "# Of these, @resources must stay: ZeroMQ aborts where it may not schedule its threads.",
            "SystemCallFilter=@system-service",
            "SystemCallFilter=~@privileged",
            "SystemCallErrorNumber=EPERM",
            "UMask=0077",
            "# An image of its memory would hold secrets and what was measured.",
            "LimitCORE=0",
            "",
            "[Install]",
            "WantedBy=multi-user.target",
            "",
        ]
    )


def _own_folders(settings: Settings) -> list[Path]:
    """Folders that the settings name and that systemd does not make by itself."""
    folders = [Path(settings.engine.state_dir)] if settings.engine.state_dir else []
    if settings.jsonlog.path:
        folders.append(Path(settings.jsonlog.path).parent)
    made = [Path(f"/var/lib/{NAME}"), Path(f"/var/log/{NAME}")]
    found = [path for path in dict.fromkeys(folders) if not any(path.is_relative_to(folder) for folder in made)]
    if wrong := [str(path) for path in found if not path.is_absolute()]:
        raise EngineError(f"a service needs whole paths, not {', '.join(wrong)}", todo="Write them from / on")
    return found


def _in_home(path: Path) -> bool:
    return any(path.is_relative_to(home) for home in ("/home", "/root", "/run/user"))


def _quoted(text: str) -> str:
    """As a unit takes a word: in quotes, and without what systemd would expand."""
    if not text.isprintable():
        raise EngineError("a path with control characters cannot stand in a unit", where=repr(text))
    for character in ("\\", '"'):
        text = text.replace(character, f"\\{character}")
    return '"' + text.replace("%", "%%").replace("$", "$$") + '"'
