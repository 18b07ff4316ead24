"""Keys for the link over TCP (CURVE, RFC 26): one pair for the engine, one for each client.

A pair is two small TOML files: `NAME.key` with both halves, of mode 0600, which stays where it is used, and `NAME.pub`
with the public one, which the other side is given. The engine takes clients whose `.pub` lies in its folder.
"""

from __future__ import annotations

import contextlib
import os
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import zmq

from monitor.credentials import SecretError, credential_file, read_private
from monitor.errors import EngineError

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,31}")
_Z85: Final = re.compile(r"[0-9A-Za-z.\-:+=^!/*?&<>()\[\]{}@%$#]{40}")


@dataclass(frozen=True, slots=True)
class KeyPair:
    """Both halves of a key, in Z85."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class ClientKeys:
    """What a client needs to speak to an engine over TCP."""

    own: KeyPair
    engine: bytes
    """The engine's public key: without it, anybody could pretend to be the engine."""


@dataclass(frozen=True, slots=True)
class Authorised:
    """A client that the engine takes."""

    name: str
    """Name of its `.pub` file."""
    commands: bool
    """Whether it may command, or only look."""


def make_keys(name: str, folder: Path) -> tuple[Path, Path]:
    """Make a pair.

    Args:
        name: Letters, digits, `_`, `.`, `-`; at most 32. It is what the record names the client by.
        folder: Where both files go.

    Returns:
        The secret file (0600) and the public one.

    Raises:
        EngineError: If the name is none, a file of that name is there, or the folder cannot be written to.
    """
    if not _NAME.fullmatch(name):
        raise EngineError(f"'{name}' is no name of a key", todo="Letters, digits, _ . and -, at most 32")
    public, secret = zmq.curve_keypair()
    secret_file, public_file = folder / f"{name}.key", folder / f"{name}.pub"
    half = f'public = "{public.decode()}"\n'
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(secret_file, f'# Secret. Give it to nobody.\n{half}secret = "{secret.decode()}"\n', 0o600)
        try:
            _write(public_file, f"# Public. commands = false would make a client one that only looks.\n{half}", 0o644)
        except OSError:
            secret_file.unlink()
            raise
    except FileExistsError as error:
        raise EngineError(
            "is there already", where=str(error.filename), todo="Choose another name, or remove it"
        ) from error
    except OSError as error:
        raise EngineError(
            f"cannot be written ({error.strerror})", where=str(folder), todo="Name a folder of yours"
        ) from error
    return secret_file, public_file


def read_pair(path: Path, *, private: bool = True) -> KeyPair:
    """Read a `.key` file.

    Args:
        path: The file.
        private: Refuse it where others may read it.

    Raises:
        EngineError: If it cannot be read, others may read it, or it holds no pair.
    """
    try:
        content = _parsed(read_private(path, private=private), path)
    except SecretError as error:
        raise EngineError(error.what, where=error.where, todo=error.todo) from None
    pair = KeyPair(_key(content, "public", path), _key(content, "secret", path))
    if zmq.curve_public(pair.secret) != pair.public:
        raise EngineError("its halves do not belong together", where=str(path), todo=_TODO)
    return pair


def engine_pair(key_file: str, credential: str) -> KeyPair:
    """The engine's pair, from the file that the settings name, or else from the systemd credential.

    Raises:
        EngineError: See `read_pair`; also if there is neither.
    """
    if key_file:
        return read_pair(Path(key_file).expanduser())
    given = credential_file(credential)
    if given is None:
        raise EngineError("there is no key, so nothing listens on TCP", where="link.key_file", todo=_TODO)
    return read_pair(given, private=False)


def read_public(path: Path) -> bytes:
    """The public key in a `.pub` file.

    Raises:
        EngineError: If it cannot be read or holds none.
    """
    return _key(_public(path), "public", path)


def client_keys(key_file: Path, engine_file: Path | None = None) -> ClientKeys:
    """What a client needs.

    Args:
        key_file: Its own `.key` file.
        engine_file: The engine's `.pub`; `engine.pub` beside its own key if left out.

    Raises:
        EngineError: If either cannot be read.
    """
    return ClientKeys(read_pair(key_file), read_public(engine_file or key_file.parent / "engine.pub"))


def authorised(folder: Path) -> Mapping[bytes, Authorised]:
    """Clients by public key. A file that cannot be read authorises nobody.

    Raises:
        EngineError: If the folder cannot be read.
    """
    try:
        files = sorted(folder.glob("*.pub")) if folder.is_dir() else None
    except OSError as error:
        raise EngineError(f"cannot be read ({error.strerror})", where=str(folder), todo="See link.clients") from error
    if files is None:
        raise EngineError(
            "there is no such folder", where=str(folder), todo="Make it, with a .pub file for each client"
        )
    found: dict[bytes, Authorised] = {}
    for path in files:
        with contextlib.suppress(EngineError):
            content = _public(path)
            commands = content.get("commands", True)
            if isinstance(commands, bool) and _NAME.fullmatch(path.stem):
                found[_key(content, "public", path)] = Authorised(path.stem, commands)
    return found


_TODO: Final = "Make a pair with `pain-monitor keys NAME`"


def _public(path: Path) -> dict[str, Any]:
    try:
        return _parsed(path.read_text(encoding="utf-8"), path)
    except (OSError, UnicodeDecodeError) as error:
        raise EngineError("the public key cannot be read", where=str(path), todo="Check the path") from error


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError:
        raise EngineError("this is no key file", where=str(path), todo=_TODO) from None  # its message may quote a key


def _key(content: Mapping[str, Any], half: str, path: Path) -> bytes:
    value = content.get(half)
    if not isinstance(value, str) or not _Z85.fullmatch(value):
        raise EngineError(f"there is no {half} key in it", where=str(path), todo=_TODO)
    return value.encode()


def _write(path: Path, text: str, mode: int) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w", encoding="utf-8") as file:
        file.write(text)
