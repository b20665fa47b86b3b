"""`init`: shardwright.toml, and an Alembic directory that works with it."""

from __future__ import annotations

import ast
import configparser
import contextlib
import io
import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.util import CommandError

from shardwright import errors
from shardwright.config import FILE_NAME, file_in

DEFAULT_MIGRATIONS = "migrations"
_TEMPLATE = """\
# Shardwright's configuration. ${{NAME}} is read from the environment; a missing one is an error.

[fleet]
control     = "embedded"        # in production: control = "${{CONTROL_URL}}"
migrations  = {migrations}
set         = "main"
environment = "development"     # "production" is the default, and refuses reset and dev
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
    """The folder has a configuration and an Alembic directory; what was there is as it was, to the byte.

    The directory is `migrations`, else the one that the configuration names, else alembic.ini's (or [tool.alembic]'s),
    else `migrations`. Raises UsageError, FileInTheWay, ConfigUnreadable; nothing was written then.
    """
    if not folder.is_dir():
        raise errors.UsageError(reason=f"there is no folder {folder}", help=f"mkdir -p '{folder}'")
    configuration = file_in(folder)
    configured = _configured(configuration) if configuration else None
    if configured and migrations and folder / configured != folder / migrations:
        raise errors.UsageError(
            reason=f"{configuration} says that the migrations are in {configured}, not in {migrations}",
            help="leave --migrations out, or change the file",
        )
    directory = migrations or configured or _adopted(folder) or DEFAULT_MIGRATIONS
    alembic = _plan_alembic(folder, folder / directory)
    made = ProjectFile(configuration or folder / FILE_NAME, is_new=configuration is None)
    if not dry_run:
        _write_alembic(folder, alembic)
        if made.is_new:
            made.path.write_text(_TEMPLATE.format(migrations=json.dumps(directory)), encoding="utf-8")
    return [made, *alembic]


def _configured(file: Path) -> str:
    """What the configuration that is there says of the migrations; read without its variables, which may be unset."""
    try:
        tree = tomllib.loads(file.read_bytes().decode("utf-8-sig"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise errors.ConfigUnreadable(file=str(file), reason=str(error)) from error
    ours = tree["tool"]["shardwright"] if file.name == "pyproject.toml" else tree
    fleet = ours.get("fleet") if isinstance(ours, dict) else None
    named = fleet.get("migrations") if isinstance(fleet, dict) else None
    return named if isinstance(named, str) and named else DEFAULT_MIGRATIONS


def _adopted(folder: Path) -> str | None:
    """The script directory of an Alembic project that is there already, relative to the folder."""
    ini, pyproject = folder / "alembic.ini", folder / "pyproject.toml"
    config = AlembicConfig(
        str(ini) if ini.is_file() else None, toml_file=str(pyproject) if pyproject.is_file() else None
    )
    try:
        location = config.get_alembic_option("script_location")
    except (configparser.Error, tomllib.TOMLDecodeError, UnicodeDecodeError, CommandError) as error:
        raise errors.UsageError(
            reason=f"Alembic's configuration in {folder} can't be read: {error}",
            help="shardwright init --migrations DIRECTORY",
        ) from error
    if not location:
        return None
    path = (folder / location).resolve() if ":" not in location else _package_directory(folder, location)
    return str(path.relative_to(folder.resolve())) if path.is_relative_to(folder.resolve()) else str(path)


def _package_directory(folder: Path, location: str) -> Path:
    """The folder that Alembic's `package:directory` means, looked for where packages are."""
    package, _, below = location.partition(":")
    inside = Path(*package.split(".")) / below
    for root in (folder, folder / "src"):
        if (root / inside / "env.py").is_file():
            return (root / inside).resolve()
    raise errors.UsageError(
        reason=f"Alembic's script_location is {location}, and there is no {inside / 'env.py'} in {folder}",
        help="shardwright init --migrations DIRECTORY",
    )


def _plan_alembic(folder: Path, directory: Path) -> list[ProjectFile]:
    """Alembic's directory and file, and whether they would be made. Raises FileInTheWay."""
    if (directory / "env.py").exists():
        return [ProjectFile(directory, is_new=False)]
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise errors.FileInTheWay(path=str(directory))
    return [ProjectFile(directory, is_new=True), ProjectFile(ini := folder / "alembic.ini", is_new=not ini.exists())]


def _write_alembic(folder: Path, files: list[ProjectFile]) -> None:
    if not files[0].is_new:
        return
    config = AlembicConfig(str(folder / "alembic.ini"), stdout=io.StringIO())
    with contextlib.redirect_stdout(io.StringIO()):  # it tells what it makes, whatever it is told
        command.init(config, str(files[0].path), template="generic")


def line_of_own_url(env: Path) -> int | None:
    """Where an env.py takes a URL from elsewhere than Alembic's configuration, which says what shard it is run for.

    None where it doesn't, asks `config.attributes`, sets it under a condition, or can't be read.
    """
    try:
        nodes = list(ast.walk(ast.parse(env.read_text("utf-8"))))
    except (OSError, ValueError, SyntaxError):
        return None
    if any(isinstance(node, ast.Attribute) and node.attr == "attributes" for node in nodes):
        return None
    allowed = {below for node in nodes if isinstance(node, ast.If) for below in ast.walk(node)}
    setting = [node.lineno for node in nodes if node not in allowed and _sets_url(node)]
    if setting or any(_asks_for_url(node) for node in nodes):
        return min(setting, default=None)
    calls = [node for node in nodes if isinstance(node, ast.Call)]
    return min((call.lineno for call in calls if _called(call) in _MAKES_ENGINES), default=None)


_URL = "sqlalchemy.url"
_FROM_CONFIG = {"engine_from_config", "async_engine_from_config"}
_MAKES_ENGINES = {"create_engine", "create_async_engine"}


def _sets_url(node: ast.AST) -> TypeGuard[ast.stmt | ast.expr]:
    if isinstance(node, ast.Assign):
        return any(isinstance(each, ast.Subscript) and _is_url(each.slice) for each in node.targets)
    if not isinstance(node, ast.Call):
        return False
    if _called(node) in _FROM_CONFIG:
        return any(keyword.arg == "url" for keyword in node.keywords)
    return _called(node) in {"set_main_option", "set_section_option"} and any(map(_is_url, node.args))


def _asks_for_url(node: ast.AST) -> bool:
    return _called(node) in _FROM_CONFIG or _is_url(node)


def _is_url(node: ast.AST) -> bool:
    return isinstance(node, ast.Constant) and node.value == _URL


def _called(node: ast.AST) -> str | None:
    """The last part of the name of what is called."""
    function = node.func if isinstance(node, ast.Call) else None
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)
