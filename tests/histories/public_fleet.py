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

from kit import cli_command
from shardwright.dsn import DatabaseUrl
from shardwright.pg.fingerprint import Difference, Fingerprint, differences, fingerprint

SHARDS = ("shard_0", "shard_1", "shard_2")
_PATIENCE = 300  # seconds for one command: importing MLflow takes its time


@dataclass(frozen=True)
class History:
    """A package's history: where it is, which driver its alembic.ini names, how its first tables are made.

    `early` is a revision to stop at on the way up, `late` one to which the way back from
    `head` is open.
    """

    name: str
    directory: str
    driver: str
    early: str
    late: str
    head: str
    first_tables: str | None = None


OPTUNA = History(
    "optuna", "optuna/storages/_rdb/alembic", "psycopg", early="v2.4.0.a", late="v3.0.0.c", head="v3.2.0.a"
)
MLFLOW = History(
    "mlflow",
    "mlflow/store/db_migrations",
    "psycopg2",
    early="728d730b5ebd",
    late="17e22815139b",
    head="dc11669786a5",
    # The history begins at tables that MLflow makes before its first revision.
    first_tables="from mlflow.store.tracking.dbmodels.initial_models import Base",
)


@dataclass(frozen=True)
class PublicFleet:
    """Three shards and one more database, all new; shardwright.toml and alembic.ini name the unpacked package."""

    history: History
    package: Path
    project: Path
    shards: dict[str, str]
    plain: str
    control: str

    def write(self) -> None:
        """The two files are in the project's folder, as a user would write them."""
        directory = self.package / self.history.directory
        toml = ["[fleet]", f'control = "{self.control}"', f'migrations = "{directory}"', 'environment = "test"']
        for name, url in self.shards.items():
            toml += [f"[shards.{name}]", f'url = "{url}"']
        ini = [
            "[alembic]",
            f"script_location = {directory}",
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
        """What the command line prints with --json, its exit code under `exit_code`.

        By two workers, so that one of them runs env.py for two shards, while the other is at work.
        """
        done = subprocess.run(
            [*cli_command(*arguments), "--jobs", "2", "--json"],
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=_PATIENCE,
        )
        assert done.stdout, done.stderr
        return {**json.loads(done.stdout), "exit_code": done.returncode}

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


MakeFleet = Callable[[History], PublicFleet]
