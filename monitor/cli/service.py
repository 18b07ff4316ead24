"""The daemon as a service of this machine."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def install_service(
    config: Annotated[Path, typer.Argument(help="The configuration, e.g. /etc/pain-monitor/config.toml.")],
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be written, and write nothing.")] = False,
    user: Annotated[str, typer.Option(help="Who the service runs as.")] = "pain-monitor",
    root: Annotated[Path, typer.Option(help="Write below this folder instead, for an image of a system.")] = Path("/"),
) -> None:
    """Write a systemd unit that runs `pain-monitor daemon CONFIG` for months with as few rights as it needs.

    A user of its own, a read-only system, restarts, and a watchdog. It writes two files, says which, and says what
    remains to be done: nothing is started, and no user is made. What somebody else wrote is not replaced.
    """
    import sys

    from monitor.config import load_settings
    from monitor.engine.service import service_files, what_remains, write_service
    from monitor.errors import EngineError

    settings = load_settings(config)
    whole = config.absolute()
    files = service_files(whole, settings, user=user)
    if dry_run:
        for file in files:
            print(f"# {root / file.path.relative_to('/')}\n{file.text}")
        return
    if sys.platform != "linux":
        raise EngineError("there is no systemd on this system", todo="See with --dry-run what would be written")
    for line in write_service(files, root=root):
        print(line)
    print("\nWhat remains:")
    for step in what_remains(whole, settings, user=user):
        print(f"  {step}")
