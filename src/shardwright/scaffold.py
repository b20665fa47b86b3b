"""`init`: shardwright.toml, and an Alembic directory that works with it."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass
from pathlib import Path

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.util import CommandError

from shardwright import errors
from shardwright.config import FILE_NAME

_DEFAULT_MIGRATIONS = "migrations"
_TEMPLATE = """\
# Shardwright's configuration. ${{NAME}} is read from the environment; a missing one is an error.

[fleet]
control     = "embedded"        # in production: control = "${{CONTROL_URL}}"
migrations  = {migrations}
set         = "main"
environment = "development"     # "production" is the default, and refuses reset, clean and drop
# seed      = "myapp.seeds:seed"

# With control = "embedded" and no [shards], `shardwright dev up` runs its own PostgreSQL here.
# In production, one section a shard:
# [shards.shard_0]
# url = "${{SHARD_0_URL}}"
# labels = {{ region = "eu", canary = "yes" }}

# [tenants]
# root   = "organizations"      # the table whose primary key is the tenant's id
# key    = "organization_id"    # the column that says whose a row is
# shared = ["plans"]            # tables with the same rows on every shard

[limits]
connections_per_host = 20       # so that the application keeps its connections
lock_timeout         = "100ms"  # nobody waits longer behind a migration; grows over the tries up to 2s
statement_timeout    = "30min"
"""


@dataclass(frozen=True)
class ProjectFile:
    """A file or folder that `init` made, or found and left alone."""

    path: Path
    is_new: bool


def init_project(folder: Path, *, migrations: str | None = None, dry_run: bool = False) -> list[ProjectFile]:
    """The folder has a shardwright.toml and an Alembic directory; what was there is as it was.

    An existing alembic.ini is adopted: its script_location becomes `fleet.migrations`. Raises UsageError where the
    folder is not there.
    """
    if not folder.is_dir():
        raise errors.UsageError(reason=f"there is no folder {folder}", help=f"mkdir -p '{folder}'")
    directory = migrations or _adopted(folder) or _DEFAULT_MIGRATIONS
    made = [_write_config(folder / FILE_NAME, directory, dry_run=dry_run)]
    made.append(_make_alembic_directory(folder, folder / directory, dry_run=dry_run))
    return made


def _adopted(folder: Path) -> str | None:
    """The script directory of an Alembic project that is there already, relative to the folder."""
    ini, pyproject = folder / "alembic.ini", folder / "pyproject.toml"
    config = AlembicConfig(
        str(ini) if ini.is_file() else None, toml_file=str(pyproject) if pyproject.is_file() else None
    )
    location = config.get_alembic_option("script_location")
    if location is None or ":" in location:
        return None
    path = (folder / location).resolve()
    return str(path.relative_to(folder.resolve())) if path.is_relative_to(folder.resolve()) else str(path)


def _write_config(file: Path, migrations: str, *, dry_run: bool) -> ProjectFile:
    if file.exists():
        return ProjectFile(file, is_new=False)
    if not dry_run:
        file.write_text(_TEMPLATE.format(migrations=json.dumps(migrations)), encoding="utf-8")
    return ProjectFile(file, is_new=True)


def _make_alembic_directory(folder: Path, directory: Path, *, dry_run: bool) -> ProjectFile:
    if (directory / "env.py").exists():
        return ProjectFile(directory, is_new=False)
    if directory.exists() and any(directory.iterdir()):
        raise errors.FileInTheWay(path=str(directory))
    if not dry_run:
        ini = folder / "alembic.ini"
        config = AlembicConfig(str(ini), stdout=io.StringIO())
        config.messaging_opts["quiet"] = True
        try:
            command.init(config, str(directory), template="generic")
        except CommandError as error:
            raise errors.NoMigrations(directory=str(directory), reason=str(error)) from error
    return ProjectFile(directory, is_new=True)
