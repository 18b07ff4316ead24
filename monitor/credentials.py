"""Where secrets come from: a file that nobody else may read, a systemd credential, or the environment. Nowhere else.

A secret is handed to whoever uses it and to nobody else: no setting, log line, message, session or metric holds one.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import Final

MQTT_PASSWORD: Final = "pain-monitor.mqtt-password"
"""Name of the systemd credential with the password of `mqtt.user`."""
WEBHOOK_KEY: Final = "pain-monitor.webhook-key"
"""Name of the systemd credential with the key that webhook messages are signed with."""
LINK_KEY: Final = "pain-monitor.link-key"
"""Name of the systemd credential with the engine's key file for the link over TCP."""
CREDENTIALS: Final = (MQTT_PASSWORD, WEBHOOK_KEY, LINK_KEY)


class SecretError(Exception):
    """A secret cannot be had.

    Args:
        what: What was wrong; never holds any of the secret.
        where: File or variable.
        todo: What to do.
        from_file: Whether it was to come from the file that the settings name.
    """

    def __init__(self, what: str, *, where: str, todo: str, from_file: bool) -> None:
        self.what, self.where, self.todo, self.from_file = what, where, todo, from_file
        super().__init__(f"{where}: {what}. {todo}")


def read_private(path: Path, *, private: bool = True) -> str:
    """The text of a file with a secret in it.

    Args:
        path: The file.
        private: Refuse it where others may read it.

    Raises:
        SecretError: If it cannot be read, or others may read it.
    """
    try:
        text = path.read_text(encoding="utf-8")
        mode = path.stat().st_mode
    except (OSError, UnicodeDecodeError) as error:
        # A UnicodeDecodeError shows bytes of what it read.
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        raise SecretError(f"cannot be read ({why})", where=str(path), todo="Check the path", from_file=True) from None
    if private and os.name == "posix" and mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise SecretError("can be read by others", where=str(path), todo=f"chmod 600 {path}", from_file=True)
    return text


def credential_file(name: str) -> Path | None:
    """The file of a systemd credential, where the service was given one (`$CREDENTIALS_DIRECTORY`)."""
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    path = Path(folder) / name if folder else None
    try:
        return path if path is not None and path.is_file() else None
    except PermissionError:
        return path  # whoever reads it says that it cannot be read


def read_secret(*, file: str, variable: str, credential: str) -> str:
    """The first line of the file that the settings name; else of the systemd credential; else of the variable.

    Args:
        file: Path from the settings; empty where they name none.
        variable: Environment variable.
        credential: Name of the systemd credential.

    Raises:
        SecretError: If it is nowhere, is empty, or others may read its file.
    """
    path = Path(file).expanduser() if file else credential_file(credential)
    if path is None:
        found = os.environ.get(variable, "")
        if not found:
            todo = f"Set it, name a file, or give the service the credential {credential}"
            raise SecretError("is not set", where=f"environment variable {variable}", todo=todo, from_file=False)
        return found
    # systemd itself sees to it that nobody else reads a credential; what the mode shows is the mask of an access list.
    lines = read_private(path, private=bool(file)).splitlines()
    if not lines or not lines[0]:
        todo = "Write the secret there, and nothing else"
        raise SecretError("is empty in its first line", where=str(path), todo=todo, from_file=bool(file))
    return lines[0]
