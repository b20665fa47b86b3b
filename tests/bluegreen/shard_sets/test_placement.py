"""Which green shard a tenant goes to, and what each tenant is counted for."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from shardwright import errors
from shardwright.bluegreen.shard_sets.loads import Load, read_loads
from shardwright.bluegreen.shard_sets.placement import Policy, assign
from shardwright.catalog.placement import choose
from shardwright.config import TenantsSection
from shardwright.pg.tables import read_tables
from shardwright.transfer.place import table_graph

BLUE = ("shard_0", "shard_1")
TENANTS = {str(n): Load(BLUE[n % 2], n, 100 * n) for n in range(1, 41)}
SCHEMA = """
CREATE TABLE orgs (id bigint PRIMARY KEY);
CREATE TABLE tasks (id bigserial PRIMARY KEY, org_id bigint NOT NULL REFERENCES orgs);
CREATE TABLE notes (id bigserial PRIMARY KEY, task_id bigint NOT NULL REFERENCES tasks, body text);
INSERT INTO orgs VALUES (1), (2), (3);
INSERT INTO tasks (org_id) SELECT 1 FROM generate_series(1, 300);
INSERT INTO tasks (org_id) SELECT 2 FROM generate_series(1, 100);
INSERT INTO notes (task_id, body) SELECT id, 'x' FROM tasks;
ANALYZE;
"""


def weight(placed: dict[str, str]) -> Counter[str]:
    found: Counter[str] = Counter()
    for tenant, shard in placed.items():
        found[shard] += TENANTS[tenant].bytes
    return found


def test_pairs_keep_a_shards_tenants_together() -> None:
    """By the order of the file, and a pin goes before."""
    placed = assign(TENANTS, BLUE, ("a", "b"), "pairs", {"4": "b"})
    assert {placed[tenant] for tenant, load in TENANTS.items() if load.shard == "shard_0" and tenant != "4"} == {"a"}
    assert {placed[tenant] for tenant, load in TENANTS.items() if load.shard == "shard_1"} == {"b"}
    assert placed["4"] == "b"


def test_pairs_are_refused_where_there_are_none() -> None:
    """Two to three: the error says so, and which policy does it."""
    with pytest.raises(errors.GreenNotPlaced, match="3 to 2") as refused:
        assign(TENANTS, BLUE, ("a", "b", "c"), "pairs", {})
    assert "least_loaded" in refused.value.hint


@pytest.mark.parametrize("green", [("a",), ("a", "b", "c"), tuple("abcdefg")])
def test_least_loaded_levels_bytes(green: tuple[str, ...]) -> None:
    """No shard has more than the mean and the largest tenant; pins count with the rest."""
    pins = {"40": green[-1], "39": green[-1]}
    placed = assign(TENANTS, BLUE, green, "least_loaded", pins)
    assert placed.items() >= pins.items()
    heaviest = max(weight(placed).values())
    assert heaviest <= max(sum(weight(placed).values()) / len(green) + 4000, 7900)


def test_empty_tenants_are_levelled_by_their_number() -> None:
    """A fleet without rows yet is not put onto one shard."""
    tenants = {str(n): Load("shard_0", 0, 0) for n in range(10)}
    assert Counter(assign(tenants, BLUE, ("a", "b"), "least_loaded", {}).values()) == {"a": 5, "b": 5}


@pytest.mark.parametrize("policy", ["pairs", "least_loaded", "modulo"])
def test_it_does_not_depend_on_the_order_of_tenants(policy: Policy) -> None:
    """Asked twice it gives the same, for the plan and the run are two processes."""
    backwards = dict(reversed(TENANTS.items()))
    assert assign(TENANTS, BLUE, ("a", "b"), policy, {}) == assign(backwards, BLUE, ("a", "b"), policy, {})


def test_modulo_is_that_of_new_tenants() -> None:
    """So a tenant's shard is the one it would have got if it had come after the switch."""
    placed = assign(TENANTS, BLUE, ("a", "b", "c"), "modulo", {})
    assert placed == {tenant: choose(tenant, "abc", "modulo", {}) for tenant in TENANTS}


def test_a_latecomer_goes_to_the_least_loaded_and_moves_nobody() -> None:
    """Those assigned before are given as pins."""
    before = assign(TENANTS, BLUE, ("a", "b"), "least_loaded", {"40": "a", "39": "a", "38": "a"})
    least = min(weight(before), key=lambda shard: weight(before)[shard])
    later = assign(TENANTS | {"new": Load("shard_0", 1, 1)}, BLUE, ("a", "b"), "least_loaded", before)
    assert later == before | {"new": least}


def test_a_pin_to_nowhere_is_refused() -> None:
    """With the names there are."""
    with pytest.raises(errors.GreenNotPlaced, match="'7' is pinned to c, and the green shards are a, b"):
        assign(TENANTS, BLUE, ("a", "b"), "modulo", {"7": "c"})


@pytest.fixture
def shard(make_database: Callable[[], str]) -> Iterator[psycopg.Connection[Any]]:
    """Three tenants with 600, 200 and no rows beside their own."""
    with psycopg.connect(make_database(), autocommit=True) as connection:
        for statement in SCHEMA.split(";\n"):
            connection.execute(statement.encode())
        yield connection


def loads_of(shard: psycopg.Connection[Any], **options: Any) -> dict[str, Load]:
    graph = table_graph(read_tables(shard), TenantsSection(root="orgs", key="org_id"))
    return read_loads(shard, graph, "shard_0", **options)


def test_loads_follow_the_rows(shard: psycopg.Connection[Any]) -> None:
    """All rows of a tenant, those of tables without the key as those they refer to; one without rows is there, too."""
    loads = loads_of(shard)
    assert {tenant: (load.shard, load.rows) for tenant, load in loads.items()} == {
        "1": ("shard_0", 601),
        "2": ("shard_0", 201),
        "3": ("shard_0", 1),
    }
    size = shard.execute(
        "SELECT sum(pg_total_relation_size(oid)) FROM pg_class"
        " WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
    ).fetchone()
    assert size is not None
    assert sum(load.bytes for load in loads.values()) == pytest.approx(float(size[0]), abs=3)
    assert loads["1"].bytes > 2 * loads["2"].bytes


def test_of_a_large_table_a_sample_is_read(shard: psycopg.Connection[Any]) -> None:
    """A load is about what it is, and far fewer rows are read than there are."""
    shard.execute("INSERT INTO tasks (org_id) SELECT 1 + (i % 4) / 3 FROM generate_series(1, 100000) AS i")
    shard.execute("ANALYZE")
    loads = loads_of(shard, sample=20_000)
    assert loads["1"].rows == pytest.approx(75_600, rel=0.2)
    assert loads["1"].rows != 75_601
    assert loads["2"].rows == pytest.approx(25_200, rel=0.2)
