"""Measured load is what is there: rows and bytes as counted by hand, writes as made, shards that are away named."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kit import MakeProject
from rebalance.scales import LONG_AGO, SCHEMA, Scales, by_hand
from shardwright.pg.queries import load

MakeScales = Callable[..., Scales]
TOTAL = """SELECT sum(pg_total_relation_size(oid))::bigint FROM pg_class
           WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace AND relname <> 'plans'"""


@pytest.fixture
def scales(make_project: MakeProject) -> Scales:
    """Two shards: tenants 1 (heavy) and 2 on the first, 3 on the second."""
    made = Scales(make_project(2))
    for shard in made.project.shards:
        made.sql(shard, SCHEMA)
    made.tenant("shard_0", 1, notes=3000, tasks=500, events=400)
    made.tenant("shard_0", 2, notes=1000, tasks=100, events=40)
    made.tenant("shard_1", 3, notes=10)
    made.fleet.sync_tenants()
    return made


def test_rows_are_those_counted_by_hand(scales: Scales) -> None:
    """Direct, indirect, partitioned tables, and the row of the root."""
    assert scales.measure().exit_code == 0
    found = scales.read()
    where = {"1": "shard_0", "2": "shard_0", "3": "shard_1"}
    assert {tenant: each.rows for tenant, each in found.items()} == {
        tenant: by_hand(scales, shard, int(tenant)) for tenant, shard in where.items()
    }
    assert {tenant: each.shard for tenant, each in found.items()} == where


def test_bytes_are_all_that_the_tables_take(scales: Scales) -> None:
    """Heap and indexes of every table of tenants, shared out and nothing left over."""
    scales.measure()
    found = scales.read()
    (total,) = scales.sql("shard_0", TOTAL)[0]
    assert found["1"].bytes + found["2"].bytes == pytest.approx(total, abs=10)


def test_a_long_value_is_its_owners(scales: Scales) -> None:
    """TOAST goes by the bytes of the values, not by the number of rows."""
    scales.measure()
    before = scales.read()
    scales.sql(
        "shard_0",
        "INSERT INTO notes SELECT -g, 2, (SELECT string_agg(md5(g * 1000 + i || ''), '') FROM generate_series(1, 1000) AS i) "
        "FROM generate_series(1, 100) AS g",
    )
    scales.measure()
    after = scales.read()
    assert after["2"].bytes - before["2"].bytes > 3_000_000
    assert abs(after["1"].bytes - before["1"].bytes) < 100_000


# --- writes ---------------------------------------------------------------------------------------


def test_writes_are_whose_they_were(scales: Scales) -> None:
    """Inserts, updates and deletes of three tenants, in direct, indirect and partitioned tables; none is unknown."""
    scales.tenant("shard_0", 4, notes=100)
    scales.fleet.sync_tenants()
    scales.measure()
    assert scales.written() == {"1": None, "2": None, "3": None, "4": None}
    scales.backdate()
    scales.sql(
        "shard_0",
        "INSERT INTO notes SELECT -g, 1, 'x' FROM generate_series(1, 200) AS g",
        "DELETE FROM notes WHERE id BETWEEN 2000001 AND 2000030",
        "UPDATE tasks SET title = 'done' WHERE project IN (SELECT id FROM projects WHERE org_id = 1)",
        "UPDATE events SET note = 'seen' WHERE org_id = 2 AND at < 20",
        "DELETE FROM events WHERE org_id = 1 AND at BETWEEN 50 AND 59",
    )
    scales.measure()
    assert scales.written() == {"1": 200 + 500 + 40, "2": 30 + 19, "3": 0, "4": 0}
    assert scales.shards()["shard_0"].writes == pytest.approx(789 / LONG_AGO, rel=0.001)


def test_writes_that_leave_nothing_to_see_are_shared_by_size(scales: Scales) -> None:
    """Rows that came and went: nobody's are new, nobody's are gone."""
    scales.measure()
    scales.backdate()
    scales.sql(
        "shard_0",
        "INSERT INTO notes SELECT -g, 2, 'x' FROM generate_series(1, 1000) AS g",
        "DELETE FROM notes WHERE id < 0",
    )
    scales.measure()
    assert scales.written() == {"1": 1500, "2": 500, "3": 0}


def test_two_measurements_in_a_row_count_from_the_same_moment(scales: Scales) -> None:
    """The second keeps what the first said of writes, and the next counts all of them."""
    scales.measure()
    scales.backdate()
    scales.sql("shard_0", "UPDATE notes SET body = 'a' WHERE org_id = 2")
    scales.measure()
    scales.sql("shard_0", "DELETE FROM notes WHERE org_id = 1 AND id % 2 = 0")
    scales.measure()
    assert scales.written()["2"] == 1000
    scales.backdate()
    scales.measure()
    assert scales.written() == {"1": 1500, "2": 0, "3": 0}


def test_counters_that_began_anew_are_counted_from_there(scales: Scales) -> None:
    """A crash, or a reset, of the statistics takes no write from anybody and gives none."""
    scales.measure()
    scales.backdate()
    scales.sql("shard_0", "SELECT pg_stat_reset()", "UPDATE notes SET body = 'a' WHERE org_id = 2")
    scales.measure()
    assert scales.written() == {"1": 0, "2": 1000, "3": 0}


@pytest.mark.parametrize("times", [-1, 3])
def test_a_moment_too_far_back_tells_nothing_of_rows(scales: Scales, times: int) -> None:
    """Two thousand million transactions later, or on another server: writes are shared by size."""
    scales.measure()
    scales.backdate()
    scales.sql("control", f"UPDATE shardwright.load_shard SET xid = xid - (1::bigint << 31) * {times}")
    scales.sql("shard_0", "UPDATE notes SET body = 'a' WHERE org_id = 2")
    scales.measure()
    assert scales.written() == {"1": 750, "2": 250, "3": 0}


def test_a_row_frozen_long_ago_is_not_new(scales: Scales) -> None:
    """Its 32-bit transaction id may seem to lie ahead."""
    condition = load("shardwright.rebalance", "measure.sql")["is_new"].as_string()
    (now,) = scales.sql("shard_0", "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint")[0]
    for offset, expected in {-100: False, -1: True, -10: True, -11: False, 5: False, 1 << 30: False}.items():
        said = condition.format(last=f"'{now - 10}'").replace("r.xmin", f"'{now + offset}'::xid")
        assert scales.sql("shard_0", f"SELECT {said}") == [(expected,)], offset


# --- tables that are large, hostile, hidden -------------------------------------------------------


def test_a_large_table_is_sampled_and_said_to_be(scales: Scales) -> None:
    """Within two standard errors of its blocks (README): 64 of some 700, for one who has 3/4 of them."""
    scales.sql(
        "shard_0",
        "INSERT INTO notes SELECT 9000000 + g, 1 + g % 4 / 3, repeat('x', 100) FROM generate_series(1, 40000) AS g",
    )
    exact = {tenant: by_hand(scales, "shard_0", int(tenant)) for tenant in ("1", "2")}
    blocks = scales.sql("shard_0", "SELECT pg_relation_size('notes') / 8192")[0][0]
    found = scales.measure(exact=64)
    sampled = next(each for each in found.shards if each.shard == "shard_0").sampled
    assert set(sampled) == {"notes"}
    assert sampled["notes"] == pytest.approx(64 / blocks)
    assert scales.shards()["shard_0"].sampled == sampled
    rows = {tenant: each.rows for tenant, each in scales.read().items()}
    assert rows["1"] == pytest.approx(exact["1"], rel=0.3)
    assert rows["1"] / rows["2"] == pytest.approx(exact["1"] / exact["2"], rel=0.25)
