"""A project with shards on real databases, for tests: write revisions, run the fleet, ask the shards."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg

from shardwright.config import load
from shardwright.fleet import Fleet
from shardwright.runs.events import Event, ShardStarted
from shardwright.runs.results import RunResult

STOCK_ENV = """
from logging.config import fileConfig
from alembic import context
from sqlalchemy import engine_from_config, pool

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name)


def run_migrations_offline():
    context.configure(url=config.get_main_option("sqlalchemy.url"), literal_binds=True)
    with context.begin_transaction():
        context.run_migrations()


def run_migrations_online():
    section = config.get_section(config.config_ini_section, {})
    connectable = engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
    with connectable.connect() as connection:
        context.configure(connection=connection)
        with context.begin_transaction():
            context.run_migrations()


if context.is_offline_mode():
    run_migrations_offline()
else:
    run_migrations_online()
"""

_REVISION = '''"""{doc}"""

import time

import sqlalchemy as sa
from alembic import op

revision = {revision!r}
down_revision = {down!r}
branch_labels = None
depends_on = None


def upgrade():
{upgrade}


def downgrade():
{downgrade}
'''


@dataclass
class Project:
    """A folder with shardwright.toml and an Alembic history, over databases that exist."""

    path: Path
    control: str
    shards: dict[str, str]
    environment: str = "test"
    limits: dict[str, str] = field(default_factory=dict)
    extra: str = ""
    _last: str | None = None

    def write(self) -> None:
        """shardwright.toml says what the fields say."""
        lines = ["[fleet]", f'control = "{self.control}"', f'environment = "{self.environment}"', self.extra]
        for name, url in self.shards.items():
            lines += [f"[shards.{name}]", f'url = "{url}"']
        if self.limits:
            lines += ["[limits]", *(f"{key} = {value}" for key, value in self.limits.items())]
        (self.path / "shardwright.toml").write_text("\n".join(lines))
        versions = self.path / "migrations" / "versions"
        versions.mkdir(parents=True, exist_ok=True)
        env = self.path / "migrations" / "env.py"
        if not env.exists():
            env.write_text(STOCK_ENV)

    def revision(
        self, revision: str, upgrade: str = "pass", downgrade: str = "pass", *, down: Any = "last", doc: str = ""
    ) -> str:
        """A new revision file whose functions have these bodies; it follows the one before unless `down` is given."""
        text = _REVISION.format(
            doc=doc or revision,
            revision=revision,
            down=self._last if down == "last" else down,
            upgrade=textwrap.indent(textwrap.dedent(upgrade).strip(), "    "),
            downgrade=textwrap.indent(textwrap.dedent(downgrade).strip(), "    "),
        )
        (self.path / "migrations" / "versions" / f"{revision}.py").write_text(text)
        self._last = revision
        return revision

    def table(self, revision: str, table: str) -> str:
        """A revision that makes a table, and drops it on the way down."""
        return self.revision(
            revision, f'op.create_table("{table}", sa.Column("id", sa.Integer))', f'op.drop_table("{table}")'
        )

    def fleet(self) -> Fleet:
        """The fleet as an application would have it."""
        return Fleet(load(self.path / "shardwright.toml"))

    def migrate(self, target: str = "head", **options: Any) -> RunResult:
        """`Fleet.migrate`."""
        return self.fleet().migrate(target, **options)

    def sql(self, shard: str, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What `statement` gives on one shard (or "control"), committed."""
        url = self.control if shard == "control" else self.shards[shard]
        with psycopg.connect(url, autocommit=True) as connection:
            cursor = connection.execute(statement, values or None)  # type: ignore[call-overload]
            return cursor.fetchall() if cursor.description else []

    def versions(self) -> dict[str, list[str]]:
        """Each shard's version rows, asked without any of our code."""
        return {name: self._version(name) for name in self.shards}

    def _version(self, shard: str) -> list[str]:
        try:
            return sorted(row[0] for row in self.sql(shard, "SELECT version_num FROM alembic_version"))
        except psycopg.errors.UndefinedTable:
            return []

    def tables(self, shard: str) -> list[str]:
        """The tables of one shard, but Alembic's own."""
        rows = self.sql(
            shard,
            "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' ORDER BY 1",
        )
        return [row[0] for row in rows]

    def cli(
        self, *arguments: str, env: dict[str, str] | None = None, stdin: str | None = None
    ) -> subprocess.CompletedProcess[str]:
        """The finished command line, run in the project's folder without a terminal."""
        return subprocess.run(
            cli_command(*arguments),
            cwd=self.path,
            env={**os.environ, **(env or {})},
            input=stdin,
            stdin=None if stdin is not None else subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    def start_cli(self, *arguments: str) -> subprocess.Popen[str]:
        """The command line as a running process, for signals."""
        return subprocess.Popen(
            cli_command(*arguments),
            cwd=self.path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )


def cli_command(*arguments: str) -> list[str]:
    """The command line without depending on PATH."""
    return [sys.executable, "-m", "shardwright", *arguments]


def statuses(result: RunResult) -> dict[str, str]:
    """Each shard's status."""
    return {each.shard: each.status.value for each in result.results}


def started(events: Sequence[Event]) -> list[str]:
    """The shards that were begun, in order."""
    return [event.shard for event in events if isinstance(event, ShardStarted)]


MakeProject = Callable[..., Project]
