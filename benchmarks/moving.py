"""Two shards on two servers, a tenant with rows on the first, and the move of it as a process or in this one."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from psycopg import sql

from processes import ENVIRONMENT, server_seconds
from shardwright.catalog.tenants import require_tenants
from shardwright.embedded import Cluster, temporary_cluster
from shardwright.fleet import Fleet
from shardwright.move.status import MoveStatus
from shardwright.pg.tables import read_tables
from shardwright.transfer.place import table_graph
from shardwright.transfer.scope import Scope
from shardwright.transfer.sessions import Sessions

TENANT, OTHER = "1", "2"
SOURCE, TARGET = "source", "target"
COLUMNS = "id, organization_id, title, body, status, created_at"
SCHEMA = """
CREATE TABLE organizations (id bigint PRIMARY KEY, name text NOT NULL);
CREATE TABLE tasks (
    id bigint PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations,
    title text NOT NULL, body text, status text NOT NULL, created_at timestamptz NOT NULL
);
CREATE INDEX ON tasks (organization_id, status);
CREATE INDEX ON tasks (created_at);
CREATE TABLE comments (id bigint PRIMARY KEY, task_id bigint NOT NULL REFERENCES tasks ON DELETE CASCADE, body text);
CREATE INDEX ON comments (task_id);
"""
_TASKS = f"""
INSERT INTO organizations SELECT n, 'organization ' || n FROM generate_series(1, 2) AS n;
INSERT INTO tasks ({COLUMNS})
SELECT n, CASE WHEN n % 11 = 0 THEN 2 ELSE 1 END, 'task ' || n, repeat(md5(n::text), 6),
       (ARRAY['new', 'open', 'done'])[1 + n % 3], timestamptz '2026-01-01' + n * interval '1 second'
FROM generate_series(1, %s * 11 / 10) AS n
"""  # of every eleven rows one is another tenant's
_numbers = itertools.count()


@dataclass
class Shards:
    """Two empty shards on two servers, and a project that names them."""

    clusters: tuple[Cluster, Cluster]
    folder: Path
    number: int = field(default_factory=lambda: next(_numbers))

    @property
    def fleet(self) -> Fleet:
        """The fleet of the two."""
        return Fleet.from_config(self.folder / "shardwright.toml")

    def url(self, name: str) -> str:
        """Of a shard, of `control`, or of another database beside the source."""
        return self.clusters[name == TARGET].url(self.database(name))

    def database(self, name: str) -> str:
        """The name of that database."""
        return f"{name}_{self.number}"

    def connect(self, name: str, **options: Any) -> psycopg.Connection[Any]:
        """A session in autocommit."""
        return psycopg.connect(self.url(name), autocommit=True, **options)

    def sql(self, name: str, script: str) -> list[tuple[Any, ...]]:
        """What the last statement of `script` gives there."""
        with self.connect(name) as connection:
            cursor = connection.execute(script.encode())
            while cursor.nextset():
                pass
            return cursor.fetchall() if cursor.description else []

    def create(self, name: str) -> None:
        """An empty database."""
        with psycopg.connect(self.clusters[name == TARGET].url("postgres"), autocommit=True) as admin:
            admin.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(self.database(name))))

    def build(self, schema: str, rows: str) -> None:
        """Both shards have that schema, the source those rows, and the directory knows its tenants."""
        for name in ("control", SOURCE, TARGET):
            self.create(name)
        for name in (SOURCE, TARGET):
            self.sql(name, schema)
        self.sql(SOURCE, rows)
        self.sql(SOURCE, "VACUUM ANALYZE")
        (self.folder / "shardwright.toml").write_text(
            f'[fleet]\ncontrol = "{self.url("control")}"\nenvironment = "test"\n'
            '[tenants]\nroot = "organizations"\nkey = "organization_id"\n'
            f'[shards.{SOURCE}]\nurl = "{self.url(SOURCE)}"\n[shards.{TARGET}]\nurl = "{self.url(TARGET)}"\n'
        )
        self.fleet.sync_tenants()

    def empty_target(self) -> None:
        """Nothing is on the target; no way finds what another has left behind."""
        self.sql(TARGET, "TRUNCATE organizations, tasks, comments")
        for name in (SOURCE, TARGET):
            self.sql(name, "CHECKPOINT")

    def server_seconds(self) -> float:
        """Processor time of both servers, of sessions that have ended."""
        return sum(server_seconds(cluster.pid) for cluster in self.clusters)

    def sessions(self) -> int:
        """How many sessions the databases have had."""
        query = sql.SQL("SELECT pg_stat_clear_snapshot(), sessions FROM pg_stat_database WHERE datname = {}")
        count = 0
        for name in ("control", SOURCE, TARGET):
            with psycopg.connect(self.clusters[name == TARGET].url("postgres")) as connection:
                row = connection.execute(query.format(sql.Literal(self.database(name)))).fetchone()
            count += row[1] if row else 0
        return count

    def scope(self, move: int) -> Scope:
        """What a move of that number would carry."""
        fleet = self.fleet.resolved
        with self.connect(SOURCE) as connection:
            tables = read_tables(connection)
        return Scope.of_tenant(move, TENANT, table_graph(tables, require_tenants(fleet.config)))

    def sessions_of(self, name: str, move: int) -> Sessions:
        """The mover's sessions on that shard."""
        return Sessions(self.fleet.resolved.select(name)[0], move, 0)

    def move(self) -> MoveStatus:
        """The tenant is at the target, the way back open."""
        status = self.fleet.move(TENANT, TARGET)
        if status.move.phase != "switched":
            raise SystemExit(f"the move has not switched: {status.run.told}, {status.run.note}")
        return status

    @contextmanager
    def writers(self, count: int, pause: float) -> Iterator[list[tuple[float, float]]]:
        """So many write for the tenant, following it; afterwards the list has begin and end of each of their writes."""
        urls = json.dumps({name: self.url(name) for name in (SOURCE, TARGET)})
        command = [sys.executable, str(Path(__file__).with_name("writers.py")), urls, str(count), str(pause)]
        process = subprocess.Popen(command, env=ENVIRONMENT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        writes: list[tuple[float, float]] = []
        try:
            time.sleep(0.5)
            yield writes
        finally:
            out, _ = process.communicate("")
            writes += [tuple(each) for each in json.loads(out)]


@contextmanager
def two_servers() -> Iterator[tuple[Cluster, Cluster]]:
    """Two embedded servers, gone after the block."""
    settings = {"max_wal_size": "8GB", "shared_buffers": "256MB", "checkpoint_timeout": "30min"}
    with temporary_cluster(settings=settings) as one, temporary_cluster(settings=settings) as other:
        yield one, other


@contextmanager
def shards(clusters: tuple[Cluster, Cluster], rows: int) -> Iterator[Shards]:
    """The tenant with so many tasks, and another with a tenth of that between them; all gone after the block."""
    with empty_shards(clusters) as made:
        made.build(SCHEMA, _TASKS.replace("%s", str(rows)))
        yield made


@contextmanager
def tiny_shards(clusters: tuple[Cluster, Cluster]) -> Iterator[Shards]:
    """A tenant with a hundred rows in ten tables."""
    tables = [f"t{number}" for number in range(1, 10)]
    schema = "CREATE TABLE organizations (id bigint PRIMARY KEY, name text NOT NULL);" + "".join(
        f"CREATE TABLE {name} (id bigint PRIMARY KEY, organization_id bigint NOT NULL REFERENCES organizations, "
        f"name text, at timestamptz DEFAULT now()); CREATE INDEX ON {name} (organization_id);"
        for name in tables
    )
    rows = "INSERT INTO organizations VALUES (1, 'one'), (2, 'two');" + "".join(
        f"INSERT INTO {name} SELECT n, 1 + n % 2, 'row ' || n FROM generate_series(1, 22) AS n;" for name in tables
    )
    with empty_shards(clusters) as made:
        made.build(schema, rows.removesuffix(";"))
        yield made


@contextmanager
def empty_shards(clusters: tuple[Cluster, Cluster]) -> Iterator[Shards]:
    """A project without databases; those that are made are gone after the block."""
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="shardwright-bench-"))
        made = Shards(clusters, Path(folder))
        yield made
        for cluster in clusters:
            with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
                found = admin.execute(f"SELECT datname FROM pg_database WHERE datname ~ '_{made.number}$'").fetchall()
                for (name,) in found:
                    admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
