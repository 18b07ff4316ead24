"""Commands that concern the alarms, from the log to the manager: live, in a replay, and when a session is simulated."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.alarm.manager import AlarmManager
from monitor.alarm.operators import AlarmOutput
from monitor.types import Command


def carry_out(manager: AlarmManager, command: Command) -> Sequence[AlarmOutput] | None:
    """Carry out what a command asks of the alarms.

    Args:
        manager: The alarms of the bed.
        command: acknowledge {condition}; audio_pause {seconds}; suspend {minutes, reason}; resume {}; delegate
            {seconds}; limits {name: value}; technical {name, present, causes}; restore_alarms {alarms}.

    Returns:
        What followed; None where the command is not for the alarms.

    Raises:
        ValueError: If its arguments do not fit; nothing has changed then.
    """
    args, actor, at = command.args, command.actor, command.at
    match command.action:
        case "acknowledge":
            return manager.acknowledge(str(args["condition"]), actor, at)
        case "audio_pause":
            return manager.audio_pause(args.get("seconds"), actor, at)
        case "suspend":
            return manager.suspend(args.get("minutes"), str(args.get("reason", "")), actor, at)
        case "resume":
            return manager.resume(actor, at)
        case "limits":
            return manager.limit({name: value for name, value in args.items() if value is not None}, actor, at)
        case "technical":
            causes = tuple(args.get("causes", ()))
            return manager.technical(str(args["name"]), present=bool(args["present"]), at=at, causes=causes)
        case "delegate":
            return manager.delegate(args.get("seconds"), actor, at)
        case "restore_alarms":
            return manager.restore(args["alarms"], at)
    return None
