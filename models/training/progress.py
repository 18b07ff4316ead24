"""How a run goes, on a terminal: one bar for all, one line for each job that is running. Elsewhere only the log."""

from __future__ import annotations

import logging
from typing import Final

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from models.training.run import Watcher
from models.training.workers import News

_log = logging.getLogger("models.training.run")

_LONG: Final = 70


class Board(Watcher):
    """Used as a context. `news` is called in another thread than the rest; rich locks for itself.

    Args:
        console: Where to draw; nothing is drawn where it is no terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._lines: dict[str, TaskID] = {}
        self._stage: TaskID | None = None

    def __enter__(self) -> Board:
        self._bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bars.stop()

    def stage(self, text: str, total: int) -> None:
        """See `Watcher`."""
        if self._stage is not None:
            self._bars.remove_task(self._stage)
        self._stage = self._bars.add_task(text, total=total)
        _log.info("%s: %d", text, total)

    def step(self, text: str) -> None:  # noqa: ARG002
        """See `Watcher`."""
        if self._stage is not None:
            self._bars.update(self._stage, advance=1)

    def say(self, text: str) -> None:
        """See `Watcher`."""
        _log.info("%s", text)
        self._console.print(text, markup=False, highlight=False)

    def begin(self, total: int, done: int) -> None:
        """The training itself begins."""
        self.stage("Training", total)
        if self._stage is not None:
            self._bars.update(self._stage, completed=done)

    def finished(self, job: str, text: str) -> None:
        """A job is done."""
        _log.info("%s: done, %s", job, text)
        if (line := self._lines.pop(job, None)) is not None:
            self._bars.remove_task(line)
        self.step(job)
        if self._console.is_terminal:
            self._console.print(f"{job}: {text}", markup=False, highlight=False)

    def news(self, news: News) -> None:
        """What a worker says."""
        text = news.text.strip()
        _log.log(news.level, "%s: %s", news.job or "worker", text)
        if not news.job or not self._console.is_terminal:
            return
        if news.job not in self._lines:
            self._lines[news.job] = self._bars.add_task(news.job, total=None)
        self._bars.update(self._lines[news.job], description=f"  {news.job}  {text}"[:_LONG])
