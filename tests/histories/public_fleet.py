"""A public history on its way through a fleet and, beside it, through plain Alembic on one database."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from histories.fetch import packages
from kit import STOCK_ENV, cli_command
from shardwright.dsn import DatabaseUrl
from shardwright.pg.contents import contents
from shardwright.pg.fingerprint import Difference, Fingerprint, differences, fingerprint

_PATIENCE = 300  # seconds for one command: importing MLflow takes its time


@dataclass(frozen=True)
class History:
    """A package's history: where it is, which driver its alembic.ini names, how its first tables are made.

    `early` is a revision to stop at on the way up, `late` one to which the way back from `head` is open. `rendered`
    and `online`: how many revisions go which way. `env`: the env.py for `directory`/versions, where the package's own
    needs the whole application.
    """

    name: str
    directory: str
    driver: str
    early: str
    late: str
    head: str
    rendered: int
    online: int
    first_tables: str | None = None
    env: str | None = None

    @property
    def label(self) -> str:
        """The package and its version, as pip knows it."""
        return packages()[self.name][0].replace("==", " ")


# Like phoenix's own: a transaction for each revision, and its names for constraints that have none.
_PHOENIX_ENV = """
from sqlalchemy import MetaData

NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_`%(constraint_name)s`",
    "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}
OPTIONS = {"target_metadata": MetaData(naming_convention=NAMES), "transaction_per_migration": True}
""" + STOCK_ENV.replace("context.configure(", "context.configure(**OPTIONS, ")

OPTUNA = History(
    "optuna",
    "optuna/storages/_rdb/alembic",
    "psycopg",
    early="v2.4.0.a",
    late="v3.0.0.c",
    head="v3.2.0.a",
    rendered=0,
    online=10,
)
MLFLOW = History(
    "mlflow",
    "mlflow/store/db_migrations",
    "psycopg2",
    early="728d730b5ebd",
    late="17e22815139b",
    head="dc11669786a5",
    rendered=60,
    online=7,
    # The history begins at tables that MLflow makes before its first revision.
    first_tables="from mlflow.store.tracking.dbmodels.initial_models import Base",
)
HEAT = History(
    "heat",
    "heat/db/migrations",
    "psycopg",
    early="d2db381e3324",
    late="c6214ca60943",
    head="97b2a986f922",
    rendered=3,
    online=1,
)
ARGILLA = History(
    "argilla",
    "argilla_server/alembic",
    "psycopg",
    early="3ff6484f8b37",
    late="d00f819ccc67",
    head="580a6553186f",
    rendered=24,
    online=0,
    env=STOCK_ENV,
)
CKAN = History(
    "ckan",
    "ckan/migration",
    "psycopg",
    early="edcf3b8c3c1b",
    late="9f33a0280c51",
    head="9445ce34fc23",
    rendered=108,
    online=1,
    env=STOCK_ENV,
)
PHOENIX = History(
    "phoenix",
    "phoenix/db/migrations",
    "psycopg",
    early="272b66ff50f8",
    late="d4e5f6a7b8c9",
    head="4aad9107d196",
    rendered=33,
    online=2,
    env=_PHOENIX_ENV,
)


@dataclass(frozen=True)
class PublicFleet:
    """Shards and one more database, all new; shardwright.toml and alembic.ini name the unpacked package."""

    history: History
    package: Path
    project: Path
    shards: dict[str, str]
    plain: str
    control: str

    def write(self) -> None:
        """The two files are in the project's folder, as a user would write them."""
        directory = theirs = self.package / self.history.directory
        if self.history.env is not None:
            directory = self.project / "migrations"
            directory.mkdir()
            (directory / "env.py").write_text(self.history.env)
        toml = ["[fleet]", f'control = "{self.control}"', f'migrations = "{directory}"', 'environment = "test"']
        for name, url in self.shards.items():
            toml += [f"[shards.{name}]", f'url = "{url}"']
        ini = [
            "[alembic]",
            f"script_location = {directory}",
            f"version_locations = {theirs / 'versions'}",
            f"prepend_sys_path = {self.package}",
            "path_separator = os",
            f"sqlalchemy.url = {DatabaseUrl.parse(self.plain).sqlalchemy(self.history.driver).replace('%', '%%')}",
        ]
        (self.project / "shardwright.toml").write_text("\n".join(toml))
        (self.project / "alembic.ini").write_text("\n".join(ini) + _LOGGING)

    def make_first_tables(self) -> None:
        """What the application itself makes before its first revision is on every database."""
        if self.history.first_tables is None:
            return
        urls = [DatabaseUrl.parse(url).sqlalchemy("psycopg") for url in (*self.shards.values(), self.plain)]
        program = f"{self.history.first_tables}\n{_CREATE_ALL}"
        environment = {**os.environ, "PYTHONPATH": str(self.package)}
        subprocess.run([sys.executable, "-c", program, *urls], env=environment, check=True)

    def alembic(self, *arguments: str) -> Fingerprint:
        """What the `alembic` command makes of the one database that is not of the fleet."""
        subprocess.run([sys.executable, "-m", "alembic", *arguments], cwd=self.project, check=True, timeout=_PATIENCE)
        return fingerprint_of(self.plain)

    def shardwright(self, *arguments: str) -> dict[str, Any]:
        """What the command line prints with --json, its exit code under `exit_code`."""
        done = self._run(*arguments, "--json")
        assert done.stdout, done.stderr
        return {**json.loads(done.stdout), "exit_code": done.returncode}

    def words_of(self, *arguments: str) -> str:
        """What the command line tells people; it has done all that it was asked to."""
        done = self._run(*arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def _run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """By two workers, so that one of them runs env.py for two shards, while the other is at work."""
        return subprocess.run(
            [*cli_command(*arguments), "--jobs", "2"],
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )

    def differences_from(self, expected: Fingerprint) -> dict[str, list[Difference]]:
        """What is not as expected, on each shard whose fingerprint is another."""
        found = {name: fingerprint_of(url) for name, url in self.shards.items()}
        return {name: differences(expected, each) for name, each in found.items() if each.digest != expected.digest}


_CREATE_ALL = """
import sys
import sqlalchemy
for url in sys.argv[1:]:
    Base.metadata.create_all(sqlalchemy.create_engine(url))
"""

_LOGGING = """
[loggers]
keys = root
[handlers]
keys = console
[formatters]
keys = generic
[logger_root]
level = WARNING
handlers = console
[handler_console]
class = StreamHandler
args = (sys.stderr,)
[formatter_generic]
format = %(levelname)s %(message)s
"""


def fingerprint_of(url: str) -> Fingerprint:
    with psycopg.connect(url) as connection:
        return fingerprint(connection)


def contents_of(url: str) -> dict[str, tuple[int, int]]:
    with psycopg.connect(url) as connection:
        return contents(connection)


MakeFleet = Callable[..., PublicFleet]  # of a History, and how many shards
