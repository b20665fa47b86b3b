"""What tables are made of: keys, partitions, kinds of columns; each SQL cure is run."""

from __future__ import annotations

from typing import Any

from shardwright.move.preflight.declare import Check
from shardwright.move.preflight.finding import Finding
from shardwright.move.preflight.foreign_partitions import foreign_partitions
from shardwright.move.preflight.generated_columns import generated_columns
from shardwright.move.preflight.inheritance import inheritance
from shardwright.move.preflight.keys import keys
from shardwright.move.preflight.large_objects import large_objects
from shardwright.move.preflight.unlogged import unlogged
from shardwright.move.preflight.unvalidated import unvalidated
from two_shards import Shards


def mended(shards: Shards, check: Check[Any]) -> list[Finding]:
    """What the check finds; by its own cures it finds nothing any more."""
    found = shards.find(check)
    for finding in found:
        shards.mend(finding)
    assert shards.find(check) == []
    return found


def test_a_small_table_without_a_key(shards: Shards) -> None:
    """A note: it is copied whole. A partial, a deferrable or a nullable unique key is none."""
    shards.both(
        "CREATE TABLE log (org_id bigint NOT NULL, a int NOT NULL, b int NOT NULL UNIQUE DEFERRABLE, c int);"
        "CREATE UNIQUE INDEX ON log (a) WHERE a > 0; CREATE UNIQUE INDEX ON log (lower(a::text))"
    )
    shards.sql("source", "INSERT INTO log VALUES (1, 1, 1), (1, 2, 2), (2, 3, 3)")
    (finding,) = mended(shards, keys)
    assert finding.severity == "note"
    assert finding.fact == "log has no primary key: 2 rows of the tenant are copied while it can't write"


def test_a_large_table_without_a_key(shards: Shards) -> None:
    """An error from 5,001 rows of this tenant on; not in an offline move."""
    shards.both("CREATE TABLE log (org_id bigint NOT NULL, number int UNIQUE)")
    shards.sql("source", "INSERT INTO log SELECT 2, i FROM generate_series(1, 9000) AS i")
    shards.sql("source", "INSERT INTO log SELECT 1, -i FROM generate_series(1, 5000) AS i")
    assert [each.severity for each in shards.find(keys)] == ["note"]
    shards.sql("source", "INSERT INTO log VALUES (1, 0)")
    assert [each.severity for each in shards.find(keys, offline=True)] == ["note"]
    (finding,) = mended(shards, keys)
    assert finding.severity == "error"
    assert "log has no primary key and more than 5,000 rows of the tenant" in finding.fact
    assert finding.cure == 'ALTER TABLE "public"."log" ALTER COLUMN "number" SET NOT NULL'


def test_a_unique_key_that_no_row_can_leave_out_is_enough(shards: Shards) -> None:
    """A constraint or a bare index."""
    shards.both("CREATE TABLE a (org_id bigint, n int NOT NULL UNIQUE)")
    shards.both("CREATE TABLE b (org_id bigint, n int NOT NULL); CREATE UNIQUE INDEX ON b (n)")
    assert shards.find(keys) == []


def test_large_objects(shards: Shards) -> None:
    """An error with a word to let it pass; as bytea they are rows like others."""
    shards.both("ALTER TABLE tasks ADD COLUMN image oid; CREATE DOMAIN lo AS oid; ALTER TABLE users ADD COLUMN face lo")
    shards.sql("source", "UPDATE tasks SET image = lo_from_bytea(0, 'picture') WHERE org_id = 1")
    first, second = mended(shards, large_objects)
    assert second.fact == "tasks.image (oid) can hold large objects, which do not move"
    assert "users.face (" in first.fact
    assert first.allow == second.allow == "large-objects"
    assert shards.sql("source", "SELECT DISTINCT image FROM tasks WHERE org_id = 1") == [(b"picture",)]


def test_unlogged_tables(shards: Shards) -> None:
    """On each side by itself."""
    shards.sql("target", "ALTER TABLE comments SET UNLOGGED")
    (finding,) = mended(shards, unlogged)
    assert (finding.severity, finding.shard) == ("warning", "target")
    assert finding.fact == "comments on target is unlogged: a crash empties it"


def test_tables_that_inherit(shards: Shards) -> None:
    """A note, with the parent's name."""
    shards.both("CREATE TABLE chores (PRIMARY KEY (id)) INHERITS (tasks)")
    assert shards.find_one(inheritance).fact == "chores inherits from tasks: it moves by itself"


def test_generated_columns(shards: Shards) -> None:
    """Stored ones are told; identity columns are copied like any other."""
    shards.both("ALTER TABLE tasks ADD COLUMN loud text GENERATED ALWAYS AS (upper(title)) STORED")
    shards.both("ALTER TABLE users ADD COLUMN n int GENERATED ALWAYS AS IDENTITY")
    assert shards.find_one(generated_columns).fact == "loud of tasks will be computed anew on target"


def test_foreign_partitions(shards: Shards) -> None:
    """An error on the side that has one; it is detached."""
    shards.both("CREATE TABLE notes (org_id bigint NOT NULL, at int NOT NULL) PARTITION BY RANGE (at)")
    shards.sql(
        "source",
        "CREATE FOREIGN DATA WRAPPER elsewhere; CREATE SERVER far FOREIGN DATA WRAPPER elsewhere;"
        " CREATE FOREIGN TABLE notes_old PARTITION OF notes FOR VALUES FROM (0) TO (10) SERVER far",
    )
    (finding,) = mended(shards, foreign_partitions)
    assert finding.fact == "notes_old, a partition of public.notes on source, is a foreign table"


def test_rows_that_break_a_constraint_that_is_not_validated(shards: Shards) -> None:
    """The target would refuse them: only the tenant's own count, and only rows that break it."""
    shards.both("ALTER TABLE tasks ADD CONSTRAINT short CHECK (length(title) < 7) NOT VALID")
    finding = shards.find_one(unvalidated)
    assert finding.fact == "1 row of the tenant in tasks break short"
    assert shards.sql("source", finding.cure.partition(": ")[2])[0][2] == "task 10"
    shards.sql("source", "UPDATE tasks SET title = NULL WHERE length(title) > 6 AND org_id = 1")
    assert shards.find(unvalidated) == []
