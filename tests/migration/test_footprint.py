"""What a rollout takes: no more connections than allowed, no worker where there is nothing to do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Event as Flag
from typing import NoReturn

import psycopg
import pytest

from kit import MakeProject, Project, statuses
from shardwright.embedded import Cluster
from shardwright.runs import fanout

MANY = 200
OURS = """
SELECT count(*) FROM pg_stat_activity
WHERE application_name LIKE 'shardwright%%' AND datname = ANY (%s)
"""


def database_names(project: Project) -> list[str]:
    """The databases of its shards."""
    return [project.sql(shard, "SELECT current_database()")[0][0] for shard in project.shards]


@pytest.mark.parametrize("limit", [4, 6])
def test_never_more_connections_to_a_host_than_allowed(make_project: MakeProject, cluster: Cluster, limit: int) -> None:
    """Whatever the number of jobs, over planning, work and verification together."""
    project = make_project(shards=12, limits={"connections_per_host": str(limit)})
    project.revision("r1", 'op.execute("SELECT pg_sleep(0.05)")')
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


def test_where_nothing_is_to_be_done_no_worker_starts(
    make_project: MakeProject, cluster: Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two hundred shards that are up to date are read, and that is all."""
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
    assert statuses(result)["shard_199"] == "up_to_date"
