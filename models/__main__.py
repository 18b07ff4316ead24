"""`python -m models`: look at a data set, train on it, and see what came of it."""

from __future__ import annotations

import typer

from models.data.command import data
from models.evaluation.command import evaluate
from models.training.command import train

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(data)
app.command()(train)
app.command()(evaluate)


@app.callback()
def _commands() -> None:
    """Data sets of pain, none of which is shipped: a configuration names your own folder. Research use only."""


if __name__ == "__main__":
    app()
