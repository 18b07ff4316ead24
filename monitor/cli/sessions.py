"""Recorded sessions: what is in one, whether its scores can be computed again, and its content for other programs."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Literal

import typer

Session = Annotated[Path, typer.Argument(help="The session database (*.session.db).")]


def verify(session: Session) -> None:
    """Compute every score, index and alarm of a session again from what it recorded, and compare bit for bit.

    Exit code 0 where all is equal, 7 where anything differs. Equal bits are promised on the same machine with the same
    versions; what has changed since the recording is named.
    """
    from monitor.errors import SessionError
    from monitor.scoring.session import OnnxRunner
    from monitor.sessions.verify import verify as verify_session

    with _progress("verifying") as progress:
        result = verify_session(session, runner_factory=OnnxRunner, progress=progress)
    print(result.text())
    if not result.equal:
        raise typer.Exit(SessionError.exit_code)


def inspect(
    session: Session,
    *,
    picture: Annotated[
        Path | None, typer.Option(metavar="OUT.png", help="Where to draw it; default: beside the session.")
    ] = None,
    no_picture: Annotated[bool, typer.Option("--no-picture", help="Numbers only.")] = False,
) -> None:
    """Sum a session up: streams with their gaps and losses, windows with and without a score, alarms; and a picture.

    Works on a session that is still being recorded too.
    """
    from monitor.sessions.reader import SessionReader
    from monitor.sessions.report import summary, summary_text

    with SessionReader(session) as reader:
        with _progress("reading") as progress:
            found = summary(reader, progress=progress)
        print(summary_text(found))
        if no_picture:
            return
        from monitor.sessions.picture import picture as draw

        with _progress("drawing") as progress:
            drawn = draw(reader, picture or session.with_suffix(".png"), progress=progress)
        print(f"picture: {drawn}")


def export(
    session: Session,
    *,
    format: Annotated[  # noqa: A002
        Literal["csv", "fhir"], typer.Option(help="csv, or fhir: one FHIR R5 collection, without signals.")
    ] = "csv",
    out: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="A folder to make; default: beside the session.")
    ] = None,
) -> None:
    """Write a session into a new folder as plain files: signals, scores, alarms, events, markers, and a README; or
    as a FHIR R5 collection of scores, reported pain scores and alarms (docs/fhir.md).

    Example: `pain-monitor export SESSION.session.db --format csv --out patient17`

    An export says whether its signals were live, replayed or simulated, and never overwrites anything.
    """
    from monitor.sessions.export import export as write
    from monitor.sessions.reader import SessionReader

    folder = out or session.with_name(session.name.removesuffix(".session.db") + ".export")
    with SessionReader(session) as reader, _progress("writing") as progress:
        files = write(reader, folder, kind=format, progress=progress)
    for file in files:
        print(file)


@contextlib.contextmanager
def _progress(what: str) -> Iterator[Callable[[float], None]]:
    """A bar on standard error, and the function that moves it: takes the share that is done."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bars:
        bar = bars.add_task(what, total=1.0)
        yield lambda share: bars.update(bar, completed=share)
