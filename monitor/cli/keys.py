"""Keys for those who reach an engine over TCP."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def keys(
    name: Annotated[str, typer.Argument(help="Who it is for: `engine`, or a screen or person. The record says it.")],
    *,
    folder: Annotated[Path, typer.Option(help="Where both files go.")] = Path(),
) -> None:
    """Make a pair of keys for the link over TCP: NAME.key (secret, mode 0600) and NAME.pub.

    The engine's pair is made once, on its machine, as `engine`. A client makes its own and hands over NAME.pub, which
    goes into the folder that link.clients names; it takes engine.pub in return. docs/security.md has the steps.

        pain-monitor keys engine --folder /etc/pain-monitor
    """
    from monitor.link import make_keys

    secret, public = make_keys(name, folder)
    print(f"{secret}: secret; keep it here\n{public}: public; for the other side")
