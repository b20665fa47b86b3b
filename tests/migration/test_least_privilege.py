"""What a role that is no superuser, and owns nothing but its databases, can do: everything."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from kit import Project, statuses
from shardwright.dsn import DatabaseUrl
from shardwright.embedded import Cluster

ROLE = "shardwright_operator"


@pytest.fixture
def operator_project(tmp_path: Path, cluster: Cluster) -> Iterator[Project]:
    """Two shards and a control database that belong to an ordinary role, which the URLs name."""
    names = ["operated_control", "operated_0", "operated_1"]
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("CREATE ROLE {} LOGIN").format(sql.Identifier(ROLE)))
        for name in names:
            admin.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(name), sql.Identifier(ROLE)))
    control, *shards = (cluster.url(name).replace("postgres@", f"{ROLE}@") for name in names)
    project = Project(tmp_path, control, {f"shard_{number}": url for number, url in enumerate(shards)})
    project.write()
    yield project
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        for name in names:
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))
        admin.execute(sql.SQL("DROP ROLE {}").format(sql.Identifier(ROLE)))


def test_the_owner_of_the_databases_can_migrate_and_roll_back(operator_project: Project) -> None:
    """migrate, a time limit on the server, rollback, status and the ledger need no superuser."""
    project = operator_project
    project.table("r1", "a")
    project.revision("r2", 'op.execute("SELECT pg_sleep(60)")')
    assert project.migrate("r1").exit_code == 0
    slow = project.migrate(on_failure="continue", timeout="1s")
    assert all("took longer than 1s" in (each.error or "") for each in slow.results)
    assert statuses(project.fleet().rollback(to="base")) == dict.fromkeys(project.shards, "rolled_back")
    assert project.versions() == {shard: [] for shard in project.shards}
    assert [run.kind for run in project.fleet().runs()] == ["rollback", "migrate", "migrate"]


def test_the_owner_of_the_databases_can_migrate_all_or_none(operator_project: Project) -> None:
    """PREPARE TRANSACTION and COMMIT PREPARED need the same role, and no more than that."""
    project = operator_project
    project.table("r1", "a")
    result = project.migrate(atomic=True)
    assert (result.exit_code, result.extra["atomic"]["decision"]) == (0, "commit")


def test_a_rehearsal_with_rows_needs_createdb_and_no_more(operator_project: Project, cluster: Cluster) -> None:
    """The copy is made, filled, migrated to and fro, watched and dropped by the same ordinary role."""
    project = operator_project
    project.revision("r1", "op.create_table('a', sa.Column('id', sa.Integer, primary_key=True))")
    project.migrate()
    project.sql("shard_0", "INSERT INTO a DEFAULT VALUES")
    project.revision("r2", "op.add_column('a', sa.Column('n', sa.Integer))", "op.drop_column('a', 'n')")
    with psycopg.connect(cluster.url("postgres"), autocommit=True) as admin:
        admin.execute(sql.SQL("ALTER ROLE {} CREATEDB").format(sql.Identifier(ROLE)))
    result = project.migrate(rehearse_rows=10)
    assert statuses(result) == dict.fromkeys(project.shards, "migrated")
    (schema,) = result.extra["rehearsal"]["schemas"]
    assert (schema["rows"], schema["failure"], schema["irreversible"]) == ({"public.a": 1}, None, None)
    (statement,) = schema["revisions"][0]["statements"]
    assert [lock["mode"] for lock in statement["locks"]] == ["ACCESS EXCLUSIVE"]


def test_the_check_finds_nothing_to_complain_about(operator_project: Project) -> None:
    """A database's owner is fit to work on it."""
    assert [health.findings for health in operator_project.fleet().check_shards()] == [(), ()]


def test_connections_are_the_roles_own(operator_project: Project) -> None:
    """No session is opened as anybody else."""
    url = DatabaseUrl.parse(operator_project.shards["shard_0"])
    operator_project.revision("r1", 'op.execute("CREATE TABLE who AS SELECT current_user AS role")')
    operator_project.migrate(shards="shard_0")
    assert url.user == ROLE
    assert operator_project.sql("shard_0", "SELECT role FROM who") == [(ROLE,)]
