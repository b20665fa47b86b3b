"""How much a move carries: the tenant's own rows, and times that grow with them."""

from __future__ import annotations

from shardwright.move.preflight.estimate import estimate
from two_shards import Shards


def test_rows_and_bytes_of_the_tenant(shards: Shards) -> None:
    """Each table's rows are counted; bytes are its share, and the sums are of all tables."""
    shards.sql("source", "INSERT INTO tasks (org_id, title) SELECT 1, 'x' FROM generate_series(1, 5000)")
    shards.sql("source", "ANALYZE")
    with shards.ground() as ground:
        found = estimate(ground)
        whole = ground.graph[next(n for n in ground.graph.catalog.by_name if n.name == "tasks")].bytes
    rows = {each.table: each.rows for each in found.tables}
    assert rows == {"orgs": 1, "users": 3, "tasks": 5010, "comments": 10}
    assert found.rows == sum(rows.values())
    tasks = next(each for each in found.tables if each.table == "tasks")
    assert tasks.is_counted
    assert 0.9 * whole < tasks.bytes < whole
    assert found.bytes == sum(each.bytes for each in found.tables)


def test_the_time_is_a_band_that_grows_with_the_rows(shards: Shards) -> None:
    """From fast to slow; the write gap does not grow with the tenant."""
    with shards.ground() as ground:
        small = estimate(ground)
    shards.sql("source", "INSERT INTO tasks (org_id, title) SELECT 1, 'x' FROM generate_series(1, 9000)")
    with shards.ground() as ground:
        large = estimate(ground)
    assert small.seconds[0] < small.seconds[1] < large.seconds[1]
    assert small.seconds[0] < large.seconds[0]
    assert 0.01 < large.write_gap < 0.5
    assert large.as_dict()["rows"] == large.rows
    assert [each["table"] for each in large.as_dict()["tables"]] == ["orgs", "users", "tasks", "comments"]


def test_a_table_that_takes_too_long_to_count(shards: Shards) -> None:
    """The planner's guess, and it is said; here a policy makes every look at the rows slow."""
    shards.mover("GRANT SELECT ON orgs, users, tasks, comments, plans, audit TO {role}")
    shards.sql("source", "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY; ANALYZE tasks")
    shards.sql("source", "CREATE POLICY slow ON tasks USING ((SELECT true FROM pg_sleep(60)))")
    with shards.ground() as ground:
        ground.on_source.execute("SET statement_timeout = '300ms'")
        found = {each.table: each for each in estimate(ground).tables}
    assert found["users"].is_counted
    assert not found["tasks"].is_counted
    assert 1 <= found["tasks"].rows <= 20
