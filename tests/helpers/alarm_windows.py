"""Windows with a given index, fed to an alarm manager."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence

from monitor.alarm import AlarmManager
from monitor.alarm.manager import AlarmOutput
from monitor.config import AlarmSettings
from monitor.types import AlarmEvent, CalibrationState, PainIndex, Provenance, Score

SESSION = uuid.UUID(int=7)
ORIGIN = 512.0
GAP = ("EDA:gap",)
WITHHELD = ("withheld",)
Step = float | tuple[str, ...]
"""The fast index of a window, or why there is no score; `WITHHELD`: scored, but the index is withheld."""


def manager(**changes: float) -> AlarmManager:
    """A manager with some settings changed."""
    return AlarmManager(bed="bed1", settings=AlarmSettings.model_validate(changes), session=SESSION)


def window(
    k: int, step: Step, *, hop: float = 1.0, epoch: int = 0, hollow: bool = False, t_shift: float = 0.0
) -> tuple[PainIndex, Score]:
    """The index and score of window k."""
    absent = step if isinstance(step, tuple) and step != WITHHELD else ()
    fast = None if isinstance(step, tuple) else step
    t_end = ORIGIN + k * hop + t_shift
    index = PainIndex(
        bed="bed1",
        bundle="a",
        epoch=epoch,
        k=k,
        t_end=t_end,
        t_rel=k * hop,
        fast=fast,
        slow=None,
        fast_withheld="" if fast is not None else "half_empty" if absent else "bundle_changed",
        slow_withheld="half_empty",
        hollow=hollow,
    )
    score = Score(
        bed="bed1",
        bundle="a",
        epoch=epoch,
        k=k,
        t_end=t_end,
        t_rel=k * hop,
        absent=absent,
        calibration="population" if hollow else "subject",
        calibration_state=CalibrationState.CALIBRATED,
        classes=("none", "severe"),
        probabilities=None if absent else (0.5, 0.5),
        index=None if absent else fast,
        logits=None,
        quality=(),
        edges_hz={},
        delay_s={},
        window_hash=None,
        provenance=Provenance.SIMULATED,
        decided_at=t_end,
    )
    return index, score


def play(
    alarm: AlarmManager, steps: Iterable[Step], *, hop: float = 1.0, first: int = 0, hollow: bool = False
) -> list[AlarmEvent]:
    """Feed windows from number `first` on; the transitions that followed."""
    events: list[AlarmOutput] = []
    for k, step in enumerate(steps, start=first):
        events += alarm.on_index(*window(k, step, hop=hop, hollow=hollow))
    return [event for event in events if isinstance(event, AlarmEvent)]


def brief(events: Sequence[AlarmEvent]) -> list[tuple[str, str, float]]:
    """Return condition, presence and time from the origin of each transition."""
    return [(event.condition, event.presence.value, event.t_rel) for event in events]
