"""Measured load is what is there: rows and bytes as counted by hand, writes as made, shards that are away named."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql

from kit import MakeProject
from pair import as_role
from rebalance.scales import LONG_AGO, SCHEMA, Scales, by_hand
from shardwright.dsn import DatabaseUrl
from shardwright.pg.queries import load
from shardwright.rebalance import measure as measuring

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
        "INSERT INTO notes SELECT -g, 2, (SELECT string_agg(md5(g * 1000 + i || ''), '') FROM generate_series(1, 1000) "
        "AS i) FROM generate_series(1, 100) AS g",
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
        "DELETE FROM notes WHERE id BETWEEN 2000001 AND 2000030 OR id BETWEEN 1000001 AND 1000050",
        "UPDATE tasks SET title = 'done' WHERE project IN (SELECT id FROM projects WHERE org_id = 1)",
        "UPDATE events SET note = 'seen' WHERE org_id = 2 AND at < 20",
        "DELETE FROM events WHERE org_id = 1 AND at BETWEEN 50 AND 59",
    )
    scales.measure()
    assert scales.written() == {"1": 200 + 50 + 500 + 40, "2": 30 + 19, "3": 0, "4": 0}
    assert scales.shards()["shard_0"].writes == pytest.approx(839 / LONG_AGO, rel=0.001)


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


@pytest.mark.parametrize("times", [-1, 2, 3])
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


def test_rows_that_several_ways_lead_to_are_counted_once(scales: Scales) -> None:
    """Tables that inherit from others, trees, references that may be null, rows of nobody."""
    scales.sql(
        "shard_0",
        "CREATE TABLE old_notes () INHERITS (notes)",
        "INSERT INTO old_notes VALUES (-1, 2, 'old'), (-2, 2, 'old')",
        "CREATE TABLE nodes (id int PRIMARY KEY, org_id_of bigint REFERENCES orgs, task bigint REFERENCES tasks, "
        "parent int REFERENCES nodes)",
        "INSERT INTO nodes VALUES (1, 1, NULL, NULL), (2, NULL, (SELECT min(id) FROM tasks), NULL)",
        "INSERT INTO nodes VALUES (3, NULL, NULL, 1), (4, NULL, NULL, 3), (5, NULL, NULL, NULL)",
        "CREATE TABLE remarks (node int REFERENCES nodes, task bigint)",
        "INSERT INTO remarks VALUES (4, 1), (4, 2), (5, 1), (NULL, 1)",
    )
    assert scales.measure().exit_code == 0
    found = scales.read()
    assert found["1"].rows == by_hand(scales, "shard_0", 1) + 4 + 2
    assert found["2"].rows == by_hand(scales, "shard_0", 2)  # whose notes have the old ones
    (total,) = scales.sql("shard_0", TOTAL)[0]
    assert found["1"].bytes + found["2"].bytes < total


def test_names_and_ids_that_would_break_out_of_their_quotes(make_project: MakeProject) -> None:
    """Tables, columns and ids with quotes, percent signs, braces, our own words; nothing of them is obeyed."""
    scales = Scales(make_project(1))
    scales.write("")
    scales.project.extra = (
        "[tenants]\nroot = '''o\"r%s{g}'''\nkey = 'k\"%s{e}'\n"
        "[rebalance.labels]\nregion = 'co\"l%s{x}'\n"
    )  # fmt: skip
    scales.project.write()
    scales.sql(
        "shard_0",
        'CREATE TABLE "o""r%s{g}" ("id%" text PRIMARY KEY, "co""l%s{x}" text)',
        """CREATE TABLE "t'a""b; DROP TABLE x" ("rows" text NOT NULL REFERENCES "o""r%s{g}", width text, "new" int)""",
        'CREATE TABLE "%(a)s" ("k""%s{e}" text REFERENCES "o""r%s{g}", "row" int, "r" int)',
    )
    ids = ["it's", 'a"b', "%s", "%(shard)s", "{}", "new\nline\ttab\\N", "é💥", "'; DROP TABLE x; --", ""]
    with psycopg.connect(scales.project.shards["shard_0"], autocommit=True) as connection:
        for tenant in ids:
            connection.execute('INSERT INTO "o""r%%s{g}" VALUES (%s, %s)', (tenant, f"of {tenant}"))
            for _ in range(3):
                connection.execute('INSERT INTO "%%(a)s" VALUES (%s)', (tenant,))
        connection.execute("""INSERT INTO "t'a""b; DROP TABLE x" VALUES ('%s', 'w', 1), ('{}', 'w', 2)""")
    scales.fleet.sync_tenants()
    found = scales.measure()
    assert found.exit_code == 0, found
    rows = {tenant: each.rows for tenant, each in scales.read().items()}
    assert rows == {tenant: 5 if tenant in ("%s", "{}") else 4 for tenant in ids}
    assert scales.read()["it's"].labels == {"region": "of it's"}


def test_ids_that_are_equal_and_not_alike_are_one_tenants(make_project: MakeProject) -> None:
    """ACME's rows are acme's, and 1.0's are 1's, where the root table's type says so."""
    for kind, own, other in (("citext", "acme", "ACME"), ("numeric", "1", "1.0")):
        scales = Scales(make_project(1))
        scales.sql(
            "shard_0",
            "CREATE EXTENSION citext",
            f"CREATE TABLE orgs (id {kind} PRIMARY KEY)",
            f"CREATE TABLE tasks (org_id {kind} REFERENCES orgs, n int)",
            f"INSERT INTO orgs VALUES ('{own}')",
            f"INSERT INTO tasks VALUES ('{other}', 1), ('{other}', 2), ('{other}', 3)",
        )
        scales.fleet.sync_tenants()
        scales.measure()
        assert {tenant: each.rows for tenant, each in scales.read().items()} == {own: 4}
        assert scales.shards()["shard_0"].strangers == 0


def test_whom_the_directory_does_not_know_is_left_out_and_counted(scales: Scales) -> None:
    """And so are copies on shards that are not the tenant's."""
    scales.tenant("shard_0", 7, notes=100)
    scales.tenant("shard_1", 1, notes=50)
    found = {each.shard: each for each in scales.measure().shards}
    assert set(scales.read()) == {"1", "2", "3"}
    assert scales.read()["1"].rows == by_hand(scales, "shard_0", 1)
    assert (found["shard_0"].strangers, found["shard_1"].strangers) == (1, 1)
    assert found["shard_0"].rows == by_hand(scales, "shard_0", 1) + by_hand(scales, "shard_0", 2)


def test_a_tenant_without_a_row_weighs_nothing(scales: Scales) -> None:
    """Placed, and still to come; and one that has left the directory is forgotten."""
    scales.fleet.add_tenant("8", shard="shard_1")
    scales.measure()
    assert (scales.read()["8"].rows, scales.read()["8"].bytes) == (0, 0)
    scales.sql("control", "DELETE FROM shardwright.placement WHERE tenant = '8'")
    scales.measure()
    assert "8" not in scales.read()


# --- what goes wrong ------------------------------------------------------------------------------


def test_a_shard_that_is_away_keeps_its_last_measurement(scales: Scales, dead_url: str) -> None:
    """It is named, the others are measured, nothing of its tenants is lost."""
    scales.measure()
    before = scales.read()["3"]
    scales.project.shards["shard_1"] = dead_url
    scales.write("")
    scales.sql("shard_0", "DELETE FROM notes WHERE org_id = 1")
    found = scales.measure()
    assert (found.exit_code, list(found.faults), [each.shard for each in found.shards]) == (1, ["shard_1"], ["shard_0"])
    assert scales.read()["3"] == before
    assert scales.read()["1"].rows == by_hand(scales, "shard_0", 1)
    assert scales.shards()["shard_1"].measured_at == before.measured_at


def test_a_table_that_somebody_holds_is_waited_for_and_then_named(
    scales: Scales, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits behind us for long; a measurement without a table would be a wrong one."""
    tries: list[int] = []

    def pause(attempt: int) -> timedelta:
        tries.append(attempt)
        return timedelta(0)

    monkeypatch.setattr("shardwright.pg.retry.pause", pause)
    with scales.project.holding("shard_0", "LOCK TABLE notes"):
        found = scales.measure()
    assert len(tries) == 4
    assert "lock timeout" in found.faults["shard_0"].reason
    assert set(scales.read()) == {"3"}


def test_rows_that_a_policy_hides_are_an_error(scales: Scales) -> None:
    """A part would pass for the whole; the table is named, with what helps."""
    url = scales.project.shards["shard_0"]
    role = f"reader_{DatabaseUrl.parse(url).database}"
    scales.sql(
        "shard_0", f"CREATE ROLE {role} LOGIN", f"GRANT SELECT ON ALL TABLES IN SCHEMA public TO {role}",
        "ALTER TABLE notes ENABLE ROW LEVEL SECURITY", "CREATE POLICY few ON notes USING (org_id = 2)",
    )  # fmt: skip
    scales.project.shards["shard_0"] = as_role(url, role)
    scales.write("")
    try:
        assert "notes" in scales.measure().faults["shard_0"].reason
    finally:
        scales.project.shards["shard_0"] = url
        scales.sql("shard_0", f"DROP OWNED BY {role}", f"DROP ROLE {role}")


def test_a_count_that_takes_too_long_becomes_an_estimate(scales: Scales, monkeypatch: pytest.MonkeyPatch) -> None:
    """An eighth of the blocks is read then, and that is said."""
    monkeypatch.setitem(measuring._SETTINGS, "statement_timeout", "1s")
    scales.sql(
        "shard_0",
        "INSERT INTO notes SELECT 9000000 + g, 1, repeat('x', 100) FROM generate_series(1, 3000) AS g",
    )
    reader = measuring._parts_query

    def slowly(*arguments: Any) -> Any:
        composed = reader(*arguments)
        return composed if arguments[1].table.name.name != "notes" else composed + sql.SQL(
            " HAVING bool_and(r.rows >= 0 AND pg_sleep(r.rows * 0.0003) IS NOT NULL)"
        )  # fmt: skip

    monkeypatch.setattr(measuring, "_parts_query", slowly)
    found = next(each for each in scales.measure().shards if each.shard == "shard_0")
    assert found.sampled == {"notes": 0.125}


# --- [rebalance] ----------------------------------------------------------------------------------


def test_load_query_and_labels_are_asked_on_every_shard(scales: Scales) -> None:
    """A number for each tenant, summed; a column of the root table; what is null is left out."""
    scales.write(
        '[rebalance]\nload_query = "SELECT org_id, length(body) FROM notes WHERE id % 2 = 0 -- {half}"\n'
        '[rebalance.labels]\nregion = "region"'
    )
    scales.sql("shard_0", "UPDATE orgs SET region = NULL WHERE id = 2")
    assert scales.measure().exit_code == 0
    found = scales.read()
    assert {tenant: each.custom for tenant, each in found.items()} == {"1": 75000.0, "2": 25000.0, "3": 250.0}
    assert {tenant: each.labels for tenant, each in found.items()} == {
        "1": {"region": "eu"}, "2": {}, "3": {"region": "eu"},
    }  # fmt: skip


@pytest.mark.parametrize(
    ("query", "word"),
    [
        ("SELECT 1", 'load_query: table "found" has 1 columns'),
        ("SELECT id, nothing FROM orgs", 'load_query: column "nothing" does not exist'),
        ("SELECT id, 'NaN'::float FROM orgs", "load_query gives nan for tenant"),
        ("SELECT id, -1 FROM orgs", "load_query gives -1.0 for tenant"),
        ("SELECT id, nextval('seen') FROM orgs", "load_query: cannot execute nextval() in a read-only transaction"),
        ("DELETE FROM notes RETURNING org_id, 1", "load_query: syntax error"),
        ("SELECT 1, 2) AS x (tenant, load); DELETE FROM notes; SELECT 1 FROM (SELECT 1", "load_query: "),
    ],
)
def test_a_load_query_that_is_none_is_named_and_changes_nothing(scales: Scales, query: str, word: str) -> None:
    """The shard is not measured; no row is gone."""
    scales.sql("shard_0", "CREATE SEQUENCE seen")
    scales.write(f"[rebalance]\nload_query = {json.dumps(query)}")
    found = scales.measure()
    assert word in found.faults["shard_0"].reason
    assert "rebalance.load_query" in found.faults["shard_0"].hint
    assert scales.sql("shard_0", "SELECT count(*) FROM notes") == [(4000,)]
    assert scales.read() == {}


def test_a_label_without_its_column_is_named(scales: Scales) -> None:
    """With the line to write."""
    scales.write('[rebalance.labels]\nregion = "county"')
    fault = scales.measure().faults["shard_0"]
    assert (fault.reason, fault.hint) == (
        "public.orgs has no column county",
        "under [rebalance.labels]: region = COLUMN",
    )
