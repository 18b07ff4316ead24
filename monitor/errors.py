"""The few errors that a user can cause, each carrying what was wrong, where, and what to do.

Everything that a user's mistake can raise derives from `MonitorError`; the CLI prints `str(error)` and exits with
`error.exit_code`, so a message must say what was wrong, where, and what to do next. Anything else is a defect of
ours and keeps its traceback.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class MonitorError(Exception):
    """Base of all errors that a user can cause and mend.

    Args:
        what: What was wrong, as a sentence without its full stop.
        where: File, stream, key or topic that it was found in.
        todo: What to do next.
    """

    exit_code = 2

    def __init__(self, what: str, *, where: str = "", todo: str = "") -> None:
        self.what = what
        self.where = where
        self.todo = todo
        super().__init__(what, where, todo)

    def __str__(self) -> str:
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text}. {self.todo}" if self.todo else f"{text}."


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration file."""

    key: str
    """Dotted path of the key, e.g. `bed[0].stream[1].unit`."""
    what: str
    """What was wrong with it."""
    todo: str = ""
    """What to write instead."""

    def __str__(self) -> str:
        return f"{self.key}: {self.what}" + (f" ({self.todo})" if self.todo else "")


class ConfigError(MonitorError):
    """A configuration file has problems; all of them are reported at once."""

    exit_code = 3

    def __init__(self, *, where: str, problems: Sequence[Problem]) -> None:
        self.problems = tuple(problems)
        count = len(self.problems)
        lines = "\n".join(f"  {problem}" for problem in self.problems)
        super().__init__(f"{count} problem{'s' if count != 1 else ''}\n{lines}\n", where=where)

    def __str__(self) -> str:
        return f"{self.where}: {self.what}".rstrip()


class MappingError(MonitorError):
    """A stream cannot be mapped to a modality without guessing (name, unit, rate or a double claim)."""

    exit_code = 4


class SourceError(MonitorError):
    """A recording or a live stream cannot be read, found, or told apart."""

    exit_code = 5


class BundleError(MonitorError):
    """A model bundle is missing, damaged, or does not match what it says of itself."""

    exit_code = 6


class SessionError(MonitorError):
    """A session database cannot be read, written, or verified."""

    exit_code = 7


class BusyError(MonitorError):
    """A bed is already monitored by another engine."""

    exit_code = 8


class EngineError(MonitorError):
    """An engine could not be reached, or stopped in a way that it should not."""

    exit_code = 9
