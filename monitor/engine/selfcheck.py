"""The self-check (A16): proves each route at the start and then again and again, with a counter, and says what fails.

Each route has a thread of its own, so that one that hangs holds up neither another one nor the pipeline, which only
reads what was found. `Findings` judges; it is pure. Two technical conditions come of it:

* `broker_lost`: an output says by itself that nothing gets through, for `LOST_AFTER_S`;
* `self_check_missed`: a route did not prove itself when it was asked, or did not answer in time.

A route that is lost is not also missed: one cause, one alarm.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor.alarm import BROKER_LOST, SELF_CHECK_MISSED
from monitor.clock import Clock
from monitor.engine.routes import Check

_LOGGER = logging.getLogger(__name__)

LOST_AFTER_S: Final = 3.0
"""An output may be without its other end for so long before that is an alarm."""
TIMEOUT_S: Final = 8.0
"""Seconds that a probe may take."""
GRACE_S: Final = 2.0
"""... and so many more until it counts as one that never came back."""
START_S: Final = 12.0
"""Seconds in which connections are made: what fails so early is tried again before it counts."""
RETRY_S: Final = 5.0
"""Seconds after which a route that failed is asked again, at most."""
_AGAIN_S: Final = 1.0
_LOOK_S: Final = 0.5


@dataclass(slots=True)
class _Finding:
    checks: int = 0
    missed: int = 0
    began: float | None = None
    ended: float | None = None
    proved: float | None = None
    problem: str = ""
    lost_since: float | None = None
    lost_why: str = ""


class Findings:
    """What is known of each route, and what follows from it. Pure; times are of one clock, in seconds.

    Args:
        routes: Names of the routes.
        period_s: Seconds between two checks.
        now: When it all begins.
    """

    def __init__(self, routes: Sequence[str], *, period_s: float, now: float) -> None:
        self._found = {name: _Finding() for name in routes}
        self._period_s = period_s
        self._start = now

    def begin(self, route: str, now: float) -> int:
        """A check of a route begins; which one it is."""
        found = self._found[route]
        found.checks += 1
        found.began, found.ended = now, None
        return found.checks

    def end(self, route: str, now: float, problem: str) -> float:
        """It has ended; empty `problem` where the route is proved. Seconds until the next one."""
        found = self._found[route]
        found.ended, found.problem = now, problem
        if not problem:
            found.proved = now
            return self._period_s
        if now - self._start < START_S:
            return _AGAIN_S
        found.missed += 1
        return min(RETRY_S, self._period_s)

    def tell(self, route: str, now: float, problem: str) -> None:
        """What an output says of its route by itself."""
        found = self._found[route]
        found.lost_why = problem
        if not problem:
            found.lost_since = None
        elif found.lost_since is None:
            found.lost_since = now

    def lost(self, now: float) -> dict[str, str]:
        """Routes without their other end for long enough, and why."""
        return {
            name: found.lost_why
            for name, found in self._found.items()
            if found.lost_since is not None and now - found.lost_since >= LOST_AFTER_S
        }

    def missed(self, now: float) -> dict[str, str]:
        """Routes that did not prove themselves when last asked, or were not asked when they should, and why."""
        return {name: why for name, found in self._found.items() if (why := self._why(found, now))}

    def state(self, now: float) -> dict[str, Any]:
        """Everything by route, in plain values."""
        missed, lost = self.missed(now), self.lost(now)
        return {
            name: {
                "checks": found.checks,
                "missed": found.missed,
                "proved_s_ago": None if found.proved is None else round(now - found.proved, 3),
                "problem": lost.get(name, "") or missed.get(name, ""),
            }
            for name, found in self._found.items()
        }

    def counts(self) -> dict[str, tuple[int, int]]:
        """By route: checks so far, and those that it failed."""
        return {name: (found.checks, found.missed) for name, found in self._found.items()}

    def _why(self, found: _Finding, now: float) -> str:
        if now - self._start < START_S:
            return ""
        if found.began is None:
            return "it was never checked"
        if found.ended is None:
            slow = now - found.began > TIMEOUT_S + GRACE_S
            return f"no answer for {now - found.began:.0f} s" if slow else found.problem
        if now - found.ended > self._period_s + TIMEOUT_S + GRACE_S:
            return "it is no longer checked"
        return found.problem


class SelfCheck:
    """Runs the checks. Nothing of it waits for, or is waited for by, the pipeline.

    Args:
        checks: The routes.
        period_s: Seconds between two checks of each.
        clock: The engine's clock.
    """

    def __init__(self, checks: Sequence[Check], *, period_s: float, clock: Clock) -> None:
        self._checks = tuple(checks)
        self._clock = clock
        self._findings = Findings([check.name for check in self._checks], period_s=period_s, now=clock.now())
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._causes: Mapping[str, Mapping[str, tuple[str, ...]]] = {}
        self._said: dict[str, str] | None = None
        self._threads = [
            threading.Thread(target=self._prove, args=(check,), name=f"selfcheck-{check.name}", daemon=True)
            for check in self._checks
        ]
        self._threads.append(threading.Thread(target=self._look, name="selfcheck", daemon=True))

    def start(self) -> None:
        """Start to check."""
        for thread in self._threads:
            thread.start()

    def stop(self, timeout: float) -> bool:
        """End; whether the threads did within `timeout` seconds. A probe that hangs is left behind."""
        self._stop.set()
        end = self._clock.now() + timeout
        for thread in self._threads:
            if thread.ident is not None:
                thread.join(max(0.0, end - self._clock.now()))
        return not any(thread.is_alive() for thread in self._threads)

    def causes(self, bed: str) -> Mapping[str, tuple[str, ...]]:
        """By technical condition, the routes of a bed that call for it now; from any thread, at once."""
        return self._causes.get(bed) or self._causes.get("", {})

    def state(self) -> dict[str, Any]:
        """By route, in plain values: how often it was checked and failed, when it was last proved, what is wrong."""
        with self._lock:
            return self._findings.state(self._clock.now())

    def counts(self) -> dict[str, tuple[int, int]]:
        """By route: checks so far, and those that it failed."""
        with self._lock:
            return self._findings.counts()

    # -- threads ------------------------------------------------------------------------------------------------------

    def _prove(self, check: Check) -> None:
        pause = 0.0
        while not self._stop.wait(pause):
            with self._lock:
                missed = sorted(self._findings.missed(self._clock.now()))
                number = self._findings.begin(check.name, self._clock.now())
            try:
                problem = check.probe({"n": number, "missed": missed}, TIMEOUT_S)
            except Exception as error:  # a defect of one probe is a route that is not proved
                _LOGGER.debug("probe of %s failed", check.name, exc_info=True)
                problem = f"{type(error).__name__}: {error}"
            with self._lock:
                pause = self._findings.end(check.name, self._clock.now(), problem)

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_S):
            told = {}
            for check in self._checks:
                try:
                    told[check.name] = check.problem()
                except Exception as error:  # noqa: BLE001 - as above
                    told[check.name] = f"{type(error).__name__}: {error}"
            now = self._clock.now()
            with self._lock:
                for name, problem in told.items():
                    self._findings.tell(name, now, problem)
                lost, missed = self._findings.lost(now), self._findings.missed(now)
                proved = all(item["proved_s_ago"] is not None for item in self._findings.state(now).values())
            self._judge(lost, missed)
            self._say({**missed, **lost}, all_proved=proved)

    def _judge(self, lost: Mapping[str, str], missed: Mapping[str, str]) -> None:
        beds = {check.bed for check in self._checks} | {""}
        self._causes = {
            bed: {
                BROKER_LOST: tuple(c.name for c in self._checks if c.bed in ("", bed) and c.name in lost),
                SELF_CHECK_MISSED: tuple(
                    c.name for c in self._checks if c.bed in ("", bed) and c.name in missed and c.name not in lost
                ),
            }
            for bed in beds
        }

    def _say(self, wrong: dict[str, str], *, all_proved: bool) -> None:
        if self._said is None:
            if not wrong and not all_proved:
                return  # nothing to report yet
            self._said = {}
            if not wrong:
                _LOGGER.info("self-check passed: %s", ", ".join(check.name for check in self._checks) or "no routes")
        for name in wrong.keys() - self._said.keys():
            _LOGGER.warning("self-check: %s does not work: %s", name, wrong[name])
        for name in self._said.keys() - wrong.keys():
            _LOGGER.warning("self-check: %s works again", name)
        self._said = wrong
