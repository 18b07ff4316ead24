"""What an operator may ask of a running engine, checked before anything is done."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from monitor.errors import EngineError
from monitor.types import AlarmAction, AlarmEvent, Event

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class _Args(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class NoArgs(_Args):
    """Nothing: recalibrate, resume, status, streams."""


class MarkerArgs(_Args):
    """Something happened to the patient."""

    kind: Literal["stimulus", "procedure", "movement", "drug", "note"] = "note"
    text: Annotated[str, Field(max_length=1000)] = ""


class NrsArgs(_Args):
    """A pain score that the patient reported, on the numeric rating scale."""

    value: Annotated[float, Field(ge=0, le=10)]
    text: Annotated[str, Field(max_length=1000)] = ""


class AcknowledgeArgs(_Args):
    """An operator has seen an alarm."""

    condition: Annotated[str, Field(min_length=1, max_length=64)]
    """Name of the alarm condition."""


class AudioPauseArgs(_Args):
    """Alarm sounds are paused; left out, for as long as the configuration allows."""

    seconds: Annotated[float, Field(gt=0, le=300)] | None = None


class SuspendArgs(_Args):
    """Pain alarms are suspended during a procedure; technical ones go on."""

    minutes: Annotated[float, Field(gt=0, le=5)] | None = None
    """Left out, as long as the configuration allows."""
    reason: Annotated[str, Field(max_length=200)] = "procedure"
    """What is done to the patient."""


class DelegateArgs(_Args):
    """The client that asks signals alarms by itself, and will say so again in time; no sound is made here till then."""

    seconds: Annotated[float, Field(ge=0, le=60)] | None = None
    """Left out, as long as the configuration allows; 0: it no longer does."""


class LimitsArgs(_Args):
    """Limits of the alarms change until the session ends; their ranges are those of `config.AlarmSettings`."""

    moderate_on: float | None = None
    moderate_off: float | None = None
    moderate_after_s: float | None = None
    severe_on: float | None = None
    severe_off: float | None = None
    severe_after_s: float | None = None
    off_after_s: float | None = None
    heart_rate_on: float | None = None
    heart_rate_off: float | None = None
    heart_rate_after_s: float | None = None
    scr_per_s_on: float | None = None
    scr_per_s_off: float | None = None
    scr_per_s_after_s: float | None = None
    spi_on: float | None = None
    spi_off: float | None = None
    spi_after_s: float | None = None


class NewSessionArgs(_Args):
    """Another patient, or a new recording of the same one."""

    subject: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
    """Subject code; never a person's name."""


class ChooseBundleArgs(_Args):
    """One of the bed's bundles is preferred to the others from now on."""

    bundle: Annotated[str, Field(min_length=1, max_length=64)]
    """Name of the bundle."""


class SeenArgs(_Args):
    """What a screen has drawn last; it says so about once a second (clinical.md D7)."""

    screen: Annotated[str, Field(min_length=1, max_length=64)]
    """Its own name for itself."""
    engine: Annotated[str, Field(max_length=64)]
    """Run of the engine, as states bear it."""
    seq: Annotated[int, Field(ge=0)]
    """Number of the newest state that it has drawn."""
    leaving: bool = False
    """It is about to close, and is not to be missed."""


class HistoryArgs(_Args):
    """Indices of the last minutes."""

    minutes: Annotated[float, Field(gt=0, le=60)] = 15.0


ACTIONS: Final[Mapping[str, type[_Args]]] = {
    "marker": MarkerArgs,
    "nrs": NrsArgs,
    "recalibrate": NoArgs,
    "acknowledge": AcknowledgeArgs,
    "audio_pause": AudioPauseArgs,
    "suspend": SuspendArgs,
    "resume": NoArgs,
    "delegate": DelegateArgs,
    "limits": LimitsArgs,
    "new_session": NewSessionArgs,
    "choose_bundle": ChooseBundleArgs,
    "history": HistoryArgs,
    "seen": SeenArgs,
    "status": NoArgs,
    "streams": NoArgs,
}
"""Every action and its arguments."""


_UNTIL: Final = {"audio_pause": "audio_until", "suspend": "pain_until"}


def checked(action: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments of an action with their defaults filled in; what has none and was left out stays out.

    Raises:
        EngineError: If there is no such action, or an argument is missing, unknown, or out of range.
    """
    model = ACTIONS.get(action)
    if model is None:
        raise EngineError(f"there is no action '{action}'", todo=f"One of {', '.join(ACTIONS)}")
    try:
        return model.model_validate(dict(args)).model_dump(exclude_none=True)
    except ValidationError as error:
        problems = "; ".join(_problem(item, model) for item in error.errors())
        raise EngineError(f"wrong arguments ({problems})", where=action) from error


def came_of(action: str, args: Mapping[str, Any], events: Sequence[Event]) -> dict[str, Any]:
    """What an operator learns of an action that was done, beside that it was.

    Args:
        action: Which one.
        args: Its arguments, as `checked` gave them.
        events: What the pipeline gave for it.

    Returns:
        Plain values: `acknowledged`, whether there was such an alarm; limits `before` and `after`; `seconds` that a
        pause or suspension lasts.
    """
    if action == "acknowledge":
        return {"acknowledged": any(isinstance(e, AlarmEvent) and e.condition == args["condition"] for e in events)}
    done = next((event for event in events if isinstance(event, AlarmAction)), None)
    if done is None:
        return {}
    if action == "limits":
        return {"before": dict(done.before), "after": dict(done.after)}
    until = done.after.get(_UNTIL.get(action, ""))
    return {"seconds": round(until - done.t, 1)} if until is not None else {}


def _problem(item: ErrorDetails, model: type[_Args]) -> str:
    name = ".".join(map(str, item["loc"]))
    if item["type"] != "extra_forbidden":
        return f"{name}: {item['msg'].replace('Input should be', 'should be')}"
    close = difflib.get_close_matches(name, list(model.model_fields), n=1)
    known = f"did you mean '{close[0]}'?" if close else f"one of {', '.join(model.model_fields) or 'none'}"
    return f"{name}: there is no such argument; {known}"
