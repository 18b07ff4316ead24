"""Technical faults that a window shows: a sensor, a clock, the model, the calibration, or a model that is uncertain."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final

from monitor.alarm.conditions import (
    CALIBRATION_REQUIRED,
    CLOCK_FAULT,
    MODEL_FAULT,
    SENSOR_OFF,
    UNCERTAIN,
    Moment,
)
from monitor.alarm.levels import Fault
from monitor.config import AlarmSettings
from monitor.scoring.scorer import normalised_entropy
from monitor.types import AlarmEvent, CalibrationState, Quality, Reason, Score

_LOST: Final = frozenset({Reason.NO_DATA, Reason.LATE, Reason.FLAT, Reason.SATURATED})
"""What the signal of a sensor looks like that has come off, or no longer reaches us."""


class WindowFaults:
    """Follows the faults of one bed's windows.

    Args:
        fault: Makes one, from its name and the seconds for which it must last.
        settings: Delays.
    """

    def __init__(self, fault: Callable[[str, float], Fault], settings: AlarmSettings) -> None:
        self._sensor_off = fault(SENSOR_OFF, settings.fault_after_s)
        self._clock = fault(CLOCK_FAULT, settings.fault_after_s)
        self._model = fault(MODEL_FAULT, settings.fault_after_s)
        self._calibration = fault(CALIBRATION_REQUIRED, settings.fault_after_s)
        self._uncertain = fault(UNCERTAIN, settings.uncertain_after_s)
        self._uncertain_above = settings.uncertain_above
        self._worn: set[str] = set()  # modalities that have been usable once: before that a sensor is only prompted for
        self.all: Final = (self._sensor_off, self._clock, self._model, self._calibration, self._uncertain)

    def see(
        self, score: Score, quality: Sequence[Quality], dt: float, moment: Moment, *, silent: bool
    ) -> list[AlarmEvent]:
        """Take one window.

        Args:
            score: What came of it.
            quality: Of every modality that is watched.
            dt: Stream time since the window before it.
            moment: Its end.
            silent: No data come at all, and an alarm says so: then no sensor is off by itself.
        """
        self._worn.update(item.modality for item in quality if item.usable)
        bad = [item for item in quality if not item.usable]
        lost = {} if silent else _by_modality([item for item in bad if item.modality in self._worn], _LOST)
        failed = {MODEL_FAULT: (MODEL_FAULT,)} if Reason.MODEL_FAULT.value in score.absent else {}
        stale = {cause.partition(":")[0]: (cause,) for cause in score.drift}
        if score.calibration_state is CalibrationState.REQUIRED and not stale:
            stale = {CALIBRATION_REQUIRED: (score.calibration_state.value,)}
        unsure = score.uncertain
        if not unsure and normalised_entropy(score.probabilities) > self._uncertain_above:
            unsure = (UNCERTAIN,)
        events: list[AlarmEvent] = []
        for fault, sources in (
            (self._sensor_off, lost),
            (self._clock, _by_modality(bad, frozenset({Reason.CLOCK_FAULT}))),
            (self._model, failed),
            (self._calibration, stale),
            (self._uncertain, {UNCERTAIN: unsure} if unsure else {}),
        ):
            causes = tuple(cause for found in sources.values() for cause in found)
            events += fault.see(frozenset(sources), dt, moment.caused_by(causes))
        return events

    def quiet(self, modalities: Sequence[str], moment: Moment) -> list[AlarmEvent]:
        """Take note of streams that bring nothing while others do, before any window can say so.

        Args:
            modalities: Theirs; one that was never usable is only prompted for.
            moment: Now.
        """
        lost = [modality for modality in modalities if modality in self._worn]
        if not lost:
            return []
        causes = tuple(f"{modality}:{Reason.NO_DATA.value}" for modality in lost)
        return self._sensor_off.begin(frozenset(lost), moment.caused_by(causes))

    def silence(self, moment: Moment) -> list[AlarmEvent]:
        """Take note that no data come at all, which is another alarm."""
        return self._sensor_off.drop(moment, "No data come at all")

    def doubt(self, moment: Moment) -> list[AlarmEvent]:
        """Say at once that the model is uncertain: a pain alarm that was there can be judged no longer (A7)."""
        return self._uncertain.begin(frozenset({UNCERTAIN}), moment)

    def explain(self, absent: Sequence[str]) -> bool:
        """Whether the alarms that are there already say why a window has no score."""
        told: set[str] = set()
        for fault in (self._sensor_off, self._clock, self._model, self._uncertain):
            if fault.condition.holds and fault.condition.last is not None:
                told.update(fault.condition.last.causes)
        return bool(absent) and set(absent) <= told


def _by_modality(quality: Sequence[Quality], reasons: frozenset[Reason]) -> Mapping[str, tuple[str, ...]]:
    """Causes such as `EDA:flat` by modality, of those that have one of these reasons."""
    found = {
        item.modality: tuple(f"{item.modality}:{reason}" for reason in item.reasons if reason in reasons)
        for item in quality
    }
    return {modality: causes for modality, causes in found.items() if causes}
