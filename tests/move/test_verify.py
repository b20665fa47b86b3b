"""`tenants verify`: what the fences say beside the directory, and rows whose tenant is elsewhere."""

from __future__ import annotations

from kit import MakeProject, Project

_SCHEMA = """
CREATE TABLE org (id int PRIMARY KEY);
CREATE TABLE task (id int PRIMARY KEY, org_id int NOT NULL REFERENCES org);
CREATE TABLE note (id int PRIMARY KEY, org_id int NOT NULL);
"""


def _project(make_project: MakeProject) -> Project:
    project = make_project(2, extra="\n[tenants]\nroot = 'org'\nkey = 'org_id'\n")
    for shard in project.shards:
        project.sql(shard, _SCHEMA)
    project.sql("shard_0", "INSERT INTO org VALUES (1)")
    project.sql("shard_0", "INSERT INTO task VALUES (1, 1)")
    project.sql("shard_0", "INSERT INTO note VALUES (1, 1)")
    project.fleet().sync_tenants()
    return project


def test_rows_whose_tenant_is_not_there_are_named(make_project: MakeProject) -> None:
    """Where no foreign key keeps them from it; with the shard, the table and their tenant."""
    project = _project(make_project)
    assert project.fleet().verify_tenants().is_equal
    project.sql("shard_1", "INSERT INTO note VALUES (2, 1), (3, 7)")
    found = project.fleet().verify_tenants()
    assert (found.is_equal, found.comparison.is_equal) == (False, True)
    assert [(each.shard, each.fact) for each in found.orphans] == [
        ("shard_1", "note has 2 rows of tenants that are not on the shard: 1, 7")
    ]
    done = project.cli("tenants", "verify")
    assert done.returncode == 1
    assert "shard_1: note has 2 rows" in done.stdout + done.stderr


def test_a_tenant_on_the_move_is_no_difference_and_its_fences_are_looked_at(make_project: MakeProject) -> None:
    """On both shards rightly; a fence opened by hand is named with its move, and so is what a move has left."""
    project = _project(make_project)
    run = project.fleet().move("1", "shard_1").move.run
    found = project.fleet().verify_tenants()
    assert (found.is_equal, found.comparison.moving) == (True, 1)
    assert project.fleet().sync_tenants().exit_code == 0
    project.sql("shard_0", f"SELECT setval('shardwright.fence_{run}', 1)")
    (odd,) = project.fleet().verify_tenants().fences
    assert (odd.shard, odd.fact) == ("shard_0", f"tenant '1': the shard takes writes, and move {run} is switched")
    project.sql("shard_0", f"SELECT setval('shardwright.fence_{run}', 2)")
    assert project.fleet().finish_move("1").exit_code == 0
    assert project.fleet().verify_tenants().is_equal
    project.sql("shard_0", "CREATE SCHEMA shardwright")
    project.sql("shard_0", "CREATE TABLE shardwright.move (move int, tenant text, side text)")
    project.sql("shard_0", "INSERT INTO shardwright.move VALUES (%s, '1', 'source')", run)
    (odd,) = project.fleet().verify_tenants().fences
    assert f"what move {run} has made there is still there" in odd.fact
