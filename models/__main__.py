"""`python -m models`: what is in a data set, before and beside training on it."""

from __future__ import annotations

import typer

from models.data.command import data

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
app.command()(data)


@app.callback()
def _commands() -> None:
    """Look at data sets of pain, none of which is shipped: a configuration names your own folder."""


if __name__ == "__main__":
    app()
