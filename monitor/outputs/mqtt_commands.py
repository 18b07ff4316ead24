"""Commands of users over MQTT: read strictly, and taken once, in time, and only from whose topic they came. Pure.

That a user can write only on the own topic is for the broker's access list to see to (docs/mosquitto/acl).
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, NoReturn

from monitor.outputs.mqtt_messages import VERSION

TTL_S: Final = 10.0
"""A command is worth nothing when it is older; it may ask for less, never for more."""
MAX_BYTES: Final = 16 << 10
REMEMBERED: Final = 4096
"""Commands whose id is remembered at most; while all of them are recent, further ones are refused."""

_KEYS: Final = frozenset({"id", "t", "ttl", "action", "args", "user"})


@dataclass(frozen=True, slots=True, kw_only=True)
class UserCommand:
    """A command that may be carried out."""

    user: str
    id: str
    action: str
    args: Mapping[str, Any]


class RefusedError(Exception):
    """A command that is not carried out.

    Args:
        reason: One word: malformed, expired, repeated, retained, user, busy.
        detail: What was wrong, in words.
        id: Of the command, where it could be read.
    """

    def __init__(self, reason: str, detail: str, *, id: str | None = None) -> None:  # noqa: A002
        self.reason = reason
        self.detail = detail
        self.id = id
        super().__init__(f"{reason}: {detail}")


class CommandDesk:
    """Takes the commands of one bed."""

    def __init__(self) -> None:
        self._seen: dict[tuple[str, str], float] = {}
        """(user, id) -> when it may be forgotten, UTC; in the order in which they came."""

    def read(self, user: str, payload: bytes, *, retained: bool, utc: float) -> UserCommand:
        """Read a command.

        Args:
            user: From its topic.
            payload: JSON object {id, t, action} with optional args, ttl and user.
            retained: Whether the broker had kept it.
            utc: Now.

        Raises:
            RefusedError: If it is not to be carried out.
        """
        content = _parse(payload)
        name = content.get("id")
        if not isinstance(name, str) or not 0 < len(name) <= 64 or not name.isprintable():
            raise RefusedError("malformed", "id is no text of 1 to 64 characters")
        try:
            command = self._check(user, name, content, retained=retained, utc=utc)
        except RefusedError as refusal:
            refusal.id = name
            raise
        self._seen[user, name] = utc + 2.0 * TTL_S
        return command

    def _check(self, user: str, name: str, content: Mapping[str, Any], *, retained: bool, utc: float) -> UserCommand:
        if retained:
            raise RefusedError("retained", "commands are not to be retained by the broker")
        if unknown := sorted(set(content) - _KEYS):
            raise RefusedError("malformed", f"unknown key '{unknown[0][:32]}'")
        if content.get("user", user) != user:
            raise RefusedError("user", f"it names another user than its topic, {user}")
        t, ttl = _number(content, "t"), _number(content, "ttl", TTL_S)
        if not 0 < ttl <= TTL_S:
            raise RefusedError("malformed", f"ttl is more than 0 and at most {TTL_S:g} s")
        if abs(utc - t) > ttl:
            raise RefusedError("expired", f"it is {utc - t:+.1f} s old, and good for {ttl:g} s; are both clocks right?")
        self._forget(utc)
        if (user, name) in self._seen:
            raise RefusedError("repeated", "this id came before")
        if len(self._seen) >= REMEMBERED:
            raise RefusedError("busy", "too many commands at once")
        action, args = content.get("action"), content.get("args", {})
        if not isinstance(action, str) or not isinstance(args, dict):
            raise RefusedError("malformed", "action is a text, args an object")
        return UserCommand(user=user, id=name, action=action, args=args)

    def _forget(self, utc: float) -> None:
        for oldest in list(itertools.takewhile(lambda key: self._seen[key] < utc, self._seen)):
            del self._seen[oldest]


def reply(
    command: str | None, *, result: Mapping[str, Any] | None = None, error: str = "", reason: str = ""
) -> dict[str, Any]:
    """The answer to a command.

    Args:
        command: Its id, where it could be read.
        result: What came of it; None where it was refused or failed.
        error: Why, in words.
        reason: Why, in one word.
    """
    if result is not None:
        return {"v": VERSION, "id": command, "ok": True, "result": dict(result)}
    return {"v": VERSION, "id": command, "ok": False, "reason": reason, "error": error}


def _parse(payload: bytes) -> dict[str, Any]:
    def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a key comes twice")
        return found

    def constant(text: str) -> NoReturn:
        raise ValueError(f"{text} is no JSON number")

    if len(payload) > MAX_BYTES:
        raise RefusedError("malformed", f"{len(payload)} bytes, at most {MAX_BYTES} are taken")
    try:
        content = json.loads(payload.decode("utf-8"), object_pairs_hook=once, parse_constant=constant)
    except (ValueError, RecursionError) as error:
        raise RefusedError("malformed", f"not JSON: {error}") from None
    if not isinstance(content, dict):
        raise RefusedError("malformed", "not a JSON object")
    return content


def _number(content: Mapping[str, Any], key: str, default: float | None = None) -> float:
    value = content.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise RefusedError("malformed", f"{key} is no number")
    return float(value)
