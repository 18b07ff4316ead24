"""Alarm transitions of one bed on their way to a webhook, kept in a file so that a restart loses none.

A file of some kilobytes that is replaced as a whole at every change. Where it cannot be written (disk full), what waits
is kept in memory, and that is said.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import threading
import uuid
from collections import deque
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from monitor.types import Presence

_LOGGER = logging.getLogger(__name__)

CAPACITY: Final = 1024
"""Transitions that may wait: an alarm every half minute for more than eight hours."""

_SPACE: Final = uuid.UUID("0b9a6f0e-6d0c-5f0e-8a53-3a0f9c1f7a11")
_RESTARTED: Final = "The monitor was started anew; whether this still holds is not known yet."


def delivery_id(message: Mapping[str, Any]) -> str:
    """Name of one transition: the same at every attempt and after a restart, so that a receiver counts it once."""
    return str(uuid.uuid5(_SPACE, f"{message['event_id']}/{json.dumps(message, sort_keys=True)}"))


class WebhookBox:
    """What waits, oldest first, and which alarms the receiver believes to stand. Any thread may call it.

    Args:
        path: Its file, of mode 0600; its folder must exist by the time of `load`.
        capacity: Transitions that may wait; beyond it the oldest is given up and counted, one that a newer one of its
            condition has overtaken before any other.
    """

    def __init__(self, path: Path, capacity: int = CAPACITY) -> None:
        self._path = path
        self._capacity = capacity
        self._lock = threading.Lock()
        self._waiting: deque[dict[str, Any]] = deque()
        self._standing: dict[str, dict[str, Any]] = {}
        self._loaded = False
        self.given_up = 0
        """Transitions that were never delivered."""
        self.unsaved = False
        """The file is older than what waits."""

    def __len__(self) -> int:
        return len(self._waiting)

    def load(self, utc: float) -> None:
        """Take up what the process before left, once: what waits, and an end to every alarm that it had reported.

        An alarm that still holds is raised again by this process, as an event of its own.

        Args:
            utc: Now; the time of those ends.
        """
        with self._lock:
            if self._loaded:
                return
            self._loaded = True
            try:
                content = json.loads(self._path.read_text(encoding="utf-8"))
                waiting, standing = list(content["waiting"]), dict(content["standing"])
                for item in (*waiting, *standing.values()):
                    delivery_id(item)
            except FileNotFoundError:
                return
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                _LOGGER.error("what waited for the webhook cannot be read and is lost: %s (%s)", error, self._path)
                return
            ends = [
                {**item, "presence": Presence.OFF.value, "t": utc, "text": _RESTARTED}
                for condition, item in standing.items()
                if condition not in self._standing
            ]
            # What this process has said by now comes last.
            self._waiting = deque([*waiting, *ends, *self._waiting])
            self._bound()
            self._save()

    def put(self, message: Mapping[str, Any]) -> None:
        """Add a transition (see `monitor.outputs.mqtt_messages.alarm_message`)."""
        item = dict(message)
        with self._lock:
            self._waiting.append(item)
            if item["presence"] == Presence.OFF.value:
                self._standing.pop(item["condition"], None)
            else:
                self._standing[item["condition"]] = item
            self._bound()
            if self._loaded:
                self._save()

    def first(self) -> dict[str, Any] | None:
        """The oldest transition that waits."""
        with self._lock:
            return self._waiting[0] if self._waiting else None

    def done(self, item: Mapping[str, Any], *, delivered: bool) -> None:
        """It need not wait any longer: the receiver has it, or will never take it."""
        with self._lock:
            with contextlib.suppress(ValueError):
                self._waiting.remove(dict(item))
            self.given_up += not delivered
            self._save()

    def _bound(self) -> None:
        while len(self._waiting) > self._capacity:
            newest = {item["condition"]: item for item in self._waiting}
            overtaken = next((item for item in self._waiting if newest[item["condition"]] is not item), None)
            self._waiting.remove(overtaken if overtaken is not None else self._waiting[0])
            self.given_up += 1
            if self.given_up == 1 or self.given_up % 100 == 0:
                _LOGGER.error("too many alarms wait for the webhook: %d were given up", self.given_up)

    def _save(self) -> None:
        content = json.dumps({"waiting": list(self._waiting), "standing": self._standing})
        new = self._path.with_name(f"{self._path.name}.new")
        try:
            handle = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            new.replace(self._path)
        except OSError as error:
            if not self.unsaved:
                _LOGGER.error("what waits for the webhook is in memory only: %s (%s)", error, self._path)
            self.unsaved = True
        else:
            self.unsaved = False
