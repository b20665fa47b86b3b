"""The tenant's rows: where they are, what they refer to, who refers to them."""

from __future__ import annotations

from typing import Any

import pytest

from shardwright.move.preflight import probe
from shardwright.move.preflight import rows_of_nobody as nobody
from shardwright.move.preflight.collisions import collisions
from shardwright.move.preflight.declare import Check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.ignored_references import ignored_references
from shardwright.move.preflight.other_tenants import other_tenants
from shardwright.move.preflight.rows_of_nobody import rows_of_nobody
from shardwright.move.preflight.shared_rows import shared_rows
from shardwright.move.preflight.target_rows import target_rows
from shardwright.move.preflight.tenant import tenant
from two_shards import Shards

USER_1 = "00000001-0000-0000-0000-000000000001"
USER_2 = "00000002-0000-0000-0000-000000000001"


def mended(shards: Shards, check: Check[Any]) -> Finding:
    """The only thing that the check finds; by its own cure it finds nothing any more."""
    finding = shards.find_one(check)
    shards.mend(finding)
    assert shards.find(check) == []
    return finding


@pytest.mark.parametrize(
    ("name", "fact"),
    [
        ("9", "orgs of source has no tenant 9"),
        ("3", "orgs of source has no tenant 3"),
        ("01", "PostgreSQL writes the tenant 01 as 1"),
        ("one", '1 is no id of a tenant: invalid input syntax for type bigint: "one"'),
    ],
)
def test_a_tenant_that_is_not_there(shards: Shards, name: str, fact: str) -> None:
    """Unknown, on the other shard, spelled in another way, no id at all."""
    assert shards.find_one(tenant, name).fact == fact.replace("1 is no", "one is no")


def test_a_tenant_key_of_another_type(shards: Shards) -> None:
    """A warning, since one id may be two texts; kinds of integers are alike."""
    shards.both("CREATE TABLE a (id uuid PRIMARY KEY, org_id int); CREATE TABLE b (id uuid PRIMARY KEY, org_id text)")
    finding = mended(shards, tenant)
    assert finding.severity == "warning"
    assert finding.fact == "b.org_id is text, orgs.id is bigint"


def test_rows_of_the_tenant_on_the_target(shards: Shards) -> None:
    """In any table, indirect ones too, with their numbers; deleted in an order that foreign keys allow."""
    shards.sql(
        "target",
        "INSERT INTO orgs VALUES (1, 'left'); INSERT INTO tasks (id, org_id) VALUES (100, 1), (102, 1);"
        " INSERT INTO comments VALUES (100, 1), (100, 2), (102, 1)",
    )
    finding = mended(shards, target_rows)
    assert finding.fact == "target has rows of the tenant already: orgs (1 row), tasks (2 rows), comments (3 rows)"
    assert shards.sql("target", "SELECT count(*) FROM tasks") == [(10,)]


def test_ids_that_other_tenants_have_on_the_target(shards: Shards) -> None:
    """Integers and UUIDs alike; some are named. Ids of the source's other tenants do not matter."""
    shards.sql(
        "target",
        f"INSERT INTO users VALUES ('{USER_1}', 3, 'a@x'), ('{USER_2}', 3, 'b@x');"
        " INSERT INTO tasks (id, org_id) SELECT i, 3 FROM generate_series(1, 13, 2) AS i",
    )
    users, tasks = shards.find(collisions)
    assert users.fact == f"target has users of other tenants with this tenant's id: {USER_1}"
    assert tasks.fact == "target has tasks of other tenants with this tenant's id: 1, 3, 5, 7, 9 and more"


def test_unique_values_that_other_tenants_have_on_the_target(shards: Shards) -> None:
    """Secondary keys: of the root, of expressions and of some rows only, of pairs with nulls, of ranges."""
    shards.both(
        "CREATE TABLE hosts (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), org_id bigint NOT NULL, name text,"
        " port int, at int4range, live bool, EXCLUDE USING gist (at WITH &&));"
        ' CREATE UNIQUE INDEX "by %s" ON hosts (lower(name), (port + 1)) WHERE live;'
        " ALTER TABLE hosts ADD UNIQUE NULLS NOT DISTINCT (name, port)"
    )
    insert = "INSERT INTO hosts (org_id, name, port, at, live) VALUES"
    shards.sql("source", f"{insert} (1, 'A', 1, '[1,3]', true), (1, 'b', 1, NULL, false), (1, 'n', NULL, NULL, true)")
    shards.sql("target", f"{insert} (3, 'a', 1, NULL, false), (3, 'B', 1, '[7,8]', true), (3, 'N', NULL, NULL, true)")
    assert shards.find(collisions) == []
    shards.sql("target", "UPDATE orgs SET slug = 'org-1'; UPDATE hosts SET live = true")
    shards.sql("target", f"{insert} (3, 'n', NULL, '[3,5]', false)")
    found = [each.fact.partition("with ")[2] for each in shards.find(collisions)]
    assert found == [
        "this tenant's slug: org-1",
        "this tenant's lower(name), ((port + 1)): a / 2",
        "this tenant's at: [1,4)",
        "this tenant's name, port: n / null",
    ]


def test_sessions_that_look_for_names_in_other_places(shards: Shards) -> None:
    """Functions, types and operators of an index mean the same, whatever the databases' search paths are."""
    shards.both("CREATE SCHEMA apart; CREATE DOMAIN apart.word AS text; ALTER TABLE users ADD COLUMN nick apart.word")
    shards.both(
        "CREATE FUNCTION apart.fold(text) RETURNS apart.word IMMUTABLE RETURN lower($1);"
        " CREATE UNIQUE INDEX ON users (apart.fold(nick))"
    )
    shards.sql("source", f"ALTER DATABASE {shards.database('source')} SET search_path = public, apart")
    shards.sql("source", f"UPDATE users SET nick = 'Jo' WHERE id = '{USER_1}'")
    shards.sql("target", "INSERT INTO users VALUES (gen_random_uuid(), 3, 'j', 'JO')")
    assert shards.find_one(collisions).fact.endswith("this tenant's apart.fold((nick)::text): jo")


def test_keys_with_the_tenant_in_them_can_not_collide(shards: Shards) -> None:
    """Nor those that hold within a parent that is the tenant's own."""
    shards.sql("target", "INSERT INTO users VALUES (gen_random_uuid(), 3, '7@x')")
    shards.sql("source", "INSERT INTO users VALUES (gen_random_uuid(), 1, '7@x')")
    assert shards.find(collisions) == []


def test_ids_in_batches(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    """The one that collides may be the last of many."""
    monkeypatch.setattr(probe, "_BATCH", 7)
    shards.sql("source", "INSERT INTO tasks (id, org_id) SELECT i, 1 FROM generate_series(1001, 1100) AS i")
    shards.sql("target", "INSERT INTO tasks (id, org_id) VALUES (1099, 3)")
    assert shards.find_one(collisions).fact.endswith("this tenant's id: 1099")


def test_a_collision_in_one_partition(shards: Shards) -> None:
    """A key that only a partition has."""
    shards.both(
        "CREATE TABLE logs (id int NOT NULL, org_id bigint NOT NULL, at int) PARTITION BY RANGE (at);"
        " CREATE TABLE logs_1 PARTITION OF logs FOR VALUES FROM (0) TO (9);"
        " CREATE TABLE logs_2 PARTITION OF logs FOR VALUES FROM (9) TO (99); ALTER TABLE logs_2 ADD UNIQUE (id)"
    )
    shards.sql("source", "INSERT INTO logs VALUES (1, 1, 1), (2, 1, 10)")
    shards.sql("target", "INSERT INTO logs VALUES (1, 3, 10), (2, 3, 1)")
    assert shards.find(collisions) == []
    shards.sql("target", "INSERT INTO logs VALUES (2, 3, 11)")
    assert shards.find_one(collisions).fact == "target has logs_2 of other tenants with this tenant's id: 2"


def test_shared_rows_that_the_target_lacks(shards: Shards) -> None:
    """Named, with the INSERT that brings them; what other tenants refer to does not matter."""
    shards.both("ALTER TABLE plans ADD COLUMN twice int GENERATED ALWAYS AS (price * 2) STORED")
    shards.sql(
        "source", "INSERT INTO plans VALUES ('it''s', 7), ('rare', 8); UPDATE orgs SET plan = 'rare' WHERE id = 2"
    )
    assert shards.find(shared_rows) == []
    shards.sql("source", "UPDATE orgs SET plan = 'it''s' WHERE id = 1")
    finding = mended(shards, shared_rows)
    assert finding.fact == "orgs.plan of the tenant refers to 1 row of plans that target does not have: it's"
    assert shards.sql("target", "SELECT * FROM plans WHERE price = 7") == [("it's", 7, 14)]


def test_many_missing_shared_rows(shards: Shards) -> None:
    """Counted, some named, and no SQL of endless length; ignored tables count too."""
    shards.both("ALTER TABLE tasks ADD COLUMN audit int REFERENCES audit")
    shards.sql("source", "INSERT INTO audit SELECT i FROM generate_series(1, 30) AS i")
    shards.sql("source", "INSERT INTO tasks (org_id, audit) SELECT 1, i FROM generate_series(1, 30) AS i")
    finding = shards.find_one(shared_rows)
    assert "tasks.audit of the tenant refers to 30 rows of audit" in finding.fact
    assert finding.fact.endswith("and 25 more")
    assert finding.cure == "copy the rows of public.audit from source to target"


def test_rows_of_the_tenant_that_refer_to_another_tenant(shards: Shards) -> None:
    """Each direction is told of its own tenant; the rows are named."""
    shards.sql("source", f"UPDATE tasks SET owner = '{USER_2}' WHERE id IN (1, 3)")
    assert "not the tenant's refer by owner to its users" in shards.find_one(other_tenants, "2").fact
    finding = mended(shards, other_tenants)
    assert finding.severity == "error"
    assert finding.fact == (
        "2 rows of tasks of the tenant refer by owner to another tenant's users (1, 3):"
        " it would refer to nothing on target"
    )


def test_rows_of_others_that_refer_to_the_tenant(shards: Shards) -> None:
    """With what the clean-up would do to them; of rows that must refer to one a query is given."""
    shards.both("CREATE TABLE likes (org_id bigint, n int, user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE)")
    shards.sql("source", f"INSERT INTO likes VALUES (2, 1, '{USER_1}'), (2, 2, '{USER_2}'), (1, 3, '{USER_1}')")
    finding = shards.find_one(other_tenants)
    assert finding.fact.startswith("1 row of likes that are not the tenant's refer by user_id to its users ((0,")
    assert finding.fact.endswith("ON DELETE CASCADE would change them at the clean-up")
    shown = shards.sql("source", finding.cure.partition(": ")[2])
    assert [row[1] for row in shown] == [1]


def test_a_row_that_two_references_give_to_two_tenants(shards: Shards) -> None:
    """An indirect row with two ways that lead to two tenants is both's, and can't be moved."""
    shards.both("CREATE TABLE files (id int PRIMARY KEY, task bigint REFERENCES tasks, by_user uuid REFERENCES users)")
    shards.sql("source", f"INSERT INTO files VALUES (1, 1, '{USER_1}'), (2, 1, NULL), (3, NULL, '{USER_2}')")
    assert shards.find(other_tenants) == []
    shards.sql("source", f"INSERT INTO files VALUES (4, 1, '{USER_2}')")
    assert (
        "1 row of files of the tenant refer by by_user to another tenant's users (4)"
        in mended(shards, other_tenants).fact
    )


def test_ignored_tables_that_refer_to_the_tenant(shards: Shards) -> None:
    """A warning: their rows stay."""
    shards.sql("source", f"INSERT INTO audit VALUES (1, '{USER_1}'), (2, '{USER_2}')")
    finding = mended(shards, ignored_references)
    assert finding.severity == "warning"
    assert finding.fact.startswith(
        "1 row of audit that are not the tenant's refer by user_id to its users (1): they stay"
    )


def test_rows_that_no_tenant_has(shards: Shards, monkeypatch: pytest.MonkeyPatch) -> None:
    """Counted, and of a large table estimated from a sample, which is said."""
    shards.both("CREATE TABLE drafts (id serial PRIMARY KEY, org_id bigint, text text)")
    assert shards.find(rows_of_nobody) == []
    shards.sql("source", "INSERT INTO drafts (org_id) SELECT nullif(i % 2, 0) FROM generate_series(1, 20000) AS i")
    shards.sql("source", "ANALYZE drafts")
    finding = shards.find_one(rows_of_nobody)
    assert finding.fact == "10,000 rows of drafts on source belong to no tenant, and stay there"
    monkeypatch.setattr(nobody, "_READ", 5_000)
    fact = shards.find_one(rows_of_nobody).fact
    assert fact.startswith("about ")
    assert 3_000 < int(fact.split()[1].replace(",", "")) < 17_000
