"""A project with shards on real databases, for tests: write revisions, run the fleet, ask the shards."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psycopg

from shardwright.config import load
from shardwright.embedded import Cluster
from shardwright.fleet import Fleet
from shardwright.runs.events import Event, ShardStarted
from shardwright.runs.results import RunResult
from shardwright.runs.stopping import StopRequest

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

ASYNC_ENV = """
import asyncio
from logging.config import fileConfig
from alembic import context
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import async_engine_from_config

config = context.config
if config.config_file_name is not None:
    fileConfig(config.config_file_name)


def do_run_migrations(connection):
    context.configure(connection=connection)
    with context.begin_transaction():
        context.run_migrations()


async def run_async_migrations():
    section = config.get_section(config.config_ini_section, {})
    connectable = async_engine_from_config(section, prefix="sqlalchemy.", poolclass=pool.NullPool)
    async with connectable.connect() as connection:
        await connection.run_sync(do_run_migrations)
    await connectable.dispose()


asyncio.run(run_async_migrations())
"""
SECRET = "pa55-w0rd"  # of URLs that lead nowhere; no output may hold it
TRANSACTION_EACH = ("(connection=connection", "(connection=connection, transaction_per_migration=True")

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


_GATE = 42
AT_GATE = f"""
op.execute("SET lock_timeout = 0")
op.execute("SELECT pg_advisory_lock_shared({_GATE})")
"""


NOTE_WORKER = "import os, pathlib\npathlib.Path('worker').write_text(str(os.getpid()))\n"  # into the project's folder


class Gate:
    """What a revision waits for on one shard; made by `Project.gate`."""

    def __init__(self, connection: psycopg.Connection[Any]) -> None:
        self._connection = connection

    def reached(self) -> int:
        """The process id of the session that waits before the gate, once there is one."""
        return until(self._waiting)[0]

    @property
    def is_free(self) -> bool:
        """Whether nobody waits before the gate."""
        return not self._waiting()

    def open(self) -> None:
        """Whoever waits, or comes, goes through."""
        self._connection.execute("SELECT pg_advisory_unlock(%s)", [_GATE])

    def _waiting(self) -> list[int]:
        query = """SELECT pid FROM pg_locks JOIN pg_database ON pg_database.oid = database
                   WHERE datname = current_database() AND locktype = 'advisory' AND objid = %s AND NOT granted"""
        return [row[0] for row in self._connection.execute(query, [_GATE])]


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

    def env(self, *changes: tuple[str, str]) -> None:
        """The stock env.py with these replacements."""
        text = STOCK_ENV
        for before, after in changes:
            assert before in text
            text = text.replace(before, after)
        (self.path / "migrations" / "env.py").write_text(text)

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
            cursor = connection.execute(statement, values or None)
            return cursor.fetchall() if cursor.description else []

    def stamp(self, revision: str, *statements: str, shards: Sequence[str] | None = None) -> None:
        """These shards (or all) are at `revision`, as if these statements had been its upgrade."""
        for shard in shards or self.shards:
            for statement in statements:
                self.sql(shard, statement)
            self.sql(shard, "CREATE TABLE alembic_version (version_num varchar(32) PRIMARY KEY)")
            self.sql(shard, "INSERT INTO alembic_version VALUES (%s)", revision)

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

    def prepared(self) -> list[str]:
        """What is prepared on any shard, by anybody."""
        query = "SELECT gid FROM pg_prepared_xacts WHERE database = current_database()"
        return [row[0] for shard in self.shards for row in self.sql(shard, query)]

    def worker(self) -> int:
        """The process id that NOTE_WORKER has noted, once it is there."""
        note = self.path / "worker"
        return int(until(lambda: note.exists() and note.read_text()))

    @contextmanager
    def migrating(self, target: str = "head", **options: Any) -> Iterator[Future[RunResult]]:
        """`Fleet.migrate` in another thread, while the block does something to it."""
        stop = options.setdefault("stop", StopRequest())
        with ThreadPoolExecutor(1) as thread:
            rollout = thread.submit(self.migrate, target, **options)
            try:
                yield rollout
            except BaseException:
                stop.ask("the test has failed")
                raise

    def at_work(self, shard: str) -> list[tuple[int, str]]:
        """Our sessions that are in a statement or a transaction on that shard: pid and what they run."""
        return self.sql(
            shard,
            """SELECT pid, query FROM pg_stat_activity
               WHERE datname = current_database() AND application_name LIKE 'shardwright%' AND state <> 'idle'
                 AND application_name <> 'shardwright status'""",
        )

    def waiting(self, shard: str) -> list[float]:
        """For how many seconds sessions of ours have been waiting for a lock on that shard."""
        rows = self.sql(
            shard,
            """SELECT extract('epoch' FROM clock_timestamp() - query_start)::float FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock'
                 AND application_name LIKE 'shardwright%'""",
        )
        return [row[0] for row in rows]

    @contextmanager
    def holding(self, shard: str, *statements: str) -> Iterator[psycopg.Connection[Any]]:
        """Somebody else's transaction, open on that shard, that has run these statements."""
        with psycopg.connect(self.shards[shard], application_name="somebody") as connection:
            for statement in statements:
                connection.execute(statement)
            yield connection
            connection.rollback()

    @contextmanager
    def gate(self, shard: str) -> Iterator[Gate]:
        """A gate on that shard, closed, before which a revision with AT_GATE waits in a statement on the server."""
        with psycopg.connect(self.shards[shard], autocommit=True) as connection:
            gate = Gate(connection)
            connection.execute("SELECT pg_advisory_lock(%s)", [_GATE])
            yield gate

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


T = TypeVar("T")
_numbers = itertools.count()


def until(condition: Callable[[], T], *, seconds: float = 60.0) -> T:
    """What `condition` gives, asked again and again until it is true; fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, f"still not so after {seconds} s"
        time.sleep(0.02)
    return value


def is_alive(pid: int) -> bool:
    """Whether there is such a process, and it is no zombie."""
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def started(events: Sequence[Event]) -> list[str]:
    """The shards that were begun, in order."""
    return [event.shard for event in events if isinstance(event, ShardStarted)]


def create_database(cluster: Cluster) -> str:
    """The URL of a fresh, empty database."""
    url = database_to_be(cluster)
    name = str(psycopg.conninfo.conninfo_to_dict(url)["dbname"])
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        statement = psycopg.sql.SQL("CREATE DATABASE {} STRATEGY file_copy")  # half the time of the usual one
        admin.execute(statement.format(psycopg.sql.Identifier(name)))
    return url


def database_to_be(cluster: Cluster) -> str:
    """The URL of a database that is not made yet."""
    return cluster.url(f"test_{os.getpid()}_{next(_numbers)}")


def drop_databases(cluster: Cluster, urls: Sequence[str]) -> None:
    """The databases are gone, whoever is connected to them."""
    names = [str(psycopg.conninfo.conninfo_to_dict(url)["dbname"]) for url in urls]
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        statement = psycopg.sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
        for name in names:
            admin.execute(statement.format(psycopg.sql.Identifier(name)))


MakeProject = Callable[..., Project]
