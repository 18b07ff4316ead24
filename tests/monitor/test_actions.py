"""What operators may ask: mistakes are named with what was meant, and the answer says what came of it."""

from __future__ import annotations

import pytest

from monitor.actions import ACTIONS, came_of, checked
from monitor.config import AlarmSettings
from monitor.errors import EngineError
from monitor.types import AlarmAction


@pytest.mark.parametrize(
    ("action", "args", "says"),
    [
        ("limits", {"moderat_on": 45.0}, "moderat_on: there is no such argument; did you mean 'moderate_on'?"),
        ("resume", {"seconds": 1.0}, "seconds: there is no such argument; one of none"),
        ("nrs", {"value": 11.0}, "value: should be less than or equal to 10"),
        ("limit", {}, "there is no action 'limit'. One of marker"),
    ],
)
def test_a_mistake_is_named(action: str, args: dict[str, float], says: str) -> None:
    with pytest.raises(EngineError) as caught:
        checked(action, args)
    assert says in str(caught.value)


def test_every_limit_that_may_change_is_one_of_the_configuration() -> None:
    assert set(ACTIONS["limits"].model_fields) <= set(AlarmSettings.model_fields)


def done(action: str, before: dict[str, object], after: dict[str, object]) -> AlarmAction:
    return AlarmAction(bed="a", t=100.0, t_rel=0.0, action=action, actor="n", before=before, after=after, text="")


def test_what_came_of_it() -> None:
    changed = done("limits", {"moderate_on": 50.0}, {"moderate_on": 45.0})
    assert came_of("limits", {"moderate_on": 45.0}, [changed]) == {"before": changed.before, "after": changed.after}
    paused = done("audio_pause", {"audio": "on", "audio_until": None}, {"audio": "paused", "audio_until": 220.04})
    assert came_of("audio_pause", {}, [paused]) == {"seconds": 120.0}
    both = {"audio_until": 220.0, "pain": "paused", "pain_until": 160.0}
    assert came_of("suspend", {"minutes": 1.0}, [done("suspend", paused.after, both)]) == {"seconds": 60.0}
    assert came_of("resume", {}, [done("resume", paused.after, paused.before)]) == {}
    assert came_of("acknowledge", {"condition": "pain_severe"}, []) == {"acknowledged": False}
