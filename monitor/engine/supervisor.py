"""The parent process of an engine: starts it, starts it anew when it fails, and passes on the wish to stop.

Parent and child share a pipe that nobody writes to. The child ends in order when its end of it closes: that is how the
parent asks it to stop on every system, and what ends it when the parent dies.
"""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import FrameType
from typing import Final

from monitor.config import read_text
from monitor.engine.notify import ALIVE, STOPPING, notify, watchdog_interval
from monitor.errors import EngineError

_LOGGER = logging.getLogger(__name__)

USER_ERROR_CODES: Final = range(2, 20)
"""Exit codes of a `MonitorError`: what a user did wrong stays wrong, however often it is tried. Unless it was right
once: then a file that the engine needs has changed since, and a person may be at it."""

CONFIGURATION: Final = "PAIN_MONITOR_CONFIGURATION"
"""Environment variable by which an engine gets the configuration as it stood when its supervisor began: a file that
somebody edits meanwhile must neither keep a failed engine from coming back nor change what it does."""
_LONGEST: Final = 100_000
"""Bytes of a configuration that is passed on so; what is longer, no system may take, and the engine reads the file."""

_BACKOFF_S: Final = (0.5, 30.0)
_HEALTHY_S: Final = 60.0
_HOUR_S: Final = 3600.0
_END_S: Final = 30.0

_ENDING: Final = tuple(getattr(signal, name) for name in ("SIGINT", "SIGTERM", "SIGHUP") if hasattr(signal, name))
"""Signals that ask for an end in order. A terminal that is closed, or a service manager that wants its configuration
read anew, sends SIGHUP: without this the supervisor would be gone before its engine. `nohup` has it ignored, and so it
stays then."""


class Supervisor:
    """Keeps one child process running.

    Args:
        command: What to run; its standard input is the pipe, its output and errors are the parent's own.
        restart_limit: Restarts within an hour before giving up.
        stopped_s: Seconds for which the child may be stopped (SIGSTOP) before it is ended and started anew; no watchdog
            inside a process that is stopped can see to it.
        environment: Variables that the child gets besides this process's own.
    """

    def __init__(
        self,
        *,
        command: Sequence[str],
        restart_limit: int,
        stopped_s: float = 6.0,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = list(command)
        self._environment = {**os.environ, **(environment or {})}
        self._limit = restart_limit
        self._stopped_s = stopped_s
        self._child: subprocess.Popen[bytes] | None = None
        self._wakeups: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._signals_seen = 0
        self._alive_every = watchdog_interval()
        self._alive_at = -float("inf")

    def run(self) -> int:
        """Run until the child ends in order, a signal comes, or it has failed too often. A second signal kills it.

        Returns:
            Exit code for this process.

        Raises:
            EngineError: If the child has been restarted too often.
        """
        restarts: deque[float] = deque()
        pause, ran = _BACKOFF_S[0], False
        with self._signals():
            while True:
                started = time.monotonic()
                code = self._run_child()
                now = time.monotonic()
                ran = ran or now - started > _HEALTHY_S
                if self._signals_seen or code == 0 or (code in USER_ERROR_CODES and not ran):
                    return code if code >= 0 else 128 - code  # as a shell counts what a signal ended
                if code in USER_ERROR_CODES:
                    _LOGGER.error(
                        "the engine cannot start again, exit code %d, see above; it is tried until it can, in %g s",
                        *(code, _BACKOFF_S[1]),
                    )
                    if self._stopped_within(_BACKOFF_S[1]):
                        return 0
                    continue
                while restarts and restarts[0] < now - _HOUR_S:
                    restarts.popleft()
                if len(restarts) >= self._limit:
                    raise EngineError(
                        f"has failed {len(restarts) + 1} times within an hour, last with exit code {code}",
                        where="the engine",
                        todo="See the log above; engine.restart_limit says how often it is tried",
                    )
                restarts.append(now)
                if now - started > _HEALTHY_S:
                    pause = _BACKOFF_S[0]
                _LOGGER.error("the engine ended with exit code %d; it is started anew in %g s", code, pause)
                notify(f"STATUS=Not monitoring: the engine ended with exit code {code} and is started anew")
                if self._stopped_within(pause):
                    return 0
                pause = min(2.0 * pause, _BACKOFF_S[1])

    def _run_child(self) -> int:
        # A session of its own: Ctrl-C in a terminal reaches the parent alone, which then asks the child once.
        child = subprocess.Popen(
            self._command, stdin=subprocess.PIPE, start_new_session=sys.platform != "win32", env=self._environment
        )
        self._child = child
        threading.Thread(target=self._await, args=(child,), name="await-engine", daemon=True).start()
        deadline: float | None = None
        running_at = time.monotonic()
        try:
            while child.poll() is None:
                self._show_life()
                if not _is_stopped(child.pid):
                    running_at = time.monotonic()
                elif time.monotonic() - running_at > self._stopped_s:
                    _LOGGER.error("the engine has been stopped by a signal for %g s; it is ended", self._stopped_s)
                    child.kill()
                    child.wait()
                with contextlib.suppress(queue.Empty):
                    # Short steps, since on Windows a wait without an end cannot be interrupted.
                    self._wakeups.get(timeout=1.0)
                if self._signals_seen and deadline is None:
                    deadline = time.monotonic() + _END_S
                    notify(STOPPING, "STATUS=Not monitoring: told to end")
                    self._ask_to_stop(child)
                elif self._signals_seen > 1 or (deadline is not None and time.monotonic() > deadline):
                    child.kill()
                    child.wait()
        finally:
            self._ask_to_stop(child)
            child.wait()
            self._child = None
        return child.returncode

    def _await(self, child: subprocess.Popen[bytes]) -> None:
        child.wait()
        self._wakeups.put("ended")

    def _ask_to_stop(self, child: subprocess.Popen[bytes]) -> None:
        if child.stdin is not None:
            with contextlib.suppress(OSError):
                child.stdin.close()

    def _stopped_within(self, seconds: float) -> bool:
        end = time.monotonic() + seconds
        while not self._signals_seen and time.monotonic() < end:
            self._show_life()
            with contextlib.suppress(queue.Empty):
                self._wakeups.get(timeout=min(1.0, max(0.0, end - time.monotonic())))
        return self._signals_seen > 0

    def _show_life(self) -> None:
        """Tell a service manager that this process lives; the engine's own watchdog sees to the engine."""
        if self._alive_every is not None and time.monotonic() - self._alive_at >= self._alive_every:
            self._alive_at = time.monotonic()
            notify(ALIVE)

    @contextlib.contextmanager
    def _signals(self) -> Iterator[None]:
        def on_signal(_number: int, _frame: FrameType | None) -> None:
            self._signals_seen += 1
            self._wakeups.put("signal")  # re-entrant, unlike an Event

        wanted = [n for n in _ENDING if n in (signal.SIGINT, signal.SIGTERM) or signal.getsignal(n) != signal.SIG_IGN]
        before = {number: signal.signal(number, on_signal) for number in wanted}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def _is_stopped(pid: int) -> bool:
    """Whether a process stands still, since somebody sent it SIGSTOP; False where the system does not tell."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()[0]
    except (OSError, IndexError):
        return False
    return state == "T"


def end_with_parent(stop: Callable[[], None], *, grace_s: float = 40.0) -> None:
    """The child's side: end in order when standard input closes, because the parent has closed it or has died.

    Args:
        stop: Asks for the end; called from a thread.
        grace_s: Seconds that the end may take; a process that then still lives hangs for good and is aborted.
    """

    def wait() -> None:
        while os.read(0, 1024):
            pass
        _LOGGER.info("the supervisor asks for the end")
        stop()
        time.sleep(grace_s)
        os.abort()

    threading.Thread(target=wait, name="parent-watch", daemon=True).start()


def run_daemon(
    config_path: Path,
    *,
    json: bool = False,
    seconds: float | None = None,
    restart_limit: int = 10,
    stopped_s: float = 6.0,
) -> int:
    """Run an engine under supervision.

    Args:
        config_path: config.toml. It is read once: an engine that is started anew gets what stood there at first.
        json: Scores as JSON objects, one a line, instead of readable lines.
        seconds: Stop after so long; None to run until a signal.
        restart_limit: Restarts within an hour before giving up.
        stopped_s: Seconds for which the engine may be stopped (SIGSTOP) before it is ended and started anew.

    Returns:
        Exit code.

    Raises:
        ConfigError: If the configuration cannot be read.
        EngineError: If the engine fails too often.
    """
    text = read_text(config_path)
    environment = {CONFIGURATION: text} if len(text.encode()) <= _LONGEST and "\0" not in text else {}
    command = [sys.executable, "-m", "monitor.engine.daemon", "--supervised"]
    command += ["--json"] if json else []
    command += ["--seconds", str(seconds)] if seconds is not None else []
    command.append(str(config_path))
    return Supervisor(command=command, restart_limit=restart_limit, stopped_s=stopped_s, environment=environment).run()
