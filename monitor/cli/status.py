"""How a running engine stands: its beds' alarms, and whether each route that alarms take has proved itself."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Annotated, Any

import typer

from monitor.cli.commands import Actor, Bed, Engine, EngineKey, Key, StateDir, Where, control_client


def status(
    *,
    as_json: Annotated[
        bool, typer.Option("--json", help="Everything that the engine says, as one JSON object.")
    ] = False,
    bed: Bed = "",
    state_dir: StateDir = None,
    engine: Engine = "",
    key: Key = None,
    engine_key: EngineKey = None,
    actor: Actor = "",
) -> None:
    """Say how a running engine stands: score, alarms, recording, and the self-check of each route.

    Exit code 1 where a route does not work or the session is not being recorded.
    """
    found = control_client(Where(state_dir, engine, key, engine_key), bed=bed, actor=actor).request("status")
    if as_json:
        print(json.dumps(found))
    else:
        for line in status_lines(found):
            print(line)
    if found["recording"]["problem"] or any(item["problem"] for item in found["selfcheck"].values()):
        raise typer.Exit(1)


def status_lines(found: Mapping[str, Any]) -> Iterator[str]:
    """An engine's answer to `status` in words, one line each.

    Args:
        found: See `monitor.engine.engine`.
    """
    yield f"bed {found['bed']}, subject {found['subject']}, session {found['session']} (RESEARCH USE ONLY)"
    index, score = found["index"], found["score"]
    if score is None:
        yield "score: none yet"
    elif score["absent"]:
        yield f"score: none ({', '.join(score['absent'])})"
    else:
        fast = index and index["fast"]
        shown = "withheld" if fast is None else f"{fast:.0f}" + (" (not calibrated)" if index["hollow"] else "")
        yield f"score: by {score['bundle']}, index {shown}"
    for alarm in found["alarms"]:
        causes = f" ({', '.join(alarm['causes'])})" if alarm["causes"] else ""
        yield f"alarm: {alarm['condition']}, {alarm['priority']}, {alarm['presence']}: {alarm['text']}{causes}"
    recording = found["recording"]
    lost = f", {recording['lost_records']} records lost" if recording["lost_records"] else ""
    yield f"recording: {recording['problem'] or recording['path'] or 'off'}{lost}"
    for name, route in found["selfcheck"].items():
        proved = "never proved" if route["proved_s_ago"] is None else f"proved {route['proved_s_ago']:.0f} s ago"
        counted = f"{route['checks']} checks, {route['missed']} missed"
        works = f"DOES NOT WORK: {route['problem']}" if route["problem"] else "works"
        yield f"route {name}: {works}, {proved}, {counted}"
