"""Technical alarms that no pipeline can raise, because it is the pipeline, its thread or its process that failed.

They are of the condition `model_fault`. Their ids are made of session, condition and onset, so that whoever hears of
one from the process that fails and from the next one counts it once.
"""

from __future__ import annotations

import dataclasses
import uuid
from typing import Final

from monitor.alarm import MODEL_FAULT
from monitor.types import Activation, AlarmEvent, AlarmKind, Presence, Priority

REBUILT: Final = "The monitor failed and was restarted: no score until it is ready. Assess the patient."
STUCK: Final = "The monitor hangs and is being restarted: no score until it is ready. Assess the patient."


def failure(
    *, bed: str, session: uuid.UUID, bundle: str, onset: float, t: float, t_rel: float, text: str, cause: str
) -> AlarmEvent:
    """The alarm that a bed has no working pipeline.

    Args:
        bed: Name of the bed.
        session: The session that failed.
        bundle: The bed's first bundle.
        onset: Stream clock since when.
        t: Stream clock, now.
        t_rel: The same in seconds from the bed's origin; 0 where that is not known.
        text: `REBUILT` or `STUCK`.
        cause: What happened, in words.
    """
    return AlarmEvent(
        bed=bed,
        condition=MODEL_FAULT,
        kind=AlarmKind.TECHNICAL,
        priority=Priority.LOW,
        presence=Presence.ON,
        event_id=str(uuid.uuid5(session, f"{MODEL_FAULT}@{onset!r}")),
        onset=onset,
        t=t,
        t_rel=t_rel,
        text=text,
        index=None,
        bundle=bundle,
        causes=(cause,),
        hard=True,
    )


def restated(alarm: AlarmEvent, t: float, t_rel: float) -> AlarmEvent:
    """The same alarm, said once more: its presence is unchanged."""
    return dataclasses.replace(alarm, t=t, t_rel=t_rel, before=alarm.presence)


def ended(alarm: AlarmEvent, t: float, t_rel: float, text: str) -> AlarmEvent:
    """The end of an alarm from outside its pipeline."""
    off = Activation.OFF
    return dataclasses.replace(
        alarm, t=t, t_rel=t_rel, text=text, presence=Presence.OFF, before=alarm.presence, audio=off, visual=off,
        reminder=0,
    )  # fmt: skip
