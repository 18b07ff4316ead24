"""What does not come at all: data (`no_data`), decided windows (`stale`), scores (`unscorable`)."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Final

from monitor.alarm.conditions import STALE, Condition, Moment
from monitor.alarm.levels import TECHNICAL_CLEAR_S, Fault
from monitor.config import AlarmSettings
from monitor.types import AlarmEvent, Reason, Score

UNKNOWN_S: Final = 10.0
"""What counts as silence while nobody knows how often packets usually come."""

STARTUP_GRACE_S: Final = 60.0
"""Stream time from the first window in which sensors are attached and the slowest filter (RESP) warms up."""

_CALIBRATING: Final = frozenset({Reason.NOT_CALIBRATED.value})
_STARTING: Final = _CALIBRATING | {Reason.STARTING.value, Reason.WARMING_UP.value}


class Absence:
    """Follows what is missing on one bed.

    Args:
        no_data: No sample of any stream.
        stale: No window is decided though data come.
        unscorable: Windows have no score.
        explain: Whether other alarms that are there say why a window with these reasons has no score.
        settings: Delays.
    """

    def __init__(
        self,
        *,
        no_data: Condition,
        stale: Fault,
        unscorable: Condition,
        explain: Callable[[Sequence[str]], bool],
        settings: AlarmSettings,
    ) -> None:
        self._no_data, self._stale, self._unscorable = no_data, stale, unscorable
        self._explain = explain
        self._settings = settings
        self._data_since: float | None = None
        self._began: float | None = None
        self._decided_at: float | None = None
        self._hop_s = 0.0
        self._running_s = 0.0  # stream time since the first window
        self._unscored_s = 0.0
        self._unscored_from = 0.0
        self._scored_s = 0.0
        self._scored_before = False

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All of them."""
        return self._no_data, self._unscorable, self._stale.condition

    @property
    def silent(self) -> bool:
        """Whether the alarm that no data come is there."""
        return self._no_data.holds

    def on_tick(
        self, last_sample: float | None, dt: float, moment: Moment, *, quiet: bool | None = None
    ) -> list[AlarmEvent]:
        """Notice that data or windows have stopped, or have come back.

        Args:
            last_sample: Stream clock at which the last sample of any stream arrived; None before the first.
            dt: Seconds since the last tick.
            moment: Now.
            quiet: `Silence.all_quiet`; what the settings say comes before it.
        """
        return [*self._follow_data(last_sample, moment, quiet), *self._follow_windows(dt, moment)]

    def _follow_data(self, last_sample: float | None, moment: Moment, quiet: bool | None) -> list[AlarmEvent]:
        now, moment = moment.t, dataclasses.replace(moment, causes=(Reason.NO_DATA.value,), scored=False)
        if last_sample is None:
            return self._follow_start(now, moment)
        silent_s, limit_s = now - last_sample, self._settings.no_data_after_s
        if limit_s is not None or quiet is None:
            quiet = silent_s >= (UNKNOWN_S if limit_s is None else limit_s)
        if quiet:
            self._data_since = None
            text = f"No data for {silent_s:.0f} s: check sensors and connection"
            return self._no_data.raise_(last_sample, moment, text)
        if not self._no_data.holds:
            return []
        if self._data_since is None:
            self._data_since = now
        if now - self._data_since < TECHNICAL_CLEAR_S:
            return []
        return self._no_data.clear(moment, "Data are coming again")

    def _follow_start(self, now: float, moment: Moment) -> list[AlarmEvent]:
        """Notice that nothing has come since the start, where the settings expect a patient there."""
        self._began = now if self._began is None else self._began
        limit_s, waited_s = self._settings.first_data_within_s, now - self._began
        if limit_s is None or waited_s < limit_s:
            return []
        text = f"No data since the start {waited_s:.0f} s ago: check sensors and connection"
        return self._no_data.raise_(self._began, moment, text)

    def _follow_windows(self, dt: float, moment: Moment) -> list[AlarmEvent]:
        """Notice that no window is decided though data come."""
        if self._decided_at is None:
            return []
        if self._no_data.holds:
            return self._stale.drop(moment, "No data come at all")
        late = moment.t - self._decided_at >= max(self._settings.stale_after_s, 2.0 * self._hop_s)
        return self._stale.see(frozenset({STALE} if late else ()), dt, moment)

    def on_window(self, score: Score, dt: float, moment: Moment) -> list[AlarmEvent]:
        """Raise `unscorable` after too long without a score, and end it once scores are back.

        Args:
            score: Of the window, or why there is none.
            dt: Stream time since the window before it.
            moment: Its end.
        """
        self._running_s += dt
        self._hop_s = dt or self._hop_s
        self._decided_at = score.decided_at
        if not score.absent:
            self._scored_before = True
            # What is uncertain is no score either, where absent windows come in between, until its own alarm is there.
            if not score.uncertain or self._explain(score.uncertain):
                self._unscored_s = 0.0
                self._unscored_from = score.t_end
            else:
                self._unscored_s += dt
            if not self._unscorable.holds:
                return []
            self._scored_s += dt
            return self._unscorable.clear(moment, "Scores again") if self._scored_s >= TECHNICAL_CLEAR_S else []
        self._scored_s = 0.0
        if self.is_quiet(score):
            return []
        if self._unscored_s == 0.0 and not self._scored_before:
            self._unscored_from = score.t_end
        self._unscored_s += dt
        starting = not self._scored_before and self._running_s < STARTUP_GRACE_S
        if starting or self._unscored_s < self._settings.unscorable_after_s:
            return []
        return self.raise_unscorable(moment)

    def raise_unscorable(self, moment: Moment) -> list[AlarmEvent]:
        """Raise `unscorable`, unless an alarm that is there already says why."""
        if self._no_data.holds or self._explain(moment.causes):
            return []
        self._scored_s = 0.0
        why = ", ".join(moment.causes)
        return self._unscorable.raise_(self._unscored_from, moment, f"No score can be made ({why}): check sensors")

    def is_quiet(self, score: Score) -> bool:
        """Whether a window lacks its score for a reason that is expected and shown, not a fault."""
        reasons = {reason.rpartition(":")[2] for reason in score.absent}
        return reasons <= (_CALIBRATING if self._scored_before else _STARTING)
