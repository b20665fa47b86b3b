"""The directory: its epochs and guards, who is told, where new tenants go, and what a comparison concludes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from shardwright import errors
from shardwright.catalog import control, placement
from shardwright.catalog.comparison import Comparison, Workbench
from shardwright.catalog.store import record_shards
from shardwright.dsn import DatabaseUrl
from shardwright.pg.faults import Fault
from shardwright.shard import Shard

SHARDS = ("a", "b", "c")
HOSTILE = [
    "",
    "'; DROP TABLE x; --",
    'say "hi"',
    "two\nlines\tand \\tabs",
    "\\.",
    "🦔 ünï",
    "\x1b[31m\u202e",
    "x" * 2000,
]
Connection = psycopg.Connection[Any]


@pytest.fixture
def directory(database_url: str) -> Iterator[Connection]:
    """A control database that knows three shards of the set `main`."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        control.upgrade(connection)
        record_shards(connection, "main", [Shard(name, DatabaseUrl.parse("postgresql://h/d"), {}) for name in SHARDS])
        yield connection


def place(connection: Connection, tenant: str, shard: str) -> None:
    placement.place(connection, "main", tenant, shard, changed_by="me")


def move(connection: Connection, tenant: str, source: str, target: str, epoch: int) -> int:
    return placement.move_placement(
        connection, "main", tenant, source, target, expected_epoch=epoch, changed_by="me", run=7
    )


def rows(connection: Connection) -> dict[str, tuple[str, int]]:
    query = "SELECT tenant, shard, epoch FROM shardwright.placement WHERE shard_set = 'main'"
    return {tenant: (shard, epoch) for tenant, shard, epoch in connection.execute(query)}


def told(connection: Connection) -> list[dict[str, Any]]:
    """What was told since the last time, without waiting."""
    connection.execute("SELECT")
    return [json.loads(each.payload) for each in connection.notifies(timeout=0)]


@pytest.mark.parametrize("tenant", HOSTILE)
def test_a_hostile_id_is_an_id_like_any_other(tenant: str, directory: Connection) -> None:
    """It is placed, found, listed, searched for and moved, byte for byte."""
    place(directory, tenant, "a")
    assert move(directory, tenant, "a", "b", 1) == 2
    found = placement.find(directory, "main", tenant)
    assert found is not None
    assert (found.tenant, found.shard, found.epoch, found.changed_by, found.run) == (tenant, "b", 2, "me", 7)
    assert [each.tenant for each in placement.page(directory, "main", search=tenant, limit=9)] == [tenant]


@pytest.mark.parametrize(("tenant", "said"), [("a\0b", "NUL"), ("\udcff", "UTF-8"), ("é" * 1001, "2002 bytes")])
def test_what_no_directory_can_hold_is_refused(tenant: str, said: str, directory: Connection) -> None:
    """Before any database sees it, with the reason."""
    with pytest.raises(errors.BadTenantId, match=said):
        place(directory, tenant, "a")
    assert rows(directory) == {}


def test_a_move_is_made_only_from_where_the_tenant_is(directory: Connection) -> None:
    """Another shard or another epoch than was expected changes nothing, and the error says how it stands."""
    place(directory, "acme", "a")
    assert move(directory, "acme", "a", "b", 1) == 2
    for source, epoch in (("a", 1), ("a", 2), ("b", 1), ("b", 3)):
        with pytest.raises(errors.PlacementChanged, match="is on b since epoch 2"):
            move(directory, "acme", source, "c", epoch)
    with pytest.raises(errors.NoSuchTenant):
        move(directory, "nobody", "a", "b", 1)
    assert rows(directory) == {"acme": ("b", 2)}


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE shardwright.placement SET epoch = epoch",
        "UPDATE shardwright.placement SET epoch = epoch + 2",
        "UPDATE shardwright.placement SET shard = 'b'",
        "UPDATE shardwright.placement SET epoch = epoch - 1",
        "UPDATE shardwright.placement SET tenant = 'other', epoch = epoch + 1",
        "UPDATE shardwright.placement SET shard = 'nowhere', epoch = epoch + 1",
        "INSERT INTO shardwright.placement VALUES ('main', 't', 'a', 2, now(), 'me')",
        "INSERT INTO shardwright.placement VALUES ('main', 't', 'nowhere', 1, now(), 'me')",
    ],
)
def test_the_database_itself_keeps_the_epoch(statement: str, directory: Connection) -> None:
    """It grows by exactly one at every change, and a placement names a shard of its set: by hand, too."""
    place(directory, "acme", "a")
    with pytest.raises(psycopg.IntegrityError):
        directory.execute(statement)
    assert rows(directory) == {"acme": ("a", 1)}


def test_an_epoch_is_never_given_twice(directory: Connection) -> None:
    """A tenant that was forgotten and comes back goes on counting; what it was is in the history."""
    place(directory, "acme", "a")
    move(directory, "acme", "a", "b", 1)
    directory.execute("DELETE FROM shardwright.placement")
    place(directory, "acme", "c")
    assert rows(directory) == {"acme": ("c", 3)}
    history = directory.execute("SELECT shard, epoch, run FROM shardwright.placement_history ORDER BY epoch").fetchall()
    assert history == [("a", 1, None), ("b", 2, 7)]


def test_a_change_is_told_at_its_commit_and_not_before(directory: Connection, database_url: str) -> None:
    """To whoever listens: set, tenant, shard, epoch. What was rolled back is not told."""
    with psycopg.connect(database_url, autocommit=True) as router:
        router.execute(f"LISTEN {placement.CHANNEL}")
        place(directory, "acme", "a")
        assert told(router) == [{"set": "main", "tenant": "acme", "shard": "a", "epoch": 1}]
        with directory.transaction():
            move(directory, "acme", "a", "b", 1)
            assert told(router) == []
        assert told(router) == [{"set": "main", "tenant": "acme", "shard": "b", "epoch": 2}]
        with directory.transaction(force_rollback=True):
            move(directory, "acme", "b", "c", 2)
        assert told(router) == []
        directory.execute("DELETE FROM shardwright.placement")
        assert told(router) == [{"set": "main", "tenant": "acme", "shard": None, "epoch": 2}]


def test_many_changes_are_told_in_one_message(directory: Connection, database_url: str) -> None:
    """And so is an id that no message can hold: whoever hears no name asks again for all."""
    anything = [{"set": "main", "tenant": None, "shard": None, "epoch": None}]
    with psycopg.connect(database_url, autocommit=True) as router:
        router.execute(f"LISTEN {placement.CHANNEL}")
        directory.execute(
            "INSERT INTO shardwright.placement SELECT 'main', n, 'a', 1, now(), 'me' FROM generate_series(1, 101) n"
        )
        assert told(router) == anything
        directory.execute("UPDATE shardwright.placement SET shard = 'b', epoch = 2")
        assert told(router) == anything
        directory.execute("DELETE FROM shardwright.placement")
        assert told(router) == anything
        place(directory, "\x01" * 2000, "a")  # six bytes each in JSON
        assert told(router) == anything


def test_pages_follow_one_another_without_gaps(directory: Connection) -> None:
    """In the order of the bytes, whatever the database's locale; of one shard, and of ids that begin alike."""
    for number, tenant in enumerate(["b", "a%1", "B", "a_2", "a%2", "é", "A"]):
        place(directory, tenant, SHARDS[number % 2])
    listed: list[str] = []
    while found := placement.page(directory, "main", after=listed[-1] if listed else None, limit=2):
        listed += [each.tenant for each in found]
    assert listed == ["A", "B", "a%1", "a%2", "a_2", "b", "é"]
    assert [each.tenant for each in placement.page(directory, "main", search="a%", limit=9)] == ["a%1", "a%2"]
    assert [each.tenant for each in placement.page(directory, "main", shard="b", limit=9)] == ["a%1", "a_2", "é"]


def test_new_tenants_go_where_the_policy_says(directory: Connection) -> None:
    """least_loaded: the fewest, then the first by name. modulo: the same for ever, whatever the order of the file."""
    loads = {"a": 2, "b": 1}
    assert placement.choose("x", ("b", "a", "c"), "least_loaded", loads) == "c"
    assert placement.choose("x", ("b", "a"), "least_loaded", {}) == "a"
    assert placement.stable_hash("acme") == 0x822B33AD87C148A0  # sha256sum says so
    assert {placement.choose("acme", order, "modulo", loads) for order in (("a", "b", "c"), ("c", "b", "a"))} == {
        SHARDS[placement.stable_hash("acme") % 3]
    }
    for tenant in ("1", "2", "3"):
        place(directory, tenant, "a")
    assert placement.loads(directory, "main") == {"a": 3}


# --- the comparison, against the same rules written in Python ---------------------------------

TENANTS = st.sampled_from(["t1", "t2", "t3", "t4", 'q"\\\t'])
PLACED = st.dictionaries(TENANTS, st.sampled_from([*SHARDS, "gone"]))
FOUND = st.fixed_dictionaries({name: st.frozensets(TENANTS) for name in SHARDS})


def expected(placed: dict[str, str], found: dict[str, frozenset[str]], unread: frozenset[str]) -> dict[str, str]:
    """The kind of each tenant, by the rules of docs/howto/tenants.md."""
    kinds = {}
    for tenant in {*placed, *(each for name in found.keys() - unread for each in found[name])}:
        on, says = [name for name in SHARDS if name not in unread and tenant in found[name]], placed.get(tenant)
        if len(on) > 1:
            kinds[tenant] = "twice"
        elif says is None:
            kinds[tenant] = "unplaced"
        elif on == [says]:
            kinds[tenant] = "agreeing"
        elif not on and says in unread:
            kinds[tenant] = "not_read"
        elif (not on and unread) or says in unread:
            kinds[tenant] = "undecided"
        else:
            kinds[tenant] = "elsewhere" if on else "missing"
    return kinds


def compare(
    directory: Connection, found: dict[str, frozenset[str]], unread: frozenset[str]
) -> tuple[Comparison, dict[str, str]]:
    directory.execute("DROP TABLE IF EXISTS pg_temp.directory, pg_temp.found, pg_temp.difference")
    bench = Workbench(directory, statement_timeout="1min")
    placement.copy_directory(directory, "main")
    for name, tenants in found.items():  # of a shard that falls silent half way, too
        escaped = (each.replace("\\", "\\\\").replace("\t", "\\t") for each in sorted(tenants))
        bench.load("".join(f"{name}\t{each}\n" for each in escaped).encode())
    comparison = bench.compare({name: Fault("away") for name in unread})
    return comparison, {each.tenant: name for name, kind in comparison.kinds.items() for each in kind.first}


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    placed=PLACED,
    found=FOUND,
    unread=st.frozensets(st.sampled_from(SHARDS)),
    accept=st.booleans(),
    forget=st.booleans(),
)
def test_any_directory_beside_any_shards(
    placed: dict[str, str],
    found: dict[str, frozenset[str]],
    unread: frozenset[str],
    accept: bool,
    forget: bool,
    directory: Connection,
) -> None:
    """Each tenant is of the kind that the rules say; a sync changes what is certain, and a second one nothing."""
    directory.execute("TRUNCATE shardwright.placement, shardwright.placement_history")
    known = [Shard(name, DatabaseUrl.parse("postgresql://h/d"), {}) for name in (*SHARDS, "gone")]
    record_shards(directory, "main", known)
    for tenant, shard in placed.items():
        place(directory, tenant, shard)
    kinds = expected(placed, found, unread)
    comparison, named = compare(directory, found, unread)
    assert named == {tenant: kind for tenant, kind in kinds.items() if kind not in ("agreeing", "not_read")}
    assert comparison.agreeing == list(kinds.values()).count("agreeing")
    assert comparison.not_read == list(kinds.values()).count("not_read")
    assert {name: kind.count for name, kind in comparison.kinds.items()} == {
        name: list(kinds.values()).count(name) for name in comparison.kinds
    }
    on = {tenant: name for name in sorted(found, reverse=True) if name not in unread for tenant in found[name]}
    after = {tenant: (shard, 1) for tenant, shard in placed.items()}
    placement.adopt(directory, "main", changed_by="me")
    after |= {tenant: (on[tenant], 1) for tenant, kind in kinds.items() if kind == "unplaced"}
    if accept:
        placement.accept(directory, "main", changed_by="me")
        after |= {tenant: (on[tenant], 2) for tenant, kind in kinds.items() if kind == "elsewhere"}
    if forget:
        placement.forget(directory, "main")
        after = {tenant: row for tenant, row in after.items() if kinds[tenant] != "missing"}
    assert rows(directory) == after
    again, _ = compare(directory, found, unread)
    assert (again.unplaced.count, accept and again.elsewhere.count, forget and again.missing.count) == (0, False, False)
    assert [each.found for each in again.twice.first] == [
        tuple(name for name in SHARDS if name not in unread and each.tenant in found[name])
        for each in again.twice.first
    ]


def test_what_changed_since_the_shards_were_asked_stands(directory: Connection) -> None:
    """A tenant placed, moved or added while the shards were read is neither forgotten nor put back."""
    for tenant in ("gone", "elsewhere"):
        place(directory, tenant, "a")
    comparison, _ = compare(directory, {"b": frozenset({"elsewhere", "new"})}, frozenset())
    assert (comparison.missing.count, comparison.elsewhere.count, comparison.unplaced.count) == (1, 1, 1)
    move(directory, "gone", "a", "c", 1)
    move(directory, "elsewhere", "a", "c", 1)
    place(directory, "new", "c")
    assert placement.adopt(directory, "main", changed_by="me") == 0
    assert placement.accept(directory, "main", changed_by="me") == 0
    assert placement.forget(directory, "main") == 0
    assert rows(directory) == {"gone": ("c", 2), "elsewhere": ("c", 2), "new": ("c", 1)}


def test_of_many_that_differ_all_are_counted_and_the_first_named(directory: Connection) -> None:
    """A million that differ do not fill the memory of whoever asks; an id that is too long stands in no one's way."""
    tenants = {f"{number:05}" for number in range(1500)}
    comparison, _ = compare(directory, {"a": frozenset({*tenants, "x" * 2001})}, frozenset())
    assert (comparison.unplaced.count, comparison.too_long.count) == (1500, 1)
    assert [each.tenant for each in comparison.unplaced.first] == sorted(tenants)[:1000]
    assert placement.adopt(directory, "main", changed_by="me") == 1500
