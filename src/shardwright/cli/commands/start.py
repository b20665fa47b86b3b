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
    from shardwright.scaffold import init_project, line_of_own_url  # noqa: PLC0415

    files = init_project(folder, migrations=migrations, dry_run=screen.dry_run)
    found = {f.path / "env.py": line_of_own_url(f.path / "env.py") for f in files if not f.is_new}
    own_urls = {path: line for path, line in found.items() if line is not None}
    screen.document(
        {
            "dry_run": screen.dry_run,
            "files": [{"path": str(f.path), "new": f.is_new} for f in files],
            "own_urls": [{"path": str(path), "line": line} for path, line in own_urls.items()],
        }
    )
    for file in files:
        verb = ("would write" if screen.dry_run else "wrote") if file.is_new else "left alone"
        screen.line(f"{verb}: {file.path}")
    for path, line in own_urls.items():
        fact = f"! {path}, line {line}: takes a URL from elsewhere than Alembic's configuration, which has the shard's"
        screen.line(fact, style="yellow", important=True)
        screen.line('  try: do so only   if "shard" not in config.attributes', important=True)
    screen.line("next: shardwright dev up")
    return 0


@command(app, "demo", examples=("shardwright demo",))
def demo(screen: Screen) -> int:
    """Show the whole story on three local PostgreSQL servers, in under a minute; leaves nothing behind."""
    from shardwright.cli.demo import play  # noqa: PLC0415

    return play(screen)
