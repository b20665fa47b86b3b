"""Shards by themselves: one database each, alike, of known tables, with room, and of nothing else's."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from shardwright.bluegreen.preflight import locks as of_locks
from shardwright.bluegreen.preflight.blue_alike import blue_alike
from shardwright.bluegreen.preflight.connection_room import connection_room
from shardwright.bluegreen.preflight.green_creation import green_creation
from shardwright.bluegreen.preflight.green_empty import green_empty
from shardwright.bluegreen.preflight.green_fit import green_fit
from shardwright.bluegreen.preflight.green_revision import green_revision
from shardwright.bluegreen.preflight.locks import locks
from shardwright.bluegreen.preflight.open_moves import open_moves
from shardwright.bluegreen.preflight.rows_of_nobody import rows_of_nobody
from shardwright.bluegreen.preflight.same_database import same_database
from shardwright.bluegreen.preflight.tables import tables
from shardwright.dsn import DatabaseUrl
from shardwright.move.preflight import pooler as poolers
from shardwright.move.preflight import server_version as versions
from shardwright.move.preflight.encoding import encoding
from shardwright.move.preflight.foreign_partitions import foreign_partitions
from shardwright.move.preflight.inheritance import inheritance
from shardwright.move.preflight.large_objects import large_objects
from shardwright.move.preflight.locale import locale
from shardwright.move.preflight.long_transactions import long_transactions
from shardwright.move.preflight.pooler import pooler
from shardwright.move.preflight.prepared_transactions import prepared_transactions
from shardwright.move.preflight.row_security import row_security
from shardwright.move.preflight.server_version import server_version
from shardwright.move.preflight.unlogged import unlogged
from shardwright.move.preflight.writable import writable
from two_sets import Sets


def test_two_green_shards_that_are_one(sets: Sets, tmp_path: Path) -> None:
    """The URLs differ and the names differ, and still it is the same database."""
    url = DatabaseUrl.parse(sets.urls["green_0"])
    (tmp_path / "link").symlink_to(url.host)
    sets.urls["green_1"] = DatabaseUrl(**{**vars(url), "host": str(tmp_path / "link")}).conninfo
    finding = sets.one(same_database)
    assert (finding.shard, finding.cure) == ("green_1", "take green_1 out of the configuration")


def test_an_odd_blue_shard_is_named(sets: Sets) -> None:
    """By what differs; the cure of a revision is to migrate."""
    sets.sql("blue_1", "ALTER TABLE users ADD COLUMN nick text")
    finding = sets.one(blue_alike)
    assert finding.shard == "blue_1"
    assert "the schema of blue_1 is not that of blue_0: column public.users.nick" in finding.fact
    sets.sql("blue_1", "UPDATE alembic_version SET version_num = 'zero'")
    finding = sets.one(blue_alike)
    assert finding.fact == "blue_1 is at zero, the other blue shards are at one"
    assert finding.cure == "shardwright migrate one"


def test_a_table_of_which_nothing_is_known(sets: Sets) -> None:
    """The cure is the line of [tenants]; without a root table that is said."""
    sets.all("CREATE TABLE loose (id int PRIMARY KEY)")
    assert "loose" in sets.one(tables).fact
    sets.tenants = sets.tenants.replace('root = "orgs"', 'root = "nothing"')
    assert sets.find(tables)


def test_a_read_only_green_shard(sets: Sets) -> None:
    """Whole checks of moves are asked of every shard of both sets."""
    database = sets.database("green_1")
    sets.sql("postgres", f"ALTER DATABASE {database} SET default_transaction_read_only = on")
    assert [each.shard for each in sets.mended(writable)] == ["green_1"]


def test_another_locale_of_green(sets: Sets) -> None:
    """It sorts in another way after the switch."""
    sets.drop("green_1")
    sets.sql("postgres", f"CREATE DATABASE {sets.database('green_1')} TEMPLATE template0 LOCALE 'C'")
    found = sets.find(locale)
    assert all(each.shard == "green_1" for each in found)
    (ours,) = sets.sql("postgres", "SELECT datcollate FROM pg_database WHERE datname = 'postgres'")
    assert bool(found) == (ours != ("C",))


def test_what_tables_are_made_of(sets: Sets) -> None:
    """Unlogged ones, shared ones among them; foreign partitions; inheritance; numbers of large objects."""
    sets.all("ALTER TABLE orgs DROP CONSTRAINT orgs_plan_fkey; ALTER TABLE plans SET UNLOGGED")
    assert {each.shard for each in sets.mended(unlogged)} == {"blue_0", "blue_1", "green_0", "green_1"}
    sets.all(
        "CREATE TABLE parts (id int, org_id bigint NOT NULL) PARTITION BY LIST (id); "
        "CREATE EXTENSION postgres_fdw; CREATE SERVER far FOREIGN DATA WRAPPER postgres_fdw; "
        "CREATE FOREIGN TABLE parts_1 PARTITION OF parts FOR VALUES IN (1) SERVER far"
    )
    assert len(sets.mended(foreign_partitions)) == 4
    sets.all("CREATE TABLE more_tasks (more int) INHERITS (tasks)")
    assert "more_tasks inherits from tasks" in sets.one(inheritance).fact
    sets.all("ALTER TABLE users ADD COLUMN picture oid")
    finding = sets.one(large_objects)
    assert (finding.allow, finding.shard) == ("large-objects", None)


def test_servers_that_do_not_fit(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Too old, of another encoding, behind a pooler: checks of moves that look at every shard of both sets."""
    with monkeypatch.context() as old:
        old.setattr(versions, "OLDEST_SERVER", 990000)
        assert [each.shard for each in sets.find(server_version)] == ["blue_0", "blue_1", "green_0", "green_1"]
    sets.drop("green_1")
    sets.sql("postgres", f"CREATE DATABASE {sets.database('green_1')} TEMPLATE template0 ENCODING LATIN1 LOCALE 'C'")
    assert sets.one(encoding).fact == "blue_0 is encoded in UTF8, green_1 is encoded in LATIN1"
    with sets.ground() as ground, monkeypatch.context() as pooled:
        pooled.setattr(poolers, "_is_one_session", lambda side: side.name != "green_0")
        assert [each.shard for each in pooler.find(ground)] == ["green_0"]


def test_rows_that_are_hidden_or_held(sets: Sets) -> None:
    """By row security from the role that carries the change, by a transaction that somebody has prepared."""
    sets.sql("green_0", "BEGIN; DELETE FROM plans; PREPARE TRANSACTION 'forgotten'")
    assert [each.shard for each in sets.mended(prepared_transactions)] == ["green_0"]
    role = sets.carrier()
    sets.sql("blue_1", "ALTER TABLE tasks ENABLE ROW LEVEL SECURITY")
    (hidden,) = sets.mended(row_security)
    assert hidden.fact == f"role {role} is subject to row security on tasks of blue_1"


def test_a_long_transaction(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    """Our triggers would wait for it."""
    monkeypatch.setattr("shardwright.move.preflight.long_transactions.LONG", 0.0)
    with psycopg.connect(sets.urls["green_0"]) as somebody:
        somebody.execute("SELECT count(*) FROM orgs")
        assert [each.shard for each in sets.find(long_transactions)] == ["green_0"]


def test_too_few_connections(sets: Sets) -> None:
    """By the limit of a database."""
    sets.sql("postgres", f"ALTER DATABASE {sets.database('blue_0')} CONNECTION LIMIT 3")
    sets.carrier()
    sets.sql("postgres", f"ALTER ROLE {sets.role} CONNECTION LIMIT 5")
    found = [each for each in sets.find(connection_room) if "server" not in each.fact]
    assert {each.fact.split(" has ")[0].split(" of ")[0] for each in found} == {
        f"role {sets.role}",
        f"database {sets.database('blue_0')}",
    }
    for each in found:
        sets.mend(each)
    assert [each for each in sets.find(connection_room) if "server" not in each.fact] == []


def test_too_few_locks(sets: Sets, monkeypatch: pytest.MonkeyPatch) -> None:
    """The number that is needed is told, and that there are many tenants."""
    monkeypatch.setattr(of_locks, "AT_ONCE", 1_000_000)
    monkeypatch.setattr(of_locks, "_MANY", 2)
    found = sets.find(locks)
    assert [each.severity for each in found] == ["error"] * 4 + ["note"]
    assert "a change takes up to 1,000," in found[0].fact
    assert found[-1].fact == "2 fences are made on blue_0, one for each tenant"


def test_somebody_is_on_the_move(sets: Sets) -> None:
    """An open move, and what a lost one has left on a shard."""
    fleet = sets.project.fleet()
    fleet.move("1", "blue_1")
    (moving, *_) = found = sets.find(open_moves)
    assert "tenant 1 is on the move from blue_0 to blue_1" in moving.fact
    assert len(found) == 1
    fleet.undo_move("1")
    assert sets.find(open_moves) == []
    sets.sql("green_0", "CREATE SCHEMA shardwright; CREATE TABLE shardwright.move AS SELECT 77::bigint AS move")
    (left,) = sets.mended(open_moves)
    assert left.fact == "green_0 has something of an earlier move or change: run 77"


def test_rows_of_nobody_are_lost(sets: Sets) -> None:
    """They would be gone with blue, on each shard."""
    sets.all("ALTER TABLE users ALTER COLUMN org_id DROP NOT NULL")
    sets.sql("blue_1", "INSERT INTO users VALUES (gen_random_uuid(), NULL, 'x')")
    assert sets.one(rows_of_nobody).fact == "1 row of users on blue_1 belong to no tenant, and stay there"


# --- green ----------------------------------------------------------------------------------------


def test_a_green_shard_of_another_history(sets: Sets) -> None:
    """Its revision is none of ours; one that is alike in revision and not in schema is odd."""
    sets.sql("green_0", "UPDATE alembic_version SET version_num = 'other'")
    finding = sets.one(green_fit)
    assert finding.shard == "green_0"
    assert "it has another history" in finding.fact
    sets.sql("green_0", "UPDATE alembic_version SET version_num = 'one'; ALTER TABLE users ADD COLUMN nick text")
    assert "public.users.nick" in sets.one(green_fit).fact


def test_a_green_shard_with_rows(sets: Sets) -> None:
    """Shared ones count; the cure takes them out, children first."""
    sets.sql("green_1", "INSERT INTO plans VALUES ('mine', 1); INSERT INTO orgs VALUES (9, 'nine', 'mine')")
    assert sets.mended(green_empty)[0].fact == "green_1 has rows already in orgs, plans"


def test_the_right_to_make_green(sets: Sets) -> None:
    """Asked only where a database is missing; an owner that can't be had is a warning."""
    role = sets.carrier()
    assert sets.find(green_creation) == []
    sets.drop("green_1")
    found = sets.find(green_creation)
    assert [each.severity for each in found] == ["error", "error", "warning"]
    assert found[0].cure == f'ALTER ROLE "{role}" CREATEDB'
    for each in found[:2]:
        sets.sql("postgres", each.cure)
    (left,) = sets.find(green_creation)
    assert f"will belong to {role}: blue's owner is postgres, for which it can't act" in left.fact


def test_a_revision_that_fails(sets: Sets) -> None:
    """It is known before anything is made, and its database is gone."""
    sets.drop("green_0", "green_1")
    file = sets.path / "migrations" / "versions" / "one.py"
    sets.project  # noqa: B018 writes the file
    file.write_text(file.read_text().replace("CREATE TABLE plans", "CREATE TABLE orgs"))
    finding = sets.one(green_revision)
    assert "green can't be brought to one" in finding.fact
    assert "already exists" in finding.fact
    left = "SELECT count(*) FROM pg_database WHERE datname LIKE 'shardwright_scratch%'"
    assert sets.sql("postgres", left) == [(0,)]
