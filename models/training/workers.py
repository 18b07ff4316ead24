"""Worker processes of one torch thread each: the same numbers whatever their count, and none outlives the run."""

from __future__ import annotations

import logging
import multiprocessing
import os
import queue
import signal
import threading
import traceback
from collections.abc import Callable, Mapping
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, ParamSpec, TypeVar

from models.data.guards import LeakError
from monitor.errors import MonitorError, SourceError

P = ParamSpec("P")
R = TypeVar("R")

_THREADS: Final = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")
_LOOK_S: Final = 0.5
_current: dict[str, str] = {"job": ""}


@dataclass(frozen=True, slots=True)
class News:
    """What a worker says while it works."""

    job: str
    text: str
    level: int = logging.INFO


class ToldError(MonitorError):
    """What a user can mend, met in a worker.

    Args:
        text: All of the message.
        exit_code: Of the error that it was.
    """

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.text = text
        self.exit_code = exit_code

    def __str__(self) -> str:
        return self.text


@dataclass(frozen=True, slots=True)
class Failure:
    """An error of a worker as plain values; exceptions with arguments of their own do not pass between processes."""

    text: str
    exit_code: int | None
    """None for a defect of ours, whose text is a traceback."""

    def throw(self) -> None:
        """Raise it here.

        Raises:
            ToldError: What a user can mend.
            RuntimeError: Anything else, with the worker's traceback.
        """
        if self.exit_code is None:
            raise RuntimeError(f"in a worker process:\n{self.text}")
        raise ToldError(self.text, self.exit_code)


class Workers:
    """Processes that run functions; used as a context. Leaving it by an exception ends them at once.

    Args:
        count: How many.
        on_news: Called in a thread of its own with what workers say.
    """

    def __init__(self, count: int, on_news: Callable[[News], object] = lambda _: None) -> None:
        # Inherited by the workers, whose libraries read them as they load.
        self._before = {name: os.environ.get(name) for name in _THREADS}
        os.environ.update(dict.fromkeys(_THREADS, "1"))
        context = multiprocessing.get_context("spawn")
        self._queue: Any = context.Queue()
        self._stop: Any = context.Event()
        self._on_news = on_news
        self._pool = ProcessPoolExecutor(
            count, mp_context=context, initializer=_begin, initargs=(self._queue, self._stop)
        )
        self._listener = threading.Thread(target=self._listen, name="worker-news", daemon=True)
        self._listener.start()

    def submit(self, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R | Failure]:
        """Run a function of a module in a worker."""
        try:
            return self._pool.submit(_guarded, function, "", args, kwargs)
        except BrokenProcessPool:
            raise _died() from None

    def submit_job(self, job: str, function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> Future[R | Failure]:
        """The same, with a name under which its news come."""
        try:
            return self._pool.submit(_guarded, function, job, args, kwargs)
        except BrokenProcessPool:
            raise _died() from None

    def __enter__(self) -> Workers:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop.set()
        self._pool.shutdown(wait=True, cancel_futures=kind is not None)
        self._queue.put(None)
        self._listener.join(timeout=10.0)
        self._queue.close()
        for name, value in self._before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value
        if isinstance(error, BrokenProcessPool):
            raise _died() from None

    def _listen(self) -> None:
        while True:
            news = self._queue.get()
            if news is None:
                return
            self._on_news(news)


def _died() -> SourceError:
    return SourceError(
        "a worker process ended by itself",
        where="training",
        todo="Was memory short? Finished folds are kept: run it again, with fewer train.workers",
    )


# -- in the worker -----------------------------------------------------------------------------------------------------


class _Forward(logging.Handler):
    """Sends what is logged to the run."""

    def __init__(self, news: Any) -> None:
        super().__init__(logging.INFO)
        self._news = news

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._news.put_nowait(News(_current["job"], record.getMessage(), record.levelno))
        except (queue.Full, ValueError, OSError):
            self.handleError(record)


def _begin(news: Any, stop: Any) -> None:
    """Set a worker up: one thread, no own answer to Ctrl-C, an end with its run, and a log that goes there."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_watch, args=(stop,), name="end-with-run", daemon=True).start()
    root = logging.getLogger()
    root.handlers = [_Forward(news)]
    root.setLevel(logging.WARNING)
    logging.getLogger("models").setLevel(logging.INFO)
    for told_anyway in ("models.training.loop", "models.training.fitting"):  # epochs, by `on_epoch`
        logging.getLogger(told_anyway).setLevel(logging.WARNING)
    logging.captureWarnings(capture=True)

    import torch

    torch.set_num_threads(1)


def _watch(stop: Any) -> None:
    """End this process when the run says so, or is no more: half a fold is of use to nobody."""
    parent = multiprocessing.parent_process()
    while not stop.wait(_LOOK_S):
        if parent is not None and not parent.is_alive():
            break
    os._exit(1)


def _guarded(function: Callable[..., R], job: str, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> R | Failure:
    _current["job"] = job
    if job:
        logging.getLogger("models.training").info("begins")
    try:
        return function(*args, **kwargs)
    except MonitorError as error:
        return Failure(str(error), error.exit_code)
    except LeakError as error:
        return Failure(f"{error} This is refused; see docs/data.md", SourceError.exit_code)
    except Exception:  # noqa: BLE001 - whatever it is, it is told where it can be read
        return Failure(traceback.format_exc(), None)
