"""What a rollout takes: no more connections than allowed, no worker where there is nothing to do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from textwrap import indent
from threading import Event as Flag
from typing import NoReturn

import psycopg
import pytest

from kit import AT_GATE, MakeProject, Project, statuses
from shardwright.embedded import Cluster
from shardwright.runs import fanout

MANY = 60
OURS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name LIKE 'shardwright%%' AND datname = ANY (%s)
"""


def database_names(project: Project) -> list[str]:
    """The databases of its shards."""
    return [project.sql(shard, "SELECT current_database()")[0][0] for shard in project.shards]


@pytest.mark.parametrize(
    ("limit", "statement"), [(4, "SELECT pg_sleep(0.05)"), (6, "DO $$ BEGIN PERFORM pg_sleep(0.05); END $$")]
)
def test_never_more_connections_to_a_host_than_allowed(
    make_project: MakeProject, cluster: Cluster, limit: int, statement: str
) -> None:
    """Whatever the number of jobs, over planning, work and verification together; what reads runs online, the other
    is sent.
    """
    project = make_project(shards=12, limits={"connections_per_host": str(limit)})
    project.revision("r1", f'op.execute("{statement}")')
    names = database_names(project)
    over, seen = Flag(), [0]

    def sample() -> None:
        with psycopg.connect(cluster.url("postgres"), autocommit=True) as connection:
            while not over.is_set():
                row = connection.execute(OURS, [names]).fetchone()
                seen.append(row[0] if row else 0)

    with ThreadPoolExecutor(1) as thread:
        sampling = thread.submit(sample)
        try:
            result = project.migrate(jobs=8)
        finally:
            over.set()
        sampling.result()
    assert result.summary == {"migrated": 12}
    assert 2 <= max(seen) <= limit


KEEPS = """
import sys
from alembic import context
from sqlalchemy import create_engine

sys.kept = getattr(sys, "kept", [])
engine = create_engine(context.config.get_main_option("sqlalchemy.url"))
connection = engine.connect()
sys.kept += [engine, connection, engine.connect()]
context.configure(connection=connection)
with context.begin_transaction():
    context.run_migrations()
sys.kept[-1].exec_driver_sql("CREATE TABLE kept (id int)")
"""


def test_what_env_keeps_open_is_closed_when_its_shard_is_done(make_project: MakeProject) -> None:
    """A worker on its way to the next shard leaves no session, and no lock, behind on the last one."""
    project = make_project(shards=2)
    project.revision(
        "r1", f"if op.get_bind().engine.url.database == {database_names(project)[1]!r}:{indent(AT_GATE, '    ')}"
    )
    (project.path / "migrations" / "env.py").write_text(KEEPS)
    with project.gate("shard_1") as gate, project.migrating(jobs=1) as rollout:
        gate.reached()
        left = project.sql(
            "shard_0",
            "SELECT query FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        gate.open()
    assert statuses(rollout.result()) == dict.fromkeys(project.shards, "migrated")
    assert left == []


def test_where_nothing_is_to_be_done_no_worker_starts(
    make_project: MakeProject, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixty shards that are up to date are read, and that is all."""
    project = make_project(shards=1)
    project.table("r1", "a")
    project.stamp("r1")
    template = database_names(project)[0]
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        for number in range(1, MANY):
            admin.execute(f"CREATE DATABASE many_{number} TEMPLATE {template} STRATEGY file_copy")
            project.shards[f"shard_{number}"] = cluster.url(f"many_{number}")
    project.write()

    def no_worker(*_: object, **__: object) -> NoReturn:
        pytest.fail("a worker was started")

    monkeypatch.setattr(fanout, "WorkerProcess", no_worker)
    result = project.migrate()
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        for number in range(1, MANY):
            admin.execute(f"DROP DATABASE many_{number} WITH (FORCE)")
    assert result.summary == {"up_to_date": MANY}
    assert statuses(result)["shard_59"] == "up_to_date"
