"""Words to a running engine: what happened, what the patient said, and that another patient has come."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import typer

if TYPE_CHECKING:
    from monitor.link import ClientKeys, ControlClient

Bed = Annotated[str, typer.Option(help="Name of the bed; may be left out where only one is monitored.")]
StateDir = Annotated[
    Path | None, typer.Option(help="State folder of the engine, where its configuration names one (engine.state_dir).")
]
Engine = Annotated[
    str,
    typer.Option(help="Address of an engine on another machine, tcp://HOST:PORT; default: the one that runs here."),
]
Key = Annotated[Path | None, typer.Option(help="Your key for that engine, made by `pain-monitor keys NAME`.")]
EngineKey = Annotated[
    Path | None, typer.Option(help="That engine's public key; default: engine.pub in the folder of your key.")
]
Actor = Annotated[str, typer.Option(help="Who says it, for the record; default: your user name.")]
Kind = Literal["stimulus", "procedure", "movement", "drug", "note"]


def marker(
    text: Annotated[str, typer.Argument(help="What happened.")],
    *,
    kind: Annotated[Kind, typer.Option(help="What kind of event.")] = "note",
    bed: Bed = "",
    state_dir: StateDir = None,
    engine: Engine = "",
    key: Key = None,
    engine_key: EngineKey = None,
    actor: Actor = "",
) -> None:
    """Write into a running session that something happened to the patient, at this moment.

    Example: `pain-monitor marker "turned to the left side" --kind movement`
    """
    _send("marker", {"kind": kind, "text": text}, bed=bed, where=Where(state_dir, engine, key, engine_key), actor=actor)


def nrs(
    value: Annotated[float, typer.Argument(min=0.0, max=10.0, help="Pain that the patient reports, 0 to 10.")],
    text: Annotated[str, typer.Argument(help="Anything to add.")] = "",
    *,
    bed: Bed = "",
    state_dir: StateDir = None,
    engine: Engine = "",
    key: Key = None,
    engine_key: EngineKey = None,
    actor: Actor = "",
) -> None:
    """Write a pain score that the patient reported (numeric rating scale, 0 to 10) into a running session.

    Example: `pain-monitor nrs 6 "at rest"`
    """
    _send("nrs", {"value": value, "text": text}, bed=bed, where=Where(state_dir, engine, key, engine_key), actor=actor)


def acknowledge(
    condition: Annotated[str, typer.Argument(help="Which alarm, as it stands in the lines: pain_severe, no_data ...")],
    *,
    bed: Bed = "",
    state_dir: StateDir = None,
    engine: Engine = "",
    key: Key = None,
    engine_key: EngineKey = None,
    actor: Actor = "",
) -> None:
    """Say that an alarm has been seen and the patient assessed; a latched alarm goes off by it.

    Example: `pain-monitor acknowledge pain_severe`
    """
    _send(
        "acknowledge", {"condition": condition}, bed=bed, where=Where(state_dir, engine, key, engine_key), actor=actor
    )


def audio_pause(
    *,
    seconds: Annotated[
        float | None, typer.Option(min=1.0, max=300.0, help="How long; default: as long as the configuration allows.")
    ] = None,
    bed: Bed = "",
    state_dir: StateDir = None,
    engine: Engine = "",
    key: Key = None,
    engine_key: EngineKey = None,
    actor: Actor = "",
) -> None:
    """Pause alarm sounds for a while; what is shown stays, and an alarm of a higher priority ends the pause.

    Example: `pain-monitor audio-pause --seconds 60`
    """
    args = {} if seconds is None else {"seconds": seconds}
    _send("audio_pause", args, bed=bed, where=Where(state_dir, engine, key, engine_key), actor=actor)


def suspend(
    reason: Annotated[str, typer.Argument(help="What is done to the patient: washing, turning, suction ...")],
    *,
    minutes: Annotated[
        float | None, typer.Option(min=0.1, max=5.0, help="How long; default: as long as the configuration allows.")
    ] = None,
    bed: Bed = "",
    state_dir: StateDir = None,
    engine: Engine = "",
    key: Key = None,
    engine_key: EngineKey = None,
    actor: Actor = "",
) -> None:
    """Suspend pain alarms during a procedure; the index is still drawn, and technical alarms go on.

    Example: `pain-monitor suspend "turning" --minutes 3`
    """
    args: dict[str, Any] = {"reason": reason} if minutes is None else {"reason": reason, "minutes": minutes}
    _send("suspend", args, bed=bed, where=Where(state_dir, engine, key, engine_key), actor=actor)


def resume(
    *,
    bed: Bed = "",
    state_dir: StateDir = None,
    engine: Engine = "",
    key: Key = None,
    engine_key: EngineKey = None,
    actor: Actor = "",
) -> None:
    """End a pause of alarm sounds and a suspension of pain alarms before their time.

    Example: `pain-monitor resume`
    """
    _send("resume", {}, bed=bed, where=Where(state_dir, engine, key, engine_key), actor=actor)


def limits(
    changes: Annotated[list[str], typer.Argument(help="NAME=NUMBER, as in [bed.alarm] of the configuration.")],
    *,
    bed: Bed = "",
    state_dir: StateDir = None,
    engine: Engine = "",
    key: Key = None,
    engine_key: EngineKey = None,
    actor: Actor = "",
) -> None:
    """Change alarm limits of a running session until it ends; the configuration file stays as it is.

    Example: `pain-monitor limits moderate_on=55 moderate_off=40`
    """
    args: dict[str, Any] = {}
    for change in changes:
        name, _, number = change.partition("=")
        try:
            args[name.strip()] = float(number)
        except ValueError:
            raise typer.BadParameter(f"'{change}' is not NAME=NUMBER") from None
    _send("limits", args, bed=bed, where=Where(state_dir, engine, key, engine_key), actor=actor)


def recalibrate(
    *,
    bed: Bed = "",
    state_dir: StateDir = None,
    engine: Engine = "",
    key: Key = None,
    engine_key: EngineKey = None,
    actor: Actor = "",
) -> None:
    """Take the subject's baseline anew, for instance after a sensor was moved; the subject should rest meanwhile.

    Until it is complete the index is hollow and pain alarms are off, as at the beginning of a session.
    """
    _send("recalibrate", {}, bed=bed, where=Where(state_dir, engine, key, engine_key), actor=actor)


def new_session(
    *,
    subject: Annotated[str, typer.Option(help="Subject code: letters, digits, - _ and dot. Never a person's name.")],
    bed: Bed = "",
    state_dir: StateDir = None,
    engine: Engine = "",
    key: Key = None,
    engine_key: EngineKey = None,
    actor: Actor = "",
) -> None:
    """Tell a running engine that another subject has come: end the session, begin a new one, calibrate again.

    Example: `pain-monitor new-session --subject P-017`
    """
    _send("new_session", {"subject": subject}, bed=bed, where=Where(state_dir, engine, key, engine_key), actor=actor)


class Where(NamedTuple):
    """Which engine is meant."""

    state_dir: Path | None
    engine: str
    key: Path | None
    engine_key: Path | None


def _send(action: str, args: dict[str, Any], *, bed: str, where: Where, actor: str) -> None:
    answer = control_client(where, bed=bed, actor=actor).request(action, args)
    print(json.dumps(answer))
    if answer.get("acknowledged") is False:
        print(
            f"pain-monitor: bed {answer['bed']} has no alarm {args['condition']} to acknowledge; `pain-monitor status` "
            "shows those that it has",
            file=sys.stderr,
        )


def control_client(where: Where, *, bed: str, actor: str) -> ControlClient:
    """Who speaks to the engine that the options name.

    Args:
        where: Which engine.
        bed: Name of the bed; empty: the only one.
        actor: Who says it; empty: the user of this account.

    Raises:
        EngineError: If no engine runs here, several do, or a key cannot be read.
    """
    from monitor.link import ControlClient
    from monitor.sessions.file import state_folder

    state = state_folder(str(where.state_dir) if where.state_dir is not None else "")
    keys = remote_keys(where.engine, where.key, where.engine_key)
    # An engine of one bed knows which is meant.
    name = bed or ("" if where.engine else running_bed(state))
    return ControlClient(state_dir=state, bed=name, actor=actor or default_actor(), address=where.engine, keys=keys)


def remote_keys(engine: str, key: Path | None, engine_key: Path | None) -> ClientKeys | None:
    """The keys that the options name; None for an engine of this machine.

    Raises:
        EngineError: If one cannot be read.
    """
    from monitor.link import client_keys

    if key is None:
        return None
    if not engine:
        raise typer.BadParameter("a key is for an engine on TCP", param_hint="--key without --engine")
    return client_keys(key, engine_key)


def default_actor() -> str:
    """Who speaks where nobody is named: the user of this account."""
    import getpass

    return getpass.getuser()[:64]


def running_bed(state: Path, *, for_screen: bool = False) -> str:
    """Name of the one bed that has an engine.

    Args:
        state: State folder.
        for_screen: Whether the first of several will do where one engine has them all: a screen can turn to the others.

    Raises:
        EngineError: If there is none, or several.
    """
    from monitor.errors import EngineError
    from monitor.locks import holder

    beds = [path.stem for path in sorted((state / "run").glob("*.lock"))]
    engines = {bed: pid for bed in beds if (pid := holder(state=state, bed=bed)) is not None}
    monitored = list(engines)
    if not monitored:
        todo = "Start one with `pain-monitor daemon CONFIG`, or name its state folder with --state-dir"
        raise EngineError("no engine is running here", where=str(state), todo=todo)
    if len(monitored) > 1 and not (for_screen and len(set(engines.values())) == 1):
        raise EngineError("several beds are monitored", todo=f"Say which with --bed: {', '.join(monitored)}")
    return monitored[0]
