"""Entry point: registers the commands, turns what they raise into an exit code."""

from __future__ import annotations

import sys
from typing import Annotated

import typer
from typer._click.exceptions import ClickException

from shardwright import __version__
from shardwright.cli import commands  # noqa: F401 registers them
from shardwright.cli.app import app

WRONG_USAGE = 64
INTERRUPTED = 130


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"shardwright {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Print the version and leave.")
    ] = False,
) -> None:
    """Looks after the data of sharded multi-tenant PostgreSQL applications."""


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and leaves with its exit code."""
    sys.exit(run(arguments))


def run(arguments: list[str] | None = None) -> int:
    """The exit code of the command that `arguments` (else sys.argv) spell."""
    try:
        code = app(args=arguments, standalone_mode=False)
    except ClickException as error:
        error.show()
        return WRONG_USAGE
    except (typer.Abort, KeyboardInterrupt):
        typer.echo("interrupted", err=True)
        return INTERRUPTED
    return code if isinstance(code, int) else 0
