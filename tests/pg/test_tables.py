"""What the catalogs tell of tables: everything a mover needs, nothing that is not the user's, no OID."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from shardwright.pg.tables import Column, ForeignKey, OwnedSequence, Table, TableName, Tables, UniqueKey, read_tables


@pytest.fixture
def connection(database_url: str) -> Iterator[psycopg.Connection[Any]]:
    with psycopg.connect(database_url, autocommit=True) as connection:
        yield connection


def table(tables: Tables, name: str, schema: str = "public") -> Table:
    return tables.by_name[TableName(schema, name)]


def test_a_table_is_read_whole(connection: psycopg.Connection[Any]) -> None:
    """Columns in their order, with what decides whether and how they are copied."""
    connection.execute(
        """CREATE TYPE mood AS ENUM ('good', 'bad');
           CREATE TABLE t (
               id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
               old serial,
               name varchar(80) COLLATE "C" NOT NULL DEFAULT 'x',
               mood mood,
               twice int GENERATED ALWAYS AS (old * 2) STORED,
               UNIQUE NULLS NOT DISTINCT (old, name) DEFERRABLE
           );
           CREATE UNIQUE INDEX part ON t (lower(name)) WHERE old > 1;
           ALTER TABLE t ENABLE ROW LEVEL SECURITY, REPLICA IDENTITY FULL;
           CREATE FUNCTION f() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
           CREATE TRIGGER mine BEFORE UPDATE ON t FOR EACH ROW EXECUTE FUNCTION f()"""
    )
    found = table(read_tables(connection), "t")
    assert found.columns == (
        Column("id", "bigint", is_not_null=True, identity="always"),
        Column("old", "integer", is_not_null=True, default="nextval('public.t_old_seq'::regclass)"),
        Column("name", "character varying(80)", is_not_null=True, default="'x'::character varying", collation='"C"'),
        Column("mood", "public.mood"),
        Column("twice", "integer", generated="stored", expression="(old * 2)"),
    )
    assert found.uniques == (
        UniqueKey("part", (), is_constraint=False, is_partial=True, has_expressions=True),
        UniqueKey("t_old_name_key", ("old", "name"), is_deferrable=True, nulls_are_equal=True),
        UniqueKey("t_pkey", ("id",), is_primary=True),
    )
    assert [each.name for each in found.primary_key] == ["id"]
    assert found.sequences == (
        OwnedSequence(TableName("public", "t_id_seq"), "id"),
        OwnedSequence(TableName("public", "t_old_seq"), "old"),
    )
    assert (found.triggers, found.has_row_security, found.forces_row_security) == (("mine",), True, False)
    assert found.replica_identity == "full"


def test_foreign_keys_with_all_they_do(connection: psycopg.Connection[Any]) -> None:
    """Composite, to a unique constraint in another schema, in the constraint's own order, not validated."""
    connection.execute(
        """CREATE SCHEMA s;
           CREATE TABLE s.parent (a int, b text, UNIQUE (b, a));
           CREATE TABLE child (x int, y text);
           ALTER TABLE child ADD CONSTRAINT k FOREIGN KEY (y, x) REFERENCES s.parent (b, a)
               ON DELETE CASCADE ON UPDATE SET NULL DEFERRABLE NOT VALID"""
    )
    assert table(read_tables(connection), "child").foreign_keys == (
        ForeignKey(
            "k", ("y", "x"), TableName("s", "parent"), ("b", "a"), ("OPERATOR(pg_catalog.=)",) * 2,
            "cascade", "set null", is_deferrable=True, is_validated=False,
        ),
    )  # fmt: skip


def test_partitions_name_their_parent_and_only_their_own_foreign_keys(connection: psycopg.Connection[Any]) -> None:
    """At every level; what a partition has from its parent is not told twice, nor one copy for each partition."""
    connection.execute(
        """CREATE TABLE other (id int PRIMARY KEY);
           CREATE TABLE p (id int, o int REFERENCES other, PRIMARY KEY (id)) PARTITION BY RANGE (id);
           CREATE TABLE p1 PARTITION OF p FOR VALUES FROM (0) TO (100) PARTITION BY RANGE (id);
           CREATE TABLE p11 PARTITION OF p1 FOR VALUES FROM (0) TO (10);
           ALTER TABLE p11 ADD CONSTRAINT extra FOREIGN KEY (id) REFERENCES other;
           CREATE TABLE child (p int REFERENCES p)"""
    )
    tables = read_tables(connection)
    p, p1, p11 = (table(tables, name) for name in ("p", "p1", "p11"))
    assert (p.storage, p.partition_key, p.partition_of) == ("partitioned", "RANGE (id)", None)
    assert (p1.storage, p1.partition_of, p11.partition_of) == ("partitioned", p.name, p1.name)
    assert [[key.name for key in each.foreign_keys] for each in (p, p1, p11)] == [["p_o_fkey"], [], ["extra"]]
    assert [key.table for key in table(tables, "child").foreign_keys] == [p.name]


def test_only_the_users_tables(connection: psycopg.Connection[Any]) -> None:
    """No view, no foreign table, no temporary table, nothing of an extension's, of Alembic's, or ours."""
    connection.execute(
        """CREATE TABLE mine (id int); CREATE VIEW v AS SELECT 1; CREATE MATERIALIZED VIEW m AS SELECT 1;
           CREATE TEMPORARY TABLE temporary (id int);
           CREATE TABLE alembic_version (version_num text);
           CREATE SCHEMA shardwright; CREATE TABLE shardwright.ours (id int);
           CREATE SCHEMA shardwright_engine; CREATE TABLE shardwright_engine.ours (id int);
           CREATE FOREIGN DATA WRAPPER w; CREATE SERVER elsewhere FOREIGN DATA WRAPPER w;
           CREATE FOREIGN TABLE far (id int) SERVER elsewhere;
           CREATE TABLE brought (id int)"""
    )
    with connection.transaction(force_rollback=True):
        connection.execute("ALTER EXTENSION plpgsql ADD TABLE brought")
        assert [str(each.name) for each in read_tables(connection).tables] == ["public.mine"]


def test_the_version_table_is_known_by_its_configured_name(connection: psycopg.Connection[Any]) -> None:
    """With a schema or without one; another table of the usual name is the user's."""
    connection.execute("CREATE SCHEMA s; CREATE TABLE s.revisions (); CREATE TABLE revisions (); CREATE TABLE s.t ()")
    names = [str(each.name) for each in read_tables(connection, "s.revisions").tables]
    assert names == ["public.revisions", "s.t"]
    assert [str(each.name) for each in read_tables(connection, "revisions").tables] == ["s.revisions", "s.t"]


@pytest.mark.parametrize("name", ['"', "a b", "SELECT", "MixedCase", "naïve.🐘", "%s", "{x}", "x" * 63, "\\'"])
def test_hostile_names_are_names(name: str, connection: psycopg.Connection[Any]) -> None:
    """They come back as they are in the catalog, and are quoted where they become SQL."""
    quoted = psycopg.sql.Identifier(name)
    connection.execute(
        psycopg.sql.SQL("CREATE SCHEMA {0}; CREATE TABLE {0}.{0} ({0} int PRIMARY KEY REFERENCES {0}.{0})").format(
            quoted
        )
    )
    found = table(read_tables(connection), name, name)
    assert ([each.name for each in found.primary_key], found.foreign_keys[0].table) == ([name], found.name)
    query = psycopg.sql.SQL("SELECT {} FROM {}").format(psycopg.sql.Identifier(name), found.source)
    assert connection.execute(query).fetchall() == []


def test_reading_leaves_the_session_as_it_was(connection: psycopg.Connection[Any]) -> None:
    """The user's search path decides how names are shown, and is the same afterwards."""
    connection.execute("CREATE SCHEMA s; CREATE TABLE s.t (); CREATE TABLE t (); SET search_path = s, public")
    tables = read_tables(connection)
    assert connection.execute("SHOW search_path").fetchone() == ("s, public",)
    assert [tables.shown(each.name) for each in tables.tables] == ["public.t", "t"]


def test_rows_and_bytes(connection: psycopg.Connection[Any]) -> None:
    """As the server knows them, without counting."""
    connection.execute("CREATE TABLE t AS SELECT generate_series(1, 5000); CREATE TABLE e ()")
    connection.execute("ANALYZE t")
    tables = read_tables(connection)
    assert (table(tables, "t").rows, table(tables, "e").rows, table(tables, "t").bytes > 100_000) == (5000, 0, True)


def test_a_role_that_may_only_connect_reads_all(connection: psycopg.Connection[Any]) -> None:
    """The catalogs are everybody's: no privilege on schema or table is needed."""
    connection.execute(
        """CREATE SCHEMA s; CREATE TABLE s.t (id serial PRIMARY KEY, up int REFERENCES s.t, x text DEFAULT 'a');
           CREATE TABLE p (id int, t int REFERENCES s.t) PARTITION BY LIST (id)"""
    )
    before = read_tables(connection)
    with connection.transaction(force_rollback=True):
        connection.execute("CREATE ROLE nobody_at_all; SET LOCAL ROLE nobody_at_all")
        assert read_tables(connection) == before


def test_inheritance_is_no_partition(connection: psycopg.Connection[Any]) -> None:
    """A child is a table of its own, and its parent is read without it."""
    connection.execute("CREATE TABLE a (id int); CREATE TABLE b () INHERITS (a); INSERT INTO b VALUES (1)")
    tables = read_tables(connection)
    parent, child = table(tables, "a"), table(tables, "b")
    assert (child.inherits, child.partition_of) == ((parent.name,), None)
    assert connection.execute(psycopg.sql.SQL("SELECT * FROM {}").format(parent.source)).fetchall() == []
