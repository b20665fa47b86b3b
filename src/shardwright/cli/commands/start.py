"""`init` and `demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shardwright.cli.app import app, command
from shardwright.cli.screen import Screen


@command(app, "init", changes=True, examples=("shardwright init", "shardwright init --migrations db/migrations"))
def init(
    screen: Screen,
    *,
    folder: Annotated[Path, typer.Argument(help="The project's folder.")] = Path(),
    migrations: Annotated[
        str | None, typer.Option(help="The Alembic directory; default: alembic.ini's, else migrations.")
    ] = None,
) -> int:
    """Write shardwright.toml, and an Alembic directory where there is none; existing files are left alone."""
    from shardwright.scaffold import init_project  # noqa: PLC0415

    files = init_project(folder, migrations=migrations, dry_run=screen.dry_run)
    screen.document({"dry_run": screen.dry_run, "files": [{"path": str(f.path), "new": f.is_new} for f in files]})
    for file in files:
        verb = ("would write" if screen.dry_run else "wrote") if file.is_new else "left alone"
        screen.line(f"{verb}: {file.path}")
    screen.line("next: shardwright dev up")
    return 0


@command(app, "demo", examples=("shardwright demo",))
def demo(screen: Screen) -> int:
    """Show the whole story on three local PostgreSQL servers, in under a minute; leaves nothing behind."""
    from shardwright.cli.demo import play  # noqa: PLC0415

    return play(screen)
