"""`python -m models train CONFIG`: from a folder of data to figures, and to a bundle where one is asked for."""

from __future__ import annotations

import contextlib
import logging
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

if TYPE_CHECKING:
    from models.training.folds import Job
    from models.training.progress import Board
    from models.training.run import Plan
    from models.training.settings import RunSettings

INTERRUPTED: Final = 130


def train(
    config: Annotated[Path, typer.Argument(help="A configuration, see docs/training.md and models/example.toml.")],
    *,
    only: Annotated[str, typer.Option(help="Only this split (fold-1-of-5) or job (fold-1-of-5.crossmod.s20).")] = "",
    fresh: Annotated[bool, typer.Option("--fresh", help="Train anew what is there already.")] = False,
    despite_oddities: Annotated[
        bool, typer.Option("--despite-oddities", help="Train on data in which `models data` finds errors.")
    ] = False,
    check: Annotated[
        bool, typer.Option("--check", help="Check everything and cut the windows; train nothing.")
    ] = False,
) -> None:
    """Train and test every fold of a configuration, then write the report, and the bundle if one is asked for.

    A run that was ended goes on where it was: what is done is not done again. Exit code 0 when all is done, 3 for a
    wrong configuration, 5 for data that are missing, damaged or not fit for what is asked, 6 where the export refuses
    the bundle, 8 where another run writes into the folder, 130 after Ctrl-C.
    """
    from rich.console import Console

    from models.evaluation.command import evaluate_run, run_steps
    from models.training.progress import Board
    from models.training.run import claimed
    from models.training.settings import load_run_settings
    from monitor.errors import MonitorError

    log, out = Console(stderr=True, soft_wrap=True), Console(width=None if sys.stdout.isatty() else 140)
    try:
        settings = load_run_settings(config)
        with claimed(settings.folder), _logged(settings.folder):
            with Board(log) as board:
                plan, whole = _train(settings, config, board, only, fresh, despite_oddities, check)
            if check:
                out.print(_planned(plan), highlight=False, markup=False)
                return
            out.print(f"Folds, predictions and the log are in {settings.folder}", highlight=False, markup=False)
            if not whole:
                out.print("Not all folds are trained, so there is no report yet.", highlight=False)
                return
            evaluate_run(plan, out, log)
            if settings.bundle.name:
                from models.training.final import make_bundle

                out.print(make_bundle(plan), highlight=False, markup=False)
            run_steps(plan, out, log)
    except MonitorError as error:
        log.print(str(error), markup=False, highlight=False)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        log.print(
            f"Ended. What is done is kept: `python -m models train {config}` goes on.", markup=False, highlight=False
        )
        raise typer.Exit(INTERRUPTED) from None


def _train(
    settings: RunSettings, config: Path, board: Board, only: str, fresh: bool, despite: bool, check: bool
) -> tuple[Plan, bool]:
    """Prepare and train; whether every job of the plan is done."""
    from models.training.folds import found
    from models.training.run import prepare, require_device, to_do, train_jobs, write_plan
    from models.training.workers import Workers

    if not any((settings.folder / "folds").glob("*.json")):  # else it may all be done, on a machine that has one
        require_device(settings, config)
    with Workers(settings.train.workers, board.news) as workers:
        plan = prepare(settings, config, workers, despite_oddities=despite, watcher=board)
        left, done = to_do(plan, only=only, fresh=fresh and not check)
        if left:
            require_device(settings, config)
        if check:
            return plan, False
        write_plan(plan)
        if done:
            board.say(f"{done} of {done + len(left)} jobs were done before")
        board.begin(len(left) + done, done)

        def on_done(job: Job, result: Mapping[str, Any]) -> None:
            board.finished(job.name, _in_short(result))

        train_jobs(left, workers, on_done=on_done)
    return plan, all(found(job) is not None for job in plan.jobs)


def _in_short(result: Mapping[str, Any]) -> str:
    figures = [f"{name} {m['figures']['balanced_accuracy']:.3f}" for name, m in result["methods"].items()]
    return f"balanced accuracy {', '.join(figures)}; {result['seconds']:.0f} s"


def _planned(plan: Plan) -> str:
    subjects = {part: len(of) for part, of in plan.splits[0].parts.items()}
    sizes = ", ".join(f"{count} {part}" for part, count in subjects.items())
    splits, jobs = (f"{n} {what}{'s' * (n != 1)}" for n, what in ((len(plan.splits), "split"), (len(plan.jobs), "job")))
    return f"{splits} (the first: {sizes}), {jobs}. Nothing speaks against training."


class _Log(logging.FileHandler):
    """Keeps silent where the disk is full: whoever cannot write a result says so, once."""

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name
        """See `logging.Handler`."""

    def close(self) -> None:
        """See `logging.Handler`."""
        with contextlib.suppress(OSError):
            super().close()


class _logged:  # noqa: N801 - used as a function
    """Writes what is logged into train.log of a folder."""

    def __init__(self, folder: Path) -> None:
        from monitor.errors import SourceError

        try:
            self._handler = _Log(folder / "train.log", encoding="utf-8")
        except OSError as error:
            raise SourceError(
                f"cannot be written: {error.strerror or error}",
                where=str(folder / "train.log"),
                todo="Mend output.folder",
            ) from None
        form = logging.Formatter("%(asctime)s %(message)s", "%Y-%m-%dT%H:%M:%SZ")
        form.converter = time.gmtime
        self._handler.setFormatter(form)
        self._logger = logging.getLogger("models")

    def __enter__(self) -> None:
        self._logger.addHandler(self._handler)
        self._before = self._logger.level, self._logger.propagate
        self._logger.setLevel(logging.INFO)
        self._logger.propagate = False

    def __exit__(self, *_: object) -> None:
        self._logger.setLevel(self._before[0])
        self._logger.propagate = self._before[1]
        self._logger.removeHandler(self._handler)
        self._handler.close()
