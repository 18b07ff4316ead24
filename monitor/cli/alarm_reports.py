"""Alarms of recorded sessions: what they cost, and what other limits and delays would have cost."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from monitor.cli.sessions import Session, _progress

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.table import Table

    from monitor.sessions.alarm_burden import Burden
    from monitor.sessions.alarm_grid import GridPoint, Replayed
    from monitor.sessions.alarm_report import AlarmReport

FALSE_A_DAY: Final = 1.0
"""False pain alarms a bed-day that are aimed at (clinical.md section 3)."""

Html = Annotated[Path | None, typer.Option("--html", metavar="FILE", help="Write the same tables there too.")]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on standard output.")]


def alarms(session: Session, *, html: Html = None, as_json: AsJson = False) -> None:
    """The alarm-burden report of a session: how many alarms, how long, who saw them, what the patient reported.

    Rates a bed-day are what a day like this session would have had. Alarms are called true or false only where the
    session holds reported pain scores, or the episodes of a simulated patient; the report says which.

    JSON: session, provenance, coverage, burden (alarms by condition and priority, time, sounds, delays), truth.
    """
    from monitor.sessions.alarm_report import alarm_report
    from monitor.sessions.reader import SessionReader

    with SessionReader(session) as reader:
        report = alarm_report(reader)
    if as_json:
        print(json.dumps(_plain(report)))
        return
    _show(_report_parts, report, html)


def simulate_alarms(
    session: Session,
    *,
    grid: Annotated[bool, typer.Option("--grid", help="Simulate other limits and delays too.")] = False,
    moderate: Annotated[str, typer.Option(metavar="A,B,..", help="Limits of moderate pain.")] = "40,50,60",
    delay: Annotated[str, typer.Option(metavar="A,B,..", help="Seconds above them.")] = "10,15,30",
    severe: Annotated[str, typer.Option(metavar="A,B,..", help="Limits of severe pain; default: as recorded.")] = "",
    severe_delay: Annotated[str, typer.Option(metavar="A,B,..", help="Seconds above; default: as recorded.")] = "",
    html: Html = None,
    as_json: AsJson = False,
) -> None:
    """Make a session's alarms again from its stored scores, as recorded and with other limits and delays.

    Example: `pain-monitor simulate-alarms SESSION.session.db --grid --moderate 40,50,60 --delay 10,15,30`

    No window is scored again. At the recorded settings the recorded alarms come again, and where they do not it says
    what differs: exit code 7. Limits at which an alarm ends keep their distance below those at which it begins;
    whatever users did stays as it was, but for changed limits.
    """
    from monitor.errors import SessionError
    from monitor.sessions import alarm_grid
    from monitor.sessions.alarm_report import truth_in, truth_in_words
    from monitor.sessions.reader import SessionReader
    from monitor.sessions.report import provenance

    values = [_numbers(text, name) for text, name in ((moderate, "--moderate"), (delay, "--delay"))]
    more = [_numbers(text, name) for text, name in ((severe, "--severe"), (severe_delay, "--severe-delay"))]
    with SessionReader(session) as reader:
        with _progress("reading") as progress:
            log = alarm_grid.read_alarm_log(reader, progress=progress)
        again = alarm_grid.reproduce(log, reader)
        known = truth_in(reader)
        points: tuple[GridPoint, ...] = ()
        if grid:
            with _progress("simulating") as progress:
                points = alarm_grid.grid(
                    log,
                    reader,
                    moderate=values[0],
                    delays=values[1],
                    severe=more[0],
                    severe_delays=more[1],
                    truth=known,
                    progress=progress,
                )
        head = {
            "session": str(reader.meta.session),
            "bed": reader.meta.bed,
            "notice": reader.meta.notice,
            "provenance": list(provenance(reader)),
            "truth": truth_in_words(known),
        }
    if as_json:
        made = {"compared": again.compared, "differences": again.differences, "notes": again.notes}
        print(json.dumps({**head, "reproduced": made, "grid": _plain(points)}))
    else:
        _show(_grid_parts, (head, again, points), html)
    if again.differences:
        raise typer.Exit(SessionError.exit_code)


def _numbers(text: str, option: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split(",") if part.strip())
    except ValueError:
        raise typer.BadParameter(f"'{text}' is no list of numbers like 40,50,60", param_hint=option) from None


def _plain(item: Any) -> Any:
    """Dataclasses as JSON takes them, with the rates and shares that they work out."""
    if dataclasses.is_dataclass(item) and not isinstance(item, type):
        found = {field.name: _plain(getattr(item, field.name)) for field in dataclasses.fields(item)}
        derived = {name: getattr(item, name) for name, value in vars(type(item)).items() if isinstance(value, property)}
        return found | derived
    if isinstance(item, dict):
        return {key: _plain(value) for key, value in item.items()}
    return [_plain(value) for value in item] if isinstance(item, (tuple, list)) else item


# -- on the screen ----------------------------------------------------------------------------------------------------


def _show(parts: Any, item: Any, html: Path | None) -> None:
    """Print the parts of a report; and write them as a page of their own where one is asked for."""
    import io

    from rich.console import Console

    from monitor.errors import MonitorError

    console = Console()
    for part in parts(item):
        console.print(part, highlight=False)
    if html is None:
        return
    page = Console(record=True, width=130, file=io.StringIO())
    for part in parts(item):
        page.print(part, highlight=False)
    try:
        html.write_text(page.export_html(), encoding="utf-8")
    except OSError as error:
        raise MonitorError(f"cannot be written ({error.strerror})", where=str(html)) from error
    console.print(f"written: {html}", highlight=False, markup=False)


def _banner(provenance: Sequence[Any]) -> str:
    from monitor.sessions.report import signals_in_words

    said = signals_in_words(provenance)
    return f"[bold reverse] {said} [/]" if said else "signals: live"


def _report_parts(report: AlarmReport) -> Iterator[RenderableType]:
    from rich.markup import escape

    from monitor.sessions.report import duration

    item = report.burden
    yield f"[bold]Alarms of bed {escape(report.bed)}, subject {escape(report.subject)}[/]  {report.session}"
    yield _banner(report.provenance)
    yield escape(report.notice)
    yield f"Bundles: {escape('; '.join(report.bundles))}"
    if not report.closed:
        yield "The session was not ended in order, or still runs: counted up to its last record."
    if report.continues:
        yield f"It continues session {report.continues}, which failed. What stood then and goes on is counted there;"
        yield "its times are counted here from the beginning of this session."
    if report.unrecorded:
        yield f"[bold]{report.unrecorded} spans were not recorded: alarms in them are not counted.[/]"
    yield ""
    table = _table("Burden", show_header=False)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, value in _burden_rows(report):
        table.add_row(name, escape(value))
    yield table
    yield ""
    yield from _condition_parts(item)
    if report.reports:
        told = _table("Reported pain scores (NRS)")
        for name in ("at", "NRS", "fast index", "pain alarms present", "nearest pain alarm"):
            told.add_column(name, justify="left" if "alarm" in name else "right")
        for row in report.reports:
            nearest = "none within 10 min"
            if row.after_s is not None:
                order = "before it" if row.after_s >= 0 else "after it"
                nearest = f"{row.nearest}, {duration(abs(row.after_s))} {order}"
            index = "-" if row.index is None else f"{row.index:.0f}"
            told.add_row(f"{row.t_rel:.0f} s", f"{row.nrs:g}", index, ", ".join(row.present) or "none", nearest)
        yield told
        yield ""
    yield "Not in one session's report: the share of alarms that the top tenth of patients has."


def _burden_rows(report: AlarmReport) -> Iterator[tuple[str, str]]:
    from monitor.sessions.report import duration

    item, cover = report.burden, report.coverage
    seconds = 3600.0 * item.hours
    short = "" if item.hours >= 24 else "; extrapolated, the session is shorter than a day"
    yield "recorded", duration(seconds)
    share = (
        f"{_share(cover.scored_share)} of {cover.windows} windows scored, {_share(cover.judged_share)} judged for pain"
    )
    yield "coverage", share
    if cover.reasons:
        said = ", ".join(f"{reason} {count}" for reason, count in list(cover.reasons.items())[:4])
        yield "not scored", said + (", ..." if len(cover.reasons) > 4 else "")
    yield "alarms", f"{item.alarms}: {item.physiological} physiological, {item.technical} technical"
    if item.restored:
        yield "taken over", f"{item.restored} from the session before, not among these"
    priorities = ", ".join(f"{name} {count}" for name, count in item.by_priority.items())
    yield "by priority", priorities or "none"
    rate = f"{_number(item.per_hour(item.alarms))} an hour, {_number(item.per_bed_day(item.alarms))} a bed-day{short}"
    yield "rate", rate
    yield "audible", f"{item.audible} sounds called for, {_number(item.per_bed_day(item.audible))} a bed-day (aim: 6)"
    yield "time in alarm", f"{duration(item.in_alarm_s)} ({_of(item.in_alarm_s, seconds)})"
    yield "in pain alarm", f"{duration(item.in_pain_alarm_s)} ({_of(item.in_pain_alarm_s, seconds)})"
    yield "latched", f"{item.latched}, over 5 min unacknowledged: {item.latched_long}"
    yield "asked by users", f"{item.audio_pauses} pauses of sounds, {item.suspensions} suspensions of pain alarms"
    yield "truth", report.truth
    yield "pain alarms", f"{item.true} true, {item.false} false, {item.unlabelled} not labelled"
    if item.episodes:
        yield (
            "sensitivity",
            f"bouts with a pain alarm: {item.detected} of {item.episodes} ({_share(item.sensitivity)})",
        )
        for delay in item.delays:
            said = f"median {_number(delay.median_s)} s, p90 {_number(delay.p90_s)} s"
            said += f"; newly announced in {delay.episodes} of {item.episodes}"
            yield f"onset to {delay.condition}", said if delay.episodes else "newly announced in none"
    yield "plain comparators", report.heart_rate


def _table(title: str, **arguments: Any) -> Table:
    from rich.table import Table

    return Table(title=title, title_justify="left", box=None, pad_edge=False, padding=(0, 2, 0, 0), **arguments)


def _condition_parts(item: Burden) -> Iterator[RenderableType]:
    if not item.conditions:
        yield "No alarm in this session."
        yield ""
        return
    table = _table("By condition")
    table.add_column("\ncondition", no_wrap=True)
    table.add_column("\nchain", no_wrap=True)
    table.add_column("prio-\nrity", no_wrap=True)
    for head in ("\nn", "re-\nalarms", "\nmedian", "in\nalarm", "\nack.", "\nafter", "\nbrief", "\nself"):
        table.add_column(head, justify="right", no_wrap=True)
    for row in item.conditions:
        counts = (row.alarms, row.rejoined, row.acknowledged, row.brief, row.self_cleared)
        alarms, rejoined, acknowledged, brief, cleared = map(str, counts)
        median, whole, latency = map(_seconds, (row.median_present_s, row.present_s, row.median_latency_s))
        cells = (alarms, rejoined, median, whole, acknowledged, latency, brief, cleared)
        table.add_row(row.condition, row.kind[:4], row.priority[:3], *cells)
    yield table
    yield (
        "n: alarms; a re-alarm is folded into the one that it joins. median, in alarm: seconds present. ack., after: "
        "acknowledged, and the median time from the announcement. brief: present for less than 10 s. self: over "
        "without an acknowledgement."
    )
    yield ""


def _grid_parts(item: tuple[dict[str, Any], Replayed, tuple[GridPoint, ...]]) -> Iterator[RenderableType]:
    from rich.markup import escape

    head, again, points = item
    yield f"[bold]Alarms of bed {escape(head['bed'])} from its stored scores[/]  {head['session']}"
    yield _banner(head["provenance"])
    yield escape(head["notice"])
    if again.differences:
        yield f"[bold]At the recorded settings alarms DIFFER[/] ({again.compared} transitions and actions compared):"
        for line in again.differences:
            yield f"  {escape(line)}"
    else:
        yield f"At the recorded settings: the same {again.compared} transitions and actions, bit for bit."
    for note in again.notes:
        yield escape(note)
    if not points:
        return
    yield f"Truth: {escape(head['truth'])}"
    yield ""
    yield from _grid_table(points)


def _grid_table(points: Sequence[GridPoint]) -> Iterator[RenderableType]:
    table = _table("Other limits and delays")
    heads = ("moderate\non, after", "severe\non, after", "alarms\n/h", "pain\n/day", "in\npain", "sound\n/day")
    for head in (*heads, "\ntrue", "\nfalse", "\nsens.", "to\nlow", "to\nmed."):
        table.add_column(head, justify="right", no_wrap=True)
    for point in points:
        mark = "*" if point.recorded else ""
        limits = (
            f"{mark}{point.moderate_on:g}, {point.moderate_after_s:g} s",
            f"{point.severe_on:g}, {point.severe_after_s:g} s",
        )
        found = point.burden
        if found is None:
            table.add_row(*limits, *["-"] * 9)
            continue
        known = found.true + found.false > 0 or found.episodes > 0
        table.add_row(
            *limits,
            _number(found.per_hour(found.alarms)),
            _number(found.per_bed_day(found.true + found.false + found.unlabelled)),
            _of(found.in_pain_alarm_s, 3600.0 * found.hours),
            _number(found.per_bed_day(found.audible)),
            f"{found.true}" if known else "-",
            f"{found.false}" if known else "-",
            _share(found.sensitivity),
            *([_seconds(delay.median_s) for delay in found.delays] or ["-", "-"]),
        )
    yield table
    yield (
        "*: as recorded, without users' changes of limits. in pain: time in pain alarm. sens.: share of simulated "
        "bouts of pain with a pain alarm announced or present; read it beside the time in pain alarm. to low, to med.: "
        "median time from a bout's onset to a new announcement. -: not known, or not allowed."
    )
    for refused in dict.fromkeys(point.refused for point in points if point.refused):
        yield f"Not allowed: {refused.removeprefix('limits.')}"
    yield from _best(points)


def _best(points: Sequence[GridPoint]) -> Iterator[str]:
    """The most sensitive point at the false alarms a day that are aimed at, where the truth is known."""
    known = [(point, point.burden) for point in points if point.burden is not None and point.burden.episodes]
    if not known:
        return
    if known[0][1].hours < 24:
        yield f"Shorter than a day: it cannot show which points have at most {FALSE_A_DAY:g} false pain alarm a day."
        return
    allowed = [item for item in known if (item[1].per_bed_day(item[1].false) or 0.0) <= FALSE_A_DAY]
    if not allowed:
        yield f"No point has at most {FALSE_A_DAY:g} false pain alarm a bed-day."
        return
    point, found = max(allowed, key=lambda item: (item[1].detected, -item[1].in_pain_alarm_s))
    yield (
        f"Most sensitive with at most {FALSE_A_DAY:g} false pain alarm a bed-day: moderate {point.moderate_on:g} for "
        f"{point.moderate_after_s:g} s, severe {point.severe_on:g} for {point.severe_after_s:g} s "
        f"({_share(found.sensitivity)})"
    )


def _number(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.0f}" if value >= 10 else f"{value:.1f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s" if value < 10 else f"{value:.0f} s"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"


def _of(part: float, whole: float) -> str:
    return _share(part / whole if whole > 0 else None)
